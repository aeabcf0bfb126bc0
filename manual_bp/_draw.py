"""Random parameters."""

import torch
from torch import Tensor

PART = 2**16  # numbers that are drawn at once: in float64 those of a whole network take twice its memory


def normal_(p: Tensor, deviation: float, generator: torch.Generator) -> None:
    """Fill p with normal numbers of this deviation: the same on every device, and in every dtype but for rounding."""
    for part in p.view(-1).split(PART):
        part.copy_(torch.randn(len(part), generator=generator, dtype=torch.float64).mul_(deviation))
