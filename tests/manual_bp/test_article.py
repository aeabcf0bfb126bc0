"""The article's two networks: article = matrix form = autograd = complex step, name by name."""

import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from crosscheck.verdict.numerical import complex_step
from crosscheck.verdict.precision import dtypes_of
from manual_bp import Network, article
from manual_bp.mistakes import planted
from reference import article as twin

NEURON = {"x1": 0.5, "x2": -1.5, "y": 0.25, "eta": 0.5, "w1": 0.75, "w2": 1.25, "wb": -0.5}
WEIGHTS = dict(zip(twin.WEIGHTS, (0.3, -0.7, 0.2, 1.1, 0.4, -0.9, 0.6, -1.2, 0.8, -0.5, 0.9, 0.1), strict=True))
TWO_BY_TWO = {"x": 0.5, "y": -1.5, "z_1": 0.25, "z_2": 0.875, "eta": 0.5} | WEIGHTS


def tensors(values: dict[str, float], device: torch.device, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {name: torch.tensor(value, dtype=dtype, device=device) for name, value in values.items() if name != "eta"}


def derived(quantities: article.Quantities, given: dict[str, float]) -> dict[str, float]:
    return {name: float(value) for name, value in vars(quantities).items() if name not in given}


@pytest.mark.parametrize(
    ("by_hand", "by_autograd", "values"),
    [(article.neuron, twin.neuron, NEURON), (article.two_by_two, twin.two_by_two, TWO_BY_TWO)],
    ids=["neuron", "two_by_two"],
)
@pytest.mark.device_except("mps", reason="mps has no float64")
def test_every_quantity_is_autograds(by_hand, by_autograd, values, device):
    ours = derived(by_hand(**values), values)
    theirs = by_autograd(**tensors(values, device), eta=values["eta"])
    assert ours.keys() == theirs.keys()
    assert ours == pytest.approx({name: float(value) for name, value in theirs.items()}, rel=1e-13)


def matrices() -> tuple[list[list[list[float]]], list[list[float]]]:
    w = WEIGHTS
    layer_1 = [[w["w_11_x"], w["w_11_y"]], [w["w_12_x"], w["w_12_y"]]]
    layer_2 = [[w["w_21_11"], w["w_21_12"]], [w["w_22_11"], w["w_22_12"]]]
    return [layer_1, layer_2], [[w["w_11_b"], w["w_12_b"]], [w["w_21_b"], w["w_22_b"]]]


def named(value, layer: int, pattern: str) -> dict[str, float]:
    """The numbers of a layer's neurons by the article's names."""
    return {pattern.format(f"{layer + 1}{k + 1}"): float(value[k]) for k in range(2)}


def named_weights(weight, bias, layer: int, pattern: str) -> dict[str, float]:
    names = (("x", "y"), ("11", "12"))[layer]
    numbers = {}
    for k in range(2):
        numbers |= {pattern.format(f"{layer + 1}{k + 1}_{name}"): float(weight[k][i]) for i, name in enumerate(names)}
        numbers[pattern.format(f"{layer + 1}{k + 1}_b")] = float(bias[k])
    return numbers


@pytest.mark.device_except("mps", reason="mps has no float64")
def test_article_is_the_matrix_form(device):
    def number(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=device)

    net = Network(*(list(map(number, params)) for params in matrices()))
    x, z = (number([TWO_BY_TWO[a], TWO_BY_TWO[b]]) for a, b in (("x", "y"), ("z_1", "z_2")))
    trace = net.forward(x)
    grads = net.backward(trace, z)
    net.update(grads, TWO_BY_TWO["eta"])
    matrix = {"J": float(grads.J)}
    for layer in range(2):
        matrix |= named(trace.n_in[layer], layer, "n_{}_in") | named(trace.n_out[layer], layer, "n_{}_out")
        matrix |= named(grads.delta_in[layer], layer, "delta_{}_in")
        matrix |= named(grads.delta_out[layer], layer, "delta_{}_out")
        matrix |= named_weights(grads.weight[layer], grads.bias[layer], layer, "dJ_dw_{}")
        matrix |= named_weights(net.weights[layer], net.biases[layer], layer, "w_{}_new")
    lines = derived(article.two_by_two(**TWO_BY_TWO), TWO_BY_TWO)
    assert len(matrix) == 1 + 8 + 8 + 12 + 12
    assert {name: lines[name] for name in matrix} == pytest.approx(matrix, rel=1e-13)


def test_article_is_the_complex_step():
    weights, biases = ([np.array(p) for p in params] for params in matrices())
    x, z = (np.array([TWO_BY_TWO[a], TWO_BY_TWO[b]]) for a, b in (("x", "y"), ("z_1", "z_2")))
    step = complex_step(x, z, weights, biases)
    method = {"J": float(step["J"])}
    for layer in range(2):
        method |= named(step[f"delta_in[{layer}]"], layer, "delta_{}_in")
        method |= named(step[f"delta_out[{layer}]"], layer, "delta_{}_out")
        method |= named_weights(step[f"weight[{layer}]"], step[f"bias[{layer}]"], layer, "dJ_dw_{}")
    lines = derived(article.two_by_two(**TWO_BY_TWO), TWO_BY_TWO)
    assert {name: lines[name] for name in method} == pytest.approx(method, rel=1e-13)


def test_tensors_keep_their_dtype_and_device(device):
    for dtype in dtypes_of(device):
        result = article.two_by_two(**tensors(TWO_BY_TWO, device, dtype), eta=0.5)
        for name, value in vars(result).items():
            if name != "eta":
                assert (value.dtype, value.device.type, value.shape) == (dtype, device.type, ()), name


def test_floats_among_tensors_take_their_dtype(device):
    result = article.neuron(**NEURON | {"w1": torch.tensor(0.75, device=device)})
    assert result.J.dtype == torch.float32


@pytest.mark.parametrize("n_in", [1000.0, -1000.0])
@pytest.mark.parametrize("target", [0.0, 0.3, 1.0])
def test_a_saturated_neuron(n_in, target, device):
    for dtype in dtypes_of(device):
        values = tensors({"x1": 1.0, "x2": 0.0, "y": target, "w1": n_in, "w2": 0.0, "wb": 0.0}, device, dtype)
        result = article.neuron(**values, eta=0.5)
        y = float(values["y"])
        expected = (1 - y) * n_in if n_in > 0 else y * -n_in
        rounding = 2 * torch.finfo(dtype).eps
        assert float(result.J) == pytest.approx(expected, rel=rounding)
        assert float(result.delta_in) == pytest.approx((n_in > 0) - y, rel=rounding)
        for name, value in vars(result).items():
            assert math.isfinite(value), name


def test_infinite_n_in_has_the_limits_of_the_cost():
    saturated = {"x1": 1.0, "x2": 0.0, "eta": 0.5, "w2": 0.0, "wb": 0.0}
    right = article.neuron(**saturated, w1=math.inf, y=1.0)
    wrong = article.neuron(**saturated, w1=math.inf, y=0.0)
    assert (float(right.J), float(right.delta_in)) == (0.0, 0.0)
    assert (float(wrong.J), float(wrong.delta_in)) == (math.inf, 1.0)


def test_saturated_deltas_of_two_by_two_are_finite():
    big = TWO_BY_TWO | {"w_21_b": 1000.0, "w_22_b": -1000.0, "w_11_b": 1000.0, "z_1": 0.0}
    for name, value in vars(article.two_by_two(**big)).items():
        assert math.isfinite(value), name


def test_the_cost_of_being_right_is_zero_and_not_minus_zero():
    J = article.neuron(**NEURON | {"w1": 2000.0, "y": 1.0}).J
    assert float(J) == 0
    assert math.copysign(1, J) == 1


number = st.floats(-3, 3)


@given(st.tuples(*[number] * 14), st.floats(0, 1), st.floats(0, 1), st.floats(0, 4))
def test_the_new_weight_is_the_old_one_less_eta_times_its_gradient(values, z_1, z_2, eta):
    names = ("x", "y", *twin.WEIGHTS)
    q = vars(article.two_by_two(**dict(zip(names, values, strict=True)), z_1=z_1, z_2=z_2, eta=eta))
    for name in twin.WEIGHTS:
        assert q[f"{name}_new"] == q[name] - eta * q[f"dJ_d{name}"]


@pytest.mark.parametrize(("eta", "percent"), [(0.1, 5), (0.5, 24), (3.0, 140)])
def test_what_the_literal_order_costs(eta, percent):
    """The docstring of two_by_two tells these medians."""
    generator = torch.Generator().manual_seed(0)
    errors = []
    for _ in range(200):
        drawn = torch.randn(14, generator=generator, dtype=torch.float64).tolist()
        z_1, z_2 = torch.randint(2, (2,), generator=generator).tolist()
        values = dict(zip(("x", "y", *twin.WEIGHTS), drawn, strict=True)) | {"z_1": z_1, "z_2": z_2, "eta": eta}
        right = delta_1(**values)
        with planted("stale-weights"):
            literal = delta_1(**values)
        errors.append(float((literal - right).norm() / right.norm()))
    assert 100 * statistics.median(errors) == pytest.approx(percent, rel=0.1)


def delta_1(**values) -> Tensor:
    q = article.two_by_two(**values)
    return torch.stack([q.delta_11_in, q.delta_12_in])


@pytest.mark.parametrize(
    ("wrong", "error", "says"),
    [
        ({"y": 1.5}, ValueError, "y: expected a target from 0 to 1, got 1.5"),
        ({"y": math.nan}, ValueError, "y: expected a target from 0 to 1, got nan"),
        ({"eta": math.nan}, ValueError, "eta: expected a finite number, got nan"),
        ({"eta": "big"}, TypeError, "eta: expected a number, got str"),
        ({"x1": "1"}, TypeError, "x1: expected a float or a 0-d tensor, got str"),
        ({"w1": torch.tensor(1)}, TypeError, "w1: expected a floating-point dtype, got torch.int64"),
        ({"w1": torch.tensor([1.0])}, ValueError, r"w1: expected shape \[\] \(one number\), got \[1\]"),
        ({"w1": torch.tensor(1.0, requires_grad=True)}, TypeError, "w1: .* got requires_grad=True"),
        ({"w1": torch.tensor(1.0), "w2": torch.tensor(1.0).double()}, TypeError, "w2: expected dtype torch.float32"),
        ({"w1": torch.tensor(1.0), "w2": torch.ones((), device="meta")}, ValueError, "w2: expected a tensor on cpu"),
    ],
)
def test_bad_input_is_refused(wrong, error, says):
    with pytest.raises(error, match=says):
        article.neuron(**NEURON | wrong)
