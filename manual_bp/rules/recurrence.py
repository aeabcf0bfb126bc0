"""Cells that carry a state from one time to the next, and one of them through time.

The derivatives of Sigmoid and Tanh need their out alone: it stands in the place of their x here.
"""

import torch
from torch import Tensor

from manual_bp.rules._precision import half_in_float32
from manual_bp.rules._rule import Rule
from manual_bp.rules.activations import Sigmoid, Tanh
from manual_bp.rules.affine import Affine


class RNNCell(Rule):
    """One step of a recurrent network: out = tanh(x W_ihᵀ + b_ih + h W_hhᵀ + b_hh).

    Derivation:
        With a the sum inside:
        grad_a = grad_out (1 − out²)                                                       Tanh      (1)
        grad_x = grad_a W_ih,  grad_w_ih = grad_aᵀ x,  grad_b_ih = Σ_n grad_a              Affine    (2)
        grad_h = grad_a W_hh,  grad_w_hh = grad_aᵀ h,  grad_b_hh = Σ_n grad_a              Affine    (3)

    Often wrong: grad_w_hh from the new state out, where the old one h is in the sum.
    Shapes: x [n, i], h [n, k], w_ih [k, i], w_hh [k, k], b_ih [k], b_hh [k]; out [n, k], the new h.
    Source: Elman, Finding Structure in Time (1990).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        return Tanh.forward(Affine.forward(x, w_ih, b_ih) + Affine.forward(h, w_hh, b_hh))

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, ...]:
        (grad_a,) = Tanh.backward(grad_out, out, out)  # (1)
        grad_x, grad_w_ih, grad_b_ih = Affine.backward(grad_a, grad_a, x, w_ih, b_ih)  # (2)
        grad_h, grad_w_hh, grad_b_hh = Affine.backward(grad_a, grad_a, h, w_hh, b_hh)  # (3)
        return grad_x, grad_h, grad_w_ih, grad_w_hh, grad_b_ih, grad_b_hh


class RNN(Rule):
    """RNNCell through time: out_t = tanh(x_t W_ihᵀ + b_ih + out_(t−1) W_hhᵀ + b_hh), with out_(−1) = h.

    Derivation:
        out_t is seen from outside, and by the cell of the next time; what comes back from both is added:
        grad_h_t = grad_out_t + carried_(t+1)          nothing is carried to the last time                       (1)
        carried_t, grad_x_t, and the cell's share of each weight's gradient: RNNCell at time t, from grad_h_t    (2)
        grad_w   = Σ_t of the shares                   one weight at every time                                  (3)
        grad_h   = carried_0                                                                                     (4)

    Often wrong: grad_out_t left out but for the last time; the shares of the weights overwritten instead of added.
    Shapes: x [t, n, i], h [n, k], w_ih [k, i], w_hh [k, k], b_ih [k], b_hh [k]; out [t, n, k].
    Source: Werbos, Backpropagation Through Time: What It Does and How to Do It (1990).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        out: list[Tensor] = []
        for x_t in x:
            h = RNNCell.forward(x_t, h, w_ih, w_hh, b_ih, b_hh)
            out.append(h)
        return torch.stack(out)

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, ...]:
        weights = (w_ih, w_hh, b_ih, b_hh)
        grad_x, grad_weights, carried = torch.zeros_like(x), [torch.zeros_like(w) for w in weights], torch.zeros_like(h)
        for t in reversed(range(len(x))):
            before = out[t - 1] if t else h
            grad_h_t = grad_out[t] + carried  # (1)
            grad_x[t], carried, *shares = RNNCell.backward(grad_h_t, out[t], x[t], before, *weights)  # (2)
            for grad_w, share in zip(grad_weights, shares, strict=True):
                grad_w += share  # (3)
        return grad_x, carried, *grad_weights  # (4)


class GRUCell(Rule):
    """One step of a gated recurrent unit: out = (1 − z) n + z h, with the gates r, z and the candidate n.

    Derivation:
        With a = x W_ihᵀ + b_ih and c = h W_hhᵀ + b_hh, each of three parts r, z, n:
        r = σ(a_r + c_r),  z = σ(a_z + c_z)                                                           (1)
        n = tanh(a_n + r c_n)                                                                         (2)
        grad_n   = grad_out (1 − z)                                                                   (3)
        grad_a_n = grad_n (1 − n²)                     Tanh                                           (4)
        grad_r   = grad_a_n c_n                                                                       (5)
        grad_a_r = grad_r r (1 − r)                    Sigmoid                                        (6)
        grad_z   = grad_out (h − n)                                                                   (7)
        grad_a_z = grad_z z (1 − z)                    Sigmoid                                        (8)
        grad_c   = (grad_a_r, grad_a_z, r grad_a_n)    c_n passes through the gate r, a_n does not    (9)
        grad_x, grad_w_ih, grad_b_ih                   Affine, from grad_a                            (10)
        grad_h   = z grad_out + that of Affine, from grad_c; with it grad_w_hh, grad_b_hh             (11)

    Often wrong: z grad_out left out of grad_h; z and 1 − z interchanged (here, as in torch, z keeps the old state); r
    applied to h before the weights, as the paper has it, in a backward for this form, which is torch's.
    Shapes: x [n, i], h [n, k], w_ih [3k, i], w_hh [3k, k], b_ih [3k], b_hh [3k], their parts in the order r, z, n;
    out [n, k], the new h.
    Source: Cho et al., Learning Phrase Representations using RNN Encoder-Decoder (2014), section 2.3.
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor) -> Tensor:
        _, z, n, _ = GRUCell._gates(x, h, w_ih, w_hh, b_ih, b_hh)
        return (1 - z) * n + z * h

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, ...]:
        r, z, n, c_n = GRUCell._gates(x, h, w_ih, w_hh, b_ih, b_hh)
        (grad_a_n,) = Tanh.backward(grad_out * (1 - z), n, n)  # (3), (4)
        (grad_a_r,) = Sigmoid.backward(grad_a_n * c_n, r, r)  # (5), (6)
        (grad_a_z,) = Sigmoid.backward(grad_out * (h - n), z, z)  # (7), (8)
        grad_a = torch.cat((grad_a_r, grad_a_z, grad_a_n), -1)
        grad_c = torch.cat((grad_a_r, grad_a_z, r * grad_a_n), -1)  # (9)
        grad_x, grad_w_ih, grad_b_ih = Affine.backward(grad_a, grad_a, x, w_ih, b_ih)  # (10)
        grad_h, grad_w_hh, grad_b_hh = Affine.backward(grad_c, grad_c, h, w_hh, b_hh)  # (11)
        return grad_x, z * grad_out + grad_h, grad_w_ih, grad_w_hh, grad_b_ih, grad_b_hh  # (11)

    @staticmethod
    def _gates(
        x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """r, z, n and c_n."""
        a_r, a_z, a_n = Affine.forward(x, w_ih, b_ih).chunk(3, -1)
        c_r, c_z, c_n = Affine.forward(h, w_hh, b_hh).chunk(3, -1)
        r, z = Sigmoid.forward(a_r + c_r), Sigmoid.forward(a_z + c_z)  # (1)
        n = Tanh.forward(a_n + r * c_n)  # (2)
        return r, z, n, c_n


class LSTMCell(Rule):
    """One step of a long short-term memory: out = (h′, c′), with c′ = f c + i g and h′ = o tanh(c′).

    Derivation:
        a = x W_ihᵀ + b_ih + h W_hhᵀ + b_hh, of four parts                                                 (1)
        i = σ(a_i),  f = σ(a_f),  g = tanh(a_g),  o = σ(a_o)                                               (2)
        c′ is seen from outside, and in h′; what comes back from both is added:
        total    = grad_c′ + grad_h′ o (1 − tanh²(c′))                         Tanh                        (3)
        grad_i   = total g                                                                                 (4)
        grad_f   = total c                                                                                 (5)
        grad_g   = total i                                                                                 (6)
        grad_o   = grad_h′ tanh(c′)                                                                        (7)
        grad_a   = (grad_i i (1 − i), grad_f f (1 − f), grad_g (1 − g²), grad_o o (1 − o))                 (8)
        grad_x, grad_w_ih, grad_b_ih; grad_h, grad_w_hh, grad_b_hh             Affine, from grad_a         (9)
        grad_c   = total f                             no weight on the way: what makes the memory long    (10)

    Often wrong: one of the two parts of total left out; grad_f from the new c′ where the old c is in the product.
    Shapes: x [n, i], h [n, k], c [n, k], w_ih [4k, i], w_hh [4k, k], b_ih [4k], b_hh [4k], their parts in the order
    i, f, g, o as in torch; out = (h′ [n, k], c′ [n, k]).
    Source: Hochreiter, Schmidhuber, Long Short-Term Memory (1997); with the gate f: Gers, Schmidhuber, Cummins,
    Learning to Forget (2000).
    """

    @staticmethod
    @half_in_float32
    def forward(
        x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, Tensor]:
        i, f, g, o = LSTMCell._gates(x, h, w_ih, w_hh, b_ih, b_hh)
        c = f * c + i * g
        return o * Tanh.forward(c), c

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor],
        x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        (grad_h_new, grad_c_new), (_, c_new) = grad_out, out
        i, f, g, o = LSTMCell._gates(x, h, w_ih, w_hh, b_ih, b_hh)
        tanh_c = Tanh.forward(c_new)
        total = grad_c_new + Tanh.backward(grad_h_new * o, tanh_c, c_new)[0]  # (3)
        grad_a = torch.cat((  # (8)
            *Sigmoid.backward(total * g, i, i),  # (4)
            *Sigmoid.backward(total * c, f, f),  # (5)
            *Tanh.backward(total * i, g, g),  # (6)
            *Sigmoid.backward(grad_h_new * tanh_c, o, o),  # (7)
        ), -1)  # fmt: skip
        grad_x, grad_w_ih, grad_b_ih = Affine.backward(grad_a, grad_a, x, w_ih, b_ih)  # (9)
        grad_h, grad_w_hh, grad_b_hh = Affine.backward(grad_a, grad_a, h, w_hh, b_hh)  # (9)
        return grad_x, grad_h, total * f, grad_w_ih, grad_w_hh, grad_b_ih, grad_b_hh  # (10)

    @staticmethod
    def _gates(
        x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor, b_hh: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """i, f, g and o."""
        a_i, a_f, a_g, a_o = (Affine.forward(x, w_ih, b_ih) + Affine.forward(h, w_hh, b_hh)).chunk(4, -1)  # (1)
        return Sigmoid.forward(a_i), Sigmoid.forward(a_f), Tanh.forward(a_g), Sigmoid.forward(a_o)  # (2)
