"""What functions are called with and what they return, as flat tensors: the leaves of their trees, by name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from crosscheck.form.kinds import NUMBER, TORCH, as_real, handed, is_array, is_complex, is_number, kind_of
from crosscheck.form.trees import leaves, rebuilt
from crosscheck.verdict.precision import is_floating

COMPILED = "_orig_mod."  # before the names of a compiled module's parameters


class Outs(tuple[Any, ...]):
    """The leaves of what a function returns, their names, and what it returned itself."""

    names: tuple[str, ...]
    are_complex: tuple[bool, ...]
    returned: Any

    def __new__(
        cls, values: Iterable[Any], names: Sequence[str], are_complex: Sequence[bool], returned: Any = None
    ) -> "Outs":
        outs = super().__new__(cls, values)
        outs.names, outs.are_complex, outs.returned = tuple(names), tuple(are_complex), returned
        return outs

    @classmethod
    def of(cls, returned: Any, *, numbers: bool) -> "Outs":
        """The leaves of it. numbers: whether Python's numbers may be judged, too, as beside arrays."""
        named = leaves(returned, "out", is_number)
        values = (
            x if kind_of(x) == NUMBER and not numbers else as_real(x, name, shared=True) for name, x in named.items()
        )
        return cls(values, tuple(named), [is_complex(x) for x in named.values()], returned)

    def having(self, values: Iterable[Any]) -> "Outs":
        """The same with other values."""
        return Outs(values, self.names, self.are_complex, self.returned)


class Arguments:
    """What functions are called with: inputs, a module's parameters and buffers, and options, as leaves by name."""

    def __init__(
        self,
        inputs: Sequence[Any],
        names: Sequence[str],
        module: nn.Module | None,
        options: Mapping[str, Any],
        kind: str | None = None,  # of all arrays; else each stays what it is
    ) -> None:
        self.inputs, self.input_names = tuple(inputs), tuple(names)
        self.options = dict(options)
        self.parameters, self.buffers = _parameters(module), _buffers(module)
        self.counts = [len(leaves(x, "", is_number)) for x in self.inputs]
        named = [pair for x, name in zip(inputs, names, strict=True) for pair in leaves(x, name, is_number).items()]
        named += [*self.parameters.items(), *self.buffers.items()]
        named += [pair for name, x in options.items() for pair in leaves(x, name, is_number).items()]
        self.names = tuple(name for name, _ in named)
        self.given = [value for _, value in named]
        self.kinds = [kind if kind and is_array(value) else kind_of(value) for value in self.given]
        self.are_complex = [is_complex(value) for value in self.given]
        self.of_inputs = range(sum(self.counts))
        self.of_parameters = range(self.of_inputs.stop, self.of_inputs.stop + len(self.parameters))

    def judged(self, wrt: Sequence[str] | None) -> tuple[list[int], list[int]]:
        """The places of the leaves that are judged, and of which of them that was said, by `wrt` or requires_grad."""
        if wrt is not None:
            wanted = sorted({place for name in wrt for place in self._places(name)})
            return wanted, wanted
        arrays = [i for i in self.of_inputs if self._is_floating(i) and self.kinds[i] != NUMBER]
        own = [i for i in self.of_parameters if self._is_floating(i) and self.given[i].requires_grad]
        if not arrays and not own:
            return [i for i in self.of_inputs if self.kinds[i] == NUMBER], []
        asked = [i for i in arrays if getattr(self.given[i], "requires_grad", False)]
        return (asked or arrays) + own, asked + own

    def _is_floating(self, i: int) -> bool:
        value = self.given[i]
        if isinstance(value, Tensor):
            return value.is_floating_point() or value.is_complex()
        return is_floating(as_real(value, self.names[i]))

    def _places(self, name: str) -> list[int]:
        """The places of the leaf of this name, or of those that hang on it."""
        beneath = (f"{name}[", f"{name}.")
        found = [i for i, other in enumerate(self.names) if other == name or other.startswith(beneath)]
        last = self.of_parameters.stop
        judgeable = [i for i in found if i < last and self._is_floating(i)]
        if not judgeable:
            here = ", ".join(n for i, n in enumerate(self.names[:last]) if self._is_floating(i))
            raise ValueError(f"wrt: expected names of floating-point inputs, some of {here}, got {name!r}")
        return judgeable

    def leaves(self, judged: Sequence[int]) -> list[Any]:
        """The leaves as real tensors; a number of Python's that is not judged stays one."""
        return [
            value if kind == NUMBER and i not in judged else _real(value)
            for i, (value, kind) in enumerate(zip(self.given, self.kinds, strict=True))
        ]

    def handed(self, xs: Sequence[Any], kind: str | None) -> "Handed":
        """The leaves as what a function takes, of this kind, or of that in which each was given."""
        values = []
        for x, given, own, z in zip(xs, self.given, self.kinds, self.are_complex, strict=True):
            is_tensor = isinstance(x, Tensor)
            value = handed(x, own if kind is None or own is None else kind, z) if is_tensor else x
            values.append(_with_attributes(value, given) if isinstance(value, Tensor) else value)
        flat = iter(values)
        return Handed(
            [rebuilt(x, flat, is_number) for x in self.inputs],
            {name: next(flat) for name in self.parameters},
            {name: next(flat) for name in self.buffers},
            {name: rebuilt(x, flat, is_number) for name, x in self.options.items()},
        )

    @cached_property
    def has_numbers(self) -> bool:
        """Whether not all of it is torch's: then Python's numbers are as good as arrays."""
        kinds = set(self.kinds) - {None, TORCH}
        return bool(kinds - {NUMBER}) or (NUMBER in kinds and TORCH not in self.kinds)


@dataclass(frozen=True)
class Handed:
    """What a function is called with, in the structure in which it was given."""

    inputs: list[Any]
    parameters: dict[str, Any]
    buffers: dict[str, Any]
    options: dict[str, Any]


def without_compiled(name: str) -> str:
    """The name of a parameter in a module that is compiled, or has one inside, as it was before."""
    return name.replace(COMPILED, "")


def _parameters(module: nn.Module | None) -> dict[str, Tensor]:
    named = [] if module is None else module.named_parameters()
    return {without_compiled(name): x for name, x in named}


def _buffers(module: nn.Module | None) -> dict[str, Tensor]:
    named = [] if module is None else module.named_buffers()
    return {without_compiled(name): x for name, x in named}


def _real(value: Any) -> Any:
    """As a real tensor, a leaf, which requires grad where the given one does."""
    if not isinstance(value, Tensor) or not value.is_complex():
        return as_real(value)
    return as_real(value.detach()).requires_grad_(value.requires_grad)


def _with_attributes(x: Tensor, given: Any) -> Tensor:
    """The tensor with copies of those tensors that the given one has as attributes, as main_grad."""
    for name, value in (vars(given) if isinstance(given, Tensor) else {}).items():
        if isinstance(value, Tensor) and not hasattr(x, name):
            setattr(x, name, value.detach().clone())
    return x
