# pip install --no-deps pytopk==0.1.0
"""The k-th largest number, smoothed by noise: its gradient is a mean of indicators."""

import torch
from case import LIMIT, Case, draw
from pytopk.noised_topk import _NoisedTopK
from torch import Tensor


def smooth(x: Tensor, noise: Tensor) -> Tensor:
    return (x[..., None] + 0.7 * noise).sort(1, descending=True).values[:, 1].mean(-1)


CASES = [
    Case(
        "_NoisedTopK, k = 2", lambda x, noise: _NoisedTopK.apply(x, noise, 2, 0.7, -1, -1), (draw(4, 6), draw(4, 6, 5, seed=1)), smooth,
        "wrong in x", LIMIT, "the mean of the indicators is rounded to float32", {"wrt": ["x"], "dtypes": (torch.float64, torch.float32)},
    ),
]  # fmt: skip
