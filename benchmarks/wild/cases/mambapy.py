# pip install --no-deps mambapy==1.2.0
"""The scan of a state space, in parallel: hₜ = aₜ hₜ₋₁ + xₜ."""

import torch
from case import Case, draw, uniform
from mambapy.pscan import pscan
from torch import Tensor


def scan(a: Tensor, x: Tensor) -> Tensor:
    h, found = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        found.append(h := a[:, t] * h + x[:, t])
    return torch.stack(found, 1)


CASES = [
    Case(f"pscan, {length} steps", pscan, (uniform(2, length, 3, 4), draw(2, length, 3, 4, seed=1)), scan)
    for length in (1, 2, 4, 5, 8, 11)
]
