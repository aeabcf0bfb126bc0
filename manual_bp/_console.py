"""The console: rich's, or a plain one where rich is not installed."""

import sys
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from typing import Any


def console(*, stderr: bool = False) -> Any:
    """What prints lines, in a style, and shows progress."""
    try:
        from manual_bp._rich import Lines
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

    def update(self, task: None, *, description: str = "", completed: int = 0) -> None: ...

    def advance(self, task: None) -> None: ...


class NotebookLine:
    """Progress in a notebook: one output, a line of text that is updated, and stays."""

    def __init__(self) -> None:
        self.display: Any = None
        self.description = ""
        self.total = self.completed = 0

    def __enter__(self) -> "NotebookLine":
        return self

    def __exit__(self, *_: object) -> None: ...

    def add_task(self, description: str, *, total: int) -> None:
        self.description, self.total = description, total

    def update(self, task: None, *, description: str = "", completed: int | None = None) -> None:
        self.description = description or self.description
        self.completed = self.completed if completed is None else completed
        text = {"text/plain": f"{self.description} ({self.completed}/{self.total})"}
        if self.display:
            self.display.update(text, raw=True)
        else:
            self.display = import_module("IPython.display").display(text, raw=True, display_id=True)

    def advance(self, task: None) -> None:
        self.update(task, completed=self.completed + 1)


class Silent(Plain):
    """Nothing at all."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def print(self, text: str = "", *, style: str | None = None, end: str = "\n") -> None: ...
