"""The numbers of the verdict and the words of its verdicts, from tensors that are made by hand."""

import math
from functools import partial
from itertools import count

import pytest
import torch

from crosscheck import crosscheck
from crosscheck.cause.diagnosis import Alternatives, Diagnosis, explain_alone
from crosscheck.row import UNSTEADY
from crosscheck.verdict.judge import BLOCK, BLOCK_FACTOR, Known, fault_of, infinity_of, judge, rows_of
from crosscheck.verdict.precision import DTYPES, unit_roundoff
from crosscheck.verdict.sides import Comparison, Sides

CPU = torch.device("cpu")
U = unit_roundoff(torch.float32)
ORACLE = torch.tensor([[4.0, 0.0, 1.0], [-8.0, 2.0, -1.0]], dtype=torch.float64)


def only_row(m, *, a=None, o=ORACLE, budget=1.0, right=None):
    a = o.float() if a is None else a
    known = Known({} if right is None else right)
    (row,) = rows_of(torch.float32, {"x": m}, {"x": a}, {"x": o}, {"x": budget}, CPU, known)
    return row


def test_error_and_budget_are_in_roundoffs_of_the_largest_number():
    row = only_row((ORACLE + torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, -0.25]])).float(), budget=1.0)
    assert (row.error, row.budget) == (0.5 / (8 * U), 1.0 / (8 * U))
    assert (row.ok, row.verdict, row.diagnosis, row.shares) == (True, "agrees", "", None)
    assert (row.name, row.device, row.dtype) == ("x", CPU, torch.float32)
    zero = torch.zeros(2, dtype=torch.float64)
    rows = rows_of(
        torch.float32, {"x": ORACLE.float(), "zero": zero.float() + 0.5}, {"x": ORACLE.float(), "zero": zero.float()},
        {"x": ORACLE, "zero": zero}, {"x": 1.0, "zero": 2.0}, CPU, Known())  # fmt: skip
    assert [row.error for row in rows] == [0.0, 0.5 / (8 * U)]  # of a zero, of the largest of all
    assert only_row(zero.float() + 0.5, o=zero, budget=2.0).error == 0.5 / U  # and of one where all is zero


def test_of_what_is_wrong_there_is_a_map_in_units_of_the_budget():
    off = torch.tensor([[0.0, 0.5, 0.0], [0.0, 0.0, -2.0]])
    assert torch.equal(only_row((ORACLE + off).float(), budget=0.25).shares, off.abs() / 0.25)
    assert torch.equal(only_row((ORACLE + off).float(), budget=0.0).shares, off.abs() / (8 * U))


@pytest.mark.parametrize(("budget", "times"), [(1.0, "32"), (32.0, "inf"), (0.5, "64")])
def test_how_much_less_accurate(budget, times):
    row = only_row((ORACLE + 2.0).float(), budget=budget if times != "inf" else 0.0, right={"x": True})
    assert (row.ok, row.verdict) == (False, f"right formula, {times} times less accurate than autograd")
    assert row.diagnosis == ""


def test_what_is_remembered_of_the_highest_rung():
    right = {}
    only_row((ORACLE + 2.0).float(), right=right)
    assert right == {"x": False}
    only_row(ORACLE.float(), right=right)
    assert right == {"x": False}
    right = {}
    only_row(ORACLE.float(), right=right)
    assert right == {"x": True}


NAN = torch.tensor([1.0, math.nan, 3.0])
INF = torch.tensor([1.0, math.inf, 3.0])
ONES = torch.ones(3)


@pytest.mark.parametrize(
    ("m", "a", "right", "says"),
    [
        (ONES, ONES, False, ""),
        (NAN, ONES, False, "nan at [1], where autograd has 1"),
        (-INF, ONES, True, "right formula, but -inf at [1], where autograd has 1"),
        (NAN, INF, False, ""),
        (ONES, NAN, False, ""),
        (ONES, ONES * math.nan, True, "not judged: autograd itself is nowhere finite"),
        (torch.ones(0), torch.ones(0), False, ""),
        (None, ONES, False, ""),
        (ONES, None, False, ""),
    ],
)
def test_what_is_not_finite(m, a, right, says):
    assert infinity_of(m, a, right) == says


@pytest.mark.parametrize(
    ("m", "a", "says"),
    [
        (ONES, None, "no such tensor: none of that name was expected"),
        (None, ONES, "missing: expected a tensor of shape [3], got None"),
        (3.0, ONES, "missing: expected a tensor of shape [3], got 3.0"),
        (torch.ones(1, 3), ONES, "wrong shape: expected [3], got [1, 3]"),
        (ONES.long(), ONES, "wrong dtype: expected torch.float32, got torch.int64"),
        (ONES.clone().requires_grad_(), ONES, "not outside of autograd: expected requires_grad=False, got True"),
        (ONES.to("meta"), ONES, "wrong device: expected cpu, got meta"),
        (ONES, ONES, ""),
    ],
)
def test_what_is_wrong_before_any_number_is_compared(m, a, says):
    assert fault_of(m, a, CPU) == says
    if says:
        (row,) = rows_of(torch.float32, {"x": m}, {"x": a} if a is not None else {}, {}, {}, CPU, Known())
        assert (row.ok, row.verdict, row.diagnosis, row.error, row.budget) == (False, says, "", math.inf, 16)


def test_what_is_nan_at_the_highest_rung_is_no_right_formula():
    assert only_row(NAN, o=ONES.double()).verdict == "nan at [1], where autograd has 1"
    assert only_row(NAN, o=ONES.double(), right={"x": True}).verdict.startswith("right formula, but nan")


def test_what_agrees_though_little_was_seen():
    nothing = torch.zeros(0, dtype=torch.float64)
    assert only_row(nothing.float(), o=nothing).said == "not judged: it has no elements"
    assert only_row(torch.zeros(3), o=torch.zeros(3).double()).said == (
        "agrees, but it is zero everywhere, where no wrong factor shows"
    )
    row = only_row(NAN, a=NAN, o=torch.tensor([1.0, 2.0, 3.0]).double())
    assert row.said == "agrees, but autograd is not finite at 1 of 3, first at [1]: not judged there"


def judged(m=lambda x: x, *, n=9, **options):
    """A function without any rounding error."""
    x = torch.linspace(1, 2, n, dtype=torch.float64).float().double()
    x[-1] = 2
    return judge(lambda x: {"x": m(x)}, lambda x: {"x": 1 * x}, (x,), **options)


def test_the_budget_is_16_roundoffs_and_at_float64_those_of_a_sum():
    report = judged()
    assert [(row.dtype, row.budget) for row in report.rows] == [
        (torch.float64, 16 * math.sqrt(9)), *((dtype, 16.0) for dtype in (torch.float32, torch.float16, torch.bfloat16))
    ]  # fmt: skip
    assert (report.title, report.notes, report.repeats) == ("", (), "gives the same")
    assert judged(title="mine").title == "mine"


def test_at_float64_the_error_by_hand_in_float32_counts():
    """What is 100 roundoffs off in float32 may be it in float64, too: 16 times as many."""
    report = judged(lambda x: x + 200 * unit_roundoff(x.dtype), n=4)
    assert report.rows[0].budget == pytest.approx(16 * 100, rel=1e-3)
    assert report.rows[0].ok


def test_the_budget_of_what_is_wrong_is_that_of_its_error_in_float32():
    assert judged(lambda x: 2 * x).rows[0].budget == pytest.approx(16 * 2**24)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_of_a_large_error_the_cause_is_looked_for_before_it_is_taken_for_rounding(dtype, scale):
    """It changes altogether when the inputs move by as much; but one cause explains it to the last digit."""
    x = torch.linspace(1, 2, 1001, dtype=torch.float64)

    def autograd(x):
        return {"x": scale * torch.sin(1000 * x)}

    def manual(x):
        return {"x": scale * (torch.sin(1000 * x) + 0.03 * torch.sin(1000 * x) ** 3)}

    def alternatives(deep, x):
        return {"x": Alternatives(mistaken=[("as if it were a cube", manual(x)["x"])] if deep else ())}

    (row,) = judge(manual, autograd, (x,), dtypes=[dtype], explained=partial(Diagnosis, alternatives)).rows
    assert row.said.startswith("wrong formula: as if it were a cube")


@pytest.mark.parametrize(
    ("m", "calls", "cause"),
    [
        (lambda x: 9 * x, [False], "off by the constant factor 9: divide by 9, which is n"),
        (lambda x: x + 1e-3 * x**3, [False, True], "as if it were a cube"),
        (lambda x: x + 1e-3 * x**4, [False, True], "unknown cause"),
        (lambda x: x, [], ""),
    ],
)
def test_alternatives_are_gathered_no_further_than_it_takes(m, calls, cause):
    asked = []

    def alternatives(deep, x):
        asked.append(deep)
        assert x.dtype == torch.float64
        return {"x": Alternatives(sizes={"n": 9}, mistaken=[("as if it were a cube", x + 1e-3 * x**3)] if deep else ())}

    report = judged(m, explained=partial(Diagnosis, alternatives))
    assert asked == calls
    assert report.rows[0].diagnosis.partition("\n")[0] == cause
    assert len({row.diagnosis for row in report.mismatches}) <= 1  # of one mistake it is found once


def test_all_that_differs_from_call_to_call_is_listed():
    seen = count(1)

    def unsteady(x):
        n = next(seen)
        return {"a": x * n, "b": x, "c": x / n}

    report = judge(unsteady, lambda x: dict.fromkeys("abc", x), (torch.ones(3),), dtypes=[torch.float32])
    assert report.repeats == "differs in a by 2, c by 0.667"
    # The first of the calls was right: what one cannot rely on is not.
    assert [(row.ok, row.said) for row in report.rows] == [
        (False, f"{UNSTEADY}, by 2, far more than rounding"), (True, "agrees"),
        (False, f"{UNSTEADY}, by 0.667, far more than rounding"),
    ]  # fmt: skip


@pytest.mark.parametrize("works", [(), (torch.float32,), (torch.float64,)])
def test_where_it_raises_is_said(works):
    def m(x):
        if x.dtype not in works:
            raise RuntimeError(f"no {x.dtype}")
        return x

    if not works:
        with pytest.raises(RuntimeError, match="^no torch.float64$"):  # in which it was given
            judged(m)
        return
    report = judged(m)
    assert {row.dtype for row in report.rows} == set(works)
    others = [str(t).removeprefix("torch.") for t in sorted(DTYPES, key=unit_roundoff) if t not in works]
    *of_dtypes, power = [*report.notes, ""][: len(others) + 1]
    assert of_dtypes == [f"{t}: not judged, for it raises RuntimeError: no torch.{t}" for t in others]
    assert power.startswith("float32 alone, 16 draws: a factor off by ") == (works == (torch.float32,))


def test_of_several_failures_that_of_the_last_inputs_dtype_is_raised():
    def m(x, y):
        raise RuntimeError(f"no {y.dtype}")

    with pytest.raises(RuntimeError, match="^no torch.float32$"):
        judge(m, lambda x, y: {"x": x}, (torch.ones(3).double(), torch.ones(3)))


def test_where_autograd_is_nowhere_finite_nothing_is_said_of_the_error():
    row = only_row(NAN, a=torch.full((3,), math.nan), o=ONES.double(), right={"x": True})
    assert (row.ok, row.said, row.error) == (True, "not judged: autograd itself is nowhere finite", 0)


def test_of_zeros_alone_there_is_nothing_to_see():
    (row,) = judge(lambda x: {"x": x}, lambda x: {"x": x}, (torch.zeros(3),), dtypes=[torch.float32]).rows
    assert (row.ok, row.verdict) == (True, "agrees, but it is zero everywhere, where no wrong factor shows")


@pytest.mark.parametrize(("grads_out", "ok"), [(0, True), (1, False), (2, True)])
def test_a_zero_is_what_the_largest_number_from_above_leaves(grads_out, ok):
    """Without any from above, of all the inputs."""
    report = judge(
        lambda x, y: {"x": (x + y) - y - x}, lambda x, y: {"x": 0 * x}, (torch.ones(3) / 3, torch.full((3,), 1e6)),
        dtypes=[torch.float32], **({"grads_out": grads_out} if grads_out else {}),
    )  # fmt: skip
    assert report.ok == ok


def test_zero_is_what_autograd_loses_in_the_dtype_that_is_judged():
    """(x + 1/3) - 1/3 - x: nothing but rounding is left of it. What is small by itself is no zero."""

    def autograd(x):
        return {"x": x + 1 / 3 - 1 / 3 - x, "one": x + 1, "small": 2.0**-80 * (1 + x)}

    x = torch.tensor([0.1, 0.2, 0.7], dtype=torch.float64)
    for dtype, zeros in ((torch.bfloat16, ["x"]), (torch.float32, ["x"]), (torch.float64, ["x"])):
        assert Sides(Comparison(autograd, autograd, (x,)), dtype).zeros == zeros


@pytest.mark.parametrize(("change", "cause"), [(lambda x: x.T, "transposed"), (lambda x: x.T.square(), "")])
def test_small_numbers_of_another_shape_are_told_apart(change, cause):
    x = torch.linspace(1, 2, 12, dtype=torch.float64).view(3, 4)
    (row,) = judge(
        lambda x: {"x": 1e-9 * change(x)},
        lambda x: {"x": 1e-9 * x},
        (x,),
        dtypes=[torch.float64],
        explained=lambda inputs: explain_alone,
    ).rows
    assert (row.verdict, row.diagnosis) == ("wrong shape: expected [3, 4], got [4, 3]", cause)


def test_a_judge_needs_floating_numbers():
    with pytest.raises(TypeError, match="^inputs: expected at least one floating-point tensor, got none$"):
        judge(lambda x: {}, lambda x: {}, (torch.ones(3).long(), 2))


def blocked(change, rows=8):
    """A factor for each row, that of one so small that the rounding of the others would hide all that happens there."""
    scale = torch.ones(rows, 1, dtype=torch.float64)
    scale[3] = 2.0**-16
    x = torch.linspace(1, 2, rows * BLOCK, dtype=torch.float64).view(rows, BLOCK)

    def forward(x):
        return x * scale.to(x.dtype)

    def backward(grad_out, out, x):
        gradient = grad_out * scale.to(x.dtype)
        gradient[3] = change(gradient[3])
        return (gradient,)

    return lambda **options: crosscheck(forward, backward, (x,), **options)


def test_a_block_by_itself_has_its_own_budget():
    """1,500 of its own roundoffs are wrong, 700 are not."""
    by = unit_roundoff(torch.float32) * BLOCK_FACTOR
    lone = {"dtypes": [torch.float32]}
    assert not blocked(lambda g: g * (1 + 1.5 * by))(**lone).ok
    assert blocked(lambda g: g * (1 + 0.7 * by))(**lone).ok


def test_of_a_block_the_worst_place_is_named_though_larger_errors_are_elsewhere():
    x = torch.linspace(1, 2, 3 * BLOCK, dtype=torch.float64)
    x[BLOCK : 2 * BLOCK] *= 2.0**-16
    wrong, rounding = BLOCK + 7, 2 * BLOCK + 9
    more = torch.zeros_like(x)
    more[wrong], more[rounding] = x[wrong] / 100, 8 * U
    (row,) = judge(lambda x: {"x": x + more.to(x.dtype)}, lambda x: {"x": x}, (x,), dtypes=[torch.float32]).rows
    assert row.diagnosis.startswith(f"unknown cause, among numbers far smaller than the rest\nat [{wrong}]: got ")


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_what_is_nothing_beside_the_largest_number_is_wrong_in_no_block(size):
    """So small are the numbers in one block that autograd has none of them, and no error there."""
    x = size * torch.cat([torch.linspace(1, 2, BLOCK), torch.zeros(BLOCK)])
    more = torch.cat([torch.zeros(BLOCK), torch.full((BLOCK,), size * 2.0**-42)])
    assert judge(lambda x: {"x": x + more}, lambda x: {"x": x}, (x,), dtypes=[torch.float32]).ok
    assert not judge(lambda x: {"x": x + 16 * more}, lambda x: {"x": x}, (x,), dtypes=[torch.float32]).ok


def test_in_a_block_what_cancels_leaves_rounding_and_nothing_wrong():
    assert blocked(lambda g: (g + 1 / 16) - 1 / 16)(dtypes=[torch.float32]).ok
    assert not blocked(lambda g: g + 1e-8)(dtypes=[torch.float32]).ok


def test_where_float64_was_judged_blocks_are_not():
    """The formula is right, and in float32 alone the small numbers are less accurate than they could be."""
    change = blocked(lambda g: g * (1 + 1e4 * unit_roundoff(g.dtype)))
    assert change(dtypes=[torch.float64, torch.float32]).ok
    assert not change(dtypes=[torch.float32]).ok
