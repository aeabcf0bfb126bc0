"""What the commands that draw have in common."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from manual_bp.commands import CommandError


def matplotlib_for(what: str) -> None:
    """Refuse what would be drawn where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise CommandError(f"{what}: matplotlib is not installed: pip install 'manual-bp[figures]'")


def can_draw(file: str) -> None:
    """Refuse, before minutes are spent on it, what could not be drawn."""
    matplotlib_for(f"--figure {file}")
    if Path(file).suffix not in (".svg", ".png", ".pdf"):
        raise CommandError(f"--figure {file}: expected a name that ends in .svg, .png or .pdf")
    if not Path(file).absolute().parent.is_dir():
        raise CommandError(f"--figure {file}: there is no directory {Path(file).absolute().parent}")


def write(figure: Any, file: str) -> None:
    """Write a matplotlib figure."""
    from manual_bp.figures import save

    try:
        save(figure, Path(file))
    except OSError as error:
        raise CommandError(f"--figure {file}: {error.strerror}") from None
