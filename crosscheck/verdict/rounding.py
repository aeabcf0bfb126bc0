"""Is an error rounding, or a formula? And in which precision does the candidate really compute?

Move the inputs, and what comes back from above, K times by some roundoffs of a precision. Other numbers are rounded
each time, so an error that is rounding is another one each time; the error of a wrong formula is as smooth as the
formula, and stays. With e_i = m_i − o_i the correlated share

    c = Σ_{i≠j} ⟨e_i, e_j⟩ / ((K − 1) Σ_i ‖e_i‖²)

is near 0 for rounding and near 1 for a formula. The same share of the oracle says whether the move was too large to
tell: then the formula itself is another one each time.

A rounding may be biased: a constant that is rounded once, products that are cut off. So a common error of a few
roundoffs is none of the formula, where there is a scatter beside it that is as large when less is moved.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from crosscheck.verdict.precision import FACTOR, apart, comparable, norm, unit_roundoff
from crosscheck.verdict.sides import Sides

K = 8
COARSER = 2**8  # times the nearest precision's roundoff
SMALLEST = math.ulp(0.0)
ROUGH = 0.5  # measured: of rounding at most 0.3, of a formula wrong by four roundoffs from 0.8
SMOOTH = 0.9  # of the oracle
BIAS, LARGEST_BIAS = 4, 16  # roundoffs; and times as many, where autograd's own error is as large
SCATTER = 1 / 64  # roundoffs: less of it shows no precision
CLEAR = 10  # times as much as the oracle a rough error changes
TYPICAL = 16  # an error that is rounding is at most so many times the largest in the draws; at a tie it may be alone
SAME, ALIKE = 0.9999, 0.9  # correlated shares of an error that is none of rounding, after a fine and a coarse move
COARSE = 2.0**-4  # by more every formula may change, and its error wholly
FINE = 2.0**-12  # a larger move may change a formula, too

# Those that kernels compute in, with their roundoffs
PRECISIONS = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "TF32 or float16": 2.0**-11,
    "bfloat16": 2.0**-8,
    "float8": 2.0**-4,
}


class Shares(NamedTuple):
    """Of a tensor's errors in the draws: the correlated share, that of the oracle, and the norms of their parts."""

    error: float
    oracle: float
    common: float
    scatter: float
    size: float
    slope: float  # of the errors along the oracle
    largest: float  # of the errors


class Found(NamedTuple):
    """A precision in which the candidate computes; whether it is within 16 times autograd's error there, or cut off."""

    precision: str
    is_within: bool
    is_cut_off: bool


@dataclass(frozen=True)
class Rounding:
    """What the errors in one dtype are; single: the sides in float32, where this dtype is float64."""

    sides: Sides
    single: Sides | None

    def noise(self, name: str, u: float, *, surely: bool = True) -> float:
        """Autograd's error in the precision of this roundoff, in proportion to that which is seen."""
        seen = self.single or self.sides
        return seen.noise(surely)[name] * u / unit_roundoff(seen.dtype)

    def found(self, name: str, m: Tensor, o: Tensor, error: float) -> Found | None:
        """The precision that the candidate really has, where its error is rounding; None where it is a formula."""
        lowest = unit_roundoff(self.sides.dtype)
        noises = {text: self.noise(name, u) for text, u in PRECISIONS.items() if u >= lowest}
        nearest = min(noises, key=lambda text: abs(math.log(max(noises[text], SMALLEST) / max(error, SMALLEST))))
        # Of a coarser one the error may happen to be as small; and the dtype itself loses digits where they cancel.
        coarser = [text for text in noises if 1 <= PRECISIONS[text] / PRECISIONS[nearest] <= COARSER]
        for text in dict.fromkeys((*coarser, min(noises, key=PRECISIONS.__getitem__))):
            if found := self._is_of(name, PRECISIONS[text], error, norm(o) or 1.0):
                return Found(text, error <= FACTOR * noises[text], found == "cut off")
        return None

    def is_smooth(self, name: str) -> bool:
        """Whether the error stays what it is where the inputs are moved, by little and by more: no rounding does."""
        return all(
            (shares := self._shares(name, relative, count=1)) is not None and shares.error >= least
            for relative, least in ((FINE, SAME), (COARSE, ALIKE))
        )

    def _is_of(self, name: str, u: float, error: float, size: float) -> str:
        """How an error is rounding to this roundoff of an oracle of this size, if it is."""
        lowest = unit_roundoff(self.sides.dtype)
        is_half = lowest >= PRECISIONS["TF32 or float16"]  # so few numbers that only large moves change their rounding
        relative = largest = _in_steps(min(0.5, max(FACTOR * u, 2 * error / size)))
        shares = self._shares(name, relative)
        smooth = ROUGH if is_half else SMOOTH
        # No smaller than what changes the rounding of a number.
        while shares and shares.oracle < smooth and relative / 8 > max(2 * u, 4 * lowest, largest / 8**4):
            relative /= 8
            shares = self._shares(name, relative)
        if shares is None or shares.oracle < ROUGH or shares.largest * TYPICAL < error:
            return ""
        is_rough = shares.error < ROUGH * shares.oracle
        # Where the function changes nearly as much as its error, that has to be another one for a smaller move, too.
        changes_more = relative <= COARSE and 1 - shares.error >= CLEAR * (1 - shares.oracle)
        is_clear = is_half or relative <= FINE or changes_more
        if is_rough and (is_clear or self._is_rough_at(name, max(relative / 8, 2 * u))):
            return "rounded"
        if relative == largest and self._is_bias(name, shares, u):
            return "cut off" if shares.slope < -u / 4 else "rounded"
        return ""

    def _is_rough_at(self, name: str, relative: float) -> bool:
        shares = self._shares(name, relative)
        return shares is not None and shares.error < ROUGH

    def _is_bias(self, name: str, shares: Shares, u: float) -> bool:
        """Whether a common error is one of rounding: small, and the scatter beside it as large when less is moved."""
        unit = u * shares.size
        least = BIAS * min(max(unit, self._own_error(name, u) / 2), LARGEST_BIAS * unit)
        if u > PRECISIONS["TF32 or float16"] or shares.common > least or shares.scatter < SCATTER * u * shares.size:
            return False
        if FACTOR * u <= FINE:  # so small a move scatters no formula
            return True
        near = self._shares(name, 2 * u)
        return near is not None and near.scatter > shares.scatter / 3

    def _own_error(self, name: str, u: float) -> float:
        """‖a − o‖ of autograd, its Euclidean norm, in the precision of this roundoff."""
        seen = self.single or self.sides
        error = apart(seen.autograd[name], seen.oracle[name]).nan_to_num(0, 0, 0)
        return float(error.norm()) * u / unit_roundoff(seen.dtype)

    def is_rough(self, name: str, block: slice) -> bool:
        """Whether the error of a block of elements by itself is rounding."""
        shares = self._shares(name, math.sqrt(unit_roundoff(self.sides.dtype)), block)
        return shares is not None and shares.error < ROUGH

    def _shares(
        self, name: str, relative: float, block: slice = slice(None), count: int | None = None
    ) -> Shares | None:
        if count is None:
            count = K if self.sides.oracle[name].numel() >= K else 2 * K  # of few numbers more are seen
        draws = self._draws(relative, count)
        if count == 1:  # beside what there is where nothing is moved
            draws = [(self.sides.manual, self.sides.oracle), *draws]
        values = [(m[name], o[name]) for m, o in draws if comparable(m.get(name), o.get(name))]
        if len(values) < min(count + 1, K // 2):
            return None
        pairs = [[x.flatten()[block].nan_to_num(0, 0, 0).double() for x in (apart(m, o), o)] for m, o in values]
        errors, oracles = (Sums(max(norm(x) for x in column) or 1.0) for column in zip(*pairs, strict=True))
        product = 0.0
        for e, o in pairs:
            errors.add(e)
            oracles.add(o)
            product += float((e / errors.scale) @ (o / oracles.scale))
        slope = product / oracles.squares * errors.scale / oracles.scale if oracles.squares else 0.0
        return Shares(
            errors.correlated, oracles.correlated, errors.common, errors.scatter, oracles.common, slope, errors.largest
        )

    def _draws(self, relative: float, count: int) -> list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]:
        if (relative, count) not in self._known:
            found = self._known[relative, count] = []
            for moved in self.sides.draws(count, relative):
                with suppress(Exception):  # what raises where it is only moved costs that draw
                    found.append((self.sides.by_hand(moved), self.sides.by_autograd(moved)))
        return self._known[relative, count]

    @cached_property
    def _known(self) -> dict[tuple[float, int], list[tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]]:
        return {}


def _in_steps(relative: float) -> float:
    """A fine move as the next power of 4, so that tensors whose errors are about alike have their draws in common."""
    return 4.0 ** math.ceil(math.log(relative, 4)) if relative <= FINE else relative


class Sums:
    """Of tensors x_i that are added one by one: Σ_i x_i, Σ_i ‖x_i‖², in units of a scale, and the largest of all.

    In these units the squares neither overflow nor vanish.
    """

    def __init__(self, scale: float) -> None:
        self.scale, self.count, self.squares, self.largest = scale, 0, 0.0, 0.0
        self.total: Tensor | None = None

    def add(self, x: Tensor) -> None:
        self.largest, x = max(self.largest, norm(x)), x / self.scale
        self.total = x.clone() if self.total is None else self.total.add_(x)
        self.count, self.squares = self.count + 1, self.squares + float(x @ x)

    @property
    def _square_of_total(self) -> float:
        return float(self.total @ self.total) if self.total is not None else 0.0

    @property
    def correlated(self) -> float:
        """c = Σ_{i≠j} ⟨x_i, x_j⟩ / ((K − 1) Σ_i ‖x_i‖²), by ‖Σ_i x_i‖² = Σ_{i≠j} ⟨x_i, x_j⟩ + Σ_i ‖x_i‖²."""
        pairs = self._square_of_total - self.squares
        return pairs / ((self.count - 1) * self.squares) if self.squares else 1.0

    @property
    def common(self) -> float:
        """The norm of the mean."""
        return self.scale * math.sqrt(self._square_of_total) / self.count

    @property
    def scatter(self) -> float:
        """The norm of what is left beside the mean, of one of them."""
        return self.scale * math.sqrt(max(0.0, self.squares - self._square_of_total / self.count) / (self.count - 1))
