"""Networks and trainings in files: written whole or not at all, and read without executing anything."""

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
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
STEPS = "a checkpoint of Transformer.fit"
TRANSFORMER = "a transformer, as Transformer.save writes it"
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

    Raises CheckpointError for a file that is damaged, or holds no network; OSError for one that cannot be read.
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
    _refuse_another(path, there, asdict(run))
    try:
        take(state["weights"], state["biases"])
    except (TypeError, ValueError, AttributeError) as error:
        raise _torn(path, TRAINING, error) from None
    return history


def _refuse_another(path: Path, there: Mapping[str, object], here: Mapping[str, object]) -> None:
    """Raises CheckpointError for the checkpoint of another training, with all that differs."""
    differs = [
        f"{name} {there.get(name)} there, {value} here" for name, value in here.items() if there.get(name) != value
    ]
    if differs:
        raise CheckpointError(
            f"{path}: expected the checkpoint of this training, got that of another ({'; '.join(differs)}): "
            "go on with that one, or name another file"
        )


def save_transformer(
    file: Name, configuration: Mapping[str, Any], parameters: Mapping[str, Tensor], labels: Labels | None
) -> None:
    """Write a transformer: the settings of its configuration by name, its parameters, and what its tokens stand for."""
    classes = labels.classes if labels else []
    _write_tensors(file, TRANSFORMER, {"configuration": configuration, "classes": classes}, parameters)


def load_transformer(file: Name, build: Callable[[dict[str, Any], dict[str, Tensor]], N]) -> tuple[N, Labels]:
    """What build makes of the settings of the configuration and the parameters, and what the tokens stand for.

    Raises as `load_network`.
    """
    path = Path(file)
    facts, tensors = _read_tensors(path, TRANSFORMER)
    try:
        return build(facts["configuration"], tensors), Labels([], [str(label) for label in facts["classes"]])
    except (TypeError, ValueError, KeyError) as error:
        raise _torn(path, TRANSFORMER, error) from None


Moments = Mapping[str, tuple[Tensor, Tensor]]


def save_steps(
    file: Name, run: Mapping[str, object], parameters: Mapping[str, Tensor], moments: Moments, optimizer_steps: int,
    history: History,
) -> None:  # fmt: skip
    """Write the checkpoint of a training after a step: its parameters and the optimizer's moments of each."""
    tensors = {f"w {name}": w for name, w in parameters.items()}
    tensors |= {f"{kind} {name}": of[i] for name, of in moments.items() for i, kind in enumerate("mv")}
    tensors |= {f"history {name}": torch.tensor(xs, dtype=torch.float64) for name, xs in asdict(history).items()}
    _write_tensors(file, STEPS, {"run": run, "optimizer_steps": optimizer_steps}, tensors)


def resume_steps(
    file: Name, run: Mapping[str, object], take: Callable[[dict[str, Tensor], Moments, int], None]
) -> History:
    """Have the parameters, moments and steps of the checkpoint taken, where there is one; returns its history.

    Raises as `resume`.
    """
    path = Path(file)
    _in_a_directory(path)
    if not path.exists():
        return History()
    facts, tensors = _read_tensors(path, STEPS)
    try:
        there = dict(facts["run"])
        of: dict[str, dict[str, Tensor]] = {"w": {}, "m": {}, "v": {}, "history": {}}
        for full, tensor in tensors.items():
            kind, _, name = full.partition(" ")
            of[kind][name] = tensor
        history = History(**{name: xs.tolist() for name, xs in of["history"].items()})
    except (TypeError, ValueError, KeyError) as error:
        raise _torn(path, STEPS, error) from None
    _refuse_another(path, there, run)
    try:
        take(of["w"], {name: (m, of["v"][name]) for name, m in of["m"].items()}, facts["optimizer_steps"])
    except (TypeError, ValueError, KeyError) as error:
        raise _torn(path, STEPS, error) from None
    return history


def _write_tensors(file: Name, kind: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Put a file of safetensors in the place of the one before, at once."""
    from safetensors.torch import save_file  # late: a machine without a network may have PyTorch and no more

    path = Path(file)
    _in_a_directory(path)
    metadata = {"format": "pt", "holds": kind, "facts": json.dumps(facts)}
    with whole(path) as draft:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, draft, metadata)


def _read_tensors(path: Path, kind: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import safe_open

    path.open("rb").close()  # Python says why, where it cannot be read
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 (it is no dict)
        facts = dict(json.loads(metadata.get("facts", "{}")))
    except OSError:
        raise
    except Exception as error:  # of safetensors, which has its own, and json
        raise _torn(path, kind, error) from None
    if metadata.get("holds") != kind:
        raise _torn(path, kind, ValueError(f"it holds {metadata.get('holds', 'something else')}"))
    return facts, tensors


def _write(file: Name, state: dict[str, Any]) -> None:
    """Put a file in the place of the one before, at once: until then, that one stays."""
    path = Path(file)
    _in_a_directory(path)
    with whole(path) as draft:
        torch.save(state, draft)


def _in_a_directory(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"{path}: expected a directory that exists, got no {path.absolute().parent}: make it first"
        )


def _read(path: Path, kind: str) -> dict[str, Any]:
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise _torn(path, kind, ValueError("torch.save did not write it, or not to its end"))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        found = next((of for of, parts in PARTS.items() if parts == {*state}), "something else")
    except OSError:
        raise
    except pickle.UnpicklingError:  # whose words are advice to execute what is in the file
        raise _torn(path, kind, ValueError("it holds other things than tensors, numbers and text")) from None
    except Exception as error:  # torch's reader raises what it comes upon
        raise _torn(path, kind, error) from None
    if found != kind:
        raise _torn(path, kind, ValueError(f"it holds {found}"))
    return dict(state)


def _torn(path: Path, kind: str, error: Exception) -> CheckpointError:
    cure = ": move it away to start anew, it was left as it is" if kind in (TRAINING, STEPS) else ""
    got = f"a file that is not one, or is damaged ({first_line(error)})"
    return CheckpointError(f"{path}: expected {kind}, got {got}{cure}")
