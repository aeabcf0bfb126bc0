"""A hand-written torch.autograd.Function, and its verdict.

python examples/autograd_function.py
manual-bp verify examples/autograd_function.py
python -m pytest examples/autograd_function.py
"""

import torch
from torch import Tensor
from torch.autograd import Function

from crosscheck import assert_crosscheck, crosscheck


class Swish(Function):
    """out = x σ(βx), with a β of each feature that is learnt.

    ∂out/∂x = σ + βx σ (1 − σ),  ∂out/∂β = x² σ (1 − σ), summed over the samples to which β is broadcast.
    """

    @staticmethod
    def forward(ctx, x: Tensor, beta: Tensor) -> Tensor:
        ctx.save_for_backward(x, beta)
        return x * torch.sigmoid(beta * x)

    @staticmethod
    def backward(ctx, grad_out: Tensor) -> tuple[Tensor, Tensor]:
        x, beta = ctx.saved_tensors
        s = torch.sigmoid(beta * x)
        slope = s * (1 - s)
        return grad_out * (s + beta * x * slope), (grad_out * x * x * slope).sum(0)


# What `manual-bp verify` looks for: the same function in torch's own operations, the Function, and inputs.
def forward(x: Tensor, beta: Tensor) -> Tensor:
    return x * torch.sigmoid(beta * x)


backward = Swish
inputs = torch.randn(7, 5), torch.rand(5)  # shapes that differ, numbers at random: ones and squares hide mistakes


def test_swish() -> None:
    assert_crosscheck(forward, Swish, inputs)


if __name__ == "__main__":
    print(crosscheck(forward, Swish, inputs))
