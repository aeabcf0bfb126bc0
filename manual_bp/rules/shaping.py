"""Numbers pooled, dropped, broadcast and carried past."""

import math

import torch
from torch import Tensor

from manual_bp.rules._precision import half_in_float32
from manual_bp.rules._rule import Rule
from manual_bp.rules._windows import Extent, Windows
from manual_bp.rules.activations import ReLU
from manual_bp.rules.affine import Affine


class MaxPool2d(Rule):
    """The largest number of every window of an image: out_p = max_k X_pk, with X the windows of the image.

    Derivation:
        With the letters p window, k place in it, k*(p) the place of its maximum, and the windows X_pk of Conv2d,
        −∞ outside of x:
        ∂out_p/∂X_pk = [k = k*(p)]   so  grad_X_pk = [k = k*(p)] grad_out_p                                      (1)
        grad_x_j     = Σ_p [j is where k*(p) lies] grad_out_p      windows that overlap may choose the same j    (2)
        Where several are largest there is no derivative. Convention here, as in torch: the first of them, row by row.

    Often wrong: grad_out given to every one of several largest; = instead of += where windows overlap; padding with 0.
    Shapes: x [..., height, width]; out [..., p, q], as torch.nn.functional.max_pool2d; kernel_size, and with it the
    others, is one number or a pair; stride is kernel_size unless given.
    Source: Zhou, Chellappa, Computation of Optical Flow Using a Neural Network (1988).
    """

    @staticmethod
    def forward(
        x: Tensor, *, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0, dilation: Extent = 1
    ) -> Tensor:
        windows = _pooling(kernel_size, stride, padding, dilation)
        out: Tensor = windows.of(x, fill=-math.inf).max(-1).values.unflatten(-1, windows.along(x.shape[-2:]))
        return out

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor,
        *, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0, dilation: Extent = 1,
    ) -> tuple[Tensor]:  # fmt: skip
        windows = _pooling(kernel_size, stride, padding, dilation)
        X = windows.of(x.clamp(min=torch.finfo(x.dtype).min), fill=-math.inf)  # no −∞ of x counts as padding
        first = X.max(-1, keepdim=True).indices  # torch's max: of several, the first
        grad_X = torch.zeros_like(X).scatter(-1, first, grad_out.flatten(-2).unsqueeze(-1))  # (1)
        return (windows.adjoint(grad_X, x.shape[-2:]),)  # (2)


class AvgPool2d(Rule):
    """The mean of every window of an image: out_p = 1/K Σ_k X_pk, with X the windows of the image.

    Derivation:
        With the windows X_pk of Conv2d, K places each, zero outside of x: a convolution whose weights are all 1/K.
        grad_X_pk = grad_out_p / K                           (1)
        grad_x_j  = Σ_p [j is in window p] grad_out_p / K    (2)

    Often wrong: at the border, K counted without the places in the padding; here, as torch does unless told otherwise,
    they count.
    Shapes: x [..., height, width]; out [..., p, q], as torch.nn.functional.avg_pool2d; kernel_size, and with it the
    others, is one number or a pair; stride is kernel_size unless given.
    Source: LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document Recognition (1998), section II.
    """

    @staticmethod
    def forward(x: Tensor, *, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0) -> Tensor:
        windows = _pooling(kernel_size, stride, padding)
        out: Tensor = windows.of(x).mean(-1).unflatten(-1, windows.along(x.shape[-2:]))
        return out

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, x: Tensor,
        *, kernel_size: Extent, stride: Extent | None = None, padding: Extent = 0,
    ) -> tuple[Tensor]:  # fmt: skip
        windows = _pooling(kernel_size, stride, padding)
        K = math.prod(windows.size)
        grad_X = (grad_out.flatten(-2) / K).unsqueeze(-1).expand(*[-1] * (x.dim() - 1), K)  # (1)
        return (windows.adjoint(grad_X, x.shape[-2:]),)  # (2)


def _pooling(kernel_size: Extent, stride: Extent | None, padding: Extent, dilation: Extent = 1) -> Windows:
    size = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
    return Windows.sliding(size, size if stride is None else stride, padding, dilation)


class Dropout(Rule):
    """Numbers dropped by a given mask, the rest scaled so that the mean stays: out = mask x / (1 − p).

    Derivation:
        ∂out/∂x = mask / (1 − p), with the same mask as in the forward
        The mask is drawn, not computed: it has no derivative.

    Often wrong: a new mask drawn in the backward; the 1/(1 − p) forgotten in one of the two.
    Shapes: x [...], mask as x, True where x is kept, which it is with probability 1 − p; out as x.
    Source: Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, Dropout (JMLR 15, 2014), section 10 for the scale.
    """

    @staticmethod
    def forward(x: Tensor, mask: Tensor, *, p: float = 0.5) -> Tensor:
        return torch.where(mask, x / (1 - p), 0)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, mask: Tensor, *, p: float = 0.5) -> tuple[Tensor, None]:
        return torch.where(mask, grad_out / (1 - p), 0), None


class Add(Rule):
    """The sum, with broadcasting: out = a + b.

    Derivation:
        ∂out/∂a = ∂out/∂b = 1, and an element that was broadcast is in many places of out, each of which gives to it:
        grad_a = grad_out, summed over the dimensions in which a was broadcast, and b likewise

    Often wrong: the sum left out, so that the gradient has the shape of out; a dimension of size 1 summed away, not
    kept.
    Shapes: a, b [...] that broadcast to one shape; out of that shape.
    Source: broadcasting: Harris et al., Array programming with NumPy (Nature 585, 2020).
    """

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a + b

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return grad_out.sum_to_size(a.shape), grad_out.sum_to_size(b.shape)


class Multiply(Rule):
    """The product element by element, with broadcasting: out = a b.

    Derivation:
        ∂out/∂a = b, ∂out/∂b = a
        grad_a = grad_out b, summed over the dimensions in which a was broadcast    (1)
        grad_b = grad_out a, summed over those of b                                 (2)

    Often wrong: summed before it is multiplied, Σ grad_out · b for Σ (grad_out b).
    Shapes: a, b [...] that broadcast to one shape; out of that shape.
    Source: broadcasting: Harris et al., Array programming with NumPy (Nature 585, 2020).
    """

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return a * b

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        grad_a = (grad_out * b).sum_to_size(a.shape)  # (1)
        grad_b = (grad_out * a).sum_to_size(b.shape)  # (2)
        return grad_a, grad_b


class Residual(Rule):
    """A layer beside an identity that carries x past it: out = x + relu(x) Wᵀ + b.

    Derivation:
        x is in out twice, and its gradient is the sum of what comes back on both ways:
        grad_f = grad_out W,  f = relu(x)              Affine, with its grad_w and grad_b                       (1)
        grad_x = grad_out + grad_f [x > 0]             the 1 carries grad_out past any number of such layers    (2)

    Often wrong: one of the two ways forgotten, or written over the other.
    Shapes: x [..., i], w [i, i], b [i]; out as x.
    Source: He, Zhang, Ren, Sun, Identity Mappings in Deep Residual Networks (2016), equations (4) and (5).
    """

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return x + Affine.forward(ReLU.forward(x), w, b)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        f = ReLU.forward(x)
        grad_f, grad_w, grad_b = Affine.backward(grad_out, out, f, w, b)  # (1)
        return grad_out + ReLU.backward(grad_f, f, x)[0], grad_w, grad_b  # (2)
