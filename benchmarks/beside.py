"""How long does a conviction take, beside another build of the project? On every mistake of the corpus, in turns.

    python benchmarks/beside.py COMMIT              each mistake by both builds, on one thread: some minutes
    python benchmarks/beside.py COMMIT --times 3    the shortest of three times
    python benchmarks/beside.py COMMIT --plain      without the contract, which a build may not have

The other build is checked out into a temporary folder. A process of each build stays up; a mistake goes to one of them
and then to the other, so that what else the machine does meets both.
"""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]


def serve(plain: bool) -> None:
    """Judge the mistakes whose numbers come in, one a line; what is found of each goes out as a line of JSON."""
    import torch

    torch.set_num_threads(1)
    from manual_bp.commands.subjects import cases
    from manual_bp.corpus import CORPUS
    from manual_bp.mistakes import edited

    has_own = Path("crosscheck").is_dir()  # before, it was no package of its own
    crosscheck = importlib.import_module("crosscheck" if has_own else "reference").crosscheck

    if plain and has_own:
        importlib.import_module("crosscheck.check")._with_contract = lambda report, *args, **options: report

    for case in cases("Sigmoid"):  # what is loaded when it is first asked for
        crosscheck(case.forward, case.backward, case.draw(0))
    print(len(CORPUS), flush=True)
    for line in sys.stdin:
        mistake, found = CORPUS[int(line)], []
        with edited([mistake.edit]):
            for case in cases(mistake.owner):
                inputs = case.draw(0)
                start = time.perf_counter()
                report = crosscheck(case.forward, case.backward, inputs, seed=0)
                seconds = time.perf_counter() - start
                said = [row.diagnosis for row in report.mismatches]
                found.append({"mistake": f"{mistake}", "seconds": seconds, "said": said, "ok": report.ok})
        print(json.dumps(found), flush=True)


def build(tree: Path, plain: bool) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--serve", *["--plain"] * plain]
    return subprocess.Popen(
        command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def ask(process: "subprocess.Popen[str]", number: int) -> list[dict[str, Any]]:
    assert process.stdin
    assert process.stdout
    print(number, file=process.stdin, flush=True)
    found: list[dict[str, Any]] = json.loads(process.stdout.readline())
    return found


def is_named(of: dict[str, Any]) -> bool:
    return any(text and "unknown cause" not in text for text in of["said"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit", nargs="?", help="the other build")
    parser.add_argument("--times", type=int, default=1, help="the shortest of so many (1)")
    parser.add_argument("--causes", action="store_true", help="print every distinct line of cause")
    parser.add_argument("--plain", action="store_true", help="without the contract")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        return serve(args.plain)
    beside(args.commit, args.times, args.causes, args.plain)
    return None


def beside(commit: str, times: int = 1, causes: bool = False, plain: bool = False) -> None:
    """Both builds, in turns."""
    with tempfile.TemporaryDirectory() as folder:
        other = Path(folder) / "other"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", str(other), commit], cwd=HERE, check=True)
        try:
            compare({commit: build(other, plain), "this": build(HERE, plain)}, times, causes)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(other)], cwd=HERE, check=True)


def compare(builds: dict[str, "subprocess.Popen[str]"], times: int, causes: bool) -> None:
    counts = [int(process.stdout.readline()) for process in builds.values() if process.stdout]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in builds}
    for number in range(min(counts)):
        for name, process in builds.items():
            runs = [ask(process, number) for _ in range(times)]
            shortest = [min(same, key=lambda of: of["seconds"]) for same in zip(*runs, strict=True)]
            found[name] += [of for of in shortest if not of["ok"]]
    for process in builds.values():
        process.terminate()
    print(f"{'build':10}  {'convictions':>11}  {'median, ms':>10}  {'sum, s':>7}  {'longest, s':>10}  {'named':>5}")
    for name, convictions in found.items():
        seconds = [of["seconds"] for of in convictions]
        print(
            f"{name:10}  {len(seconds):11}  {1000 * statistics.median(seconds):10.1f}  {sum(seconds):7.2f}  "
            f"{max(seconds):10.2f}  {sum(map(is_named, convictions)):5}"
        )
    print("\nthe ten slowest of this build")
    for of in sorted(found["this"], key=lambda of: -of["seconds"])[:10]:
        print(f"  {of['seconds']:.2f} s  {of['mistake']}: {(of['said'] or [''])[0].splitlines()[0]}")
    if causes:
        print("\nevery line of cause")
        for cause in sorted({text.splitlines()[0] for of in found["this"] for text in of["said"] if text}):
            print(f"  {cause}")


if __name__ == "__main__":
    main()
