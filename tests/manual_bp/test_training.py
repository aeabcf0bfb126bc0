"""Gradient descent over mini-batches."""

from contextlib import nullcontext
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crosscheck.verdict.precision import dtypes_of
from manual_bp import Network, training
from manual_bp.training import minibatches


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
