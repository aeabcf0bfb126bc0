"""The verdicts that the commands print, and end with."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from crosscheck import Report
from crosscheck.form.kinds import REAL
from crosscheck.row import NOT_JUDGED, Row, dtype_name


class Shares:
    """A table of verdicts: for each thing and device, its largest error in units of its budget at each dtype."""

    def __init__(self, lines: Any, names: Iterable[str], dtypes: Sequence[torch.dtype]) -> None:
        self.lines, self.dtypes = lines, dtypes
        self.headings = [dtype_name(t) for t in dtypes]
        cells = [f"{{:>{len(heading)}}}" for heading in self.headings]
        self.row = " ".join((f"{{:{max(map(len, names))}}}", "{:6}", *cells, " {}")).format
        self.is_begun = False

    def add(self, name: str, place: torch.device, rows: Sequence[Row], verdict: str) -> None:
        """Print the line of a thing, in red where it is wrong; before the first, what the table has."""
        if not self.is_begun:
            self.lines.print("Largest errors, in units of their budget: up to 1 is rounding, - is not judged.\n")
            self.lines.print(self.row("", "device", *self.headings, "verdict"), style="bold")
            self.is_begun = True
        judged = [row for row in rows if not row.verdict.startswith(NOT_JUDGED)]
        shares = [[row.share for row in judged if REAL.get(row.dtype, row.dtype) == t] for t in self.dtypes]
        cells = [f"{max(share):.2g}" if share else "-" for share in shares]
        self.lines.print(self.row(name, str(place), *cells, verdict), style=colour(rows))


def colour(rows: Iterable[Row]) -> str | None:
    """Red for what is wrong, yellow for what could not be judged."""
    wrong = [row for row in rows if not row.ok]
    return ("red" if any(row.is_mismatch for row in wrong) else "yellow") if wrong else None


def exit_code(reports: Sequence[Report]) -> int:
    """0 where all agrees, 1 where something is wrong, 2 where something, or everything, could not be judged."""
    if any(report.is_mismatch for report in reports):
        return 1
    return 0 if reports and all(is_known(report) for report in reports) else 2


def is_known(report: Report) -> bool:
    """Whether something was judged, and all of it agrees or not."""
    return report.is_mismatch or (report.ok and len(report.not_judged) < len(report.rows))
