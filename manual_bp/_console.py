"""The console: rich's, or a plain one where rich is not installed."""

import sys
from contextlib import AbstractContextManager, nullcontext
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


class Silent(Plain):
    """Nothing at all."""

    def __init__(self) -> None:
        super().__init__(stderr=True)

    def print(self, text: str = "", *, style: str | None = None, end: str = "\n") -> None: ...
