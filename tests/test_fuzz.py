"""Whatever comes in: nothing crashes but with our own errors, no right gradient is called wrong, no input is changed.

A short run by default; `tox -e fuzz` takes 10,000 examples of each.
"""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crosscheck import crosscheck
from crosscheck.verdict.precision import distance, dtypes_of, norm, unit_roundoff
from manual_bp import Network
from manual_bp.network import ACTIVATIONS, COSTS, one_round
from manual_bp.rules import ReLU

pytestmark = pytest.mark.fuzz

FINITE = [0.0, 1.0, -1.0, 1e-30, -1e4, 20.0, 1e10]
EXTREME = [*FINITE, math.inf, -math.inf, math.nan]
LAYOUTS = {
    "contiguous": lambda t: t,
    "transposed": lambda t: t.T.contiguous().T,
    "strided": lambda t: torch.stack((t, t), -1)[..., 0],
    "expanded": lambda t: t[:1].expand_as(t) if t.dim() == 2 and len(t) else t,
    "offset": lambda t: torch.cat((t.new_zeros(1), t.reshape(-1)))[1:].view(t.shape),
}


@st.composite
def networks(draw):
    """A network, and a batch for it: any size, dtype, activation, cost, memory layout, and extreme values."""
    sizes = draw(st.lists(st.integers(1, 64), min_size=2, max_size=7))
    dtype = draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]))
    cost = draw(st.sampled_from(list(COSTS)))
    net = Network.random(
        sizes,
        dtype=dtype,
        seed=draw(st.integers(0, 2**31)),
        activation=draw(st.sampled_from(list(ACTIVATIONS))),
        cost=cost,
    )
    samples = draw(st.integers(0, 64))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    x = torch.randn(samples, sizes[0], generator=generator, dtype=torch.float64)
    if samples and draw(st.booleans()):
        x[draw(st.integers(0, samples - 1)), draw(st.integers(0, sizes[0] - 1))] = draw(st.sampled_from(EXTREME))
    if cost == "softmax_cross_entropy":
        z = torch.randint(sizes[-1], (samples,), generator=generator)
    else:
        z = torch.rand(samples, sizes[-1], generator=generator, dtype=torch.float64).to(dtype)
        z = LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](z)
    return (
        net,
        LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](x.to(dtype)),
        z,
        draw(st.sampled_from([0.0, 0.1, -1.0, 1e3])),
    )


@given(networks())
def test_a_network_takes_anything(case):
    net, x, z, eta = case
    kept = x.clone(), z.clone()
    started = [*net.weights, *net.biases]
    weights = [w.clone() for w in net.weights]
    if not len(x):
        for call in (
            lambda: net.forward(x),
            lambda: net.step(x, z, eta),
            lambda: net.fit(x, z, eta=eta, epochs=1, batch_size=3),
        ):
            with pytest.raises(ValueError, match="^[Xx]: expected at least one sample"):
                call()
        assert all(torch.equal(w, before) for w, before in zip(net.weights, weights, strict=True))
        return
    rounds = Network(net.weights, net.biases, net.activations, net.cost_rule)
    exact = Network([w.double() for w in net.weights], [b.double() for b in net.biases], net.activations, net.cost_rule)
    trace, grads = one_round(rounds, x, z, eta)
    net.step(x, z, eta)
    assert torch.equal(x.nan_to_num(), kept[0].nan_to_num())
    assert torch.equal(z, kept[1])
    moderate = all(bool((t.abs() < 100).all()) for t in (x, *trace.n_in)) and abs(eta) <= 1
    if moderate and net.dtype != torch.float64:  # in float64 there is nothing more precise to measure by
        true, _ = one_round(exact, x.double(), z.double() if z.is_floating_point() else z, eta)
        for rule, n_in, n_in_true in zip(net.activations, trace.n_in, true.n_in, strict=True):
            # On which side of the kink a number lies may hang on its rounding: either derivative is right.
            if rule is ReLU and n_in_true.abs().min() <= 16 * distance(n_in, n_in_true):
                return
        parameters = [[*n.weights, *n.biases] for n in (net, rounds, exact)]
        summands = abs(eta) * max(map(norm, grads.delta_in)) * max(map(norm, (x, *trace.n_out, torch.ones(1))))
        for before, ours, theirs, oracle in zip(started, *parameters, strict=True):
            # Where W and η ∂J/∂W nearly cancel, or the samples' parts of ∂J/∂W, what is left has the roundoffs of all.
            scale = max(norm(before), norm(oracle), summands)
            budget = 16 * max(distance(theirs, oracle), unit_roundoff(net.dtype) * scale)
            assert not theirs.isfinite().all() or distance(ours, oracle) <= budget


def affine(grad_out, out, x, w):
    return grad_out @ w.T, x.T @ grad_out


def tanh(grad_out, out, x, w):
    return affine(grad_out * (1 - out * out), out, x, w)


def relu(grad_out, out, x, w):
    """From a sum in another order, which may be rounded to the other side of the kink."""
    half = len(w) // 2
    return affine(grad_out * (x[:, :half] @ w[:half] + x[:, half:] @ w[half:] > 0), out, x, w)


def column(grad_out, out, x, w):
    grad_w = torch.zeros_like(w)
    grad_w[0, 0] = (grad_out * x).sum()
    return grad_out * w[0, 0] + 0 * x, grad_w


FUNCTIONS = {
    "affine": (lambda x, w: x @ w, affine),
    "tanh": (lambda x, w: torch.tanh(x @ w), tanh),
    "relu": (lambda x, w: torch.relu(x @ w), relu),
    "column": (lambda x, w: (x * w[0, 0]).sum(0), column),
}


@st.composite
def inputs(draw):
    rows, inner, columns = (draw(st.integers(1, 20)) for _ in range(3))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([1.0, 1e-4, 1e4]))
    dtype = draw(st.sampled_from([torch.float64, torch.float32, torch.bfloat16]))
    tensors = [scale * torch.randn(rows, inner, generator=generator), torch.randn(inner, columns, generator=generator)]
    if draw(st.booleans()):
        tensors[0][0, 0] = draw(st.sampled_from(FINITE[:5]))
    return [LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](t.to(dtype)) for t in tensors]


@given(inputs(), st.sampled_from(list(FUNCTIONS)), st.integers(0, 1000))
def test_no_right_gradient_is_found(tensors, name, seed):
    kept = [t.clone() for t in tensors]
    forward, backward = FUNCTIONS[name]
    report = crosscheck(forward, backward, tensors, dtypes=dtypes_of(torch.device("cpu"))[:3], seed=seed)
    assert report.ok, report
    assert all(torch.equal(t, before) for t, before in zip(tensors, kept, strict=True))


@given(inputs(), st.integers(0, 1), st.sampled_from([-1.0, 2.0, 1.001, 0.0]), st.integers(0, 1000))
def test_every_wrong_factor_is_found(tensors, which, factor, seed):
    forward, backward = FUNCTIONS["affine"]

    def wrong(*args):
        gradients = list(backward(*args))
        gradients[which] = factor * gradients[which]
        return gradients

    exact = [t.double().clone().requires_grad_() for t in tensors]
    # What is next to nothing beside all other numbers may be what cancellation left, and need not be called wrong.
    gradient = torch.autograd.grad(forward(*exact).sum(), exact)[which]
    reached = gradient.abs().max() > 1e-10 * max(map(norm, tensors))
    report = crosscheck(forward, wrong, tensors, dtypes=[torch.float64, torch.float32], seed=seed)
    assert not (report.ok and reached)
    assert report.ok or bool(gradient.any())
