# pip install --no-deps tslearn==0.10.0 numba==0.68.1 llvmlite==0.50.0
"""Soft dynamic time warping: the soft minimum over all alignments."""

import torch
from case import LIMIT, Case, draw
from torch import Tensor
from tslearn.metrics import SoftDTWLossPyTorch


def soft_dtw(x: Tensor, y: Tensor) -> Tensor:
    """r[i, j] = ‖xᵢ − yⱼ‖² + softmin(r[i − 1, j], r[i, j − 1], r[i − 1, j − 1]), γ = 1."""
    d = ((x[:, :, None] - y[:, None]) ** 2).sum(-1)
    inf = torch.full_like(d[:, 0, 0], 1e10)
    row = [torch.zeros_like(inf)] + [inf] * d.shape[2]
    for i in range(d.shape[1]):
        after = [inf]
        for j in range(d.shape[2]):
            around = torch.stack([row[j], row[j + 1], after[j]])
            after.append(d[:, i, j] - torch.logsumexp(-around, 0))
        row = after
    return row[-1]


x, y = draw(2, 4, 3), draw(2, 5, 3, seed=1)


def normalized(x: Tensor, y: Tensor) -> Tensor:
    return soft_dtw(x, y) - (soft_dtw(x, x) + soft_dtw(y, y)) / 2


INSIDE = ("agrees", LIMIT, "float32 inside")
HOW = {"dtypes": (torch.float64, torch.float32)}
CASES = [
    Case("SoftDTWLossPyTorch", lambda x, y: SoftDTWLossPyTorch(gamma=1.0)(x, y), (x, y), soft_dtw, *INSIDE, HOW),
    Case(
        "SoftDTWLossPyTorch, normalized",
        lambda x, y: SoftDTWLossPyTorch(gamma=1.0, normalize=True)(x, y[:, :4]),
        (x, y),
        lambda x, y: normalized(x, y[:, :4]),
        *INSIDE,
        HOW,
    ),
]
