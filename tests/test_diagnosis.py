"""Causes: each is named where it is the cause, with a correction that was tried, and no other is."""

from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reference import crosscheck
from reference.diagnosis import UNKNOWN, diagnose
from reference.precision import rungs


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at_home(inputs, device):
    """The inputs on a device, in its most precise dtype."""
    return tuple(x.to(device, rungs(device)[0] if x.is_floating_point() else x.dtype) for x in inputs)


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
def test_cause_is_named(cause, device):
    (forward, backward, inputs), mistake, words = CAUSES[cause]
    inputs = at_home(inputs, device)
    crosscheck(forward, lambda *args: tup(backward(*args)), inputs).raise_on_mismatch()
    report = crosscheck(forward, lambda *args: mistake(backward(*args), *args), inputs)
    assert report.mismatches[0].verdict == "wrong formula"
    assert words in report.mismatches[0].diagnosis


def opaque_norm(x, w):
    return torch.nn.functional.layer_norm(x, (5,), w, eps=1e-3)


def opaque_norm_back(grad_out, out, x, w, *, eps=1e-3, biased=True):
    centered = x - x.mean(-1, keepdim=True)
    sigma = torch.sqrt((centered * centered).sum(-1, keepdim=True) / (5 if biased else 4) + eps)
    x_hat, g = centered / sigma, grad_out * w
    along = x_hat * (g * x_hat).sum(-1, keepdim=True) / (5 if biased else 4)
    return (g - g.mean(-1, keepdim=True) - along) / sigma, (grad_out * x_hat).sum(0)


def two_layers(x, w1, w2):
    return (torch.relu(x @ w1.T) @ w2.T).square().sum()


def two_layers_back(grad_out, out, x, w1, w2, *, eta=0.0):
    a = torch.relu(x @ w1.T)
    delta = 2 * (a @ w2.T)
    grad_w2 = delta.T @ a
    delta = delta @ (w2 - eta * grad_w2) * (a > 0)
    return grad_out * (delta @ w1), grad_out * (delta.T @ x), grad_out * grad_w2


def recurrent(xs, w, h):
    for x in xs:
        h = torch.tanh(x + h @ w.T)
    return h


def recurrent_back(grad_out, out, xs, w, h, *, every=True, stale=False):
    hs = [h]
    for x in xs:
        hs.append(torch.tanh(x + hs[-1] @ w.T))
    grad_w, grads_x = torch.zeros_like(w), []
    for t in reversed(range(len(xs))):
        delta = grad_out * (1 - hs[t + 1] ** 2)
        share = delta.T @ hs[t + stale]
        grad_w = grad_w + share if every else share
        grads_x.insert(0, delta)
        grad_out = delta @ w
    return torch.stack(grads_x), grad_w, grad_out


def looked_up(w, index):
    return torch.tanh(w[index])


def looked_up_back(grad_out, out, w, index):
    grad_w = torch.zeros_like(w)
    grad_w[index] = grad_out * (1 - out * out)  # of equal indices only the last one stays
    return grad_w, None


OPAQUE = (opaque_norm, opaque_norm_back, (normal(6, 5), normal(5, seed=1)))
TRAINED = (two_layers, two_layers_back, (normal(7, 4), normal(5, 4, seed=1), normal(3, 5, seed=2)))
LOOP = (recurrent, recurrent_back, (normal(3, 4, 5), normal(5, 5, seed=1), normal(4, 5, seed=2)))

# The same of mistakes that come of one argument, or that a whole backward makes.
DEEPER = {
    "eps": (OPAQUE, {"eps": 1e-4}, "as if 0.001 in add (line"),
    "variance": (OPAQUE, {"biased": False}, "divided by n − 1 = 4 in place of n"),
    "updated": (TRAINED, {"eta": 0.1}, "as if w2 were updated already, with eta = 0.1"),
    "overwritten": (LOOP, {"every": False}, "time 1 of 3, counts"),
    "stale": (LOOP, {"stale": True}, "the result of tanh (line"),
}


@pytest.mark.parametrize("cause", DEEPER)
def test_deeper_cause_is_named(cause, device):
    (forward, backward, inputs), options, words = DEEPER[cause]
    inputs = at_home(inputs, device)
    crosscheck(forward, backward, inputs).raise_on_mismatch()
    report = crosscheck(forward, partial(backward, **options), inputs)
    assert any(words in row.diagnosis for row in report.mismatches), str(report)


def test_what_is_overwritten_is_named(device):
    index = torch.tensor([0, 2, 1, 2, 2])
    report = crosscheck(looked_up, looked_up_back, at_home((normal(4, 3), index), device))
    assert "overwrites, in place of adding up" in report.mismatches[0].diagnosis


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w, b, delta: (w, delta), "not summed over dimension 0, over which it was broadcast"),
        (lambda w, b, delta: (w, delta.sum(1)), "summed over the wrong axis: over dimension 1 in place of 0"),
        (lambda w, b, delta: (w, b.view(1, 4)), "the numbers are right, only the shape is not"),
        (lambda w, b, delta: (w.T, b), "transposed"),
    ],
)
def test_a_wrong_shape_is_told_by_the_numbers(change, words, device):
    def backward(grad_out, out, x, w, b):
        delta = grad_out * (1 - out * out)
        return delta @ w, *change(delta.T @ x, delta.sum(0), delta)

    report = crosscheck(layer, backward, at_home(LAYER[2], device))
    assert report.mismatches[0].verdict.startswith("wrong shape: expected [4")
    assert report.mismatches[0].diagnosis == words


def test_of_one_mistake_in_several_gradients_one_name_hints_at_the_others(device):
    x, w, b = LAYER[2]

    def backward(grad_out, out, x, w, b):
        grad_x, grad_w, grad_b = layer_back(grad_out, out, x, w, b)
        return grad_x + 1e-3 * grad_x**3, -grad_w, grad_b

    report = crosscheck(layer, backward, at_home((x, w, b), device))
    said = {row.name: row.diagnosis.partition("\n")[0] for row in report.mismatches if row.diagnosis}
    assert said == {"x": f"{UNKNOWN}, perhaps the same as in w", "w": "the sign is flipped"}


def test_infinities_on_both_sides_do_not_count(device):
    """The derivative of a square root at 0, of which autograd has an infinity, too."""
    (x,) = at_home((torch.tensor([0.0, 1, 4, 7, 5], dtype=torch.float64),), device)
    report = crosscheck(torch.sqrt, lambda g, out, x: (g / out,), (x,))
    assert report.mismatches[0].diagnosis.startswith("off by the constant factor 2")


def test_numbers_whose_squares_overflow_or_vanish_have_a_factor():
    for size in (1e200, 1e-200):
        o = size * normal(4, 3)
        assert diagnose(2 * o, o, 1e-14 * size).startswith("off by the constant factor 2\n")


def test_what_was_not_tried_is_said(device):
    def backward(grad_out, out, x):
        return (grad_out * (1 - out**2) + 1e-3 * x**3,)

    report = crosscheck(torch.tanh, backward, at_home((normal(130, 127),), device))
    said = report.mismatches[0].diagnosis.partition("\n")[0]
    assert (
        said
        == f"{UNKNOWN}: operations of the forward are tried with at most 16,384 numbers of input: give smaller ones"
    )


def test_what_looks_alike_is_told_in_more_digits(device):
    """Softplus is linear from 20 on in torch, its derivative is not."""
    (x,) = at_home((torch.tensor([25.0, 1.0, -2.0], dtype=torch.float64),), device)
    report = crosscheck(torch.nn.functional.softplus, lambda g, out, x: (g * torch.sigmoid(x),), (x,))
    got, expected = report.mismatches[0].diagnosis.rpartition("got ")[2].split(", expected ")
    assert got != expected
    (o,) = at_home((normal(4, 3),), device)
    said = diagnose(o * (1 + 1e-9), o, 1e-14)
    assert said.startswith("off by the constant factor 1 + 1e-09\n")


def tup(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


def test_swapped_gradients_are_named(device):
    forward, inputs = lambda x, y: x * x * y, (normal(5, 3), normal(5, 3, seed=1))
    inputs = at_home(inputs, device)
    report = crosscheck(forward, lambda g, out, x, y: (g * x * x, 2 * g * x * y), inputs)
    assert [row.diagnosis.partition("\n")[0] for row in report.mismatches[:2]] == [
        "it is the gradient of y",
        "it is the gradient of x",
    ]


def test_one_of_several_outs_forgotten_is_named(device):
    report = crosscheck(
        lambda x: (x.sin(), x.cos()), lambda g, out, x: (g[0] * out[1],), at_home((normal(5, 3),), device)
    )
    assert report.mismatches[0].diagnosis.startswith("grad_out[1] is left out")


@given(st.integers(0, 2**31), st.sampled_from([(7,), (5, 3), (2, 4, 3)]), st.sampled_from([1e-6, 1e-3, 1.0]))
def test_what_has_no_name_gets_none(device, seed, shape, size):
    o, noise = normal(*shape, seed=seed), normal(*shape, seed=seed + 1)
    m, o = at_home((o + size * noise * o.abs(), o), device)
    assert diagnose(m, o, 1e-12).startswith(UNKNOWN)


@given(st.integers(0, 2**31), st.floats(-3, 3).filter(lambda factor: abs(factor) > 0.01 and abs(factor - 1) > 0.01))
def test_a_factor_is_what_it_is_called(device, seed, factor):
    (o,) = at_home((normal(4, 3, seed=seed),), device)
    said = diagnose(factor * o, o, 1e-12).partition("\n")[0]
    if factor == -1:
        assert said == "the sign is flipped"
    else:
        numerator, _, denominator = said.removeprefix("off by the constant factor ").partition("/")
        assert float(numerator) / float(denominator or 1) == pytest.approx(factor, rel=1e-5)


def test_an_error_hardly_above_its_budget_is_not_explained(device):
    (o,) = at_home((normal(4, 3),), device)
    assert diagnose(1.1 * o, o, 0.05 * float(o.abs().max())).startswith(UNKNOWN)
