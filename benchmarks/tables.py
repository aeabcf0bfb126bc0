"""The tables of the documents, made anew, each with the day, the machine and torch's version.

    python benchmarks/tables.py                    all of them: about half an hour
    python benchmarks/tables.py verify             one of them: verify, detection, scoreboard, bench
    python benchmarks/tables.py verify --print     to look at; nothing is written

In README.md and docs/*.md a table stands between the lines `<!-- table: NAME -->` and `<!-- end -->`; what is between
them is replaced.
"""

import argparse
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path

import torch

from manual_bp._files import whole

ROOT = Path(__file__).parents[1]
SHOWN = (  # of the lines of `manual-bp verify`
    "article.neuron", "article.two_by_two", "rule Sigmoid ", "rule ScaledDotProductAttention", "rule Cholesky",
    "network 6 layers", "network on real digits",
)  # fmt: skip
SEEDS = {"float64": 3, "float32": 5, "bfloat16": 10, "float16": 10}  # of `detection.py`


def verify() -> str:
    """What `manual-bp verify` says, with some of its lines."""
    head, table, *rest = command("verify").split("\n\n")
    heading, *lines = table.splitlines()
    return "\n\n".join((head, "\n".join((heading, *shortened(lines, SHOWN))), *rest))


def shortened(lines: Sequence[str], shown: tuple[str, ...]) -> list[str]:
    """The lines that begin so, with three dots for those between."""
    return [line for line, _ in groupby(line if line.startswith(shown) else "..." for line in lines)]


def detection() -> str:
    """The scoreboard of `detection.py`, a block for each dtype."""
    from detection import CORPUS, naming, scores, table

    found = {key: score for dtype, seeds in SEEDS.items() for key, score in scores(seeds, [dtype]).items()}
    heading, *lines = table(found).splitlines()
    blocks = (list(of_one) for _, of_one in groupby(lines, lambda line: next(t for t in SEEDS if f" {t} " in line)))
    seeds = ", ".join(f"{seeds} times in {dtype}" for dtype, seeds in SEEDS.items())
    scoreboard = "\n\n".join("\n".join(block) for block in blocks)
    names = "\n".join(naming(found))
    return f"{len(CORPUS)} mistakes, {seeds}\n\n{heading}\n{scoreboard}\n\n{names}"


WAYS = (  # of `detection.py`, those of the short table
    ("gradcheck, slow", "float64"), ("gradcheck, fast", "float64"), ("the judge, in it alone", "float64"),
    ("assert_close, its defaults", "float32"), ("the judge, in it alone", "float32"),
    ("assert_close, its defaults", "bfloat16"), ("Liger's: rtol 2e-2, atol 2e-1", "bfloat16"),
    ("FlashAttention's: twice autograd's error", "bfloat16"), ("the judge, in it alone", "bfloat16"),
)  # fmt: skip
COUNTS = r" +([\d,]+ of [\d,]+) +\S+ %"


def scoreboard() -> str:
    """Some lines of the table `detection`, as it stands in the documents, and what stands below it."""
    (measured,) = (found[0] for text in texts() if (found := block("detection").search(text)))
    rows = ["| way of testing | dtype | right ones called wrong | mistakes that pass |", "| --- | --- | ---: | ---: |"]
    for way, dtype in WAYS:
        counts = re.search(rf"^{re.escape(way)} +{dtype}{COUNTS}{COUNTS}", measured, re.MULTILINE)
        assert counts, f"{way}, {dtype}: expected it in the table detection, got a table without it"
        name = "**crosscheck**" if "judge" in way else way.replace(", its defaults", "")
        rows.append(f"| {name} | {dtype} | {counts[1]} | {counts[2]} |")
    return "\n".join((*rows, "", measured.strip().splitlines()[-1]))


def bench() -> str:
    """What `manual-bp bench` says, behind the line about the machine."""
    return command("bench").partition("\n")[2]


TABLES = {"verify": verify, "detection": detection, "scoreboard": scoreboard, "bench": bench}
AS_IT_IS = ("scoreboard",)  # a table of Markdown, with the machine of another


def command(*arguments: str) -> str:
    """What `manual-bp` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "manual_bp", *arguments], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def machine() -> str:
    """The day, the machine and torch's version."""
    today = date.today()
    info = Path("/proc/cpuinfo")
    models = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.MULTILINE) if info.exists() else []
    processor = models[0] if models else platform.processor() or platform.machine()
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    on = ", ".join((f"{cores} cores of {processor}", *gpus))
    return f"{today.day} {today:%B %Y}, {on}, torch {torch.__version__}."


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def texts() -> list[str]:
    return [document.read_text(encoding="utf-8") for document in documents()]


def block(name: str) -> re.Pattern[str]:
    """What stands between the lines of a table."""
    return re.compile(rf"(?<=^<!-- table: {name} -->\n).*?(?=^<!-- end -->$)", re.MULTILINE | re.DOTALL)


def without_a_place(names: Iterable[str]) -> list[str]:
    """The tables for which no document has the two lines."""
    return [name for name in names if not any(block(name).search(text) for text in texts())]


def put(name: str, text: str) -> list[Path]:
    """Put a table in its place in every document that has one; returns those."""
    found = []
    for document in documents():
        before = document.read_text(encoding="utf-8")
        after = block(name).sub(lambda _: text, before)
        if block(name).search(before):
            with whole(document) as draft:
                draft.write_text(after, encoding="utf-8")
            found.append(document)
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(TABLES)} (all)")
    parser.add_argument("--print", action="store_true", dest="is_shown", help="print them, and write nothing")
    args = parser.parse_args(arguments)
    names = args.names or list(TABLES)
    if unknown := [name for name in names if name not in TABLES]:
        parser.error(f"expected some of {', '.join(TABLES)}, got {unknown[0]}")
    if not args.is_shown and (missing := without_a_place(names)):
        parser.error(
            f"{missing[0]}: expected the lines <!-- table: {missing[0]} --> and <!-- end --> in README.md or "
            "docs/*.md, got none: write them there, or look at it with --print"
        )
    for name in names:  # each is written as soon as it is there: the next takes minutes
        table = TABLES[name]()
        text = f"{table}\n" if name in AS_IT_IS else f"```text\n{table}\n```\n\n{machine()}\n"
        if args.is_shown:
            print(text)
        else:
            print(f"{name}: written to {', '.join(str(path.relative_to(ROOT)) for path in put(name, text))}")


if __name__ == "__main__":
    main()
