# pip install --no-deps gpytorch==1.15.2 linear_operator==0.6.1
"""Gaussian processes: kernels with a backward by hand, and the logarithm of the normal distribution's cdf."""

import math

import torch
from case import FAULT, Case, absent, draw, uniform
from torch import Tensor

absent("jaxtyping")
from gpytorch.functions import MaternCovariance, RBFCovariance, log_normal_cdf


def squares(a: Tensor, b: Tensor) -> Tensor:
    return ((a[:, None] - b[None]) ** 2).sum(-1)


def distances(a: Tensor, b: Tensor) -> Tensor:
    return torch.sqrt(squares(a, b))


def matern(nu: float):
    def twin(x: Tensor, y: Tensor, length: Tensor) -> Tensor:
        r = math.sqrt(2 * nu) * distances(x, y) / length
        return {0.5: 1, 1.5: 1 + r, 2.5: 1 + r + r**2 / 3}[nu] * torch.exp(-r)

    return twin


x, y, length = draw(4, 3), draw(5, 3, seed=1), torch.tensor([[0.7]], dtype=torch.float64)
HOW = {"dtypes": (torch.float64, torch.float32), "wrt": ["length"], "names": ["x", "y", "length"]}
CASES = [
    Case("RBFCovariance", lambda x, y, length: RBFCovariance.apply(x, y, length, squares), (x, y, length), lambda x, y, length: torch.exp(-squares(x / length, y / length) / 2), how=HOW),
    *(
        Case(f"MaternCovariance, ν = {nu}", lambda x, y, length, nu=nu: MaternCovariance.apply(x, y, length, nu, distances), (x, y, length), matern(nu), how=HOW)
        for nu in (0.5, 1.5, 2.5)
    ),
    Case("log_normal_cdf", log_normal_cdf, (uniform(9, low=-4, high=3),), torch.special.log_ndtr, "wrong in out, x", FAULT, "right to 4 digits between −5 and −1, to 16 outside: log Φ(−1.5) = −2.70594 (mpmath), it has −2.70623", {"dtypes": torch.float64, "digits": 6}),
]  # fmt: skip
