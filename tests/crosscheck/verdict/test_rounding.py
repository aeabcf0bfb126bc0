"""What is told apart by moving the inputs: rounding and a formula; and how often autograd's noise is sampled."""

from functools import partial

import pytest
import torch

from crosscheck.cause.diagnosis import Alternatives, Diagnosis
from crosscheck.verdict.judge import judge
from crosscheck.verdict.rounding import Rounding
from crosscheck.verdict.sides import DRAWS, Comparison, Sides

X = torch.linspace(-1, 1, 1001, dtype=torch.float64)  # with a zero in the middle


def of_rounding(manual, dtype, x=X):
    """Whether the error of manual by x itself is called rounding."""
    of = Comparison(lambda x: {"x": manual(x)}, lambda x: {"x": 1 * x}, (x,))
    sides, single = Sides(of, dtype), Sides(of, torch.float32) if dtype == torch.float64 else None
    m, o = sides.manual["x"], sides.oracle["x"]
    return Rounding(sides, single).found("x", m, o, sides.error("x")) is not None


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_rough_is_rounding_and_smooth_is_not(dtype, scale):
    x = scale * X
    assert of_rounding(lambda x: (x.bfloat16()).to(x.dtype), dtype, x)
    assert not of_rounding(lambda x: 1.001 * x, dtype, x)
    assert not of_rounding(lambda x: x + 1e-3 * x.abs().max(), dtype, x)


def calls_of_autograd(dtype, *, surely):
    calls = []

    def autograd(x):
        calls.append(x.dtype)
        return {"x": 1 * x}

    Sides(Comparison(lambda x: {"x": x}, autograd, (X,)), dtype).noise(surely)
    return len(calls)


def test_noise_is_of_one_sample_or_surely_of_several():
    """Each of them in the dtype and in float64; at float64 there is nothing to sample."""
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
