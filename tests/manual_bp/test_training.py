"""Gradient descent over mini-batches."""

import math
from contextlib import nullcontext
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crosscheck.verdict.precision import dtypes_of
from manual_bp import Network, training
from manual_bp.training import DivergedError, minibatches


@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 4), st.integers(0, 2**31))
def test_every_sample_is_in_one_batch_of_each_epoch(samples, batch_size, epochs, seed):
    seen: dict[int, list[int]] = {epoch: [] for epoch in range(epochs)}
    for epoch, batch in minibatches(samples, epochs=epochs, batch_size=batch_size, seed=seed):
        assert 1 <= len(batch) <= batch_size
        seen[epoch] += batch.tolist()
    for indices in seen.values():
        assert sorted(indices) == list(range(samples))


def data(device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    X = torch.randn(50, 3, generator=generator)
    return X.to(device), (X[:, 0] > X[:, 1]).long().to(device)


def test_fit_is_the_steps_on_its_batches(device):
    X, Z = data(device)
    fitted, stepped = (
        Network.random([3, 5, 2], activation="tanh", cost="softmax_cross_entropy", device=device) for _ in range(2)
    )
    history = fitted.fit(X, Z, eta=0.5, epochs=3, batch_size=7, seed=4)
    costs = [0.0] * 3
    for epoch, batch in minibatches(50, epochs=3, batch_size=7, seed=4):
        x, z = X[batch.to(device)], Z[batch.to(device)]
        costs[epoch] += float(stepped.cost(x, z)) * len(batch) / 50
        stepped.step(x, z, 0.5)
    assert history.cost == pytest.approx(costs)
    for ours, theirs in zip(fitted.weights, stepped.weights, strict=True):
        assert torch.equal(ours, theirs)


def test_fit_learns(device):
    X, Z = data(device)
    net = Network.random([3, 5, 2], activation="tanh", cost="softmax_cross_entropy", device=device)
    history = net.fit(X, Z, eta=0.5, epochs=20, batch_size=7)
    assert history.cost[-1] < 0.2 < history.cost[0]
    assert (net.forward(X).n_out[-1].argmax(1) == Z).double().mean() > 0.95


def test_fit_online_as_the_article_trains(device):
    X = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], device=device)
    Z = torch.tensor([[0.0], [1.0], [1.0], [1.0]], device=device)
    net = Network.random([2, 2, 1], device=device)
    history = net.fit(X, Z, eta=2.0, epochs=200, batch_size=1)
    assert history.cost[-1] < 0.05


def test_fit_shows_how_far_it_is(monkeypatch):
    """On stderr, a line for each step, at most ten in a second; nothing of it without progress."""
    shown, clock = [], count()

    class Bar:
        def __init__(self, *, stderr):
            shown.append(stderr)

        def progress(self):
            return nullcontext(self)

        def add_task(self, description, *, total):
            shown.append((description, total))
            return "the task"

        def update(self, task, *, description, completed):
            assert task == "the task"
            shown.append((description, completed))

    def fit(seconds, **options):
        shown.clear()
        monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: 0.5 + seconds * next(clock)))
        return Network.random([3, 2], activation="tanh", cost="softmax_cross_entropy").fit(
            X, Z, eta=0.5, epochs=2, batch_size=30, **options
        )

    X, Z = data(torch.device("cpu"))
    monkeypatch.setattr(training, "console", Bar)
    history = fit(seconds=1.0)
    then = f", cost {history.cost[0]:.4g}"
    assert shown == [
        True, ("training", 100),
        ("epoch 1 of 2", 30), (f"epoch 1 of 2{then}", 50),
        (f"epoch 2 of 2{then}", 80), (f"epoch 2 of 2, cost {history.cost[1]:.4g}", 100),
    ]  # fmt: skip
    clock = count()
    assert fit(seconds=0.06, seed=0) == history  # every other step, and the last
    assert len(shown) == 2 + 3
    assert fit(seconds=1.0, progress=False) == history
    assert shown == []


def test_costs_are_added_up_in_float64(device, monkeypatch):
    costs = []
    monkeypatch.setattr(Network, "step", lambda net, x, z, eta, *, cost: costs.append(cost))
    monkeypatch.setattr(Network, "_graph", lambda *args: costs.append(args[-1]) or (lambda x, z: None))
    X, Z = data(device)
    net = Network.random([3, 2], activation="tanh", cost="softmax_cross_entropy", device=device)
    net.fit(X, Z, eta=0.1, epochs=1, batch_size=50)
    assert [(cost.dtype, cost.device) for cost in costs] == [(dtypes_of(device)[0], X.device)]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"epochs": 0}, "epochs: expected 1 or more, got 0"),
        ({"epochs": 1.5}, "epochs: expected a whole number, got 1.5"),
        ({"batch_size": 0}, "batch_size: expected 1 or more, got 0"),
        ({"eta": float("nan")}, "eta: expected a finite number, got nan"),
        ({"Z": torch.zeros(49).long()}, r"^Z: expected shape \[50\] .* got \[49\]"),
        ({"X": torch.zeros(0, 3), "Z": torch.zeros(0).long()}, "^X: expected at least one sample, got an empty batch$"),
        ({"X": torch.zeros(3), "Z": torch.tensor(1)}, r"^X: expected shape \[samples, 3\], got .* one sample, \[3\]$"),
        ({"X": [[1.0, 2.0], [3.0]]}, "^X: expected a tensor, an array or nested lists of numbers, .* got list "),
        ({"X": {1: 2.0}}, r"^X: expected a tensor, .* got dict \(dtype object\)$"),
        ({"X": torch.full((50, 3), math.nan)}, r"^X: expected finite numbers, got nan at \[0, 0\]$"),
        ({"held_out": torch.ones(2, 3)}, r"^held_out: expected a pair \(X, Z\), got Tensor$"),
        ({"held_out": ([[1.0, 2.0, math.inf]], [0])}, r"^held_out\[0\]: expected finite numbers, got inf at \[0, 2\]$"),
        (
            {"held_out": ([[1.0, 2.0, 3.0]], [2])},
            r"^held_out\[1\]: expected class indices from 0 to 1, got 2 at",
        ),
        ({"held_out": ([1.0, 2.0, 3.0], 1)}, r"^held_out\[0\]: expected shape \[samples, 3\], got that of one sample"),
        ({"eta": torch.ones(2)}, "^eta: expected a number, got Tensor$"),
        ({"eta": 10**400}, "^eta: expected a finite number, got 1000"),
    ],
)
def test_bad_training_is_refused_and_changes_nothing(wrong, says):
    X, Z = data(torch.device("cpu"))
    net = Network.random([3, 2], activation="tanh", cost="softmax_cross_entropy")
    before = net.weights[0].clone()
    with pytest.raises((ValueError, TypeError), match=says):
        net.fit(**{"X": X, "Z": Z, "eta": 0.1, "epochs": 1, "batch_size": 5} | wrong)
    assert torch.equal(net.weights[0], before)


def test_a_small_network_is_trained_on_one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with training.threads_for([64, 32, 10], 64):
            assert torch.get_num_threads() == 1
        with pytest.raises(KeyError), training.threads_for([2, 2], 1):
            raise KeyError
        assert torch.get_num_threads() == 3
        with training.threads_for([4096, 4096], 64):
            assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)


def test_history_has_what_is_evaluated_on_the_samples_held_out(device):
    X, Z = data(device)
    held_out = (X[:20], Z[:20])
    for cost, targets in (("softmax_cross_entropy", Z), ("squared_error", torch.stack((Z, 1 - Z), 1).to(X.dtype))):
        nets = [Network.random([3, 5, 2], activation="tanh", cost=cost, device=device) for _ in range(2)]
        held_out = (X[:20], targets[:20])
        ours = nets[0].fit(X, targets, eta=0.1, epochs=2, batch_size=7, held_out=held_out)
        theirs = nets[1].fit(X, targets, eta=0.1, epochs=1, batch_size=7)
        J, accuracy = nets[1].evaluate(*held_out)
        assert ours.cost[0] == theirs.cost[0]
        assert ours.held_out_cost[0] == J
        assert len(ours.held_out_cost) == 2
        assert ours.held_out_accuracy[:1] == ([] if accuracy is None else [accuracy])
        assert (accuracy is None) == (cost == "squared_error")
        assert theirs.held_out_cost == theirs.held_out_accuracy == []


def test_the_bar_has_the_accuracy_held_out():
    history = training.History([0.5], [0.4], [0.75])
    assert training._last(history) == ", cost 0.5, held-out accuracy 75.0%"
    assert training._last(training.History()) == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("eta", [1e3, 1e37])
def test_a_training_that_diverges_ends_at_the_epoch_before(eta, dtype, tmp_path):
    """And its checkpoint, from which a smaller eta goes on."""
    X, _ = data(torch.device("cpu"))
    X, Z = X.to(dtype), X[:, :1].to(dtype)
    options = {"activation": "identity", "cost": "squared_error", "dtype": dtype}
    ours, theirs = Network.random([3, 5, 1], **options), Network.random([3, 5, 1], **options)
    ours.fit(X, Z, eta=0.01, epochs=2, batch_size=7, file=tmp_path / "net.pt")
    theirs.fit(X, Z, eta=0.01, epochs=2, batch_size=7)
    says = f"epoch 3: the training diverges, the cost is .*: choose an eta smaller than {eta:g}"
    with pytest.raises(DivergedError, match=says.replace("+", "[+]")):
        ours.fit(X, Z, eta=eta, epochs=40, batch_size=7, file=tmp_path / "net.pt")
    assert all(map(torch.equal, ours.weights + ours.biases, theirs.weights + theirs.biases))
    history = ours.fit(X, Z, eta=0.01, epochs=3, batch_size=7, file=tmp_path / "net.pt")
    assert history.cost[2] < history.cost[1]


def test_weights_that_are_not_finite_are_seen_where_the_cost_is():
    with pytest.raises(DivergedError, match="^epoch 2: the training diverges, a weight or bias is not finite"):
        training.refuse_divergence([1.0, 1.0], 1.0, [torch.ones(2), torch.tensor([1.0, math.inf])], 0.1)
    training.refuse_divergence([1.0, 9999.0], 1.0, [torch.ones(2)], 0.1)
    with pytest.raises(DivergedError, match="the cost is 1e[+]04"):
        training.refuse_divergence([10001.0], 0.5, [torch.ones(2)], 0.1)
