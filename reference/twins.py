"""The twin of each rule: the same function in torch's own primitives, and a domain to draw its inputs from.

The shapes are pairwise different, and nothing is drawn at a kink: a transposed square, or a convention, proves nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Domain = Callable[[Generator], Tensor]


class Twin(NamedTuple):
    """A function through which autograd differentiates, and the domain of each of its inputs."""

    function: Callable[..., Tensor]
    domains: tuple[Domain, ...]

    def draw(self, seed: int) -> tuple[Tensor, ...]:
        """Inputs from the domains, in float64 on the CPU."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(domain(generator) for domain in self.domains)


def normal(*shape: int) -> Domain:
    """Standard normal."""
    return lambda generator: torch.randn(shape, generator=generator, dtype=torch.float64)


def away_from_zero(*shape: int) -> Domain:
    """Standard normal, moved away from zero by a tenth: no kink lies within rounding."""
    return lambda generator: (x := normal(*shape)(generator)) + 0.1 * x.sign()


def probability(*shape: int) -> Domain:
    """Uniform on [0, 1)."""
    return lambda generator: torch.rand(shape, generator=generator, dtype=torch.float64)


def index(below: int, *shape: int) -> Domain:
    """Whole numbers from 0 to below − 1."""
    return lambda generator: torch.randint(below, shape, generator=generator)


def _of_samples(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss of each sample, summed over its outputs."""
    return lambda n, z: loss(n, z, reduction="none").sum(-1)


TWINS: dict[str, Twin] = {
    "Affine": Twin(F.linear, (normal(5, 3), normal(4, 3), normal(4))),
    "Sigmoid": Twin(torch.sigmoid, (normal(5, 3),)),
    "Tanh": Twin(torch.tanh, (normal(5, 3),)),
    "ReLU": Twin(torch.relu, (away_from_zero(5, 3),)),
    "Identity": Twin(torch.clone, (normal(5, 3),)),
    "SigmoidCrossEntropy": Twin(_of_samples(F.binary_cross_entropy_with_logits), (normal(5, 3), probability(5, 3))),
    "SoftmaxCrossEntropy": Twin(lambda n, t: F.cross_entropy(n, t, reduction="none"), (normal(5, 3), index(3, 5))),
    "SquaredError": Twin(lambda n, z: 0.5 * _of_samples(F.mse_loss)(n, z), (normal(5, 3), normal(5, 3))),
}
