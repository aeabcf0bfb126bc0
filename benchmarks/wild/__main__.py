"""Real packages, judged: gradients that others wrote, each beside a twin in plain torch, and the verdict on record.

    python benchmarks/wild                      all of it; what the results have already is skipped
    python benchmarks/wild entmax pypose        these packages alone
    python benchmarks/wild --again pypose       once more

Run it in an environment with this project and its extras digits and jax, and with triton. Each package is installed
at the version on the first line of its file in cases/, into a folder of its own under build/wild, and judged in a
process of its own. Ends with 1 where anything is not as it is on record.
"""

import argparse
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from case import AGREES, KINDS
from rich.console import Console
from rich.progress import Progress

from crosscheck.report import aligned

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
HEADINGS = ("package", "gradients", AGREES, *KINDS, "not as on record")
Record = dict[str, Any]


def pins(name: str) -> list[str]:
    """What a package's file says is to be installed, in its first line."""
    head = (HERE / "cases" / f"{name}.py").read_text().splitlines()[0]
    return head.removeprefix("# pip install --no-deps ").split()


def judged(name: str, envs: Path, limit: float) -> list[Record]:
    """The records of a package's cases, and one more where its process fails."""
    folder, log = envs / name, envs / f"{name}.log"
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(map(str, (folder, ROOT)))}
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), *pins(name)]
    judge = [sys.executable, str(HERE / "judge.py"), str(HERE / "cases" / f"{name}.py")]
    with log.open("w") as errors:
        if not folder.exists() and subprocess.run(install, stdout=errors, stderr=errors).returncode:
            return [_failed("its installation", "fails", log)]
        try:
            done = subprocess.run(judge, stdout=subprocess.PIPE, stderr=errors, env=env, timeout=limit, text=True)
            said, why = done.stdout, f"exit code {done.returncode}" if done.returncode else ""
        except subprocess.TimeoutExpired as late:
            said, why = (late.stdout or b"").decode(), f"more than {limit} s"  # bytes, whatever text says
    found = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    return found + [_failed("its process", why, log)] * bool(why)


def _failed(what: str, why: str, log: Path) -> Record:
    return {"case": what, "expected": AGREES, "says": f"{why}: {log}", "kind": "", "why": "", "gradients": 0}


def told(results: dict[str, list[Record]]) -> str:
    """The counts of each package, a line for each case that does not agree, and what is not as on record."""
    rows, lines, different = [], [], []
    total: Counter[str] = Counter()
    for name, records in results.items():
        count: Counter[str] = Counter(gradients=sum(record["gradients"] for record in records))
        for record in records:
            is_as_recorded = record["says"] == record["expected"]
            count[(record["kind"] or AGREES) if is_as_recorded else "not as on record"] += 1
            if not is_as_recorded:
                different.append(f"{name}, {record['case']}: expected {record['expected']}, got {record['says']}")
            if record["says"] != AGREES or record["kind"]:
                lines.append(f"{name}, {record['case']}: {record['says']}. {record['kind']}: {record['why']}")
                if isinstance(numbers := record.get("derivatives"), dict):
                    numbers = ", ".join(f"{by} {number:.10g}" for by, number in numbers.items())
                    lines.append(f"    the derivative where they differ most: {numbers}")
        total += count
        rows.append([name, *(str(count[heading]) for heading in HEADINGS[1:])])
    rows.append([f"{len(results)} packages", *(str(total[heading]) for heading in HEADINGS[1:])])
    parts = [aligned(HEADINGS, rows, right=HEADINGS[1:]), *lines]
    return "\n".join(parts + ["", "not as on record:", *different] * bool(different))


def main() -> int:
    every = sorted((path.stem for path in (HERE / "cases").glob("*.py")), key=str.lower)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(every)}")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "wild", help="of what is installed and found")
    parser.add_argument("--limit", type=float, default=900, help="seconds for a package (900)")
    parser.add_argument("--again", action="store_true", help="whatever the results have")
    given = parser.parse_args()
    if unknown := set(given.names).difference(every):
        parser.error(f"expected packages of {', '.join(every)}, got {', '.join(sorted(unknown))}")
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / "results.json"
    results: dict[str, list[Record]] = json.loads(path.read_text()) if path.exists() else {}
    names = given.names or every
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(names))
        for name in names:
            progress.update(task, description=name)
            if given.again or name not in results:
                results[name] = judged(name, given.folder, given.limit)
                path.write_text(json.dumps(results, indent=1))
            progress.advance(task)
    text = told({name: results[name] for name in names})
    (given.folder / "table.txt").write_text(text + "\n")
    print(text)
    return int(any(record["says"] != record["expected"] for name in names for record in results[name]))


if __name__ == "__main__":
    sys.exit(main())
