"""The devices of this machine: which are here, and why one that was asked for is not."""

import torch

KINDS = ("cpu", "cuda", "mps", "xpu")


def available() -> list[torch.device]:
    """The CPU and every accelerator present; one among several of a kind by its index."""
    devices = [torch.device("cpu")]
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if accelerator is not None:
        count = torch.accelerator.device_count()
        devices += [torch.device(accelerator.type, i) for i in range(count)] if count > 1 else [accelerator]
    return devices


def device(name: str) -> torch.device:
    """The device of that name. Raises ValueError, with the reason, for one that does not exist or is not here."""
    kind = name.partition(":")[0]
    if kind not in KINDS:
        raise ValueError(f"device: expected one of {', '.join(KINDS)}, as in cuda or cuda:0, got {name!r}")
    try:
        torch.empty(0, device=name)
    except (AssertionError, RuntimeError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        here = ", ".join(map(str, available()))
        raise ValueError(f"device {name} is not here (torch {torch.__version__}; here: {here}): {reason}") from None
    return torch.device(name)
