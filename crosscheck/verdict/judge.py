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

What stays beyond its budget is looked at again (crosscheck/verdict/second_look.py) before it is called wrong.

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
from typing import Any, Protocol

import torch
from torch import Tensor

from crosscheck.report import Report
from crosscheck.row import (
    INACCURATE,
    KINK,
    NOT_JUDGED,
    UNKNOWN,
    UNSTEADY,
    WRONG,
    ZERO,
    Row,
    dtype_name,
    got_and_expected,
)
from crosscheck.verdict.precision import (
    FACTOR,
    NEGLIGIBLE,
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
from crosscheck.verdict.second_look import SecondLook
from crosscheck.verdict.sides import Computation, Sides

BLOCK_FACTOR = 1024  # among many blocks of few elements, autograd's own error is small by luck in some
BLOCK = 64  # elements
U_FLOAT32, U_FLOAT16 = 2.0**-24, 2.0**-11
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
) -> Report:
    """Judge every named tensor that `manual(*inputs)` returns by the one of that name from `autograd(*inputs)`.

    inputs: floating-point tensors are rounded to each dtype, anything else is handed through untouched; every call
    gets fresh copies. dtypes: all that the inputs' device has unless given. The seed is that of the draws.
    explained(inputs): what names the mistake, made from the oracle's inputs where something is wrong. grads_out: how
    many of the inputs, the first, come back from above; what is truly zero has the rounding errors of these, however
    large the others are.
    Returns a report with a row for each name and dtype; a dtype in which `manual` raises is noted and left out, unless
    it raises in every one. Raises TypeError without a floating-point tensor among the inputs, ValueError for a dtype
    that is not judged or that their device has not.
    """
    floating = [x for x in inputs if is_floating(x)]
    if not floating:
        raise TypeError("inputs: expected at least one floating-point tensor, got none")
    device = floating[0].device

    def sides_in(dtype: torch.dtype) -> Sides:
        return kept.pop(dtype, None) or Sides(manual, autograd, inputs, dtype, seed, grads_out)

    kept: dict[torch.dtype, Sides] = {}  # no more than needed again: their tensors may be large
    rows: list[Row] = []
    failures: dict[torch.dtype, Exception] = {}
    right: dict[str, bool] = {}  # does the formula hold in the highest dtype?
    causes: dict[str, str] = {}  # of what is wrong, found in the highest dtype
    repeats = ""
    for dtype in sorted_dtypes(dtypes, device):
        sides = sides_in(dtype)
        if sides.failure:
            failures[dtype] = sides.failure
            continue
        below = sides_in(torch.float32) if dtype == torch.float64 else None
        kept = {torch.float32: below} if below else {}
        budgets = _budgets(sides, below)
        if any(sides.error(name) > budget for name, budget in budgets.items()):
            budgets = _budgets(sides, below, surely=True)
        again = Again(sides, below, is_first=not right, explained=explained, causes=causes)
        in_dtype = rows_of(
            dtype, sides.manual, sides.autograd, sides.oracle, budgets, device, right, again.explain, again
        )
        rows += _hint_at_known_causes(in_dtype)
        repeats = repeats or _repeats(sides)
    if failures and not rows:
        raise failures.get(floating[-1].dtype, next(iter(failures.values())))  # that in the dtype they were given in
    return Report(title, tuple(rows), tuple(raised(failures)), repeats)


def raised(failures: Mapping[torch.dtype, Exception]) -> list[str]:
    """What is said of the dtypes in which the hand-written side raises."""
    return [f"{dtype_name(t)}: {NOT_JUDGED}, for it raises {type(e).__name__}: {e}" for t, e in failures.items()]


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
    right: dict[str, bool],
    explain: Explain = unexplained,
    again: "Again | None" = None,
) -> Iterator[Row]:
    """The verdict on every tensor in one dtype. `right` remembers of each whether it agreed in the highest one."""
    scale = max(map(norm, oracle.values()), default=0.0) or 1.0
    for name in {**oracle, **manual}:
        m, a, o = manual.get(name), autograd.get(name), oracle.get(name)
        fault = fault_of(m, a, device) or infinity_of(m, a, right.get(name, False))
        if fault == NOT_FINITE and right.get(name):  # an overflow that autograd has, too
            row = Row(name, device, dtype, 0.0, FACTOR, True, fault, "")
        elif fault or m is None or a is None or o is None:
            cause = _explain_shape(name, m, o, budgets.get(name, 0.0), explain)
            row = Row(name, device, dtype, math.inf, FACTOR, False, fault, cause)
        else:
            error, budget = distance(m, o), budgets[name]
            if error <= budget:
                found = _judge_within_budget(name, m, a, o, budget, again)
            else:
                found = _judge_beyond_budget(name, m, o, error, budget, right.get(name, False), explain, again)
            ok, verdict, diagnosis = found
            roundoff = max(unit_roundoff(dtype) * (norm(o) or scale), SMALLEST_NUMBER)
            shares = None if ok else in_blocks(apart(m, o) / (budget or roundoff))
            row = Row(name, device, dtype, error / roundoff, budget / roundoff, ok, verdict, diagnosis, shares)
        right.setdefault(name, row.ok or row.verdict.startswith(INACCURATE))
        yield row


def _explain_shape(name: str, m: object, o: Tensor | None, budget: float, explain: Explain) -> str:
    """What the numbers tell of a gradient of the wrong shape."""
    if o is None or not is_floating(m) or m.shape == o.shape:
        return ""
    return explain(name, m.detach().to(o.device).to(o.dtype), o, budget)


Found = tuple[bool, str, str]  # ok, verdict, diagnosis


def _judge_within_budget(name: str, m: Tensor, a: Tensor, o: Tensor, budget: float, again: "Again | None") -> Found:
    """What is said of a tensor whose error is within its budget."""
    overflow = None if is_finite(a) else first(~torch.isfinite(a))
    if overflow is not None:
        return True, f"agrees, but autograd is not finite at {overflow}, and nothing is judged there", ""
    if again and again.is_first and again.sides.repeat_error(name) > budget:
        return False, UNSTEADY, ""
    if not o.numel():
        return True, f"{NOT_JUDGED}: it has no elements", ""
    if name in again.sides.zeros if again else not norm(o):
        return True, f"{ZERO}, where no wrong factor shows", ""
    block = _wrong_block(name, m, a, o, again) if again and again.is_first and not again.below else ""
    return (False, WRONG, block) if block else (True, "agrees", "")


def _judge_beyond_budget(
    name: str, m: Tensor, o: Tensor, error: float, budget: float, right: bool, explain: Explain, again: "Again | None"
) -> Found:
    """What is said of a tensor whose error is beyond its budget, after running again where that can be done."""
    less = f"{FACTOR * error / budget if budget else math.inf:.0f} times less accurate than autograd"
    if again:
        if again.sides.repeat_error(name) > budget:
            return False, UNSTEADY, ""
        if kink := again.kink(name, m, o, budget, right):
            return kink
    if right:
        return False, f"{INACCURATE}, {less}", ""
    value, u = m.to(o.device).to(o.dtype), unit_roundoff(m.dtype)
    if not again:
        return False, WRONG, explain(name, value, o, budget)
    if name not in again.causes:
        diagnosis = explain(name, value, o, budget, deep=False)
        if diagnosis.startswith(UNKNOWN):
            # Of a large error the cause is looked for first: if one explains it to the last digit, it is no rounding.
            large = u < U_FLOAT32**0.5 and error > U_FLOAT32**0.5 * norm(o)
            if not large and again.second.is_rounding(name, apart(m, o), o):
                return again.rounding(name, m, o, error, less)
            diagnosis = explain(name, value, o, budget)
            if large and diagnosis.startswith(UNKNOWN) and again.second.is_rounding(name, apart(m, o), o):
                return again.rounding(name, m, o, error, less)
        again.causes[name] = diagnosis
    return False, WRONG, again.causes[name]


class Again:
    """What can be found out about one dtype by running its two sides again."""

    def __init__(
        self,
        sides: Sides,
        below: Sides | None,
        is_first: bool,
        explained: Callable[[Sequence[Any]], Explain],
        causes: dict[str, str],
    ) -> None:
        self.sides, self.below, self.is_first, self.causes = sides, below, is_first, causes
        self._explained = explained
        self.second = SecondLook(sides.by_hand, sides.by_autograd, sides.inputs, sides.dtype, sides.seed)

    def explain(self, name: str, manual: Tensor, oracle: Tensor, budget: float, *, deep: bool = True) -> str:
        """Which mistake it is."""
        return self._explain(name, manual, oracle, budget, deep=deep)

    @cached_property
    def _explain(self) -> Explain:
        return self._explained(widened(self.sides.inputs))

    def rounding(self, name: str, m: Tensor, o: Tensor, error: float, less: str) -> Found:
        """What is said of an error that is rounding: none at float64, where the rounding is that of float32 inside."""
        if self.below and error <= FACTOR * self.below.noise(True)[name]:
            return True, "agrees as far as float32, in which it computes inside", ""
        size, u = error / norm(o), unit_roundoff(m.dtype)
        inside = "half precision" if size > math.sqrt(U_FLOAT16 * U_FLOAT32) else "float32"
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


def _budgets(sides: Sides, below: Sides | None, *, surely: bool = False) -> dict[str, float]:
    """The budget of each tensor. At float64 the noise is that at float32, and that of the length of the sums."""
    if not below:
        return {name: FACTOR * noise for name, noise in sides.noise(surely).items()}
    u, u32 = unit_roundoff(torch.float64), unit_roundoff(torch.float32)
    longest = max(x.numel() for x in sides.inputs if is_floating(x))
    noise32 = {name: max(noise, below.error(name)) for name, noise in below.noise(surely).items()}
    return {
        name: FACTOR * max(u / u32 * noise32[name], math.sqrt(longest) * u * norm(o))
        for name, o in sides.oracle.items()
    }


def _wrong_block(name: str, m: Tensor, a: Tensor, o: Tensor, again: Again) -> str:
    """Where a block of small numbers is wrong that the rounding of large ones elsewhere would hide, if anywhere."""
    u, apart_by = unit_roundoff(m.dtype), apart(m, o)
    error, noise, size = (_blocks(x) for x in (apart_by, apart(a, o), o))
    share = error / (BLOCK_FACTOR * torch.maximum(noise, u * size)).clamp(min=NEGLIGIBLE * norm(o))
    if not len(share) or share.max() <= 1:
        return ""
    start = int(share.argmax()) * BLOCK
    block = slice(start, start + BLOCK)
    if again.second.is_rounding_within(block, name, apart_by):
        return ""
    worst = start + int(apart_by.flatten()[block].abs().argmax())
    place = [int(i) for i in torch.unravel_index(torch.tensor(worst), o.shape)]
    found = got_and_expected(m.flatten()[worst].item(), o.flatten()[worst].item())
    return f"{UNKNOWN}, among numbers far smaller than the rest\nat {place}: {found}"


def _blocks(x: Tensor) -> Tensor:
    """The largest magnitude of each block of so many elements in a row."""
    flat = x.flatten().abs()
    return torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK).amax(1)


def _repeats(sides: Sides) -> str:
    """What is said of the same call twice."""
    differ = [f"{name} by {sides.repeat_error(name):.3g}" for name in sides.manual if sides.repeat_error(name)]
    return f"differs in {', '.join(differ)}" if differ else "gives the same"


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
        return NOT_FINITE
    return ""
