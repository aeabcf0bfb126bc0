"""The console of the commands."""

from collections.abc import Iterable, Sequence

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from reference import Row
from reference.report import dtype_name


class Lines(Console):
    """A console that prints every line as long as it is, plain in a pipe, and leaves a closed pipe to its caller."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def progress(self) -> Progress:
        """A bar below the lines, on a terminal only, that goes when the work is done."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(*columns, console=self, transient=True, disable=not self.is_terminal)


class Shares:
    """A table of verdicts: for each thing and device, its largest error in units of its budget at each dtype."""

    def __init__(self, lines: Lines, names: Iterable[str], dtypes: Sequence[torch.dtype]) -> None:
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
