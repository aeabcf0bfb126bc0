# pip install --no-deps torchsde==0.2.6 trampoline==0.1.2
"""Stochastic differential equations: the adjoint's equation along the same Brownian path."""

import torch
import torchsde
from case import Case, draw
from torch import Tensor

TIMES = torch.linspace(0, 1, 3, dtype=torch.float64)


class Drift(torch.nn.Module):
    """dy = a y dt + b dW, which has no noise that depends on y."""

    noise_type, sde_type = "diagonal", "stratonovich"

    def __init__(self, a: Tensor, b: Tensor) -> None:
        super().__init__()
        self.a, self.b = a, b

    def f(self, t: Tensor, y: Tensor) -> Tensor:
        return self.a * torch.tanh(y)

    def g(self, t: Tensor, y: Tensor) -> Tensor:
        return self.b * torch.ones_like(y)


def brownian(y: Tensor) -> torchsde.BrownianInterval:
    return torchsde.BrownianInterval(0.0, 1.0, size=tuple(y.shape), dtype=y.dtype, entropy=7)


def by_package(y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return torchsde.sdeint_adjoint(
        Drift(a, b), y, TIMES, bm=brownian(y), method="reversible_heun", adjoint_method="adjoint_reversible_heun",
        dt=0.125, adjoint_params=(a, b),
    )  # fmt: skip


def reversible_heun(y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """The same steps, for autograd: z' = 2y − z + μ(z)h + σΔW, y' = y + (μ(z) + μ(z'))h/2 + σΔW."""
    path, z, h, found = brownian(y), y, 0.125, [y]
    drift = lambda z: a * torch.tanh(z)
    for step in range(8):
        noise = b * path(step * h, (step + 1) * h)
        after = 2 * y - z + drift(z) * h + noise
        y, z = y + (drift(z) + drift(after)) * h / 2 + noise, after
        if step in (3, 7):
            found.append(y)
    return torch.stack(found)


y = draw(3, 2)
a, b = 0.5 * draw(2, seed=1), 0.3 * draw(2, seed=2)
HOW = {"dtypes": torch.float64}
CASES = [
    Case("sdeint_adjoint, reversible Heun", by_package, (y, a, b), reversible_heun, how=HOW),
    Case("sdeint_adjoint, wrt y0", lambda y: by_package(y, a, b), (y,), lambda y: reversible_heun(y, a, b), how=HOW),
    Case("sdeint_adjoint, wrt a", lambda a: by_package(y, a, b), (a,), lambda a: reversible_heun(y, a, b), how=HOW),
    Case(
        "sdeint, autograd", lambda y, a, b: torchsde.sdeint(Drift(a, b), y, TIMES, bm=brownian(y), method="reversible_heun", dt=0.125),
        (y, a, b), reversible_heun, how=HOW,
    ),
]  # fmt: skip
