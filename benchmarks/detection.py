"""Who finds the mistakes? Ways to test a gradient, on every right one of the catalogue and every mistake of the corpus.

    python benchmarks/detection.py             all of it, 20 seeds: about 20 minutes on two cores
    python benchmarks/detection.py --seeds 1   in a minute
    python benchmarks/detection.py --beside COMMIT   how long a conviction takes, by this build and by another one

A false alarm is a right gradient that is called wrong, a miss a mistake that passes. Mistakes that change nothing for
the inputs of a seed, as a mask that hits no element, are left out. In the second table the judge has every case once
more, with less than the dtype inside; what computes in TF32 is less accurate than autograd, so there a false alarm is a
formula that is called wrong, and a mistake is missed if it is not. The third table is of the judge's own cost. Each way
is shown in one dtype, and the judge in that dtype alone, too.
"""

import argparse
import re
import statistics
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from beside import beside
from rich.progress import track
from torch import Tensor
from torch.autograd import Function, gradcheck

from crosscheck import Report, crosscheck
from crosscheck.report import aligned
from crosscheck.row import UNKNOWN
from crosscheck.verdict.numerical import GRAD_OUT
from crosscheck.verdict.precision import DTYPES, is_floating
from manual_bp.commands.subjects import Case, cases
from manual_bp.corpus import CORPUS, Mistake
from manual_bp.mistakes import edited
from manual_bp.rules import LayerNorm


class Way(NamedTuple):
    """A way to test a gradient: whether it passes, for each tensor or all of them; of the judge, its report."""

    name: str
    dtype: str
    passes: Callable[[Case, Sequence[Any], int], list[bool] | Report]


def tuples(values: Any) -> tuple[Any, ...]:
    return tuple(values) if isinstance(values, tuple | list) else (values,)


def judged(inputs: Sequence[Any]) -> list[int]:
    floating = [i for i, x in enumerate(inputs) if is_floating(x)]
    return [i for i in floating if inputs[i].requires_grad] or floating


def cast(values: Sequence[Any], dtype: torch.dtype) -> list[Any]:
    return [x.detach().to(dtype) if is_floating(x) else x for x in values]


def grads_out(case: Case, inputs: Sequence[Any], seed: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed + GRAD_OUT)
    outs = tuples(case.forward(*cast(inputs, torch.float64)))
    return [torch.randn(out.shape, generator=generator, dtype=torch.float64) for out in outs]


def by_hand(case: Case, inputs: Sequence[Any], seed: int, dtype: torch.dtype) -> list[Tensor]:
    xs, gs = cast(inputs, dtype), cast(grads_out(case, inputs, seed), dtype)
    out = case.forward(*xs)
    gradients = case.backward(tuple(gs) if isinstance(out, tuple) else gs[0], out, *xs)
    return [gradients[i] for i in judged(inputs)]


def by_autograd(case: Case, inputs: Sequence[Any], seed: int, dtype: torch.dtype, at: torch.dtype) -> list[Tensor]:
    """In a dtype, from inputs that were rounded to another one."""
    xs, gs = cast(cast(inputs, at), dtype), cast(cast(grads_out(case, inputs, seed), at), dtype)
    wanted = [xs[i].requires_grad_() for i in judged(inputs)]
    outs = tuples(case.forward(*xs))
    return list(torch.autograd.grad(outs, wanted, gs, allow_unused=True, materialize_grads=True))


def within(dtype: torch.dtype, **tolerances: float) -> Callable[[Case, Sequence[Any], int], list[bool]]:
    """Both in the same dtype, elementwise within tolerances; torch's own where none are given."""

    def passes(case: Case, inputs: Sequence[Any], seed: int) -> list[bool]:
        pairs = zip(by_hand(case, inputs, seed, dtype), by_autograd(case, inputs, seed, dtype, dtype), strict=True)
        return [m.shape == a.shape and torch.allclose(m, a, **tolerances) for m, a in pairs]

    return passes


def assert_close(dtype: torch.dtype, **tolerances: float) -> Callable[[Case, Sequence[Any], int], list[bool]]:
    """The same as torch.testing has it, with the defaults of the dtype unless tolerances are given."""

    def passes(case: Case, inputs: Sequence[Any], seed: int) -> list[bool]:
        found = []
        for m, a in zip(by_hand(case, inputs, seed, dtype), by_autograd(case, inputs, seed, dtype, dtype), strict=True):
            try:
                torch.testing.assert_close(m, a, **tolerances)
            except AssertionError:
                found.append(False)
            else:
                found.append(True)
        return found

    return passes


Rule = Callable[[Tensor, Tensor, Tensor, float], bool]  # of m, a and o, and the roundoff


def beside_autograd(dtype: torch.dtype, rule: Rule) -> Callable[[Case, Sequence[Any], int], list[bool]]:
    """By a rule of the errors of both, ‖m − o‖ and ‖a − o‖, from an oracle o in float64."""

    def passes(case: Case, inputs: Sequence[Any], seed: int) -> list[bool]:
        triples = zip(
            by_hand(case, inputs, seed, dtype), by_autograd(case, inputs, seed, dtype, dtype),
            by_autograd(case, inputs, seed, torch.float64, dtype), strict=True,
        )  # fmt: skip
        u = torch.finfo(dtype).eps / 2
        return [m.shape == o.shape and rule(m.double(), a.double(), o, u) for m, a, o in triples]

    return passes


def twice(m: Tensor, a: Tensor, o: Tensor, u: float) -> bool:
    return bool((m - o).abs().amax() <= 2 * (a - o).abs().amax())


def twice_with_roundoff(m: Tensor, a: Tensor, o: Tensor, u: float) -> bool:
    return bool((m - o).abs().amax() <= 2 * ((a - o).abs().amax() + u * o.abs().amax()))


def in_the_mean(m: Tensor, a: Tensor, o: Tensor, u: float) -> bool:
    return bool((m - o).norm() <= 0.008 * o.norm())


def torch_gradcheck(*, fast: bool) -> Callable[[Case, Sequence[Any], int], list[bool]]:
    def passes(case: Case, inputs: Sequence[Any], seed: int) -> list[bool]:
        class ByHand(Function):
            @staticmethod
            def forward(ctx: Any, *xs: Any) -> Any:
                out = case.forward(*xs)
                ctx.saved = (out, [x.detach() if isinstance(x, Tensor) else x for x in xs])
                return out

            @staticmethod
            def backward(ctx: Any, *gs: Any) -> Any:
                out, xs = ctx.saved
                return tuple(case.backward(gs if isinstance(out, tuple) else gs[0], out, *xs))

        xs = cast(inputs, torch.float64)
        for i in judged(inputs):
            xs[i].requires_grad_()
        try:
            return [gradcheck(ByHand.apply, xs, fast_mode=fast, raise_exception=False)]
        except RuntimeError:  # a gradient of the wrong shape
            return [False]

    return passes


def the_judge(case: Case, inputs: Sequence[Any], seed: int) -> Report:
    halves = all(torch_has(case, inputs, dtype) for dtype in (torch.bfloat16, torch.float16))
    return crosscheck(case.forward, case.backward, inputs, seed=seed, dtypes=DTYPES if halves else DTYPES[:2])


def judge_in(dtype: torch.dtype) -> Callable[[Case, Sequence[Any], int], Report]:
    """The judge where no other dtype runs."""
    return lambda case, inputs, seed: crosscheck(case.forward, case.backward, inputs, seed=seed, dtypes=[dtype])


def torch_has(case: Case, inputs: Sequence[Any], dtype: torch.dtype) -> bool:
    try:
        by_autograd(case, inputs, 0, dtype, dtype)
    except RuntimeError:  # 'not implemented for' it
        return False
    return True


def halved(x: Tensor) -> Tensor:
    """A float32 number in TF32: 10 bits behind the point, rounded to nearest."""
    bits = x.float().contiguous().view(torch.int32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & ~0x1FFF).view(torch.float32)


def shuffled(x: Tensor) -> Tensor:
    """A float32 number as a sum of float32 numbers comes out in any order: some roundoffs to either side, anew."""
    return x.float() * (1 + 2.0**-23 * torch.randint(-1, 2, x.shape, generator=ORDERS))


ORDERS = torch.Generator().manual_seed(0)  # of its own: a call's seed does not bring the same order back
INSIDE: dict[str, Callable[[Tensor], Tensor]] = {
    "float32": Tensor.float,
    "TF32": halved,
    "float32, any order": shuffled,
}


def with_inside(case: Case, inside: str) -> Case:
    """The same gradients, computed from numbers of less precision, whatever comes in."""

    def computed(function: Callable[..., Any]) -> Callable[..., Any]:
        def compute(*given: Any) -> Any:
            dtype = next(x.dtype for x in given if is_floating(x))
            lower = Tensor.float if inside == "float32, any order" else INSIDE[inside]
            low = [tuple(map(lower, x)) if isinstance(x, tuple) else lower(x) if is_floating(x) else x for x in given]
            found = function(*low)
            back = [shuffled(x).to(dtype) if inside == "float32, any order" and is_floating(x) else
                    x.to(dtype) if is_floating(x) else x for x in tuples(found)]  # fmt: skip
            return tuple(back) if isinstance(found, tuple | list) else back[0]

        return compute

    return Case(case.forward, computed(case.backward), case.draw)


def judged_inside(case: Case, inputs: Sequence[Any], seed: int, inside: str) -> bool:
    """Whether it passes, at float64 and float32."""
    report = crosscheck(case.forward, with_inside(case, inside).backward, inputs, seed=seed, dtypes=DTYPES[:2])
    return not report.formula.startswith("wrong") if inside == "TF32" else report.ok


# The rules of others are those that their tests apply: of RMS normalization in Liger-Kernel (af35a6c), of neighbourhood
# attention in attention-gym (8affd38), of attention in FlashAttention.
LOW = tuple(
    Way(name, str(dtype).removeprefix("torch."), passes)
    for dtype in (torch.bfloat16, torch.float16)
    for name, passes in (
        ("assert_close, its defaults", assert_close(dtype)),
        ("Liger's: rtol 2e-2, atol 2e-1", assert_close(dtype, rtol=2e-2, atol=2e-1)),
        ("attention-gym's: rtol 1e-2, atol 1e-1", assert_close(dtype, rtol=1e-2, atol=1e-1)),
        ("FlashAttention's: twice autograd's error", beside_autograd(dtype, twice)),
        ("twice autograd's error and a roundoff", beside_autograd(dtype, twice_with_roundoff)),
        ("0.008 of it in the mean", beside_autograd(dtype, in_the_mean)),
        ("the judge, in it alone", judge_in(dtype)),
    )
)
WAYS = (
    Way("gradcheck, slow", "float64", torch_gradcheck(fast=False)),
    Way("gradcheck, fast", "float64", torch_gradcheck(fast=True)),
    Way("the judge, in it alone", "float64", judge_in(torch.float64)),
    Way("allclose, its defaults", "float32", within(torch.float32)),
    Way("assert_close, its defaults", "float32", assert_close(torch.float32)),
    Way("JAX's tolerance of gradients", "float32", within(torch.float32, rtol=2e-3, atol=2e-3)),
    Way("the judge, in it alone", "float32", judge_in(torch.float32)),
    *LOW,
    Way("the judge", "all four", the_judge),
)

# What a name may say of a mistake of the kind; another name is a wrong one
NAMES = {
    "sign": "sign|transposed",
    "factor": "factor|twice|mean|another constant|halved",
    "axis": "axis|dimension",
    "transpose": "transposed",
    "term": (
        "left out|lost|mask|as if|factor|gradient of|in place of|counts|stands in for|softmax|symmetric|applied|sign|"
        "without"
    ),
    "sample": "sample",
    "place": "moved|slice|dimension|stands in for|shape|halves",
    "zero": "zero|left out",
    "flip": "reversed",
    "element": "zero|wrong at|slice",
    "derivative": "derivative|factor",
    "ignored": "grad_out is ignored",
    "precision": "half precision|float16|bfloat16|float8",
    "constant": "additive constant",
    "mask": "zero|mask|inverted|sign|condition|as if|branch|left out|factor",
    "approximate": "GELU",
    "swapped": "gradient of|sign",
    "eps": "another factor|were",
    "variance": "another factor|n − 1",
    "stale": "stands in for|updated|were its argument|derivative",
}


class Score:
    """What one way got right."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.seconds: list[float] = []  # of right gradients
        self.seconds_of_wrong: list[float] = []
        self.odd: list[str] = []  # what is named otherwise than its kind is, or not at all

    def of_right(self, run: Callable[[], list[bool] | Report]) -> None:
        start = time.perf_counter()
        found = run()
        self.seconds.append(time.perf_counter() - start)
        passed = found if isinstance(found, list) else [row.ok for row in found.rows]
        self.count.update(right=len(passed), alarms=passed.count(False))

    def of_wrong(self, run: Callable[[], list[bool] | Report], mistake: Mistake, seed: int) -> None:
        start = time.perf_counter()
        found = run()
        self.seconds_of_wrong.append(time.perf_counter() - start)
        missed = all(found) if isinstance(found, list) else found.ok
        self.count.update(wrong=1, missed=missed, caught=not missed)
        if isinstance(found, list) or missed:
            return
        said = [f"{row.verdict} {row.diagnosis}" for row in found.mismatches if UNKNOWN not in row.diagnosis]
        rightly = any(re.search(NAMES[mistake.kind], text) for text in said)
        self.count.update(named=bool(said), rightly=rightly)
        if not rightly:
            self.odd.append(f"{mistake}, {mistake.wrong}, seed {seed}: {said[0] if said else UNKNOWN}")

    def cells(self) -> tuple[str, ...]:
        c = self.count
        return (
            f"{c['alarms']:,} of {c['right']:,}", f"{100 * c['alarms'] / max(1, c['right']):.2g} %",
            f"{c['missed']:,} of {c['wrong']:,}", f"{100 * c['missed'] / max(1, c['wrong']):.2g} %",
            *(f"{1000 * statistics.mean(s):.2g}" if s else "-" for s in (self.seconds, self.seconds_of_wrong)),
        )  # fmt: skip


def scores(seeds: int, dtypes: Sequence[str]) -> dict[str, Score]:
    """Of each way, by its name and dtype; in these dtypes alone, if there are some."""
    found: dict[str, Score] = defaultdict(Score)
    owners = list(dict.fromkeys(mistake.owner for mistake in CORPUS))
    for seed in track(range(seeds), "right gradients", transient=True):
        for owner in owners:
            for case in cases(owner):
                inputs = case.draw(seed)
                for way in runnable(case, inputs, dtypes):
                    found[key(way)].of_right(partial(way.passes, case, inputs, seed))
                for inside in INSIDE if not dtypes else ():
                    found[inside].of_right(lambda i=inside, c=case, x=inputs, s=seed: [judged_inside(c, x, s, i)])
    for seed in track(range(seeds), "mistakes", transient=True):
        for mistake in CORPUS:
            right = [by_hand(case, case.draw(seed), seed, torch.float64) for case in cases(mistake.owner)]
            with edited([mistake.edit]):
                for case, gradients in zip(cases(mistake.owner), right, strict=True):
                    inputs = case.draw(seed)
                    if same(by_hand(case, inputs, seed, torch.float64), gradients):
                        continue
                    for way in runnable(case, inputs, dtypes):
                        found[key(way)].of_wrong(partial(way.passes, case, inputs, seed), mistake, seed)
                    for inside in INSIDE if not dtypes and mistake.kind != "precision" else ():
                        run = partial(judged_inside, case, inputs, seed, inside)
                        found[inside].of_wrong(lambda run=run: [run()], mistake, seed)
    return found


HEADINGS = ("way", "dtype", "false alarms", "of them", "missed", "of these", "ms of a right", "ms of a wrong one")


def table(found: Mapping[str, Score]) -> str:
    """A line for each way."""
    rows = [(way.name, way.dtype, *found[key(way)].cells()) for way in shown(found)]
    return aligned(HEADINGS, rows, right=HEADINGS[2:])


def naming(found: Mapping[str, Score]) -> Iterator[str]:
    """Of the mistakes that the judge has caught, how many it has named."""
    for way in (way for way in shown(found) if "judge" in way.name):
        c = found[key(way)].count
        named, rightly = (f"{c[what]:,} ({100 * c[what] / max(1, c['caught']):.1f} %)" for what in ("named", "rightly"))
        yield f"{way.name}, {way.dtype}: of {c['caught']:,} it names {named}, and {rightly} by words that fit"


def shown(found: Mapping[str, Score]) -> list[Way]:
    """The ways that were gone, in their order."""
    return [way for way in WAYS if key(way) in found]


def key(way: Way) -> str:
    return f"{way.name} {way.dtype}"


def runnable(case: Case, inputs: Sequence[Any], dtypes: Sequence[str]) -> list[Way]:
    """The ways whose dtype torch has for this function; the judge in all of them finds that out itself."""
    has = {name: torch_has(case, inputs, getattr(torch, name)) for name in ("bfloat16", "float16")}
    return [way for way in WAYS if has.get(way.dtype, True) and (not dtypes or way.dtype in dtypes)]


def same(ones: Sequence[Tensor], others: Sequence[Tensor]) -> bool:
    return all(
        x.shape == y.shape and bool((x - y).abs().amax() <= 1e-12 * y.abs().amax())
        for x, y in zip(ones, others, strict=True)
    )


def growth() -> Iterator[tuple[str, ...]]:
    """The time of the judge, in forward-and-backward passes of autograd at float64, by the number of elements."""
    for elements in (10**4, 10**5, 10**6, 4 * 10**6):
        x, w, b = torch.randn(elements // 100, 100).double(), torch.randn(100).double(), torch.randn(100).double()
        case = Case(LayerNorm.forward, LayerNorm.backward, lambda seed, xs=(x, w, b): xs)

        def one_pass(case: Case = case) -> object:
            return by_autograd(case, case.draw(0), 0, torch.float64, torch.float64)

        def judge(case: Case = case) -> object:
            return crosscheck(case.forward, case.backward, case.draw(0))

        one_pass(), judge()
        pairs = [(seconds(one_pass), seconds(judge)) for _ in range(5)]
        passes, judges = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratio = statistics.median(judge / one for one, judge in pairs)
        yield f"{elements:,}", f"{1000 * passes:.3g}", f"{1000 * judges:.3g}", f"{ratio:.1f}"


def seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="draws of the inputs of each case (20)")
    parser.add_argument("--dtypes", nargs="+", default=(), help="the ways of these alone, as bfloat16 float16 (all)")
    parser.add_argument("--beside", metavar="COMMIT", help="show how long a conviction takes beside another build")
    args = parser.parse_args()
    if args.beside:
        return beside(args.beside)
    found = scores(args.seeds, args.dtypes)
    threads = torch.get_num_threads()
    print(
        f"{len(CORPUS)} mistakes, {args.seeds} seeds, torch {torch.__version__}, {threads} threads\n\n{table(found)}\n"
    )
    print("\n".join(naming(found)))
    if args.dtypes:
        return None
    inside = [(f"{text} inside", "float64, float32", *found[text].cells()) for text in INSIDE]
    print(f"\nThe judge of what computes in less\n\n{aligned(HEADINGS, inside, right=HEADINGS[2:])}\n")
    for line in found["the judge all four"].odd:
        print(f"  not {line}")
    headings = ("elements", "a pass, ms", "the judge, ms", "passes")
    cost = aligned(headings, list(growth()), right=headings)
    print(f"\nThe judge's cost, in passes forward and backward of autograd at float64\n\n{cost}")
    return None


if __name__ == "__main__":
    main()
