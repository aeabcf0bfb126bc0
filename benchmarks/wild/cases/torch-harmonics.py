# pip install --no-deps torch-harmonics==0.9.3
"""Spherical harmonics: linear transforms, beside their own matrices and beside Legendre's functions."""

import torch
from case import Case, draw
from torch import Tensor
from torch_harmonics import InverseRealSHT, RealSHT, RealVectorSHT

NLAT, NLON = 6, 12


def forth(x: Tensor) -> Tensor:
    return torch.view_as_real(RealSHT(NLAT, NLON, grid="legendre-gauss").to(x.dtype)(x))


def back(x: Tensor) -> Tensor:
    return InverseRealSHT(NLAT, NLON, grid="legendre-gauss").to(x.dtype)(torch.view_as_complex(x))


def vector(x: Tensor) -> Tensor:
    return torch.view_as_real(RealVectorSHT(NLAT, NLON, grid="legendre-gauss").to(x.dtype)(x))


def linear(function, *shape: int):
    size = torch.Size(shape).numel()
    columns = torch.stack([function(unit.view(shape)) for unit in torch.eye(size, dtype=torch.float64)])
    return lambda x: (x.flatten() @ columns.flatten(1).to(x.dtype)).view(columns.shape[1:])


size = tuple(forth(torch.zeros(NLAT, NLON).double()).shape)
HOW = {"dtypes": (torch.float64, torch.float32)}
CASES = [
    Case("RealSHT", forth, (draw(NLAT, NLON),), linear(forth, NLAT, NLON), how=HOW),
    Case("InverseRealSHT", back, (draw(*size),), linear(back, *size), how=HOW),
    Case("RealVectorSHT", vector, (draw(2, NLAT, NLON),), linear(vector, 2, NLAT, NLON), how=HOW),
]
