"""The judge: run the hand-written side at several precisions. Rounding errors shrink, a wrong formula does not.

At the rung of dtype t, with the unit roundoff u(t), the inputs are rounded to t once; then, from exactly these numbers,

    m   the hand-written value in t
    a   autograd's value in t
    o   autograd's value in float64, the oracle

    noise(t) = max( ‖a − o‖ over a few draws, u(t)·‖o‖ )
    m agrees when ‖m − o‖ ≤ 16 · noise(t)

where ‖·‖ is the largest magnitude of a tensor's elements: autograd's own rounding error is the yardstick, tensor by
tensor. A draw moves the inputs by up to 2⁻⁵ of themselves, for one sample of autograd's error can be small by luck; by
little the output of a saturated neuron would not move, and be rounded as before.

At float64 autograd is its own oracle; the noise there is carried down from float32, where it is seen:

    noise(float64) = max( 2⁻²⁹ · noise(float32), 2⁻²⁹ · ‖m₃₂ − o₃₂‖, √n · u(float64)·‖o‖ )

with 2⁻²⁹ = u(float64)/u(float32) and n the number of elements of the largest input. Adding the hand-written side's own
error is safe: a wrong formula does not fall by 2⁻²⁹. The last term is the oracle's own: torch adds float32 up in
float64 in many places, but float64 in nothing better, and a sum of n terms is off by about √n roundoffs. Batch norm
over 25,000 numbers is off by 30 of them. No mistake is that small.

What stays beyond its budget gets a second look (reference/second_look.py) before it is called wrong.

Where the true value is zero, or zero but for rounding, as behind a difference that cancels, the largest of all the
tensors stands for ‖o‖. Where the hand-written side does not run in float64, a small wrong block among large numbers
could hide in the rounding of the large: blocks are then judged by themselves, more generously.

Sources: Griewank, Kulshreshtha, Walther, On the numerical stability of algorithmic differentiation (Computing 94,
2012); Kahan, How futile are mindless assessments of roundoff (2006); Higham, Accuracy and Stability of Numerical
Algorithms (2002); Higham, Mary, A New Approach to Probabilistic Rounding Error Analysis (2019): √n.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from reference.diagnosis import UNKNOWN, Evidence, diagnose, got_and_expected, misshapen
from reference.precision import (
    apart,
    comparable,
    distance,
    first,
    in_blocks,
    is_finite,
    is_floating,
    nearby,
    norm,
    rounded,
    rungs_of,
    unit_roundoff,
    widened,
)  # fmt: skip
from reference.report import INACCURATE, KINK, NOT_JUDGED, UNSTEADY, WRONG, ZERO, Report, Row, dtype_name
from reference.second_look import Computation, SecondLook

FACTOR = 16  # right gradients stay below 6, the weakest mistakes begin at 10⁴
BLOCK_FACTOR = 1024  # among many blocks of few elements, autograd's own error is small by luck in some
BLOCK = 64  # elements
DRAWS = 3
MOVED = 2.0**-5  # the share of themselves that a draw moves the inputs by, at most
SINGLE, HALF = 2.0**-24, 2.0**-11  # roundoffs
NOWHERE = f"{NOT_JUDGED}: autograd itself is nowhere finite"
LEAST = math.ulp(0.0)
NOTHING = 2.0**-40  # of the largest number around: what is smaller in float64 is zero but for rounding


def judge(
    manual: Computation,
    autograd: Computation,
    inputs: Sequence[Any],
    *,
    title: str = "",
    dtypes: Sequence[torch.dtype] | None = None,
    seed: int = 0,
    evidence: Callable[..., Mapping[str, Evidence]] | None = None,
    grads_out: int = 0,
) -> Report:
    """Judge every named tensor that `manual(*inputs)` returns by the one of that name from `autograd(*inputs)`.

    inputs: floating-point tensors are rounded to each rung, anything else is handed through untouched; every call
    gets fresh copies. dtypes: the rungs, all that the inputs' device has unless given. The seed is that of the draws.
    evidence(deep, *inputs): for the diagnosis, by name, from the oracle's inputs; called if something is wrong, and
    deep if that takes more than a look. grads_out: how many of the inputs, the first, come back from above; what is
    truly zero has the rounding errors of these, however large the others are.
    Returns a report with a row for each name and rung; a rung on which `manual` raises is noted and left out, unless
    it raises on every one. Raises TypeError without a floating-point tensor among the inputs, ValueError for a dtype
    that is no rung or that their device has not.
    """
    floating = [x for x in inputs if is_floating(x)]
    if not floating:
        raise TypeError("inputs: expected at least one floating-point tensor, got none")
    device = floating[0].device

    def climb(dtype: torch.dtype) -> _Rung:
        return climbed.pop(dtype, None) or _Rung(manual, autograd, inputs, dtype, seed, grads_out)

    climbed: dict[torch.dtype, _Rung] = {}  # no more than needed again: their tensors may be large
    rows: list[Row] = []
    failures: dict[torch.dtype, Exception] = {}
    right: dict[str, bool] = {}  # does the formula hold at the highest rung?
    causes: dict[str, str] = {}  # of what is wrong, found at the highest rung
    repeats = ""
    for dtype in rungs_of(dtypes, device):
        rung = climb(dtype)
        if rung.failure:
            failures[dtype] = rung.failure
            continue
        below = climb(torch.float32) if dtype == torch.float64 else None
        climbed = {torch.float32: below} if below else {}
        budgets = _budgets(rung, below)
        if any(rung.error(name) > budget for name, budget in budgets.items()):
            budgets = _budgets(rung, below, surely=True)
        look = _Look(rung, below, is_first=not right, evidence=evidence, causes=causes)
        rows += _connected(rung_rows(dtype, rung.manual, rung.autograd, rung.oracle, budgets, device, right, look))
        repeats = repeats or _repeats(rung)
    if failures and not rows:
        raise failures.get(floating[-1].dtype, next(iter(failures.values())))  # that in the dtype they were given in
    return Report(title, tuple(rows), tuple(raised(failures)), repeats)


def raised(failures: Mapping[torch.dtype, Exception]) -> list[str]:
    """What is said of the rungs on which the hand-written side raises."""
    return [f"{dtype_name(t)}: {NOT_JUDGED}, for it raises {type(e).__name__}: {e}" for t, e in failures.items()]


def _connected(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, those of unknown cause with a hint to one whose cause is known: it may be the same mistake."""
    found = list(rows)
    named = [row.name for row in found if row.diagnosis and not row.diagnosis.startswith(UNKNOWN)]
    for row in found:
        if named and row.diagnosis.startswith(UNKNOWN):
            hint = f"{UNKNOWN}, perhaps the same as in {named[-1]}"
            row = replace(row, diagnosis=row.diagnosis.replace(UNKNOWN, hint))
        yield row


def rung_rows(
    dtype: torch.dtype,
    manual: Mapping[str, Tensor],
    autograd: Mapping[str, Tensor],
    oracle: Mapping[str, Tensor],
    budgets: Mapping[str, float],
    device: torch.device,
    right: dict[str, bool],
    look: "_Look | None" = None,
) -> Iterator[Row]:
    """The verdict on every tensor at one rung. `right` remembers of each whether it agreed at the highest rung."""
    scale = max(map(norm, oracle.values()), default=0.0) or 1.0
    for name in {**oracle, **manual}:
        m, a, o = manual.get(name), autograd.get(name), oracle.get(name)
        fault = fault_of(m, a, device) or infinity_of(m, a, right.get(name, False))
        if fault == NOWHERE and right.get(name):  # an overflow that autograd has, too
            row = Row(name, device, dtype, 0.0, FACTOR, True, fault, "")
        elif fault or m is None or a is None or o is None:
            told = _told_by_numbers(name, m, o, budgets.get(name, 0.0), look)
            row = Row(name, device, dtype, math.inf, FACTOR, False, fault, told)
        else:
            error, budget = distance(m, o), budgets[name]
            if error <= budget:
                found = _within(name, m, a, o, budget, look)
            else:
                found = _beyond(name, m, o, error, budget, right.get(name, False), look)
            ok, verdict, diagnosis = found
            roundoff = max(unit_roundoff(dtype) * (norm(o) or scale), LEAST)
            shares = None if ok else in_blocks(apart(m, o) / (budget or roundoff))
            row = Row(name, device, dtype, error / roundoff, budget / roundoff, ok, verdict, diagnosis, shares)
        right.setdefault(name, row.ok or row.verdict.startswith(INACCURATE))
        yield row


def _told_by_numbers(name: str, m: object, o: Tensor | None, budget: float, look: "_Look | None") -> str:
    """What the numbers tell of a gradient of the wrong shape."""
    if o is None or not is_floating(m) or m.shape == o.shape:
        return ""
    unsummed = look.evidence(True)[name].unsummed if look and name in look.evidence(True) else None
    return misshapen(m.detach().to(o.device).to(o.dtype), o, budget, unsummed)


Found = tuple[bool, str, str]  # ok, verdict, diagnosis


def _within(name: str, m: Tensor, a: Tensor, o: Tensor, budget: float, look: "_Look | None") -> Found:
    """What is said of a tensor whose error is within its budget."""
    overflow = None if is_finite(a) else first(~torch.isfinite(a))
    if overflow is not None:
        return True, f"agrees, but autograd is not finite at {overflow}, and nothing is judged there", ""
    if look and look.is_first and look.rung.wobble(name) > budget:
        return False, UNSTEADY, ""
    if not o.numel():
        return True, f"{NOT_JUDGED}: it has no elements", ""
    if name in look.rung.zeros if look else not norm(o):
        return True, f"{ZERO}, where no wrong factor shows", ""
    block = _wrong_block(name, m, a, o, look) if look and look.is_first and not look.below else ""
    return (False, WRONG, block) if block else (True, "agrees", "")


def _beyond(name: str, m: Tensor, o: Tensor, error: float, budget: float, right: bool, look: "_Look | None") -> Found:
    """What is said of a tensor whose error is beyond its budget, after a second look where one can be had."""
    less = f"{FACTOR * error / budget if budget else math.inf:.0f} times less accurate than autograd"
    if look:
        if look.rung.wobble(name) > budget:
            return False, UNSTEADY, ""
        if kink := look.kink(name, m, o, budget, right):
            return kink
    if right:
        return False, f"{INACCURATE}, {less}", ""
    value, u = m.to(o.device).to(o.dtype), unit_roundoff(m.dtype)
    if not look:
        return False, WRONG, diagnose(value, o, budget)
    if name not in look.causes:
        diagnosis = diagnose(value, o, budget, look.evidence(False).get(name), deep=False)
        if diagnosis.startswith(UNKNOWN):
            # Of a large error the cause is looked for first: if one explains it to the last digit, it is no rounding.
            large = u < SINGLE**0.5 and error > SINGLE**0.5 * norm(o)
            if not large and look.second.is_rounding(name, apart(m, o), o):
                return look.rounding(name, m, o, error, less)
            diagnosis = diagnose(value, o, budget, look.evidence(True).get(name))
            if large and diagnosis.startswith(UNKNOWN) and look.second.is_rounding(name, apart(m, o), o):
                return look.rounding(name, m, o, error, less)
        look.causes[name] = diagnosis
    return False, WRONG, look.causes[name]


class _Look:
    """A rung and what can be found out by running its two sides again."""

    def __init__(
        self,
        rung: "_Rung",
        below: "_Rung | None",
        is_first: bool,
        evidence: Callable[..., Mapping[str, Evidence]] | None,
        causes: dict[str, str],
    ) -> None:
        self.rung, self.below, self.is_first, self.causes = rung, below, is_first, causes
        self._evidence, self._known = evidence, dict[bool, Mapping[str, Evidence]]()
        self.second = SecondLook(rung.by_hand, rung.by_autograd, rung.inputs, rung.dtype, rung.seed)

    def evidence(self, deep: bool) -> Mapping[str, Evidence]:
        if deep not in self._known:
            self._known[deep] = self._gathered(deep)
        return self._known[deep]

    def _gathered(self, deep: bool) -> Mapping[str, Evidence]:
        if self._evidence:
            return self._evidence(deep, *widened(self.rung.inputs))
        oracle = self.rung.oracle
        return {name: Evidence(others={n: o for n, o in oracle.items() if n != name}) for name in oracle}

    def rounding(self, name: str, m: Tensor, o: Tensor, error: float, less: str) -> Found:
        """What is said of an error that is rounding: none at float64, where the rounding is that of float32 inside."""
        if self.below and error <= FACTOR * self.below.noise(True)[name]:
            return True, "agrees as far as float32, in which it computes inside", ""
        size, u = error / norm(o), unit_roundoff(m.dtype)
        inside = "half precision" if size > math.sqrt(HALF * SINGLE) else "float32"
        return False, f"{INACCURATE}, {less}", f"as if computed in {inside}" if size > 100 * FACTOR * u else ""

    def kink(self, name: str, m: Tensor, o: Tensor, budget: float, right: bool) -> Found | None:
        """What is said where the error is no more than a convention at a kink, if it is."""
        at = self.second.kinks(name, m, o, budget, right)
        if at is None:
            return None
        if bool(at.all()) and not right:  # else it was judged above, where rounding crosses no kink
            return (
                False,
                f"{NOT_JUDGED}: every element lies at a kink, and any subgradient will do: give other inputs",
                "",
            )
        place = tuple(first(at) or ())
        taken = f"autograd takes {o[place].item():.3g}, this {m[place].item():.3g}"
        return True, f"{KINK}, first at {list(place)}: {taken}", ""


def _budgets(rung: "_Rung", below: "_Rung | None", *, surely: bool = False) -> dict[str, float]:
    """The budget of each tensor. At float64 the noise is that at float32, and that of the length of the sums."""
    if not below:
        return {name: FACTOR * noise for name, noise in rung.noise(surely).items()}
    u, u32 = unit_roundoff(torch.float64), unit_roundoff(torch.float32)
    longest = max(x.numel() for x in rung.inputs if is_floating(x))
    noise32 = {name: max(noise, below.error(name)) for name, noise in below.noise(surely).items()}
    return {
        name: FACTOR * max(u / u32 * noise32[name], math.sqrt(longest) * u * norm(o)) for name, o in rung.oracle.items()
    }


def _wrong_block(name: str, m: Tensor, a: Tensor, o: Tensor, look: "_Look") -> str:
    """Where a block of small numbers is wrong that the rounding of large ones elsewhere would hide, if anywhere."""
    u, apart_by = unit_roundoff(m.dtype), apart(m, o)
    error, noise, size = (_blocks(x) for x in (apart_by, apart(a, o), o))
    share = error / (BLOCK_FACTOR * torch.maximum(noise, u * size)).clamp(min=NOTHING * norm(o))
    if not len(share) or share.max() <= 1:
        return ""
    start = int(share.argmax()) * BLOCK
    block = slice(start, start + BLOCK)
    if look.second.is_rounding_within(block, name, apart_by):
        return ""
    worst = start + int(apart_by.flatten()[block].abs().argmax())
    place = [int(i) for i in torch.unravel_index(torch.tensor(worst), o.shape)]
    found = got_and_expected(m.flatten()[worst].item(), o.flatten()[worst].item())
    return f"{UNKNOWN}, among numbers far smaller than the rest\nat {place}: {found}"


def _blocks(x: Tensor) -> Tensor:
    """The largest magnitude of each block of so many elements in a row."""
    flat = x.flatten().abs()
    return torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK).amax(1)


def _repeats(rung: "_Rung") -> str:
    """What is said of the same call twice."""
    differ = [f"{name} by {rung.wobble(name):.3g}" for name in rung.manual if rung.wobble(name)]
    return f"differs in {', '.join(differ)}" if differ else "gives the same"


class _Rung:
    """The two sides at one rung, and autograd's noise there."""

    def __init__(
        self, by_hand: Computation, by_autograd: Computation, inputs: Sequence[Any], dtype: torch.dtype, seed: int,
        grads_out: int,
    ) -> None:  # fmt: skip
        self.by_hand, self.by_autograd, self.dtype, self.seed = by_hand, by_autograd, dtype, seed
        self.inputs, self.grads_out = rounded(inputs, dtype), grads_out

    @cached_property
    def failure(self) -> Exception | None:
        """What the hand-written side raises here, as a kernel does in a dtype that it is not made for."""
        try:
            self.manual  # noqa: B018 (here it is computed)
        except Exception as error:
            return error
        return None

    @cached_property
    def manual(self) -> Mapping[str, Tensor]:
        return self.by_hand(*rounded(self.inputs, self.dtype))

    @cached_property
    def oracle(self) -> Mapping[str, Tensor]:
        return self.by_autograd(*widened(self.inputs))

    @cached_property
    def autograd(self) -> Mapping[str, Tensor]:
        if self.dtype == torch.float64:
            return self.oracle
        return self.by_autograd(*rounded(self.inputs, self.dtype))

    def noise(self, surely: bool) -> dict[str, float]:
        """Autograd's error of each tensor, at least a roundoff; surely: the largest of some draws, one may be lucky."""
        return self._noise_of_draws if surely else self._noise

    @cached_property
    def _noise(self) -> dict[str, float]:
        return self._at_least(self._seen(self.autograd, self.oracle))

    @cached_property
    def _noise_of_draws(self) -> dict[str, float]:
        noise = self._noise
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(0 if self.dtype == torch.float64 else DRAWS - 1):
            moved = nearby(self.inputs, self.dtype, MOVED, generator)
            seen = self._seen(self.by_autograd(*rounded(moved, self.dtype)), self.by_autograd(*widened(moved)))
            noise = {name: max(noise[name], seen[name]) for name in noise}
        return noise

    def _at_least(self, noise: Mapping[str, float]) -> dict[str, float]:
        """The noise, of a zero that of the largest number around."""
        floor = unit_roundoff(self.dtype) * self._largest
        return {name: max(size, floor) if name in self.zeros else size for name, size in noise.items()}

    @cached_property
    def _largest(self) -> float:
        """The largest number around, of which a zero may be what is left."""
        given = self.inputs[: self.grads_out] or self.inputs
        return max(map(norm, (*self.oracle.values(), *filter(is_floating, given))))

    @cached_property
    def zeros(self) -> list[str]:
        """What is truly zero but for rounding: next to nothing, and lost by autograd as well where it rounds."""
        small = [name for name, o in self.oracle.items() if norm(o) <= NOTHING * self._largest]
        if not small:
            return []
        in_float32 = self.dtype == torch.float64
        a = self.by_autograd(*rounded(self.inputs, torch.float32)) if in_float32 else self.autograd
        return [name for name in small if 4 * distance(a[name], self.oracle[name]) >= norm(self.oracle[name])]

    def _seen(self, values: Mapping[str, Tensor], oracle: Mapping[str, Tensor]) -> dict[str, float]:
        return {name: max(distance(values[name], o), unit_roundoff(self.dtype) * norm(o)) for name, o in oracle.items()}

    def error(self, name: str) -> float:
        """‖m − o‖, and 0 where m cannot be compared: it is missing, or of another shape or kind."""
        m, o = None if self.failure else self.manual.get(name), self.oracle[name]
        return distance(m, o) if m is not None and comparable(m, o) else 0.0

    @cached_property
    def _again(self) -> Sequence[Mapping[str, Tensor]]:
        """Two calls more: two buffers that are used in turns give every other call the same."""
        return [self.by_hand(*rounded(self.inputs, self.dtype)) for _ in range(2)]

    def wobble(self, name: str) -> float:
        """How far the same call again is apart."""
        one = self.manual.get(name)
        others = [again[name] for again in self._again if name in again]
        return max(
            (distance(one, other) for other in others if one is not None and comparable(one, other)), default=0.0
        )


def fault_of(m: object, a: Tensor | None, device: torch.device) -> str:
    """What is wrong before any number is compared, if anything."""
    if a is None:
        return "no such tensor: none of that name was expected"
    if not isinstance(m, Tensor):
        got = f"a {type(m).__name__} of {len(m)}" if isinstance(m, tuple | list) else repr(m)
        return f"missing: expected a tensor of shape {list(a.shape)}, got {got}"
    if m.shape != a.shape:
        return f"wrong shape: expected {list(a.shape)}, got {list(m.shape)}"
    if m.dtype != a.dtype:
        return f"wrong dtype: expected {a.dtype}, got {m.dtype}"
    if m.layout != a.layout:
        return f"wrong layout: expected {a.layout}, got {m.layout}"
    if m.requires_grad:
        return "not outside of autograd: expected requires_grad=False, got True"
    if m.device != a.device:
        return f"wrong device: expected {device}, got {m.device}"
    return ""


def infinity_of(m: Tensor | None, a: Tensor | None, right: bool) -> str:
    """What is said where one side is not finite; where the formula is right, it is an overflow in this dtype."""
    if m is None or a is None:
        return ""
    place = None if is_finite(m) else first(~torch.isfinite(m) & torch.isfinite(a))
    if place is not None:
        found = f"{m[tuple(place)].item()} at {place}, where autograd has {a[tuple(place)].item():.3g}"
        return f"{INACCURATE}, but {found}" if right else found
    if a.numel() and not is_finite(a) and not torch.isfinite(a).any():
        return NOWHERE
    return ""
