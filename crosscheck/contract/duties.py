"""The contract: the same call in ways that promise the same, one after the other, in the highest dtype that runs."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from ctypes import ArgumentError
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import BackwardCFunction
from torch.utils.checkpoint import checkpoint

from crosscheck.candidate import Candidate, device_of, gradients_of, nodes
from crosscheck.contract.breach import Breach, Contract
from crosscheck.contract.layouts import LAYOUTS, Layout, expanded, expanded_rows, is_another, laid_out
from crosscheck.devices import set_seed
from crosscheck.forward_mode import judge_forward_mode
from crosscheck.report import Report
from crosscheck.row import KINK, NOT_JUDGED, OFF, ZERO
from crosscheck.verdict.precision import (
    FACTOR,
    comparable,
    distance,
    is_finite,
    is_floating,
    is_small,
    nearby,
    norm,
    rounded,
    unit_roundoff,
    widened,
)  # fmt: skip
from crosscheck.verdict.sides import MOVED

Gradients = Mapping[str, Any]
MANY = 8  # tensors that are looked at one by one, at most
ALONE = ("transposed",)  # layouts in which each is looked at alone, too
# What a candidate says by itself that it does not take; all else that it raises is a crash.
REFUSALS = (NotImplementedError, ValueError, RuntimeError, AssertionError, TypeError, BufferError, ArgumentError)
LEAST = 2.0**-20  # of a gradient, by which another is another one
STALE = 2.0**-8  # of a gradient, by which it differs where it belongs to other numbers
FARTHER = 0.25  # the share by which other numbers are smaller: a stale gradient is another by more than rounding
WILD = 2.0**10  # times its size a gradient is near what is singular
COARSE = 2.0**-5  # of a gradient, by which it may differ under autocast, beside 16 times the truth's own error there


def judge_contract(
    candidate: Candidate, grad_outs: Sequence[Any], leaves: Sequence[Any], report: Report, dtype: torch.dtype, *,
    full: bool, only: str = "",
) -> Contract:  # fmt: skip
    """What the candidate owes beside its numbers. report: of these, by which it is told what rounding is.

    A duty is not kept where other numbers come silently, or where it crashes. What it refuses, by a clear error, is
    noted and not wrong. only: the one duty of this name.
    """
    duties = Duties(candidate, rounded(grad_outs, dtype), rounded(leaves, dtype), dtype, report)
    for name, duty in duties.all(full):
        if only in ("", name):
            duties.look(name, duty)
    return Contract(
        tuple(duties.checked), tuple(duties.breaches), tuple(duties.refusals), tuple(dict.fromkeys(duties.told))
    )


@dataclass
class Duties:
    """The calls, and what they showed."""

    candidate: Candidate
    grads: Sequence[Any]
    xs: Sequence[Any]
    dtype: torch.dtype
    report: Report
    checked: list[str] = field(default_factory=list)
    breaches: list[Breach] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.plain = self.call(*self.again())

    def all(self, full: bool) -> Iterator[tuple[str, Callable[[str], bool]]]:
        """The duties by their names. Each says whether there was something to look at."""
        for name, layout in LAYOUTS.items():
            yield name, lambda name, layout=layout: self.another_layout(name, layout)  # type: ignore[misc]
        yield "grad_out expanded", self.expanded_grad_out
        if not self.candidate.is_random:
            yield "inputs expanded", self.expanded_inputs
        if not self.report.formula_alone:  # else there is no truth
            yield "other numbers", self.other_numbers
            if self.candidate.outs > 1:
                yield "unused outs", self.unused_outs
        if not self.candidate.accumulates:
            yield "two forwards first", self.two_forwards_first
            yield "results kept", self.kept_results
        if self.candidate.through:
            yield "frozen inputs", self.frozen_inputs
            if not self.candidate.accumulates:
                yield "backward twice", self.backward_twice
            yield "saved tensors elsewhere", self.saved_elsewhere
            yield "checkpointed", self.checkpointed
            if torch.float32 in {row.dtype for row in self.report.rows} and not self.report.formula_alone:
                yield "autocast", self.autocast
            if any(function.jvp is not Function.jvp for function in self.candidate.own):
                yield "forward mode", self.forward_mode
            if any(f.generate_vmap_rule or f.vmap is not Function.vmap for f in self.candidate.own):
                yield "vmap", self.vmap
            if torch.device(device_of(self.xs)).type == "cuda":
                yield "another stream", self.another_stream
        if full and self.candidate.compiled:
            yield "compiled", self.compiled

    def look(self, name: str, duty: Callable[[str], bool]) -> None:
        """Look at one; what it raises by itself is a refusal, or a crash."""
        before = len(self.breaches), len(self.refusals)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is done here on purpose
                if not duty(name):
                    return
        except Exception as error:
            self.raised(name, "", error)
        if (len(self.breaches), len(self.refusals)) == before:
            self.checked.append(name)

    # Calls

    def call(self, grads: Sequence[Any], xs: Sequence[Any], *, watch: bool = False, **others: Any) -> Gradients:
        """The outs and the gradients by the candidate, or by one that is another in some ways."""
        candidate = replace(self.candidate, values=True, watched=set() if watch else {self.dtype}, **others)
        found = candidate.by_hand(*grads, *xs)
        names = {candidate.names[i] for i in candidate.judged} | candidate.floating_outs
        return {name: value for name, value in found.items() if name in names}

    def again(self) -> tuple[list[Any], list[Any]]:
        """Fresh copies."""
        return rounded(self.grads, self.dtype), rounded(self.xs, self.dtype)

    def tolerance(self, name: str) -> float:
        """What is rounding: the budget, or 16 times what the error in numbers was.

        Of what agrees for being zero, or at a kink, that of the largest of all.
        """
        if name not in self._tolerances:
            rows = [row for row in self.report.rows if row.dtype == self.dtype and row.ok]
            own = [row for row in rows if row.name == name and name in self.right]
            roundoffs = max((max(row.budget, FACTOR * row.error) for row in own or rows), default=FACTOR)
            sums = math.sqrt(max((x.numel() for x in self.xs if is_floating(x)), default=1))
            largest = max(map(self.size, self.plain))
            size = self.size(name) if own else largest
            least = max(max(roundoffs, FACTOR * sums) * size, FACTOR * sums * largest)
            self._tolerances[name] = unit_roundoff(self.dtype) * least
        return self._tolerances[name]

    @cached_property
    def _tolerances(self) -> dict[str, float]:
        return {}

    def off(self, found: Gradients, expected: Gradients, least: float = 0.0) -> tuple[str, float, float] | None:
        """The first gradient that is another, how far, and of what size; nan for one that is missing.

        By more than rounding, and at least that share of its size.
        """
        for name, m in expected.items():
            value = found.get(name)
            if not isinstance(m, Tensor) or not is_floating(m):
                continue
            if not isinstance(value, Tensor) or not comparable(value, m):
                if norm(m):
                    return name, float("nan"), norm(m)
                continue
            by, size = distance(value, m), max(norm(m), self.size(name))
            if (least < STALE and _are_finite_elsewhere(value, m)) or by > max(
                self.tolerance(name), max(least, LEAST) * norm(m)
            ):
                return name, by, size
        return None

    def size(self, name: str) -> float:
        """‖m‖ of the plain call."""
        return self._sizes.get(name, 0.0)

    @cached_property
    def _sizes(self) -> dict[str, float]:
        return {name: norm(m) for name, m in self.plain.items() if isinstance(m, Tensor)}

    def compare(
        self, check: str, found: Gradients, expected: Gradients, how: str, hint: str = "", least: float = 0.0
    ) -> bool:
        """Whether they are the same; else a breach."""
        off = self.off(found, expected, least)
        if off is None:
            return True
        name, by, of = off
        value = found.get(name)
        is_zero = isinstance(value, Tensor) and not value.any()
        seen = "is zero" if is_zero else f"differs by {by:.2g} of {of:.2g}" if by == by else "is missing"
        seen += f", expected {of:.2g}" * (is_zero or by != by)
        self.breaches.append(Breach(check, name, f"{how}: {name} {seen}{hint}"))
        return False

    def raised(self, check: str, how: str, error: Exception) -> None:
        """A refusal, or a breach."""
        said = f"{how}: " * bool(how) + f"raises {type(error).__name__}: {error}".splitlines()[0][:160]
        is_slip = isinstance(error, TypeError) and "NoneType" in str(error)
        if isinstance(error, REFUSALS) and not is_slip:
            self.refusals.append(f"{check}: {said}")
        else:
            self.breaches.append(Breach(check, "", said))

    # Layouts

    def grads_in(self, layout: Layout, grads: Sequence[Any]) -> list[Any]:
        """grad_out in the layout."""
        pairs = zip(grads, self.complex_grads, strict=True)
        return [laid_out(g, layout, z) if isinstance(g, Tensor) else g for g, z in pairs]

    def inputs_in(self, layout: Layout, xs: Sequence[Any]) -> list[Any]:
        """The inputs and parameters in the layout; not buffers, nor options."""
        triples = zip(range(len(xs)), xs, self.complex_inputs, strict=True)
        given = self.candidate.given
        return [laid_out(x, layout, z) if isinstance(x, Tensor) and i < given else x for i, x, z in triples]

    @property
    def complex_grads(self) -> list[bool]:
        return [name in self.candidate.complex_outs for name in self.candidate.names_of_outs]

    @property
    def complex_inputs(self) -> Sequence[bool]:
        return self.candidate.are_complex or [False] * len(self.xs)

    def another_layout(self, name: str, layout: Layout) -> bool:
        """What comes back from above and what goes in, in another layout; where it fails, which of them."""
        grads, xs = self.again()
        other_grads = self.grads_in(layout, grads)
        # Random numbers are drawn in the order of memory.
        other_xs = xs if self.candidate.is_random else self.inputs_in(layout, xs)
        pairs = zip((*grads, *xs), (*other_grads, *other_xs), strict=True)
        if not any(is_another(x, y) for x, y in pairs if isinstance(x, Tensor)):
            return False
        try:
            is_kept = self.off(self.call(other_grads, other_xs, watch=True), self.plain) is None
        except Exception:
            is_kept = False
        # What takes the strides of one for another's is right where all have the same.
        if not is_kept or (name in ALONE and is_small(xs)):
            self.which(name, layout, is_kept)
        return True

    def which(self, name: str, layout: Layout, is_kept: bool) -> None:
        """The first of grad_out and the inputs that in this layout alone gives other numbers, or is refused."""
        tried = 0
        for place, what in enumerate((*self.candidate.grads_out_names, *self.candidate.names)):
            grads, xs = self.again()
            is_grad = place < len(grads)
            given, at = (grads, place) if is_grad else (xs, place - len(grads))
            z = (self.complex_grads if is_grad else self.complex_inputs)[at]
            if not isinstance(given[at], Tensor) or (not is_grad and at >= self.candidate.given):
                continue
            if (not is_grad and self.candidate.is_random) or (is_kept and tried >= MANY):
                continue
            plain, given[at] = given[at], laid_out(given[at], layout, z)
            if not is_another(plain, given[at]):
                continue
            tried += 1
            hint = "; with .contiguous() it is right"
            try:
                if not self.compare(name, self.call(grads, xs), self.plain, f"{what} {name}", hint):
                    return
            except Exception as error:
                self.raised(name, f"{what} {name}", error)
                return
        if is_kept:
            return
        grads, xs = self.again()  # by itself each is taken
        other = self.grads_in(layout, grads), self.inputs_in(layout, xs)
        self.compare(name, self.call(*other), self.plain, f"all {name}")

    def expanded_grad_out(self, name: str) -> bool:
        """One number for all, as behind a sum."""
        return self._expanded(name, expanded, of_grads=True)

    def expanded_inputs(self, name: str) -> bool:
        """The first row for all, as what is broadcast."""
        return self._expanded(name, expanded_rows, of_grads=False)

    def _expanded(self, name: str, layout: Layout, of_grads: bool) -> bool:
        def given() -> tuple[list[Any], list[Any]]:
            grads, xs = self.again()
            if of_grads:
                return self.grads_in(layout, grads), xs
            return grads, [
                laid_out(x, layout, z) if is_floating(x) and i < self.candidate.given else x
                for i, (x, z) in enumerate(zip(xs, self.complex_inputs, strict=True))
            ]

        grads, xs = given()
        if not any(is_floating(x) and 0 in x.stride() and x.numel() > 1 for x in (grads if of_grads else xs)):
            return False
        try:
            expected = self.call(*(list(map(_contiguous, of)) for of in given()))
        except Exception:
            return False  # it has no value where all are the same
        found = self.call(grads, xs)
        if of_grads:
            self.compare(name, found, expected, name, "; with .contiguous() it is right")
            return True
        # Rows that are the same may take turns, as where one of them is the largest: it is their sum that counts.
        if any(norm(m) > WILD * self.size(n) for n, m in expected.items() if is_floating(m)):
            return False  # they are a singular case of it
        hint = "; with .contiguous() it is right"
        sums = _summed(expected)
        sizes = {n: max(norm(m), self.size(n)) for n, m in expected.items() if is_floating(m)}
        clear = {n: s for n, s in sums.items() if n in sizes and norm(s) >= STALE * sizes[n]}  # what is not cancelled
        self.compare(name, _summed(found), clear, name, hint, STALE)
        return True

    # What is used of it

    def unused_outs(self, name: str) -> bool:
        """Each out by itself unused, and each alone used."""
        used = [i for i, g in enumerate(self.grads) if is_floating(g) and i not in self.candidate.fixed][:MANY]
        for alone in (False, True) if len(used) > 2 else (False,):
            for i in used:
                grads, xs = self.again()
                unused = [j for j in used if (j != i if alone else j == i)]
                zeros = [torch.zeros_like(g) if j in unused else g for j, g in enumerate(grads)]
                truth = self.candidate.by_autograd(*widened(zeros), *widened(xs))
                judged = self.candidate.places.keys() & self.right
                expected = {n: v for n, v in truth.items() if n in judged}
                given = [None if j in unused and self.candidate.through else g for j, g in enumerate(zeros)]
                outs = self.candidate.names_of_outs
                how = f"only {outs[i]} used" if alone else f"{outs[i]} unused"
                try:
                    found = self.call(given, xs)
                except Exception as error:
                    self.raised(name, how, error)
                    continue
                if not self.compare(name, found, expected, how, least=STALE):
                    return True
        return len(used) > 1

    @property
    def right(self) -> set[str]:
        """The names of the gradients that agree, and not for a kink or a zero."""
        rows = [row for row in self.report.rows if row.dtype == self.dtype and row.ok]
        said = (KINK, ZERO, NOT_JUDGED, OFF)
        return {row.name for row in rows if not row.verdict.startswith(said)}

    def frozen_inputs(self, name: str) -> bool:
        """Each judged input frozen, and each alone not frozen: what is left is unchanged."""
        judged = list(self.candidate.judged)
        subsets = {tuple(j for j in judged if j != i): f"{self.candidate.names[i]} frozen" for i in judged[:MANY]}
        subsets |= {(i,): f"only {self.candidate.names[i]} not frozen" for i in judged[:MANY]}
        for left, how in subsets.items() if len(judged) > 1 else ():
            grads, xs = self.again()
            names = {self.candidate.names[i] for i in left}
            expected = {n: value for n, value in self.plain.items() if n in names}
            try:
                if not self.compare(name, self.call(grads, xs, judged=left, watch=True), expected, how):
                    return True
            except Exception as error:
                self.raised(name, how, error)
                return True
        return len(judged) > 1

    # Again, and in between

    def backward_twice(self, name: str) -> bool:
        """A second backward through the same graph."""
        grads, xs = self.again()
        out = self.candidate.forward_through(xs)
        self.tell_what_ctx_keeps(out, xs)
        self.candidate.gradients(out, self.again()[0], xs, retain_graph=True)
        found = self.candidate.gradients(out, grads, xs)
        names = [self.candidate.names[i] for i in self.candidate.judged]
        again = dict(zip(names, found, strict=True))
        gradients = {n: value for n, value in self.plain.items() if n in again}
        self.compare(name, again, gradients, "a second backward through the same graph")
        return True

    def tell_what_ctx_keeps(self, out: Sequence[Any], xs: Sequence[Any]) -> None:
        """Inputs and outs among the attributes of ctx: there nobody sees when they are changed in place."""
        given = dict(zip((*self.candidate.names, *self.candidate.names_of_outs), (*xs, *out), strict=False))
        for node in nodes(out):
            for kept in vars(node).values() if isinstance(node, BackwardCFunction) else ():
                for name, x in given.items():
                    if isinstance(kept, Tensor) and isinstance(x, Tensor) and kept.numel() and _share(kept, x):
                        self.told.append(f"{name} is kept on ctx: save_for_backward would see it changed in place")

    def moved(self) -> list[Any]:
        """Other numbers of the same shapes."""
        return rounded(self._others[0], self.dtype)

    @cached_property
    def _others(self) -> tuple[list[Any], Gradients]:
        """Other numbers at which there is a value, and what the truth is there.

        The same in another order, and smaller, for masks and indices to be others, too; else smaller alone.
        """
        generator = torch.Generator().manual_seed(self.candidate.seed)
        judged = self.candidate.judged
        shuffled = [_shuffled(x) if i < self.candidate.given else x for i, x in enumerate(self.xs)]
        for xs, share in ((shuffled, FARTHER), (self.xs, FARTHER), (self.xs, MOVED)):
            moved = nearby(xs, self.dtype, share, generator, judged)
            try:
                if self.report.formula_alone:
                    return moved, self.call(rounded(self.grads, self.dtype), rounded(moved, self.dtype))
                truth = self.candidate.by_autograd(*widened(self.grads), *widened(moved))
            except Exception:
                continue
            if all(bool(x.isfinite().all()) for x in truth.values() if is_floating(x)):
                return moved, truth
        return rounded(self.xs, self.dtype), self.plain

    def two_forwards_first(self, name: str) -> bool:
        """Another forward between the forward and its backward."""

        def another() -> Any:
            through = self.candidate.through
            return self.candidate.forward_through(self.moved()) if through else self.candidate.forward(*self.moved())

        found = self.candidate.raw(*self.again(), between=another)
        gradients = {n: value for n, value in self.plain.items() if n in self.candidate.places}
        self.compare(name, found, gradients, "another forward between forward and backward")
        return True

    def other_numbers(self, name: str) -> bool:
        """Other numbers of the same shapes: what is kept by shape is stale."""
        grads, _ = self.again()
        truth = self._others[1]
        expected = {n: value for n, value in truth.items() if n in self.plain and n in self.right}
        how = "a second call with other numbers of the same shapes"
        self.compare(name, self.call(grads, self.moved()), expected, how, least=STALE)
        return bool(expected)

    def kept_results(self, name: str) -> bool:
        """What one call returned is still the same after another."""
        grads, xs = self.again()
        first = self.candidate.raw(grads, xs)
        self.tell_shared_memory(first, dict(zip(self.names_of_given, (*grads, *xs), strict=True)))
        self.candidate.raw(self.again()[0], self.moved())
        expected = {n: value for n, value in self.plain.items() if n not in self.candidate.may_change}
        self.compare(name, first, expected, "what one call returned, after another call")
        return True

    # What it runs under

    def _under(self, name: str, context: AbstractContextManager[Any], how: str) -> bool:
        grads, xs = self.again()
        with context:
            found = self.call(grads, xs)
        self.compare(name, found, self.plain, how)
        return True

    def saved_elsewhere(self, name: str) -> bool:
        """Saved tensors are moved to the CPU and back."""
        return self._under(name, torch.autograd.graph.save_on_cpu(), "saved tensors moved to the CPU and back")

    def checkpointed(self, name: str) -> bool:
        """The forward runs once more in the backward."""
        through = self.candidate.through

        def again(*xs: Any) -> Any:
            outs: list[Any] = []

            def tensors(*xs: Any) -> tuple[Any, ...]:
                assert through is not None
                outs[:] = [through(*xs)]
                return tuple(outs[0])

            places = [i for i, x in enumerate(xs) if isinstance(x, Tensor) and x.requires_grad]

            def of(*given: Any) -> tuple[Any, ...]:
                there = dict(zip(places, given, strict=True))
                return tensors(*(there.get(i, x) for i, x in enumerate(xs)))

            values = checkpoint(of, *(xs[i] for i in places), use_reentrant=False)
            return outs[0].having(values)

        self.compare(name, self.call(*self.again(), through=again), self.plain, "under torch.utils.checkpoint")
        return True

    def autocast(self, name: str) -> bool:
        """Under autocast the candidate goes by its own rules, and is as near to the truth as that is there."""
        grads, xs = rounded(self.grads, torch.float32), rounded(self.xs, torch.float32)
        kind = device_of(xs).type
        under = torch.autocast(kind, torch.bfloat16) if kind in ("cpu", "cuda") else nullcontext()
        plain = self.candidate.by_hand(*rounded(grads, torch.float32), *rounded(xs, torch.float32))

        def gradients(of: Candidate) -> Gradients:
            """Its own, with the forward alone under autocast, as torch advises."""
            leaves = rounded(xs, torch.float32)
            with under:
                out = of.forward_through(leaves)
            names = (of.names[i] for i in of.judged)
            return dict(zip(names, of.gradients(out, rounded(grads, torch.float32), leaves), strict=True))

        try:
            truth = gradients(replace(self.candidate, through=self.candidate.truth))
        except Exception:
            return False  # nor is the truth
        found = gradients(self.candidate)
        for n, m in plain.items():
            value, a = found.get(n), truth.get(n)
            if value is None or a is None or not (comparable(value, m) and comparable(a, m)):
                continue
            by, truths = distance(value, m), distance(a, m)
            if by > max(FACTOR * truths, COARSE * norm(m)):
                how = f"under autocast: {n} differs by {by:.2g} of {norm(m):.2g}, autograd by {truths:.2g}"
                self.breaches.append(Breach(name, n, how))
        return True

    def forward_mode(self, name: str) -> bool:
        """The Jacobian-vector product that it has a rule for."""
        try:
            found = judge_forward_mode(self.candidate, self.xs, [self.dtype], "", self.candidate.seed)
        except TypeError:
            return False  # it has none for this
        for row in found.mismatches:
            self.breaches.append(Breach(name, row.name, f"{row.name}: {row.said}"))
        return True

    def vmap(self, name: str) -> bool:
        """Over two samples at once, these and others of the same shapes."""
        through, judged = self.candidate.through, self.candidate.judged
        assert through is not None

        def floating(*given: Any) -> tuple[Tensor, ...]:
            return tuple(filter(is_floating, through(*given)))

        grads, xs = self.again()
        others = [y if i in judged else x for i, (x, y) in enumerate(zip(xs, self.moved(), strict=True))]
        pairs = list(xs)
        for i in judged:
            pairs[i] = torch.stack([xs[i], others[i]]).requires_grad_()
        dims = tuple(0 if i in judged else None for i in range(len(xs)))
        set_seed(device_of(xs), self.candidate.seed)
        with torch.enable_grad():
            outs = torch.func.vmap(floating, dims, randomness="same")(*pairs)
        used = [torch.stack([g, g]) for g in grads if is_floating(g)]
        names = [self.candidate.names[i] for i in judged]
        both = dict(zip(names, gradients_of(outs, used, [pairs[i] for i in judged]), strict=True))
        expected = self.call(rounded(grads, self.dtype), rounded(others, self.dtype))
        for place, of in enumerate((self.plain, expected)):
            found = {n: g[place] for n, g in both.items() if g is not None}
            if not self.compare(name, found, {n: of[n] for n in names if n in of}, "under torch.func.vmap"):
                return True
        return True

    def another_stream(self, name: str) -> bool:
        """On a stream of its own, beside which another computes."""
        grads, xs = self.again()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            found = self.call(grads, xs)
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        self.compare(name, found, self.plain, "on a side stream")
        return True

    def compiled(self, name: str) -> bool:
        """Compiled it gives the same; breaks of the graph are told."""
        assert self.candidate.compiled is not None
        counters = torch._dynamo.utils.counters
        counters["graph_break"].clear()
        found = self.call(*self.again(), through=self.candidate.compiled())
        self.compare(name, found, self.plain, "under torch.compile")
        self.told += [f"compiled: the graph breaks: {why.splitlines()[0]}" for why in counters["graph_break"]]
        return True

    @property
    def names_of_given(self) -> tuple[str, ...]:
        return (*self.candidate.grads_out_names, *self.candidate.names)

    def tell_shared_memory(self, results: Gradients, given: Gradients) -> None:
        """A gradient that lies where grad_out or an input does: who writes into one writes into the other."""
        for name in filter(results.__contains__, self.candidate.places):
            for other, x in given.items():
                gradient = results[name]
                if isinstance(gradient, Tensor) and isinstance(x, Tensor) and gradient.numel() and _share(gradient, x):
                    self.told.append(f"the gradient of {name} shares memory with {other}")


def _shuffled(x: Any) -> Any:
    """The same numbers in another order; but sorted whole numbers stay, for they may be offsets."""
    if not isinstance(x, Tensor) or x.numel() < 2:
        return x
    flat = x.detach().flatten()
    if not x.is_floating_point() and x.dtype != torch.bool and bool((flat[1:] >= flat[:-1]).all()):
        return x
    return x.detach().clone().copy_(flat.roll(1).view(x.shape)) if 0 not in x.stride() else x


def _contiguous(x: Any) -> Any:
    return x.clone(memory_format=torch.contiguous_format) if isinstance(x, Tensor) else x


def _are_finite_elsewhere(x: Tensor, y: Tensor) -> bool:
    if is_finite(x) and is_finite(y):
        return False
    return bool((x.isfinite() != y.isfinite()).any())


def _summed(of: Gradients) -> Gradients:
    """Over the rows."""
    return {name: m.sum(0) if is_floating(m) and m.dim() else m for name, m in of.items()}


def _share(x: Tensor, y: Tensor) -> bool:
    try:
        return x.untyped_storage().data_ptr() == y.untyped_storage().data_ptr() != 0
    except RuntimeError:  # a device may not tell where a tensor lies, as XLA
        return False
