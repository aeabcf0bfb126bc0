"""The command line: what it prints, what it writes, and its exit codes."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from crosscheck import devices
from manual_bp.__main__ import EXAMPLES, main
from manual_bp.commands.subjects import subjects
from manual_bp.data import DataError, npz
from manual_bp.mistakes import MISTAKES, planted
from manual_bp.rules import RULES, Tanh


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    try:
        code = main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_verify_says_what_torch_has_no_twin_of(capsys):
    code, out, _ = run(capsys, "verify", "--dtype", "bfloat16", "--device", "cpu")
    assert code == 0
    assert "Not judged: rule Cholesky: torch has no twin of it on cpu at bfloat16" in out


def test_verify_judges_everything(capsys, tmp_path, digits):
    code, out, _ = run(capsys, "verify", "--json", str(tmp_path / "verdict.json"))
    lines = out.splitlines()
    assert code == 0
    names = [subject.name for subject in subjects()]
    assert names[:2] == ["article.neuron", "article.two_by_two"]
    assert {f"rule {name}" for name in RULES} < set(names)
    assert sum(name.startswith("network") for name in names) == 7
    for name in names:
        for device in devices.available():
            (line,) = (line for line in lines if line.startswith(f"{name} ") and f" {device} " in line)
            assert line.endswith("  agrees")
    assert lines[-1].startswith(f"{len(names) * len(devices.available())} judged, ")
    assert lines[-1].endswith("all agree")
    verdict = json.loads((tmp_path / "verdict.json").read_text())
    assert verdict["ok"] is True
    assert [report["title"] for report in verdict["reports"]][:1] == ["article.neuron"]
    dtypes = {row["dtype"] for report in verdict["reports"] for row in report["rows"]}
    assert {"float32", "float16", "bfloat16"} <= dtypes


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_exits_1_and_shows_where(mistake, capsys, monkeypatch):
    few = [
        subject for subject in subjects() if subject.name.startswith(("article", "network 2", "transformer, llama, t"))
    ]
    few += [subject for subject in subjects() if subject.name == "rule TanhGELU"]
    monkeypatch.setattr("manual_bp.commands.subjects.subjects", lambda: few)  # in test_mistakes it is all of them
    code, out, _ = run(capsys, "verify", "--plant", mistake, "--device", "cpu", "--dtype", "float64")
    assert code == 1
    assert "MISMATCH in" in out.splitlines()[-1]
    assert "wrong formula" in out
    assert f"planted: {mistake}" in out
    subject = "network 2 layers, tanh|transformer, llama, tied|rule TanhGELU"
    assert re.search(f"^({subject}): what is wrong, error and budget in roundoffs", out, re.MULTILINE)


def test_rules_lists_every_rule_with_its_formula(capsys):
    code, out, _ = run(capsys, "rules")
    assert code == 0
    listed = dict(line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  "))
    assert listed.keys() == RULES.keys()
    assert all(" = " in formula for formula in listed.values())
    assert listed["LayerNorm"] == "out_sk = w_k x̂_sk + b_k, x̂_s = (x_s − μ_s) / √(var_s + eps)"
    assert "\nnormalization: numbers brought to a common scale" in out


@pytest.mark.parametrize("name", RULES)
def test_rules_explains_and_judges_each(name, capsys):
    code, out, _ = run(capsys, "rules", name)
    assert code == 0
    for part in (name, "Derivation:", "Often wrong:", "Shapes:", "Source:", "def forward(", "def backward("):
        assert part in out
    table = out[out.index("Judged now") :].split("\n\n")[1].splitlines()
    assert table[0].split()[:2] == ["device", "float64"] or devices.available()[0].type != "cpu"
    assert len(table) > 2
    assert all(line.endswith("  agrees") for line in table[1:])


def test_rules_takes_several_names_in_any_case(capsys):
    code, out, _ = run(capsys, "rules", "layernorm", "grucell")
    assert code == 0
    assert out.index("LayerNorm\n") < out.index("GRUCell\n")


def test_rules_judges_afresh(capsys, monkeypatch):
    monkeypatch.setattr(Tanh, "backward", staticmethod(lambda grad_out, out, x: (grad_out * (1 + out * out),)))
    code, out, _ = run(capsys, "rules", "Tanh")
    assert code == 1
    (line,) = (line for line in out.splitlines() if line.startswith("x "))
    assert "wrong formula" in line


def test_help_names_every_mistake():
    for mistake in MISTAKES:
        assert mistake in EXAMPLES["verify"]


def test_the_digits_are_named_where_they_cannot_be_had(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    code, out, _ = run(capsys, "verify", "--dtype", "float32", "--device", "cpu")
    assert code == 0
    assert "Not judged: network on real digits: the digits ship with scikit-learn" in out
    code, _, err = run(capsys, "train", "--data", "digits")
    assert code == 2
    assert "pip install 'manual-bp[digits]'" in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "no_such_file.py"], "no_such_file.py: expected a file of that name, got none"),
        (["verify", "no.such.module:Object"], "expected file.py, file.py:Object or package.module:Object"),
        (["verify", "json:NoSuch"], "expected 'NoSuch' in json, got no such name"),
        (["verify", "--device", "quantum"], "device: expected one of cpu, cuda, mps, xpu"),
        (["verify", "--device", "cuda:99"], "device cuda:99 is not here"),
        (["verify", "--dtype", "float8"], "invalid choice: 'float8'"),
        (["verify", "--plant", "typo"], "mistake: expected one of stale-weights"),
        (["verify", "--plant", "sign", "json"], "leave one of them out"),
        (["verify", ".."], "..: expected file.py, file.py:Object or package.module:Object, got a directory"),
        (["verify", "../README.md"], "expected file.py, file.py:Object or package.module:Object, got '../README.md'"),
        (
            ["verify", "--json", "no/such/folder/f.json"],
            "f.json: expected a directory that exists, got no /",
        ),
        (["verify", "--json", "/"], "--json /: expected a file, got a directory"),
        (["verify", "--seed", "99999999999999999999"], "--seed: expected a whole number of 64 bits, from -2^63"),
        (["train", "--data", "digits", "--seed", "-9223372036854775809"], "--seed: expected a whole number of 64 bits"),
        (["animate", "r.svg", "--seed", "one"], "--seed: expected a whole number, got 'one'"),
        (
            ["rules", "LayrNorm"],
            "that `manual-bp rules` lists: did you mean LayerNorm",
        ),
        (["rules", "xyz"], "rule xyz: expected one of the "),
        (["train"], "the following arguments are required: --data"),
        (["train", "--data", "missing.npz"], "missing.npz"),
        (
            ["train", "--data", "digit"],
            "--data digit: expected digits, or a .npz or .csv file, got no file",
        ),
        (["train", "--data", "digits", "--eta", "nan"], "--eta: expected a finite number, got nan"),
        (["train", "--data", "digits", "--epochs", "0"], "--epochs: expected 1 or more, got 0"),
        (["train", "--data", "digits", "--verify-every", "0"], "--verify-every: expected 1 or more, got 0"),
        ([], "required: COMMAND"),
    ],
)
def test_usage_errors_exit_2(arguments, says, capsys):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert says in err
    assert out == ""  # before any work


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--cost", "cross_entropy"], "expected Z to hold numbers from 0 to 1: floats [samples, outputs], got class"),
        (["--hidden", "100000000000000"], "network 64-100000000000000-10: too large for cpu: "),
        (["--hidden", "100000000000000000000"], "network 64-100000000000000000000-10: too large for cpu: "),
        (["--eta", "1e38"], "epoch 1: the training diverges, the cost is nan: choose an eta smaller than 1e+38"),
    ],
)
def test_what_the_digits_cannot_do_exits_2(arguments, says, capsys, digits):
    code, _, err = run(capsys, "train", "--data", "digits", *arguments)
    assert code == 2
    assert says in err


def test_json_to_standard_output_is_json_alone(capsys):
    code, out, err = run(capsys, "verify", "--json", "-", "--dtype", "float32", "--device", "cpu")
    assert code == 0
    assert json.loads(out)["ok"] is True
    assert "all agree" in err


def test_train_on_digits_reaches_95_percent_and_agrees_with_autograd(capsys, digits):
    code, out, _ = run(capsys, "train", "--data", "digits", "--epochs", "10", "--verify-every", "300")
    assert code == 0
    epochs = [line.split() for line in out.splitlines() if line.endswith("%")]
    assert len(epochs) == 10
    assert float(epochs[-1][-1].rstrip("%")) >= 95
    assert "network 64-32-10, tanh, softmax_cross_entropy, in float32 on cpu" in out
    assert "1438 samples to train on, 359 held out" in out
    assert "cross-checked against autograd in float64 at 3 of them: all agree" in out
    assert out.splitlines()[-1].startswith("weights at most ")
    assert out.splitlines()[-1].endswith(": all agree")
    assert out.count("agrees") == 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_of_a_relu_is_no_mismatch_at_its_kink(dtype, capsys, digits):
    arguments = ["--data", "digits", "--activation", "relu", "--epochs", "1", "--dtype", dtype, "--verify-every", "2"]
    assert run(capsys, "train", *arguments)[0] == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_training_with_a_mistake_exits_1(dtype, capsys, digits):
    arguments = ["train", "--data", "digits", "--epochs", "1", "--dtype", dtype]
    with planted("forgotten-bias"):
        code, out, _ = run(capsys, *arguments)
        assert code == 1
        assert out.splitlines()[-1].endswith(": MISMATCH, more than rounding explains")
        code, out, _ = run(capsys, *arguments, "--verify-every", "7")
    assert code == 1
    assert "step 7: " in out
    assert ": zero where a gradient is due" in out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("cost", "Z"),
    [
        ("softmax_cross_entropy", np.arange(40) % 3),
        ("squared_error", np.linspace(-2, 2, 80).reshape(40, 2)),
        ("cross_entropy", np.eye(40)[:, :4]),
    ],
)
def test_train_on_arrays_from_a_file(cost, Z, dtype, capsys, tmp_path):
    X = np.random.default_rng(0).normal(size=(40, 5))
    np.savez(tmp_path / "mine.npz", X=X, Z=Z)
    arguments = ["--data", str(tmp_path / "mine.npz"), "--epochs", "3", "--cost", cost, "--dtype", dtype]
    code, out, _ = run(capsys, "train", *arguments)
    assert code == 0
    assert cost in out
    assert f"-32-{ {'softmax_cross_entropy': 3, 'squared_error': 2, 'cross_entropy': 4}[cost] }," in out


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"X": np.ones((9, 2))}, "expected an array X and an array Z, got X: name them"),
        ({"X": np.ones(9), "Z": np.ones(9, int)}, "X: expected shape [samples, inputs], got [9]"),
        ({"X": np.ones((9, 2)), "Z": np.ones(8, int)}, "Z: expected whole numbers [9]"),
        ({"X": np.ones((9, 2)), "Z": np.ones(9)}, "Z: expected whole numbers [9] (classes) or floats [9, outputs]"),
        ({"X": np.full((9, 2), np.nan), "Z": np.ones(9, int)}, "X: expected a finite number in float64, got nan"),
        (
            {"X": np.full((9, 2), np.longdouble("1e400")), "Z": np.ones(9, int)},
            "X: expected a finite number in float64, got ",
        ),
        ({"X": np.ones((9, 2)), "Z": np.array(1)}, "Z: expected whole numbers [9] (classes) or floats [9, outputs]"),
        ({"X": np.ones((9, 2)), "Z": np.full(9, 2**63, np.uint64)}, "below 2^63, got 9223372036854775808"),
        ({"X": np.ones((9, 2)), "Z": np.full(9, 10**14)}, "network 2-32-100000000000001: too large for cpu: "),
        ({"X": np.array([["a"]]), "Z": np.ones(1, int)}, "X: expected numbers, got dtype <U1"),
        ({"X": np.ones((9, 2)), "Z": np.array([None] * 9)}, "expected a .npz file with an array X and an array Z"),
        ({"X": np.ones((9, 2)), "Z": -np.ones(9, int)}, "got -1"),
        ({"X": np.ones((4, 2)), "Z": np.ones(4, int)}, "expected at least 5 samples, to hold out a fifth, got 4"),
    ],
)
def test_bad_files_are_refused(arrays, says, capsys, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    code, _, err = run(capsys, "train", "--data", str(tmp_path / "bad.npz"))
    assert code == 2
    assert says in err


def no_npz(path: Path) -> None:
    path.write_text("not arrays")


def npy(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.ones(3))


def damaged(path: Path) -> None:
    np.savez_compressed(path, X=np.arange(5000.0).reshape(500, 10), Z=np.arange(500))
    content = bytearray(path.read_bytes())
    content[100:140] = bytes(40)
    path.write_bytes(content)


def encrypted(path: Path) -> None:
    """As far as its reader can tell: by the flags of its two files."""
    np.savez(path, X=np.ones((9, 2)), Z=np.ones(9, int))
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        starts = [info.header_offset for info in archive.infolist()]
    directory = content.index(b"PK\x01\x02")
    content[directory + 8] |= 1
    content[starts[0] + 6] |= 1
    path.write_bytes(content)


def other_files(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("X", "text")
        archive.writestr("Z", "text")


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (no_npz, "expected a .npz file, as numpy.savez writes it, got another kind of file"),
        (npy, "expected a .npz file, as numpy.savez writes it, got another kind of file"),
        (
            damaged,
            "expected a .npz file with an array X and an array Z of numbers, got one that is damaged",
        ),
        (encrypted, "File 'X.npy' is encrypted"),
        (other_files, "X: expected numbers, got dtype |S4"),
        (Path.mkdir, "expected a .npz file, got a directory"),
    ],
)
def test_a_file_that_is_no_npz_is_refused(write, says, tmp_path):
    file = tmp_path / "bad.npz"
    write(file)
    with pytest.raises(DataError) as refused:
        npz(str(file))
    assert str(refused.value).startswith(f"{file}: ")
    assert says in str(refused.value)


@pytest.mark.parametrize("command", [name for name in EXAMPLES if name != "manual-bp"])
def test_help_tells_the_exit_codes(command, capsys):
    code, out, _ = run(capsys, *command.split(), "--help")
    assert code == 0
    assert "\nExit code: 0 " in out


def test_help_does_not_import_torch():
    source = (
        "import sys\n"
        "from manual_bp.__main__ import main\n"
        "try: main(['verify', '--help'])\n"
        "finally: sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--plant stale-weights" in done.stdout


def test_a_closed_pipe_is_no_crash():
    command = f"{sys.executable} -m manual_bp verify --dtype float32 --device cpu | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("manual-bp ")
    assert done.stderr == ""


def test_version(capsys):
    assert run(capsys, "--version")[1] == "manual-bp 0.2.0\n"


def test_available_devices_are_there():
    assert devices.available()[0] == torch.device("cpu")
    for device in devices.available():
        assert devices.device(str(device)) == device
