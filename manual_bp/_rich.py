"""The console, with colours and a bar of progress."""

import time
from importlib import import_module
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


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


class NotebookLine:
    """Progress in a notebook: one output, a line of text that is updated, ten times a second at most, and stays."""

    def __init__(self) -> None:
        self.display: Any = None
        self.description = ""
        self.total = self.completed = 0
        self.shown = 0.0

    def __enter__(self) -> "NotebookLine":
        return self

    def __exit__(self, *_: object) -> None: ...

    def add_task(self, description: str, *, total: int) -> None:
        self.description, self.total = description, total

    def update(self, task: None, *, description: str = "", completed: int | None = None) -> None:
        self.description = description or self.description
        self.completed = self.completed if completed is None else completed
        if time.monotonic() < self.shown + 0.1 and self.completed < self.total:
            return
        self.shown = time.monotonic()
        text = {"text/plain": f"{self.description} ({self.completed}/{self.total})"}
        if self.display:
            self.display.update(text, raw=True)
        else:
            self.display = import_module("IPython.display").display(text, raw=True, display_id=True)

    def advance(self, task: None) -> None:
        self.update(task, completed=self.completed + 1)
