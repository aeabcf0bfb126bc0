"""Layer normalization as two Triton kernels, the backward by hand, and its verdict. Needs the package triton.

    python examples/triton_layer_norm.py                    natively on CUDA, else on the CPU by Triton's interpreter
    manual-bp verify examples/triton_layer_norm.py          on the CPU: with TRITON_INTERPRET=1 in front of it
    python -m pytest examples/triton_layer_norm.py

The kernels are made for float32 and bfloat16 and compute in float32 inside. They are judged in these two dtypes, by
autograd through torch's layer_norm in float64.
"""

import os

import torch
import torch.nn.functional as F
from torch import Tensor

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # before triton is imported

import triton
import triton.language as tl

from crosscheck import assert_crosscheck, crosscheck

EPS = 1e-5
PROGRAMS = 4  # of the backward; each adds up the gradients of w and b of its own rows
device = "cpu" if os.environ.get("TRITON_INTERPRET") == "1" else "cuda"


@triton.jit
def forward_kernel(x_ptr, w_ptr, b_ptr, out_ptr, K, eps, BLOCK: tl.constexpr):
    """One program a row."""
    row, k = tl.program_id(0), tl.arange(0, BLOCK)
    inside = k < K
    x = tl.load(x_ptr + row * K + k, mask=inside, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + k, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + k, mask=inside, other=0.0).to(tl.float32)
    centered = tl.where(inside, x - tl.sum(x, 0) / K, 0.0)
    rstd = 1 / tl.sqrt(tl.sum(centered * centered, 0) / K + eps)
    tl.store(out_ptr + row * K + k, (w * centered * rstd + b).to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit
def backward_kernel(g_ptr, x_ptr, w_ptr, grad_x_ptr, grad_w_ptr, grad_b_ptr, N, K, eps, BLOCK: tl.constexpr):
    """Of every PROGRAMS-th row: grad_x = (ĝ − mean(ĝ) − x̂ mean(ĝ x̂)) / σ with ĝ = g w; shares of grad_w and grad_b."""
    program, programs, k = tl.program_id(0), tl.num_programs(0), tl.arange(0, BLOCK)
    inside = k < K
    w = tl.load(w_ptr + k, mask=inside, other=0.0).to(tl.float32)
    grad_w = tl.zeros((BLOCK,), tl.float32)
    grad_b = tl.zeros((BLOCK,), tl.float32)
    for row in range(program, N, programs):
        x = tl.load(x_ptr + row * K + k, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(g_ptr + row * K + k, mask=inside, other=0.0).to(tl.float32)
        centered = tl.where(inside, x - tl.sum(x, 0) / K, 0.0)
        rstd = 1 / tl.sqrt(tl.sum(centered * centered, 0) / K + eps)
        x_hat, g_hat = centered * rstd, g * w
        grad_x = (g_hat - tl.sum(g_hat, 0) / K - x_hat * (tl.sum(g_hat * x_hat, 0) / K)) * rstd
        tl.store(grad_x_ptr + row * K + k, grad_x.to(grad_x_ptr.dtype.element_ty), mask=inside)
        grad_w += g * x_hat
        grad_b += g
    tl.store(grad_w_ptr + program * K + k, grad_w, mask=inside)
    tl.store(grad_b_ptr + program * K + k, grad_b, mask=inside)


def _made_for(x: Tensor) -> None:
    if x.dtype not in (torch.float32, torch.bfloat16):
        raise TypeError(f"x: expected float32 or bfloat16, got {x.dtype}")


def forward(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    _made_for(x)
    N, K = x.shape
    x, w, b = x.contiguous(), w.contiguous(), b.contiguous()  # and what is like them: the kernels take rows for rows
    out = torch.empty_like(x)
    forward_kernel[(N,)](x, w, b, out, K, EPS, BLOCK=triton.next_power_of_2(K))
    return out


def backward(grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor, eps: float = EPS) -> tuple[Tensor, ...]:
    _made_for(x)
    N, K = x.shape
    grad_out, x, w = grad_out.contiguous(), x.contiguous(), w.contiguous()
    grad_x = torch.empty_like(x)
    shares_w, shares_b = (torch.empty(PROGRAMS, K, dtype=torch.float32, device=x.device) for _ in "wb")
    backward_kernel[(PROGRAMS,)](
        grad_out, x, w, grad_x, shares_w, shares_b, N, K, eps,
        BLOCK=triton.next_power_of_2(K),
    )  # fmt: skip
    return grad_x, shares_w.sum(0).to(w.dtype), shares_b.sum(0).to(b.dtype)


def twin(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], w, b, EPS)


inputs = tuple(torch.randn(shape, device=device) for shape in ((10, 48), (48,), (48,)))


def test_layer_norm() -> None:
    assert_crosscheck(forward, backward, inputs, twin=twin)


if __name__ == "__main__":
    print(crosscheck(forward, backward, inputs, twin=twin))
