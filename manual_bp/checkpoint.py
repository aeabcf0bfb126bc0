"""Networks and trainings in files: written whole or not at all, and read without executing anything."""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from manual_bp._checks import first_line
from manual_bp._files import whole
from manual_bp.training import History

Name = str | PathLike[str]


class CheckpointError(ValueError):
    """A file that is not what is to be read, or the checkpoint of another training."""


@dataclass(frozen=True)
class Run:
    """What a training must have in common with the one that it takes up."""

    sizes: list[int]
    activations: list[str]
    cost: str
    dtype: str
    data: str
    held_out: str
    batch_size: int
    seed: int


@dataclass(frozen=True)
class Labels:
    """The names of a network's inputs, and of its classes; none where there are none."""

    inputs: list[str]
    classes: list[str]


# What a file is, and what it therefore holds
NETWORK = "a network, as Network.save writes it"
TRAINING = "a checkpoint of fit"
PARTS = {
    NETWORK: {"weights", "biases", "activation", "cost", "labels"},
    TRAINING: {"run", "history", "weights", "biases"},
}


def digest(*tensors: Tensor) -> str:
    """The shapes, and what else differs where the tensors do."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{list(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return f"{' and '.join(str(list(tensor.shape)) for tensor in tensors)} ({found.hexdigest()[:8]})"


def save_network(file: Name, network: dict[str, Any], labels: Labels | None) -> None:
    """Write a network: the arguments of `Network` by name, its rules by theirs."""
    _write(file, network | {"labels": asdict(labels or Labels([], []))})


N = TypeVar("N")


def load_network(file: Name, build: Callable[..., N]) -> tuple[N, Labels]:
    """What build makes of the arguments of `Network`, and the labels of its inputs and classes.

    Raises CheckpointError for a file that is torn, or holds no network; OSError for one that cannot be read.
    """
    path = Path(file)
    state = _read(path, NETWORK)
    try:
        named = state.pop("labels")
        labels = Labels(**{name: [str(label) for label in named[name]] for name in ("inputs", "classes")})
        return build(**state), labels
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise _torn(path, NETWORK, error) from None


def save(file: Name, run: Run, weights: Sequence[Tensor], biases: Sequence[Tensor], history: History) -> None:
    """Write the checkpoint of a training after an epoch."""
    _write(file, {"run": asdict(run), "history": asdict(history), "weights": list(weights), "biases": list(biases)})


def resume(file: Name, run: Run, take: Callable[[Sequence[Tensor], Sequence[Tensor]], None]) -> History:
    """Have the weights and biases of the checkpoint taken, where there is one; returns the history of its epochs.

    take: raises TypeError, ValueError or AttributeError for what does not fit, before anything is changed. Raises
    CheckpointError for what is no checkpoint, and for that of another training.
    """
    path = Path(file)
    _in_a_directory(path)
    if not path.exists():
        return History()
    state = _read(path, TRAINING)
    try:
        there = dict(state["run"])
        history = History(**{of.name: [float(x) for x in state["history"][of.name]] for of in fields(History)})
    except (TypeError, ValueError, KeyError) as error:
        raise _torn(path, TRAINING, error) from None
    differs = [
        f"{name} {there.get(name)} there, {value} here"
        for name, value in asdict(run).items()
        if there.get(name) != value
    ]
    if differs:
        raise CheckpointError(
            f"{path}: expected the checkpoint of this training, got that of another: {'; '.join(differs)}. "
            "Take up that one, or name another file"
        )
    try:
        take(state["weights"], state["biases"])
    except (TypeError, ValueError, AttributeError) as error:
        raise _torn(path, TRAINING, error) from None
    return history


def _write(file: Name, state: dict[str, Any]) -> None:
    """Put a file in the place of the one before, at once: until then, that one stays."""
    path = Path(file)
    _in_a_directory(path)
    with whole(path) as draft:
        torch.save(state, draft)


def _in_a_directory(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no directory {path.absolute().parent} to write it in")


def _read(path: Path, kind: str) -> dict[str, Any]:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise _torn(path, kind, ValueError("torch.save did not write it, or not to its end"))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = next((of for of, parts in PARTS.items() if parts == {*state}), "something else")
    except OSError:
        raise
    except Exception as error:  # torch's reader raises what it comes upon
        raise _torn(path, kind, error) from None
    if found != kind:
        raise _torn(path, kind, ValueError(f"it holds {found}"))
    return dict(state)


def _torn(path: Path, kind: str, error: Exception) -> CheckpointError:
    cure = ". It was left as it is: move it away to start anew" if kind == TRAINING else ""
    return CheckpointError(f"{path}: expected {kind}, got a file that is none or is torn ({first_line(error)}){cure}")
