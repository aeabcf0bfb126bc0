"""How a rule computes in half precision."""

from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
HALF = {torch.bfloat16, torch.float16}


def half_in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """Compute bfloat16 and float16 in float32 inside, and round the results once, as torch's own kernels do.

    For a function of many steps, whose roundings would add up, or whose squares float16 cannot hold. Inputs of several
    dtypes are left to torch's own rules of promotion.
    """

    @wraps(function)
    def rounded_once(*args: P.args, **options: P.kwargs) -> R:
        dtypes = {x.dtype for x in _tensors(args) if x.is_floating_point()}
        if len(dtypes) != 1 or not dtypes <= HALF:
            return function(*args, **options)
        (half,) = dtypes
        wide: Any = _converted(args, half, torch.float32)
        return cast(R, _converted(function(*wide, **options), torch.float32, half))

    return rounded_once


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    """The tensors among the values, and in the tuples among them."""
    for value in values:
        if isinstance(value, tuple):
            yield from _tensors(value)
        elif isinstance(value, Tensor):
            yield value


def _converted(values: Any, old: torch.dtype, new: torch.dtype) -> Any:
    """The values with the tensors of the old dtype in the new one, also in tuples."""
    if isinstance(values, tuple):
        return tuple(_converted(value, old, new) for value in values)
    return values.to(new) if isinstance(values, Tensor) and values.dtype == old else values
