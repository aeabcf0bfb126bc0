"""Sums over a sequence, weighted by how well a query and a key agree; and the positions in it."""

import math

import torch
from torch import Tensor

from manual_bp.rules._precision import half_in_float32
from manual_bp.rules._rule import Rule
from manual_bp.rules.activations import Softmax


class ScaledDotProductAttention(Rule):
    """Values averaged where a query and a key agree: out_l = Σ_t p_lt v_t, p_l = softmax_t(scale q_l·k_t + mask_lt).

    Derivation:
        With the letters l query, t key, d of a key, e of a value, and scores s_lt = scale Σ_d q_ld k_td + mask_lt,
        the scale 1/√D (D values of d) unless it is given:
        grad_v_te = Σ_l p_lt grad_out_le               grad_V = Pᵀ grad_out                    (1)
        grad_p_lt = Σ_e grad_out_le v_te               grad_P = grad_out Vᵀ                    (2)
        grad_s_lt = p_lt (grad_p_lt − Σ_u p_lu grad_p_lu)          Softmax, over the keys u    (3)
                    where Σ_u p_lu grad_p_lu = Σ_e grad_out_le out_le: a kernel needs no whole row of P for it
        grad_q_ld = scale Σ_t grad_s_lt k_td           grad_Q = scale grad_S K                 (4)
        grad_k_td = scale Σ_l grad_s_lt q_ld           grad_K = scale grad_Sᵀ Q                (5)
        grad_mask_lt = grad_s_lt, summed over the dimensions in which the mask is broadcast    (6)
        Where a group of query heads shares a key and value head, grad_k and grad_v are summed over the group.
        A masked p_lt is 0, and so are the gradients through it. A query that may look at no key at all has out = 0,
        as in torch, and no gradient.

    Often wrong: the scale left out of grad_q or grad_k; the sum over keys in grad_s taken over queries; nan from the
    softmax of a row that is masked entirely; the gradients of a shared head overwritten instead of summed.
    Shapes: q [..., h, l, d], k [..., g, t, d], v [..., g, t, e] with h a multiple of g; mask [l, t], or anything that
    broadcasts to [..., h, l, t], True where a query may look or a number that is added, or None; with is_causal a
    query looks at the keys t ≤ l only; out [..., h, l, e].
    Source: Vaswani et al., Attention Is All You Need (2017), section 3.2.1; its backward pass: Dao, Fu, Ermon, Rudra,
    Ré, FlashAttention (2022), appendix B; shared heads: Ainslie et al., GQA (2023).
    """

    @staticmethod
    @half_in_float32
    def forward(
        q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None,
        *, is_causal: bool = False, scale: float | None = None,
    ) -> Tensor:  # fmt: skip
        group = q.shape[-3] // k.shape[-3]
        p = _probabilities(q, k.repeat_interleave(group, -3), mask, is_causal, _scale(q, scale))
        return p @ v.repeat_interleave(group, -3)

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None,
        *, is_causal: bool = False, scale: float | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:  # fmt: skip
        heads, group, scale = k.shape[-3], q.shape[-3] // k.shape[-3], _scale(q, scale)
        k_each, v_each = k.repeat_interleave(group, -3), v.repeat_interleave(group, -3)
        p = _probabilities(q, k_each, mask, is_causal, scale)
        grad_v = p.mT @ grad_out  # (1)
        grad_p = grad_out @ v_each.mT  # (2)
        (grad_s,) = Softmax.backward(grad_p, p, p)  # (3)
        grad_q = grad_s @ k_each * scale  # (4)
        grad_k = grad_s.mT @ q * scale  # (5)
        grad_mask = grad_s.sum_to_size(mask.shape) if mask is not None and mask.is_floating_point() else None  # (6)
        shared = (-3, (heads, group))
        return grad_q, grad_k.unflatten(*shared).sum(-3), grad_v.unflatten(*shared).sum(-3), grad_mask


def _scale(q: Tensor, scale: float | None) -> float:
    return 1 / math.sqrt(q.shape[-1]) if scale is None else scale


def _probabilities(q: Tensor, k: Tensor, mask: Tensor | None, is_causal: bool, scale: float) -> Tensor:
    """p_lt, zero wherever the query may not look at the key, also where it may look at none."""
    s = q @ k.mT * scale
    if is_causal:
        s = s.masked_fill(~torch.ones(s.shape[-2:], dtype=torch.bool, device=s.device).tril(), -math.inf)
    if mask is not None:
        s = s + mask if mask.is_floating_point() else s.masked_fill(~mask, -math.inf)
    return torch.softmax(s, -1).masked_fill(s == -math.inf, 0)


class RotaryEmbedding(Rule):
    """Pairs turned by the angle of their position: out_1 = x_1 cos θ − x_2 sin θ, out_2 = x_1 sin θ + x_2 cos θ.

    Derivation:
        A rotation R(θ), linear in x, whose inverse and transpose is the rotation back:
        grad_x = R(θ)ᵀ grad_out = R(−θ) grad_out                                                             (1)
        ∂out_1/∂θ = −x_1 sin θ − x_2 cos θ = −out_2
        ∂out_2/∂θ =  x_1 cos θ − x_2 sin θ =  out_1
        grad_θ = grad_out_2 out_1 − grad_out_1 out_2, summed over the dimensions of x that share an angle    (2)

    Often wrong: turned forward once more instead of back; the pairs of the one layout in a forward of the other.
    Shapes: x [..., l, d], angle [l, d/2] of radians (position times frequency), or anything that broadcasts to
    [..., l, d/2]; out as x. A pair is a number of the first half and one of the second; with interleaved, as in the
    paper, two neighbours.
    Source: Su et al., RoFormer: Enhanced Transformer with Rotary Position Embedding (2021), section 3.2.
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, angle: Tensor, *, interleaved: bool = False) -> Tensor:
        x_1, x_2 = _pairs(x, interleaved)
        cos, sin = torch.cos(angle), torch.sin(angle)
        return _joined(x_1 * cos - x_2 * sin, x_1 * sin + x_2 * cos, interleaved)

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, angle: Tensor, *, interleaved: bool = False
    ) -> tuple[Tensor, Tensor]:
        grad_1, grad_2 = _pairs(grad_out, interleaved)
        out_1, out_2 = _pairs(out, interleaved)
        grad_x = RotaryEmbedding.forward(grad_out, -angle, interleaved=interleaved)  # (1)
        grad_angle = (grad_2 * out_1 - grad_1 * out_2).sum_to_size(angle.shape)  # (2)
        return grad_x, grad_angle


def _pairs(x: Tensor, interleaved: bool) -> tuple[Tensor, ...]:
    return (x[..., ::2], x[..., 1::2]) if interleaved else x.chunk(2, -1)


def _joined(x_1: Tensor, x_2: Tensor, interleaved: bool) -> Tensor:
    return torch.stack((x_1, x_2), -1).flatten(-2) if interleaved else torch.cat((x_1, x_2), -1)
