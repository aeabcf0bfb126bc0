"""`manual-bp train --model transformer`: train a decoder on a text, character by character, and see what it writes."""

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from crosscheck import Report, devices
from crosscheck.row import dtype_name
from crosscheck.verdict.precision import dtypes_of
from manual_bp import _checks, distributed
from manual_bp._console import Silent, console
from manual_bp.adamw import AdamW
from manual_bp.checkpoint import Labels, digest
from manual_bp.commands import CommandError
from manual_bp.commands._shares import exit_code
from manual_bp.commands._writing import can_write, writing
from manual_bp.commands.subjects import transformer
from manual_bp.data import DataError, text
from manual_bp.training import DivergedError, History, refuse_diverged_steps, steps_of, threads_for, windows
from manual_bp.transformer import Form, Transformer

WRITTEN = 400  # characters of the sample


def train_transformer(
    data: str | None,
    form: Form,
    layers: int,
    width: int,
    heads: int,
    context: int,
    steps: int,
    rate: float,
    batch_size: int,
    seed: int,
    device: str,
    dtype: str,
    verify_every: int | None,
    save: str | None,
) -> int:
    """Train, print the cost of the last tenth of the text, and a sample; returns the exit code."""
    try:
        for what, value in (
            ("--layers", layers),
            ("--width", width),
            ("--heads", heads),
            ("--context", context),
            ("--steps", steps),
            ("--batch-size", batch_size),
            ("--verify-every", 1 if verify_every is None else verify_every),
        ):
            _checks.count(what, value)
        _checks.number("--rate", rate)
        if save:
            can_write(f"--save {save}", save)
        place = devices.device(distributed.own(device))
        tokens, characters = text(data)
        tenth = len(tokens) // 10
        if tenth <= context:
            raise ValueError(
                f"--context {context}: expected a text of at least {10 * (context + 1)} characters, a tenth of which "
                f"is held out, got {len(tokens)}: choose a smaller context or a longer text"
            )
        held_out, kept = tokens[-tenth:].to(place), tokens[:-tenth].to(place)
        net = Transformer.random(
            form=form, vocabulary=len(characters), context=context, width=width, layers=layers, heads=heads,
            dtype=getattr(torch, dtype), device=place, seed=seed, optimizer=AdamW(decay=0.1, clip=1.0),
        )  # fmt: skip
    except (DataError, TypeError, ValueError) as error:
        raise CommandError(str(error)) from None

    plan = _Plan(characters, kept, held_out, rate, steps, batch_size, seed, verify_every, save)
    if not distributed.launched():
        return _train(net, plan, None, console())
    try:
        with distributed.joined(place) as processes:
            processes.agree(
                transformer=str(net.configuration), weights=digest(*net.parameters.values()), data=digest(tokens),
                rate=rate, steps=steps, batch_size=batch_size, seed=seed, verify_every=verify_every,
            )  # fmt: skip
            return _train(net, plan, processes, console() if processes.rank == 0 else Silent())
    except distributed.DistributedError as error:
        raise CommandError(str(error)) from None


@dataclass(frozen=True)
class _Plan:
    """What a transformer is trained on, and how: as `train_transformer` is asked to."""

    characters: list[str]
    kept: Tensor
    held_out: Tensor
    rate: float
    steps: int
    batch_size: int
    seed: int
    verify_every: int | None
    save: str | None


def _train(net: Transformer, plan: _Plan, processes: distributed.Processes | None, lines: Any) -> int:
    """Train; the first process evaluates, judges and writes."""
    c, steps, first = net.configuration, plan.steps, processes is None or processes.rank == 0
    lines.print(str(net) if processes is None else f"{net}, by {processes.size} processes")
    lines.print(f"{len(plan.kept):,} characters to train on, {len(plan.held_out):,} held out\n")
    lines.print(" step        cost  held-out cost", style="bold")
    history, trained = History(), _Trained(net, plan, processes)
    every = max(1, steps // 10)
    drawn = windows(plan.kept, c.context + 1, steps=steps, batch_size=plan.batch_size, seed=plan.seed)
    try:
        with threads_for((c.vocabulary, c.width, c.hidden), plan.batch_size * c.context):
            for done in steps_of(trained.step, drawn, history, lines, steps=steps, every=every):
                refuse_diverged_steps(history.cost, net.parameters.values(), plan.rate)
                if first:
                    history.add_held_out(net.evaluate(plan.held_out, batch_size=plan.batch_size), None)
                    mean = sum(history.cost[-every:]) / len(history.cost[-every:])
                    lines.print(f"{done:5d}  {mean:10.6f}  {history.held_out_cost[-1]:13.6f}")
    except DivergedError as error:
        raise CommandError(str(error)) from None
    except _MismatchError as error:
        lines.print(f"step {trained.steps}: {error.report}")
        return exit_code([error.report])
    if not first:
        return 0
    waiting = "" if processes is None else ", the waiting for each other included"
    lines.print(f"\n{steps} steps by hand, {1e3 * trained.spent / steps:.0f} ms each{waiting}")
    if plan.verify_every:
        widest = dtype_name(dtypes_of(net.device)[0])
        lines.print(f"cross-checked against autograd in {widest} at {steps // plan.verify_every} of them: all agree")
    if plan.save:
        with writing(f"--save {plan.save}"):
            net.save(plan.save, labels=Labels([], plan.characters))
        lines.print(f"transformer: {plan.save}")
    lines.print("\nWhat it writes:", style="bold")
    lines.print(_written(net, plan.characters, plan.seed))
    return 0


class _MismatchError(Exception):
    def __init__(self, report: Report) -> None:
        self.report = report


class _Trained:
    """The training of a transformer, step by step, and the time that it takes."""

    def __init__(self, net: Transformer, plan: _Plan, processes: distributed.Processes | None) -> None:
        self.net, self.plan, self.processes = net, plan, processes
        self.every = plan.verify_every if processes is None or processes.rank == 0 else None
        self.steps, self.spent = 0, 0.0

    def step(self, window: Tensor) -> Tensor:
        """The cost before a step. Raises _MismatchError where it is cross-checked, and autograd disagrees."""
        self.steps += 1
        rate = self.plan.rate
        tokens, targets = window[:, :-1], window[:, 1:]
        if self.every and self.steps % self.every == 0:
            place = self.net.device
            report = transformer(self.net, tokens, targets, rate, place, dtypes_of(place)[:1], self.plan.seed)
            if not report.ok:
                raise _MismatchError(report)
        started = time.perf_counter()
        if self.processes is None:
            J = self.net.step(tokens, targets, rate)
        else:
            mine = self.processes.share
            J = self.processes.step_of_transformer(self.net, mine(tokens), mine(targets), rate)
        self.spent += time.perf_counter() - started
        return J


def _written(net: Transformer, characters: list[str], seed: int) -> str:
    """A sample, from the beginning of a line, or from the first of the characters where there are no lines."""
    first = characters.index("\n") if "\n" in characters else 0
    tokens: list[Any] = net.generate([first], WRITTEN, seed=seed, temperature=0.8).tolist()
    return "".join(characters[token] for token in tokens).strip("\n")
