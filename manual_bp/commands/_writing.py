"""What the commands that write files have in common, pictures above all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from manual_bp.commands import CommandError


def matplotlib_for(what: str) -> None:
    """Refuse what would be drawn where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise CommandError(f"{what}: matplotlib is not installed: pip install 'manual-bp[figures]'")


def can_write(what: str, file: str) -> None:
    """Refuse, before minutes are spent on it, a file that could not be written."""
    path = Path(file).absolute()
    if path.is_dir():
        raise CommandError(f"{what}: expected a file, got a directory")
    if not path.parent.is_dir():
        raise CommandError(f"{what}: expected a directory that exists, got no {path.parent}: make it first")
    if not (os.access(path, os.W_OK) if path.exists() else os.access(path.parent, os.W_OK)):
        raise CommandError(f"{what}: expected a file that may be written, got no permission: choose another")


def can_write_into(what: str, folder: str) -> None:
    """The same of a directory, which need not be there."""
    path = Path(folder).absolute()
    there = next(place for place in (path, *path.parents) if place.exists())
    if not there.is_dir():
        raise CommandError(f"{what}: expected a directory, got the file {there}")


def can_draw(file: str) -> None:
    """The same of a figure."""
    what = f"--figure {file}"
    matplotlib_for(what)
    if Path(file).suffix not in (".svg", ".png", ".pdf"):
        raise CommandError(f"{what}: expected a name that ends in .svg, .png or .pdf")
    can_write(what, file)


@contextmanager
def writing(what: str) -> Iterator[None]:
    """Within it, a file is written; where that fails, it is said of what, and why."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"{what}: {error.strerror or error}") from None


def draw(figure: Any, file: str) -> None:
    """Write a matplotlib figure."""
    from manual_bp.figures import save

    with writing(f"--figure {file}"):
        save(figure, Path(file))
