# pip install --no-deps hypll==0.1.1
"""Hyperbolic geometry: the mean of points of a Poincaré ball, differentiated implicitly."""

import torch
from case import Case, uniform
from hypll.manifolds.poincare_ball.math.stats import frechet_mean
from torch import Tensor


def addition(x: Tensor, y: Tensor, c: Tensor) -> Tensor:
    xy, xx, yy = ((a * b).sum(-1, keepdim=True) for a, b in ((x, y), (x, x), (y, y)))
    return ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c**2 * xx * yy)


def spread(m: Tensor, x: Tensor, c: Tensor) -> Tensor:
    """Σ d(m, xᵢ)², d = 2/√c artanh(√c |−m ⊕ x|)."""
    norm = addition(-m.expand_as(x), x, c).norm(dim=-1)
    return ((2 / c.sqrt() * torch.atanh(c.sqrt() * norm)) ** 2).sum()


def mean(x: Tensor, c: Tensor) -> Tensor:
    """Its minimum: Newton's method, and one more step that is attached."""
    m = x.detach().mean(0)
    for attached in [False] * 12 + [True]:
        points, curvature = (x, c) if attached else (x.detach(), c.detach())
        m = m.detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(spread(m, points, curvature), m, create_graph=True)
            hessian = torch.autograd.functional.hessian(lambda m: spread(m, x.detach(), c.detach()), m)
        m = m.detach() - torch.linalg.solve(hessian.detach(), slope)
    return m


x, c = uniform(5, 3, low=-0.4, high=0.4), torch.tensor(0.8, dtype=torch.float64)
CASES = [
    Case("frechet_mean", lambda x, c: frechet_mean(x, c), (x, c), mean, how={"dtypes": torch.float64, "digits": 6}),
]
