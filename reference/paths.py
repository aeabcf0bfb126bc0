"""What autograd would give if one operation of the forward were differentiated wrongly, or forgotten.

A gradient is a sum over the paths through the operations of the forward. Take the gradient once with one operation's
result held constant: the difference is that operation's share, and a mistake made there is a multiple of it. Take it
once more with that operation's derivative replaced by 1: so it is when the derivative is forgotten.
"""

import linecache
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

MOST = 100  # operations; more would take long, and hardly say more

NOT_THEIRS = (str(Path(torch.__file__).parent), str(Path(__file__).parent))


@dataclass(frozen=True)
class Share:
    """What comes back through an operation, by one of its arguments, and the gradients without its derivative."""

    name: str
    of: Sequence[Tensor]
    handed_on: Sequence[Tensor]


Edge = tuple[int, int]  # an operation, and the place of one of its arguments


class _Operations(TorchFunctionMode):
    """Counts the operations, and changes some of those whose results hang on what is differentiated."""

    def __init__(
        self, changed: Sequence[Edge] = (), change: Callable[[int, Any, list[Any]], Any] | None = None
    ) -> None:
        super().__init__()
        self.edges: defaultdict[str, list[Edge]] = defaultdict(list)
        self.count = 0
        self.changed, self.change = dict(changed), change

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.count += 1  # also of what hangs on nothing: a change must not shift the count of what comes after
        if not (isinstance(out, Tensor) and out.requires_grad and out.grad_fn is not None):
            return out
        if self.change:
            place = self.changed.get(self.count)
            return out if place is None else self.change(place, partial(func, **(kwargs or {})), list(args))
        name = f"{getattr(func, '__name__', str(func)).strip('_')}{_line()}"
        places = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
        for place in places:
            by = f" by its argument {place + 1}" if len(places) > 1 else ""
            self.edges[f"{name}{by}"].append((self.count, place))
        return out


def _line() -> str:
    """The caller's own line of code, where it has one."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_code.co_filename.startswith(NOT_THEIRS):
        frame = frame.f_back
    text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
    return f" in line {frame.f_lineno}, {text!r}," if text else ""


def _without(place: int, func: Any, args: list[Any]) -> Any:
    """The operation with one argument held constant."""
    args[place] = args[place].detach()
    return func(*args)


def _handed_on(place: int, func: Any, args: list[Any]) -> Any:
    """The operation with a derivative of 1 by one argument, where that has the shape of the result."""
    x = args[place]
    out = _without(place, func, args)
    return out + (x - x.detach()) if out.shape == x.shape else func(*args[:place], x, *args[place + 1 :])


def shares(gradients: Callable[[], Sequence[Tensor]]) -> Iterator[Share]:
    """The share of every operation that `gradients()` differentiates through, the last ones first.

    Where one line does the same several times, as in a loop, first each by itself, then all of them.
    """
    operations = _Operations()
    with operations:
        whole = gradients()
    if sum(map(len, operations.edges.values())) > MOST:
        return
    for name, edges in reversed(operations.edges.items()):
        several = len(edges) > 1
        each = {f"{name} number {i} of {len(edges)},": (edge,) for i, edge in enumerate(edges, 1)} if several else {}
        for label, some in {**each, f"every {name}" if several else name: tuple(edges)}.items():
            with _Operations(some, _without):
                without = gradients()
            with _Operations(some, _handed_on):
                handed_on = gradients()
            yield Share(label, [w - v for w, v in zip(whole, without, strict=True)], handed_on)
