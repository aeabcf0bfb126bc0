"""Rows of complex tensors, which are judged by their real and imaginary parts, told as complex."""

import re
from collections.abc import Collection
from dataclasses import replace

from crosscheck.form.kinds import COMPLEX
from crosscheck.report import Report
from crosscheck.row import Row

PLACE = re.compile(r"\[(?:(\d+(?:, \d+)*), )?([01])\]")  # whose last number is that of the part


def in_complex_numbers(report: Report, names: Collection[str]) -> Report:
    """The report with the rows of these names told in complex numbers."""
    if not names:
        return report
    return replace(report, rows=tuple(_told(row) if row.name in names else row for row in report.rows))


def _told(row: Row) -> Row:
    return replace(
        row, dtype=COMPLEX.get(row.dtype, row.dtype), verdict=PLACE.sub(_part, row.verdict),
        diagnosis=PLACE.sub(_part, row.diagnosis),
    )  # fmt: skip


def _part(place: re.Match[str]) -> str:
    return f"[{place[1] or ''}], {('real', 'imaginary')[int(place[2])]} part"
