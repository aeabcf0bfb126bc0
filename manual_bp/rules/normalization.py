"""Numbers brought to a common scale, which their gradient then depends on as well."""

import torch
from torch import Tensor

from manual_bp.rules._precision import half_in_float32
from manual_bp.rules._rule import Rule

Dims = int | tuple[int, ...]


class Standardize(Rule):
    """Mean 0 and variance 1, the first step of LayerNorm, BatchNorm and GroupNorm: out = (x − μ) / σ, σ = √(var + eps).

    Derivation:
        Over the m numbers i, j that share a σ and a μ = 1/m Σ_j x_j:
        σ²          = 1/m Σ_j (x_j − μ)² + eps                                                  (1)
        ∂μ/∂x_i     = 1/m
        ∂σ/∂x_i     = 1/(2σ) · 2/m (x_i − μ) = out_i / m           the change of μ in it cancels: Σ_j (x_j − μ) = 0
        ∂out_j/∂x_i = ([i = j] − 1/m) / σ − (x_j − μ)/σ² · out_i/m
                    = ([i = j] − 1/m − out_j out_i / m) / σ
        grad_x_i    = (grad_out_i − mean_j grad_out_j − out_i mean_j (grad_out_j out_j)) / σ    (2)

    Often wrong: μ or σ taken as a constant, which leaves out the second or the third term; the unbiased variance, with
    1/(m−1); eps added to σ instead of σ².
    Shapes: x [...], normalized over dim (one, or several); out as x.
    Source: Ioffe, Szegedy, Batch Normalization (2015), section 3.
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, *, dim: Dims = -1, eps: float = 1e-5) -> Tensor:
        centered = x - x.mean(dim, keepdim=True)
        return centered / torch.sqrt((centered * centered).mean(dim, keepdim=True) + eps)

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, *, dim: Dims = -1, eps: float = 1e-5) -> tuple[Tensor]:
        centered = x - x.mean(dim, keepdim=True)
        sigma = torch.sqrt((centered * centered).mean(dim, keepdim=True) + eps)  # (1)
        projected = (grad_out * out).mean(dim, keepdim=True)
        return ((grad_out - grad_out.mean(dim, keepdim=True) - out * projected) / sigma,)  # (2)


class LayerNorm(Rule):
    """Every row standardized, then scaled and shifted: out_sk = w_k x̂_sk + b_k, x̂_s = (x_s − μ_s) / √(var_s + eps).

    Derivation:
        With the letters s row (all leading dimensions of x), k place in it, K places:
        grad_x̂_sk = grad_out_sk w_k                                                                             (1)
        grad_x_sk = (grad_x̂_sk − 1/K Σ_j grad_x̂_sj − x̂_sk 1/K Σ_j grad_x̂_sj x̂_sj) / σ_s  Standardize, over k    (2)
        grad_w_k  = Σ_s grad_out_sk x̂_sk                                                                        (3)
        grad_b_k  = Σ_s grad_out_sk                                                                             (4)

    Often wrong: the two means taken of grad_out instead of grad_x̂ = grad_out w; μ and σ as constants; another eps than
    the forward's.
    Shapes: x [..., k], w [k], b [k]; out as x.
    Source: Ba, Kiros, Hinton, Layer Normalization (2016).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, w: Tensor, b: Tensor, *, eps: float = 1e-5) -> Tensor:
        return w * Standardize.forward(x, eps=eps) + b

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor, *, eps: float = 1e-5
    ) -> tuple[Tensor, Tensor, Tensor]:
        x_hat = Standardize.forward(x, eps=eps)
        (grad_x,) = Standardize.backward(grad_out * w, x_hat, x, eps=eps)  # (1), (2)
        return grad_x, (grad_out * x_hat).sum_to_size(w.shape), grad_out.sum_to_size(b.shape)  # (3), (4)


class RMSNorm(Rule):
    """Every row divided by its root mean square, then scaled: out_sk = w_k x_sk / r_s, r_s = √(1/K Σ_j x_sj² + eps).

    Derivation:
        With the letters s row, k, j places in it, K places, and x̂ = x/r:
        ∂r_s/∂x_sk = 1/(2r_s) · 2/K x_sk = x̂_sk / K
        ∂x̂_sj/∂x_sk = [j = k] / r_s − x_sj / r_s² · x̂_sk/K = ([j = k] − x̂_sj x̂_sk / K) / r_s
        grad_x̂_sk = grad_out_sk w_k                                    (1)
        grad_x_sk = (grad_x̂_sk − x̂_sk 1/K Σ_j grad_x̂_sj x̂_sj) / r_s    (2)
        grad_w_k  = Σ_s grad_out_sk x̂_sk                               (3)

    Often wrong: r³ with the wrong power of K, where it is written with x instead of x̂; r as a constant.
    Shapes: x [..., k], w [k]; out as x. Mind torch.nn.functional.rms_norm: its eps, where none is given, is that of
    the dtype.
    Source: Zhang, Sennrich, Root Mean Square Layer Normalization (2019).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, w: Tensor, *, eps: float = 1e-6) -> Tensor:
        return w * (x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps))

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, *, eps: float = 1e-6) -> tuple[Tensor, Tensor]:
        r = torch.sqrt((x * x).mean(-1, keepdim=True) + eps)
        x_hat, grad_x_hat = x / r, grad_out * w  # (1)
        grad_x = (grad_x_hat - x_hat * (grad_x_hat * x_hat).mean(-1, keepdim=True)) / r  # (2)
        grad_w = (grad_out * x_hat).sum_to_size(w.shape)  # (3)
        return grad_x, grad_w


class BatchNorm(Rule):
    """Every channel standardized over the batch (training): out_nci = w_c (x_nci − μ_c) / √(var_c + eps) + b_c.

    Derivation:
        With the letters n, m sample, c channel, i, j place (all dimensions after the channel), M the number of n, i:
        grad_x̂_nci = grad_out_nci w_c                                                                           (1)
        grad_x_nci = (grad_x̂_nci − 1/M Σ_mj grad_x̂_mcj − x̂_nci 1/M Σ_mj grad_x̂_mcj x̂_mcj) / σ_c    Standardize  (2)
        grad_w_c   = Σ_ni grad_out_nci x̂_nci                                                                    (3)
        grad_b_c   = Σ_ni grad_out_nci                                                                          (4)
        A bias in front of it has the gradient Σ_ni grad_x_nci = 0: the mean takes it away.

    Often wrong: the gradient of evaluation, grad_x̂/σ, where running statistics are constants; means over n alone; the
    unbiased variance, which torch keeps for running statistics only.
    Shapes: x [n, c] or [n, c, ...], w [c], b [c]; out as x.
    Source: Ioffe, Szegedy, Batch Normalization (2015), section 3.
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, w: Tensor, b: Tensor, *, eps: float = 1e-5) -> Tensor:
        x_nci = _flat(x)
        return (w[:, None] * Standardize.forward(x_nci, dim=(0, 2), eps=eps) + b[:, None]).view(x.shape)

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor, *, eps: float = 1e-5
    ) -> tuple[Tensor, Tensor, Tensor]:
        x_nci, grad_nci = _flat(x), _flat(grad_out)
        x_hat = Standardize.forward(x_nci, dim=(0, 2), eps=eps)
        (grad_x,) = Standardize.backward(grad_nci * w[:, None], x_hat, x_nci, dim=(0, 2), eps=eps)  # (1), (2)
        return grad_x.view(x.shape), (grad_nci * x_hat).sum((0, 2)), grad_nci.sum((0, 2))  # (3), (4)


class GroupNorm(Rule):
    """Groups of channels standardized in each sample: out_nci = w_c (x_nci − μ_ng) / √(var_ng + eps) + b_c, for c in g.

    Derivation:
        With the letters n sample, g group, c channel in it, i place: x̂_n,gci = (x_n,gci − μ_ng) / √(var_ng + eps)
        grad_x̂    = grad_out w_gc                                            (1)
        grad_x    = Standardize over c and i of each n and g, from grad_x̂    (2)
        grad_w_gc = Σ_ni grad_out_n,gci x̂_n,gci                              (3)
        grad_b_gc = Σ_ni grad_out_n,gci                                      (4)

    Often wrong: the scale w_gc taken out of the means over c, in which it differs. One group is a layer norm of the
    sample, as many groups as channels an instance norm.
    Shapes: x [n, c, ...], w [c], b [c], c a multiple of num_groups; out as x.
    Source: Wu, He, Group Normalization (2018).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, w: Tensor, b: Tensor, *, num_groups: int, eps: float = 1e-5) -> Tensor:
        x_hat = _flat(Standardize.forward(_grouped(x, num_groups), eps=eps).view(x.shape))
        return (w[:, None] * x_hat + b[:, None]).view(x.shape)

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor, *, num_groups: int, eps: float = 1e-5
    ) -> tuple[Tensor, Tensor, Tensor]:
        x_groups, grad_nci = _grouped(x, num_groups), _flat(grad_out)
        x_hat = Standardize.forward(x_groups, eps=eps)
        (grad_x,) = Standardize.backward((grad_nci * w[:, None]).view_as(x_hat), x_hat, x_groups, eps=eps)  # (1), (2)
        grad_w = (grad_nci * x_hat.view_as(grad_nci)).sum((0, 2))  # (3)
        grad_b = grad_nci.sum((0, 2))  # (4)
        return grad_x.view(x.shape), grad_w, grad_b


def _flat(x: Tensor) -> Tensor:
    """x [n, c, ...] as x_nci."""
    return x.reshape(*x.shape[:2], x.shape[2:].numel())


def _grouped(x: Tensor, groups: int) -> Tensor:
    """x [n, c, ...] with the channels of a group, and their places, in one row."""
    return x.reshape(len(x), groups, x.shape[1:].numel() // groups)


class L2Normalize(Rule):
    """Every row on the unit sphere: out = x / ‖x‖.

    Derivation:
        With the letters j, k of a row and ‖x‖² = Σ_k x_k²:
        ∂‖x‖/∂x_k   = x_k / ‖x‖ = out_k
        ∂out_j/∂x_k = [j = k] / ‖x‖ − x_j/‖x‖² out_k = ([j = k] − out_j out_k) / ‖x‖
        grad_x_k    = (grad_out_k − out_k Σ_j grad_out_j out_j) / ‖x‖
        A norm below eps counts as eps, a constant: grad_x = grad_out / eps there.

    Often wrong: ‖x‖ as a constant; at x = 0 a division by zero.
    Shapes: x [..., k]; out as x.
    Source: Wang, Xiang, Cheng, Yuille, NormFace: L2 Hypersphere Embedding for Face Verification (2017).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, *, eps: float = 1e-12) -> Tensor:
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x / norm.clamp(min=eps)

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, *, eps: float = 1e-12) -> tuple[Tensor]:
        norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        along = torch.where(norm < eps, 0, (grad_out * out).sum(-1, keepdim=True))
        return ((grad_out - out * along) / norm.clamp(min=eps),)
