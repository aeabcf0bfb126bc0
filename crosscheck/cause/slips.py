"""How people slip in differentiating one operation: another derivative, another operation, another value in it.

Each comes with the words that name it, in which {} is the operation.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

Slip = Callable[[Tensor], Tensor]  # from the gradient of an operation's result to that of one of its arguments

T = TypeVar("T")


def until_it_fails(found: Iterable[T]) -> Iterator[T]:
    """What is found before an exception: no search for a cause may cost the verdict."""
    with suppress(Exception):
        yield from found


def escaped(text: str) -> str:
    """Somebody's code, or a name, for a text in which {} is still to be filled in."""
    return text.replace("{", "{{").replace("}", "}}")


@dataclass(frozen=True, eq=False)
class Edge:
    """An operation of the forward, its values, and the place of one of the arguments by which it is differentiated."""

    number: int
    place: int
    func: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    out: Tensor
    words: tuple[str, str] = ("its result", "its argument")  # for out and x

    @property
    def x(self) -> Tensor:
        value: Tensor = self.args[self.place]
        return value

    def tensors(self, when: str) -> dict[str, Tensor]:
        """Its tensors by what they are called elsewhere."""
        pairs = ((i, x) for i, x in enumerate(self.args) if isinstance(x, Tensor))
        return {f"argument {i + 1} {when}": x for i, x in pairs}

    @property
    def name(self) -> str:
        name: str = getattr(self.func, "__name__", str(self.func))
        if name == "__get__":  # of a property, as x.mT
            name = getattr(getattr(self.func, "__self__", None), "__name__", name)
        return name.strip("_")

    @property
    def is_alike(self) -> bool:
        """Whether the result has the shape of x."""
        return self.x.shape == self.out.shape

    @property
    def is_of_one(self) -> bool:
        """Whether it can be a function of one tensor, number by number."""
        return self.is_alike and sum(isinstance(value, Tensor) for value in self.args) == 1

    @property
    def is_bent(self) -> bool:
        """Whether its derivative hangs on x itself, number by number."""
        return self.is_alike and self.name in BENT

    @property
    def is_activation(self) -> bool:
        """Whether another activation may be taken for it; a whole forward may be any."""
        return self.is_of_one and (self.name in LIKE_THESE or self.words != ("its result", "its argument"))

    def back(self, g: Tensor, func: Any = None, args: Sequence[Any] | None = None) -> Tensor:
        """The gradient of x from that of the result; of another function, or from other values, if they are given."""
        values = list(self.args if args is None else args)
        x = values[self.place] = values[self.place].detach().requires_grad_()
        with torch.enable_grad():
            y = self.of(values, func)
            gradient: Tensor = torch.autograd.grad(y if isinstance(y, Tensor) else y[0], x, g)[0]
        return gradient

    def of(self, args: Sequence[Any], func: Any = None) -> Any:
        """What it gives, or another function: of copies, for it may be in place."""
        return (func or self.func)(*(x.clone() if isinstance(x, Tensor) else x for x in args), **self.kwargs)

    def nothing(self, g: Tensor) -> Tensor:
        """The gradient of x where the operation is held constant."""
        return torch.zeros_like(self.x)

    def having(self, place: int, value: Any) -> list[Any]:
        """The arguments with one of them another."""
        return [*self.args[:place], value, *self.args[place + 1 :]]

    def updated(self, w: Tensor, gradient: Tensor) -> Callable[[float, Tensor], Tensor] | None:
        """The slip by eta: another argument is w, or w transposed, and is taken to be w − eta · gradient already."""
        for place, value in enumerate(self.args):
            if place != self.place and isinstance(value, Tensor):
                for one, along in ((w, gradient), (w.t(), gradient.t())) if w.dim() == 2 else ((w, gradient),):
                    if value.shape == one.shape and torch.equal(value, one):
                        return partial(self._back_updated, place, one, along)
        return None

    def _back_updated(self, place: int, w: Tensor, along: Tensor, eta: float, g: Tensor) -> Tensor:
        return self.back(g, args=self.having(place, w - eta * along))


# Functions of one number for which another is taken
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "the exact GELU": F.gelu,
    "the tanh approximation of GELU": partial(F.gelu, approximate="tanh"),
    "x·σ(1.702 x)": lambda x: x * torch.sigmoid(1.702 * x),
    "SiLU": F.silu,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky relu": F.leaky_relu,
    "elu": F.elu,
    "softplus": F.softplus,
    "mish": F.mish,
}

# What they are taken for
LIKE_THESE = (
    "gelu", "silu", "sigmoid", "tanh", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "softplus", "mish", "erf",
    "hardtanh", "hardsigmoid", "hardswish", "logsigmoid", "softsign", "sin", "cos", "atan", "clamp", "where",
)  # fmt: skip

SOFTMAX = ("softmax", "log_softmax", "logsumexp")
# What stands in for the product with the transposed, by the argument
PRODUCTS = dict.fromkeys(("matmul", "mm", "bmm", "dot"), ("g @ B for g @ B.T", "A @ g for A.T @ g"))
SELECTIONS = (  # whose result has some numbers of the argument once or several times
    "embedding", "index_select", "gather", "getitem", "take_along_dim", "take", "repeat_interleave", "repeat", "tile",
    "expand", "expand_as", "broadcast_to", "unfold", "as_strided",
)  # fmt: skip
ARITHMETIC = (
    "add", "sub", "rsub", "mul", "rmul", "radd", "div", "truediv", "true_divide", "rtruediv", "rdiv", "pow",
    "iadd", "isub", "imul", "itruediv", "ipow",
)  # fmt: skip
JOINS = ("stack", "cat", "concat", "concatenate")
SCANS = ("cumsum", "logcumsumexp", "cumprod")
BENT = (
    "pow", "ipow", "div", "truediv", "true_divide", "rdiv", "rtruediv", "reciprocal", "sqrt", "rsqrt", "square", "exp",
    "log", "cumprod",
)  # fmt: skip
WHOLE = ("triu", "tril", "diagonal", "roll")  # what takes whole numbers that may be mistaken
ALONG = (  # what takes a dimension as its second argument
    *SOFTMAX, "softmin", "sum", "nansum", "mean", "nanmean", "prod", "var", "std", "max", "min", "amax", "amin",
    "median", "nanmedian", "cumsum", "cumprod", "logcumsumexp", "cummax", "cummin", "sort", "flip", "glu",
    "select", "narrow", "index_select", "gather", "unsqueeze", "squeeze",
)  # fmt: skip


def slips(edge: Edge) -> Iterator[tuple[str, Slip]]:
    """Wrong derivatives of the operation by this argument; its value is right."""
    yield from of_itself(edge)
    if edge.name not in JOINS:  # whose other arguments are none of its derivative
        yield from _of_matrices(edge)
        yield from _of_masks(edge)
    yield from _of_reductions(edge)
    yield from _in_other_places(edge)
    for dim, call in _dimensions(edge):
        yield (
            f"the derivative of {{}} is taken along dimension {dim}",
            partial(edge.back, func=partial(call, edge.func)),
        )


def of_itself(edge: Edge) -> Iterator[tuple[str, Slip]]:
    """Those that take its other arguments as they are."""
    if edge.is_alike:
        yield "the derivative of {} is left out", lambda g: g
        yield "the derivative of {} is applied twice", lambda g: edge.back(edge.back(g))
    if edge.name in SOFTMAX:
        yield from _of_softmax(edge)
    if edge.name in SELECTIONS:
        yield "in {}, gradients of one place overwrite each other, in place of adding up", partial(_overwritten, edge)
        yield "in {}, of the gradients of one place the first alone stays", partial(_overwritten, edge, first=True)
    if edge.name == "where":
        yield "in {}, the other branch is taken", lambda g: edge.back(g, args=edge.having(0, ~edge.args[0]))
    if edge.name == "sigmoid" and edge.x.dim():
        yield "the derivative of softmax is taken for that of {}", partial(_softmax_back, edge.out, -1)
    if edge.name in ("cumsum", "logcumsumexp"):
        own = (edge.x - edge.out).exp() if edge.name == "logcumsumexp" else 1.0
        yield "{} is taken for the exclusive one, without the element itself", lambda g: edge.back(g) - g * own
    if edge.name in ("amax", "amin", "max", "min"):
        which = "largest" if "max" in edge.name else "smallest"
        yield f"in {{}}, the gradient goes to all but the {which}", partial(_to_the_others, edge)
        yield f"in {{}}, the gradient goes to all, not to the {which} alone", partial(_to_all, edge)
    if edge.name in ("triu", "tril"):
        other = torch.triu if edge.name == "tril" else torch.tril
        yield f"the derivative of {{}} is that of {other.__name__}, the other triangle", partial(edge.back, func=other)
    if edge.is_alike:
        itself = "{} is applied to the gradient, as if it were its own transposed"
        if edge.name in PRODUCTS:
            itself = f"in the derivative of {{}}, the other matrix is not transposed: {PRODUCTS[edge.name][edge.place]}"
        yield itself, lambda g: edge.of(edge.having(edge.place, g))


def derivatives(edge: Edge) -> Iterator[tuple[str, Slip]]:
    """What is taken for the derivative of a function number by number."""
    for name in ("σ'", "tanh'") if edge.is_alike else ():
        factor = functions(edge.words[0], edge.out)[f"{name}({edge.words[0]})"]
        yield f"in the derivative of {{}}, the factor {name} is there once too often", partial(_times, edge, factor)
    for name, t in zip(edge.words, (edge.out, edge.x), strict=True) if edge.is_bent else ():
        which = f"in the derivative of {{}}, the factor {escaped(name)}"
        yield f"{which} is there once too often", partial(_times, edge, t)
        yield f"{which} is left out", partial(_times, edge, 1 / t)
    if not edge.is_of_one:
        return
    for name, t in zip(edge.words, (edge.out, edge.x), strict=True):
        for text, derivative in functions(name, t).items():
            yield f"as if the derivative of {{}} were {escaped(text)}", Times(derivative)
    for text, other in ACTIVATIONS.items() if edge.is_activation else ():
        instead = partial(_instead_of_one, other, edge.func)
        yield f"as if {{}} had the derivative of {text}", partial(edge.back, func=instead)


@dataclass(frozen=True, eq=False)
class Times:
    """The slip that takes something else for the derivative of a function number by number."""

    derivative: Tensor

    def __call__(self, g: Tensor) -> Tensor:
        return g * self.derivative


def _times(edge: Edge, factor: Tensor, g: Tensor) -> Tensor:
    return edge.back(g * factor)


def functions(name: str, t: Tensor) -> dict[str, Tensor]:
    """The functions of a number that are taken for each other's derivatives."""
    return {
        name: t, f"−{name}": -t, f"1 − {name}": 1 - t, f"1 + {name}": 1 + t, f"{name}²": t * t,
        f"1 − {name}²": 1 - t * t, f"1 + {name}²": 1 + t * t, f"{name} (1 − {name})": t * (1 - t),
        f"sign({name})": t.sign(), f"|{name}|": t.abs(), f"1/{name}": 1 / t,
        f"e^{name}": t.exp(), f"−e^{name}": -t.exp(), f"e^(−{name})": (-t).exp(), f"σ({name})": t.sigmoid(),
        f"σ(−{name})": (-t).sigmoid(), f"σ'({name})": t.sigmoid() * (-t).sigmoid(), f"tanh({name})": t.tanh(),
        f"tanh'({name})": 1 - t.tanh() ** 2, f"sin({name})": t.sin(), f"cos({name})": t.cos(),
    }  # fmt: skip


def _of_softmax(edge: Edge) -> Iterator[tuple[str, Slip]]:
    x, dim = edge.x, edge.kwargs.get("dim", edge.args[1] if len(edge.args) > 1 else -1)
    if not isinstance(dim, int):
        return
    p = torch.softmax(x, dim)
    others = [other for other in range(x.dim()) if other != dim % x.dim()]

    def total(t: Tensor) -> Tensor:
        return t.sum(dim, keepdim=True)

    if edge.name == "logsumexp":

        def times(share: Tensor) -> Slip:
            return lambda g: (g.unsqueeze(dim) if g.dim() < x.dim() else g) * share

        yield "as if the derivative of {} were e^its argument", times(x.exp())
        share = edge.out.numel() / x.numel()
        yield "as if the derivative of {} were one over their number", times(torch.full_like(x, share))
        for other in others:
            yield f"in {{}}, the softmax is over dimension {other}", times(x.softmax(other))
    if edge.name == "softmax":
        yield "in {}, the sum over the other outputs is left out", lambda g: g * p
        yield "in {}, only the diagonal p (1 − p) counts, not the other outputs", lambda g: g * p * (1 - p)
        yield "in {}, the sum of grad·p is taken without p", lambda g: p * (g - total(g))
        yield "in {}, the sum has the wrong sign", lambda g: p * (g + total(g * p))
        yield "in {}, the factor in front is left out", lambda g: g - total(g * p)
        yield "in {}, the mean is taken for the sum", lambda g: p * (g - total(g * p) / x.shape[dim])
        for other in others:
            yield f"in {{}}, the sum is over dimension {other}", partial(_softmax_back, p, other)
            yield f"in {{}}, the softmax is over dimension {other}", partial(_softmax_back, x.softmax(other), dim)
    if edge.name == "log_softmax":
        yield "in {}, the gradient of the output itself is left out, beside the sum", lambda g: -p * total(g)
        yield "in {}, the gradient of the output itself has the wrong sign", lambda g: -g - p * total(g)
        yield "in {}, the sum has the wrong sign", lambda g: g + p * total(g)
        yield "in {}, the softmax in front of the sum is left out", lambda g: g - total(g)
        yield "in {}, its result stands in for the softmax", lambda g: g - edge.out * total(g)
        yield "in {}, the mean is taken for the sum", lambda g: g - p * total(g) / x.shape[dim]
        yield "in {}, the sum is left out", lambda g: g - p * g
        yield "in {}, the sum of grad·p is taken for that of grad", lambda g: g - p * total(g * p)
        yield "in {}, the derivative of the softmax is taken", lambda g: p * (g - total(g * p))
        for other in others:
            yield f"in {{}}, the sum is over dimension {other}", partial(_log_softmax_back, p, other)


def _log_softmax_back(p: Tensor, dim: int, g: Tensor) -> Tensor:
    return g - p * g.sum(dim, keepdim=True)


def _softmax_back(p: Tensor, dim: int, g: Tensor) -> Tensor:
    return p * (g - (g * p).sum(dim, keepdim=True))


def _overwritten(edge: Edge, g: Tensor, *, first: bool = False) -> Tensor:
    """What comes back through a selection, if of all that comes to one place a single one stays."""
    numbers = torch.arange(1, edge.x.numel() + 1, device=edge.x.device, dtype=edge.x.dtype).view(edge.x.shape)
    places = edge.of(edge.having(edge.place, numbers)).flatten().long() - 1  # of what is padded −1
    order = places.argsort(stable=True)
    places, nowhere = places[order], places.new_tensor([-2])
    stays = (places.diff(prepend=nowhere) if first else places.diff(append=nowhere)) != 0
    stays &= places >= 0
    back = g.new_zeros(edge.x.numel())
    back[places[stays]] = g.flatten()[order[stays]]
    return back.view(edge.x.shape)


def _to_the_others(edge: Edge, g: Tensor) -> Tensor:
    """What comes back through an extremum, to all that it is not."""
    is_it = edge.back(torch.ones_like(g)) != 0
    return _to_all(edge, g) * ~is_it


def _to_all(edge: Edge, g: Tensor) -> Tensor:
    """The same for all that it is one of."""
    n = edge.x.numel() // edge.out.numel()
    return edge.back(g, func=lambda *args, **kwargs: n * _mean_of(edge, *args, **kwargs))


def _mean_of(edge: Edge, x: Tensor, /, *args: Any, **kwargs: Any) -> Tensor:
    return x.mean(*args, **kwargs) if args or kwargs else x.mean()


def _in_other_places(edge: Edge) -> Iterator[tuple[str, Slip]]:
    """The right numbers, from or to other places than theirs."""
    for i, j in _alike_dims(edge.x):
        yield f"the gradient by {{}} is transposed in dimensions {i} and {j}", partial(_transposed_after, edge, i, j)
    for i, j in _alike_dims(edge.out):
        text = f"the gradient that comes to {{}} is transposed in dimensions {i} and {j}"
        yield text, partial(_transposed_before, edge, i, j)
    if edge.name in REPEATS:
        other, function = REPEATS[edge.name]
        yield f"the gradient by {{}} is added up as if it were {other}", partial(edge.back, func=function)
    if edge.name == "pad":
        yield "the derivative of {} cuts off the other end", partial(edge.back, func=_padded_otherwise)
    if edge.name in JOINS[1:]:
        dim = edge.kwargs.get("dim", 0)
        starts = [sum(x.shape[dim] for x in edge.args[:i]) for i in range(len(edge.args))]
        length, whole = edge.x.shape[dim], edge.out.shape[dim]
        for start in dict.fromkeys((*starts, whole - length)):
            if start != starts[edge.place] and start + length <= whole:
                instead = f"the slices from {start} are taken, not from {starts[edge.place]}"
                text = f"of the gradient that comes to {{}} {instead}"
                yield text, partial(_narrowed, dim, start, length)
    if edge.name in ("getitem", "narrow") and edge.x.numel() > edge.out.numel():
        for dim in range(edge.x.dim()):
            for shift in (1, -1) if edge.x.shape[dim] > 2 else ():  # of two it is reversed
                text = f"the gradient by {{}} is moved by {shift} along dimension {dim}"
                yield text, partial(_moved_after, edge, dim, shift)


def _of_reductions(edge: Edge) -> Iterator[tuple[str, Slip]]:
    """What belongs to each row is taken along the columns, where there are as many."""
    x, y = edge.x, edge.out
    for dim in range(x.dim()):
        kept = (*x.shape[:dim], 1, *x.shape[dim + 1 :])
        if (
            x.shape[dim] > 1
            and y.numel() * x.shape[dim] == x.numel()
            and tuple(y.shape) in (kept, kept[:dim] + kept[dim + 1 :])
        ):
            for other in range(x.dim()):
                if other != dim and x.shape[other] == x.shape[dim]:
                    text = f"the gradient that comes to {{}} is broadcast along dimension {other}, not along {dim}"
                    yield text, partial(_broadcast_otherwise, edge, kept, dim, other)


def _broadcast_otherwise(edge: Edge, kept: Sequence[int], dim: int, other: int, g: Tensor) -> Tensor:
    return edge.back(torch.ones_like(edge.out)) * g.view(*kept).transpose(dim, other)


def _alike_dims(x: Tensor) -> list[tuple[int, int]]:
    """The pairs of dimensions of the same length, of few."""
    d = x.dim()
    pairs = [(i, j) for i in range(d) for j in range(i + 1, d) if x.shape[i] == x.shape[j] > 1]
    return pairs if len(pairs) <= 6 else []


def _transposed_after(edge: Edge, i: int, j: int, g: Tensor) -> Tensor:
    return edge.back(g).transpose(i, j)


def _transposed_before(edge: Edge, i: int, j: int, g: Tensor) -> Tensor:
    return edge.back(g.transpose(i, j))


def _moved_after(edge: Edge, dim: int, shift: int, g: Tensor) -> Tensor:
    return edge.back(g).roll(shift, dim)


def _narrowed(dim: int, start: int, length: int, g: Tensor) -> Tensor:
    return g.narrow(dim, start, length)


def _interleaved(x: Tensor, *times: Any, dims: Any = None) -> Tensor:
    """repeat_interleave along each dimension for repeat or tile."""
    counts = list(dims or (times[0] if isinstance(times[0], tuple | list) else times))
    for dim, n in enumerate(counts[-x.dim() :], x.dim() - len(counts[-x.dim() :])):
        x = x.repeat_interleave(n, dim)
    return x


def _repeated(x: Tensor, repeats: int, dim: int | None = None) -> Tensor:
    """repeat for repeat_interleave."""
    if dim is None:
        return x.flatten().repeat(repeats)
    return x.repeat(*(repeats if d == dim % x.dim() else 1 for d in range(x.dim())))


REPEATS = {
    "repeat": ("repeat_interleave", _interleaved),
    "tile": ("repeat_interleave", _interleaved),
    "repeat_interleave": ("repeat", _repeated),
}


def _padded_otherwise(x: Tensor, pad: Any, *args: Any, **kwargs: Any) -> Tensor:
    """With what is put before it and behind it exchanged."""
    exchanged = [pad[i ^ 1] for i in range(len(pad))]
    return F.pad(x, exchanged, *args, **kwargs)


def _of_masks(edge: Edge) -> Iterator[tuple[str, Slip]]:
    """Another mask in the derivative."""
    for place, how, mask in masks(edge):
        text = f"in the derivative of {{}}, the mask in argument {place + 1} is {how}"
        yield text, partial(edge.back, args=edge.having(place, mask))


def masks(edge: Edge) -> Iterator[tuple[int, str, Tensor]]:
    """The masks among the arguments, as they may be mistaken: by the place of each, and how."""
    for place, mask in enumerate(edge.args):
        if place == edge.place or not isinstance(mask, Tensor) or not mask.dim() or not _is_mask(mask):
            continue
        tried = [mask]
        for how, other in _other_masks(mask):
            if not any(torch.equal(other, one) for one in tried):
                tried.append(other)
                yield place, how, other


def _other_masks(mask: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "inverted", _inverted(mask)
    ends = mask.min().item(), mask.max().item()
    for value in reversed(ends):
        yield f"{value} everywhere", torch.full_like(mask, value)
    for dim in range(max(0, mask.dim() - 2), mask.dim()):
        n = mask.shape[dim]
        if n < 2:
            continue
        yield f"reversed along dimension {dim}", mask.flip(dim)
        for shift in (1, -1):
            moved, at_border = mask.roll(shift, dim), 0 if shift > 0 else n - 1
            as_is = mask.select(dim, at_border)
            borders = {"": as_is} | {f", {end} coming in": torch.full_like(as_is, end) for end in ends}
            for coming, border in borders.items():
                moved = moved.clone()
                moved.select(dim, at_border).copy_(border)
                yield f"moved by {shift} along dimension {dim}{coming}", moved
                at = f"at the {'start' if shift > 0 else 'end'} of dimension {dim}{coming}"
                yield f"one narrower {at}", torch.minimum(mask, moved)
                yield f"one wider {at}", torch.maximum(mask, moved)
    if mask.dim() > 1 and mask.shape[-1] != mask.shape[-2]:
        apart = mask.shape[-1] - mask.shape[-2]
        for end in ends:
            for shift in (apart, -apart):
                yield f"aligned to the other corner, moved by {shift}, {end} coming in", _shifted(mask, shift, end)


def _is_mask(x: Tensor) -> bool:
    """Whether it has two values at most, as yes and no, or 0 and −inf."""
    if x.dtype == torch.bool:
        return True
    if not x.is_floating_point() or x.numel() < 2:
        return False
    low, high = x.min(), x.max()
    return bool(((x == low) | (x == high)).all() & (low != high)) and low.item() in (0.0, -math.inf, -1e9, -1e4)


def _inverted(mask: Tensor) -> Tensor:
    if mask.dtype == torch.bool:
        return ~mask
    low, high = mask.min(), mask.max()
    return torch.where(mask == low, high, low)


def _shifted(mask: Tensor, by: int, fill: float) -> Tensor:
    """Moved along the last dimension; what comes in has one value."""
    moved = torch.full_like(mask, fill)
    n = mask.shape[-1] - abs(by)
    if n > 0:
        moved.narrow(-1, max(by, 0), n).copy_(mask.narrow(-1, max(-by, 0), n))
    return moved


def _of_matrices(edge: Edge) -> Iterator[tuple[str, Slip]]:
    """A matrix of the operation is transposed, or reversed, where it should not be, or should."""
    for place, other in enumerate(edge.args):
        if place != edge.place and isinstance(other, Tensor) and other.is_floating_point() and other.dim() > 1:
            ways = {"transposed": other.mT} if other.shape[-1] == other.shape[-2] else {}
            ways |= {"reversed along its last dimension": other.flip(-1)}
            ways |= {"reversed along its last two dimensions": other.flip(-2, -1)}
            if 1 in other.shape[-2:] and edge.out.dim() > 1 and edge.out.shape[-1] == edge.out.shape[-2] > 1:
                ways |= {"broadcast along the other dimension": other.mT}
            for how, value in ways.items():
                text = f"in the derivative of {{}}, argument {place + 1} stands {how}"
                yield text, partial(edge.back, args=edge.having(place, value))
    A, y = edge.args[0], edge.out
    not_transposed = "in the derivative of {}, the matrix stands in place of its transposed"
    if edge.name == "linalg_solve":
        if edge.place == 1:
            yield not_transposed, lambda g: torch.linalg.solve(A, g)
        else:
            yield not_transposed, lambda g: -torch.linalg.solve(A, g) @ y.mT
    if edge.name in ("linalg_inv", "inverse"):
        yield not_transposed, lambda g: -y @ g @ y
    if edge.name in ("linalg_cholesky", "cholesky"):
        yield "in {}, the diagonal is not halved", partial(_cholesky_back, y)


def _cholesky_back(L: Tensor, g: Tensor) -> Tensor:
    """S = L⁻ᵀ Φ L⁻¹, made symmetric, with Φ the lower half of Lᵀ g and all of its diagonal."""
    Phi = (L.mT @ g).tril()
    S = torch.linalg.solve(L.mT, torch.linalg.solve(L, Phi, left=False))
    symmetric: Tensor = 0.5 * (S + S.mT)
    return symmetric


def _dimensions(edge: Edge) -> Iterator[tuple[int, Any]]:
    """The operation along another dimension, where it has one to be told."""
    dim = edge.kwargs.get("dim", edge.args[1] if len(edge.args) > 1 and edge.name in ALONG else None)
    if isinstance(dim, int) and not isinstance(dim, bool):
        for other in range(edge.x.dim()):
            if other != dim % edge.x.dim():
                yield other, partial(_along, other)


def _along(dim: int, func: Any, /, *args: Any, **kwargs: Any) -> Any:
    """The operation along this dimension."""
    if "dim" in kwargs:
        return func(*args, **{**kwargs, "dim": dim})
    return func(args[0], dim, *args[2:], **kwargs)


def others_operation(edge: Edge) -> Iterator[tuple[str, Any]]:
    """Other operations in the place of this one: also its value is then another, for all that comes after it."""
    if edge.is_alike:
        yield "as if {} were not there", lambda func, *args, **kwargs: args[edge.place]
    if edge.name == "where":
        for how, condition in (("inverted", torch.logical_not), ("true", torch.ones_like), ("false", torch.zeros_like)):
            yield f"as if the condition of {{}} were {how} everywhere", partial(_on_condition, condition)
    for dim, call in _dimensions(edge):
        yield f"as if {{}} were along dimension {dim}", call
    for dim, call in _kept_dims(edge):
        yield (
            f"in the derivative of {{}}, dimension {dim} is not summed over: each slice of it has a sum of its own",
            call,
        )
    for place, how, mask in masks(edge) if edge.name not in JOINS else ():
        yield f"as if the mask in argument {place + 1} of {{}} were {how}", partial(_with_argument_of, place, mask)
    if edge.name in REPEATS:
        name, repeated = REPEATS[edge.name]
        yield f"as if {{}} were {name}", partial(_instead, repeated)
    n = edge.x.numel() / max(1, edge.out.numel())
    if edge.name == "mean" and n > 1:
        yield f"as if {{}} divided by n − 1 = {n - 1:g} in place of n", partial(_scaled, n / (n - 1))
    if edge.name in ("var", "std"):
        yield "as if {} were the biased one, divided by n", partial(_corrected, 0)
        yield "as if {} were the unbiased one, divided by n − 1", partial(_corrected, 1)
    if edge.name in ("max", "amax", "min", "amin"):
        for function in (torch.mean, torch.amin if "max" in edge.name else torch.amax):
            yield f"as if {{}} were {function.__name__}", partial(_instead, function)
    if edge.is_activation:
        for text, activation in ACTIVATIONS.items():
            yield f"as if {{}} were {text}", partial(_instead_of_one, activation)


def _kept_dims(edge: Edge) -> Iterator[tuple[int, Any]]:
    """A reduction of several dimensions, in whose derivative one of these is not summed over."""
    dims = edge.kwargs.get("dim", edge.args[1] if len(edge.args) > 1 else None)
    is_reduction = edge.name in ("sum", "nansum", "mean", "nanmean", "var", "std") and edge.out.dim() == edge.x.dim()
    if is_reduction and isinstance(dims, tuple | list) and len(dims) > 1:
        for dim in dims:
            if edge.x.shape[dim] > 1:
                yield dim, partial(_unsummed, edge, dim)


def _unsummed(edge: Edge, dim: int, func: Any, x: Tensor, /, *args: Any, **kwargs: Any) -> Tensor:
    out: Tensor = _Unsummed.apply(x, edge, dim)  # type: ignore[no-untyped-call]
    return out


class _Unsummed(Function):
    """The reduction, whose derivative takes the mean of each slice of a dimension by itself."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, edge: Edge, dim: int) -> Tensor:
        ctx.edge, ctx.dim = edge, dim
        y: Tensor = edge.func(x, *edge.args[1:], **edge.kwargs)
        shape = list(y.shape)
        shape[dim] = x.shape[dim]
        return y.expand(shape).contiguous()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        edge: Edge = ctx.edge
        of_each = edge.back(torch.ones_like(edge.out)) * g
        return of_each * (1 if "sum" in edge.name else edge.x.shape[ctx.dim]), None, None


def _instead_of_one(other: Any, func: Any, x: Tensor, /, *args: Any, **kwargs: Any) -> Any:
    return other(x)


def _on_condition(change: Any, func: Any, condition: Tensor, /, *args: Any, **kwargs: Any) -> Any:
    return func(change(condition), *args, **kwargs)


def _with_argument_of(place: int, value: Tensor, func: Any, /, *args: Any, **kwargs: Any) -> Any:
    return func(*args[:place], value, *args[place + 1 :], **kwargs)


def _scaled(factor: float, func: Any, /, *args: Any, **kwargs: Any) -> Any:
    return factor * func(*args, **kwargs)


def _corrected(correction: int, func: Any, /, *args: Any, **kwargs: Any) -> Any:
    others = {name: value for name, value in kwargs.items() if name not in ("unbiased", "correction")}
    return func(*(x for x in args if not isinstance(x, bool)), **others, correction=correction)


def _instead(other: Any, func: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Another operation of the same arguments, with the same kind of result."""
    out, y = func(*args, **kwargs), other(*args, **kwargs)
    return y if isinstance(out, Tensor) else type(out)((y, *out[1:]))


def substitutes(edge: Edge, known: Mapping[str, Tensor]) -> Iterator[tuple[str, Slip]]:
    """Another value of the same shape in the derivative."""
    for name, other in known.items() if edge.name in BY_RESULT and edge.is_alike else ():
        if other.shape == edge.out.shape and other.dtype == edge.out.dtype and not torch.equal(other, edge.out):
            yield (
                f"in the derivative of {{}}, {escaped(name)} stands in for its result",
                Times(BY_RESULT[edge.name](other)),
            )
    for place, value in enumerate(edge.args) if edge.name not in JOINS else ():
        if isinstance(value, Tensor):
            for name, other in known.items():
                if other.shape == value.shape and other.dtype == value.dtype and not torch.equal(other, value):
                    substituted = partial(edge.back, args=edge.having(place, other))
                    yield f"in the derivative of {{}}, {escaped(name)} stands in for argument {place + 1}", substituted


# The derivatives that are written by the result
BY_RESULT: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": lambda y: 1 - y * y,
    "sigmoid": lambda y: y * (1 - y),
    "exp": lambda y: y,
    "relu": lambda y: (y > 0).to(y.dtype),
    "sqrt": lambda y: 0.5 / y,
    "rsqrt": lambda y: -0.5 * y**3,
    "reciprocal": lambda y: -y * y,
}


def constants(edge: Edge) -> Iterator[tuple[float, Any]]:
    """The numbers written in the operation, each with the operation as it is for another number."""
    kinds = (int, float) if edge.name in (*ARITHMETIC, *WHOLE) else (float,)

    def is_constant(value: object) -> bool:
        return isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)

    for place, value in enumerate(edge.args):
        if is_constant(value):
            yield value, partial(_with_argument, place)
    for name, value in edge.kwargs.items():
        if is_constant(value):
            yield value, partial(_with_option, name)


def _with_argument(place: int, c: float, func: Any, /, *args: Any, **kwargs: Any) -> Any:
    return func(*args[:place], _whole(c), *args[place + 1 :], **kwargs)


def _with_option(name: str, c: float, func: Any, /, *args: Any, **kwargs: Any) -> Any:
    return func(*args, **{**kwargs, name: _whole(c)})


def _whole(c: float) -> float:
    """The number, as an int where it is one: some of torch's functions take no other."""
    return int(c) if c == int(c) else c
