# pip install --no-deps brevitas==0.13.4
"""Quantization: rounding and clamping whose gradients go straight through."""

import torch
from brevitas.ops import autograd_ste_ops as ste
from case import Case, draw, straight_through

x = 3 * draw(5, 7)


def case(name, function, hard, soft=lambda x: x):
    return Case(name, function, (x,), straight_through(hard, soft))


CASES = [
    case("RoundSteFn", ste.RoundSteFn, torch.round),
    case("CeilSteFn", ste.CeilSteFn, torch.ceil),
    case("FloorSteFn", ste.FloorSteFn, torch.floor),
    case("RoundToZeroSteFn", ste.RoundToZeroSteFn, lambda x: x.sign() * x.abs().floor()),
    case("DPURoundSteFn", ste.DPURoundSteFn, lambda x: torch.where((x < 0) & (x - x.floor() == 0.5), x.ceil(), x.round())),
    case("BinarySignSteFn", ste.BinarySignSteFn, lambda x: torch.where(x >= 0, 1.0, -1.0).to(x.dtype)),
    case("TernarySignSteFn", ste.TernarySignSteFn, torch.sign),
    case("ScalarClampSteFn", lambda x: ste.ScalarClampSteFn.apply(x, -1.0, 2.0), lambda x: x.clamp(-1, 2)),
    case("ScalarClampMinSteFn", lambda x: ste.ScalarClampMinSteFn.apply(x, -1.0), lambda x: x.clamp(min=-1)),
    case("TensorClampSteFn", lambda x: ste.TensorClampSteFn.apply(x, -torch.ones_like(x), torch.ones_like(x)), lambda x: x.clamp(-1, 1)),
    Case("AbsBinarySignGradFn", ste.AbsBinarySignGradFn, (x,), torch.abs),
]  # fmt: skip
