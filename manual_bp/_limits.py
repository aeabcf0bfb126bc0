"""Elementary functions that keep their limits where floating point would lose them."""

import torch
from torch import Tensor


def exp(x: Tensor) -> Tensor:
    """e^x, and the largest finite number where that overflows: a product with zero then is zero, and not nan."""
    return torch.exp(x).clamp(max=torch.finfo(x.dtype).max)


def times_log(p: Tensor, log_q: Tensor) -> Tensor:
    """p·log q with the limit 0·log 0 = 0: as −0, so that a cost of nothing, −p·log q, is 0 and not −0."""
    return torch.where(p == 0, -0.0, p * log_q)
