# pip install --no-deps linear_operator==0.6.1
"""Matrices that are never formed: solutions and determinants with a backward by hand."""

import torch
from case import Case, absent, draw
from torch import Tensor

absent("jaxtyping")
import linear_operator
from linear_operator import to_linear_operator


def exact(function):
    """Without the approximations that it takes for large matrices."""

    def call(*given: Tensor) -> Tensor:
        with (
            linear_operator.settings.fast_computations(False, False, False),
            linear_operator.settings.max_cholesky_size(800),
        ):
            return function(*given)

    return call


def symmetric(a: Tensor) -> Tensor:
    return (a + a.mT) / 2


square = draw(4, 4)
positive = square @ square.T + torch.eye(4)
b = draw(4, 2, seed=1)
HOW = {"dtypes": torch.float64}
CASES = [
    Case("matmul", lambda a, b: to_linear_operator(a) @ b, (square, b), torch.matmul, how=HOW),
    Case("solve", exact(lambda a, b: to_linear_operator(symmetric(a)).solve(b)), (positive, b), lambda a, b: torch.linalg.solve(symmetric(a), b), how=HOW),
    Case("logdet", exact(lambda a: to_linear_operator(symmetric(a)).logdet()), (positive,), lambda a: torch.logdet(symmetric(a)), how=HOW),
    Case("inv_quad", exact(lambda a, b: to_linear_operator(symmetric(a)).inv_quad(b)), (positive, b), lambda a, b: (b * torch.linalg.solve(symmetric(a), b)).sum(), how=HOW),
    Case("sqrt_inv_matmul", lambda a, b: to_linear_operator(symmetric(a)).sqrt_inv_matmul(b), (positive, b), lambda a, b: root(symmetric(a)) @ b, how=HOW | {"digits": 4}),
    Case("diagonalization", exact(lambda a: function_of(to_linear_operator(symmetric(a)).diagonalization(method="symeig"))), (positive,), lambda a: torch.linalg.matrix_exp(symmetric(a)), how=HOW),
]  # fmt: skip


def root(a: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(a)
    return (vectors * values**-0.5) @ vectors.mT


def function_of(found) -> Tensor:
    values, vectors = found
    vectors = vectors.to_dense() if hasattr(vectors, "to_dense") else vectors
    return (vectors * values.exp()) @ vectors.mT
