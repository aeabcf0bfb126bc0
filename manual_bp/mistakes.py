"""Mistakes as people make them, each an edit of the hand-written source.

Planted, they show that the judge catches them.
"""

import inspect
import sys
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

from torch import Tensor

from manual_bp import article, in_place, network
from manual_bp.adamw import AdamW
from manual_bp.in_place import Calls, Products
from manual_bp.network import Gradients, Network, Trace
from manual_bp.rules import (
    Affine,
    ReLU,
    ScaledDotProductAttention,
    Sigmoid,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    SquaredError,
    Tanh,
    TanhGELU,
    attention,
)
from manual_bp.transformer import Transformer


class Edit(NamedTuple):
    """In the source of `owner.name`, `wrong` is written where `right` stands."""

    owner: Any
    name: str
    right: str
    wrong: str


MISTAKES: dict[str, tuple[Edit, ...]] = {
    # The article's literal order: the weights into a layer are updated before they carry the deltas back.
    "stale-weights": (
        Edit(network, "one_round", "net.backward(trace, z)", "literal_order(net, trace, z, eta)"),
        Edit(Products, "step", "product(delta, w,", "product(delta, w + minus_rate * delta.T @ self.a[layer - 1],"),
        Edit(article, "two_by_two", "dn_21_in_dn_11_out = w_21_11", "dn_21_in_dn_11_out = w_21_11 - eta * dJ_dw_21_11"),
        Edit(article, "two_by_two", "dn_21_in_dn_12_out = w_21_12", "dn_21_in_dn_12_out = w_21_12 - eta * dJ_dw_21_12"),
        Edit(article, "two_by_two", "dn_22_in_dn_11_out = w_22_11", "dn_22_in_dn_11_out = w_22_11 - eta * dJ_dw_22_11"),
        Edit(article, "two_by_two", "dn_22_in_dn_12_out = w_22_12", "dn_22_in_dn_12_out = w_22_12 - eta * dJ_dw_22_12"),
    ),
    # target − output for output − target
    "sign": (
        Edit(article, "neuron", "delta_in = n_out - y", "delta_in = y - n_out"),
        Edit(article, "two_by_two", "delta_21_in = n_21_out - z_1", "delta_21_in = z_1 - n_21_out"),
        Edit(article, "two_by_two", "delta_22_in = n_22_out - z_2", "delta_22_in = z_2 - n_22_out"),
        Edit(SigmoidCrossEntropy, "backward", "torch.sigmoid(n_in) - z", "z - torch.sigmoid(n_in)"),
        Edit(SoftmaxCrossEntropy, "backward", "return torch.where", "return -torch.where"),
        Edit(SquaredError, "backward", "n_out - z", "z - n_out"),
        Edit(in_place, "output", "subtract(z)", "subtract(z), a.neg_()"),
        Edit(in_place, "output", "minus_one)", "minus_one).neg_()"),
        Edit(in_place, "output", "torch.sub(a, z,", "torch.sub(z, a,"),
    ),
    # δ(out) handed on as if it were δ(in)
    "missing-derivative": (
        Edit(article, "two_by_two", "delta_11_out * dn_11_out_dn_11_in", "delta_11_out"),
        Edit(article, "two_by_two", "delta_12_out * dn_12_out_dn_12_in", "delta_12_out"),
        Edit(Sigmoid, "backward", "grad_out * out * (1 - out)", "grad_out"),
        Edit(Tanh, "backward", "grad_out * (1 - out * out)", "grad_out"),
        Edit(ReLU, "backward", "torch.where(x > 0, grad_out, 0)", "grad_out"),
        Edit(in_place, "derivative", "[f]", "[Identity]"),
        Edit(in_place, "numpy_derivative", "[f]", "[Identity]"),
    ),
    # W for Wᵀ, and a gradient laid out as that of the transposed
    "transposed": (
        Edit(article, "two_by_two", "dn_21_in_dn_12_out = w_21_12", "dn_21_in_dn_12_out = w_22_11"),
        Edit(article, "two_by_two", "dn_22_in_dn_11_out = w_22_11", "dn_22_in_dn_11_out = w_21_12"),
        Edit(Affine, "backward", "grad_out_so.T @ x_si", "(x_si.T @ grad_out_so).reshape(w.shape)"),
    ),
    # the sum over the samples for their mean
    "forgotten-mean": (
        Edit(Network, "backward", "1 / J.numel()", "1"),
        Edit(Calls, "step", "eta / self.samples", "eta"),
        Edit(Products, "step", "eta / self.samples", "eta"),
    ),
    # a bias that never learns
    "forgotten-bias": (
        Edit(article, "neuron", "ones_like(n_in)", "0 * n_in"),
        Edit(article, "two_by_two", "ones_like(n_11_in)", "0 * n_11_in"),
        Edit(article, "two_by_two", "ones_like(n_12_in)", "0 * n_12_in"),
        Edit(article, "two_by_two", "ones_like(n_21_in)", "0 * n_21_in"),
        Edit(article, "two_by_two", "ones_like(n_22_in)", "0 * n_22_in"),
        Edit(Affine, "backward", "grad_out_so.sum(0)", "0 * grad_out_so.sum(0)"),
        Edit(Calls, "_step", "np.subtract(", "[dJ_dv[:, -1].zero_() for dJ_dv in self.dJ_dv]; np.subtract("),
        Edit(Products, "step", "delta.sum(0)", "0 * delta.sum(0)"),
    ),
    # Of a transformer. 3·0.044715 = 0.134145, with a digit lost
    "gelu-constant": (Edit(TanhGELU, "backward", "3 * 0.044715", "0.13145"),),
    # A position that sees the one after it
    "causal-mask": (Edit(attention, "_probabilities", ".tril()", ".tril(1)"),),
    # grad_k without the 1/√d of the scores
    "missing-scale": (Edit(ScaledDotProductAttention, "backward", "grad_s.mT @ q * scale", "grad_s.mT @ q"),),
    # The table of the embedding as if it were not the head, too
    "tied-head": (
        Edit(Transformer, "backward", "grad_table + grads[table] if head == table else grad_table", "grad_table"),
    ),
    # Keys and values that several heads share, with the gradient of the first head alone
    "unsummed-heads": (
        Edit(ScaledDotProductAttention, "backward", "grad_k.unflatten(*shared).sum(-3)", "grad_k[..., ::group, :, :]"),
        Edit(ScaledDotProductAttention, "backward", "grad_v.unflatten(*shared).sum(-3)", "grad_v[..., ::group, :, :]"),
    ),
    # The decay of the weights after the step in place of before it
    "late-decay": (
        Edit(AdamW, "step", "(w * (1 - rate * self.decay)).addcdiv(", "w.addcdiv("),
        Edit(AdamW, "step", "value=-rate_m)", "value=-rate_m) * (1 - rate * self.decay)"),
        Edit(AdamW, "step_", "w.mul_(1 - rate * self.decay).addcdiv_(", "w.addcdiv_("),
        Edit(AdamW, "step_", "(1 - beta_1**self.steps))", "(1 - beta_1**self.steps)).mul_(1 - rate * self.decay)"),
    ),
}


def planted(mistake: str) -> AbstractContextManager[None]:
    """Within it, the hand-written side makes this mistake of `MISTAKES`.

    Raises ValueError for a name that is none of them, and LookupError where the source no longer reads as an edit
    expects.
    """
    if mistake not in MISTAKES:
        raise ValueError(f"mistake: expected one of {', '.join(MISTAKES)}, got {mistake!r}")
    return edited(MISTAKES[mistake])


@contextmanager
def edited(edits: Sequence[Edit]) -> Iterator[None]:
    """Within it, the hand-written side reads as the edits have it. Raises LookupError where one does not fit."""
    functions: defaultdict[tuple[Any, str], list[Edit]] = defaultdict(list)
    for edit in edits:
        functions[edit.owner, edit.name].append(edit)
    with ExitStack() as stack:
        for (owner, name), of_function in functions.items():
            stack.enter_context(patch.object(owner, name, _compiled(owner, name, of_function)))
        yield


def _compiled(owner: Any, name: str, edits: list[Edit]) -> Any:
    """The function compiled anew from its edited source, in the names of its module."""
    function = getattr(owner, name)
    source = textwrap.dedent(inspect.getsource(function))
    for edit in edits:
        if source.count(edit.right) != 1:
            times = source.count(edit.right)
            raise LookupError(
                f"{owner.__name__}.{name}: expected {edit.right!r} once in its source, got it {times} times"
            )
        source = source.replace(edit.right, edit.wrong)
    namespace = vars(sys.modules[function.__module__]) | {"literal_order": literal_order}
    exec(compile(source, f"<{owner.__name__}.{name} with a mistake>", "exec"), namespace)
    return namespace[name]


def literal_order(net: Network, trace: Trace, z: Tensor, eta: float) -> Gradients:
    """The backward phase by weights that are updated, layer by layer, before they carry the deltas back."""
    for layer in reversed(range(1, len(trace.weights))):
        grads = net.backward(trace, z)
        updated = trace.weights[layer] - eta * grads.weight[layer]
        trace = replace(trace, weights=(*trace.weights[:layer], updated, *trace.weights[layer + 1 :]))
    return net.backward(trace, z)
