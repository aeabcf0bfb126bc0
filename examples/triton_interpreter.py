"""A Triton kernel in CI without a GPU: what Triton's interpreter lacks, a kernel that needs all of it, and its verdict.

    python examples/triton_interpreter.py                   natively on CUDA, else on the CPU by Triton's interpreter
    python -m pytest examples/triton_interpreter.py

Needs the package triton. docs/interpreter.md tells what is found so, and what is not.
"""

import os
from functools import partial
from inspect import getmembers
from unittest import mock

import torch
from torch import Tensor

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # before triton is imported

    from triton.language import core
    from triton.language.extra import cuda, libdevice
    from triton.runtime import autotuner, interpreter

    def converted(arg, convert=interpreter._implicit_cvt):
        if isinstance(arg, float):  # a float32 scalar, as on a GPU
            return core.tensor(interpreter.interpreter_builder.get_fp32(arg), core.float32)
        return convert(arg)

    def extern_elementwise(builder, library, path, symbol, args, result, is_pure):
        name = symbol.removeprefix("__nv_").removeprefix("fast_")  # __nv_tanhf: torch.tanh
        name = name.removesuffix("f") if args[0].dtype == core.float32 else name
        if name in ("remainder", "round") or not hasattr(torch, name):  # these two mean something else in torch
            raise NotImplementedError(f"libdevice: expected a function of torch's, got {symbol}: add it to these lines")
        values = getattr(torch, name)(*(torch.tensor(arg.data) for arg in args))
        return interpreter.TensorHandle(values.numpy(), result.scalar)

    interpreter._implicit_cvt = converted
    interpreter.InterpreterBuilder.create_extern_elementwise = extern_elementwise
    for name, function in getmembers(cuda.libdevice, core.is_builtin):
        for module in (libdevice, cuda.libdevice):
            setattr(module, name, partial(function, _semantic=interpreter.interpreter_semantic))
    autotuner.Autotuner._bench = lambda *args, **options: [0.0]  # all are as fast: the first is taken

import triton
import triton.language as tl
from triton.language.extra import libdevice

from crosscheck import assert_crosscheck, crosscheck

CAP = 2.0


@triton.autotune([triton.Config({"BLOCK": 32}), triton.Config({"BLOCK": 1024})], key=["size"])
@triton.jit
def forward_kernel(x_ptr, out_ptr, size, cap, BLOCK: tl.constexpr):
    """out = cap tanh(x / cap)"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < size)
    cap = cap.to(x.dtype)
    tl.store(out_ptr + at, cap * libdevice.tanh(x / cap), mask=at < size)


@triton.autotune([triton.Config({"BLOCK": 32}), triton.Config({"BLOCK": 1024})], key=["size"])
@triton.jit
def backward_kernel(g_ptr, x_ptr, grad_x_ptr, size, cap, BLOCK: tl.constexpr):
    """grad_x = g (1 − tanh²(x / cap))"""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    g, x = tl.load(g_ptr + at, mask=at < size), tl.load(x_ptr + at, mask=at < size)
    t = libdevice.tanh(x / cap.to(x.dtype))
    tl.store(grad_x_ptr + at, g * (1 - t * t), mask=at < size)


def launch(kernel: triton.runtime.Autotuner, *tensors: Tensor, cap: float) -> Tensor:
    if not all(tensor.is_cuda for tensor in tensors):
        raise ValueError("expected tensors on a GPU")
    tensors = tuple(tensor.contiguous() for tensor in tensors)
    out = torch.empty_like(tensors[0])
    kernel[lambda meta: (triton.cdiv(out.numel(), meta["BLOCK"]),)](*tensors, out, out.numel(), cap)
    return out


def forward(x: Tensor) -> Tensor:
    return launch(forward_kernel, x, cap=CAP)


def backward(grad_out: Tensor, out: Tensor, x: Tensor, cap: float = CAP) -> Tensor:
    return launch(backward_kernel, grad_out, x, cap=cap)


def twin(x: Tensor) -> Tensor:
    return CAP * torch.tanh(x / CAP)


inputs = (torch.randn(5, 11, device="cuda" if torch.cuda.is_available() else "cpu"),)


@mock.patch.object(torch.Tensor, "is_cuda", True)
def test_softcap() -> None:
    assert_crosscheck(forward, backward, inputs, twin=twin)


if __name__ == "__main__":
    with mock.patch.object(torch.Tensor, "is_cuda", True):
        print(crosscheck(forward, backward, inputs, twin=twin))
