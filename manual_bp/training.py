"""Gradient descent over the mini-batches of a data set, epoch by epoch."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from manual_bp._console import Silent, console


@dataclass(frozen=True)
class History:
    """A training, epoch by epoch; that of a transformer, step by step.

    cost: the mean cost of the samples, each before the step that it is in. held_out_cost, held_out_accuracy: of the
    samples held out, after the epoch, or each time that a transformer is evaluated; empty without them, and the
    accuracy where targets are values, and for a transformer.
    """

    cost: list[float] = field(default_factory=list)
    held_out_cost: list[float] = field(default_factory=list)
    held_out_accuracy: list[float] = field(default_factory=list)

    def add_held_out(self, cost: float, accuracy: float | None) -> None:
        """What `evaluate` found on the samples held out."""
        self.held_out_cost.append(cost)
        if accuracy is not None:
            self.held_out_accuracy.append(accuracy)


class DivergedError(ArithmeticError):
    """The cost of a training grows without bound."""


GROWN = 1e4  # times the untrained cost: then it diverges, even where it is finite still


def refuse_divergence(costs: Sequence[float], untrained: float, parameters: Iterable[Tensor], eta: float) -> None:
    """Raises DivergedError where the last epoch's cost, or a parameter after it, shows that the training diverges."""
    if sign := _divergence(costs[-1], untrained, parameters):
        raise DivergedError(
            f"epoch {len(costs)}: the training diverges, {sign}: choose an eta smaller than {eta:g}, "
            "or scale the inputs to about -1 to 1"
        )


def refuse_diverged_steps(costs: Sequence[float], parameters: Iterable[Tensor], rate: float) -> None:
    """The same where costs are those of the steps."""
    if sign := _divergence(costs[-1], costs[0], parameters):
        raise DivergedError(f"step {len(costs)}: the training diverges, {sign}: choose a rate smaller than {rate:g}")


def _divergence(cost: float, untrained: float, parameters: Iterable[Tensor]) -> str | None:
    """What shows that a training diverges."""
    if not cost <= GROWN * max(1.0, untrained):  # nan is not, either
        return f"the cost is {cost:.4g}"
    if not all(bool(parameter.isfinite().all()) for parameter in parameters):
        return "a weight or bias is not finite any more"
    return None


def minibatches(samples: int, *, epochs: int, batch_size: int, seed: int) -> Iterator[tuple[int, Tensor]]:
    """The epoch and the indices of each mini-batch, shuffled anew in each epoch; the last of one may be smaller.

    The same seed gives the same batches, on every device: the indices are drawn on the CPU, where they are.
    """
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(epochs):
        for batch in torch.split(torch.randperm(samples, generator=generator), batch_size):
            yield epoch, batch


def windows(data: Tensor, length: int, *, steps: int, batch_size: int, seed: int) -> Iterator[Tensor]:
    """For each step so many windows of a text [tokens], [batch_size, length], drawn at random.

    The same seed gives the same ones on every device: where they begin is drawn on the CPU.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield _windows_at(data, length, torch.randint(len(data) - length + 1, (batch_size,), generator=generator))


def spread(data: Tensor, length: int, most: int) -> Tensor:
    """Windows of a text [tokens] from its beginning to its end, evenly spread, [most, length], or as many as differ."""
    last = len(data) - length
    return _windows_at(data, length, torch.linspace(0, last, min(most, last + 1), dtype=torch.float64).round().long())


def _windows_at(data: Tensor, length: int, starts: Tensor) -> Tensor:
    return data[(starts[:, None] + torch.arange(length)).to(data.device)]


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


def settle(device: torch.device) -> None:
    """Have a lazy device, as XLA, compute what it was asked for: until a value is read it writes all steps down."""
    if device.type == "xla":
        sys.modules["torch_xla"].sync()


def epochs_of(
    step: Callable[[Tensor], None], samples: int, cost: Tensor, history: History, *, epochs: int, batch_size: int,
    seed: int, progress: bool,
) -> Iterator[None]:  # fmt: skip
    """Train epoch by epoch, and stop after each: its mean cost is in history then, and what else is put there is shown.

    step: trains on the samples of these indices, and adds their costs up in cost. history: of the epochs that were
    trained before; they are not trained again, but their shuffling is drawn, as it was then.
    """
    start = len(history.cost)
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
            settle(cost.device)
            if done == (epoch + 1) * samples:
                history.cost.append(float(cost) / samples)
                cost.zero_()
                yield
            # A step may be as short as the drawing of the bar is long.
            if time.monotonic() > shown + 0.1 or done == epochs * samples:
                shown = time.monotonic()
                bar.update(task, description=f"epoch {epoch + 1} of {epochs}{_last(history)}", completed=done)


def steps_of(
    step: Callable[[Tensor], Tensor], windows: Iterable[Tensor], history: History, lines: Any, *, steps: int, every: int
) -> Iterator[int]:  # fmt: skip
    """Train step by step, and stop after each `every` steps and the last, at their number: their costs are in history.

    step: trains on these windows, and returns their cost, which is not waited for before. lines: the console with the
    bar.
    """
    shown = 0.0
    costs: list[Tensor] = []
    with lines.progress() as bar:
        task = bar.add_task("training", total=steps)
        for done, window in enumerate(windows, start=len(history.cost) + 1):
            costs.append(step(window))
            settle(window.device)
            if done % every == 0 or done == steps:
                history.cost.extend(torch.stack(costs).tolist())
                costs.clear()
                yield done
            if time.monotonic() > shown + 0.1 or done == steps:
                shown = time.monotonic()
                bar.update(task, description=f"step {done} of {steps}{_last(history)}", completed=done)


def _last(history: History) -> str:
    """What the last epoch ended with."""
    cost = f", cost {history.cost[-1]:.4g}" if history.cost else ""
    accuracy = f", held-out accuracy {history.held_out_accuracy[-1]:.1%}" if history.held_out_accuracy else ""
    return cost + accuracy
