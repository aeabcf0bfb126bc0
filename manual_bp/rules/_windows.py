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
        X = pad(x, self._edges(1), value=fill)  # [..., *padded], and in the end [..., *windows, *places]
        each = zip(self._span(), self.stride, self.dilation, strict=True)
        for i, (span, stride, dilation) in enumerate(each, X.dim() - d):
            X = X.unfold(i, span, stride)[..., ::dilation]
        return X.flatten(-2 * d, -d - 1).flatten(-d)

    def adjoint(self, grad: Tensor, lengths: Sequence[int]) -> Tensor:
        """grad [..., p, k] -> [..., *lengths]: each element is added to the one that it was taken from."""
        counts = self.along(lengths)
        padded = [length + 2 * padding for length, padding in zip(lengths, self.padding, strict=True)]
        total = grad.new_zeros(*grad.shape[:-2], *padded)
        places = product(*(range(0, span, d) for span, d in zip(self._span(), self.dilation, strict=True)))
        for place, grad_k in zip(places, grad.unflatten(-2, counts).unbind(-1), strict=True):  # [..., *windows]
            # Windows overlap, but no two of them have one element at the same place: these lie a stride apart.
            each = zip(place, counts, self.stride, strict=True)
            at: Any = (..., *(slice(first, first + count * stride, stride) for first, count, stride in each))
            total[at].add_(grad_k)
        return pad(total, self._edges(-1))

    def _edges(self, sign: int) -> list[int]:
        """The padding as torch.nn.functional.pad takes it; what is negative is cut off."""
        return [sign * edge for padding in reversed(self.padding) for edge in (padding, padding)]

    def _span(self) -> list[int]:
        return [(size - 1) * dilation + 1 for size, dilation in zip(self.size, self.dilation, strict=True)]


def _each(extent: Extent, dimensions: int) -> tuple[int, ...]:
    return (extent,) * dimensions if isinstance(extent, int) else tuple(extent)
