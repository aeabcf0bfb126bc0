"""Second derivatives: the gradients themselves as the outs of a function of the inputs and of grad_out."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from crosscheck.candidate import Candidate, as_tuple
from crosscheck.form.arguments import Outs
from crosscheck.verdict.precision import is_floating

Flat = Callable[..., Sequence[Any]]


class NotDifferentiableTwice(Exception):  # noqa: N818 (no error: it is said to be so)
    """The candidate's own backward has no derivative; the text says why."""


def of_second_order(of: Candidate) -> Candidate:
    """The candidate of whose outs the gradients are the second derivatives.

    Its function is (*inputs, *grad_outs) -> gradients, for the candidate by its own backward, or by the steps of the
    hand-written one; for the truth by autograd. Along random directions: the grad_out that these come back with.
    """

    def by_hand(*given: Any) -> Sequence[Any]:
        xs, grads_out = given[: len(of.names)], given[len(of.names) :]
        gradients: Sequence[Any] = of.backward(grads_out, of.forward(*xs), *xs)
        return gradients

    own = _gradients(of, of.through, is_candidate=True) if of.through else _own(of, by_hand)
    names = (*of.names, *of.grads_out_names)
    floating = [len(of.names) + i for i in range(of.outs) if i not in of.fixed]
    return Candidate(
        own, None, _gradients(of, of.truth, is_candidate=False), names, [*of.judged, *floating], True, of.seed, own,
        set(of.own), materialize=True,
    )  # fmt: skip


def _gradients(of: Candidate, function: Flat, *, is_candidate: bool) -> Callable[..., Outs]:
    """The gradients that autograd gives through the function, with their graph."""

    def flat(*given: Any) -> Outs:
        with torch.enable_grad():
            xs = [_with_grad(x) if i in of.judged else x for i, x in enumerate(given[: len(of.names)])]
            outs = as_tuple(function(*xs))
            pairs = [
                (out, g.to(out.dtype))
                for out, g in zip(outs, given[len(of.names) :], strict=True)
                if is_floating(out) and out.requires_grad and g is not None
            ]
            outs, grads = zip(*pairs, strict=True)
            found = torch.autograd.grad(
                outs, [xs[i] for i in of.judged], grads, create_graph=True, allow_unused=True, materialize_grads=True
            )
        return _named(of, found, is_candidate)

    return flat


def _own(of: Candidate, by_hand: Flat) -> Callable[..., Outs]:
    """Those by the hand-written backward, whose steps autograd then goes through."""

    def flat(*given: Any) -> Outs:
        found = by_hand(*given)
        return _named(of, [found[i] for i in of.judged], is_candidate=True)

    return flat


def _named(of: Candidate, gradients: Sequence[Any], is_candidate: bool) -> Outs:
    wanted = torch.is_grad_enabled()
    tensors = [g for g in gradients if isinstance(g, Tensor)]
    if wanted and is_candidate and not any(g.requires_grad for g in tensors):
        raise NotDifferentiableTwice("its backward leaves no graph behind")
    if any(g.grad_fn is not None and g.grad_fn.name() == "torch::autograd::Error" for g in tensors):
        raise NotDifferentiableTwice("its backward is marked once_differentiable")
    kept = [g if wanted or not isinstance(g, Tensor) else g.detach() for g in gradients]
    names = [f"gradient of {of.names[i]}" for i in of.judged]
    return Outs(kept, names, [False] * len(names))


def _with_grad(x: Tensor) -> Tensor:
    return x if x.requires_grad else x.detach().requires_grad_()
