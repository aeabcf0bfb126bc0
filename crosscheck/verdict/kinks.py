"""Is an error a convention at a kink? There any subgradient will do.

A kink is a jump of the gradient: where the inputs step over it, and by half as much, the gradient changes by the same.
On a slope it changes by half. And a subgradient is one in every direction at once: along any d, for each out by
itself, ⟨m, d⟩ lies between the two one-sided derivatives.

Only the input itself is moved whose gradient it is, unless the kink is one that rounding steps over. Along a kink the
derivative of a continuous function has no jump; and in grad_out, in which it is linear, it never has one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from crosscheck.verdict.conventions import convention
from crosscheck.verdict.precision import (
    NEGLIGIBLE,
    comparable,
    first,
    in_layout_of,
    is_small,
    is_whole,
    norm,
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
JUMP = 2.0**-30  # of a result: it changes by no more than that where inputs are moved to see what lies at them
LONE = 2.0**-10  # of a gradient, by which that at the inputs is another one than all around
UNEVEN = "uneven shares"
TIGHT = 2.0**-8  # of a derivative, up to which the one-sided ones agree
AROUND, ASIDE, LITTLE = 32, 2.0**-20, 2.0**-29  # derivatives at so many points around, so far off, over such a step


class Kink(NamedTuple):
    """Where something was taken at a kink, whether the whole of the gradient hangs on it, and whether it may be."""

    at: Tensor
    is_all: bool
    holds: bool


class Between(NamedTuple):
    """Of a direction: which lie between the one-sided derivatives, where those can be told, and whether these agree."""

    by_hand: bool | None
    by_autograd: bool | None
    is_tight: bool


class Proof(NamedTuple):
    """Whether it is a subgradient, None where that cannot be told; and whether some direction pins its size."""

    holds: bool | None
    is_pinned: bool


@dataclass(frozen=True)
class Kinks:
    """The kinks of a function near its inputs in one dtype."""

    sides: Sides

    def explain(self, name: str, m: Tensor, o: Tensor, budget: float, right: bool) -> Kink | None:
        """Where the value is a convention of its own at a kink, if that is all that is wrong with it."""
        value = m.to(o.device).to(o.dtype)
        near = (FAR if right else NEAR) * unit_roundoff(self.sides.dtype)
        if not self._is_smooth(name, (value - o).abs(), budget) and (
            found := self._seen(name, value, o, budget, AT, 0.0, at_inputs=True)
        ):
            return found if found.holds else None
        # Where many kinks add up no step comes to the ends. With the formula right above, half as much is granted.
        return self._seen(name, value, o, budget, near, 0.5 if right else 0.0, at_inputs=False) if near > AT else None

    def said(self, name: str, m: Tensor, o: Tensor, at: Tensor, budget: float) -> str:
        """What was taken at the first of these places, and what frameworks take there, where that is known."""
        place, value = tuple(first(at) or ()), m.to(o.device).to(o.dtype)
        taken = self._shares(name, value, o, at, place, budget)
        if not taken:
            slope = self._slope(name, value, place, budget)
            taken = f"autograd takes {o[place].item():.3g}, this {m[place].item():.3g}{slope}"
        return f"first at {list(place)}: {taken}" + f" ({self._convention})" * bool(self._convention)

    @cached_property
    def _convention(self) -> str:
        return convention(self.sides.of.values, widened(self.sides.inputs)) if self.sides.of.values else ""

    def _shares(self, name: str, m: Tensor, o: Tensor, at: Tensor, place: tuple[int, ...], budget: float) -> str:
        """Which of equal numbers each side takes, along a dimension or of all, where they share the same in all."""
        own = self.sides.of.places.get(name)
        if own is None or self.sides.inputs[own].shape != o.shape:
            return ""
        x = widened(self.sides.inputs)[own].to(o.device)
        along = (tuple(slice(None) if i == dim else index for i, index in enumerate(place)) for dim in range(o.dim()))
        for line in (*along, (...,)):
            tied, off = (x[line] == x[place]).flatten(), at[line].flatten()
            by_hand, by_autograd = m[line].flatten()[tied], o[line].flatten()[tied]
            count, total = len(by_hand), by_autograd.sum()
            if bool((off & ~tied).any()) or abs(total) <= count * budget or abs(by_hand.sum() - total) > count * budget:
                continue
            this, that = (_share(value / total, count * budget / float(abs(total))) for value in (by_hand, by_autograd))
            if count > 1 and that != UNEVEN:
                return f"of {count} equal ones autograd takes {that}, this {this}"
        return ""

    def _slope(self, name: str, m: Tensor, place: tuple[int, ...], budget: float) -> str:
        """Whether the value is the slope to one side, or halfway, as the input itself is moved."""
        own = self.sides.of.places.get(name)
        if own is None or self.sides.inputs[own].shape != m.shape:
            return ""
        x = widened(self.sides.inputs)[own]
        step = torch.zeros_like(x, memory_format=torch.contiguous_format)
        step[place] = room(x)[place]
        steps = {own: in_layout_of(x, step)}
        try:
            right, left = (self.sides.by_autograd(stepped(self.sides.inputs, steps, h))[name][place] for h in (AT, -AT))
        except Exception:  # what raises where it is only moved costs that look
            return ""
        ends = {"the slope to the left": left, "the slope to the right": right, "halfway": (left + right) / 2}
        taken = [end for end, value in ends.items() if abs(m[place] - value) <= budget < abs(left - right) / 4]
        return f", {taken[0]}" if taken else ""

    def _is_smooth(self, name: str, error: Tensor, budget: float) -> bool:
        """Whether the gradient stays nearly as it is where all inputs are moved a little, to one side and the other."""
        changes = self._changes.get(name)
        return changes is not None and not bool(((changes >= error / 16) & (error > budget)).any())

    def is_that_all_around(self, name: str, m: Tensor, o: Tensor, budget: float) -> bool:
        """Whether autograd has this gradient to both sides, and another one at the inputs alone, a case of its own.

        Where what the truth returns jumps there, as by a mask that is one of the inputs, autograd's is the right one.
        """
        value, own, of = m.to(o.device).to(o.dtype), self.sides.of.places.get(name), self.sides.of

        def is_it(sides: Sequence[Tensor]) -> bool:
            return all(bool(((value - side).abs() <= budget).all()) for side in sides)

        if own is None or of.values is None or of.hides or not is_it(self._around.get(name, (o, o))):
            return False
        wide, generator = widened(self.sides.inputs), torch.Generator().manual_seed(self.sides.of.seed)
        steps = {own: _random(wide[own], generator) * room(wide[own])}
        try:
            if self._is_torn(steps):
                return False
            return is_it([self.sides.by_autograd(stepped(self.sides.inputs, steps, h))[name] for h in (AT, -AT)])
        except Exception:  # what raises where it is only moved is no proof
            return False

    def _is_torn(self, steps: Mapping[int, Tensor]) -> bool:
        """Whether a number that the truth returns jumps itself where inputs are moved so, and has no derivative."""
        if self.sides.of.values is None:
            return False
        rest = self.sides.terms(steps, 0.0)

        def changes(h: float) -> list[Tensor]:
            sides = [self.sides.terms(steps, h), self.sides.terms(steps, -h)]
            return [torch.maximum((y - x).abs(), (z - x).abs()) for x, y, z in zip(rest, *sides, strict=True)]

        pairs = zip(rest, changes(AT), changes(STEP), strict=True)
        return any(bool(((near > JUMP * (norm(x) or 1.0)) & (near > far / 4)).any()) for x, near, far in pairs)

    @cached_property
    def _changes(self) -> Mapping[str, Tensor]:
        """By how much each gradient changes there: one of the two lies beyond the kink, if there is one."""
        oracle = self.sides.oracle
        return {n: torch.maximum((a - oracle[n]).abs(), (b - oracle[n]).abs()) for n, (a, b) in self._around.items()}

    @cached_property
    def _around(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """The gradients where all inputs are moved a little, to one side and the other."""
        wide, generator = widened(self.sides.inputs), torch.Generator().manual_seed(self.sides.of.seed)
        steps = {i: _random(wide[i], generator) * room(wide[i]) for i in self.sides.of.judged}
        try:
            ahead, behind = (
                self.sides.by_autograd([x + h * steps[i] if i in steps else x for i, x in enumerate(wide)])
                for h in (AT, -AT)
            )
        except Exception:  # what raises where it is only moved has to be looked at in each direction by itself
            return {}
        return {name: (ahead[name], behind[name]) for name in self.sides.oracle}

    def is_lone(self, name: str, o: Tensor) -> bool:
        """Whether autograd's value is a lone one: all around it has another. So it is at a singular matrix."""
        if name not in self.sides.of.places or not is_small(self.sides.inputs):
            return False
        wide, generator = widened(self.sides.inputs), torch.Generator().manual_seed(self.sides.of.seed)
        places = self._places(name, at_inputs=False)
        steps = {i: in_layout_of(wide[i], _random(wide[i], generator) * room(wide[i])) for i in places}
        try:
            ahead = self.sides.by_autograd(stepped(self.sides.inputs, steps, AT))[name]
            by = norm(ahead - o)
            if by <= max(LONE * max(norm(o), norm(ahead)), NEGLIGIBLE * self.sides.largest):
                return False
            behind = self.sides.by_autograd(stepped(self.sides.inputs, steps, -AT))[name]
        except Exception:  # what raises where it is only moved costs that look
            return False
        return norm(behind - ahead) < by / 4 and not self._is_among_those_around(name, o)

    def _is_among_those_around(self, name: str, o: Tensor) -> bool:
        """Whether o, another one than all around, is a mixture of them, as even shares of equal numbers are."""
        place, generator = self.sides.of.places[name], torch.Generator().manual_seed(self.sides.of.seed)
        if self.sides.of.values is None or self.sides.of.hides:
            return False
        directions = [{place: _random(widened(self.sides.inputs)[place], generator)} for _ in range(FEW)]
        return all(self._between(d, {name: (o, o)}, 0.0, AROUND).by_autograd for d in directions)

    def _seen(
        self, name: str, m: Tensor, o: Tensor, budget: float, step: float, more: float, *, at_inputs: bool
    ) -> Kink | None:
        off = (m - o).abs() > budget
        low, high, jumps = o, o, torch.zeros_like(off)
        least, most = torch.full_like(o, torch.inf), torch.full_like(o, -torch.inf)  # of the neighbours
        # A mistake is off almost everywhere: where most is right, or where they cost little, more steps are worth it.
        is_worth_more = 2 * int(off.sum()) < off.numel() or is_small(self.sides.inputs)
        directions = self._directions(name, m - o, at_inputs, MANY if is_worth_more else FEW)
        proof = cache(lambda: self._is_subgradient(name, m, o, budget) if at_inputs else Proof(None, is_pinned=False))
        for number, (steps, gradient) in enumerate(directions):
            if at_inputs and number >= FEW and not bool((off & jumps).any()):
                return None
            try:
                sides = [gradient(step) - o, gradient(-step) - o]
                largest = torch.maximum(*(side.abs() for side in sides))
                # Along the error itself what is tied may stay so.
                is_flat = not bool((largest >= (m - o).abs() / 16)[off].any())
                if number and not bool(jumps.any()) and is_flat:
                    return None
                if at_inputs and self._is_torn(steps):
                    continue
                halves = [gradient(step / 2) - o, gradient(-step / 2) - o]
            except Exception:
                continue  # what raises where it is only moved costs that direction
            neighbours = torch.stack([*sides, *halves]) + o
            least, most = torch.minimum(least, neighbours.amin(0)), torch.maximum(most, neighbours.amax(0))
            is_jump = torch.zeros_like(off)
            for side, half in zip(sides, halves, strict=True):
                is_jump |= ((half - side / 2).abs() >= side.abs() / 4) & (side != 0)
            is_jump &= largest >= (m - o).abs() / 16  # else it is rounding
            is_jump &= most - least >= largest / 4  # else the neighbours agree, and autograd is off here alone
            ends = torch.stack([*neighbours, o + sides[0] + sides[1], o])
            low = torch.where(is_jump, torch.minimum(low, ends.amin(0)), low)
            high = torch.where(is_jump, torch.maximum(high, ends.amax(0)), high)
            jumps |= is_jump
            if not bool((off & ~jumps).any()) and (kink := self._kink(proof(), m, o, budget, low, high, more)):
                return kink
        # Of many that are tied only some were ahead of the others: then it is one in every direction, or none.
        is_some = at_inputs and bool((off & jumps).any())
        if is_some and proof().holds and self._jump_alone(name, m, o, off & ~jumps):
            return Kink(off, bool(off.all()) and not proof().is_pinned, holds=True)
        return None

    def _jump_alone(self, name: str, m: Tensor, o: Tensor, where: Tensor) -> bool:
        """Whether some of these elements jump where each is moved by itself: a slip elsewhere is no convention."""
        own = self.sides.of.places.get(name)
        if own is None or m.shape != self.sides.inputs[own].shape:
            return True
        wide, generator = widened(self.sides.inputs), torch.Generator().manual_seed(self.sides.of.seed)
        places = where.flatten().nonzero().flatten().cpu()
        for place in places[torch.randperm(len(places), generator=generator)[:MANY]]:
            only = torch.zeros_like(o).flatten().index_fill(0, place.to(o.device), 1.0).view_as(o)
            steps = {own: in_layout_of(wide[own], only.to(wide[own].device) * room(wide[own]))}
            try:
                sides = [self.sides.by_autograd(stepped(self.sides.inputs, steps, h))[name] for h in (AT, -AT)]
            except Exception:  # what raises where it is only moved costs that look
                continue
            jump = max(float(((side - o) * only).abs().sum()) for side in sides)
            if jump < float(((m - o) * only).abs().sum()) / 16:
                return False
        return True

    def _kink(
        self, proof: Proof, m: Tensor, o: Tensor, budget: float, low: Tensor, high: Tensor, more: float
    ) -> Kink | None:
        """What is known where all that is off lies at a jump."""
        off = (m - o).abs() > budget
        if proof.holds is None and not self._lies(m, low, high, budget, more):
            return None
        is_all = bool((off & (high - low >= o.abs() / 2)).all()) and not proof.is_pinned
        return Kink(off, is_all, holds=proof.holds is not False)

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

    def _directions(
        self, name: str, error: Tensor, at_inputs: bool, count: int
    ) -> Iterator[tuple[Mapping[int, Tensor], Callable[[float], Tensor]]]:
        """By what the inputs are moved, and the gradient by how far: first along the error itself, then at random."""
        generator = torch.Generator().manual_seed(self.sides.of.seed)
        wide = widened(self.sides.inputs)
        own = self.sides.of.places.get(name)
        for number in range(count):
            steps = {i: _random(wide[i], generator) * room(wide[i]) for i in self._places(name, at_inputs)}
            if own is not None and at_inputs and number == 0:
                steps = {own: (error / norm(error)).to(wide[own].device) * room(wide[own])}

            def gradient(h: float, steps: Mapping[int, Tensor] = steps) -> Tensor:
                return self.sides.by_autograd([x + h * steps[i] if i in steps else x for i, x in enumerate(wide)])[name]

            yield steps, gradient

    def _is_subgradient(self, name: str, m: Tensor, o: Tensor, budget: float) -> Proof:
        """Whether it is one in every direction that is tried, by itself and with those of the other inputs."""
        of = self.sides.of
        place = of.places.get(name)
        if of.values is None or of.hides or place is None:
            return Proof(None, is_pinned=False)
        wide = widened(self.sides.inputs)
        generator = torch.Generator().manual_seed(of.seed)
        gradients = {name: (m, o)}
        for others_name, value in self.sides.manual.items():
            oracle = self.sides.oracle.get(others_name)
            if oracle is not None and others_name in of.places and others_name != name and comparable(value, oracle):
                gradients[others_name] = (value.to(o.device).to(o.dtype), oracle)
        x, xs = wide[place], {of.places[each]: wide[of.places[each]] for each in gradients}
        # What is tied stays so in these; and the errors themselves are where a wrong one shows most.
        level = [{place: torch.ones_like(x)}, {place: x}, {i: torch.ones_like(y) for i, y in xs.items()}, xs]
        worst = torch.zeros_like(m).flatten().index_fill(0, (m - o).abs().argmax(), 1.0).view_as(m)
        single = [m - o, worst, m, *(_random(x, generator) for _ in range(4))]
        other = [*({place: d} for d in single)]
        other += [{i: _random(y, generator) for i, y in xs.items()} for _ in range(4 if len(xs) > 1 else 0)]
        levels, others = ([self._between(d, gradients, budget) for d in directions] for directions in (level, other))
        # Where autograd's own lies outside, one-sided derivatives bound no subgradient, but of what stays tied. Nor do
        # they of a middle one of several, whose two are the same: its subgradients are those of the points around.
        is_regular = not any(between.by_autograd is False for between in others)
        if not is_regular or any(between.by_hand is False for between in others):
            around = []
            for d in other:
                around.append(self._between(d, gradients, budget, AROUND))
                if around[-1].by_autograd and not around[-1].by_hand:
                    break
            else:
                others, is_regular = around, True
        seen = [b for b in (*levels, *(others if is_regular else ())) if b.by_autograd]
        holds = None if not seen else all(b.by_hand for b in seen)
        if holds and not (is_regular and any(b.by_autograd for b in others)):
            holds = None
        return Proof(holds, any(b.is_tight for b in seen))

    def _between(
        self, d: Mapping[int, Tensor], gradients: Mapping[str, tuple[Tensor, Tensor]], budget: float, around: int = 0
    ) -> Between:
        """Whether ⟨m, d⟩ lies between the one-sided derivatives along d, each out by itself, and ⟨o, d⟩.

        With around, between the least and the most of those and of the derivatives at so many points around.
        """
        of, wide = self.sides.of, widened(self.sides.inputs)
        largest = max(
            float((step.to(wide[i].device).abs() / room(wide[i])).max()) for i, step in d.items() if step.numel()
        )
        if not largest:
            return Between(None, None, is_tight=False)
        steps = {i: in_layout_of(wide[i], step.to(wide[i].device) / largest) for i, step in d.items()}

        low = high = doubt = 0.0
        try:
            if self._is_torn(steps):
                return Between(None, None, is_tight=False)
            near = self._around_along(steps, around)
            for i, (rest, ahead, behind) in enumerate(
                zip(*(self.sides.terms(steps, h) for h in (0.0, STEP, -STEP)), strict=True)
            ):
                one, other = (ahead - rest) / STEP, (rest - behind) / STEP
                least, most = torch.minimum(one, other), torch.maximum(one, other)
                if near:
                    all_near = torch.stack([of_point[i] for of_point in near])
                    at_least, at_most = all_near.amin(0), all_near.amax(0)
                    is_kinked = at_most - at_least > TIGHT * torch.maximum(at_least.abs(), at_most.abs())
                    least = torch.where(is_kinked, torch.minimum(least, at_least), least)
                    most = torch.where(is_kinked, torch.maximum(most, at_most), most)
                low, high = low + float(least.sum()), high + float(most.sum())
                rounding = unit_roundoff(torch.float64) / (LITTLE if near else STEP) * float(rest.abs().sum())
                doubt += 2**-16 * float((one.abs() + other.abs()).sum()) + 8 * rounding
        except Exception:
            return Between(None, None, is_tight=False)
        by_hand = by_autograd = 0.0
        for name, (m, o) in gradients.items():
            step = steps.get(of.places[name])
            if step is not None:
                by_hand, by_autograd = by_hand + float((m * step).sum()), by_autograd + float((o * step).sum())
                doubt += budget * float(step.abs().sum())
        return Between(
            low - doubt <= by_hand <= high + doubt,
            low - doubt <= by_autograd <= high + doubt,
            is_tight=high - low + 2 * doubt <= TIGHT * abs(by_autograd),
        )

    def _around_along(self, d: Mapping[int, Tensor], count: int) -> list[list[Tensor]]:
        """The derivative of each out along d at so many points around the inputs."""
        wide, generator = widened(self.sides.inputs), torch.Generator().manual_seed(self.sides.of.seed)
        found = []
        for _ in range(count):
            aside = {i: ASIDE * in_layout_of(wide[i], _random(wide[i], generator) * room(wide[i])) for i in d}
            ahead = self.sides.terms({i: aside[i] + LITTLE * step for i, step in d.items()}, 1.0)
            there = self.sides.terms(aside, 1.0)
            found.append([(a - t) / LITTLE for a, t in zip(ahead, there, strict=True)])
        return found


def _share(shares: Tensor, rounding: float) -> str:
    """Which of equal ones has the whole, or that all have the same."""
    whole = (shares - 1).abs() <= rounding
    if bool(whole.any()) and bool((shares[~whole].abs() <= rounding).all()):
        place = int(whole.nonzero()[0])
        return "the first" if not place else "the last" if place == len(shares) - 1 else f"number {place + 1}"
    return "even shares" if bool(((shares - 1 / len(shares)).abs() <= rounding).all()) else UNEVEN


def _random(x: Tensor, generator: Generator) -> Tensor:
    """From −1 to 1, in the shape of x."""
    return torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x.device) * 2 - 1
