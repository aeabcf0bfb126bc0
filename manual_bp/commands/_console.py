"""The console of the commands: rich's, or a plain one where rich is not installed."""

import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from reference import Row
from reference.report import dtype_name


def console(*, stderr: bool = False) -> Any:
    """What prints lines, in a style, and shows progress."""
    try:
        from manual_bp.commands._rich import Lines
    except ImportError:  # a machine without a network, with PyTorch alone
        return Plain(stderr=stderr)
    return Lines(stderr=stderr)


class Plain:
    """Lines without a style, and no progress, in the manner of rich."""

    def __init__(self, *, stderr: bool) -> None:
        self.file = sys.stderr if stderr else sys.stdout

    def print(self, text: str = "", *, style: str | None = None, end: str = "\n") -> None:
        print(text, end=end, file=self.file)

    def progress(self) -> AbstractContextManager["Plain"]:
        return nullcontext(self)

    def add_task(self, description: str, *, total: int) -> None:
        """None is shown."""

    def update(self, task: None, *, description: str) -> None: ...

    def advance(self, task: None) -> None: ...


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
