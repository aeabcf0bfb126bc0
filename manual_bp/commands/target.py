"""A gradient of the user's own, from a file or a module, and what is wrong with it where it cannot be judged."""

import functools
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function

import crosscheck
import manual_bp
from manual_bp.commands import CommandError
from manual_bp.commands._subject import Subject

PARTS = ("forward", "backward", "inputs")

# The directories whose frames in a traceback are not the user's
NOT_THEIRS = (
    *(str(Path(str(package.__file__)).parent) + os.sep for package in (torch, manual_bp, crosscheck)),
    str(Path(functools.__file__).parent / "functools.py"),
)


def subject(target: str, seed: int) -> Subject:
    """The subject that TARGET names. Raises CommandError, with the user's own line, where it is none.

    seed: of what it draws while it is loaded.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            found = _load(target)
    except CommandError:
        raise
    except (Exception, SystemExit) as error:
        raise CommandError(_broken(target, "cannot be loaded", error)) from None
    if isinstance(found, type) and issubclass(found, Function):
        raise CommandError(
            f"{target}: expected forward, backward and inputs, got an autograd.Function: beside it, or in a class of "
            f"their own, write forward, the same in torch's operations, backward = {found.__name__}, and inputs"
        )
    for part in PARTS:
        if not hasattr(found, part):
            raise CommandError(
                f"{target}: expected forward, backward and inputs, got no {part}{_inside(target, found)}"
            )
    for part in PARTS[:2]:
        function = getattr(found, part)
        if not callable(function):
            raise CommandError(f"{target}: {part}: expected a function, got {type(function).__name__}")
        if inspect.isfunction(function) and [*inspect.signature(function).parameters][:1] == ["self"]:
            raise CommandError(
                f"{target}: {part}: expected a static method, got one of self: put @staticmethod above it"
            )
    if not isinstance(found.inputs, tuple | list):
        raise CommandError(f"{target}: inputs: expected a tuple, got {type(found.inputs).__name__}")

    def judged(device: torch.device, dtypes: Sequence[torch.dtype], seed: int) -> crosscheck.Report:
        options = {name: getattr(found, name, None) for name in ("twin", "method")}
        try:
            inputs = [
                x.detach().to(device).requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x
                for x in found.inputs
            ]
            return crosscheck.crosscheck(found.forward, found.backward, inputs, **options, dtypes=dtypes, seed=seed)
        except (Exception, SystemExit) as error:
            raise CommandError(_broken(target, f"cannot be judged on {device}", error)) from None

    return Subject(target, judged)


def _inside(target: str, found: Any) -> str:
    """The class inside that has all the parts, where there is one."""
    inside = [
        name
        for name, value in getattr(found, "__dict__", {}).items()
        if isinstance(value, type) and all(hasattr(value, part) for part in PARTS)
    ]
    return f": did you mean {target}{':' if _is_place(target) else '.'}{inside[0]}?" if inside else ""


def _is_place(target: str) -> bool:
    """Whether it is a file or a module, not an object in it; a file's own name may have a colon, as that of a drive."""
    return ":" not in target or target.endswith(".py")


def _load(target: str) -> Any:
    """The module, or the object in it, that TARGET names."""
    place, colon, name = (target, "", "") if _is_place(target) else target.rpartition(":")
    path = Path(place)
    expected = f"{target}: expected file.py, file.py:Object or package.module:Object"
    if path.suffix == ".py":
        if not path.is_file():
            raise CommandError(f"{target}: no such file")
        found: Any = _run(path)
    elif not all(part.isidentifier() for part in place.split(".")):
        raise CommandError(f"{expected}, got {'a directory' if path.is_dir() else repr(place)}")
    else:
        sys.path.insert(0, "")
        try:
            found = import_module(place)
        except ModuleNotFoundError as error:
            if error.name and f"{place}.".startswith(f"{error.name}."):
                raise CommandError(f"{expected}, got {error}") from None
            raise
    for part in name.split(".") if colon else []:
        if not hasattr(found, part):
            raise CommandError(f"{target}: {place} has no {part}")
        found = getattr(found, part)
    return found


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
