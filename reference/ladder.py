"""The judge: run the hand-written side at several precisions. Rounding errors shrink, a wrong formula does not.

At the rung of dtype t, with the unit roundoff u(t), the inputs are rounded to t once; then, from exactly these numbers,

    m   the hand-written value in t
    a   autograd's value in t
    o   autograd's value in float64, the oracle

    noise(t) = max( ‖a − o‖ over a few draws, u(t)·‖o‖ )
    m agrees when ‖m − o‖ ≤ 16 · noise(t)

where ‖·‖ is the largest magnitude of a tensor's elements: autograd's own rounding error is the yardstick, tensor by
tensor. A draw moves the inputs by about a roundoff, for a single sample of autograd's error can be small by luck.

At float64 autograd is its own oracle; the noise there is carried down from float32, where it is seen:

    noise(float64) = max( 2⁻²⁹ · noise(float32), 2⁻²⁹ · ‖m₃₂ − o₃₂‖, √n · u(float64)·‖o‖ )

with 2⁻²⁹ = u(float64)/u(float32) and n the number of elements of the largest input. Adding the hand-written side's own
error is safe: a wrong formula does not fall by 2⁻²⁹. The last term is the oracle's own: torch adds float32 up in
float64 in many places, but float64 in nothing better, and a sum of n terms is off by about √n roundoffs. Batch norm
over 25,000 numbers is off by 30 of them. No mistake is that small.

Sources: Griewank, Kulshreshtha, Walther, On the numerical stability of algorithmic differentiation (Computing 94,
2012); Kahan, How futile are mindless assessments of roundoff (2006); Higham, Accuracy and Stability of Numerical
Algorithms (2002); Higham, Mary, A New Approach to Probabilistic Rounding Error Analysis (2019): √n.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, TypeGuard

import torch
from torch import Tensor

from reference.diagnosis import diagnose
from reference.report import Report, Row

RUNGS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
FACTOR = 16  # right gradients stay below 6, the weakest mistakes begin at 10⁴
DRAWS = 3

Computation = Callable[..., Mapping[str, Tensor]]


def unit_roundoff(dtype: torch.dtype) -> float:
    """u(t): the largest relative error of rounding to nearest, 2⁻⁵³ for float64."""
    return torch.finfo(dtype).eps / 2


@cache
def rungs(device: torch.device) -> tuple[torch.dtype, ...]:
    """The dtypes of the ladder that the device has, the most precise first."""

    def runs(dtype: torch.dtype) -> bool:
        try:
            torch.ones(1, dtype=dtype, device=device)
        except (RuntimeError, TypeError):
            return False
        return True

    return tuple(filter(runs, RUNGS))


def judge(
    manual: Computation,
    autograd: Computation,
    inputs: Sequence[Any],
    *,
    title: str = "",
    dtypes: Sequence[torch.dtype] | None = None,
    seed: int = 0,
) -> Report:
    """Judge every named tensor that `manual(*inputs)` returns by the one of that name from `autograd(*inputs)`.

    inputs: floating-point tensors are rounded to each rung, anything else is handed through untouched; every call
    gets fresh copies. dtypes: the rungs, all that the inputs' device has unless given. The seed is that of the draws.
    Returns a report with a row for each name and rung. Raises TypeError without a floating-point tensor among the
    inputs, ValueError for a dtype that is no rung or that their device has not.
    """
    floating = [x for x in inputs if is_floating(x)]
    if not floating:
        raise TypeError("inputs: expected at least one floating-point tensor, got none")
    device = floating[0].device
    longest_sum = max(x.numel() for x in floating)
    dtypes = rungs(device) if dtypes is None else dtypes
    for dtype in dtypes:
        if dtype not in rungs(device):
            raise ValueError(f"dtypes: expected some of {', '.join(map(str, rungs(device)))}, got {dtype!r}")
    ladder = sorted(dtypes, key=unit_roundoff)

    @cache
    def climb(dtype: torch.dtype) -> _Rung:
        return _Rung(manual, autograd, inputs, dtype, seed)

    rows: list[Row] = []
    right: dict[str, bool] = {}  # does the formula hold at the highest rung?
    for dtype in ladder:
        rung = climb(dtype)
        noise = rung.noise
        if dtype == torch.float64:
            below = climb(torch.float32)
            u, u32 = unit_roundoff(torch.float64), unit_roundoff(torch.float32)
            noise = {
                name: max(
                    u / u32 * below.noise[name], u / u32 * below.error(name), math.sqrt(longest_sum) * u * norm(o)
                )
                for name, o in rung.oracle.items()
            }
        rows += rung_rows(dtype, rung.manual, rung.autograd, rung.oracle, noise, device, right)
    return Report(title, tuple(rows))


def rung_rows(
    dtype: torch.dtype,
    manual: Mapping[str, Tensor],
    autograd: Mapping[str, Tensor],
    oracle: Mapping[str, Tensor],
    noise: Mapping[str, float],
    device: torch.device,
    right: dict[str, bool],
) -> Iterator[Row]:
    """The verdict on every tensor at one rung. `right` remembers of each whether it agreed at the highest rung."""
    scale = max(map(norm, oracle.values()), default=0.0) or 1.0
    for name in {**oracle, **manual}:
        m, a, o = manual.get(name), autograd.get(name), oracle.get(name)
        fault = _fault(m, a, device)
        if fault or m is None or a is None or o is None:
            row = Row(name, device, dtype, math.inf, FACTOR, False, fault, "")
        else:
            row = _row(name, device, dtype, m, a, o, noise[name], scale, right.get(name, False))
        right.setdefault(name, row.ok)
        yield row


def _row(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    m: Tensor,
    a: Tensor,
    o: Tensor,
    noise: float,
    scale: float,
    right: bool,
) -> Row:
    """The verdict on one tensor, from numbers that can be compared."""
    error, budget = distance(m, o), FACTOR * noise
    roundoff = unit_roundoff(dtype) * (norm(o) or scale)
    ok, verdict, diagnosis = error <= budget, "agrees", ""
    overflow = _first(~torch.isfinite(a))
    if ok and overflow is not None:
        verdict = f"agrees, but autograd is not finite at {overflow}, and nothing is judged there"
    if not ok and right:
        verdict = f"right formula, {error / noise if noise else math.inf:.0f} times less accurate than autograd"
    elif not ok:
        verdict, diagnosis = "wrong formula", diagnose(m.to(o.device).to(o.dtype), o, budget)
    return Row(name, device, dtype, error / roundoff, budget / roundoff, ok, verdict, diagnosis)


class _Rung:
    """The three values at one rung, and autograd's noise there."""

    def __init__(
        self, manual: Computation, autograd: Computation, inputs: Sequence[Any], dtype: torch.dtype, seed: int
    ) -> None:
        self.dtype = dtype
        self.manual = manual(*_at(dtype, inputs))
        self.oracle: Mapping[str, Tensor] = {}
        self.autograd: Mapping[str, Tensor] = {}
        self.noise: dict[str, float] = {}
        generator = torch.Generator().manual_seed(seed)
        for draw in range(1 if dtype == torch.float64 else DRAWS):
            rounded = _at(dtype, inputs)
            if draw:
                rounded = _at(dtype, [_nearby(x, dtype, generator) for x in rounded])
            oracle = autograd(*_oracle_inputs(rounded))
            values = oracle if dtype == torch.float64 else autograd(*rounded)
            if not draw:
                self.oracle, self.autograd = oracle, values
            for name, o in oracle.items():
                noise = max(distance(values[name], o), unit_roundoff(dtype) * norm(o))
                self.noise[name] = max(self.noise.get(name, 0.0), noise)

    def error(self, name: str) -> float:
        """‖m − o‖, and 0 where m cannot be compared: it is missing, or of another shape or kind."""
        m, o = self.manual.get(name), self.oracle[name]
        return distance(m, o) if is_floating(m) and m.shape == o.shape else 0.0


def _fault(m: object, a: Tensor | None, device: torch.device) -> str:
    """What is wrong before any number is compared, if anything."""
    if a is None:
        return "no such tensor: autograd has none of that name"
    if not isinstance(m, Tensor):
        return f"missing: expected a tensor of shape {list(a.shape)}, got {m!r}"
    if m.shape != a.shape:
        return f"wrong shape: expected {list(a.shape)}, got {list(m.shape)}"
    if m.dtype != a.dtype:
        return f"wrong dtype: expected {a.dtype}, got {m.dtype}"
    if m.requires_grad:
        return "not outside of autograd: expected requires_grad=False, got True"
    if m.device != a.device:
        return f"wrong device: expected {device}, got {m.device}"
    place = _first(~torch.isfinite(m) & torch.isfinite(a))
    if place is not None:
        return f"{m[tuple(place)].item()} at {place}, where autograd has {a[tuple(place)].item():.3g}"
    if a.numel() and not torch.isfinite(a).any():
        return "not judged: autograd itself is nowhere finite"
    return ""


def is_floating(x: object) -> TypeGuard[Tensor]:
    return isinstance(x, Tensor) and x.dtype.is_floating_point


def _at(dtype: torch.dtype, inputs: Sequence[Any]) -> list[Any]:
    """Fresh copies of the inputs, the floating-point ones rounded to a dtype."""
    return [
        x.detach().to(dtype, copy=True) if is_floating(x) else x.clone() if isinstance(x, Tensor) else x for x in inputs
    ]


def _oracle_inputs(inputs: Sequence[Any]) -> list[Any]:
    """The same numbers in float64, on the CPU where their device has none."""
    moved = [x.cpu() if isinstance(x, Tensor) and torch.float64 not in rungs(x.device) else x for x in inputs]
    return _at(torch.float64, moved)


def _nearby(x: Any, dtype: torch.dtype, generator: torch.Generator) -> Any:
    """The input moved by about a roundoff, its zeros and signs kept."""
    if not is_floating(x):
        return x
    moved = x.cpu().double()
    moved *= 1 + 2 * unit_roundoff(dtype) * torch.randn(moved.shape, generator=generator, dtype=torch.float64)
    return moved.to(dtype).to(x.device)


def norm(x: Tensor) -> float:
    """‖x‖, the largest finite magnitude."""
    finite = torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0)
    return float(finite.abs().max()) if finite.numel() else 0.0


def distance(x: Tensor, oracle: Tensor) -> float:
    """‖x − o‖ where both are finite."""
    return norm(x.detach().to(oracle.device).to(oracle.dtype) - oracle)


def _first(where: Tensor) -> list[int] | None:
    """The first place where it is true."""
    places = torch.nonzero(where)
    return places[0].tolist() if len(places) else None
