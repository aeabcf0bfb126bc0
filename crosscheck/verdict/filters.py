"""What many numbers together show of a formula where one alone shows two digits: low precision alone.

A number in a dtype shows u at best, its roundoff. But rounding is another one each time: n numbers in K draws that are
rounded independently show u/√(nK) along any one direction. So the errors e_k = m_k − o_k of K draws of moved inputs are
added up, as those of a matched filter are.

    in common      z = Σ_{i<j} ⟨e_i, e_j⟩ / √(Σ_{i<j} ⟨e_i, e_j⟩²), at most √(K(K−1)/2), where all are the same error;
                   and the size of what they have in common, √(Σ_{i≠j} ⟨e_i, e_j⟩ / (K(K−1)n))
    along d        c_k = ⟨e_k, d⟩ / ⟨d, d⟩ for d = o, and each of its rows and columns: its mean, in units of its
                   standard error, by Student's t

Autograd's own errors in the same dtype are the yardstick: what it has itself along d is none of the formula. Nor is
what a constant that is rounded once leaves, half a roundoff along d; nor what stays of rounding where a number does not
change its rounding, as behind a saturated neuron, some u/√n.

The chance of a false alarm is that of t, for all directions of all tensors together: ALARM.

Sources: North, An analysis of the factors which determine signal/noise discrimination (1943), the matched filter;
Student, The probable error of a mean (1908); Bonferroni (1936) for many tests at once; Higham, Mary, A new approach to
probabilistic rounding error analysis (2019), and Connolly, Higham, Mary, Stochastic rounding and its probabilistic
backward error analysis (2021): errors of rounding are taken as random, of mean zero.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from crosscheck.verdict.precision import comparable, is_small, rounded, unit_roundoff
from crosscheck.verdict.sides import Sides

K, FEWER = 16, 4  # draws; of large inputs fewer, for their numbers are many
MOVED = 2.0**-4  # the share of themselves by which inputs are moved, at most: by half of that on average
ALARM = 1e-6  # the chance of a false one, in all of a report
ALIKE = 0.75  # of the largest z there is: so much alike are the errors of a formula
COMMON, FEW = 1.0, 3.0  # roundoffs, and over √n, of the gradient that rounding leaves in common but behind saturation
SURE = 9.0  # roundoffs that it leaves even there: the largest seen was 7.4
CONSTANT = 0.6  # roundoffs along a direction, which a constant that is rounded once leaves at most
STAYS = 2.0  # roundoffs over √n of the gradient, which rounding that stays as it is leaves at most
LARGE = 1 / 2  # of the numbers of the whole: in rows that are small digits are lost by cancelling, each time the same
CLEARLY = 0.02  # of a unit in the last place; and the share of the numbers that may lie beyond
MANY, LEAST = 64, 16  # rows, or columns, that are looked at each by itself; and the numbers of each


class Bias(NamedTuple):
    """An error that is no rounding: the factor that it comes to, and where, in words, if it does.

    common: the error that the draws have in common; scatter: of that, element by element. said: how sure it is.
    is_sure: else it may be rounding that stays as it is, unless a mistake explains it. is_cut_off: it is what is left
    where numbers are cut off, and not rounded.
    """

    factor: str
    common: Tensor
    scatter: float
    said: str
    is_sure: bool = True
    is_cut_off: bool = False


@dataclass(frozen=True)
class Filters:
    """Of the sides in a dtype, where no higher one runs."""

    sides: Sides

    @property
    def count(self) -> int:
        return K if is_small(self.sides.inputs) else FEWER

    @cached_property
    def _draws(self) -> list[tuple[Mapping[str, Tensor], Mapping[str, Tensor], Mapping[str, Tensor]]]:
        found = []
        for moved in self.sides.draws(self.count, MOVED):
            with suppress(Exception):  # what raises where it is only moved costs that draw
                autograd = self.sides.of.by_autograd(*rounded(moved, self.sides.dtype))
                found.append((self.sides.by_hand(moved), autograd, self.sides.by_autograd(moved)))
        return found

    def seen(self, name: str) -> float:
        """The smallest factor, less one, that would be seen in all of a tensor."""
        n = max(1, self.sides.oracle[name].numel())
        return unit_roundoff(self.sides.dtype) * (CONSTANT + STAYS / math.sqrt(n))

    def bias(self, name: str) -> Bias | None:
        """What is no rounding in the errors of the draws, if anything."""
        triples = [(m[name], a[name], o[name]) for m, a, o in self._draws if comparable(m.get(name), o.get(name))]
        if len(triples) < self.count - 1 or not triples[0][2].numel():
            return None
        o = torch.stack([o for _, _, o in triples])
        if all(torch.equal(m, triples[0][0]) for m, _, _ in triples) and not bool((o == o[0]).all()):
            return None  # the same for all inputs: it is stale, which the contract says
        e, f = (torch.stack([t[i].to(o.device).to(o.dtype) for t in triples]) - o for i in (0, 1))
        if not bool(torch.isfinite(e).all() & torch.isfinite(f).all()):
            return None
        unit = unit_roundoff(self.sides.dtype) * float(o.square().mean().sqrt())
        common, size = e.mean(0), _common(e)
        scatter = float((e - common).abs().max()) / math.sqrt(len(e))
        left = unit * (COMMON + FEW / math.sqrt(o[0].numel())) + 2 * _common(f)
        u = unit_roundoff(self.sides.dtype)
        if _are_cut_off(e, o, u) and not _are_cut_off(f, o, u):
            return Bias("", common, scatter, "", is_cut_off=True)
        along = []
        for where, d in self._directions(o):
            if found := self._along(d, e, f, unit):
                along.append((_common(e - found[0] * d), *found, where))
        if along and (best := min(along))[0] <= max(size / 4, left):
            _, factor, t, where = best
            said = f"in {len(e)} draws, where its mean is {t:.3g} times its standard error"
            return Bias(f"about the factor {1 + factor:.4g}{where}", common, scatter, said)
        is_sure = bool(along)
        if not is_sure and (_alike(e) < self._alike_at_least(len(e)) or size < left):
            return None
        said = f"in {len(e)} draws, which have an error of {size / unit:.2g} roundoffs in common"
        return Bias("", common, scatter, said, is_sure or size >= SURE * unit)

    @staticmethod
    def _alike_at_least(count: int) -> float:
        return ALIKE * math.sqrt(count * (count - 1) / 2)

    def _along(self, d: Tensor, e: Tensor, f: Tensor, unit: float) -> tuple[float, float] | None:
        """The factor along a direction, less one, and its t, where it is more than rounding leaves."""
        over = list(range(1, d.dim()))
        squares = d.square().sum(over) if over else d.square()
        n = int((d[0] != 0).sum())
        if not n or not bool((squares > 0).all()):
            return None
        c, b = (((x * d).sum(over) if over else x * d) / squares for x in (e, f))
        rms = math.sqrt(float(squares.mean()) / n)
        least = unit_roundoff(self.sides.dtype) * CONSTANT + STAYS * unit / (rms * math.sqrt(n)) + abs(float(b.mean()))
        mean, error = float(c.mean()), float(c.std()) / math.sqrt(len(c))
        t = abs(mean) / error if error else math.inf
        return (
            (mean, t)
            if abs(mean) >= least and t >= _student(len(c) - 1, ALARM / (len(self.sides.oracle) * (1 + 2 * MANY)))
            else None
        )

    @staticmethod
    def _directions(o: Tensor) -> Iterator[tuple[str, Tensor]]:
        """o itself, and each of its slices along its first dimension and its last that is not small."""
        yield "", o
        square = float(o.square().mean()) if o.dim() > 2 else 0.0
        for dim in dict.fromkeys((0, o.dim() - 2)) if o.dim() > 2 else ():
            length = o.shape[dim + 1]
            for i in range(length) if length <= MANY and o[0].numel() >= LEAST * length else ():
                if float(o.select(dim + 1, i).square().mean()) >= LARGE**2 * square:
                    d = torch.zeros_like(o)
                    d.select(dim + 1, i).copy_(o.select(dim + 1, i))
                    yield f", in slice {i} of dimension {dim}", d


def _are_cut_off(e: Tensor, o: Tensor, u: float) -> bool:
    """Whether errors are evenly from 0 to 1, in units of each number's last place, to the side of zero.

    Of a factor that is rounded they reach beyond, at one end or the other, for in these units it is another one for
    numbers of other leading digits.
    """
    unit = torch.ldexp(torch.full_like(o, u), torch.frexp(o).exponent)
    takes_away = (-e * o.sign() / unit)[o != 0]
    if not takes_away.numel():
        return False
    beyond = (takes_away < -CLEARLY) | (takes_away > 1 + CLEARLY)
    return float(beyond.double().mean()) <= CLEARLY and abs(float(takes_away.mean()) - 0.5) <= 0.1


def _alike(e: Tensor) -> float:
    """z of the errors of the draws."""
    i, j = torch.triu_indices(len(e), len(e), 1)
    flat = e.reshape(len(e), -1)
    p = (flat @ flat.T)[i, j]
    return float(p.sum() / p.square().sum().sqrt()) if bool(p.any()) else 0.0


def _common(e: Tensor) -> float:
    """The size of what they have in common, of an element."""
    flat, k = e.reshape(len(e), -1), len(e)
    square = float(flat.sum(0).square().sum() - flat.square().sum()) / (k * (k - 1) * flat.shape[1])
    return math.sqrt(max(0.0, square))


def _student(degrees: int, chance: float) -> float:
    """The t that is exceeded by this chance, to either side, by the tail of its density."""
    # The tail is at most c · t^(−ν) with c = Γ((ν+1)/2) / (√(νπ) Γ(ν/2)) · ν^((ν+1)/2) / ν
    log_c = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(degrees * math.pi)
    log_c += (degrees + 1) / 2 * math.log(degrees) - math.log(degrees)
    return math.exp((log_c - math.log(chance / 2)) / degrees)
