# pip install --no-deps deepinv==0.5.0
"""Inverse problems in imaging: splines that are learnt, and the mean over a data set as a denoiser."""

import torch
from case import FAULT, LIMIT, Case, absent, draw, uniform

absent("torchvision", "natsort", "h5py")
from deepinv.models.deal import LinearSplineDerivativeFunc, LinearSplineFunc, QuadraticSplineFunc
from deepinv.models.mmse import MMSEFunction
from torch import Tensor

LOW, HIGH, KNOTS = -2.0, 2.0, 9


def cells(x: Tensor, c: Tensor, last: int) -> tuple[Tensor, Tensor]:
    """The number of the knot to the left, and how far from it in steps."""
    at = (x.clamp(LOW, HIGH - last * 0.5) - LOW) / 0.5
    left = at.floor().detach()
    return left.long() + KNOTS * torch.arange(x.shape[1])[:, None, None, None], (x - LOW) / 0.5 - left


def linear(x: Tensor, c: Tensor) -> Tensor:
    left, share = cells(x, c, 1)
    return c.flatten()[left] * (1 - share) + c.flatten()[left + 1] * share


def slope(x: Tensor, c: Tensor) -> Tensor:
    left, _ = cells(x, c, 1)
    return (c.flatten()[left + 1] - c.flatten()[left]) / 0.5 + 0 * x


def quadratic(x: Tensor, c: Tensor) -> Tensor:
    left, s = cells(x, c, 2)
    c = c.flatten()
    return c[left] * (s - 1) ** 2 / 2 + c[left + 1] * (0.5 + s - s**2) + c[left + 2] * s**2 / 2


def posterior_mean(x: Tensor, sigma: Tensor, data: Tensor) -> Tensor:
    distance = ((x[:, None] - data[None]) ** 2).sum(-1)
    return torch.softmax(-distance / (2 * sigma**2 + 1e-12), 1) @ data


def spline(function):
    def call(x: Tensor, coefficients: Tensor) -> Tensor:
        low, high = (torch.tensor(v, dtype=x.dtype) for v in (LOW, HIGH))
        return function.apply(x, coefficients, low, high, KNOTS, torch.arange(3) * KNOTS)

    return call


x, c = uniform(2, 3, 2, 2, 2, low=-1.9, high=0.9), draw(3 * KNOTS)
data, sigma = draw(6, 5), torch.full((4, 1), 0.9, dtype=torch.float64)
HOW = {"dtypes": (torch.float64, torch.float32)}
SMALL = "its forward adds 1e-12 to 2σ², its backward does not: right to 12 digits"
CASES = [
    Case("LinearSplineFunc", spline(LinearSplineFunc), (x, c), linear, how=HOW),
    Case(
        "LinearSplineDerivativeFunc", spline(LinearSplineDerivativeFunc), (x, c), slope,
        "wrong in coefficients", FAULT, "the coefficients' gradient does not depend on grad_out", HOW,
    ),
    Case("QuadraticSplineFunc", spline(QuadraticSplineFunc), (x, c), quadratic, how=HOW),
    Case(
        "MMSEFunction", lambda x: MMSEFunction.apply(x, sigma.to(x.dtype), data.to(x.dtype), x.device, x.dtype, False),
        (draw(4, 5, seed=2),), lambda x: posterior_mean(x, sigma.to(x.dtype), data.to(x.dtype)),
        "wrong in x", LIMIT, SMALL, HOW,
    ),
    Case(
        "MMSEFunction, wrt sigma",
        lambda x, sigma: MMSEFunction.apply(x, sigma, data.to(x.dtype), x.device, x.dtype, False),
        (draw(4, 5, seed=2), sigma), lambda x, sigma: posterior_mean(x, sigma, data.to(x.dtype)),
        "wrong in x, sigma", LIMIT, SMALL, HOW,
    ),
]  # fmt: skip
