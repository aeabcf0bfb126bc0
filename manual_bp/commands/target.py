"""A gradient of the user's own, from a file or a module, and what is wrong with it where it cannot be judged."""

import copy
import functools
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

import crosscheck
import manual_bp
from crosscheck.form import trees
from crosscheck.form.kinds import is_array
from manual_bp.commands import CommandError
from manual_bp.commands._subject import Subject

REQUIRED = ("forward", "inputs")
# What `crosscheck` takes, by the names that a file, a module or a class has them by
OPTIONS = ("backward", "twin", "options", "wrt", "names", "order", "method", "digits", "may_change")

# The directories whose frames in a traceback are not the user's
NOT_THEIRS = (
    *(str(Path(str(package.__file__)).parent) + os.sep for package in (torch, manual_bp, crosscheck)),
    str(Path(functools.__file__).parent / "functools.py"),
)


def subjects(target: str, seed: int) -> list[Subject]:
    """The subjects that TARGET names: one, or those of `targets`, or of the classes in it that have all the parts.

    Raises CommandError, with the user's own line, where there is none. seed: of what it draws while it is loaded.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            module, found = _load(target)
    except CommandError:
        raise
    except (Exception, SystemExit) as error:
        raise CommandError(_broken(target, "cannot be loaded", error)) from None
    several = getattr(found, "targets", None)
    if isinstance(several, Mapping):
        return [_subject(_within(target, name), _parts(value, module)) for name, value in several.items()]
    parts = _parts(found, module)
    if not all(part in parts for part in REQUIRED) and (classes := _classes(found)):
        return [_subject(_within(target, name), _parts(value, module)) for name, value in classes.items()]
    return [_subject(target, parts)]


def _parts(found: Any, module: Any) -> dict[str, Any]:
    """By their names the parts of a file, a class or a dict; of an op the rest is what stands beside it."""
    names = (*REQUIRED, *OPTIONS)
    if isinstance(found, Mapping):
        return {name: found[name] for name in names if name in found}
    own = {name: getattr(found, name) for name in names if hasattr(found, name)}
    is_function = isinstance(found, type) and issubclass(found, Function)
    if not is_function and (isinstance(found, type) or not callable(found) or "inputs" in own):
        return own
    beside = {name: getattr(module, name) for name in names if hasattr(module, name)}
    beside |= {name: part for name, part in own.items() if name not in ("forward", "backward")}
    beside.pop("backward", None)
    if is_function and "twin" not in beside and "forward" in beside:
        return {**beside, "backward": found}
    return {**beside, "forward": found}


def _classes(found: Any) -> dict[str, Any]:
    """The classes in it that have all the parts."""
    return {
        name: value
        for name, value in getattr(found, "__dict__", {}).items()
        if isinstance(value, type) and all(hasattr(value, part) for part in REQUIRED)
    }


def _within(target: str, name: str) -> str:
    return f"{target}{':' if _is_place(target) else '.'}{name}"


def _subject(target: str, parts: Mapping[str, Any]) -> Subject:
    missing = [part for part in REQUIRED if part not in parts]
    if missing or not ("backward" in parts or "twin" in parts or "method" in parts):
        got = missing[0] if missing else "backward"
        raise CommandError(f"{target}: expected forward, inputs, and backward or twin, got no {got}")
    for part in ("forward", "backward"):
        function = parts.get(part)
        if not callable(function) and (part == "forward" or function is not None):
            raise CommandError(f"{target}: {part}: expected a function, got {type(function).__name__}")
        if inspect.isfunction(function) and [*inspect.signature(function).parameters][:1] == ["self"]:
            raise CommandError(
                f"{target}: {part}: expected a function without self, got a method: put @staticmethod above it"
            )
    if not isinstance(parts["inputs"], tuple | list):
        raise CommandError(f"{target}: inputs: expected a tuple, as in (x,), got {type(parts['inputs']).__name__}")

    def judged(device: torch.device, dtypes: Sequence[torch.dtype], seed: int) -> crosscheck.Report:
        try:
            there = {name: _moved(value, device) for name, value in parts.items()}
            return crosscheck.crosscheck(**there, dtypes=dtypes, seed=seed)
        except (Exception, SystemExit) as error:
            raise CommandError(_broken(target, f"cannot be judged on {device}", error)) from None

    return Subject(target, judged)


def _moved(value: Any, device: torch.device) -> Any:
    """What has tensors, a tree or a module, on a device."""
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(device)
    if callable(value):
        return value
    leaves = (
        x.detach().to(device).requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x
        for x in trees.leaves(value, "", is_array).values()
    )
    return trees.rebuilt(value, leaves, is_array)


def _is_place(target: str) -> bool:
    """Whether it is a file or a module, not an object in it; a file's own name may have a colon, as that of a drive."""
    return ":" not in target or target.endswith(".py")


def _load(target: str) -> tuple[Any, Any]:
    """The module that TARGET names, and the object in it, or the module again."""
    place, colon, name = (target, "", "") if _is_place(target) else target.rpartition(":")
    path = Path(place)
    expected = f"{target}: expected file.py, file.py:Object or package.module:Object"
    if path.suffix == ".py":
        if not path.is_file():
            raise CommandError(f"{target}: expected a file of that name, got none")
        module: Any = _run(path)
    elif not all(part.isidentifier() for part in place.split(".")):
        raise CommandError(f"{expected}, got {'a directory' if path.is_dir() else repr(place)}")
    else:
        sys.path.insert(0, "")
        try:
            module = import_module(place)
        except ModuleNotFoundError as error:
            if error.name and f"{place}.".startswith(f"{error.name}."):
                raise CommandError(f"{expected}, got {error}") from None
            raise
    found = module
    for part in name.split(".") if colon else []:
        if not hasattr(found, part):
            raise CommandError(f"{target}: expected {part!r} in {place}, got no such name")
        found = getattr(found, part)
    return module, found


def _run(path: Path) -> ModuleType:
    """The file as a module; its own imports find what lies beside it, as when Python runs it."""
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(f"target {path}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _broken(target: str, what: str, error: BaseException) -> str:
    """What was raised, and the last line of the user's own code on the way."""
    text = f"{target} {what}: {type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{text}\n  File {error.filename!r}, line {error.lineno}\n    {(error.text or '').strip()}"
    own = [frame for frame in frames if not frame.filename.startswith((*NOT_THEIRS, "<"))]
    if own:
        text += f"\n  File {own[-1].filename!r}, line {own[-1].lineno}, in {own[-1].name}\n    {own[-1].line}"
    return text
