"""What the judge found: a table for people, JSON for machines, an exception for tests."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from crosscheck.contract.breach import Breach, Contract
from crosscheck.row import CHANGED, COLUMNS, INACCURATE, KINK, NOT_JUDGED, UNSTEADY, ZERO, Row, dtype_name, highest

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class GradientMismatch(AssertionError):  # noqa: N818 (it is the name that a test's failure should read as)
    """A hand-written gradient is not the derivative; the text is the report's table."""


@dataclass(frozen=True)
class Report:
    """The verdict on one thing: a row for each tensor in each dtype, the most precise first.

    notes: what could not be judged, and why. repeats: what the same call twice does. formula_alone: whether there was
    nothing to compare rounding errors with, as without autograd. unjudged: by its name, why an input is not judged.
    duties: what a backward owes beside its numbers, where that was looked at.
    """

    title: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    repeats: str = ""
    formula_alone: bool = False
    unjudged: Mapping[str, str] = field(default_factory=dict)
    duties: Contract | None = None

    @property
    def ok(self) -> bool:
        """Whether something was judged, all of it agrees, and the contract is kept."""
        return bool(self.rows) and all(row.ok for row in self.rows) and not self.breaches

    def __bool__(self) -> bool:
        return self.ok

    @property
    def breaches(self) -> tuple[Breach, ...]:
        """What is broken of the contract."""
        return self.duties.breaches if self.duties else ()

    @property
    def mismatches(self) -> tuple[Row, ...]:
        """The rows that were judged and do not agree."""
        return tuple(row for row in self.rows if row.is_mismatch)

    @property
    def not_judged(self) -> tuple[Row, ...]:
        """The rows of which nothing can be said."""
        return tuple(row for row in self.rows if row.verdict.startswith(NOT_JUDGED))

    @property
    def is_mismatch(self) -> bool:
        """Whether something was judged and does not agree; what is neither this nor ok could not be judged."""
        return bool(self.mismatches or self.breaches)

    @property
    def conventions(self) -> tuple[Row, ...]:
        """The rows that are off, but by no more than a convention at a kink."""
        return tuple(row for row in self.rows if row.verdict.startswith(KINK))

    @property
    def _wrong(self) -> list[str]:
        return [row.name for row in self.mismatches if not row.verdict.startswith((INACCURATE, UNSTEADY, CHANGED))]

    @property
    def formula(self) -> str:
        """The verdict on the formula: does the error fall as the precision rises?"""
        if wrong := self._wrong:
            return f"wrong in {_listed(wrong)}"
        judged = [row for row in highest(self.rows) if not row.verdict.startswith((NOT_JUDGED, UNSTEADY))]
        if not judged:
            return NOT_JUDGED
        right = [f"right, judged at {dtype_name(judged[0].dtype)}"]
        for what, verdicts in (("zero everywhere", ZERO), (NOT_JUDGED, (NOT_JUDGED, UNSTEADY))):
            names = [row.name for row in highest(self.rows) if row.verdict.startswith(verdicts)]
            names += list(self.unjudged) if what == NOT_JUDGED else []
            right += [f"{what} in {_listed(names)}"] * bool(names)
        return ", ".join(right)

    @property
    def numerics(self) -> str:
        """The verdict on the numerics: at each dtype, is it as accurate as autograd?"""
        less = [
            f"{row.name} at {dtype_name(row.dtype)}" for row in self.mismatches if row.verdict.startswith(INACCURATE)
        ]
        if less:
            return f"less accurate than autograd in {_listed(less)}"
        agreeing = {row.name for row in self.rows if row.ok}.difference(self._wrong)
        if self.formula_alone or self.formula == NOT_JUDGED or not agreeing:
            return NOT_JUDGED
        return "where the formula is right, " * bool(self._wrong) + "as accurate as autograd"

    @property
    def determinism(self) -> str:
        """The verdict on determinism: does the same call twice give the same?"""
        return f"the same call twice {self.repeats}" if self.repeats else NOT_JUDGED

    @property
    def contract(self) -> str:
        """The verdict on what a backward owes beside its numbers: in other layouts, twice, with outs unused."""
        changed = [f"{row.name} is {row.verdict}" for row in self.mismatches if row.verdict.startswith(CHANGED)]
        broken = [*dict.fromkeys(changed), *map(str, self.breaches)]
        if broken:
            return f"broken: {'; '.join(broken)}"
        return f"kept, in {len(self.duties.checked)} ways of calling it" if self.duties else NOT_JUDGED

    @property
    def coverage(self) -> str:
        """What was judged, and what was not, by its name and reason."""
        judged = [row.name for row in highest(self.rows) if not row.verdict.startswith(NOT_JUDGED)]
        reasons = {
            f"{row.name} at {dtype_name(row.dtype)}" if row.name in judged else row.name: row.verdict.removeprefix(
                f"{NOT_JUDGED}: "
            )
            for row in highest(self.not_judged)
        }
        unjudged = [f"{name} ({reason})" for name, reason in {**reasons, **self.unjudged}.items()]
        said = [f"judged in {_listed(judged)}"] * bool(judged) + [f"not in {', '.join(unjudged)}"] * bool(unjudged)
        return ", ".join(said) or NOT_JUDGED

    @property
    def verdict(self) -> str:
        """The first line of the table: what was judged, and whether it agrees."""
        title, of = self.title or "gradient", f"of {len(self.rows)}"
        if self.ok:
            return f"{title}: agrees"
        if self.breaches and not self.mismatches:
            return f"{title}: CONTRACT BROKEN in {len(self.breaches)}"
        if self.mismatches:
            return f"{title}: MISMATCH in {len(self.mismatches)} {of}"
        return f"{title}: NOT JUDGED in {len(self.not_judged)} {of}"

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdicts, by what they are on."""
        return {
            "formula": self.formula,
            "numerics": self.numerics,
            "determinism": self.determinism,
            "contract": self.contract,
            "coverage": self.coverage,
        }

    @property
    def said(self) -> tuple[str, ...]:
        """The verdicts, and what could not be judged, a line each."""
        return *(f"{what}: {verdict}" for what, verdict in self.verdicts.items()), *self.notes

    def __str__(self) -> str:
        return "\n".join((self.verdict, shown(self.rows), *self.said))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """The same for IPython, which else shows the fields."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """The same for a notebook, in the colours of its theme, light or dark."""
        rows = ""
        for row in self.rows:
            style = "" if row.ok else f" style='{SHADED}'"
            rows += f"<tr{style}>{_html_cells('td', row.cells)}</tr>"
        said = "".join(f"<div><b>{what}</b>: {escape(verdict)}</div>" for what, verdict in self.verdicts.items())
        notes = "".join(f"<div>{escape(note)}</div>" for note in self.notes)
        causes = "".join(
            f"<div><b>{escape(name)}</b>: {escape(cause)}<br>&emsp;{escape(place)}</div>"
            for name, (cause, place) in causes_of(self.rows).items()
        )
        title = f"<div><b>{escape(self.verdict)}</b></div>"
        picture = ""
        if self.rows and find_spec("matplotlib"):
            from crosscheck.plots import svg

            picture = f"<div style='background:#fff'>{svg(self.rows)}</div>"
        table = f"<table><thead><tr>{_html_cells('th', COLUMNS)}</tr></thead><tbody>{rows}</tbody></table>"
        return f"{title}{table}{causes}{said}{notes}{picture}"

    def plot(self) -> "Figure":
        """The errors by precision, and a map of what is wrong, as a matplotlib figure: `.savefig` writes it.

        Raises ModuleNotFoundError where matplotlib, the extra `figures`, is not installed, and ValueError where
        nothing was judged.
        """
        if not find_spec("matplotlib"):
            raise ModuleNotFoundError("matplotlib is not installed: pip install 'manual-bp[figures]'")
        if not self.rows:
            raise ValueError("rows: expected at least one to draw, got a report in which nothing was judged")
        from crosscheck.plots import plot

        return plot(self.rows)

    def to_json(self) -> str:
        """The report for machines, as a text of JSON: that of `as_dict`."""
        return json.dumps(self.as_dict(), indent=2)

    def as_dict(self) -> dict[str, Any]:
        """Title, whether all agrees, the rows, the verdicts and the notes, in JSON's own types."""
        rows = [row.as_dict() for row in self.rows]
        return {"title": self.title, "ok": self.ok, "rows": rows, **self.verdicts, "notes": list(self.notes)} | {
            "breaches": [breach.as_dict() for breach in self.breaches],
            "checked": list(self.duties.checked) if self.duties else [],
        }

    def raise_on_mismatch(self) -> None:
        """Raise GradientMismatch, with the table as its text, unless all agrees."""
        __tracebackhide__ = True  # pytest then shows the caller's line, and the table
        if not self.ok:
            raise GradientMismatch(str(self))


NUMBERS = ("error", "budget")  # the columns to the right
SHADED = "background-color:rgba(213,94,0,0.25)"  # that of a wrong row: the text on it keeps the theme's own colour


def _html_cells(tag: str, cells: Sequence[str]) -> str:
    """A line of the table; notebooks have alignments of their own unless it is given."""
    sides = ("right" if heading in NUMBERS else "left" for heading in COLUMNS)
    return "".join(
        f"<{tag} style='text-align:{side}'>{escape(cell)}</{tag}>" for side, cell in zip(sides, cells, strict=True)
    )


def _listed(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def causes_of(rows: Iterable[Row]) -> dict[str, tuple[str, str]]:
    """By the name of what is wrong its cause and the worst place, from the most precise dtype that tells."""
    told: dict[str, tuple[str, str]] = {}
    for row in rows:
        cause, _, place = row.diagnosis.partition("\n")
        if cause:
            told.setdefault(row.name, (cause, place))
    return told


def shown(rows: tuple[Row, ...]) -> str:
    """The rows as a table, and below it the causes of what is wrong."""
    causes = [f"{name}: {cause}\n    {place}".rstrip() for name, (cause, place) in causes_of(rows).items()]
    return "\n".join((aligned(COLUMNS, [row.cells for row in rows], right=NUMBERS), *causes))


def aligned(headings: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> str:
    """A table as plain text, the columns of these headings to the right, every line as long as it needs."""
    columns = zip(headings, *rows, strict=True)
    padded = []
    for heading, *cells in columns:
        width = max(map(len, (heading, *cells)))
        pad = str.rjust if heading in right else str.ljust
        padded.append([pad(cell, width) for cell in (heading, *cells)])
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))
