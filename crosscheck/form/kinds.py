"""What numbers come as: tensors, NumPy's arrays, JAX's, Python's numbers. The judge has real tensors of them all.

A complex number is two real ones, its real and its imaginary part; a gradient in torch's convention, which is
∂L/∂Re + i ∂L/∂Im, is then that of both.
"""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor

from crosscheck.verdict.precision import NoPrecision

COMPLEX = {torch.float64: torch.complex128, torch.float32: torch.complex64}
REAL = {of: real for real, of in COMPLEX.items()}
TORCH, NUMPY, JAX, NUMBER = "torch", "numpy", "jax", "number"


def kind_of(value: Any) -> str | None:
    """What it is; None for what is no number, and none of many."""
    if isinstance(value, Tensor):
        return TORCH
    if isinstance(value, np.ndarray | np.generic):
        return NUMPY if value.dtype.kind in "fcbiu" else None
    if isinstance(value, jax.Array if (jax := sys.modules.get("jax")) else ()):
        return JAX if getattr(value.dtype, "kind", "?") in "fcbiuV" else None  # no keys of random numbers
    return NUMBER if isinstance(value, float | complex) else None


def is_array(value: Any) -> bool:
    """Whether it is of many numbers, or one like those."""
    return kind_of(value) not in (None, NUMBER)


def is_number(value: Any) -> bool:
    """Whether it is any of these."""
    return kind_of(value) is not None


def is_complex(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.is_complex()
    return isinstance(value, complex) or (is_array(value) and value.dtype.kind == "c")


def as_real(value: Any, what: str = "array", *, shared: bool = False) -> Any:
    """A tensor of the same numbers, of complex ones of their parts; what has no numbers stays as it is.

    what: its name, for an error. shared: in the same memory, where an array of NumPy's allows it.
    """
    kind = kind_of(value)
    if kind is None:
        return value
    if kind == TORCH:
        x = value
    elif kind == NUMBER:
        x = torch.tensor(value, dtype=torch.complex128 if isinstance(value, complex) else torch.float64)
    elif kind == JAX and not is_complex(value):
        x = torch.utils.dlpack.from_dlpack(value).clone()
    else:
        can_share = isinstance(value, np.ndarray) and value.flags.writeable and min(value.strides, default=0) >= 0
        array = value if shared and can_share else np.array(value)
        if array.dtype.kind in "fc" and array.dtype.itemsize > (16 if array.dtype.kind == "c" else 8):
            raise TypeError(
                f"{what}: expected numbers of at most float64, got {array.dtype}: convert it, as with .astype(float)"
            )
        x = torch.from_numpy(array.astype(array.dtype.newbyteorder("="), copy=False))
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def handed(x: Any, kind: str | None, is_complex: bool) -> Any:
    """The tensor as what it came as, in its own precision.

    Raises NoPrecision for a precision that those have not: the dtype is then left out.
    """
    if not isinstance(x, Tensor) or kind is None:
        return x
    if is_complex:
        if x.dtype not in COMPLEX:
            raise NoPrecision("complex numbers are judged at complex128 and complex64")
        is_view = x.stride(-1) == 1 and all(stride % 2 == 0 for stride in (*x.stride()[:-1], x.storage_offset()))
        x = torch.view_as_complex(x) if is_view else torch.complex(x[..., 0], x[..., 1])
    if kind == NUMBER:
        if x.dtype not in (torch.float64, torch.complex128):
            raise NoPrecision("Python's numbers are float64")
        return x.item()
    if kind == NUMPY:
        if x.dtype == torch.bfloat16:
            raise NoPrecision("NumPy has no bfloat16")
        return x.detach().numpy()
    if kind == JAX:
        import jax

        # What has no dimensions goes by way of one.
        array = jax.dlpack.from_dlpack(x.detach().contiguous() if x.dim() else x.detach().view(1))
        return array if x.dim() else array.reshape(())
    return x


def refuse(what: str, x: object) -> None:
    """Raises TypeError for what the judge cannot judge: better said than passed over."""
    if not isinstance(x, Tensor):
        return
    if x.is_nested:
        raise TypeError(
            f"{what}: expected a tensor, got a nested one: hand in its values and offsets, and nest them in forward"
        )
    if x.layout != torch.strided:
        raise TypeError(
            f"{what}: expected a dense tensor, got one of {x.layout}: hand in its values, and make it sparse in "
            f"forward, as with torch.sparse_coo_tensor(indices, values, shape)"
        )
    if x.is_quantized:
        raise TypeError(
            f"{what}: expected a tensor of floating-point numbers, got a quantized one: hand in {what}.dequantize()"
        )
    if x.is_meta:
        raise TypeError(f"{what}: expected a tensor with numbers, got one on the device meta: make it on another")
