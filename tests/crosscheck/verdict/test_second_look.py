"""What is looked at again: how far the inputs are moved, how often, and what is then called rounding."""

from functools import partial

import pytest
import torch

from crosscheck.cause.diagnosis import Alternatives, Diagnosis
from crosscheck.verdict.judge import judge
from crosscheck.verdict.precision import SMALL, unit_roundoff
from crosscheck.verdict.second_look import COARSEST, FEW_DRAWS, MANY_DRAWS, STEPS, SecondLook
from crosscheck.verdict.sides import DRAWS, Sides

X = torch.linspace(-1, 1, 1001, dtype=torch.float64)  # with a zero in the middle


def look(manual=None, autograd=None, inputs=(X,), dtype=torch.float32):
    return SecondLook(manual, autograd, inputs, dtype, 0)


def steps(draw: int, seed: int = 0) -> torch.Tensor:
    """By how many roundoffs each element is moved."""
    moved = look()._stepped(X, draw, torch.Generator().manual_seed(seed))
    return (moved - X) / unit_roundoff(torch.float32) / torch.where(X == 0, 1.0, X.abs())


def test_all_is_moved_down_then_up_then_as_it_falls():
    down, up, both, again = (steps(draw) for draw in range(4))
    assert down.max() <= 1e-6
    assert up.min() >= -1e-6
    for moved in (down, up, both, again):
        assert 0.98 * STEPS < moved.abs().max() <= STEPS * (1 + 1e-6)
    for moved in (both, again):
        assert moved.min() < -0.98 * STEPS
        assert moved.max() > 0.98 * STEPS
    torch.testing.assert_close(up, -down, rtol=0, atol=1e-6)  # by the same draw
    assert torch.equal(steps(2), both)  # of a generator of its own
    assert not torch.equal(steps(2, seed=1), both)
    assert up[500] != 0  # a zero, by a share of the largest
    index = torch.arange(3)
    assert look()._stepped(index, 0, torch.Generator()) is index


def test_the_inputs_are_moved_three_times():
    calls = []

    def count(x):
        calls.append(x)
        return {"x": x}

    look(count, lambda x: {"x": x})._change("x", torch.zeros(1001).double(), 1e-3, slice(None))
    assert len(calls) == 3
    assert len({x.sum().item() for x in calls}) == 3


@pytest.mark.parametrize(
    ("off", "more", "draws"),
    [(0, 0, FEW_DRAWS), (400, SMALL, MANY_DRAWS), (600, SMALL, FEW_DRAWS), (600, SMALL - 1001, MANY_DRAWS)],
)
def test_where_most_is_right_a_kink_is_looked_for_longer(off, more, draws):
    """And where the inputs are small."""
    calls = []

    def autograd(x, more):
        calls.append(x)
        return {"x": torch.ones_like(x)}

    right = torch.ones_like(X)
    value = torch.where(torch.arange(len(X)) < off, 2.0, right)
    at = look(autograd=autograd, inputs=(X, torch.ones(more))).kinks("x", value, right, 0.5, False)
    assert (at is None) == (off > 0)
    assert len(calls) == 1 + draws  # and that at rest
    assert len({x.sum().item() for x in calls}) == 1 + draws


@pytest.mark.parametrize(("value", "right", "is_kink"), [(1.4, False, False), (1.4, True, True), (1.6, True, False)])
def test_beyond_the_draws_more_is_granted_where_the_formula_is_right(value, right, is_kink):
    """Draws of 0 and 1, as the derivative of a relu at 0."""
    x = torch.zeros(1, dtype=torch.float64)
    seen = look(autograd=lambda x: {"x": (x > 0).double()}, inputs=(x,))
    for sign in (1, -1):
        m = torch.tensor([0.5 + sign * (value - 0.5)], dtype=torch.float64)
        assert (seen.kinks("x", m, x, 1e-9, right) is not None) == is_kink


def of_rounding(manual, dtype, x=X):
    """Whether the error of manual by x itself is called rounding."""
    x = x.to(dtype)
    seen = look(lambda x: {"x": manual(x)}, lambda x: {"x": x}, (x,), dtype)
    exact = x.double()
    return seen.is_rounding("x", manual(x).double() - exact, exact)


def hashed(x: torch.Tensor, size: float) -> torch.Tensor:
    """As rough as rounding, and as large as one likes."""
    return x + size * torch.sin(1e9 * x.double()).to(x.dtype) * x.abs().max()


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_rough_is_rounding_and_smooth_is_not(dtype, scale):
    x = scale * X
    assert of_rounding(lambda x: (x.bfloat16()).to(x.dtype), dtype, x)
    assert not of_rounding(lambda x: 1.001 * x, dtype, x)
    assert not of_rounding(lambda x: x + 1e-3 * x.abs().max(), dtype, x)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_what_is_too_large_is_no_rounding_but_in_bfloat16(scale):
    assert of_rounding(lambda x: hashed(x, COARSEST / 2), torch.float64, scale * X)
    for dtype in (torch.float64, torch.float32, torch.float16):
        assert not of_rounding(lambda x: hashed(x, COARSEST * 2), dtype, scale * X)
    assert of_rounding(lambda x: hashed(x, COARSEST * 2), torch.bfloat16, scale * X)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize(("frequency", "size"), [(30, 0.04), (300, 1e-4)])
def test_what_is_curved_is_smooth_where_the_inputs_move_by_little_enough(frequency, size, scale):
    """By a sixteenth of its argument a sine has changed altogether, by less it has not."""
    x = torch.linspace(0.5, 1.5, 1001, dtype=torch.float64)

    def exact(x):
        return scale * torch.sin(frequency * x)

    seen = look(lambda x: {"x": (1 + size) * exact(x)}, lambda x: {"x": exact(x)}, (x,), torch.float64)
    assert not seen.is_rounding("x", size * exact(x), exact(x))


def calls_of_autograd(dtype: torch.dtype, *, surely: bool) -> int:
    calls = []

    def autograd(x):
        calls.append(x.dtype)
        return {"x": 1 * x}

    Sides(lambda x: {"x": x}, autograd, (X,), dtype, 0, 0).noise(surely)
    return len(calls)


def test_noise_is_of_one_sample_or_surely_of_several():
    """Each of them in the dtype of the dtype and in float64; at float64 there is nothing to sample."""
    assert calls_of_autograd(torch.float32, surely=False) == 2
    assert calls_of_autograd(torch.float32, surely=True) == 2 * DRAWS
    assert calls_of_autograd(torch.float64, surely=False) == 1
    assert calls_of_autograd(torch.float64, surely=True) == 1


def test_what_has_no_difference_differs_in_nothing():
    for value in (3.0, torch.ones(1), None):
        report = judge(
            lambda x, value=value: {"x": value}, lambda x: {"x": x}, (torch.ones(3),), dtypes=[torch.float32]
        )
        assert (report.ok, report.repeats) == (False, "gives the same")


def test_swapped_names_are_told():
    def others(deep, x, y):
        return {"a": Alternatives(others={"b": y}), "b": Alternatives(others={"a": x})}

    report = judge(
        lambda x, y: {"a": y, "b": x}, lambda x, y: {"a": x, "b": y}, (X, X**2 + 1), dtypes=[torch.float64],
        explained=partial(Diagnosis, others),
    )  # fmt: skip
    assert [row.diagnosis.partition("\n")[0] for row in report.rows] == [
        "it is the gradient of b", "it is the gradient of a"
    ]  # fmt: skip
