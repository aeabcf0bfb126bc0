"""Judge a hand-written backward pass by autograd through its forward, or through an independent twin of it."""

import inspect
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, ParamSpec

import torch
from torch import Tensor
from torch.autograd import Function

from crosscheck import devices
from crosscheck.as_given import AsGiven
from crosscheck.candidate import Candidate, device_of
from crosscheck.cause.alternatives import gather
from crosscheck.cause.crop import cropped, words
from crosscheck.cause.diagnosis import Diagnosis, constant_factor, explain_alone
from crosscheck.complex_numbers import in_complex_numbers
from crosscheck.contract.breach import Contract
from crosscheck.contract.duties import judge_contract
from crosscheck.form.forms import Form, form_of
from crosscheck.form.kinds import REAL, as_real, is_complex, kind_of, refuse
from crosscheck.forward_mode import judge_forward_mode
from crosscheck.progress import told
from crosscheck.report import GradientMismatch, Report
from crosscheck.row import CHANGED, NOT_JUDGED, UNKNOWN, WRONG, ZERO, Row, dtype_name
from crosscheck.second_order import NotDifferentiableTwice, of_second_order
from crosscheck.together import Together
from crosscheck.verdict.judge import Known, judge, rows_of
from crosscheck.verdict.precision import (
    DTYPES,
    FACTOR,
    NEGLIGIBLE,
    comparable,
    distance,
    dtypes_of,
    is_floating,
    is_small,
    norm,
    rounded,
    unit_roundoff,
    widened,
)
from crosscheck.verdict.taylor import judge_by_taylor


def crosscheck(
    forward: Callable[..., Any] | type[Function],
    backward: Callable[..., Any] | type[Function] | None = None,
    inputs: Sequence[Any] = (),
    *,
    twin: Callable[..., Any] | None = None,
    options: Mapping[str, Any] | None = None,
    wrt: Sequence[str] | None = None,
    names: Sequence[str] | Mapping[str, str] | None = None,
    dtypes: Sequence[torch.dtype] | torch.dtype | None = None,
    order: int = 1,
    method: str | None = None,
    digits: int | None = None,
    may_change: Sequence[str] = (),
    contract: str = "short",
    group: Any = None,
    seed: int = 0,
) -> Report:
    """Judge a hand-written backward pass as the derivative of its forward, in every dtype.

    ==========  =======================================================================================================
    forward     `forward(*inputs, **options) -> out`. Where it has a backward of its own, and none is given, that is
                judged, and the values of out: an autograd.Function, its `apply`, a custom op, a module, whatever
                autograd goes through, a function of JAX's
    backward    `backward(grad_out, out, *inputs, **options) -> (gradient of each input, or None, ...)`, where grad_out
                has the structure of out, with None for what is not floating; of a module the parameters stand behind
                the inputs. Or a `torch.autograd.Function`: its forward is judged too
    inputs      tensors, or arrays of NumPy's or JAX's, alone or in lists, tuples, dicts and dataclasses, and anything
                else, which is handed through untouched; those that require grad are judged, where none does every one
                of floating-point or complex numbers. Where there is none, Python's numbers are
    twin        the same function in torch's own operations, or JAX's: the values of out are judged too. Without it
                autograd goes through `forward`. A module as twin has its parameters set by name
    options     what forward, backward and twin take by keyword; tensors in it are constants
    wrt         the names of what is judged: "x", "xs[0]", or "xs" for all of it
    names       of the inputs; those of forward's parameters unless given. Or for two modules, where they differ, the
                twin's name of a parameter by that of forward's: {"weight": "gamma"}
    dtypes      in which it is judged; all that the device has unless given
    order       2 judges the second derivative, too: that of backward's own steps, or through a backward of its own
    method      "taylor": by Taylor's expansion of `forward`, through which autograd then need not go; no numerics.
                "forward": the forward mode, as `jvp` of a Function, instead of the backward
    digits      to so many decimal digits it has to be right, as for an iteration that stops at 1e-10: 10
    may_change  the names of inputs, "out" or "grad_out", that may be changed in place
    group       a process group: all ranks call this together, and every one has the same report on all of them
    contract    "full" looks at the candidate under torch.compile, too
    seed        of grad_out, which is drawn at random, and at every call of the random state of torch, NumPy and Python,
                as for a dropout
    ==========  =======================================================================================================

    Complex numbers are in torch's convention: a gradient is ∂L/∂Re + i ∂L/∂Im. Where inputs of several dtypes are given
    there is one more row for each, as given. Returns a report with a row for each judged tensor and dtype, and one for
    each input that was changed in place.

    Raises TypeError where no input can be judged, or a function does not take or return what it should, and for what
    would be judged by its own backward; ValueError for names that are unknown, too few, or the same, for an unknown
    method or order, for "taylor" beside a twin, and for digits below 1. What the functions raise in every dtype is
    raised here; a dtype in which only the candidate does is left out and noted. Random state, grad mode and the inputs
    are left as they were.
    """
    _check(order, method, digits, seed, twin is not None)
    form = form_of(
        forward,
        backward,
        inputs,
        twin,
        {} if options is None else options,
        [wrt] if isinstance(wrt, str) else wrt,
        names,
        method,
    )
    if form.is_jax and order == 2:
        raise ValueError("order: expected 1 for a function of JAX's, got 2: its second derivative cannot be judged")
    if form.is_jax and method == "forward":
        raise ValueError("method: expected None for a function of JAX's, got 'forward': its backward alone is judged")
    if form.method == "taylor" and order == 2:
        raise ValueError("order: expected 1 for NumPy's functions alone, got 2: give a twin in torch's operations")
    allowed = _allowed(may_change, form.arguments.names)
    if contract not in ("short", "full"):
        raise ValueError(f"contract: expected 'short' or 'full', got {contract!r}")
    if method == "forward" and form.through is None:
        raise ValueError("method: expected None beside a backward, got 'forward': it judges a Function's jvp")
    candidate = Candidate(
        form.forward, form.backward, form.truth, form.arguments.names, form.judged,
        form.has_twin or form.through is not None, seed, form.through, set(form.own), explicit=form.explicit,
        may_change=frozenset(allowed), are_complex=form.arguments.are_complex, compiled=form.compiled,
        given=form.arguments.of_parameters.stop,
    )  # fmt: skip
    dtypes, method = _real(dtypes), method or form.method
    if group is not None:
        if method or order == 2:
            got = f"method={method!r}" if method else "order=2"
            raise ValueError(f"group: expected neither a method nor order=2 beside it, got {got}: leave it out")
        with _isolated(form.device, form.leaves):
            return _judged_together(candidate, form, group, dtypes, seed, digits)
    with _isolated(form.device, form.leaves), told(form.title, partial(_now, candidate)):
        if method == "taylor":
            draw = partial(_drawn_like, device=form.device, seed=seed)
            report = judge_by_taylor(candidate, form.leaves, dtypes, draw, form.title, explain=constant_factor)
        else:
            outs = candidate.tried(form.leaves, dtypes_of(form.device) if dtypes is None else dtypes)
            grad_outs = _drawn_like(outs, form.device, seed)
            if method == "forward":
                report = judge_forward_mode(candidate, form.leaves, dtypes, form.title, seed)
            else:
                known = Known()
                given = (*grad_outs, *form.leaves)
                try:
                    report = _judged(candidate, given, form.title, dtypes, seed, digits, known)
                except Exception:
                    if (alone := _as_given_alone(candidate, given, form.title, seed, digits)) is None:
                        raise
                    report = alone
                else:
                    report = _with_rows_as_given(report, candidate, given, seed, digits, known)
        if method != "forward" and report.rows:
            report = _with_contract(report, candidate, form, seed, full=contract == "full")
        if order == 2:
            report = _with_second_order(report, candidate, grad_outs, form.leaves, dtypes, seed, digits)
    floating = [i for i in (*form.arguments.of_inputs, *form.arguments.of_parameters) if is_floating(form.leaves[i])]
    constants = {candidate.names[i]: _why(i, form, candidate, wrt) for i in floating if i not in candidate.judged}
    report = _completed(report, candidate, constants)
    return in_complex_numbers(report, _complex_names(form, candidate))


def _why(i: int, form: Form, candidate: Candidate, wrt: Sequence[str] | None) -> str:
    """Why an input is not judged."""
    if wrt is not None:
        return "not in wrt"
    return f"{candidate.what} changes it in place" if i in form.judged else "does not require grad"


def _judged(
    candidate: Candidate, given: Sequence[Any], title: str, dtypes: Sequence[torch.dtype] | None, seed: int,
    digits: int | None, known: Known, sides: Candidate | AsGiven | None = None,
) -> Report:  # fmt: skip
    sides = sides or candidate
    return judge(
        sides.by_hand, sides.by_autograd, given, title=title, dtypes=dtypes, seed=seed,
        explained=partial(Diagnosis, partial(gather, candidate), of_crop=partial(_causes_of_crop, candidate, seed)),
        grads_out=candidate.outs, places=candidate.places,
        values=candidate.truth_of, hides=candidate.stops, digits=digits, known=known,
    )  # fmt: skip


def _causes_of_crop(candidate: Candidate, seed: int, *given: Any) -> dict[str, str]:
    """What is wrong on a crop of large inputs, by name, where the candidate takes one and a cause is found there."""
    leaves = given[candidate.outs :]
    crop = None if is_small(leaves) else cropped(leaves)
    if crop is None:
        return {}
    with suppress(Exception):  # no search for a cause may cost the verdict
        small = replace(candidate, changed={}, left_out=set(candidate.left_out))
        outs = small.outs_of(small.truth, widened(crop))
        grad_outs = _drawn_like(outs, device_of(crop), seed)
        report = _judged(small, (*grad_outs, *crop), "", dtypes_of(device_of(crop))[:2], seed, None, Known())
        causes = {row.name: row.diagnosis.partition("\n")[0] for row in report.rows if row.verdict.startswith(WRONG)}
        on = f"as a crop shows, {words(crop, candidate.names)}"
        return {name: f"{cause}, {on}" for name, cause in causes.items() if not cause.startswith(UNKNOWN)}
    return {}


def _judged_together(
    candidate: Candidate, form: Form, group: Any, dtypes: Sequence[torch.dtype] | None, seed: int, digits: int | None
) -> Report:
    """The verdict on the candidates of all ranks, the same on each of them."""
    together = Together(candidate, form.leaves, group)
    given = together.given(lambda outs, number: _drawn_like(outs, form.device, seed + number))
    report = judge(
        together.by_hand, together.by_autograd, given, title=form.title, dtypes=dtypes, seed=seed,
        explained=lambda inputs: explain_alone, grads_out=sum(together.counts), places=together.places, digits=digits,
    )  # fmt: skip
    candidate.changed = together.changed
    return _completed(report, candidate, {})


def _with_contract(report: Report, candidate: Candidate, form: Form, seed: int, *, full: bool) -> Report:
    """The report with what a backward owes beside its numbers, in the highest dtype in which it ran.

    A crop of large inputs shows it as well, where the function takes one.
    """
    if report.repeats.startswith("differs in "):
        return report  # what is another thing each time keeps nothing
    dtype = report.rows[0].dtype

    def on(leaves: Sequence[Any], only: str = "") -> Contract:
        outs = candidate.outs_of(candidate.truth, rounded(leaves, dtype))
        grad_outs = _drawn_like(outs, form.device, seed)
        return judge_contract(candidate, grad_outs, leaves, report, dtype, full=full, only=only)

    crop = None if is_small(form.leaves) else cropped(form.leaves)
    if crop is not None:
        with suppress(Exception):
            duties, whole = on(crop), on(form.leaves, only="transposed")  # the way that large ones alone may take
            if not any((duties.breaches, duties.refusals, whole.breaches, whole.refusals)):
                said = f"contract: on a crop, {words(crop, candidate.names)}, and transposed on the whole"
                return replace(report, duties=duties, notes=(*report.notes, *duties.notes, said))
    try:
        duties = on(form.leaves)
    except Exception as error:  # a plain call that was taken before
        note = f"contract: {NOT_JUDGED}, one more call raises {type(error).__name__}: {error}"
        return replace(report, notes=(*report.notes, note))
    return replace(report, duties=duties, notes=(*report.notes, *duties.notes))


def _with_rows_as_given(
    report: Report, candidate: Candidate, given: Sequence[Any], seed: int, digits: int | None, known: Known
) -> Report:
    """The report with one more row for each gradient where the inputs have not all one dtype."""
    as_given = AsGiven(candidate, given[candidate.outs :])
    if not as_given.are_several:
        return report
    if as_given.coarsest not in DTYPES:
        note = (
            f"as given, in several dtypes: {NOT_JUDGED}, {dtype_name(as_given.coarsest)} itself is none that is judged"
        )
        return replace(report, notes=(*report.notes, note))
    try:
        found = _judged(candidate, given, "", [as_given.coarsest], seed, digits, known, as_given)
    except Exception as error:
        note = f"as given, in several dtypes: {NOT_JUDGED}, it raises {type(error).__name__}: {error}"
        return replace(report, notes=(*report.notes, note))
    return replace(report, rows=(*report.rows, *as_given.rows(found.rows)))


def _as_given_alone(
    candidate: Candidate, given: Sequence[Any], title: str, seed: int, digits: int | None
) -> Report | None:
    """The verdict on what takes inputs of several dtypes as they were given, and no others."""
    as_given = AsGiven(candidate, given[candidate.outs :])
    if not as_given.are_several or as_given.coarsest not in DTYPES:
        return None
    with suppress(Exception):  # then it raises for another reason, which the caller says
        found = _judged(candidate, given, title, [as_given.coarsest], seed, digits, Known(), as_given)
        return replace(found, rows=tuple(as_given.rows(found.rows)))
    return None


def _with_second_order(
    report: Report, candidate: Candidate, grad_outs: Sequence[Any], leaves: Sequence[Any],
    dtypes: Sequence[torch.dtype] | None, seed: int, digits: int | None,
) -> Report:  # fmt: skip
    """The report with a row for the derivative of the gradients by each input, and by grad_out."""
    second = of_second_order(candidate)
    given = [*leaves, *grad_outs]
    try:
        outs = second.tried(given, dtypes_of(device_of(leaves)) if dtypes is None else dtypes)
        drawn = _drawn_like(outs, device_of(leaves), seed)
        found = _judged(second, (*drawn, *given), "", dtypes, seed, digits, Known())
    except NotDifferentiableTwice as error:
        return replace(report, unjudged={**report.unjudged, "order 2": str(error)})
    rows = [replace(row, name=f"{row.name}, order 2") for row in found.rows if row.name in second.places]
    return replace(report, rows=(*report.rows, *rows), notes=(*report.notes, *(f"order 2: {n}" for n in found.notes)))


def _check(order: int, method: str | None, digits: int | None, seed: int, has_twin: bool) -> None:
    if not _is_whole(seed) or not -(2**62) < seed < 2**62:
        raise TypeError(f"seed: expected a whole number between -2^62 and 2^62, got {seed!r}")
    if method not in (None, "taylor", "forward") or (method == "taylor" and has_twin):
        beside = " beside a twin" if has_twin else ""
        raise ValueError(f"method: expected None, 'forward', or 'taylor' without a twin, got {method!r}{beside}")
    beside = f" beside method={method!r}" if method else ""
    if digits is not None and (not _is_whole(digits) or digits < 1 or method):
        raise ValueError(f"digits: expected a whole number from 1, or none beside a method, got {digits!r}{beside}")
    if not _is_whole(order) or order not in (1, 2) or (order == 2 and method):
        got = order if _is_whole(order) else type(order).__name__
        raise ValueError(f"order: expected 1, or 2 where there is no method, got {got}{beside}")


def _is_whole(x: object) -> bool:
    return isinstance(x, int) and not isinstance(x, bool)


def _allowed(may_change: Sequence[str] | str, names: Sequence[str]) -> set[str]:
    several = [may_change] if isinstance(may_change, str) else may_change
    if not isinstance(several, Iterable) or not all(isinstance(name, str) for name in several):
        raise TypeError(f"may_change: expected names of inputs, as ('x',), got {type(may_change).__name__}")
    allowed = set(several)
    if unknown := {name for name in allowed - set(names) if not name.startswith(("out", "grad_out"))}:
        raise ValueError(
            f"may_change: expected some of {', '.join(names)}, out and grad_out, got {sorted(unknown)[0]!r}"
        )
    return allowed


def _real(dtypes: Sequence[torch.dtype] | torch.dtype | None) -> list[torch.dtype] | None:
    """Those of the real and imaginary parts."""
    if dtypes is None:
        return None
    several = [dtypes] if isinstance(dtypes, torch.dtype) else dtypes
    if not isinstance(several, Iterable):
        raise TypeError(f"dtypes: expected a list of dtypes, as [torch.float32], got {several!r}")
    return list(dict.fromkeys(REAL.get(t, t) for t in several))


def _complex_names(form: Form, candidate: Candidate) -> set[str]:
    """The names of what is complex: of inputs, and of outs."""
    of_inputs = {name for name, z in zip(form.arguments.names, form.arguments.are_complex, strict=True) if z}
    names = of_inputs | candidate.complex_outs | {f"grad_{name}" for name in candidate.complex_outs}
    return names | {f"{name}, order 2" for name in names}


def _completed(report: Report, candidate: Candidate, constants: Mapping[str, str]) -> Report:
    """The report with a row for each input that was changed in place, what was not judged, and what was trusted."""
    changed = [
        Row(name, row.device, row.dtype, math.inf, FACTOR, False, f"{CHANGED} by {by}", "")
        for row in report.rows[:1]
        for name, by in candidate.changed.items()
    ]
    unjudged = {
        **report.unjudged,
        **constants,
        **dict.fromkeys(sorted(candidate.left_out), "backward has None for it"),
        **{f"grad_out[{i}]": "its out is marked as not differentiable" for i in sorted(candidate.fixed)},
    }
    if candidate.values:
        unjudged |= dict.fromkeys(candidate.without_numbers, "not in floating point")
    trusted = [
        f"{candidate.what}: goes through {n}, whose backward is trusted" for n in sorted(candidate.trusted or ())
    ]
    design = [f"{name}: changed in place by {candidate.what}" for name in sorted(candidate.by_design)]
    design += [f"{name}: may be changed in place" for name in sorted(candidate.may_change)]
    notes = (*report.notes, *trusted, *design)
    rows = report.rows
    if candidate.changed:  # by what is another then, other numbers may be wrong
        follows = f"{UNKNOWN}: it may follow from what is changed in place, {', '.join(candidate.changed)}"
        rows = tuple(
            replace(row, diagnosis=row.diagnosis.replace(UNKNOWN, follows, 1))
            if row.diagnosis.startswith(UNKNOWN)
            else row
            for row in rows
        )
    return replace(report, rows=(*rows, *changed), notes=notes, unjudged=unjudged)


P = ParamSpec("P")


def _asserted(judged: Callable[P, Report]) -> Callable[P, Report]:
    """What raises where the report of the same arguments does not agree."""

    def assert_crosscheck(*args: P.args, **kwargs: P.kwargs) -> Report:
        """Raise GradientMismatch, with the table as its text, unless `crosscheck` of the same arguments agrees.

        So does a dtype in `dtypes` that is not judged, and an order. Returns the report.
        """
        __tracebackhide__ = True  # pytest then shows the caller's line
        report = judged(*args, **kwargs)
        report.raise_on_mismatch()
        given = inspect.signature(judged).bind(*args, **kwargs).arguments
        dtypes = given.get("dtypes") or ()
        asked = [dtypes] if isinstance(dtypes, torch.dtype) else dtypes
        found = {REAL.get(row.dtype, row.dtype) for row in report.rows}
        if missing := [dtype_name(t) for t in asked if REAL.get(t, t) not in found]:
            raise GradientMismatch(f"dtypes: expected a verdict in {', '.join(missing)}, got none\n{report}")
        if given.get("order", 1) == 2 and not any("order 2" in row.name for row in report.rows):
            raise GradientMismatch(f"order: expected a verdict in order 2, got none\n{report}")
        return report

    assert_crosscheck.__signature__ = inspect.signature(judged)  # type: ignore[attr-defined]
    return assert_crosscheck


assert_crosscheck = _asserted(crosscheck)


def compare(
    manual: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, oracle: Mapping[str, Tensor] | None = None
) -> Report:
    """Judge tensors that are there already: name by name, `manual` by `expected`, both of one dtype.

    A tensor agrees when ‖manual − oracle‖ ≤ 16 · max( ‖expected − oracle‖, u·‖oracle‖ ). oracle: the same in float64;
    without it `expected` stands for it, as if it were right to its last digit. A tensor that is next to nothing beside
    the largest may be zero by cancellation: it is not judged unless an oracle of higher precision shows what it is.
    Returns a report with a row for each name of either. Raises TypeError for what is no mapping of names to
    floating-point tensors; ValueError where there is nothing to compare, or the oracle's names or shapes are others
    than those of expected, or its numbers are.
    """
    oracle = expected if oracle is None else oracle
    for what, tensors in (("manual", manual), ("expected", expected), ("oracle", oracle)):
        if not isinstance(tensors, Mapping):
            raise TypeError(f"{what}: expected a mapping, as in {{'x': grad_x}}, got {type(tensors).__name__}")
    complex_names = {name for name, x in expected.items() if is_complex(x)}
    for what, tensors in (("manual", manual), ("oracle", oracle)):
        for name, x in tensors.items():
            if name in expected and kind_of(x) and is_complex(x) != is_complex(expected[name]):
                one, other = ("complex", "real") if is_complex(x) else ("real", "complex")
                raise ValueError(
                    f"{what}[{name!r}]: expected {other} numbers, as in expected[{name!r}], got {one} ones"
                )
    manual, expected, oracle = ({name: as_real(x, name) for name, x in of.items()} for of in (manual, expected, oracle))
    if not expected:
        raise ValueError("expected: expected at least one tensor by its name, as in {'x': grad_x}, got none")
    if expected.keys() != oracle.keys():
        raise ValueError(f"oracle: expected the names {list(expected)}, got {list(oracle)}")
    rows: list[Row] = []
    largest = max((norm(x.detach()) for x in oracle.values() if is_floating(x) and x.dtype in DTYPES), default=0.0)
    for name, a in expected.items():
        for what, tensor in ((f"expected[{name!r}]", a), (f"oracle[{name!r}]", oracle[name])):
            refuse(what, tensor)
            if not is_floating(tensor) or tensor.dtype not in DTYPES:
                expected_one = " or ".join((", ".join(map(str, DTYPES[:-1])), str(DTYPES[-1])))
                raise TypeError(f"{what}: expected a tensor of {expected_one}, got {_kind(tensor)}")
        if oracle[name].shape != a.shape:
            raise ValueError(f"oracle[{name!r}]: expected shape {list(a.shape)}, got {list(oracle[name].shape)}")
        o = oracle[name].detach().cpu().to(torch.float64)
        if bool((a.detach().cpu().isfinite() & ~o.isfinite()).any()):
            raise ValueError(
                f"oracle[{name!r}]: expected finite numbers where expected[{name!r}] has them, got inf or nan"
            )
        noise = max(distance(a, o), unit_roundoff(a.dtype) * norm(o))
        m = {name: _detached(manual[name])} if name in manual else {}
        if verdict := _said_of_next_to_nothing(m.get(name), a.detach(), o, largest, oracle[name].dtype):
            rows.append(Row(name, a.device, a.dtype, 0.0, FACTOR, True, verdict, ""))
            continue
        if noise > norm(o) / 4 and noise > ROUNDING * unit_roundoff(a.dtype) * largest:
            by = noise / max(norm(a), norm(o))
            raise ValueError(
                f"oracle[{name!r}]: expected about the same as expected[{name!r}], got numbers {by:.0%} apart: compute "
                f"both from the same inputs"
            )
        budget = {name: FACTOR * noise}
        rows += rows_of(a.dtype, m, {name: a.detach()}, {name: o}, budget, a.device, Known(), explain_alone)
    more = {name: m for name, m in manual.items() if name not in expected}
    rows += rows_of(rows[0].dtype, more, {}, {}, {}, rows[0].device, Known())
    return in_complex_numbers(Report("", tuple(rows), notes=tuple(_unseen(rows))), complex_names)


def _unseen(rows: Sequence[Row]) -> Iterator[str]:
    """What one set of tensors in low precision does not show: the functions themselves show it, in many draws."""
    for dtype in dict.fromkeys(row.dtype for row in rows if unit_roundoff(REAL.get(row.dtype, row.dtype)) > COARSE):
        passes = max(row.budget for row in rows if row.dtype == dtype) * unit_roundoff(REAL.get(dtype, dtype))
        yield f"in {dtype_name(dtype)} a factor off by {passes:.1g} passes: `crosscheck` shows smaller ones"


COARSE = 2.0**-20  # a roundoff from which on one set of tensors shows few digits
NOTHING_BESIDE = 2.0**-14  # of the largest number around: what is larger is none, in half precision either
ROUNDING = 64  # roundoffs of the largest number around: what is smaller may be what cancellation left


def _said_of_next_to_nothing(m: Any, a: Tensor, o: Tensor, largest: float, of_oracle: torch.dtype) -> str:
    """What is said of both where they are next to nothing beside the other tensors, unless the oracle shows digits."""
    least = min(ROUNDING * unit_roundoff(a.dtype), NOTHING_BESIDE) * largest
    if not comparable(m, o) or not 0 < max(norm(m), norm(a)) <= least:
        return ""
    if unit_roundoff(of_oracle) < unit_roundoff(a.dtype):  # else it shows no more than expected does
        if norm(o) > 4 * distance(a, o):
            return ""
        if norm(o) <= NEGLIGIBLE * largest:
            return ZERO
    may = f"{NOT_JUDGED}: it may be zero by cancellation"
    return may if torch.float64 in (a.dtype, of_oracle) else f"{may}: hand in oracle=, the same in float64"


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _kind(value: object) -> str:
    return f"one of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


SALT = 0x67726164  # "grad"
GRAPHS = 4096  # of compiled functions, at most


def _now(candidate: Candidate) -> str:
    return f"at {dtype_name(candidate.now)}" if candidate.now else "begins"


@contextmanager
def _isolated(device: torch.device, inputs: Sequence[Any]) -> Iterator[None]:
    """No random state, grad mode or autocast comes in from outside, and none goes out; small work is on one thread."""
    with ExitStack() as stack:
        if is_small(inputs):
            stack.enter_context(_on_one_thread())
        stack.enter_context(devices.random_kept(*devices.of_kind(device.type)))
        stack.enter_context(torch.inference_mode(False))
        if compiler := sys.modules.get("torch._dynamo"):  # each way of calling is one more graph of what is compiled
            stack.enter_context(compiler.config.patch(recompile_limit=GRAPHS, accumulated_recompile_limit=GRAPHS))
        for kind in {"cpu", device.type}:
            if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):  # a kind may have none
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


@contextmanager
def _on_one_thread() -> Iterator[None]:
    """Where other processes have the cores, threads wait for each other, a hundred times as long as they compute."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _drawn_like(outs: Sequence[Tensor], device: torch.device, seed: int) -> list[Tensor | None]:
    """Standard normal tensors of the floating outs' shapes: a grad_out of ones hides whole classes of mistakes.

    So does one that equals an input: the salt keeps it off the numbers that the caller drew with the same seed.
    """
    generator = torch.Generator().manual_seed(seed + SALT)
    highest = dtypes_of(device)[0]

    def drawn(shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(device, highest)

    return [drawn(out.shape) if is_floating(out) else None for out in outs]
