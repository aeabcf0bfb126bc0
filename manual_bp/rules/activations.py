"""What a neuron does between its in side and its out side, element by element."""

import torch
from torch import Tensor

from manual_bp.rules._rule import Rule


class Sigmoid(Rule):
    """The logistic function, the article's neuron: out = 1 / (1 + e^(−x)).

    Derivation:
        ∂out/∂x = e^(−x) / (1 + e^(−x))²
                = 1/(1 + e^(−x)) · e^(−x)/(1 + e^(−x))      and e^(−x)/(1 + e^(−x)) = 1 − out, so
                = out (1 − out)

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

    Shapes: x [...]; out [...].
    """

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(grad_out: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
        return (grad_out.clone(),)
