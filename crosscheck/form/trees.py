"""Lists, tuples, dicts and dataclasses of tensors: their leaves by name, and the same tree of other leaves."""

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

IsPart = Callable[[Any], bool]  # whether something is what trees are looked through for, as a tensor


@dataclass(frozen=True)
class Missing:
    """Stands for a gradient that is not there, and says what is."""

    returned: str

    def __repr__(self) -> str:
        return self.returned


def children(value: Any) -> dict[str, Any] | None:
    """What hangs on it, by how Python gets at it; None for a leaf."""
    if isinstance(value, Mapping):
        return {f"[{key!r}]": child for key, child in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {f".{field.name}": getattr(value, field.name) for field in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {f".{name}": child for name, child in zip(value._fields, value, strict=True)}
    if isinstance(value, tuple | list):
        return {f"[{i}]": child for i, child in enumerate(value)}
    return None


def _with(value: Any, others: Sequence[Any]) -> Any:
    """The same with other children."""
    if isinstance(value, Mapping):
        made: Any = copy.copy(value) if isinstance(value, MutableMapping) else {}
        made.update(zip(value, others, strict=True))
        return made
    if is_dataclass(value):
        made = copy.copy(value)
        for field, other in zip(fields(value), others, strict=True):
            object.__setattr__(made, field.name, other)  # a frozen one, too
        return made
    return type(value)(*others) if hasattr(value, "_fields") else type(value)(others)


def holds(value: Any, is_part: IsPart) -> bool:
    """Whether there is a part in it. A tree without any is a leaf, and stays as it is."""
    return is_part(value) or any(holds(child, is_part) for child in (children(value) or {}).values())


def _branches(value: Any, is_part: IsPart) -> dict[str, Any] | None:
    return None if is_part(value) or not holds(value, is_part) else children(value)


def leaves(value: Any, name: str, is_part: IsPart) -> dict[str, Any]:
    """By its name each leaf: x, xs[0], p['scale'], state.mean."""
    branches = _branches(value, is_part)
    if branches is None:
        return {name: value}
    found: dict[str, Any] = {}
    for key, child in branches.items():
        found |= leaves(child, name + key, is_part)
    return found


def rebuilt(value: Any, others: Iterator[Any], is_part: IsPart) -> Any:
    """The same tree of other leaves, in the order of `leaves`."""
    branches = _branches(value, is_part)
    if branches is None:
        return next(others)
    return _with(value, [rebuilt(child, others, is_part) for child in branches.values()])


def aligned(value: Any, other: Any, name: str, is_part: IsPart) -> list[Any]:
    """The leaves of another tree in the order of `leaves(value)`; where it has other branches, what it has there."""
    branches = _branches(value, is_part)
    if branches is None:
        return [other]
    if other is None:
        return [None] * len(leaves(value, name, is_part))
    others = children(other)
    surplus = [key for key, child in (others or {}).items() if key not in branches and child is not None]
    if others and surplus:
        got = Missing(f"a {type(other).__name__} with {surplus[0]} more than {name}")
        return [got] * len(leaves(value, name, is_part))
    if others is None:
        got = Missing(f"{type(other).__name__}, where {name} is a {type(value).__name__}")
        return [got] * len(leaves(value, name, is_part))
    found = []
    for key, child in branches.items():
        there = others[key] if key in others else Missing(f"a {type(other).__name__} without {key}")
        if isinstance(there, Missing):
            found += [there] * len(leaves(child, name, is_part))
        else:
            found += aligned(child, there, name + key, is_part)
    return found
