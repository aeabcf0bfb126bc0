"""Data sets to train on: the real digits of scikit-learn, or arrays from a file."""

import zipfile
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[Any]


class DataError(Exception):
    """The data are not to be had, or are not what they should be."""


class Data(NamedTuple):
    """X [samples, inputs] in float64, and Z: class indices [samples], or values [samples, outputs] in float64."""

    X: Tensor
    Z: Tensor


def digits() -> Data:
    """1,797 handwritten digits of 8 × 8 pixels from 0 to 1, and which digit each is.

    Raises DataError, naming the extra, without scikit-learn. Source: Alpaydin, Kaynak, Optical Recognition of
    Handwritten Digits (UCI Machine Learning Repository, 1998).
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError(
            "the digits ship with scikit-learn, which is not installed: pip install 'manual-bp[digits]'"
        ) from None
    pixels, digit = load_digits(return_X_y=True)
    return Data(torch.from_numpy(pixels) / 16, torch.from_numpy(digit).long())


def npz(path: str) -> Data:
    """The arrays X and Z of a NumPy .npz file. Raises DataError for any other file."""
    X, Z = _read(path)
    x, z = _in_float64(f"{path}: X", X), _in_float64(f"{path}: Z", Z)
    if X.ndim != 2 or not X.size:
        raise DataError(f"{path}: X: expected shape [samples, inputs], got {list(X.shape)}")
    if Z.shape[:1] != X.shape[:1] or Z.ndim != (2 if Z.dtype.kind == "f" else 1):
        raise DataError(
            f"{path}: Z: expected whole numbers [{len(X)}] (classes) or floats [{len(X)}, outputs], "
            f"got {Z.dtype} {list(Z.shape)}"
        )
    if Z.ndim == 2:
        return Data(x, z)
    least, largest = int(Z.min()), int(Z.max())
    if least < 0 or largest >= 2**63:
        raise DataError(f"{path}: Z: expected class indices from 0, below 2^63, got {least if least < 0 else largest}")
    return Data(x, torch.from_numpy(Z.astype(np.int64)))


def _read(path: str) -> tuple[Array, Array]:
    """X and Z as they are in the file."""
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise DataError(f"{path}: expected a .npz file, as numpy.savez writes it, got another kind of file")
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            if missing := {"X", "Z"} - set(arrays):
                raise DataError(f"{path}: expected arrays X and Z, got no {' and no '.join(sorted(missing))}")
            return np.asarray(arrays["X"]), np.asarray(arrays["Z"])
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (MemoryError, RuntimeError) as error:  # it is encrypted, or packed in a way that is not known here
        raise DataError(f"{path}: {error}") from None
    except Exception:  # of NumPy, zipfile, and all that it unpacks with
        raise DataError(
            f"{path}: expected a .npz file with arrays X and Z of numbers, got one that is damaged or holds objects"
        ) from None


def _in_float64(what: str, array: Array) -> Tensor:
    """The array in float64. Raises DataError for what is no finite number in it."""
    if array.dtype.kind not in "iuf":
        raise DataError(f"{what}: expected numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise DataError(f"{what}: expected finite numbers in float64, got {array[~np.isfinite(numbers)][0]!s}")
    return torch.from_numpy(numbers)
