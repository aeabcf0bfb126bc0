"""What frameworks take at the kinks of common operations, and which of these a function is at.

The words are those of the atlas, docs/kinks.md; a test holds them to its record.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

TAKEN = {
    "relu at 0": "0 in torch, JAX, TensorFlow, Paddle, MLX, tinygrad",
    "abs at 0": "0 in torch, TensorFlow, Paddle, MLX, tinygrad; 1 in JAX",
    "clamp at its lower bound": "1 in torch, TensorFlow, Paddle, tinygrad; ½ in JAX; 0 in MLX",
    "clamp at its upper bound": "1 in torch, TensorFlow, Paddle, tinygrad; ½ in JAX; 0 in MLX",
    "max": "even shares in torch, JAX, TensorFlow, Paddle, MLX, tinygrad",
    "max along a dim": "the first in torch; even shares in JAX, TensorFlow, Paddle, MLX, tinygrad",
    "amax": "even shares in torch, JAX, Paddle",
    "min": "even shares in torch, JAX, TensorFlow, Paddle, MLX, tinygrad",
    "maximum": "even shares in torch, JAX, Paddle, tinygrad; the first in TensorFlow; the last in MLX",
    "minimum": "even shares in torch, JAX, Paddle, tinygrad; the first in TensorFlow; the last in MLX",
    "max_pool": "the first in torch, JAX, TensorFlow, Paddle; even shares in MLX, tinygrad",
    "topk": "the first in torch, JAX, TensorFlow, Paddle; the last in MLX; uneven shares in tinygrad",
    "1-norm of 0": "0 in torch, TensorFlow, Paddle, MLX; 1 in JAX",
    "2-norm of 0": "0 in torch, Paddle; nan in JAX, TensorFlow, MLX",
    "∞-norm of 0": "0 in torch, TensorFlow, Paddle, MLX; ¼ in JAX",
}
NORMS = {1: "1-norm of 0", 2: "2-norm of 0", math.inf: "∞-norm of 0"}


def convention(function: Callable[..., Any], inputs: Sequence[Any]) -> str:
    """What frameworks take where one operation of the function is at a kink; empty where that is not one of `TAKEN`."""
    seen = AtKink()
    with suppress(Exception), seen:  # what raises is no operation's kink
        function(*inputs)
    return "".join(f"{name}: {TAKEN[name]}" for name in seen.names if len(seen.names) == 1 and name in TAKEN)


class AtKink(TorchFunctionMode):
    """Remembers the operations that are called at one of their kinks, by their names in the atlas."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        with suppress(Exception):  # called in a way that is not looked for
            self.names |= set(_kinks(getattr(func, "__name__", "").strip("_"), *args, **kwargs))
        return func(*args, **kwargs)


def _kinks(name: str, x: Tensor, *args: Any, **kwargs: Any) -> list[str]:
    """The kinks that an operation is at."""
    others = [*args, *kwargs.values()]
    if name in ("relu", "abs"):
        return [f"{name} at 0"] * (not bool(x.all()))
    if name in ("clamp", "clip"):
        low, high = (kwargs.get(bound, args[i] if len(args) > i else None) for i, bound in enumerate(("min", "max")))
        ends = {"clamp at its lower bound": low, "clamp at its upper bound": high}
        return [end for end, bound in ends.items() if bound is not None and bool((x == bound).any())]
    if name in ("norm", "vector_norm", "linalg_vector_norm", "linalg_norm"):
        p = kwargs.get("p", kwargs.get("ord", args[0] if args else 2))
        size = torch.linalg.vector_norm(x, dim=kwargs.get("dim", args[1] if len(args) > 1 else None))
        return [NORMS[2 if p in (None, "fro") else p]] * (not bool(size.all()))
    if name in ("max", "min", "maximum", "minimum") and others and isinstance(others[0], Tensor):
        return [{"max": "maximum", "min": "minimum"}.get(name, name)] * bool((x == others[0]).any())
    if name in ("max", "min", "amax"):
        dim = kwargs.get("dim", args[0] if args else ())
        best = x.amin(dim, keepdim=True) if name == "min" else x.amax(dim, keepdim=True)
        along = f"{name} along a dim" if name != "amax" and dim != () else name
        return [along] * bool(((x == best).sum(dim or None) > 1).any())
    if name == "topk" or name.startswith("max_pool"):
        return [name.rstrip("123d")] * (x.unique().numel() < x.numel())
    return []
