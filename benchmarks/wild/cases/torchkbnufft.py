# pip install --no-deps torchkbnufft==1.5.2
"""Fourier's transform at any frequencies, of complex images: linear, beside its own matrix."""

import torch
from case import Case, draw, uniform
from torch import Tensor
from torchkbnufft import KbInterp, KbNufft, KbNufftAdjoint

SIZE = (8, 8)
omega = uniform(2, 9, low=-3.1, high=3.1)


def forth(x: Tensor) -> Tensor:
    return KbNufft(SIZE, dtype=x.real.dtype)(x, omega.to(x.real.dtype))


def back(x: Tensor) -> Tensor:
    return KbNufftAdjoint(SIZE, dtype=x.real.dtype)(x, omega.to(x.real.dtype))


def interpolated(x: Tensor) -> Tensor:
    return KbInterp(SIZE, grid_size=SIZE, dtype=x.real.dtype)(x, omega.to(x.real.dtype))


def linear(function, *shape: int):
    size = torch.Size(shape).numel()
    columns = torch.stack([function(unit.view(1, 1, *shape)) for unit in torch.eye(size, dtype=torch.complex128)])
    return lambda x: (x.flatten() @ columns.flatten(1).to(x.dtype)).view(columns.shape[1:])


def complex_draw(*shape: int) -> Tensor:
    return torch.complex(draw(1, 1, *shape), draw(1, 1, *shape, seed=1))


CASES = [
    Case("KbNufft", forth, (complex_draw(*SIZE),), linear(forth, *SIZE), how={"dtypes": torch.float64}),
    Case("KbNufftAdjoint", back, (complex_draw(9),), linear(back, 9), how={"dtypes": torch.float64}),
    Case("KbInterp", interpolated, (complex_draw(*SIZE),), linear(interpolated, *SIZE), how={"dtypes": torch.float64}),
]
