# pip install --no-deps jaxopt==0.8.5
"""Optimization in JAX, differentiated implicitly."""

import jax
import jax.numpy as jnp
import torch
from case import Case, draw
from jaxopt import GradientDescent, projection
from torch import Tensor

jax.config.update("jax_enable_x64", True)


def simplex(x: Tensor) -> Tensor:
    ordered = x.sort(-1, descending=True).values
    k = torch.arange(1, x.shape[-1] + 1)
    sums = ordered.cumsum(-1) - 1
    size = (ordered * k > sums).sum(-1, keepdim=True)
    return (x - sums.gather(-1, size - 1) / size).clamp(min=0)


def ball(x: Tensor) -> Tensor:
    return x / x.norm().clamp(min=1)


@jax.jit
def ridge(x, y):
    def loss(w, x, y):
        return ((x @ w - y) ** 2).mean() / 2 + 0.1 * (w**2).sum() / 2

    return (
        GradientDescent(loss, maxiter=500, tol=1e-12, implicit_diff=True)
        .run(jnp.zeros(x.shape[1], x.dtype), x, y)
        .params
    )


def exact_ridge(x: Tensor, y: Tensor) -> Tensor:
    n = len(x)
    return torch.linalg.solve(x.T @ x / n + 0.1 * torch.eye(x.shape[1]).to(x), x.T @ y / n)


x = jnp.asarray(draw(6).numpy())
HOW = {"dtypes": torch.float64}
CASES = [
    Case("projection_simplex", jax.jit(lambda x: projection.projection_simplex(x)), (x,), simplex, how=HOW),
    Case("projection_l2_ball", jax.jit(lambda x: projection.projection_l2_ball(x, 1.0)), (2 * x,), ball, how=HOW),
    Case(
        "projection_l1_ball",
        jax.jit(lambda x: projection.projection_l1_ball(x, 1.0)),
        (x,),
        lambda x: x.detach().sign() * simplex(abs(x)),
        how=HOW,
    ),
    Case(
        "projection_hyperplane",
        lambda x, a: projection.projection_hyperplane(x, (a, 1.0)),
        (x, x[::-1]),
        lambda x, a: x - (a @ x - 1) / (a @ a) * a,
        how=HOW,
    ),
    Case(
        "GradientDescent, implicit",
        ridge,
        (jnp.asarray(draw(8, 3).numpy()), jnp.asarray(draw(8, seed=1).numpy())),
        exact_ridge,
        how=HOW | {"digits": 6},
    ),
]
