# pip install --no-deps geomloss==0.3.1
"""Distances of measures: kernels, of which one half is detached and the other doubled."""

import torch
from case import Case, draw
from geomloss import SamplesLoss
from torch import Tensor


def kernel_distance(k):
    def of(x: Tensor, y: Tensor) -> Tensor:
        return (k(x, x).mean() + k(y, y).mean()) / 2 - k(x, y).mean()

    return of


def squares(x: Tensor, y: Tensor) -> Tensor:
    return ((x[:, None] - y[None]) ** 2).sum(-1)


def gauss(x: Tensor, y: Tensor) -> Tensor:
    return torch.exp(-squares(x, y) / (2 * 0.5**2))


def laplace(x: Tensor, y: Tensor) -> Tensor:
    return torch.exp(-torch.sqrt(squares(x, y).clamp(min=1e-8)) / 0.5)


def energy(x: Tensor, y: Tensor) -> Tensor:
    return -torch.sqrt(squares(x, y).clamp(min=1e-8))


x, y = draw(5, 2), draw(6, 2, seed=1)
HOW = {"dtypes": (torch.float64, torch.float32)}
loss = lambda name: lambda x, y: SamplesLoss(name, blur=0.5, backend="tensorized")(x, y)
CASES = [
    Case("gaussian", loss("gaussian"), (x, y), kernel_distance(gauss), how=HOW),
    Case("energy", loss("energy"), (x, y), kernel_distance(energy), how={"dtypes": torch.float64, "digits": 6}),
    Case("laplacian", loss("laplacian"), (x, y), kernel_distance(laplace), how={"dtypes": torch.float64, "digits": 3}),
]
