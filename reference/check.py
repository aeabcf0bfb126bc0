"""Judge a hand-written backward pass by autograd through its forward, or through an independent twin of it."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from reference.ladder import distance, is_floating, judge, norm, rung_rows, unit_roundoff
from reference.report import Report, Row


def crosscheck(
    forward: Callable[..., Any],
    backward: Callable[..., Sequence[Tensor | None]],
    inputs: Sequence[Any],
    *,
    twin: Callable[..., Any] | None = None,
    names: Sequence[str] | None = None,
    dtypes: Sequence[torch.dtype] | None = None,
    seed: int = 0,
) -> Report:
    """Judge `backward(grad_out, out, *inputs)` as the derivative of `forward(*inputs)`, at every rung of the ladder.

    forward(*inputs) -> out, and backward(grad_out, out, *inputs) -> (gradient of each input, or None, ...). Where out
    is a tuple, so is grad_out. inputs: tensors, and anything else, which is handed through untouched. When some of
    them require grad those are judged, else every floating-point one is. twin: an independent forward in torch's own
    operations; with it the values of out are judged too, without it autograd goes through `forward` itself. names: of
    the inputs, those of forward's parameters unless given. dtypes: the rungs. seed: that of grad_out, which is drawn
    at random.

    Returns a report with a row for each judged tensor and rung; what raises inside of the two functions is raised here.
    Raises TypeError where no input can be judged, or a function does not take or return what it should; ValueError
    for names that are too few, or the same.
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
    floating = [i for i, x in enumerate(inputs) if is_floating(x)]
    judged = [i for i in floating if inputs[i].requires_grad] or floating
    if not judged:
        raise TypeError("inputs: expected at least one floating-point tensor, got none")
    _takes("forward", forward, names)
    _takes("backward", backward, ("grad_out", "out", *names))
    truth = twin or forward
    with torch.no_grad():
        outs = _outs(truth(*_detached(inputs)))
    for out in outs:
        if not isinstance(out, Tensor):
            what = "forward" if twin is None else "twin"
            raise TypeError(f"{what}: expected to return a tensor or a tuple of tensors, got {type(out).__name__}")
    grad_outs = _drawn_like(outs, seed)

    def manual(*given: Any) -> dict[str, Tensor]:
        grads_out, xs = given[: len(grad_outs)], given[len(grad_outs) :]
        with torch.no_grad():
            out = forward(*xs)
            gradients = backward(grads_out if isinstance(out, tuple) else grads_out[0], out, *xs)
        values = _named_outs(out) if twin else {}
        # What is missing, or of no use, is the judge's to say; what is too many has no input to be the gradient of.
        given_back = gradients if isinstance(gradients, tuple | list) else (gradients,)
        values |= {names[i]: given_back[i] for i in judged if i < len(given_back)}
        if len(given_back) > len(xs):
            values |= {f"gradient {i}, of no input": given_back[i] for i in range(len(xs), len(given_back))}
        return values

    def autograd(*given: Any) -> dict[str, Tensor]:
        grads_out, xs = given[: len(grad_outs)], list(given[len(grad_outs) :])
        for i in judged:
            xs[i].requires_grad_()
        with torch.enable_grad():
            out = truth(*xs)
            if not any(value.requires_grad for value in _outs(out)):
                raise TypeError(
                    "forward: expected torch operations that autograd can go through, got a result that hangs on "
                    "no input: give such a function as twin"
                )
            gradients = torch.autograd.grad(
                _outs(out), [xs[i] for i in judged], grads_out, allow_unused=True, materialize_grads=True
            )
        values = {name: value.detach() for name, value in _named_outs(out).items()} if twin else {}
        return values | {names[i]: gradient.detach() for i, gradient in zip(judged, gradients, strict=True)}

    return judge(manual, autograd, (*grad_outs, *inputs), title=_name(backward), dtypes=dtypes, seed=seed)


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


def _outs(out: Any) -> tuple[Tensor, ...]:
    return out if isinstance(out, tuple) else (out,)


def _named_outs(out: Any) -> dict[str, Tensor]:
    return {f"out[{i}]": value for i, value in enumerate(out)} if isinstance(out, tuple) else {"out": out}


def _detached(inputs: Sequence[Any]) -> list[Any]:
    return [x.detach().clone() if isinstance(x, Tensor) else x for x in inputs]


def _drawn_like(outs: Sequence[Tensor], seed: int) -> list[Tensor]:
    """Standard normal tensors of those shapes: a grad_out of ones hides whole classes of mistakes.

    So does one that equals an input: the salt keeps it off the numbers that the caller drew with the same seed.
    """
    generator = torch.Generator().manual_seed(seed + SALT)
    return [torch.randn(out.shape, generator=generator, dtype=torch.float64).to(out.device, out.dtype) for out in outs]


def _names(forward: Callable[..., Any], count: int) -> tuple[str, ...]:
    """The names of forward's parameters, and their places where it has none to tell."""
    try:
        parameters = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):
        parameters = {}.values()
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return tuple(positional[i] if i < len(positional) else f"input {i}" for i in range(count))


def _name(backward: Callable[..., Any]) -> str:
    name: str = getattr(backward, "__qualname__", "backward")
    return name.rpartition("<locals>.")[2].removesuffix(".backward")
