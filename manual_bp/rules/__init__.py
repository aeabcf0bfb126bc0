"""The catalogue of rules: each a forward, its hand-written backward, and the derivation between them."""

from manual_bp.rules._rule import RULES, Rule
from manual_bp.rules.activations import Identity, ReLU, Sigmoid, Tanh
from manual_bp.rules.affine import Affine
from manual_bp.rules.losses import SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError

__all__ = [
    "RULES",
    "Affine",
    "Identity",
    "ReLU",
    "Rule",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "SoftmaxCrossEntropy",
    "SquaredError",
    "Tanh",
]
