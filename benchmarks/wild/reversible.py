"""Reversible blocks: y1 = x1 + tanh(x2 Wᵀ), y2 = x2 + tanh(y1 Vᵀ), as packages build them and as a function."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Layer(nn.Module):
    """tanh(x Wᵀ), whatever else it is called with."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone())

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        return torch.tanh(x @ self.weight.T)


def coupled(dim: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    def twin(x: Tensor, w: Tensor, v: Tensor) -> Tensor:
        x1, x2 = x.chunk(2, dim)
        y1 = x1 + torch.tanh(x2 @ w.T)
        return torch.cat([y1, x2 + torch.tanh(y1 @ v.T)], dim)

    return twin


class in_place:  # noqa: N801 (a function of a function)
    """What `build(f, g)` makes as a pair of functions: its backward leaves the parameters' gradients in .grad."""

    def __init__(self, build: Callable[[nn.Module, nn.Module], Callable[[Tensor], Tensor]]) -> None:
        self.build = build

    def forward(self, x: Tensor, w: Tensor, v: Tensor) -> Tensor:
        return self.build(Layer(w), Layer(v))(x.detach().clone().requires_grad_()).detach().clone()

    def backward(self, grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, v: Tensor) -> tuple[Tensor | None, ...]:
        f, g = Layer(w), Layer(v)
        leaf = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            self.build(f, g)(leaf.clone()).backward(grad_out.clone())
        return leaf.grad, f.weight.grad, g.weight.grad
