"""Judges a backward pass where autograd cannot go through its forward, by Taylor's expansion of the forward itself."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reference.diagnosis import UNKNOWN, constant_factor
from reference.ladder import FACTOR, fault_of, raised
from reference.pair import Pair, device_of
from reference.precision import first, is_finite, is_floating, norm, rounded, rungs_of, unit_roundoff, widened
from reference.report import NOT_JUDGED, WRONG, ZERO, Report, Row, dtype_name
from reference.witnesses import DIRECTION, limit_at_zero

DIRECTIONS = 3
FARTHEST = 2.0**-6  # the first step, as a share of each number: then none changes its sign, and few kinks are crossed
ROUGHEST = 2.0**-6  # the largest error of the expansion, as a share of the slope, with which it still judges
Draw = Callable[[Sequence[Tensor]], Sequence[Tensor | None]]


def judge_by_taylor(
    pair: Pair, inputs: Sequence[Any], dtypes: Sequence[torch.dtype] | None, draw: Draw, title: str
) -> Report:
    """Judge every gradient by J(x + hd) − J(x − hd) = 2h ⟨∂J/∂x, d⟩ + O(h³), for J = Σ grad_out · forward(x).

    The difference of both sides over 2h is extrapolated to h = 0, for some random directions d of each input by
    itself. It agrees where that is 0 but for the error of the extrapolation, of which the budget is 16 times. In the
    highest dtype in which the two functions run; only a wrong formula can be seen so, no numerics.
    """
    device = device_of(inputs)
    ladder = rungs_of(dtypes, device)
    failures: dict[torch.dtype, Exception] = {}
    for dtype in ladder:
        try:
            outs, outs_again = (pair.outs_of(pair.forward, rounded(inputs, dtype)) for _ in range(2))
            pair.outs = len(outs)
            given = rounded((*draw(outs), *inputs), dtype)
            manual = pair.by_hand(*rounded(given, dtype))
            again = pair.by_hand(*rounded(given, dtype))
        except Exception as error:
            failures[dtype] = error
            continue
        rows = tuple(_rows(pair, given, dtype, manual, is_steady=pair.same(outs, outs_again)))
        repeats = "gives the same" if _alike(manual, again) else "differs"
        lower = ladder[ladder.index(dtype) + 1 :]
        notes = raised(failures)
        notes += [f"judged by Taylor's expansion in {dtype_name(dtype)}, without autograd: the formula alone"]
        notes += [
            f"{dtype_name(t)}: {NOT_JUDGED}, for there is no autograd to compare its rounding with" for t in lower
        ]
        return Report(title, rows, tuple(notes), repeats, formula_alone=True)
    if not ladder:
        return Report(title, (), formula_alone=True)
    raise failures.get(next(filter(is_floating, inputs)).dtype, next(iter(failures.values())))


def _rows(
    pair: Pair, given: Sequence[Any], dtype: torch.dtype, manual: dict[str, Tensor], *, is_steady: bool
) -> Iterator[Row]:
    grads_out, xs = given[: pair.outs], given[pair.outs :]
    device, u = device_of(xs), unit_roundoff(dtype)
    generator = torch.Generator().manual_seed(pair.seed + DIRECTION)

    def of(i: int) -> Callable[[Tensor], Tensor]:
        """The terms of J by one of the inputs."""

        def terms(x: Tensor) -> Tensor:
            outs = pair.outs_of(pair.forward, rounded([*xs[:i], x, *xs[i + 1 :]], dtype))
            pairs = [(g, out) for g, out in zip(grads_out, outs, strict=True) if is_floating(g)]
            return torch.cat([(_wide(g) * _wide(out)).flatten() for g, out in pairs])

        return terms

    for i in pair.judged:
        name, x, m = pair.names[i], xs[i], manual.get(pair.names[i])
        fault = fault_of(m, x.detach(), device)
        if not fault and m is not None and not is_finite(m):
            fault = f"not finite at {first(~torch.isfinite(m))}"
        if fault or m is None:
            yield Row(name, device, dtype, math.inf, FACTOR, False, fault, "")
            continue
        slopes = [_along(x, m, of(i), generator) for _ in range(DIRECTIONS if x.numel() else 0)]
        scale = max((slope.scale for slope in slopes), default=0.0) or 1.0
        worst = max(slopes, key=lambda slope: abs(slope.off) / slope.doubt, default=Slope(0.0, u, 0.0, 0.0, 0.0))
        error, budget = abs(worst.off), FACTOR * worst.doubt
        ok, verdict, diagnosis = True, "agrees", ""
        if not x.numel():
            verdict = f"{NOT_JUDGED}: it has no elements"
        elif not is_steady:
            ok, verdict = False, f"{NOT_JUDGED}: the forward is not the same from call to call"
        elif not budget <= FACTOR * ROUGHEST * scale:
            ok, verdict = False, f"{NOT_JUDGED}: the forward is not smooth around the inputs: give other inputs"
        elif error > budget and all(abs(slope.off) <= 0.51 * slope.jump + FACTOR * slope.doubt for slope in slopes):
            verdict = "agrees, but for a convention at a kink"
        elif error > budget:
            diagnosis = constant_factor([(slope.got, slope.got + slope.off) for slope in slopes], budget) or UNKNOWN
            ok, verdict = False, WRONG
        elif not m.any():
            verdict = f"{ZERO}, where no wrong factor shows"
        yield Row(name, device, dtype, error / (u * scale), budget / (u * scale), ok, verdict, diagnosis)


class Slope(NamedTuple):
    """In one direction: how far that by hand is off, the doubt about it, how far the true one jumps, and what it is."""

    off: float
    doubt: float
    jump: float
    got: float
    scale: float


def _along(x: Tensor, m: Tensor, terms: Callable[[Tensor], Tensor], generator: torch.Generator) -> Slope:
    """In a random direction, in which no number changes its sign, and few kinks are crossed."""
    d = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x.device, x.dtype)
    d = d * torch.where(x == 0, norm(x) or 1.0, x.abs())
    at_rest = terms(x)

    def off(h: float) -> float:
        ahead, behind = x + h * d, x - h * d  # as they are after rounding
        return (float((terms(ahead) - terms(behind)).sum()) - _dot(m, _wide(ahead) - _wide(behind))) / (2 * h)

    u, size = unit_roundoff(x.dtype), float((_wide(m) * _wide(d)).abs().sum())
    error, doubt = limit_at_zero(off, FARTHEST, u * float(at_rest.abs().sum()))
    h = FARTHEST * u ** (1 / 3)
    jump = float((terms(x + h * d) + terms(x - h * d) - 2 * at_rest).abs().sum()) / h
    # No doubt at all there is where all that was computed is zero.
    return Slope(error, doubt + u * size or u, jump, _dot(m, d), max(size, abs(error)))


def _wide(x: Tensor) -> Tensor:
    wide: Tensor = widened([x])[0]
    return wide


def _dot(x: Tensor, y: Tensor) -> float:
    return float((_wide(x) * _wide(y)).sum())


def _alike(ones: dict[str, Tensor], others: dict[str, Tensor]) -> bool:
    tensors = {name for name, value in ones.items() if isinstance(value, Tensor)}
    return all(torch.equal(ones[name].nan_to_num(), others[name].nan_to_num()) for name in tensors)
