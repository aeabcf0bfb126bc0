"""Gradient descent over the mini-batches of a data set, epoch by epoch."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor

from manual_bp._console import Silent, console


def minibatches(samples: int, *, epochs: int, batch_size: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """The epoch and the indices of each mini-batch, shuffled anew in each epoch; the last of one may be smaller.

    The same seed gives the same batches, on every device: the indices are drawn on the CPU, where they are.
    """
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for batch in torch.split(torch.randperm(samples, generator=generator), batch_size):
            yield epoch, batch


SMALL = 2**20  # multiplications of a product: with more of them several threads are faster


@contextmanager
def threads_for(sizes: Sequence[int], batch_size: int) -> Iterator[None]:
    """One thread for a small network, and what is set again behind it.

    Threads that wait for each other beside other processes take a hundred times as long as they compute.
    """
    threads = torch.get_num_threads()
    if batch_size * max(m * n for m, n in pairwise(sizes)) <= SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def epochs_of(
    step: Callable[[Tensor], None], samples: int, cost: Tensor, history: list[float], *, epochs: int, batch_size: int,
    seed: int, progress: bool,
) -> Iterator[list[float]]:  # fmt: skip
    """Train epoch by epoch, and hand out the mean cost of the samples of each so far, after every one.

    step: trains on the samples of these indices, and adds their costs up in cost. history: of the epochs that were
    trained before; they are not trained again, but their shuffling is drawn, as it was then.
    """
    start = len(history)
    lines = console(stderr=True) if progress else Silent()
    shown = 0.0
    with lines.progress() as bar:
        task = bar.add_task("training", total=epochs * samples)
        done = 0
        for epoch, batch in minibatches(samples, epochs=epochs, batch_size=batch_size, seed=seed):
            done += len(batch)
            if epoch < start:
                continue
            step(batch)
            if done == (epoch + 1) * samples:
                history.append(float(cost) / samples)
                cost.zero_()
                yield history
            if time.monotonic() > shown + 0.1:  # a step may be as short as the drawing of the bar is long
                shown = time.monotonic()
                last = f", cost {history[-1]:.4g}" if history else ""
                bar.update(task, description=f"epoch {epoch + 1} of {epochs}{last}", completed=done)
