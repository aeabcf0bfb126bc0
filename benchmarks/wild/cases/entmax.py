# pip install --no-deps entmax==1.3
"""Softmaxes with zeros in them, solved by sorting or by bisection, and their losses."""

import torch
from case import FAULT, Case, draw
from entmax import (
    budget_bisect,
    entmax15,
    entmax15_loss,
    entmax_bisect,
    entmax_bisect_loss,
    normmax_bisect,
    sparsemax,
    sparsemax_bisect,
    sparsemax_bisect_loss,
    sparsemax_loss,
)
from torch import Tensor


def root(f, low: Tensor, high: Tensor) -> Tensor:
    """A zero of a falling function, by bisection."""
    for _ in range(120):
        middle = (low + high) / 2
        up = f(middle) > 0
        low, high = torch.where(up, middle, low), torch.where(up, high, middle)
    return (low + high) / 2


def attached(f, tau: Tensor) -> Tensor:
    """A root as a function of what f has in it: one step of Newton's, which does not move it, has its derivative."""
    tau = tau.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = torch.autograd.grad(f(tau).sum(), tau, create_graph=True)
    return tau.detach() - f(tau.detach()) / slope.detach()


def entmax(x: Tensor, alpha: float | Tensor = 1.5) -> Tensor:
    """p = [(α − 1)x − τ]₊^(1/(α − 1)), with Σp = 1."""
    s = (alpha - 1) * x

    def p(tau: Tensor) -> Tensor:
        over = s - tau
        return torch.where(over > 0, over.clamp(min=1e-300), 0 * over + 1e-300) ** (1 / (alpha - 1)) * (over > 0)

    excess = lambda tau: p(tau).sum(-1, keepdim=True) - 1
    top = s.detach().amax(-1, keepdim=True)
    return p(attached(excess, root(lambda tau: excess(tau).detach(), top - 1, top)))


def normmax(x: Tensor, alpha: float) -> Tensor:
    """p ∝ [x − τ]₊^(1/(α − 1)) where Σ[x − τ]₊^(α/(α − 1)) = 1."""
    over = lambda tau: (x - tau).clamp(min=0)
    excess = lambda tau: (over(tau) ** (alpha / (alpha - 1))).sum(-1, keepdim=True) - 1
    top = x.detach().amax(-1, keepdim=True)
    p = over(attached(excess, root(lambda tau: excess(tau).detach(), top - 1, top))) ** (1 / (alpha - 1))
    return p / p.sum(-1, keepdim=True)


def budget(x: Tensor, amount: float) -> Tensor:
    """p = clip(x − τ, 0, 1) with Σp = amount."""
    excess = lambda tau: (x - tau).clamp(0, 1).sum(-1, keepdim=True) - amount
    low, high = x.detach().amin(-1, keepdim=True) - 1, x.detach().amax(-1, keepdim=True)
    return (x - attached(excess, root(lambda tau: excess(tau).detach(), low, high))).clamp(0, 1)


def loss(alpha: float | Tensor):
    """⟨p − e_y, x⟩ + H(p), H the Tsallis entropy."""

    def of(x: Tensor, y: Tensor, *rest: Tensor) -> Tensor:
        a = rest[0] if rest else alpha
        p = entmax(x, a)
        entropy = (1 - (p.clamp(min=1e-300) ** a * (p > 0)).sum(-1, keepdim=True)) / (a * (a - 1))
        return (entropy + (p * x).sum(-1, keepdim=True) - x.gather(-1, y[:, None])).squeeze(-1)

    return of


x, y = draw(4, 6), torch.tensor([0, 3, 5, 2])
alpha = torch.tensor([[1.2], [1.5], [1.7], [2.5]], dtype=torch.float64)
CASES = [
    Case("sparsemax", sparsemax, (x,), lambda x: entmax(x, 2.0)),
    Case("sparsemax, dim 0", lambda x: sparsemax(x, dim=0), (x,), lambda x: entmax(x.T, 2.0).T),
    Case("entmax15", entmax15, (x,), entmax),
    Case("entmax15, k 3", lambda x: entmax15(x, k=3), (x,), entmax),
    Case("sparsemax_bisect", sparsemax_bisect, (x,), lambda x: entmax(x, 2.0)),
    Case("entmax_bisect", lambda x: entmax_bisect(x, 1.3), (x,), lambda x: entmax(x, 1.3)),
    Case("entmax_bisect, wrt alpha", entmax_bisect, (x, alpha), entmax),
    Case("normmax_bisect", lambda x: normmax_bisect(x, 3), (x,), lambda x: normmax(x, 3)),
    Case("budget_bisect", lambda x: budget_bisect(x, 2), (x,), lambda x: budget(x, 2)),
    Case(
        "budget_bisect, a middle dimension of 1",
        lambda x: budget_bisect(x, 1.5),
        (torch.tensor([[[0.3, 0.9, 0.1]], [[1.2, -0.5, 0.4]]], dtype=torch.float64),),
        lambda x: budget(x, 1.5),
        "wrong in x",
        FAULT,
        "the sum over the free elements broadcasts over the batch",
    ),
    Case("sparsemax_loss", sparsemax_loss, (x, y), loss(2.0)),
    Case("entmax15_loss", entmax15_loss, (x, y), loss(1.5)),
    Case("sparsemax_bisect_loss", sparsemax_bisect_loss, (x, y), loss(2.0)),
    Case("entmax_bisect_loss", lambda x, y: entmax_bisect_loss(x, y, 1.3), (x, y), loss(1.3)),
    Case(
        "entmax_bisect_loss, wrt alpha",
        entmax_bisect_loss,
        (x, y, alpha),
        loss(0.0),
        "wrong shape of out; wrong in X, alpha",
        FAULT,
        "returns [n, n] for [n]",
    ),
]
