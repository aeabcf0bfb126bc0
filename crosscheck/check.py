"""Judge a hand-written backward pass by autograd through its forward, or through an independent twin of it."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from crosscheck.candidate import Candidate, refuse
from crosscheck.cause.alternatives import gather
from crosscheck.cause.diagnosis import Diagnosis, constant_factor, explain_alone
from crosscheck.report import Report
from crosscheck.row import CHANGED, NOT_JUDGED, Row
from crosscheck.verdict.judge import Known, judge, rows_of
from crosscheck.verdict.precision import (
    DTYPES,
    FACTOR,
    comparable,
    distance,
    dtypes_of,
    is_floating,
    norm,
    unit_roundoff,
)
from crosscheck.verdict.taylor import judge_by_taylor


def crosscheck(
    forward: Callable[..., Any],
    backward: Callable[..., Sequence[Tensor | None]] | type[Function],
    inputs: Sequence[Any],
    *,
    twin: Callable[..., Any] | None = None,
    names: Sequence[str] | None = None,
    dtypes: Sequence[torch.dtype] | None = None,
    method: str | None = None,
    digits: int | None = None,
    seed: int = 0,
) -> Report:
    """Judge a hand-written backward pass as the derivative of its forward, in every dtype.

    ========  =========================================================================================================
    forward   `forward(*inputs) -> out`, a tensor or a tuple of tensors
    backward  `backward(grad_out, out, *inputs) -> (gradient of each input, or None, ...)`; grad_out is a tuple where
              out is one, with None for what is not floating. Or a `torch.autograd.Function`: its forward is judged too
    inputs    tensors, and anything else, which is handed through untouched; those that require grad are judged, and
              where none does, every floating-point one
    twin      the same function in torch's own operations: the values of out are judged too. Without it autograd goes
              through `forward`
    names     of the inputs; those of forward's parameters unless given
    dtypes    in which it is judged; all that the device has unless given
    method    "taylor": by Taylor's expansion of `forward`, through which autograd then need not go; no numerics
    digits    to so many decimal digits it has to be right, as for an iteration that stops at 1e-10: 10
    seed      of grad_out, which is drawn at random, and of torch's random state at every call, as for a dropout
    ========  =========================================================================================================

    Returns a report with a row for each judged tensor and dtype, and one for each input that was changed in place.

    Raises TypeError where no input can be judged, or a function does not take or return what it should; ValueError for
    names that are too few, or the same, for a method that is unknown, or beside a twin, and for digits below 1. What
    the two functions raise in every dtype is raised here; a dtype in which only `backward` does is left out and noted.
    Random state, grad mode and the inputs are left as they were.
    """
    if not isinstance(inputs, tuple | list):
        raise TypeError(f"inputs: expected a tuple, as in (x,), got {type(inputs).__name__}")
    names = _names(forward, len(inputs)) if names is None else tuple(names)
    if len(names) != len(inputs):
        raise ValueError(f"names: expected {len(inputs)}, one for each input, got {len(names)}")
    if len({"out", *names}) <= len(names):
        raise ValueError(
            f"names: expected different ones, and none called out, as the result is, got {', '.join(names)}"
        )
    for name, x in zip(names, inputs, strict=True):
        refuse(name, x)
    floating = [i for i, x in enumerate(inputs) if is_floating(x)]
    judged = [i for i in floating if inputs[i].requires_grad] or floating
    if not judged:
        raise TypeError("inputs: expected at least one floating-point tensor, got none")
    if method not in (None, "taylor") or (method and twin):
        raise ValueError(f"method: expected None, or 'taylor' without a twin, got {method!r}")
    if digits is not None and (not isinstance(digits, int) or isinstance(digits, bool) or digits < 1 or method):
        beside = f" beside method={method!r}" if method else ""
        raise ValueError(f"digits: expected a whole number from 1, without a method, got {digits!r}{beside}")
    _takes("forward", forward, names)
    is_function = isinstance(backward, type) and issubclass(backward, Function)
    if not is_function:
        _takes("backward", backward, ("grad_out", "out", *names))
    candidate = Candidate(
        forward, backward, twin or forward, names, judged, twin is not None or is_function, seed, is_function,
        explicit=any(inputs[i].requires_grad for i in judged),
    )  # fmt: skip
    device = inputs[judged[0]].device
    title = _name(backward)
    with _isolated(device):
        if method:
            draw = partial(_drawn_like, device=device, seed=seed)
            report = judge_by_taylor(candidate, inputs, dtypes, draw, title, explain=constant_factor)
        else:
            outs = candidate.tried(inputs, dtypes_of(device) if dtypes is None else dtypes)
            candidate.outs = len(outs)
            grad_outs = _drawn_like(outs, device, seed)
            report = judge(
                candidate.by_hand, candidate.by_autograd, (*grad_outs, *inputs), title=title, dtypes=dtypes, seed=seed,
                explained=partial(Diagnosis, partial(gather, candidate)), grads_out=len(grad_outs),
                places=candidate.places, values=candidate.truth_of, digits=digits,
            )  # fmt: skip
    why = "does not require grad" if candidate.explicit else f"{candidate.what} changes it in place"
    return _completed(report, candidate, {names[i]: why for i in floating if i not in candidate.judged})


def _completed(report: Report, candidate: Candidate, constants: Mapping[str, str]) -> Report:
    """The report with a row for each input that was changed in place, what was not judged, and what was trusted."""
    changed = [
        Row(name, row.device, row.dtype, math.inf, FACTOR, False, f"{CHANGED} by {by}", "")
        for row in report.rows[:1]
        for name, by in candidate.changed.items()
    ]
    unjudged = {
        **constants,
        **dict.fromkeys(sorted(candidate.left_out), "backward has None for it"),
        **{f"grad_out[{i}]": "its out is marked as not differentiable" for i in sorted(candidate.fixed)},
    }
    if candidate.values:
        unjudged |= dict.fromkeys(candidate.without_numbers, "not in floating point")
    trusted = [
        f"{candidate.what}: goes through {n}, whose backward is trusted" for n in sorted(candidate.trusted or ())
    ]
    design = [f"{name}: changed in place by {candidate.what}, as it may be" for name in sorted(candidate.by_design)]
    notes = (*report.notes, *trusted, *design)
    return replace(report, rows=(*report.rows, *changed), notes=notes, unjudged=unjudged)


def assert_crosscheck(forward: Callable[..., Any], backward: Any, inputs: Sequence[Any], **options: Any) -> None:
    """Raise GradientMismatch, with the table as its text, unless `crosscheck` of the same arguments agrees."""
    __tracebackhide__ = True  # pytest then shows the caller's line
    crosscheck(forward, backward, inputs, **options).raise_on_mismatch()


def compare(
    manual: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, oracle: Mapping[str, Tensor] | None = None
) -> Report:
    """Judge tensors that are there already: name by name, `manual` by `expected`, both of one dtype.

    A tensor agrees when ‖manual − oracle‖ ≤ 16 · max( ‖expected − oracle‖, u·‖oracle‖ ). oracle: the same in float64;
    without it `expected` stands for it, as if it were right to its last digit. Returns a report with a row for each
    name of either. Raises TypeError for what is no mapping of names to floating-point tensors; ValueError where there
    is nothing to compare, or the oracle's names or shapes are others than those of expected, or its numbers are.
    """
    oracle = expected if oracle is None else oracle
    for what, tensors in (("manual", manual), ("expected", expected), ("oracle", oracle)):
        if not isinstance(tensors, Mapping):
            raise TypeError(f"{what}: expected a mapping, as in {{'x': grad_x}}, got {type(tensors).__name__}")
    if not expected or expected.keys() != oracle.keys():
        raise ValueError(f"oracle: expected the names {list(expected)}, at least one, got {list(oracle)}")
    rows: list[Row] = []
    has_oracle = oracle is not expected
    largest = max((norm(x.detach()) for x in oracle.values() if is_floating(x) and x.dtype in DTYPES), default=0.0)
    for name, a in expected.items():
        for what, tensor in ((f"expected[{name!r}]", a), (f"oracle[{name!r}]", oracle[name])):
            refuse(what, tensor)
            if not is_floating(tensor) or tensor.dtype not in DTYPES:
                expected_one = f"one of {', '.join(map(str, DTYPES))}"
                raise TypeError(f"{what}: expected a floating-point tensor, {expected_one}, got {_kind(tensor)}")
        if oracle[name].shape != a.shape:
            raise ValueError(f"oracle[{name!r}]: expected shape {list(a.shape)}, got {list(oracle[name].shape)}")
        o = oracle[name].detach().cpu().to(torch.float64)
        if bool((a.detach().cpu().isfinite() & ~o.isfinite()).any()):
            raise ValueError(f"oracle[{name!r}]: expected finite numbers where expected[{name!r}] has them")
        noise = max(distance(a, o), unit_roundoff(a.dtype) * norm(o))
        m = {name: _detached(manual[name])} if name in manual else {}
        if _may_be_zero(m.get(name), a.detach(), o, largest, has_oracle):
            verdict = f"{NOT_JUDGED}: it may be zero by cancellation: hand in oracle=, the same in float64"
            rows.append(Row(name, a.device, a.dtype, 0.0, FACTOR, True, verdict, ""))
            continue
        if noise > norm(o) / 4 and noise > ROUNDING * unit_roundoff(a.dtype) * largest:
            by = noise / max(norm(a), norm(o))
            raise ValueError(
                f"oracle[{name!r}]: expected about the same as expected[{name!r}], they are {by:.0%} apart"
            )
        budget = {name: FACTOR * noise}
        rows += rows_of(a.dtype, m, {name: a.detach()}, {name: o}, budget, a.device, Known(), explain_alone)
    more = {name: m for name, m in manual.items() if name not in expected}
    rows += rows_of(rows[0].dtype, more, {}, {}, {}, rows[0].device, Known())
    return Report("", tuple(rows))


NOTHING_BESIDE = 2.0**-14  # of the largest number around: what is larger is none, in half precision either
ROUNDING = 64  # roundoffs of the largest number around: what is smaller may be what cancellation left


def _may_be_zero(m: Any, a: Tensor, o: Tensor, largest: float, has_oracle: bool) -> bool:
    """Whether both are next to nothing beside the other tensors, and nobody knows what the rest of it is."""
    least = min(ROUNDING * unit_roundoff(a.dtype), NOTHING_BESIDE) * largest
    both = comparable(m, o) and max(norm(m), norm(a)) <= least
    return both and bool(norm(a)) and not (has_oracle and norm(o) > 4 * distance(a, o))


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _kind(value: object) -> str:
    return f"one of {value.dtype}" if isinstance(value, Tensor) else type(value).__name__


SALT = 0x67726164  # "grad"


def _takes(what: str, function: Callable[..., Any], names: Sequence[str]) -> None:
    """Raise TypeError for a function that cannot be called with so many arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not tell
        return
    try:
        signature.bind(*names)
    except TypeError:
        at = inspect.unwrap(function)
        code = getattr(at, "__code__", None)
        where = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
        raise TypeError(f"{what}: expected to take ({', '.join(names)}), got {what}{signature}{where}") from None


@contextmanager
def _isolated(device: torch.device) -> Iterator[None]:
    """No random state, grad mode or autocast comes in from outside, and none goes out."""
    is_known = hasattr(torch, device.type)  # XLA is not, and keeps its random state to itself
    every = range(0 if device.type == "cpu" or not is_known else torch.accelerator.device_count())
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng(devices=every, device_type=device.type if is_known else "cpu"))
        stack.enter_context(torch.inference_mode(False))
        for kind in {"cpu", device.type}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _drawn_like(outs: Sequence[Tensor], device: torch.device, seed: int) -> list[Tensor | None]:
    """Standard normal tensors of the floating outs' shapes: a grad_out of ones hides whole classes of mistakes.

    So does one that equals an input: the salt keeps it off the numbers that the caller drew with the same seed.
    """
    generator = torch.Generator().manual_seed(seed + SALT)
    highest = dtypes_of(device)[0]

    def drawn(shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(device, highest)

    return [drawn(out.shape) if is_floating(out) else None for out in outs]


def _names(forward: Callable[..., Any], count: int) -> tuple[str, ...]:
    """The names of forward's parameters, and their places where it has none to tell."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(positional[i] if i < len(positional) else f"input {i}" for i in range(count))


def _name(backward: Callable[..., Any]) -> str:
    name: str = getattr(getattr(backward, "func", backward), "__qualname__", "backward")
    return name.rpartition("<locals>.")[2].removesuffix(".backward")
