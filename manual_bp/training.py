"""Gradient descent: one round of training, and rounds over mini-batches of a data set."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from manual_bp import _checks

if TYPE_CHECKING:
    from manual_bp.network import Gradients, Network, Trace


def one_round(net: "Network", x: Tensor, z: Tensor, eta: float) -> "tuple[Trace, Gradients]":
    """One round of training: the forward phase, then every delta from the weights it used, then every weight once."""
    trace = net.forward(x)
    grads = net.backward(trace, z)
    net.update(grads, eta)
    return trace, grads


def minibatches(samples: int, *, epochs: int, batch_size: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """The epoch and the indices of each mini-batch, shuffled anew in each epoch; the last of one may be smaller.

    The same seed gives the same batches, on every device: the indices are drawn on the CPU, where they are.
    """
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for batch in torch.split(torch.randperm(samples, generator=generator), batch_size):
            yield epoch, batch


def fit(
    net: "Network", X: Tensor, Z: Tensor, *, eta: float, epochs: int, batch_size: int, seed: int = 0
) -> list[float]:
    """Train on X [samples, n₀] and Z; returns for each epoch the mean cost of the samples, each before its own step."""
    _checks.count("epochs", epochs)
    _checks.count("batch_size", batch_size)
    if X.dim() != 2 or not len(X) or len(Z) != len(X):
        raise ValueError(
            f"X, Z: expected X [samples, inputs] and as many targets in Z, got {list(X.shape)} and {list(Z.shape)}"
        )
    history = torch.zeros(epochs, dtype=torch.float64, device=X.device)
    for epoch, batch in minibatches(len(X), epochs=epochs, batch_size=batch_size, seed=seed):
        batch = batch.to(X.device)
        history[epoch] += net.step(X[batch], Z[batch], eta) * len(batch) / len(X)
    return history.tolist()
