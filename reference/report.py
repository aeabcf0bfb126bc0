"""What the judge found: a table for people, JSON for machines, an exception for tests."""

import json
import math
from dataclasses import dataclass
from io import StringIO
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from rich.table import Table


# How a verdict on a tensor begins that does not agree
WRONG = "wrong formula"
INACCURATE = "right formula"
UNSTEADY = "not the same from call to call"


class GradientMismatch(AssertionError):  # noqa: N818 (it is the name that a test's failure should read as)
    """A hand-written gradient is not the derivative; the text is the report's table."""


@dataclass(frozen=True)
class Row:
    """The verdict on one tensor at one rung.

    error = ‖m − o‖ and budget = 16 · noise, both in roundoffs: units of u(dtype)·‖o‖, the rounding of the true value
    itself.
    """

    name: str
    device: torch.device
    dtype: torch.dtype
    error: float
    budget: float
    ok: bool
    verdict: str
    diagnosis: str

    @property
    def share(self) -> float:
        """The error in units of the budget: up to 1 it agrees."""
        if not self.error:
            return 0.0
        return self.error / self.budget if self.budget else math.inf

    def as_dict(self) -> dict[str, Any]:
        """The row in JSON's own types; an error that is no number is null."""
        return vars(self) | {
            "device": str(self.device),
            "dtype": dtype_name(self.dtype),
            "error": self.error if math.isfinite(self.error) else None,
            "budget": self.budget,
        }


@dataclass(frozen=True)
class Report:
    """The verdict on one thing: a row for each tensor at each rung."""

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    repeats: str = ""

    @property
    def ok(self) -> bool:
        """Whether something was judged and all of it agrees."""
        return bool(self.rows) and all(row.ok for row in self.rows)

    @property
    def mismatches(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if not row.ok)

    def __str__(self) -> str:
        verdict = "agrees" if self.ok else f"MISMATCH in {len(self.mismatches)} of {len(self.rows)}"
        return f"{self.title or 'gradient'}: {verdict}\n{render(table(self.rows))}"

    def to_json(self) -> str:
        return json.dumps(self.as_dict(), indent=2)

    def as_dict(self) -> dict[str, Any]:
        return {"title": self.title, "ok": self.ok, "rows": [row.as_dict() for row in self.rows]}

    def raise_on_mismatch(self) -> None:
        """Raise GradientMismatch, with the table as its text, unless all agrees."""
        if not self.ok:
            raise GradientMismatch(str(self))


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def table(rows: tuple[Row, ...]) -> "Table":
    """The rows as a table, errors and budgets in roundoffs."""
    from rich.table import Table

    columns = Table(box=None, pad_edge=False, header_style="bold")
    for heading, justify in (
        ("name", "left"),
        ("device", "left"),
        ("dtype", "left"),
        ("error", "right"),
        ("budget", "right"),
    ):
        columns.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    columns.add_column("verdict", overflow="fold")
    for row in rows:
        verdict = f"{row.verdict}: {row.diagnosis}" if row.diagnosis else row.verdict
        columns.add_row(
            row.name, str(row.device), dtype_name(row.dtype), f"{row.error:.3g}", f"{row.budget:.3g}", verdict,
            style=None if row.ok else "red",
        )  # fmt: skip
    return columns


def render(columns: "Table") -> str:
    """A table as plain text, every line as long as it needs."""
    from rich.console import Console

    text = StringIO()
    Console(file=text, width=1000, color_system=None).print(columns, markup=False)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
