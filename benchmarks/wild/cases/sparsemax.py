# pip install --no-deps sparsemax==0.1.9
"""Sparsemax, along any dimension."""

import torch
from case import FAULT, Case, draw
from sparsemax import Sparsemax
from torch import Tensor


def simplex(x: Tensor) -> Tensor:
    """max(x − τ, 0), with the sum 1: τ from the support, which is constant near x."""
    ordered = x.detach().sort(-1, descending=True).values
    k = torch.arange(1, x.shape[-1] + 1)
    size = (1 + k * ordered > ordered.cumsum(-1)).sum(-1, keepdim=True)
    support = x.detach() >= ordered.gather(-1, size - 1)
    tau = ((x * support).sum(-1, keepdim=True) - 1) / size
    return (x - tau) * support


CASES = [
    Case("rows", lambda x: Sparsemax(-1)(x), (draw(4, 6),), simplex),
    Case(
        "columns",
        lambda x: Sparsemax(0)(x),
        (draw(4, 6),),
        lambda x: simplex(x.T).T,
        "wrong in out, x",
        FAULT,
        "dim=0 of a matrix is taken for the last one",
    ),
    Case("three dimensions, the last", lambda x: Sparsemax(-1)(x), (draw(2, 3, 5),), simplex),
    Case("three dimensions, the middle", lambda x: Sparsemax(1)(x), (draw(2, 3, 5),), lambda x: simplex(x.mT).mT),
]
