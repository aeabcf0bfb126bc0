# pip install --no-deps torch-betainc==0.2.1
"""The regularized incomplete beta function, and the distributions that have it for their cdf."""

import numpy as np
import torch
from case import FAULT, Case, uniform
from torch import Tensor
from torch_betainc import StudentT, betainc

NODES, WEIGHTS = (torch.from_numpy(found) for found in np.polynomial.legendre.leggauss(120))


def integral(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """∫₀ˣ tᵃ⁻¹(1 − t)ᵇ⁻¹ dt / B(a, b) by Gauss and Legendre, with t = x u⁴, which is smooth at 0."""
    a, b, x = (v[..., None] for v in torch.broadcast_tensors(a, b, x))
    u, w = (NODES + 1).to(x.dtype) / 2, WEIGHTS.to(x.dtype) / 2
    t = x * u**4
    log_beta = torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)
    return (w * torch.exp((a - 1) * torch.log(t) + (b - 1) * torch.log1p(-t) - log_beta) * 4 * x * u**3).sum(-1)


def student(t: Tensor, df: Tensor) -> Tensor:
    half = integral(df / 2, torch.full_like(df, 0.5), df / (df + t**2)) / 2
    return torch.where(t > 0, 1 - half, half)


a, b = uniform(4, low=1.5, high=4), uniform(4, low=1.5, high=4, seed=1)
x = torch.tensor([0.1, 0.3, 0.5, 0.7], dtype=torch.float64)
WHY = "the derivatives of the continued fraction are not summed to its end: −0.2461535 for −0.2460937 by mpmath"
HOW = {"digits": 9, "dtypes": (torch.float64, torch.float32)}
CASES = [
    Case("betainc", betainc, (a, b, x), integral, "wrong in a; less accurate in b", FAULT, WHY, HOW),
    Case(
        "betainc, a = 2, b = 3, x = 0.3",
        betainc,
        [torch.tensor([v], dtype=torch.float64) for v in (2.0, 3.0, 0.3)],
        integral, "wrong in a, b", FAULT, WHY, HOW,
    ),
    Case("betainc, wrt x", betainc, (a, b, x), integral, how=HOW | {"wrt": ["x"]}),
    Case("StudentT.cdf", lambda t, df: StudentT(df).cdf(t), (2 * x + 0.5, a), student, "wrong in df", FAULT, WHY, HOW),
]  # fmt: skip
