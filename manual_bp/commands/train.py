"""`manual-bp train`: train a network by hand-written backward propagation, beside autograd on the same batches."""

import math
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from crosscheck import Report, devices
from crosscheck.report import shown
from crosscheck.row import dtype_name
from crosscheck.verdict.judge import Known, rows_of
from crosscheck.verdict.precision import FACTOR, distance, dtypes_of, norm, place_of_oracle, unit_roundoff
from manual_bp import _checks, distributed
from manual_bp._console import Silent, console
from manual_bp.checkpoint import Labels, digest
from manual_bp.commands import CommandError
from manual_bp.commands._shares import exit_code
from manual_bp.commands._writing import can_draw, can_write, draw, writing
from manual_bp.commands.subjects import network, twin_names
from manual_bp.data import DataError, load
from manual_bp.network import COSTS, Network
from manual_bp.standardization import Standard, of_raw
from manual_bp.training import DivergedError, History, minibatches, refuse_divergence, settle, threads_for
from reference.network import Twin


def train(
    data: str,
    hidden: list[int],
    activation: str,
    cost: str | None,
    eta: float,
    epochs: int,
    batch_size: int,
    seed: int,
    device: str,
    dtype: str,
    verify_every: int | None,
    figure: str | None,
    target: str | None,
    save: str | None,
) -> int:
    """Train, print cost and accuracy on a held-out fifth, and how far autograd + SGD is; returns the exit code."""
    try:
        for what, value in (
            ("--epochs", epochs),
            ("--batch-size", batch_size),
            ("--verify-every", 1 if verify_every is None else verify_every),
            *(("--hidden", neurons) for neurons in hidden),
        ):
            _checks.count(what, value)
        _checks.number("--eta", eta)
        if figure:
            can_draw(figure)
        if save:
            can_write(f"--save {save}", save)
        if data != "digits" and not Path(data).exists():
            raise ValueError(f"--data {data}: expected digits, or a .npz or .csv file, got no file of that name")
        (X, Z), labels = load(data, target, values=cost is not None and COSTS[cost].target != "class")
        if len(X) < 5:
            raise ValueError(f"--data {data}: expected at least 5 samples, to hold out a fifth, got {len(X)}")
        if cost is None and data.endswith(".csv") and Z.dim() == 1:
            _refuse_values(data, Z, labels)
        cost = cost or ("softmax_cross_entropy" if Z.dim() == 1 else "squared_error")
        _fits(cost, Z)
        outputs = Z.shape[1] if Z.dim() == 2 else int(Z.max()) + 1
        activations = [activation] * len(hidden) + ["sigmoid" if cost == "cross_entropy" else "identity"]
        sizes = [X.shape[1], *hidden, outputs]
        place = devices.device(distributed.own(device))
        net = _random(sizes, seed, getattr(torch, dtype), place, activations, cost)
        shuffled = torch.randperm(len(X), generator=torch.Generator().manual_seed(seed))
        held_out, kept = shuffled[: len(X) // 5], shuffled[len(X) // 5 :]
        standards, x, z = None, X, Z
        if data != "digits":  # which lie from 0 to 1
            standards = Standard.of(X[kept]), Standard.of(Z[kept]) if cost == "squared_error" else None
            x, z = standards[0](X), standards[1](Z) if standards[1] else Z
        run = _Run(net, eta, x[kept], z[kept])
        test_x, test_z = run.on_net(x[held_out]), run.on_net(z[held_out])
        untrained = float(net.cost(run.X, run.Z))  # refuses what is not finite in this dtype
        net.cost(test_x, test_z)
    except (DataError, TypeError, ValueError) as error:
        raise CommandError(str(error)) from None

    described = f"{'-'.join(map(str, sizes))}, {activation}, {cost}, in {dtype}"
    setting = f"network {described} on {place}"
    plan = _Plan(
        setting, (test_x, test_z), untrained, epochs, batch_size, seed, verify_every, figure, save, labels, standards
    )
    if not distributed.launched():
        return _train(run, plan, None, console())
    try:
        with distributed.joined(place) as processes:
            processes.agree(
                network=described, weights=digest(*net.weights, *net.biases), data=digest(X, Z), eta=eta, epochs=epochs,
                batch_size=batch_size, seed=seed, verify_every=verify_every,
            )  # fmt: skip
            plan = replace(plan, setting=f"{setting}, by {processes.size} processes")
            return _train(run, plan, processes, console() if processes.rank == 0 else Silent())
    except distributed.DistributedError as error:
        raise CommandError(str(error)) from None


FEW = 5  # samples of a class, on average; classes of fewer are asked for


def _refuse_values(data: str, Z: Tensor, labels: Labels) -> None:
    """Raises ValueError for whole numbers that look like values to be told, rather than like classes."""
    numbers = len(Z.unique())
    is_whole = all(re.fullmatch(r"[+-]?\d+", name) for name in labels.classes)
    if is_whole and numbers > FEW and numbers * FEW > len(Z):
        raise ValueError(
            f"--data {data}: expected classes of at least {FEW} samples on average, got {numbers} different whole "
            f"numbers in {len(Z)} samples: --cost squared_error takes them as values, "
            "--cost softmax_cross_entropy as classes"
        )


# What Z holds for a cost whose rule has this target
HOLDS = {
    "class": "class indices: whole numbers [samples]",
    "probability": "numbers from 0 to 1: floats [samples, outputs]",
    "value": "values: floats [samples, outputs]",
}


ROUNDED = 1e-3  # of a standard deviation; a rounding of more is told


def _told(x: Standard, z: Standard | None, dtype: torch.dtype, names: list[str]) -> str:
    """What is said of the columns: how they are standardized, and those whose digits the dtype does not keep."""
    what = "inputs and targets" if z else "inputs"
    told = f"{what} standardized: less their mean, divided by their standard deviation"
    told += "; to tell the mean alone costs 0.5 an output" * (z is not None)
    rounded = (x.m.abs() * unit_roundoff(dtype) > ROUNDED * x.s).nonzero().flatten().tolist()
    if rounded:
        listed = ", ".join([names[i] if names else f"X[:, {i}]" for i in rounded][:5]) + ", ..." * (len(rounded) > 5)
        told += f"\n{listed}: in {dtype_name(dtype)} little is left of how its numbers differ: try --dtype float64"
    return told


def _fits(cost: str, Z: Tensor) -> None:
    """Raises ValueError for class indices where a cost takes values, the other way round, and for no probabilities."""
    target = COSTS[cost].target
    if (target == "class") != (Z.dim() == 1):
        got = HOLDS["class" if Z.dim() == 1 else "value"]
        raise ValueError(f"--cost {cost}: expected Z to hold {HOLDS[target]}, got {got}")
    if target == "probability":
        _checks.probabilities(f"--cost {cost}: Z", Z)


def _random(
    sizes: list[int], seed: int, dtype: torch.dtype, place: torch.device, activations: list[str], cost: str
) -> Network:
    """A random network. Raises ValueError, with torch's reason, for one that there is no memory for, above all."""
    try:
        return Network.random(sizes, seed=seed, dtype=dtype, device=place, activation=activations, cost=cost)
    except (RuntimeError, TypeError) as error:  # a size of more than 64 bits is of the wrong type
        size, reason = "-".join(map(str, sizes)), _checks.first_line(error)
        what = "too large for" if re.search("allocate|out of memory|[Oo]verflow", reason) else "cannot be made on"
        raise ValueError(f"network {size}: {what} {place}: {reason}") from None


@dataclass(frozen=True)
class _Plan:
    """What is trained, in words, the samples held out, and how: as `train` is asked to."""

    setting: str
    held_out: tuple[Tensor, Tensor]
    untrained: float  # the cost
    epochs: int
    batch_size: int
    seed: int
    verify_every: int | None
    figure: str | None
    save: str | None
    labels: Labels
    standards: tuple[Standard, Standard | None] | None  # of inputs and targets, where they are standardized


def _train(run: "_Run", plan: _Plan, processes: distributed.Processes | None, lines: Any) -> int:
    """Train by hand, and in the first process by autograd beside it."""
    samples = len(run.X)
    first = processes is None or processes.rank == 0
    lines.print(plan.setting)
    if classes := plan.labels.classes:
        lines.print(f"{len(classes)} classes: {', '.join(classes[:10])}{', ...' * (len(classes) > 10)}")
    if plan.standards:
        lines.print(_told(*plan.standards, run.dtype, plan.labels.inputs))
    lines.print(f"{samples} samples to train on, {len(plan.held_out[0])} held out\n")
    lines.print("epoch        cost  held-out cost  held-out accuracy", style="bold")
    steps_in_epoch = math.ceil(samples / plan.batch_size)
    batches = minibatches(samples, epochs=plan.epochs, batch_size=plan.batch_size, seed=plan.seed)
    history = History()
    spent = 0.0
    with threads_for(run.net.sizes, plan.batch_size), lines.progress() as progress:
        task = progress.add_task("training", total=plan.epochs * steps_in_epoch)
        for step, (_, batch) in enumerate(batches, start=1):
            if first and plan.verify_every and step % plan.verify_every == 0:
                report = run.crosschecked(batch, plan.seed)
                if not report.ok:
                    lines.print(f"step {step}: {report}")
                    return exit_code([report])
            started = time.perf_counter()
            run.by_hand(batch, processes)
            settle(run.place)
            spent += time.perf_counter() - started
            if first:
                run.by_autograd(batch)
                settle(run.place)
            progress.advance(task)
            if step % steps_in_epoch == 0:
                _end_of_epoch(run, plan, history, lines)
    if not first:
        return 0
    steps = plan.epochs * steps_in_epoch
    waiting = "" if processes is None else ", the waiting for each other included"
    lines.print(f"\n{steps} steps by hand, {1e6 * spent / steps:.0f} µs each{waiting}")
    if plan.save:
        with writing(f"--save {plan.save}"):
            (of_raw(run.net, *plan.standards) if plan.standards else run.net).save(plan.save, labels=plan.labels)
        lines.print(f"network: {plan.save}")
    return _end(run, plan, steps, history, lines)


def _end_of_epoch(run: "_Run", plan: _Plan, history: History, lines: Any) -> None:
    """Print an epoch's line, and keep it in history. Raises CommandError where the training diverges."""
    history.cost.append(run.cost_of_epoch())
    try:
        refuse_divergence(history.cost, plan.untrained, (*run.net.weights, *run.net.biases), run.eta)
    except DivergedError as error:
        raise CommandError(str(error)) from None
    held_out_cost, accuracy = run.net.evaluate(*plan.held_out)
    history.add_held_out(held_out_cost, accuracy)
    share = "-" if accuracy is None else f"{accuracy:.1%}"
    lines.print(f"{len(history.cost):5d}  {history.cost[-1]:10.6f}  {held_out_cost:13.6f}  {share:>17}")


def _end(run: "_Run", plan: _Plan, steps: int, history: History, lines: Any) -> int:
    """Print how far autograd is, and draw the training if that is asked for; returns the exit code."""
    if plan.verify_every:
        checked = steps // plan.verify_every
        lines.print(f"cross-checked against autograd in {dtype_name(run.widest)} at {checked} of them: all agree")
    report = run.distance()
    lines.print(
        "\nDistance from autograd + SGD on the same batches, in roundoffs; the budget is 16 × autograd's own error:"
    )
    lines.print(shown(report.rows))
    if plan.figure:
        from manual_bp.commands.plots import plot_training

        costs, held_out_costs, accuracies = history.cost, history.held_out_cost, history.held_out_accuracy
        draw(plot_training(costs, held_out_costs, accuracies, plan.setting), plan.figure)
        lines.print(f"figure: {plan.figure}")
    if report.ok:
        verdict, style = "all agree", "bold"
    elif report.is_mismatch:
        verdict, style = "MISMATCH, more than rounding explains", "bold red"
    else:
        verdict, style = "not judged, rounding alone takes them so far apart: try a smaller --eta", "bold yellow"
    lines.print(f"{run.farthest()}: {verdict}", style=style)
    return exit_code([report])


class _Run:
    """One training by hand, and the same by autograd + SGD, in float32 and in float64, the oracle."""

    def __init__(self, net: Network, eta: float, X: Tensor, Z: Tensor) -> None:
        self.net, self.eta = net, eta
        self.X, self.Z = self.on_net(X), self.on_net(Z)
        self.dtype, self.place = self.X.dtype, self.X.device
        # Where it is cross-checked, and there alone: in a lower one a relu's neuron may come to lie on the other side
        # of its kink.
        self.widest = dtypes_of(self.place)[0]
        self.cost = torch.zeros((), dtype=self.widest, device=self.place)
        activations, cost = twin_names(net)
        self.twins: dict[torch.dtype, Twin] = {}
        self.data: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
        self.optimizers: dict[torch.dtype, torch.optim.SGD] = {}
        for dtype, place in ((torch.float32, self.place), (torch.float64, place_of_oracle(self.place))):
            weights, biases = ([p.to(place).to(dtype) for p in params] for params in (net.weights, net.biases))
            self.twins[dtype] = Twin(weights, biases, activations, cost)
            self.optimizers[dtype] = torch.optim.SGD(self.twins[dtype].parameters(), lr=eta)
            z = self.Z.to(place)
            self.data[dtype] = self.X.to(place).to(dtype), z.to(dtype) if z.is_floating_point() else z

    def on_net(self, values: Tensor) -> Tensor:
        """The values where the network is, and in its dtype unless they are class indices."""
        like = self.net.weights[0]
        return values.to(like.device, like.dtype if values.is_floating_point() else values.dtype)

    def crosschecked(self, batch: Tensor, seed: int) -> Report:
        """The verdict on the gradients of a batch at the weights of now."""
        return network(self.net, self.X[batch], self.Z[batch], self.eta, self.place, [self.widest], seed)

    def by_hand(self, batch: Tensor, processes: distributed.Processes | None) -> None:
        """A step in place, or with the other processes."""
        if processes is None:
            self.net.step(self.X[batch], self.Z[batch], self.eta, cost=self.cost)
        else:
            part = processes.share(batch)
            J = processes.step(self.net, self.X[part], self.Z[part], self.eta, samples=len(batch))
            self.cost += J * len(batch)

    def cost_of_epoch(self) -> float:
        """The mean cost of the samples since the last call, each before its own step."""
        mean = float(self.cost) / len(self.X)
        self.cost.zero_()
        return mean

    def by_autograd(self, batch: Tensor) -> None:
        for dtype in self.twins:
            X, Z = self.data[dtype]
            self.optimizers[dtype].zero_grad()
            self._cost(dtype, X[batch], Z[batch]).backward()
            self.optimizers[dtype].step()

    def _cost(self, dtype: torch.dtype, x: Tensor, z: Tensor) -> Tensor:
        n_in, n_out = self.twins[dtype](x)
        return self.twins[dtype].J(n_in[-1], n_out[-1], z)

    def _trained(self, dtype: torch.dtype) -> dict[str, Tensor]:
        """The weights by autograd, and the cost of all the samples."""
        parameters = [parameter.detach() for parameter in self.twins[dtype].parameters()]
        J = self._cost(dtype, *self.data[dtype]).detach()
        return self._named(parameters[::2], parameters[1::2], J)

    def _trained_by_hand(self) -> dict[str, Tensor]:
        return self._named(self.net.weights, self.net.biases, self.net.cost(self.X, self.Z))

    @staticmethod
    def _named(weights: Sequence[Tensor], biases: Sequence[Tensor], J: Tensor) -> dict[str, Tensor]:
        values = {f"weight[{layer}]": w for layer, w in enumerate(weights)}
        return values | {f"bias[{layer}]": b for layer, b in enumerate(biases)} | {"J": J}

    def distance(self) -> Report:
        """The verdict on the trained weights and their cost; autograd's own error is the yardstick."""
        oracle, in_float32 = self._trained(torch.float64), self._trained(torch.float32)
        u, u32 = unit_roundoff(self.dtype), unit_roundoff(torch.float32)
        budgets = {
            name: FACTOR * u / u32 * max(distance(in_float32[name], o), u32 * norm(o)) for name, o in oracle.items()
        }
        expected = {name: a.to(self.place) for name, a in self._trained(self.dtype).items()}
        rows = rows_of(self.dtype, self._trained_by_hand(), expected, oracle, budgets, self.place, Known())
        return Report("training", tuple(rows))

    def farthest(self) -> str:
        """How far apart the two trainings in the same dtype ended."""
        by_hand, by_autograd = self._trained_by_hand(), self._trained(self.dtype)
        apart = {name: norm(value - by_autograd[name]) for name, value in by_hand.items()}
        J = apart.pop("J")
        largest = max(norm(value) for name, value in by_hand.items() if name != "J")
        return f"weights at most {max(apart.values()):.2g} apart (the largest is {largest:.3g}), costs {J:.2g} apart"
