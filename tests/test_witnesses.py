"""The judge is judged: what it finds right and wrong, witnesses without autograd find too."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from manual_bp.rules import RULES
from reference import crosscheck
from reference.precision import is_floating
from reference.twins import TWINS
from reference.witnesses import GRAD_OUT, central_differences, taylor_rate

# Piecewise functions have no Taylor expansion across their kinks: they are left to differences, away from these.
KINKED = {"ReLU", "LeakyReLU", "ELU", "Huber", "Hinge", "MaxPool2d", "Residual"}
# Cholesky reads one triangle of a matrix whose changes are symmetric: a step of one element, or at random, is none.
CASES = [
    pytest.param(name, twin, id=f"{name}({twin})" if twin.options else name)
    for name, twins in TWINS.items()
    for twin in twins
    if name != "Cholesky" and not (name == "MaxPool2d" and "dilation" in twin.options)  # of ties, all at kinks
]


def pair(name, twin):
    return (partial(f, **twin.options) for f in (RULES[name].forward, RULES[name].backward))


@pytest.mark.parametrize(("name", "twin"), [case for case in CASES if case.values[0] not in KINKED])
def test_taylor_and_the_judge_say_the_same(name, twin):
    forward, backward = pair(name, twin)
    inputs = twin.draw(0)
    first = next(i for i, x in enumerate(inputs) if is_floating(x))

    def wrong(*args):
        gradients = list(backward(*args))
        gradients[first] = 1.01 * gradients[first]
        return tuple(gradients)

    assert taylor_rate(forward, backward, inputs) > 1.9
    assert crosscheck(forward, backward, inputs, dtypes=[torch.float64]).ok
    assert taylor_rate(forward, wrong, inputs) == pytest.approx(1, abs=0.1)
    assert not crosscheck(forward, wrong, inputs, dtypes=[torch.float64]).ok


@pytest.mark.parametrize(("name", "twin"), CASES)
def test_differences_agree_with_every_rule(name, twin):
    forward, backward = pair(name, twin)
    inputs = [x[:3] if name == "Affine" and x is not None and len(x) == 5 else x for x in twin.draw(0)]
    out = forward(*inputs)
    generator = torch.Generator().manual_seed(GRAD_OUT)
    outs = out if isinstance(out, tuple) else (out,)
    grads_out = tuple(torch.randn(o.shape, generator=generator, dtype=torch.float64) for o in outs)
    ours = backward(grads_out if isinstance(out, tuple) else grads_out[0], out, *inputs)
    for gradient, difference in zip(ours, central_differences(forward, inputs), strict=True):
        assert (gradient is None) == (difference is None)
        if gradient is not None:
            torch.testing.assert_close(
                gradient, difference, rtol=1e-7, atol=1e-7 * float(difference.abs().max()) + 1e-9
            )


def test_taylor_needs_no_autograd():
    def forward(x):
        return torch.from_numpy(np.sin(x.numpy()))

    x = torch.linspace(-1, 1, 7)
    assert taylor_rate(forward, lambda g, out, x: (g * torch.cos(x),), (x,)) > 1.9
    assert taylor_rate(forward, lambda g, out, x: (g * torch.sin(x),), (x,)) < 1.1


def test_cholesky_in_symmetric_directions():
    """The one that is left out above: ⟨grad_A, D⟩ is the slope along a symmetric D."""
    (A,) = TWINS["Cholesky"][0].draw(0)
    D = torch.randn(A.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    D, h = D + D.mT, 1e-5
    grad_out = torch.randn(A.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    rule = RULES["Cholesky"]
    (grad_A,) = rule.backward(grad_out, rule.forward(A), A)
    slope = (grad_out * (rule.forward(A + h * D) - rule.forward(A - h * D))).sum() / (2 * h)
    torch.testing.assert_close((grad_A * D).sum(), slope, rtol=1e-7, atol=1e-8)


def test_a_linear_function_has_no_remainder():
    assert taylor_rate(lambda x: 3 * x, lambda g, out, x: (3 * g,), (torch.ones(4),)) == float("inf")


def test_what_is_not_finite_has_no_rate():
    x = torch.linspace(-1, 1, 5)
    assert math.isnan(taylor_rate(torch.sqrt, lambda g, out, x: (g / (2 * out),), (x,)))
    assert math.isnan(taylor_rate(torch.sin, lambda g, out, x: (g * torch.cos(x) / 0,), (x,)))


def test_a_list_of_outs_and_a_single_gradient():
    x = torch.linspace(-1, 1, 5)
    assert taylor_rate(lambda x: [torch.sin(x), x], lambda g, out, x: g[0] * torch.cos(x) + g[1], (x,)) > 1.9
