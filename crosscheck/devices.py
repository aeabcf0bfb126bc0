"""The devices of this machine: which are here, and why one that was asked for is not.

Nothing here starts an accelerator: it is asked for through its driver's management library.
"""

import re

import torch

KINDS = ("cpu", "cuda", "mps", "xpu")


def available() -> list[torch.device]:
    """The CPU, and each kind of accelerator that is present."""
    return [torch.device(kind) for kind in KINDS if not missing(kind)]


def device(name: str) -> torch.device:
    """The device of that name. Raises ValueError, with the reason, for one that does not exist or is not here."""
    reason = missing(name)
    if reason:
        raise ValueError(f"device {name} is not here: {reason}; here: {', '.join(map(str, available()))}")
    return torch.device(name)


def missing(name: str) -> str:
    """Why the device of that name is not here, nothing where it is. Raises ValueError for what is no device's name."""
    kind, _, index = name.partition(":")
    if not re.fullmatch(f"({'|'.join(KINDS)})(:(0|[1-9][0-9]*))?", name):
        raise ValueError(f"device: expected one of {', '.join(KINDS)}, as in cuda or cuda:0, got {name!r}")
    if kind == "cpu":
        return "" if not int(index or 0) else f"there is one CPU, of index 0, not {index}"
    built = {"cuda": torch.backends.cuda.is_built, "mps": torch.backends.mps.is_built, "xpu": torch.xpu._is_compiled}
    if not built[kind]():
        return f"torch {torch.__version__} is built without {kind}"
    count = {"cuda": torch.cuda.device_count, "mps": torch.mps.device_count, "xpu": torch.xpu.device_count}[kind]()
    if not count:
        return f"torch {torch.__version__} finds no {kind} device: is there one, and its driver?"
    if int(index or 0) >= count:
        return (
            f"there {'is' if count == 1 else 'are'} {count}, of index 0{f' to {count - 1}' * (count > 1)}, not {index}"
        )
    return ""


def title(device: torch.device) -> str:
    """The device by its name and, of an accelerator, that of the product."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return str(device)
