"""The judge is judged: what it finds right and wrong, methods without autograd find too."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from crosscheck import crosscheck
from crosscheck.verdict.numerical import (
    DIRECTION,
    GRAD_OUT,
    _cost,
    central_differences,
    complex_step,
    limit_at_zero,
    taylor_rate,
)
from crosscheck.verdict.precision import is_floating
from manual_bp.rules import RULES
from reference.rules import TWINS

# Piecewise functions have no Taylor expansion across their kinks: they are left to differences, away from these.
KINKED = {"ReLU", "LeakyReLU", "ELU", "Huber", "Hinge", "MaxPool2d", "Residual"}
# Cholesky reads one triangle of a matrix whose changes are symmetric: a step of one element, or at random, is none.
CASES = [
    pytest.param(name, twin, id=f"{name}({twin})" if twin.options else name)
    for name, twins in TWINS.items()
    for twin in twins
    if name != "Cholesky" and not (name == "MaxPool2d" and "dilation" in twin.options)  # of ties, all at kinks
]


def candidate(name, twin):
    return (partial(f, **twin.options) for f in (RULES[name].forward, RULES[name].backward))


@pytest.mark.parametrize(("name", "twin"), [case for case in CASES if case.values[0] not in KINKED])
def test_taylor_and_the_judge_say_the_same(name, twin):
    forward, backward = candidate(name, twin)
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
    forward, backward = candidate(name, twin)
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


def test_the_rate_is_that_of_the_remainder():
    """Of a polynomial: the second derivative leaves h², without one the third leaves h³."""
    x = torch.linspace(0.5, 2, 7, dtype=torch.float64)
    assert taylor_rate(torch.sin, lambda g, out, x: (g * torch.cos(x),), (x,)) == pytest.approx(2, abs=5e-3)
    assert taylor_rate(lambda x: x**2, lambda g, out, x: (2 * g * x,), (x,)) == pytest.approx(2, abs=5e-3)
    at_its_bend = torch.zeros(7, dtype=torch.float64)
    assert taylor_rate(torch.sin, lambda g, out, x: (g * torch.cos(x),), (at_its_bend,)) == pytest.approx(3, abs=2e-2)
    assert taylor_rate(torch.sin, lambda g, out, x: (g * torch.sin(x),), (x,)) == pytest.approx(1, abs=5e-3)


def test_inputs_that_have_no_gradient_stay_where_they_are():
    x, seen = torch.linspace(0.5, 2, 7), torch.tensor([True, False, True, True, False, True, True])

    def forward(x, seen, power):
        assert seen.dtype == torch.bool
        assert power == 3
        return torch.sin(x) * seen * power

    def backward(g, out, x, seen, power):
        return g * seen * power * torch.cos(x), None, None

    assert taylor_rate(forward, backward, (x, seen, 3)) == pytest.approx(2, abs=1e-3)
    derivative, *others = central_differences(forward, (x, seen, 3))
    assert others == [None, None]
    _, (grad_out,), _ = _cost(forward, (x, seen, 3), 0)
    torch.testing.assert_close(derivative, grad_out * seen * 3 * x.double().cos(), rtol=1e-9, atol=1e-9)


def test_what_has_no_gradient_is_not_asked_for_one():
    """None for an input that is not felt, and a single gradient of the first."""
    x, y = torch.linspace(0.5, 2, 7), torch.linspace(0, 1, 3)
    rate = taylor_rate(lambda x, y: torch.sin(x), lambda g, out, x, y: (g * torch.cos(x), None), (x, y))
    assert rate == pytest.approx(2, abs=5e-3)
    rate = taylor_rate(lambda x, n: torch.sin(x) * n, lambda g, out, x, n: g * torch.cos(x) * n, (x, 3))
    assert rate == pytest.approx(2, abs=5e-3)


def test_one_step_above_its_rounding_is_enough():
    """A remainder of 7·10⁻¹² h² of J: a fourth of 1/4 is above, of 1/8 no more."""
    d = float(torch.randn(1, generator=torch.Generator().manual_seed(DIRECTION), dtype=torch.float64))
    c, x = 7e-12 / d**2, torch.ones(1, dtype=torch.float64)
    rate = taylor_rate(lambda x: x + c * (x - 1) ** 2, lambda g, out, x: (g + 2 * c * (x - 1),), (x,))
    assert rate == pytest.approx(2, abs=0.1)


def test_the_rate_hangs_on_the_seed_alone():
    x = torch.linspace(0.5, 2, 7)
    state = torch.get_rng_state()
    rates = [taylor_rate(torch.exp, lambda g, out, x: (g * out,), (x,)) for _ in range(2)]
    assert rates[0] == rates[1]
    assert torch.equal(torch.get_rng_state(), state)


def test_the_seed_draws_another_grad_out_and_direction():
    """Of one direction a wrong gradient may be right: here the second half of it is zero."""
    x = torch.linspace(0.5, 2, 7, dtype=torch.float64)
    costs = [_cost(torch.sin, (x,), seed) for seed in (0, 0, 1)]
    (one,), (same,), (other,) = (grads_out for _, grads_out, _ in costs)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    rates = {taylor_rate(torch.exp, lambda g, out, x: (g * out,), (x,), seed) for seed in range(3)}
    assert len(rates) == 3


def test_the_cost_and_the_size_of_its_terms():
    x, y = torch.linspace(-1, 1, 5), torch.linspace(2, 3, 3)
    xs, grads_out, J = _cost(lambda x, y: (x * 2, y), (x, y), 0)
    assert [v.dtype for v in xs] == [torch.float64] * 2
    first, second = grads_out[0] * 2 * x.double(), grads_out[1] * y.double()
    value, size = J((x, y))
    assert value == pytest.approx(float(first.sum() + second.sum()))
    assert size == pytest.approx(float(first.abs().sum() + second.abs().sum()))


def test_a_limit_is_found_from_afar():
    """Of a polynomial of h² it is exact as soon as there are as many steps as powers."""
    steps = []

    def f(h):
        steps.append(h)
        return 3 - 2 * h**2 + 5 * h**4

    limit, doubt = limit_at_zero(f, 0.5, 0.0)
    assert limit == pytest.approx(3, abs=1e-13)
    assert doubt < 1e-13
    assert steps == [0.5 / 2**k for k in range(12)]


def test_the_doubt_of_a_limit_is_no_less_than_the_rounding():
    """Which grows as h falls: the one from the largest steps that agree is taken."""
    limit, doubt = limit_at_zero(lambda h: 3 + h**2, 0.5, 1e-3)
    assert limit == pytest.approx(3, abs=1e-13)
    assert doubt == pytest.approx(2 * 1e-3 * 4 / 0.5)  # with 0.125, as soon as two agree


@pytest.mark.parametrize("rounding", [0.0, 1e-12, 1e-8, 1e-4])
@pytest.mark.parametrize(
    "f", [math.cos, lambda h: 1 / (1 + 20 * h * h), lambda h: 2 + abs(h) ** 3, lambda h: 1 + 1e-3 * math.sin(1 / h)]
)
def test_the_doubt_of_a_limit_is_how_far_it_is_from_what_it_was_made_of(f, rounding):
    """T[k, m], m times extrapolated from 0.5/2ᵏ⁻ᵐ to 0.5/2ᵏ: that with the least doubt."""
    T = {(k, 0): f(0.5 / 2**k) for k in range(12)}
    doubts = {}
    for k in range(12):
        for m in range(1, k + 1):
            T[k, m] = T[k, m - 1] + (T[k, m - 1] - T[k - 1, m - 1]) / (4**m - 1)
            made_of = abs(T[k, m] - T[k, m - 1]), abs(T[k, m] - T[k - 1, m - 1])
            doubts[k, m] = max(*made_of, 2 * rounding / (0.5 / 2**k))
    limit, doubt = limit_at_zero(f, 0.5, rounding)
    least = min(doubts.values())
    assert doubt == pytest.approx(least, rel=1e-3, abs=4e-16)
    assert any(T[place] == pytest.approx(limit, rel=1e-14) for place in doubts if doubts[place] <= least + 4e-16)


def test_no_limit_where_there_is_none():
    limit, doubt = limit_at_zero(lambda h: math.nan, 0.5, 0.0)
    assert math.isnan(limit)
    assert doubt == math.inf


@pytest.mark.parametrize("number", [1e-3, 1.0, 30.0, -2.0, 1e3, -1e6])
def test_differences_at_large_and_small_numbers(number):
    """The step grows with the number, and is no smaller than that of 1."""
    x = torch.tensor([[number]], dtype=torch.float64)
    (derivative,) = central_differences(lambda x: x**3, (x,))
    _, (grad_out,), _ = _cost(lambda x: x**3, (x,), 0)
    torch.testing.assert_close(derivative, grad_out * 3 * x**2, rtol=1e-9, atol=1e-10)


def test_a_complex_step_is_the_derivative_of_one_neuron():
    """∂J/∂n(in) = n(out) − z, by hand; of one sample, and of the mean of several."""
    x, z = np.array([[0.5, -1.0, 2.0], [0.1, 0.7, -0.4]]), np.array([[0.3], [1.0]])
    w, b = np.array([[0.2, -0.4, 0.1]]), np.array([0.3])
    n_out = 1 / (1 + np.exp(-(x @ w.T + b)))
    J = -(z * np.log(n_out) + (1 - z) * np.log(1 - n_out))
    delta_in, delta_out = n_out - z, -z / n_out + (1 - z) / (1 - n_out)
    theirs = {
        "J": J.sum(), "x": delta_in @ w, "delta_in[0]": delta_in, "delta_out[0]": delta_out,
        "weight[0]": delta_in.T @ x, "bias[0]": delta_in.sum(0),
    }  # fmt: skip
    ours = complex_step(x, z, [w], [b])
    assert list(ours) == list(theirs)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name] / 2, rtol=1e-13, err_msg=name)
    of_one = complex_step(x[0], z[0], [w], [b])
    np.testing.assert_allclose(of_one["J"], J[0, 0], rtol=1e-13)
    np.testing.assert_allclose(of_one["weight[0]"], delta_in[:1].T @ x[:1], rtol=1e-13)
    np.testing.assert_allclose(of_one["delta_in[0]"], delta_in[0], rtol=1e-13)
