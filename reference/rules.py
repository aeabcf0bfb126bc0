"""The twins of each rule: the same function in torch's own primitives, and a domain to draw each input from.

The shapes are pairwise different, and nothing is drawn at a kink: a transposed square, or a convention, proves nothing.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Domain = Callable[[Generator], Any]


class Twin:
    """A function through which autograd differentiates, the domain of each of its inputs, and its options.

    Where a rule has several twins, each is a case: other shapes, other options, an input that is left out.
    """

    def __init__(self, function: Callable[..., Any], *domains: Domain, **options: Any) -> None:
        self.function, self.domains, self.options = function, domains, options

    def __call__(self, *inputs: Any) -> Any:
        return self.function(*inputs, **self.options)

    def __str__(self) -> str:
        """The options, as they are written in a call."""
        return ", ".join(f"{name}={value}" for name, value in self.options.items())

    def draw(self, seed: int) -> tuple[Any, ...]:
        """Inputs from the domains, in float64 on the CPU."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(domain(generator) for domain in self.domains)

    def dtypes(self, device: torch.device, among: Sequence[torch.dtype]) -> tuple[torch.dtype, ...]:
        """Of these dtypes those in which torch has the function on the device; of half precision it lacks some."""
        return tuple(t for t in among if t not in (torch.bfloat16, torch.float16) or self._runs(t, device))

    def _runs(self, dtype: torch.dtype, device: torch.device) -> bool:
        xs = [x if x is None else x.to(device, dtype if x.is_floating_point() else x.dtype) for x in self.draw(0)]
        try:
            out = self(*(x.requires_grad_() if x is not None and x.is_floating_point() else x for x in xs))
            (out[0] if isinstance(out, tuple) else out).sum().backward()
        except RuntimeError:  # 'not implemented for' that dtype, or 'not supported'
            return False
        return True


def normal(*shape: int) -> Domain:
    """Standard normal."""
    return lambda generator: torch.randn(shape, generator=generator, dtype=torch.float64)


def away_from_zero(*shape: int) -> Domain:
    """Standard normal, moved away from zero by a tenth: no kink lies within rounding."""

    def draw(generator: Generator) -> Tensor:
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        return x + 0.1 * x.sign()

    return draw


def probability(*shape: int) -> Domain:
    """Uniform on [0, 1)."""
    return lambda generator: torch.rand(shape, generator=generator, dtype=torch.float64)


def index(below: int, *shape: int) -> Domain:
    """Whole numbers from 0 to below − 1."""
    return lambda generator: torch.randint(below, shape, generator=generator)


def ties(*shape: int) -> Domain:
    """Small whole numbers in floating point: of a few of them, several are often equal."""
    return lambda generator: torch.randint(-2, 3, shape, generator=generator).double()


def sign(*shape: int) -> Domain:
    """−1 or 1."""
    return lambda generator: 2.0 * torch.randint(2, shape, generator=generator).double() - 1


def mask(*shape: int) -> Domain:
    """True in two of three places."""
    return lambda generator: torch.rand(shape, generator=generator) < 2 / 3


def positive_definite(*shape: int) -> Domain:
    """Symmetric matrices, well conditioned."""

    def draw(generator: Generator) -> Tensor:
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        return x @ x.mT / shape[-1] + torch.eye(shape[-1], dtype=torch.float64)

    return draw


def well_conditioned(*shape: int) -> Domain:
    """Square matrices, not symmetric, far from singular."""

    def draw(generator: Generator) -> Tensor:
        x = torch.randn(shape, generator=generator, dtype=torch.float64)
        return x / math.sqrt(shape[-1]) + 3 * torch.eye(shape[-1], dtype=torch.float64)

    return draw


def absent(generator: Generator) -> None:
    """An optional input that is left out."""


def _of_samples(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss of each sample, summed over its outputs."""
    return lambda n, z, **options: loss(n, z, reduction="none", **options).sum(-1)


def _cross_entropy(n: Tensor, t: Tensor, *, z_loss: float = 0.0, **options: Any) -> Tensor:
    J = F.cross_entropy(n, t, reduction="none", **options)
    return J + z_loss * n.logsumexp(-1) ** 2 * (t != options.get("ignore_index")) if z_loss else J


def _layer_norm(x: Tensor, w: Tensor, b: Tensor, *, eps: float = 1e-5) -> Tensor:
    return F.layer_norm(x, w.shape, w, b, eps)


def _rms_norm(x: Tensor, w: Tensor, *, eps: float = 1e-6) -> Tensor:
    return F.rms_norm(x, w.shape, w, eps)


def _batch_norm(x: Tensor, w: Tensor, b: Tensor, *, eps: float = 1e-5) -> Tensor:
    return F.batch_norm(x, None, None, w, b, training=True, eps=eps)


def _group_norm(x: Tensor, w: Tensor, b: Tensor, *, num_groups: int, eps: float = 1e-5) -> Tensor:
    return F.group_norm(x, num_groups, w, b, eps)


def _attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, **options: Any) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True, **options)


def _rotary(x: Tensor, angle: Tensor, *, interleaved: bool = False) -> Tensor:
    x_1, x_2 = (x[..., ::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)
    cos, sin = angle.cos(), angle.sin()
    pair = (x_1 * cos - x_2 * sin, x_1 * sin + x_2 * cos)
    return torch.stack(pair, -1).flatten(-2) if interleaved else torch.cat(pair, -1)


def _rnn(x: Tensor, h: Tensor, *weights: Tensor) -> Tensor:
    out = []
    for x_t in x:
        h = torch.rnn_tanh_cell(x_t, h, *weights)
        out.append(h)
    return torch.stack(out)


def _lstm_cell(x: Tensor, h: Tensor, c: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
    return torch.lstm_cell(x, (h, c), *weights)


def _gates(count: int) -> tuple[Domain, ...]:
    """The weights of a recurrent cell with so many gates, 3 inputs and 4 states."""
    return normal(count * 4, 3), normal(count * 4, 4), normal(count * 4), normal(count * 4)


_qkv = (normal(2, 3, 5, 4), normal(2, 3, 6, 4), normal(2, 3, 6, 7))

TWINS: dict[str, tuple[Twin, ...]] = {
    "Affine": (
        Twin(F.linear, normal(5, 3), normal(4, 3), normal(4)),
        Twin(F.linear, normal(2, 6, 3), normal(4, 3), absent),
    ),
    "Embedding": (Twin(F.embedding, index(4, 2, 5), normal(4, 3)),),
    "Conv1d": (
        Twin(F.conv1d, normal(2, 3, 7), normal(4, 3, 2), normal(4)),
        Twin(F.conv1d, normal(2, 4, 9), normal(6, 2, 3), absent, stride=2, padding=3, dilation=2, groups=2),
    ),
    "Conv2d": (
        Twin(F.conv2d, normal(2, 3, 7, 6), normal(4, 3, 2, 3), normal(4)),
        Twin(F.conv2d, normal(2, 4, 9, 8), normal(6, 2, 3, 2), normal(6), stride=(3, 2), padding=(1, 2), groups=2),
        Twin(F.conv2d, normal(2, 3, 9, 8), normal(4, 3, 3, 2), absent, dilation=(2, 3)),
    ),
    "ConvTranspose1d": (
        Twin(F.conv_transpose1d, normal(2, 3, 7), normal(3, 4, 2), normal(4)),
        Twin(F.conv_transpose1d, normal(2, 4, 5), normal(4, 3, 2), absent, stride=3, output_padding=2, groups=2),
    ),
    "ConvTranspose2d": (
        Twin(F.conv_transpose2d, normal(2, 3, 5, 4), normal(3, 4, 2, 3), normal(4)),
        Twin(F.conv_transpose2d, normal(2, 4, 5, 3), normal(4, 3, 3, 2), absent, stride=(3, 2), padding=1, groups=2),
    ),
    "Sigmoid": (Twin(torch.sigmoid, normal(5, 3)),),
    "Tanh": (Twin(torch.tanh, normal(5, 3)),),
    "ReLU": (Twin(torch.relu, away_from_zero(5, 3)),),
    "Identity": (Twin(torch.clone, normal(5, 3)),),
    "LeakyReLU": (
        Twin(F.leaky_relu, away_from_zero(5, 3)),
        Twin(F.leaky_relu, away_from_zero(5, 3), negative_slope=0.2),
    ),
    "ELU": (Twin(F.elu, normal(5, 3)), Twin(F.elu, away_from_zero(5, 3), alpha=1.7)),
    # Above its threshold F.softplus is x: from 40 on that is exact in float64.
    "Softplus": (Twin(lambda x: F.softplus(x, threshold=40), normal(5, 3)),),
    "SiLU": (Twin(F.silu, normal(5, 3)),),
    "GELU": (Twin(F.gelu, normal(5, 3)),),
    "TanhGELU": (Twin(lambda x: F.gelu(x, approximate="tanh"), normal(5, 3)),),
    "Softmax": (Twin(lambda x: x.softmax(-1), normal(5, 3)), Twin(torch.softmax, normal(2, 5, 3), dim=1)),
    "LogSoftmax": (Twin(lambda x: x.log_softmax(-1), normal(5, 3)), Twin(torch.log_softmax, normal(2, 5, 3), dim=1)),
    "LogSumExp": (Twin(lambda x: x.logsumexp(-1), normal(5, 3)), Twin(torch.logsumexp, normal(2, 5, 3), dim=1)),
    "GLU": (Twin(F.glu, normal(5, 6)), Twin(F.glu, normal(2, 8, 3), dim=1)),
    "SwiGLU": (Twin(lambda a, b: F.silu(a) * b, normal(5, 3), normal(5, 3)),),
    "SigmoidCrossEntropy": (Twin(_of_samples(F.binary_cross_entropy_with_logits), normal(5, 3), probability(5, 3)),),
    "SoftmaxCrossEntropy": (
        Twin(_cross_entropy, normal(5, 3), index(3, 5)),
        Twin(_cross_entropy, normal(7, 4), index(4, 7), label_smoothing=0.1, ignore_index=2, z_loss=0.01),
    ),
    "SquaredError": (Twin(lambda n, z: 0.5 * _of_samples(F.mse_loss)(n, z), normal(5, 3), normal(5, 3)),),
    "Huber": (
        Twin(_of_samples(F.huber_loss), normal(5, 3), normal(5, 3)),
        Twin(_of_samples(F.huber_loss), normal(5, 3), normal(5, 3), delta=0.3),
    ),
    "KLDivergence": (Twin(_of_samples(F.kl_div), normal(5, 3), probability(5, 3)),),
    "Hinge": (Twin(lambda n, z: torch.relu(1 - z * n).sum(-1), normal(5, 3), sign(5, 3)),),
    "CosineSimilarity": (Twin(lambda a, b: F.cosine_similarity(a, b, dim=-1), normal(5, 3), normal(5, 3)),),
    "Standardize": (
        Twin(lambda x: F.layer_norm(x, x.shape[-1:]), normal(5, 3)),
        Twin(lambda x, dim, eps: F.layer_norm(x, x.shape[-2:], eps=eps), normal(2, 5, 3), dim=(1, 2), eps=0.1),
    ),
    "LayerNorm": (
        Twin(_layer_norm, normal(5, 3), normal(3), normal(3)),
        Twin(_layer_norm, normal(2, 5, 6), normal(6), normal(6), eps=0.1),
    ),
    "RMSNorm": (Twin(_rms_norm, normal(5, 3), normal(3)), Twin(_rms_norm, normal(2, 5, 6), normal(6), eps=0.1)),
    "BatchNorm": (
        Twin(_batch_norm, normal(5, 3), normal(3), normal(3)),
        Twin(_batch_norm, normal(5, 3, 2, 4), normal(3), normal(3), eps=0.1),
    ),
    "GroupNorm": (
        Twin(_group_norm, normal(5, 6, 2, 4), normal(6), normal(6), num_groups=3),
        Twin(_group_norm, normal(5, 6), normal(6), normal(6), num_groups=2, eps=0.1),
    ),
    "L2Normalize": (Twin(lambda x: F.normalize(x, dim=-1), normal(5, 3)),),
    "ScaledDotProductAttention": (
        Twin(_attention, *_qkv, absent),
        Twin(_attention, *_qkv, mask(5, 6), scale=0.3),
        Twin(_attention, *_qkv, normal(3, 1, 6)),
        Twin(_attention, normal(2, 6, 5, 4), *_qkv[1:], absent, is_causal=True),
    ),
    "RotaryEmbedding": (
        Twin(_rotary, normal(2, 3, 5, 8), normal(5, 4)),
        Twin(_rotary, normal(2, 3, 5, 8), normal(5, 4), interleaved=True),
    ),
    "MaxPool2d": (
        Twin(F.max_pool2d, normal(2, 3, 6, 8), kernel_size=2),
        Twin(F.max_pool2d, ties(2, 3, 7, 9), kernel_size=(3, 4), stride=(2, 1), padding=1, dilation=(1, 2)),
    ),
    "AvgPool2d": (
        Twin(F.avg_pool2d, normal(2, 3, 6, 8), kernel_size=2),
        Twin(F.avg_pool2d, normal(2, 3, 7, 9), kernel_size=(3, 4), stride=(2, 1), padding=1),
    ),
    "Dropout": (Twin(lambda x, kept, p: x * kept / (1 - p), normal(5, 3), mask(5, 3), p=0.3),),
    "Add": (Twin(torch.add, normal(5, 1, 3), normal(4, 1)),),
    "Multiply": (Twin(torch.mul, normal(5, 1, 3), normal(4, 1)),),
    "Residual": (Twin(lambda x, w, b: x + F.linear(F.relu(x), w, b), away_from_zero(5, 3), normal(3, 3), normal(3)),),
    "RNNCell": (Twin(torch.rnn_tanh_cell, normal(5, 3), normal(5, 4), *_gates(1)),),
    "RNN": (Twin(_rnn, normal(6, 5, 3), normal(5, 4), *_gates(1)),),
    "GRUCell": (Twin(torch.gru_cell, normal(5, 3), normal(5, 4), *_gates(3)),),
    "LSTMCell": (Twin(_lstm_cell, normal(5, 3), normal(5, 4), normal(5, 4), *_gates(4)),),
    "Solve": (Twin(torch.linalg.solve, well_conditioned(2, 4, 4), normal(2, 4, 3)),),
    "Cholesky": (Twin(torch.linalg.cholesky, positive_definite(2, 4, 4)),),
    "LogDeterminant": (Twin(lambda A: torch.linalg.slogdet(A).logabsdet, well_conditioned(2, 4, 4)),),
}
