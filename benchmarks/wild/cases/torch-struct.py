# pip install --no-deps torch-struct==0.5
"""Structured prediction: chains and trees by dynamic programs, whose gradients are marginals."""

import torch
from case import FAULT, Case, draw
from torch import Tensor
from torch_struct import LinearChain, LogSemiring, MaxSemiring
from torch_struct.semirings.sparse_max import _SimplexProject


def chain(x: Tensor) -> Tensor:
    """log Σ over all paths of exp Σ x[b, n, to, from]."""
    alpha = torch.zeros_like(x[:, 0, 0])
    for n in range(x.shape[1]):
        alpha = torch.logsumexp(x[:, n] + alpha[:, None], -1)
    return torch.logsumexp(alpha, -1)


def best(x: Tensor) -> Tensor:
    alpha = torch.zeros_like(x[:, 0, 0])
    for n in range(x.shape[1]):
        alpha = (x[:, n] + alpha[:, None]).amax(-1)
    return alpha.amax(-1)


def projection(x: Tensor) -> Tensor:
    """argmin over the simplex of ‖w − x‖."""
    ordered = x.sort(-1, descending=True).values
    k = torch.arange(1, x.shape[-1] + 1)
    sums = ordered.cumsum(-1) - 1
    size = (ordered * k > sums).sum(-1, keepdim=True)
    return (x - sums.gather(-1, size - 1) / size).clamp(min=0)


def sparse_maximum(x: Tensor) -> Tensor:
    """max over the simplex of ⟨w, x⟩ − ‖w‖²/2, whose derivative is w (Danskin)."""
    w = projection(x)
    return (w * x).sum(-1) - (w**2).sum(-1) / 2


x = draw(2, 3, 4, 4)
CASES = [
    Case("LinearChain, logsumexp", lambda x: LinearChain(LogSemiring).sum(x), (x,), chain),
    Case("LinearChain, max", lambda x: LinearChain(MaxSemiring).sum(x), (x,), best),
    Case(
        "sparse max, its values",
        lambda x: _SimplexProject.apply(x, -1),
        (draw(4, 6),),
        sparse_maximum,
        "wrong in out",
        FAULT,
        "subtracts ‖w‖ for ‖w‖²/2: the gradient is right, the value is not",
    ),
    Case(
        "sparse max, as the derivative of its own values",
        lambda x: _SimplexProject.apply(x, -1),
        (draw(4, 6),),
        lambda x: (projection(x) * x).sum(-1) - projection(x).norm(dim=-1),
        "wrong in x",
        FAULT,
        "the same",
    ),
]
