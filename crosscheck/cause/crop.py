"""A crop of large inputs: the same function of a slice of each, on which a mistake can be looked for."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from crosscheck.verdict.precision import is_floating, is_small

LEAST = 4  # numbers of a dimension are left


def cropped(inputs: Sequence[Any]) -> list[Any] | None:
    """The first slices of each, small in all, if they can be that; what has one length is cropped to one length.

    Whole numbers may be places in a dimension that is cropped: they are taken modulo its new length.
    """
    tensors = [x for x in inputs if isinstance(x, Tensor)]
    lengths = {n: n for x in tensors for n in x.shape}
    while not is_small(of := [_to(x, lengths) for x in inputs]):
        longest = max(lengths, key=lengths.__getitem__)
        if lengths[longest] <= LEAST:
            return None
        lengths[longest] = max(LEAST, lengths[longest] // 2)
    least = min((new for old, new in lengths.items() if new < old), default=1)
    return [_within(x, least) for x in of]


def _to(x: Any, lengths: dict[int, int]) -> Any:
    """The first slices of each dimension."""
    return x[tuple(slice(lengths[n]) for n in x.shape)] if isinstance(x, Tensor) else x


def _within(x: Any, length: int) -> Any:
    if isinstance(x, Tensor) and not is_floating(x) and not x.is_complex() and x.dtype.itemsize > 1:
        return x % length
    return x


def words(inputs: Sequence[Any], names: Sequence[str]) -> str:
    """The shapes of a crop."""
    shapes = ((name, list(x.shape)) for name, x in zip(names, inputs, strict=True) if isinstance(x, Tensor))
    return ", ".join(f"{name} {shape}" for name, shape in shapes)
