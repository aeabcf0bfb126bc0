# pip install --no-deps pytorch-wavelets==1.3.0 PyWavelets==1.9.0 setuptools==80.10.2
"""Wavelet transforms. Each is linear in the image: its twin is its own matrix, read off column by column."""

import torch
from case import FAULT, Case, draw
from pytorch_wavelets import DTCWTForward, DWT1DForward, DWT1DInverse, DWTForward, DWTInverse
from torch import Tensor


def flat(outs) -> Tensor:
    low, high = outs
    return torch.cat([part.flatten(1) for part in (low, *high)], 1)


def linear(function, *shape: int):
    """function as a product with its matrix: the images of the unit vectors."""
    size = torch.Size(shape).numel()
    matrix = function(torch.eye(size, dtype=torch.float64).view(size, *shape)).flatten(1)
    return lambda x: x.flatten(1) @ matrix.to(x.dtype)


def module(build):
    def call(x: Tensor) -> Tensor:
        return flat(build().to(x.dtype)(x))

    return call


def case(name, function, shape, *rest):
    return Case(name, function, (draw(2, *shape),), linear(function, *shape), *rest, how=HOW)


HOW = {"dtypes": torch.float64}
BORDER = (
    "wrong in x",
    FAULT,
    "the gradient at the border is that of padding with zeros: its Jacobian is not its matrix transposed",
)
CASES = []
for mode in ("zero", "symmetric", "reflect", "periodic", "periodization"):
    says = ("agrees", "", "") if mode in ("zero", "periodization") else BORDER
    CASES.append(
        case(f"DWT1DForward, db2, {mode}", module(lambda mode=mode: DWT1DForward(1, "db2", mode)), (1, 16), *says)
    )
    CASES.append(
        case(f"DWTForward, db2, {mode}", module(lambda mode=mode: DWTForward(1, "db2", mode)), (1, 8, 8), *says)
    )
CASES += [
    case(
        "DWT1DForward, db2, periodization, odd",
        module(lambda: DWT1DForward(1, "db2", "periodization")),
        (1, 15),
        *BORDER,
    ),
    case("DWTForward, haar, symmetric", module(lambda: DWTForward(1, "haar", "symmetric")), (1, 8, 8)),
    case("DTCWTForward", module(lambda: DTCWTForward(J=1)), (1, 8, 8)),
    case("DTCWTForward, 2 levels", module(lambda: DTCWTForward(J=2)), (1, 16, 16)),
]
for mode in ("zero", "symmetric", "periodization"):
    says = BORDER if mode == "symmetric" else ()
    invert = lambda x, mode=mode: DWTInverse("db2", mode).to(x.dtype)((x[:, :1], [x[:, None, 1:]])).flatten(1)
    CASES.append(case(f"DWTInverse, db2, {mode}", invert, (4, 5, 5), *says))
    invert = lambda x, mode=mode: DWT1DInverse("db2", mode).to(x.dtype)((x[:, :1], [x[:, 1:]])).flatten(1)
    CASES.append(case(f"DWT1DInverse, db2, {mode}", invert, (2, 9), *says))
