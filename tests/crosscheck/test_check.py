"""The judge: right gradients pass, planted mistakes do not, and it says which is which."""

import json
import math
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest
import torch
from torch import Tensor

from crosscheck import GradientMismatch, assert_crosscheck, compare, crosscheck
from crosscheck.verdict import sides
from crosscheck.verdict.precision import DTYPES, dtypes_of
from manual_bp.rules import Affine, BatchNorm, Sigmoid
from reference.rules import TWINS


def inputs(device: torch.device, *shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(shape, generator=generator).to(device) for shape in shapes)


X = torch.ones(3)


def affine_inputs(device: torch.device) -> tuple[Tensor, ...]:
    return inputs(device, (5, 3), (4, 3), (4,))


def affine_but(change):
    """Affine's backward, its (grad_x, grad_w, grad_b) changed."""
    return lambda grad_out, out, x, w, b: change(*Affine.backward(grad_out, out, x, w, b))


# What a person gets wrong, the row it shows in, and what is said of it.
MISTAKES = {
    "one in a thousand": (lambda x, w, b: (x, w * 1.001, b), "w", "off by the constant factor 1.001"),
    "sign": (lambda x, w, b: (-x, w, b), "x", "the sign is flipped"),
    "factor": (lambda x, w, b: (x, w / 5, b), "w", "off by the constant factor 1/5"),
    "constant": (lambda x, w, b: (x, w, b + 1e-5), "b", "off by the additive constant 1e-05"),
    "zero": (lambda x, w, b: (x, w * 0, b), "w", "zero where a gradient is due"),
    "layout": (
        lambda x, w, b: (x, w.T.reshape(w.shape), b),
        "w",
        "transposed, and its numbers then read into this shape",
    ),
    "some elements": (
        lambda x, w, b: (x, w + 1e-3 * torch.eye(4, 3).to(w), b),
        "w",
        "off by the additive constant 0.001, at 3 of 12 elements",
    ),
    "nameless": (lambda x, w, b: (x, w + 1e-3 * w**3, b), "w", "unknown cause (worst at"),
    "a tuple": (lambda x, w, b: (x, w, (b, b)), "b", "missing: expected a tensor of shape [4], got a tuple of 2"),
    "too few": (lambda x, w, b: (x, w), "b", "missing"),
    "too many": (lambda x, w, b: (x, w, b, b), "gradient 3, of no input", "no such tensor"),
    "shape": (lambda x, w, b: (x, w.T, b), "w", "wrong shape: expected [4, 3], got [3, 4]"),
    "not summed": (lambda x, w, b: (x, w, b.expand(5, 4)), "b", "wrong shape: expected [4], got [5, 4]"),
    "dtype": (lambda x, w, b: (x, w, b.to(torch.complex64)), "b", "wrong dtype: expected torch."),
    "graph": (lambda x, w, b: (x, w, b.requires_grad_()), "b", "expected requires_grad=False, got True"),
    "nan": (lambda x, w, b: (x, w, b / 0 * 0), "b", "nan at [0], where autograd has"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistake_is_caught_and_said(mistake, device):
    change, name, says = MISTAKES[mistake]
    report = crosscheck(Affine.forward, affine_but(change), affine_inputs(device))
    assert not report.ok
    assert {row.name for row in report.mismatches} == {name}
    finest = report.mismatches[0]
    assert finest.dtype == dtypes_of(device)[0]
    assert says in finest.said
    if finest.verdict.startswith(("missing", "no such tensor", "wrong dtype", "not outside", "nan")):
        assert finest.diagnosis == ""


@pytest.mark.parametrize("seed", range(20))
def test_right_gradients_pass(seed, device):
    report = crosscheck(Affine.forward, Affine.backward, affine_inputs(device), seed=seed)
    report.raise_on_mismatch()
    assert [(row.name, row.dtype) for row in report.rows] == [
        (n, t) for t in sorted_dtypes(device) for n in ("x", "w", "b")
    ]
    assert all(row.verdict == "agrees" for row in report.rows)


def sorted_dtypes(device: torch.device) -> list[torch.dtype]:
    return sorted(dtypes_of(device), key=lambda dtype: torch.finfo(dtype).eps)


def test_long_sums_of_the_oracle_are_no_false_alarm(device):
    """torch's batch norm is off by some 30 roundoffs here in float64, and by none in float32."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((32, 2, 28, 28), (2,), (2,))
    x, w, b = (
        torch.randn(s, generator=generator, dtype=torch.float64).to(device, dtypes_of(device)[0]) for s in shapes
    )
    twin = TWINS["BatchNorm"][0]
    crosscheck(BatchNorm.forward, BatchNorm.backward, (x, w, b), twin=twin).raise_on_mismatch()
    for eps in (1e-6, 1.001e-5):
        forward, backward = (partial(f, eps=eps) for f in (BatchNorm.forward, BatchNorm.backward))
        assert not crosscheck(forward, backward, (x, w, b), twin=twin, dtypes=dtypes_of(device)[:1]).ok


def test_a_transposed_square_is_caught(device):
    square = inputs(device, (5, 3), (3, 3), (3,))
    report = crosscheck(Affine.forward, affine_but(lambda x, w, b: (x, w.T, b)), square)
    assert report.mismatches[0].diagnosis.startswith("transposed")


def test_grad_out_ignored_is_caught(device):
    report = crosscheck(torch.sum, lambda grad_out, out, x: (torch.ones_like(x),), inputs(device, (5, 3)))
    assert not report.ok


def test_a_wrong_forward_with_a_fitting_backward_is_found_by_the_twin(device):
    def forward(x):
        return 2 * torch.sigmoid(x)

    def backward(grad_out, out, x):
        return (grad_out * out * (1 - out / 2),)

    assert crosscheck(forward, backward, inputs(device, (5, 3))).ok
    report = crosscheck(forward, backward, inputs(device, (5, 3)), twin=torch.sigmoid)
    assert {row.name for row in report.mismatches} == {"out", "x"}


def test_right_formula_in_lower_precision_is_told_from_a_wrong_one(device):
    def backward(grad_out, out, x):
        narrow = out.bfloat16() if out.dtype == torch.float32 else out
        return (grad_out * (narrow * (1 - narrow)).to(out.dtype),)

    report = crosscheck(Sigmoid.forward, backward, inputs(device, (50, 3)))
    (row,) = report.mismatches
    assert row.dtype == torch.float32
    assert row.verdict.startswith("right formula, ")
    assert row.verdict.endswith("times less accurate than autograd")
    assert row.diagnosis == ""


def test_a_true_gradient_of_zero(device):
    def forward(x):
        return (x - x).sum()

    right = crosscheck(forward, lambda grad_out, out, x: (torch.zeros_like(x),), inputs(device, (5,)))
    right.raise_on_mismatch()
    wrong = crosscheck(forward, lambda grad_out, out, x: (torch.full_like(x, 1e-12),), inputs(device, (5,)))
    assert not wrong.ok
    json.loads(wrong.to_json())


def test_autograd_that_makes_no_error_is_no_reason_to_convict_a_rounding(device):
    report = crosscheck(lambda x: x * 1, lambda grad_out, out, x: (grad_out * 3 / 3,), inputs(device, (50,)))
    report.raise_on_mismatch()
    assert any(row.error > 0 for row in report.rows)


def test_noise_is_not_left_to_one_lucky_sample(monkeypatch):
    """Of a sum that nearly cancels, a single sample of autograd's error is within one roundoff every other time."""

    def forward(x, s):
        return torch.sin(x * s).sum()

    def backward(grad_out, out, x, s):
        slope = grad_out * torch.cos(x * s)
        return slope * s, (slope * x).view(10, -1).sum(0).sum()  # as good a sum, in another order

    def alarms():
        draws = (torch.randn(2000, generator=torch.Generator().manual_seed(seed)) for seed in range(150))
        inputs = [(x, torch.ones(())) for x in draws]
        return sum(not crosscheck(forward, backward, pair, dtypes=[torch.float32]).ok for pair in inputs)

    assert alarms() == 0
    monkeypatch.setattr(sides, "DRAWS", 1)
    assert alarms() > 0


def test_nothing_judged_is_no_agreement():
    assert not crosscheck(torch.sin, lambda grad_out, out, x: (x,), (torch.ones(3),), dtypes=[]).ok


def test_overflow_that_autograd_has_too_is_said_and_passes(device):
    large = torch.tensor([300.0, 1.0], device=device)
    report = crosscheck(
        lambda x: x**3, lambda grad_out, out, x: (3 * grad_out * x * x,), (large,), dtypes=[torch.float16]
    )
    (row,) = report.rows
    assert row.ok
    assert row.verdict == "agrees, but autograd is not finite at 1 of 2, first at [0]: not judged there"


def test_nothing_finite_is_never_agreement(device):
    report = crosscheck(lambda x: x.log(), lambda grad_out, out, x: (x,), (-torch.zeros(3, device=device),))
    assert not report.ok


def test_marked_inputs_alone_are_judged(device):
    x, w, b = affine_inputs(device)
    report = crosscheck(Affine.forward, affine_but(lambda x, w, b: (None, w, None)), (x, w.requires_grad_(), b))
    report.raise_on_mismatch()
    assert {row.name for row in report.rows} == {"w"}


def test_tuples_out_and_inputs_that_are_no_tensors(device):
    def forward(x, power, index):
        return x**power, x[index]

    def backward(grad_out, out, x, power, index):
        scattered = torch.zeros_like(x).index_put((index,), grad_out[1], accumulate=True)
        return grad_out[0] * power * x ** (power - 1) + scattered, None, None

    x, index = inputs(device, (5, 3))[0], torch.tensor([4, 1, 4], device=device)
    crosscheck(forward, backward, (x, 2, index)).raise_on_mismatch()
    report = crosscheck(forward, backward, (x, 2, index), twin=forward)
    assert {row.name for row in report.rows} == {"out[0]", "out[1]", "x"}


def test_an_input_that_is_not_used_has_a_gradient_of_zero(device):
    report = crosscheck(
        lambda x, y: x * 2, lambda g, out, x, y: (g * 2, torch.zeros_like(y)), inputs(device, (5,), (3,))
    )
    report.raise_on_mismatch()


def test_it_leaves_no_trace(device):
    given = affine_inputs(device)
    before = [x.clone() for x in given]
    state, grad_mode, dtype = torch.get_rng_state(), torch.is_grad_enabled(), torch.get_default_dtype()

    def vandal(grad_out, out, x, w, b):
        gradients = Affine.backward(grad_out, out, x, w, b)
        for tensor in (x, w, b):
            tensor.zero_()
        return gradients

    crosscheck(Affine.forward, vandal, given)
    assert all(torch.equal(x, y) for x, y in zip(given, before, strict=True))
    assert all(x.grad is None and not x.requires_grad for x in given)
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.is_grad_enabled(), torch.get_default_dtype()) == (grad_mode, dtype)


def test_the_report(device):
    report = crosscheck(Affine.forward, affine_but(lambda x, w, b: (x, -w, b)), affine_inputs(device))
    with pytest.raises(GradientMismatch, match="the sign is flipped") as caught:
        report.raise_on_mismatch()
    assert isinstance(caught.value, AssertionError)
    table = str(caught.value)
    assert table.splitlines()[1].split() == ["name", "device", "dtype", "error", "budget", "verdict"]
    said = table.splitlines()[2 + len(report.rows) :]
    assert said[1].startswith("    worst at [")
    assert [*said[:1], *said[2:]] == [
        "w: the sign is flipped",
        "formula: wrong in w",
        "numerics: where the formula is right, as accurate as autograd",
        "determinism: the same call twice gives the same",
        "contract: kept, in 8 ways of calling it",
        "coverage: judged in x, w, b",
    ]
    page = report._repr_html_()
    assert page.count("<tr") == 1 + len(report.rows)
    assert page.count("color:") == len(report.mismatches)
    assert "the sign is flipped" in page
    read = json.loads(report.to_json())
    assert read["ok"] is False
    assert read["formula"] == "wrong in w"
    assert [row["name"] for row in read["rows"]] == [row.name for row in report.rows]
    assert read["rows"][0]["dtype"] == str(sorted_dtypes(device)[0]).removeprefix("torch.")


def test_in_pytest_the_table_is_shown_and_no_line_of_ours(tmp_path):
    test = tmp_path / "test_mine.py"
    test.write_text(
        "import torch\n"
        "from crosscheck import assert_crosscheck\n"
        "def test_sine():\n"
        "    assert_crosscheck(torch.sin, lambda g, out, x: (g * torch.sin(x),), (torch.ones(3, 2),))\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert ran.returncode == 1
    assert re.search(r"^E +name +device +dtype +error +budget +verdict$", ran.stdout, re.MULTILINE)
    assert "test_mine.py:4" in ran.stdout
    assert not re.search(r"crosscheck.\w+\.py:\d+", ran.stdout)


def test_the_title_is_the_name_of_the_backward():
    def cosine(grad_out, out, x, *, factor=1.0):
        return (factor * grad_out * x.cos(),)

    class Callable:
        def __call__(self, grad_out, out, x):
            return cosine(grad_out, out, x)

    for backward, title in (
        (cosine, "cosine"),
        (partial(cosine, factor=1.0), "cosine"),
        (Callable(), "backward"),
        (Callable().__call__, "Callable.__call__"),
    ):
        assert crosscheck(torch.sin, backward, (torch.ones(3),)).title == title
    assert crosscheck(Affine.forward, Affine.backward, affine_inputs(torch.device("cpu"))).title == "Affine"


def test_names_and_dtypes_can_be_given():
    cpu = torch.device("cpu")
    report = crosscheck(
        Affine.forward, Affine.backward, affine_inputs(cpu), names=("data", "W", "bias"), dtypes=[torch.float32]
    )
    assert [(row.name, row.dtype) for row in report.rows] == [(n, torch.float32) for n in ("data", "W", "bias")]


def test_what_cannot_be_judged_is_refused():
    with pytest.raises(TypeError, match="^inputs: expected at least one tensor of floating-point or complex numbers"):
        crosscheck(Affine.forward, Affine.backward, (1, 2))
    with pytest.raises(ValueError, match="names: expected 1, one for each input, got 2"):
        crosscheck(torch.sin, Affine.backward, (torch.ones(3),), names=("x", "y"))
    with pytest.raises(ValueError, match="names: expected a different one for each .* got x, x"):
        crosscheck(torch.mul, lambda grad_out, out, x, y: (x, y), (torch.ones(3), torch.ones(3)), names=("x", "x"))
    opaque = "^forward: expected torch's operations, .* got a result that depends on no input: give the same"
    with pytest.raises(TypeError, match=opaque):
        crosscheck(lambda x: x.detach() * 2, lambda grad_out, out, x: (x,), (torch.ones(3),))
    with pytest.raises(TypeError, match=r"inputs: expected a tuple, as in \(x,\), got Tensor"):
        crosscheck(torch.sin, lambda grad_out, out, x: (x,), torch.ones(3))
    with pytest.raises(ValueError, match="dtypes: expected some of torch.float64, .* got 'float32'"):
        crosscheck(torch.sin, lambda grad_out, out, x: (x,), (torch.ones(3),), dtypes=["float32"])
    with pytest.raises(TypeError, match="forward: expected to return a tensor, or a list, .* of tensors, got float"):
        crosscheck(lambda x: 3.0, lambda grad_out, out, x: (x,), (torch.ones(3),))
    with pytest.raises(TypeError, match=r"^forward: expected to take \(input 0\), got forward\(\) \("):
        crosscheck(lambda: torch.ones(3), lambda grad_out, out, x: (x,), (torch.ones(3),))

    class Callable:
        def __call__(self, grad_out):
            return grad_out

    with pytest.raises(TypeError, match=r"^backward: expected to take \(.*\), got backward\(grad_out\)$"):
        crosscheck(torch.sin, Callable(), (torch.ones(3),))
    here = rf"backward\(grad_out, x\) \({re.escape(__file__)}, line \d+\)$"
    with pytest.raises(TypeError, match=rf"backward: expected to take \(grad_out, out, x, w, b\), got {here}"):
        crosscheck(Affine.forward, lambda grad_out, x: (grad_out,), affine_inputs(torch.device("cpu")))


def test_compare(device):
    def total(x):
        return (x * x).sum(0)

    (x,) = inputs(device, (1000, 3))
    oracle = {"total": total(x.cpu().double())}
    compare({"total": total(x)}, {"total": x.square().sum(0)}, oracle=oracle).raise_on_mismatch()
    report = compare({"total": total(x) * 1.001}, {"total": x.square().sum(0)}, oracle=oracle)
    assert report.rows[0].diagnosis.startswith("off by the constant factor 1.001")
    assert not compare({}, {"total": x}).ok
    report = compare({"x": x, "y": -x}, {"x": x, "y": x})
    assert [(row.name, row.ok) for row in report.rows] == [("x", True), ("y", False)]
    assert str(report).startswith("gradient: MISMATCH in 1 of 2\n")
    assert compare({"x": x.clone().requires_grad_()}, {"x": x.clone().requires_grad_()}).ok
    report = compare({"x": x, "y": x}, {"x": x})
    assert [row.verdict for row in report.mismatches] == ["no such tensor: none of that name was expected"]
    assert compare({"x": None}, {"x": x}).rows[0].verdict == "missing: expected a tensor of shape [1000, 3], got None"


@pytest.mark.parametrize(
    ("arguments", "error", "says"),
    [
        (({}, {}), ValueError, "^expected: expected at least one tensor by its name, as in {'x': grad_x}, got none$"),
        (({}, {"x": X}, {"y": X}), ValueError, r"^oracle: expected the names \['x'\], got \['y'\]$"),
        (({}, {"x": X}, {"x": X[:1]}), ValueError, r"^oracle\['x'\]: expected shape \[3\], got \[1\]$"),
        (([X], {"x": X}), TypeError, r"^manual: expected a mapping, as in {'x': grad_x}, got list$"),
        (({}, X), TypeError, "^expected: expected a mapping, .* got Tensor$"),
        (({}, {"x": X}, X), TypeError, "^oracle: expected a mapping, .* got Tensor$"),
        (({}, {"x": X.long()}), TypeError, r"^expected\['x'\]: expected a tensor of .* got one of torch.int64$"),
        (({}, {"x": "1"}), TypeError, r"^expected\['x'\]: expected a tensor of .*, got str$"),
        (({}, {"x": X}, {"x": X / 0}), ValueError, r"^oracle\['x'\]: expected finite numbers where expected"),
        (({}, {"x": X}, {"x": X.to(torch.complex64)}), ValueError, r"^oracle\['x'\]: expected real numbers, as in"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused(arguments, error, says):
    manual, expected, *oracle = arguments
    with pytest.raises(error, match=says):
        compare(manual, expected, oracle=oracle[0] if oracle else None)


def test_compare_takes_autograds_error_for_the_yardstick(device):
    """Measured from the oracle: what is 40 roundoffs off agrees where autograd is 4 off, and not where it is 2 off."""
    (oracle,) = inputs(device, (7, 3))
    oracle = oracle.double()

    def off_by(roundoffs):
        return {"x": (oracle + roundoffs * 2**-24 * oracle.abs().max()).float()}

    small = {"x": (1e-3 * oracle).float()}  # where autograd is exact, 16 roundoffs of the largest number
    assert not compare({"x": small["x"] + 1e-4 * small["x"]}, small).ok
    assert compare(off_by(40), off_by(4), oracle={"x": oracle}).ok
    assert not compare(off_by(40), off_by(2), oracle={"x": oracle}).ok
    assert not compare(off_by(40), off_by(4)).ok


def test_compare_is_of_the_dtypes_of_the_ladder():
    x = torch.ones(3).to(torch.float8_e4m3fn)
    known = "torch.float64, torch.float32, torch.bfloat16 or torch.float16"
    with pytest.raises(TypeError, match=f"expected a tensor of {known}, got one of torch.float8_e4m3fn$"):
        compare({"x": x}, {"x": x})


def test_compare_computes_in_float64():
    x = torch.full((3,), 6e4, dtype=torch.float16)
    assert compare({"x": -x}, {"x": x}).rows[0].verdict == "wrong formula"  # their difference is no float16


def test_options_of_assert_crosscheck_are_those_of_crosscheck():
    def backward(grad_out, out, x):
        return (grad_out * x.cos(),)

    x = torch.linspace(0.1, 1, 5)
    assert_crosscheck(torch.sin, backward, (x,))
    with pytest.raises(GradientMismatch):
        assert_crosscheck(torch.sin, backward, (x,), twin=torch.tanh)


@pytest.mark.parametrize("side", ["forward", "twin"])
def test_a_function_is_not_judged_by_its_own_backward(side, device):
    class Cube(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, grad_out):
            return 7 * grad_out * ctx.saved_tensors[0]

    def cube(x):
        return x**3

    (x,) = inputs(device, (5, 3))
    pair = {"forward": Cube.apply} if side == "forward" else {"forward": cube, "twin": lambda x: 1 * Cube.apply(x)}
    with pytest.raises(TypeError, match=f"^{side}: expected torch's operations, got Cube, which"):
        crosscheck(**pair, backward=Cube, inputs=(x,))
    with pytest.raises(TypeError, match="^forward: expected torch's operations, got Cube, which"):
        crosscheck(Cube.apply, lambda g, out, x: (7 * g * x,), (x,))
    report = crosscheck(lambda x: Cube.apply(x) + x, lambda g, out, x: (g * (7 * x + 1),), (x,))
    assert report.notes == ("forward: goes through Cube, whose backward is trusted",)
    assert not crosscheck(cube, Cube, (x,)).ok
    assert crosscheck(cube, lambda g, out, x: (3 * g * x * x,), (x,)).notes == ()


def test_zeros_and_no_elements_are_no_proof(device):
    """On a zero every factor is right, and so it is said."""
    (x,) = inputs(device, (5, 3))

    def layer(x, a, b):
        return x + x @ a @ b

    def wrong(grad_out, out, x, a, b):
        return grad_out @ (torch.eye(3).to(x) + a @ b).T, 55 * x.T @ grad_out @ b.T, (x @ a).T @ grad_out

    report = crosscheck(layer, wrong, (x, torch.randn(3, 2).to(x), torch.zeros(2, 3).to(x)))
    assert [row.verdict for row in report.rows[:3]] == [
        "agrees", "agrees, but it is zero everywhere, where no wrong factor shows", "agrees",
    ]  # fmt: skip
    assert report.formula.endswith(", zero everywhere in a")
    report = crosscheck(torch.sin, lambda g, out, x: (g * x,), (x[:0],))
    assert report.ok
    assert {row.verdict for row in report.rows} == {"not judged: it has no elements"}
    assert (report.formula, report.numerics) == ("not judged", "not judged")
    assert compare({"x": x * 0}, {"x": x * 0}).formula == "right, judged at float32, zero everywhere in x"


@pytest.mark.parametrize("sentinel", [torch.finfo(torch.float32).min, 1.7e18])
def test_a_huge_input_hides_no_wrong_factor(sentinel, device):
    """As a mask that is added to scores, or a time in nanoseconds."""

    def forward(scores, mask):
        return torch.softmax(scores + mask.clamp(max=0), -1)

    def backward(grad_out, out, scores, mask):
        grad = out * (grad_out - (grad_out * out).sum(-1, keepdim=True))
        return grad, torch.where(mask < 0, grad, 0)

    mask = torch.zeros(5, 3, device=device)
    mask[0, 1] = sentinel
    scores = inputs(device, (5, 3))[0]
    crosscheck(forward, backward, (scores, mask), dtypes=dtypes_of(device)[:2]).raise_on_mismatch()
    for wrong in (lambda x, m: (-3 * x, m), lambda x, m: (x, torch.where(mask.to(m) < 0, m, 1000.0))):
        report = crosscheck(forward, lambda *a, w=wrong: w(*backward(*a)), (scores, mask), dtypes=dtypes_of(device)[:2])
        assert report.mismatches[0].verdict == "wrong formula"


def test_a_huge_input_makes_no_zero_of_another(device):
    """Of what is truly zero the rounding errors are those of grad_out, however large an input is."""
    given = (inputs(device, (3,))[0], torch.full((3,), -3e38, device=device))
    report = crosscheck(lambda x, y: 0 * x + y, lambda g, out, x, y: (3 * g, g), given, dtypes=dtypes_of(device)[:2])
    assert {(row.name, row.verdict) for row in report.mismatches} == {("x", "wrong formula")}


def test_grad_out_has_all_the_digits_of_the_device(device):
    seen = {}

    def backward(grad_out, out, x):
        seen[grad_out.dtype] = grad_out.clone()
        return (grad_out * x.cos(),)

    highest = dtypes_of(device)[0]
    crosscheck(torch.sin, backward, inputs(device, (5, 3)), dtypes=[highest])
    assert not torch.equal(seen[highest].float().to(highest), seen[highest]) or highest == torch.float32


def test_a_single_gradient_needs_no_tuple(device):
    (x,) = inputs(device, (5, 3))
    assert crosscheck(torch.sin, lambda g, out, x: g * x.cos(), (x,)).ok
    report = crosscheck(torch.sin, lambda g, out, x: None, (x,))
    assert report.mismatches[0].verdict == (
        "missing: expected a tensor of shape [5, 3], got None: if it is a constant, leave it out of wrt="
    )


def test_the_smallest_numbers_there_are(device):
    (x,) = inputs(device, (5, 3))
    for options in ({}, {"method": "taylor"}):
        report = crosscheck(
            lambda x: x * 1e-160 * 1e-160, lambda g, out, x: (g * 1e-160 * 1e-160,), (x,), dtypes=dtypes_of(device)[:1],
            **options,
        )  # fmt: skip
        assert not report.is_mismatch


def test_what_autograd_cannot_go_back_through_is_said(device):
    with pytest.raises(TypeError, match="autograd can go through, got RuntimeError .* in-?place .*method='taylor'$"):
        crosscheck(lambda x: torch.exp(x).mul_(2), lambda g, out, x: (g * out,), inputs(device, (5, 3)))


def test_what_is_small_is_not_zero(device):
    (x,) = inputs(device, (5, 3))
    x = 100 + x
    assert crosscheck(lambda x: 1e-14 * x, lambda g, out, x: (1e-14 * g,), (x,), dtypes=dtypes_of(device)[:2]).ok
    assert not crosscheck(lambda x: 1e-14 * x, lambda g, out, x: (5e-14 * g,), (x,), dtypes=dtypes_of(device)[:2]).ok


def test_a_kernel_that_takes_no_heed_of_strides_is_caught(device):
    for width in (2, 64, 128, 1000):
        x = inputs(device, (100, width))[0][:, 0]
        blind = lambda g, out, x: (g * x.as_strided(x.shape, (1,)).cos(),)  # noqa: E731
        assert crosscheck(torch.sin, lambda g, out, x: (g * x.cos(),), (x,)).ok
        assert not crosscheck(torch.sin, blind, (x,)).ok


def test_a_backward_is_any_callable(device):
    @dataclass
    class Cosine:
        factor: float

        def __call__(self, grad_out, out, x):
            return (self.factor * grad_out * x.cos(),)

    assert crosscheck(torch.sin, Cosine(1.0), inputs(device, (5, 3))).ok
    assert not crosscheck(torch.sin, Cosine(2.0), inputs(device, (5, 3))).ok


def test_a_sparse_gradient_is_refused_by_its_layout(device):
    report = crosscheck(torch.sin, lambda g, out, x: ((g * x.cos()).to_sparse(),), inputs(device, (5, 3)))
    assert report.mismatches[0].verdict == "wrong layout: expected torch.strided, got torch.sparse_coo"


def test_where_autograd_overflows_everywhere_too_nothing_is_wrong(device):
    report = crosscheck(torch.exp, lambda g, out, x: (g * out,), (torch.full((5,), 12.0, device=device),))
    report.raise_on_mismatch()
    (row,) = report.not_judged
    assert (row.dtype, row.verdict) == (torch.float16, "not judged: autograd itself is nowhere finite")
    assert report.formula.startswith("right, judged at ")
    assert report.numerics == "as accurate as autograd"


def test_of_what_differs_from_call_to_call_no_formula_is_right(device):
    draws = cycle((1.5, 3.0, 2.0))
    report = crosscheck(torch.sin, lambda g, out, x: (next(draws) * g * x.cos(),), inputs(device, (5, 3)))
    assert report.is_mismatch
    assert report.formula == "not judged"


def test_what_could_not_be_judged_is_no_wrong_formula(device):
    report = crosscheck(torch.relu, lambda grad_out, out, x: (grad_out,), (torch.zeros(5, 3, device=device),))
    assert (report.ok, report.is_mismatch) == (False, False)
    assert (report.formula, report.numerics) == ("not judged", "not judged")
    assert ": NOT JUDGED in " in str(report).splitlines()[0]
    report = crosscheck(
        lambda x, y: torch.relu(x) * y, lambda g, out, x, y: (g * y, g * torch.relu(x)),
        (torch.zeros(5, device=device), torch.ones(5, device=device)),
    )  # fmt: skip
    assert report.formula.endswith(", zero everywhere in y, not judged in x")


def test_what_is_changed_in_place_is_no_wrong_formula(device):
    def backward(grad_out, out, x):
        gradient = grad_out * x.cos()
        grad_out.zero_()
        return (gradient,)

    report = crosscheck(torch.sin, backward, inputs(device, (5, 3)))
    assert report.is_mismatch
    assert report.formula.startswith("right")


def test_an_overflow_in_a_lower_dtype_is_no_wrong_formula(device):
    def backward(grad_out, out, x):
        return (grad_out * torch.exp(x) / (1 + torch.exp(x)) * (1 - out),)

    report = crosscheck(torch.sigmoid, backward, (torch.linspace(-20, 20, 41, device=device),))
    (row,) = report.mismatches
    assert row.dtype == torch.float16
    assert row.verdict.startswith("right formula, but nan at [")
    assert report.formula.startswith("right")
    assert report.numerics == "less accurate than autograd in input 0 at float16"


def test_two_buffers_in_turns_are_seen(device):
    calls = []

    def backward(grad_out, out, x):
        calls.append(x)
        return (grad_out * x.cos() * (1 + 1e-3 * (len(calls) % 2)),)

    report = crosscheck(torch.sin, backward, inputs(device, (5, 3)))
    assert report.determinism.startswith("the same call twice differs in input 0 by ")


def test_too_few_gradients_are_counted(device):
    report = crosscheck(Affine.forward, affine_but(lambda x, w, b: (x, w)), affine_inputs(device))
    assert report.mismatches[0].verdict == "missing: expected a tensor of shape [4], got 2 gradients for 3 inputs"


def test_the_rungs_are_what_a_device_has(monkeypatch):
    """One without float64, as mps; it is asked, with a tensor on it."""
    asked = []

    def ones(*shape, dtype, device):
        asked.append((dtype, device.type))
        if dtype == torch.float64:
            raise TypeError("no float64 here")

    monkeypatch.setattr(torch, "ones", ones)
    here = dtypes_of.__wrapped__(torch.device("meta"))
    assert here == (torch.float32, torch.bfloat16, torch.float16)
    assert asked == [(dtype, "meta") for dtype in DTYPES]


def test_the_ladder_is_complete():
    assert [torch.finfo(dtype).bits for dtype in DTYPES] == [64, 32, 16, 16]
    assert math.isclose(torch.finfo(torch.bfloat16).eps / 2, 2**-8)


KERNEL = """
import torch
from crosscheck import assert_crosscheck
from reference import cube

def forward(x):
    return x**3

def backward(grad_out, out, x):
    return (3 * x**2 * grad_out,)

inputs = (torch.linspace(1, 2, 5),)
twin = cube
assert_crosscheck(forward, backward, inputs, twin=twin)
"""

SUITE = """
from kernel import backward, cube, forward, inputs
from crosscheck import assert_crosscheck

def test_kernel(device):
    assert_crosscheck(forward, backward, [x.to(device) for x in inputs], twin=cube)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["kernel.py"],
        ["-m", "pytest", "-p", "crosscheck.pytest_plugin", "--device", "cpu", "test_kernel.py"],
        ["-m", "manual_bp", "verify", "kernel.py", "--device", "cpu"],
    ],
    ids=["script", "suite", "command line"],
)
def test_a_reference_of_ones_own_hides_nothing(command, tmp_path):
    (tmp_path / "reference.py").write_text("def cube(x):\n    return x * x * x\n")
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "test_kernel.py").write_text(SUITE)
    ran = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "1 on cpu" in ran.stdout or "test_kernel.py" not in command


def test_a_difference_too_large_for_a_number_is_no_agreement():
    huge = {"x": torch.tensor([1.5e308, 1.0], dtype=torch.float64)}
    assert compare(huge, huge).ok
    assert not compare({"x": -huge["x"]}, huge).ok


@pytest.mark.parametrize(("size", "expected"), [(10, 1), (2**15, 3)])
def test_small_work_is_on_one_thread(size, expected):
    threads, seen = torch.get_num_threads(), set()

    def forward(x):
        seen.add(torch.get_num_threads())
        return x * 2

    torch.set_num_threads(3)
    try:
        crosscheck(forward, lambda g, out, x: (2 * g,), (torch.ones(size),), dtypes=[torch.float32])
        assert torch.get_num_threads() == 3
        assert expected in seen
        assert seen <= {1, 3}
    finally:
        torch.set_num_threads(threads)
