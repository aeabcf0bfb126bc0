# pip install --no-deps POT==0.9.7.post1
"""Optimal transport: costs whose gradients are the dual potentials, and the root of a matrix."""

import ot
import torch
from case import Case, draw, uniform
from torch import Tensor


def root(a: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((a + a.mT) / 2)
    return (vectors * values[..., None, :].sqrt()) @ vectors.mT


def transported(x: Tensor, y: Tensor) -> Tensor:
    """Of squared distances on a line: the sorted with the sorted."""
    return ((x.sort(0).values - y.sort(0).values) ** 2).mean()


def cost(x: Tensor, y: Tensor) -> Tensor:
    weights = torch.full((len(x),), 1 / len(x), dtype=x.dtype)
    return ot.emd2(weights, weights, (x[:, None] - y[None]) ** 2)


def sinkhorn(a: Tensor, b: Tensor, m: Tensor) -> Tensor:
    k, u = torch.exp(-m / 0.5), torch.ones_like(a)
    for _ in range(400):
        v = b / (k.T @ u)
        u = a / (k @ v)
    return u[:, None] * k * v[None]


backend = ot.backend.TorchBackend()
square = draw(2, 4, 4)
positive = square @ square.mT + 0.1 * torch.eye(4)
a, b = (torch.softmax(draw(n, seed=n), 0) for n in (4, 5))
HOW = {"dtypes": (torch.float64, torch.float32)}
EXACT = {"dtypes": torch.float64}
CASES = [
    Case("MatrixSqrtFunction", lambda a: backend.MatrixSqrtFunction.apply(a), (positive,), root, how=HOW),
    Case("emd2, wrt the points", cost, (draw(7), draw(7, seed=1)), transported, how=EXACT),
    Case(
        "sinkhorn, 400 steps", lambda m: ot.sinkhorn(a, b, m, 0.5, numItermax=400, stopThr=0), (uniform(4, 5),),
        lambda m: sinkhorn(a, b, m), how=EXACT | {"digits": 9},
    ),
    Case("wasserstein_1d", lambda x, y: ot.wasserstein_1d(x[:, None], y[:, None], p=2)[0], (draw(7), draw(7, seed=1)), transported, how=EXACT),
    Case("dist", ot.dist, (draw(4, 3), draw(5, 3, seed=1)), lambda x, y: ((x[:, None] - y[None]) ** 2).sum(-1), how=EXACT),
]  # fmt: skip
