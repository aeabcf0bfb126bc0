"""Judges a backward pass where autograd cannot go through its forward, by Taylor's expansion of the forward itself."""

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from crosscheck.candidate import Candidate, device_of
from crosscheck.report import Report
from crosscheck.row import KINK, NOT_JUDGED, UNKNOWN, WRONG, ZERO, Row, dtype_name
from crosscheck.verdict.differences import direction_at
from crosscheck.verdict.judge import SMALLEST_NUMBER, fault_of, raised
from crosscheck.verdict.numerical import DIRECTION, limit_at_zero
from crosscheck.verdict.precision import (
    FACTOR,
    comparable,
    distance,
    first,
    is_finite,
    is_floating,
    norm,
    rounded,
    sorted_dtypes,
    unit_roundoff,
    widened,
)  # fmt: skip

DIRECTIONS = 3
SINGLE = 24  # numbers that are zeros or tied, at most, that are looked at one by one
# The first step, as a share of each number: then none changes its sign, and few kinks are crossed. Nearer where one is.
FARTHEST = 2.0**-6
NEARER = (2.0**-14, 2.0**-20)
FEWEST_DIGITS = 3  # with fewer it does not judge
UNSMOOTH = f"{NOT_JUDGED}: the forward has a kink there, or rounds too much inside: give other inputs"
Draw = Callable[[Sequence[Tensor]], Sequence[Tensor | None]]
Explain = Callable[[Sequence[tuple[float, float]], float], str]  # got and expected in some directions, and their error


def judge_by_taylor(
    candidate: Candidate, inputs: Sequence[Any], dtypes: Sequence[torch.dtype] | None, draw: Draw, title: str,
    explain: Explain,
) -> Report:  # fmt: skip
    """Judge every gradient by J(x + hd) − J(x − hd) = 2h ⟨∂J/∂x, d⟩ + O(h³), for J = Σ grad_out · forward(x).

    The difference of both sides over 2h is extrapolated to h = 0, for some directions d of each input by itself. It
    agrees where that is 0 but for the error of the extrapolation, of which the budget is 16 times. Half precision
    inside, or kinks that are neither at zeros nor at equal numbers, cannot be judged. In the highest dtype in which the
    two functions run; only a wrong formula can be seen so, no numerics.
    """
    device = device_of(inputs)
    dtypes = sorted_dtypes(dtypes, device)
    failures: dict[torch.dtype, Exception] = {}
    for dtype in dtypes:
        try:
            outs, outs_again = (candidate.outs_of(candidate.forward, rounded(inputs, dtype)) for _ in range(2))
            candidate.check(outs)
            candidate.outs = len(outs)
            given = rounded((*draw(outs), *inputs), dtype)
            manual = candidate.by_hand(*rounded(given, dtype))
            again = candidate.by_hand(*rounded(given, dtype))
        except Exception as error:
            failures[dtype] = error
            continue
        rows = (
            *_rows_of_values(candidate, device, dtype, manual, outs),
            *_rows(candidate, given, dtype, manual, is_steady=candidate.same(outs, outs_again), explain=explain),
        )
        repeats = "gives the same" if _alike(manual, again) else "differs"
        lower = dtypes[dtypes.index(dtype) + 1 :]
        notes = raised(failures)
        seen = [row.budget * unit_roundoff(dtype) for row in rows if not row.verdict.startswith(NOT_JUDGED)]
        digits = f", to {max(0, int(-math.log10(max(seen))))} digits" if seen else ""
        notes += [f"judged by Taylor's expansion in {dtype_name(dtype)}, without autograd: the formula alone{digits}"]
        notes += [
            f"{dtype_name(t)}: {NOT_JUDGED}, for there is no autograd to compare its rounding with" for t in lower
        ]
        return Report(title, rows, tuple(notes), repeats, formula_alone=True)
    if not dtypes:
        return Report(title, ())
    raise failures.get(next(filter(is_floating, inputs)).dtype, next(iter(failures.values())))


def _rows(
    candidate: Candidate, given: Sequence[Any], dtype: torch.dtype, manual: dict[str, Tensor],
    *, is_steady: bool,
    explain: Explain,
) -> Iterator[Row]:  # fmt: skip
    grads_out, xs = given[: candidate.outs], given[candidate.outs :]
    device, u = device_of(xs), unit_roundoff(dtype)
    generator = torch.Generator().manual_seed(candidate.seed + DIRECTION)

    def of(i: int) -> Callable[[Tensor], Tensor]:
        """The terms of J by one of the inputs."""

        def terms(x: Tensor) -> Tensor:
            outs = candidate.outs_of(candidate.forward, rounded([*xs[:i], x, *xs[i + 1 :]], dtype))
            pairs = [(g, out) for g, out in zip(grads_out, outs, strict=True) if is_floating(g)]
            return torch.cat([(_wide(g) * _wide(out)).flatten() for g, out in pairs])

        return terms

    for i in candidate.judged:
        name, x, m = candidate.names[i], xs[i], manual.get(candidate.names[i])
        if name in candidate.left_out:
            continue
        fault = fault_of(m, x.detach(), device)
        if not is_finite(of(i)(x)):
            yield Row(name, device, dtype, 0.0, FACTOR, False, f"{NOT_JUDGED}: the forward is not finite there", "")
            continue
        if not fault and m is not None and not is_finite(m):
            fault = f"not finite at {first(~torch.isfinite(m))}"
        if fault or m is None:
            yield Row(name, device, dtype, math.inf, FACTOR, False, fault, "")
            continue
        try:
            slopes = [_smooth(x, m, of(i), d) for d in _directions(x, m, generator)]
        except Exception as raised_there:
            kind = type(raised_there).__name__
            said = f"{NOT_JUDGED}: the forward raises {kind} where {name} is moved a little: {raised_there}"
            yield Row(name, device, dtype, 0.0, FACTOR, False, said, "")
            continue
        worst = max(slopes, key=lambda slope: abs(slope.off) / slope.doubt, default=Slope(0.0, u, 0.0, 0.0, 0.0))
        scale = max((slope.scale for slope in slopes), default=0.0) or 1.0
        error, budget, roundoff = abs(worst.off), FACTOR * worst.doubt, max(u * scale, SMALLEST_NUMBER)
        digits = math.floor(-math.log10(budget / scale)) if budget else 0
        ok, verdict, diagnosis = True, f"agrees to {digits} digit{'s' * (digits != 1)}", ""
        if not x.numel():
            verdict = f"{NOT_JUDGED}: it has no elements"
        elif not is_steady:
            ok, verdict = False, f"{NOT_JUDGED}: the forward is not the same from call to call"
        elif not budget <= 10.0**-FEWEST_DIGITS * scale:
            ok, verdict = False, UNSMOOTH
        elif error > budget:
            # Most kinks are at a zero, or where two numbers are the same. With these at rest all else has to agree.
            alone, in_jumps = _alone(x), all(slope.is_within_a_jump for slope in slopes)
            rest = [_along(x, m, of(i), d * alone) for d in _directions(x, m, generator) if alone.any()]
            if in_jumps and rest and all(abs(s.off) <= FACTOR * s.doubt <= 10.0**-FEWEST_DIGITS * scale for s in rest):
                # And what is not alone within the jump of its own, not of another's.
                each = [_along(x, m, of(i), d) for d in _each(~alone, x, generator)]
                in_jumps = all(slope.is_within_a_jump for slope in each if math.isfinite(slope.off))
                ok, verdict, diagnosis = (True, KINK, "") if in_jumps else (False, WRONG, UNKNOWN)
            elif in_jumps and all(slope.is_within_a_jump for slope in rest):
                ok, verdict = False, UNSMOOTH
            else:
                ok, verdict, diagnosis = False, WRONG, _cause(rest or slopes, explain)
        elif not m.any():
            verdict = ZERO
        yield Row(name, device, dtype, error / roundoff, budget / roundoff, ok, verdict, diagnosis)


def _rows_of_values(
    candidate: Candidate, device: torch.device, dtype: torch.dtype, manual: dict[str, Tensor], outs: Sequence[Tensor]
) -> Iterator[Row]:
    """Of an autograd.Function its own forward, to half of the digits; and what is the gradient of no input."""
    named = {f"out[{i}]": out for i, out in enumerate(outs)} | {"out": outs[0]}
    for name, m in manual.items():
        if name in candidate.names:
            continue
        o, u = named.get(name), unit_roundoff(dtype)
        fault = fault_of(m, o, device)
        if fault or o is None:
            yield Row(name, device, dtype, math.inf, FACTOR, False, fault, "")
            continue
        error, budget, roundoff = distance(m, o), math.sqrt(u) * norm(o), u * norm(o) or u
        ok = error <= budget
        yield Row(name, device, dtype, error / roundoff, budget / roundoff, ok, "agrees" if ok else WRONG, "")


class Slope(NamedTuple):
    """In one direction: how far that by hand is off, the doubt about it, how far the true one jumps, and what it is."""

    off: float
    doubt: float
    jump: float
    got: float
    scale: float

    @property
    def is_within_a_jump(self) -> bool:
        """Whether some subgradients would be as far off from the slope between both sides."""
        return abs(self.off) <= 0.51 * self.jump + FACTOR * self.doubt


def _cause(slopes: Sequence[Slope], explain: Explain) -> str:
    """A factor, if it is one; between both sides of a kink there is none to be told."""
    budget = FACTOR * max(slope.doubt for slope in slopes)
    if any(slope.jump > budget for slope in slopes):
        return UNKNOWN
    return explain([(slope.got, slope.got + slope.off) for slope in slopes], budget) or UNKNOWN


def _directions(x: Tensor, m: Tensor, generator: Generator) -> Iterator[Tensor]:
    """Random ones in which no number changes its sign, so that few kinks are crossed, the first along the gradient.

    There all of its elements add up, and a factor shows; in the others they cancel for the most part.
    """
    for direction in range(DIRECTIONS if x.numel() else 0):
        d = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device, x.dtype)
        d = d * torch.where(x == 0, norm(x) or 1.0, x.abs())
        yield direction_at(x, d if direction else torch.where(m == 0, d, d.abs() * m.sign()))


def _each(where: Tensor, x: Tensor, generator: Generator) -> Iterator[Tensor]:
    """Directions that move all of these alike, so that what is tied stays so, and some of them by themselves."""
    scale = norm(x) or 1.0
    yield scale * where.to(x.dtype)
    places = where.flatten().nonzero().flatten().cpu()
    for place in places[torch.randperm(len(places), generator=generator)[:SINGLE]]:
        yield scale * torch.zeros_like(x).flatten().index_fill(0, place.to(x.device), 1.0).view_as(x)


def _alone(x: Tensor) -> Tensor:
    """Where a number is no zero, and there is no other like it."""
    _, place, count = x.unique(return_inverse=True, return_counts=True)
    alone: Tensor = (count[place] == 1) & (x != 0)
    return alone


def _along(x: Tensor, m: Tensor, terms: Callable[[Tensor], Tensor], d: Tensor, farthest: float = FARTHEST) -> Slope:
    """The slope in a direction."""
    at_rest = terms(x)

    def off(h: float) -> float:
        ahead, behind = x + h * d, x - h * d  # as they are after rounding
        return (float((terms(ahead) - terms(behind)).sum()) - _dot(m, _wide(ahead) - _wide(behind))) / (2 * h)

    def bend(h: float) -> float:
        """How far the terms are from a straight line: as h² where they are smooth, as h at a kink."""
        return float((terms(x + h * d) + terms(x - h * d) - 2 * at_rest).abs().sum())

    u, size = unit_roundoff(x.dtype), float((_wide(m) * _wide(d)).abs().sum())
    finer = u ** (1 / 9)
    steps = [farthest * finer**k for k in range(4)]
    bends = [bend(h) for h in steps]
    # Rounding inside of the forward does not fall even as h, or is gone where the inputs move by less than it can see.
    inside = max(far if near < finer**2 / 2 * far else near - 1.1 * finer * far for far, near in pairwise(bends))
    rounding = max(u * float(at_rest.abs().sum()), inside)
    error, doubt = limit_at_zero(off, farthest, rounding)
    rising = [max(b - rounding, 0.0) / h for b, h in zip(bends, steps, strict=True)]
    jump = min(rising) if rising[-1] > math.sqrt(finer) * rising[-2] else 0.0
    # No doubt at all there is where all that was computed is zero.
    return Slope(error, doubt + u * size or u, jump, _dot(m, d), max(size, abs(error)))


def _smooth(x: Tensor, m: Tensor, terms: Callable[[Tensor], Tensor], d: Tensor) -> Slope:
    """The slope in a direction; where nothing can be said of it, from nearer by, if it agrees there.

    There may be a kink between. What rounds inside has no slope nearby: by that none is wrong.
    """
    slope = _along(x, m, terms, d)
    for farthest in NEARER:
        if FACTOR * slope.doubt <= 10.0**-FEWEST_DIGITS * slope.scale:
            break
        nearer = _along(x, m, terms, d, farthest)
        if abs(nearer.off) <= FACTOR * nearer.doubt <= 10.0**-FEWEST_DIGITS * nearer.scale:
            return nearer
    return slope


def _wide(x: Tensor) -> Tensor:
    wide: Tensor = widened([x])[0]
    return wide


def _dot(x: Tensor, y: Tensor) -> float:
    return float((_wide(x) * _wide(y)).sum())


def _alike(ones: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    return all(torch.equal(x.nan_to_num(), others[n].nan_to_num()) for n, x in ones.items() if comparable(x, others[n]))
