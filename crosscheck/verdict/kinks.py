"""Is an error a convention at a kink? There any subgradient will do.

A kink is a jump of the gradient: where the inputs step over it, and by half as much, the gradient changes by the same.
On a slope it changes by half. And a subgradient is one in every direction at once: along any d, for each out by
itself, ⟨m, d⟩ lies between the two one-sided derivatives.

Only the input itself is moved whose gradient it is, unless the kink is one that rounding steps over. Along a kink the
derivative of a continuous function has no jump; and in grad_out, in which it is linear, it never has one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from crosscheck.verdict.precision import (
    comparable,
    in_layout_of,
    is_floating,
    is_small,
    is_whole,
    room,
    stepped,
    unit_roundoff,
    widened,
)  # fmt: skip
from crosscheck.verdict.sides import Sides

FEW, MANY = 6, 24  # directions, each tried both ways
NEAR, FAR = 4, 16  # roundoffs: so far from the inputs rounding steps over a kink, and where the formula is right above
AT = 2.0**-44  # the share of themselves by which inputs are moved to see what lies at them
STEP = 2.0**-22  # of a one-sided difference


class Kink(NamedTuple):
    """Where a convention was taken, and whether the whole of the gradient hangs on it."""

    at: Tensor
    is_all: bool


@dataclass(frozen=True)
class Kinks:
    """The kinks of a function near its inputs in one dtype."""

    sides: Sides

    def explain(self, name: str, m: Tensor, o: Tensor, budget: float, right: bool) -> Kink | None:
        """Where the value is a convention of its own at a kink, if that is all that is wrong with it."""
        value = m.to(o.device).to(o.dtype)
        near = (FAR if right else NEAR) * unit_roundoff(self.sides.dtype)
        if found := self._seen(name, value, o, budget, AT, 0.0, at_inputs=True):
            return found
        # Where many kinks add up no step comes to the ends. With the formula right above, half as much is granted.
        return self._seen(name, value, o, budget, near, 0.5 if right else 0.0, at_inputs=False) if near > AT else None

    def _seen(
        self, name: str, m: Tensor, o: Tensor, budget: float, step: float, more: float, *, at_inputs: bool
    ) -> Kink | None:
        off = (m - o).abs() > budget
        low, high, jumps = o, o, torch.zeros_like(off)
        # A mistake is off almost everywhere: where most is right, or where they cost little, more steps are worth it.
        is_worth_more = 2 * int(off.sum()) < off.numel() or is_small(self.sides.inputs)
        for gradient in self._directions(name, at_inputs, MANY if is_worth_more and not at_inputs else FEW):
            try:
                sides = [gradient(step) - o, gradient(-step) - o]
                largest = torch.maximum(*(side.abs() for side in sides))
                if not bool(jumps.any()) and not bool((largest >= (m - o).abs() / 16)[off].any()):
                    return None
                halves = [gradient(step / 2) - o, gradient(-step / 2) - o]
            except Exception:
                continue  # what raises where it is only moved costs that direction
            is_jump = torch.zeros_like(off)
            for side, half in zip(sides, halves, strict=True):
                is_jump |= ((half - side / 2).abs() >= side.abs() / 4) & (side != 0)
            ends = torch.stack([*sides, *halves, sides[0] + sides[1], torch.zeros_like(o)]) + o
            low = torch.where(is_jump, torch.minimum(low, ends.amin(0)), low)
            high = torch.where(is_jump, torch.maximum(high, ends.amax(0)), high)
            jumps |= is_jump
            if bool((off & ~jumps).any()):
                continue
            is_subgradient = self._is_subgradient(name, m, o, budget, jumps) if at_inputs else None
            if is_subgradient is False:
                return None
            if is_subgradient or self._lies(m, low, high, budget, more):
                return Kink(off, bool((off & (high - low >= o.abs() / 2)).all()))
        # Of many that are tied only some were ahead of the others: then it is one in every direction, or none.
        if at_inputs and bool((off & jumps).any()) and self._is_subgradient(name, m, o, budget, jumps):
            return Kink(off, bool(off.all()))
        return None

    @staticmethod
    def _lies(m: Tensor, low: Tensor, high: Tensor, budget: float, more: float) -> bool:
        """Whether it lies between what was seen, and so much of that beyond."""
        slack = budget + more * (high - low)
        return bool(((low - slack <= m) & (m <= high + slack)).all())

    def _places(self, name: str, at_inputs: bool) -> Sequence[int]:
        """Of the inputs themselves that whose gradient it is; rounding steps over a kink from everywhere."""
        own, judged = self.sides.of.places.get(name), self.sides.of.judged
        if own is None:
            return list(judged)
        return [own] if at_inputs else [i for i in judged if i == own or not is_whole(self.sides.inputs[i])]

    def _directions(self, name: str, at_inputs: bool, count: int) -> Iterator[Callable[[float], Tensor]]:
        """The gradient by how far the inputs are moved in a random direction, for some of them."""
        generator = torch.Generator().manual_seed(self.sides.of.seed)
        wide = widened(self.sides.inputs)
        for _ in range(count):
            steps = {i: _random(wide[i], generator) * room(wide[i]) for i in self._places(name, at_inputs)}

            def gradient(h: float, steps: Mapping[int, Tensor] = steps) -> Tensor:
                return self.sides.by_autograd([x + h * steps[i] if i in steps else x for i, x in enumerate(wide)])[name]

            yield gradient

    def _is_subgradient(self, name: str, m: Tensor, o: Tensor, budget: float, jumps: Tensor) -> bool | None:
        """Whether it is one in every direction that is tried, by itself and with those of the other inputs.

        None where autograd's own lies in none of them.
        """
        of = self.sides.of
        place = of.places.get(name)
        if of.values is None or place is None:
            return None
        wide = widened(self.sides.inputs)
        generator = torch.Generator().manual_seed(of.seed)
        x = wide[place]
        # The errors themselves are where a wrong one shows most, also those at which no jump was seen.
        own = [m - o, (m - o) * jumps, (m - o) * ~jumps, m, torch.ones_like(x), x]
        own += [_random(x, generator) for _ in range(4)]
        gradients = {name: (m, o)}
        found = [self._is_between({place: d}, gradients, budget) for d in own]
        for other, value in self.sides.manual.items():
            if other in of.places and comparable(value, self.sides.oracle[other]):
                gradients[other] = (value.to(o.device).to(o.dtype), self.sides.oracle[other])
        if len(gradients) > 1:
            xs = {of.places[other]: wide[of.places[other]] for other in gradients}
            found.append(self._is_between({i: torch.ones_like(x) for i, x in xs.items()}, gradients, budget))
            found.append(self._is_between(xs, gradients, budget))
            for _ in range(4):
                together = {i: _random(x, generator) for i, x in xs.items()}
                found.append(self._is_between(together, gradients, budget))
        return False if False in found else (True if True in found else None)

    def _is_between(
        self, d: Mapping[int, Tensor], gradients: Mapping[str, tuple[Tensor, Tensor]], budget: float
    ) -> bool | None:
        """Whether ⟨m, d⟩ lies between the one-sided derivatives; None where autograd's own does not, or d is none."""
        of, inputs = self.sides.of, self.sides.inputs
        wide = widened(inputs)
        largest = max(
            float((step.to(wide[i].device).abs() / room(wide[i])).max()) for i, step in d.items() if step.numel()
        )
        if not largest:
            return None
        steps = {i: in_layout_of(wide[i], step.to(wide[i].device) / largest) for i, step in d.items()}

        def outs(h: float) -> list[Tensor]:
            assert of.values is not None
            found = zip(wide[: of.grads_out], of.values(*stepped(inputs, steps, h)), strict=False)
            return [g * out.to(g.dtype) for g, out in found if is_floating(g)]

        low = high = doubt = 0.0
        try:
            for rest, ahead, behind in zip(outs(0), outs(STEP), outs(-STEP), strict=True):
                one, other = (ahead - rest) / STEP, (rest - behind) / STEP
                low += float(torch.minimum(one, other).sum())
                high += float(torch.maximum(one, other).sum())
                rounding = unit_roundoff(torch.float64) / STEP * float(rest.abs().sum())
                doubt += 2**-16 * float((one.abs() + other.abs()).sum()) + 8 * rounding
        except Exception:
            return None
        by_hand = by_autograd = 0.0
        for name, (m, o) in gradients.items():
            step = steps.get(of.places[name])
            if step is not None:
                by_hand, by_autograd = by_hand + float((m * step).sum()), by_autograd + float((o * step).sum())
                doubt += budget * float(step.abs().sum())
        if not low - doubt <= by_autograd <= high + doubt:
            outside = max(low - by_autograd, by_autograd - high)
            return None if high - low > outside / 8 else False  # there is no kink, and autograd is off
        return low - doubt <= by_hand <= high + doubt


def _random(x: Tensor, generator: Generator) -> Tensor:
    """From −1 to 1, in the shape of x."""
    return torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device) * 2 - 1
