"""A function of JAX's as one that torch's autograd goes through, by JAX's own derivative or that of a custom_vjp."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import Function

from crosscheck.form.arguments import Arguments, Outs
from crosscheck.form.kinds import JAX, as_real, handed, is_array, is_complex, is_number
from crosscheck.form.trees import leaves, rebuilt
from crosscheck.verdict.precision import is_floating


def through_jax(function: Callable[..., Any], arguments: Arguments) -> Callable[..., Outs]:
    """The function of the leaves. Raises ModuleNotFoundError where JAX, the extra `jax`, is not installed."""
    if not find_spec("jax"):
        raise ModuleNotFoundError("jax is not installed: pip install 'manual-bp[jax]'")
    import jax

    def flat(*xs: Any) -> Outs:
        places = [i for i, x in enumerate(xs) if is_floating(x)]
        with in_precision_of(xs):
            handed_in = [handed(x, JAX, z) for x, z in zip(xs, arguments.are_complex, strict=True)]

            def of(*parts: Any) -> Any:
                values = iter(_having(handed_in, places, parts))
                inputs = [rebuilt(x, values, is_number) for x in arguments.inputs]
                options = {name: rebuilt(x, values, is_number) for name, x in arguments.options.items()}
                return function(*inputs, **options)

            returned, back = jax.vjp(of, *(handed_in[i] for i in places))
        call = _Call(returned, back)
        outs = Outs.of(returned, numbers=True)
        tensors = _ThroughJax.apply(call, outs, *(xs[i] for i in places))  # type: ignore[no-untyped-call]
        return outs.having(tensors)

    return flat


def in_precision_of(xs: Sequence[Any]) -> AbstractContextManager[Any]:
    """JAX has float64 where it is told to: where there is any of it."""
    import jax

    context: AbstractContextManager[Any] = jax.enable_x64(any(_is_wide(x) for x in xs))
    return context


def _is_wide(x: Any) -> bool:
    return str(getattr(x, "dtype", "")).removeprefix("torch.") in ("float64", "complex128")


def _having(values: Sequence[Any], places: Sequence[int], parts: Sequence[Any]) -> list[Any]:
    there = dict(zip(places, parts, strict=True))
    return [there.get(i, value) for i, value in enumerate(values)]


@dataclass(frozen=True)
class _Call:
    """What a call returned, and the way back."""

    returned: Any
    back: Callable[[Any], Sequence[Any]]


class _ThroughJax(Function):
    """The step from JAX's gradients to torch's. Of complex numbers JAX's are the conjugates."""

    @staticmethod
    def forward(ctx: Any, call: _Call, outs: Outs, *xs: Tensor) -> tuple[Any, ...]:
        ctx.call = call
        ctx.set_materialize_grads(False)
        return tuple(out.clone() if isinstance(out, Tensor) else out for out in outs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads_out: Tensor | None) -> tuple[Any, ...]:

        call: _Call = ctx.call
        named = leaves(call.returned, "out", is_number).values()
        with in_precision_of([out for out in named if is_array(out)]):
            grads = [_handed(g, out) for g, out in zip(grads_out, named, strict=True)]
            gradients = call.back(rebuilt(call.returned, iter(grads), is_number))
            return None, None, *(as_real(_conjugate(g)) for g in gradients)


def _handed(g: Tensor | None, out: Any) -> Any:
    import jax

    if not jax.numpy.issubdtype(out.dtype, jax.numpy.inexact):
        return np.zeros(out.shape, jax.dtypes.float0)
    return jax.numpy.zeros_like(out) if g is None else _conjugate(handed(g, JAX, is_complex(out)))


def _conjugate(x: Any) -> Any:
    return x.conj() if is_complex(x) else x
