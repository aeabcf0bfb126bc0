"""How the operations of a forward hang together."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from torch import Tensor

from crosscheck.cause.recorded import Live
from crosscheck.cause.slips import Edge

MAX_BLOCKS = 64  # the largest


class Block(NamedTuple):
    """What leads from a value to a result by several operations, and nothing else that is differentiated does.

    first: the edges by which it takes the value. last: one whose result it is.
    """

    value: Tensor
    first: list[Edge]
    last: Edge


class Graph:
    """Of the operations with these numbers, in the order in which they ran."""

    def __init__(self, live: Mapping[Edge, Live], numbers: Collection[int]) -> None:
        self._live = live
        self._same = {id(each.use): id(each.value) for each in live.values()}  # a use within what is written out
        self._edges: defaultdict[int, list[Edge]] = defaultdict(list)
        for edge in live:
            if edge.number in numbers:
                self._edges[edge.number].append(edge)
        self._values: dict[int, Tensor] = {}
        self._passed: dict[int, dict[int, None]] = {}  # by which values all goes to this one, in their order
        self._before: dict[int, set[int]] = {}  # the operations that lead to it
        for number, edges in self._edges.items():
            sources = [self._source(edge) for edge in edges]
            for key, edge in zip(sources, edges, strict=True):
                self._values.setdefault(key, live[edge].value)
                self._passed.setdefault(key, {key: None})
                self._before.setdefault(key, set())
            result = id(live[edges[0]].result)
            common = set.intersection(*(set(self._passed[key]) for key in sources))
            self._passed[result] = {key: None for key in self._passed[sources[0]] if key in common} | {result: None}
            self._before[result] = {number}.union(*(self._before[key] for key in sources))

    def _source(self, edge: Edge) -> int:
        """The value that it takes."""
        key = id(self._live[edge].value)
        while key in self._same:
            key = self._same[key]
        return key

    def are_apart(self, edges: Iterable[Edge]) -> bool:
        """Whether nothing comes to one of these that has passed another: then what is changed there adds up."""
        numbers = {edge.number for edge in edges}
        if len(numbers) == 1:
            return True
        return all(e.number in self._edges and not self._before[self._source(e)] & numbers for e in edges)

    def blocks(self) -> list[Block]:
        """Those whose result has the shape of their value, the largest ones first."""
        found = []
        for edges in self._edges.values():
            result = self._live[edges[0]].result
            for key in self._passed[id(result)]:
                inside = self._before[id(result)] - self._before[key]
                if key != id(result) and len(inside) > 1 and self._values.get(key, result).shape == result.shape:
                    first = [e for n in sorted(inside) for e in self._edges[n] if self._source(e) == key]
                    found.append((len(inside), Block(self._values[key], first, edges[0])))
        return [block for _, block in sorted(found, key=lambda each: -each[0])[:MAX_BLOCKS]]
