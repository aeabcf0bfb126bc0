"""TARGET: a gradient of one's own, from a file or a module."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from manual_bp.__main__ import main
from manual_bp.commands import CommandError
from manual_bp.commands import target as target_module
from manual_bp.commands.target import subjects

CPU = torch.device("cpu")


def subject(target: str, seed: int):
    (one,) = subjects(target, seed)
    return one


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


def refused(check: Callable[..., object], *arguments: str) -> str:
    """What a check says; nothing where it takes the arguments."""
    try:
        check(*arguments)
    except CommandError as error:
        return str(error)
    return ""


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
        (
            INSIDE.replace("def forward", "def forth"),
            "",
            "{}: expected forward, inputs, and backward or twin, got no forward",
        ),
        (
            INSIDE.replace("(x", "(self, x"),
            ":Mine",
            "{}:Mine: forward: expected a function without self, got a method: put @staticmethod above it",
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
        ("def backward", "def back", ["expected forward, inputs, and backward or twin, got no backward"]),
        ("inputs =", "inputs_ =", ["got no inputs"]),
        ("inputs = torch.randn(5, 3), ", "inputs = 3 #", ["inputs: expected a tuple, as in (x,), got int"]),
        (
            "inputs = torch.randn(5, 3), torch.randn(3, 2)",
            "inputs = (1, 2)",
            ["at least one tensor of floating-point or complex numbers"],
        ),
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
method = "taylor"
"""


def test_a_function_of_autograd_as_a_target(capsys, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text(FUNCTION)
    for target in (f"{mine}:Cube", str(mine)):
        code, out, _ = run(capsys, "verify", target, "--device", "cpu")
        assert code == 0, out
        assert "judged by Taylor's expansion in float64" in out


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        (
            "x.T @ delta",
            "x.T @ delta + c",
            " cannot be judged on cpu: NameError: name 'c' is not defined\n"
            "  File '{}', line 9, in backward\n    return delta @ w.T, x.T @ delta + c",
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
        ("def back", "def forth", ": expected forward, inputs, and backward or twin, got no backward"),
        ("inputs = ", "inputs = 3 #", ": inputs: expected a tuple, as in (x,), got int"),
        ("def forward", "forward = 3\ndef f", ": forward: expected a function, got int"),
        (
            "def backward(g",
            "def backward(self, g",
            ": backward: expected a function without self, got a method: put @staticmethod above it",
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
        ("{}:Outer", ""),
        ("{}:Outer.", "{}:Outer.: expected '' in {}, got no such name"),
        ("{}:Outer.number", "{}:Outer.number: expected forward, inputs, and backward or twin, got no forward"),
        ("{}", "{}: expected forward, inputs, and backward or twin, got no forward"),
        ("{}:Outer.Other", "{}:Outer.Other: expected 'Other' in {}, got no such name"),
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
    assert subject(str(path), 0).name == f"{path}:Mine"


def test_a_target_is_judged_with_its_own_inputs_twin_and_method(tmp_path, monkeypatch):
    path = tmp_path / "mine.py"
    leaf = "torch.ones(2, requires_grad=True)"
    options = f"inputs = [{leaf} * 3, torch.arange(3), 'text', torch.ones(4)]\nmethod = 'taylor'\n"
    path.write_text(f"import torch\ndef forward(*given): ...\nbackward = forward\n{options}")
    called = []
    monkeypatch.setattr(target_module.crosscheck, "crosscheck", lambda *given, **named: called.append((given, named)))
    judged = subject(str(path), 0)
    assert judged.name == str(path)
    judged.judge(CPU, [torch.float64], 5)
    ((_, named),) = called
    assert named["forward"] is named["backward"]
    assert named["forward"].__name__ == "forward"
    assert named.keys() == {"forward", "backward", "inputs", "method", "dtypes", "seed"}
    assert (named["method"], named["dtypes"], named["seed"]) == ("taylor", [torch.float64], 5)
    triple, index, text, ones = named["inputs"]
    assert (triple.tolist(), index.tolist(), text, ones.tolist()) == ([3, 3], [0, 1, 2], "text", [1, 1, 1, 1])
    assert (triple.is_leaf, triple.requires_grad, ones.requires_grad) == (True, True, False)
    meta = torch.device("meta")
    judged.judge(meta, [torch.float64], 5)
    triple, index, text, ones = called[1][1]["inputs"]
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


FORMS = """
import numpy as np
import torch
from torch.autograd import Function


class Layer:
    inputs = torch.randn(5, 3), torch.randn(3, 2)
    wrt, digits = ["x"], 10

    @staticmethod
    def forward(x, w):
        return torch.tanh(x @ w)

    @staticmethod
    def backward(grad_out, out, x, w):
        return FACTOR * (grad_out * (1 - out**2)) @ w.T, None


class Arrays:
    inputs = (np.linspace(0.1, 1, 5),)
    forward = np.sin
    twin = torch.sin

    @staticmethod
    def backward(grad_out, out, x):
        return FACTOR * grad_out * np.cos(x)


class Power(Function):
    @staticmethod
    def forward(ctx, x, p):
        ctx.save_for_backward(x)
        ctx.p = p
        return x**p

    @staticmethod
    def backward(ctx, grad_out):
        (x,) = ctx.saved_tensors
        return FACTOR * grad_out * ctx.p * x ** (ctx.p - 1), None


class Op:
    forward, inputs, order = Power, (torch.rand(4) + 1, 3), 2

    @staticmethod
    def twin(x, p):
        return x**p
"""


def test_several_targets_in_one_file(tmp_path, capsys):
    path = tmp_path / "forms.py"
    path.write_text(FORMS.replace("FACTOR", "1.0"))
    code, out, _ = run(capsys, "verify", str(path))
    assert code == 0
    for name in ("Layer", "Arrays", "Op"):
        assert f"{path}:{name}" in out
    path.write_text(FORMS.replace("FACTOR", "1.001"))
    code, out, _ = run(capsys, "verify", str(path))
    assert code == 1
    assert "MISMATCH in 3" in out
    assert run(capsys, "verify", f"{path}:Op")[0] == 1


def test_targets_by_name(tmp_path, capsys):
    path = tmp_path / "named.py"
    path.write_text(
        FORMS.replace("FACTOR", "1.0") + "targets = {'power': dict(forward=Power, twin=Op.twin, inputs=Op.inputs)}"
    )
    code, out, _ = run(capsys, "verify", str(path))
    assert code == 0
    assert f"{path}:power" in out
    assert "Layer" not in out


def test_an_op_and_what_stands_beside_it(tmp_path, capsys):
    path = tmp_path / "op.py"
    text = FORMS.replace("FACTOR", "1.0") + "inputs, twin = Op.inputs, Op.twin"
    path.write_text(text)
    assert run(capsys, "verify", f"{path}:Power")[0] == 0
    assert run(capsys, "verify", f"{path}:Power.apply")[0] == 0
    path.write_text(text.replace("1.0 *", "1.001 *"))
    assert run(capsys, "verify", f"{path}:Power.apply")[0] == 1
