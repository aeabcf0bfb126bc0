"""Checkpoints of a training: written whole or not at all, and read without executing anything."""

import hashlib
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from manual_bp._checks import first_line
from manual_bp._files import whole

if TYPE_CHECKING:
    from manual_bp.network import Network

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

    @classmethod
    def of(cls, net: "Network", X: Tensor, Z: Tensor, *, batch_size: int, seed: int) -> "Run":
        activations = [rule.__name__ for rule in net.activations]
        data = digest(X, Z)
        return cls(list(net.sizes), activations, net.cost_rule.__name__, str(net.dtype), data, batch_size, seed)


def digest(*tensors: Tensor) -> str:
    """The shapes, and what else differs where the tensors do."""
    found = hashlib.sha256()
    for tensor in tensors:
        found.update(f"{list(tensor.shape)} {tensor.dtype}".encode())
        found.update(tensor.cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return f"{' and '.join(str(list(tensor.shape)) for tensor in tensors)} ({found.hexdigest()[:8]})"


def save(file: Name, run: Run, net: "Network", history: list[float]) -> None:
    """Put a checkpoint in the place of the file, at once: until then, the one before stays."""
    path = Path(file)
    state = {"run": asdict(run), "history": history, "weights": list(net.weights), "biases": list(net.biases)}
    with whole(path) as draft:
        torch.save(state, draft)


def resume(file: Name, run: Run, net: "Network") -> list[float]:
    """Give the network the weights of the checkpoint, where there is one; returns the costs of its epochs.

    Raises CheckpointError for what is no checkpoint, and for that of another training.
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
        weights, biases = (tuple(p.to(net.device) for p in state[kind]) for kind in ("weights", "biases"))
        net._check_like("weights", weights, net.weights)
        net._check_like("biases", biases, net.biases)
        history = [float(cost) for cost in state["history"]]
    except (TypeError, ValueError, AttributeError) as error:
        raise _torn(path, error) from None
    net._take(weights, biases)
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
