"""`manual-bp predict`: what a saved network says of new samples."""

import csv
import sys
from pathlib import Path
from typing import TextIO

from manual_bp import data as data_sets
from manual_bp._checks import Values
from manual_bp._files import whole
from manual_bp.checkpoint import CheckpointError, Labels, load_network
from manual_bp.commands import CommandError
from manual_bp.commands._writing import can_write, writing
from manual_bp.network import Network


def predict(network: str, data: str, out: str | None) -> int:
    """Print a line for each sample, or write them to a file, as CSV; returns the exit code."""
    if out:
        can_write(f"--out {out}", out)
    try:
        net, labels = load_network(network, Network)
        X = data_sets.inputs(data, labels, net.sizes[0])
        lines = _lines(net, X.numpy(), labels)
    except OSError as error:
        raise CommandError(f"{network}: {error.strerror or error}") from None
    except (CheckpointError, data_sets.DataError, ValueError) as error:
        raise CommandError(str(error)) from None
    if out is None:
        _write(sys.stdout, lines)
        return 0
    with writing(f"--out {out}"), whole(Path(out)) as draft, draft.open("w", newline="", encoding="utf-8") as file:
        _write(file, lines)
    return 0


def _lines(net: Network, X: Values, labels: Labels) -> list[list[str]]:
    """A header, and what is predicted of each sample: its class, or each output in as many digits as tell it."""
    predicted = net.predict(X)
    if net.cost_rule.target == "class":
        classes = labels.classes or [str(i) for i in range(net.sizes[-1])]
        return [["class"], *([classes[i]] for i in predicted.tolist())]
    numbers = (predicted if predicted.dtype.itemsize > 2 else predicted.float()).numpy()
    return [[f"output {i}" for i in range(1, net.sizes[-1] + 1)], *numbers.astype(str).tolist()]


def _write(file: TextIO, lines: list[list[str]]) -> None:
    csv.writer(file, lineterminator="\n").writerows(lines)
