# pip install --no-deps logbesselk==3.4.0
"""The logarithm of the modified Bessel function of the second kind, in JAX."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from case import FAULT, Case
from logbesselk.jax import log_bessel_k
from torch import Tensor

jax.config.update("jax_enable_x64", True)
NODES, WEIGHTS = (torch.from_numpy(found) for found in np.polynomial.legendre.leggauss(200))


def integral(v: Tensor, x: Tensor) -> Tensor:
    """log ∫₀^∞ exp(−x cosh t) cosh(vt) dt, up to t = 6."""
    t, w = 3 * (NODES + 1).to(x.dtype), 3 * WEIGHTS.to(x.dtype)
    return torch.log((w * torch.exp(-x[:, None] * torch.cosh(t)) * torch.cosh(v[:, None] * t)).sum(-1))


BESSEL = jax.jit(jax.vmap(log_bessel_k))
v, x = jnp.array([0.5, 1.2]), jnp.array([0.7, 1.5])
HOW = {"dtypes": torch.float64, "digits": 8}
CASES = [
    Case("log_bessel_k, wrt x", BESSEL, (v, x), integral, how=HOW | {"wrt": ["x"], "names": ["v", "x"]}),
    Case(
        "log_bessel_k, wrt the order",
        BESSEL,
        (v, x),
        integral,
        "wrong in v",
        FAULT,
        "zero",
        HOW | {"wrt": ["v"], "names": ["v", "x"]},
    ),
]
