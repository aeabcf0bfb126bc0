"""Triton kernels in CI without a GPU: what Triton's interpreter lacks, and a kernel that needs all of it, with its verdict.

    python examples/triton_interpreter.py                   natively on CUDA, else on the CPU by Triton's interpreter
    python -m pytest examples/triton_interpreter.py

docs/interpreter.md says what is found so, and what is not. Needs the package triton.
"""

import os
from functools import partial
from unittest import mock

import torch
from torch import Tensor

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported

import triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.language.extra.cuda import libdevice as cuda_libdevice
from triton.runtime import interpreter
from triton.runtime.autotuner import Autotuner

from crosscheck import assert_crosscheck, crosscheck

# The functions of libdevice that torch has under the same name, with the same meaning.
AS_IN_TORCH = (
    "acos acosh asin asinh atan atan2 atanh ceil copysign cos cosh erf erfc erfinv exp exp2 expm1 floor fmod hypot lgamma "
    "log log10 log1p log2 nextafter pow rsqrt sin sinh sqrt tan tanh trunc"
).split()


def converted(arg, convert=interpreter._implicit_cvt):
    """A Python float is a float32 scalar in the kernel, as on a GPU."""
    return tl.tensor(interpreter.interpreter_builder.get_fp32(arg), tl.float32) if type(arg) is float else convert(arg)


def extern_elementwise(builder, library, path, symbol, args, result, is_pure):
    """__nv_tanhf is torch.tanh."""
    name = symbol.removeprefix("__nv_").removeprefix("fast_")
    name = name.removesuffix("f") if args[0].dtype == tl.float32 else name
    if name not in AS_IN_TORCH:
        raise NotImplementedError(f"libdevice: expected one of {', '.join(AS_IN_TORCH)}, got {symbol}")
    values = getattr(torch, name)(*(torch.from_numpy(arg.data) for arg in args))
    return interpreter.TensorHandle(values.numpy(), result.scalar)


if not torch.cuda.is_available():
    interpreter._implicit_cvt = converted
    interpreter.InterpreterBuilder.create_extern_elementwise = extern_elementwise
    for name, function in vars(cuda_libdevice).items():
        if tl.core.is_builtin(function):
            setattr(libdevice, name, partial(function, _semantic=interpreter.interpreter_semantic))
            setattr(cuda_libdevice, name, getattr(libdevice, name))
    Autotuner._bench = lambda self, *args, config, **meta: [0.0]  # all are as fast: the first is taken


@triton.autotune([triton.Config({"BLOCK": block}) for block in (32, 1024)], key=["size"])
@triton.jit
def forward_kernel(x_ptr, out_ptr, size, cap, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < size)
    cap = cap.to(x.dtype)
    tl.store(out_ptr + at, cap * libdevice.tanh(x / cap), mask=at < size)


@triton.autotune([triton.Config({"BLOCK": block}) for block in (32, 1024)], key=["size"])
@triton.jit
def backward_kernel(g_ptr, x_ptr, grad_x_ptr, size, cap, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    g, x = tl.load(g_ptr + at, mask=at < size), tl.load(x_ptr + at, mask=at < size)
    t = libdevice.tanh(x / cap.to(x.dtype))
    tl.store(grad_x_ptr + at, g * (1 - t * t), mask=at < size)


CAP = 2.0


def launch(kernel, *tensors: Tensor) -> Tensor:
    tensors = tuple(tensor.contiguous() for tensor in tensors)
    assert all(tensor.is_cuda for tensor in tensors), "softcap: expected tensors on a GPU"
    out = torch.empty_like(tensors[0])
    kernel[lambda meta: (triton.cdiv(out.numel(), meta["BLOCK"]),)](*tensors, out, out.numel(), CAP)
    return out


def forward(x: Tensor) -> Tensor:
    """cap tanh(x / cap)"""
    return launch(forward_kernel, x)


def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> Tensor:
    """g (1 − tanh²(x / cap))"""
    return launch(backward_kernel, grad_out, x)


def twin(x: Tensor) -> Tensor:
    return CAP * torch.tanh(x / CAP)


inputs = (torch.randn(5, 11, device="cuda" if torch.cuda.is_available() else "cpu"),)


@mock.patch.object(torch.Tensor, "is_cuda", True)
def test_softcap() -> None:
    assert_crosscheck(forward, backward, inputs, twin=twin)


if __name__ == "__main__":
    with mock.patch.object(torch.Tensor, "is_cuda", True):
        print(crosscheck(forward, backward, inputs, twin=twin))
