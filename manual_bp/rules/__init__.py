"""The catalogue of rules: each a forward, its hand-written backward, and the derivation between them.

Notation: grad_x is ∂J/∂x of some scalar J, in the shape of x. The letters under a Σ are summed over; [k = j] is 1 where
k = j, else 0; ⟨X, Y⟩ is the sum of the products of their elements; σ( ) is the Sigmoid, σ alone a standard deviation. A
line with the name of a rule after it is that rule, applied. An equation with a number is the line of code that ends in
the same number. A function under half_in_float32 computes bfloat16 and float16 in float32, and rounds once.
"""

from manual_bp.rules._rule import RULES, Rule
from manual_bp.rules.activations import *  # noqa: F403
from manual_bp.rules.affine import *  # noqa: F403
from manual_bp.rules.attention import *  # noqa: F403
from manual_bp.rules.losses import *  # noqa: F403
from manual_bp.rules.losses import Loss
from manual_bp.rules.matrices import *  # noqa: F403
from manual_bp.rules.normalization import *  # noqa: F403
from manual_bp.rules.recurrence import *  # noqa: F403
from manual_bp.rules.shaping import *  # noqa: F403

__all__ = ["RULES", "Loss", "Rule", *RULES]
