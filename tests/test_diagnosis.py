"""Causes: each is named where it is the cause, with a correction that was tried, and no other is."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reference import crosscheck
from reference.diagnosis import UNKNOWN, diagnose


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(x):
    e = torch.exp(x - x.max(-1, keepdim=True).values)
    return e / e.sum(-1, keepdim=True)


def layer(x, w, b):
    return torch.tanh(x @ w.T + b)


def norm_layer(x, w):
    centered = x - x.mean(-1, keepdim=True)
    variance = (centered * centered).mean(-1, keepdim=True)
    return w * centered / torch.sqrt(variance + 1e-5)


def softmax_back(grad_out, out, x):
    return out * (grad_out - (grad_out * out).sum(-1, keepdim=True))


def layer_back(grad_out, out, x, w, b):
    delta = grad_out * (1 - out * out)
    return delta @ w, delta.T @ x, delta.sum(0)


def norm_back(grad_out, out, x, w, *, through_mean=1.0, through_variance=1.0):
    centered = x - x.mean(-1, keepdim=True)
    sigma = torch.sqrt((centered * centered).mean(-1, keepdim=True) + 1e-5)
    x_hat, g = centered / sigma, grad_out * w
    along = x_hat * (g * x_hat).mean(-1, keepdim=True)
    return (
        (g - through_mean * g.mean(-1, keepdim=True) - through_variance * along) / sigma,
        (grad_out * x_hat).sum(0),
    )


LAYER = (layer, layer_back, (normal(6, 3), normal(4, 3, seed=1), normal(4, seed=2)))
SOFTMAX = (softmax, softmax_back, (normal(6, 5),))
NORM = (norm_layer, norm_back, (normal(6, 5), normal(5, seed=1)))
IMAGE = (lambda x: torch.sin(x), lambda g, out, x: g * torch.cos(x), (normal(2, 3, 5, 4),))


def at(place: int, change):
    """The gradients with one of them changed."""

    def changed(gradients, *args):
        gradients = list(gradients) if isinstance(gradients, tuple) else [gradients]
        gradients[place] = change(gradients[place], *args)
        return tuple(gradients)

    return changed


def without_one(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    gradient[2, 1] *= 1.5
    return gradient


# What somebody did, to which gradient, and the words that name it.
CAUSES = {
    "sign": (LAYER, at(1, lambda w, *_: -w), "the sign is flipped"),
    "mean for sum": (LAYER, at(1, lambda w, *_: w / 6), "1/6: multiply by 6, which is out.shape[0] and x.shape[0]"),
    "factor": (LAYER, at(0, lambda x, *_: 0.7 * x), "off by the constant factor 7/10"),
    "square root": (LAYER, at(0, lambda x, *_: x * 12**0.5), "which is √w.numel()"),
    "zero": (LAYER, at(2, lambda b, *_: 0 * b), "zero where a gradient is due"),
    "constant": (LAYER, at(2, lambda b, *_: b + 1e-4), "off by the additive constant 0.0001"),
    "layout": (LAYER, at(1, lambda w, *_: w.T.reshape(w.shape)), "the elements of the transposed in this shape"),
    "reversed": (LAYER, at(1, lambda w, *_: w.flip(1)), "reversed along dimension 1"),
    "off by one": (IMAGE, at(0, lambda x, *_: x.roll(1, 3)), "moved by 1 along dimension 3"),
    "one element": (LAYER, at(1, lambda w, *_: without_one(w)), "wrong at [2, 1] alone, right everywhere else"),
    "one row": (IMAGE, at(0, lambda x, *_: x * torch.tensor([1.0, 1, 1, 1, 2]).view(5, 1)), "in the slice 4 of dim"),
    "border": (IMAGE, at(0, lambda x, *_: torch.nn.functional.pad(x[..., 1:], (1, 0))), "zero where a gradient is"),
    "last sample": (LAYER, at(2, lambda b, g, out, *_: (g * (1 - out * out))[-1]), "only the last sample counts"),
    "last forgotten": (LAYER, at(2, lambda b, g, out, *_: (g * (1 - out * out))[:-1].sum(0)), "the last sample is"),
    "grad_out": (LAYER, at(2, lambda b, g, out, *_: (1 - out * out).sum(0)), "grad_out is ignored, as if it were ones"),
    "wrong product": (NORM, at(1, lambda w, g, out, x, _: (g * x).sum(0)), "as if it were the sum of grad_out·x"),
    "derivative": (LAYER, at(0, lambda x, g, out, _, w, b: g @ w), "the derivative of tanh (line"),
    "handed on": (IMAGE, at(0, lambda x, g, *_: g), "the derivative of the forward is left out"),
    "twice": (IMAGE, at(0, lambda _, g, out, x: g * torch.cos(x) ** 2), "the derivative of the forward is applied tw"),
    "softmax": (SOFTMAX, at(0, lambda _, g, out, x: out * g), "the sum over the other outputs is left out"),
    "row factor": (SOFTMAX, at(0, lambda x, *_: x * normal(6, 1)), "off by a factor of its own of each slice of dim"),
    "mean forgotten": (NORM, lambda _, *args: norm_back(*args, through_mean=0), "x - x.mean("),
    "variance": (NORM, lambda _, *args: norm_back(*args, through_variance=0), "is left out"),
    "half of it": (NORM, lambda _, *args: norm_back(*args, through_variance=0.5), "is off by the factor 1/2"),
    "two forgotten": (
        NORM, lambda _, *args: norm_back(*args, through_mean=0, through_variance=0), "and through",
    ),
    "wrong sign inside": (NORM, lambda _, *args: norm_back(*args, through_variance=-1), "has the wrong sign"),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_cause_is_named(cause):
    (forward, backward, inputs), mistake, words = CAUSES[cause]
    crosscheck(forward, lambda *args: tup(backward(*args)), inputs).raise_on_mismatch()
    report = crosscheck(forward, lambda *args: mistake(backward(*args), *args), inputs)
    assert report.mismatches[0].verdict == "wrong formula"
    assert words in report.mismatches[0].diagnosis


def tup(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


def test_swapped_gradients_are_named():
    forward, inputs = lambda x, y: x * x * y, (normal(5, 3), normal(5, 3, seed=1))
    report = crosscheck(forward, lambda g, out, x, y: (g * x * x, 2 * g * x * y), inputs)
    assert [row.diagnosis.partition("\n")[0] for row in report.mismatches[:2]] == [
        "it is the gradient of y",
        "it is the gradient of x",
    ]


def test_one_of_several_outs_forgotten_is_named():
    report = crosscheck(
        lambda x: (x.sin(), x.cos()), lambda g, out, x: (g[0] * out[1],), (normal(5, 3),), dtypes=[torch.float64]
    )
    assert report.mismatches[0].diagnosis.startswith("grad_out[1] is left out")


@given(st.integers(0, 2**31), st.sampled_from([(7,), (5, 3), (2, 4, 3)]), st.sampled_from([1e-6, 1e-3, 1.0]))
def test_what_has_no_name_gets_none(seed, shape, size):
    o = normal(*shape, seed=seed)
    m = o + size * normal(*shape, seed=seed + 1) * o.abs()
    assert diagnose(m, o, 1e-12).startswith(UNKNOWN)


@given(st.integers(0, 2**31), st.floats(-3, 3).filter(lambda factor: abs(factor) > 0.01 and abs(factor - 1) > 0.01))
def test_a_factor_is_what_it_is_called(seed, factor):
    o = normal(4, 3, seed=seed)
    said = diagnose(factor * o, o, 1e-12).partition("\n")[0]
    if factor == -1:
        assert said == "the sign is flipped"
    else:
        numerator, _, denominator = said.removeprefix("off by the constant factor ").partition("/")
        assert float(numerator) / float(denominator or 1) == pytest.approx(factor, rel=1e-5)


def test_an_error_hardly_above_its_budget_is_not_explained():
    o = normal(4, 3)
    assert diagnose(1.1 * o, o, 0.05 * float(o.abs().max())).startswith(UNKNOWN)
