# pip install --no-deps qpth==0.0.18
"""Quadratic programs as layers: min ½zᵀQz + pᵀz where Gz ≤ h and Az = b, by the conditions of Karush, Kuhn and Tucker."""

import torch
from case import Case, absent, draw
from torch import Tensor

absent("cvxpy")
from qpth.qp import QPFunction


def active_set(q: Tensor, p: Tensor, g: Tensor, h: Tensor) -> Tensor:
    """The solution, with the constraints that hold it taken as equations, which they stay nearby."""
    with torch.no_grad():
        z = QPFunction(verbose=-1, eps=1e-14, maxIter=40)(q.double(), p.double(), g.double(), h.double(), NONE, NONE)[0]
        active = (g.double() @ z - h.double()) > -1e-6
    n, ga, ha = len(p), g[active], h[active]
    kkt = torch.cat([torch.cat([q, ga.T], 1), torch.cat([ga, torch.zeros(len(ga), len(ga)).to(q)], 1)])
    return torch.linalg.solve(kkt, torch.cat([-p, ha]))[None, :n]


NONE = torch.tensor([], dtype=torch.float64)
square = draw(4, 4)
q = square @ square.T + torch.eye(4)
p, g, h = 4 * draw(4, seed=1), draw(5, 4, seed=2), 0.1 + draw(5, seed=3).abs()
far = 50 + h


def by_package(q: Tensor, p: Tensor, g: Tensor, h: Tensor) -> Tensor:
    return QPFunction(verbose=-1, eps=1e-13, maxIter=40)(q, p, g, h, NONE.to(q.dtype), NONE.to(q.dtype))


HOW = {"dtypes": torch.float64, "digits": 5}
CASES = [
    Case(
        "QPFunction",
        lambda q, p, g, h: by_package((q + q.T) / 2, p, g, h),
        (q, p, g, h),
        lambda q, p, g, h: active_set((q + q.T) / 2, p, g, h),
        how=HOW,
    ),
    Case(
        "QPFunction, no constraint holds",
        lambda q, p, g, h: by_package((q + q.T) / 2, p, g, h),
        (q, p, g, far),
        lambda q, p, g, h: active_set((q + q.T) / 2, p, g, h),
        how=HOW,
    ),
]
