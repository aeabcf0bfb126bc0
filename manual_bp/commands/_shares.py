"""The table of verdicts that the commands print."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from reference import Row
from reference.report import dtype_name


class Shares:
    """A table of verdicts: for each thing and device, its largest error in units of its budget at each dtype."""

    def __init__(self, lines: Any, names: Iterable[str], dtypes: Sequence[torch.dtype]) -> None:
        self.lines, self.dtypes = lines, dtypes
        headings = [dtype_name(t) for t in dtypes]
        cells = [f"{{:>{len(heading)}}}" for heading in headings]
        self.row = " ".join((f"{{:{max(map(len, names))}}}", "{:6}", *cells, " {}")).format
        lines.print(self.row("", "device", *headings, "verdict"), style="bold")

    def add(self, name: str, place: torch.device, rows: Sequence[Row], verdict: str) -> None:
        """Print the line of a thing, in red where it is wrong."""
        shares = [[row.share for row in rows if row.dtype == t] for t in self.dtypes]
        cells = [f"{max(share):.2g}" if share else "-" for share in shares]
        style = None if all(row.ok for row in rows) else "red"
        self.lines.print(self.row(name, str(place), *cells, verdict), style=style)
