# pip install --no-deps kornia==0.9.0
"""Computer vision: the focal loss with a backward of its own, and a null space that is differentiable."""

import torch
from case import Case, absent, draw
from torch import Tensor

absent("kornia_rs")
from kornia.geometry.epipolar.essential import _NullSpaceBasis
from kornia.losses import focal_loss

x, y = draw(3, 4, 5), torch.tensor([[0, 1, 3, 2, 2], [1, 1, 0, 3, 3], [2, 0, 1, 3, 0]])


def focal(x: Tensor, y: Tensor) -> Tensor:
    p = torch.softmax(x, 1).gather(1, y[:, None])[:, 0]
    return -0.25 * (1 - p) ** 2 * torch.log(p)


def projector(x: Tensor) -> Tensor:
    basis = torch.linalg.eigh(x.mT @ x)[1][..., :4]
    return basis @ basis.mT


def by_package(x: Tensor) -> Tensor:
    basis = _NullSpaceBasis.apply(x)[0]
    return basis @ basis.mT


HOW = {"dtypes": (torch.float64, torch.float32)}
CASES = [
    Case(
        "focal_loss, unreduced",
        lambda x, y: focal_loss(x, y, alpha=None, gamma=2.0, reduction="none").sum(1),
        (x, y),
        lambda x, y: 4 * focal(x, y),
        how=HOW,
    ),
    Case(
        "focal_loss, mean",
        lambda x, y: focal_loss(x, y, alpha=None, gamma=2.0, reduction="mean"),
        (x, y),
        lambda x, y: focal(x, y).mean(),
        how=HOW,
    ),
    Case("_NullSpaceBasis, its projector", by_package, (draw(2, 7, 9),), projector, how={"dtypes": torch.float64}),
    Case(
        "_NullSpaceBasis, its projector, 5 rows",
        by_package,
        (draw(2, 5, 9),),
        lambda x: torch.eye(9).to(x) - x.mT @ torch.linalg.solve(x @ x.mT, x),
        how={"dtypes": torch.float64},
    ),
]
