"""`manual-bp train --model transformer`: train a decoder on a text, character by character, and see what it writes."""

import time
from typing import Any

import torch
from torch import Tensor

from crosscheck import Report, devices
from crosscheck.row import dtype_name
from crosscheck.verdict.precision import dtypes_of
from manual_bp import _checks, distributed
from manual_bp._console import console
from manual_bp.adamw import AdamW
from manual_bp.checkpoint import Labels
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
        if distributed.launched():
            raise ValueError("--model transformer: expected one process, got several: start it without torchrun")
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
        place = devices.device(device)
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

    lines = console()
    lines.print(str(net))
    lines.print(f"{len(kept):,} characters to train on, {len(held_out):,} held out\n")
    lines.print(" step        cost  held-out cost", style="bold")
    history, trained = History(), _Trained(net, rate, seed, verify_every)
    every = max(1, steps // 10)
    drawn = windows(kept, context + 1, steps=steps, batch_size=batch_size, seed=seed)
    try:
        with threads_for((len(characters), width, net.configuration.hidden), batch_size * context):
            for done in steps_of(trained.step, drawn, history, lines, steps=steps, every=every):
                refuse_diverged_steps(history.cost, net.parameters.values(), rate)
                history.add_held_out(net.evaluate(held_out, batch_size=batch_size), None)
                mean = sum(history.cost[-every:]) / len(history.cost[-every:])
                lines.print(f"{done:5d}  {mean:10.6f}  {history.held_out_cost[-1]:13.6f}")
    except DivergedError as error:
        raise CommandError(str(error)) from None
    except _MismatchError as error:
        lines.print(f"step {trained.steps}: {error.report}")
        return exit_code([error.report])
    lines.print(f"\n{steps} steps by hand, {1e3 * trained.spent / steps:.0f} ms each")
    if verify_every:
        widest = dtype_name(dtypes_of(place)[0])
        lines.print(f"cross-checked against autograd in {widest} at {steps // verify_every} of them: all agree")
    if save:
        with writing(f"--save {save}"):
            net.save(save, labels=Labels([], characters))
        lines.print(f"transformer: {save}")
    lines.print("\nWhat it writes:", style="bold")
    lines.print(_written(net, characters, seed))
    return 0


class _MismatchError(Exception):
    def __init__(self, report: Report) -> None:
        self.report = report


class _Trained:
    """The training of a transformer, step by step, and the time that it takes."""

    def __init__(self, net: Transformer, rate: float, seed: int, verify_every: int | None) -> None:
        self.net, self.rate, self.seed, self.verify_every = net, rate, seed, verify_every
        self.steps, self.spent = 0, 0.0

    def step(self, window: Tensor) -> Tensor:
        """The cost before a step. Raises _MismatchError where it is cross-checked, and autograd disagrees."""
        self.steps += 1
        tokens, targets = window[:, :-1], window[:, 1:]
        if self.verify_every and self.steps % self.verify_every == 0:
            place = self.net.device
            report = transformer(self.net, tokens, targets, self.rate, place, dtypes_of(place)[:1], self.seed)
            if not report.ok:
                raise _MismatchError(report)
        started = time.perf_counter()
        J = self.net.step(tokens, targets, self.rate)
        self.spent += time.perf_counter() - started
        return J


def _written(net: Transformer, characters: list[str], seed: int) -> str:
    """A sample, from the beginning of a line, or from the first of the characters where there are no lines."""
    first = characters.index("\n") if "\n" in characters else 0
    tokens: list[Any] = net.generate([first], WRITTEN, seed=seed, temperature=0.8).tolist()
    return "".join(characters[token] for token in tokens).strip("\n")
