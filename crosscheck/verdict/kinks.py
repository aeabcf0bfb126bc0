"""Is an error a convention at a kink? There any subgradient will do.

A kink is a jump of the gradient: where the inputs step over it, and by half as much, the gradient changes by the same.
On a slope it changes by half. And a subgradient is one in every direction at once: along any d, for each out by
itself, ⟨m, d⟩ lies between the two one-sided derivatives.

Only the input itself is moved whose gradient it is, unless the kink is one that rounding steps over. Along a kink the
derivative of a continuous function has no jump; and in grad_out, in which it is linear, it never has one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from crosscheck.verdict.precision import (
    in_layout_of,
    is_floating,
    is_small,
    is_whole,
    norm,
    room,
    stepped,
    unit_roundoff,
    widened,
)
from crosscheck.verdict.sides import Sides

FEW, MANY = 6, 24  # directions, each tried both ways
NEAR, FAR = 4, 16  # roundoffs: so far from the inputs rounding steps over a kink, and where the formula is right above
AT = 2.0**-44  # the share of themselves by which inputs are moved to see what lies at them
STEP = 2.0**-22  # of a one-sided difference


@dataclass(frozen=True)
class Kinks:
    """The kinks of a function near its inputs in one dtype."""

    sides: Sides

    def explain(self, name: str, m: Tensor, o: Tensor, budget: float, right: bool) -> Tensor | None:
        """Where the value is a convention of its own at a kink, if that is all that is wrong with it."""
        value = m.to(o.device).to(o.dtype)
        if self._holds(name, value, o, budget, AT, 0.0, at_inputs=True):
            return (value - o).abs() > budget
        near = (FAR if right else NEAR) * unit_roundoff(self.sides.dtype)
        # Where many kinks add up no step comes to the ends. With the formula right above, half as much is granted.
        if near > AT and self._holds(name, value, o, budget, near, 0.5 if right else 0.0, at_inputs=False):
            return (value - o).abs() > budget
        return None

    def _holds(
        self, name: str, m: Tensor, o: Tensor, budget: float, step: float, more: float, *, at_inputs: bool
    ) -> bool:
        off = (m - o).abs() > budget
        low, high, jumps = o, o, torch.zeros_like(off)
        # A mistake is off almost everywhere: where most is right, or where they cost little, more steps are worth it.
        is_worth_more = 2 * int(off.sum()) < off.numel() or is_small(self.sides.inputs)
        for gradient in self._directions(name, at_inputs, MANY if is_worth_more and not at_inputs else FEW):
            try:
                ahead, behind = gradient(step), gradient(-step)
                change = ahead - behind
                if not bool(jumps.any()) and not bool((change.abs() >= (m - o).abs() / 16)[off].any()):
                    return False
                ahead_half, behind_half = gradient(step / 2), gradient(-step / 2)
            except Exception:
                continue  # what raises where it is only moved costs that direction
            is_jump = ((ahead_half - behind_half - change / 2).abs() >= change.abs() / 4) & (change != 0)
            ends = torch.stack([low, ahead, behind, ahead_half, behind_half, ahead + behind - o, high])
            low, high = torch.where(is_jump, ends.amin(0), low), torch.where(is_jump, ends.amax(0), high)
            jumps |= is_jump
            if bool((off & ~jumps).any()):
                continue
            within, far = (self._lies(m, low, high, budget, share) for share in (more, 1.0))
            if within or (at_inputs and far):
                is_subgradient = self._is_subgradient(name, m, o, budget) if at_inputs else None
                if within or is_subgradient is not None:
                    return is_subgradient is not False
        return False

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

    def _is_subgradient(self, name: str, m: Tensor, o: Tensor, budget: float) -> bool | None:
        """Whether it is one in every direction that is tried; None where autograd's own is in none of them."""
        values, place = self.sides.of.values, self.sides.of.places.get(name)
        if values is None or place is None:
            return None
        inputs = self.sides.inputs
        wide = widened(inputs)
        x, grads_out = wide[place], wide[: self.sides.of.grads_out]
        generator = torch.Generator().manual_seed(self.sides.of.seed)
        tried = False

        def outs(h: float, d: Tensor) -> list[Tensor]:
            found = values(*stepped(inputs, {place: d}, h))
            return [g * out.to(g.dtype) for g, out in zip(grads_out, found, strict=False) if is_floating(g)]

        for d in (m - o, m, torch.ones_like(x), x, *(_random(x, generator) for _ in range(4))):
            if not norm(d):
                continue
            d = in_layout_of(x, d.to(x.device)) / float((d.to(x.device).abs() / room(x)).max())
            with suppress(Exception):
                rests, aheads, behinds = outs(0, d), outs(STEP, d), outs(-STEP, d)
                low = high = doubt = 0.0
                for rest, ahead, behind in zip(rests, aheads, behinds, strict=True):
                    one, other = (ahead - rest) / STEP, (rest - behind) / STEP
                    low += float(torch.minimum(one, other).sum())
                    high += float(torch.maximum(one, other).sum())
                    rounding = unit_roundoff(torch.float64) / STEP * float(rest.abs().sum())
                    doubt += 2**-16 * float((one.abs() + other.abs()).sum()) + 8 * rounding
                doubt += budget * float(d.abs().sum())
                by_autograd, by_hand = float((o * d).sum()), float((m * d).sum())
                if low - doubt <= by_autograd <= high + doubt:
                    tried = True
                    if not low - doubt <= by_hand <= high + doubt:
                        return False
        return True if tried else None


def _random(x: Tensor, generator: Generator) -> Tensor:
    """From −1 to 1, in the shape of x."""
    return torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device) * 2 - 1
