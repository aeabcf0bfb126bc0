"""Gradient descent: one round of training, and rounds over mini-batches of a data set."""

import time
from collections.abc import Callable, Iterator
from os import PathLike
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from manual_bp import _checks, checkpoint
from manual_bp._console import Silent, console

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
    net: "Network", X: Tensor, Z: Tensor, *, eta: float, epochs: int, batch_size: int, seed: int = 0,
    file: str | PathLike[str] | None = None, progress: bool = True,
) -> list[float]:  # fmt: skip
    """`Network.fit`."""
    _checks.count("epochs", epochs)
    _checks.count("batch_size", batch_size)
    eta = _checks.eta(eta)
    net._check(X, Z)
    if X.dim() != 2:
        raise ValueError(f"X: expected shape [samples, {net.sizes[0]}], got that of one sample, {list(X.shape)}")
    history: list[float] = []
    if file is not None:
        run = checkpoint.Run.of(net, X, Z, batch_size=batch_size, seed=seed)
        history = checkpoint.resume(file, run, net)
    start = len(history)

    cost = torch.zeros((), dtype=torch.float32 if X.device.type == "mps" else torch.float64, device=X.device)
    step = _step(net, X, Z, eta, batch_size, cost)
    lines = console(stderr=True) if progress else Silent()
    shown = 0.0
    with lines.progress() as bar:
        task = bar.add_task("training", total=epochs * len(X))
        done = 0
        for epoch, batch in minibatches(len(X), epochs=epochs, batch_size=batch_size, seed=seed):
            done += len(batch)
            if epoch < start:  # trained before the interruption; but its shuffling is drawn, as it was then
                continue
            step(batch)
            if done == (epoch + 1) * len(X):
                history.append(float(cost) / len(X))
                cost.zero_()
                if file is not None:
                    checkpoint.save(file, run, net, history)
            if time.monotonic() > shown + 0.1:  # a step may be as short as the drawing of the bar is long
                shown = time.monotonic()
                last = f", cost {history[-1]:.4g}" if history else ""
                bar.update(task, description=f"epoch {epoch + 1} of {epochs}{last}", completed=done)
    return history


def _step(net: "Network", X: Tensor, Z: Tensor, eta: float, batch_size: int, cost: Tensor) -> Callable[[Tensor], None]:
    """What trains on the samples of these indices, and adds their costs up."""
    replay: Callable[[Tensor, Tensor], None] | None = None

    def step(batch: Tensor) -> None:
        nonlocal replay
        batch = batch.to(X.device, non_blocking=True)
        x, z = X[batch], Z[batch]
        if X.device.type != "cuda" or len(batch) < batch_size:  # a graph is for batches of one shape
            net.step(x, z, eta, cost=cost)
        else:
            replay = replay or net._graph(x, z, eta, cost)
            replay(x, z)

    return step
