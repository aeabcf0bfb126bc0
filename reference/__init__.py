"""The judge: autograd twins, and the verdict on hand-written gradients. It never imports what it judges."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reference.check import assert_crosscheck, compare, crosscheck
    from reference.ladder import judge
    from reference.report import GradientMismatch, Report, Row

__all__ = ["GradientMismatch", "Report", "Row", "assert_crosscheck", "compare", "crosscheck", "judge"]

_HOMES = {"assert_crosscheck": "check", "compare": "check", "crosscheck": "check", "judge": "ladder"}


def __getattr__(name: str) -> Any:
    """Load torch with the first name that needs it."""
    if name in __all__:
        return getattr(import_module(f"reference.{_HOMES.get(name, 'report')}"), name)
    raise AttributeError(f"module 'reference' has no attribute {name!r}")
