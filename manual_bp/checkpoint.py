"""Checkpoints of a training: written whole or not at all, and read without executing anything."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from manual_bp._checks import first_line
from manual_bp._files import whole

Name = str | PathLike[str]


class CheckpointError(ValueError):
    """A file that is no checkpoint, or that of another training."""


@dataclass(frozen=True)
class Run:
    """What a training must have in common with the one that it takes up."""

    sizes: list[int]
    activations: list[str]
    cost: str
    dtype: str
    data: str
    batch_size: int
    seed: int


def digest(*tensors: Tensor) -> str:
    """The shapes, and what else differs where the tensors do."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{list(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return f"{' and '.join(str(list(tensor.shape)) for tensor in tensors)} ({found.hexdigest()[:8]})"


def save(file: Name, run: Run, weights: Sequence[Tensor], biases: Sequence[Tensor], history: list[float]) -> None:
    """Put a checkpoint in the place of the file, at once: until then, the one before stays."""
    path = Path(file)
    state = {"run": asdict(run), "history": history, "weights": list(weights), "biases": list(biases)}
    with whole(path) as draft:
        torch.save(state, draft)


def resume(file: Name, run: Run, take: Callable[[Sequence[Tensor], Sequence[Tensor]], None]) -> list[float]:
    """Have the weights and biases of the checkpoint taken, where there is one; returns the costs of its epochs.

    take: raises TypeError, ValueError or AttributeError for what does not fit, before anything is changed. Raises
    CheckpointError for what is no checkpoint, and for that of another training.
    """
    path = Path(file)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no directory {path.absolute().parent} for the checkpoint")
    if not path.exists():
        return []
    state = _read(path)
    differs = [
        f"{name} {state['run'].get(name)} there, {value} here"
        for name, value in asdict(run).items()
        if state["run"].get(name) != value
    ]
    if differs:
        raise CheckpointError(
            f"{path}: expected the checkpoint of this training, got that of another: {'; '.join(differs)}. "
            "Take up that one, or name another file"
        )
    try:
        history = [float(cost) for cost in state["history"]]
        take(state["weights"], state["biases"])
    except (TypeError, ValueError, AttributeError) as error:
        raise _torn(path, error) from None
    return history


def _read(path: Path) -> dict[str, Any]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if {*state} == {"run", "history", "weights", "biases"} and isinstance(state["run"], dict):
            return dict(state)
    except OSError:
        raise
    except Exception as error:  # torch's reader raises what it comes upon
        raise _torn(path, error) from None
    raise _torn(path, ValueError("it holds something else"))


def _torn(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{path}: expected a checkpoint of fit, got a file that is none or is torn ({first_line(error)}). "
        "It was left as it is: move it away to start anew"
    )
