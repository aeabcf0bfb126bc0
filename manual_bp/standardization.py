"""Columns brought to a mean of 0 and a deviation of 1, and the network of them as one of the columns as they were."""

from typing import NamedTuple

import torch
from torch import Tensor

from manual_bp import _checks
from manual_bp.network import Network


class Standard(NamedTuple):
    """The mean m and the standard deviation s of each column; s is ∞ where a column is constant, and tells nothing."""

    m: Tensor
    s: Tensor

    @classmethod
    def of(cls, columns: Tensor) -> "Standard":
        """Of the columns of [samples, columns]. Raises ValueError where one is not finite in float64."""
        m, s = columns.mean(0), columns.std(0, correction=0)
        _checks.finite("standard deviation of each column", s)
        varies = columns.amax(0) > columns.amin(0)  # that of 0.1 in all rows is not 0 but rounding
        return cls(m, s.where(varies, torch.inf))

    def __call__(self, columns: Tensor) -> Tensor:
        """(x − m) / s"""
        return (columns - self.m) / self.s


def of_raw(net: Network, x: Standard, z: Standard | None = None) -> Network:
    """The network, on the CPU, that takes inputs as they were before they were standardized, and gives such outputs.

    First layer: w (x − m)/s + b = (w/s) x + (b − (w/s) m). Last layer, an identity's, with z: s (w a + b) + m. Computed
    in float64, and rounded once.
    """
    weights = [w.cpu().double() for w in net.weights]
    biases = [b.cpu().double() for b in net.biases]
    weights[0] = weights[0] / x.s
    biases[0] = biases[0] - weights[0] @ x.m.cpu().double()
    if z:
        s = z.s.where(z.s.isfinite(), 0)  # what is constant is its mean
        weights[-1] = s[:, None] * weights[-1]
        biases[-1] = s * biases[-1] + z.m
    dtype = net.dtype
    return Network([w.to(dtype) for w in weights], [b.to(dtype) for b in biases], net.activations, net.cost_rule)
