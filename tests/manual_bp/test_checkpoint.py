"""Checkpoints of fit, interrupted and taken up, torn, of another training; and networks that are saved and loaded."""

import os

import pytest
import torch

from manual_bp import Network, checkpoint
from manual_bp.checkpoint import CheckpointError, Labels, load_network
from manual_bp.network import COSTS
from manual_bp.rules import Hinge, SiLU

GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(50, 3, generator=GENERATOR)
Z = (X[:, 0] > X[:, 1]).long()


def network(device, **options):
    return Network.random([3, 5, 2], activation="tanh", cost="softmax_cross_entropy", device=device, **options)


def parameters(net):
    return net.weights + net.biases


def fit(net, file, epochs=6, **options):
    settings = {"eta": 0.5, "batch_size": 7, "seed": 4} | options
    return net.fit(X.to(net.device), Z.to(net.device), epochs=epochs, file=file, **settings)


def interrupt_at_step(monkeypatch, number):
    """Ctrl-C in the middle of an epoch."""
    step, taken = Network.step, 0

    def interrupted(*args, **options):
        nonlocal taken
        taken += 1
        if taken == number:
            raise KeyboardInterrupt
        step(*args, **options)

    monkeypatch.setattr(Network, "step", interrupted)


@pytest.mark.device_except("cuda", reason="steps there by a graph")
@pytest.mark.parametrize("at", [1, 12, 30])
def test_interrupted_and_taken_up_is_uninterrupted(at, device, tmp_path, monkeypatch):
    whole = network(device)
    expected = fit(whole, None)
    with monkeypatch.context() as patch:
        interrupt_at_step(patch, at)
        with pytest.raises(KeyboardInterrupt):
            fit(network(device), tmp_path / "net.pt")
    resumed = network(device, seed=99)  # its own weights do not count
    if at == 1:  # before the first epoch ended there is nothing to take up
        assert not (tmp_path / "net.pt").exists()
        resumed = network(device)
    assert fit(resumed, tmp_path / "net.pt") == expected
    assert all(torch.equal(a, b) for a, b in zip(parameters(resumed), parameters(whole), strict=True))
    assert os.listdir(tmp_path) == ["net.pt"]


def test_more_epochs_go_on_from_the_end(device, tmp_path):
    whole, parts = network(device), network(device)
    expected = fit(whole, None, epochs=5)
    fit(parts, tmp_path / "net.pt", epochs=2)
    assert fit(parts, tmp_path / "net.pt", epochs=5) == expected
    assert fit(network(device), tmp_path / "net.pt", epochs=5) == expected  # and nothing is left to do
    assert torch.equal(parts.weights[0], whole.weights[0])


@pytest.mark.parametrize("torn", [0, 1, 100, -1])
def test_a_torn_file_is_refused_and_stays(torn, device, tmp_path):
    file = tmp_path / "net.pt"
    fit(network(device), file, epochs=1)
    content = file.read_bytes()[:torn]
    file.write_bytes(content)
    net = network(device)
    before = net.weights[0].clone()
    with pytest.raises(CheckpointError, match=r"net.pt: expected a checkpoint of fit, got .* torn"):
        fit(net, file)
    assert torch.equal(net.weights[0], before)
    assert file.read_bytes() == content


def test_a_file_that_would_execute_something_is_refused(device, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    torch.save(Evil(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError):
        fit(network(device), tmp_path / "net.pt")
    assert not (tmp_path / "evil").exists()
    torch.save({"weights": []}, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match="it holds something else"):
        fit(network(device), tmp_path / "net.pt")


@pytest.mark.parametrize(
    ("other", "says"),
    [({"batch_size": 8}, "batch_size 7 there, 8 here"), ({"seed": 5}, "seed 4 there, 5 here")],
)
def test_the_checkpoint_of_another_training_is_refused(other, says, device, tmp_path):
    fit(network(device), tmp_path / "net.pt", epochs=1)
    with pytest.raises(CheckpointError, match=says):
        fit(network(device), tmp_path / "net.pt", **other)
    wider = Network.random([3, 6, 2], activation="tanh", cost="softmax_cross_entropy", device=device)
    with pytest.raises(CheckpointError, match=r"sizes \[3, 5, 2\] there, \[3, 6, 2\] here"):
        fit(wider, tmp_path / "net.pt")


def test_the_checkpoint_of_other_data_is_refused(device, tmp_path):
    net = network(device)
    options = {"eta": 0.5, "epochs": 1, "batch_size": 7, "file": tmp_path / "net.pt"}
    net.fit(X.to(device), Z.to(device), **options)
    before = net.weights[0].clone()
    for x, z in ((9 * X, Z), (X, 1 - Z)):
        with pytest.raises(
            CheckpointError, match=r"data \[50, 3\] and \[50\] \(\w{8}\) there, \[50, 3\] and \[50\] \("
        ):
            net.fit(x.to(device), z.to(device), **options)
        assert torch.equal(net.weights[0], before)


@pytest.mark.parametrize(
    ("part", "value"),
    [("weights", [torch.ones(2, 1)]), ("biases", 3), ("history", ["a"]), ("run", 3), ("weights", [1.0, 2.0])],
)
def test_what_is_in_a_checkpoint_has_to_fit(part, value, device, tmp_path):
    file, net = tmp_path / "net.pt", network(device)
    fit(net, file, epochs=1)
    torch.save(torch.load(file) | {part: value}, file)
    before = net.weights[0].clone()
    with pytest.raises(CheckpointError, match="expected a checkpoint of fit, got a file that is none or is torn"):
        fit(net, file)
    assert torch.equal(net.weights[0], before)


def test_the_last_good_checkpoint_outlives_a_failed_one(device, tmp_path, monkeypatch):
    """A full disk, or a plug that is pulled, while a checkpoint is written."""
    file = tmp_path / "net.pt"
    fit(network(device), file, epochs=1)
    content = file.read_bytes()

    def full(state, draft):
        draft.write_bytes(b"half of it")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.torch, "save", full)
        with pytest.raises(OSError, match="No space left on device"):
            fit(network(device), file)
    assert file.read_bytes() == content
    assert os.listdir(tmp_path) == ["net.pt"]
    assert len(fit(network(device), file).cost) == 6


def test_a_missing_directory_is_said_before_anything_is_trained(device, tmp_path):
    net = network(device)
    before = net.weights[0].clone()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fit(net, tmp_path / "nowhere" / "net.pt")
    assert torch.equal(net.weights[0], before)


def test_the_samples_held_out_are_part_of_a_training(device, tmp_path, monkeypatch):
    """Interrupted, its history is the same; with others held out it is another training."""
    held_out = (X[:20].to(device), Z[:20].to(device))
    expected = fit(network(device), None, held_out=held_out)
    assert [*map(len, vars(expected).values())] == [6, 6, 6]
    fit(network(device), tmp_path / "net.pt", epochs=3, held_out=held_out)
    assert fit(network(device), tmp_path / "net.pt", held_out=held_out) == expected
    with pytest.raises(CheckpointError, match=r"held_out \[20, 3\] and \[20\] \(\w{8}\) there, none here"):
        fit(network(device), tmp_path / "net.pt")


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_what_is_saved_is_loaded(cost, dtype, tmp_path):
    activation = ["relu", {"cross_entropy": "sigmoid"}.get(cost, "identity")]
    saved = Network.random([3, 5, 2], dtype=dtype, activation=activation, cost=cost, seed=3)
    saved.save(tmp_path / "net.pt")
    loaded = Network.load(tmp_path / "net.pt")
    assert all(map(torch.equal, parameters(loaded), parameters(saved)))
    assert repr(loaded) == repr(saved)
    assert os.listdir(tmp_path) == ["net.pt"]


def test_a_trained_network_is_loaded_on_a_device(device, tmp_path):
    net = network(device)
    fit(net, None)
    net.save(tmp_path / "net.pt")
    assert torch.equal(
        Network.load(tmp_path / "net.pt", device=device).predict(X.to(device)), net.predict(X.to(device))
    )


def test_labels_are_beside_the_network(tmp_path):
    net, labels = network("cpu"), Labels(["a", "b", "c"], ["no", "yes"])
    net.save(tmp_path / "net.pt", labels=labels)
    assert load_network(tmp_path / "net.pt", Network)[1] == labels
    with pytest.raises(ValueError, match=r"^labels.classes: expected 2, one for each output, got 1$"):
        net.save(tmp_path / "net.pt", labels=Labels([], ["no"]))
    assert load_network(tmp_path / "net.pt", Network)[1] == labels


def test_a_rule_without_a_name_is_refused_and_nothing_is_written(tmp_path):
    by_activation = Network.random([3, 4, 2], activation=[SiLU, "sigmoid"])
    with pytest.raises(ValueError, match=r"^activation\[0\]: expected one of sigmoid, .*, got SiLU$"):
        by_activation.save(tmp_path / "net.pt")
    with pytest.raises(ValueError, match=r"^cost: expected one of cross_entropy, .*, got Hinge$"):
        Network.random([3, 2], cost=Hinge).save(tmp_path / "net.pt")
    assert os.listdir(tmp_path) == []


def test_a_network_and_a_checkpoint_are_told_apart(tmp_path):
    net = network("cpu")
    net.save(tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"expected a checkpoint of fit, .*\(it holds a network, as Network.save"):
        fit(net, tmp_path / "net.pt")
    fit(net, tmp_path / "fit.pt", epochs=1)
    with pytest.raises(CheckpointError, match=r"expected a network, as .*\(it holds a checkpoint of fit\)$"):
        Network.load(tmp_path / "fit.pt")


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("weights", [torch.ones(2, 1)]),
        ("biases", 3),
        ("activation", ["silu", "identity"]),
        ("cost", None),
        ("labels", {"inputs": []}),
    ],
)
def test_what_is_in_a_network_has_to_fit(part, value, tmp_path):
    network("cpu").save(tmp_path / "net.pt")
    torch.save(torch.load(tmp_path / "net.pt") | {part: value}, tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match="expected a network, as Network.save writes it, got a file that is none"):
        Network.load(tmp_path / "net.pt")


def test_a_network_that_is_torn_or_not_there(tmp_path):
    net = network("cpu")
    net.save(tmp_path / "net.pt")
    (tmp_path / "net.pt").write_bytes((tmp_path / "net.pt").read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="or not to its end"):
        Network.load(tmp_path / "net.pt")
    with pytest.raises(FileNotFoundError, match="no.pt"):
        Network.load(tmp_path / "no.pt")
    with pytest.raises(FileNotFoundError, match="there is no directory .*nowhere"):
        net.save(tmp_path / "nowhere" / "net.pt")
