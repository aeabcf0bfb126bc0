"""Data sets to train on: the real digits of scikit-learn, or arrays from a file."""

import zipfile
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


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
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if missing := {"X", "Z"} - set(arrays):
                raise DataError(f"{path}: expected arrays X and Z, got no {' and no '.join(sorted(missing))}")
            X, Z = arrays["X"], arrays["Z"]
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise DataError(f"{path}: expected a .npz file with arrays X and Z: {error}") from None
    for name, array in (("X", X), ("Z", Z)):
        if array.dtype.kind not in "iuf":
            raise DataError(f"{path}: {name}: expected numbers, got dtype {array.dtype}")
        if not np.isfinite(array).all():
            raise DataError(f"{path}: {name}: expected finite numbers, got {array[~np.isfinite(array)][0]}")
    if X.ndim != 2 or not X.size:
        raise DataError(f"{path}: X: expected shape [samples, inputs], got {list(X.shape)}")
    if len(Z) != len(X) or (Z.dtype.kind == "f") != (Z.ndim == 2) or Z.ndim not in (1, 2):
        raise DataError(
            f"{path}: Z: expected whole numbers [{len(X)}] (classes) or floats [{len(X)}, outputs], "
            f"got {Z.dtype} {list(Z.shape)}"
        )
    if Z.ndim == 1 and Z.min() < 0:
        raise DataError(f"{path}: Z: expected class indices from 0, got {Z.min()}")
    return Data(
        torch.from_numpy(X.astype(np.float64)), torch.from_numpy(Z.astype(np.float64 if Z.ndim == 2 else np.int64))
    )
