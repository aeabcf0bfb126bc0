"""Functions of torch that are many operations in one, written out: a mistake is made at one of these operations.

Each takes what torch's function takes, by the same names where torch hands them on, and returns NotImplemented for what
it does not cover.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def _standardized(x: Tensor, dim: tuple[int, ...], eps: float) -> Tensor:
    centered = x - x.mean(dim, keepdim=True)
    variance = (centered * centered).mean(dim, keepdim=True)
    return centered / torch.sqrt(variance + eps)


def _affine(x_hat: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    out = x_hat if weight is None else x_hat * weight
    return out if bias is None else out + bias


def _last(shape: Any) -> tuple[int, ...]:
    return tuple(range(-len(shape), 0))


def layer_norm(
    x: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    return _affine(_standardized(x, _last(shape), eps), weight, bias)


def rms_norm(x: Tensor, shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    return _affine(x / torch.sqrt((x * x).mean(_last(shape), keepdim=True) + eps), weight, None)


def _of_channels(t: Tensor | None, x: Tensor) -> Tensor | None:
    return None if t is None else t.view(-1, *[1] * (x.dim() - 2))


def batch_norm(
    x: Tensor, running_mean: Any, running_var: Any, weight: Any = None, bias: Any = None, training: bool = False,
    momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if not training:
        return NotImplemented
    x_hat = _standardized(x, (0, *range(2, x.dim())), eps)
    return _affine(x_hat, _of_channels(weight, x), _of_channels(bias, x))


def instance_norm(
    x: Tensor, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Any:  # fmt: skip
    if not use_input_stats:
        return NotImplemented
    return _affine(_standardized(x, tuple(range(2, x.dim())), eps), _of_channels(weight, x), _of_channels(bias, x))


def group_norm(x: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Tensor:
    grouped = x.unflatten(1, (num_groups, -1))
    x_hat = _standardized(grouped, tuple(range(2, grouped.dim())), eps).view(x.shape)
    return _affine(x_hat, _of_channels(weight, x), _of_channels(bias, x))


def normalize(x: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None) -> Any:
    return x / x.norm(p, dim, keepdim=True).clamp(min=eps) if out is None else NotImplemented


def silu(x: Tensor, inplace: bool = False) -> Any:
    return NotImplemented if inplace else x * torch.sigmoid(x)


def gelu(input: Tensor, *, approximate: str = "none") -> Tensor:  # noqa: A002
    x = input
    if approximate == "none":
        return x * (0.5 * (1 + torch.erf(x / math.sqrt(2))))
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def glu(x: Tensor, dim: int = -1) -> Tensor:
    a, b = x.chunk(2, dim)
    return a * torch.sigmoid(b)


def attention(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None, dropout_p: float = 0.0,
    is_causal: bool = False, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    if dropout_p or enable_gqa:
        return NotImplemented
    s = query @ key.mT * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        s = s.masked_fill(~torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).tril(), -math.inf)
    if attn_mask is not None:
        s = s.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else s + attn_mask
        blind = (s == -math.inf).all(-1, keepdim=True)
        if bool(blind.any()):  # of nothing that is seen, torch's mean is 0
            return torch.softmax(s.masked_fill(blind, 0), -1).masked_fill(blind, 0) @ value
    return torch.softmax(s, -1) @ value


def var_mean(
    x: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
) -> Any:
    if isinstance(dim, bool):
        return NotImplemented
    correction = int(unbiased) if correction is None else correction
    return x.var(dim, correction=correction, keepdim=keepdim), x.mean(dim, keepdim=keepdim)


def std_mean(
    x: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: Any = None
) -> Any:
    if isinstance(dim, bool):
        return NotImplemented
    correction = int(unbiased) if correction is None else correction
    return x.std(dim, correction=correction, keepdim=keepdim), x.mean(dim, keepdim=keepdim)


def chunk(x: Tensor, chunks: int, dim: int = 0) -> Any:
    return split(x, -(-x.shape[dim] // chunks), dim)


def split(x: Tensor, split_size: Any, dim: int = 0) -> Any:
    length = x.shape[dim]
    sizes = (
        [min(split_size, length - start) for start in range(0, length, max(split_size, 1))]
        if isinstance(split_size, int) else list(split_size)
    )  # fmt: skip
    starts = [sum(sizes[:i]) for i in range(len(sizes))]
    return tuple(x.narrow(dim, start, size) for start, size in zip(starts, sizes, strict=True))


def unbind(x: Tensor, dim: int = 0) -> Any:
    return tuple(x.select(dim, i) for i in range(x.shape[dim]))


def pixel_shuffle(x: Tensor, upscale_factor: int) -> Any:
    if x.dim() < 3:
        return NotImplemented
    r = upscale_factor
    parts = x.unflatten(-3, (-1, r, r))
    d = x.dim() - 3
    return parts.permute(*range(d), d, d + 3, d + 1, d + 4, d + 2).flatten(-2).flatten(-3, -2)


def _reduced(J: Tensor, reduction: str) -> Any:
    reductions: dict[str, Callable[[], Any]] = {"mean": J.mean, "sum": J.sum, "none": lambda: J}
    return reductions[reduction]() if reduction in reductions else NotImplemented


def cross_entropy(
    n_in: Tensor, target: Tensor, weight: Any = None, size_average: Any = None, ignore_index: int = -100,
    reduce: Any = None, reduction: str = "mean", label_smoothing: float = 0.0,
) -> Any:  # fmt: skip
    simple = weight is None and size_average is None and reduce is None and not label_smoothing
    if not simple or target.is_floating_point() or n_in.dim() != 2 or bool((target == ignore_index).any()):
        return NotImplemented
    return _reduced(-torch.log_softmax(n_in, -1).gather(-1, target.long().unsqueeze(-1)).squeeze(-1), reduction)


def mse_loss(
    n_out: Tensor, z: Tensor, size_average: Any = None, reduce: Any = None, reduction: str = "mean", weight: Any = None
) -> Any:
    if size_average is not None or reduce is not None or weight is not None:
        return NotImplemented
    return _reduced((n_out - z) ** 2, reduction)


def binary_cross_entropy_with_logits(
    n_in: Tensor, z: Tensor, weight: Any = None, size_average: Any = None, reduce: Any = None, reduction: str = "mean",
    pos_weight: Any = None,
) -> Any:  # fmt: skip
    if any(option is not None for option in (weight, size_average, reduce, pos_weight)):
        return NotImplemented
    return _reduced(F.softplus(n_in) - z * n_in, reduction)


DECOMPOSITIONS: dict[Any, Callable[..., Any]] = {
    F.layer_norm: layer_norm,
    F.rms_norm: rms_norm,
    F.batch_norm: batch_norm,
    F.instance_norm: instance_norm,
    F.group_norm: group_norm,
    F.normalize: normalize,
    F.silu: silu,
    F.gelu: gelu,
    F.glu: glu,
    F.scaled_dot_product_attention: attention,
    F.cross_entropy: cross_entropy,
    F.mse_loss: mse_loss,
    torch.var_mean: var_mean,
    torch.std_mean: std_mean,
    torch.chunk: chunk,
    Tensor.chunk: chunk,
    torch.split: split,
    Tensor.split: split,
    torch.unbind: unbind,
    Tensor.unbind: unbind,
    F.pixel_shuffle: pixel_shuffle,
    F.binary_cross_entropy_with_logits: binary_cross_entropy_with_logits,
}
