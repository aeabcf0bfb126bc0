"""The step in place, in each of its forms, against the derivation: forward, backward, update."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crosscheck import compare
from manual_bp import Network, in_place
from manual_bp.in_place import SMALL, Calls, Products, form
from manual_bp.network import ACTIVATIONS, COSTS, one_round
from manual_bp.rules import GELU


def batch(sizes, samples, cost, device, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*samples, sizes[0], generator=generator, dtype=torch.float64).to(device, dtype)
    if cost == "softmax_cross_entropy":
        return x, torch.randint(sizes[-1], samples, generator=generator).to(device)
    return x, torch.rand(*samples, sizes[-1], generator=generator, dtype=torch.float64).to(device, dtype)


def parameters(net):
    named = {f"weight[{layer}]": w for layer, w in enumerate(net.weights)}
    return named | {f"bias[{layer}]": b for layer, b in enumerate(net.biases)}


def assert_steps_are_rounds(net, *steps):
    """Take the steps (x, z, eta) in place, and as rounds in the same dtype and in float64: the judge decides."""
    rounds = copy.deepcopy(net)
    exact = Network(
        [w.cpu().double() for w in net.weights], [b.cpu().double() for b in net.biases], net.activations, net.cost_rule
    )
    for x, z, eta in steps:
        net.step(x, z, eta)
        one_round(rounds, x, z, eta)
        one_round(exact, x.cpu().double(), z.cpu().double() if z.is_floating_point() else z.cpu(), eta)
    compare(parameters(net), parameters(rounds), oracle=parameters(exact)).raise_on_mismatch()


def of_every_network(test):
    test = pytest.mark.parametrize("cost", COSTS)(test)
    test = pytest.mark.parametrize("activation", ACTIVATIONS)(test)
    return pytest.mark.parametrize("samples", [(), (1,), (7,)], ids=["sample", "batch of 1", "batch of 7"])(test)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("by", [Calls, Products])
def test_every_eta_counts_from_the_first_step(by, eta, monkeypatch):
    monkeypatch.setattr(in_place, "form", lambda *_: by)
    net = Network.random([4, 3])
    before = net.weights[0].clone()
    x, z = batch([4, 3], (5,), "cross_entropy", torch.device("cpu"), torch.float32)
    assert_steps_are_rounds(net, (x, z, eta))
    assert torch.equal(net.weights[0], before) == (eta == 0)
    assert_steps_are_rounds(net, (x[:2], z[:2], eta), (x, z, 0.5), (x, z, eta))


@of_every_network
def test_a_step_by_products_is_a_round(activation, cost, samples, device, dtype, monkeypatch):
    monkeypatch.setattr(in_place, "form", lambda *_: Products)
    net = Network.random([4, 6, 5, 3], activation=activation, cost=cost, dtype=dtype, device=device)
    x, z = batch([4, 6, 5, 3], samples, cost, device, dtype)
    assert_steps_are_rounds(net, (x, z, 0.3), (x, z, 0.3))
    assert isinstance(net._in_place, Products)


@of_every_network
@pytest.mark.device_only("cpu")
@pytest.mark.dtypes("float32", "float64")
def test_a_step_by_calls_is_a_round(activation, cost, samples, device, dtype):
    net = Network.random([4, 6, 5, 3], activation=activation, cost=cost, dtype=dtype)
    x, z = batch([4, 6, 5, 3], samples, cost, device, dtype)
    assert_steps_are_rounds(net, (x, z, 0.3), (x, z, 0.3))
    assert isinstance(net._in_place, Calls)


@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=7),
    batches=st.lists(st.sampled_from([(), (1,), (2,), (11,), (128,), (300,)]), min_size=1, max_size=4),
    activation=st.sampled_from(list(ACTIVATIONS)),
    cost=st.sampled_from(list(COSTS)),
    small=st.sampled_from([0, 1000, SMALL]),
)
def test_steps_on_batches_of_any_shape_are_rounds(sizes, batches, activation, cost, small, device):
    """Whatever form each of them takes, and the one before it had."""
    net = Network.random(sizes, activation=activation, cost=cost, dtype=torch.float32, device=device)
    drawn = [batch(sizes, samples, cost, device, torch.float32, seed) for seed, samples in enumerate(batches)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(in_place, "SMALL", small)
        assert_steps_are_rounds(net, *((x, z, 0.1) for x, z in drawn))


def test_the_form_is_for_what_takes_the_time():
    cpu = torch.device("cpu")
    assert form(1, [2, 2, 2], torch.float32, cpu) is Calls
    assert form(10, [784, 30, 10], torch.float64, cpu) is Calls
    assert form(128, [784, 100, 10], torch.float32, cpu) is Products
    assert form(1, [2, 2, 2], torch.bfloat16, cpu) is Products
    assert form(1, [2, 2, 2], torch.float32, torch.device("cuda")) is Products


@pytest.mark.parametrize("samples", [1, 500], ids=["calls", "products"])
@pytest.mark.parametrize("cost", COSTS)
def test_a_step_adds_up_the_cost_where_it_is_asked_to(cost, samples, device):
    net = Network.random([30, 40, 3], cost=cost, device=device)
    x, z = batch([30, 40, 3], (samples,), cost, device, torch.float32)
    total = torch.ones((), device=device)
    expected = 1 + samples * float(net.cost(x, z))
    net.step(x, z, 0.3, cost=total)
    assert float(total) == pytest.approx(expected)


@pytest.mark.parametrize("samples", [1, 500], ids=["calls", "products"])
def test_what_a_network_gave_out_before_a_step_stays(samples, device):
    """The weights, and the trace with its deltas: no order of calls puts newer weights under them."""
    net = Network.random([30, 40, 3], device=device)
    x, z = batch([30, 40, 3], (samples,), "cross_entropy", device, torch.float32)
    net.step(x, z, 0.3)
    weights, trace = net.weights, net.forward(x)
    kept, expected = [w.clone() for w in weights], net.backward(trace, z)
    net.step(x, z, 0.3)
    assert all(torch.equal(w, before) for w, before in zip(weights, kept, strict=True))
    assert not torch.equal(net.weights[0], weights[0])
    after = net.backward(trace, z)
    assert all(torch.equal(a, b) for a, b in zip(after.delta_in, expected.delta_in, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(after.weight, expected.weight, strict=True))


def test_steps_and_updates_may_alternate(device):
    mixed, rounds = (Network.random([3, 4, 2], device=device) for _ in range(2))
    x, z = batch([3, 4, 2], (5,), "cross_entropy", device, torch.float32)
    for number in range(6):
        one_round(rounds, x, z, 0.5)
        if number % 3:
            mixed.step(x, z, 0.5)
        else:
            mixed.update(mixed.backward(mixed.forward(x), z), 0.5)
    assert compare(parameters(mixed), parameters(rounds)).ok


def test_another_eta_counts_from_its_step_on(device):
    x, z = batch([3, 4, 2], (5,), "cross_entropy", device, torch.float32)
    net = Network.random([3, 4, 2], device=device)
    assert_steps_are_rounds(net, *((x, z, eta) for eta in (0.5, 0.5, 0.1, 0.0, 0.7)))


def test_an_activation_without_a_form_in_place_is_trained_all_the_same(device):
    net = Network.random([3, 4, 2], activation=[GELU, "tanh"], cost="squared_error", device=device)
    x, z = batch([3, 4, 2], (5,), "squared_error", device, torch.float32)
    assert_steps_are_rounds(net, (x, z, 0.3), (x, z, 0.3))
    total = torch.zeros((), device=device)
    expected = 5 * float(net.cost(x, z))
    net.step(x, z, 0.3, cost=total)
    assert float(total) == pytest.approx(expected)


@pytest.mark.parametrize("samples", [1, 500], ids=["calls", "products"])
def test_a_step_changes_neither_its_batch_nor_the_state_of_numpy(samples, device):
    net = Network.random([30, 40, 3], activation="relu", cost="squared_error", device=device)
    x, z = batch([30, 40, 3], (samples,), "squared_error", device, torch.float32)
    kept_x, kept_z = x.clone(), z.clone()
    net.step(x, z, 0.3)
    assert torch.equal(x, kept_x)
    assert torch.equal(z, kept_z)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.step(x * 1e30, z, 1e20)  # overflows, in silence as torch does
        net.step(x * 1e30, z, 1e20)
    with pytest.warns(RuntimeWarning, match="overflow"):
        np.float32(1e30) * np.float32(1e30)


@pytest.mark.parametrize("samples", [1, 500], ids=["calls", "products"])
def test_the_batch_may_lie_anyhow(samples, device):
    x, z = batch([30, 40, 3], (samples,), "cross_entropy", device, torch.float32)
    assert_steps_are_rounds(Network.random([30, 40, 3], device=device), (x.T.contiguous().T, z.T.contiguous().T, 0.3))


def test_a_step_on_many_samples_is_as_accurate_as_autograd(device, monkeypatch):
    """A gradient that is added sample by sample onto the weight it belongs to would round the weight each time."""
    monkeypatch.setattr(in_place, "BLOCK", 90)  # and a layer of 3 × 40 has a block and a rest
    net = Network.random([30, 40, 3], device=device)
    x, z = batch([30, 40, 3], (3000,), "cross_entropy", device, torch.float32)
    assert_steps_are_rounds(net, *[(x, z, 0.3)] * 3)


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("lies", ["in rows", "in columns"])
def test_a_step_by_onednn_is_a_round(lies, device, monkeypatch, two_threads):
    monkeypatch.setattr(in_place, "LARGE", 0)
    monkeypatch.setattr(in_place, "BLOCK", 300 * 70)  # the gradients come in blocks and a rest
    assert in_place.by_onednn(torch.empty(1), torch.empty(1)) == torch.backends.mkldnn.is_available()
    net = Network.random([300, 200, 30], activation="tanh", cost="squared_error", device=device)
    x, z = batch([300, 200, 30], (500,), "squared_error", device, torch.float32)
    x = x if lies == "in rows" else x.T.contiguous().T
    assert_steps_are_rounds(net, *[(x, z, 0.05)] * 3)


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_a_network_is_copied_as_it_is(again, device):
    net = Network.random([3, 4, 2], device=device)
    x, z = batch([3, 4, 2], (5,), "cross_entropy", device, torch.float32)
    net.step(x, z, 0.5)
    other = again(net)
    for both in (net, other):
        both.step(x, z, 0.5)
    assert all(torch.equal(w, v) for w, v in zip(net.weights, other.weights, strict=True))
    net.step(x, z, 0.5)
    assert not torch.equal(net.weights[0], other.weights[0])


@pytest.mark.parametrize("samples", [1, 500], ids=["calls", "products"])
def test_steps_in_and_out_of_inference_mode(samples, device):
    inside, outside = (Network.random([30, 40, 3], device=device) for _ in range(2))
    x, z = batch([30, 40, 3], (samples,), "cross_entropy", device, torch.float32)
    with torch.inference_mode():
        inside.step(x, z, 0.5)
    inside.step(x, z, 0.5)
    for _ in range(2):
        outside.step(x, z, 0.5)
    assert all(torch.equal(a, b) for a, b in zip(inside.weights, outside.weights, strict=True))


def test_a_step_in_place_holds_no_gradient(device):
    """Its memory beyond the parameters is the activations and one more of them, not a second set of parameters."""
    net = Network.random([600, 600, 600], device=device)
    x, z = batch([600, 600, 600], (2,), "cross_entropy", device, torch.float32)
    net.step(x, z, 0.5)
    assert isinstance(net._in_place, Products)
    held = {t.data_ptr(): t.numel() for t in [*net._in_place.weights, *net._in_place.biases, *net._in_place.memory]}
    assert net._parameters is None
    assert sum(held.values()) == 2 * 600 * 601 + 3 * 2 * 600


@pytest.mark.device_only("cuda")
@pytest.mark.parametrize("batch_size", [8, 32])  # 50 samples: the last batch is smaller, and laid out anew
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("cost", COSTS)
def test_fit_by_a_graph_is_fit_by_steps(cost, activation, batch_size, device):
    X, Z = batch([4, 6, 3], (50,), cost, device, torch.float32)
    graphed, stepped = (Network.random([4, 6, 3], activation=activation, cost=cost, device=device) for _ in range(2))
    ours = graphed.fit(X, Z, eta=0.3, epochs=3, batch_size=batch_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Network, "_graph", lambda net, x, z, eta, J: lambda x, z: net.step(x, z, eta, cost=J))
        theirs = stepped.fit(X, Z, eta=0.3, epochs=3, batch_size=batch_size)
    assert ours == pytest.approx(theirs)
    assert compare(parameters(graphed), parameters(stepped)).ok


def test_a_step_takes_the_parameters_as_its_own_unless_they_were_given_out(device):
    net = Network.random([300, 400, 10], device=device)
    x, z = torch.zeros(8, 300, device=device), torch.zeros(8, 10, device=device)
    own = [p.data_ptr() for of_kind in net._parameters for p in of_kind]
    net.step(x, z, 0.1)
    assert isinstance(net._in_place, Products)
    assert [p.data_ptr() for p in (*net._in_place.weights, *net._in_place.biases)] == own
    out = net.weights, net.biases
    before = [p.clone() for of_kind in out for p in of_kind]
    net.step(x, z, 0.1)
    other = Network([w.clone() for w in out[0]], [b.clone() for b in out[1]])
    of_other = other.weights
    other.step(x, z, 0.1)
    assert all(torch.equal(p, q) for p, q in zip([p for of_kind in out for p in of_kind], before, strict=True))
    assert all(torch.equal(p, q) for p, q in zip(of_other, before, strict=False))
    assert all(torch.equal(p, q) for p, q in zip(net.weights, other.weights, strict=True))
