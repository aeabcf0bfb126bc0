"""AdamW: gradient descent with two moments of the gradient, and a decay of the weights beside it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

Tensors = Mapping[str, Tensor]


@dataclass
class AdamW:
    """The optimizer of a transformer, and where it stands.

    w ← (1 − rate · decay) w
    m ← β₁ m + (1 − β₁) g,  v ← β₂ v + (1 − β₂) g²
    w ← w − rate · m / (1 − β₁ᵗ) / (√(v / (1 − β₂ᵗ)) + eps)          with t the number of the step, from 1

    betas: β₁ and β₂. decay: of every parameter. clip: the norm ‖g‖ over all parameters together, to which a larger
    gradient is scaled down; None leaves it. moments: m and v of each parameter, by name; empty before the first step.
    Source: Loshchilov, Hutter, Decoupled Weight Decay Regularization (2019); the order of operations is torch's.
    """

    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    decay: float = 0.01
    clip: float | None = None
    steps: int = 0
    moments: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def step(self, parameters: Tensors, gradients: Tensors, rate: float) -> dict[str, Tensor]:
        """The parameters after one step; the moments are those after it, too."""
        beta_1, beta_2 = self.betas
        self.steps += 1
        scale = self.scale(gradients)
        rate_m = rate / (1 - beta_1**self.steps)
        root_v = math.sqrt(1 - beta_2**self.steps)
        updated: dict[str, Tensor] = {}
        for name, w in parameters.items():
            g = gradients[name] * scale if scale < 1 else gradients[name]
            m, v = self.moments.get(name) or (torch.zeros_like(w), torch.zeros_like(w))
            m = m.lerp(g, 1 - beta_1)
            v = (v * beta_2).addcmul(g, g, value=1 - beta_2)
            updated[name] = (w * (1 - rate * self.decay)).addcdiv(m, v.sqrt() / root_v + self.eps, value=-rate_m)
            self.moments[name] = m, v
        return updated

    def step_(self, w: Tensor, m: Tensor, v: Tensor, g: Tensor, rate: float) -> None:
        """The step of the number `steps` in place, of a parameter or a part of one: w, m and v change, g is used up."""
        beta_1, beta_2 = self.betas
        root_v = math.sqrt(1 - beta_2**self.steps)
        m.lerp_(g, 1 - beta_1)
        v.mul_(beta_2).addcmul_(g, g, value=1 - beta_2)
        torch.sqrt(v, out=g).add_(self.eps * root_v)
        w.mul_(1 - rate * self.decay).addcdiv_(m, g, value=-rate * root_v / (1 - beta_1**self.steps))

    def scale(self, gradients: Tensors) -> float:
        """min(1, clip / ‖g‖), as torch.nn.utils.clip_grad_norm_ scales."""
        if self.clip is None:
            return 1.0
        norm = torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(g) for g in gradients.values()]))
        return min(1.0, self.clip / (float(norm) + 1e-6))
