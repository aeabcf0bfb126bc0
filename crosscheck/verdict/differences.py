"""Is autograd itself off? Differences of the truth tell, where autograd sees all of its steps.

J = Σ grad_out · out is moved along a direction d, and (J(x + hd) − J(x − hd)) / 2h compared with ⟨∂J/∂x, d⟩.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from crosscheck.verdict.numerical import derivative_along
from crosscheck.verdict.precision import (
    in_layout_of,
    is_finite,
    is_floating,
    is_small,
    is_whole,
    norm,
    room,
    stepped,
    widened,
)  # fmt: skip
from crosscheck.verdict.sides import Sides

NEARBY = 2.0**-6  # the share of themselves by which numbers are moved, at most
ROUGHLY = 2.0**-10  # of a derivative, by which autograd has to be off to be said to be

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
        random = [torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device) for _ in range(2)]
        for number, d in enumerate(_direction(each, x) for each in (m - o, *random)):
            found, doubt = self._derivative({place: d})
            by_hand, by_autograd, size = (float(each.sum()) for each in (m * d, o * d, (m * d).abs()))
            # They have to tell the two apart where these are farthest apart, and be those by hand everywhere.
            if not doubt <= ROUGHLY * size or abs(found - by_hand) > max(4 * doubt, 2**-30 * size):
                return False
            if number == 0 and 8 * doubt > abs(by_hand - by_autograd):
                return False
        return True

    def are_off(self, name: str) -> str:
        """What is said where autograd's own gradients are not theirs, in one random direction and roughly, if so."""
        return self._off if name in self.sides.of.places else ""

    @cached_property
    def _off(self) -> str:
        if not self._can_be_taken or not is_small(self.sides.inputs):
            return ""
        moves, expected, size = self._randomly()
        if not moves:
            return ""
        try:
            off = self._is_off(moves, expected, size, ())
            # Saved statistics are outs, too, and torch ignores what comes back from them.
            if off and self.sides.of.grads_out > 1:
                off = self._is_off(moves, expected, size, self._ignored())
        except Exception:  # what raises where it is only moved costs that look
            return ""
        return off

    def _randomly(self) -> tuple[Moves, float, float]:
        """A random direction, autograd's derivative along it, and the size of what that is summed up of."""
        generator = torch.Generator().manual_seed(self.sides.of.seed)
        moves: dict[int, Tensor] = {}
        expected = size = 0.0
        wide = widened(self.sides.inputs)
        whole = {place for place in self.sides.of.places.values() if is_whole(wide[place])}
        for name, place in self.sides.of.places.items():
            x, o = wide[place], self.sides.oracle.get(name)
            if o is None or not is_finite(o) or (place in whole and len(whole) < len(self.sides.of.places)):
                continue
            share = torch.rand(x.shape, generator=generator, dtype=torch.float64) * 2 - 1
            moves[place] = _direction(x * share.to(x.device), x)
            terms = o * moves[place]
            expected, size = expected + float(terms.sum()), size + float(terms.abs().sum())
        return moves, expected, size

    def _is_off(self, moves: Moves, expected: float, size: float, without: Collection[int]) -> str:
        J, h = self._cost(moves, without), NEARBY / 16
        rest, ahead, behind, ahead_half, behind_half = (J(step) for step in (0, h, -h, h / 2, -h / 2))
        far, near = (ahead - behind) / (2 * h), (ahead_half - behind_half) / h
        bend = abs(ahead_half - 2 * rest + behind_half) / (h / 2)  # at a kink the two sides differ
        off = abs(near - expected)
        if not off > max(ROUGHLY * max(size, abs(near)), 8 * (abs(far - near) + bend)):
            return ""
        return f"autograd itself is off here: along a random direction it has {expected:.4g}, differences {near:.4g}"

    def _ignored(self) -> set[int]:
        """The outs from which nothing comes back by autograd."""
        of, wide = self.sides.of, widened(self.sides.inputs)
        found = set[int]()
        for i in range(of.grads_out):
            alone = [g * 0 if is_floating(g) and j != i else g for j, g in enumerate(wide[: of.grads_out])]
            gradients = self.sides.by_autograd([*alone, *wide[of.grads_out :]])
            if not any(norm(gradients[name]) for name in of.places if name in gradients):
                found.add(i)
        return found

    @property
    def _can_be_taken(self) -> bool:
        return self.sides.of.values is not None and self.sides.dtype == torch.float64

    def _cost(self, moves: Moves, without: Collection[int] = ()) -> Callable[[float], float]:
        """J by how far the inputs are moved, but for some outs."""
        of, wide = self.sides.of, widened(self.sides.inputs)
        values = of.values
        assert values is not None

        def J(h: float) -> float:
            outs = values(*stepped(of.inputs, moves, h))
            pairs = zip(wide[: of.grads_out], outs, strict=False)
            terms = [g * out.to(g.dtype) for i, (g, out) in enumerate(pairs) if is_floating(g) and i not in without]
            return sum(float(term.sum()) for term in terms)

        return J

    def _derivative(self, moves: Moves) -> tuple[float, float]:
        """The derivative along a direction, and its doubt, which is infinite where the truth raises."""
        wide = widened(self.sides.inputs)
        farthest = min(NEARBY / max(float((d.abs() / room(wide[i])).max()), math.ulp(0.0)) for i, d in moves.items())
        try:
            return derivative_along(self._cost(moves), min(farthest, 1.0))
        except Exception:
            return math.nan, math.inf


def _direction(d: Tensor, x: Tensor) -> Tensor:
    """One that leaves symmetric what is, for of a symmetric matrix functions read one half alone; in x's layout."""
    d = in_layout_of(x, d)
    is_symmetric = x.dim() > 1 and x.shape[-1] == x.shape[-2] and torch.equal(x, x.mT)
    return (d + d.mT) / 2 if is_symmetric else d
