# pip install --no-deps torch-dct==0.1.6
"""Cosine transforms by way of Fourier's."""

import math

import torch
import torch_dct
from case import Case, draw
from torch import Tensor


def cosine(x: Tensor, ortho: bool = False) -> Tensor:
    """yₖ = 2 Σₜ xₜ cos(πk(2t + 1)/(2n))."""
    n = x.shape[-1]
    k, t = torch.arange(n, dtype=torch.float64)[:, None], torch.arange(n, dtype=torch.float64)
    c = 2 * torch.cos(math.pi * k * (2 * t + 1) / (2 * n))
    if ortho:
        c = c / torch.sqrt(2 * n * (1 + (k == 0).double()))
    return x @ c.T.to(x.dtype)


def both(x: Tensor) -> Tensor:
    return cosine(cosine(x).mT).mT


def inverse(y: Tensor) -> Tensor:
    return torch.linalg.solve(cosine(torch.eye(y.shape[-1]).to(y)), y, left=False)


x = draw(3, 6)
HOW = {"dtypes": (torch.float64, torch.float32)}
CASES = [
    Case("dct", torch_dct.dct, (x,), cosine, how=HOW),
    Case("dct, ortho", lambda x: torch_dct.dct(x, norm="ortho"), (x,), lambda x: cosine(x, True), how=HOW),
    Case("idct", torch_dct.idct, (x,), inverse, how=HOW),
    Case("dct_2d", torch_dct.dct_2d, (draw(2, 4, 6),), both, how=HOW),
]
