"""What autograd would give if one operation of the forward were differentiated wrongly, forgotten, or another one.

A gradient is a sum over the paths through the operations of the forward. Take it once with one operation's result held
constant: the difference is that operation's share, and a mistake made there is often a multiple of it. Take it again
with that operation's derivative replaced by a mistaken one, or with another operation in its place: so it is when
somebody takes it wrongly there.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain, combinations, pairwise
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd import Function

from crosscheck.candidate import as_tuple, gradients_of
from crosscheck.cause.graph import Graph
from crosscheck.cause.recorded import MAX_NUMBERS, Call, Changed, Live, Recorded, Values, result_of
from crosscheck.cause.screen import Screen
from crosscheck.cause.slips import (
    SCANS,
    Edge,
    Slip,
    constants,
    derivatives,
    escaped,
    of_itself,
    others_operation,
    slips,
    substitutes,
    until_it_fails,
)
from crosscheck.verdict.precision import is_floating

SECONDS = 0.4  # of the processor, for which a cause is searched

Gradients = Sequence[Tensor]
T = TypeVar("T")


class _Through(Function):
    """Zero, with a derivative that was made up: added to a result, it is all of that result's derivative by x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, slip: Slip) -> Tensor:
        ctx.slip = slip
        return torch.zeros_like(y)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return ctx.slip(g), None, None


class Time:
    """How long a search may take."""

    def __init__(self) -> None:
        self._end = time.thread_time() + SECONDS

    @property
    def is_up(self) -> bool:
        return time.thread_time() > self._end


class Paths:
    """The operations that autograd goes through in `forward(*xs)`, and the gradients when one of them is changed.

    They are those of the xs that require grad. untried: why operations are not tried, if so. skipped: what they were
    not tried for, as there was no time.
    """

    def __init__(
        self, forward: Callable[..., Any], xs: Sequence[Any], grads_out: Sequence[Any], named: Mapping[str, Tensor],
        time: Time | None = None, skipped: list[str] | None = None,
    ) -> None:  # fmt: skip
        self._forward, self._xs, self._grads_out, self._named = forward, xs, grads_out, named
        self._judged = [x for x in xs if isinstance(x, Tensor) and x.requires_grad]
        self._time, self.skipped = time or Time(), [] if skipped is None else skipped
        with torch.enable_grad(), Recorded() as recorded:
            self._outs = forward(*xs)
        edges, wholes, self._in_place = recorded.edges, recorded.wholes, recorded.in_place
        live = {} if self._in_place else recorded.live
        uses, results = [each.use for each in live.values()], [each.result for each in live.values()]
        found = self._back(self._grads_out, [*self._judged, *uses, *results])
        count = len(self._judged)
        self.whole = [torch.zeros_like(x) if g is None else g for x, g in zip(self._judged, found, strict=False)]
        # What comes back by each edge, and to its result: nothing where the result counts for nothing.
        self._live = live
        self._by = dict(zip(live, found[count : count + len(live)], strict=True))
        self._to = dict(zip(live, found[count + len(live) :], strict=True))
        self.untried = ""
        if recorded.numbers > MAX_NUMBERS:
            few = f"take and give at most {MAX_NUMBERS:,} numbers in all: give smaller inputs"
            self.untried, edges, wholes = f"operations of the forward are tried where they {few}", {}, {}
        self._places, self._wholes = recorded.places(edges), recorded.places(wholes)

    def screen(self, place: int, error: Tensor, wrong: Tensor, budget: float) -> Screen | None:
        """What a mistake has to come to that explains the error of one of the gradients; none where it is not sound."""
        x = self._judged[place]
        at = next(i for i, other in enumerate(self._xs) if other is x)
        by_number = {(edge.number, edge.place): edge for edge in self._live}

        def moved(step: Tensor) -> tuple[Mapping[Any, Tensor], Sequence[Any]]:
            further = [*self._xs[:at], x.detach() + step, *self._xs[at + 1 :]]
            with torch.no_grad(), Values(by_number) as of:
                outs = self._forward(*further)
            ahead = [y.double() - o.detach() if is_floating(y) else None for y, o in _pairs(outs, self._outs)]
            return {edge: value - edge.x for edge, value in of.values.items() if value.shape == edge.x.shape}, ahead

        with suppress(Exception):  # no search for a cause may cost the verdict
            screen = Screen.of(place, x.detach(), error, wrong, budget, moved)
            grads_out = [g if is_floating(g) and is_floating(o) and o.requires_grad else None
                         for g, o in _pairs(self._grads_out, self._outs)]  # fmt: skip
            of_outs = [t if g is not None else None for t, g in zip(screen.of_outs, grads_out, strict=True)]
            screen = replace(screen, of_outs=of_outs)
            if screen.is_sound(self.whole[place], grads_out):
                return screen
        return None

    def with_grads_out(self, grads_out: Sequence[Any]) -> Gradients:
        """The gradients by another grad_out."""
        return self._back(grads_out, self._judged, materialize_grads=True)

    def _back(self, grads_out: Sequence[Any], xs: Sequence[Tensor], **options: bool) -> list[Any]:
        return gradients_of(self._outs, grads_out, xs, retain_graph=True, **options)

    @property
    def outs(self) -> tuple[Any, ...]:
        return as_tuple(self._outs)

    @cached_property
    def _operations(self) -> dict[str, list[Edge]]:
        return {_every(operation, edges): edges for (operation, _), edges in self._places.items()}

    @cached_property
    def _every(self) -> dict[str, list[Edge]]:
        return {_every(operation + by, edges): edges for (operation, by), edges in self._places.items()}

    @cached_property
    def _every_whole(self) -> dict[str, list[Edge]]:
        """The same of those that are many operations in one."""
        return {_every(operation + by, edges): edges for (operation, by), edges in self._wholes.items()}

    @cached_property
    def _groups(self) -> dict[str, list[Edge]]:
        """The edges, the last ones first; of what runs several times, as in a loop, each time by itself, then all."""
        return {k: v for (name, by), edges in self._places.items() for k, v in _each_and_all(f"{name}{by}", edges)}

    @cached_property
    def shares(self) -> dict[str, Gradients]:
        """What comes back through each operation."""
        found = {name: self._share(name) for name in self._groups}
        return {name: share for name, share in found.items() if share is not None}

    def add_up(self, place: int, one: str, other: str, budget: float) -> bool:
        """Whether two shares are what is missing where neither comes back: one may be a part of the other."""
        edges = [*self._groups[one], *self._groups[other]]
        shares = self._share(one), self._share(other)
        without = self._with({edge: edge.nothing for edge in edges})
        if without is None or shares[0] is None or shares[1] is None:
            return False
        both = shares[0][place] + shares[1][place]
        return bool(((self.whole[place] - both - without[place]).abs() <= budget).all())

    def _share(self, name: str) -> Gradients | None:
        if name not in self._shares:
            without = self._with({edge: edge.nothing for edge in self._groups[name]})
            share = None if without is None else [w - v for w, v in zip(self.whole, without, strict=True)]
            self._shares[name] = share
        return self._shares[name]

    @cached_property
    def _shares(self) -> dict[str, Gradients | None]:
        return {}

    def _projection(self, name: str, screen: Screen) -> tuple[Tensor, Tensor] | None:
        """That of a share; of a single edge without computing it whole."""
        edges = self._groups[name]
        if len(edges) == 1 and self._by.get(edges[0]) is not None:
            return screen.along(edges[0], self._by[edges[0]])
        share = self._share(name)
        return None if share is None else screen.of_whole(share[screen.place])

    def fitting_shares(self, screen: Screen | None) -> dict[str, Gradients]:
        """Those of which a multiple may be the error, or which two of may be in all."""
        if screen is None:
            return self.shares
        found = {
            name: projection
            for name in self._in_time(iter(self._groups))
            if (projection := self._projection(name, screen))
        }
        likely = [name for name, projection in found.items() if screen.factor(*projection) is not None]
        names = list(found)
        likely += [names[i] for pair in screen.pairs(list(found.values())) for i in pair]
        shares = {name: self._share(name) for name in dict.fromkeys(likely)}
        return {name: share for name, share in shares.items() if share is not None}

    def alone(self, screen: Screen | None = None) -> Iterator[tuple[str, Gradients]]:
        """The gradients if of several times only one counts."""
        for (name, by), edges in self._places.items():
            *each, (every, _) = _each_and_all(f"{name}{by}", edges)
            for one, _ in self._in_time(iter(each)):
                if screen:
                    of_all, of_one = self._projection(every, screen), self._projection(one, screen)
                    if of_all and of_one and not screen.comes_to(of_one[0] - of_all[0], of_one[1] + of_all[1]):
                        continue
                share, all_of_it = self._share(one), self._share(every)
                if share is not None and all_of_it is not None:
                    shares = zip(self.whole, all_of_it, share, strict=True)
                    yield f"only the gradient through {one} counts", [w - e + o for w, e, o in shares]

    def mistaken(self, screen: Screen | None = None) -> Iterator[tuple[str, Gradients]]:
        """The gradients with a derivative taken wrongly, by the cause."""
        yield from self._tried(self._every_whole, slips, screen)
        yield from self._tried(self._every, slips, screen)
        yield from self._blocks(screen)

    def bent(self, screen: Screen | None = None) -> Iterator[tuple[str, Gradients]]:
        """The gradients with another function for a derivative, by several arguments alike, or with a part lost."""
        yield from self._tried(self._every_whole, derivatives, screen)
        yield from self._tried(self._every, derivatives, screen)
        yield from self._tried(self._by_all_arguments, slips, screen, least=2)
        yield from self._tried_in_part(screen)
        yield from self._lost(screen)

    def two_mistaken(self) -> Iterator[tuple[str, Gradients]]:
        """The gradients with two derivatives left out, by the cause."""
        alike = {name: edges for name, edges in self._every.items() if edges[0].is_alike}
        for (one, edges), (other, others) in combinations(alike.items(), 2):
            if self._time.is_up:
                self.skipped.append("two mistakes at once")
                return
            found = self._with(dict.fromkeys((*edges, *others), _handed_on))
            if found is not None:
                yield f"the derivatives of {one} and of {other} are left out", found

    def replaced(self) -> Iterator[tuple[str, Gradients]]:
        """The gradients with an operation in the place of another, by the cause."""
        whole = {_every(operation, edges): edges for (operation, _), edges in self._wholes.items()}
        for operation, edges in chain(whole.items(), self._operations.items()):
            for text, call in until_it_fails(others_operation(edges[0])):
                if self._time.is_up:
                    self.skipped.append("other operations in its place")
                    return
                found = self._with_calls({edge.number: call for edge in edges})
                if found is not None:
                    yield text.format(operation), found

    def _blocks(self, screen: Screen | None) -> Iterator[tuple[str, Gradients]]:
        """The gradients where all that goes from one value to another, of its shape, is differentiated wrongly."""
        names = {edge.number: name for (name, _), edges in self._places.items() for edge in edges}
        for block in self._graph.blocks() if screen else ():
            to, back = self._to.get(block.last), [self._by[edge] for edge in block.first]
            if to is None or any(g is None for g in back) or self._time.is_up:
                continue
            first, *others = block.first
            wrong: dict[str, Callable[[], Tensor]] = {"the derivative of all {} is left out": partial(_handed_on, to)}
            itself = "all {} is applied to the gradient, as if it were its own transposed"
            wrong[itself] = partial(
                _applied, [self._live[edge].use for edge in block.first], self._live[block.last], to
            )
            for text, slip in wrong.items():
                with suppress(Exception):  # what cannot be differentiated twice is not tried
                    other = slip()
                    if not screen or not screen.fit(first, [other - sum(back)])[0]:
                        continue
                    found = self._with({first: _giving(other), **{edge: edge.nothing for edge in others}})
                    if found is not None:
                        yield (
                            text.format(f"from {self._name_of(block.value, names)} to {names[block.last.number]}"),
                            found,
                        )

    def _name_of(self, x: Tensor, names: Mapping[int, str]) -> str:
        """An input, or the result of an operation."""
        number = next((edge.number for edge, each in self._live.items() if each.result is x), -1)
        known = (name for name, value in self._named.items() if value.shape == x.shape and torch.equal(value, x))
        return names[number] if number in names else next(known, "an input")

    def _lost(self, screen: Screen | None) -> Iterator[tuple[str, Gradients]]:
        """The gradients without a block of the gradient by one edge."""
        for name, edges in self._every.items() if screen else ():
            back = self._by.get(edges[0])
            if len(edges) == 1 and back is not None and screen:
                for lost in screen.lost(screen.tangents.get(edges[0]), back):
                    found = self._with({edges[0]: _giving(without(*lost, back))})
                    if found is not None:
                        yield f"of the gradient through {name}, {block(*lost, back)} is lost", found

    def substituted(self, screen: Screen | None = None) -> Iterator[tuple[str, Gradients]]:
        """The gradients with another value in a derivative: of another step, of an input, of a result."""
        known: defaultdict[int, dict[str, Tensor]] = defaultdict(lambda: dict(self._named))
        for (name, _), edges in self._places.items():
            for before, after in pairwise(edges):
                known[before.number] |= after.tensors("of the step after")
                known[after.number] |= before.tensors("of the step before")
            for others in self._places.values():
                # Where both run equally often, it is the result of the same step.
                pairs = (
                    zip(others, edges, strict=True) if len(others) == len(edges) else ((e, edges[-1]) for e in others)
                )
                for other, edge in pairs:
                    known[other.number][f"the result of {name}"] = edge.out

        def of(edge: Edge) -> Iterator[tuple[str, Slip]]:
            return substitutes(edge, known[edge.number])

        yield from self._tried(self._every, of, screen)
        yield from self._tried(self._by_all_arguments, of, screen, least=2)

    def _tried(
        self, every: Mapping[str, list[Edge]], of: Callable[[Edge], Iterator[tuple[str, Slip]]], screen: Screen | None,
        least: int = 1,
    ) -> Iterator[tuple[str, Gradients]]:  # fmt: skip
        """The gradients with each of these slips, where it is one of so many arguments at least."""
        for name, edges in every.items():
            each = [dict(until_it_fails(self._in_time(of(edge)))) for edge in edges]
            if self._time.is_up:
                self.skipped.append("other derivatives")
                return
            if screen and len(edges) == 1:
                fitting = self._fitting(screen, edges[0], each[0])
                each = [{text: slip for text, slip in each[0].items() if text in fitting}]
            # At the first and the last of several times there is no other step to be mistaken for.
            for text in {text: None for found in each for text in found}:
                those = {edge: found[text] for edge, found in zip(edges, each, strict=True) if text in found}
                if len({edge.place for edge in those}) < least or (screen and not self._may_be(screen, those)):
                    continue
                found = self._with(those)
                if found is not None:
                    yield text.format(name), found

    def _in_time(self, found: Iterator[T]) -> Iterator[T]:
        """What is found until the time is up."""
        for each in found:
            if self._time.is_up:
                return
            yield each

    def _may_be(self, screen: Screen, slipped: Mapping[Edge, Slip]) -> bool:
        """Whether the error may come of several slips: what they change adds up where none is behind another."""
        if len(slipped) == 1 or not self._graph.are_apart(slipped):
            return True
        along = []
        for edge, slip in slipped.items():
            to, by = self._to.get(edge), self._by.get(edge)
            with suppress(Exception):  # another shape, say: then nobody took it so
                if to is not None and by is not None and (found := screen.along(edge, slip(to) - by)):
                    along.append(found)
        sums = [torch.stack(column).sum(0) for column in zip(*along, strict=True)]
        return len(along) == len(slipped) and screen.comes_to(*sums)

    @cached_property
    def _graph(self) -> Graph:
        return Graph(self._live, {edge.number for edges in self._places.values() for edge in edges})

    def _tried_in_part(self, screen: Screen | None) -> Iterator[tuple[str, Gradients]]:
        """A scan whose derivative is taken wrongly of the gradient by one of several uses of its result."""
        for name, edges in self._every.items() if screen else ():
            edge = edges[0]
            uses = [
                use for use, each in self._live.items() if edge in self._live and each.value is self._live[edge].result
            ]
            if edge.name not in SCANS or len(edges) > 1 or len(uses) < 2 or self._by.get(edge) is None:
                continue
            for use in uses:
                back = self._by[use]
                for text, slip in until_it_fails(of_itself(edge)) if back is not None else ():
                    with suppress(Exception):  # another shape, say: then nobody took it so
                        other = self._by[edge] + slip(back) - edge.back(back)
                        if screen and screen.fit(edge, [other - self._by[edge]])[0]:
                            found = self._with({edge: _giving(other)})
                            if found is not None:
                                yield f"{text.format(name)}, of the gradient by {use.name}", found

    @cached_property
    def _by_all_arguments(self) -> dict[str, list[Edge]]:
        """The edges of those operations that are differentiated by several arguments."""
        found: defaultdict[str, list[list[Edge]]] = defaultdict(list)
        for (operation, _), edges in self._places.items():
            found[operation].append(edges)
        return {_every(name, each[0]): list(chain(*each)) for name, each in found.items() if len(each) > 1}

    def _fitting(self, screen: Screen, edge: Edge, found: Mapping[str, Slip]) -> set[str]:
        """The slips of which the error may come."""
        to, by = self._to.get(edge), self._by.get(edge)
        if to is None or by is None:
            return set() if edge in self._live else set(found)
        deltas: dict[str, Tensor] = {}
        for text, slip in found.items():
            with suppress(Exception):  # another shape, say: then nobody took it so
                deltas[text] = slip(to) - by
        alike = {text: delta for text, delta in deltas.items() if delta.shape == by.shape}
        return {text for text, fits in zip(alike, screen.fit(edge, list(alike.values())), strict=True) if fits}

    def families(self) -> Iterator[tuple[str, float, Callable[[float], Gradients | None]]]:
        """The gradients by the value of each constant of the forward."""
        for operation, edges in self._operations.items():
            for value, call in until_it_fails(constants(edges[0])):

                def by_value(c: float, call: Any = call, edges: Sequence[Edge] = edges) -> Gradients | None:
                    return self._with_calls({edge.number: partial(call, c) for edge in edges})

                yield f"as if {value:g} in {escaped(operation)} were {{}}", value, by_value

    def updated(
        self, gradients: Mapping[str, Tensor], screen: Screen | None = None
    ) -> Iterator[tuple[str, float, Callable[[float], Gradients | None]]]:
        """The same by how far an input was already updated when it carried the gradient back."""
        for name, edges in self._every.items():
            for other, gradient in gradients.items():
                stale = {edge: edge.updated(self._named[other], gradient) for edge in edges}
                if all(stale.values()) and (screen is None or self._may_be_stale(screen, stale)):

                    def by_eta(eta: float, stale: Mapping[Edge, Any] = stale) -> Gradients | None:
                        return self._with({edge: partial(slip, eta) for edge, slip in stale.items() if slip})

                    already = f"as if {escaped(other)} were updated already, with eta = {{}}"
                    yield f"{already}, in the derivative of {escaped(name)}", 0.0, by_eta

    def _may_be_stale(self, screen: Screen, stale: Mapping[Edge, Any]) -> bool:
        """Whether some eta makes the error, where the derivative is linear in what was updated."""
        (edge, slip), *more = stale.items()
        to, by = self._to.get(edge), self._by.get(edge)
        if more or to is None or by is None:
            return True
        along = screen.along(edge, slip(1.0, to) - by)
        return along is None or screen.factor(*along) is not None

    def _with(self, slipped: Mapping[Edge, Slip]) -> Gradients | None:
        """The gradients with these derivatives; none where that cannot be, or when the time is up."""
        if not all(edge in self._live for edge in slipped):
            by_number: defaultdict[int, dict[int, Slip]] = defaultdict(dict)
            for edge, slip in slipped.items():
                by_number[edge.number][edge.place] = slip
            return self._with_calls({number: partial(_slipping, of) for number, of in by_number.items()})
        if self._time.is_up:
            return None
        with ExitStack() as hooks, suppress(Exception):  # another shape, say: then nobody took it so
            for edge, slip in slipped.items():
                _, use, result = self._live[edge]
                came: list[Tensor] = []
                hooks.callback(result.register_hook(came.append).remove)
                hooks.callback(use.register_hook(partial(_slipped, slip, came)).remove)
            return self.with_grads_out(self._grads_out)
        return None

    def _with_calls(self, calls: Mapping[int, Call]) -> Gradients | None:
        """The gradients with these operations called otherwise; none where that cannot be, or when the time is up."""
        if self._time.is_up:
            return None
        calls = {n: partial(_in_place, call) if n in self._in_place else call for n, call in calls.items()}
        with suppress(Exception), torch.enable_grad(), Changed(calls):
            outs = self._forward(*self._xs)
            pairs = [(y, o) for y, o in _pairs(outs, self._outs) if isinstance(y, Tensor)]
            if all(y.shape == o.shape for y, o in pairs) and any(y.requires_grad for y, _ in pairs):
                return gradients_of(outs, self._grads_out, self._judged, materialize_grads=True)
        return None


def _applied(uses: Sequence[Tensor], to: Live, g: Tensor) -> Tensor:
    """J g, by the derivative of Jᵀ u, which is linear in u."""
    u = torch.zeros_like(to.result, requires_grad=True)
    with torch.enable_grad():
        back = torch.autograd.grad(to.result, uses, u, create_graph=True, retain_graph=True, allow_unused=True)
        total = torch.stack([each for each in back if each is not None]).sum(0)
        found: Tensor = torch.autograd.grad(total, u, g)[0]
    return found


def _giving(back: Tensor) -> Slip:
    return lambda g: back


def _pairs(ones: Any, others: Any) -> Iterator[tuple[Any, Any]]:
    return zip(as_tuple(ones), as_tuple(others), strict=True)


def _slipped(slip: Slip, came: Sequence[Tensor], back: Tensor) -> Tensor:
    """What comes back by an argument, from what came to the result."""
    return slip(came[-1])


def without(dim: int, period: int, start: int, stop: int, g: Tensor) -> Tensor:
    """A gradient without a block of slices, of each period."""
    left = g.clone(memory_format=torch.contiguous_format)
    left.unflatten(dim, (-1, period)).narrow(dim + 1, start, stop - start + 1).zero_()
    return left


def block(dim: int, period: int, start: int, stop: int, g: Tensor) -> str:
    """A block of slices, in words."""
    which = f"the block of slices {start} to {stop}" if start < stop else f"slice {start}"
    return f"{which} of {f'every {period} in ' * (period < g.shape[dim])}dimension {dim}"


def _in_place(call: Call, func: Any, x: Tensor, /, *args: Any, **kwargs: Any) -> Tensor:
    """What is otherwise is written where the operation writes its result."""
    return x.copy_(call(func, x.clone(), *args, **kwargs))


def _handed_on(g: Tensor) -> Tensor:
    return g


def _each_and_all(name: str, edges: list[Edge]) -> Iterator[tuple[str, list[Edge]]]:
    """What runs several times, as in a loop, each time by itself, and then all of it."""
    for i, edge in enumerate(edges, 1) if len(edges) > 1 else ():
        yield f"{name}, call {i} of {len(edges)},", [edge]
    yield _every(name, edges), edges


def _every(name: str, edges: list[Edge]) -> str:
    return f"every {name}" if len(edges) > 1 else name


def _slipping(slipped: Mapping[int, Slip], func: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The operation with other derivatives by some of its arguments."""
    out = func(*[x.detach() if i in slipped else x for i, x in enumerate(args)], **kwargs)
    y = result_of(out)
    assert y is not None
    for place, slip in slipped.items():
        y = y + _Through.apply(args[place], y.detach(), slip)  # type: ignore[no-untyped-call]
    return y if isinstance(out, Tensor) else type(out)((y, *out[1:]))
