"""Judge a hand-written backward pass by autograd through its forward, or through an independent twin of it."""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

from reference.diagnosis import Evidence
from reference.ladder import FACTOR, judge, rung_rows
from reference.paths import Share, shares
from reference.precision import distance, is_floating, norm, rounded, rungs, unit_roundoff, widened
from reference.report import Report, Row


def crosscheck(
    forward: Callable[..., Any],
    backward: Callable[..., Sequence[Tensor | None]] | type[Function],
    inputs: Sequence[Any],
    *,
    twin: Callable[..., Any] | None = None,
    names: Sequence[str] | None = None,
    dtypes: Sequence[torch.dtype] | None = None,
    seed: int = 0,
) -> Report:
    """Judge `backward(grad_out, out, *inputs)` as the derivative of `forward(*inputs)`, at every rung of the ladder.

    forward(*inputs) -> out, and backward(grad_out, out, *inputs) -> (gradient of each input, or None, ...). Where out
    is a tuple, so is grad_out, with None for what is not floating. backward may also be a torch.autograd.Function:
    its own forward is then judged as well. inputs: tensors, and anything else, which is handed through untouched. When
    some of them require grad those are judged, else every floating-point one is. twin: an independent forward in
    torch's own operations; with it the values of out are judged too, without it autograd goes through `forward`
    itself. names: of the inputs, those of forward's parameters unless given. dtypes: the rungs. seed: that of grad_out,
    which is drawn at random, and of torch's random state at every call, as for a dropout.

    Returns a report with a row for each judged tensor and rung, and one for each input that was changed in place. What
    raises in every dtype inside of the two functions is raised here; a dtype in which only the hand-written side does
    is left out and noted. Raises TypeError where no input can be judged, or a function does not take or return what it
    should; ValueError for names that are too few, or the same. Random state, grad mode and the inputs are left as they
    were.
    """
    if not isinstance(inputs, tuple | list):
        raise TypeError(f"inputs: expected a tuple, as in (x,), got {type(inputs).__name__}")
    names = _names(forward, len(inputs)) if names is None else tuple(names)
    if len(names) != len(inputs):
        raise ValueError(f"names: expected {len(inputs)}, one for each input, got {len(names)}")
    if len({"out", *names}) <= len(names):
        raise ValueError(
            f"names: expected different ones, and none called out, as the result is, got {', '.join(names)}"
        )
    for name, x in zip(names, inputs, strict=True):
        _refuse(name, x)
    floating = [i for i, x in enumerate(inputs) if is_floating(x)]
    judged = [i for i in floating if inputs[i].requires_grad] or floating
    if not judged:
        raise TypeError("inputs: expected at least one floating-point tensor, got none")
    _takes("forward", forward, names)
    is_function = isinstance(backward, type) and issubclass(backward, Function)
    if not is_function:
        _takes("backward", backward, ("grad_out", "out", *names))
    pair = _Pair(forward, backward, twin or forward, names, judged, twin is not None or is_function, seed, is_function)
    device = inputs[judged[0]].device
    with _isolated(device):
        outs = pair.tried(inputs, rungs(device) if dtypes is None else dtypes)
        pair.outs = len(outs)
        grad_outs = _drawn_like(outs, seed)
        title = _name(backward)
        report = judge(
            pair.by_hand, pair.by_autograd, (*grad_outs, *inputs), title=title, dtypes=dtypes, seed=seed,
            evidence=pair.evidence,
        )  # fmt: skip
    changed = [
        Row(name, device, report.rows[0].dtype, math.inf, FACTOR, False, f"changed in place by {by}", "")
        for name, by in pair.changed.items()
    ]
    return replace(report, rows=(*report.rows, *changed))


def assert_crosscheck(forward: Callable[..., Any], backward: Any, inputs: Sequence[Any], **options: Any) -> None:
    """Raise GradientMismatch, with the table as its text, unless `crosscheck` of the same arguments agrees."""
    __tracebackhide__ = True  # pytest then shows the caller's line
    crosscheck(forward, backward, inputs, **options).raise_on_mismatch()


@dataclass
class _Pair:
    """The functions of a crosscheck as the judge takes them: each from (*grad_outs, *inputs) to tensors by name."""

    forward: Callable[..., Any]
    backward: Any
    truth: Callable[..., Any]
    names: Sequence[str]
    judged: Sequence[int]
    values: bool  # whether those of out are judged too
    seed: int
    is_function: bool
    outs: int = 1
    unwatched: bool = True
    changed: dict[str, str] = field(default_factory=dict)

    def tried(self, inputs: Sequence[Any], dtypes: Sequence[torch.dtype]) -> tuple[Any, ...]:
        """What the truth returns. Raises TypeError unless autograd can go through it in float64, from any state."""
        what = "forward" if self.truth is self.forward else "twin"
        try:
            outs = self._outs(self.truth, widened(inputs))
        except Exception as error:
            self._outs(self.truth, rounded(inputs, _dtype(inputs)))  # what raises in any dtype is the caller's to see
            raise TypeError(
                f"{what}: expected to run in float64, where the oracle is computed, it raises {type(error).__name__}: "
                f"{error}: give a twin in torch's own operations"
            ) from error
        for out in outs:
            if not isinstance(out, Tensor):
                raise TypeError(f"{what}: expected to return a tensor or a tuple of tensors, got {type(out).__name__}")
            _refuse(f"{what}'s result", out)
        if not self._same(outs, self._outs(self.truth, widened(inputs), self.seed + 1)):
            self._draws_alike(what, inputs, outs, dtypes)
        return tuple(out.to(_device(inputs)) for out in outs)

    def _draws_alike(self, what: str, inputs: Sequence[Any], outs: Sequence[Tensor], dtypes: Sequence[Any]) -> None:
        """Raises TypeError for random numbers that are others in each dtype: no two rungs would judge the same."""
        for dtype in dtypes:
            for out, exact in zip(self._outs(self.truth, rounded(inputs, dtype)), outs, strict=True):
                if distance(out, exact) > 0.1 * norm(exact):
                    raise TypeError(
                        f"{what}: expected the same random numbers in every dtype, it draws others in {dtype} than in "
                        f"float64: draw them outside, and hand them in as one more input"
                    )

    @staticmethod
    def _same(outs: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
        return all(
            torch.equal(x.nan_to_num(), y.nan_to_num()) if is_floating(x) else torch.equal(x, y)
            for x, y in zip(outs, others, strict=True)
        )

    def _outs(self, function: Callable[..., Any], xs: Sequence[Any], seed: int | None = None) -> tuple[Any, ...]:
        _set_seed(_device(xs), self.seed if seed is None else seed)
        with torch.no_grad():
            return _tuple(function(*xs))

    def by_hand(self, *given: Any) -> dict[str, Tensor]:
        grads_out, xs = given[: self.outs], list(given[self.outs :])
        if self.is_function:
            return self._by_function(grads_out, xs)
        device = _device(xs)
        before = [rounded(given, _dtype(xs))] if self.unwatched else []
        self.unwatched = False
        with torch.no_grad():
            _set_seed(device, self.seed)
            out = self.forward(*xs)
            self._watch(before, given, "forward")
            _set_seed(device, self.seed)
            gradients = self.backward(grads_out if isinstance(out, tuple | list) else grads_out[0], out, *xs)
            self._watch(before, given, "backward")
        values = _named_outs(out) if self.values else {}
        # What is missing, or of no use, is the judge's to say; what is too many has no input to be the gradient of.
        given_back = gradients if isinstance(gradients, tuple | list) else (gradients,)
        values |= {self.names[i]: given_back[i] for i in self.judged if i < len(given_back)}
        if len(given_back) > len(xs):
            values |= {f"gradient {i}, of no input": given_back[i] for i in range(len(xs), len(given_back))}
        return values

    def _by_function(self, grads_out: Sequence[Any], xs: list[Any]) -> dict[str, Tensor]:
        """Through autograd.Function, as torch itself calls it."""
        for i in self.judged:
            xs[i].requires_grad_()
        _set_seed(_device(xs), self.seed)
        with torch.enable_grad():
            out = self.backward.apply(*xs)
        gradients = _gradients(out, grads_out, [xs[i] for i in self.judged])
        values = {name: value.detach() for name, value in _named_outs(out).items()}
        return values | {self.names[i]: gradient for i, gradient in zip(self.judged, gradients, strict=True)}

    def _watch(self, before: Sequence[Sequence[Any]], after: Sequence[Any], by: str) -> None:
        """Remember what is no longer as it was."""
        grads_out = ["grad_out"] if self.outs == 1 else [f"grad_out[{i}]" for i in range(self.outs)]
        for copies in before:
            for name, x, y in zip((*grads_out, *self.names), copies, after, strict=True):
                if isinstance(x, Tensor) and not (x.shape == y.shape and self._same((x,), (y,))):
                    self.changed.setdefault(name, by)

    def by_autograd(self, *given: Any) -> dict[str, Tensor]:
        grads_out, xs = given[: self.outs], list(given[self.outs :])
        for i in self.judged:
            xs[i].requires_grad_()
        _set_seed(_device(xs), self.seed)
        with torch.enable_grad():
            out = self.truth(*xs)
        if not any(value.requires_grad for value in _tensors(_tuple(out))):
            raise TypeError(
                "forward: expected torch operations that autograd can go through, got a result that hangs on "
                "no input: give such a function as twin"
            )
        gradients = _gradients(out, grads_out, [xs[i] for i in self.judged], materialize_grads=True)
        values = {name: value.detach() for name, value in _named_outs(out).items()} if self.values else {}
        return values | {self.names[i]: gradient for i, gradient in zip(self.judged, gradients, strict=True)}

    def evidence(self, deep: bool, *given: Any) -> dict[str, Evidence]:
        """What the diagnosis may go by, from the oracle's inputs: see `Evidence`."""
        grads_out, xs = given[: self.outs], given[self.outs :]
        outs = self._outs(self.truth, rounded(xs, torch.float64))
        exact = self.by_autograd(*rounded(given, torch.float64))
        named = {name: x for name, x in zip(self.names, xs, strict=True) if isinstance(x, Tensor)}
        terms = {name: x for name, x in named.items() if is_floating(x)}
        g, out = grads_out[0], outs[0]
        single = self.outs == 1 and is_floating(g)
        if single:
            terms |= {"grad_out": g, "out": out, "grad_out·out": g * out}
            terms |= {f"grad_out·{name}": g * x for name, x in named.items() if is_floating(x) and x.shape == g.shape}
        sizes = {f"out.shape[{d}]": n for d, n in enumerate(out.shape)} | {"out.numel()": out.numel()}
        for name, x in named.items():
            sizes |= {f"{name}.shape[{d}]": n for d, n in enumerate(x.shape)} | {f"{name}.numel()": x.numel()}
        mistaken = self._mistaken(grads_out, xs) if deep else {}
        operations = list(self._shares(grads_out, rounded(xs, torch.float64))) if deep and _small(xs) else []
        found = {}
        for name, o in exact.items():
            others = {other: value for other, value in exact.items() if other != name and other in self.names}
            of_name = {cause: values[name] for cause, values in mistaken.items() if name in values}
            place = [self.names[i] for i in self.judged].index(name) if name in self.names else None
            of = {} if place is None else {step.name: step.of[place] for step in operations}
            handed_on = {} if place is None else {step.name: step.handed_on[place] for step in operations}
            if single and place is not None and o.shape == g.shape:
                of_name["the derivative is applied twice"] = o * o / g
                handed_on["the forward"] = g
            if single and deep and name in self.names and o.shape != g.shape:
                of_name |= {f"as if it were the sum of {what}": total for what, total in _sums(g, terms, o)}
            found[name] = Evidence(of_name, of, handed_on, others, terms, sizes)
        return found

    def _mistaken(self, grads_out: Sequence[Any], xs: Sequence[Any]) -> dict[str, dict[str, Tensor]]:
        """What autograd has, by name, with a mistaken grad_out."""

        def having(change: Callable[[Tensor], Tensor], of: Sequence[int] = range(self.outs)) -> dict[str, Tensor]:
            changed = [change(g) if i in of and is_floating(g) else g for i, g in enumerate(grads_out)]
            return self.by_autograd(*changed, *rounded(xs, torch.float64))

        mistaken = {"grad_out is ignored, as if it were ones": having(torch.ones_like)}
        if self.outs > 1:
            mistaken |= {f"grad_out[{i}] is left out": having(torch.zeros_like, (i,)) for i in range(self.outs)}
        for i, (name, x) in enumerate(zip(self.names, xs, strict=True)):
            for how, other in _taken_wrongly(x):
                changed = [*xs[:i], other, *xs[i + 1 :]]
                with suppress(Exception):  # the forward may have no value there: then nobody took it so
                    values = self.by_autograd(*grads_out, *rounded(changed, torch.float64))
                    mistaken[f"as if {name} were {how}"] = values
        if all(g.dim() and g.shape[0] > 1 for g in grads_out if is_floating(g)):
            for place, which in ((-1, "last"), (0, "first")):
                mistaken[f"only the {which} sample counts"] = having(partial(_only, sample=place))
                mistaken[f"the {which} sample is left out"] = having(partial(_all_but, sample=place))
        return mistaken

    def _shares(self, grads_out: Sequence[Any], xs: list[Any]) -> Iterator[Share]:
        judged = [xs[i].requires_grad_() for i in self.judged]

        def gradients() -> Sequence[Tensor]:
            _set_seed(_device(xs), self.seed)
            with torch.enable_grad():
                out = self.truth(*xs)
            return _gradients(out, grads_out, judged, materialize_grads=True)

        return shares(gradients)


def compare(
    manual: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, oracle: Mapping[str, Tensor] | None = None
) -> Report:
    """Judge tensors that are there already: name by name, `manual` by `expected`, both of one dtype.

    A tensor agrees when ‖manual − oracle‖ ≤ 16 · max( ‖expected − oracle‖, u·‖oracle‖ ). oracle: the same in float64;
    without it `expected` stands for it, as if it were right to its last digit. Returns a report with a row for each
    name. Raises ValueError where there is nothing to compare, or the oracle's names are others than those of
    expected.
    """
    oracle = expected if oracle is None else oracle
    if not expected or expected.keys() != oracle.keys():
        raise ValueError(f"oracle: expected the names {list(expected)}, at least one, got {list(oracle)}")
    rows: list[Row] = []
    for name, a in expected.items():
        o = oracle[name].detach().cpu().to(torch.float64)
        noise = max(distance(a, o), unit_roundoff(a.dtype) * norm(o))
        m = {name: manual[name].detach()} if name in manual else {}
        rows += rung_rows(a.dtype, m, {name: a}, {name: o}, {name: noise}, a.device, {})
    return Report("", tuple(rows))


SALT = 0x67726164  # "grad"
SMALL = 2**14  # elements up to which every operation of the forward is tried as the place of the mistake


def _takes(what: str, function: Callable[..., Any], names: Sequence[str]) -> None:
    """Raise TypeError for a function that cannot be called with so many arguments."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not tell
        return
    try:
        signature.bind(*names)
    except TypeError:
        at = inspect.unwrap(function)
        code = getattr(at, "__code__", None)
        where = f" ({code.co_filename}, line {code.co_firstlineno})" if code else ""
        raise TypeError(f"{what}: expected to take ({', '.join(names)}), got {what}{signature}{where}") from None


def _refuse(what: str, x: object) -> None:
    """Raises TypeError for what the judge cannot judge: better said than passed over."""
    if isinstance(x, Tensor) and (x.is_complex() or x.is_quantized or x.layout != torch.strided):
        kind = "complex" if x.is_complex() else "quantized" if x.is_quantized else str(x.layout)
        raise TypeError(f"{what}: expected a real, dense tensor, got a {kind} one, which is not judged")
    if isinstance(x, tuple | list) and any(isinstance(part, Tensor) for part in x):
        raise TypeError(f"{what}: expected a tensor, got a {type(x).__name__} of them: hand them in one by one")


@contextmanager
def _isolated(device: torch.device) -> Iterator[None]:
    """No random state, grad mode or autocast comes in from outside, and none goes out."""
    kinds = {"cpu", device.type}
    with ExitStack() as stack:
        if device.type == "cpu":
            stack.enter_context(torch.random.fork_rng(devices=[]))
        else:
            every = list(range(torch.accelerator.device_count()))
            stack.enter_context(torch.random.fork_rng(devices=every, device_type=device.type))
        stack.enter_context(torch.inference_mode(False))
        for kind in kinds:
            stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def _set_seed(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device.type).manual_seed_all(seed)


def _device(inputs: Sequence[Any]) -> torch.device:
    return next(x.device for x in inputs if is_floating(x))


def _dtype(inputs: Sequence[Any]) -> torch.dtype:
    return next(x.dtype for x in inputs if is_floating(x))


def _sums(g: Tensor, terms: Mapping[str, Tensor], o: Tensor) -> Iterator[tuple[str, Tensor]]:
    """grad_out, by itself and times what it can be multiplied by, summed to a gradient of fewer dimensions."""
    for name, term in {"": torch.ones_like(g), **terms}.items():
        with suppress(RuntimeError):  # shapes that do not go together
            total = (g * term).sum_to_size(o.shape)
            yield f"grad_out·{name}".rstrip("·"), total


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


def _small(inputs: Sequence[Any]) -> bool:
    return sum(x.numel() for x in inputs if is_floating(x)) <= SMALL


def _only(g: Tensor, sample: int) -> Tensor:
    """grad_out of one sample alone."""
    alone = torch.zeros_like(g)
    alone[sample] = g[sample]
    return alone


def _all_but(g: Tensor, sample: int) -> Tensor:
    return g - _only(g, sample)


def _gradients(out: Any, grads_out: Sequence[Any], xs: Sequence[Tensor], **options: bool) -> list[Tensor]:
    """Autograd's, of the outs that hang on some x."""
    pairs = [(o, g) for o, g in zip(_tuple(out), grads_out, strict=True) if isinstance(o, Tensor) and o.requires_grad]
    if not pairs:
        return [torch.zeros_like(x) for x in xs]
    outs, grads = zip(*pairs, strict=True)
    gradients = torch.autograd.grad(outs, xs, grads, allow_unused=True, **options)
    return [gradient if gradient is None else gradient.detach() for gradient in gradients]


def _tuple(out: Any) -> tuple[Any, ...]:
    return tuple(out) if isinstance(out, tuple | list) else (out,)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    return [value for value in values if isinstance(value, Tensor)]


def _named_outs(out: Any) -> dict[str, Tensor]:
    """The floating-point outs by name; the others have no error to measure."""
    outs = {f"out[{i}]": value for i, value in enumerate(out)} if isinstance(out, tuple | list) else {"out": out}
    return {name: value for name, value in outs.items() if is_floating(value) or not isinstance(value, Tensor)}


def _drawn_like(outs: Sequence[Tensor], seed: int) -> list[Tensor | None]:
    """Standard normal tensors of the floating outs' shapes: a grad_out of ones hides whole classes of mistakes.

    So does one that equals an input: the salt keeps it off the numbers that the caller drew with the same seed.
    """
    generator = torch.Generator().manual_seed(seed + SALT)
    drawn = [torch.randn(out.shape, generator=generator, dtype=torch.float64) for out in outs]
    return [g.to(out.device, out.dtype) if is_floating(out) else None for g, out in zip(drawn, outs, strict=True)]


def _names(forward: Callable[..., Any], count: int) -> tuple[str, ...]:
    """The names of forward's parameters, and their places where it has none to tell."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(positional[i] if i < len(positional) else f"input {i}" for i in range(count))


def _name(backward: Callable[..., Any]) -> str:
    name: str = getattr(getattr(backward, "func", backward), "__qualname__", "backward")
    return name.rpartition("<locals>.")[2].removesuffix(".backward")
