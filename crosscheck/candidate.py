"""What is judged, as the judge takes it: two functions from (*grad_outs, *inputs) to tensors by name."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from crosscheck.verdict.precision import distance, is_floating, norm, rounded, widened


@dataclass
class Candidate:
    """A backward and the truth that it is judged by: each from (*grad_outs, *inputs) to tensors by name."""

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
    trusted: set[str] | None = None  # names of autograd.Functions in the truth, once it was looked for them

    @property
    def what(self) -> str:
        """What the truth is called."""
        return "forward" if self.truth is self.forward else "twin"

    def tried(self, inputs: Sequence[Any], dtypes: Sequence[torch.dtype]) -> tuple[Any, ...]:
        """What the truth returns. Raises TypeError unless autograd can go through it in float64, from any state."""
        what = self.what
        try:
            outs = self.outs_of(self.truth, widened(inputs))
        except Exception as error:
            # What raises in any dtype is the caller's to see.
            self.outs_of(self.truth, rounded(inputs, dtype_of(inputs)))
            raise TypeError(
                f"{what}: expected to run in float64, where the oracle is computed, it raises {type(error).__name__}: "
                f"{error}: give a twin in torch's own operations"
            ) from error
        self.check(outs)
        if not self.same(outs, self.outs_of(self.truth, widened(inputs), self.seed + 1)):
            self._draws_alike(what, inputs, outs, dtypes)
        return outs

    def check(self, outs: Sequence[Any]) -> None:
        """Raises TypeError for what the truth may not return."""
        for out in outs:
            if not isinstance(out, Tensor):
                kind = type(out).__name__
                raise TypeError(f"{self.what}: expected to return a tensor or a tuple of tensors, got {kind}")
            refuse(f"{self.what}'s result", out)
        if not any(map(is_floating, outs)):
            raise TypeError(f"{self.what}: expected to return a floating-point tensor, got none")

    def _draws_alike(self, what: str, inputs: Sequence[Any], outs: Sequence[Tensor], dtypes: Sequence[Any]) -> None:
        """Raises TypeError for random numbers that are others in each dtype: no two dtypes would judge the same."""
        for dtype in dtypes:
            for out, exact in zip(self.outs_of(self.truth, rounded(inputs, dtype)), outs, strict=True):
                if distance(out, exact.double()) > 0.1 * norm(exact):  # double: a mask has no difference
                    raise TypeError(
                        f"{what}: expected the same random numbers in every dtype, it draws others in {dtype} than in "
                        f"float64: draw them outside, and hand them in as one more input"
                    )

    @staticmethod
    def same(outs: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
        return all(
            torch.equal(x, y) or (is_floating(x) and torch.equal(x.nan_to_num(), y.nan_to_num()))
            for x, y in zip(outs, others, strict=True)
        )

    def outs_of(self, function: Callable[..., Any], xs: Sequence[Any], seed: int | None = None) -> tuple[Any, ...]:
        set_seed(device_of(xs), self.seed if seed is None else seed)
        with torch.no_grad():
            return as_tuple(function(*xs))

    def by_hand(self, *given: Any) -> dict[str, Any]:
        grads_out, xs = given[: self.outs], list(given[self.outs :])
        if self.is_function:
            return self._by_function(grads_out, xs)
        device = device_of(xs)
        before = [rounded(given, dtype_of(xs))] if self.unwatched else []
        with torch.no_grad():
            set_seed(device, self.seed)
            out = self.forward(*xs)
            self._watch(before, given, "forward")
            set_seed(device, self.seed)
            gradients = self.backward(grads_out if isinstance(out, tuple | list) else grads_out[0], out, *xs)
            self._watch(before, given, "backward")
        self.unwatched = False  # not before: where it raises, the next dtype is watched
        values: dict[str, Any] = dict(_named_outs(out)) if self.values else {}
        # What is missing, or of no use, is the judge's to say; what is too many has no input to be the gradient of.
        given_back = gradients if isinstance(gradients, tuple | list) else (gradients,)
        few = f"{len(given_back)} gradient{'s' * (len(given_back) != 1)} for {len(xs)} inputs"
        none = "None: if it is a constant, let only the inputs require grad that have a gradient"
        for i in self.judged:
            gradient = given_back[i] if i < len(given_back) else _Missing(few)
            values[self.names[i]] = _Missing(none) if gradient is None else gradient
        values |= {f"gradient {i}, of no input": given_back[i] for i in range(len(xs), len(given_back))}
        return values

    def _by_function(self, grads_out: Sequence[Any], xs: list[Any]) -> dict[str, Tensor]:
        """Through autograd.Function, as torch itself calls it."""
        for i in self.judged:
            xs[i].requires_grad_()
        set_seed(device_of(xs), self.seed)
        with torch.enable_grad():
            out = self.backward.apply(*xs)
        gradients = gradients_of(out, grads_out, [xs[i] for i in self.judged])
        values = {name: value.detach() for name, value in _named_outs(out).items()}
        return values | {self.names[i]: gradient for i, gradient in zip(self.judged, gradients, strict=True)}

    def _watch(self, before: Sequence[Sequence[Any]], after: Sequence[Any], by: str) -> None:
        """Remember what is no longer as it was."""
        grads_out = ["grad_out"] if self.outs == 1 else [f"grad_out[{i}]" for i in range(self.outs)]
        for copies in before:
            for name, x, y in zip((*grads_out, *self.names), copies, after, strict=True):
                if isinstance(x, Tensor) and not (x.shape == y.shape and self.same((x,), (y,))):
                    self.changed.setdefault(name, by)

    def by_autograd(self, *given: Any) -> dict[str, Tensor]:
        grads_out, xs = given[: self.outs], list(given[self.outs :])
        for i in self.judged:
            xs[i].requires_grad_()
        set_seed(device_of(xs), self.seed)
        try:
            with torch.enable_grad():
                out = self.truth(*xs)
            if not any(value.requires_grad for value in _tensors(as_tuple(out))):
                raise self._opaque("got a result that depends on no input")
            self._see_through(as_tuple(out))
            gradients = gradients_of(out, grads_out, [xs[i] for i in self.judged], materialize_grads=True)
        except RuntimeError as error:
            raise self._opaque(f"it raises in {dtype_of(xs)}: {error}") from error
        values = {name: value.detach() for name, value in _named_outs(out).items()} if self.values else {}
        return values | {self.names[i]: gradient for i, gradient in zip(self.judged, gradients, strict=True)}

    def _opaque(self, why: str) -> TypeError:
        return TypeError(
            f"{self.what}: expected torch operations that autograd can go through, {why}: "
            f"give such a function as twin, or method='taylor'"
        )

    def _see_through(self, outs: Sequence[Any]) -> None:
        """Remember whose backward autograd trusts. Raises TypeError where it is the one that is judged."""
        if self.trusted is None:
            functions = _functions_in(outs)
            if any(function is self.backward for function in functions):
                raise TypeError(
                    f"{self.what}: expected torch's own operations, got {self.backward.__name__} itself, which would "
                    f"be judged by its own backward: give the function that it computes, as forward or as twin"
                )
            self.trusted = {function.__name__ for function in functions}


@dataclass(frozen=True)
class _Missing:
    """Stands for a gradient that backward did not return, and says what it did."""

    returned: str

    def __repr__(self) -> str:
        return self.returned


def _functions_in(outs: Sequence[Any]) -> set[Any]:
    """The autograd.Functions that results were computed by, whose backward somebody wrote."""
    nodes = [out.grad_fn for out in _tensors(outs) if out.grad_fn is not None]
    seen = set(nodes)
    found = set[Any]()
    while nodes:
        node = nodes.pop()
        if isinstance(node, BackwardCFunction):
            found.add(node._forward_cls)
        new = {before for before, _ in node.next_functions if before is not None} - seen
        seen |= new
        nodes += new
    return found


def refuse(what: str, x: object) -> None:
    """Raises TypeError for what the judge cannot judge: better said than passed over."""
    if isinstance(x, Tensor) and (x.is_complex() or x.is_quantized or x.layout != torch.strided):
        kind = "complex" if x.is_complex() else "quantized" if x.is_quantized else str(x.layout)
        raise TypeError(f"{what}: expected a real, dense tensor, got a {kind} one, which is not judged")
    if isinstance(x, tuple | list) and any(isinstance(part, Tensor) for part in x):
        raise TypeError(f"{what}: expected a tensor, got a {type(x).__name__} of them: hand them in one by one")


def set_seed(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device.type).manual_seed_all(seed)


def device_of(inputs: Sequence[Any]) -> torch.device:
    return next(x.device for x in inputs if is_floating(x))


def dtype_of(inputs: Sequence[Any]) -> torch.dtype:
    return next(x.dtype for x in inputs if is_floating(x))


def gradients_of(out: Any, grads_out: Sequence[Any], xs: Sequence[Tensor], **options: bool) -> list[Tensor]:
    """Autograd's, of the outs that depend on some x."""
    pairs = [(o, g) for o, g in zip(as_tuple(out), grads_out, strict=True) if isinstance(o, Tensor) and o.requires_grad]
    if not pairs:
        return [torch.zeros_like(x) for x in xs]
    outs, grads = zip(*pairs, strict=True)
    gradients = torch.autograd.grad(outs, xs, grads, allow_unused=True, **options)
    return [gradient if gradient is None else gradient.detach() for gradient in gradients]


def as_tuple(out: Any) -> tuple[Any, ...]:
    return tuple(out) if isinstance(out, tuple | list) else (out,)


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    return [value for value in values if isinstance(value, Tensor)]


def _named_outs(out: Any) -> dict[str, Tensor]:
    """The floating-point outs by name; the others have no error to measure."""
    outs = {f"out[{i}]": value for i, value in enumerate(out)} if isinstance(out, tuple | list) else {"out": out}
    return {name: value for name, value in outs.items() if is_floating(value) or not isinstance(value, Tensor)}
