"""What the hand-written side accepts.

Every message says what, expected and got, and nothing has been changed when one is raised.
"""

import math
from numbers import Real

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Size, Tensor

Values = Tensor | ArrayLike  # of samples: a tensor, a NumPy array, or nested lists of numbers


def tensor(what: str, values: Values, dtype: torch.dtype | None, device: torch.device) -> Tensor:
    """A tensor as it is; an array or nested lists as a tensor of this dtype, or without one of their own.

    A tensor's dtype was chosen, and what expects another refuses it. An array is float64 where nobody chose, and so it
    is converted, as in Keras and scikit-learn.
    """
    if isinstance(values, Tensor):
        return values
    try:
        array = np.array(values, order="C")
        if array.dtype.kind not in "iufb":  # whole numbers, floats and truth values
            raise TypeError(f"dtype {array.dtype}")
        return torch.from_numpy(array.astype(array.dtype.newbyteorder("="))).to(device, dtype)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{what}: expected a tensor, an array or nested lists of numbers, all rows of one length, "
            f"got {type(values).__name__} ({first_line(error)})"
        ) from None


def floating(what: str, value: object) -> Tensor:
    """A floating-point tensor outside of autograd."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{what}: expected a torch tensor, got {type(value).__name__}")
    if not value.dtype.is_floating_point:
        raise TypeError(
            f"{what}: expected a floating-point dtype, got {value.dtype}: convert it, as with .to(torch.float32)"
        )
    if value.requires_grad:
        raise TypeError(f"{what}: expected a tensor outside of autograd, got requires_grad=True: pass {what}.detach()")
    return value


def like(what: str, value: object, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A floating-point tensor of this dtype on this device."""
    tensor = floating(what, value)
    if tensor.dtype != dtype:
        raise TypeError(
            f"{what}: expected dtype {dtype}, as the rest has, got {tensor.dtype}: convert it, as with .to({dtype})"
        )
    on_device(what, tensor, device)
    return tensor


def scalar(what: str, value: object, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A 0-d tensor of this dtype on this device; a number becomes one."""
    if isinstance(value, Real):
        return torch.tensor(float(value), dtype=dtype, device=device)
    if not isinstance(value, Tensor):
        raise TypeError(f"{what}: expected a float or a 0-d tensor, got {type(value).__name__}")
    shape(what, like(what, value, dtype, device), (), "one number")
    return value


def on_device(what: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise ValueError(
            f"{what}: expected a tensor on {device}, where the rest is, got one on {tensor.device}: move it, as with "
            f".to('{device}')"
        )


def shape(what: str, tensor: Tensor, expected: Size | tuple[int, ...], meaning: str) -> None:
    if tensor.shape != expected:
        raise ValueError(f"{what}: expected shape {list(expected)} ({meaning}), got {list(tensor.shape)}")


def number(what: str, value: object) -> float:
    """A finite number."""
    if isinstance(value, Tensor) and value.dim() == 0:
        value = value.item()
    if not isinstance(value, Real):
        raise TypeError(f"{what}: expected a number, got {type(value).__name__}")
    try:
        as_float = float(value)
    except OverflowError:  # of a whole number
        as_float = math.inf
    if not math.isfinite(as_float):
        raise ValueError(f"{what}: expected a finite number, got {value}")
    return as_float


def not_negative(what: str, value: object) -> float:
    """A finite number, 0 or more."""
    checked = number(what, value)
    if checked < 0:
        raise ValueError(f"{what}: expected 0 or more, got {checked}")
    return checked


def count(what: str, value: object) -> int:
    """A whole number, 1 or more."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{what}: expected a whole number, got {value!r}")
    if value < 1:
        raise ValueError(f"{what}: expected 1 or more, got {value}")
    return value


def finite(what: str, values: Tensor) -> None:
    """No nan and no infinity."""
    _refuse(what, values, ~values.isfinite(), f"a finite number in {values.dtype}")


def probabilities(what: str, z: Tensor) -> None:
    """Every element in [0, 1]."""
    _refuse(what, z, ~((z >= 0) & (z <= 1)), "a target from 0 to 1")


def _refuse(what: str, z: Tensor, outside: Tensor, expected: str) -> None:
    """Raise ValueError with the first element that is outside, if any is."""
    if outside.any():
        at = torch.nonzero(outside)[0].tolist()
        raise ValueError(f"{what}: expected {expected}, got {z[tuple(at)].item()}" + f" at {at}" * bool(at))


def integers(what: str, z: Tensor) -> Tensor:
    """A tensor of whole numbers."""
    if z.dtype.is_floating_point or z.dtype.is_complex or z.dtype == torch.bool:
        raise TypeError(f"{what}: expected class indices of an integer dtype, got {z.dtype}")
    return z


def classes(what: str, z: Tensor, number: int) -> None:
    """Every element a class index, in [0, number)."""
    z = z.long()  # in an integer dtype of few bits, the number of classes is another number
    _refuse(what, z, (z < 0) | (z >= number), f"a class index from 0 to {number - 1}")


def first_line(error: Exception) -> str:
    """What a library's error says, without the stack that torch appends."""
    return str(error).strip().partition("\n")[0]
