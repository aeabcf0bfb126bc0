# pip install --no-deps trinix==0.1.4
"""Activations and norms in Triton, in its interpreter on a CPU."""

import triton_cpu  # noqa: F401, I001 (before the kernels)
import math

import torch
from case import FAULT, LIMIT, Case, draw
from torch import Tensor
from trinix.kernels import (
    geglu_kernel, layernorm_kernel, mish_kernel, quickgelu_kernel, reglu_kernel, rmsnorm_kernel, squared_relu_kernel,
    swigelu_kernel,
)  # fmt: skip

gelu = lambda a: a / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)))


def gated(activation):
    def twin(x: Tensor) -> Tensor:
        a, b = x.chunk(2, -1)
        return a * activation(b)

    return twin


def rms(x: Tensor, w: Tensor) -> Tensor:
    return w * x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6)


def layer(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    c = x - x.mean(-1, keepdim=True)
    return w * c / torch.sqrt((c**2).mean(-1, keepdim=True) + 1e-6) + b


x, w, b = draw(5, 8).float(), draw(8, seed=1).float(), draw(8, seed=2).float()
large = torch.tensor([[1.2, 0.7, 11.0, -0.3]])
LAYOUT = "reads what is not contiguous as if it were"
SINGLE = {"dtypes": torch.float32}
CASES = [
    Case(
        "mish",
        mish_kernel.TritonMishFunction.apply,
        (x,),
        lambda x: x * torch.tanh(torch.log1p(torch.exp(x))),
        how=SINGLE,
    ),
    Case(
        "quickgelu",
        quickgelu_kernel.TritonQuickGELUFunction.apply,
        (x,),
        lambda x: x * torch.sigmoid(1.702 * x),
        how=SINGLE,
    ),
    Case(
        "squared_relu",
        squared_relu_kernel.TritonSquaredReLUFunction.apply,
        (x,),
        lambda x: x.clamp(min=0) ** 2,
        how=SINGLE,
    ),
    Case(
        "reglu",
        reglu_kernel.TritonReGLUFunction.apply,
        (x,),
        gated(lambda a: a.clamp(min=0)),
        "breaks transposed, grad_out expanded",
        LIMIT,
        LAYOUT,
        SINGLE,
    ),
    Case("swiglu", swigelu_kernel.TritonSwiGLUFunction.apply, (x,), gated(lambda a: a * torch.sigmoid(a)), how=SINGLE),
    Case("geglu", geglu_kernel.TritonGeGLUFunction.apply, (x,), gated(gelu), how=SINGLE),
    Case(
        "geglu, a gate of 11",
        geglu_kernel.TritonGeGLUFunction.apply,
        (large,),
        gated(gelu),
        "nan in out, X",
        FAULT,
        "tanh from exp(2z), which is inf from a gate of 10.2 on: inf / inf",
        SINGLE,
    ),
    Case(
        "rms_norm",
        lambda x, w: rmsnorm_kernel.TritonRMSNormFunction.apply(x, w, 1e-6),
        (x, w),
        rms,
        "breaks inputs expanded",
        LIMIT,
        LAYOUT,
        SINGLE,
    ),
    Case(
        "layer_norm",
        lambda x, w, b: layernorm_kernel.TritonLayerNormFunction.apply(x, w, b, 1e-6),
        (x, w, b),
        layer,
        "breaks transposed, inputs expanded",
        LIMIT,
        LAYOUT,
        SINGLE,
    ),
]
