"""Every error message, whole, beside a call that gets it: a table to be read as a page.

A message says what is wrong, what was expected, what was got, and what to do. Each `raise` of the three packages has to
have its words in the table.
"""

import ast
import errno
import io
import os
import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd import Function

import crosscheck as crosscheck_package
import manual_bp
from crosscheck import Report, assert_crosscheck, compare, crosscheck, pytest_plugin
from crosscheck.pytest_plugin import Devices
from crosscheck.verdict.judge import judge
from manual_bp import Network, Transformer, article, figures, mistakes, notation, rules
from manual_bp.__main__ import main
from manual_bp.checkpoint import Labels
from manual_bp.commands import subjects
from manual_bp.data import digits, inputs, load, npz, text
from manual_bp.rules._rule import Rule
from reference.network import Twin

ROOT = Path(__file__).parents[1]
PACKAGES = ("crosscheck", "manual_bp", "reference")

# What the calls hand in


def f(x, w):
    return x @ w


def b(grad_out, out, x, w):
    return grad_out @ w.T, x.T @ grad_out


def square(x):
    return x * x


def not_half(x):
    if x.dtype == torch.bfloat16:
        raise TypeError("made for more digits")
    return x * x


def double(grad_out, out, x):
    return (2 * x * grad_out,)


class Twice(Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad_out):
        return 2 * grad_out


class Once(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_out):
        return 2 * ctx.saved_tensors[0] * grad_out


class Scale(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.register_parameter(name, nn.Parameter(torch.ones(3)))

    def forward(self, x):
        (scale,) = self.parameters()
        return x * scale


X, W = torch.arange(6.0).reshape(2, 3), torch.arange(3.0, 9.0).reshape(3, 2)
ONE, ONES = (X,), {"x": torch.ones(3)}
WEIGHTS, BIASES = [torch.ones(2, 3)], [torch.ones(2)]


def net(**options):
    return Network.random([3, 2], **options)


def judged_whole(**options):
    """The judge of two functions, without a call of crosscheck's."""
    return judge(lambda x: {"x": x}, lambda x: {"x": x}, [1], **options)


def longdouble():
    if np.dtype(np.longdouble).itemsize == 8:
        pytest.skip("NumPy has nothing wider than float64 here")
    return np.ones(3, np.longdouble)


def jax_function():
    jax = pytest.importorskip("jax")
    return jax.jit(lambda x: x * x)


def where_absent(owner, call):
    """The call where the package is not installed that this module of ours looks for."""
    with patch(f"{owner}.find_spec", lambda name: None):
        return call()


def where_nothing_may_be_written(call):
    with patch("os.access", lambda path, mode: False):
        return call()


def where_opening_fails(number, call):
    with patch("builtins.open", side_effect=OSError(number, os.strerror(number))):
        return call()


def where_the_disk_is_full(call):
    def draft(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with patch("manual_bp.commands.verify.whole", draft):
        return call()


def without_twins(call):
    with patch.dict("manual_bp.commands.subjects.TWINS", clear=True):
        return call()


def with_edit(edit):
    with mistakes.edited([edit]):
        return "nothing is said"


def with_cuda(is_built, count, call, has=None):
    """The call on a machine with so many CUDA devices, and where it has dtypes of these alone."""
    machine = [patch("torch.backends.cuda.is_built", lambda: is_built), patch("torch.cuda.device_count", lambda: count)]
    machine += [patch("manual_bp.commands.verify.dtypes_of", lambda place: has)] if has else []
    with ExitStack() as stack:
        for part in machine:
            stack.enter_context(part)
        return call()


def without_scikit_learn(call):
    with patch.dict("sys.modules", {"sklearn.datasets": None}):
        return call()


def command(line):
    """What `manual-bp` says on stderr, behind the usage."""
    with redirect_stderr(io.StringIO()) as said, redirect_stdout(io.StringIO()):
        try:
            code = main(shlex.split(line))
        except SystemExit as end:
            code = end.code
    assert code == 2
    return re.sub(r"^usage: .*?\n(?=manual-bp)", "", said.getvalue().strip(), flags=re.DOTALL)


def on(text, line):
    """The same with this text as mine.py."""
    Path("mine.py").write_text(text, encoding="utf-8")
    return command(line)


def with_arrays(line, **arrays):
    """The same with these arrays in mine.npz."""
    np.savez("mine.npz", **arrays)
    with np.errstate(all="ignore"):
        return command(line)


def read(**arrays):
    np.savez("mine.npz", **arrays)
    return npz("mine.npz")


def table(*lines, target=None):
    """The data in mine.csv with these lines."""
    Path("mine.csv").write_text("\n".join(lines), encoding="utf-8")
    return load("mine.csv", target)


def predicted(line, width=2, **arrays):
    """What `manual-bp predict` says of a network of so many inputs in net.pt, and these arrays in mine.npz."""
    Network.random([width, 1]).save("net.pt")
    return with_arrays(f"predict {line}", **arrays)


def with_text(name, text, line):
    Path(name).write_text(text, encoding="utf-8")
    return command(line)


def note(report):
    """What a report says below its table that a raise has said inside."""
    return "\n".join((*report.notes, *report.unjudged.values()))


def plugin(*asked, report=None):
    """The devices of a run of pytest that asks for these."""
    return Devices(SimpleNamespace(getoption=lambda name, default=None: report), asked, False)


class OnNone(pytest_plugin.OnDevices):
    """A test case that nobody has given a device."""

    _testMethodName, _given = "test_it", {}  # noqa: N815 (unittest's name)


def marked(name, *args):
    mark = SimpleNamespace(name=name, args=args)
    return SimpleNamespace(iter_markers=lambda: [mark], nodeid="test_a.py::test_it")


def request(name="dtype", **param):
    return SimpleNamespace(fixturename=name, node=SimpleNamespace(nodeid="test_a.py::test_it"), **param)


def fit(**options):
    return net().fit(X, torch.ones(2, 2), **{"eta": 0.1, "epochs": 1, "batch_size": 1, "file": "net.pt"} | options)


def torn(text):
    Path("net.pt").write_bytes(text)
    return fit()


def resumed(**changed):
    fit()
    return fit(**changed)


def held(**changed):
    """A checkpoint with something else in it."""
    fit()
    torch.save({**torch.load("net.pt", weights_only=True), **changed}, "net.pt")
    return fit()


def decoder(**options):
    return Transformer.random(**{"vocabulary": 5, "context": 4, "width": 6, "layers": 1, "heads": 3} | options)


def hugging_face(**options):
    """A small GPT-2 of transformers with these settings."""
    transformers = pytest.importorskip("transformers")
    small = {"vocab_size": 5, "n_positions": 4, "n_embd": 6, "n_layer": 1, "n_head": 3}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**small | options))


def without_transformers(call):
    with patch.dict("sys.modules", {"transformers": None}):
        return call()


def neuron(**given):
    return article.neuron(**{"x1": 1.0, "x2": 2.0, "y": 1.0, "eta": 0.5, "w1": 0.1, "w2": -0.3, "wb": 0.2} | given)


RIGHT = """
import torch

inputs = (torch.ones(3),)

def forward(x):
    return x * x

def backward(grad_out, out, x):
    return (2 * x * grad_out,)
"""
PARTS = "import torch\ninputs = (torch.ones(3),)\n"
TRAIN = "train --data mine.npz --epochs 1"
TRANSFORMER = "train --model transformer --data mine.txt --layers 1 --width 6 --heads 3 --context 4 --steps 10"
GOOD = {"X": np.zeros((5, 2)), "Z": np.zeros((5, 1))}
CLASSES = {"X": np.zeros((5, 2)), "Z": np.zeros(5, int)}

Row = tuple[Callable[[], Any], str]

CROSSCHECK: list[Row] = [
    (lambda: crosscheck_package.gradcheck, "AttributeError: module 'crosscheck' has no attribute 'gradcheck'"),
    (lambda: crosscheck(3, b, (X, W)), "TypeError: forward: expected a function, got int"),
    (lambda: crosscheck(f, 3, (X, W)), "TypeError: backward: expected a function, got int"),
    (lambda: crosscheck(f, b, X), "TypeError: inputs: expected a tuple, as in (x,), got Tensor"),
    (
        lambda: crosscheck(f, b, ()),
        "TypeError: inputs: expected at least one tensor of floating-point or complex numbers, got none",
    ),
    (
        lambda: crosscheck(f, b, (X,)),
        "TypeError: forward: expected to take (x), got forward(x, w) (…/test_messages.py, line …)",
    ),
    (
        lambda: crosscheck(f, lambda grad_out, x: grad_out, (X, W)),
        "TypeError: backward: expected to take (grad_out, out, x, w), got backward(grad_out, x) (…/test_messages.py, "
        "line …)",
    ),
    (
        lambda: crosscheck(f, b, (X, W), twin=lambda x: x),
        "TypeError: twin: expected to take (x, w), got twin(x) (…/test_messages.py, line …)",
    ),
    (
        lambda: crosscheck(f, b, (X.long(), W.long())),
        "TypeError: inputs: expected at least one tensor of floating-point or complex numbers, got none",
    ),
    (
        lambda: crosscheck(f, b, (X, W), options=3),
        "TypeError: options: expected a dict by keyword, as {'eps': 1e-5}, got int",
    ),
    (
        lambda: crosscheck(f, b, (X, W), wrt="v"),
        "ValueError: wrt: expected names of floating-point inputs, some of x, w, got 'v'",
    ),
    (lambda: crosscheck(f, b, (X, W), wrt=3), "TypeError: wrt: expected names, as ['x', 'w'], got int"),
    (lambda: crosscheck(f, b, (X, W), wrt=[]), "ValueError: wrt: expected the name of at least one input, got none"),
    (lambda: crosscheck(f, b, (X, W), names=["x"]), "ValueError: names: expected 2, one for each input, got 1"),
    (
        lambda: crosscheck(f, b, (X, W), names=["x", 3]),
        "TypeError: names: expected names, as ['x', 'w'], got one of type int",
    ),
    (
        lambda: crosscheck(f, b, (X, W), names=["x", "x"]),
        "ValueError: names: expected a different one for each input, parameter and option, and none of them 'out', "
        "got x, x",
    ),
    (
        lambda: crosscheck(f, b, (X, W), names={"x": "w"}),
        "ValueError: names: expected a list, one for each input, got a dict, which is for two modules",
    ),
    (
        lambda: crosscheck(f, b, (X, W), dtypes=3),
        "TypeError: dtypes: expected a list of dtypes, as [torch.float32], got 3",
    ),
    (
        lambda: crosscheck(f, b, (X, W), dtypes=[torch.int8]),
        "ValueError: dtypes: expected some of torch.float64, torch.float32, torch.bfloat16, torch.float16, got "
        "torch.int8",
    ),
    (
        lambda: crosscheck(f, b, (X, W), seed=1.5),
        "TypeError: seed: expected a whole number between -2^62 and 2^62, got 1.5",
    ),
    (
        lambda: crosscheck(f, b, (X, W), seed=2**62),
        "TypeError: seed: expected a whole number between -2^62 and 2^62, got 4611686018427387904",
    ),
    (lambda: crosscheck(f, b, (X, W), order=3), "ValueError: order: expected 1, or 2 where there is no method, got 3"),
    (
        lambda: crosscheck(f, b, (X, W), order=2, method="taylor"),
        "ValueError: order: expected 1, or 2 where there is no method, got 2 beside method='taylor'",
    ),
    (
        lambda: crosscheck(jax_function(), inputs=ONE, twin=square, order=2),
        "ValueError: order: expected 1 for a function of JAX's, got 2: its second derivative cannot be judged",
    ),
    (
        lambda: crosscheck(jax_function(), inputs=ONE, twin=square, method="forward"),
        "ValueError: method: expected None for a function of JAX's, got 'forward': its backward alone is judged",
    ),
    (
        lambda: crosscheck(square, double, (np.ones(3),), order=2),
        "ValueError: order: expected 1 for NumPy's functions alone, got 2: give a twin in torch's operations",
    ),
    (
        lambda: crosscheck(f, b, (X, W), method="reverse"),
        "ValueError: method: expected None, 'forward', or 'taylor' without a twin, got 'reverse'",
    ),
    (
        lambda: crosscheck(f, b, (X, W), method="taylor", twin=f),
        "ValueError: method: expected None, 'forward', or 'taylor' without a twin, got 'taylor' beside a twin",
    ),
    (
        lambda: crosscheck(f, b, (X, W), method="forward"),
        "ValueError: method: expected None beside a backward, got 'forward': it judges a Function's jvp",
    ),
    (
        lambda: crosscheck(Twice, inputs=ONE, twin=lambda x: 2 * x, method="forward"),
        "TypeError: forward: expected a forward mode, as Function.jvp, got NotImplementedError: …",
    ),
    (
        lambda: crosscheck(f, b, (X, W), digits=0),
        "ValueError: digits: expected a whole number from 1, or none beside a method, got 0",
    ),
    (
        lambda: crosscheck(f, b, (X, W), digits=3, method="taylor"),
        "ValueError: digits: expected a whole number from 1, or none beside a method, got 3 beside method='taylor'",
    ),
    (
        lambda: crosscheck(f, b, (X, W), may_change=3),
        "TypeError: may_change: expected names of inputs, as ('x',), got int",
    ),
    (
        lambda: crosscheck(f, b, (X, W), may_change="v"),
        "ValueError: may_change: expected some of x, w, out and grad_out, got 'v'",
    ),
    (lambda: crosscheck(f, b, (X, W), contract="long"), "ValueError: contract: expected 'short' or 'full', got 'long'"),
    (
        lambda: crosscheck(f, b, (X, W), group=object(), order=2),
        "ValueError: group: expected neither a method nor order=2 beside it, got order=2: leave it out",
    ),
    (
        lambda: crosscheck(Twice, inputs=ONE),
        "TypeError: twin: expected the same function in torch's operations, got none, and no backward: Twice would "
        "be judged by its own backward",
    ),
    (
        lambda: crosscheck(Twice.apply, double, ONE),
        "TypeError: forward: expected torch's operations, got Twice, which would be judged by its own backward: give "
        "the same function in torch's operations, as forward or as twin",
    ),
    (
        lambda: crosscheck(square, Twice, ONE, twin=Twice.apply),
        "TypeError: twin: expected torch's operations, got Twice, which would be judged by its own backward: give "
        "the same function in torch's operations, as forward or as twin",
    ),
    (
        lambda: crosscheck(Scale("weight"), inputs=ONE, twin=Scale("gamma")),
        "ValueError: twin: expected forward to have a parameter for its gamma [3], got weight [3]: names={'weight': "
        "'gamma'} says that forward's weight is the twin's gamma",
    ),
    (
        lambda: crosscheck(lambda x: x * 2, inputs=ONE, twin=Scale("gamma")),
        "ValueError: twin: expected forward to have a parameter for its gamma [3], got none: names={'weight': "
        "'gamma'} says that forward's weight is the twin's gamma",
    ),
    (
        lambda: crosscheck(Scale("weight"), inputs=ONE, twin=nn.Tanh()),
        "ValueError: forward: expected twin to have a parameter for its weight [3], got none: names={'weight': "
        "'gamma'} says that forward's weight is the twin's gamma",
    ),
    (
        lambda: crosscheck(Scale("weight"), inputs=ONE, twin=Scale("gamma"), names={"weight": "beta"}),
        "ValueError: names: expected {forward's name: the twin's}, forward's of weight, x and the twin's of gamma, "
        "got {'weight': 'beta'}",
    ),
    (
        lambda: crosscheck(lambda x: np.square(x), inputs=(np.ones(3),), twin=square),
        "TypeError: backward: expected a function, got none: NumPy's functions have no backward of their own",
    ),
    (
        lambda: crosscheck(lambda x: 3, double, ONE),
        "TypeError: forward: expected to return a tensor, or a list, tuple, dict or dataclass of tensors, got int",
    ),
    (
        lambda: crosscheck(lambda x: x.long(), double, ONE),
        "TypeError: forward: expected to return a floating-point tensor, got torch.int64",
    ),
    (
        lambda: crosscheck(lambda x: x.to_sparse(), double, ONE),
        "TypeError: forward's result: expected a dense tensor, got one of torch.sparse_coo: hand in its values, and "
        "make it sparse in forward, as with torch.sparse_coo_tensor(indices, values, shape)",
    ),
    (
        lambda: crosscheck(lambda x: torch.ones(3), double, ONE),
        "TypeError: forward: expected torch's operations, which autograd can go through, got a result that depends "
        "on no input: give the same function in these as twin, or method='taylor'",
    ),
    (
        lambda: crosscheck(lambda x: torch.from_numpy(x.numpy() ** 2), double, ONE),
        "TypeError: forward: expected torch's operations, which autograd can go through, got RuntimeError in "
        "torch.float64: …: give "
        "the same function in these as twin, or method='taylor'",
    ),
    (
        lambda: crosscheck(lambda x: x @ torch.ones(3, 2), lambda g, out, x: g, ONE),
        "TypeError: forward: expected to run in float64, for the oracle, got RuntimeError: …: "
        "give a twin in torch's own operations that does",
    ),
    (
        lambda: crosscheck(lambda x: x * torch.rand(3, dtype=x.dtype), lambda g, out, x: g, ONE),
        "TypeError: forward: expected the same random numbers in every dtype, got others in torch.float32 than in "
        "torch.float64: draw them outside, and hand them in as one more input",
    ),
    (
        lambda: crosscheck(lambda x: x.as_strided((4,), (1,), 9) * 2, lambda g, out, x: g, (torch.ones(20)[:5],)),
        "TypeError: forward: expected to read nothing but its inputs, got a read of the memory around them: hand in "
        "the whole tensor, and slice it inside",
    ),
    (
        lambda: crosscheck(square, double, (torch.ones(3).to_sparse(),)),
        "TypeError: x: expected a dense tensor, got one of torch.sparse_coo: hand in its values, and make it sparse "
        "in forward, as with torch.sparse_coo_tensor(indices, values, shape)",
    ),
    (
        lambda: crosscheck(square, double, (torch.nested.nested_tensor([X, X]),)),
        "TypeError: x: expected a tensor, got a nested one: hand in its values and offsets, and nest them in forward",
    ),
    (
        lambda: crosscheck(square, double, (torch.quantize_per_tensor(X, 1, 0, torch.qint8), X)),
        "TypeError: x: expected a tensor of floating-point numbers, got a quantized one: hand in x.dequantize()",
    ),
    (
        lambda: crosscheck(square, double, (torch.ones(3, device="meta"),)),
        "TypeError: x: expected a tensor with numbers, got one on the device meta: make it on another",
    ),
    (
        lambda: crosscheck(square, double, (longdouble(),)),
        "TypeError: x: expected numbers of at most float64, got float128: convert it, as with .astype(float)",
    ),
    (
        lambda: note(crosscheck(square, double, (np.ones(3),), twin=square)),
        "bfloat16: not judged, NumPy has no bfloat16",
    ),
    (
        lambda: note(crosscheck(lambda x: x**2, double, (1.5,), twin=square)),
        "float32: not judged, Python's numbers are float64\n"
        "float16: not judged, Python's numbers are float64\n"
        "bfloat16: not judged, Python's numbers are float64",
    ),
    (
        lambda: note(crosscheck(square, lambda g, out, x: (2 * g * x.conj(),), (X + 1j,), contract="short")),
        "float16: not judged, complex numbers are judged at complex128 and complex64\n"
        "bfloat16: not judged, complex numbers are judged at complex128 and complex64",
    ),
    (lambda: note(crosscheck(Once, inputs=ONE, twin=square, order=2)), "its backward is marked once_differentiable"),
    (
        lambda: note(crosscheck(square, lambda g, out, x: (2 * x * g).detach(), ONE, order=2)),
        "its backward leaves no graph behind",
    ),
    (
        lambda: where_absent(
            "crosscheck.form.through_jax", lambda: crosscheck(jax_function(), inputs=ONE, twin=square)
        ),
        "ModuleNotFoundError: jax is not installed: pip install 'manual-bp[jax]'",
    ),
    (lambda: assert_crosscheck(square, double, X), "TypeError: inputs: expected a tuple, as in (x,), got Tensor"),
    (
        lambda: assert_crosscheck(not_half, double, (X,), dtypes=[torch.float32, torch.bfloat16]),
        "GradientMismatch: dtypes: expected a verdict in bfloat16, got none\n…",
    ),
    (
        lambda: assert_crosscheck(Once, inputs=(X,), twin=square, order=2),
        "GradientMismatch: order: expected a verdict in order 2, got none\n…",
    ),
    (lambda: judged_whole(), "TypeError: inputs: expected at least one floating-point tensor, got none"),
]

COMPARE: list[Row] = [
    (lambda: compare([X], ONES), "TypeError: manual: expected a mapping, as in {'x': grad_x}, got list"),
    (
        lambda: compare(ONES, {}),
        "ValueError: expected: expected at least one tensor by its name, as in {'x': grad_x}, got none",
    ),
    (
        lambda: compare(ONES, {"x": 3}),
        "TypeError: expected['x']: expected a tensor of torch.float64, torch.float32, torch.bfloat16 or "
        "torch.float16, got int",
    ),
    (
        lambda: compare(ONES, {"x": torch.ones(3).long()}),
        "TypeError: expected['x']: expected a tensor of torch.float64, torch.float32, torch.bfloat16 or "
        "torch.float16, got one of torch.int64",
    ),
    (
        lambda: compare({"x": torch.ones(3) + 1j}, ONES),
        "ValueError: manual['x']: expected real numbers, as in expected['x'], got complex ones",
    ),
    (
        lambda: compare(ONES, ONES, oracle={"y": torch.ones(3)}),
        "ValueError: oracle: expected the names ['x'], got ['y']",
    ),
    (lambda: compare(ONES, ONES, oracle={"x": torch.ones(4)}), "ValueError: oracle['x']: expected shape [3], got [4]"),
    (
        lambda: compare(ONES, ONES, oracle={"x": torch.full((3,), torch.inf)}),
        "ValueError: oracle['x']: expected finite numbers where expected['x'] has them, got inf or nan",
    ),
    (
        lambda: compare(ONES, ONES, oracle={"x": torch.full((3,), 2.0)}),
        "ValueError: oracle['x']: expected about the same as expected['x'], got numbers 50% apart: compute both from "
        "the same inputs",
    ),
]

REPORT: list[Row] = [
    (
        lambda: Report("mine", ()).plot(),
        "ValueError: rows: expected at least one to draw, got none: nothing was judged",
    ),
    (
        lambda: where_absent("crosscheck.report", lambda: Report("mine", ()).plot()),
        "ModuleNotFoundError: matplotlib is not installed: pip install 'manual-bp[figures]'",
    ),
    (
        lambda: Report("mine", ()).raise_on_mismatch(),
        "GradientMismatch: mine: NOT JUDGED\n"
        "name  device  dtype  error  budget  verdict\n"
        "formula: not judged\n"
        "numerics: not judged\n"
        "determinism: not judged\n"
        "contract: not judged\n"
        "coverage: not judged",
    ),
]

PYTEST: list[Row] = [
    (
        lambda: plugin("gpu").pytest_sessionstart(),
        "UsageError: device: expected one of cpu, cuda, mps, xpu, …, as in cuda or cuda:0, got 'gpu'; all stands for "
        "each that is here",
    ),
    (
        lambda: with_cuda(False, 0, plugin("cuda:1", "cuda").pytest_sessionstart),
        "UsageError: device cuda:1 is not here: torch … is built without cuda; device cuda is not here: torch … is "
        "built without cuda",
    ),
    (
        lambda: pytest_plugin._refuse_wrong_marks(marked("device_only", "gpu")),
        "Failed: device_only: expected kinds of devices, of cpu, cuda, mps, xpu, …, as in device_only('cuda'), got "
        "'gpu' in test_a.py::test_it",
    ),
    (
        lambda: pytest_plugin._refuse_wrong_marks(marked("device_except")),
        "Failed: device_except: expected kinds of devices, of cpu, cuda, mps, xpu, …, as in device_except('cuda'), got "
        "none in test_a.py::test_it",
    ),
    (
        lambda: pytest_plugin._param(request("device")),
        "Failed: device: expected to be an argument of the test function, or of a fixture that it takes, so that the "
        "test runs once for each, got a request by getfixturevalue, a doctest or a unittest.TestCase: "
        "add the argument; a TestCase has self.device and self.dtype once it inherits "
        "crosscheck.pytest_plugin.OnDevices, as in class TestMine(OnDevices, TestCase)",
    ),
    (
        lambda: OnNone().device,
        "AttributeError: self.device: expected a device that pytest gives to OnNone.test_it, got none: run it by "
        "pytest, with this plugin",
    ),
    (
        lambda: pytest_plugin._refuse_wrong_marks(marked("device_count", "two")),
        "Failed: device_count: expected a number of devices, as in device_count(2), got 'two' in test_a.py::test_it",
    ),
    (
        lambda: plugin(report="none/out.json").pytest_sessionstart(),
        "UsageError: --device-report none/out.json: expected a directory that exists, got no …/none: make it first",
    ),
    (
        lambda: pytest_plugin.dtype.__wrapped__(request(param="float31")),
        "Failed: dtypes: expected dtypes of torch, as float32, got 'float31'",
    ),
]

VERIFY: list[Row] = [
    (
        lambda: command("devices merge no.json"),
        "manual-bp devices: no.json: expected a report, got no file of that name",
    ),
    (
        lambda: on("[]", "devices merge mine.py"),
        "manual-bp devices: mine.py: expected a report that pytest --device-report or manual-bp devices merge -o "
        "writes, got another file",
    ),
    (
        lambda: where_nothing_may_be_written(lambda: command("verify --json new.json")),
        "manual-bp verify: --json new.json: expected a file that may be written, got no permission: choose another",
    ),
    (
        lambda: where_the_disk_is_full(lambda: on(RIGHT, "verify mine.py --json new.json")),
        "manual-bp verify: --json new.json: No space left on device",
    ),
    (
        lambda: without_twins(lambda: command("verify --device cpu")),
        "manual-bp verify: rule Sigmoid has no twin: add its line to reference/rules.py",
    ),
    (
        lambda: subjects.rule("Cholesky", torch.device("cpu"), [torch.bfloat16], 0),
        "NotJudged: torch has no twin of it on cpu at bfloat16",
    ),
    (
        lambda: with_edit(mistakes.Edit(rules.Tanh, "backward", "out * out * out", "out")),
        "LookupError: Tanh.backward: expected 'out * out * out' once in its source, got it 0 times",
    ),
    (lambda: command("verify --seed x"), "manual-bp verify: error: argument --seed: expected a whole number, got 'x'"),
    (
        lambda: command(f"verify --seed {2**63}"),
        "manual-bp verify: error: argument --seed: expected a whole number of 64 bits, from -2^63 to 2^63 - 1, got "
        "9223372036854775808",
    ),
    (
        lambda: command("verify --device gpu"),
        "manual-bp verify: device: expected one of cpu, cuda, mps, xpu, …, as in cuda or cuda:0, got 'gpu'",
    ),
    (
        lambda: command("verify --device cpu:1"),
        "manual-bp verify: device cpu:1 is not here: there is one CPU, of index 0, not 1; here: …",
    ),
    (
        lambda: with_cuda(False, 0, lambda: command("verify --device cuda")),
        "manual-bp verify: device cuda is not here: torch … is built without cuda; here: …",
    ),
    (
        lambda: with_cuda(True, 0, lambda: command("verify --device cuda")),
        "manual-bp verify: device cuda is not here: torch … finds no cuda device: is there one, and its driver?; "
        "here: …",
    ),
    (
        lambda: with_cuda(True, 1, lambda: command("verify --device cuda:1")),
        "manual-bp verify: device cuda:1 is not here: there is 1, of index 0, not 1; here: …",
    ),
    (
        lambda: with_cuda(True, 2, lambda: command("verify --device cuda:9")),
        "manual-bp verify: device cuda:9 is not here: there are 2, of index 0 to 1, not 9; here: …",
    ),
    (
        lambda: with_cuda(True, 1, lambda: command("verify --device cuda --dtype float64"), has=[torch.float32]),
        "manual-bp verify: --dtype: expected one of float32 on cuda, got float64",
    ),
    (
        lambda: command("verify mine.py --plant sign"),
        "manual-bp verify: --plant: expected no TARGET beside it, for it plants a mistake in manual-bp's code, got "
        "mine.py: leave one of them out",
    ),
    (
        lambda: command("verify --plant typo"),
        "manual-bp verify: mistake: expected one of stale-weights, sign, missing-derivative, transposed, "
        "forgotten-mean, forgotten-bias, gelu-constant, causal-mask, missing-scale, "
        "tied-head, unsummed-heads, late-decay, got 'typo'",
    ),
    (lambda: command("verify --json ."), "manual-bp verify: --json .: expected a file, got a directory"),
    (
        lambda: command("verify --json no/where.json"),
        "manual-bp verify: --json no/where.json: expected a directory that exists, got no …/no: make it first",
    ),
    (lambda: command("verify no.py"), "manual-bp verify: no.py: expected a file of that name, got none"),
    (
        lambda: command("verify ."),
        "manual-bp verify: .: expected file.py, file.py:Object or package.module:Object, got a directory",
    ),
    (
        lambda: command("verify no.such.module:Thing"),
        "manual-bp verify: no.such.module:Thing: expected file.py, file.py:Object or package.module:Object, got No "
        "module named 'no'",
    ),
    (
        lambda: on("", "verify mine.py"),
        "manual-bp verify: mine.py: expected forward, inputs, and backward or twin, got no forward",
    ),
    (
        lambda: on(PARTS + "def forward(x): return x", "verify mine.py"),
        "manual-bp verify: mine.py: expected forward, inputs, and backward or twin, got no backward",
    ),
    (
        lambda: on(PARTS + "forward, backward = 3, 3", "verify mine.py"),
        "manual-bp verify: mine.py: forward: expected a function, got int",
    ),
    (
        lambda: on(PARTS + "def forward(self, x): return x\nbackward = forward", "verify mine.py"),
        "manual-bp verify: mine.py: forward: expected a function without self, got a method: put @staticmethod above "
        "it",
    ),
    (
        lambda: on("inputs = 3\ndef forward(x): return x\nbackward = forward", "verify mine.py"),
        "manual-bp verify: mine.py: inputs: expected a tuple, as in (x,), got int",
    ),
    (
        lambda: on(PARTS, "verify mine.py:Thing"),
        "manual-bp verify: mine.py:Thing: expected 'Thing' in mine.py, got no such name",
    ),
    (
        lambda: on("import nothing_of_that_name", "verify mine.py"),
        "manual-bp verify: mine.py cannot be loaded: ModuleNotFoundError: No module named 'nothing_of_that_name'\n"
        "  File '…/mine.py', line 1, in <module>\n"
        "    import nothing_of_that_name",
    ),
    (
        lambda: on("x = (", "verify mine.py"),
        "manual-bp verify: mine.py cannot be loaded: SyntaxError: '(' was never closed (mine.py, line 1)\n"
        "  File '…/mine.py', line 1\n"
        "    x = (",
    ),
    (
        lambda: on(PARTS + "def forward(x): return 1 / 0\ndef backward(grad_out, out, x): pass", "verify mine.py"),
        "manual-bp verify: mine.py cannot be judged on cpu: ZeroDivisionError: division by zero\n"
        "  File '…/mine.py', line 3, in forward\n"
        "    def forward(x): return 1 / 0",
    ),
    (
        lambda: on(PARTS + "def forward(x): return x\ndef backward(grad_out, x): pass", "verify mine.py"),
        "manual-bp verify: mine.py cannot be judged on cpu: TypeError: backward: expected to take (grad_out, out, "
        "x), got backward(grad_out, x) (…/mine.py, line 4)",
    ),
]

OTHER_COMMANDS: list[Row] = [
    (
        lambda: command("rules LayerNrom"),
        "manual-bp rules: rule LayerNrom: expected one of the 49 that `manual-bp rules` lists: did you mean LayerNorm?",
    ),
    (lambda: command("rules xyz"), "manual-bp rules: rule xyz: expected one of the 49 that `manual-bp rules` lists"),
    (lambda: command("bench --rounds 0"), "manual-bp bench: --rounds: expected 1 or more, got 0"),
    (
        lambda: command("bench --peer Theano"),
        "manual-bp bench: --peer Theano: expected one of 'manual-bp', 'manual-bp, CUDA graph', 'autograd + SGD', "
        "'autograd + SGD, compiled', 'autograd + SGD, CUDA graph', 'JAX, jit', 'scikit-learn', 'NumPy by hand', "
        "'matrix products alone'",
    ),
    (
        lambda: command("bench --device gpu"),
        "manual-bp bench: device: expected one of cpu, cuda, mps, xpu, …, as in cuda or cuda:0, got 'gpu'",
    ),
    (
        lambda: command("bench --figure speed.jpg"),
        "manual-bp bench: --figure speed.jpg: expected a name that ends in .svg, .png or .pdf",
    ),
    (
        lambda: command("bench --figure no/speed.svg"),
        "manual-bp bench: --figure no/speed.svg: expected a directory that exists, got no …/no: make it first",
    ),
    (
        lambda: where_absent("manual_bp.commands._writing", lambda: command("bench --figure speed.svg")),
        "manual-bp bench: --figure speed.svg: matplotlib is not installed: pip install 'manual-bp[figures]'",
    ),
    (
        lambda: command("train --data no.npz"),
        "manual-bp train: --data no.npz: expected digits, or a .npz or .csv file, got no file of that name",
    ),
    (lambda: with_arrays(f"{TRAIN} --epochs 0", **GOOD), "manual-bp train: --epochs: expected 1 or more, got 0"),
    (lambda: with_arrays(f"{TRAIN} --eta nan", **GOOD), "manual-bp train: --eta: expected a finite number, got nan"),
    (lambda: with_arrays(f"{TRAIN} --hidden 0", **GOOD), "manual-bp train: --hidden: expected 1 or more, got 0"),
    (
        lambda: with_arrays(f"{TRAIN} --hidden 9999999999999", **GOOD),
        "manual-bp train: network 2-9999999999999-1: too large for cpu: …",
    ),
    (
        lambda: with_arrays(f"{TRAIN} --device gpu", **GOOD),
        "manual-bp train: device: expected one of cpu, cuda, mps, xpu, …, as in cuda or cuda:0, got 'gpu'",
    ),
    (
        lambda: with_arrays(f"{TRAIN} --cost softmax_cross_entropy", **GOOD),
        "manual-bp train: --cost softmax_cross_entropy: expected Z to hold class indices: whole numbers [samples], "
        "got values: floats [samples, outputs]",
    ),
    (
        lambda: with_arrays(f"{TRAIN} --cost cross_entropy", **CLASSES),
        "manual-bp train: --cost cross_entropy: expected Z to hold numbers from 0 to 1: floats [samples, outputs], "
        "got class indices: whole numbers [samples]",
    ),
    (
        lambda: with_arrays(f"{TRAIN} --cost cross_entropy", X=np.zeros((5, 2)), Z=np.full((5, 1), 1.5)),
        "manual-bp train: --cost cross_entropy: Z: expected a target from 0 to 1, got 1.5 at [0, 0]",
    ),
    (
        lambda: with_arrays(f"{TRAIN} --target y", **GOOD),
        "manual-bp train: target y: expected a .csv file with that column, got mine.npz: leave the target out",
    ),
    (
        lambda: with_arrays(f"{TRAIN} --save no/net.pt", **GOOD),
        "manual-bp train: --save no/net.pt: expected a directory that exists, got no …/no: make it first",
    ),
    (
        lambda: with_arrays(TRAIN, X=np.zeros((3, 2)), Z=np.zeros((3, 1))),
        "manual-bp train: --data mine.npz: expected at least 5 samples, to hold out a fifth, got 3",
    ),
    (
        lambda: (table("a,b", *(f"{i},{7 * i}" for i in range(9))), command("train --data mine.csv"))[1],
        "manual-bp train: --data mine.csv: expected classes of at least 5 samples on average, got 9 different whole "
        "numbers in 9 samples: --cost squared_error takes them as values, --cost softmax_cross_entropy as classes",
    ),
    (
        lambda: with_arrays(f"{TRAIN} --eta 1e30 --batch-size 1", X=np.ones((9, 2)), Z=np.ones((9, 1))),
        "manual-bp train: epoch 1: the training diverges, the cost is nan: choose an eta smaller than 1e+30, or scale "
        "the inputs to about -1 to 1",
    ),
    (lambda: command(f"{TRANSFORMER} --steps 0"), "manual-bp train: --steps: expected 1 or more, got 0"),
    (lambda: command(f"{TRANSFORMER} --rate nan"), "manual-bp train: --rate: expected a finite number, got nan"),
    (
        lambda: command(TRANSFORMER),
        "manual-bp train: mine.txt: expected a text file in UTF-8, got no file of that name",
    ),
    (
        lambda: with_text("mine.txt", "ab" * 24, TRANSFORMER),
        "manual-bp train: --context 4: expected a text of at least 50 characters, a tenth of which is held out, got "
        "48: choose a smaller context or a longer text",
    ),
    (
        lambda: with_text("mine.txt", "ab" * 25, f"{TRANSFORMER} --width 7"),
        "manual-bp train: width: expected a multiple of the 3 heads, got 7",
    ),
    (
        lambda: with_text("mine.txt", "ab" * 25, f"{TRANSFORMER} --rate 1e30"),
        "manual-bp train: step …: the training diverges, …: choose a rate smaller than 1e+30",
    ),
    (
        lambda: predicted("no.pt --data mine.npz"),
        "manual-bp predict: no.pt: expected a network, as Network.save writes it, got no file of that name",
    ),
    (
        lambda: predicted(". --data mine.npz"),
        "manual-bp predict: .: expected a network, as Network.save writes it, got a directory",
    ),
    (
        lambda: predicted("mine.npz --data mine.npz"),
        "manual-bp predict: mine.npz: expected a network, as Network.save writes it, got a file that is not one, or is "
        "damaged (…)",
    ),
    (
        lambda: predicted("net.pt --data no.csv"),
        "manual-bp predict: no.csv: expected a .csv file, got no file of that name",
    ),
    (
        lambda: predicted("net.pt --data mine.npz", width=3, X=np.ones((5, 2))),
        "manual-bp predict: mine.npz: expected 3 columns, one for each input of the network, got X [5, 2]",
    ),
    (
        lambda: predicted("net.pt --data mine.npz", X=np.full((5, 2), 1e300)),
        "manual-bp predict: x: expected a finite number in torch.float32, got inf at [0, 0]",
    ),
    (
        lambda: predicted("net.pt --data mine.npz --out no/told.csv"),
        "manual-bp predict: --out no/told.csv: expected a directory that exists, got no …/no: make it first",
    ),
    (
        lambda: command("article neuron --inputs z=1"),
        "manual-bp article: --inputs z=1: expected NAME=NUMBER, NAME one of x1, x2, y of neuron, got 'z'",
    ),
    (
        lambda: command("article neuron --inputs x1"),
        "manual-bp article: --inputs x1: expected NAME=NUMBER, got no number",
    ),
    (lambda: command("article neuron --inputs x1=a"), "manual-bp article: --inputs x1: expected a number, got 'a'"),
    (lambda: command("article --eta nan"), "manual-bp article: --eta: expected a finite number, got nan"),
    (
        lambda: command("article neuron --inputs x1=inf"),
        "manual-bp article: --inputs x1: expected a finite number, got inf",
    ),
    (lambda: command("article neuron --inputs y=2"), "manual-bp article: y: expected a target from 0 to 1, got 2.0"),
    (
        lambda: command("article --file no.toml"),
        "manual-bp article: no.toml: expected a file in TOML or JSON, got no file of that name",
    ),
    (
        lambda: with_text("n.toml", "neuron = [", "article --file n.toml"),
        "manual-bp article: n.toml: expected TOML, or JSON in a .json file, got neither (…)",
    ),
    (
        lambda: with_text("n.json", "[]", "article --file n.json"),
        "manual-bp article: n.json: expected tables neuron and two_by_two, got list",
    ),
    (
        lambda: with_text("n.toml", "[net]\nx1 = 1", "article --file n.toml"),
        "manual-bp article: n.toml: expected tables neuron and two_by_two, got 'net'",
    ),
    (
        lambda: with_text("n.toml", "[neuron]\nx9 = 1", "article --file n.toml"),
        "manual-bp article: n.toml: neuron: expected one of x1, x2, y, eta, w1, w2, wb, got 'x9'",
    ),
    (
        lambda: with_text("n.toml", "[neuron]\nx1 = 'a'", "article --file n.toml"),
        "manual-bp article: n.toml: neuron: x1: expected a number, got 'a'",
    ),
    (
        lambda: with_text("file", "", "article --figures file/new"),
        "manual-bp article: --figures file/new: expected a directory, got the file …/file",
    ),
    (
        lambda: command("animate round.mp4"),
        "manual-bp animate: round.mp4: expected a name that ends in .gif, .html, .png or .svg",
    ),
    (
        lambda: command("animate round.png --seconds 0"),
        "manual-bp animate: --seconds: expected a number from 0.01 to 600, got 0.0",
    ),
    (
        lambda: command("animate round.png --sizes 2 9 2"),
        "manual-bp animate: --sizes: expected at most 4 layers of at most 3 neurons, to be legible, got 2-9-2",
    ),
    (
        lambda: command("animate round.png --sizes 2 2 --inputs x=1"),
        "manual-bp animate: --inputs is for the article's network, --sizes draws a random one: leave one of them out",
    ),
]

NETWORK: list[Row] = [
    (lambda: manual_bp.Layer, "AttributeError: module 'manual_bp' has no attribute 'Layer'"),
    (lambda: Network([], []), "ValueError: weights: expected one tensor a layer, got none"),
    (lambda: Network(WEIGHTS, []), "ValueError: biases: expected length 1 (one for each of weights), got 0"),
    (lambda: Network([[1.0]], BIASES), "TypeError: weights[0]: expected a torch tensor, got list"),
    (
        lambda: Network([torch.ones(2, 3).long()], BIASES),
        "TypeError: weights[0]: expected a floating-point dtype, got torch.int64: convert it, as with "
        ".to(torch.float32)",
    ),
    (
        lambda: Network([torch.ones(2, 3, requires_grad=True)], BIASES),
        "TypeError: weights[0]: expected a tensor outside of autograd, got requires_grad=True: pass "
        "weights[0].detach()",
    ),
    (
        lambda: Network(WEIGHTS, [torch.ones(2).double()]),
        "TypeError: biases[0]: expected dtype torch.float32, as the rest has, got torch.float64: convert it, as with "
        ".to(torch.float32)",
    ),
    (
        lambda: Network(WEIGHTS, [torch.ones(2, device="meta")]),
        "ValueError: biases[0]: expected a tensor on cpu, where the rest is, got one on meta: move it, as with "
        ".to('cpu')",
    ),
    (
        lambda: Network(WEIGHTS, [torch.ones(3)]),
        "ValueError: biases[0]: expected shape [2] (one for each output of weights[0]), got [3]",
    ),
    (lambda: Network(BIASES, BIASES), "ValueError: weights[0]: expected shape [outputs, inputs], got [2]"),
    (
        lambda: Network(WEIGHTS * 2, BIASES * 2),
        "ValueError: weights[1]: expected shape [2, 2] (its inputs are the outputs of layer 0), got [2, 3]",
    ),
    (
        lambda: Network(WEIGHTS, BIASES, activation="swish"),
        "ValueError: activation: expected one of sigmoid, tanh, relu, identity, or a Rule, got 'swish'",
    ),
    (
        lambda: Network(WEIGHTS, BIASES, activation=["tanh", "tanh"]),
        "ValueError: activation: expected length 1 (a name or a rule for each layer), got 2",
    ),
    (
        lambda: Network(WEIGHTS, BIASES, activation=["tanh"]),
        "ValueError: activation[0]: expected Sigmoid, with which the cost SigmoidCrossEntropy is fused, got Tanh: "
        "choose another cost of cross_entropy, softmax_cross_entropy, squared_error",
    ),
    (
        lambda: Network(WEIGHTS, BIASES, cost="huber"),
        "ValueError: cost: expected one of cross_entropy, softmax_cross_entropy, squared_error, or a Loss, got 'huber'",
    ),
    (
        lambda: Network.random([3]),
        "ValueError: sizes: expected the inputs and at least one layer, as in [2, 2, 2], got [3]",
    ),
    (lambda: Network.random([3, 2.5]), "TypeError: sizes[1]: expected a whole number, got 2.5"),
    (lambda: Network.from_module(nn.Linear(3, 2)), "TypeError: module: expected a torch.nn.Sequential, got Linear"),
    (
        lambda: Network.from_module(nn.Sequential(nn.Linear(3, 2, bias=False))),
        "TypeError: module[0]: expected a Linear with a bias, got bias=False",
    ),
    (
        lambda: Network.from_module(nn.Sequential(nn.Linear(3, 2), nn.Dropout())),
        "TypeError: module[1]: expected a Linear, or right after a Linear one of Sigmoid, Tanh, ReLU, Identity, got "
        "Dropout(p=0.5, inplace=False)",
    ),
    (
        lambda: net(activation=rules.Softplus, cost="squared_error").to_module(),
        "TypeError: activation: expected one of Sigmoid, Tanh, ReLU, Identity, which torch.nn has too, got Softplus",
    ),
    (
        lambda: net().save("net.pt", labels=Labels([], ["no"])),
        "ValueError: labels.classes: expected length 2 (a name for each output), got 1",
    ),
    (
        lambda: net(activation=rules.Softplus, cost="squared_error").save("net.pt"),
        "ValueError: activation[0]: expected one of sigmoid, tanh, relu, identity, to be saved by name, got Softplus",
    ),
    (
        lambda: net(cost=rules.Hinge).save("net.pt"),
        "ValueError: cost: expected one of cross_entropy, softmax_cross_entropy, squared_error, to be saved by name, "
        "got Hinge",
    ),
    (
        lambda: (net().save("net.pt"), fit()),
        "CheckpointError: net.pt: expected a checkpoint of fit, got a file that is not one, or is damaged (it holds a "
        "network, as Network.save writes it): move it away to start anew, it was left as it is",
    ),
    (
        lambda: (fit(), Network.load("net.pt")),
        "CheckpointError: net.pt: expected a network, as Network.save writes it, got a file that is not one, or is "
        "damaged (it holds a checkpoint of fit)",
    ),
    (
        lambda: (torch.save(Network, "net.pt"), Network.load("net.pt")),
        "CheckpointError: net.pt: expected a network, as Network.save writes it, got a file that is not one, or is "
        "damaged (it holds other things than tensors, numbers and text)",
    ),
    (lambda: net().forward(torch.ones(2, 4)), "ValueError: x: expected shape [N, 3] or [3], got [2, 4]"),
    (lambda: net().forward(torch.ones(0, 3)), "ValueError: x: expected at least one sample, got an empty batch"),
    (
        lambda: net().cost(X, torch.ones(2, 3)),
        "ValueError: z: expected shape [2, 2] (that of the network's outputs), got [2, 3]",
    ),
    (
        lambda: net().predict([[1.0, 2.0, 3.0], [4.0, 5.0]]),
        "TypeError: x: expected a tensor, an array or nested lists of numbers, all rows of one length, got list (…)",
    ),
    (
        lambda: net().predict(torch.full((2, 3), torch.nan)),
        "ValueError: x: expected a finite number in torch.float32, got nan at [0, 0]",
    ),
    (lambda: net().cost(X, torch.full((2, 2), 1.5)), "ValueError: z: expected a target from 0 to 1, got 1.5 at [0, 0]"),
    (
        lambda: net(cost="softmax_cross_entropy").cost(X, [0, "a"]),
        "TypeError: z: expected a tensor, an array or nested lists of numbers, all rows of one length, got list (…)",
    ),
    (
        lambda: net(cost="softmax_cross_entropy").cost(X, torch.ones(2)),
        "TypeError: z: expected class indices of an integer dtype, got torch.float32",
    ),
    (
        lambda: net(cost="softmax_cross_entropy").cost(X, torch.tensor([0, 2])),
        "ValueError: z: expected a class index from 0 to 1, got 2 at [1]",
    ),
    (
        lambda: net().backward(Network.random([3, 2, 2]).forward(X), torch.ones(2, 2)),
        "ValueError: trace: expected depth 1, as this network has, got 2: pass what this network's forward has "
        "returned",
    ),
    (
        lambda: net().update(replace(net().backward(net().forward(X), torch.ones(2, 2)), weight=()), 0.1),
        "ValueError: grads.weight: expected length 1 (a tensor for each layer), got 0",
    ),
    (lambda: net().step(X, torch.ones(2, 2), "fast"), "TypeError: eta: expected a number, got str"),
    (lambda: net().step(X, torch.ones(2, 2), torch.inf), "ValueError: eta: expected a finite number, got inf"),
    (
        lambda: net().fit(X[0], torch.rand(2), eta=0.1, epochs=1, batch_size=1),
        "ValueError: X: expected shape [samples, 3], got that of one sample, [3]",
    ),
    (lambda: fit(epochs=1.5), "TypeError: epochs: expected a whole number, got 1.5"),
    (lambda: fit(held_out=X), "TypeError: held_out: expected a pair (X, Z), got Tensor"),
    (lambda: fit(held_out=(X,)), "TypeError: held_out: expected a pair (X, Z), got tuple of length 1"),
    (
        lambda: fit(held_out=(X, X)),
        "ValueError: held_out[1]: expected shape [2, 2] (that of the network's outputs), got [2, 3]",
    ),
    (
        lambda: fit(eta=3e38, batch_size=2),
        "DivergedError: epoch 1: the training diverges, a weight or bias is not finite any more: choose an eta smaller "
        "than 3e+38, or scale the inputs to about -1 to 1",
    ),
    (lambda: fit(batch_size=0), "ValueError: batch_size: expected 1 or more, got 0"),
    (
        lambda: fit(file="no/net.pt"),
        "FileNotFoundError: no/net.pt: expected a directory that exists, got no …/no: make it first",
    ),
    (
        lambda: resumed(seed=1),
        "CheckpointError: net.pt: expected the checkpoint of this training, got that of another (seed 0 there, 1 "
        "here): go on with that one, or name another file",
    ),
    (
        lambda: torn(b"PK"),
        "CheckpointError: net.pt: expected a checkpoint of fit, got a file that is not one, or is damaged "
        "(torch.save did not write it, or not to its end): move it away to start anew, it was left as it is",
    ),
    (
        lambda: held(more=3),
        "CheckpointError: net.pt: expected a checkpoint of fit, got a file that is not one, or is damaged (it holds "
        "something else): move it away to start anew, it was left as it is",
    ),
    (
        lambda: held(weights=[]),
        "CheckpointError: net.pt: expected a checkpoint of fit, got a file that is not one, or is damaged (weights: "
        "expected length 1 (a tensor for each layer), got 0): move it away to start anew, it was left as it is",
    ),
    (lambda: neuron(x1="one"), "TypeError: x1: expected a float or a 0-d tensor, got str"),
    (lambda: neuron(x1=torch.ones(2)), "ValueError: x1: expected shape [] (one number), got [2]"),
    (lambda: neuron(y=1.5), "ValueError: y: expected a target from 0 to 1, got 1.5"),
    (
        lambda: figures.Scene.of(Network.random([9, 2]), X, torch.rand(2), 0.1),
        "ValueError: net.sizes: expected at most 4 layers of at most 3 neurons, to be legible, got 9-2",
    ),
    (
        lambda: figures.Scene.of(net(), X, torch.rand(2, 2), 0.1),
        "ValueError: x: expected one sample, of shape [3], got [2, 3]",
    ),
    (
        lambda: Twin(WEIGHTS, BIASES, ["tanh"], "huber").J(X, X, X),
        "ValueError: cost: expected cross_entropy, softmax_cross_entropy or squared_error, got 'huber'",
    ),
    (
        lambda: notation.in_numbers(ast.parse("w ** 2", mode="eval").body, {"w": 3.0}),
        "ValueError: no notation for 'w ** 2'",
    ),
    (
        lambda: type("Cube", (Rule,), {}),
        "TypeError: rule Cube: expected forward, backward and a docstring with the formula in its first line and the "
        "sections Derivation: Often wrong: Shapes: Source:, got no forward, no backward, no formula in its first "
        "line, no Derivation:, no Often wrong:, no Shapes:, no Source:",
    ),
]

DECODER: list[Row] = [
    (lambda: decoder(form="bert"), "ValueError: form: expected one of gpt2, llama, got 'bert'"),
    (lambda: decoder(width=7), "ValueError: width: expected a multiple of the 3 heads, got 7"),
    (
        lambda: decoder(form="llama", width=9),
        "ValueError: width: expected an even multiple of the 3 heads (llama rotates pairs), got 9",
    ),
    (
        lambda: decoder(form="llama", key_heads=2),
        "ValueError: heads: expected a multiple of the 2 key_heads, got 3",
    ),
    (
        lambda: decoder(key_heads=1),
        "ValueError: form: expected key_heads 3 (as many as heads) and tied True in gpt2, got 1 and True: choose llama "
        "for others",
    ),
    (
        lambda: Transformer(decoder(form="llama", tied=True).configuration, {"wte": X}),
        "ValueError: parameters: expected the 11 names in configuration.shapes, got others: missing "
        "model.embed_tokens.weight, …; unexpected wte",
    ),
    (
        lambda: decoder(dtype=torch.bfloat16, mixed=True),
        "ValueError: mixed: expected parameters of torch.float32, got torch.bfloat16: convert them, or leave mixed out",
    ),
    (
        lambda: decoder().save("net", labels=Labels([], ["a"])),
        "ValueError: labels.classes: expected length 5 (a name for each token), got 1",
    ),
    (
        lambda: decoder().forward(torch.ones(1, 9).long()),
        "ValueError: tokens: expected shape [N, T] with at least one token and T at most the context of 4, got [1, 9]",
    ),
    (
        lambda: decoder().fit([0, 1, 2, 3], rate=0.1, steps=1, batch_size=1),
        "ValueError: data: expected shape [tokens], longer than the context of 4, got [4]",
    ),
    (
        lambda: decoder().generate(torch.ones(0).long(), 3),
        "ValueError: prompt: expected shape [T] or [N, T] with at least one token, got [0]",
    ),
    (
        lambda: decoder().generate([0], 3, temperature=-1.5),
        "ValueError: temperature: expected 0 or more, got -1.5",
    ),
    (
        lambda: Transformer.from_transformers(nn.Tanh()),
        "TypeError: model: expected a GPT2LMHeadModel or a LlamaForCausalLM of transformers, got Tanh",
    ),
    (
        lambda: Transformer.from_transformers(hugging_face(activation_function="relu")),
        "ValueError: model.config.activation_function: expected 'gelu_new' or 'gelu_pytorch_tanh', which is all that "
        "Transformer has, got 'relu'",
    ),
    (
        lambda: without_transformers(decoder().to_transformers),
        "ImportError: transformers is not installed: pip install 'manual-bp[transformers]'",
    ),
]

DATA: list[Row] = [
    (
        lambda: without_scikit_learn(digits),
        "DataError: the digits ship with scikit-learn, which is not installed: pip install 'manual-bp[digits]'",
    ),
    (lambda: npz("no.npz"), "DataError: no.npz: expected a .npz file, got no file of that name"),
    (
        lambda: where_opening_fails(errno.EACCES, lambda: npz("mine.npz")),
        "DataError: mine.npz: expected a .npz file, got one that may not be read",
    ),
    (
        lambda: where_opening_fails(errno.EIO, lambda: npz("mine.npz")),
        "DataError: mine.npz: expected a .npz file, got Input/output error",
    ),
    (
        lambda: (Path("mine.npz").write_text("X"), npz("mine.npz")),
        "DataError: mine.npz: expected a .npz file, as numpy.savez writes it, got another kind of file",
    ),
    (
        lambda: read(X=np.ones((2, 2))),
        "DataError: mine.npz: expected an array X and an array Z, got X: name them, as with numpy.savez(file, "
        "X=X, Z=Z)",
    ),
    (lambda: read(X=np.ones(2), Z=np.ones(2)), "DataError: mine.npz: X: expected shape [samples, inputs], got [2]"),
    (
        lambda: read(X=np.ones((2, 2)), Z=np.ones(2)),
        "DataError: mine.npz: Z: expected whole numbers [2] (classes) or floats [2, outputs], got float64 [2]",
    ),
    (
        lambda: read(X=np.ones((2, 2)), Z=np.array([0, -1])),
        "DataError: mine.npz: Z: expected class indices from 0, below 2^63, got -1",
    ),
    (lambda: read(X=np.array([["a"]]), Z=np.ones((1, 1))), "DataError: mine.npz: X: expected numbers, got dtype <U1"),
    (
        lambda: read(X=np.full((2, 2), np.nan), Z=np.ones((2, 1))),
        "DataError: mine.npz: X: expected a finite number in float64, got nan at [0, 0]",
    ),
    (
        lambda: read(X=np.array([[None]]), Z=np.ones((1, 1))),
        "DataError: mine.npz: expected a .npz file with an array X and an array Z of numbers, got one that is "
        "damaged or holds objects",
    ),
]

TABLES_OF_TEXT: list[Row] = [
    (lambda: table("a,b"), "DataError: mine.csv: expected a line for each sample, got none"),
    (lambda: table("a,b", "1,2", "3"), "DataError: mine.csv, line 3: expected 2 cells, as line 1 has, got 1"),
    (lambda: table("a,a", "1,2"), "DataError: mine.csv: expected a different name for each column, got 'a' twice"),
    (lambda: table("a,b", "1,2", target="c"), "DataError: mine.csv: expected a column c, got the columns a, b"),
    (lambda: table("1,2", target="3"), "DataError: mine.csv: expected a column 3, got the columns 1, 2"),
    (
        lambda: table("a;b", "1;2"),
        "DataError: mine.csv: expected columns of inputs and a target, separated by commas, got one column, a;b",
    ),
    (lambda: table("a,b", "x,2"), "DataError: mine.csv, line 2, column a: expected a finite number, got 'x'"),
    (lambda: table("a,b", ",2"), "DataError: mine.csv, line 2, column a: expected a number, got an empty cell"),
    (lambda: table("a,b", "1,"), "DataError: mine.csv, line 2, column b: expected a target, got an empty cell"),
    (
        lambda: table("a,b", "1,0.5", "2,x"),
        "DataError: mine.csv, line 3, column b: expected a number, as other rows have, got 'x': a target is a number "
        "in every row, or the name of a class in every row",
    ),
    (
        lambda: (Path("mine.csv").write_bytes(b"\xff"), load("mine.csv")),
        "DataError: mine.csv: expected a CSV file in UTF-8, got another kind of file (…)",
    ),
    (
        lambda: (Path("mine.txt").write_bytes(b"\xff"), text("mine.txt")),
        "DataError: mine.txt: expected a text file in UTF-8, got another kind of file (…)",
    ),
    (
        lambda: (Path("mine.txt").touch(), text("mine.txt")),
        "DataError: mine.txt: expected at least one character, got none: name another file",
    ),
    (lambda: load("no.csv"), "DataError: no.csv: expected a .csv file, got no file of that name"),
    (
        lambda: (table("1,2"), inputs("mine.csv", Labels([], []), 3)),
        "DataError: mine.csv: expected 3 columns, one for each input of the network, got 2: 1, 2",
    ),
]

TABLE = [*CROSSCHECK, *COMPARE, *REPORT, *PYTEST, *VERIFY, *OTHER_COMMANDS, *NETWORK, *DECODER, *DATA, *TABLES_OF_TEXT]


def said(call: Callable[[], Any]) -> str:
    """The message of the call: as Python's last line has it, as the command line prints it, or as a report notes it."""
    try:
        text = call()
    except (Exception, pytest.fail.Exception) as error:
        return f"{type(error).__name__}: {error}"
    assert isinstance(text, str), "nothing is said"
    return text


@pytest.mark.filterwarnings("ignore")  # by torch of what is nested or quantized, by NumPy of what overflows
@pytest.mark.parametrize(("call", "message"), TABLE, ids=[message.partition("\n")[0][:100] for _, message in TABLE])
def test_the_message(call, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(re.escape(message).replace("…", ".*"), text := said(call), re.DOTALL), text


# What no row can raise, by a piece of its words
NOT_IN_THE_TABLE = {
    "on rank ": "of several processes: tests/crosscheck/test_together.py",
    "the processes could not be connected: ": "of several processes: tests/manual_bp/test_distributed.py",
    ": expected the same in every process, got ": "of several processes: tests/manual_bp/test_distributed.py",
    ": another one does not answer: ": "of several processes: tests/manual_bp/test_distributed.py",
    "Triton's interpreter computes wrongly in bfloat16": "of a kernel of Triton's: tests/test_examples.py",
}


def errors(source: str) -> Iterator[tuple[int, str]]:
    """The lines at which errors with words of their own are made, and those words as a pattern."""
    nodes = list(ast.walk(ast.parse(source)))
    raised = {node.exc for node in nodes if isinstance(node, ast.Raise)}
    for node in nodes:
        if isinstance(node, ast.Call) and (node in raised or re.search(r"(Error|\bfail)$", ast.unparse(node.func))):
            words = pattern(node.args[0]) if node.args else ""
            if re.search("[a-z]", words.replace(ANYTHING, "")):
                yield node.lineno, words


ANYTHING = "(?s:.*)"


def pattern(words: ast.expr) -> str:
    """What an expression can be: its own words, and anything where it has others' in between."""
    match words:
        case ast.Constant(value=str(text)):
            return re.escape(text)
        case ast.JoinedStr(values=parts):
            return "".join(map(pattern, parts))
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return pattern(left) + pattern(right)
    return ANYTHING


def not_in(messages: list[str], source: str) -> list[str]:
    """The errors of a source whose words no message has."""
    return [f"line {line}: {words}" for line, words in errors(source) if not any(re.search(words, m) for m in messages)]


@pytest.mark.parametrize(
    "file",
    [path for of in PACKAGES for path in sorted((ROOT / of).rglob("*.py"))],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_error_is_in_the_table(file):
    messages = [message for _, message in TABLE]
    missing = not_in(messages, file.read_text(encoding="utf-8"))
    assert [error for error in missing if not any(re.escape(words) in error for words in NOT_IN_THE_TABLE)] == []


def test_an_error_that_is_not_in_the_table_is_found():
    source = 'def f(x):\n    if x:\n        raise ValueError(f"x: expected {x!r}, got " + str(x))\n    raise\n'
    helper = 'def error():\n    return DataError(f"{path}: torn")\n'
    assert not_in([], source) == [f"line 3: x:\\ expected\\ {ANYTHING},\\ got\\ {ANYTHING}"]
    assert not_in(["ValueError: x: expected 3, got 4"], source) == []
    assert not_in(["ValueError: x: expected 3"], source) != []
    assert not_in(["torn"], helper) != not_in(["DataError: net.pt: torn"], helper) == []
    assert not_in([], "raise ValueError(str(x))") == not_in([], "raise BrokenPipeError") == []


def test_what_is_not_in_the_table_is_there():
    sources = "".join(path.read_text(encoding="utf-8") for of in PACKAGES for path in (ROOT / of).rglob("*.py"))
    assert [words for words in NOT_IN_THE_TABLE if words not in sources] == []
