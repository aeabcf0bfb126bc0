"""A row of a report: the verdict on one tensor in one dtype, and the words that verdicts begin with."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# How a verdict on a tensor begins that does not agree
WRONG = "wrong formula"
INACCURATE = "right formula"
UNSTEADY = "not the same from call to call"
CHANGED = "changed in place"
NOT_JUDGED = "not judged"

# And of one that does, though little was seen
ZERO = "agrees, but it is zero everywhere, where no wrong factor shows"
KINK = "agrees, but for a convention at a kink"
OFF = "agrees with differences of the forward"
AROUND = "agrees with the gradient all around, autograd's is another one here alone"

# How a diagnosis begins that found nothing
UNKNOWN = "unknown cause"

COLUMNS = ("name", "device", "dtype", "error", "budget", "verdict")


@dataclass(frozen=True)
class Row:
    """The verdict on one tensor in one dtype.

    error = ‖m − o‖ and budget = 16 · noise, both in roundoffs: units of u(dtype)·‖o‖, the rounding of the true value
    itself. diagnosis: of what is wrong, a line of cause and one of the worst place; else empty. shares: of what is
    wrong and of the right shape, |m − o| over the budget as a matrix, of a large tensor the largest of each block.
    """

    name: str
    device: torch.device
    dtype: torch.dtype
    error: float
    budget: float
    ok: bool
    verdict: str
    diagnosis: str
    shares: Tensor | None = field(default=None, repr=False, compare=False)

    @property
    def is_mismatch(self) -> bool:
        """Whether it was judged, and does not agree."""
        return not self.ok and not self.verdict.startswith(NOT_JUDGED)

    @property
    def share(self) -> float:
        """The error in units of the budget: up to 1 it agrees."""
        if not self.error:
            return 0.0
        return self.error / self.budget if self.budget else math.inf

    @property
    def cells(self) -> tuple[str, ...]:
        """The row as it is printed, in the order of COLUMNS."""
        return (
            self.name, str(self.device), dtype_name(self.dtype), f"{self.error:.3g}", f"{self.budget:.3g}", self.verdict
        )  # fmt: skip

    @property
    def said(self) -> str:
        """All that is said of it, in one line."""
        cause, _, place = self.diagnosis.partition("\n")
        return self.verdict + f": {cause}" * bool(cause) + f" ({place})" * bool(place)

    def as_dict(self) -> dict[str, Any]:
        """The row in JSON's own types; an error or a budget that is no number is null."""
        return {name: value for name, value in vars(self).items() if name != "shares"} | {
            "device": str(self.device),
            "dtype": dtype_name(self.dtype),
            "error": self.error if math.isfinite(self.error) else None,
            "budget": self.budget if math.isfinite(self.budget) else None,
        }


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def highest(rows: Iterable[Row]) -> list[Row]:
    """Of each tensor the row in its highest dtype."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.name, row)
    return list(first.values())


def got_and_expected(got: float, expected: float) -> str:
    """Both, in as many digits as tell them apart."""
    digits = next((digits for digits in range(6, 17) if f"{got:.{digits}g}" != f"{expected:.{digits}g}"), 17)
    return f"got {got:.{digits}g}, expected {expected:.{digits}g}"
