"""Names the likely mistake: a hypothesis is accepted only if the value corrected by it agrees, else it is unknown."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import chain, combinations
from typing import Any

import torch
from torch import Tensor

from crosscheck.cause.slips import functions
from crosscheck.row import UNKNOWN, got_and_expected
from crosscheck.verdict.precision import SMALL, norm

CLEAR = 8  # budgets; a smaller error is corrected by too many hypotheses
ONE_IN = 20  # one element of so many, or fewer, is called wrong by itself
KNOWN = 1e-6  # of a number, up to which it is taken for another
LARGEST = 1024  # number of a fraction
ROUNDING = 2.0**-40  # of a sum of many numbers
FEWEST = 3  # elements in a row, from which on a factor or a term of the row's own is more than an excuse for it


def constant_factor(slopes: Sequence[tuple[float, float]], error: float) -> str:
    """The factor between what is got and what is expected, in several directions, if it is one; else nothing."""
    got, expected = (torch.tensor(column, dtype=torch.float64) for column in zip(*slopes, strict=True))
    factor = float((got * expected).sum() / (expected * expected).sum())
    if not bool(((got - factor * expected).abs() <= error).all()) or len(got) < 2:
        return ""
    if not factor:
        return "zero where a gradient is due"
    return "the sign is flipped" if abs(factor + 1) < 1e-6 else f"off by the constant factor {_readable(factor, {})}"


Family = tuple[str, float, Callable[[float], Tensor | None]]


@dataclass(frozen=True)
class Alternatives:
    """What a value may be compared with beside its oracle, all in float64.

    others: the oracles of the other tensors. terms: what may be added, or left out. sizes: numbers that a factor can
    come from. unsummed: the gradient before it is summed over what it was broadcast to. By its cause, what the value
    would be under a mistake, the likely ones first: mistaken, with another grad_out; slips, with another derivative;
    substituted, with another value in a derivative; bent, with another function for one; inputs, where one of these
    is taken wrongly; left_out, without one of them; replaced, with another operation. shares: the gradient through
    each operation of the forward; add_up: whether two of them do, within a budget, for one may be part of the other.
    families: the value by a number that may be another one, in which {} is that number.
    untried: what was not looked for, and why; skipped: for what there was no time, once all is looked for. is_value: it
    is a result, no gradient. near: from an error, where the value is wrong, and the budget, those of them that it may
    come of.
    """

    others: Mapping[str, Tensor] = field(default_factory=dict)
    terms: Mapping[str, Tensor] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    unsummed: Tensor | None = None
    mistaken: Iterable[tuple[str, Tensor]] = ()
    shares: Mapping[str, Tensor] = field(default_factory=dict)
    add_up: Callable[[str, str, float], bool] = lambda one, other, budget: True
    slips: Iterable[tuple[str, Tensor]] = ()
    inputs: Iterable[tuple[str, Tensor]] = ()
    families: Iterable[Family] = ()
    substituted: Iterable[tuple[str, Tensor]] = ()
    bent: Iterable[tuple[str, Tensor]] = ()
    replaced: Iterable[tuple[str, Tensor]] = ()
    left_out: Iterable[tuple[str, Tensor]] = ()
    untried: str = ""
    skipped: Sequence[str] = ()
    is_value: bool = False
    near: "Callable[[Tensor, Tensor, float], Alternatives] | None" = None


class Diagnosis:
    """Names the cause of what is wrong with the tensors of one call; what it takes is gathered when it is asked for.

    gather(deep, *inputs): the alternatives of each tensor by its name, not deep only what takes no run of autograd.
    of_crop(*inputs): the causes by name that a crop of large inputs shows.
    """

    def __init__(
        self,
        gather: Callable[..., Mapping[str, Alternatives]],
        inputs: Sequence[Any],
        of_crop: Callable[..., Mapping[str, str]] = lambda *inputs: {},
    ) -> None:
        self._gathered = cache(lambda deep: gather(deep, *inputs))
        self._of_crop = cache(lambda: of_crop(*inputs))

    def __call__(self, name: str, manual: Tensor, oracle: Tensor, budget: float, *, deep: bool = True) -> str:
        alternatives = self._gathered(False).get(name)
        if manual.shape != oracle.shape:
            unsummed = self._gathered(True).get(name, Alternatives()).unsummed
            return misshapen(manual, oracle, budget, unsummed)
        plain = diagnose(manual, oracle, budget, alternatives, deep=False)
        if not plain.startswith(UNKNOWN):
            return plain
        if cause := self._of_crop().get(name):  # that costs little
            return _with_the_worst(cause, manual, oracle)
        try:
            return diagnose(manual, oracle, budget, self._gathered(True).get(name)) if deep else plain
        except Exception:  # no search for a cause may cost the verdict
            return plain


def explain_alone(name: str, manual: Tensor, oracle: Tensor, budget: float, *, deep: bool = True) -> str:
    """What the two values tell, where nothing else is known and no function can be run."""
    return Diagnosis(lambda deep: {}, ())(name, manual, oracle, budget, deep=deep)


def diagnose(
    manual: Tensor, oracle: Tensor, budget: float, alternatives: Alternatives | None = None, *, deep: bool = True
) -> str:
    """One line of cause, "unknown" where no hypothesis holds, and one of the worst place.

    Not deep: only causes for which the two values and the sizes are enough.
    """

    # Where one of them is not finite there is nothing to explain.
    finite = torch.isfinite(manual) & torch.isfinite(oracle)
    if not bool(finite.all()):
        manual, oracle = torch.where(finite, manual, 0), torch.where(finite, oracle, 0)

    are_finite = bool(finite.all())

    def agrees(corrected: Tensor) -> bool:
        if corrected.shape != oracle.shape:
            return False
        is_near = (corrected - oracle).abs() <= budget
        return bool((is_near if are_finite else is_near | ~finite).all())

    error = (manual - oracle).abs()
    alternatives = alternatives or Alternatives()
    cause = UNKNOWN
    if float(error.max()) > CLEAR * budget:
        hypotheses = [_plain(manual, oracle, budget, alternatives)]
        if deep:
            hypotheses.append(_deep(manual, oracle, budget, alternatives))
        cause = next((cause for cause, corrected in chain(*hypotheses) if agrees(corrected)), "")
        cause = cause or ": ".join(filter(None, (UNKNOWN, alternatives.untried, _not_tried(alternatives.skipped))))
    return _with_the_worst(_of_values(cause) if alternatives.is_value else cause, manual, oracle)


def _of_values(cause: str) -> str:
    """A cause in the words for a result."""
    words = {
        "where a gradient is due": "where it is not",
        "where the gradient is zero": "where it is",
        "the gradient": "it",
    }
    for old, new in words.items():
        cause = cause.replace(old, new)
    return cause


def _with_the_worst(cause: str, manual: Tensor, oracle: Tensor) -> str:
    """The cause, and the place where the two are farthest apart."""
    error = (manual - oracle).abs().nan_to_num(0, 0, 0)
    place = torch.unravel_index(error.argmax(), error.shape)
    at = [int(i) for i in place]
    where = f"worst at {at}: " if at else ""
    return f"{cause}\n{where}{got_and_expected(manual[place].item(), oracle[place].item())}"


def _not_tried(skipped: Sequence[str]) -> str:
    what = ", ".join(dict.fromkeys(skipped))
    return f"there was no time for {what}: give smaller inputs" if what else ""


def misshapen(manual: Tensor, oracle: Tensor, budget: float, unsummed: Tensor | None) -> str:
    """What is wrong with a gradient of the wrong shape, where its numbers tell."""

    def agrees(corrected: Tensor) -> bool:
        return corrected.shape == oracle.shape and bool(((corrected - oracle).abs() <= budget).all())

    if manual.numel() == oracle.numel() and agrees(manual.reshape(oracle.shape)):
        return "the numbers are right, only the shape is not"
    with suppress(RuntimeError):  # not broadcast to one another
        if agrees(manual.sum_to_size(oracle.shape)):
            dims = _summed_over(manual.shape, oracle.shape)
            return f"not summed over dimension{'s' * (len(dims) > 1)} {', '.join(dims)}, over which it was broadcast"
    if manual.dim() == 2 and agrees(manual.T):
        return "transposed"
    if unsummed is not None:
        dims = _summed_over(unsummed.shape, oracle.shape)
        for count in range(1, unsummed.dim() + 1):
            for over in combinations(range(unsummed.dim()), count):
                total = unsummed.sum(over)
                if total.numel() == manual.numel() and bool(((total - manual.view_as(total)).abs() <= budget).all()):
                    wrong = f"over dimension {', '.join(map(str, over))}"
                    return (
                        f"summed over the wrong axis: {wrong} in place of {', '.join(dims)}"
                        if dims else f"summed {wrong}, where nothing is to be summed"
                    )  # fmt: skip
    return ""


def _summed_over(shape: torch.Size, smaller: torch.Size) -> list[str]:
    """The dimensions over which a gradient is summed to become that of something broadcast."""
    padded = (1,) * (len(shape) - len(smaller)) + tuple(smaller)
    lead = len(shape) - len(smaller)
    return [str(d) for d, (n, k) in enumerate(zip(shape, padded, strict=True)) if d < lead or (n != k and k == 1)]


Hypotheses = Iterator[tuple[str, Tensor]]  # each cause, with the value that it would have been without it


def _plain(m: Tensor, o: Tensor, budget: float, alternatives: Alternatives) -> Hypotheses:
    yield "the sign is flipped", -m
    if not m.any():
        yield "zero where a gradient is due", o
    for name, other in alternatives.others.items() if not alternatives.is_value else ():
        if other.shape == m.shape:
            yield f"it is the gradient of {name}", o + (m - other)
    known = max(KNOWN, 2 * budget / (norm(o) or math.inf))
    factor = _ratio(m, o, ()) if bool((o.abs() > budget).any()) else None
    if factor is not None and factor.item():
        g = alternatives.terms.get("grad_out")
        if g is not None and g.numel() == 1 and _same(factor.item() * g.item(), 1.0, known):
            yield "grad_out is ignored, as if it were 1", m / factor
        said = _readable(factor.item(), alternatives.sizes, known)
        if m.numel() > 1 or ": " in said:  # one number is off by some factor always: it is told where that is known
            yield f"off by the constant factor {said}", m / factor
    if abs(float(m.sum() - o.sum())) <= m.numel() * budget + ROUNDING * float(o.abs().sum()):  # the same numbers
        yield from _moved(m)
    yield from _moved_inside(m, o, budget)
    if m.numel() > 2:
        constant = float((m - o).mean())
        yield f"off by the additive constant {constant:.6g}", m - constant


def _deep(m: Tensor, o: Tensor, budget: float, alternatives: Alternatives) -> Hypotheses:
    in_part: list[tuple[str, Tensor]] = []  # what explains only where the value is wrong, for the end
    wrong = (m - o).abs() > budget
    if alternatives.near:
        alternatives = alternatives.near(m - o, wrong, budget)

    def as_(mistaken: Iterable[tuple[str, Tensor]]) -> Hypotheses:
        for cause, value in mistaken:
            if value.shape == m.shape:
                yield cause, o + (m - value)
                if bool(((m - value).abs() <= budget)[wrong].all()):
                    in_part.append((f"{cause}, {_where(wrong)}", torch.where(wrong, o, m)))

    yield from as_(alternatives.mistaken)
    if alternatives.unsummed is not None:
        yield from as_(_other_axes(alternatives.unsummed, o))
    yield from _by_operation(m, o, budget, alternatives.shares)
    yield from as_(alternatives.slips)
    yield from as_(alternatives.substituted)
    yield from as_(alternatives.bent)
    yield from as_(alternatives.inputs)
    yield from _by_two_operations(m, o, budget, alternatives)
    yield from _by_factor(m, o, wrong, alternatives.terms)
    yield from as_(_other_derivatives(m, alternatives.terms))
    yield from as_(alternatives.replaced)
    yield from _by_number(m, o, alternatives.families)
    yield from as_(alternatives.left_out)
    yield from as_(_fitted_derivatives(m, wrong, alternatives.terms))
    if int((wrong & (m != 0)).sum()) > 1:
        yield from in_part
    yield from _in_part(m, o, wrong)
    yield from _slice_by_slice(m, o, alternatives.terms)
    if int(wrong.sum()) * ONE_IN <= m.numel() or _where(wrong).endswith("alone"):
        yield f"wrong {_where(wrong)}, right everywhere else", torch.where(wrong, o, m)


def _other_axes(unsummed: Tensor, o: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Summed over other dimensions than those over which it was broadcast."""
    right = _summed_over(unsummed.shape, o.shape)
    for over in combinations(range(unsummed.dim()), len(right)):
        total = unsummed.sum(over) if over else unsummed
        if total.numel() == o.numel():
            wrong = ", ".join(map(str, over))
            cause = f"summed over the wrong axis: over dimension {wrong} in place of {', '.join(right)}"
            yield cause, total.reshape(o.shape)


def _by_number(m: Tensor, o: Tensor, families: Iterable[Family]) -> Hypotheses:
    """A number of the forward is another one: those that people mistake it for, then as Newton's method finds it."""
    for text, right, value in families:
        likely = [0.0, -right, 10 * right, right / 10, 2 * right, right / 2, right + 1, right - 1]
        likely += [1 / right, right**2, math.sqrt(abs(right))] if right else []
        for c in likely:
            if not _same(c, right) and (v := value(c)) is not None:
                yield text.format(_short(c)), o + (m - v)
        c, before, at = right * 1.01 or 1e-3, right, o
        for _ in range(8 if m.numel() > 1 else 0):  # one number is explained by any
            v = value(c)
            if v is None or not (along := (v - at) / (c - before)).any() or not torch.isfinite(along).all():
                break
            yield text.format(_apart_from(right, c)), o + (m - v)
            before, at, c = c, v, c + float(((m - v) * along).sum() / (along * along).sum())
            if c == before:
                break


def _apart_from(right: float, c: float) -> str:
    """A number in as many digits as tell it from the right one, which is said in six."""
    return next((said for digits in range(6, 18) if (said := f"{c:.{digits}g}") != f"{right:g}"), f"{c:.17g}")


def _by_operation(m: Tensor, o: Tensor, budget: float, shares: Mapping[str, Tensor]) -> Hypotheses:
    """What comes back through one operation of the forward is left out, or multiplied by something."""
    for name, share in shares.items():
        if bool((share.abs() > budget).any()):
            factor = float(((m - o) * share).sum() / (share * share).sum())
            said = {-1.0: "is left out", -2.0: "has the wrong sign"}
            known = max(KNOWN, 2 * budget / norm(share))
            what = next((text for value, text in said.items() if _same(factor, value, known)), None)
            if what is None and m.numel() == 1:
                continue  # one number is explained by any factor
            what = what or f"is off by the factor {_short(1 + factor, known)}"
            yield f"the gradient through {name} {what}", m - factor * share


def _by_two_operations(m: Tensor, o: Tensor, budget: float, alternatives: Alternatives) -> Hypotheses:
    """What comes back through two operations is left out."""
    felt = {name: share for name, share in alternatives.shares.items() if bool((share.abs() > budget).any())}
    for one, two in combinations(felt, 2):
        corrected = m + felt[one] + felt[two]
        if bool(((corrected - o).abs() <= budget).all()) and not alternatives.add_up(one, two, budget):
            continue
        yield f"the gradient through {one} and through {two} is left out", corrected


def _by_factor(m: Tensor, o: Tensor, wrong: Tensor, terms: Mapping[str, Tensor]) -> Hypotheses:
    """A factor that is another one for each element is left out, or is there too much."""
    if int((wrong & (o != 0)).sum()) < FEWEST:
        return  # a factor of zero would explain it
    for name, term in terms.items():
        if term.shape == m.shape:
            for text, factor in functions(name, term).items():
                yield f"the factor {text} is left out", m * factor
                yield f"the factor {text} is there once too often", torch.where((factor == 0) & (m == 0), o, m / factor)


def _moved(m: Tensor) -> Hypotheses:
    """The right numbers in the wrong places."""
    if m.dim() == 2:
        if m.shape[0] == m.shape[1]:
            yield "transposed", m.T
        yield "transposed, and its numbers then read into this shape", m.reshape(m.T.shape).T
    if m.dim() > 1 and m.shape[-1] == m.shape[-2]:
        yield "not symmetric where the gradient is: the mean of it and its transposed is right", (m + m.mT) / 2
    if m.dim() > 2:
        for i in range(m.dim()):
            for j in range(i + 1, m.dim()):
                if m.shape[i] == m.shape[j]:
                    yield f"transposed in dimensions {i} and {j}", m.transpose(i, j)
    for dim in range(m.dim()):
        if m.shape[dim] > 1:
            yield f"reversed along dimension {dim}", m.flip(dim)
            if m.shape[dim] % 2 == 0:
                yield f"the two halves of dimension {dim} are swapped", m.roll(m.shape[dim] // 2, dim)
            for shift in (1, -1):
                yield f"moved by {shift} along dimension {dim}", m.roll(-shift, dim)
    if m.dim() > 1:
        yield "reversed along the last two dimensions", m.flip(-2, -1)


def _moved_inside(m: Tensor, o: Tensor, budget: float) -> Hypotheses:
    """Moved along a dimension, or the last two, with something else at the border."""
    last_two = [(m.dim() - 2, m.dim() - 1)] if m.dim() > 1 else []
    if m.numel() > SMALL:  # a crop shows it
        return
    for dims in (*((dim,) for dim in range(m.dim())), *last_two):
        for shift in (1, -1, 2, -2):
            inside, expected = m, o
            for dim in dims:
                n = max(0, m.shape[dim] - abs(shift))
                inside = inside.narrow(dim, min(max(shift, 0), m.shape[dim]), n)
                expected = expected.narrow(dim, min(max(-shift, 0), m.shape[dim]), n)
            is_most = 2 * int((inside != 0).sum()) >= max(m.numel(), 2 * FEWEST)
            if is_most and bool(((inside - expected).abs() <= budget).all()):
                where = f"dimension{'s' * (len(dims) > 1)} {' and '.join(map(str, dims))}"
                yield f"moved by {shift} along {where}, with other numbers at the border", o


def _in_part(m: Tensor, o: Tensor, wrong: Tensor) -> Hypotheses:
    """Right elsewhere: zero, not zero, or off by one factor or constant at some elements."""
    where, right = _where(wrong), torch.where(wrong, o, m)
    if not m[wrong].any():
        yield f"zero where a gradient is due, {where}", right
    if not o[wrong].any():
        yield f"not zero where the gradient is zero, {where}", right
    if m.dim() > 1:
        for one, other, is_there, is_due in (
            ("upper", "lower", m.triu(1), o.tril(-1)),
            ("lower", "upper", m.tril(-1), o.triu(1)),
        ):
            if is_there.any() and is_due.any() and not (m - is_there)[wrong].any() and not (o - is_due)[wrong].any():
                yield f"it has the {one} triangle where the gradient has the {other} one", right
    if not (m[wrong] * o[wrong]).any():
        yield f"zero where a gradient is due, and not zero where none is, {where}", right
    if 1 < int(wrong.sum()) < m.numel():
        factor = _ratio(m[wrong], o[wrong], ())
        if factor is not None and factor.item():
            yield f"off by the factor {_readable(factor.item(), {})}, {where}", torch.where(wrong, m / factor, m)
        constant = float((m - o)[wrong].mean())
        yield f"off by the additive constant {constant:.6g}, {where}", torch.where(wrong, m - constant, m)


def _where(wrong: Tensor) -> str:
    """At which elements: in one slice of a dimension, or in so many."""
    places = torch.nonzero(wrong)
    if len(places) == 1:
        return f"at {places[0].tolist()} alone" if wrong.dim() else "here"
    for dim in range(wrong.dim()):
        slices = places[:, dim].unique().tolist()
        if wrong.shape[dim] > 1 and len(slices) == 1:
            return f"in the slice {slices[0]} of dimension {dim} alone"
    return f"at {len(places)} of {wrong.numel()} elements"


def _other_derivatives(m: Tensor, terms: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """grad_out times something else, element by element."""
    for g, name, t in _elementwise(m, terms):
        for text, derivative in functions(name, t).items():
            yield f"as if the derivative were {text}", g * derivative


def _fitted_derivatives(m: Tensor, wrong: Tensor, terms: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The same with two numbers that are found by least squares, where there are elements enough to show them."""
    if int(wrong.sum()) < 2 + FEWEST:
        return
    for g, name, t in _elementwise(m, terms):
        for text, function in functions(name, t).items():
            columns = torch.stack([g.expand_as(m) * function, g.expand_as(m)], -1)
            if bool(torch.isfinite(columns).all()):
                factor, constant = torch.linalg.lstsq(columns[wrong], m[wrong]).solution.tolist()
                is_none = abs(constant) <= KNOWN * abs(factor)
                sign, times = "−" if constant < 0 else "+", f"{_short(factor)}·" * (not _same(factor, 1.0))
                yield (
                    f"as if the derivative were {times}{text}" + f" {sign} {_short(abs(constant))}" * (not is_none),
                    factor * columns[..., 0] + constant * columns[..., 1],
                )


def _elementwise(m: Tensor, terms: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, str, Tensor]]:
    """grad_out, and each term by which it can be multiplied element by element."""
    g = terms.get("grad_out")
    if g is None or g.shape not in (m.shape, m.shape[:-1]) or m.numel() < FEWEST:
        return
    for name, t in terms.items():
        if t.shape == m.shape and "grad_out" not in name:
            yield (g if g.shape == m.shape else g.unsqueeze(-1)), name, t


def _slice_by_slice(m: Tensor, o: Tensor, terms: Mapping[str, Tensor]) -> Hypotheses:
    """A factor, or a multiple of a term, that is another one in each slice."""
    for dim in range(m.dim()):
        over = tuple(d for d in range(m.dim()) if d != dim)
        for kept, dims in ((f"in each slice of dimension {dim}", over), (f"in each row along dimension {dim}", (dim,))):
            if not dims or math.prod(m.shape[d] for d in dims) < FEWEST:
                continue
            factor = _ratio(m, o, dims)
            if factor is not None and bool((factor != 0).all()):
                there = factor[(o != 0).any(dims, keepdim=True)]
                between = f"from {float(there.min()):.6g} to {float(there.max()):.6g}"
                yield f"off by another factor {kept}, {between}", m / factor
            yield f"off by another constant {kept}", m - (m - o).mean(dims, keepdim=True)
            for name, term in terms.items():
                multiple = _ratio(m - o, term, dims) if term.shape == m.shape else None
                if multiple is not None:
                    yield f"off by a multiple of {name}, {kept}", m - multiple * term
    for name, term in terms.items():
        multiple = _ratio(m - o, term, ()) if term.shape == m.shape and m.numel() >= FEWEST else None
        if multiple is not None:
            yield f"off by {_readable(multiple.item(), {})} times {name}", m - multiple * term


def _ratio(x: Tensor, y: Tensor, dims: tuple[int, ...]) -> Tensor | None:
    """The c with x ≈ c y over these dimensions, over all without any; none where y is zero there, or nearly all."""
    every, least = dims or tuple(range(x.dim())), FEWEST if dims else 1
    counts = (y != 0).sum(every)
    empty = ((y == 0) & (x == 0)).all(every) & bool(dims)  # nothing by nothing is any factor
    if not bool(((counts >= least) | empty).all()) or not bool(counts.any()):
        return None
    largest = y.abs().max()  # by which the squares neither overflow nor vanish
    y = y / largest
    ratio = (x * y).sum(every, keepdim=True) / (y * y).sum(every, keepdim=True) / largest
    ratio = torch.where(empty.view_as(ratio), 1.0, ratio)
    return ratio if bool(torch.isfinite(ratio).all()) else None


def _readable(factor: float, sizes: Mapping[str, float], known: float = KNOWN) -> str:
    """The factor as a fraction of small numbers where it is one, and what it comes from."""
    sizes = {name: size for name, size in sizes.items() if size > 0 and size != 1}
    times = [name for name, size in sizes.items() if _same(factor, size, known)]
    parts = [name for name, size in sizes.items() if _same(factor, 1 / size, known)]
    if times or parts:
        what = " and ".join((times or parts)[:2])
        do = f"divide by {_short(factor, known)}" if times else f"multiply by {_short(1 / factor, known)}"
        return f"{_short(factor, known)}: {do}, which is {what}"
    near = abs(factor - 1)
    return f"1 {'+' if factor > 1 else '−'} {near:.3g}" if 0 < near < 1e-5 else _short(factor, known)


def _short(factor: float, known: float = KNOWN) -> str:
    """A fraction of small numbers where it is one, else with the digits that are known, six at most."""
    if not math.isfinite(factor):
        return str(factor)
    for largest in (16, LARGEST) if known < 1e-3 else (4,) if known < 0.05 else ():  # what is little known is many
        simple = Fraction(factor).limit_denominator(largest)
        numbers = sorted((abs(simple.numerator), simple.denominator))
        is_small = numbers[1] <= 16 or (numbers[0] == 1 and numbers[1] <= LARGEST)
        if is_small and _same(factor, float(simple), known):
            return str(simple)
    return f"{factor:.{min(6, max(1, math.floor(-math.log10(known))))}g}"


def _same(x: float, y: float, known: float = KNOWN) -> bool:
    return abs(x - y) <= known * abs(y)
