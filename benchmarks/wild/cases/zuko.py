# pip install --no-deps zuko==1.6.0
"""Normalizing flows: an inverse by bisection, an integral by Gauss and Legendre, an equation by its adjoint."""

import numpy as np
import torch
from case import Case, draw, uniform
from torch import Tensor
from zuko.utils import bisection, gauss_legendre, odeint

NODES, WEIGHTS = (torch.from_numpy(found) for found in np.polynomial.legendre.leggauss(7))


def inverse(y: Tensor, w: Tensor) -> Tensor:
    """x with w x + x³ = y, by Cardano's formula."""
    d = torch.sqrt((y / 2) ** 2 + (w / 3) ** 3)
    root = lambda v: v.sign() * abs(v) ** (1 / 3)
    return root(y / 2 + d) + root(y / 2 - d)


def by_bisection(y: Tensor, w: Tensor) -> Tensor:
    return bisection(lambda x: w * x + x**3, y, -5.0, 5.0, n=60, phi=(w,))


def quadrature(a: Tensor, b: Tensor, w: Tensor) -> Tensor:
    at = (a + b)[..., None] / 2 + (b - a)[..., None] / 2 * NODES.to(a.dtype)
    return (b - a) / 2 * (torch.sin(w[..., None] * at) * WEIGHTS.to(a.dtype)).sum(-1)


a, b, w = draw(4), draw(4, seed=1), uniform(4, low=0.5, high=2)
EXACT = {"dtypes": torch.float64}
CASES = [
    Case("bisection", by_bisection, (draw(4), w), inverse, how=EXACT),
    Case(
        "gauss_legendre, 7 nodes", lambda a, b, w: gauss_legendre(lambda x: torch.sin(w * x), a, b, 7, (w,)), (a, b, w),
        lambda a, b, w: (torch.cos(w * a) - torch.cos(w * b)) / w, how=EXACT | {"digits": 4},
    ),
    Case(
        "odeint, its adjoint", lambda x, w: odeint(lambda t, x: w * x, x, 0.0, 1.0, phi=(w,), atol=1e-6, rtol=1e-5),
        (draw(4), draw(4, seed=1)), lambda x, w: x * torch.exp(w), how=EXACT | {"digits": 3},
    ),
]  # fmt: skip
