"""What a neuron does between its in side and its out side, and what acts on a whole row of them."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from manual_bp.rules._precision import half_in_float32
from manual_bp.rules._rule import Rule


class Sigmoid(Rule):
    """The logistic function, the article's neuron: out = 1 / (1 + e^(−x)).

    Derivation:
        ∂out/∂x = e^(−x) / (1 + e^(−x))²
                = 1/(1 + e^(−x)) · e^(−x)/(1 + e^(−x))      and e^(−x)/(1 + e^(−x)) = 1 − out, so
                = out (1 − out)

    Often wrong: x (1 − x), the formula in out with x put in.
    Shapes: x [...]; out [...].
    Source: the article, second factor of (2).
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.sigmoid(x)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad_out * out * (1 - out),)


class Tanh(Rule):
    """The hyperbolic tangent: out = (e^x − e^(−x)) / (e^x + e^(−x)).

    Derivation:
        With s = e^x − e^(−x) and c = e^x + e^(−x): out = s/c, ∂s/∂x = c, ∂c/∂x = s.
        ∂out/∂x = (c·c − s·s) / c²
                = 1 − out²

    Often wrong: 1 − x², the formula in out with x put in.
    Shapes: x [...]; out [...].
    Source: LeCun, Bottou, Orr, Müller, Efficient BackProp (1998), section 4.4.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.tanh(x)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad_out * (1 - out * out),)


class ReLU(Rule):
    """The rectifier: out = max(x, 0).

    Derivation:
        x > 0: out = x, ∂out/∂x = 1
        x < 0: out = 0, ∂out/∂x = 0
        x = 0: no derivative; any number from 0 to 1 is a subgradient. Convention here, as in torch: 0.

    Often wrong: the mask taken from grad_out instead of x.
    Shapes: x [...]; out [...].
    Source: Nair, Hinton, Rectified Linear Units Improve Restricted Boltzmann Machines (2010).
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.relu(x)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
        return (torch.where(x > 0, grad_out, 0),)


class Identity(Rule):
    """A neuron without an activation, as on the output of a regression: out = x.

    Derivation:
        ∂out/∂x = 1

    Often wrong: grad_out itself handed on, not a copy, where the caller then adds to it in place.
    Shapes: x [...]; out [...].
    Source: Widrow, Hoff, Adaptive Switching Circuits (1960), the linear neuron.
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad_out.clone(),)


class LeakyReLU(Rule):
    """The rectifier with a slope below zero: out = x for x > 0, else a x.

    Derivation:
        x > 0: ∂out/∂x = 1
        x < 0: ∂out/∂x = a, the negative_slope
        x = 0: no derivative unless a = 1. Convention here, as in torch: a.

    Often wrong: out in place of x in the mask, which a negative a turns over.
    Shapes: x [...]; out [...].
    Source: Maas, Hannun, Ng, Rectifier Nonlinearities Improve Neural Network Acoustic Models (2013).
    """

    @staticmethod
    def forward(x: Tensor, *, negative_slope: float = 0.01) -> Tensor:
        return torch.where(x > 0, x, negative_slope * x)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, *, negative_slope: float = 0.01) -> tuple[Tensor]:
        return (torch.where(x > 0, grad_out, negative_slope * grad_out),)


class ELU(Rule):
    """The exponential linear unit: out = x for x > 0, else α (e^x − 1).

    Derivation:
        x > 0: ∂out/∂x = 1
        x < 0: ∂out/∂x = α e^x
        x = 0: 1 from the right, α from the left. Convention here, as in torch: α.

    Often wrong: out + α for α e^x, which is the same on paper and loses the digits of e^x where x is far below zero.
    Shapes: x [...]; out [...].
    Source: Clevert, Unterthiner, Hochreiter, Fast and Accurate Deep Network Learning by Exponential Linear Units
    (2016).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, *, alpha: float = 1.0) -> Tensor:
        return torch.where(x > 0, x, alpha * torch.expm1(x))

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, *, alpha: float = 1.0) -> tuple[Tensor]:
        return (torch.where(x > 0, grad_out, grad_out * alpha * torch.exp(x)),)


class Softplus(Rule):
    """The smooth rectifier: out = log(1 + e^x).

    Derivation:
        ∂out/∂x = e^x / (1 + e^x) = σ(x), the Sigmoid

    Often wrong: out = x for x > 20 as a short cut, which is off by 2·10⁻⁹: right in float32, not in float64. Computed
    here as −log σ(−x), which neither overflows nor loses digits.
    Shapes: x [...]; out [...].
    Source: Dugas, Bengio, Bélisle, Nadeau, Garcia, Incorporating Second-Order Functional Knowledge for Better Option
    Pricing (2001).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor) -> Tensor:
        return -logsigmoid(-x)

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad_out * torch.sigmoid(x),)


class SiLU(Rule):
    """The sigmoid-weighted linear unit, or swish: out = x σ(x).

    Derivation:
        ∂out/∂x = σ(x) + x σ(x) (1 − σ(x))             the product rule; 1 − σ(x) = σ(−x)
                = σ(x) (1 + x σ(−x))

    Often wrong: the second term left out, as if the gate σ(x) were a constant.
    Shapes: x [...]; out [...].
    Source: Elfwing, Uchibe, Doya, Sigmoid-Weighted Linear Units for Neural Network Function Approximation in
    Reinforcement Learning (2018).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor) -> Tensor:
        return x * torch.sigmoid(x)

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad_out * torch.sigmoid(x) * (1 + x * torch.sigmoid(-x)),)


class GELU(Rule):
    """The Gaussian error linear unit: out = x Φ(x), with Φ(x) = ½ (1 + erf(x/√2)).

    Derivation:
        φ(x)    = e^(−x²/2) / √(2π)                    the derivative of Φ    (1)
        ∂out/∂x = Φ(x) + x φ(x)                                               (2)

    Often wrong: the derivative of TanhGELU under this forward, or the other way round: off by up to 10⁻³. Φ is computed
    as ½ erfc(−x/√2), which keeps its digits where x is far below zero and 1 + erf cancels.
    Shapes: x [...]; out [...].
    Source: Hendrycks, Gimpel, Gaussian Error Linear Units (2016).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor) -> Tensor:
        return x * 0.5 * torch.erfc(-x / math.sqrt(2))

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
        Phi = 0.5 * torch.erfc(-x / math.sqrt(2))
        phi = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)  # (1)
        return (grad_out * (Phi + x * phi),)  # (2)


class TanhGELU(Rule):
    """GELU in its approximation by tanh: out = ½ x (1 + tanh u), with u = √(2/π) (x + 0.044715 x³).

    Derivation:
        ∂u/∂x   = √(2/π) (1 + 3·0.044715 x²)                  (1)
        ∂out/∂x = ½ (1 + tanh u) + ½ x (1 − tanh² u) ∂u/∂x    (2)

    Often wrong: the 3 of the cube's derivative; the second term left out.
    Shapes: x [...]; out [...].
    Source: Hendrycks, Gimpel, Gaussian Error Linear Units (2016), section 2.
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor) -> Tensor:
        u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return 0.5 * x * (1 + torch.tanh(u))

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
        u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        du_dx = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)  # (1)
        tanh_u = torch.tanh(u)
        return (grad_out * (0.5 * (1 + tanh_u) + 0.5 * x * (1 - tanh_u**2) * du_dx),)  # (2)


class Softmax(Rule):
    """A row of positive numbers with the sum 1: out_k = e^(x_k) / Σ_j e^(x_j).

    Derivation:
        With the letters k of out and j of x, the quotient rule:
        ∂out_k/∂x_j = out_k [k = j] − out_k out_j
        grad_x_j    = Σ_k grad_out_k ∂out_k/∂x_j
                    = out_j (grad_out_j − Σ_k grad_out_k out_k)

    Often wrong: the diagonal out (1 − out) alone, as if it acted element by element. A grad_out of ones does not show
    it, nor anything else: its true gradient is zero.
    Shapes: x [..., k] or along another dim; out as x.
    Source: Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs (1990).
    """

    @staticmethod
    def forward(x: Tensor, *, dim: int = -1) -> Tensor:
        return torch.softmax(x, dim)

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, *, dim: int = -1) -> tuple[Tensor]:
        return (out * (grad_out - (grad_out * out).sum(dim, keepdim=True)),)


class LogSoftmax(Rule):
    """The logarithm of Softmax: out_k = x_k − log Σ_j e^(x_j).

    Derivation:
        ∂out_k/∂x_j = [k = j] − e^(x_j) / Σ_i e^(x_i) = [k = j] − e^(out_j)
        grad_x_j    = grad_out_j − e^(out_j) Σ_k grad_out_k

    Often wrong: out for e^(out), the logarithm for the probability; the sum over k left out.
    Shapes: x [..., k] or along another dim; out as x.
    Source: as of Softmax; its rounding errors: Blanchard, Higham, Higham, Accurately computing the log-sum-exp and
    softmax functions (IMA J. Numer. Anal. 41, 2021).
    """

    @staticmethod
    def forward(x: Tensor, *, dim: int = -1) -> Tensor:
        return torch.log_softmax(x, dim)

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, *, dim: int = -1) -> tuple[Tensor]:
        return (grad_out - torch.softmax(x, dim) * grad_out.sum(dim, keepdim=True),)


class LogSumExp(Rule):
    """The smooth maximum of a row: out = log Σ_j e^(x_j).

    Derivation:
        ∂out/∂x_j = e^(x_j) / Σ_k e^(x_k) = softmax(x)_j
        grad_x_j  = grad_out softmax(x)_j

    Often wrong: e^(x − out) with a rounded out: at x = 10⁴ in float32 that is off by 5·10⁻⁴; softmax(x) is not.
    Shapes: x [..., k] or along another dim; out [...], without that dim.
    Source: Blanchard, Higham, Higham, Accurately computing the log-sum-exp and softmax functions (IMA J. Numer. Anal.
    41, 2021).
    """

    @staticmethod
    def forward(x: Tensor, *, dim: int = -1) -> Tensor:
        return torch.logsumexp(x, dim)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, *, dim: int = -1) -> tuple[Tensor]:
        return (grad_out.unsqueeze(dim) * torch.softmax(x, dim),)


class GLU(Rule):
    """The gated linear unit: out = a σ(b), with a and b the halves of x.

    Derivation:
        grad_a = grad_out σ(b)                                                          (1)
        grad_b = grad_out a σ(b) (1 − σ(b))            and 1 − σ(b) = σ(−b)             (2)
        grad_x = (grad_a, grad_b)                      the halves put together again    (3)

    Often wrong: the halves interchanged; the gate is the second.
    Shapes: x [..., 2k] or along another dim; out [..., k].
    Source: Dauphin, Fan, Auli, Grangier, Language Modeling with Gated Convolutional Networks (2017).
    """

    @staticmethod
    @half_in_float32
    def forward(x: Tensor, *, dim: int = -1) -> Tensor:
        a, b = x.chunk(2, dim)
        return a * torch.sigmoid(b)

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, x: Tensor, *, dim: int = -1) -> tuple[Tensor]:
        a, b = x.chunk(2, dim)
        grad_a = grad_out * torch.sigmoid(b)  # (1)
        return (torch.cat((grad_a, grad_a * a * torch.sigmoid(-b)), dim),)  # (2), (3)


class SwiGLU(Rule):
    """The gated unit of transformers: out = SiLU(a) b.

    Derivation:
        grad_a = grad_out b ∂SiLU(a)/∂a                the derivative of SiLU    (1)
        grad_b = grad_out SiLU(a)                                                (2)

    Often wrong: the gate taken for b; SiLU acts on a. In a transformer a = x Wᵀ and b = x Vᵀ are two Affine of the same
    x, whose gradient is the sum of what comes back through both.
    Shapes: a [...], b as a; out as a.
    Source: Shazeer, GLU Variants Improve Transformer (2020).
    """

    @staticmethod
    @half_in_float32
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return SiLU.forward(a) * b

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        silu_a = SiLU.forward(a)
        return SiLU.backward(grad_out * b, silu_a, a)[0], grad_out * silu_a  # (1), (2)
