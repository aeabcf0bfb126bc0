"""The command line: what it prints, what it writes, and its exit codes."""

import argparse
import inspect
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch

from manual_bp import Network, __version__, data
from manual_bp.__main__ import EXAMPLES, _ended_at_once, main, parser
from manual_bp._console import Plain, Silent, console
from manual_bp.commands import CommandError, _writing
from manual_bp.commands import rules as rules_module
from manual_bp.commands import subjects as subjects_module
from manual_bp.commands import target as target_module
from manual_bp.commands import verify as verify_module
from manual_bp.commands._shares import Shares, colour, exit_code, is_known
from manual_bp.commands._writing import can_draw, can_write, can_write_into, draw, matplotlib_for, writing
from manual_bp.commands.article import DEFAULTS, WEIGHTS, numbers_given
from manual_bp.commands.subjects import DOMAINS, NotJudged, Subject, subjects
from manual_bp.commands.target import subject
from manual_bp.data import DataError, npz
from manual_bp.mistakes import MISTAKES, planted
from manual_bp.network import ACTIVATIONS, COSTS
from manual_bp.rules import RULES, Identity, Tanh
from reference import Report, Row, crosscheck, devices
from reference.precision import RUNGS
from reference.report import KINK, dtype_name, shown

RIGHT = """
import torch

def forward(x, w):
    return torch.tanh(x @ w)

def backward(grad_out, out, x, w):
    delta = grad_out * (1 - out * out)
    return delta @ w.T, x.T @ delta

inputs = torch.randn(5, 3), torch.randn(3, 2)
"""


@pytest.fixture
def target(tmp_path):
    """Writes the right gradient with one edit, and gives the file."""

    def write(right: str = "", wrong: str = "") -> str:
        assert right in RIGHT
        path = tmp_path / "mine.py"
        path.write_text(RIGHT.replace(right, wrong) if right else RIGHT)
        return str(path)

    return write


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
    few = [subject for subject in subjects() if subject.name.startswith(("article", "network 2"))]
    monkeypatch.setattr("manual_bp.commands.verify.subjects", lambda: few)  # in test_mistakes it is all of them
    code, out, _ = run(capsys, "verify", "--plant", mistake, "--device", "cpu", "--dtype", "float64")
    assert code == 1
    assert "MISMATCH in" in out.splitlines()[-1]
    assert "wrong formula" in out
    assert f"planted: {mistake}" in out
    assert "network 2 layers, tanh: where" in out


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


def test_a_right_target(capsys, target):
    code, out, _ = run(capsys, "verify", target())
    assert code == 0
    assert "1 judged, 2 tensors" in out


def test_a_wrong_target_exits_1_and_says_where(capsys, target):
    code, out, _ = run(capsys, "verify", target("return delta @ w.T", "return -delta @ w.T"))
    assert code == 1
    assert "MISMATCH in x" in out
    assert "x: the sign is flipped" in out


def test_a_target_of_which_nothing_is_judged_exits_2(capsys, tmp_path):
    path = tmp_path / "kink.py"
    relu = "def forward(x): return torch.relu(x)\ndef backward(grad_out, out, x): return (grad_out * (x >= 0),)\n"
    path.write_text(f"import torch\n{relu}inputs = (torch.zeros(5),)\n")
    code, out, _ = run(capsys, "verify", str(path), "--json", str(tmp_path / "verdict.json"))
    assert code == 2
    assert "  NOT JUDGED in x\n" in out
    assert out.splitlines()[-1].startswith("0 judged, 0 tensors, ")
    assert out.splitlines()[-1].endswith(": NOT JUDGED in 1")
    assert "MISMATCH" not in out
    assert json.loads((tmp_path / "verdict.json").read_text())["ok"] is False


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("", "", ["  formula: right, judged at float64\n", "  numerics: as accurate as autograd\n"]),
        ("", "", ["  determinism: the same call twice gives the same\n"]),
        (
            "delta = ",
            "if x.dtype == torch.float64: raise RuntimeError('no')\n    delta = ",
            ["float64: not judged, for"],
        ),
        (
            "delta = ",
            "inputs[0].add_(1)\n    delta = inputs[0].mean() * ",
            ["determinism: the same call twice differs in"],
        ),
    ],
)
def test_the_three_verdicts_on_a_target_and_its_notes(right, wrong, says, capsys, target):
    _, out, _ = run(capsys, "verify", target(right, wrong))
    for text in says:
        assert text in out


def test_the_inputs_of_a_target_are_those_of_the_seed(capsys, target):
    path = target("inputs =", "print('drawn', torch.rand(()).item())\ninputs =")
    state = torch.get_rng_state()
    drawn = [run(capsys, "verify", path, "--seed", seed)[1].splitlines()[0] for seed in ("3", "3", "4")]
    assert drawn[0] == drawn[1] != drawn[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_target_with_a_twin(capsys, tmp_path):
    path = tmp_path / "twinned.py"
    path.write_text(RIGHT + "\ndef twin(x, w):\n    return torch.sigmoid(x @ w)\n")
    code, out, _ = run(capsys, "verify", str(path))
    assert code == 1
    assert "MISMATCH in out" in out


INSIDE = "class Mine:\n" + "".join(f"    {line}\n" for line in RIGHT.splitlines())


@pytest.mark.parametrize(
    ("source", "named", "says"),
    [
        (INSIDE, "", "got no forward: did you mean {}:Mine?"),
        (
            INSIDE.replace("(x", "(self, x"),
            ":Mine",
            "{}:Mine: forward: expected a static method, got one of self: put @staticmethod above it",
        ),
    ],
)
def test_what_a_class_wants_is_said(source, named, says, capsys, tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(source)
    code, _, err = run(capsys, "verify", f"{path}{named}")
    assert code == 2
    assert says.format(path) in err


def test_target_in_a_module(capsys, tmp_path, monkeypatch):
    indented = "".join(f"    {line}\n" for line in RIGHT.splitlines()).replace("    def", "    @staticmethod\n    def")
    (tmp_path / "kernels_of_mine.py").write_text(f"import torch\nclass Tanh:\n{indented}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert run(capsys, "verify", "kernels_of_mine:Tanh")[0] == 0
    assert run(capsys, "verify", "kernels_of_mine.py:Tanh")[0] == 0


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("def backward", "def back", ["expected forward, backward and inputs, got no backward"]),
        ("inputs =", "inputs_ =", ["got no inputs"]),
        ("inputs = torch.randn(5, 3), ", "inputs = 3 #", ["inputs: expected a tuple, got int"]),
        ("inputs = torch.randn(5, 3), torch.randn(3, 2)", "inputs = (1, 2)", ["at least one floating-point tensor"]),
        ("def forward", "forward = 3\ndef f", ["forward: expected a function, got int"]),
        (
            "def backward(grad_out, out, x, w)",
            "def backward(grad_out, x, w)",
            ["backward: expected to take (grad_out, out, x, w), got backward(grad_out, x, w)", "mine.py, line 7"],
        ),
        ("x.T @ delta", "x.T @ delta @ x", ["RuntimeError", "mine.py', line 9, in backward", "x.T @ delta @ x"]),
        ("torch.tanh(x @ w)", "torch.tanh(x @ w.T)", ["RuntimeError", "line 5, in forward"]),
        ("import torch", "import torch_of_mine", ["ModuleNotFoundError", "line 2, in <module>"]),
        ("import torch", "import torch\n1 / 0", ["ZeroDivisionError", "line 3, in <module>", "1 / 0"]),
        ("import torch", "import torch\nraise SystemExit(0)", ["SystemExit"]),
        ("return torch", "raise SystemExit(0)\n    return torch", ["cannot be judged", "SystemExit", "in forward"]),
        ("delta =", "raise SystemExit(0)\n    delta =", ["cannot be judged", "SystemExit", "in backward"]),
        ("return torch", "return (torch", ["SyntaxError", "line 5"]),
    ],
)
def test_a_broken_target_exits_2_with_the_users_line(right, wrong, says, capsys, target):
    code, out, err = run(capsys, "verify", target(right, wrong))
    assert code == 2
    for text in says:
        assert text in err
    assert "Traceback" not in out + err
    assert "verdict" not in out  # no table without a line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "no_such_file.py"], "no_such_file.py: no such file"),
        (["verify", "no.such.module:Object"], "expected file.py, file.py:Object or package.module:Object"),
        (["verify", "json:NoSuch"], "json has no NoSuch"),
        (["verify", "--device", "quantum"], "device: expected one of cpu, cuda, mps, xpu"),
        (["verify", "--device", "cuda:99"], "device cuda:99 is not here"),
        (["verify", "--dtype", "float8"], "invalid choice: 'float8'"),
        (["verify", "--plant", "typo"], "mistake: expected one of stale-weights"),
        (["verify", "--plant", "sign", "json"], "leave out TARGET"),
        (["verify", ".."], "..: expected file.py, file.py:Object or package.module:Object, got a directory"),
        (["verify", "../README.md"], "expected file.py, file.py:Object or package.module:Object, got '../README.md'"),
        (["verify", "--json", "no/such/folder/f.json"], "--json no/such/folder/f.json: there is no directory /"),
        (["verify", "--json", "/"], "--json /: expected a file, got a directory"),
        (["verify", "--seed", "99999999999999999999"], "--seed: expected a whole number of 64 bits, from -2^63"),
        (["train", "--data", "digits", "--seed", "-9223372036854775809"], "--seed: expected a whole number of 64 bits"),
        (["animate", "r.svg", "--seed", "one"], "--seed: expected a whole number, got 'one'"),
        (["rules", "LayrNorm"], "there is no LayrNorm: did you mean LayerNorm"),
        (["rules", "xyz"], "there is no xyz: `manual-bp rules` lists all"),
        (["train"], "the following arguments are required: --data"),
        (["train", "--data", "missing.npz"], "missing.npz"),
        (["train", "--data", "digit"], "--data digit: expected digits, or a .npz file, got no file of that name"),
        (["train", "--data", "digits", "--eta", "nan"], "eta: expected a finite number, got nan"),
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
        (["--eta", "1e38"], "it diverges, try a smaller --eta than 1e+38"),
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
        ({"X": np.ones((9, 2))}, "expected arrays X and Z, got no Z"),
        ({"X": np.ones(9), "Z": np.ones(9, int)}, "X: expected shape [samples, inputs], got [9]"),
        ({"X": np.ones((9, 2)), "Z": np.ones(8, int)}, "Z: expected whole numbers [9]"),
        ({"X": np.ones((9, 2)), "Z": np.ones(9)}, "Z: expected whole numbers [9] (classes) or floats [9, outputs]"),
        ({"X": np.full((9, 2), np.nan), "Z": np.ones(9, int)}, "X: expected finite numbers in float64, got nan"),
        (
            {"X": np.full((9, 2), np.longdouble("1e400")), "Z": np.ones(9, int)},
            "X: expected finite numbers in float64, got ",
        ),
        ({"X": np.ones((9, 2)), "Z": np.array(1)}, "Z: expected whole numbers [9] (classes) or floats [9, outputs]"),
        ({"X": np.ones((9, 2)), "Z": np.full(9, 2**63, np.uint64)}, "below 2^63, got 9223372036854775808"),
        ({"X": np.ones((9, 2)), "Z": np.full(9, 10**14)}, "network 2-32-100000000000001: too large for cpu: "),
        ({"X": np.array([["a"]]), "Z": np.ones(1, int)}, "X: expected numbers, got dtype <U1"),
        ({"X": np.ones((9, 2)), "Z": np.array([None] * 9)}, "expected a .npz file with arrays X and Z"),
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
        (damaged, "expected a .npz file with arrays X and Z of numbers, got one that is damaged or holds objects"),
        (encrypted, "File 'X.npy' is encrypted"),
        (other_files, "X: expected numbers, got dtype |S4"),
        (Path.mkdir, "Is a directory"),
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
    code, out, _ = run(capsys, command, "--help")
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
    assert run(capsys, "--version")[1] == "manual-bp 0.1.0\n"


def test_available_devices_are_there():
    assert devices.available()[0] == torch.device("cpu")
    for device in devices.available():
        assert devices.device(str(device)) == device


def test_a_convention_at_a_kink_is_said_beside_its_number(capsys, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(
        "import torch\nforward = torch.relu\ninputs = (torch.tensor([0.0, 1.0, -1.0]),)\n"
        "def backward(grad_out, out, x):\n    return (grad_out * (x >= 0),)\n"
    )
    code, out, _ = run(capsys, "verify", str(mine), "--device", "cpu")
    assert code == 0
    assert re.search(r"mine\.py +cpu +[\de+. ]+ agrees, but for a convention at a kink\n", out)
    assert "at float64: agrees, but for a convention at a kink, first at [0]: autograd takes 0, this " in out


FUNCTION = """
import torch

class Cube(torch.autograd.Function):
    inputs = (torch.randn(5, 3),)

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad_out):
        return 3 * grad_out * ctx.saved_tensors[0] ** 2

def forward(x):
    return torch.from_numpy(x.numpy() ** 3)

backward = Cube
inputs = Cube.inputs
witness = "taylor"
"""


def test_a_function_of_autograd_as_a_target(capsys, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(FUNCTION)
    code, _, err = run(capsys, "verify", f"{mine}:Cube")
    assert code == 2
    assert "got an autograd.Function: beside it, or in a class of their own, write forward, the same in torch's" in err
    code, out, _ = run(capsys, "verify", str(mine), "--device", "cpu")
    assert code == 0, out
    assert "judged by Taylor's expansion in float64" in out


# What is parsed of each command without options, and of all its options
NEITHER = {"inputs": [], "weights": [], "eta": None, "file": None}
PARSED = {
    "verify": {"targets": [], "device": None, "dtype": None, "seed": 0, "json_file": None, "plant": None},
    "verify a b --device cpu --device cuda --dtype float16 --dtype float64 --seed -7 --json f --plant sign": {
        "targets": ["a", "b"], "device": ["cpu", "cuda"], "dtype": ["float16", "float64"], "seed": -7,
        "json_file": "f", "plant": "sign",
    },
    "rules": {"names": []},
    "rules Tanh ReLU": {"names": ["Tanh", "ReLU"]},
    "train --data digits": {
        "data": "digits", "hidden": [32], "activation": "tanh", "cost": None, "eta": 0.1, "epochs": 20,
        "batch_size": 16, "seed": 0, "device": "cpu", "dtype": "float32", "verify_every": None, "figure": None,
    },
    "train --data f --hidden 5 4 --activation relu --cost squared_error --eta 2 --epochs 3 --batch-size 4 --seed 5 "
    "--device cuda --dtype float64 --verify-every 6 --figure g": {
        "data": "f", "hidden": [5, 4], "activation": "relu", "cost": "squared_error", "eta": 2.0, "epochs": 3,
        "batch_size": 4, "seed": 5, "device": "cuda", "dtype": "float64", "verify_every": 6, "figure": "g",
    },
    "train --data f --hidden": {
        "data": "f", "hidden": [], "activation": "tanh", "cost": None, "eta": 0.1, "epochs": 20, "batch_size": 16,
        "seed": 0, "device": "cpu", "dtype": "float32", "verify_every": None, "figure": None,
    },
    "article": {"network": None, "html_file": None, "figures": None, **NEITHER},
    "article neuron --inputs a=1 b=2 --weights c=3 d=4 --eta 3 --file f --html g --figures h": {
        "network": "neuron", "html_file": "g", "figures": "h", "inputs": ["a=1", "b=2"], "weights": ["c=3", "d=4"],
        "eta": 3.0, "file": "f",
    },
    "animate f": {"out": "f", "sizes": None, "seed": 0, "seconds": 1.8, **NEITHER},
    "animate f --sizes 3 2 1 --seed 5 --seconds 2 --eta 1": {
        "out": "f", "sizes": [3, 2, 1], "seed": 5, "seconds": 2.0, **NEITHER, "eta": 1.0,
    },
    "bench": {"peers": None, "rounds": 11, "device": "cpu", "figure": None},
    "bench --peer a --peer b --rounds 3 --device cuda --figure f": {
        "peers": ["a", "b"], "rounds": 3, "device": "cuda", "figure": "f",
    },
}  # fmt: skip


@pytest.mark.parametrize("line", PARSED)
def test_what_is_parsed_is_what_the_command_takes(line):
    ours = vars(parser().parse_args(line.split()))
    command = ours.pop("command")
    assert command == line.split()[0]
    assert repr(ours) == repr({name: PARSED[line][name] for name in ours})  # 2 is not 2.0
    function = getattr(import_module(f"manual_bp.commands.{command}"), command)
    assert ours.keys() == PARSED[line].keys() == inspect.signature(function).parameters.keys()


USAGE = """\
manual-bp [-h] [--version] COMMAND ...
manual-bp verify [-h] [--device D] [--dtype {float64,float32,float16,bfloat16}] [--seed N] [--json FILE] \
[--plant MISTAKE] [TARGET ...]
manual-bp rules [-h] [RULE ...]
manual-bp train [-h] --data DATA [--hidden [N ...]] [--activation {sigmoid,tanh,relu}] \
[--cost {cross_entropy,softmax_cross_entropy,squared_error}] [--eta ETA] [--epochs N] [--batch-size N] [--seed N] \
[--device D] [--dtype {float64,float32}] [--verify-every K] [--figure FILE]
manual-bp article [-h] [--inputs NAME=X [NAME=X ...]] [--weights NAME=X [NAME=X ...]] [--eta ETA] [--file FILE] \
[--html FILE] [--figures DIR] [{neuron,two_by_two}]
manual-bp animate [-h] [--sizes N [N ...]] [--seed N] [--seconds SECONDS] [--inputs NAME=X [NAME=X ...]] \
[--weights NAME=X [NAME=X ...]] [--eta ETA] [--file FILE] OUT
manual-bp bench [-h] [--peer NAME] [--rounds N] [--device D] [--figure FILE]
"""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """The whole command line, and each command."""
    top = parser()
    (commands,) = (action for action in top._actions if action.dest == "command")
    return {"manual-bp": top, **commands.choices}


def test_the_usage_of_each_command(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    assert "".join(each.format_usage().removeprefix("usage: ") for each in parsers().values()) == USAGE


def test_help_is_of_every_option_and_as_it_was_written(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    of_all = parsers()
    assert of_all.keys() == EXAMPLES.keys()
    for name, each in of_all.items():
        assert [action.dest for action in each._actions if not action.help and action.dest != "command"] == []
        assert each.description.endswith(".")
        assert f"\n\n{each.description}\n\n" in each.format_help()
        assert each.format_help().endswith(f"\n{EXAMPLES[name]}")
        assert name == "manual-bp" or f"    {name:8}  {each.description}\n" in of_all["manual-bp"].format_help()


def test_a_default_in_brackets_is_the_parsers():
    named = {
        (command, action.dest): (action.help.rpartition("(")[2][:-1], action.default)
        for command, each in parsers().items()
        for action in each._actions
        if (action.help or "").endswith(")")
    }
    assert len(named) == 18
    for (command, option), (text, default) in named.items():
        if text.startswith("all"):
            assert default is None
        elif option == "eta" and command != "train":
            assert default is None
            assert {text} == {str(numbers["eta"]) for numbers in DEFAULTS.values()}
        else:
            assert [text] == [str(default)] or text == " ".join(map(str, default)), option


def test_the_choices_are_those_that_there_are():
    chosen = {
        (command, action.dest): action.choices
        for command, each in parsers().items()
        for action in each._actions
        if action.choices and action.dest != "command"
    }
    assert {name: set(choices) for name, choices in chosen.items()} == {
        ("verify", "dtype"): set(map(dtype_name, RUNGS)),
        ("train", "activation"): ACTIVATIONS.keys() - {"identity"},
        ("train", "cost"): COSTS.keys(),
        ("train", "dtype"): {"float32", "float64"},
        ("article", "network"): DEFAULTS.keys(),
    }


def test_the_names_in_a_help_are_those_that_are_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_writing, "find_spec", lambda name: name)
    named = {
        (command, action.dest): re.findall(r"\.\w+|(?:cpu|cuda|mps|xpu)(?::0)?", action.help)
        for command, each in parsers().items()
        for action in each._actions
        if action.dest in ("device", "figure")
    }
    for (command, option), names in named.items():
        if option == "figure":
            assert [refused(can_draw, f"drawn{suffix}") for suffix in names] == ["", "", ""]
            assert refused(can_draw, "drawn").endswith(" or ".join((", ".join(names[:2]), names[2])))
        else:
            assert {"cpu", "cuda", "cuda:0"} <= set(names)
            assert command == "bench" or set(names) >= set(devices.KINDS)
            assert all(isinstance(devices.missing(name), str) for name in names)  # else it raises


@pytest.mark.parametrize("command", ["article", "animate"])
def test_the_numbers_in_a_help_are_taken(command):
    helps = {action.dest: action.help for action in parsers()[command]._actions}
    inputs, weights = (helps[option].partition(", as ")[2].split() for option in ("inputs", "weights"))
    assert len(inputs) == len(weights) == 2
    ours = numbers_given(["two_by_two"], inputs, weights, None, None)["two_by_two"]
    for name, value in (pair.split("=") for pair in (*inputs, *weights)):
        assert ours[name] == float(value)
    assert helps["file"].endswith(f": tables {' and '.join(DEFAULTS)}")


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_parsed(name):
    examples = re.findall(r"^  (manual-bp .*?)(?:  .*)?$", EXAMPLES[name], re.MULTILINE)
    assert len(examples) >= 3
    for example in examples:
        program, *arguments = shlex.split(example)
        assert program == "manual-bp"
        parser().parse_args(arguments)


@pytest.mark.parametrize(
    ("seed", "says"),
    [
        (str(-(2**63)), ""),
        (str(2**63 - 1), ""),
        (str(2**63), f"expected a whole number of 64 bits, from -2^63 to 2^63 - 1, got {2**63}"),
        (str(-(2**63) - 1), f"expected a whole number of 64 bits, from -2^63 to 2^63 - 1, got {-(2**63) - 1}"),
        ("1.5", "expected a whole number, got '1.5'"),
    ],
)
def test_a_seed_is_one_that_torch_takes(seed, says, capsys):
    if not says:
        assert parser().parse_args(["verify", f"--seed={seed}"]).seed == int(seed)
        torch.Generator().manual_seed(int(seed))
        return
    with pytest.raises(SystemExit):
        parser().parse_args(["verify", f"--seed={seed}"])
    assert capsys.readouterr().err.endswith(f"manual-bp verify: error: argument --seed: {says}\n")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (CommandError("no"), "manual-bp rules: no\n"),
        (OSError(28, "No space left on device"), "manual-bp rules: No space left on device\n"),
        (OSError("unknown"), "manual-bp rules: unknown\n"),
        (BrokenPipeError(32, "Broken pipe"), ""),
        (KeyboardInterrupt(), "\nmanual-bp: interrupted\n"),
    ],
)
def test_what_ends_a_command_is_said_in_a_line(error, says, capsys, monkeypatch):
    """And what standard output cannot take, it is spared when Python closes it."""

    def fails(names):
        print(names)
        raise error

    lost = []

    def dup2(source, to):
        assert os.path.samestat(os.fstat(source), os.stat(os.devnull))
        assert os.write(source, b"lost") == 4
        lost.append(to)

    with monkeypatch.context() as patch:
        patch.setattr("manual_bp.commands.rules.rules", fails)
        patch.setattr(sys.stdout, "fileno", lambda: 17)
        patch.setattr(os, "dup2", dup2)
        assert main(["rules", "Tanh"]) == 2
    assert capsys.readouterr() == ("['Tanh']\n", says)
    assert lost == [17] * isinstance(error, OSError)


def test_ctrl_c_ends_the_process_while_modules_are_imported(monkeypatch):
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    done = []
    monkeypatch.setattr(os, "write", lambda *given: done.append(given))
    monkeypatch.setattr(os, "_exit", lambda *given: done.append(given))
    try:
        with suppress(ZeroDivisionError), _ended_at_once():
            signal.getsignal(signal.SIGINT)(signal.SIGINT, None)
            raise ZeroDivisionError  # as of an import that fails
        assert done == [(2, b"\nmanual-bp: interrupted\n"), (2,)]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize("where", ["ignored", "another thread"])
def test_a_handler_that_is_not_ours_to_set_stays(where):
    handler = signal.SIG_IGN if where == "ignored" else signal.default_int_handler
    usual = signal.signal(signal.SIGINT, handler)
    within = []

    def enter():
        with _ended_at_once():
            within.append(signal.getsignal(signal.SIGINT))

    try:
        if where == "ignored":
            enter()
        else:
            thread = threading.Thread(target=enter)
            thread.start()
            thread.join()
        assert within == [handler]
    finally:
        signal.signal(signal.SIGINT, usual)


@pytest.mark.parametrize("stream", ["out", "err"])
@pytest.mark.parametrize("is_rich", [True, False])
def test_a_line_is_printed_as_it_is(is_rich, stream, capsys, monkeypatch):
    """No markup, no emoji, no number in colours, no line broken; on a terminal, in the style that was asked for."""
    if is_rich:
        pytest.importorskip("rich")
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.delenv("NO_COLOR", raising=False)
    else:
        monkeypatch.setitem(sys.modules, "manual_bp._rich", None)
    lines = console(stderr=stream == "err") if stream == "err" else console()
    line = "[bold]3[/bold] of 'x' :smile: " + "and so on " * 30
    lines.print(line, end=";\n")
    lines.print(line, style="red")
    lines.print()
    styled = f"\x1b[31m{line}\x1b[0m" if is_rich else line
    printed = capsys.readouterr()
    assert getattr(printed, stream) == f"{line};\n{styled}\n\n"
    assert printed.out + printed.err == getattr(printed, stream)


def test_the_bar_is_on_a_terminal_alone_and_goes(monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert console().progress().disable
    monkeypatch.setenv("FORCE_COLOR", "1")
    lines = console()
    bar = lines.progress()
    assert (bar.disable, bar.live.transient, bar.console) == (False, True, lines)
    names = [type(column).__name__ for column in bar.columns]
    assert names == ["TextColumn", "BarColumn", "MofNCompleteColumn", "TimeRemainingColumn"]
    task = bar.add_task("judging", total=3)
    assert str(bar.columns[0].render(bar.tasks[task])) == "judging"
    with pytest.raises(BrokenPipeError):
        lines.on_broken_pipe()


def test_without_rich_the_work_is_the_same_and_a_silent_console_says_nothing(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "manual_bp._rich", None)
    for lines in (console(), Silent()):
        with lines.progress() as progress:
            assert progress is lines
            task = progress.add_task("judging", total=3)
            progress.update(task, description="x", completed=1)
            progress.advance(task)
        lines.print("said", style="bold")
    assert capsys.readouterr() == ("said\n", "")


class Recorded(Plain):
    """Keeps what is printed and in what style, and what is said of the progress."""

    def __init__(self, *, stderr: bool = False) -> None:
        self.is_stderr, self.printed, self.progressed = stderr, [], []

    def print(self, text: str = "", *, style: str | None = None, end: str = "\n") -> None:
        self.printed.append((text + end, style))

    def add_task(self, description: str, *, total: int) -> int:
        self.progressed.append((description, total))
        return 7

    def update(self, task: int, *, description: str = "", completed: int = 0) -> None:
        self.progressed.append((task, description))

    def advance(self, task: int) -> None:
        self.progressed.append(task)


CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def row(name: str, dtype: torch.dtype, share: float, verdict: str = "", device: torch.device = CPU) -> Row:
    """With a budget of 16, and the verdict that its share of it wants unless there is another."""
    ok = share <= 1 and not verdict.startswith("not judged")
    said = verdict or ("agrees" if ok else "wrong formula")
    return Row(name, device, dtype, 16 * share, 16.0, ok, said, "" if ok else "the sign\nand why")


RIGHT_ROW, WRONG_ROW = row("x", torch.float64, 0.5), row("w", torch.float64, 3.0)
UNKNOWN_ROW = row("b", torch.float64, 0.0, "not judged: it has no elements")


def test_a_table_of_verdicts_is_begun_by_its_first_line():
    lines = Recorded()
    shares = Shares(lines, ["a", "three"], [torch.float64, torch.bfloat16])
    assert lines.printed == []
    shares.add("a", CPU, [RIGHT_ROW, row("y", torch.float64, 0.123), row("x", torch.bfloat16, 1)], "agrees")
    shares.add("three", CUDA, [RIGHT_ROW, WRONG_ROW], "MISMATCH")
    shares.add("", CPU, [UNKNOWN_ROW, row("x", torch.bfloat16, 0.0123456)], "NOT JUDGED")
    assert lines.printed == [
        ("A number is a thing's largest error in units of its budget: up to 1 it agrees.\n\n", None),
        ("      device float64 bfloat16  verdict\n", "bold"),
        ("a     cpu        0.5        1  agrees\n", None),
        ("three cuda         3        -  MISMATCH\n", "red"),
        ("      cpu          0    0.012  NOT JUDGED\n", "yellow"),
    ]


@pytest.mark.parametrize(
    ("of_each", "style", "code"),
    [
        ([[RIGHT_ROW]], None, 0),
        ([[RIGHT_ROW], [RIGHT_ROW, WRONG_ROW]], "red", 1),
        ([[UNKNOWN_ROW, WRONG_ROW], [RIGHT_ROW]], "red", 1),
        ([[RIGHT_ROW], [UNKNOWN_ROW]], "yellow", 2),
        ([[RIGHT_ROW], []], None, 2),
        ([[RIGHT_ROW], [row("x", torch.float64, 0.5, "not judged"), RIGHT_ROW]], "yellow", 2),
        ([], None, 2),
    ],
)
def test_the_exit_code_and_the_colour(of_each, style, code):
    assert exit_code([Report("", tuple(rows)) for rows in of_each]) == code
    assert colour(row for rows in of_each for row in rows) == style


def test_what_has_no_elements_is_right_but_alone_not_known():
    empty = replace(UNKNOWN_ROW, ok=True)
    assert [is_known(Report("", rows)) for rows in ((empty, RIGHT_ROW), (empty,), (WRONG_ROW,))] == [True, False, True]
    assert exit_code([Report("", (empty, RIGHT_ROW))]) == 0
    assert exit_code([Report("", (empty,))]) == 2


def refused(check: Callable[..., object], *arguments: str) -> str:
    """What a check says; nothing where it takes the arguments."""
    try:
        check(*arguments)
    except CommandError as error:
        return str(error)
    return ""


def test_where_a_file_cannot_be_written_it_is_said(tmp_path, monkeypatch):
    (tmp_path / "there").touch()
    monkeypatch.chdir(tmp_path)
    assert refused(can_write, "--json there", "there") == refused(can_write, "--json new", "new") == ""
    assert refused(can_write, "--json .", ".") == "--json .: expected a file, got a directory"
    assert refused(can_write, "--json no/new", "no/new") == f"--json no/new: there is no directory {tmp_path / 'no'}"
    assert refused(can_write, "--json f", "there/new") == f"--json f: there is no directory {tmp_path / 'there'}"
    asked = []
    monkeypatch.setattr(os, "access", lambda *given: asked.append(given))
    for file in ("there", "new"):
        assert refused(can_write, "--json f", file) == "--json f: it may not be written there"
    assert asked == [(tmp_path / "there", os.W_OK), (tmp_path, os.W_OK)]


def test_where_no_directory_can_be_it_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.chdir(tmp_path)
    for folder in (".", "new", "new/er", str(tmp_path)):
        assert refused(can_write_into, "--figures d", folder) == ""
    for folder in ("file", "file/new", "file/new/er"):
        says = f"--figures d: expected a directory, {tmp_path / 'file'} is none"
        assert refused(can_write_into, "--figures d", folder) == says


def test_what_cannot_be_drawn_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    monkeypatch.setattr(_writing, "find_spec", lambda name: found.append(name) or found)
    for file in ("f.svg", "f.png", "f.pdf"):
        assert refused(can_draw, file) == ""
    for file in ("f.jpg", "f", "svg"):
        assert refused(can_draw, file) == f"--figure {file}: expected a name that ends in .svg, .png or .pdf"
    assert refused(can_draw, "no/f.svg") == f"--figure no/f.svg: there is no directory {tmp_path / 'no'}"
    assert set(found) == {"matplotlib"}
    monkeypatch.setattr(_writing, "find_spec", lambda name: None)
    says = "matplotlib is not installed: pip install 'manual-bp[figures]'"
    assert refused(matplotlib_for, "--html f") == f"--html f: {says}"
    assert refused(can_draw, "f.svg") == f"--figure f.svg: {says}"


def test_what_fails_while_it_is_written_is_said(monkeypatch):
    pytest.importorskip("matplotlib")
    given = []

    def save(figure, path):
        given.append((figure, path))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("manual_bp.figures.save", save)
    assert refused(draw, "a figure", "f.svg") == "--figure f.svg: No space left on device"
    assert given == [("a figure", Path("f.svg"))]

    def fails():
        with writing("--json f"):
            raise OSError("unknown")

    assert refused(fails) == "--json f: unknown"


# What `verify` judges in the tests of what it prints: two tensors that agree, ten that do not, ...
FLOATS = (torch.float64, torch.float32)
LONG = tuple(row(f"w{i}", t, 3.0) for t in (torch.float32, torch.float64) for i in range(10))
VERDICTS = {
    "right": (RIGHT_ROW, row("x", torch.float32, 0.25), row("y", torch.float64, 0.125)),
    "wrong": LONG,
    "unknown": (UNKNOWN_ROW, RIGHT_ROW),
    "kink": (row("x", torch.float64, 0.0, f"{KINK}, first at [0]"),),
}


@pytest.fixture
def judging(monkeypatch):
    """Has `verify` judge these things, and keeps what it prints."""

    def judge(*names: str) -> Recorded:
        asked: list[object] = []
        lines = Recorded()

        def thing(name: str) -> Subject:
            def judged(device, dtypes, seed):
                asked.append((name, device, dtypes, seed))
                if name == "none":
                    raise NotJudged("no reason")
                if name == "nowhere":
                    raise NotJudged(f"no reason on {device}")
                return Report("its own title", VERDICTS[name], notes=(f"a note on {name}",), repeats="is the same")

            return Subject(name, judged)

        def opened(*, stderr: bool) -> Recorded:
            lines.is_stderr = stderr
            return lines

        monkeypatch.setattr(verify_module, "console", opened)
        monkeypatch.setattr(verify_module, "subjects", lambda: map(thing, names))
        monkeypatch.setattr(verify_module, "subject", lambda target, seed: thing(target))
        monkeypatch.setattr(verify_module.devices, "available", lambda: [CPU, CUDA])
        monkeypatch.setattr(verify_module, "rungs", {CPU: FLOATS, CUDA: FLOATS[1:]}.__getitem__)
        lines.asked = asked
        return lines

    return judge


def verified(*targets: str, **options: object) -> int:
    given = {"device": ["cpu"], "dtype": None, "seed": 3, "json_file": None, "plant": None} | options
    return verify_module.verify(targets, **given)


ABOUT = f"manual-bp {__version__}, torch {torch.__version__}, on cpu, seed 3\n"


def test_what_verify_prints(judging):
    lines = judging("right", "wrong", "none", "unknown", "kink")
    assert verified() == 1
    *printed, last = lines.printed
    wrong = shown(LONG[10:18])
    assert printed == [
        (ABOUT, None),
        ("A number is a thing's largest error in units of its budget: up to 1 it agrees.\n\n", None),
        ("        device float64 float32  verdict\n", "bold"),
        ("right   cpu        0.5    0.25  agrees\n", None),
        ("wrong   cpu          3       3  MISMATCH in w0, w1, w2 and 7 more\n", "red"),
        ("unknown cpu        0.5       -  NOT JUDGED in b\n", "yellow"),
        (f"kink    cpu          0       -  {KINK}\n", None),
        (f"\nwrong: where, in roundoffs\n{wrong}\n... and 2 more\n", "red"),
        (f"\nunknown: where, in roundoffs\n{shown((UNKNOWN_ROW,))}\n", "yellow"),
        ("\n", None),
        ("Not judged: none: no reason\n", None),
    ]
    assert re.fullmatch(
        r"3 judged, 14 tensors, on cpu at float64, float32, in \d+ s: MISMATCH in 1, NOT JUDGED in 1\n", last[0]
    )
    assert last[1] == "bold red"
    names = ["right", "wrong", "none", "unknown", "kink"]
    assert lines.progressed == [("judging", 5), *(said for name in names for said in ((7, name), 7))]
    assert lines.asked == [(name, CPU, list(FLOATS), 3) for name in names]
    assert not lines.is_stderr


def test_what_verify_prints_of_a_target(judging):
    lines = judging()
    assert verified("right", "kink") == 0
    assert [text for text, _ in lines.printed[5:-2]] == [
        "\nright on cpu\n  formula: right, judged at float64\n  numerics: as accurate as autograd\n"
        "  determinism: the same call twice is the same\n  a note on right\n",
        "\nkink on cpu\n  formula: right, judged at float64\n  numerics: as accurate as autograd\n"
        f"  determinism: the same call twice is the same\n  a note on kink\n  x at float64: {KINK}, first at [0]\n",
    ]
    assert lines.printed[-2] == ("\n", None)
    assert re.fullmatch(r"2 judged, 3 tensors, on cpu at float64, float32, in \d+ s: all agree\n", lines.printed[-1][0])
    assert lines.printed[-1][1] == "bold"


@pytest.mark.parametrize(
    ("options", "on", "dtypes", "asked"),
    [
        ({"device": None}, "cpu, cuda", "float64, float32", [(CPU, list(FLOATS)), (CUDA, [torch.float32])]),
        ({"device": ["cuda"]}, "cuda", "float32", [(CUDA, [torch.float32])]),
        ({"device": None, "dtype": ["float32"]}, "cpu, cuda", "float32", [(p, [torch.float32]) for p in (CPU, CUDA)]),
        ({"dtype": ["float32", "float64"]}, "cpu", "float64, float32", [(CPU, list(FLOATS))]),
    ],
)
def test_each_device_is_judged_at_the_dtypes_that_are_asked_for(options, on, dtypes, asked, judging, monkeypatch):
    lines = judging("right")
    monkeypatch.setattr(verify_module.devices, "device", torch.device)
    assert verified(**options) == 0
    assert lines.asked == [("right", place, ladder, 3) for place, ladder in asked]
    assert lines.printed[0][0].endswith(f", on {on}, seed 3\n")
    assert lines.printed[-1][0].startswith(f"{len(asked)} judged, 2 tensors, on {on} at {dtypes}, in ")
    assert lines.progressed[0] == ("judging", len(asked))


def test_verify_says_what_it_cannot_do(judging, tmp_path, monkeypatch):
    lines = judging("right")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(verify_module.devices, "device", torch.device)
    says = "dtype float64 is not on cuda, which has float32"
    assert refused(lambda: verified(device=["cpu", "cuda"], dtype=["float64"])) == says
    says = "--plant plants a mistake in manual-bp's own code: leave out TARGET to see it caught"
    assert refused(lambda: verified("right", plant="sign")) == says
    says = f"--json no/f: there is no directory {tmp_path / 'no'}"
    assert refused(lambda: verified(json_file="no/f")) == says
    assert refused(lambda: verified(plant="typo")).startswith("mistake: expected one of stale-weights, ")
    assert lines.printed == lines.asked == []


def test_what_is_not_judged_is_said_once_with_every_reason(judging, tmp_path):
    lines = judging("none", "nowhere")
    file = tmp_path / "verdict.json"
    assert verified(device=None, json_file=str(file)) == 2
    assert [text for text, _ in lines.printed[2:-1]] == [
        "Not judged: none: no reason\n", "Not judged: nowhere: no reason on cpu; no reason on cuda\n",
    ]  # fmt: skip
    reasons = json.loads(file.read_text(encoding="utf-8"))["not_judged"]
    assert reasons == {"none": "no reason", "nowhere": "no reason on cpu; no reason on cuda"}


@pytest.mark.parametrize(
    ("names", "code", "last"),
    [
        (["none"], 2, "0 judged, 0 tensors, on cpu at float64, float32, in 0 s: nothing could be judged\n"),
        (["unknown"], 2, "0 judged, 1 tensors, on cpu at float64, float32, in 0 s: NOT JUDGED in 1\n"),
        (["wrong", "wrong"], 1, "2 judged, 10 tensors, on cpu at float64, float32, in 0 s: MISMATCH in 2\n"),
    ],
)
def test_how_verify_ends(names, code, last, judging):
    lines = judging(*names)
    assert verified() == code
    assert lines.printed[-1] == (last, "bold red" if code == 1 else "bold")


@pytest.mark.parametrize(
    ("names", "said"),
    [("abc", "a, b, c"), ("abcd", "a, b, c and 1 more"), ("aabbc", "a, b, c"), ("abcdea", "a, b, c and 2 more")],
)
def test_three_names_are_said_of_what_is_wrong(names, said):
    report = Report("", tuple(row(name, torch.float64, 3.0) for name in names))
    assert verify_module._verdict(report) == f"MISMATCH in {said}"


def test_eight_rows_are_shown_of_what_is_wrong():
    for rows, more in ((LONG[10:18], ""), (LONG[10:19], "\n... and 1 more")):
        said = f"thing: where, in roundoffs\n{shown(rows[:8])}{more}"
        assert verify_module._where(Report("thing", rows)) == said


def test_the_verdicts_in_json(judging, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("-").mkdir()  # it is no name of a file
    lines = judging("right", "wrong", "none")
    file = tmp_path / "verdict.json"
    assert verified(json_file=str(file), plant="sign") == 1
    assert not lines.is_stderr
    assert lines.printed[0][0] == ABOUT.replace("\n", ", planted: sign\n")
    written = file.read_text(encoding="utf-8")
    reports = [
        Report(name, VERDICTS[name], notes=(f"a note on {name}",), repeats="is the same") for name in ("right", "wrong")
    ]
    verdict = {
        "manual_bp": __version__, "torch": torch.__version__, "seed": 3, "planted": "sign", "ok": False,
        "reports": [report.as_dict() for report in reports], "not_judged": {"none": "no reason"},
    }  # fmt: skip
    assert written == json.dumps(verdict, indent=2) + "\n"
    assert verified(json_file="-", plant="sign") == 1
    assert lines.is_stderr
    assert capsys.readouterr().out == written
    for names, ok in ((["right"], True), (["none"], False)):
        judging(*names)
        verified(json_file=str(file))
        read = json.loads(file.read_text(encoding="utf-8"))
        assert (read["ok"], read["planted"]) == (ok, None)


def test_what_fails_while_the_verdicts_are_written_is_said(judging, monkeypatch):
    def full(*given, **named):
        raise OSError(28, "No space left on device")

    judging("right")
    monkeypatch.setattr(Path, "write_text", full)
    assert refused(lambda: verified(json_file="f.json")) == "--json f.json: No space left on device"


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        (
            "x.T @ delta",
            "x.T @ delta @ x",
            " cannot be judged on cpu: RuntimeError: mat1 and mat2 shapes cannot be multiplied (3x2 and 5x3)\n"
            "  File '{}', line 9, in backward\n    return delta @ w.T, x.T @ delta @ x",
        ),
        (
            "import torch",
            "import torch\n1 / 0",
            " cannot be loaded: ZeroDivisionError: division by zero\n  File '{}', line 3, in <module>\n    1 / 0",
        ),
        (
            "import torch",
            "import torch\nraise ModuleNotFoundError('mine')",
            " cannot be loaded: ModuleNotFoundError: mine\n  File '{}', line 3, in <module>\n"
            "    raise ModuleNotFoundError('mine')",
        ),
        (
            "return torch",
            "return (torch",
            " cannot be loaded: SyntaxError: '(' was never closed (mine.py, line 5)\n  File '{}', line 5\n"
            "    return (torch.tanh(x @ w)",
        ),
        (
            "import torch",
            "import torch\nexec('1 / 0')",
            " cannot be loaded: ZeroDivisionError: division by zero\n"
            "  File '{}', line 3, in <module>\n    exec('1 / 0')",
        ),
        (
            "import torch",
            "import torch\nraise SyntaxError('no', ('f.py', 3, 1, None))",
            " cannot be loaded: SyntaxError: no (f.py, line 3)\n  File 'f.py', line 3\n    ",
        ),
        (
            "import torch",
            "import torch\nexec('1 +')",
            " cannot be loaded: SyntaxError: invalid syntax (<string>, line 1)\n  File '<string>', line 1\n    1 +",
        ),
        (
            "import torch",
            "import torch\nraise SystemExit(3)",
            " cannot be loaded: SystemExit: 3\n  File '{}', line 3, in <module>\n    raise SystemExit(3)",
        ),
        ("def back", "def forth", ": expected forward, backward and inputs, got no backward"),
        ("inputs = ", "inputs = 3 #", ": inputs: expected a tuple, got int"),
        ("def forward", "forward = 3\ndef f", ": forward: expected a function, got int"),
        (
            "def backward(g",
            "def backward(self, g",
            ": backward: expected a static method, got one of self: put @staticmethod above it",
        ),
    ],
)
def test_what_is_wrong_with_a_target_is_said_to_the_letter(right, wrong, says, target):
    path = target(right, wrong)
    ours = refused(lambda: subject(path, 0).judge(CPU, [torch.float64], 0))
    assert ours == f"{path}{says.replace('{}', path)}"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("{}:Outer.Right", ""),
        ("{}:Outer", "{}:Outer: expected forward, backward and inputs, got no forward: did you mean {}:Outer.Right?"),
        ("{}:Outer.", "{}:Outer.: {} has no "),
        ("{}:Outer.number", "{}:Outer.number: expected forward, backward and inputs, got no forward"),
        ("{}", "{}: expected forward, backward and inputs, got no forward"),
        ("{}:Outer.Other", "{}:Outer.Other: {} has no Other"),
    ],
)
def test_a_class_in_a_class(name, says, tmp_path):
    path = tmp_path / "mine.py"
    inside = "".join(f"        {line}\n" for line in RIGHT.replace("def ", "@staticmethod\ndef ").splitlines())
    half = "    number = 3\n    class Half:\n        def forward(x): ...\n"
    path.write_text(f"import torch\nclass Outer:\n{half}    class Right:\n{inside}")
    ours = refused(lambda: subject(name.replace("{}", str(path)), 0).judge(CPU, [torch.float64], 0))
    assert ours == says.replace("{}", str(path))


def test_a_file_with_a_colon_in_its_name(tmp_path):
    path = tmp_path / "c:mine.py"
    try:
        path.write_text("import torch\n" + INSIDE.replace("def ", "@staticmethod\n    def "))
    except OSError:
        pytest.skip("the system has no such names")
    judged = subject(f"{path}:Mine", 0).judge(CPU, [torch.float64], 0)
    assert judged.ok
    says = f"{path}: expected forward, backward and inputs, got no forward: did you mean {path}:Mine?"
    assert refused(subject, str(path), 0) == says


def test_a_target_is_judged_with_its_own_inputs_twin_and_witness(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    leaf = "torch.ones(2, requires_grad=True)"
    options = f"inputs = [{leaf} * 3, torch.arange(3), 'text', torch.ones(4)]\nwitness = 'taylor'\n"
    path.write_text(f"import torch\ndef forward(*given): ...\nbackward = forward\n{options}")
    called = []
    monkeypatch.setattr(target_module, "crosscheck", lambda *given, **named: called.append((given, named)))
    judged = subject(str(path), 0)
    assert judged.name == str(path)
    judged.judge(CPU, [torch.float64], 5)
    (((forward, backward, inputs), named),) = called
    assert forward is backward
    assert forward.__name__ == "forward"
    assert named == {"twin": None, "witness": "taylor", "dtypes": [torch.float64], "seed": 5}
    triple, index, text, ones = inputs
    assert (triple.tolist(), index.tolist(), text, ones.tolist()) == ([3, 3], [0, 1, 2], "text", [1, 1, 1, 1])
    assert (triple.is_leaf, triple.requires_grad, ones.requires_grad) == (True, True, False)
    meta = torch.device("meta")
    judged.judge(meta, [torch.float64], 5)
    ((_, _, (triple, index, text, ones)), _) = called[1]
    assert (triple.device, index.device, text, ones.device) == (meta, meta, "text", meta)


def test_what_lies_beside_a_target_is_found_first(tmp_path, monkeypatch):
    """As when Python runs it; and a class of it can find its module."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "kernels_beside.py").write_text(RIGHT)
    (tmp_path / "beside" / "mine.py").write_text("from kernels_beside import *\nname = __name__")
    monkeypatch.chdir(tmp_path)
    path = Path("beside/mine.py")
    assert subject(str(path), 0).name == str(path)
    assert sys.path[0] == str(tmp_path / "beside")
    assert sys.modules[f"target {path}"].name == f"target {path}"


def test_a_module_is_found_where_one_is(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kernels_here").mkdir()
    (tmp_path / "kernels_here" / "__init__.py").write_text(RIGHT)
    (tmp_path / "kernels_here" / "broken.py").write_text("import kernels_nowhere\n")
    assert refused(subject, "kernels_here", 0) == ""
    assert sys.path[0] == ""
    expected = "expected file.py, file.py:Object or package.module:Object, got"
    for name, found in (
        ("kernels_here.no", "No module named 'kernels_here.no'"),
        ("kernels_no.no:A", "No module named 'kernels_no'"),
        ("kernels-here", "'kernels-here'"),
        ("./kernels_here", "a directory"),
        ("", "a directory"),
    ):
        assert refused(subject, name, 0) == f"{name}: {expected} {found}"
    said = refused(subject, "kernels_here.broken", 0)
    assert said.startswith("kernels_here.broken cannot be loaded: ModuleNotFoundError: No module named 'kernels_nowh")
    assert said.endswith(f"  File '{tmp_path}/kernels_here/broken.py', line 1, in <module>\n    import kernels_nowhere")


def test_the_names_of_what_is_judged():
    assert [subject.name for subject in subjects()] == [
        "article.neuron", "article.two_by_two", *(f"rule {name}" for name in RULES),
        "network 1 layer, sigmoid", "network 2 layers, tanh", "network 3 layers, relu", "network 4 layers, sigmoid",
        "network 5 layers, tanh", "network 6 layers, sigmoid", "network on real digits",
    ]  # fmt: skip


def drawn(
    name: str, seed: int, monkeypatch, device: torch.device = CPU
) -> tuple[list[torch.Tensor | None], dict[str, object]]:
    """What a thing is judged on."""
    kept = []

    def keep(manual, autograd, inputs, **named):
        kept.append((inputs, named))
        return Report("", ())

    for judge in ("judge", "crosscheck"):
        monkeypatch.setattr(subjects_module, judge, keep)
    (thing,) = (subject for subject in subjects() if subject.name == name)
    thing.judge(device, [torch.float64, torch.float32], seed)
    return kept[-1]


@pytest.mark.parametrize("depth", range(1, 7))
def test_the_networks_that_are_judged_have_no_squares_and_lie_off_the_kink(depth, monkeypatch):
    (name,) = (subject.name for subject in subjects() if subject.name.startswith(f"network {depth}"))
    for seed in range(5):
        (x, z, *params), named = drawn(name, seed, monkeypatch)
        again = drawn(name, seed, monkeypatch)[0]
        assert all(map(torch.equal, (x, z, *params), again))
        other = drawn(name, seed + 1, monkeypatch)[0]
        assert x.shape != other[0].shape or not torch.equal(x, other[0])
        weights, biases = params[:depth], params[depth:]
        widths = [11, x.shape[1], *(len(w) for w in weights)]
        assert len(set(widths)) == len(widths)
        assert min(widths[1:]) >= 2
        assert max(widths[1:]) <= 10
        assert len(x) == 11
        assert z.shape == ((11, widths[-1]) if z.is_floating_point() else (11,))
        assert z.is_floating_point() or int(z.max()) < widths[-1]
        assert not torch.equal(weights[0], Network.random(widths[1:], dtype=torch.float64).weights[0])
        assert {t.dtype for t in (x, *params)} == {torch.float64}
        assert named["dtypes"] == [torch.float64, torch.float32]
        assert named["seed"] == seed
        if "relu" in name:
            for w, b in zip(weights, biases, strict=True):
                x = x @ w.T + b
                assert x.abs().min() > 0.03
                x = x.relu()


def test_the_networks_that_are_judged_are_of_2_to_10_neurons_a_layer(monkeypatch):
    of_seeds = [drawn("network 6 layers, sigmoid", seed, monkeypatch)[0] for seed in range(5)]
    assert {length for _, _, *params in of_seeds for w in params[:6] for length in w.shape} == set(range(2, 11))


@pytest.mark.parametrize(
    ("name", "quantities"),
    [
        ("neuron", ["y", "x1", "x2", "w1", "w2", "wb"]),
        ("two_by_two", ["z_1", "z_2", "x", "y", *WEIGHTS["two_by_two"]]),
    ],
)
def test_the_articles_networks_are_judged_on_numbers_of_the_seed(name, quantities, monkeypatch):
    assert list(DOMAINS[name]) == quantities
    (network,) = (subject for subject in subjects() if subject.name == f"article.{name}")
    report = network.judge(CPU, [torch.float64], 0)
    assert (report.ok, len(report.rows)) == (True, {"neuron": 16, "two_by_two": 65}[name])
    inputs, named = drawn(f"article.{name}", 3, monkeypatch)
    assert len(inputs) == len(quantities)
    assert {(t.dtype, t.dim()) for t in inputs} == {(torch.float64, 0)}
    given = dict(zip(quantities, map(float, inputs), strict=True))
    for quantity, value in given.items():
        is_target = quantity in (("y",) if name == "neuron" else ("z_1", "z_2"))
        assert (0 <= value <= 1) >= is_target
    assert (named["dtypes"], named["seed"]) == ([torch.float64, torch.float32], 3)
    assert list(map(float, drawn(f"article.{name}", 3, monkeypatch)[0])) == list(given.values())
    meta = torch.device("meta")
    monkeypatch.setattr(subjects_module, "rungs", {meta: (torch.float32,), CPU: (torch.float64,)}.__getitem__)
    inputs, _ = drawn(f"article.{name}", 3, monkeypatch, meta)
    assert {(t.device, t.dtype) for t in inputs} == {(meta, torch.float32)}
    assert list(map(float, drawn(f"article.{name}", 4, monkeypatch)[0])) != list(given.values())


@pytest.mark.parametrize("name", ["article.neuron", "article.two_by_two", "network 2 layers, tanh"])
def test_the_articles_literal_order_is_evidence_of_what_it_changes(name, monkeypatch):
    inputs, named = drawn(name, 0, monkeypatch)
    evidence = named["evidence"](True, *inputs)
    cause = "weights updated already, with eta = 0.5, carry the deltas back: the article's literal order of steps"
    for quantity, known in evidence.items():
        for said, _ in known.mistaken:
            assert said == cause, quantity
    wrong = {quantity for quantity, known in evidence.items() if known.mistaken}
    if name.startswith("article"):
        assert ("delta_11_out" in wrong) == bool(wrong) == (name == "article.two_by_two")
        assert {other for known in evidence.values() for other in known.others} == {
            quantity for quantity in evidence if not quantity.endswith("_new")
        }
    else:
        assert {"delta_out[0]", "stepped weight[0]", "new bias[0]"} <= wrong
        assert {tuple(known.sizes.items()) for known in evidence.values()} == {(("samples", 11),)}


def test_a_network_on_one_sample_has_no_number_of_samples(monkeypatch):
    kept = []
    monkeypatch.setattr(subjects_module, "judge", lambda *given, **named: kept.append((given[2], named["evidence"])))
    net = Network.random([3, 2], dtype=torch.float64)
    subjects_module.network(net, torch.ones(3).double(), torch.ones(2).double(), 0.5, CPU, [torch.float64], 0)
    ((inputs, evidence),) = kept
    assert {tuple(known.sizes) for known in evidence(False, *inputs).values()} == {()}


def test_the_quantities_of_a_network_that_are_judged():
    net = Network.random([3, 4, 2], dtype=torch.float64)
    x, z = torch.rand(5, 3, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64)
    report = subjects_module.network(net, x, z, 0.5, CPU, [torch.float64], 0)
    assert report.ok
    kinds = ("n_in", "n_out", "delta_in", "delta_out", "weight", "bias", "new weight", "new bias", "stepped weight",
             "stepped bias")  # fmt: skip
    assert {row.name for row in report.rows} == {"J", "x"} | {f"{kind}[{layer}]" for kind in kinds for layer in (0, 1)}


def test_real_digits_are_judged_on_eleven_of_the_seed(digits, monkeypatch):
    X, Z = data.digits()
    (x, z, *params), named = drawn("network on real digits", 3, monkeypatch)
    batch = torch.randperm(1797, generator=torch.Generator().manual_seed(3))[:11]
    assert torch.equal(x, X[batch])
    assert torch.equal(z, Z[batch])
    theirs = Network.random([64, 32, 10], seed=3, dtype=torch.float64)
    assert all(map(torch.equal, params, (*theirs.weights, *theirs.biases)))
    assert named["seed"] == 3
    kept = []
    monkeypatch.setattr(subjects_module, "network", lambda net, *given: kept.append((net, given[2:])))
    subjects_module._digits(CPU, [torch.float64], 3)
    ((net, rest),) = kept
    assert (net.activations, net.cost_rule) == ((Tanh, Identity), COSTS["softmax_cross_entropy"])
    assert rest == (0.5, CPU, [torch.float64], 3)


def test_each_twin_of_a_rule_is_judged_by_its_options():
    (huber,) = (subject for subject in subjects() if subject.name == "rule Huber")
    report = huber.judge(CPU, [torch.float32], 3)
    assert (report.title, report.ok) == ("Huber", True)
    names = [row.name for row in report.rows]
    plain = [name for name in names if "delta=0.3" not in name]
    assert names == plain + [f"{name}, delta=0.3" for name in plain]
    assert {row.dtype for row in report.rows} == {torch.float32}


def test_each_twin_of_a_rule_is_judged_on_the_draw_of_the_seed(monkeypatch):
    asked = []

    def keep(forward, backward, inputs, *, twin, dtypes, seed):
        asked.append((str(twin), dtypes, seed))
        assert all(map(torch.equal, inputs, twin.draw(3)))
        return Report("", (RIGHT_ROW,))

    monkeypatch.setattr(subjects_module, "crosscheck", keep)
    report = subjects_module.rule("Huber", CPU, [torch.float64, torch.bfloat16], 3)
    assert asked == [(options, [torch.float64, torch.bfloat16], 3) for options in ("", "delta=0.3")]
    assert [row.name for row in report.rows] == ["x", "x, delta=0.3"]


def test_a_rule_without_a_twin_here_is_not_judged():
    says = "^torch has no twin of it on cpu at bfloat16, float16$"
    with pytest.raises(NotJudged, match=says):
        subjects_module.rule("Cholesky", CPU, [torch.bfloat16, torch.float16], 0)
    says = "^rule Square has no twin: add its line to reference/twins.py$"
    with pytest.raises(CommandError, match=says):
        subjects_module.rule("Square", CPU, [torch.float32], 0)


@pytest.mark.parametrize("owner", ["Huber", "Network"])
def test_autograd_goes_through_the_forward_of_each_case(owner):
    of_owner = list(subjects_module.cases(owner))
    assert len(of_owner) == (2 if owner == "Huber" else 1)
    for case in of_owner:
        inputs = case.draw(3)
        assert all(torch.equal(a, b) for a, b in zip(inputs, case.draw(3), strict=True))
        assert not torch.equal(inputs[0], case.draw(4)[0])
        assert crosscheck(case.forward, case.backward, inputs, dtypes=[torch.float64]).ok


def test_inputs_on_a_device_are_leaves_of_its_widest_dtype(monkeypatch):
    inputs = [torch.ones(2, requires_grad=True) * 3, None, torch.arange(3), torch.ones(4).double()]
    meta = torch.device("meta")
    for device, widest in ((CPU, torch.float64), (meta, torch.float32)):
        monkeypatch.setattr(subjects_module, "rungs", {device: (widest, torch.float16)}.__getitem__)
        triple, none, index, ones = subjects_module.on(device, inputs)
        assert none is None
        assert triple.device == index.device == ones.device == device
        assert (triple.dtype, index.dtype, ones.dtype) == (widest, torch.int64, widest)
        assert (triple.is_leaf, triple.requires_grad, ones.requires_grad) == (True, True, False)


@pytest.fixture
def explained(monkeypatch):
    """What `rules` prints of names, and in what style."""

    def explain(*names: str) -> list[tuple[str, str | None]]:
        lines = Recorded()
        monkeypatch.setattr(rules_module, "console", lambda: lines)
        assert rules_module.rules(names) == 0
        return lines.printed

    return explain


def test_the_list_of_rules(explained):
    printed = explained()
    assert printed[:4] == [
        ("activations: ", "bold"),
        ("what a neuron does between its in side and its out side, and what acts on a whole row of them.\n", None),
        ("  Sigmoid                    out = 1 / (1 + e^(−x))\n", None),
        ("  Tanh                       out = (e^x − e^(−x)) / (e^x + e^(−x))\n", None),
    ]
    families = [text.removesuffix(": ") for text, style in printed if style]
    assert families == list(dict.fromkeys(rule.__module__.rpartition(".")[2] for rule in RULES.values()))
    assert [text for text, _ in printed].count("\n") == len(families)
    says = f"{len(RULES)} rules. `manual-bp rules LayerNorm` shows the derivation and the code of one, and judges it.\n"
    assert printed[-2:] == [("\n", None), (says, None)]


def test_a_list_has_the_first_line_and_the_formula_of_each_docstring(explained, monkeypatch):
    class One:
        """A rule: out = a: X.

        More: out = b.
        """

    class Longer:
        """Another: out = c."""

    monkeypatch.setattr(rules_module, "RULES", {"One": One, "Longer": Longer})
    monkeypatch.setattr(sys.modules[__name__], "__doc__", "The first line.\nThe second.")
    assert [text for text, _ in explained()[:-1]] == [
        f"{__name__.rpartition('.')[2]}: ", "the first line.\n", "  One     out = a: X\n", "  Longer  out = c\n", "\n",
    ]  # fmt: skip


def test_a_rule_is_judged_on_each_device_at_its_dtypes(monkeypatch):
    lines, asked = Recorded(), []
    dtypes = {CPU: FLOATS, CUDA: FLOATS[1:]}

    def rule(*given, **named):
        asked.append((given, named))
        place = given[1]
        rows = [
            row(name, t, 3.0 if (name, place) == ("x", CUDA) else 0.5) for name in ("out", "x") for t in dtypes[place]
        ]
        return Report("Identity", (*rows, replace(rows[-1], verdict="never shown")))

    monkeypatch.setattr(rules_module, "console", lambda: lines)
    monkeypatch.setattr(rules_module, "rule", rule)
    monkeypatch.setattr(rules_module, "rungs", dtypes.__getitem__)
    monkeypatch.setattr(rules_module.devices, "available", lambda: [CPU, CUDA])
    assert rules_module.rules(["Identity"]) == 1
    assert asked == [(("Identity", place, dtypes[place]), {"seed": 0}) for place in (CPU, CUDA)]
    assert lines.printed[-6:] == [
        ("    device float64 float32  verdict\n", "bold"),
        ("out cpu        0.5     0.5  agrees\n", None),
        ("out cuda         -     0.5  agrees\n", None),
        ("x   cpu        0.5     0.5  agrees\n", None),
        ("x   cuda         -       3  wrong formula: the sign (and why)\n", "red"),
        ("\n", None),
    ]


def test_a_rule_explained(explained, monkeypatch):
    monkeypatch.setattr(rules_module.devices, "available", lambda: [CPU])
    name, about, notation, code, forward, backward, judged, *table = explained("identity")
    assert (name, judged) == (("Identity\n", "bold"), ("Judged now, by autograd\n", "bold"))
    assert about == (f"{inspect.getdoc(Identity)}\n\n", None)
    assert notation[0].startswith("Notation: grad_x is ")
    assert notation[0].endswith(".\n\n")
    assert notation[1] == "dim"
    assert code == ("The code, in manual_bp.rules.activations:\n", "bold")
    assert forward == ("    @staticmethod\n    def forward(x: Tensor) -> Tensor:\n        return x.clone()\n\n", None)
    assert backward[0].startswith("    @staticmethod\n    def backward(grad_out: Tensor, ")
    assert table == [
        ("A number is a thing's largest error in units of its budget: up to 1 it agrees.\n\n", None),
        ("    device float64 float32 bfloat16 float16  verdict\n", "bold"),
        ("out cpu          0       0        0       0  agrees\n", None),
        ("x   cpu          0       0        0       0  agrees\n", None),
        ("\n", None),
    ]


def test_the_code_of_a_rule_is_that_which_it_calls(explained):
    """Each private function once, of its class and of its module."""
    for name in ("GRUCell", "LayerNorm", "Conv2d"):
        text = "".join(text for text, _ in explained(name))
        code = text[text.index("The code, in ") : text.index("Judged now")]
        defined = re.findall(r"def (\w+)\(", code)
        called = set(re.findall(r"\b(_[a-z]\w*)\(", code))
        assert len(set(defined)) == len(defined)
        assert defined[:2] == ["forward", "backward"]
        assert called <= set(defined)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("LayrNorm", "did you mean LayerNorm, RMSNorm? "), ("xyz", ""), ("layernorn", "did you mean LayerNorm? ")],
)
def test_the_names_that_are_near_are_named(name, hint, explained):
    said = refused(explained, "Tanh", name)
    assert said == f"rule: there is no {name}: {hint}`manual-bp rules` lists all {len(RULES)}"
