"""The judge of hand-written gradients: a verdict without a tolerance, and the mistake by its name.

It never imports what it judges.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crosscheck.check import assert_crosscheck, compare, crosscheck
    from crosscheck.report import GradientMismatch, Report

__all__ = ["GradientMismatch", "Report", "assert_crosscheck", "compare", "crosscheck"]


def __getattr__(name: str) -> Any:
    """Load torch with the first name that needs it."""
    if name in __all__:
        module = "report" if name in ("GradientMismatch", "Report") else "check"
        return getattr(import_module(f"crosscheck.{module}"), name)
    raise AttributeError(f"module 'crosscheck' has no attribute {name!r}")
