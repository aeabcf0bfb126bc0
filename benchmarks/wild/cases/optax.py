# pip install --no-deps optax==0.2.8
"""Losses and optimizers in JAX."""

import jax
import jax.numpy as jnp
import torch
from case import Case, absent, draw

absent("absl")
import optax
from torch import Tensor

jax.config.update("jax_enable_x64", True)


def array(*shape, seed=0):
    return jnp.asarray(draw(*shape, seed=seed).numpy())


def huber(x: Tensor, y: Tensor) -> Tensor:
    e = abs(x - y)
    return torch.where(e <= 1, e**2 / 2, e - 0.5)


HOW = {"dtypes": torch.float64}
x, y = array(4, 5), array(4, 5, seed=1)
CASES = [
    Case("safe_norm", lambda x: optax.safe_norm(x, 1e-6), (array(5),), lambda x: x.norm(), how=HOW),
    Case("huber_loss", optax.huber_loss, (x, y), huber, how=HOW),
    Case("log_cosh", optax.log_cosh, (x, y), lambda x, y: torch.log(torch.cosh(x - y)), how=HOW),
    Case(
        "cosine_similarity",
        optax.cosine_similarity,
        (x, y),
        lambda x, y: (x * y).sum(-1) / x.norm(dim=-1) / y.norm(dim=-1),
        how=HOW,
    ),
    Case(
        "sigmoid_binary_cross_entropy",
        lambda x: optax.sigmoid_binary_cross_entropy(x, 0.3),
        (x,),
        lambda x: torch.log1p(torch.exp(x)) - 0.3 * x,
        how=HOW,
    ),
    Case(
        "safe_softmax_cross_entropy",
        lambda x: optax.safe_softmax_cross_entropy(x, jax.nn.softmax(y)),
        (x,),
        lambda x: -(torch.softmax(torch.from_dlpack(y), -1) * torch.log_softmax(x, -1)).sum(-1),
        how=HOW,
    ),
]
