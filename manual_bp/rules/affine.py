"""Weighted sums: linear in x, and linear in the weights."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from manual_bp.rules._precision import half_in_float32
from manual_bp.rules._rule import Rule
from manual_bp.rules._windows import Extent, Windows


class Affine(Rule):
    """The weighted sum on the in side of a layer of neurons: out = x Wᵀ + b.

    Derivation:
        With the letters s sample (all leading dimensions of x together), i input, o output:
        out_so = Σ_i w_oi x_si + b_o                                                                                 (1)
        ∂out_so/∂x_si = w_oi   so  grad_x_si = Σ_o grad_out_so w_oi    grad_x = grad_out W                           (2)
        ∂out_so/∂w_oi = x_si   so  grad_w_oi = Σ_s grad_out_so x_si    grad_w = grad_outᵀ x                          (3)
        ∂out_so/∂b_o = 1       so  grad_b_o = Σ_s grad_out_so          the bias is a weight whose input is always 1  (4)

    Often wrong: Wᵀ in grad_x, where W stands as it is; grad_b summed over some of the leading dimensions only.
    Shapes: x [..., i], w [o, i] as in torch.nn.Linear, b [o] or None; out [..., o].
    Source: the article, equations (3) and (4); in matrix form Δ(out) = Δ(in) W, ∂J/∂W = Δ(in)ᵀ A, ∂J/∂b = Σ_s Δ(in).
    """

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        return x @ w.T if b is None else x @ w.T + b  # (1)

    @staticmethod
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Any]:
        samples = x.shape[:-1].numel()
        grad_out_so, x_si = grad_out.reshape(samples, w.shape[0]), x.reshape(samples, w.shape[1])
        return grad_out @ w, grad_out_so.T @ x_si, None if b is None else grad_out_so.sum(0)  # (2), (3), (4)


class Embedding(Rule):
    """Rows of a table by their indices: out_se = w_ve, with v = index_s.

    Derivation:
        With the letters s place in index, v row of the table, e column: the same as Affine on one-hot inputs,
        out_se = Σ_v [index_s = v] w_ve                                                  (1)
        ∂out_se/∂w_ve = [index_s = v]   so  grad_w_ve = Σ_s [index_s = v] grad_out_se    (2)
        The index has no derivative.

    Often wrong: grad_w[index] = grad_out, which keeps one of several equal indices; they add up.
    Shapes: index [...] of whole numbers from 0 to v−1, w [v, e]; out [..., e].
    Source: Bengio, Ducharme, Vincent, Jauvin, A Neural Probabilistic Language Model (JMLR 3, 2003), section 2.
    """

    @staticmethod
    def forward(index: Tensor, w: Tensor) -> Tensor:
        return w[index]  # (1)

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, index: Tensor, w: Tensor) -> tuple[None, Tensor]:
        return None, torch.zeros_like(w).index_add_(0, index.flatten(), grad_out.reshape(-1, w.shape[1]))  # (2)


class Conv1d(Rule):
    """The convolution of a signal: out_op = Σ_ik w_oik X_ipk + b_o, X_ipk = x_i(p·stride + k·dilation − padding).

    Derivation:
        With the letters n sample, i channel of x, o channel of out, p place in out, k place in the kernel, and the
        windows X_nipk = x_ni(p·stride + k·dilation − padding), zero outside of x, it is an Affine at every place
        (a correlation, as everywhere in this field: the kernel is not flipped):
        out_nop     = Σ_ik w_oik X_nipk + b_o                                                                  (1)
        grad_X_nipk = Σ_o grad_out_nop w_oik                                                                   (2)
        grad_x_nij  = Σ_pk [j = p·stride + k·dilation − padding] grad_X_nipk                                   (3)
                      every window that j is in gives to it: the transposed convolution
        grad_w_oik  = Σ_np grad_out_nop X_nipk        summed over samples and places: they share the weight    (4)
        grad_b_o    = Σ_np grad_out_nop                                                                        (5)
        With groups, the channels i and o fall into as many parts, and every part is a convolution of its own.

    Often wrong: the kernel flipped once too often or not at all in grad_x; with a stride, the end of x that no window
    reaches left out of grad_x instead of zero; weights of the wrong group.
    Shapes: x [n, i, length], w [o, i/groups, k], b [o] or None; out [n, o, p] with
    p = ⌊(length + 2·padding − dilation·(k−1) − 1)/stride⌋ + 1, as torch.nn.functional.conv1d.
    Source: LeCun et al., Backpropagation Applied to Handwritten Zip Code Recognition (Neural Computation 1, 1989);
    the arithmetic of shapes: Dumoulin, Visin, A guide to convolution arithmetic for deep learning (2016).
    """

    @staticmethod
    @half_in_float32
    def forward(
        x: Tensor, w: Tensor, b: Tensor | None = None,
        *, stride: Extent = 1, padding: Extent = 0, dilation: Extent = 1, groups: int = 1,
    ) -> Tensor:  # fmt: skip
        windows = Windows.sliding(w.shape[2:], stride, padding, dilation)
        return _plus(_convolved(x, w, windows, groups), b)  # (1)

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor | None = None,
        *, stride: Extent = 1, padding: Extent = 0, dilation: Extent = 1, groups: int = 1,
    ) -> tuple[Tensor, Tensor, Any]:  # fmt: skip
        windows = Windows.sliding(w.shape[2:], stride, padding, dilation)
        grad_x = _adjoint(grad_out, w, windows, groups, x.shape[2:])  # (2), (3)
        grad_w = _grad_kernel(grad_out, x, windows, groups)  # (4)
        grad_b = None if b is None else grad_out.flatten(2).sum((0, 2))  # (5)
        return grad_x, grad_w, grad_b


def _convolved(x: Tensor, w: Tensor, windows: Windows, groups: int) -> Tensor:
    """C_w x: out_nop = Σ_ik w_oik X_nipk, in each group g."""
    X_ngipk, w_goik = _grouped(windows.of(x), 1, groups), _grouped(w.flatten(2), 0, groups)
    out_nop = torch.einsum("goik,ngipk->ngop", w_goik, X_ngipk).flatten(1, 2)
    return out_nop.view(*out_nop.shape[:2], *windows.along(x.shape[2:]))


def _adjoint(out: Tensor, w: Tensor, windows: Windows, groups: int, lengths: Sequence[int]) -> Tensor:
    """C_wᵀ out: X_nipk = Σ_o w_oik out_nop, in each group g, added up where the windows came from."""
    out_ngop, w_goik = _grouped(out.flatten(2), 1, groups), _grouped(w.flatten(2), 0, groups)
    X_nipk = torch.einsum("goik,ngop->ngipk", w_goik, out_ngop).flatten(1, 2)
    return windows.adjoint(X_nipk, lengths)


def _grad_kernel(out: Tensor, x: Tensor, windows: Windows, groups: int) -> Tensor:
    """w_oik = Σ_np out_nop X_nipk, in each group g: the derivative of ⟨out, C_w x⟩."""
    out_ngop, X_ngipk = _grouped(out.flatten(2), 1, groups), _grouped(windows.of(x), 1, groups)
    w_oik = torch.einsum("ngop,ngipk->goik", out_ngop, X_ngipk).flatten(0, 1)
    return w_oik.view(*w_oik.shape[:2], *windows.size)


def _grouped(x: Tensor, dim: int, groups: int) -> Tensor:
    """The channels in dim as groups and the channels in each."""
    return x.reshape(*x.shape[:dim], groups, x.shape[dim] // groups, *x.shape[dim + 1 :])


def _plus(out: Tensor, b: Tensor | None) -> Tensor:
    """out_no… + b_o"""
    return out if b is None else out + b.view(-1, *[1] * (out.dim() - 2))


class Conv2d(Conv1d):
    """The convolution of an image: out_opq = Σ_ikl w_oikl X_ipqkl + b_o, with X the windows of the image.

    Derivation:
        That of Conv1d, line by line, with the pair (p, q) of a place in out for p and the pair (k, l) of a place in
        the kernel for k; stride, padding and dilation are one number, or one for each of the two dimensions:
        out_nopq    = Σ_ikl w_oikl X_nipqkl + b_o                      (1)
        grad_x      = the transposed convolution of grad_out with w    (2), (3)
        grad_w_oikl = Σ_npq grad_out_nopq X_nipqkl                     (4)
        grad_b_o    = Σ_npq grad_out_nopq                              (5)

    Often wrong: as in Conv1d; and height and width interchanged, which square images and kernels hide.
    Shapes: x [n, i, height, width], w [o, i/groups, k, l], b [o] or None; out [n, o, p, q], as
    torch.nn.functional.conv2d.
    Source: as of Conv1d; dilation: Yu, Koltun, Multi-Scale Context Aggregation by Dilated Convolutions (2016); groups:
    Krizhevsky, Sutskever, Hinton, ImageNet Classification with Deep Convolutional Neural Networks (2012).
    """


class ConvTranspose1d(Rule):
    """The adjoint of Conv1d: out_ij = Σ_opk [j = p·stride + k·dilation − padding] w_oik x_op + b_i.

    Derivation:
        With the letters of Conv1d, o for the channels of x and i for those of out. Conv1d without its bias is a linear
        map C_w from i, j to o, p; this is C_wᵀ, and its adjoint is C_w again:
        ⟨grad_out, C_wᵀ x⟩ = ⟨C_w grad_out, x⟩   so  grad_x = C_w grad_out     a convolution of grad_out
        With the windows G_nipk of grad_out in the place of those of x there:
        grad_x_nop = Σ_ik w_oik G_nipk    (1)
        grad_w_oik = Σ_np x_nop G_nipk    (2)
        grad_b_i   = Σ_nj grad_out_nij    (3)

    Often wrong: the two channels of w interchanged (they stand as in the convolution that it is the adjoint of);
    dilation or padding applied to x instead of out.
    Shapes: x [n, o, p], w [o, i/groups, k], b [i] or None; out [n, i, length] with
    length = (p−1)·stride − 2·padding + dilation·(k−1) + 1 + output_padding, as torch.nn.functional.conv_transpose1d.
    Source: Zeiler, Krishnan, Taylor, Fergus, Deconvolutional Networks (2010); Dumoulin, Visin (2016), chapter 4.
    """

    @staticmethod
    @half_in_float32
    def forward(
        x: Tensor, w: Tensor, b: Tensor | None = None,
        *, stride: Extent = 1, padding: Extent = 0, output_padding: Extent = 0, groups: int = 1, dilation: Extent = 1,
    ) -> Tensor:  # fmt: skip
        windows = Windows.sliding(w.shape[2:], stride, padding, dilation)
        lengths = windows.under(x.shape[2:], output_padding)
        return _plus(_adjoint(x, w, windows, groups, lengths), b)

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor | None = None,
        *, stride: Extent = 1, padding: Extent = 0, output_padding: Extent = 0, groups: int = 1, dilation: Extent = 1,
    ) -> tuple[Tensor, Tensor, Any]:  # fmt: skip
        windows = Windows.sliding(w.shape[2:], stride, padding, dilation)
        grad_x = _convolved(grad_out, w, windows, groups)  # (1)
        grad_w = _grad_kernel(x, grad_out, windows, groups)  # (2)
        grad_b = None if b is None else grad_out.flatten(2).sum((0, 2))  # (3)
        return grad_x, grad_w, grad_b


class ConvTranspose2d(ConvTranspose1d):
    """The adjoint of Conv2d: out = C_wᵀ x + b, where C_w is the convolution with w.

    Derivation:
        That of ConvTranspose1d, with a pair of places (p, q) for p, (k, l) for k:
        grad_x      = C_w grad_out                       the convolution of grad_out       (1)
        grad_w_oikl = Σ_npq x_nopq G_nipqkl              with the windows G of grad_out    (2)
        grad_b_i    = Σ over samples and places of grad_out                                (3)

    Often wrong: as in ConvTranspose1d; and the windows of out and its output_padding off by one where the stride does
    not divide the length.
    Shapes: x [n, o, p, q], w [o, i/groups, k, l], b [i] or None; out [n, i, height, width], as
    torch.nn.functional.conv_transpose2d.
    Source: as of ConvTranspose1d.
    """
