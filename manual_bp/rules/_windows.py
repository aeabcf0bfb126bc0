"""Windows that slide over the last dimensions of a tensor, as convolutions and poolings see it, and their adjoint."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

from torch import Tensor
from torch.nn.functional import pad

Extent = int | Sequence[int]


class Windows(NamedTuple):
    """In each dimension, place k of the window at p holds the element p·stride + k·dilation − padding."""

    size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @classmethod
    def sliding(cls, size: Sequence[int], stride: Extent, padding: Extent, dilation: Extent) -> "Windows":
        """One number stands for every dimension."""
        return cls(tuple(size), *(_each(extent, len(size)) for extent in (stride, padding, dilation)))

    def along(self, lengths: Sequence[int]) -> list[int]:
        """How many windows there are in each dimension."""
        each = zip(lengths, self.padding, self._span(), self.stride, strict=True)
        return [(length + 2 * padding - span) // stride + 1 for length, padding, span, stride in each]

    def under(self, counts: Sequence[int], more: Extent) -> list[int]:
        """The lengths that so many windows cover, without their padding, and more at the end."""
        each = zip(counts, self.padding, self._span(), self.stride, _each(more, len(counts)), strict=True)
        return [(count - 1) * stride + span - 2 * padding + more for count, padding, span, stride, more in each]

    def of(self, x: Tensor, fill: float = 0.0) -> Tensor:
        """x [..., *lengths] -> [..., p, k]: windows p, places k in them, each flattened over the dimensions."""
        d = len(self.size)
        return self._view(pad(x, self._edges(1), value=fill)).flatten(-2 * d, -d - 1).flatten(-d)

    def adjoint(self, grad: Tensor, lengths: Sequence[int]) -> Tensor:
        """grad [..., p, k] -> [..., *lengths]: each element is added to the one that it was taken from."""
        padded = [length + 2 * padding for length, padding in zip(lengths, self.padding, strict=True)]
        total = grad.new_zeros(*grad.shape[:-2], *padded)
        to, grad = self._view(total), grad.unflatten(-1, self.size).unflatten(-len(self.size) - 1, self.along(lengths))
        for place in product(*map(range, self.size)):
            # Windows overlap, but no two of them have one element at the same place.
            at: Any = (..., *place)
            to[at].add_(grad[at])
        return pad(total, self._edges(-1))

    def _edges(self, sign: int) -> list[int]:
        """The padding as torch.nn.functional.pad takes it; what is negative is cut off."""
        return [sign * edge for padding in reversed(self.padding) for edge in (padding, padding)]

    def _span(self) -> list[int]:
        return [(size - 1) * dilation + 1 for size, dilation in zip(self.size, self.dilation, strict=True)]

    def _view(self, padded: Tensor) -> Tensor:
        """padded [..., *lengths] as [..., *windows, *places], without a copy."""
        lead = padded.dim() - len(self.size)
        each = zip(self._span(), self.stride, self.dilation, strict=True)
        for i, (span, stride, dilation) in enumerate(each):
            padded = padded.unfold(lead + i, span, stride)[..., ::dilation]
        return padded


def _each(extent: Extent, dimensions: int) -> tuple[int, ...]:
    return (extent,) * dimensions if isinstance(extent, int) else tuple(extent)
