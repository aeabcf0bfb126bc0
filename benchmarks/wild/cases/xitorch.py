# pip install --no-deps xitorch==0.5.1
"""Roots, equations, eigenvectors and integrals, differentiated implicitly."""

import torch
import xitorch
from case import Case, draw, uniform
from torch import Tensor
from xitorch.integrate import quad, solve_ivp
from xitorch.interpolate import Interp1D
from xitorch.linalg import solve, symeig
from xitorch.optimize import equilibrium, minimize, rootfinder

TIGHT = {"f_tol": 1e-13, "x_tol": 1e-13}


def cubic(y: Tensor, w: Tensor) -> Tensor:
    """The root of x³ + wx = y."""
    d = torch.sqrt((y / 2) ** 2 + (w / 3) ** 3)
    root = lambda v: v.sign() * abs(v) ** (1 / 3)
    return root(y / 2 + d) + root(y / 2 - d)


def eigenvalues(a: Tensor) -> Tensor:
    return symeig(xitorch.LinearOperator.m((a + a.mT) / 2), neig=3)[0]


def projector(a: Tensor) -> Tensor:
    vectors = symeig(xitorch.LinearOperator.m((a + a.mT) / 2), neig=2)[1]
    return vectors @ vectors.mT


def exact_projector(a: Tensor) -> Tensor:
    vectors = torch.linalg.eigh((a + a.mT) / 2)[1][..., :2]
    return vectors @ vectors.mT


y, w = draw(4), uniform(4, low=0.5, high=2)
square = draw(4, 4) + 3 * torch.eye(4)
symmetric = square + square.mT
HOW = {"dtypes": torch.float64, "digits": 9}
CASES = [
    Case("rootfinder", lambda y, w: rootfinder(lambda x, y, w: x**3 + w * x - y, torch.zeros_like(y), (y, w), method="broyden1", **TIGHT), (y, w), cubic, how=HOW),
    Case("equilibrium", lambda y: equilibrium(lambda x, y: torch.tanh(0.5 * x) + y, torch.zeros_like(y), (y,), **TIGHT), (y,), lambda y: fixed(y), how=HOW),
    Case("minimize", lambda y, w: minimize(lambda x, y, w: (w * (x - y) ** 2).sum(), torch.zeros_like(y), (y, w)), (y, w), lambda y, w: y + 0 * w, how=HOW | {"digits": 6, "wrt": ["y"]}),
    Case("solve", lambda a, b: solve(xitorch.LinearOperator.m(a), b), (square, draw(4, 2, seed=1)), torch.linalg.solve, how=HOW),
    Case("symeig, eigenvalues", eigenvalues, (symmetric,), lambda a: torch.linalg.eigvalsh((a + a.mT) / 2)[..., :3], how=HOW),
    Case("symeig, a projector of eigenvectors", projector, (symmetric,), exact_projector, how=HOW),
    Case("quad", lambda a, b, w: quad(lambda x, w: torch.exp(-w * x), a, b, (w,), n=60), (torch.zeros(1).double(), torch.ones(1).double(), w[:1]), lambda a, b, w: (torch.exp(-w * a) - torch.exp(-w * b)) / w, how=HOW),
    Case(
        "solve_ivp", lambda y, w: solve_ivp(lambda t, y, w: -w * y, torch.tensor([0.0, 0.5, 1.0]).double(), y, (w,), method="rk45", rtol=1e-6, atol=1e-7),
        (y, w), lambda y, w: torch.stack([y * torch.exp(-w * t) for t in (0.0, 0.5, 1.0)]), how=HOW | {"digits": 4},
    ),
    Case("Interp1D, linear", lambda y, at: Interp1D(torch.linspace(0, 1, 4, dtype=torch.float64), y, method="linear")(at), (y, uniform(5)), lambda y, at: linear(y, at), how=HOW),
]  # fmt: skip


def fixed(y: Tensor) -> Tensor:
    x = y
    for _ in range(80):
        x = torch.tanh(0.5 * x) + y
    return x


def linear(y: Tensor, at: Tensor) -> Tensor:
    left = (at * 3).floor().detach().clamp(max=2).long()
    return y[left] + (y[left + 1] - y[left]) * (at * 3 - left)
