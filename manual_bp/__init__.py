"""Backward propagation written by hand, with torch tensors and no autograd."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manual_bp import article, rules
    from manual_bp.network import Gradients, Network, Trace
    from manual_bp.training import History
    from manual_bp.transformer import Transformer

__all__ = ["Gradients", "History", "Network", "Trace", "Transformer", "article", "rules"]
__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Load torch with the first name that needs it, so that `manual-bp --help` does not wait for it."""
    if name in ("article", "rules"):
        return import_module(f"manual_bp.{name}")
    if name in __all__:
        module = "transformer" if name == "Transformer" else "network"
        return getattr(import_module(f"manual_bp.{module}"), name)
    raise AttributeError(f"module 'manual_bp' has no attribute {name!r}")
