"""What is trained on, and goes on: the digits, arrays and tables from a file, and what other files are told to be."""

import re
import warnings

import numpy as np
import pytest
import torch

from manual_bp import Network
from manual_bp.checkpoint import CheckpointError, Labels
from manual_bp.data import DataError, digits, inputs, load, npz


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


@pytest.fixture
def table(tmp_path):
    """A CSV file with these lines."""

    def write(*lines: str) -> str:
        path = tmp_path / "mine.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path)

    return write


def test_a_target_of_words_is_classes_by_name(table):
    path = table("long,wide,kind", "1,2.5,pear", "-3e1,4, apple", '"5",6,pear', "")
    (X, Z), labels = load(path)
    assert torch.equal(X, torch.tensor([[1, 2.5], [-30, 4], [5, 6]], dtype=torch.float64))
    assert torch.equal(Z, torch.tensor([1, 0, 1]))
    assert labels == Labels(["long", "wide"], ["apple", "pear"])


def test_a_target_of_whole_numbers_is_classes_or_values(table):
    path = table("y,x", "10,1", "-2,2", "9,3")
    (X, Z), labels = load(path, "y")
    assert torch.equal(X, torch.tensor([[1.0], [2.0], [3.0]], dtype=torch.float64))
    assert torch.equal(Z, torch.tensor([2, 0, 1]))
    assert labels == Labels(["x"], ["-2", "9", "10"])
    (_, Z), labels = load(path, "y", values=True)
    assert torch.equal(Z, torch.tensor([[10.0], [-2.0], [9.0]], dtype=torch.float64))
    assert labels == Labels(["x"], [])


def test_a_target_of_floats_is_values_and_columns_without_a_header_have_numbers(table):
    (X, Z), labels = load(table("1,0.5,a", "2,3,b"), "3")
    assert torch.equal(Z, torch.tensor([0, 1]))
    (X, Z), labels = load(table("1,0.5,7", "2,3,8"), "2")
    assert torch.equal(X, torch.tensor([[1.0, 7.0], [2.0, 8.0]], dtype=torch.float64))
    assert torch.equal(Z, torch.tensor([[0.5], [3.0]], dtype=torch.float64))
    assert labels == Labels([], [])


@pytest.mark.parametrize(
    ("lines", "target", "says"),
    [
        (["a,b", "1,2", "1,2,3"], None, ", line 3: expected 2 cells, as line 1 has, got 3"),
        (["a,b", "1,2", "", "x,2"], None, ", line 4, column a: expected a finite number, got 'x'"),
        (["1,2,3", "1,,2"], None, ", line 2, column 2: expected a number, got an empty cell"),
        (["a,b", "nan,2"], None, ", line 2, column a: expected a finite number, got 'nan'"),
        (["a,b", "1, "], None, ", line 2, column b: expected a target, got an empty cell"),
        (["a,b", "1,2.5", "1,x"], None, ", line 3, column b: expected a number, as other rows have, got 'x': "),
        (["a,b", "1,2"], "c", ": expected a column c, got a, b"),
        (["1,2", "3,4"], "0", ": expected a column 0, got 1, 2"),
        (["a;b", "1;2"], None, ": expected columns of inputs and a target, separated by commas, got one column, a;b"),
        (["a,b"], None, ": expected a line for each sample, got none"),
        ([""], None, ": expected a line for each sample, got none"),
        (["a,a", "1,2"], None, ": expected a name of its own for each column, got a twice"),
    ],
)
def test_what_is_wrong_in_a_table_is_said_with_its_place(lines, target, says, table):
    path = table(*lines)
    with pytest.raises(DataError, match=f"^{re.escape(path + says)}"):
        load(path, target)


def test_what_is_no_table_is_said(tmp_path):
    path = tmp_path / "mine.csv"
    with pytest.raises(DataError, match=r"mine.csv: No such file or directory$"):
        load(str(path))
    path.write_bytes(b"a,b\n\xff,1\n")
    with pytest.raises(DataError, match=r"mine.csv: expected a CSV file in UTF-8, got another kind of file \("):
        load(str(path))
    with pytest.raises(DataError, match=r"^digits: expected a .csv file, to take column y of it as the target$"):
        load("digits", "y")


def test_inputs_of_a_table_are_found_by_name(table):
    path = table("b,kind,a", "1,pear,2", "3,apple,4")
    assert torch.equal(inputs(path, Labels(["a", "b"], []), 2), torch.tensor([[2.0, 1], [4, 3]], dtype=torch.float64))
    with pytest.raises(DataError, match=r"mine.csv: expected a column c, got b, kind, a$"):
        inputs(path, Labels(["a", "c"], []), 2)
    with pytest.raises(DataError, match=r"expected 2 columns, as the network has inputs, got 3: b, kind, a$"):
        inputs(path, Labels([], []), 2)
    path = table("1,2", "3,4")
    assert torch.equal(inputs(path, Labels(["a", "b"], []), 2), torch.tensor([[1.0, 2], [3, 4]], dtype=torch.float64))


def test_inputs_of_arrays_have_the_networks_width(tmp_path):
    path = str(tmp_path / "mine.npz")
    np.savez(path, X=X)
    assert torch.equal(inputs(path, Labels([], []), 2), torch.ones(3, 2, dtype=torch.float64))
    with pytest.raises(DataError, match=r"mine.npz: expected 4 columns, as the network has inputs, got X \[3, 2\]$"):
        inputs(path, Labels([], []), 4)
    np.savez(path, Y=X)
    with pytest.raises(
        DataError, match=r"mine.npz: expected an array X, got Y: name them, as with numpy.savez\(file, X"
    ):
        inputs(path, Labels([], []), 2)
