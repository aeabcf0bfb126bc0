"""On a simulated accelerator, for what is true of any kind of device: a kind that torch itself does not name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from torch.utils import backend_registration

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="torch has no accelerators written in Python before 2.10",
)


@pytest.fixture
def run(tmp_path):
    """Runs Python with the simulated accelerator in a process of its own; returns what is printed."""

    def run(*arguments, code=0):
        paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests")))
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_judge_by_the_plugin(run):
    told = run(
        "-m", "pytest", "-q", "-p", "simulated", "-p", "no:cacheprovider", "--device", "sim,sim:1",
        "tests/test_accelerators.py", "-k", "highest",
    )  # fmt: skip
    assert "tests that ran: 2 on sim, 2 on sim:1" in told


MINE = """
import torch

def forward(x, w): return torch.tanh(x @ w)

def backward(grad_out, out, x, w):
    delta = grad_out * (1 - out**{power})
    return delta @ w.T, x.T @ delta

inputs = torch.randn(4, 3), torch.randn(3, 5)
"""


@pytest.mark.parametrize(("power", "code", "verdict"), [(2, 0, "all agree"), (1, 1, "MISMATCH in 1")])
def test_verify(power, code, verdict, run, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(MINE.format(power=power))
    main = "import simulated, sys; from manual_bp.__main__ import main; sys.exit(main(sys.argv[1:]))"
    told = run("-c", main, "verify", str(mine), "--device", "sim:1", code=code)
    assert "1 judged, 2 tensors, on sim:1 at " in told
    assert verdict in told


FIT = """
import simulated, torch
from crosscheck import devices
from manual_bp import Network

def trained(device):
    net = Network.random([3, 5, 2], activation="tanh", cost="softmax_cross_entropy", dtype=torch.float64, device=device)
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    net.fit(x, (x[:, 0] > 0).long(), epochs=3, batch_size=8, eta=0.5)
    return net

assert list(map(str, devices.available())) == ["cpu", "sim"]
assert list(map(str, devices.of_kind("sim"))) == ["sim:0", "sim:1"]
assert devices.missing("sim:2") == "there are 2, of index 0 to 1, not 2"
here, there = trained("cpu"), trained("sim:1")
for ours, theirs in zip((*here.weights, *here.biases), (*there.weights, *there.biases), strict=True):
    assert str(theirs.device) == "sim:1"
    assert torch.allclose(ours, theirs.cpu())
try:
    there.predict(torch.zeros(1, 3, dtype=torch.float64, device="sim:0"))
except ValueError as error:
    assert "sim:1" in str(error) and "sim:0" in str(error), error
else:
    raise AssertionError("a batch on another index was taken")
"""


def test_a_network_is_trained_there_and_an_index_counts(run):
    run("-c", FIT)
