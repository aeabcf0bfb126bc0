"""What torch's own operators owe beside their numbers: each is called in all the ways of the contract, in float64.

    pip install expecttest                        which torch.testing._internal needs
    python benchmarks/contract.py                 all of them, about ten minutes on one core
    python benchmarks/contract.py 'linalg.*'      these alone

A breach is either a false claim of the judge's or a fault of torch's: each is printed. Samples that take more than a
minute are left out, and said to be.
"""

import argparse
import signal
import sys
import warnings
from collections import Counter
from fnmatch import fnmatchcase
from itertools import islice
from typing import Any

import torch
from operators import OPERATORS, subjects
from rich.console import Console
from rich.progress import track

from crosscheck import crosscheck
from crosscheck.report import aligned

SAMPLES, SECONDS = 2, 60


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("only", nargs="*", help="names, or patterns of them")
    only = arguments.parse_args().only
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _late)
    names = [name for name in OPERATORS if not only or any(fnmatchcase(name, pattern) for pattern in only)]
    counts: dict[str, Counter[str]] = {what: Counter() for what in ("kept", "refused", "broken")}
    lines: list[str] = []
    samples = 0
    for name in track(names, "operators", console=Console(stderr=True)):
        usable = (subject for subject in subjects(name, "cpu") if not isinstance(subject, str))
        for number, subject in enumerate(islice(usable, SAMPLES)):
            inputs = tuple(subject.inputs.values())
            signal.alarm(SECONDS)
            try:
                report = crosscheck(
                    subject.forward, inputs=inputs, twin=lambda *xs, of=subject: of.forward(*xs),
                    names=[f"x{i}" for i in range(len(inputs))], dtypes=torch.float64,
                )  # fmt: skip
            except Exception as error:
                lines.append(f"{name}, sample {number}: {type(error).__name__}: {str(error).splitlines()[0][:150]}")
                continue
            finally:
                signal.alarm(0)
            if report.duties is None:
                continue
            samples += 1
            counts["kept"].update(report.duties.checked)
            counts["broken"].update(breach.check for breach in report.breaches)
            counts["refused"].update(refusal.partition(":")[0] for refusal in report.duties.refusals)
            lines += [f"{name}, sample {number}: {breach}" for breach in report.breaches]
    checks = sorted({check for of in counts.values() for check in of})
    rows = [[check, *(f"{of[check]:,}" for of in counts.values())] for check in checks]
    print(f"torch {torch.__version__}, {len(names)} operators, {samples:,} samples\n")
    print(aligned(("duty", *counts), rows, right=tuple(counts)), *lines, sep="\n")
    return 0


def _late(*_: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


if __name__ == "__main__":
    sys.exit(main())
