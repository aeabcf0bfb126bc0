"""`manual-bp predict`: from a table to a network and back to a table."""

import os

import numpy as np
import pytest
import torch

from manual_bp import Network
from manual_bp.__main__ import main
from manual_bp.checkpoint import Labels, load_network

# Which of two numbers is larger
ROWS = [(a, b, "first" if a > b else "second") for a, b in torch.randn(60, 2, generator=torch.manual_seed(0)).tolist()]


@pytest.fixture
def trained(tmp_path):
    """A network that manual-bp train has saved."""
    table = tmp_path / "mine.csv"
    table.write_text("a,b,larger\n" + "".join(f"{a},{b},{larger}\n" for a, b, larger in ROWS))
    arguments = ["--data", str(table), "--hidden", "--epochs", "60", "--save", str(tmp_path / "net.pt")]
    assert main(["train", *arguments]) == 0
    return str(tmp_path / "net.pt")


def test_the_network_of_a_table_tells_classes_by_their_names(trained, tmp_path, capsys):
    net, labels = load_network(trained, Network)
    assert (net.sizes, labels) == ((2, 2), Labels(["a", "b"], ["first", "second"]))
    (tmp_path / "new.csv").write_text("b,note,a\n" + "".join(f"{b},,{a}\n" for a, b, _ in ROWS))
    assert main(["predict", trained, "--data", str(tmp_path / "new.csv")]) == 0
    out = capsys.readouterr().out
    header, *told = out.splitlines()
    assert header == "class"
    X = torch.tensor([row[:2] for row in ROWS])
    assert told == [labels.classes[i] for i in net(X).argmax(1)]
    assert sum(ours == larger for ours, (*_, larger) in zip(told, ROWS, strict=True)) > 55
    assert main(["predict", trained, "--data", str(tmp_path / "new.csv"), "--out", str(tmp_path / "told.csv")]) == 0
    assert (tmp_path / "told.csv").read_text() == out
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_outputs_are_told_in_all_their_digits(dtype, tmp_path, capsys):
    net = Network.random([3, 2], cost="squared_error", dtype=dtype)
    net.save(tmp_path / "net.pt")
    X = np.random.default_rng(0).normal(size=(4, 3))
    np.savez(tmp_path / "new.npz", X=X)
    assert main(["predict", str(tmp_path / "net.pt"), "--data", str(tmp_path / "new.npz")]) == 0
    header, *told = capsys.readouterr().out.splitlines()
    assert header == "output 1,output 2"
    read = torch.tensor([[float(text) for text in line.split(",")] for line in told], dtype=torch.float64)
    assert torch.equal(read.to(dtype), net.predict(X))


def test_classes_without_names_are_told_by_index(tmp_path, capsys):
    net = Network([torch.tensor([[0.0], [1.0]])], [torch.zeros(2)], "identity", "softmax_cross_entropy")
    net.save(tmp_path / "net.pt")
    (tmp_path / "new.csv").write_text("1\n-1\n")
    assert main(["predict", str(tmp_path / "net.pt"), "--data", str(tmp_path / "new.csv")]) == 0
    assert capsys.readouterr().out == "class\n1\n0\n"


@pytest.mark.parametrize(
    ("network", "data", "says"),
    [
        ("no.pt", "new.csv", "no.pt: No such file or directory"),
        ("new.csv", "new.csv", "new.csv: expected a network, as Network.save writes it, got a file that is none"),
        ("net.pt", "no.csv", "no.csv: No such file or directory"),
        ("net.pt", "new.csv", "new.csv: expected 3 columns, as the network has inputs, got 2: 1, 2"),
        ("net.pt", "large.csv", "x: expected finite numbers, got inf at [0, 1]"),
    ],
)
def test_what_cannot_be_predicted_is_said(network, data, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Network.random([3, 2]).save("net.pt")
    (tmp_path / "new.csv").write_text("1,2\n")
    (tmp_path / "large.csv").write_text("1,1e300,2\n")
    before = sorted(os.listdir())
    assert main(["predict", network, "--data", data, "--out", "told.csv"]) == 2
    out, err = capsys.readouterr()
    assert (out, err.startswith(f"manual-bp predict: {says}")) == ("", True)
    assert sorted(os.listdir()) == before
