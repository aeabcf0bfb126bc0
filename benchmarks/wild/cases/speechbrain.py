# pip install --no-deps speechbrain==1.1.2
"""Speech: a linear layer of quaternions with a backward by hand."""

import torch
from case import FAULT, Case, absent, draw
from torch import Tensor

absent("hyperpyyaml", "torchaudio")
from speechbrain.nnet.quaternion_networks.q_ops import QuaternionLinearCustomBackward


def hamilton(x: Tensor, r: Tensor, i: Tensor, j: Tensor, k: Tensor, bias: Tensor) -> Tensor:
    """W ⊗ x + b, by the multiplication of quaternions."""
    a, b, c, d = x.chunk(4, -1)
    return bias + torch.cat([
        a @ r - b @ i - c @ j - d @ k,
        a @ i + b @ r - c @ k + d @ j,
        a @ j + b @ k + c @ r - d @ i,
        a @ k - b @ j + c @ i + d @ r,
    ], -1)  # fmt: skip


weights = [draw(2, 3, seed=n) for n in range(1, 5)]
CASES = [
    Case(
        "QuaternionLinearCustomBackward",
        QuaternionLinearCustomBackward,
        (draw(5, 8), *weights, draw(12, seed=5)),
        hamilton,
        "breaks frozen inputs",
        FAULT,
        "a bias that does not require grad is not added at all",
        {"dtypes": (torch.float64, torch.float32)},
    ),
]
