"""What autograd would give if one operation of the forward were differentiated wrongly, forgotten, or another one.

A gradient is a sum over the paths through the operations of the forward. Take it once with one operation's result held
constant: the difference is that operation's share, and a mistake made there is often a multiple of it. Take it again
with that operation's derivative replaced by a mistaken one, or with another operation in its place: so it is when
somebody takes it wrongly there.
"""

import inspect
import linecache
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from itertools import combinations, pairwise
from operator import attrgetter
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

from crosscheck.cause import decompositions
from crosscheck.cause.decompositions import DECOMPOSITIONS
from crosscheck.cause.slips import (
    Edge,
    Slip,
    constants,
    derivatives,
    escaped,
    others_operation,
    slips,
    substitutes,
    until_it_fails,
)

MAX_PATHS = 100  # paths; more would take long, and hardly say more
MAX_NUMBERS = 2**21  # that the operations may take and give, all together; they are remembered, and run again and again
MAX_OPERATIONS = 200_000  # operations that are run again in search of a mistake at one of them, some 10 µs each

Gradients = Sequence[Tensor]
Call = Callable[..., Any]
TORCHS, OURS = (str(folder) + os.sep for folder in (Path(torch.__file__).parent, Path(__file__).parents[1]))
WRITTEN_OUT = decompositions.__file__


class _Mode(TorchFunctionMode):
    """Sees every operation, and counts: also those that hang on nothing, for a change must not shift the count."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in DECOMPOSITIONS and _takes(DECOMPOSITIONS[func], args, kwargs):
            with self:  # also its operations are seen
                out = DECOMPOSITIONS[func](*args, **kwargs)
            if out is not NotImplemented:
                return out
        self.count += 1
        return self.seen(func, args, kwargs)

    def seen(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError


class _Recorded(_Mode):
    """Remembers the edges: the operations whose results are differentiated, by each of their arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.edges: defaultdict[tuple[Any, ...], list[Edge]] = defaultdict(list)  # by the place in the code
        self.codes: dict[tuple[Any, ...], tuple[str, tuple[str, ...], str]] = {}
        self.in_place: set[int] = set()  # of the operations, those that change their first argument
        self.numbers = 0

    def seen(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        places = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
        if not places or self.numbers > MAX_NUMBERS:
            return func(*args, **kwargs)
        values = [x.detach().clone() if isinstance(x, Tensor) else x for x in args]  # before they are changed
        version = _version(args[0])
        out = func(*args, **kwargs)
        y = _result(out)
        if y is None or not y.requires_grad or y.grad_fn is None:
            return out
        self.numbers += y.numel() + sum(x.numel() for x in values if isinstance(x, Tensor))
        if _version(args[0]) != version:
            self.in_place.add(self.count)
        where, codes = _place()
        result = y.detach().clone()
        for place in places:
            by = f" by its argument {place + 1}" if len(places) > 1 else ""
            edge = Edge(self.count, place, func, values, kwargs, result)
            self.codes[*where, func, place] = (edge.name, codes, by)
            self.edges[*where, func, place].append(edge)
        return out

    def places(self) -> dict[tuple[str, str], list[Edge]]:
        """The edges by the name of their operation, with its callers where there are several, and by the argument."""
        callers: defaultdict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
        for name, codes, _ in self.codes.values():
            callers[name, *codes[:1]].add(codes)
        found: dict[tuple[str, str], list[Edge]] = {}
        for place, edges in reversed(self.edges.items()):
            name, codes, by = self.codes[place]
            others = callers[name, *codes[:1]]
            said = [code for i, code in enumerate(codes) if not i or len({other[i : i + 1] for other in others}) > 1]
            operation = f"{name} ({', from '.join(said)})" if said else name
            found.setdefault((operation, by), []).extend(edges)
        # Places of one name, as where there is no source, in the order in which they ran
        return {name: sorted(edges, key=attrgetter("number")) for name, edges in found.items()}


class _Changed(_Mode):
    """Calls some of the operations otherwise, by their number."""

    def __init__(self, changes: Mapping[int, Call]) -> None:
        super().__init__()
        self.changes = changes

    def seen(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        change = self.changes.get(self.count)
        return change(func, *args, **kwargs) if change else func(*args, **kwargs)


class _Through(Function):
    """Zero, with a derivative that was made up: added to a result, it is all of that result's derivative by x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, slip: Slip) -> Tensor:
        ctx.slip = slip
        return torch.zeros_like(y)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        return ctx.slip(g), None, None


def _takes(function: Call, args: Any, kwargs: dict[str, Any]) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _version(x: Any) -> int | None:
    """How often it was changed in place, if it is a tensor."""
    return x._version if isinstance(x, Tensor) else None


def _result(out: Any) -> Tensor | None:
    """The tensor of an operation's result, the values of one that returns their places as well."""
    first = out[0] if type(out).__module__ == "torch.return_types" else out
    return first if isinstance(first, Tensor) else None


def _place() -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Where an operation is called, and the code there and in its callers; what is torch's, or ours, is passed over."""
    frame: FrameType | None = sys._getframe()
    where: list[Any] = []
    codes: list[str] = []
    written_out = ""
    while frame:
        file = frame.f_code.co_filename
        if file == WRITTEN_OUT:
            written_out = written_out or f", there {_code(frame)[1]}"
        elif file.startswith(OURS) and codes:
            break  # what calls the forward
        if file == WRITTEN_OUT or not file.startswith((TORCHS, OURS)):
            where.append((frame.f_code, frame.f_lasti))
        if not file.startswith((TORCHS, OURS)):
            line, code = _code(frame)
            codes.append(f"line {line}: {code}{written_out}" if code else "")
            written_out = ""
        frame = frame.f_back
    return tuple(where), tuple(filter(None, codes))


def _code(frame: FrameType) -> tuple[int, str]:
    """The line, and the expression that runs there, or its first line if it has several."""
    line, end, start, stop = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    if line == end:
        text = text.encode()[start:stop].decode(errors="replace")  # columns are counted in bytes, before an edit
    return frame.f_lineno, text.strip()


class Paths:
    """The operations that `gradients()` differentiates through, and what it gives when one of them is changed.

    untried: why they are not tried, if so.
    """

    def __init__(self, gradients: Callable[[], Gradients], named: Mapping[str, Tensor]) -> None:
        self._gradients, self._named = gradients, named
        with _Recorded() as recorded:
            self._whole = gradients()
        self._places, self._in_place = recorded.places(), recorded.in_place
        self.untried = ""
        if recorded.numbers > MAX_NUMBERS:
            self.untried = f"take and give at most {MAX_NUMBERS:,} numbers in all: give smaller inputs"
        elif sum(map(len, self._places.values())) > MAX_PATHS:
            self.untried = f"are differentiated by at most {MAX_PATHS} arguments in all: give fewer steps or layers"
        if self.untried:
            self._places, self.untried = {}, f"operations of the forward are tried where they {self.untried}"
        self._left = MAX_OPERATIONS // max(1, recorded.count)

    @cached_property
    def _operations(self) -> dict[str, list[Edge]]:
        return {_every(operation, edges): edges for (operation, _), edges in self._places.items()}

    @cached_property
    def _every(self) -> dict[str, list[Edge]]:
        return {_every(operation + by, edges): edges for (operation, by), edges in self._places.items()}

    @cached_property
    def _groups(self) -> dict[str, list[Edge]]:
        """The edges, the last ones first; of what runs several times, as in a loop, each time by itself, then all."""
        return {k: v for (name, by), edges in self._places.items() for k, v in _each_and_all(f"{name}{by}", edges)}

    @cached_property
    def shares(self) -> dict[str, Gradients]:
        """What comes back through each operation."""
        found: dict[str, Gradients] = {}
        for name, edges in self._groups.items():
            without = self._with({edge: edge.nothing for edge in edges})
            if without is not None:
                found[name] = [w - v for w, v in zip(self._whole, without, strict=True)]
        return found

    def alone(self) -> Iterator[tuple[str, Gradients]]:
        """The gradients if of several times only one counts."""
        for (name, by), edges in self._places.items():
            *each, (every, _) = _each_and_all(f"{name}{by}", edges)
            for one, _ in each:
                if one in self.shares and every in self.shares:
                    shares = zip(self._whole, self.shares[every], self.shares[one], strict=True)
                    yield f"only what comes back through {one} counts", [w - e + o for w, e, o in shares]

    def mistaken(self) -> Iterator[tuple[str, Gradients]]:
        """The gradients with a derivative taken wrongly, or an operation in the place of another, by the cause."""
        yield from self._tried(slips)
        for operation, edges in self._operations.items():
            for text, call in until_it_fails(others_operation(edges[0])):
                found = self._with_calls({edge.number: call for edge in edges})
                if found is not None:
                    yield text.format(operation), found
        yield from self._tried(derivatives)
        alike = {name: edges for name, edges in self._every.items() if edges[0].is_alike}
        for (one, edges), (other, others) in combinations(alike.items(), 2):
            found = self._with(dict.fromkeys((*edges, *others), _handed_on))
            if found is not None:
                yield f"the derivatives of {one} and of {other} are left out", found

    def substituted(self) -> Iterator[tuple[str, Gradients]]:
        """The gradients with another value in a derivative: of another step, of an input, of a result."""
        known: defaultdict[int, dict[str, Tensor]] = defaultdict(lambda: dict(self._named))
        for (name, _), edges in self._places.items():
            for before, after in pairwise(edges):
                known[before.number][f"argument {after.place + 1} of the step after"] = after.x
                known[after.number][f"argument {before.place + 1} of the step before"] = before.x
            for others in self._places.values():
                # Where both run equally often, it is the result of the same step.
                pairs = (
                    zip(others, edges, strict=True) if len(others) == len(edges) else ((e, edges[-1]) for e in others)
                )
                for other, edge in pairs:
                    known[other.number][f"the result of {name}"] = edge.out
        yield from self._tried(lambda edge: substitutes(edge, known[edge.number]))

    def _tried(self, of: Callable[[Edge], Iterator[tuple[str, Slip]]]) -> Iterator[tuple[str, Gradients]]:
        for name, edges in self._every.items():
            each = [dict(until_it_fails(of(edge))) for edge in edges]
            # At the first and the last of several times there is no other step to be mistaken for.
            for text in {text: None for found in each for text in found}:
                those = {edge: found[text] for edge, found in zip(edges, each, strict=True) if text in found}
                found = self._with(those)
                if found is not None:
                    yield text.format(name), found

    def families(self) -> Iterator[tuple[str, float, Callable[[float], Gradients | None]]]:
        """The gradients by the value of each constant of the forward."""
        for operation, edges in self._operations.items():
            for value, call in until_it_fails(constants(edges[0])):

                def by_value(c: float, call: Any = call, edges: Sequence[Edge] = edges) -> Gradients | None:
                    return self._with_calls({edge.number: partial(call, c) for edge in edges})

                yield f"as if {value:g} in {escaped(operation)} were {{}}", value, by_value

    def updated(
        self, gradients: Mapping[str, Tensor]
    ) -> Iterator[tuple[str, float, Callable[[float], Gradients | None]]]:
        """The same by how far an input was already updated when it carried the gradient back."""
        for name, edges in self._every.items():
            for other, gradient in gradients.items():
                stale = {edge: edge.updated(self._named[other], gradient) for edge in edges}
                if all(stale.values()):

                    def by_eta(eta: float, stale: Mapping[Edge, Any] = stale) -> Gradients | None:
                        return self._with({edge: partial(slip, eta) for edge, slip in stale.items() if slip})

                    already = f"as if {escaped(other)} were updated already, with eta = {{}}"
                    yield f"{already}, in the derivative of {escaped(name)}", 0.0, by_eta

    def _with(self, slipped: Mapping[Edge, Slip]) -> Gradients | None:
        """The gradients with these derivatives."""
        by_number: defaultdict[int, dict[int, Slip]] = defaultdict(dict)
        for edge, slip in slipped.items():
            by_number[edge.number][edge.place] = slip
        return self._with_calls({number: partial(_slipping, of) for number, of in by_number.items()})

    def _with_calls(self, calls: Mapping[int, Call]) -> Gradients | None:
        """The gradients with these operations called otherwise; none where that cannot be, or after long search."""
        self._left -= 1
        if self._left >= 0:
            calls = {n: partial(_in_place, call) if n in self._in_place else call for n, call in calls.items()}
            with suppress(Exception), _Changed(calls):  # another shape, say: then nobody took it so
                return self._gradients()
        return None


def _in_place(call: Call, func: Any, x: Tensor, /, *args: Any, **kwargs: Any) -> Tensor:
    """What is otherwise is written where the operation writes its result."""
    return x.copy_(call(func, x.clone(), *args, **kwargs))


def _handed_on(g: Tensor) -> Tensor:
    return g


def _each_and_all(name: str, edges: list[Edge]) -> Iterator[tuple[str, list[Edge]]]:
    """What runs several times, as in a loop, each time by itself, and then all of it."""
    for i, edge in enumerate(edges, 1) if len(edges) > 1 else ():
        yield f"{name}, time {i} of {len(edges)},", [edge]
    yield _every(name, edges), edges


def _every(name: str, edges: list[Edge]) -> str:
    return f"every {name}" if len(edges) > 1 else name


def _slipping(slipped: Mapping[int, Slip], func: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The operation with other derivatives by some of its arguments."""
    out = func(*[x.detach() if i in slipped else x for i, x in enumerate(args)], **kwargs)
    y = _result(out)
    assert y is not None
    for place, slip in slipped.items():
        y = y + _Through.apply(args[place], y.detach(), slip)  # type: ignore[no-untyped-call]
    return y if isinstance(out, Tensor) else type(out)((y, *out[1:]))
