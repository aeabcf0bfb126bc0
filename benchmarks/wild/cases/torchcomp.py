# pip install --no-deps torchcomp==0.2.1 torchlpc==0.7.2 numba==0.68.1 llvmlite==0.50.0
"""A compressor's smoothing: fast where the gain falls, slow where it rises."""

import torch
from case import Case, uniform
from torch import Tensor
from torchcomp.core import compressor_core


def smoothed(x: Tensor, zi: Tensor, at: Tensor, rt: Tensor) -> Tensor:
    y, found = zi, []
    for t in range(x.shape[1]):
        rate = torch.where(x[:, t] < y, at, rt)
        found.append(y := (1 - rate) * y + rate * x[:, t])
    return torch.stack(found, 1)


x, zi = uniform(3, 9), uniform(3, seed=1)
at, rt = uniform(3, low=0.1, high=0.9, seed=2), uniform(3, low=0.1, high=0.9, seed=3)
HOW = {"dtypes": (torch.float64, torch.float32)}
CASES = [
    Case(
        "compressor_core",
        lambda *given: compressor_core(*given),
        (x, zi, at, rt),
        smoothed,
        how=HOW | {"names": ["x", "zi", "at", "rt"]},
    ),
    Case(
        "compressor_core, forward mode",
        lambda *given: compressor_core(*given),
        (x, zi, at, rt),
        smoothed,
        how=HOW | {"names": ["x", "zi", "at", "rt"], "method": "forward"},
    ),
]
