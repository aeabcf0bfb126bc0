"""Each hypothesis on its own: when it is made, in which words, and that what it corrects is right again."""

import math

import pytest
import torch
from torch import Tensor

from crosscheck.cause.diagnosis import (
    Alternatives,
    _by_factor,
    _by_number,
    _by_operation,
    _by_two_operations,
    _deep,
    _fitted_derivatives,
    _in_part,
    _moved,
    _moved_inside,
    _other_axes,
    _other_derivatives,
    _plain,
    _ratio,
    _readable,
    _short,
    _slice_by_slice,
    _summed_over,
    _where,
    constant_factor,
    diagnose,
    misshapen,
)
from crosscheck.cause.slips import functions
from crosscheck.row import UNKNOWN, got_and_expected
from crosscheck.verdict.precision import SMALL

BUDGET = 1e-9
INF = math.inf


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of(*numbers) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def at(shape: tuple[int, ...], *places: tuple[int, ...]) -> Tensor:
    """True at these places."""
    wrong = torch.zeros(shape, dtype=torch.bool)
    for place in places:
        wrong[place] = True
    return wrong


def causes(hypotheses) -> list[str]:
    return [cause for cause, _ in hypotheses]


def equal(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


RIGHT, ROW, SOME = normal(4, 3), at((4, 3), (1, 0), (1, 1), (1, 2)), at((4, 3), (0, 1), (2, 2), (3, 0))
SLICE = "in the slice 1 of dimension 0 alone"

# Numbers in words


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (2.0, "2"),
        (-3.0, "-3"),
        (0.5, "1/2"),
        (-1 / 3, "-1/3"),
        (0.7, "7/10"),
        (16 / 15, "16/15"),
        (-15 / 16, "-15/16"),
        (17 / 16, "1.0625"),  # simple is a fraction of numbers up to 16, ...
        (16 / 17, "0.941176"),
        (-17 / 3, "-5.66667"),
        (-3 / 17, "-0.176471"),
        (-20.0, "-20"),  # ... or a whole number, or one over it, ...
        (1024.0 * (1 + 5e-7), "1024"),
        (1 / 100, "1/100"),
        (-1 / 100, "-1/100"),
        (1 / 1024, "1/1024"),  # ... of up to 1024
        (1 / 1025, "0.00097561"),
        (1025.0, "1025"),
        (1234567.0, "1.23457e+06"),
        ((1 + 5e-7) / 3, "1/3"),
        ((1 + 2e-6) / 3, "0.333334"),
        (-(1 + 5e-7) / 3, "-1/3"),
        (-(1 + 2e-6) / 3, "-0.333334"),
        (math.pi, "3.14159"),
        (1 + 2e-5, "1.00002"),
        (1 - 2e-5, "0.99998"),
        (1 + 5e-7, "1"),
        (1.0, "1"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_a_number_is_said_as_short_as_it_can_be(factor, text):
    assert _short(factor) == text


@pytest.mark.parametrize(
    ("factor", "known", "text"),
    [
        (1.2345678, 1e-3, "1.23"),
        (1.2345678, 1e-4, "1.235"),
        (1.2345678, 2e-4, "1.23"),  # three digits are known, of the fourth not all
        (1.2345678, 0.5, "1"),
        (1.2345678, 1e-9, "1.23457"),  # six are enough
        (2.001, 1e-3, "2"),
        (2.003, 1e-3, "2"),
        (-2.003, 1e-4, "-2.003"),
        ((1 + 1e-4) / 3, 1e-3, "1/3"),
        ((1 + 1e-4) / 3, 1e-5, "0.33337"),
    ],
)
def test_no_more_digits_are_said_than_are_known(factor, known, text):
    assert _short(factor, known) == text


SIZES = {"x.shape[0]": 6, "w.shape[0]": 1, "w.numel()": 12, "b.numel()": 2}
ROOTS = SIZES | {f"√{name}": size**0.5 for name, size in SIZES.items()}


@pytest.mark.parametrize(
    ("factor", "sizes", "text"),
    [
        (6.0, SIZES, "6: divide by 6, which is x.shape[0]"),
        (1 / 6, SIZES, "1/6: multiply by 6, which is x.shape[0]"),
        (2.0, SIZES, "2: divide by 2, which is b.numel()"),
        (0.5, SIZES, "1/2: multiply by 2, which is b.numel()"),
        (12**0.5, ROOTS, "3.4641: divide by 3.4641, which is √w.numel()"),
        (12**-0.5, ROOTS, "0.288675: multiply by 3.4641, which is √w.numel()"),
        (12**0.5, SIZES, "3.4641"),  # of what no root is given none is taken
        (2**-0.5, SIZES, "0.707107"),
        (6 * (1 + 5e-7), SIZES, "6: divide by 6, which is x.shape[0]"),
        (6 * (1 + 2e-6), SIZES, "6.00001"),
        (5.0, SIZES, "5"),
        (0.2, SIZES, "1/5"),
        (-6.0, SIZES, "-6"),
        (1 + 5e-7, SIZES, "1 + 5e-07"),  # nothing is divided by one
        (4.0, {"a": 1 / 4, "b": 4}, "4: divide by 4, which is b"),  # what is divided by comes first
        (3.0, {"a": 3, "b": 9, "c": 3}, "3: divide by 3, which is a and c"),
        (3.0, dict.fromkeys("abcde", 3), "3: divide by 3, which is a and b"),  # two are enough
        (1 / 3, dict.fromkeys("abcde", 3), "1/3: multiply by 3, which is a and b"),
        (-2.0, {"p": -2}, "-2"),
        (0.3, {"none": 0, "p": 0.3}, "3/10: divide by 3/10, which is p"),
        (1 + 9e-6, SIZES, "1 + 9e-06"),
        (1 - 9e-6, {}, "1 − 9e-06"),
        (1 + 1.2345e-7, {}, "1 + 1.23e-07"),
        (1 - 1.2345e-7, {}, "1 − 1.23e-07"),
        (1 + 2e-5, {}, "1.00002"),
        (1.0, {}, "1"),
    ],
)
def test_a_factor_is_said_with_all_that_it_can_come_from(factor, sizes, text):
    assert _readable(factor, sizes) == text


@pytest.mark.parametrize(
    ("factor", "known", "text"),
    [
        (6.003, 1e-3, "6: divide by 6, which is x.shape[0]"),
        (6.003, 1e-4, "6.003"),
        ((1 + 6e-5) / 6, 1e-4, "1/6: multiply by 6, which is x.shape[0]"),
        ((1 + 6e-5) / 6, 1e-5, "0.16668"),
        (1.2345, 1e-2, "1.2"),
    ],
)
def test_a_factor_comes_from_what_it_is_as_far_as_it_is_known(factor, known, text):
    assert _readable(factor, SIZES, known) == text


@pytest.mark.parametrize(
    ("got", "expected", "text"),
    [
        (1.0, 2.0, "got 1, expected 2"),
        (1.234567, 1.23, "got 1.23457, expected 1.23"),
        (1.234567, 1.234568, "got 1.234567, expected 1.234568"),
        (1.23456789, 1.2345678, "got 1.2345679, expected 1.2345678"),
        (1 + 1e-15, 1.0, "got 1.000000000000001, expected 1"),
        (0.1 + 0.2, 0.3, "got 0.30000000000000004, expected 0.29999999999999999"),
    ],
)
def test_as_many_digits_as_tell_two_numbers_apart(got, expected, text):
    assert got_and_expected(got, expected) == text


@pytest.mark.parametrize(
    ("slopes", "error", "text"),
    [
        ([(2.0, 1.0), (4.0, 2.0)], 0.0, "off by the constant factor 2"),
        ([(1.0, 2.0), (2.0, 4.0), (-4.0, -8.0)], 0.0, "off by the constant factor 1/2"),
        ([(-1.5, 1.0), (-3.0, 2.0)], 0.0, "off by the constant factor -3/2"),
        ([(-1.0, 1.0), (-2.0, 2.0)], 0.0, "the sign is flipped"),
        ([(-1 - 5e-7, 1.0), (-2 - 1e-6, 2.0)], 1e-12, "the sign is flipped"),
        ([(-1.00001, 1.0), (-2.00002, 2.0)], 1e-12, "off by the constant factor -1.00001"),
        ([(0.0, 1.0), (0.0, 2.0)], 0.0, "zero where a gradient is due"),
        ([(2.0, 1.0)], 1.0, ""),  # one direction shows no factor
        ([(1.5, 1.0), (2.5, 1.0)], 0.5, "off by the constant factor 2"),
        ([(1.5, 1.0), (2.5, 1.0)], 0.49, ""),
        ([(2.0, 1.0), (4.0, 2.0), (4.0, -2.0)], 0.1, ""),
        ([(2.0, 1.0), (4.0 + 1e-9, 2.0)], 1e-8, "off by the constant factor 2"),
        ([(2.0, 1.0), (4.0 + 1e-9, 2.0)], 1e-12, ""),  # in float64
        ([(1.0, 0.0), (2.0, 0.0)], 1.0, ""),
    ],
)
def test_a_constant_factor_is_one_in_all_directions(slopes, error, text):
    assert constant_factor(slopes, error) == text


# Places in words

WHERE = {
    "a number": (torch.tensor(True), "here"),
    "one element": (at((4, 3), (2, 1)), "at [2, 1] alone"),
    "one of a vector": (at((3,), (2,)), "at [2] alone"),
    "two of a vector": (at((5,), (2,), (4,)), "at 2 of 5 elements"),
    "row": (at((4, 3), (2, 0), (2, 2)), "in the slice 2 of dimension 0 alone"),
    "column": (at((4, 3), (0, 1), (3, 1)), "in the slice 1 of dimension 1 alone"),
    "row of two": (at((2, 3), (1, 0), (1, 2)), "in the slice 1 of dimension 0 alone"),
    "column of two": (at((3, 2), (0, 1), (2, 1)), "in the slice 1 of dimension 1 alone"),
    "channel": (at((2, 5, 3), (0, 4, 0), (1, 4, 2)), "in the slice 4 of dimension 1 alone"),
    "in two rows": (at((4, 3), (0, 0), (1, 2)), "at 2 of 12 elements"),
    "the only row there is": (at((1, 5), (0, 0), (0, 2), (0, 4)), "at 3 of 5 elements"),
    "all": (torch.ones(2, 3, dtype=torch.bool), "at 6 of 6 elements"),
}


@pytest.mark.parametrize("places", WHERE)
def test_it_is_said_where(places):
    wrong, text = WHERE[places]
    assert _where(wrong) == text


@pytest.mark.parametrize(
    ("shape", "smaller", "dims"),
    [
        ((6, 4), (4,), ["0"]),
        ((5, 6, 4), (4,), ["0", "1"]),
        ((5, 6, 4), (), ["0", "1", "2"]),
        ((6, 4), (1, 4), ["0"]),
        ((6, 4), (6, 1), ["1"]),
        ((5, 6, 4), (6, 1), ["0", "2"]),
        ((1, 4), (4,), ["0"]),
        ((6, 1), (6, 1), []),
        ((6, 4), (6, 4), []),
    ],
)
def test_what_was_broadcast_is_summed_over(shape, smaller, dims):
    assert _summed_over(torch.Size(shape), torch.Size(smaller)) == dims


# Factors, by least squares


@pytest.mark.parametrize(("dims", "shape"), [((), (1, 1)), ((0,), (1, 3)), ((1,), (4, 1)), ((0, 1), (1, 1))])
def test_the_ratio_is_that_along_these_dimensions(dims, shape):
    c, y = 1 + normal(*shape, seed=1) ** 2, normal(4, 3)
    equal(_ratio(c * y, y, dims), c)


def test_the_ratio_is_that_of_least_squares():
    ours = _ratio(of(7.0, 1, 2), of(1.0, 2, 0), ())
    equal(ours, of(9 / 5))


@pytest.mark.parametrize(
    ("y", "dims", "is_one"),
    [
        ([[1, 2, 3], [0, 0, 0]], (), True),
        ([[1, 2, 3], [0, 0, 0]], (1,), True),  # nothing by nothing is any factor
        ([[0, 0, 0], [0, 0, 0]], (1,), False),
        ([[0, 0, 3], [0, 0, 0]], (), True),
        ([[0, 0, 0], [0, 0, 0]], (), False),
        ([[1, 2, 3], [4, 5, 6]], (1,), True),
        ([[1, 2, 3], [4, 0, 6]], (1,), False),
        ([[1, 2, 3, 0], [4, 0, 5, 6]], (1,), True),
        ([[1, 2, 3], [4, 5, 6]], (0,), False),
    ],
)
def test_no_ratio_without_elements_that_show_it(y, dims, is_one):
    y = of(*y)
    assert (_ratio(2 * y, y, dims) is not None) == is_one


def test_a_slice_where_both_are_zero_does_not_count():
    y = of([1, 2, 3], [0, 0, 0])
    equal(_ratio(2 * y, y, (1,)), of([2.0], [1.0]))
    assert _ratio(2 * y + of(0.0, 0, 1e-30), y, (1,)) is None


# Moved

MOVED = {
    (): [],
    (1,): [],
    (3,): ["reversed along dimension 0", "moved by 1 along dimension 0", "moved by -1 along dimension 0"],
    (4, 3): [
        "transposed, and its numbers then read into this shape",
        "reversed along dimension 0",
        "the two halves of dimension 0 are swapped",
        "moved by 1 along dimension 0",
        "moved by -1 along dimension 0",
        "reversed along dimension 1",
        "moved by 1 along dimension 1",
        "moved by -1 along dimension 1",
        "reversed along the last two dimensions",
    ],
    (3, 3): [
        "transposed",
        "transposed, and its numbers then read into this shape",
        "not symmetric where the gradient is: the mean of it and its transposed is right",
        "reversed along dimension 0",
        "moved by 1 along dimension 0",
        "moved by -1 along dimension 0",
        "reversed along dimension 1",
        "moved by 1 along dimension 1",
        "moved by -1 along dimension 1",
        "reversed along the last two dimensions",
    ],
    (3, 1, 5): [
        "reversed along dimension 0",
        "moved by 1 along dimension 0",
        "moved by -1 along dimension 0",
        "reversed along dimension 2",
        "moved by 1 along dimension 2",
        "moved by -1 along dimension 2",
        "reversed along the last two dimensions",
    ],
    (3, 5, 3): [
        "transposed in dimensions 0 and 2",
        "reversed along dimension 0",
        "moved by 1 along dimension 0",
        "moved by -1 along dimension 0",
        "reversed along dimension 1",
        "moved by 1 along dimension 1",
        "moved by -1 along dimension 1",
        "reversed along dimension 2",
        "moved by 1 along dimension 2",
        "moved by -1 along dimension 2",
        "reversed along the last two dimensions",
    ],
    (2, 3, 3): [
        "not symmetric where the gradient is: the mean of it and its transposed is right",
        "transposed in dimensions 1 and 2",
        "reversed along dimension 0",
        "the two halves of dimension 0 are swapped",
        "moved by 1 along dimension 0",
        "moved by -1 along dimension 0",
        "reversed along dimension 1",
        "moved by 1 along dimension 1",
        "moved by -1 along dimension 1",
        "reversed along dimension 2",
        "moved by 1 along dimension 2",
        "moved by -1 along dimension 2",
        "reversed along the last two dimensions",
    ],
}


@pytest.mark.parametrize("shape", MOVED)
def test_moves_that_the_shape_allows(shape):
    assert causes(_moved(normal(*shape))) == MOVED[shape]


# The gradient, and what was made of it
MOVES = {
    "transposed": (normal(3, 3), lambda o: torch.stack([o[:, 0], o[:, 1], o[:, 2]])),
    "transposed, and its numbers then read into this shape": (
        normal(2, 3),
        lambda o: o[[0, 1, 0, 1, 0, 1], [0, 0, 1, 1, 2, 2]],
    ),
    "transposed in dimensions 0 and 2": (normal(3, 2, 3), lambda o: torch.einsum("ijk->kji", o)),
    "transposed in dimensions 0 and 1": (normal(3, 3, 2), lambda o: torch.einsum("ijk->jik", o)),
    "transposed in dimensions 1 and 2": (normal(2, 3, 3), lambda o: torch.einsum("ijk->ikj", o)),
    "reversed along dimension 0": (normal(3, 2), lambda o: o[[2, 1, 0]]),
    "reversed along dimension 1": (normal(2, 3), lambda o: o[:, [2, 1, 0]]),
    "the two halves of dimension 0 are swapped": (normal(6, 1), lambda o: o[[3, 4, 5, 0, 1, 2]]),
    "the two halves of dimension 1 are swapped": (normal(3, 4), lambda o: o[:, [2, 3, 0, 1]]),
    "moved by 1 along dimension 0": (normal(4, 3), lambda o: o[[3, 0, 1, 2]]),
    "moved by -1 along dimension 0": (normal(4, 3), lambda o: o[[1, 2, 3, 0]]),
    "moved by 1 along dimension 1": (normal(3, 4), lambda o: o[:, [3, 0, 1, 2]]),
    "moved by -1 along dimension 1": (normal(3, 4), lambda o: o[:, [1, 2, 3, 0]]),
    "reversed along the last two dimensions": (normal(2, 3, 4), lambda o: o[:, [2, 1, 0]][..., [3, 2, 1, 0]]),
}


@pytest.mark.parametrize("cause", MOVES)
def test_what_was_moved_is_moved_back(cause):
    o, move = MOVES[cause]
    equal(dict(_moved(move(o).reshape(o.shape)))[cause], o)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 3)])
def test_the_symmetric_part_is_right(shape):
    one, other = normal(*shape), normal(*shape, seed=1)
    o, skew = one + one.mT, other - other.mT
    equal(dict(_moved(o + skew))["not symmetric where the gradient is: the mean of it and its transposed is right"], o)


INSIDE = "moved by {} along dimension{}, with other numbers at the border".format


@pytest.mark.parametrize("by", [1, -1, 2, -2])
@pytest.mark.parametrize("dim", [0, 1, 2])
def test_moved_with_other_numbers_at_the_border(by, dim):
    o = normal(5, 6, 7)
    m = o.roll(by, dim)
    m.narrow(dim, 0 if by > 0 else m.shape[dim] + by, abs(by)).copy_(normal(5, 6, 7, seed=1).narrow(dim, 0, abs(by)))
    ((cause, corrected),) = _moved_inside(m, o, BUDGET)
    assert cause == INSIDE(by, f" {dim}")
    equal(corrected, o)


@pytest.mark.parametrize("by", [1, -1, 2, -2])
def test_moved_along_two_dimensions_with_other_numbers_at_the_border(by):
    o = normal(2, 8, 9)
    m, whole = normal(2, 8, 9, seed=1), normal(2, 8, 9)
    here, there = (slice(by, None), slice(None, -by)) if by > 0 else (slice(None, by), slice(-by, None))
    m[:, here, here] = whole[:, there, there]
    assert causes(_moved_inside(m, o, BUDGET)) == [INSIDE(by, "s 1 and 2")]


def test_what_is_periodic_is_moved_in_both_ways():
    o = normal(2, 6)[[0, 1] * 5]
    assert causes(_moved_inside(o.roll(1, 0), o, BUDGET)) == [INSIDE(by, " 0") for by in (1, -1)]


@pytest.mark.parametrize(
    ("m", "o", "budget", "is_one"),
    [
        (of(9.0, 1, 2, 3, 4, 5), of(1.0, 2, 3, 4, 5, 6), 0.25, True),
        (of(9.0, 1, 2, 3, 4, 5.25), of(1.0, 2, 3, 4, 5, 6), 0.25, True),
        (of(9.0, 1, 2, 3, 4, 5.5), of(1.0, 2, 3, 4, 5, 6), 0.25, False),  # not within the budget
        (of(9.0, 0, 0, 0, 4, 5), of(0.0, 0, 0, 4, 5, 6), 0.25, False),  # of few that are not zero it is by chance
        (of(9.0, 0, 0, 3, 4, 5), of(0.0, 0, 3, 4, 5, 6), 0.25, True),
        (of(9.0, 1, 2), of(1.0, 2, 3), 0.25, False),
        (of(9.0, 1, 2, 3), of(1.0, 2, 3, 4), 0.25, True),
        (of(9.0), of(1.0), 0.25, False),
        (torch.tensor(9.0), torch.tensor(1.0), 0.25, False),
    ],
)
def test_most_is_moved(m, o, budget, is_one):
    assert causes(_moved_inside(m, o, budget)) == [INSIDE(1, " 0")] * is_one


@pytest.mark.parametrize("n", [SMALL, SMALL + 1])
def test_in_large_ones_a_crop_shows_what_is_moved(n):
    o = normal(n)
    assert bool(causes(_moved_inside(o.roll(1), o, BUDGET))) == (n == SMALL)


# What the two values and the sizes tell


def test_plain_hypotheses_in_their_order():
    o = normal(4, 3)
    others = {"x": normal(4, 3, seed=1), "b": normal(3, seed=2)}
    plain = list(_plain(6 * o, o, BUDGET, Alternatives(others, sizes=SIZES)))
    assert causes(plain) == [
        "the sign is flipped",
        "it is the gradient of x",
        "off by the constant factor 6: divide by 6, which is x.shape[0]",
        f"off by the additive constant {5 * o.mean():.6g}",
    ]
    equal(plain[2][1], o)
    m = o.roll(1, 0)
    assert causes(_plain(m, o, BUDGET, Alternatives(others))) == [
        "the sign is flipped",
        "it is the gradient of x",
        f"off by the constant factor {float((m * o).sum() / (o * o).sum()):.6g}",
        *MOVED[4, 3],
        INSIDE(1, " 0"),
        f"off by the additive constant {(m - o).mean():.6g}",
    ]


@pytest.mark.parametrize(("more", "is_moved"), [(0.0, True), (3.5, True), (-3.5, True), (4.5, False), (-4.5, False)])
def test_what_is_moved_has_the_same_sum(more, is_moved):
    """Within the budget of each of its four numbers."""
    o = of(10.0, 20, 30, 45)
    m = of(45.0 + more, 10, 20, 30)
    found = causes(_plain(m, o, 1.0, Alternatives()))
    assert ("moved by 1 along dimension 0" in found) == is_moved
    assert INSIDE(1, " 0") in found


@pytest.mark.parametrize(("more", "is_moved"), [(1e-4, True), (1e-2, False)])
def test_the_sum_of_large_numbers_has_a_rounding_of_its_own(more, is_moved):
    found = causes(_plain(of(1e9, 3, 1, 2 + more), of(3.0, 1, 2, 1e9), BUDGET, Alternatives()))
    assert ("moved by 1 along dimension 0" in found) == is_moved


@pytest.mark.parametrize(
    ("g", "m", "is_one"),
    [
        (of(4.0), RIGHT / 4, True),
        (torch.tensor(4.0), RIGHT / 4, True),
        (torch.tensor(0.25), 4 * RIGHT[0, 0], True),
        (of(4.0), 4 * RIGHT, False),
        (of(4.0), RIGHT / 4.00001, False),
        (of(4.0, 4), RIGHT / 4, False),  # one for all of them
        (None, RIGHT / 4, False),
    ],
)
def test_grad_out_of_one_number_is_ignored(g, m, is_one):
    o = RIGHT if m.dim() else RIGHT[0, 0]
    found = list(_plain(m, o, BUDGET, Alternatives(terms={} if g is None else {"grad_out": g}, sizes={"n": 4})))
    said = "grad_out is ignored, as if it were 1"
    assert causes(found)[: 1 + is_one] == ["the sign is flipped", said][: 1 + is_one]
    assert (said in causes(found)) == is_one
    if is_one:
        equal(found[1][1], o)


@pytest.mark.parametrize(
    ("m", "sizes", "said"),
    [
        (of(6.0), SIZES, ["off by the constant factor 6: divide by 6, which is x.shape[0]"]),
        (torch.tensor(1 / 6, dtype=torch.float64), SIZES, [
            "off by the constant factor 1/6: multiply by 6, which is x.shape[0]"
        ]),
        (of(5.0), SIZES, []),
        (of(6.0), {}, []),
        (of(1 + 1e-7), {}, []),
        (of(5.0, 5), {}, ["off by the constant factor 5"]),
    ],
)  # fmt: skip
def test_a_factor_of_one_number_is_told_where_it_is_known(m, sizes, said):
    assert causes(_plain(m, torch.ones_like(m), BUDGET, Alternatives(sizes=sizes))) == ["the sign is flipped", *said]


@pytest.mark.parametrize(("budget", "is_known"), [(1e-6, False), (4e-5, False), (6e-5, True), (1e-2, True)])
def test_a_factor_is_known_as_the_value_is(budget, is_known):
    """Up to twice the budget, of the largest of its numbers."""
    o, m = of(1.0, -2, 0.5), 6.0003 * of(1.0, -2, 0.5)
    found = [text for text in causes(_plain(m, o, budget, Alternatives(sizes=SIZES))) if "factor" in text]
    assert len(found) == 1
    assert ("divide by 6, which is x.shape[0]" in found[0]) == is_known


def test_a_result_is_not_the_gradient_of_another():
    alternatives = Alternatives({"x": normal(4, 3, seed=1)}, is_value=True)
    assert not [cause for cause in causes(_plain(2 * RIGHT, RIGHT, BUDGET, alternatives)) if "gradient of" in cause]


def test_plain_hypotheses_correct_what_they_name():
    o, other = normal(4, 3), normal(4, 3, seed=1)
    equal(dict(_plain(-o, o, BUDGET, Alternatives()))["the sign is flipped"], o)
    equal(dict(_plain(other, o, BUDGET, Alternatives({"x": other})))["it is the gradient of x"], o)
    of_another = dict(_plain(o + 1, o, BUDGET, Alternatives({"x": other})))["it is the gradient of x"]
    equal(of_another, 2 * o + 1 - other)
    equal(dict(_plain(o + 0.25, o, BUDGET, Alternatives()))["off by the additive constant 0.25"], o)


def test_zero_is_no_factor():
    o = normal(4, 3)
    plain = list(_plain(0 * o, o, BUDGET, Alternatives()))
    constant = f"off by the additive constant {-o.mean():.6g}"
    assert causes(plain) == ["the sign is flipped", "zero where a gradient is due", constant]
    equal(plain[1][1], o)


@pytest.mark.parametrize(
    ("m", "o", "expected"),
    [
        (of(2.0), of(1.0), ["the sign is flipped"]),
        (of(2.0, 4), of(1.0, 2), ["the sign is flipped", "off by the constant factor 2"]),
        (of(2.0, 4), of(0.25, -0.5), ["the sign is flipped"]),  # within the budget, which is no gradient to speak of
        (of(2.0, 4), of(0.5, 1), ["the sign is flipped", "off by the constant factor 4"]),
    ],
)
def test_few_numbers_show_little(m, o, expected):
    assert causes(_plain(m, o, 0.5, Alternatives())) == expected


# What the forward tells


def test_other_axes():
    unsummed = normal(3, 3, 4)
    found = dict(_other_axes(unsummed, unsummed.sum(1, keepdim=True)))
    assert "summed over the wrong axis: over dimension 2 in place of 1" not in found
    equal(found["summed over the wrong axis: over dimension 0 in place of 1"], unsummed.sum(0).view(3, 1, 4))
    unsummed = normal(2, 3, 3)
    found = dict(_other_axes(unsummed, unsummed.sum((0, 1))))
    assert "summed over the wrong axis: over dimension 1, 2 in place of 0, 1" not in found
    equal(found["summed over the wrong axis: over dimension 0, 2 in place of 0, 1"], unsummed.sum((0, 2)))


A, B, C = (normal(4, 3, seed=seed) for seed in (10, 11, 12))


@pytest.mark.parametrize(
    ("mistake", "said"),
    [
        (-A, "is left out"),
        (-2 * A, "has the wrong sign"),
        (2 * A, "is off by the factor 3"),
        (-0.25 * A, "is off by the factor 3/4"),
        (-4 * A, "is off by the factor -3"),
    ],
)
def test_what_comes_back_through_an_operation(mistake, said):
    o = normal(4, 3)
    ((cause, corrected),) = _by_operation(o + mistake, o, BUDGET, {"tanh (line 3)": A})
    assert cause == f"the gradient through tanh (line 3) {said}"
    equal(corrected, o)


def test_what_comes_back_through_an_operation_is_taken_by_least_squares():
    o, x, y = of(0.0, 0.0), of(1.0, 2.0), of(1.0, 1.0)
    ((cause, corrected),) = _by_operation(x, o, BUDGET, {"+": y})
    assert cause == "the gradient through + is off by the factor 5/2"
    equal(corrected, of(-0.5, 0.5))


def test_what_is_not_felt_is_no_cause():
    o, some = of(1.0, 2, 3), of(0.25, 0.75, 0.1)
    shares = {"a": of(0.5, 0.5, -0.5), "b": some, "c": -some}
    by_one, by_two = _by_operation(o - some, o, 0.5, shares), _by_two_operations(o, o, 0.5, Alternatives(shares=shares))
    assert causes(by_one) == [
        "the gradient through b is left out",
        "the gradient through c is off by the factor 2",
    ]
    assert causes(by_two) == ["the gradient through b and through c is left out"]


def test_one_number_shows_no_factor():
    shares = {"a": of(3.0), "b": of(2.0), "c": of(1.0)}
    found = list(_by_operation(of(5.0), of(7.0), BUDGET, shares))
    assert causes(found) == ["the gradient through b is left out", "the gradient through c has the wrong sign"]


def test_what_comes_back_through_two_operations():
    o = normal(4, 3)
    shares = {"a": A, "b": B, "0": 0 * A, "c": C}
    found = dict(_by_two_operations(o - A - C, o, BUDGET, Alternatives(shares=shares)))
    assert list(found) == [
        f"the gradient through {one} and through {two} is left out" for one, two in ("ab", "ac", "bc")
    ]
    equal(found["the gradient through a and through c is left out"], o)


# Factors and derivatives

EVERYWHERE = torch.ones(4, 3, dtype=torch.bool)


def texts(name: str) -> list[str]:
    """The functions of this name, in words."""
    return list(functions(name, of(1.0)))


def test_a_factor_of_each_element():
    o, x = normal(4, 3), normal(4, 3, seed=1)
    terms = {"x": x, "b": normal(3, seed=2), "w": 2 * x}
    found = _by_factor(o * x, o, at((4, 3), (0, 0), (1, 1), (2, 2)), terms)
    assert causes(found) == [
        f"the factor {text} is {how}"
        for text in texts("x") + texts("w")
        for how in ("left out", "there once too often")
    ]
    equal(dict(_by_factor(o / (1 + x * x), o, EVERYWHERE, terms))["the factor 1 + x² is left out"], o)
    equal(dict(_by_factor(o * x.exp(), o, EVERYWHERE, terms))["the factor e^x is there once too often"], o)


@pytest.mark.parametrize(("o", "count"), [(of(1.0, 2, 3, 4), 3), (of(1.0, 2, 0, 4), 2)])
def test_a_factor_of_each_element_takes_three_to_show(o, count):
    wrong, terms = torch.tensor([True, True, True, False]), {"x": of(2.0, 3, 4, 5)}
    assert bool(causes(_by_factor(o + 1, o, wrong, terms))) == (count >= 3)


def test_a_factor_of_zero_hides_what_it_is_multiplied_by():
    o, x = of(1.0, 2, 3, 4), of(0.0, 2, -1, 0.5)
    wrong = torch.ones(4, dtype=torch.bool)
    cause = "the factor x is there once too often"
    equal(dict(_by_factor(o * x, o, wrong, {"x": x}))[cause], o)
    seen = dict(_by_factor(of(7.0, 4, 0, 2), o, wrong, {"x": x}))[cause]
    equal(seen, of(INF, 2, -0.0, 4))


# The shape of the gradient, and grad_out, as it is and as it is multiplied by
GRADS = {
    "of the shape": ((4, 3), normal(4, 3, seed=2), normal(4, 3, seed=2)),
    "of a sum": ((4, 3), normal(4, seed=2), normal(4, 1, seed=2)),
    "of sums": ((2, 4, 3), normal(2, 4, seed=2), normal(2, 4, 1, seed=2)),
}


@pytest.mark.parametrize("g", GRADS)
def test_another_derivative(g):
    shape, g, broadcast = GRADS[g]
    x = normal(*shape, seed=1)
    terms = {"grad_out·x": x, "x": x, "b": normal(3), "grad_out": g, "y": x + 1}
    found = list(_other_derivatives(normal(*shape), terms))
    assert causes(found) == [f"as if the derivative were {text}" for text in texts("x") + texts("y")]
    equal(dict(found)["as if the derivative were x"], broadcast * x)
    equal(dict(found)["as if the derivative were 1 − y²"], broadcast * (1 - (x + 1) ** 2))


@pytest.mark.parametrize(
    ("m", "g", "is_one"),
    [
        (normal(3), normal(3), True),
        (normal(2), normal(2), False),  # two numbers are explained by too much
        (normal(4, 3), None, False),
        (normal(4, 3), normal(3), False),
        (normal(4, 3), normal(), False),
        (normal(2, 4, 3), normal(2), False),
    ],
)
def test_another_derivative_is_that_of_grad_out(m, g, is_one):
    terms = {"x": m + 1} | ({} if g is None else {"grad_out": g})
    assert bool(causes(_other_derivatives(m, terms))) == is_one


@pytest.mark.parametrize("g", GRADS)
@pytest.mark.parametrize(
    ("factor", "constant", "text"),
    [
        (0.37, -2.0, "0.37·tanh(x) − 2"),
        (-0.5, 0.3, "-1/2·tanh(x) + 3/10"),
        (2.5, 0.125, "5/2·tanh(x) + 1/8"),
        (1.0, 0.125, "tanh(x) + 1/8"),
    ],
)
def test_another_derivative_with_two_numbers(g, factor, constant, text):
    shape, g, broadcast = GRADS[g]
    x = normal(*shape, seed=1)
    derivative = broadcast * (factor * x.tanh() + constant)
    m = torch.where(ROW, normal(*shape), derivative)
    found = dict(_fitted_derivatives(m, ~ROW.expand(shape), {"x": x, "grad_out": g}))
    assert len(found) == len(texts("x"))
    equal(found[f"as if the derivative were {text}"], derivative)


@pytest.mark.parametrize(("count", "is_one"), [(4, False), (5, True)])
def test_two_numbers_take_five_to_show(count, is_one):
    wrong = torch.arange(6) < count
    terms = {"x": normal(6, seed=1), "grad_out": normal(6, seed=2)}
    assert bool(causes(_fitted_derivatives(normal(6), wrong, terms))) == is_one


def test_what_is_infinite_is_not_fitted():
    x = of(0.0, 1, 2, 3, 4, 5)
    terms = {"x": x, "grad_out": normal(6, seed=2)}
    said = causes(_fitted_derivatives(normal(6), torch.ones(6, dtype=torch.bool), terms))
    assert len(said) == len(texts("x")) - 1
    assert not any("·1/x " in text for text in said)


# Numbers of the forward


def asked(right: float, value, m: Tensor, o: Tensor) -> tuple[list[float], list[tuple[str, Tensor]]]:
    """The numbers that are tried for one, and what is said of them."""
    numbers: list[float] = []

    def recorded(c: float) -> Tensor | None:
        numbers.append(c)
        return value(c)

    found = list(_by_number(m, o, [("as if it were {}", right, recorded)]))
    return numbers, found


T = normal(4, 3, seed=20)


@pytest.mark.parametrize(
    ("right", "likely", "said"),
    [
        (4.0, [0, -4, 40, 0.4, 8, 2, 5, 3, 0.25, 16, 2], "0 -4 40 2/5 8 2 5 3 1/4 16 2"),
        (-9.0, [0, 9, -90, -0.9, -18, -4.5, -8, -10, -1 / 9, 81, 3], "0 9 -90 -9/10 -18 -9/2 -8 -10 -1/9 81 3"),
        (0.125, [0, -0.125, 1.25, 0.0125, 0.25, 0.0625, 1.125, -0.875, 8, 1 / 64, 0.125**0.5],
         "0 -1/8 5/4 1/80 1/4 1/16 9/8 -7/8 8 1/64 0.353553"),
    ],
)  # fmt: skip
def test_likely_numbers_first(right, likely, said):
    o = right * T[0, 0].reshape(())
    numbers, found = asked(right, lambda c: c * T[0, 0], o, o)
    assert numbers == pytest.approx(likely)  # and no more: one number is explained by any
    assert causes(found) == [f"as if it were {text}" for text in said.split()]
    o = right * T
    for c, (_, corrected) in zip(likely, asked(right, lambda c: c * T, 7 * T, o)[1][:11], strict=True):
        equal(corrected, (right + 7 - c) * T)


def test_for_zero_one_is_likely():
    numbers, _ = asked(0.0, lambda c: c * T, 7 * T, 0 * T)
    sought = numbers.index(1e-3)
    assert set(numbers[:sought]) == {1, -1}
    assert numbers[sought + 1] == pytest.approx(7)


def test_a_number_is_found():
    o, m = (4 * T).exp(), (4.321 * T).exp()
    numbers, found = asked(4.0, lambda c: (c * T).exp(), m, o)
    assert numbers[11] == pytest.approx(4.04)
    assert found[11][0] == "as if it were 4.04"
    equal(found[11][1], o + m - (4.04 * T).exp())
    cause, corrected = found[-1]
    assert cause == "as if it were 4.321"
    equal(corrected, o)


def test_newton_s_method_goes_along_the_secant():
    """Of c² from 2 over 2.02 to 3, for each element alike; then c is where the secant is at 9."""
    numbers, found = asked(2.0, lambda c: c**2 * of(1.0, 2), of(9.0, 18), of(4.0, 8))
    before, at = 2.0, 2.02
    for c in numbers[11:]:
        assert c == pytest.approx(at, abs=1e-12)
        before, at = at, at + (9 - at**2) / (at + before)
    assert causes(found)[-1] == "as if it were 3"
    equal(found[-1][1], of(4.0, 8))


def test_a_number_that_is_not_found_is_sought_eight_times():
    numbers, found = asked(1.0, lambda c: math.copysign(abs(c) ** (1 / 3), c) * of(1.0, 2), of(0.0, 0), of(1.0, 2))
    assert len(numbers) == len(found) == 8 + 8  # of the eleven that are likely for 1 three are 1


@pytest.mark.parametrize(
    ("right", "c", "text"),
    [
        (2.0, 2.3456789, "2.34568"),
        (0.001, 0.0010000001, "0.0010000001"),
        (1e-5, 1.1e-5, "1.1e-05"),
        (2.0, 2 + 2**-30, "2.000000001"),
    ],
)
def test_a_number_is_said_in_as_many_digits_as_tell_it_from_the_right_one(right, c, text):
    _, found = asked(right, lambda c: c * of(1.0, 2), c * of(1.0, 2), right * of(1.0, 2))
    assert causes(found)[-1] == f"as if it were {text}"


@pytest.mark.parametrize("right", [1.0, 2.0, -1.0, 0.5])
def test_a_number_is_not_taken_for_itself(right):
    numbers, _ = asked(right, lambda c: c * T, 7 * T, right * T)
    assert right not in numbers


def test_a_number_that_is_found_is_sought_no_more():
    numbers, _ = asked(4.0, lambda c: c * of(1.0, 2), of(8.0, 16), of(4.0, 8))
    assert numbers[11:13] == pytest.approx([4.04, 8])
    assert len(numbers) < 11 + 8


@pytest.mark.parametrize(
    "value",
    [
        lambda c: None if c == 4.04 else c * T,
        lambda c: 4 * T if c == 4.04 else c * T,
        lambda c: c * T.clone().fill_(INF) if c == 4.04 else c * T,
    ],
)
def test_a_number_without_effect_is_sought_no_more(value):
    numbers, found = asked(4.0, value, 7 * T, 4 * T)
    assert len(numbers) == 12
    assert len(found) == 11


@pytest.mark.parametrize("value", [lambda c: of(4.0, 8), lambda c: c * of(1.0, 2), lambda c: None])
def test_one_number_is_sought_after_the_other(value):
    families = [("one is {}", 4.0, value), ("the other is {}", 5.0, lambda c: c * of(0.8, 1.6))]
    assert causes(_by_number(of(8.0, 16), of(4.0, 8), families))[-1] == "the other is 10"


def test_a_number_that_cannot_be_is_passed_over():
    _, found = asked(4.0, lambda c: None if c <= 0 else c * T, 7 * T, 4 * T)
    assert causes(found)[:3] == ["as if it were 40", "as if it were 2/5", "as if it were 8"]
    assert causes(found)[-1] == "as if it were 7"


# In part


def test_zero_in_part():
    found = list(_in_part(torch.where(ROW, 0, RIGHT), RIGHT, ROW))
    assert causes(found) == [
        f"zero where a gradient is due, {SLICE}",
        f"zero where a gradient is due, and not zero where none is, {SLICE}",
        f"off by the additive constant {-RIGHT[1].mean():.6g}, {SLICE}",
    ]
    equal(found[0][1], RIGHT)


def test_not_zero_in_part():
    o = torch.where(ROW, 0, RIGHT)
    found = list(_in_part(RIGHT, o, ROW))
    assert causes(found) == [
        f"not zero where the gradient is zero, {SLICE}",
        f"zero where a gradient is due, and not zero where none is, {SLICE}",
        f"off by the additive constant {RIGHT[1].mean():.6g}, {SLICE}",
    ]
    equal(found[0][1], o)


def test_zero_and_not_zero_in_part():
    m, o = of(1.0, 0, 3, 4), of(0.0, 2, 3, 4)
    found = list(_in_part(m, o, torch.tensor([True, True, False, False])))
    assert causes(found) == [
        "zero where a gradient is due, and not zero where none is, at 2 of 4 elements",
        "off by the additive constant -0.5, at 2 of 4 elements",
    ]
    equal(found[0][1], o)


def test_a_factor_or_a_constant_in_part():
    text = "at 3 of 12 elements"
    found = list(_in_part(torch.where(SOME, 2.5 * RIGHT, RIGHT + 1e-12), RIGHT, SOME))
    mean = 1.5 * RIGHT[SOME].mean()
    assert causes(found) == [f"off by the factor 5/2, {text}", f"off by the additive constant {mean:.6g}, {text}"]
    equal(found[0][1], torch.where(SOME, RIGHT, RIGHT + 1e-12))
    found = dict(_in_part(torch.where(SOME, RIGHT + 0.375, RIGHT), RIGHT, SOME))
    equal(found[f"off by the additive constant 0.375, {text}"], RIGHT)


TRIANGLE = "it has the {} triangle where the gradient has the {} one".format


@pytest.mark.parametrize(("batch", "rows"), [((), 3), ((2,), 3), ((), 4)])
@pytest.mark.parametrize(("one", "other"), [("upper", "lower"), ("lower", "upper")])
def test_the_other_triangle(batch, rows, one, other):
    """The diagonal is right, or wrong as the rest is: then it is no triangle."""
    kept = {"upper": Tensor.triu, "lower": Tensor.tril}
    full = normal(*batch, rows, 3)
    m, o = kept[one](full), kept[other](normal(*batch, rows, 3, seed=1))
    diagonal = torch.eye(rows, 3, dtype=torch.bool)
    o = torch.where(diagonal, m, o)
    found = dict(_in_part(m, o, (m - o).abs() > BUDGET))
    assert [text for text in found if "triangle" in text] == [TRIANGLE(one, other)]
    equal(found[TRIANGLE(one, other)], o)
    o = torch.where(diagonal, m + 1, o)
    assert TRIANGLE(one, other) not in dict(_in_part(m, o, (m - o).abs() > BUDGET))


@pytest.mark.parametrize(("m", "o"), [(of([1.0, 0], [0, 1]), of([1.0, 0], [2, 1])), (of(1.0, 2, 0), of(0.0, 2, 3))])
def test_no_triangle(m, o):
    assert not [text for text in causes(_in_part(m, o, (m - o).abs() > BUDGET)) if "triangle" in text]


@pytest.mark.parametrize(("count", "is_one"), [(1, False), (2, True), (3, True), (4, False)])
def test_in_part_is_more_than_one_and_not_all(count, is_one):
    wrong, o = torch.arange(4) < count, of(1.0, 2, 3, 4)
    found = causes(_in_part(torch.where(wrong, 3 * o, o), o, wrong))
    part = f"at {count} of 4 elements"
    assert found == ([f"off by the factor 3, {part}", f"off by the additive constant {count + 1}, {part}"] * is_one)


# Slice by slice


def test_slice_by_slice():
    m, o, x = normal(4, 3, seed=1), normal(4, 3), normal(4, 3, seed=2)
    found = list(_slice_by_slice(m, o, {"x": x, "b": normal(3), "y": x + 1}))
    rows, columns = (m * o).sum(1) / (o * o).sum(1), (m * o).sum(0) / (o * o).sum(0)
    by_row, by_column = (f"from {float(c.min()):.6g} to {float(c.max()):.6g}" for c in (rows, columns))
    ways = [
        ("in each slice of dimension 0", by_row),
        ("in each row along dimension 0", by_column),
        ("in each slice of dimension 1", by_column),
        ("in each row along dimension 1", by_row),
    ]
    d = m - o
    multiples = [float((d * t).sum() / (t * t).sum()) for t in (x, x + 1)]
    assert causes(found) == [
        text
        for way, between in ways
        for text in (
            f"off by another factor {way}, {between}",
            f"off by another constant {way}",
            f"off by a multiple of x, {way}",
            f"off by a multiple of y, {way}",
        )
    ] + [f"off by {_short(multiple)} times {name}" for multiple, name in zip(multiples, "xy", strict=True)]


@pytest.mark.parametrize(
    ("way", "shape"),
    [
        ("in each slice of dimension 0", (4, 1)),
        ("in each row along dimension 0", (1, 3)),
        ("in each slice of dimension 1", (1, 3)),
        ("in each row along dimension 1", (4, 1)),
    ],
)
def test_what_each_slice_has_of_its_own_is_taken_from_it(way, shape):
    o, x = normal(4, 3), normal(4, 3, seed=2)
    c = 1.5 + torch.arange(math.prod(shape), dtype=torch.float64).view(shape)
    between = f"from 1.5 to {c.max():.6g}"
    equal(dict(_slice_by_slice(c * o, o, {}))[f"off by another factor {way}, {between}"], o)
    equal(dict(_slice_by_slice(c + o, o, {}))[f"off by another constant {way}"], o)
    equal(dict(_slice_by_slice(c * x + o, o, {"x": x}))[f"off by a multiple of x, {way}"], o)


def test_a_multiple_of_a_term():
    o, x = normal(4, 3), normal(4, 3, seed=2)
    equal(dict(_slice_by_slice(o - 1.5 * x, o, {"x": x}))["off by -3/2 times x"], o)


def test_a_slice_of_three_dimensions():
    o = normal(2, 3, 4)
    c = of(2.0, 3, 4).view(3, 1)
    found = dict(_slice_by_slice(c * o, o, {}))
    equal(found["off by another factor in each slice of dimension 1, from 2 to 4"], o)


@pytest.mark.parametrize(
    ("shape", "ways"),
    [
        ((), []),
        ((2,), []),
        ((3,), ["in each row along dimension 0"]),
        ((2, 4), ["in each slice of dimension 0", "in each row along dimension 1"]),
        ((2, 1, 3), ["in each slice of dimension 0", "in each slice of dimension 1", "in each row along dimension 2"]),
    ],
)
def test_less_than_three_in_a_slice_show_nothing_of_its_own(shape, ways):
    m, o = normal(*shape, seed=1), normal(*shape)
    found = causes(_slice_by_slice(m, o, {}))
    assert [text for text in found if "constant" in text] == [f"off by another constant {way}" for way in ways]
    assert [text.partition(",")[0] for text in found if "factor" in text] == [
        f"off by another factor {way}" for way in ways
    ]
    multiples = causes(_slice_by_slice(m, o, {"x": o}))
    assert any(" times x" in text for text in multiples) == (m.numel() >= 3)


def test_what_is_zero_has_no_factor_of_its_own():
    m, o = normal(4, 3, seed=1), normal(4, 3)
    m[2] = 0
    assert [text.partition(",")[0] for text in causes(_slice_by_slice(m, o, {})) if "factor" in text] == [
        "off by another factor in each row along dimension 0",
        "off by another factor in each slice of dimension 1",
    ]
    o[0] = 0
    zero = causes(_slice_by_slice(m, o, {"x": torch.zeros(4, 3)}))
    assert not any("multiple of x" in text or "times x" in text for text in zero)
    assert sum("another constant" in text for text in zero) == 4


def test_a_slice_that_is_zero_on_both_sides_has_no_factor():
    """It is as right under one as under another, and none is said of it."""
    o = normal(4, 3)
    o[2] = 0
    found = dict(_slice_by_slice(of(2.0, 3, 4, 5).view(4, 1) * o, o, {}))
    equal(found["off by another factor in each slice of dimension 0, from 2 to 5"], o)


# All of them, in their order


def test_deep_hypotheses_in_their_order():
    kinds = (
        "right", "mistaken", "slip", "substituted", "a", "b", "x", "grad_out", "number", "input", "replaced",
        "left out", "bent",
    )  # fmt: skip
    some = {kind: normal(4, 6, seed=seed) for seed, kind in enumerate(kinds)}
    o, unsummed = some["right"], normal(4, 4, 6, seed=30)
    row = torch.zeros(4, 6, dtype=torch.bool)
    row[1] = True
    m = torch.where(row, some["mistaken"], o)
    alternatives = Alternatives(
        terms={name: some[name] for name in ("x", "grad_out")},
        unsummed=unsummed,
        mistaken=[("mistaken", some["mistaken"])],
        shares={name: some[name] for name in "ab"},
        slips=[("slip", some["slip"])],
        bent=[("bent", some["bent"])],
        inputs=[("input", some["input"])],
        families=[("as if it were {}", 4.0, lambda c: c * some["number"])],
        substituted=[("substituted", some["substituted"])],
        replaced=[("replaced", some["replaced"])],
        left_out=[("left out", some["left out"])],
    )
    found = causes(_deep(m, o, BUDGET, alternatives))
    order = [
        "mistaken",
        "summed over the wrong axis: over dimension 1 in place of 0",
        "the gradient through a is",
        "the gradient through b is",
        "slip",
        "substituted",
        "bent",
        "input",
        "the gradient through a and through b is left out",
        "the factor x is left out",
        "as if the derivative were x",
        "replaced",
        "as if it were 0",
        "left out",
        f"as if the derivative were {fitted(m, some['grad_out'], some['x'], row)}",
        f"mistaken, {SLICE}",
        "off by the factor",
        "off by the additive constant",
        "off by another factor in each slice of dimension 0",
        f"wrong {SLICE}, right everywhere else",
    ]
    places = [[text.startswith(words) for text in found].index(True) for words in order]
    assert places == sorted(set(places))
    assert (places[0], places[-1]) == (0, len(found) - 1)


def fitted(m: Tensor, g: Tensor, x: Tensor, wrong: Tensor) -> str:
    """The two numbers of c g x + d g, by the normal equations."""
    m, u, v = m[wrong], (g * x)[wrong], g[wrong]
    c, d = torch.linalg.solve(
        torch.stack([torch.stack([u @ u, u @ v]), torch.stack([u @ v, v @ v])]), torch.stack([u @ m, v @ m])
    ).tolist()
    return f"{_short(c)}·x {'−' if d < 0 else '+'} {_short(abs(d))}"


MISTAKES = ("mistaken", "slips", "substituted", "bent", "inputs", "replaced", "left_out")


@pytest.mark.parametrize("kind", MISTAKES)
def test_what_the_value_would_be_under_a_mistake(kind):
    value = normal(4, 3, seed=1)
    alternatives = Alternatives(**{kind: [("of another shape", value[0]), ("so", value)]})
    found = list(_deep(value, RIGHT, BUDGET, alternatives))
    assert "of another shape" not in causes(found)
    equal(dict(found)["so"], RIGHT)
    equal(dict(_deep(RIGHT + 1, RIGHT, BUDGET, Alternatives(**{kind: [("so", value)]})))["so"], 2 * RIGHT + 1 - value)


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_that_explains_what_is_wrong_is_named_with_its_place(kind):
    value, alternatives = (
        normal(4, 3, seed=1),
        {kind: [("so", normal(4, 3, seed=2)), ("otherwise", normal(4, 3, seed=1))]},
    )
    found = list(_deep(torch.where(ROW, value, RIGHT), RIGHT, BUDGET, Alternatives(**alternatives)))
    said = causes(found)
    assert f"so, {SLICE}" not in said
    equal(dict(found)[f"otherwise, {SLICE}"], RIGHT)
    assert (
        said.index("otherwise")
        < said.index(f"otherwise, {SLICE}")
        < said.index("off by another constant in each slice of dimension 0")
    )


@pytest.mark.parametrize(
    ("value", "m", "is_one"),
    [
        (of(7.0, 8, 9, 9), of(7.0, 8, 3, 4), True),
        (of(7.0, 8, 9, 9), of(7.0, 2, 3, 4), False),  # one element is explained by too much,
        (of(7.0, 0, 9, 9), of(7.0, 0, 3, 4), False),  # and so is a zero
        (of(7.0, 0, 8, 9), of(7.0, 0, 8, 4), True),
        (of(7.5, 7.5, 9, 9), of(7.0, 8, 3, 4), True),
        (of(7.0, 8.75, 9, 9), of(7.0, 8, 3, 4), False),
        (of(7.0, 8, 9, 9), of(7.0, 8, 3.5, 4), True),  # 3.5 is right, within the budget
    ],
)
def test_a_mistake_in_part_shows_in_two_elements(value, m, is_one):
    o = of(1.0, 2, 3, 4)
    found = dict(_deep(m, o, 0.5, Alternatives(mistaken=[("so", value)])))
    place = f"so, {_where((m - o).abs() > 0.5)}"
    assert (place in found) == is_one
    if is_one:
        equal(found[place], torch.where((m - o).abs() > 0.5, o, m))


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        (at((5, 8), (0, 1), (3, 4)), "at 2 of 40 elements"),
        (at((3, 13), (0, 1), (2, 4)), ""),
        (at((1, 20), (0, 7)), "at [0, 7] alone"),
        (at((1, 2), (0, 1)), "at [0, 1] alone"),
        (ROW, SLICE),
        (SOME, ""),
    ],
)
def test_little_that_is_wrong_is_named_by_its_place(wrong, where):
    o = normal(*wrong.shape)
    found = list(_deep(torch.where(wrong, o**2 + 7, o + 1e-12), o, BUDGET, Alternatives()))
    said = [text for text in causes(found) if text.endswith("right everywhere else")]
    assert said == ([f"wrong {where}, right everywhere else"] if where else [])
    if where:
        equal(found[-1][1], torch.where(wrong, o, o + 1e-12))


# The diagnosis


def shown(m: Tensor, o: Tensor, *place: int) -> str:
    """The second line, for numbers that differ early."""
    return f"worst at {list(place)}: got {m[place]:.6g}, expected {o[place]:.6g}"


X, G = normal(4, 3, seed=41), normal(4, 3, seed=42)

# The value, what is known beside it, and the first line
DIAGNOSES = {
    "sign": (-RIGHT, Alternatives(), "the sign is flipped"),
    "zero": (0 * RIGHT, Alternatives(), "zero where a gradient is due"),
    "swapped": (X, Alternatives({"b": X[0], "x": X}), "it is the gradient of x"),
    "factor": (0.3 * RIGHT, Alternatives(), "off by the constant factor 3/10"),
    "constant": (RIGHT + 0.25, Alternatives(), "off by the additive constant 0.25"),
    "moved": (RIGHT.roll(1, 0), Alternatives(), "moved by 1 along dimension 0"),
    "mistaken": (X, Alternatives(mistaken=[("another", G), ("so", X), ("as well", X)]), "so"),
    "slip": (X, Alternatives(slips=[("so", X)]), "so"),
    "input": (X, Alternatives(inputs=[("so", X)]), "so"),
    "substituted": (X, Alternatives(substituted=[("so", X)]), "so"),
    "bent": (X, Alternatives(bent=[("so", X)]), "so"),
    "replaced": (X, Alternatives(replaced=[("so", X)]), "so"),
    "without": (X, Alternatives(left_out=[("so", X)]), "so"),
    "border": (
        torch.cat([X[:1], RIGHT[:-1]]),
        Alternatives(),
        "moved by 1 along dimension 0, with other numbers at the border",
    ),
    "ignored": (
        RIGHT / 4,
        Alternatives(terms={"grad_out": of(4.0)}, sizes={"n": 4}),
        "grad_out is ignored, as if it were 1",
    ),
    "likely before": (X, Alternatives(mistaken=[("likely", X)], slips=[("so", X)], substituted=[("too", X)]), "likely"),
    "left out": (RIGHT - X, Alternatives(shares={"tanh": X}), "the gradient through tanh is left out"),
    "two": (
        RIGHT - X - G,
        Alternatives(shares={"+": G, "·": X}),
        "the gradient through + and through · is left out",
    ),
    "factor of each": (RIGHT * X.exp(), Alternatives(terms={"x": X}), "the factor e^x is there once too often"),
    "derivative": (G * X.cos(), Alternatives(terms={"grad_out": G, "x": X}), "as if the derivative were cos(x)"),
    "fitted": (
        G * (0.7 * X.cos() - 1.5),
        Alternatives(terms={"grad_out": G, "x": X}),
        "as if the derivative were 7/10·cos(x) − 3/2",
    ),
    "likely number": (
        (0.3 * X).exp(),
        Alternatives(families=[("as if 3 were {}", 3.0, lambda c: (c * X).exp())]),
        "as if 3 were 3/10",
    ),
    "number": (
        (2.17 * X).exp(),
        Alternatives(families=[("as if 2 were {}", 2.0, lambda c: (c * X).exp())]),
        "as if 2 were 2.17",
    ),
    "in part": (torch.where(ROW, X, RIGHT), Alternatives(mistaken=[("so", X)]), f"so, {SLICE}"),
    "zero in part": (torch.where(SOME, 0, RIGHT), Alternatives(), "zero where a gradient is due, at 3 of 12 elements"),
    "factor in part": (torch.where(ROW, 5 * RIGHT, RIGHT), Alternatives(), f"off by the factor 5, {SLICE}"),
    "constant in part": (
        torch.where(SOME, 5 + RIGHT, RIGHT),
        Alternatives(),
        "off by the additive constant 5, at 3 of 12 elements",
    ),
    "its own": (
        RIGHT * of(2.0, 3, 4, 5).view(4, 1),
        Alternatives(),
        "off by another factor in each slice of dimension 0, from 2 to 5",
    ),
    "row": (torch.where(ROW, X, RIGHT), Alternatives(), f"wrong {SLICE}, right everywhere else"),
    "none": (X, Alternatives(), "unknown cause"),
    "not looked for": (X, Alternatives(untried="give smaller ones"), "unknown cause: give smaller ones"),
    "no time": (
        X,
        Alternatives(skipped=["two at once", "masks", "two at once"]),
        "unknown cause: there was no time for two at once, masks: give smaller inputs",
    ),
    "not looked for, and no time": (
        X,
        Alternatives(untried="take others", skipped=["masks"]),
        "unknown cause: take others: there was no time for masks: give smaller inputs",
    ),
    "looked for": (-RIGHT, Alternatives(untried="give smaller ones", skipped=["masks"]), "the sign is flipped"),
}


@pytest.mark.parametrize("name", DIAGNOSES)
def test_the_diagnosis_is_the_first_hypothesis_that_holds(name):
    m, alternatives, cause = DIAGNOSES[name]
    place = divmod(int((m - RIGHT).abs().argmax()), 3)
    assert diagnose(m, RIGHT, BUDGET, alternatives) == f"{cause}\n{shown(m, RIGHT, *place)}"


SHALLOW = (
    "sign", "zero", "swapped", "factor", "constant", "moved", "border", "ignored", "none", "not looked for", "no time",
    "not looked for, and no time", "looked for",
)  # fmt: skip


@pytest.mark.parametrize("name", DIAGNOSES)
def test_what_takes_more_than_the_values_is_left_to_a_deep_look(name):
    m, alternatives, cause = DIAGNOSES[name]
    assert diagnose(m, RIGHT, BUDGET, alternatives, deep=False).partition("\n")[0] == (
        cause if name in SHALLOW else UNKNOWN
    )


@pytest.mark.parametrize(
    ("m", "o", "cause"),
    [
        (0 * RIGHT, RIGHT, "zero where it is not"),
        (torch.where(SOME, 0, RIGHT), RIGHT, "zero where it is not, at 3 of 12 elements"),
        (RIGHT, torch.where(ROW, 0, RIGHT), f"not zero where it is, {SLICE}"),
        (
            of([1.0, 2, 3], [4, 5, 6], [7, 8, 9]), of([1.0, 3, 5], [3, 5, 7], [5, 7, 9]),
            "not symmetric where it is: the mean of it and its transposed is right",
        ),
    ],
)  # fmt: skip
def test_a_result_is_no_gradient(m, o, cause):
    assert diagnose(m, o, BUDGET, Alternatives(is_value=True)).partition("\n")[0] == cause
    assert diagnose(m, o, BUDGET, Alternatives()).partition("\n")[0] != cause


def test_what_is_near_the_error_is_tried_in_its_place():
    asked = []

    def near(error, wrong, budget):
        asked.append((error, wrong, budget))
        return Alternatives(slips=[("so", X)])

    m, alternatives = torch.where(ROW, X, RIGHT), Alternatives(slips=[("another", X)], near=near)
    assert diagnose(m, RIGHT, BUDGET, alternatives, deep=False).startswith(UNKNOWN)
    assert not asked
    assert diagnose(m, RIGHT, BUDGET, alternatives).startswith(f"so, {SLICE}\n")
    ((error, wrong, budget),) = asked
    equal(error, m - RIGHT)
    assert torch.equal(wrong, ROW)
    assert budget == BUDGET


@pytest.mark.parametrize(
    ("m", "o", "second"),
    [
        (torch.tensor(2.5), torch.tensor(1.25), "got 2.5, expected 1.25"),
        (of(1.0, 2.5), of(1.0, 1), "worst at [1]: got 2.5, expected 1"),
        (of(3.0, 1, -4), of(1.0, 1, 1), "worst at [2]: got -4, expected 1"),
        (of(INF, 2), of(INF, 1), "worst at [1]: got 2, expected 1"),  # what is not judged is not wrong
        (of(math.nan, 2), of(1.0, 1), "worst at [1]: got 2, expected 1"),
    ],
)
def test_the_worst_element_is_shown(m, o, second):
    assert diagnose(m, o, 10.0) == f"{UNKNOWN}\n{second}"


@pytest.mark.parametrize(
    ("m", "o", "budget", "cause"),
    [
        (of(5.0, 6, 8), of(1.0, 2, 4), 0.5, UNKNOWN),  # an error of 8 budgets
        (of(5.0, 6, 8), of(1.0, 2, 4), 0.499, "off by the additive constant 4"),
        (of(-4.5, -3.5, -4.5, -3.5), of(4.0, 4, 4, 4), 0.5, "the sign is flipped"),
        (of(-4.5, -1.5, -3.5, 1), of(5.0, 2, 4, 1), 0.5, UNKNOWN),  # not in all elements
        (of(-4.5, -3.5, -4.5, -3.5), of(4.0, 4, 4, 4), 0.499, UNKNOWN),  # not within the budget
    ],
)
def test_only_a_clear_error_is_explained_and_within_the_budget(m, o, budget, cause):
    assert diagnose(m, o, budget, deep=False).partition("\n")[0] == cause


# The wrong shape

LAYER = normal(5, 4, 3, seed=50)


@pytest.mark.parametrize(
    ("m", "o", "unsummed", "cause"),
    [
        (RIGHT.view(3, 4), RIGHT, None, "the numbers are right, only the shape is not"),
        (RIGHT[0].view(1, 3), RIGHT[0], None, "the numbers are right, only the shape is not"),
        (RIGHT, RIGHT.sum(0), None, "not summed over dimension 0, over which it was broadcast"),
        (RIGHT, RIGHT.sum(1, keepdim=True), None, "not summed over dimension 1, over which it was broadcast"),
        (LAYER, LAYER.sum((0, 1)), None, "not summed over dimensions 0, 1, over which it was broadcast"),
        (LAYER, LAYER.sum((0, 2)).view(4, 1), None, "not summed over dimensions 0, 2, over which it was broadcast"),
        (RIGHT.T, RIGHT, None, "transposed"),
        (LAYER[0].T, LAYER[0] + 1, None, ""),
        (RIGHT.sum(1), RIGHT.sum(0), RIGHT, "summed over the wrong axis: over dimension 1 in place of 0"),
        (RIGHT.sum(0), RIGHT.sum(1, keepdim=True), RIGHT, "summed over the wrong axis: over dimension 0 in place of 1"),
        (
            LAYER.sum((1, 2)), LAYER.sum((0, 1)), LAYER,
            "summed over the wrong axis: over dimension 1, 2 in place of 0, 1",
        ),
        (LAYER.sum(0), LAYER.sum((0, 1)) + 9, LAYER, "summed over the wrong axis: over dimension 0 in place of 0, 1"),
        (LAYER.sum(), LAYER.sum((0, 1)), LAYER, "summed over the wrong axis: over dimension 0, 1, 2 in place of 0, 1"),
        (RIGHT.sum(0), RIGHT, RIGHT, "summed over dimension 0, where nothing is to be summed"),
        (LAYER.sum((0, 2)), LAYER, LAYER, "summed over dimension 0, 2, where nothing is to be summed"),
        (RIGHT.sum(1), RIGHT.sum(0), None, ""),
        (RIGHT.sum(1) + 1, RIGHT.sum(0), RIGHT, ""),
        (normal(2, 7), RIGHT, None, ""),
        (normal(7), RIGHT[0], RIGHT, ""),
        (normal(5, 2, 3, seed=1), normal(5, 3, 2), None, ""),
    ],
)  # fmt: skip
def test_a_wrong_shape(m, o, unsummed, cause):
    assert misshapen(m, o, BUDGET, unsummed) == cause


@pytest.mark.parametrize(
    ("m", "o", "unsummed", "cause"),
    [
        (of([1.0], [2.0]), of(1.5, 2.5), None, "the numbers are right, only the shape is not"),
        (of([1.0, 4], [2.0, 4]), of(3.5, 8.5), None, "not summed over dimension 0, over which it was broadcast"),
        (of([1.0, 4, 5], [2.0, 4, 5]), of([1.5, 2.5], [4, 4], [5, 5]), None, "transposed"),
        (
            of(6.5, 12.5), of(0.0, 0, 0), of([1.0, 2, 3], [3.0, 4, 5]),
            "summed over the wrong axis: over dimension 1 in place of 0",
        ),
    ],
)  # fmt: skip
def test_a_wrong_shape_within_the_budget(m, o, unsummed, cause):
    assert misshapen(m, o, 0.5, unsummed) == cause
    assert misshapen(m, o, 0.49, unsummed) == ""
