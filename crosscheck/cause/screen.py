"""Which mistakes can it be? A projection of the error tells, before any gradient is computed whole.

Move an input x along a direction v: each value u of the forward moves along its tangent t = ∂u/∂x · v. A mistake at one
operation adds some Δ to the gradient of u, and by that (∂u/∂x)ᵀ Δ to the gradient of x. As

    ⟨v, (∂u/∂x)ᵀ Δ⟩ = ⟨t, Δ⟩,

it is the mistake that was made only if ⟨t, Δ⟩ = ⟨v, m − o⟩. Along two random directions hardly another one passes, and
a forward for each is all that it costs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crosscheck.verdict.precision import norm

DIRECTIONS = 2
STEP = 2.0**-24  # of the largest number of an input: tangents are then right to some six digits
CLOSE = 2.0**-14  # of all that is summed: projections that are no farther apart may be the same
LONGEST = 1024  # slices of a dimension among which a block is looked for

Tangents = tuple[Mapping[Any, Tensor], Sequence[Any]]  # of what is differentiated, by its key, and of the outs


@dataclass(frozen=True)
class Screen:
    """What a mistake comes to along each direction.

    place: that of the wrong gradient among all. target: ⟨v, m − o⟩, known up to slack. tangents, of_outs: for all
    directions, in rows.
    """

    place: int
    directions: Tensor
    target: Tensor
    slack: Tensor
    tangents: Mapping[Any, Tensor]
    of_outs: Sequence[Tensor | None]

    @classmethod
    def of(
        cls, place: int, x: Tensor, error: Tensor, wrong: Tensor, budget: float, moved: Callable[[Tensor], Tangents]
    ) -> "Screen":
        """Of the error of the gradient of x. Where it is not wrong x stays: there another mistake may be right, too.

        moved: how far each value of the forward moves with x.
        """
        generator = torch.Generator().manual_seed(place)
        h = STEP * (norm(x) or 1.0)
        drawn = [torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device) for _ in range(DIRECTIONS)]
        v = torch.stack([d * wrong for d in drawn])
        columns = [moved(h * each) for each in v]
        keys = set.intersection(*(set(values) for values, _ in columns))

        def rows(tensors: Sequence[Tensor]) -> Tensor:
            return torch.stack([t.flatten() for t in tensors]).div_(h).nan_to_num_(0, 0, 0)

        return cls(
            place, v.flatten(1), v.flatten(1) @ error.flatten(), 2 * budget * v.flatten(1).abs().sum(1),
            {key: rows([values[key] for values, _ in columns]) for key in keys},
            [None if outs[0] is None else rows(outs) for outs in zip(*(outs for _, outs in columns), strict=True)],
        )  # fmt: skip

    def is_sound(self, gradient: Tensor, grads_out: Sequence[Any]) -> bool:
        """Whether the tangents say of the right gradient itself what it is: near a kink they do not."""
        pairs = [(t, g.flatten()) for t, g in zip(self.of_outs, grads_out, strict=True) if t is not None]
        if not all(t.shape[1] == g.numel() for t, g in pairs):
            return False
        along = self.directions @ gradient.flatten()
        size = self.directions.abs() @ gradient.flatten().abs() + sum(t.abs() @ g.abs() for t, g in pairs)
        return bool(((sum(t @ g for t, g in pairs) - along).abs() <= CLOSE * size).all())

    def fit(self, key: Any, deltas: Sequence[Tensor]) -> list[bool]:
        """Of each of these whether it may be that it comes to the gradient of the value."""
        t = self.tangents.get(key)
        if t is None or not deltas:
            return [True for _ in deltas]
        delta = torch.stack([delta.flatten() for delta in deltas], 1)
        off = (t @ delta - self.target[:, None]).abs()
        fits: list[bool] = (off <= CLOSE * (t.abs() @ delta.abs()) + self.slack[:, None]).all(0).tolist()
        return fits

    def fits_outs(self, deltas: Sequence[Any]) -> bool:
        """Whether it may be that these come to grad_out."""
        pairs = [(t, d.flatten()) for t, d in zip(self.of_outs, deltas, strict=True) if t is not None]
        return self.comes_to(
            torch.stack([t @ d for t, d in pairs]).sum(0), torch.stack([t.abs() @ d.abs() for t, d in pairs]).sum(0)
        )

    def comes_to(self, along: Tensor, size: Tensor) -> bool:
        """Whether these projections, of terms of this size in all, may be those of the error."""
        return bool(((along - self.target).abs() <= CLOSE * size + self.slack).all())

    def factor(self, along: Tensor, size: Tensor) -> float | None:
        """The c with which c times these projections may be those of the error."""
        c = float((along @ self.target) / (along @ along)) if along.any() else 0.0
        return c if c and self.comes_to(c * along, abs(c) * size) else None

    def pairs(self, projections: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[int, int]]:
        """Which two of these, of what comes back, may be missing in all."""
        if len(projections) < 2:
            return []
        along, sizes = (torch.stack(column, 1) for column in zip(*projections, strict=True))
        off = (along[:, :, None] + along[:, None, :] + self.target[:, None, None]).abs()
        near = CLOSE * (sizes[:, :, None] + sizes[:, None, :]) + self.slack[:, None, None]
        found: list[tuple[int, int]] = torch.nonzero((off <= near).all(0).triu(1)).tolist()
        return found

    def along(self, key: Any, gradient: Tensor) -> tuple[Tensor, Tensor] | None:
        """The projections of what comes back as this, and their size."""
        t = self.tangents.get(key)
        return None if t is None else (t @ gradient.flatten(), t.abs() @ gradient.flatten().abs())

    def of_whole(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Those of what comes to the wrong gradient itself."""
        return self.directions @ gradient.flatten(), self.directions.abs() @ gradient.flatten().abs()

    def lost(self, t: Tensor | None, gradient: Tensor) -> Iterator[tuple[int, int, int, int]]:
        """The blocks of slices of a gradient without which the error would be there: dimension, period, first, last.

        Of several periods in a dimension, as where it was flattened, each may have lost the same slices.
        """
        if t is None or not gradient.dim():
            return
        shares = (t * gradient.flatten()).view(-1, *gradient.shape)
        for dim, whole in enumerate(gradient.shape):
            for length in range(whole, 1, -1) if whole <= LONGEST else ():
                if whole % length:
                    continue
                over = [d + 1 for d in range(gradient.dim() + 1) if d != dim + 1]
                parts = shares.unflatten(dim + 1, (-1, length))
                each, sizes = (x.sum(over) for x in (parts, parts.abs()))
                until, size = (torch.nn.functional.pad(x.cumsum(1), (1, 0)) for x in (each, sizes))
                # From each slice to each: what is lost has the other sign
                lost = until[:, :, None] - until[:, None, :] - self.target[:, None, None]
                near = CLOSE * (size[:, None, :] - size[:, :, None]) + self.slack[:, None, None]
                found = torch.nonzero((lost.abs() <= near).all(0)).tolist()
                for start, stop in sorted(found, key=lambda ends: ends[1] - ends[0]):  # without what counts for nothing
                    if start < stop and stop - start < length:
                        yield dim, length, start, stop - 1
