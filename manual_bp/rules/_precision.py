"""How a rule computes in half precision."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
HALF = (torch.bfloat16, torch.float16)


def half_in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Compute bfloat16 and float16 in float32 inside, and round the results once, as torch's own kernels do.

    For a function of many steps, whose roundings would add up, or whose squares float16 cannot hold.
    """

    @wraps(function)
    def widened(*args: P.args, **options: P.kwargs) -> R:
        half = next((x.dtype for x in _flat(args) if isinstance(x, Tensor) and x.dtype in HALF), None)
        if half is None:
            return function(*args, **options)
        wide: Any = _converted(args, half, torch.float32)
        return cast(R, _converted(function(*wide, **options), torch.float32, half))

    return widened


def _flat(values: Any) -> Any:
    for value in values:
        if isinstance(value, tuple):
            yield from _flat(value)
        else:
            yield value


def _converted(values: Any, old: torch.dtype, new: torch.dtype) -> Any:
    """The tensors of the old dtype in the new one, also inside of tuples."""
    if isinstance(values, tuple):
        return tuple(_converted(value, old, new) for value in values)
    return values.to(new) if isinstance(values, Tensor) and values.dtype == old else values
