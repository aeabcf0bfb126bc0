"""The catalogue of rules: each a forward, its hand-written backward, and the derivation between them.

In the derivations grad_x is ∂J/∂x of some scalar J, in the shape of x; a letter under a Σ is summed over; [k = j] is 1
where k = j and else 0; ⟨X, Y⟩ is the sum of the products of their elements; σ is the Sigmoid, unless it is a standard
deviation. A line that ends in the name of a rule is that rule, applied.
"""

from manual_bp.rules._rule import RULES, Rule
from manual_bp.rules.activations import *  # noqa: F403
from manual_bp.rules.affine import *  # noqa: F403
from manual_bp.rules.attention import *  # noqa: F403
from manual_bp.rules.losses import *  # noqa: F403
from manual_bp.rules.matrices import *  # noqa: F403
from manual_bp.rules.normalization import *  # noqa: F403
from manual_bp.rules.recurrence import *  # noqa: F403
from manual_bp.rules.shaping import *  # noqa: F403

__all__ = ["RULES", "Rule", *RULES]
