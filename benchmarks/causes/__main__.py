"""Which mistakes are named? 160 that people make, in functions of several steps that are not in the catalogue.

    python benchmarks/causes                each mistake with the cause that is found, and how many are named
    python benchmarks/causes window dice    those of the functions with such names

The mistakes were collected by somebody who did not know what is looked for, the last 40 when the search was there: at
first it named 83 of 120, and 29 of those 40. What a person would call each is written beside it, with an expression
that a right name has to match, widened by hand where one was right in other words; any other name counts as wrong.
"""

import argparse
import inspect
import re
import statistics
import time
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import arrays
import mixed
import sequences
import torch

from crosscheck import Report, crosscheck
from crosscheck.row import UNKNOWN


class Found(NamedTuple):
    """What was said of a mistake."""

    function: str
    what: str
    expected: str
    causes: list[str]
    seconds: float


def judged(module: ModuleType, name: str, old: str = "", new: str = "") -> Report:
    """By the backward of this name, edited."""
    backward = getattr(module, f"{name}_backward")
    if old:
        source = inspect.getsource(backward)
        assert source.count(old) == 1, (name, old)
        space = dict(vars(module))
        exec(source.replace(old, new), space)
        backward = space[f"{name}_backward"]
    return crosscheck(getattr(module, name), backward, module.INPUTS[name]())


def mistakes(words: list[str]) -> Iterator[Found]:
    for module in (sequences, arrays, mixed):
        for name, old, new, what, expected in module.MISTAKES:
            if not words or any(word in name for word in words):
                start = time.perf_counter()
                report = judged(module, name, old, new)
                seconds = time.perf_counter() - start
                causes = [f"{row.name}: {row.diagnosis.splitlines()[0]}" for row in report.mismatches if row.diagnosis]
                assert not report.ok, (name, what)
                yield Found(name, what, expected, list(dict.fromkeys(causes)), seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", help="parts of the functions' names (all)")
    words = parser.parse_args().words
    torch.set_num_threads(1)
    for module in (sequences, arrays, mixed):
        for name in module.INPUTS:
            if not words or any(word in name for word in words):
                assert judged(module, name).ok, name  # without a mistake it agrees
    count: Counter[str] = Counter()
    times = []
    for found in mistakes(words):
        named = [cause for cause in found.causes if UNKNOWN not in cause]
        rightly = any(re.search(found.expected, cause, re.IGNORECASE) for cause in named)
        verdict = "named" if rightly else "UNNAMED" if not named else "OTHERWISE"
        count[verdict] += 1
        times.append(found.seconds)
        print(f"{verdict:9}  {found.seconds:5.2f} s  {found.function}: {found.what}")
        for cause in found.causes:
            print(f"{'':21}{cause}")
    print(f"{len(times)} mistakes: {dict(count)}; median {statistics.median(times):.2f} s, longest {max(times):.2f} s")


if __name__ == "__main__":
    main()
