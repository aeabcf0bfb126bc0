"""What is trained on, and goes on: the digits, arrays from a file, and the messages of a file that is another."""

import re
import warnings

import numpy as np
import pytest
import torch

from manual_bp import Network
from manual_bp.checkpoint import CheckpointError
from manual_bp.data import DataError, digits, npz


def test_the_digits_are_numbers_from_0_to_1():
    pytest.importorskip("sklearn")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        X, Z = digits()
    assert (X.shape, X.dtype, float(X.min()), float(X.max())) == ((1797, 64), torch.float64, 0, 1)
    assert (Z.shape, Z.dtype, sorted(set(Z.tolist()))) == ((1797,), torch.int64, list(range(10)))


X = np.ones((3, 2))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"Y": X}, ": expected an array X and an array Z, got Y: name them, as with numpy.savez(file, X=X, Z=Z)"),
        ({"X": X}, ": expected an array X and an array Z, got X: name them, as with numpy.savez(file, X=X, Z=Z)"),
        ({"X": X, "Z": np.array([1, -2, 3])}, ": Z: expected class indices from 0, below 2^63, got -2"),
        (
            {"X": X, "Z": np.array([0, 1, 2**63], np.uint64)},
            f": Z: expected class indices from 0, below 2^63, got {2**63}",
        ),
        (
            {"X": X, "Z": np.array([[1.0], [np.nan], [np.inf]])},
            ": Z: expected finite numbers in float64, got nan at [1, 0]",
        ),
        ({"X": X.astype(str), "Z": X}, ": X: expected numbers, got dtype <U32"),
        ({"X": X == 1, "Z": X}, ": X: expected numbers, got dtype bool"),
    ],
)
def test_what_arrays_are_not_is_said(arrays, says, tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    with pytest.raises(DataError, match=f"^{re.escape(str(path) + says)}$"):
        npz(str(path))


def test_numbers_of_any_kind_are_in_float64(tmp_path):
    for kind in (np.int8, np.uint16, np.float16, np.float64):
        np.savez(tmp_path / "mine.npz", X=X.astype(kind), Z=np.array([0, 1, 2]))
        read = npz(str(tmp_path / "mine.npz"))
        assert torch.equal(read.X, torch.ones(3, 2, dtype=torch.float64))
        assert torch.equal(read.Z, torch.tensor([0, 1, 2]))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"mine.npz: No such file or directory$"):
        npz(str(tmp_path / "mine.npz"))


def fit(path, *, dtype=torch.float32, seed=0, batch_size=2):
    x, z = torch.ones(4, 3, dtype=dtype), torch.ones(4, 2, dtype=dtype)
    Network.random([3, 2], dtype=dtype).fit(
        x, z, eta=0.1, epochs=1, batch_size=batch_size, seed=seed, file=path, progress=False
    )


def test_the_checkpoint_of_another_training_is_told_by_all_that_differs(tmp_path):
    path = tmp_path / "net.pt"
    fit(path)
    with pytest.raises(CheckpointError) as raised:
        fit(path, seed=1, batch_size=3)
    assert str(raised.value) == (
        f"{path}: expected the checkpoint of this training, got that of another: batch_size 2 there, 3 here; "
        "seed 0 there, 1 here. Take up that one, or name another file"
    )
    with pytest.raises(CheckpointError, match="dtype torch.float32 there, torch.float64 here"):
        fit(path, dtype=torch.float64)


@pytest.mark.parametrize(
    ("state", "why"), [({"other": 1}, "it holds something else"), ({"run": Network}, "Weights only load failed.*")]
)
def test_what_is_no_checkpoint_is_left_as_it_is(state, why, tmp_path):
    """No code of a file is run: it is read with weights_only."""
    path = tmp_path / "net.pt"
    torch.save(state, path)
    says = (
        rf"^{re.escape(str(path))}: expected a checkpoint of fit, got a file that is none or is torn \({why}\). "
        "It was left as it is: move it away to start anew$"
    )
    with pytest.raises(CheckpointError, match=says):
        fit(path)


@pytest.mark.parametrize("kind", ["weights", "biases"])
def test_the_parts_of_a_checkpoint_are_named(kind, tmp_path):
    path = tmp_path / "net.pt"
    fit(path)
    state = torch.load(path, weights_only=True)
    state[kind] = [p[:1] for p in state[kind]]
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=rf"is torn \({kind}\[0\]: expected "):
        fit(path)
