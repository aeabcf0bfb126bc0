"""What is looked at before a gradient is called wrong: is the error a convention at a kink, or only rounding?

Both questions are answered by moving the inputs a little.

A kink: the exact gradient jumps there. Within a few roundoffs of the inputs it takes values on both sides, and the
subgradients lie between them. So a value between the exact ones of inputs a few roundoffs away is not wrong.

Rounding: an error that is rounding changes altogether when the inputs are moved by as much as the error is large, for
other numbers are rounded then; the error of a wrong formula is as smooth as the formula, and hardly changes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Generator, Tensor

from crosscheck.verdict.precision import apart, is_floating, is_small, nearby, norm, rounded, unit_roundoff, widened
from crosscheck.verdict.sides import Computation

Hull = Mapping[str, tuple[Tensor, Tensor]]

STEPS = 4  # roundoffs that the inputs are moved in search of a kink
FEW_DRAWS, MANY_DRAWS = 8, 32  # times
# The share of an error that changes, from which on it is rounding: measured 0.7 to 1.7 for rounding; of a wrong formula
# some 10⁻², and up to 0.4 where the error is nearly zero. Inputs of half precision cannot be moved far enough for all.
ROUGH, ROUGH_IN_HALF = 0.55, 0.3
FINER, FINEST = 8, 2.0**-7
COARSEST = 2.0**-4  # a larger relative error is not called rounding, unless in bfloat16


@dataclass(frozen=True)
class SecondLook:
    """The two sides in one dtype, to be run again from other inputs."""

    manual: Computation
    autograd: Computation
    inputs: Sequence[Any]
    dtype: torch.dtype
    seed: int

    @cached_property
    def hull(self) -> Hull:
        """The smallest and the largest exact value of each element, for inputs within a few roundoffs."""
        exact = self.autograd(*widened(self.inputs))
        return self._grown({name: (value, value) for name, value in exact.items()}, range(FEW_DRAWS))

    @cached_property
    def wide_hull(self) -> Hull:
        """The same from more draws."""
        return self._grown(self.hull, range(FEW_DRAWS, MANY_DRAWS))

    def _grown(self, hull: Hull, draws: range) -> Hull:
        generator = torch.Generator().manual_seed(self.seed + draws.start)
        for draw in draws:
            sample = self.autograd(*[self._stepped(x, draw, generator) for x in widened(self.inputs)])
            hull = {
                name: (torch.minimum(low, sample[name]), torch.maximum(high, sample[name]))
                for name, (low, high) in hull.items()
            }
        return hull

    def _stepped(self, x: Any, draw: int, generator: Generator) -> Any:
        """The input some roundoffs away, a zero by some of the largest: all up, all down, then each as it falls."""
        if not is_floating(x):
            return x
        steps = torch.rand(x.shape, generator=generator, dtype=x.dtype).to(x.device) * 2 - 1
        if draw < 2:
            steps = steps.abs() * (1 if draw else -1)
        return x + STEPS * unit_roundoff(self.dtype) * steps * torch.where(x == 0, norm(x) or 1.0, x.abs())

    def kinks(self, name: str, m: Tensor, o: Tensor, budget: float, right: bool) -> Tensor | None:
        """Where the value is a convention of its own at a kink, if that is all that is wrong with it."""
        value = m.to(o.device).to(o.dtype)
        off = (value - o).abs() > budget

        def holds(hull: Hull) -> bool:
            low, high = hull[name]
            # Where many kinks add up no draw comes to the ends. With the formula right above, half as much is granted.
            slack = budget + (high - low) / 2 if right else budget
            return bool(((low - slack <= value) & (value <= high + slack)).all())

        if holds(self.hull):
            return off
        # A mistake is off almost everywhere: where most is right, or where they cost little, more draws are worth it.
        is_worth_more = 2 * int(off.sum()) < off.numel() or is_small(self.inputs)
        return off if is_worth_more and holds(self.wide_hull) else None

    def is_rounding(self, name: str, error: Tensor, o: Tensor) -> bool:
        """Whether the error is rough, as rounding is, and not smooth, as that of a wrong formula."""
        size, u = norm(error) / (norm(o) or 1.0), unit_roundoff(self.dtype)
        if size > COARSEST and u < COARSEST**2:
            return False
        return self._is_rough(name, error, min(2 * max(size, u), COARSEST), slice(None))

    def is_rounding_within(self, block: slice, name: str, error: Tensor) -> bool:
        """The same of a block of elements, however small the numbers are of which it is an error."""
        return self._is_rough(name, error, math.sqrt(unit_roundoff(self.dtype)), block)

    def _is_rough(self, name: str, error: Tensor, relative: float, block: slice) -> bool:
        error = error.flatten()[block]
        change = self._change(name, error, relative, block)
        if unit_roundoff(self.dtype) > COARSEST**4:
            return change > ROUGH_IN_HALF * float(error.norm())
        # Where the inputs move by less, but still by the spacing of bfloat16, a smooth error changes by less.
        finer = relative / FINER
        return change > ROUGH * float(error.norm()) and (
            finer < FINEST or self._change(name, error, finer, block) > ROUGH * change
        )

    def _change(self, name: str, error: Tensor, relative: float, block: slice) -> float:
        """How much the error changes when the inputs are moved, the largest of a few times."""
        generator = torch.Generator().manual_seed(self.seed)
        change = 0.0
        for _ in range(3):
            moved = nearby(self.inputs, self.dtype, relative, generator)
            value, exact = self.manual(*rounded(moved, self.dtype))[name], self.autograd(*widened(moved))[name]
            change = max(change, float((apart(value, exact).flatten()[block] - error).norm()))
        return change
