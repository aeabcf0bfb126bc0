"""What the diagnosis may go by: what autograd gives, in float64, where somebody takes the forward wrongly."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache, cached_property, partial
from itertools import chain, combinations, count
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from crosscheck.candidate import Candidate, as_tuple, device_of
from crosscheck.cause.diagnosis import Alternatives, Family
from crosscheck.cause.paths import Gradients, Paths, Time, block, without
from crosscheck.cause.recorded import Numbers
from crosscheck.cause.screen import Screen
from crosscheck.cause.slips import SOFTMAX, Edge, derivatives, of_itself, slips, until_it_fails
from crosscheck.devices import set_seed
from crosscheck.verdict.precision import SMALL, is_floating, is_small, rounded

T = TypeVar("T")
ByName = Mapping[str, Tensor]


def gather(candidate: Candidate, deep: bool, *given: Any) -> dict[str, Alternatives]:
    """The alternatives of each tensor, from the oracle's inputs; not deep: only what takes no run of autograd."""
    with suppress(Exception):  # no search for a cause may cost the verdict
        gatherer = _Gatherer(candidate, given)
        found = gatherer.deep() if deep else gatherer.plain()
        return {name: _without_failing(alternatives) for name, alternatives in found.items()}
    return {}


def _without_failing(of: Alternatives) -> Alternatives:
    return replace(
        of,
        mistaken=until_it_fails(of.mistaken),
        slips=until_it_fails(of.slips),
        inputs=until_it_fails(of.inputs),
        substituted=until_it_fails(of.substituted),
        bent=until_it_fails(of.bent),
        replaced=until_it_fails(of.replaced),
        left_out=until_it_fails(of.left_out),
        families=until_it_fails(of.families),
    )


class _Gatherer:
    def __init__(self, candidate: Candidate, given: Sequence[Any]) -> None:
        self.candidate = candidate
        given = rounded(given, torch.float64)
        self.grads_out, self.xs = given[: candidate.outs], given[candidate.outs :]
        self.exact = self._gradients(self.grads_out, self.xs)
        self.numbers = Numbers()
        self.out = self._out()
        self.named = {name: x for name, x in zip(candidate.names, self.xs, strict=True) if isinstance(x, Tensor)}
        self.judged = [candidate.names[i] for i in candidate.judged]
        self.time, self.skipped = Time(), list[str]()
        # grad_out, where there is one
        self.g: Tensor | None = self.grads_out[0] if candidate.outs == 1 else None

    def _gradients(self, grads_out: Sequence[Any], xs: Sequence[Any]) -> ByName:
        return self.candidate.by_autograd(*rounded(grads_out, torch.float64), *rounded(xs, torch.float64))

    def _out(self) -> Tensor:
        """The first result, and with which numbers it is computed."""
        outs: Sequence[Tensor] = ()
        with suppress(Exception), self.numbers:  # what compiles itself may not run while it is watched
            outs = self.candidate.outs_of(self.candidate.truth, rounded(self.xs, torch.float64))
        return (outs or self.candidate.outs_of(self.candidate.truth, rounded(self.xs, torch.float64)))[0]

    def _sizes(self) -> dict[str, float]:
        """What a factor may come from: numbers that are given, lengths, and roots of these where the forward has such.

        Two of something there is always: it is told where the forward computes with it.
        """
        lengths = {f"{name}.shape[{d}]": n for name, x in self._tensors().items() for d, n in enumerate(x.shape)}
        lengths |= {f"{name}.numel()": x.numel() for name, x in self._tensors().items()}
        sizes: dict[str, float] = {
            name: n for name, n in lengths.items() if n > 2 or n in self.numbers.counts or self.numbers.has(n)
        }
        sizes |= {f"√{name}": math.sqrt(n) for name, n in lengths.items() if n > 1 and self.numbers.has(math.sqrt(n))}
        for name, x in zip(self.candidate.names, self.xs, strict=True):
            if isinstance(x, int | float) or (is_floating(x) and x.numel() == 1):
                given = float(x)
                sizes |= {name: given, f"(1 − {name})": 1 - given}  # as what a dropout keeps
        return sizes

    def plain(self) -> dict[str, Alternatives]:
        sizes = self._sizes()
        values = set(self.candidate.names_of_outs) if self.candidate.values else set()
        return {
            name: Alternatives(self._others(name), self._terms, sizes, is_value=name in values) for name in self.exact
        }

    def deep(self) -> dict[str, Alternatives]:
        found = self.plain()
        why = ""
        try:
            paths = self._paths() if is_small(self.xs) else None
        except Exception as error:
            paths, why = None, f"operations of the forward cannot be tried, they raise {type(error).__name__}"
        if not is_small(self.xs):
            why = f"operations of the forward are tried with at most {SMALL:,} numbers of input: give smaller ones"
        inputs = _Kept(self._inputs_mistaken())
        replaced = _Kept(self._by_name(chain(paths.replaced(), paths.two_mistaken()) if paths else iter(())))
        families = _Kept(paths.families() if paths else iter(()))

        def of(place: int, screen: Screen | None) -> Alternatives:
            name = self.judged[place]
            i = self.candidate.judged[place]
            mistaken = _column(self._grads_out_mistaken(paths, screen), name)
            if not is_small(self.xs):
                return replace(found[name], mistaken=chain(mistaken, _column(inputs, name)), untried=why)
            alternatives = replace(
                found[name],
                unsummed=self._unsummed(i),
                mistaken=chain(mistaken, self._sums(name)),
                slips=self._at_forward(i),
                inputs=_column(inputs, name),
                left_out=self._left_out(name),
                untried=why,
                skipped=self.skipped,
            )
            if paths is None:
                return alternatives
            slipped = self._by_name(chain(paths.alone(screen), paths.mistaken(screen)))
            other_values = self._by_name(paths.substituted(screen))
            bent = self._by_name(paths.bent(screen))
            return replace(
                alternatives,
                shares=_Late(lambda: {op: share[place] for op, share in paths.fitting_shares(screen).items()}),
                add_up=lambda one, other, budget: paths.add_up(place, one, other, budget),
                slips=chain(alternatives.slips, _column(slipped, name)),
                replaced=_column(replaced, name),
                families=(
                    _of_one(family, place) for family in chain(families, paths.updated(self._of_the_cost(), screen))
                ),
                substituted=_column(other_values, name),
                bent=_column(bent, name),
                untried=paths.untried,
            )

        def near(place: int, error: Tensor, wrong: Tensor, budget: float) -> Alternatives:
            return _without_failing(of(place, paths.screen(place, error, wrong, budget) if paths else None))

        for place, name in enumerate(self.judged):
            found[name] = replace(of(place, None), near=partial(near, place))
        return found

    def _of_the_cost(self) -> ByName:
        """The gradients by which a step of training updates; where the result is one number, as a cost, those of it."""
        scale = float(self.g) if self.g is not None and self.g.numel() == 1 else 1.0
        return {name: self.exact[name] / scale for name in self.judged}

    def _tensors(self) -> ByName:
        return {self.candidate.names_of_outs[0]: self.out, **self.named}

    def _others(self, name: str) -> ByName:
        return {other: value for other, value in self.exact.items() if other != name and other in self.judged}

    @cached_property
    def _terms(self) -> ByName:
        """What a gradient is often made of."""
        floating = {name: x for name, x in self.named.items() if is_floating(x)}
        terms: dict[str, Callable[[], Tensor]] = {name: x.detach for name, x in floating.items()}
        pairs = combinations(floating.items(), 2)
        terms |= {f"({a} − {b})": partial(torch.sub, x, y) for (a, x), (b, y) in pairs if _are_alike(x, y)}
        if self.g is None:
            return _Made(terms)
        terms |= {"out": self.out.detach}
        alike = {name: term for name, term in terms.items() if _are_alike(term(), self.g)}
        products = {f"grad_out·{name}": partial(_times, self.g, term) for name, term in alike.items()}
        return _Made({**terms, "grad_out": self.g.detach, **products})

    def _grads_out_mistaken(
        self, paths: Paths | None = None, screen: Screen | None = None
    ) -> Iterator[tuple[str, ByName]]:
        """With a mistaken grad_out."""
        outs = range(self.candidate.outs)

        def having(change: Callable[[Tensor], Tensor], of: Sequence[int] = outs) -> Iterator[ByName]:
            yield from of_grads([change(g) if i in of and is_floating(g) else g for i, g in enumerate(self.grads_out)])

        def of_grads(changed: Sequence[Any]) -> Iterator[ByName]:
            deltas = [c - g if is_floating(g) else None for c, g in zip(changed, self.grads_out, strict=True)]
            if paths is None:
                yield self._gradients(changed, self.xs)
            elif screen is None or screen.fits_outs(deltas):
                yield dict(zip(self.judged, paths.with_grads_out(changed), strict=True))

        def named() -> Iterator[tuple[str, Iterator[ByName]]]:
            yield "grad_out is ignored, as if it were ones", having(torch.ones_like)
            for i in (i for i in outs if is_floating(self.grads_out[i])) if self.candidate.outs > 1 else ():
                yield f"{self.candidate.grads_out_names[i]} is left out", having(torch.zeros_like, (i,))
                yield f"{self.candidate.grads_out_names[i]} is counted twice", having(lambda g: 2 * g, (i,))
            for i in outs if paths else ():
                name, out = self.candidate.grads_out_names[i], paths.outs[i] if paths else None
                g = self.grads_out[i]
                if is_floating(out) and is_floating(g) and out.shape == g.shape:
                    text = f"{self.candidate.names_of_outs[i]} itself stands in for {name}"
                    yield text, of_grads([*self.grads_out[:i], out.detach(), *self.grads_out[i + 1 :]])
                for dim in range(g.dim()) if is_floating(g) else ():
                    if g.shape[dim] > 1:
                        yield (
                            f"{name} is reversed along dimension {dim}",
                            having(partial(torch.flip, dims=(dim,)), (i,)),
                        )
                        for shift in (1, -1):
                            text = f"{name} is moved by {shift} along dimension {dim}"
                            yield text, having(partial(torch.roll, shifts=shift, dims=dim), (i,))
                    if g.shape[dim] % 2 == 0 < g.shape[dim]:
                        text = f"the two halves of dimension {dim} of {name} are swapped"
                        yield text, having(partial(torch.roll, shifts=g.shape[dim] // 2, dims=dim), (i,))
            for i, j in combinations(outs, 2):
                one, other = self.grads_out[i], self.grads_out[j]
                if is_floating(one) and is_floating(other) and _are_alike(one, other):
                    swapped = list(self.grads_out)
                    swapped[i], swapped[j] = other, one
                    names = " and ".join(self.candidate.grads_out_names[k] for k in (i, j))
                    yield f"{names} are taken for each other", of_grads(swapped)
            floating = [g for g in self.grads_out if is_floating(g)]
            for dims, sample in ((1, "sample"), (2, "row of all samples")):
                if all(g.dim() >= dims and g.shape[:dims].numel() > 1 for g in floating):
                    for place, which in ((-1, "last"), (0, "first")):
                        yield f"only the {which} {sample} counts", having(partial(_only, dims=dims, place=place))
                        yield f"the {which} {sample} is left out", having(partial(_all_but, dims=dims, place=place))
            for i, g in enumerate(self.grads_out if screen else ()):
                if screen and is_floating(g):
                    for lost in screen.lost(screen.of_outs[i], g):
                        text = f"{block(*lost, g)} of {self.candidate.grads_out_names[i]} is left out"
                        yield text, having(partial(without, *lost), (i,))

        for text, gradients in named():
            for each in gradients:
                yield text, each

    def _inputs_mistaken(self) -> Iterator[tuple[str, ByName]]:
        """With a mistaken input."""
        for i, (name, x) in enumerate(zip(self.candidate.names, self.xs, strict=True)):
            for how, other in _taken_wrongly(x):
                if self.time.is_up:
                    self.skipped.append("inputs taken wrongly")
                    return
                with suppress(Exception):  # the forward may have no value there: then nobody took it so
                    yield f"as if {name} were {how}", self._gradients(self.grads_out, _having(self.xs, i, other))

    def _left_out(self, name: str) -> Iterator[tuple[str, Tensor]]:
        """Without one of the other inputs, as a factor or as a term."""
        for i, (other, x) in enumerate(zip(self.candidate.names, self.xs, strict=True)):
            if self.time.is_up:
                self.skipped.append("inputs left out")
                return
            for neutral in (torch.ones_like, torch.zeros_like) if other != name and is_floating(x) else ():
                with suppress(Exception):
                    without = self._gradients(self.grads_out, _having(self.xs, i, neutral(x)))
                    yield (
                        f"as if {other} were left out, a {'one' if neutral is torch.ones_like else 'zero'}",
                        without[name],
                    )

    def _sums(self, name: str) -> Iterator[tuple[str, Tensor]]:
        """grad_out, by itself and times what it can be multiplied by, summed to a gradient of fewer dimensions."""
        o = self.exact[name]
        if self.g is None or o.shape == self.g.shape:
            return
        for factor, term in chain([("", torch.ones_like(self.g))], self._terms.items()):
            with suppress(RuntimeError):  # shapes that do not go together
                yield (
                    f"as if it were the sum of {'grad_out' + f'·{factor}' * bool(factor)}",
                    (self.g * term).sum_to_size(o.shape),
                )

    def _unsummed(self, i: int) -> Tensor | None:
        """The gradient of an input that is broadcast, before it is summed to the input's shape."""
        x = self.xs[i]
        with suppress(Exception):
            if x.shape != self.out.shape:
                expanded = x.expand(self.out.shape).contiguous()
                return self._gradients(self.grads_out, _having(self.xs, i, expanded))[self.candidate.names[i]]
        return None

    def _at_forward(self, i: int) -> Iterator[tuple[str, Tensor]]:
        """By slips at the forward as a whole, also as the softmax that it may be."""
        if self.g is None:
            return
        words = ("out", self.candidate.names[i])

        def nameless(*xs: Any) -> Any:  # what somebody calls softmax may be another function
            set_seed(device_of(xs), self.candidate.seed)
            return as_tuple(self.candidate.truth(*xs))[0]

        whole = Edge(0, i, nameless, rounded(self.xs, torch.float64), {}, self.out, words)
        edges = [whole]
        for function in (getattr(torch, name) for name in SOFTMAX):
            for dim in range(whole.x.dim()):
                y = function(whole.x, dim).to(self.out.dtype)
                if y.shape == self.out.shape and torch.allclose(y, self.out, rtol=1e-9, atol=0):
                    edges.append(Edge(0, i, function, [whole.x, dim], {}, self.out, words))
        # Of the whole its other inputs are tried by themselves.
        found = (until_it_fails((of_itself if edge is whole else slips)(edge)) for edge in edges)
        for text, slip in chain(*found, derivatives(whole)):
            with suppress(Exception):
                yield text.format("the forward"), slip(self.g)

    def _paths(self) -> Paths:
        xs = rounded(self.xs, torch.float64)
        for i in self.candidate.judged:
            xs[i].requires_grad_()

        def forward(*xs: Any) -> Any:
            set_seed(device_of(xs), self.candidate.seed)
            return self.candidate.truth(*xs)

        return Paths(forward, xs, self.grads_out, self._tensors(), self.time, self.skipped)

    def _by_name(self, found: Iterator[tuple[str, Gradients]]) -> Iterator[tuple[str, ByName]]:
        return ((cause, dict(zip(self.judged, gradients, strict=True))) for cause, gradients in found)


class _Late(Mapping[str, Tensor]):
    """Tensors by name, found when they are first asked for."""

    def __init__(self, make: Callable[[], ByName]) -> None:
        self._found = cache(make)

    def __getitem__(self, name: str) -> Tensor:
        return self._found()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found())

    def __len__(self) -> int:
        return len(self._found())


class _Made(Mapping[str, Tensor]):
    """Tensors by name, each made when it is asked for: of large inputs they would fill the memory."""

    def __init__(self, makers: Mapping[str, Callable[[], Tensor]]) -> None:
        self._makers = makers

    def __getitem__(self, name: str) -> Tensor:
        return self._makers[name]()

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


def _are_alike(x: Tensor, y: Tensor) -> bool:
    return x.shape == y.shape and x.device == y.device


def _times(g: Tensor, term: Callable[[], Tensor]) -> Tensor:
    return g * term()


class _Kept(Generic[T]):
    """What comes from an iterator, as often as it is asked for; it is worked out once, and no further than asked."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items, self._kept = until_it_fails(items), list[T]()

    def __iter__(self) -> Iterator[T]:
        for i in count():
            if i == len(self._kept):
                try:
                    self._kept.append(next(self._items))
                except StopIteration:
                    return
            yield self._kept[i]


def _column(found: Iterable[tuple[str, ByName]], name: str) -> Iterator[tuple[str, Tensor]]:
    return ((cause, values[name]) for cause, values in found if name in values)


def _of_one(family: tuple[str, float, Callable[[float], Gradients | None]], place: int) -> Family:
    """The family of one of the gradients."""
    text, right, of = family

    def value(c: float) -> Tensor | None:
        gradients = of(c)
        return None if gradients is None else gradients[place]

    return text, right, value


def _taken_wrongly(x: Any) -> Iterator[tuple[str, Tensor]]:
    """An input as somebody takes it by mistake."""
    if isinstance(x, Tensor) and x.dtype == torch.bool:
        yield "inverted", ~x
        yield "True everywhere", torch.ones_like(x)
    elif is_floating(x):
        yield "of the other sign", -x
        if x.dim() > 1:
            yield "reversed along its last dimension", x.flip(-1)
            yield "reversed along its last two dimensions", x.flip(-2, -1)
            if x.shape[-1] == x.shape[-2]:
                yield "transposed", x.mT


def _having(xs: Sequence[Any], i: int, x: Tensor) -> list[Any]:
    """The inputs with one of them another."""
    return [*xs[:i], x, *xs[i + 1 :]]


def _only(g: Tensor, dims: int, place: int) -> Tensor:
    """grad_out of one sample alone, by its place in the first dimensions."""
    alone = torch.zeros_like(g, memory_format=torch.contiguous_format)
    alone.flatten(0, dims - 1)[place] = g.flatten(0, dims - 1)[place]
    return alone


def _all_but(g: Tensor, dims: int, place: int) -> Tensor:
    return g - _only(g, dims, place)
