"""The judge at kinks: subgradients that are valid, and vectors that are none.

    python benchmarks/subgradients.py     about a minute

At exact ties and zeros each out by itself has a convex set of subgradients, of which a backward pass may take any:

    selections  a weight for each of the tied, none below 0, 1 in all; where at random, another choice for each out, but
                for sort and topk, whose outs share their ties, one permutation or a mixture of two
    slopes      from the left one to the right one; where at random, another for each element: l1_loss and hinge are one
                out each, but the set of a sum is the sum of the sets
    norms       at a row of zeros any vector up to 1 long in the dual norm; of std a centred one, 1/√(n − 1) long

All is proved, by the grad_out of the judge and in float64: along every direction d that is tried, ⟨m, d⟩ of a valid one
lies between the sums over the outs of the smaller and of the larger of both one-sided differences; along some d that of
another does not. (A middle order statistic is neither convex nor concave: of it, the least and the most of ⟨∇, d⟩ at
points around.) A false alarm is a valid one that is called wrong, a miss another that is ok. A valid one may
be left without a verdict, too, which counts apart.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial, wraps
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor, inf
from torch.autograd.functional import jacobian

from crosscheck import Report, crosscheck
from crosscheck.report import aligned

Backward = Callable[..., tuple[Tensor, ...]]
STEP = 2.0**-20  # of a difference
PROVED, ROUNDING = 1e-3, 1e-6  # shares of the derivatives: farther outside is none, nearer is one but for rounding


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def ties(n: int, *shape: int, side: int = -1) -> Tensor:
    """In each row n equal numbers somewhere; the others are smaller, larger (side=1) or both (side=0)."""
    sides = torch.where(torch.arange(shape[-1]) % 2 == 0, side or 1, side or -1)
    x = torch.where(torch.arange(shape[-1]) < n, 0.5, 0.5 + sides * (1 + rand(*shape)))
    return x.gather(-1, rand(*shape, seed=1).argsort(-1)).float()


def some_at(value: float, *shape: int) -> Tensor:
    """Random numbers, about a third of them this value."""
    return torch.where(rand(*shape, seed=2) < 0.35, value, 3 * rand(*shape, seed=3) - 1.5).float()


def zero_rows(*shape: int) -> Tensor:
    """Random numbers, but for zeros in the first row and the last."""
    return torch.where(torch.arange(shape[0])[:, None] % (shape[0] - 1) == 0, 0, 2 * rand(*shape, seed=4) - 1).float()


MIXTURES = ("first", "last", "evenly", "mixed")
WEIGHTS = (*MIXTURES, "at random", "one at random")
NO_WEIGHTS = ("each the whole", "none", "first, twice", "1.2 in all", "0.8 in all", "minus the last", "1.5 and -0.5")
OF_UNTIED = ("an untied one", "half an untied one", "shared by all", "divided by all")


def weights(taken: str, tied: Tensor, others: Tensor, rank: Tensor) -> Tensor:
    """For each out (a row) those of its candidates; rank: how many outs before it have taken one of the same ties."""
    count, full, share = tied.sum(1, keepdim=True), tied + others, tied * rand(*tied.shape)
    first, last = (tied * (tied.cumsum(1) == n) for n in (rank + 1, count - rank))
    evenly, at_random, untied = tied / count, share / share.sum(1, keepdim=True), others * (others.cumsum(1) == 1)
    found = {
        "first": first, "last": last, "evenly": evenly, "mixed": 0.3 * first + 0.7 * last, "at random": at_random,
        "one at random": F.one_hot(share.argmax(1), tied.shape[1]), "each the whole": tied, "none": 0 * first,
        "first, twice": 2 * first, "1.2 in all": 1.2 * evenly, "0.8 in all": 0.8 * at_random, "minus the last": -last,
        "1.5 and -0.5": 1.5 * first - 0.5 * last, "an untied one": untied, "half an untied one": (last + untied) / 2,
        "shared by all": full / full.sum(1, keepdim=True), "divided by all": tied / full.sum(1, keepdim=True),
    }[taken]  # fmt: skip
    return torch.where(count > 1, found, first)


def selection(candidates: Tensor, ranked: bool, taken: str) -> Backward:
    """out = x[i] for a tied i. candidates: for each out, which of the numbers of all inputs it may be."""

    def backward(grad_out: Tensor, out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        is_out = torch.cat([x.flatten() for x in inputs]) == out.reshape(-1, 1)
        equal = (out[..., :, None] == out[..., None, :]).tril(-1) if ranked else torch.zeros(len(candidates), 1)
        given = (candidates & is_out).double(), (candidates & ~is_out).double(), equal.sum(-1).view(-1, 1)
        m = grad_out.flatten() @ weights(taken, *given).to(grad_out)
        return tuple(part.view(x.shape) for part, x in zip(m.split([x.numel() for x in inputs]), inputs, strict=True))

    return backward


SHARES = {"left": (0, 0), "middle": (0.5, 0.5), "right": (1, 1), "at random": (0, 1)}  # of the way, from and to
NO_SHARES = {"1.5": (1.5, 1.5), "-0.5": (-0.5, -0.5), "twice": (2, 2), "beyond, at random": (1.1, 1.9)}


def slope(kinks: Any, slopes: Any, by: float, z: Callable[..., Tensor], taken: tuple[float, float]) -> Backward:
    """out = φ(z) over a number, φ piecewise linear."""

    def backward(grad_out: Tensor, out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        at, back = torch.func.vjp(z, *inputs)
        left, right = (at.new_tensor(slopes)[torch.bucketize(at, at.new_tensor(kinks), right=r)] for r in (False, True))
        share = taken[0] + (taken[1] - taken[0]) * rand(*at.shape).to(at)
        return back(grad_out / by * (left + share * (right - left)))

    return backward


BALL = {"zero": ("axis", 0), "axis": ("axis", 1), "-axis": ("axis", -1), "any": ("any", 1), "shorter": ("any", 0.6)}
NO_BALL = {"axis, 2 long": ("axis", 2), "any, 1.2 long": ("any", 1.2), "diagonal, 1.5 long": ("ones", -1.5)}
CENTRED = {name: (f"centred {kind}", long) for name, (kind, long) in BALL.items()}
NOT_CENTRED = {"axis": ("axis", 1), "ones": ("ones", 1), "any": ("any", 1), "1.5 long": ("centred any", 1.5)}


def length(p: float, by: float, z: Callable[..., Tensor], taken: tuple[str, float]) -> Backward:
    """out = ‖z‖ of each row, over a number. At zeros a vector of some kind, so long in the dual norm."""

    def backward(grad_out: Tensor, out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        at, back = torch.func.vjp(z, *inputs)
        n, kind = at.shape[-1], taken[0].removeprefix("centred ")
        v = {"axis": torch.eye(n)[0].double(), "ones": torch.ones(n).double(), "any": rand(*at.shape) - 0.3}[kind]
        v = v - v.mean(-1, keepdim=True) * taken[0].startswith("centred")
        u = taken[1] * v / torch.linalg.vector_norm(v, {1: inf, 2: 2, inf: 1}[p], -1, keepdim=True)
        size = torch.linalg.vector_norm(at, p, -1, keepdim=True)
        largest = at.sign() * (at.abs() == size) / (at.abs() == size).sum(-1, keepdim=True)
        u = torch.where(size == 0, u.to(at), {1: at.sign(), 2: at / size, inf: largest}[p])
        return back(grad_out.unsqueeze(-1) * u / by)

    return backward


@dataclass(eq=False)
class Point:
    """A function at kinks, and what is taken there. middle: whether a middle order statistic is among the outs."""

    name: str
    forward: Callable[..., Tensor]
    inputs: tuple[Tensor, ...]
    backward: Callable[[Any], Backward]
    right: dict[str, Any]
    wrong: dict[str, Any]
    middle: bool = False

    @cached_property
    def at(self) -> Tensor:
        return torch.cat([x.flatten() for x in self.inputs]).double()

    def outs(self, at: Tensor) -> Tensor:
        parts = zip(at.split([x.numel() for x in self.inputs]), self.inputs, strict=True)
        return self.forward(*(part.view(x.shape) for part, x in parts)).flatten()

    def jacobians(self, at: Tensor | float, width: float) -> Tensor:
        """At random points around, where there are no ties."""
        return torch.stack([jacobian(self.outs, at + width * rand(len(self.at), seed=seed)) for seed in range(500)])

    @cached_property
    def reach(self) -> Tensor:
        """For each out the numbers that it depends on somewhere."""
        return (self.jacobians(0, 1) != 0).any(0)

    @cached_property
    def directions(self) -> Tensor:
        """Each number by itself, all of them, all that an out depends on, and many at random."""
        n = len(self.at)
        return torch.cat((torch.eye(n), torch.ones(1, n), self.reach, 2 * rand(60, n) - 1)).double()

    @cached_property
    def around(self) -> Tensor:
        return self.jacobians(self.at - STEP / 2, STEP)

    def outside(self, m: Tensor, g: Tensor) -> float:
        """How far m is from any subgradient of Σ g · out along the worst direction, as a share of the derivatives."""
        rest, worst = self.outs(self.at), 0.0
        for d in (m / (m.abs().max() or 1), *self.directions):
            ahead, behind = self.outs(self.at + STEP * d), self.outs(self.at - STEP * d)
            ends = g * (self.around @ d if self.middle else torch.stack((ahead - rest, rest - behind)) / STEP)
            low, high, found = float(ends.amin(0).sum()), float(ends.amax(0).sum()), float(m @ d)
            size = float((m * d).abs().sum() + ends.abs().amax(0).sum()) or 1.0
            worst = max(worst, (low - found) / size, (found - high) / size)
        return worst


def selects(name: str, forward: Any, *x: Tensor, middle: bool = False) -> Point:
    reach, share_ties = Point(name, forward, x, min, {}, {}).reach, name in ("sort", "topk")
    tied = reach & (torch.cat([each.flatten() for each in x]) == forward(*x).reshape(-1, 1))
    among = bool(((tied.sum(1, keepdim=True) > 1) & ~tied & reach).any())
    choices = (MIXTURES if share_ties else WEIGHTS, NO_WEIGHTS + OF_UNTIED * among)
    of = ({taken: taken for taken in each} for each in choices)
    return Point(name, forward, x, partial(selection, reach, share_ties), *of, middle)


def slopes(name: str, forward: Any, kinks: Any, of: Any, *x: Tensor, by: float = 1, z: Any = lambda x: 1 * x) -> Point:
    return Point(name, forward, x, partial(slope, kinks, of, by, z), SHARES, NO_SHARES)


def norms(name: str, forward: Any, p: float, *x: Tensor, by: float = 1, z: Any = lambda x: 1 * x) -> Point:
    choices = (CENTRED, NOT_CENTRED) if name.startswith("std") else (BALL, NO_BALL)
    return Point(name, forward, x, partial(length, p, by, z), *choices)


def centred(x: Tensor) -> Tensor:
    return x - x.mean(1, keepdim=True).detach()


LEVELS = (3 * rand(1, 2, 6, 7)).floor().float()  # of which many tie
SIGNS, SCORES = torch.tensor([1, -1, -1, 1, 1, -1, 1]), torch.tensor([1.0, 2, 1, 0, 1, 3, 1])
GROUP = torch.tensor([0, 2, 1, 0, 2, 2, 1, 0, 2, 1, 0])  # of each element
A, B, Z, W = some_at(0, 5, 4), ties(3, 4, 5), zero_rows(6, 3), some_at(0.75, 3, 5)
POINTS = (
    selects("max(dim), 2 tied", lambda x: x.max(1).values, ties(2, 5, 7)),
    selects("max(dim), 16 tied", lambda x: x.max(1).values, ties(16, 2, 20)),
    selects("max(dim), 70 tied", lambda x: x.max(1).values, ties(70, 3, 70)),
    selects("amax, 2 tied", lambda x: x.amax(1), ties(2, 4, 9)),
    selects("amax, 64 tied", lambda x: x.amax(1), ties(64, 2, 65)),
    selects("max(), 70 tied", lambda x: x.max(), ties(70, 70)),
    selects("min(dim), 4 tied", lambda x: x.min(1).values, ties(4, 3, 8, side=1)),
    selects("maximum", torch.maximum, B, B.flip(0)),
    selects("minimum", torch.minimum, B, B.flip(1)),
    selects("clamp(min=tensor)", lambda x, t: x.clamp(min=t), A, A * (A > -1)),
    selects("max_pool1d, overlapping zeros", lambda x: F.max_pool1d(x, 3, 1), torch.zeros(1, 2, 9)),
    selects("max_pool2d, zeros 5x5", lambda x: F.max_pool2d(x, 5), torch.zeros(2, 1, 5, 10)),
    selects("max_pool2d, overlapping levels", lambda x: F.max_pool2d(x, 3, 2, 1), LEVELS),
    selects("scatter_reduce", lambda t, x: t.scatter_reduce(0, GROUP, x, "amax"), torch.full((3,), 0.5), ties(7, 11)),
    selects("cummax", lambda x: x.cummax(1).values, ties(5, 2, 8)),
    selects("median(dim)", lambda x: x.median(1).values, ties(4, 2, 7, side=0), middle=True),
    selects("median(), all tied", lambda x: x.median(), ties(13, 13), middle=True),
    selects("kthvalue", lambda x: x.kthvalue(3, 1).values, ties(4, 2, 6, side=0), middle=True),
    selects("quantile", lambda x: x.quantile(0.25, 1), ties(4, 2, 5, side=0), middle=True),
    selects("sort", lambda x: x.sort(1).values, ties(4, 2, 6, side=0), middle=True),
    selects("topk", lambda x: x.topk(3, 1).values, ties(4, 3, 5), middle=True),
    slopes("relu", F.relu, (0,), (0, 1), A),
    slopes("relu, all zeros", F.relu, (0,), (0, 1), torch.zeros(3, 5)),
    slopes("leaky_relu", F.leaky_relu, (0,), (0.01, 1), A),
    slopes("abs", torch.abs, (0,), (-1, 1), A),
    slopes("hardtanh", F.hardtanh, (-1, 1), (0, 1, 0), A + 1),
    slopes("relu6", F.relu6, (0, 6), (0, 1, 0), 4 * A + 6 * (A[0] == 0)),
    slopes("prelu", lambda x: F.prelu(x, x.new_tensor([0.25])), (0,), (0.25, 1), A),
    slopes("l1_loss", F.l1_loss, (0,), (-1, 1), A + 1, A * (A < 1) + 1, by=20, z=lambda x, y: x - y),
    slopes("hinge", lambda s: F.relu(1 - s * SIGNS).sum(), (0,), (0, 1), SIGNS * SCORES, z=lambda s: 1 - s * SIGNS),
    slopes("relu of a layer", lambda b, x, w: F.relu(x @ w + b), (0,), (0, 1), torch.zeros(5), Z, W, z=torch.addmm),
    norms("1-norm", lambda x: torch.linalg.vector_norm(x, 1, 1), 1, Z),
    norms("2-norm", lambda x: torch.linalg.vector_norm(x, 2, 1), 2, zero_rows(4, 6)),
    norms("inf-norm", lambda x: torch.linalg.vector_norm(x, inf, 1), inf, zero_rows(6, 4)),
    norms("2-norm of all, zeros", torch.linalg.vector_norm, 2, torch.zeros(12)),
    norms("pairwise_distance", partial(F.pairwise_distance, eps=0.0), 2, Z + 1, torch.ones(6, 3), z=lambda x, y: x - y),
    norms("std", lambda x: x.std(1), 2, zero_rows(4, 5) + 1.5, by=2, z=centred),
    norms("std, n", lambda x: x.std(1, correction=0), 2, zero_rows(5, 9), by=3, z=centred),
)


def judged(point: Point, taken: Any, seed: int) -> tuple[Report, float]:
    """The report, and how far outside the vector is that was judged in float64."""
    given: list[tuple[Tensor, Tensor]] = []
    backward = point.backward(taken)

    @wraps(backward)
    def kept(grad_out: Tensor, out: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        found = backward(grad_out, out, *inputs)
        if grad_out.dtype == torch.float64:
            given.append((torch.cat([m.flatten() for m in found]), grad_out.flatten()))
        return found

    return crosscheck(point.forward, kept, point.inputs, seed=seed), point.outside(*given[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="a part of the name")
    parser.add_argument("--seed", type=int, default=0, help="of grad_out (0)")
    given = parser.parse_args()
    cases = [(p, what, name) for p in POINTS if given.only in p.name for what in (p.right, p.wrong) for name in what]
    counts, faults = defaultdict(Counter), []
    for point, what, name in track(cases, "subgradients", transient=True, console=Console(stderr=True)):
        start, is_right, fault = time.perf_counter(), what is point.right, ""
        report, outside = judged(point, what[name], given.seed)
        if outside > ROUNDING if is_right else outside < PROVED:
            fault = f"the case is not as it says: {outside:.2g} outside"
        elif is_right and report.formula.startswith("wrong"):
            fault = f"false alarm: {report.formula}"
        elif is_right and not report.ok:
            fault = "not judged"
        elif not is_right and report.ok:
            fault = f"missed: {report.formula}"
        counts[point.name].update(["valid" if is_right else "none", fault.partition(":")[0]])
        counts[point.name].update(seconds=time.perf_counter() - start)
        faults += [f"{point.name}, {name}: {fault}"] * bool(fault)
    headings = ("function", "valid", "false alarm", "not judged", "none", "missed", "seconds")
    rows = [*counts.items(), ("all", sum(counts.values(), Counter()))]
    lines = [(name, *(f"{count[key]:.3g}" for key in headings[1:])) for name, count in rows]
    print(aligned(headings, lines, right=headings[1:]), *faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
