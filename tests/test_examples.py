"""The worked examples: each does what it says, and a mistake in it is caught."""

import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from crosscheck import crosscheck

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where triton looks for the source of a kernel
    spec.loader.exec_module(module)
    return module


# Triton's interpreter does so up to 3.4.
by_interpreter = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")


@pytest.fixture(scope="module")
def swish():
    return example("autograd_function")


@pytest.fixture(scope="module")
def kernel():
    pytest.importorskip("triton", reason="the example is a kernel of triton's")
    return example("triton_layer_norm")


def test_the_function_agrees(swish, device):
    inputs = [x.to(device) for x in swish.inputs]
    crosscheck(swish.forward, swish.Swish, inputs).raise_on_mismatch()


def test_a_mistake_in_the_function_is_caught(swish, device):
    class Wrong(swish.Swish):
        @staticmethod
        def backward(ctx, grad_out):
            grad_x, grad_beta = swish.Swish.backward(ctx, grad_out)
            return grad_x, grad_beta / len(grad_out)

    report = crosscheck(swish.forward, Wrong, [x.to(device) for x in swish.inputs])
    assert {row.name for row in report.mismatches} == {"beta"}
    assert "1/7: multiply by 7, which is out.shape[0]" in report.mismatches[0].diagnosis


@by_interpreter
def test_the_kernel_agrees(kernel):
    """In its two dtypes, but for bfloat16 where it is interpreted: Triton's interpreter computes wrongly in it."""
    kernel.test_layer_norm()
    report = crosscheck(kernel.forward, kernel.backward, kernel.inputs, twin=kernel.twin)
    is_interpreted = not torch.cuda.is_available()
    assert {row.dtype for row in report.rows} == {torch.float32} | ({torch.bfloat16} if not is_interpreted else set())
    assert [n.partition(":")[0] for n in report.notes] == ["float64", "float16", "bfloat16"][: 2 + is_interpreted]


@by_interpreter
def test_a_mistake_in_the_kernel_is_caught(kernel):
    wrong_eps = partial(kernel.backward, eps=1e-3)
    report = crosscheck(kernel.forward, wrong_eps, kernel.inputs, twin=kernel.twin)
    assert {row.name for row in report.mismatches if row.dtype == torch.float32} == {"x", "w"}
    assert report.formula == "wrong in x, w"


def test_the_kernel_from_the_command_line(kernel):
    command = [sys.executable, "-m", "manual_bp", "verify", str(EXAMPLES / "triton_layer_norm.py")]
    device = ["--device", "cuda"] if torch.cuda.is_available() else []
    ran = subprocess.run([*command, *device], cwd=EXAMPLES.parent, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "all agree" in ran.stdout
