"""A simulated accelerator, `sim`, of two indices: its numbers lie on a device of their own, and the CPU computes them.

As a plugin of pytest, `-p simulated`, it is there from the start. It cannot be taken away again: tests of it are in
a process of their own. torch's engine knows one such device alone; the index is kept here, and checked here.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

aten = torch.ops.aten
FACTORIES = ("empty.memory_format", "empty_strided")  # all others fill what these make
MOVING = (aten.copy_.default, aten._to_copy.default)


class Simulated(torch.Tensor):
    """A tensor on the device; `held` has its numbers on the CPU, in the same memory layout."""

    @staticmethod
    def __new__(cls, held: torch.Tensor, place: torch.device) -> "Simulated":
        return cls._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device="sim:0"
        )

    def __init__(self, held: torch.Tensor, place: torch.device) -> None:
        self.held, self.place = held, place

    @property
    def device(self) -> torch.device:
        return self.place

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(func, args, kwargs or {})


def computed(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operator, by the CPU; what comes out is on the device that is named, or on that of what goes in."""
    given, spec = tree_flatten((args, kwargs))
    tensors = [x for x in given if isinstance(x, torch.Tensor)]
    numbers = [x for x in tensors if x.dim()] or tensors  # a tensor of one number may be anywhere
    places = sorted({str(x.device) for x in numbers})
    if len(places) > 1 and func not in MOVING:
        raise RuntimeError(f"{func}: expected all tensors on the same device, got some on {' and '.join(places)}")
    place = kwargs.get("device")
    place = torch.device(place) if place is not None else args[0].device if func in MOVING else torch.device(places[-1])
    if place.type == "sim" and place.index is None:
        place = torch.device("sim", 0)
    on_cpu, by_name = tree_unflatten([x.held if isinstance(x, Simulated) else x for x in given], spec)
    if by_name.get("device") is not None:
        by_name["device"] = "cpu"
    known = {id(x.held): x for x in tensors if isinstance(x, Simulated)}

    def put(x: Any) -> Any:
        if not isinstance(x, torch.Tensor) or place.type != "sim":
            return x
        return known[id(x)] if id(x) in known else Simulated(x, place)  # in place, or a new one

    return tree_map(put, func(*on_cpu, **by_name))


def start() -> torch.library.Library:
    """Register the device with torch, as long as what is returned is kept. Needs torch 2.10."""
    module = SimpleNamespace(
        device_count=lambda: 2, is_available=lambda: True, is_initialized=lambda: True, current_device=lambda: 0,
        _is_in_bad_fork=lambda: False, manual_seed_all=lambda seed: None,
    )  # fmt: skip
    backend_registration._setup_privateuseone_for_python_backend("sim", module)
    library = torch.library.Library("aten", "IMPL")
    for name in FACTORIES:
        packet, _, overload = name.partition(".")
        func = getattr(getattr(aten, packet), overload or "default")
        library.impl(name, lambda *args, func=func, **kwargs: computed(func, args, kwargs), "PrivateUse1")
    return library


REGISTERED = start() if hasattr(backend_registration, "_setup_privateuseone_for_python_backend") else None
