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

    @property
    def name(self) -> str:
        return getattr(self.func, "__name__", str(self.func)).strip("_")

    @property
    def is_alike(self) -> bool:
        """Whether the result has the shape of x."""
        return self.x.shape == self.out.shape

    @property
    def is_of_one(self) -> bool:
        """Whether it can be a function of one tensor, number by number."""
        return self.is_alike and sum(isinstance(value, Tensor) for value in self.args) == 1

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
    "hardtanh", "hardsigmoid", "hardswish", "logsigmoid", "softsign", "sin", "cos", "atan", "clamp", "clamp_min", "where",
)  # fmt: skip

SOFTMAX = ("softmax", "log_softmax", "logsumexp")
SELECTIONS = ("embedding", "index_select", "gather", "getitem", "take_along_dim", "take")
ARITHMETIC = (
    "add", "sub", "rsub", "mul", "rmul", "radd", "div", "truediv", "true_divide", "rtruediv", "rdiv", "pow",
    "iadd", "isub", "imul", "itruediv", "ipow",
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
    yield from _of_matrices(edge)
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
        yield "in {}, what comes back to one place overwrites, in place of adding up", partial(_overwritten, edge)
        yield "in {}, the first of what comes back to one place stays", partial(_overwritten, edge, first=True)
    if edge.name == "where":
        yield "in {}, the other branch is taken", lambda g: edge.back(g, args=edge.having(0, ~edge.args[0]))
    if edge.is_alike:
        itself = "{} is applied to the gradient, as if it were its own transposed"
        yield itself, lambda g: edge.of(edge.having(edge.place, g))


def derivatives(edge: Edge) -> Iterator[tuple[str, Slip]]:
    """What is taken for the derivative of a function number by number."""
    for name in ("σ'", "tanh'") if edge.is_alike else ():
        factor = functions(edge.words[0], edge.out)[f"{name}({edge.words[0]})"]
        yield f"in the derivative of {{}}, the factor {name} is there once too much", partial(_times, edge, factor)
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
        yield "in {}, its result stands for the softmax", lambda g: g - edge.out * total(g)
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
    numbers = torch.arange(edge.x.numel(), device=edge.x.device).view(edge.x.shape)
    places = edge.of(edge.having(edge.place, numbers)).flatten()
    order = places.argsort(stable=True)
    places, nowhere = places[order], places.new_tensor([-1])
    stays = (places.diff(prepend=nowhere) if first else places.diff(append=nowhere)) != 0
    back = g.new_zeros(edge.x.numel())
    back[places[stays]] = g.flatten()[order[stays]]
    return back.view(edge.x.shape)


def _of_matrices(edge: Edge) -> Iterator[tuple[str, Slip]]:
    """A matrix of the operation is transposed, or reversed, where it should not be, or should."""
    for place, other in enumerate(edge.args):
        if place != edge.place and isinstance(other, Tensor) and other.is_floating_point() and other.dim() > 1:
            ways = {"transposed": other.mT} if other.shape[-1] == other.shape[-2] else {}
            ways |= {"reversed along its last dimension": other.flip(-1)}
            ways |= {"reversed along its last two dimensions": other.flip(-2, -1)}
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
    n = edge.x.numel() / max(1, edge.out.numel())
    if edge.name == "mean" and n > 1:
        yield f"as if {{}} divided by n − 1 = {n - 1:g} in place of n", partial(_scaled, n / (n - 1))
    if edge.name in ("var", "std"):
        yield "as if {} were the biased one, divided by n", partial(_corrected, 0)
        yield "as if {} were the unbiased one, divided by n − 1", partial(_corrected, 1)
    if edge.name in ("max", "amax", "min", "amin"):
        for other in (torch.mean, torch.amin if "max" in edge.name else torch.amax):
            yield f"as if {{}} were {other.__name__}", partial(_instead, other)
    if edge.is_activation:
        for text, function in ACTIVATIONS.items():
            yield f"as if {{}} were {text}", partial(_instead_of_one, function)


def _instead_of_one(other: Any, func: Any, x: Tensor, /, *args: Any, **kwargs: Any) -> Any:
    return other(x)


def _on_condition(change: Any, func: Any, condition: Tensor, /, *args: Any, **kwargs: Any) -> Any:
    return func(change(condition), *args, **kwargs)


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
    for place, value in enumerate(edge.args):
        if isinstance(value, Tensor) and value.is_floating_point():
            for name, other in known.items():
                if other.shape == value.shape and not torch.equal(other, value):
                    substituted = partial(edge.back, args=edge.having(place, other))
                    yield f"in the derivative of {{}}, {escaped(name)} stands for argument {place + 1}", substituted


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
