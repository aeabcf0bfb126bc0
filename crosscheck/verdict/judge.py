"""The verdict: run the hand-written side at several precisions. Rounding errors shrink, a wrong formula does not.

In each dtype t, with the unit roundoff u(t), the inputs are rounded to t once; then, from exactly these numbers,

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

What stays beyond its budget is looked at again before it is called wrong: is it a convention at a kink
(crosscheck/verdict/kinks.py), rounding in another precision (rounding.py), or is autograd itself off?

A budget near the gradient's own size proves nothing: an error of a tenth of it is not judged. Where the true value is
zero, or zero but for rounding, as behind a difference that cancels, the largest of all the tensors stands for ‖o‖.
Where the hand-written side does not run in float64, a small wrong block among large numbers could hide in the rounding
of the large: blocks are then judged by themselves, more generously.

Sources: Griewank, Kulshreshtha, Walther, On the numerical stability of algorithmic differentiation (Computing 94,
2012); Kahan, How futile are mindless assessments of roundoff (2006); Higham, Accuracy and Stability of Numerical
Algorithms (2002); Higham, Mary, A New Approach to Probabilistic Rounding Error Analysis (2019): √n.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from crosscheck.report import Report
from crosscheck.row import (
    AROUND,
    INACCURATE,
    KINK,
    NOT_JUDGED,
    OFF,
    UNKNOWN,
    UNSTEADY,
    WRONG,
    ZERO,
    Row,
    dtype_name,
    got_and_expected,
)
from crosscheck.verdict.differences import Differences
from crosscheck.verdict.filters import ALARM, MOVED, Filters
from crosscheck.verdict.kinks import Kink, Kinks
from crosscheck.verdict.precision import (
    DTYPES,
    FACTOR,
    NEGLIGIBLE,
    NoPrecision,
    apart,
    distance,
    first,
    in_blocks,
    is_finite,
    is_floating,
    norm,
    sorted_dtypes,
    unit_roundoff,
    widened,
)  # fmt: skip
from crosscheck.verdict.rounding import PRECISIONS, Rounding
from crosscheck.verdict.sides import Comparison, Computation, Sides

BLOCK_FACTOR = 1024  # among many blocks of few elements, autograd's own error is small by luck in some
BLOCK = 64  # elements
HALF = 2.0**-11  # the roundoff of float16
LAX = 1 / 10  # of the gradient's own size: a budget that allows for so large an error proves nothing
MANY = 8  # numbers
TIGHT = 4  # times less than the budget: of right gradients errors are below a third of it
LARGE = 1 / 32  # of the gradient's own size: what is as large is rounding hardly ever
LUCK = 64  # times as much as one sample of autograd's error others hardly are
SMALLEST_NUMBER = math.ulp(0.0)
NOT_FINITE = f"{NOT_JUDGED}: autograd itself is nowhere finite"


class Explain(Protocol):
    """Says which mistake it is, in a line of cause and one of the worst place, for a value and the oracle, in float64.

    The line of cause begins with UNKNOWN where no mistake explains the value. Not deep: only what takes no search.
    """

    def __call__(self, name: str, manual: Tensor, oracle: Tensor, budget: float, *, deep: bool = True) -> str: ...


def unexplained(name: str, manual: Tensor, oracle: Tensor, budget: float, *, deep: bool = True) -> str:
    """The worst element, without any search for the mistake."""
    if manual.shape != oracle.shape:
        return ""
    worst = int((manual - oracle).abs().nan_to_num().argmax())
    return f"{UNKNOWN}\n{got_and_expected(manual.flatten()[worst].item(), oracle.flatten()[worst].item())}"


def judge(
    manual: Computation,
    autograd: Computation,
    inputs: Sequence[Any],
    *,
    title: str = "",
    dtypes: Sequence[torch.dtype] | None = None,
    seed: int = 0,
    explained: Callable[[Sequence[Any]], Explain] = lambda inputs: unexplained,
    grads_out: int = 0,
    places: Mapping[str, int] | None = None,
    values: Callable[..., Sequence[Any]] | None = None,
    hides: bool = False,
    digits: int | None = None,
    known: "Known | None" = None,
) -> Report:
    """Judge every named tensor that `manual(*inputs)` returns by the one of that name from `autograd(*inputs)`.

    =========  ========================================================================================================
    inputs     floating-point tensors are rounded to each dtype, anything else is handed through untouched; every call
               gets fresh copies
    dtypes     all that the inputs' device has unless given
    seed       of the draws
    explained  what names the mistake, made from the oracle's inputs where something is wrong
    grads_out  how many of the inputs, the first, come back from above; what is truly zero has the rounding errors of
               these, however large the others are
    places     by its name, the input that a tensor is the gradient of; only these are moved
    values     what the truth returns from the same inputs, without gradients: it settles what autograd cannot
    hides      whether the truth hides steps from autograd, as by `detach`: then its values do not settle it
    digits     to so many it has to be right; to all that the dtype has unless given
    known      what was found of the same tensors before, to which what is found is added
    =========  ========================================================================================================

    Returns a report with a row for each name and dtype; a dtype in which one side raises is noted and left out, unless
    `manual` raises in every one. Raises TypeError without a floating-point tensor among the inputs, ValueError for a
    dtype that is not judged or that their device has not.
    """
    floating = [x for x in inputs if is_floating(x)]
    if not floating:
        raise TypeError("inputs: expected at least one floating-point tensor, got none")
    device = floating[0].device
    of = Comparison(manual, autograd, inputs, seed, grads_out, places or {}, values, hides)

    kept: dict[torch.dtype, Sides] = {}  # no more than needed again: their tensors may be large
    rows: list[Row] = []
    failures: dict[torch.dtype, Exception] = {}
    lacks: dict[torch.dtype, Exception] = {}
    known = Known() if known is None else known
    repeats, alone = "", list[str]()
    for dtype in sorted_dtypes(dtypes, device):
        sides = kept.pop(dtype, None) or Sides(of, dtype)
        if sides.failure:
            failures[dtype] = sides.failure
            continue
        if sides.lack:
            lacks[dtype] = sides.lack
            continue
        below = Sides(of, torch.float32) if dtype == torch.float64 else None
        if below and below.lack:
            below = None
        kept = {torch.float32: below} if below else {}
        budgets = _budgets(sides, below, known, digits)
        if any(_is_doubtful(sides, below, known, name, budget) for name, budget in budgets.items()):
            budgets = _budgets(sides, below, known, digits, surely=True)
        again = Again(sides, below, is_first=not known.right, explained=explained, known=known, digits=digits)
        rows += _hint_at_known_causes(
            rows_of(dtype, sides.manual, sides.autograd, sides.oracle, budgets, device, known, again.explain, again)
        )
        repeats = repeats or _repeats(sides, budgets, again)
        if again.is_alone and (power := again.power([row.name for row in rows if row.verdict == "agrees"])):
            alone = power
    if failures and not rows:
        raise failures.get(floating[-1].dtype, next(iter(failures.values())))  # that in the dtype they were given in
    notes = (*raised(failures), *raised(lacks, "autograd"), *known.notes, *alone)
    return Report(title, tuple(rows), notes, repeats)


@dataclass
class Known:
    """What the higher dtypes have shown of each tensor by its name."""

    right: dict[str, bool] = field(default_factory=dict)  # whether the formula held in the highest one
    causes: dict[str, str] = field(default_factory=dict)  # which mistake it is
    kinks: dict[str, Tensor] = field(default_factory=dict)  # where a convention was taken
    off: set[str] = field(default_factory=set)  # in which autograd itself is off
    roundoffs: dict[str, float] = field(default_factory=dict)  # of the precision that the truth itself computes in
    dtypes: dict[str, dict[torch.dtype, torch.dtype]] = field(default_factory=dict)  # got where another was expected

    @property
    def notes(self) -> list[str]:
        """What is said of dtypes: they are no matter of the formula."""
        said = []
        for name, by_expected in self.dtypes.items():
            for got in dict.fromkeys(by_expected.values()):
                where = ", ".join(dtype_name(a) for a, m in by_expected.items() if m == got)
                said.append(f"{name}: comes in {dtype_name(got)}, where autograd has {where}")
        return said


def raised(failures: Mapping[torch.dtype, Exception], who: str = "it") -> list[str]:
    """What is said of the dtypes in which one side raises."""
    return [f"{dtype_name(dtype)}: {NOT_JUDGED}, {_why(error, who)}" for dtype, error in failures.items()]


def _why(error: Exception, who: str) -> str:
    return str(error) if isinstance(error, NoPrecision) else f"for {who} raises {type(error).__name__}: {error}"


def _hint_at_known_causes(rows: Iterator[Row]) -> Iterator[Row]:
    """The rows, those of unknown cause with a hint to one whose cause is known: it may be the same mistake."""
    found = list(rows)
    named = [row.name for row in found if row.diagnosis and not row.diagnosis.startswith(UNKNOWN)]
    for row in found:
        if named and row.diagnosis.startswith(UNKNOWN):
            hint = f"{UNKNOWN}, perhaps the same as in {named[-1]}"
            row = replace(row, diagnosis=row.diagnosis.replace(UNKNOWN, hint))
        yield row


def rows_of(
    dtype: torch.dtype,
    manual: Mapping[str, Tensor],
    autograd: Mapping[str, Tensor],
    oracle: Mapping[str, Tensor],
    budgets: Mapping[str, float],
    device: torch.device,
    known: Known,
    explain: Explain = unexplained,
    again: "Again | None" = None,
) -> Iterator[Row]:
    """The verdict on every tensor in one dtype; `known` remembers of each what was found in the highest one."""
    scale = max(map(norm, oracle.values()), default=0.0) or 1.0
    for name in {**oracle, **manual}:
        m, a, o = manual.get(name), autograd.get(name), oracle.get(name)
        right = known.right.get(name, False)
        fault = fault_of(m, a, device) or infinity_of(m, a, right)
        if fault == NOT_FINITE and right:  # an overflow that autograd has, too
            row = Row(name, device, dtype, 0.0, FACTOR, True, fault, "")
        elif fault or m is None or a is None or o is None:
            cause = _explain_shape(name, m, o, budgets.get(name, 0.0), explain)
            row = Row(name, device, dtype, math.inf, FACTOR, False, fault, cause)
        else:
            if m.dtype != a.dtype:
                known.dtypes.setdefault(name, {})[a.dtype] = m.dtype
            error, budget = distance(m, o), budgets[name]
            if error <= budget and not (again and again.is_first and again.sides.repeat_error(name) > budget):
                found = _judge_within_budget(name, m, a, o, budget, right, again)
            else:
                found = _judge_beyond_budget(name, m, o, error, budget, right, explain, again)
            ok, verdict, diagnosis = found
            unit = unit_roundoff(dtype)
            if ok and again and name in again.inside:
                unit, budget = again.inside[name]
            roundoff = max(unit * (norm(o) or scale), SMALLEST_NUMBER)
            shares = None if ok else in_blocks(apart(m, o) / (budget or roundoff))
            row = Row(name, device, dtype, error / roundoff, budget / roundoff, ok, verdict, diagnosis, shares)
        known.right.setdefault(name, row.ok or row.verdict.startswith(INACCURATE))
        yield row


def _explain_shape(name: str, m: object, o: Tensor | None, budget: float, explain: Explain) -> str:
    """What the numbers tell of a gradient of the wrong shape."""
    if o is None or not is_floating(m) or m.shape == o.shape:
        return ""
    return explain(name, m.detach().to(o.device).to(o.dtype), o, budget)


Found = tuple[bool, str, str]  # ok, verdict, diagnosis


def _judge_within_budget(
    name: str, m: Tensor, a: Tensor, o: Tensor, budget: float, right: bool, again: "Again | None"
) -> Found:
    """What is said of a tensor whose error is within its budget."""
    overflow = None if is_finite(a) else first(~torch.isfinite(a))
    if overflow is not None:
        count = int((~torch.isfinite(a)).sum())
        return (
            True,
            f"agrees, but autograd is not finite at {count} of {a.numel()}, first at {overflow}: not judged there",
            "",
        )
    if not o.numel():
        return True, f"{NOT_JUDGED}: it has no elements", ""
    if again and again.is_first and again.kinks.is_lone(name, o):
        return False, f"{NOT_JUDGED}: autograd itself is off here: it has another gradient all around", ""
    if name in again.sides.zeros if again else not norm(o):
        return True, ZERO, ""
    if (share := distance(m, o) / norm(o)) > LAX:
        return right, f"{NOT_JUDGED}: off by {share:.0%} of it, and autograd's own rounding is no smaller", ""
    if again and again.is_first and not again.below:
        if found := again.bias(name, o):
            return found
        if again.digits is None and (block := _wrong_block(name, m, a, o, again)):
            return False, WRONG, block
    return True, "agrees", ""


def _judge_beyond_budget(
    name: str, m: Tensor, o: Tensor, error: float, budget: float, right: bool, explain: Explain, again: "Again | None"
) -> Found:
    """What is said of a tensor whose error is beyond its budget, after running again where that can be done."""
    less = f"{FACTOR * error / budget if budget else math.inf:.3g} times less accurate than autograd"
    if again and name in again.known.causes:  # looked at in a higher dtype: it is the same mistake
        return False, WRONG, again.known.causes[name]
    if again:
        repeat_error = again.sides.repeat_error(name)
        if repeat_error > budget and repeat_error > again.float32_budget(name):
            return False, f"{UNSTEADY}, by {repeat_error:.3g}, far more than rounding", ""
        if error <= budget:
            return True, "agrees, and differs from call to call by rounding", ""
        # What is within the rounding of float32 is looked at for it first: that is what most kernels compute in.
        is_small = not right and again.is_within_float32(name, error)
        found = again.rounding(name, m, o, error, less) if is_small else None
        if not found and again.is_first and again.kinks.is_that_all_around(name, m, o, budget):
            again.known.off.add(name)
            return True, AROUND, ""
        if found := found or again.kink(name, m, o, budget, right):
            return found
    if again and name in again.known.off:
        return True, f"{NOT_JUDGED}: autograd itself is off", ""
    if right:
        return False, f"{INACCURATE}, {less}", ""
    value = m.to(o.device).to(o.dtype)
    if not again:
        return False, WRONG, explain(name, value, o, budget)
    if not m.any() and again.sides.is_below_rounding(o):
        return False, f"{INACCURATE}, {less}: it is smaller than the rounding of grad_out", ""
    budget = again.tight(budget)
    diagnosis = explain(name, value, o, budget, deep=False)
    may_round = diagnosis.startswith(UNKNOWN) and not is_small and not again.is_formula(name, error, o)
    if may_round and (found := again.rounding(name, m, o, error, less)):
        return found
    if again.differences.have(name, value, o):
        again.known.off.add(name)
        off = f"autograd itself is off, by {error / (norm(value) or norm(o)):.1g}"
        return True, f"{OFF}: {off}", ""
    if diagnosis.startswith(UNKNOWN):
        diagnosis = explain(name, value, o, budget)
    if diagnosis.startswith(UNKNOWN) and again.sides.dtype == torch.float64 and _is_of(m, unit_roundoff(torch.float32)):
        diagnosis = explain(name, value, o, again.float32_budget(name))  # as exact as what computes in float32 can be
    again.known.causes[name] = _to_how_many_digits(diagnosis, error, o)
    return False, WRONG, again.known.causes[name]


def _to_how_many_digits(diagnosis: str, error: float, o: Tensor) -> str:
    """The diagnosis, of an unknown cause with the digits that are right: an iteration may stop there."""
    digits = math.floor(-math.log10(error / norm(o))) if norm(o) else 0
    if not diagnosis.startswith(UNKNOWN) or digits < 4:
        return diagnosis
    hint = f"{UNKNOWN}, right to {digits} digits: where it iterates to so many, digits={digits} makes that enough"
    return diagnosis.replace(UNKNOWN, hint, 1)


class Again:
    """What can be found out about one dtype by running its two sides again."""

    def __init__(
        self,
        sides: Sides,
        below: Sides | None,
        is_first: bool,
        explained: Callable[[Sequence[Any]], Explain],
        known: Known,
        digits: int | None,
    ) -> None:
        self.sides, self.below, self.is_first, self.known, self.digits = sides, below, is_first, known, digits
        self._explained = explained
        self.differences, self.kinks, self.filters = Differences(sides), Kinks(sides), Filters(sides)
        self._rounding = Rounding(sides, below)
        self.inside: dict[str, tuple[float, float]] = {}  # the roundoff that it computes with inside, and its budget

    def tight(self, budget: float) -> float:
        """The budget of an explanation: in low precision alone too many agree within that of the verdict."""
        return budget if self.below or self.sides.dtype == torch.float64 else budget / TIGHT

    @property
    def is_alone(self) -> bool:
        """Whether no higher dtype says anything of the formula."""
        return self.is_first and self.below is None and self.sides.dtype != torch.float64

    def power(self, names: Sequence[str]) -> list[str]:
        """What would have been seen, with the chance of a false alarm."""
        seen = [f"{self.filters.seen(name):.1g} in {name}" for name in names if self.sides.oracle[name].any()]
        if not seen:
            return []
        in_draws = f"{dtype_name(self.sides.dtype)} alone, {self.filters.count} draws"
        return [
            f"{in_draws}: a factor off by {', '.join(seen)} would be seen; a false alarm has a chance of {ALARM:.0e}"
        ]

    def bias(self, name: str, o: Tensor) -> Found | None:
        """What is said of an error that is no rounding, as many draws show it in low precision alone."""
        found = self.filters.bias(name) if self.is_alone else None
        if found is None:
            return None
        if found.is_cut_off:
            return True, "agrees, and cuts off where others round", ""
        cause = f"off by {found.factor}, {found.said}"
        if not found.factor:
            # The inputs of the draws are others, by some hundredths.
            budget = 4 * found.scatter + MOVED * norm(found.common)
            mistake, _, place = self.explain(name, o + found.common, o, budget).partition("\n")
            if not found.is_sure and (mistake.startswith(UNKNOWN) or "alone" in mistake or " elements" in mistake):
                return None
            cause = f"{mistake}, {found.said}\n{place}"
        self.known.causes[name] = cause
        return False, f"{WRONG}, by {self.filters.count} draws together", cause

    def explain(self, name: str, manual: Tensor, oracle: Tensor, budget: float, *, deep: bool = True) -> str:
        """Which mistake it is."""
        return self._explain(name, manual, oracle, budget, deep=deep)

    @cached_property
    def _explain(self) -> Explain:
        return self._explained(widened(self.sides.inputs))

    def float32_budget(self, name: str) -> float:
        """The budget of what computes in float32 inside."""
        return FACTOR * self._rounding.noise(name, PRECISIONS["float32"])

    def is_within_float32(self, name: str, error: float) -> bool:
        """Whether an error is within that budget; of what is far beyond it by one sample, no more are drawn."""
        return error <= LUCK * FACTOR * self._rounding.noise(name, PRECISIONS["float32"], surely=False) and (
            error <= self.float32_budget(name)
        )

    def is_formula(self, name: str, error: float, o: Tensor) -> bool:
        """Whether an error is none of rounding for sure, as few draws can tell of a large one of many numbers."""
        return (
            self.below is not None and error > LARGE * norm(o) and o.numel() >= MANY and self._rounding.is_smooth(name)
        )

    def is_rounding_within(self, block: slice, name: str) -> bool:
        """Whether the error of a block of elements is rounding, however small the numbers are."""
        return self._rounding.is_rough(name, block)

    def rounding(self, name: str, m: Tensor, o: Tensor, error: float, less: str) -> Found | None:
        """What is said of an error that is rounding, in whatever precision, if it is."""
        found = self._rounding.found(name, m, o, error)
        if found is None:
            return None
        far = f"agrees as far as {found.precision}"
        u = PRECISIONS.get(found.precision, 1.0)
        if found.is_within and unit_roundoff(m.dtype) >= u > unit_roundoff(self.sides.dtype):
            return True, f"{far}, in which it comes", ""
        if found.is_within and _is_of(o, u) and not _is_of(m, u):
            self.known.roundoffs[name] = u
            return True, f"{far}, in which the truth computes inside", ""
        if found.is_within and found.precision == "float32" and self.below:
            self.inside[name] = u, self.float32_budget(name)
            return True, f"{far}, in which it computes inside (in its roundoffs)", ""
        cut = ", and cuts off where others round" if found.is_cut_off else ""
        is_lower = u > unit_roundoff(self.sides.dtype) and unit_roundoff(self.sides.dtype) < HALF
        return False, f"{INACCURATE}, {less}", f"as if computed in {found.precision}{cut}" if is_lower else ""

    def kink(self, name: str, m: Tensor, o: Tensor, budget: float, right: bool) -> Found | None:
        """What is said where the error is no more than a convention at a kink, if it is."""
        off, seen = (m.to(o.device).to(o.dtype) - o).abs() > budget, self.known.kinks.get(name)
        if right and seen is not None and not bool((off & ~seen).any()):
            kink: Kink | None = Kink(off, is_all=False, holds=True)
        else:
            kink = self.kinks.explain(name, m, o, budget, right)
        if kink is None:
            return None
        self.known.kinks.setdefault(name, kink.at)
        if kink.is_all and not right:  # else it was judged above, where rounding crosses no kink
            return (
                False,
                f"{NOT_JUDGED}: every element lies at a kink, and any subgradient will do: give other inputs",
                "",
            )
        return True, f"{KINK}, {self.kinks.said(name, m, o, kink.at, budget)}", ""


def _is_of(x: Tensor, u: float) -> bool:
    """Whether all of its numbers are bit for bit those of the dtype with this roundoff."""
    lower = [t for t in DTYPES if unit_roundoff(t) == u]
    return any(torch.equal(x.double().nan_to_num(), x.to(t).double().nan_to_num()) for t in lower)


def _budgets(
    sides: Sides, below: Sides | None, known: Known, digits: int | None, *, surely: bool = False
) -> dict[str, float]:
    """The budget of each tensor. At float64 the noise is that at float32, and that of the length of the sums."""
    u, u32 = unit_roundoff(sides.dtype), unit_roundoff(torch.float32)
    noise = sides.noise(surely)
    if below:
        longest = max(x.numel() for x in sides.inputs if is_floating(x))
        noise32 = {name: max(noise, below.error(name)) for name, noise in below.noise(surely).items()}
        noise = {
            name: max(u / u32 * noise32[name], math.sqrt(longest) * u * norm(o)) for name, o in sides.oracle.items()
        }
    least = {name: known.roundoffs.get(name, 0.0) for name in noise}
    enough = dict.fromkeys(noise, 0.0)
    if digits is not None:  # of a zero those of the numbers that cancel in it
        sizes = {name: sides.largest if name in sides.zeros else norm(o) for name, o in sides.oracle.items()}
        enough = {name: 10.0**-digits * sizes[name] for name in noise}
    return {
        name: max(FACTOR * max(size, least[name] * norm(sides.oracle[name])), enough[name])
        for name, size in noise.items()
    }


def _is_doubtful(sides: Sides, below: Sides | None, known: Known, name: str, budget: float) -> bool:
    """Whether an error is beyond its budget, and more draws of autograd's noise could change what is said of it."""
    if name in known.causes or sides.error(name) <= budget:
        return False
    u, u32 = unit_roundoff(torch.float64), unit_roundoff(torch.float32)
    return below is None or sides.error(name) <= FACTOR * u / u32 * sides.largest  # as if float32 had no digit right


def _wrong_block(name: str, m: Tensor, a: Tensor, o: Tensor, again: Again) -> str:
    """Where a block of small numbers is wrong that the rounding of large ones elsewhere would hide, if anywhere."""
    u, apart_by = unit_roundoff(m.dtype), apart(m, o)
    error, noise, size = (_blocks(x) for x in (apart_by, apart(a, o), o))
    share = error / (BLOCK_FACTOR * torch.maximum(noise, u * size)).clamp(min=NEGLIGIBLE * norm(o))
    if not len(share) or share.max() <= 1:
        return ""
    start = int(share.argmax()) * BLOCK
    block = slice(start, start + BLOCK)
    if again.is_rounding_within(block, name):
        return ""
    worst = start + int(apart_by.flatten()[block].abs().argmax())
    place = [int(i) for i in torch.unravel_index(torch.tensor(worst), o.shape)]
    found = got_and_expected(m.flatten()[worst].item(), o.flatten()[worst].item())
    return f"{UNKNOWN}, among numbers far smaller than the rest\nat {place}: {found}"


def _blocks(x: Tensor) -> Tensor:
    """The largest magnitude of each block of so many elements in a row."""
    flat = x.flatten().abs()
    return torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK).amax(1)


def _repeats(sides: Sides, budgets: Mapping[str, float], again: Again) -> str:
    """What is said of the same call twice."""
    errors = {name: sides.repeat_error(name) for name in sides.manual}
    differ = [f"{name} by {error:.3g}" for name, error in errors.items() if error]
    rounding = all(error <= max(budgets.get(n, 0.0), again.float32_budget(n)) for n, error in errors.items() if error)
    by = "differs from call to call by rounding in" if rounding else "differs in"
    return f"{by} {', '.join(differ)}" if differ else "gives the same"


def fault_of(m: object, a: Tensor | None, device: torch.device) -> str:
    """What is wrong before any number is compared, if anything."""
    if a is None:
        return "no such tensor: none of that name was expected"
    if not isinstance(m, Tensor):
        got = f"a {type(m).__name__} of {len(m)}" if isinstance(m, tuple | list | dict) else repr(m)
        if "\n" in got or len(got) > 160:
            got = f"one of type {type(m).__name__}"
        return f"missing: expected a tensor of shape {list(a.shape)}, got {got}"
    if m.shape != a.shape:
        return f"wrong shape: expected {list(a.shape)}, got {list(m.shape)}"
    if m.dtype != a.dtype and not is_floating(m):
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
        return NOT_FINITE
    return ""
