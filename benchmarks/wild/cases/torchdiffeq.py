# pip install --no-deps torchdiffeq==0.2.5
"""Ordinary differential equations: the adjoint's equation backward in time."""

from itertools import pairwise

import torch
from case import FAULT, Case, draw
from torch import Tensor
from torchdiffeq import odeint, odeint_adjoint

GRID = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
TIGHT = {"rtol": 1e-7, "atol": 1e-8}


class Linear(torch.nn.Module):
    """dy/dt = y Wᵀ."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return y @ self.weight.T


def exact(y: Tensor, t: Tensor, weight: Tensor) -> Tensor:
    return torch.stack([y @ torch.linalg.matrix_exp(weight * (at - t[0])).T for at in t])


def adjoint(y: Tensor, t: Tensor, weight: Tensor) -> Tensor:
    return odeint_adjoint(Linear(weight), y, t, adjoint_params=(weight,), **TIGHT)


def rk4(y: Tensor, t: Tensor) -> Tensor:
    """dy/dt = −y cos t by the 3/8 rule, a step from each time to the next."""
    found = [y]
    f = lambda t, y: -y * torch.cos(t)
    for a, b in pairwise(t):
        h = b - a
        k1 = f(a, y)
        k2 = f(a + h / 3, y + h * k1 / 3)
        k3 = f(a + 2 * h / 3, y + h * (k2 - k1 / 3))
        k4 = f(b, y + h * (k1 - k2 + k3))
        found.append(y := y + h * (k1 + 3 * (k2 + k3) + k4) / 8)
    return torch.stack(found)


y, t, weight = draw(3, 2), torch.tensor([0.0, 0.4, 1.1], dtype=torch.float64), 0.5 * draw(2, 2, seed=1)
HOW = {"digits": 5, "dtypes": torch.float64}
CASES = [
    Case("odeint_adjoint", adjoint, (y, t, weight), exact, how=HOW),
    Case("odeint_adjoint, wrt y0", lambda y: adjoint(y, t, weight), (y,), lambda y: exact(y, t, weight), how=HOW),
    Case("odeint_adjoint, wrt t", lambda t: adjoint(y, t, weight), (t,), lambda t: exact(y, t, weight), how=HOW),
    Case("odeint_adjoint, wrt W", lambda weight: adjoint(y, t, weight), (weight,), lambda w: exact(y, t, w), how=HOW),
    Case("odeint, dopri8, its own steps", lambda y, w: odeint(Linear(w), y, t, method="dopri8", **TIGHT), (y, weight), lambda y, w: exact(y, t, w), how=HOW | {"digits": 4}),
    Case(
        "odeint, rk4 on a grid of its own times", lambda y, t: odeint(lambda t, y: -y * torch.cos(t), y, t, method="rk4"),
        (torch.ones(1, dtype=torch.float64), GRID), rk4,
    ),
    Case(
        "odeint, rk4, step_size 0.25, a time on the grid",
        lambda y, t: odeint(lambda t, y: -y * torch.cos(t), y, t, method="rk4", options={"step_size": 0.25}),
        (torch.ones(1, dtype=torch.float64), GRID[::2].clone()),
        lambda y, t: exact_cosine(y, t), "wrong in t", FAULT, "a time on the grid has the gradient 0", HOW | {"digits": 4},
    ),
]  # fmt: skip


def exact_cosine(y: Tensor, t: Tensor) -> Tensor:
    return y * torch.exp(-(torch.sin(t) - torch.sin(t[0])))[:, None]
