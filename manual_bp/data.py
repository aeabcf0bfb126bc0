"""Data sets to train on: the real digits of scikit-learn, what is in a file, of NumPy's or CSV, or a text."""

import csv
import math
import os
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from manual_bp._files import unread
from manual_bp.checkpoint import Labels

Array = NDArray[Any]


class DataError(Exception):
    """The data are not to be had, or are not what they should be."""


class Data(NamedTuple):
    """X [samples, inputs] in float64, and Z: class indices [samples], or values [samples, outputs] in float64."""

    X: Tensor
    Z: Tensor


def load(source: str, target: str | None = None, *, values: bool = False) -> tuple[Data, Labels]:
    """What is trained on: "digits", or that in a .npz or .csv file, and the names of its inputs and classes.

    target: of a .csv file, the column of Z, by its name, or where there is no header by its number from 1; without it
    the last one. values: its whole numbers are values, not classes. Raises DataError.
    """
    if source.endswith(".csv"):
        return _csv(source).split(target, values)
    if target is not None:
        raise DataError(f"target {target}: expected a .csv file with that column, got {source}: leave the target out")
    return digits() if source == "digits" else npz(source), Labels([], [])


def inputs(source: str, labels: Labels, width: int) -> Tensor:
    """What a network of so many inputs predicts from, X [samples, width] in float64: as for `load`, without Z.

    Of a .csv file with a header, the columns that the network was trained on are taken by name, where it has names.
    Raises DataError.
    """
    if source.endswith(".csv"):
        table = _csv(source)
        columns = table.named(labels.inputs) if table.header and labels.inputs else range(len(table.names))
        if len(columns) == width:
            return table.numbers(columns)
        got = f"{len(columns)}: {', '.join(table.names)}"
    else:
        X = digits().X if source == "digits" else _inputs(source, _read(source, ("X",))[0])
        if X.shape[1] == width:
            return X
        got = f"X {list(X.shape)}"
    raise DataError(f"{source}: expected {width} columns, one for each input of the network, got {got}")


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
    X, Z = _read(path, ("X", "Z"))
    x, z = _inputs(path, X), _in_float64(f"{path}: Z", Z)
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


def text(path: str | None) -> tuple[Tensor, list[str]]:
    """The characters of a text file in UTF-8 as tokens [characters], and which character each token is.

    Without a file, the text is the source of Python's own library, which is on every machine. Raises DataError.
    """
    try:
        if path is None:
            sources = (file.read_text(encoding="utf-8") for file in sorted(Path(os.__file__).parent.glob("*.py")))
            read = "".join(source for source in sources if source.isascii())
        else:
            read = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: expected a text file in UTF-8, got {unread(error)}") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected a text file in UTF-8, got another kind of file ({error})") from None
    if not read:
        where = path or Path(os.__file__).parent
        raise DataError(f"{where}: expected at least one character, got none: name another file")
    characters, tokens = np.unique(np.frombuffer(read.encode("utf-32-le"), dtype="<u4"), return_inverse=True)
    return torch.from_numpy(tokens.astype(np.int64)), [chr(character) for character in characters]


def _inputs(path: str, X: Array) -> Tensor:
    """X as it is in a file, in float64."""
    x = _in_float64(f"{path}: X", X)
    if x.dim() != 2 or not x.numel():
        raise DataError(f"{path}: X: expected shape [samples, inputs], got {list(x.shape)}")
    return x


def _read(path: str, names: Sequence[str]) -> list[Array]:
    """The arrays of these names as they are in the file."""
    expected = " and ".join(f"an array {name}" for name in names)
    try:
        with open(path, "rb") as file:
            if not zipfile.is_zipfile(file):
                raise DataError(f"{path}: expected a .npz file, as numpy.savez writes it, got another kind of file")
            file.seek(0)
            arrays = np.load(file, allow_pickle=False)
            if not {*names} <= {*arrays}:
                keywords = ", ".join(f"{name}={name}" for name in names)
                raise DataError(
                    f"{path}: expected {expected}, got {', '.join(sorted(arrays)) or 'none'}: "
                    f"name them, as with numpy.savez(file, {keywords})"
                )
            return [np.asarray(arrays[name]) for name in names]
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{path}: expected a .npz file, got {unread(error)}") from None
    except (MemoryError, RuntimeError) as error:  # it is encrypted, or packed in a way that is not known here
        raise DataError(f"{path}: {error}") from None
    except Exception:  # of NumPy, zipfile, and all that it unpacks with
        raise DataError(
            f"{path}: expected a .npz file with {expected} of numbers, got one that is damaged or holds objects"
        ) from None


def _in_float64(what: str, array: Array) -> Tensor:
    """The array in float64. Raises DataError for what is no finite number in it."""
    if array.dtype.kind not in "iuf":
        raise DataError(f"{what}: expected numbers, got dtype {array.dtype}")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        at = tuple(np.argwhere(~np.isfinite(numbers))[0].tolist())
        raise DataError(f"{what}: expected a finite number in float64, got {array[at]!s} at {list(at)}")
    return torch.from_numpy(numbers)


@dataclass(frozen=True)
class _Table:
    """The cells of a CSV file, as text, below its header, if it has one; names: of its columns, or their numbers."""

    path: str
    header: list[str] | None
    names: list[str]
    rows: list[tuple[int, list[str]]]  # with the number of its line

    def split(self, target: str | None, values: bool) -> tuple[Data, Labels]:
        """Inputs and target, and their names."""
        (z,) = self.named([target or self.names[-1]])
        columns = [column for column in range(len(self.names)) if column != z]
        if not columns:
            raise DataError(
                f"{self.path}: expected columns of inputs and a target, separated by commas, got one column, "
                f"{self.names[0]}"
            )
        X = self.numbers(columns)
        names = [self.names[column] for column in columns] if self.header else []
        texts = [self.cell(row, z, "a target") for row in range(len(self.rows))]
        of_numbers = [_number(text) is not None for text in texts]
        whole = all(re.fullmatch(r"[+-]?\d+", text) for text in texts)
        if values or (all(of_numbers) and not whole):
            return Data(X, self.numbers([z])), Labels(names, [])
        if any(of_numbers) and not whole:
            row = of_numbers.index(False)
            raise DataError(
                f"{self.at(row, z)}: expected a number, as other rows have, got {texts[row]!r}: "
                "a target is a number in every row, or the name of a class in every row"
            )
        of_rows: list[Any] = [int(text) for text in texts] if whole else texts
        classes = sorted({*of_rows})
        index = {of_class: i for i, of_class in enumerate(classes)}
        return Data(X, torch.tensor([index[of_row] for of_row in of_rows])), Labels(names, [str(c) for c in classes])

    def named(self, names: Iterable[str]) -> list[int]:
        """The columns of these names."""
        for name in names:
            if name not in self.names:
                raise DataError(f"{self.path}: expected a column {name}, got the columns {', '.join(self.names)}")
        return [self.names.index(name) for name in names]

    def numbers(self, columns: Sequence[int]) -> Tensor:
        """These columns in float64, [rows, columns]."""
        return torch.tensor(
            [[self.number(row, column) for column in columns] for row in range(len(self.rows))], dtype=torch.float64
        )

    def number(self, row: int, column: int) -> float:
        text = self.cell(row, column, "a number")
        number = _number(text)
        if number is None or not math.isfinite(number):
            raise DataError(f"{self.at(row, column)}: expected a finite number, got {text!r}")
        return number

    def cell(self, row: int, column: int, expected: str) -> str:
        text = self.rows[row][1][column].strip()
        if not text:
            raise DataError(f"{self.at(row, column)}: expected {expected}, got an empty cell")
        return text

    def at(self, row: int, column: int) -> str:
        return f"{self.path}, line {self.rows[row][0]}, column {self.names[column]}"


def _csv(path: str) -> _Table:
    """A CSV file. Its first line is a header where no cell of it is a number."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, cells) for cells in reader if cells]
    except OSError as error:
        raise DataError(f"{path}: expected a .csv file, got {unread(error)}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: expected a CSV file in UTF-8, got another kind of file ({error})") from None
    first = [cell.strip() for cell in rows[0][1]] if rows else []
    has_header = all(_number(cell) is None for cell in first)
    if len(rows) <= has_header:
        raise DataError(f"{path}: expected a line for each sample, got none")
    for line, cells in rows:
        if len(cells) != len(first):
            raise DataError(
                f"{path}, line {line}: expected {len(first)} cells, as line {rows[0][0]} has, got {len(cells)}"
            )
    names = first if has_header else [str(number) for number in range(1, len(first) + 1)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{path}: expected a different name for each column, got {twice!r} twice")
    return _Table(path, first if has_header else None, names, rows[has_header:])


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
