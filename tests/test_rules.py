"""Every rule: judged by its twin on every rung, over seeds; and the conventions it states."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from manual_bp.rules import RULES, Affine, ReLU, Rule, SigmoidCrossEntropy, SoftmaxCrossEntropy, SquaredError
from reference import crosscheck
from reference.ladder import rungs
from reference.twins import TWINS


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_rule_agrees_with_its_twin(name, seed, device):
    rule, twin = RULES[name], TWINS[name]
    inputs = [x.to(device, rungs(device)[0] if x.is_floating_point() else x.dtype) for x in twin.draw(seed)]
    report = crosscheck(rule.forward, rule.backward, inputs, twin=twin.function, seed=seed)
    report.raise_on_mismatch()
    assert {row.dtype for row in report.rows} == set(rungs(device))


def test_every_rule_has_a_twin_and_every_twin_a_rule():
    assert RULES.keys() == TWINS.keys()


@pytest.mark.parametrize("leading", [(), (1,), (6,), (2, 6)])
def test_affine_takes_any_leading_dimensions(leading, device):
    inputs = (torch.randn(*leading, 3, device=device), torch.randn(4, 3, device=device), torch.randn(4, device=device))
    crosscheck(Affine.forward, Affine.backward, inputs, twin=TWINS["Affine"].function).raise_on_mismatch()


@given(st.integers(1, 7), st.integers(1, 7), st.integers(0, 2**31))
def test_costs_are_of_each_sample(samples, outputs, seed):
    generator = torch.Generator().manual_seed(seed)
    n = torch.randn(samples, outputs, generator=generator)
    z = torch.rand(samples, outputs, generator=generator)
    t = torch.randint(outputs, (samples,), generator=generator)
    for rule, target in ((SigmoidCrossEntropy, z), (SoftmaxCrossEntropy, t), (SquaredError, z)):
        costs = rule.forward(n, target)
        assert costs.shape == (samples,)
        for s in range(samples):
            torch.testing.assert_close(costs[s], rule.forward(n[s], target[s]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_costs_of_saturated_neurons_are_finite(dtype, device):
    n = torch.tensor([[1e4, -1e4, 0.0], [-1e4, 1e4, 20.0]], dtype=dtype, device=device)
    z = torch.tensor([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=dtype, device=device)
    t = torch.tensor([0, 0], device=device)
    for rule, target in ((SigmoidCrossEntropy, z), (SoftmaxCrossEntropy, t)):
        costs = rule.forward(n, target)
        (gradient, *_) = rule.backward(torch.ones_like(costs), costs, n, target)
        assert costs.isfinite().all()
        assert gradient.isfinite().all()
        assert costs[1] > 1e4 > costs[0]


def test_sigmoid_cross_entropy_keeps_a_small_cost():
    """log(1 − n(out)) would give 0, or nan, where n(out) rounds to 1."""
    n, z = torch.tensor([20.0]), torch.tensor([1.0])
    assert float(SigmoidCrossEntropy.forward(n, z)) == pytest.approx(2.0611537e-09, rel=1e-6)


def test_relu_at_its_kink_has_torchs_subgradient(device):
    x = torch.zeros(1, device=device)
    assert ReLU.backward(torch.ones_like(x), x, x)[0] == 0


def test_squared_error_is_half_of_torchs_sum():
    n, z = torch.randn(4, 3), torch.randn(4, 3)
    expected = torch.nn.MSELoss()(n, z) * 3 / 2
    torch.testing.assert_close(SquaredError.forward(n, z).mean(), expected)


def test_a_rule_without_a_derivation_is_refused():
    with pytest.raises(TypeError, match="rule Doubt: expected .* got no Derivation:"):

        class Doubt(Rule):
            """Shapes: x [...]."""

            @staticmethod
            def forward(x):
                return x

            @staticmethod
            def backward(grad_out, out, x):
                return (grad_out,)

    assert "Doubt" not in RULES


def test_a_rule_without_a_backward_is_refused():
    with pytest.raises(TypeError, match="rule Half: expected .* got no backward"):

        class Half(Rule):
            """Derivation: none.  Shapes: none."""

            @staticmethod
            def forward(x):
                return x
