# pip install --no-deps torchnorm==0.1.2
"""Norms in Triton, in its interpreter on a CPU."""

import triton_cpu  # noqa: F401, I001 (before the kernels)
import torch
from case import FAULT, LIMIT, Case, draw
from torch import Tensor
from torchnorm import _triton


def rms(x: Tensor, w: Tensor) -> Tensor:
    return w * x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6)


def layer(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    c = x - x.mean(-1, keepdim=True)
    return w * c / torch.sqrt((c**2).mean(-1, keepdim=True) + 1e-6) + b


x, r, w, b = draw(5, 8).float(), draw(5, 8, seed=3).float(), draw(8, seed=1).float(), draw(8, seed=2).float()
LAYOUT = "reads a weight that is not contiguous as if it were"
SINGLE = {"dtypes": torch.float32}
CASES = [
    Case("rms_norm", lambda x, w: _triton._RMSNormFunc.apply(x, w, 1e-6), (x, w), rms, "breaks inputs expanded", LIMIT, LAYOUT, SINGLE),
    Case("layer_norm", lambda x, w, b: _triton._LayerNormFunc.apply(x, w, b, 1e-6), (x, w, b), layer, "breaks inputs expanded", LIMIT, LAYOUT, SINGLE),
    Case(
        "fused_add_rms_norm", lambda x, r, w: _triton._FusedAddRMSNormFunc.apply(x, r, w, 1e-6), (x, r, w),
        lambda x, r, w: (rms(x + r, w), x + r), "wrong in out[1], x, r; less accurate in w; breaks inputs expanded", FAULT, "what comes back to the sum, its second out, is dropped: 0 for 1 with loss = residual.sum()", SINGLE,
    ),
]  # fmt: skip
