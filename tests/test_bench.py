"""The benchmark: what it measures runs, and is the same step; what it says is what was measured. No test is timed."""

import importlib.util
import re

import pytest
import torch

from manual_bp.__main__ import main
from manual_bp.commands import bench, peers
from manual_bp.commands.bench import Measured, Setting, ratio, slope
from manual_bp.commands.peers import PEERS, missing

CPU = torch.device("cpu")
ON_CPU = [name for name in PEERS if not missing(name, CPU)]


@pytest.fixture
def small(monkeypatch):
    """A benchmark of half a minute, most of it the starting of processes."""
    monkeypatch.setattr(bench, "TURN", 0.001)
    monkeypatch.setattr(bench, "SPEED", [Setting([2, 2, 2], 1, "2-2-2, online")])
    monkeypatch.setattr(bench, "MEMORY", [Setting([2000] * 4, 2, "3 layers of 2000")])
    for growth in ("WIDTH", "DEPTH"):
        monkeypatch.setattr(bench, growth, getattr(bench, growth)[:3])


@pytest.mark.parametrize("name", [name for name in ON_CPU if "compiled" not in name])
def test_every_peer_takes_steps(name):
    for sizes, samples in (([2, 2, 2], 1), ([5, 4, 3], 7)):
        PEERS[name].make(sizes, samples, CPU)(3)


def test_peers_train_the_same_network(monkeypatch):
    """By hand and by NumPy, from the same weights to the same weights."""
    started = []
    random = peers.Network.random

    def kept(*args, **options):
        started.append(random(*args, **options))
        return started[-1]

    monkeypatch.setattr(peers.Network, "random", kept)
    params, _, _ = peers._arrays([5, 4, 3], 7)
    monkeypatch.setattr(
        peers, "_arrays", lambda sizes, samples: (params, *(t.numpy() for t in peers.batch(sizes, samples, CPU)))
    )
    peers.by_numpy([5, 4, 3], 7, CPU)(3)
    peers.by_hand([5, 4, 3], 7, CPU)(3)
    for layer, (w, b) in enumerate(params):
        torch.testing.assert_close(torch.from_numpy(w), started[-1].weights[layer])
        torch.testing.assert_close(torch.from_numpy(b), started[-1].biases[layer])


def test_what_is_not_here_is_named(monkeypatch):
    assert missing("manual-bp", CPU) == ""
    assert missing("manual-bp, CUDA graph", CPU) == "is for cuda"
    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda name: None)
    assert missing("JAX, jit", CPU) == "jax is not installed"


def test_the_ratio_is_the_median_of_the_rounds_ratios():
    results = {"manual-bp": Measured([1.0, 2.0, 10.0], 0), "other": Measured([2.0, 6.0, 40.0], 0)}
    assert ratio(results, "other") == 3


def test_the_exponent_is_that_of_the_upper_half():
    sizes = [1, 2, 4, 8, 16, 32]
    assert slope(sizes, [5, 5, 5, *(0.1 * n**1.5 for n in sizes[3:])]) == pytest.approx(1.5)


def test_the_tables_and_the_figure(small, capsys, tmp_path):
    figure = ["--figure", str(tmp_path / "speed.svg")] if importlib.util.find_spec("matplotlib") else []
    assert main(["bench", "--rounds", "2", "--peer", "NumPy by hand", *figure]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^manual-bp +[\d.]+ [µm]s$", out, re.MULTILINE)
    assert re.search(r"^autograd \+ SGD +[\d.]+ [µm]s +×[\d.]+$", out, re.MULTILINE)
    assert re.search(r"^NumPy by hand +[\d.]+ [µm]s +×[\d.]+$", out, re.MULTILINE)
    assert re.search(r"^manual-bp +-?[\d.]+ +-?[\d.]+$", out, re.MULTILINE)  # the exponents
    assert "JAX" not in out  # it was not asked for
    if peers.Path("/proc/self/clear_refs").exists():
        # Parameters alone, where autograd has as much again of gradients.
        share = re.search(r"^autograd \+ SGD +\d+ MB +([\d.]+)$", out, re.MULTILINE)
        assert share
        assert 0.3 < float(share[1]) < 0.8
    if figure:
        drawn = (tmp_path / "speed.svg").read_text(encoding="utf-8")
        ratios = re.findall(r"×([\d.]+)", out)
        assert ratios
        assert all(f"> {number}<" in drawn for number in ratios)


def test_a_peer_that_fails_is_named_and_left_out(small, capsys):
    with bench._working(["no such peer"], CPU) as workers:
        assert bench._measure(workers, Setting([2, 2], 1), 2, bench.console()) == {}
    assert "left out of 2-2, batch 1: no such peer: KeyError: 'no such peer'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rounds", "0"], "--rounds: expected 1 or more, got 0"),
        (["--peer", "Theano"], "--peer Theano: expected one of 'manual-bp', "),
        (["--device", "tpu"], "device: expected one of cpu, cuda, mps, xpu"),
        (["--figure", "speed.txt"], "--figure speed.txt: "),
        (["--figure", "nowhere/speed.svg"], "--figure nowhere/speed.svg: "),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(arguments, says, capsys):
    assert main(["bench", *arguments]) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert out == ""
