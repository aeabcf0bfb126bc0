"""The option --figure of the commands."""

import importlib.util
from pathlib import Path
from typing import Any

from manual_bp._files import whole
from manual_bp.commands import CommandError


def can_draw(file: str) -> None:
    """Refuse, before minutes are spent on it, what could not be drawn."""
    if importlib.util.find_spec("matplotlib") is None:
        raise CommandError(f"--figure {file}: matplotlib is not installed: pip install 'manual-bp[figures]'")
    if Path(file).suffix not in (".svg", ".png", ".pdf"):
        raise CommandError(f"--figure {file}: expected a name that ends in .svg, .png or .pdf")
    if not Path(file).absolute().parent.is_dir():
        raise CommandError(f"--figure {file}: there is no directory {Path(file).absolute().parent}")


def write(figure: Any, file: str) -> None:
    """Write a matplotlib figure."""
    try:
        with whole(Path(file)) as draft:
            figure.savefig(draft)
    except OSError as error:
        raise CommandError(f"--figure {file}: {error.strerror}") from None
