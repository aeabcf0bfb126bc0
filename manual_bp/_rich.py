"""The console, with colours and a bar of progress."""

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from manual_bp._console import NotebookLine


class Lines(Console):
    """A console that prints every line as long as it is, plain in a pipe, and leaves a closed pipe to its caller."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def progress(self) -> Any:
        """A bar below the lines, on a terminal only, that goes when the work is done; in a notebook one line."""
        if self.is_jupyter:
            return NotebookLine()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        # FORCE_COLOR makes a pipe a terminal for rich, but not one that a bar can be drawn on.
        is_drawn = self.is_terminal and self.file.isatty()
        return Progress(*columns, console=self, transient=True, disable=not is_drawn)
