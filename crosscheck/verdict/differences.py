"""Is autograd itself off? Differences of the truth tell, where autograd sees all of its steps.

J = Σ grad_out · out is moved along a direction d, and (J(x + hd) − J(x − hd)) / 2h compared with ⟨∂J/∂x, d⟩.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from crosscheck.verdict.numerical import derivative_along
from crosscheck.verdict.precision import (
    in_layout_of,
    room,
    widened,
)  # fmt: skip
from crosscheck.verdict.sides import Sides

NEARBY = 2.0**-6  # the share of themselves by which numbers are moved, at most
ROUGHLY = 2.0**-10  # of a derivative: with a larger doubt nothing is told

Moves = Mapping[int, Tensor]  # by the place of an input


@dataclass(frozen=True)
class Differences:
    """What differences of the truth say of the gradients in float64."""

    sides: Sides

    def have(self, name: str, m: Tensor, o: Tensor) -> bool:
        """Whether they have the hand-written gradient, and not autograd's, to as many digits as it takes.

        Along m − o, where the two are farthest apart, and along random directions, extrapolated to a step of 0.
        """
        place = self.sides.of.places.get(name)
        if place is None or not self._can_be_taken:
            return False
        x = widened(self.sides.inputs)[place]
        generator = torch.Generator().manual_seed(self.sides.of.seed)
        m, o = m.to(x.device), o.to(x.device)

        def directions() -> Iterator[Tensor]:
            yield m - o
            for _ in range(2):
                yield room(x) * torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device)

        for number, d in enumerate(direction_at(x, each) for each in directions()):
            d = d / max(float((d.abs() / room(x)).max()), math.ulp(0.0))
            if number == 0 and self._is_clearly({place: d}, float((o * d).sum()), float((m * d).sum())):
                return False
            found, doubt = self._derivative({place: d})
            by_hand, by_autograd = float((m * d).sum()), float((o * d).sum())
            size = float(torch.maximum((m * d).abs(), (o * d).abs()).sum())
            # They have to tell the two apart where these are farthest apart, and be those by hand everywhere.
            if not doubt <= ROUGHLY * size or abs(found - by_hand) > max(4 * doubt, 2**-30 * size):
                return False
            if number == 0 and 8 * doubt > abs(by_hand - by_autograd):
                return False
        return True

    @property
    def _can_be_taken(self) -> bool:
        of = self.sides.of
        return of.values is not None and not of.hides and self.sides.dtype == torch.float64

    def _cost(self, moves: Moves) -> Callable[[float], float]:
        """J by how far the inputs are moved."""
        return lambda h: sum(float(term.sum()) for term in self.sides.terms(moves, h))

    def _is_clearly(self, moves: Moves, by_autograd: float, by_hand: float) -> bool:
        """Whether one difference tells already that it is autograd's."""
        try:
            J, h = self._cost(moves), NEARBY / 64
            found = (J(h) - J(-h)) / (2 * h)
        except Exception:
            return True
        return abs(found - by_autograd) < abs(found - by_hand) / 8

    def _derivative(self, moves: Moves) -> tuple[float, float]:
        """The derivative along a direction, and its doubt, which is infinite where the truth raises."""
        try:
            return derivative_along(self._cost(moves), NEARBY)
        except Exception:
            return math.nan, math.inf


def direction_at(x: Tensor, d: Tensor) -> Tensor:
    """One that leaves symmetric what is, for of a symmetric matrix functions read one half alone; in x's layout."""
    d = in_layout_of(x, d)
    is_symmetric = x.dim() > 1 and x.shape[-1] == x.shape[-2] and torch.equal(x, x.mT)
    return (d + d.mT) / 2 if is_symmetric else d
