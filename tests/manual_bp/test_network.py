"""The network: against autograd at every dtype, against the complex step, and its contract."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from crosscheck.verdict.numerical import complex_step
from crosscheck.verdict.precision import dtypes_of
from manual_bp import Network, _checks
from manual_bp.commands.subjects import network, twin_names
from manual_bp.network import ACTIVATIONS, COSTS
from manual_bp.rules import ReLU, SigmoidCrossEntropy, SiLU, SoftmaxCrossEntropy, SquaredError, Tanh
from reference.network import Twin, one_round


def target(cost: str, samples: tuple[int, ...], outputs: int, generator: torch.Generator) -> torch.Tensor:
    match cost:
        case "cross_entropy":
            return torch.rand(*samples, outputs, generator=generator, dtype=torch.float64)
        case "softmax_cross_entropy":
            return torch.randint(outputs, samples, generator=generator)
    return torch.randn(*samples, outputs, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "identity"])
@pytest.mark.parametrize("samples", [(), (1,), (7,)], ids=["sample", "batch of 1", "batch of 7"])
def test_one_round_of_training_is_autograds_at_every_rung(activation, cost, samples, device):
    generator = torch.Generator().manual_seed(1)
    net = Network.random([4, 6, 5, 3], activation=activation, cost=cost, dtype=torch.float64)
    x = torch.randn(*samples, 4, generator=generator, dtype=torch.float64)
    z = target(cost, samples, 3, generator)
    report = network(net, x, z, 0.5, device, dtypes_of(device), 0)
    report.raise_on_mismatch()
    per_layer = {"n_in", "n_out", "delta_in", "delta_out", "weight", "bias"}
    per_layer |= {f"{when} {param}" for when in ("new", "stepped") for param in ("weight", "bias")}
    assert {row.name for row in report.rows} == {"J", "x"} | {
        f"{name}[{layer}]" for name in per_layer for layer in range(3)
    }


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=7),
    samples=st.sampled_from([(), (1,), (2,), (11,)]),
    activation=st.sampled_from(list(ACTIVATIONS)),
    cost=st.sampled_from(list(COSTS)),
    seed=st.integers(0, 2**31),
)
def test_any_network_is_its_twin(sizes, samples, activation, cost, seed, device):
    generator = torch.Generator().manual_seed(seed)
    net = Network.random(sizes, seed=seed, activation=activation, cost=cost, dtype=dtypes_of(device)[0], device=device)
    x = torch.randn(*samples, sizes[0], generator=generator).to(device, dtypes_of(device)[0])
    z = target(cost, samples, sizes[-1], generator).to(device)
    z = z.to(x.dtype) if z.is_floating_point() else z
    theirs = one_round(x, z, 0.3, net.weights, net.biases, *twin_names(net))
    trace = net.forward(x)
    grads = net.backward(trace, z)
    net.update(grads, 0.3)
    ours = {"J": grads.J, "x": grads.x}
    for layer in range(len(sizes) - 1):
        ours |= {f"{name}[{layer}]": getattr(trace, name)[layer] for name in ("n_in", "n_out")}
        ours |= {
            f"{name}[{layer}]": getattr(grads, name)[layer] for name in ("delta_in", "delta_out", "weight", "bias")
        }
        ours |= {f"new weight[{layer}]": net.weights[layer], f"new bias[{layer}]": net.biases[layer]}
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.device_except("mps", reason="mps has no float64")
@pytest.mark.parametrize("samples", [(), (5,)], ids=["sample", "batch"])
def test_matrix_form_is_the_complex_step(samples, device):
    generator = torch.Generator().manual_seed(0)
    net = Network.random([3, 4, 2], dtype=torch.float64, device=device)
    x = torch.randn(*samples, 3, generator=generator, dtype=torch.float64)
    z = torch.rand(*samples, 2, generator=generator, dtype=torch.float64)
    grads = net.backward(net.forward(x.to(device)), z.to(device))
    params = ([p.cpu().numpy() for p in params] for params in (net.weights, net.biases))
    step = complex_step(x.numpy(), z.numpy(), *params)
    ours = {"J": grads.J, "x": grads.x}
    for name in ("delta_in", "delta_out", "weight", "bias"):
        ours |= {f"{name}[{layer}]": getattr(grads, name)[layer] for layer in range(2)}
    assert ours.keys() == step.keys()
    for name, value in ours.items():
        np.testing.assert_allclose(value.cpu().numpy(), step[name], rtol=1e-13, err_msg=name)


def test_the_gradient_of_a_batch_is_the_mean_of_its_samples(device):
    net = Network.random([3, 4, 2], device=device)
    x, z = torch.randn(5, 3, device=device), torch.rand(5, 2, device=device)
    batch = net.backward(net.forward(x), z)
    alone = [net.backward(net.forward(x[s]), z[s]) for s in range(5)]
    for layer in range(2):
        torch.testing.assert_close(batch.weight[layer], torch.stack([g.weight[layer] for g in alone]).mean(0))
        torch.testing.assert_close(batch.delta_in[layer], torch.stack([g.delta_in[layer] for g in alone]) / 5)
    torch.testing.assert_close(net.cost(x, z), torch.stack([g.J for g in alone]).mean())


def test_a_network_owns_its_weights(device):
    weights, biases = [torch.ones(2, 3, device=device)], [torch.zeros(2, device=device)]
    net = Network(weights, biases)
    weights[0].fill_(7)
    biases[0].fill_(7)
    assert (net.weights[0] == 1).all()
    assert (net.biases[0] == 0).all()
    net.step(torch.ones(3, device=device), torch.zeros(2, device=device), 0.5)
    assert (weights[0] == 7).all()
    assert (biases[0] == 7).all()


def test_deltas_belong_to_the_weights_of_the_forward_phase(device):
    """Whatever is done to the network in between."""
    net = Network.random([3, 4, 2], device=device)
    x, z = torch.randn(5, 3, device=device), torch.rand(5, 2, device=device)
    trace = net.forward(x)
    before = net.backward(trace, z)
    net.update(before, 3.0)
    after = net.backward(trace, z)
    for layer in range(2):
        assert torch.equal(before.delta_in[layer], after.delta_in[layer])
        assert torch.equal(before.weight[layer], after.weight[layer])


def test_activation_and_cost_by_name_or_by_rule():
    by_name = Network.random([3, 4, 2], activation="relu", cost="cross_entropy")
    by_rule = Network.random([3, 4, 2], activation=ReLU, cost=SigmoidCrossEntropy)
    per_layer = Network.random([3, 4, 2], activation=["relu", "sigmoid"], cost="cross_entropy")
    assert by_name.activations == by_rule.activations == per_layer.activations
    assert by_name.cost_rule is by_rule.cost_rule


def test_random_is_repeatable_and_the_same_everywhere(device):
    one = Network.random([3, 4, 2], seed=5)
    two = Network.random([3, 4, 2], seed=5, device=device)
    other = Network.random([3, 4, 2], seed=6)
    assert torch.equal(one.weights[0], two.weights[0].cpu())
    assert not torch.equal(one.weights[0], other.weights[0])
    assert two.weights[0].device.type == device.type


@pytest.mark.parametrize(
    ("module", "cost"),
    [
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.Sigmoid(), nn.Linear(4, 2), nn.Sigmoid()), "cross_entropy"),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), "softmax_cross_entropy"),
        (lambda: nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)), "squared_error"),
    ],
)
def test_from_module_and_back(module, cost, device):
    theirs = module().to(device)
    net = Network.from_module(theirs, cost=cost)
    back = net.to_module()
    x = torch.randn(5, 3, device=device)
    with torch.no_grad():
        torch.testing.assert_close(net.forward(x).n_out[-1], theirs(x))
        torch.testing.assert_close(back(x), theirs(x))
    assert [type(part) for part in back] == [type(part) for part in theirs]
    assert all(parameter.requires_grad for parameter in back.parameters())
    z = torch.zeros(5, dtype=torch.long) if cost == "softmax_cross_entropy" else torch.zeros(5, 2)
    net.step(x, z.to(device), 0.1)
    assert torch.equal(back[0].weight, theirs[0].weight)


def test_a_module_says_its_sizes_and_what_it_cannot_be():
    linear = Network.random([3, 4]).to_module()[0]
    assert (linear.in_features, linear.out_features) == (3, 4)
    with pytest.raises(
        TypeError, match="^activation: expected one of Sigmoid, Tanh, ReLU, Identity, which torch.nn has too, got SiLU$"
    ):
        Network.random([3, 4, 2], activation=[SiLU, "sigmoid"]).to_module()


@pytest.mark.parametrize(
    ("module", "error", "says"),
    [
        (nn.Linear(2, 2), TypeError, "module: expected a torch.nn.Sequential, got Linear"),
        (nn.Sequential(nn.Linear(2, 2, bias=False)), TypeError, r"module\[0\]: expected a Linear with a bias"),
        (nn.Sequential(nn.Sigmoid(), nn.Linear(2, 2)), TypeError, r"module\[0\]: expected a Linear"),
        (
            nn.Sequential(nn.Linear(2, 2), nn.GELU()),
            TypeError,
            r"^module\[1\]: expected a Linear, or after one of them one of Sigmoid, Tanh, ReLU, Identity, got GELU\(",
        ),
        (nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Tanh()), TypeError, r"module\[2\]: expected a Linear"),
        (nn.Sequential(nn.Linear(2, 2)), ValueError, r"activation\[0\]: expected Sigmoid, .* got Identity"),
        (nn.Sequential(), ValueError, "weights: expected one tensor a layer, got none"),
    ],
)
def test_from_module_refuses(module, error, says):
    with pytest.raises(error, match=says):
        Network.from_module(module)


W, B = torch.ones(2, 3), torch.ones(2)


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (([], []), ValueError, "weights: expected one tensor a layer, got none"),
        (([W], []), ValueError, "biases: expected 1, one a layer as weights has, got 0"),
        (([W, W], [B, B]), ValueError, r"weights\[1\]: expected shape \[2, 2\] .* got \[2, 3\]"),
        (([W[0]], [B]), ValueError, r"weights\[0\]: expected shape \[outputs, inputs\], got \[3\]"),
        (([W], [torch.ones(3)]), ValueError, r"biases\[0\]: expected shape \[2\] .* got \[3\]"),
        (([W.long()], [B]), TypeError, r"weights\[0\]: expected a floating-point dtype, got torch.int64"),
        (([W.tolist()], [B]), TypeError, r"weights\[0\]: expected a torch tensor, got list"),
        (
            ([W], [B.double()]),
            TypeError,
            r"biases\[0\]: expected dtype torch.float32, as the rest has, got torch.float64",
        ),
        (([W], [B.to("meta")]), ValueError, r"biases\[0\]: expected a tensor on cpu, .* got one on meta"),
        (
            ([W.clone().requires_grad_()], [B]),
            TypeError,
            r"weights\[0\]: .*requires_grad=True: pass weights\[0\].detach\(\)",
        ),
        (
            ([W], [B], "sigmod"),
            ValueError,
            "activation: expected one of sigmoid, tanh, relu, identity, .* got 'sigmod'",
        ),
        (([W], [B], ["tanh", "tanh"], "squared_error"), ValueError, "activation: expected 1, one a layer, got 2"),
        (
            ([W], [B], ["tanh"]),
            ValueError,
            r"^activation\[0\]: expected Sigmoid, with which the cost SigmoidCrossEntropy is fused, got Tanh: choose "
            "another cost of cross_entropy, softmax_cross_entropy, squared_error$",
        ),
        (([W], [B], "tanh", "entropy"), ValueError, "cost: expected one of cross_entropy, .* got 'entropy'"),
        (([W], [B], "tanh", Tanh), ValueError, "cost: expected one of cross_entropy, .* or a Loss, got"),
    ],
)
def test_bad_networks_are_refused(arguments, error, says):
    with pytest.raises(error, match=says):
        Network(*arguments)


X = torch.ones(5, 3)


@pytest.mark.parametrize(
    ("cost", "x", "z", "eta", "error", "says"),
    [
        (
            "cross_entropy",
            torch.ones(5, 4),
            torch.ones(5, 2),
            0.1,
            ValueError,
            r"x: expected shape \[N, 3\] or \[3\], got \[5, 4\]",
        ),
        ("cross_entropy", torch.ones(1, 5, 3), torch.ones(5, 2), 0.1, ValueError, r"x: .* got \[1, 5, 3\]"),
        (
            "cross_entropy",
            torch.ones(0, 3),
            torch.ones(0, 2),
            0.1,
            ValueError,
            "x: expected at least one sample, got an empty batch",
        ),
        ("cross_entropy", X.double(), torch.ones(5, 2), 0.1, TypeError, "x: expected dtype torch.float32"),
        ("cross_entropy", X.to("meta"), torch.ones(5, 2), 0.1, ValueError, "x: expected a tensor on cpu"),
        ("cross_entropy", X.clone().requires_grad_(), torch.ones(5, 2), 0.1, TypeError, "x: .*requires_grad"),
        (
            "cross_entropy",
            X,
            torch.ones(5),
            0.1,
            ValueError,
            r"^z: expected shape \[5, 2\] \(that of the network's outputs\), got \[5\]$",
        ),
        ("cross_entropy", X, torch.ones(5, 2), math.nan, ValueError, "eta: expected a finite number, got nan"),
        ("cross_entropy", X, torch.ones(5, 2), None, TypeError, "eta: expected a number, got NoneType"),
        (
            "softmax_cross_entropy",
            X,
            torch.ones(5),
            0.1,
            TypeError,
            "^z: expected class indices of an integer dtype, got torch.float32$",
        ),
        ("softmax_cross_entropy", X, torch.ones(5).bool(), 0.1, TypeError, "^z: expected class .* got torch.bool$"),
        ("softmax_cross_entropy", X, torch.ones(5).cfloat(), 0.1, TypeError, "^z: expected class .* torch.complex64$"),
        (
            "softmax_cross_entropy",
            X,
            torch.ones(5).long().to("meta"),
            0.1,
            ValueError,
            "^z: expected a tensor on cpu, ",
        ),
        ("softmax_cross_entropy", X, None, 0.1, TypeError, "^z: expected a tensor, an array or .* got NoneType "),
        ("softmax_cross_entropy", X, [0, 1], 0.1, ValueError, r"^z: expected shape \[5\] .* got \[2\]$"),
        ("softmax_cross_entropy", X, [0.0] * 5, 0.1, TypeError, "^z: expected class .* got torch.float64$"),
        (
            "softmax_cross_entropy",
            X,
            torch.ones(5, 2).long(),
            0.1,
            ValueError,
            r"^z: expected shape \[5\] \(one class index a sample\), got \[5, 2\]$",
        ),
        (
            "squared_error",
            X,
            torch.ones(5, 2).long(),
            0.1,
            TypeError,
            "z: expected a floating-point dtype, got torch.int64",
        ),
    ],
)
def test_bad_input_is_refused_and_changes_nothing(cost, x, z, eta, error, says, device):
    net = Network.random([3, 2], cost=cost, device=device)
    weights, biases = net.weights[0].clone(), net.biases[0].clone()
    says = says.replace("on cpu", f"on {device.type}")
    x = x if x.is_meta else x.detach().to(device).requires_grad_(x.requires_grad)
    with pytest.raises(error, match=says):
        net.step(x, z.to(device) if isinstance(z, torch.Tensor) and not z.is_meta else z, eta)
    assert torch.equal(net.weights[0], weights)
    assert torch.equal(net.biases[0], biases)


@pytest.mark.parametrize(
    ("cost", "z", "says"),
    [
        ("cross_entropy", torch.full((5, 2), 1.5), r"^[zZ]: expected targets from 0 to 1, got 1.5 at \[0, 0\]"),
        ("cross_entropy", torch.full((5, 2), math.nan), "^[zZ]: expected targets from 0 to 1, got nan"),
        ("softmax_cross_entropy", torch.tensor([0, 1, 2, 0, 0]), r"^[zZ]: .* from 0 to 1, got 2 at \[2\]"),
        ("softmax_cross_entropy", torch.tensor([0, 1, -1, 0, 0]), r"^[zZ]: .* got -1 at \[2\]"),
    ],
)
def test_targets_out_of_range_are_refused_and_change_nothing(cost, z, says, device):
    net = Network.random([3, 2], cost=cost, device=device)
    before = net.weights[0].clone()
    x, z = X.to(device), z.to(device)
    calls = [
        lambda: net.cost(x, z),
        lambda: net.backward(net.forward(x), z),
        lambda: net.fit(x, z, eta=0.1, epochs=1, batch_size=2),
    ]
    if cost == "softmax_cross_entropy" and device.type == "cpu":  # on others a step does not look at values at all
        calls.append(lambda: net.step(x, z, 0.1))
    for call in calls:
        with pytest.raises(ValueError, match=says):
            call()
        assert torch.equal(net.weights[0], before)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32], ids=str)
def test_class_indices_of_any_integer_dtype(dtype, device):
    """In few bits −100, which is ignored, and the number of the classes are others."""
    net = Network.random([3, 300], cost="softmax_cross_entropy", device=device)
    z = torch.tensor([0, 100, 127, 5, 100], device=device)
    (narrow, wide), x = ((net.backward(net.forward(X.to(device)), each)) for each in (z.to(dtype), z)), X.to(device)
    assert torch.equal(narrow.weight[0], wide.weight[0])
    loss = SoftmaxCrossEntropy.forward(torch.zeros(1, 200, device=device), torch.tensor([156], device=device).byte())
    assert float(loss) == pytest.approx(math.log(200))
    J = torch.zeros((), device=device)
    net.step(x, z.to(dtype), 0.1, cost=J)
    assert float(J) == pytest.approx(5 * float(wide.J))


def test_one_sample_with_its_cost(device):
    for cost, z in (("softmax_cross_entropy", torch.tensor(1)), ("cross_entropy", torch.tensor([0.0, 1.0]))):
        net, J = Network.random([3, 2], cost=cost, device=device), torch.zeros((), device=device)
        expected = net.cost(X[0].to(device), z.to(device))
        net.step(X[0].to(device), z.to(device), 0.1, cost=J)
        assert float(J) == pytest.approx(float(expected))


def test_a_rule_without_a_form_in_place_steps_as_the_others(device):
    """One sample counts once, a batch as often as it has samples; eta is a number of any kind."""
    for x, z in ((X[0], torch.tensor([0.0, 1.0])), (X, torch.ones(5, 2))):
        net = Network.random([3, 4, 2], activation=[SiLU, "sigmoid"], device=device)
        expected, J = net.cost(x.to(device), z.to(device)), torch.zeros((), device=device)
        for eta in (0, torch.tensor(0.0), 0.0):
            net.step(x.to(device), z.to(device), eta, cost=J)
        assert float(J) == pytest.approx(3 * float(expected) * (5 if x.dim() == 2 else 1))


def test_the_last_of_equal_etas_counts():
    ours, theirs = Network.random([3, 2]), Network.random([3, 2])
    for eta in (1, 1.0, torch.tensor(1.0)):
        ours.step(X, torch.ones(5, 2), eta)
        theirs.step(X, torch.ones(5, 2), 1.0)
    assert torch.equal(ours.weights[0], theirs.weights[0])


def test_of_an_error_the_first_line_is_told():
    assert _checks.first_line(ValueError("\nwhat it says\nand the stack below it")) == "what it says"


def test_a_module_is_made_without_a_random_number(device):
    state = torch.get_rng_state()
    assert Network.random([3, 2], device=device).to_module()[0].weight.device.type == device.type
    assert torch.equal(torch.get_rng_state(), state)


def test_a_trace_of_another_network_is_refused():
    net, deeper = Network.random([3, 2]), Network.random([3, 3, 2])
    with pytest.raises(ValueError, match="^trace: expected 1 layers, as here, got 2$"):
        net.backward(deeper.forward(X), torch.ones(5, 2))


def test_update_refuses_the_gradients_of_another_network(device):
    net, other = Network.random([3, 2], device=device), Network.random([3, 4], device=device)
    grads = other.backward(other.forward(X.to(device)), torch.ones(5, 4, device=device))
    before = net.weights[0].clone()
    with pytest.raises(ValueError, match=r"grads.weight\[0\]: expected shape \[2, 3\] .* got \[4, 3\]"):
        net.update(grads, 0.1)
    right = net.backward(net.forward(X.to(device)), torch.ones(5, 2, device=device))
    with pytest.raises(ValueError, match=r"^grads.bias: expected 1, one a layer, got 0$"):
        net.update(replace(right, bias=()), 0.1)
    assert torch.equal(net.weights[0], before)


@pytest.mark.parametrize("sizes", [[], [3], [3, 0], [3, 2.5]])
def test_bad_sizes_are_refused(sizes):
    with pytest.raises((ValueError, TypeError), match="sizes"):
        Network.random(sizes)


def test_a_network_shows_what_it_is():
    net = Network.random([3, 4, 2], activation="tanh")
    assert repr(net) == "Network(3-4-2, Tanh, Sigmoid, SigmoidCrossEntropy, torch.float32 on cpu)"


def test_squared_error_takes_any_output():
    net = Network.random([3, 4, 2], activation=[Tanh, "relu"], cost=SquaredError)
    assert [rule.__name__ for rule in net.activations] == ["Tanh", "ReLU"]


def test_a_twin_draws_nothing():
    before = torch.get_rng_state()
    Twin([torch.ones(4, 3)], [torch.ones(4)], ["tanh"], "squared_error")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_twin_of_an_unknown_cost_is_refused():
    twin = Twin([torch.ones(4, 3)], [torch.ones(4)], ["tanh"], "hinge")
    says = "^cost: expected cross_entropy, softmax_cross_entropy or squared_error, got 'hinge'$"
    with pytest.raises(ValueError, match=says):
        twin.J(torch.ones(4), torch.ones(4), torch.ones(4))


def outputs(cost: str) -> Network:
    """Of x it has the outputs −x and x, before the sigmoid of cross_entropy."""
    activation = "sigmoid" if cost == "cross_entropy" else "identity"
    return Network([torch.tensor([[-1.0], [1.0]])], [torch.zeros(2)], activation, cost)


def test_a_network_is_called_and_predicts():
    x = torch.tensor([[2.0], [-3.0]])
    n_out = torch.tensor([[-2.0, 2.0], [3.0, -3.0]])
    for cost, called, predicted in (
        ("softmax_cross_entropy", n_out, torch.tensor([1, 0])),
        ("cross_entropy", n_out.sigmoid(), n_out.sigmoid()),
        ("squared_error", n_out, n_out),
    ):
        net = outputs(cost)
        torch.testing.assert_close(net(x), called)
        torch.testing.assert_close(net.predict(x), predicted)
        torch.testing.assert_close(net.predict(x[1]), predicted[1])
        torch.testing.assert_close(net.to_module()(x).detach(), net(x))


@pytest.mark.parametrize("cost", COSTS)
def test_arrays_and_lists_are_taken_as_tensors_are(cost, device):
    """In float64, where nobody chose it, and in whole numbers; in any memory."""
    z = (
        torch.tensor([0, 1, 1])
        if cost == "softmax_cross_entropy"
        else torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    )
    x = torch.tensor([[1.0, -2.0, 3.0], [0.0, 1.0, 5.0], [2.0, 2.0, 2.0]])
    theirs = Network.random([3, 4, 2], cost=cost, device=device)
    history = theirs.fit(x.to(device), z.to(device), eta=0.1, epochs=2, batch_size=2)
    whole = z.numpy().astype(np.int32)
    for convert in (
        lambda t: t.tolist(), lambda t: t.numpy(), lambda t: t.numpy().astype(int).tolist(), lambda t: list(t.unbind()),
        lambda t: t.numpy().astype(">i2"), lambda t: t.numpy()[::-1][::-1],
    ):  # fmt: skip
        ours = Network.random([3, 4, 2], cost=cost, device=device)
        assert ours.fit(convert(x), convert(z), eta=0.1, epochs=2, batch_size=2) == history
        assert torch.equal(ours.weights[0], theirs.weights[0])
        ours.step(convert(x), convert(z), 0.1)
        assert torch.equal(ours(convert(x)), ours(x.to(device)))
        assert torch.equal(ours.cost(convert(x), whole), ours.cost(x.to(device), z.to(device)))
        ours.backward(ours.forward(convert(x)[0]), convert(z)[0])


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([[1.0, 2.0, 3.0], [1.0]], "got list"),
        ([["a", "b", "c"]], r"got list \(dtype <U1\)$"),
        (np.array([[1, None, 2]]), r"got ndarray \(dtype object\)$"),
        (np.ones((1, 3), complex), r"got ndarray \(dtype complex128\)$"),
        (None, r"got NoneType \(dtype object\)$"),
    ],
)
def test_what_holds_no_numbers_is_refused(x, says):
    net = Network.random([3, 2])
    calls = (net, net.predict, lambda x: net.step(x, torch.ones(1, 2), 0.1), lambda x: net.cost(x, torch.ones(1, 2)))
    for call in calls:
        with pytest.raises(TypeError, match=f"^x: expected a tensor, an array or nested lists of numbers, .*{says}"):
            call(x)


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_what_is_not_finite_is_refused_where_it_stands(number):
    net = Network.random([3, 2], activation="identity", cost="squared_error")
    x, z = torch.ones(5, 3), torch.ones(5, 2)
    x[2, 1] = z[4, 0] = number
    for call in (lambda: net.cost(x, z), lambda: net.predict(x), lambda: net.evaluate(x, z)):
        with pytest.raises(ValueError, match=rf"^x: expected finite numbers, got {number} at \[2, 1\]$"):
            call()
    with pytest.raises(ValueError, match=rf"^z: expected finite numbers, got {number} at \[4, 0\]$"):
        net.cost(torch.ones(5, 3), z)
