"""What a line of the table is: a function of a package's, its inputs, its twin, and what the judge says of it."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import Tensor

FAULT = "fault"  # the package is wrong, and the judge says so
CONVENTION = "convention"  # it is no derivative, and not meant to be
LIMIT = "limit"  # of precision, or of what it takes: float32 inside, a series that is cut, a layout that it misreads
ALARM = "false alarm"  # it is right, and the judge is not
MISSED = "missed"  # it is wrong, and the judge does not say so
KINDS = (FAULT, CONVENTION, LIMIT, ALARM, MISSED)
AGREES = "agrees"


@dataclass(frozen=True)
class Case:
    """A gradient of a package's.

    says: the outcome on record, as `judge.outcome` has it; kind and why: what is to be known of it, unless it agrees.
    how: what else `crosscheck` is told.
    """

    name: str
    function: Callable[..., Any] | type[torch.autograd.Function]
    inputs: Sequence[Any]
    twin: Callable[..., Any]
    says: str = AGREES
    kind: str = ""
    why: str = ""
    how: dict[str, Any] = field(default_factory=dict)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Normal numbers, the same ones at every call."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def uniform(*shape: int, low: float = 0, high: float = 1, seed: int = 0) -> Tensor:
    """Numbers between two, the same ones at every call."""
    share = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return low + (high - low) * share


def straight_through(hard: Callable[..., Tensor], soft: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The values of hard and the derivative of soft, which is what a surrogate gradient means to be."""

    def twin(x: Tensor, *rest: Any) -> Tensor:
        smooth = soft(x, *rest)
        return smooth + (hard(x, *rest) - smooth).detach()

    return twin


def step(x: Tensor, *_: Any) -> Tensor:
    """1 from 0 on, else 0."""
    return (x >= 0).to(x.dtype)


class _Absent(MetaPathFinder, Loader):
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(name, self, is_package=True) if name.partition(".")[0] in self.names else None

    def create_module(self, spec: ModuleSpec) -> Any:
        return MagicMock(name=spec.name)

    def exec_module(self, module: Any) -> None:
        pass


def absent(*names: str) -> None:
    """Stand-ins for what a package imports and what is judged does not use."""
    sys.meta_path.append(_Absent(names))
