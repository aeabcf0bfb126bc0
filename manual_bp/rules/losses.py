"""Costs of each sample, summed over its outputs. The mean over a batch is the caller's: it is the 1/N in grad_out."""

from collections.abc import Callable
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from manual_bp._limits import exp, times_log
from manual_bp.rules._rule import Rule
from manual_bp.rules.activations import Identity, Sigmoid


class Loss(Rule, abstract=True):
    """A rule whose out is the cost of each sample, and whose inputs are the last layer's neurons and their targets z.

    `target` says what z holds: "probability" (a number from 0 to 1 for each output), "class" (one class index a
    sample) or "value" (any number for each output). `output` is the activation with which the cost is fused: such a
    cost takes the neurons' n(in), and gives ∂J/∂n(out) as `delta_out`. Without one it takes n(out), whatever the
    activation.
    """

    target: ClassVar[Literal["probability", "class", "value"]]
    output: ClassVar[type[Rule] | None] = None
    delta_out: ClassVar[Callable[..., Tensor]]


class SigmoidCrossEntropy(Loss):
    """The article's cost, fused with the sigmoid before it.

    J_s = −Σ_k [ z_sk·log σ(n_sk) + (1−z_sk)·log(1 − σ(n_sk)) ]

    It takes n(in), not n(out): log σ(n) and log(1 − σ(n)) = log σ(−n) are then exact where σ(n) rounds to 0 or 1, and
    the gradient never divides.

    Derivation:
        With out = σ(n):
        ∂J/∂out = −z/out + (1−z)/(1−out)               first factor of (2)
        ∂out/∂n = out (1−out)                          second factor of (2)
        ∂J/∂n   = −z (1−out) + (1−z) out = out − z     their product; the step to fuse: no division is left
        ∂J/∂z   = −log σ(n) + log σ(−n) = −n           for σ(n)/σ(−n) = e^n

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
        return grad_out * (torch.sigmoid(n_in) - z), grad_out * -n_in

    @staticmethod
    def delta_out(grad_out: Tensor, n_in: Tensor, z: Tensor) -> Tensor:
        """The first factor alone, from 1/n(out) = 1 + e^(−n(in)) and 1/(1−n(out)) = 1 + e^(n(in)); finite."""
        return grad_out.unsqueeze(-1) * (-z * (1 + exp(-n_in)) + (1 - z) * (1 + exp(n_in)))


class SoftmaxCrossEntropy(Loss):
    """The cost of one class among many, fused with the softmax before it: J_s = −log p_s,target with p = softmax(n).

    Derivation:
        With p_k = e^(n_k) / Σ_j e^(n_j) and t the target class:
        J       = −n_t + log Σ_j e^(n_j)
        ∂J/∂n_k = −[k = t] + e^(n_k) / Σ_j e^(n_j)
                = p_k − [k = t]                        at every class, not only the target's
        The class index has no derivative.

    Shapes: n_in [..., k], target [...] of class indices from 0 to k−1; out [...], one cost a sample.
    Source: Bridle, Probabilistic Interpretation of Feedforward Classification Network Outputs (1990).
    """

    target = "class"
    output = Identity

    @staticmethod
    def forward(n_in: Tensor, target: Tensor) -> Tensor:
        t = target.long().unsqueeze(-1)
        return -torch.log_softmax(n_in, -1).gather(-1, t).squeeze(-1)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, n_in: Tensor, target: Tensor) -> tuple[Tensor, None]:
        t = target.long().unsqueeze(-1)
        p = torch.softmax(n_in, -1)
        return grad_out.unsqueeze(-1) * p.scatter(-1, t, p.gather(-1, t) - 1), None

    @staticmethod
    def delta_out(grad_out: Tensor, n_in: Tensor, target: Tensor) -> Tensor:
        """∂J/∂n(out): the same as ∂J/∂n(in), for the network's outputs are the softmax's inputs, n(out) = n(in)."""
        return SoftmaxCrossEntropy.backward(grad_out, grad_out, n_in, target)[0]


class SquaredError(Loss):
    """Half the squared distance to the target: J_s = ½ Σ_k (n_sk − z_sk)².

    Convention: the ½ takes away the 2 of the derivative, so that δ = n − z, just as for the two cross entropies;
    summed over the outputs as those are, and so a log-likelihood (of a normal distribution with variance 1) as they
    are. Mind torch.nn.MSELoss: its mean over samples and outputs together is 2/k times the mean over samples of this.

    Derivation:
        ∂J/∂n_k = ½·2 (n_k − z_k) = n_k − z_k
        ∂J/∂z_k = −(n_k − z_k)

    Shapes: n_out [..., k], z [..., k]; out [...], one cost a sample. Source: Rumelhart, Hinton, Williams, Learning
    representations by back-propagating errors (Nature 323, 1986), equation (3).
    """

    target = "value"

    @staticmethod
    def forward(n_out: Tensor, z: Tensor) -> Tensor:
        return 0.5 * ((n_out - z) ** 2).sum(-1)

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, n_out: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        grad_n_out = grad_out.unsqueeze(-1) * (n_out - z)
        return grad_n_out, -grad_n_out
