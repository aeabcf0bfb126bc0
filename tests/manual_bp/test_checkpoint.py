"""Checkpoints of fit: interrupted and taken up, torn, of another training."""

import os

import pytest
import torch

from manual_bp import Network, checkpoint
from manual_bp.checkpoint import CheckpointError

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
