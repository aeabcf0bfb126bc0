"""The worked examples: each does what it says, and a mistake in it is caught."""

import importlib.util
import math
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from unittest import mock

import pytest
import torch

from crosscheck import crosscheck

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name):
    return load(EXAMPLES / f"{name}.py")


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # where triton looks for the source of a kernel
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
    lacks = ["float64", "float16", "bfloat16"][: 2 + is_interpreted]
    assert [n.partition(":")[0] for n in report.notes] == [*lacks, "float32 alone, 16 draws"]


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


CONTIGUOUS = "    grad_out, x, w = grad_out.contiguous(), x.contiguous(), w.contiguous()\n"
RETURN = "    return grad_x, shares_w.sum(0).to(w.dtype), shares_b.sum(0).to(b.dtype)\n"
BREACHES = {
    "grad_out as it lies": (
        CONTIGUOUS,
        "    x, w = x.contiguous(), w.contiguous()\n",
        "grad_out transposed: x differs",
    ),
    "x as it lies": (
        CONTIGUOUS,
        "    grad_out, w = grad_out.contiguous(), w.contiguous()\n",
        "x transposed: ",
    ),
    "grad_out written over": (RETURN, "    given.mul_(2)\n" + RETURN, "grad_out is changed in place by backward"),
    "out written over": (RETURN, "    out.zero_()\n" + RETURN, "out is changed in place by backward"),
    "x written over": (RETURN, "    at_first.mul_(2)\n" + RETURN, "x is changed in place by backward"),
    "a cache by shape": (
        RETURN,
        "    CACHE.setdefault((x.shape, x.dtype), shares_w.clone())\n"
        + RETURN.replace("shares_w.sum", "CACHE[x.shape, x.dtype].sum"),
        "other numbers: a second call with other numbers of the same shapes: w differs",
    ),
    "a buffer of all calls": (
        "    N, K = x.shape\n    grad_out, x, w",
        "    x = LAST[0]\n    N, K = x.shape\n    grad_out, x, w",
        "two forwards first: another forward between forward and backward: ",
    ),
}


@by_interpreter
@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_in_the_kernel_is_caught(kernel, name, tmp_path):
    right, wrong, says = BREACHES[name]
    source = (EXAMPLES / "triton_layer_norm.py").read_text(encoding="utf-8")
    assert right in source
    source = source.replace(right, wrong).replace(
        "    out = torch.empty_like(x)\n", "    LAST[:] = [x]\n    out = torch.empty_like(x)\n"
    )
    head = "eps: float = EPS) -> tuple[Tensor, ...]:\n"
    source = source.replace(head, head + "    given, at_first = grad_out, x\n")
    (tmp_path / "broken_kernel.py").write_text(f"{source}\n\nCACHE, LAST = {{}}, []\n", encoding="utf-8")
    broken = load(tmp_path / "broken_kernel.py")
    few = tuple(x[..., :8].clone() for x in kernel.inputs)
    report = crosscheck(broken.forward, broken.backward, few, twin=broken.twin, dtypes=[torch.float32])
    assert report.contract.startswith("broken: ")
    assert says in report.contract
    assert not report.ok


# Kernels in CI without a GPU: the example, and the page that tells of it.
INTERPRETER = EXAMPLES.parent / "docs" / "interpreter.md"
interpreted = pytest.mark.skipif(torch.cuda.is_available(), reason="where there is a GPU, kernels are compiled")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", INTERPRETER.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def softcap():
    pytest.importorskip("triton", reason="the example is a kernel of triton's")
    return example("triton_interpreter")


def judged_softcap(softcap, backward):
    with mock.patch.object(torch.Tensor, "is_cuda", True):
        return crosscheck(softcap.forward, backward, softcap.inputs, twin=softcap.twin)


def test_a_kernel_that_needs_all_the_lines_agrees(softcap):
    report = judged_softcap(softcap, softcap.backward)
    report.raise_on_mismatch()
    assert {torch.float64, torch.float32, torch.float16} <= {row.dtype for row in report.rows}


def test_a_mistake_in_it_is_caught(softcap):
    report = judged_softcap(softcap, partial(softcap.backward, cap=1.5))
    assert report.formula == "wrong in x"


@interpreted
def test_the_guard_is_a_guard(softcap):
    with pytest.raises(ValueError, match="expected tensors on a GPU"):
        softcap.forward(*softcap.inputs)


@interpreted
def test_the_page_has_the_lines_of_the_example(softcap):
    lines = blocks("python")[0]
    assert lines[lines.index("if not torch.cuda") :] in (EXAMPLES / "triton_interpreter.py").read_text(encoding="utf-8")
    exec(lines, {})
    softcap.test_softcap()


PROBE = """
import triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.language.extra.cuda import libdevice as cuda_libdevice


@triton.jit
def unary(x_ptr, out_ptr, function: tl.constexpr):
    tl.store(out_ptr, function(tl.load(x_ptr)))


@triton.jit
def binary(x_ptr, out_ptr, function: tl.constexpr):
    tl.store(out_ptr, function(tl.load(x_ptr), 0.7))
"""
SAME_IN_MATH = {
    "unary": "acos asin asinh atan atanh ceil cos cosh erf erfc exp exp2 expm1 floor lgamma log log10 log1p log2 sin "
    "sinh sqrt tan tanh trunc",
    "binary": "atan2 copysign fmod hypot pow",
}


@interpreted
def test_functions_of_libdevice_are_those_of_mathematics(softcap, tmp_path):
    (tmp_path / "probe.py").write_text(PROBE, encoding="utf-8")
    probe = load(tmp_path / "probe.py")
    x, out = torch.tensor([-0.3, 0.4]), torch.empty(1)
    for kernel, names in SAME_IN_MATH.items():
        for name in names.split():
            for library in (probe.libdevice, probe.cuda_libdevice):
                given = x[name in ("log", "log10", "log2", "pow", "sqrt") :]
                getattr(probe, kernel)[(1,)](given, out, getattr(library, name))
                expected = getattr(math, name)(given[0].item(), *[0.7] * (kernel == "binary"))
                assert out.item() == pytest.approx(expected, rel=1e-6), name
    probe.unary[(1,)](x[1:], out, probe.libdevice.rsqrt)
    assert out.item() == pytest.approx(0.4**-0.5, rel=1e-6)


@interpreted
@pytest.mark.parametrize("name", ["round", "j0"])
def test_what_torch_computes_otherwise_or_not_at_all_is_refused(softcap, tmp_path, name):
    (tmp_path / "probe.py").write_text(PROBE, encoding="utf-8")
    probe = load(tmp_path / "probe.py")
    with pytest.raises(Exception, match=f"libdevice: .*got __nv_{name}f"):
        probe.unary[(1,)](torch.tensor([0.4]), torch.empty(1), getattr(probe.libdevice, name))


NO_LIGER = "a kernel of liger-kernel's is judged: pip install --no-deps liger-kernel==0.8.5"
NUMBER = re.compile(r"-?\b\d[\d.e+-]*")


@interpreted
def test_a_kernel_of_liger_kernel_agrees(softcap, tmp_path):
    """As the page hands it in."""
    pytest.importorskip("liger_kernel", reason=NO_LIGER)
    (tmp_path / "test_rms_norm.py").write_text(blocks("python")[1], encoding="utf-8")
    load(tmp_path / "test_rms_norm.py").test_rms_norm()


@interpreted
def test_a_mistake_in_a_kernel_of_liger_kernel_is_named_as_on_the_page(softcap, tmp_path):
    """The page's numbers are those of other inputs."""
    pytest.importorskip("liger_kernel", reason=NO_LIGER)
    right = Path(importlib.util.find_spec("liger_kernel.ops.rms_norm").origin).read_text(encoding="utf-8")
    before, name, after = right.partition("def _rms_norm_backward_kernel")
    wrong = before + name + after.replace("(1 / n_cols)", "(1 / BLOCK_SIZE)", 1)
    assert wrong != right
    (tmp_path / "broken_rms_norm.py").write_text(wrong, encoding="utf-8")
    load(tmp_path / "broken_rms_norm.py")
    test = blocks("python")[1].replace("liger_kernel.ops.rms_norm", "broken_rms_norm")
    (tmp_path / "test_rms_norm.py").write_text(test, encoding="utf-8")
    torch.manual_seed(0)
    with pytest.raises(AssertionError) as caught:
        load(tmp_path / "test_rms_norm.py").test_rms_norm()
    said, shown = str(caught.value), blocks("text")[0]
    assert "is off by the factor 3/4" in said
    said, shown = ([NUMBER.sub("", line).split() for line in text.splitlines()] for text in (said, shown))
    assert said == shown
