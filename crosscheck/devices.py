"""The devices of this machine: which are here, and why one that was asked for is not.

Of torch's own kinds nothing is started here: they are asked for through their driver's management library.
"""

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import numpy as np
import torch

KINDS = ("cpu", "cuda", "mps", "xpu")  # torch's own
PACKAGES = {  # of others: they register a kind with torch when they are imported
    "hpu": "habana_frameworks.torch",
    "mlu": "torch_mlu",
    "musa": "torch_musa",
    "npu": "torch_npu",
    "xla": "torch_xla",
}


def kinds() -> tuple[str, ...]:
    """The kinds of devices that a name may have: torch's own, those of known packages, and what is registered."""
    return tuple(dict.fromkeys((*KINDS, *PACKAGES, *_registered())))


def here() -> tuple[str, ...]:
    """Torch's own kinds, and what is registered, whether or not there is a device of it."""
    return tuple(dict.fromkeys((*KINDS, *_registered())))


def available() -> list[torch.device]:
    """The CPU, and each kind of accelerator that is present."""
    return [torch.device(kind) for kind in here() if not missing(kind)]


def device(name: str) -> torch.device:
    """The device of that name. Raises ValueError, with the reason, for one that does not exist or is not here."""
    reason = missing(name)
    if reason:
        raise ValueError(f"device {name} is not here: {reason}; here: {', '.join(map(str, available()))}")
    return torch.device(name)


def missing(name: str) -> str:
    """Why the device of that name is not here, nothing where it is. Raises ValueError for what is no device's name.

    The package of a kind is imported where it is installed.
    """
    kind, colon, index = name.partition(":")
    is_index = index.isascii() and index.isdigit() and str(int(index)) == index
    if kind not in kinds() or (colon and not is_index):
        raise ValueError(f"device: expected one of {', '.join(kinds())}, as in cuda or cuda:0, got {name!r}")
    if kind == "cpu":
        return "" if not int(index or 0) else f"there is one CPU, of index 0, not {index}"
    if reason := _not_registered(kind):
        return reason
    try:
        count = _count(kind)
    except Exception as error:  # what a driver raises is the driver's own
        return f"its driver cannot be asked: {type(error).__name__}: {error}"
    if not count:
        return f"torch {torch.__version__} finds no {kind} device: is there one, and its driver?"
    if int(index or 0) >= count:
        return (
            f"there {'is' if count == 1 else 'are'} {count}, of index 0{f' to {count - 1}' * (count > 1)}, not {index}"
        )
    return ""


def of_kind(kind: str) -> list[torch.device]:
    """Every device of a kind, by its index; of the CPU, and of a kind that is not here, none."""
    is_here = kind != "cpu" and _module(kind) is not None
    return [torch.device(kind, index) for index in range(_count(kind) if is_here else 0)]


def title(device: torch.device) -> str:
    """The device by its name and, of an accelerator that tells it, that of the product."""
    product = getattr(_module(device.type), "get_device_name", None)
    return f"{device} ({product(device)})" if product else str(device)


def computed(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The same, where a device is lazy, as XLA, computed all at once: it would compile anew for each that is read."""
    for kind in {x.device.type for x in values.values() if isinstance(x, torch.Tensor)}:
        sync = getattr(_module(kind), "sync", None)
        if sync:
            sync()
    return values


def set_seed(device: torch.device, seed: int) -> None:
    """Seed Python, NumPy, the generator of the CPU, and those of every device of this one's kind."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        module = _module(device.type)
        seed_all = getattr(module, "manual_seed_all", getattr(module, "manual_seed", None))
        if seed_all:
            seed_all(seed)


@contextmanager
def random_kept(*places: torch.device) -> Iterator[None]:
    """Within it anything may be drawn; then Python, NumPy, the CPU and these devices draw on as they would have.

    A kind that has no `get_rng_state`, as XLA, keeps its own; a device that does not work has none.
    """
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    states = []
    for place in places:
        module = _module(place.type)
        if place.type != "cpu" and hasattr(module, "get_rng_state"):
            with suppress(RuntimeError):
                states.append((module.set_rng_state, module.get_rng_state(place), place))
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.set_rng_state(before[2])
        for restore, state, place in states:
            restore(state, place)


def _registered() -> list[str]:
    """The kinds beside torch's own that torch has here."""
    accelerator = torch.accelerator.current_accelerator()
    kinds = [accelerator.type] if accelerator else []
    kinds += [torch._C._get_privateuse1_backend_name(), *PACKAGES]
    return [kind for kind in kinds if kind not in KINDS and _module(kind)]


def _module(kind: str) -> Any:
    """What torch has of a kind, as torch.cuda; of one without such a module, as xla, its package, once imported."""
    package = sys.modules.get(PACKAGES.get(kind, ""))
    return getattr(torch, kind, None) or (package if hasattr(package, "device_count") else None)


def _not_registered(kind: str) -> str:
    """Why torch has nothing of a kind, if it has not."""
    if kind in KINDS:
        built = {
            "cuda": torch.backends.cuda.is_built,
            "mps": torch.backends.mps.is_built,
            "xpu": torch.xpu._is_compiled,
        }
        return "" if built[kind]() else f"torch {torch.__version__} is built without {kind}"
    if _module(kind):
        return ""
    brings = f"the package {PACKAGES[kind]}, which brings {kind},"
    try:
        import_module(PACKAGES[kind])
    except ModuleNotFoundError:
        return f"{brings} is not installed"
    except Exception as error:
        return f"{brings} cannot be imported: {type(error).__name__}: {error}"
    return "" if _module(kind) else f"{brings} is imported, and torch still has no {kind}"


def _count(kind: str) -> int:
    """How many devices there are of a kind."""
    return int(_module(kind).device_count())
