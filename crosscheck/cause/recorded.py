"""The operations of a forward, as they run: their values, where they are called, and the graph that they leave."""

import inspect
import linecache
import math
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from crosscheck.cause import decompositions
from crosscheck.cause.decompositions import DECOMPOSITIONS
from crosscheck.cause.slips import ARITHMETIC, Edge

MAX_NUMBERS = 2**21  # that the operations may take and give, all together; they are remembered
MEANS = ("mean", "nanmean", "var", "std")
PLAIN = ("register_hook", "requires_grad_", "retain_grad")  # for the value itself, not for a use of it

Call = Callable[..., Any]
TORCHS, OURS = (str(folder) + os.sep for folder in (Path(torch.__file__).parent, Path(__file__).parents[1]))
WRITTEN_OUT = decompositions.__file__


class Live(NamedTuple):
    """In the graph: a value, its use as an argument, and the result."""

    value: Tensor
    use: Tensor
    result: Tensor


def _flat(function: Call) -> Call:
    """A function of a list of tensors as one of several."""

    def flat(*tensors: Any, dim: int = 0) -> Any:
        return function(tensors, dim)

    flat.__name__ = function.__name__
    return flat


LISTS = {function: _flat(function) for function in (torch.cat, torch.concat, torch.concatenate, torch.stack)}
Edges = dict[tuple[Any, ...], list[Edge]]
TORCHS, OURS = (str(folder) + os.sep for folder in (Path(torch.__file__).parent, Path(__file__).parents[1]))
WRITTEN_OUT = decompositions.__file__


class Mode(TorchFunctionMode):
    """Sees every operation, and counts: also those that hang on nothing, for a change must not shift the count."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in LISTS and args and isinstance(args[0], tuple | list) and "out" not in kwargs:
            func, args, kwargs = LISTS[func], tuple(args[0]), {"dim": args[1] if len(args) > 1 else 0, **kwargs}
        self.count += 1
        if func in DECOMPOSITIONS and _takes(DECOMPOSITIONS[func], args, kwargs):
            out = self.whole(func, args, kwargs)
            if out is not NotImplemented:
                return out
        return self.seen(func, args, kwargs)

    def whole(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """What is many operations in one; also these are seen."""
        with self:
            return DECOMPOSITIONS[func](*args, **kwargs)

    def seen(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        raise NotImplementedError


class Recorded(Mode):
    """Remembers the edges: the operations whose results are differentiated, by each of their arguments.

    Each use of a value is a view of its own, whose gradient is the gradient by that argument alone.
    """

    def __init__(self) -> None:
        super().__init__()
        self.edges: Edges = defaultdict(list)  # by the place in the code
        self.wholes: Edges = defaultdict(list)  # those of many operations in one
        self.codes: dict[tuple[Any, ...], tuple[str, tuple[str, ...], str]] = {}
        self.in_place: set[int] = set()  # of the operations, those that change their first argument
        self.live: dict[Edge, Live] = {}
        self.numbers = 0

    def whole(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._remembered(func, args, kwargs, super().whole, self.wholes)

    def seen(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return self._remembered(func, args, kwargs, lambda func, args, kwargs: func(*args, **kwargs), self.edges)

    def _remembered(self, func: Any, args: Any, kwargs: dict[str, Any], call: Call, to: "Edges") -> Any:
        places = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
        if not places or self.numbers > MAX_NUMBERS or getattr(func, "__name__", "") in PLAIN:
            return call(func, args, kwargs)
        number, version = self.count, _version(args[0])
        values = [x.detach().clone() if isinstance(x, Tensor) else x for x in args]  # before they are changed
        uses = {i: args[i] if _is_in_place(func) else args[i].view_as(args[i]) for i in places}
        out = call(func, tuple(uses.get(i, x) for i, x in enumerate(args)), kwargs)
        out = next((args[i] for i, use in uses.items() if out is use), out)
        if _version(args[0]) != version:
            self.in_place.add(number)
        y = result_of(out)
        if y is None or not y.requires_grad or y.grad_fn is None:
            return out
        self.numbers += y.numel() + sum(x.numel() for x in values if isinstance(x, Tensor))
        where, codes = _place()
        result = y.detach().clone()
        for place in places:
            by = f" by its argument {place + 1}" if len(places) > 1 else ""
            edge = Edge(number, place, func, values, kwargs, result)
            self.codes[*where, func, place] = (edge.name, codes, by)
            to[*where, func, place].append(edge)
            self.live[edge] = Live(args[place], uses[place], y)
        return out

    def places(self, of: "Edges") -> dict[tuple[str, str], list[Edge]]:
        """The edges by the name of their operation, with its callers where there are several, and by the argument."""
        callers: defaultdict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
        for name, codes, _ in self.codes.values():
            callers[name, *codes[:1]].add(codes)
        found: dict[tuple[str, str], list[Edge]] = {}
        for place, edges in reversed(of.items()):
            name, codes, by = self.codes[place]
            others = callers[name, *codes[:1]]
            said = [code for i, code in enumerate(codes) if not i or len({other[i : i + 1] for other in others}) > 1]
            operation = f"{name} ({', from '.join(said)})" if said else name
            found.setdefault((operation, by), []).extend(edges)
        # Places of one name, as where there is no source, in the order in which they ran
        return {name: sorted(edges, key=attrgetter("number")) for name, edges in found.items()}


class Changed(Mode):
    """Calls some of the operations otherwise, by their number."""

    def __init__(self, changes: Mapping[int, Call]) -> None:
        super().__init__()
        self.changes = changes

    def whole(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        change = self.changes.get(self.count)
        return change(func, *args, **kwargs) if change else super().whole(func, args, kwargs)

    def seen(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        change = self.changes.get(self.count)
        return change(func, *args, **kwargs) if change else func(*args, **kwargs)


class Values(Mode):
    """Remembers the values that some operations take."""

    def __init__(self, edges: Mapping[tuple[int, int], Edge]) -> None:
        super().__init__()
        self.places: defaultdict[int, list[int]] = defaultdict(list)
        for number, place in edges:
            self.places[number].append(place)
        self.edges = edges
        self.values: dict[Edge, Tensor] = {}

    def whole(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        self._remember(func, args)
        return super().whole(func, args, kwargs)

    def seen(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        self._remember(func, args)
        return func(*args, **kwargs)

    def _remember(self, func: Any, args: Any) -> None:
        for place in self.places.get(self.count, ()):
            edge = self.edges[self.count, place]
            if edge.func == func and place < len(args) and isinstance(args[place], Tensor):
                self.values[edge] = args[place].detach()


class Numbers(Mode):
    """Remembers the numbers that a forward computes with: those written in it, and of how many it takes a mean."""

    def __init__(self) -> None:
        super().__init__()
        self.written: set[float] = set()
        self.counts: set[float] = set()  # of what a mean is taken

    def seen(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        out = func(*args, **kwargs)
        name = getattr(func, "__name__", "").strip("_")
        kinds = (int, float) if name in ARITHMETIC else (float,)
        written = (x for x in (*args, *kwargs.values()) if isinstance(x, kinds) and not isinstance(x, bool))
        self.written |= {abs(float(x)) for x in written if x and math.isfinite(x)}
        of_many = name in MEANS or kwargs.get("reduction", "mean" if name.endswith("loss") else "") == "mean"
        if of_many and args and isinstance(args[0], Tensor) and isinstance(out, Tensor) and out.numel():
            self.counts.add(args[0].numel() / out.numel())
        return out

    def has(self, number: float) -> bool:
        """Whether it is written there, or one over it."""
        return any(
            math.isclose(number, x, rel_tol=1e-9) or math.isclose(number * x, 1, rel_tol=1e-9) for x in self.written
        )


def _is_in_place(func: Any) -> bool:
    name = getattr(func, "__name__", "")
    return name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))


def _takes(function: Call, args: Any, kwargs: dict[str, Any]) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _version(x: Any) -> int | None:
    """How often it was changed in place, if it is a tensor."""
    return x._version if isinstance(x, Tensor) else None


def result_of(out: Any) -> Tensor | None:
    """The tensor of an operation's result, the values of one that returns their places as well."""
    first = out[0] if type(out).__module__ == "torch.return_types" else out
    return first if isinstance(first, Tensor) else None


def _place() -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """Where an operation is called, and the code there and in its callers; what is torch's, or ours, is passed over."""
    frame: FrameType | None = sys._getframe()
    where: list[Any] = []
    codes: list[str] = []
    written_out = before = ""
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
            of_file = _of_file(file) if file != before else ""
            codes.append(f"line {line}{of_file}: {code}{written_out}" if code else "")
            before = file
            written_out = ""
        frame = frame.f_back
    return tuple(where), tuple(filter(None, codes))


@cache
def _of_file(name: str) -> str:
    """Which file a line is of; nothing for a cell of a notebook, and what was typed in."""
    path = Path(name)
    return f" of {path.name}" if path.is_file() else ""


def _code(frame: FrameType) -> tuple[int, str]:
    """The line, and the expression that runs there, or its first line if it has several."""
    line, end, start, stop = list(frame.f_code.co_positions())[frame.f_lasti // 2]
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno)
    if line == end:
        text = text.encode()[start:stop].decode(errors="replace")  # columns are counted in bytes, before an edit
    return frame.f_lineno, text.strip()
