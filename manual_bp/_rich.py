"""The console, with colours and a bar of progress."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class Lines(Console):
    """A console that prints every line as long as it is, plain in a pipe, and leaves a closed pipe to its caller."""

    def __init__(self, *, stderr: bool) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def progress(self) -> Progress:
        """A bar below the lines, on a terminal only, that goes when the work is done."""
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        return Progress(*columns, console=self, transient=True, disable=not self.is_terminal)
