# pip install --no-deps liger-kernel==0.8.5
"""Triton kernels for language models, in Triton's interpreter on a CPU, in float32 (bfloat16 is wrong there)."""

import triton_cpu  # noqa: F401, I001 (before the kernels)
import math

import torch
from case import FAULT, LIMIT, Case, draw
from liger_kernel import ops
from torch import Tensor

TWICE = ("breaks backward twice", LIMIT, "writes its gradients over its inputs, on purpose")
ALIASED = (
    "breaks transposed, backward twice", FAULT,
    "of logits that are not contiguous it returns the logits for their gradient; a second backward is wrong by design",
)  # fmt: skip
SINGLE = {"dtypes": torch.float32}


def rms(x: Tensor, w: Tensor) -> Tensor:
    return w * x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6)


def layer(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    c = x - x.mean(-1, keepdim=True)
    return w * c / torch.sqrt((c**2).mean(-1, keepdim=True) + 1e-6) + b


def group(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    parts = x.unflatten(1, (2, 2))
    c = parts - parts.mean((2, 3), keepdim=True)
    normed = (c / torch.sqrt((c**2).mean((2, 3), keepdim=True) + 1e-6)).flatten(1, 2)
    return w[:, None] * normed + b[:, None]


def rotated(q: Tensor, k: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
    half = lambda x: torch.cat([-x[..., x.shape[-1] // 2 :], x[..., : x.shape[-1] // 2]], -1)
    return q * cos[:, None] + half(q) * sin[:, None], k * cos[:, None] + half(k) * sin[:, None]


def entropy(x: Tensor, y: Tensor, smoothing: float = 0.0, z: float = 0.0, cap: float = 0.0) -> Tensor:
    x = cap * torch.tanh(x / cap) if cap else x
    log_sum = torch.logsumexp(x, -1)
    kept = y != -100
    own = log_sum - x.gather(1, y.clamp(min=0)[:, None])[:, 0]
    even = log_sum - x.mean(-1)
    losses = (1 - smoothing) * own + smoothing * even + z * log_sum**2
    return (losses * kept).sum() / kept.sum()


def cross_entropy(smoothing: float = 0.0, z: float = 0.0, cap: float | None = None):
    def call(x: Tensor, y: Tensor) -> Tensor:
        return ops.LigerCrossEntropyFunction.apply(x.clone(), y, None, -100, z, smoothing, "mean", cap, False)[0]

    return call


def simplex(x: Tensor) -> Tensor:
    ordered = x.sort(-1, descending=True).values
    k = torch.arange(1, x.shape[-1] + 1)
    sums = ordered.cumsum(-1) - 1
    size = (ordered * k > sums).sum(-1, keepdim=True)
    return (x - sums.gather(-1, size - 1) / size).clamp(min=0)


def jensen(x: Tensor, y: Tensor) -> Tensor:
    """Of logarithms x of Q and y of P: (KL(P‖M) + KL(Q‖M))/2."""
    p, q = y.exp(), x.exp()
    log_m = torch.log((p + q) / 2)
    return ((p * (y - log_m)).sum() + (q * (x - log_m)).sum()) / 2 / x.shape[0]


x, w, b = draw(5, 8).float(), draw(8, seed=1).float(), draw(8, seed=2).float()
y = torch.tensor([0, 3, -100, 7, 2])
log_q, log_p = torch.log_softmax(draw(5, 8, seed=3), -1).float(), torch.log_softmax(draw(5, 8, seed=4), -1).float()
q, k = draw(2, 3, 5, 8).float(), draw(2, 1, 5, 8, seed=1).float()
angles = torch.outer(torch.arange(5.0), 0.5 ** torch.arange(4.0)).repeat(1, 2)[None].expand(2, -1, -1)
cos, sin = angles.cos().contiguous(), angles.sin().contiguous()
up = draw(5, 8, seed=5).float()
gelu = lambda a: a / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3)))
CASES = [
    Case("rms_norm", lambda x, w: ops.LigerRMSNormFunction.apply(x, w, 1e-6, 0.0, "llama", False), (x, w), rms, how=SINGLE),
    Case("rms_norm, gemma", lambda x, w: ops.LigerRMSNormFunction.apply(x, w, 1e-6, 1.0, "gemma", False), (x, w), lambda x, w: rms(x, 1 + w), how=SINGLE),
    Case("layer_norm", lambda x, w, b: ops.LigerLayerNormFunction.apply(x, w, b, 1e-6), (x, w, b), layer, how=SINGLE),
    Case("group_norm", lambda x, w, b: ops.LigerGroupNormFunction.apply(x, w, b, 4, 2, 1e-6), (draw(3, 4, 6).float(), w[:4], b[:4]), group, how=SINGLE),
    Case("rope", lambda q, k: ops.LigerRopeFunction.apply(q.clone(), k.clone(), cos, sin), (q, k), lambda q, k: rotated(q, k, cos.to(q.dtype), sin.to(q.dtype)), how=SINGLE | {"may_change": ["grad_out[0]", "grad_out[1]"]}),
    Case("swiglu", lambda a, b: ops.LigerSiLUMulFunction.apply(a, b), (x, up), lambda a, b: a * torch.sigmoid(a) * b, *TWICE, how=SINGLE | {"may_change": ["a", "b"]}),
    Case("geglu", lambda a, b: ops.LigerGELUMulFunction.apply(a, b), (x, up), lambda a, b: gelu(a) * b, *TWICE, how=SINGLE | {"may_change": ["a", "b"]}),
    Case("relu_squared", lambda x: ops.LigerReLUSquaredFunction.apply(x), (x,), lambda x: x.clamp(min=0) ** 2, how=SINGLE),
    Case("softmax", lambda x: ops.LigerSoftmaxFunction.apply(x), (x,), lambda x: torch.softmax(x, -1), how=SINGLE),
    Case("sparsemax", lambda x: ops.LigerSparsemaxFunction.apply(x, -1), (x,), simplex, how=SINGLE),
    Case("cross_entropy, ignore_index", cross_entropy(), (x, y), entropy, *ALIASED, how=SINGLE),
    Case("cross_entropy, label_smoothing 0.1", cross_entropy(0.1), (x, y), lambda x, y: entropy(x, y, 0.1), *ALIASED, how=SINGLE),
    Case("cross_entropy, lse_square_scale 0.01", cross_entropy(0.0, 0.01), (x, y), lambda x, y: entropy(x, y, 0.0, 0.01), *ALIASED, how=SINGLE),
    Case("cross_entropy, softcap 3", cross_entropy(cap=3.0), (x, y), lambda x, y: entropy(x, y, cap=3.0), *ALIASED, how=SINGLE),
    Case("kl_div", lambda x, y: ops.LigerKLDivLossFunction.apply(x, y, "batchmean", False, 1e-10), (log_q, log_p.exp()), lambda x, y: (y * (y.log() - x)).sum() / 5, how=SINGLE | {"wrt": ["x"]}),
    Case("jsd", lambda x, y: ops.LigerJSDFunction.apply(x, y, None, 0.5, -100), (log_q, log_p), jensen, how=SINGLE | {"wrt": ["x"]}),
    Case("tvd", lambda x, y: ops.LigerTVDLossFunction.apply(x, y, None, "batchmean", -100), (log_q.exp(), log_p.exp()), lambda x, y: abs(x - y).sum() / 2 / 5, how=SINGLE | {"wrt": ["x"]}),
]  # fmt: skip
