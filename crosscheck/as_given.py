"""Inputs of several dtypes, as given: weights in float32 beside activations in bfloat16."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from crosscheck.candidate import Candidate
from crosscheck.row import Row
from crosscheck.verdict.precision import is_floating, unit_roundoff


class AsGiven:
    """The two sides where each input has the dtype in which it was given, with the numbers of the coarsest of these.

    Of these alone the errors are as large as in the coarsest; in any other dtype both are as they are.
    """

    def __init__(self, candidate: Candidate, inputs: Sequence[Any]) -> None:
        self.candidate = candidate
        self.dtypes = [x.dtype if is_floating(x) else None for x in inputs]
        given = [dtype for dtype in self.dtypes if dtype]
        self.are_several = len(set(given)) > 1
        self.coarsest = max(given, key=unit_roundoff)

    def by_hand(self, *given: Any) -> Mapping[str, Tensor]:
        """The candidate's."""
        return self.candidate.by_hand(*self._cast(given))

    def by_autograd(self, *given: Any) -> Mapping[str, Tensor]:
        """The truth's; where it does not take them so, that in the coarsest dtype."""
        try:
            found = self.candidate.by_autograd(*self._cast(given))
        except Exception:
            found = self.candidate.by_autograd(*given)
        if not self._are_coarsest(given):
            return found
        own = dict(zip(self.candidate.names, self.dtypes, strict=True))
        return {name: x.to(own.get(name) or x.dtype) for name, x in found.items()}

    def rows(self, rows: Sequence[Row]) -> list[Row]:
        """The rows of the coarsest dtype in those of the inputs."""
        return [self._row(row) for row in rows if row.name in self.candidate.names]

    def _row(self, row: Row) -> Row:
        own = self.dtypes[list(self.candidate.names).index(row.name)] or row.dtype
        finer = unit_roundoff(row.dtype) / unit_roundoff(own)
        to = row.budget * unit_roundoff(row.dtype)
        verdict = f"{row.verdict}, as given, where errors of {to:.1g} of it are rounding" if row.ok else row.verdict
        return replace(row, dtype=own, error=row.error * finer, budget=row.budget * finer, verdict=verdict)

    def _are_coarsest(self, given: Sequence[Any]) -> bool:
        return all(x.dtype == self.coarsest for x in given[self.candidate.outs :] if is_floating(x))

    def _cast(self, given: Sequence[Any]) -> list[Any]:
        if not self._are_coarsest(given):
            return list(given)
        grads_out, xs = given[: self.candidate.outs], given[self.candidate.outs :]
        return [*grads_out, *(x.to(t) if t else x for x, t in zip(xs, self.dtypes, strict=True))]
