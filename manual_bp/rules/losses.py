"""Costs of each sample, summed over its outputs. The mean over a batch is the caller's: it is the 1/N in grad_out."""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from manual_bp._limits import exp, times_log
from manual_bp.rules._precision import half_in_float32
from manual_bp.rules._rule import Rule
from manual_bp.rules.activations import Identity, Sigmoid
from manual_bp.rules.normalization import L2Normalize


class Loss(Rule, abstract=True):
    """A rule whose out is the cost of each sample, and whose inputs are the last layer's neurons and their targets z.

    `target` says what z holds: "probability" (a number from 0 to 1 for each output), "class" (one class index a
    sample) or "value" (any number for each output). `output` is the activation with which the cost is fused: such a
    cost takes the neurons' n(in), and gives ∂J/∂n(out) as `delta_out`. Without one it takes n(out), whatever the
    activation.
    """

    target: ClassVar[Literal["probability", "class", "value"]]
    output: ClassVar[type[Rule] | None] = None
    forward: ClassVar[Callable[..., Tensor]]
    delta_out: ClassVar[Callable[..., Tensor]]


class SigmoidCrossEntropy(Loss):
    """The article's cost, fused with the sigmoid: J_s = −Σ_k [z_k log σ(n_k) + (1−z_k) log(1 − σ(n_k))].

    It takes n(in), not n(out): log σ(n) and log(1 − σ(n)) = log σ(−n) are then exact where σ(n) rounds to 0 or 1, and
    the gradient never divides.

    Derivation:
        With out = σ(n):
        ∂J/∂out = −z/out + (1−z)/(1−out)               first factor of the article's (2)
        ∂out/∂n = out (1−out)                          second factor of it
        ∂J/∂n   = −z (1−out) + (1−z) out = out − z     their product; the step to fuse: no division is left    (1)
        ∂J/∂z   = −log σ(n) + log σ(−n) = −n           for σ(n)/σ(−n) = e^n                                    (2)

    Often wrong: n(out) − z used as the derivative by n(out), and multiplied by out (1−out) once more.
    Shapes: n_in [..., k], z [..., k] from 0 to 1; out [...], one cost a sample.
    Source: the article, figure 1; as a matching pair of cost and activation: Bishop, Pattern Recognition and Machine
    Learning (2006), section 4.3.6.
    """

    target = "probability"
    output = Sigmoid

    @staticmethod
    def forward(n_in: Tensor, z: Tensor) -> Tensor:
        J = -times_log(z, logsigmoid(n_in)) - times_log(1 - z, logsigmoid(-n_in))
        return J.sum(-1)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, n_in: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        grad_out = grad_out.unsqueeze(-1)
        grad_n_in = grad_out * (torch.sigmoid(n_in) - z)  # (1)
        grad_z = grad_out * -n_in  # (2)
        return grad_n_in, grad_z

    @staticmethod
    def delta_out(grad_out: Tensor, n_in: Tensor, z: Tensor) -> Tensor:
        """The first factor alone, from 1/n(out) = 1 + e^(−n(in)) and 1/(1−n(out)) = 1 + e^(n(in)); finite."""
        return grad_out.unsqueeze(-1) * (-z * (1 + exp(-n_in)) + (1 - z) * (1 + exp(n_in)))


class SoftmaxCrossEntropy(Loss):
    """The cost of one class among many, fused with the softmax: J_s = log Σ_j e^(n_j) − n_t, with t the target.

    Derivation:
        With p_k = e^(n_k) / Σ_j e^(n_j):
        ∂J/∂n_k = p_k − [k = t]                        at every class, not only the target's
        The class index has no derivative. With label_smoothing ε, the target is q_k = (1−ε) [k = t] + ε/K:
        J       = −Σ_k q_k log p_k = log Σ_j e^(n_j) − Σ_k q_k n_k          (1)
        ∂J/∂n_k = p_k − q_k                                                 (2)
        With z_loss ζ, which holds the normalizer L = log Σ_j e^(n_j) near zero, J + ζ L² has the derivative
        p_k − q_k + 2 ζ L p_k                          for ∂L/∂n_k = p_k    (3)
        A sample whose target is ignore_index has J = 0, and so no gradient.

    Often wrong: ε/(K−1) on the other classes for ε/K on all; the 2 of L²; ignored samples left in the N of a mean.
    Shapes: n_in [..., k], target [...] of class indices from 0 to k−1; out [...], one cost a sample.
    Source: Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs (1990); label smoothing:
    Szegedy et al., Rethinking the Inception Architecture (2016), section 7; z-loss: Chowdhery et al., PaLM (2022),
    section 5.
    """

    target = "class"
    output = Identity

    @staticmethod
    @half_in_float32
    def forward(
        n_in: Tensor, target: Tensor,
        *, label_smoothing: float = 0.0, ignore_index: int = -100, z_loss: float = 0.0,
    ) -> Tensor:  # fmt: skip
        ignored, t = _targets(target, ignore_index)
        log_p = torch.log_softmax(n_in, -1)
        J = -log_p.gather(-1, t).squeeze(-1)
        if label_smoothing:
            J = (1 - label_smoothing) * J - label_smoothing * log_p.mean(-1)  # (1)
        if z_loss:
            J = J + z_loss * torch.logsumexp(n_in, -1) ** 2
        return torch.where(ignored, 0, J)

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, n_in: Tensor, target: Tensor,
        *, label_smoothing: float = 0.0, ignore_index: int = -100, z_loss: float = 0.0,
    ) -> tuple[Tensor, None]:  # fmt: skip
        ignored, t = _targets(target, ignore_index)
        p = torch.softmax(n_in, -1)
        grad_n_in = p.scatter(-1, t, p.gather(-1, t) - (1 - label_smoothing)) - label_smoothing / n_in.shape[-1]  # (2)
        if z_loss:
            grad_n_in += 2 * z_loss * torch.logsumexp(n_in, -1, keepdim=True) * p  # (3)
        return torch.where(ignored, 0, grad_out).unsqueeze(-1) * grad_n_in, None

    @staticmethod
    def delta_out(grad_out: Tensor, n_in: Tensor, target: Tensor) -> Tensor:
        """∂J/∂n(out): the same as ∂J/∂n(in), for the network's outputs are the softmax's inputs, n(out) = n(in)."""
        return SoftmaxCrossEntropy.backward(grad_out, grad_out, n_in, target)[0]


def _targets(target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Which samples are ignored, and the class of each sample [..., 1], 0 for those."""
    target = target.long()  # in an integer dtype of few bits, −100 is another number
    ignored = target == ignore_index
    return ignored, target.where(~ignored, 0).unsqueeze(-1)


class SquaredError(Loss):
    """Half the squared distance to the target: J_s = ½ Σ_k (n_k − z_k)².

    Convention: the ½ takes away the 2 of the derivative, so that δ = n − z, just as for the two cross entropies;
    summed over the outputs as those are, and so a log-likelihood (of a normal distribution with variance 1) as they
    are. Mind torch.nn.MSELoss: its mean over samples and outputs together is 2/k times the mean over samples of this.

    Derivation:
        ∂J/∂n_k = ½·2 (n_k − z_k) = n_k − z_k    (1)
        ∂J/∂z_k = −(n_k − z_k)                   (2)

    Often wrong: z − n; a 2 or ½ that the forward has not.
    Shapes: n_out [..., k], z [..., k]; out [...], one cost a sample.
    Source: Rumelhart, Hinton, Williams, Learning representations by back-propagating errors (Nature 323, 1986),
    equation (3).
    """

    target = "value"

    @staticmethod
    def forward(n_out: Tensor, z: Tensor) -> Tensor:
        return 0.5 * ((n_out - z) ** 2).sum(-1)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, n_out: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        grad_n_out = grad_out.unsqueeze(-1) * (n_out - z)  # (1)
        return grad_n_out, -grad_n_out  # (2)


class Huber(Loss):
    """Squared error near the target, absolute error beyond δ: J_s = Σ_k (½ r_k² for |r_k| ≤ δ, else δ (|r_k| − ½ δ)).

    Derivation:
        With r = n − z:
        |r| ≤ δ: ∂J/∂r = r
        |r| > δ: ∂J/∂r = δ sign(r)
        together ∂J/∂r = r held between −δ and δ; at |r| = δ both are the same, there is no kink    (1)
        ∂J/∂n = ∂J/∂r, ∂J/∂z = −∂J/∂r                                                               (2)

    Often wrong: the smooth L1 loss in its place, which is this divided by δ.
    Shapes: n_out [..., k], z [..., k]; out [...], one cost a sample.
    Source: Huber, Robust Estimation of a Location Parameter (1964).
    """

    target = "value"

    @staticmethod
    @half_in_float32
    def forward(n_out: Tensor, z: Tensor, *, delta: float = 1.0) -> Tensor:
        r = (n_out - z).abs()
        return torch.where(r <= delta, 0.5 * r * r, delta * (r - 0.5 * delta)).sum(-1)

    @staticmethod
    @half_in_float32
    def backward(
        grad_out: Tensor, out: Tensor, n_out: Tensor, z: Tensor, *, delta: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        grad_n_out = grad_out.unsqueeze(-1) * (n_out - z).clamp(-delta, delta)  # (1)
        return grad_n_out, -grad_n_out  # (2)


class KLDivergence(Loss):
    """How far probabilities are from their target's: J_s = Σ_k z_k (log z_k − n_k), with n_k = log p_k.

    Derivation:
        ∂J/∂n_k = −z_k                                                                                         (1)
        ∂J/∂z_k = log z_k − n_k + 1                    the 1 from z ∂log z/∂z; at z = 0 it has the limit −∞    (2)

    Often wrong: p and z interchanged, the divergence is not symmetric; p in the place of log p; the + 1.
    Shapes: n_out [..., k] of log-probabilities, as LogSoftmax gives, z [..., k] from 0 to 1; out [...], one cost a
    sample.
    Source: Kullback, Leibler, On Information and Sufficiency (1951).
    """

    target = "probability"

    @staticmethod
    def forward(n_out: Tensor, z: Tensor) -> Tensor:
        return (torch.xlogy(z, z) - times_log(z, n_out)).sum(-1)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, n_out: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        grad_out = grad_out.unsqueeze(-1)
        grad_n_out = grad_out * -z  # (1)
        grad_z = grad_out * (torch.log(z) - n_out + 1)  # (2)
        return grad_n_out, grad_z


class Hinge(Loss):
    """The cost of the support vector machine: J_s = Σ_k max(0, 1 − z_k n_k), with z_k = ±1.

    Derivation:
        z n < 1: ∂J/∂n = −z    (1)
                 ∂J/∂z = −n    (2)
        z n > 1: 0
        z n = 1: no derivative. Convention here, as in torch: 0.

    Often wrong: the mask from n < 1 instead of z n < 1.
    Shapes: n_out [..., k], z [..., k] of −1 or 1; out [...], one cost a sample.
    Source: Cortes, Vapnik, Support-Vector Networks (1995).
    """

    target = "value"

    @staticmethod
    def forward(n_out: Tensor, z: Tensor) -> Tensor:
        return torch.relu(1 - z * n_out).sum(-1)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, n_out: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        within = torch.where(z * n_out < 1, grad_out.unsqueeze(-1), 0)
        grad_n_out = within * -z  # (1)
        grad_z = within * -n_out  # (2)
        return grad_n_out, grad_z


class CosineSimilarity(Rule):
    """The cosine of the angle between two rows: out = Σ_k a_k b_k / (‖a‖ ‖b‖).

    Derivation:
        With â = a/‖a‖ and b̂ = b/‖b‖, two L2Normalize: out = Σ_k â_k b̂_k                             (1)
        grad_â = grad_out b̂,  grad_b̂ = grad_out â                                                    (2)
        grad_a = (grad_â − â Σ_k grad_â_k â_k) / ‖a‖ = grad_out (b̂ − out â) / ‖a‖, and b likewise    (3)
        It is at a right angle to a: to lengthen a changes nothing.

    Often wrong: − out â left out, as if ‖a‖ were a constant.
    Shapes: a [..., k], b [..., k]; out [...]. A norm below eps counts as eps.
    Source: Salton, Wong, Yang, A Vector Space Model for Automatic Indexing (1975).
    """

    @staticmethod
    @half_in_float32
    def forward(a: Tensor, b: Tensor, *, eps: float = 1e-8) -> Tensor:
        return (L2Normalize.forward(a, eps=eps) * L2Normalize.forward(b, eps=eps)).sum(-1)  # (1)

    @staticmethod
    @half_in_float32
    def backward(grad_out: Tensor, out: Tensor, a: Tensor, b: Tensor, *, eps: float = 1e-8) -> tuple[Tensor, Tensor]:
        a_hat, b_hat = L2Normalize.forward(a, eps=eps), L2Normalize.forward(b, eps=eps)
        grad_out = grad_out.unsqueeze(-1)
        (grad_a,) = L2Normalize.backward(grad_out * b_hat, a_hat, a, eps=eps)  # (2), (3)
        (grad_b,) = L2Normalize.backward(grad_out * a_hat, b_hat, b, eps=eps)  # (2), (3)
        return grad_a, grad_b
