"""method="taylor": a gradient is judged where autograd cannot go through the forward."""

from itertools import count

import numpy as np
import pytest
import torch

from crosscheck import crosscheck
from crosscheck.verdict.precision import unit_roundoff
from manual_bp.commands.subjects import cases, on
from manual_bp.corpus import CORPUS
from manual_bp.mistakes import edited

# Its matrix must stay symmetric: no direction changes one number alone.
OWNERS = [owner for owner in dict.fromkeys(mistake.owner for mistake in CORPUS) if owner != "Cholesky"]


def forward(x, w):
    """Through which autograd cannot go."""
    return torch.from_numpy(np.tanh(x.numpy()) * w.numpy())


def backward(grad_out, out, x, w):
    t = torch.tanh(x)
    return grad_out * w * (1 - t * t), grad_out * t


DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


INPUTS = (torch.linspace(-2, 2, 12).view(4, 3), torch.linspace(1, 3, 12).view(4, 3))


@pytest.mark.parametrize("owner", OWNERS)
def test_right_gradients_agree(owner, device):
    for seed in range(3):
        for case in cases(owner):
            inputs = on(device, case.draw(seed))
            report = crosscheck(case.forward, case.backward, inputs, seed=seed, method="taylor")
            assert not report.is_mismatch
            assert report.ok or owner == "MaxPool2d", report  # in whose windows the largest number is there twice


@pytest.mark.parametrize("mistake", [m for m in CORPUS if m.owner in OWNERS and m.kind != "precision"], ids=str)
def test_mistakes_are_caught(mistake, device):
    with edited([mistake.edit]):
        reports = [
            crosscheck(case.forward, case.backward, on(device, case.draw(0)), method="taylor")
            for case in cases(mistake.owner)
        ]
    assert any(report.is_mismatch for report in reports) or mistake.owner == "MaxPool2d"
    assert not all(report.ok for report in reports)


def test_without_autograd():
    with pytest.raises(TypeError, match=": give the same function in these as twin, or method='taylor'$"):
        crosscheck(forward, backward, INPUTS)
    report = crosscheck(forward, backward, INPUTS, method="taylor")
    report.raise_on_mismatch()
    assert [(row.name, row.dtype) for row in report.rows] == [("x", torch.float64), ("w", torch.float64)]
    assert any("judged by Taylor's expansion in float64" in note for note in report.notes)
    assert report.determinism == "the same call twice gives the same"


@pytest.mark.parametrize("options", [{"method": "tailor"}, {"method": "taylor", "twin": forward}])
def test_another_method_is_refused(options):
    beside = " beside a twin" * ("twin" in options)
    says = f"^method: expected None, 'forward', or 'taylor' without a twin, got {options['method']!r}{beside}$"
    with pytest.raises(ValueError, match=says):
        crosscheck(forward, backward, INPUTS, **options)


def test_the_highest_of_the_dtypes_is_taken():
    report = crosscheck(forward, backward, INPUTS, method="taylor", dtypes=[torch.float32])
    assert [row.dtype for row in report.rows] == [torch.float32] * 2


def test_what_is_not_finite_is_said():
    report = crosscheck(forward, lambda *args: (backward(*args)[0] / 0, backward(*args)[1]), INPUTS, method="taylor")
    assert [row.verdict for row in report.mismatches] == ["not finite at [0, 0]"]


def test_rounding_is_not_judged():
    report = crosscheck(forward, backward, INPUTS, method="taylor")
    assert report.numerics == "not judged"
    assert not crosscheck(forward, backward, INPUTS, method="taylor", dtypes=[]).ok
    with pytest.raises(ValueError, match="dtypes: expected some of torch.float64, .* got 'float32'"):
        crosscheck(forward, backward, INPUTS, method="taylor", dtypes=["float32"])


def test_zeros_and_no_elements_are_no_proof(device):
    x = torch.zeros(3, device=device)
    report = crosscheck(lambda x: x * x, lambda g, out, x: (g * x * 3,), (x,), method="taylor")
    assert [row.verdict for row in report.rows] == ["agrees, but it is zero everywhere, where no wrong factor shows"]
    assert not crosscheck(lambda x: 2 * x, lambda g, out, x: (g * x,), (x,), method="taylor").ok
    report = crosscheck(torch.sin, lambda g, out, x: (g * x,), (x[:0],), method="taylor")
    assert [row.verdict for row in report.rows] == ["not judged: it has no elements"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda x, w: (-x, w), "the sign is flipped"),
        (lambda x, w: (x / 4, w), "off by the constant factor 1/4"),
        (lambda x, w: (0 * x, w), "zero where a gradient is due"),
        (lambda x, w: (x + 1e-5, w), "unknown cause"),
        (lambda x, w: (x.T, w), "wrong shape: expected [4, 3], got [3, 4]"),
    ],
)
def test_what_is_wrong_is_said(wrong, words):
    report = crosscheck(forward, lambda *args: wrong(*backward(*args)), INPUTS, method="taylor")
    assert [row.name for row in report.mismatches] == ["x"]
    assert words in f"{report.mismatches[0].verdict} {report.mismatches[0].diagnosis}"


def test_one_of_a_thousand_elements(device):
    def wrong(grad_out, out, x):
        gradient = grad_out * torch.cos(x)
        gradient[7, 7] *= 1.001
        return (gradient,)

    x = torch.linspace(0.1, 3, 1024, device=device).view(32, 32)
    assert not crosscheck(torch.sin, wrong, (x,), method="taylor").ok


def test_a_kernel_of_float32_alone():
    def only_float32(x):
        assert x.dtype == torch.float32
        return torch.from_numpy(np.sin(x.numpy()))

    for scale, ok in ((1.0, True), (1.01, False)):
        report = crosscheck(
            only_float32, lambda g, out, x, s=scale: (s * g * torch.cos(x),), INPUTS[:1], method="taylor"
        )
        assert report.ok == ok
        assert {row.dtype for row in report.rows} == {torch.float32}
        assert report.notes[0].startswith("float64: not judged, for it raises AssertionError")


def test_a_kink_is_a_convention(device):
    x = torch.tensor([-1.0, 0.0, 2.0], device=device)
    report = crosscheck(torch.relu, lambda g, out, x: (g * (x >= 0),), (x,), method="taylor")
    assert report.ok
    assert report.rows[0].verdict == "agrees, but for a convention at a kink"


def ramp(x):
    return torch.from_numpy(np.maximum(x.numpy(), 0))


@pytest.mark.parametrize("factor", [-1.0, 0.0, 1.001, 1.2, 2.0])
@pytest.mark.parametrize("zeros", [1, 100])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_kinks_hide_no_mistake_elsewhere(zeros, scale, factor):
    """As many zeros as stand behind a relu."""
    x = scale * torch.linspace(-2, 2, 200, dtype=torch.float64)
    x[:zeros] = 0
    assert crosscheck(ramp, lambda g, out, x: (g * (x > 0),), (x,), method="taylor").ok
    report = crosscheck(ramp, lambda g, out, x: (factor * g * (x > 0),), (x,), method="taylor")
    assert report.rows[0].verdict == "wrong formula"
    assert "factor" in report.rows[0].diagnosis or factor <= 0


def test_at_kinks_everywhere_nothing_is_judged():
    report = crosscheck(ramp, lambda g, out, x: (g * (x >= 0),), (torch.zeros(5),), method="taylor")
    assert report.rows[0].verdict.startswith("not judged: the forward has a kink there")
    assert (report.ok, report.notes[0]) == (
        False,
        "judged by Taylor's expansion in float64, without autograd: the formula alone",
    )
    report = crosscheck(ramp, lambda g, out, x: (2 * g * (x >= 0),), (torch.zeros(5),), method="taylor")
    assert report.rows[0].said.startswith("wrong formula: unknown cause: hand in a twin")


def tanh_in(dtype):
    return lambda x: torch.tanh(x.to(dtype)).to(x.dtype)


@pytest.mark.parametrize("size", [15, 1000])
@pytest.mark.parametrize("factor", [-1.0, 0.5, 1.01, 1.0])
def test_rounding_inside_hides_no_mistake_and_is_none(size, factor):
    x = normal(size)
    report = crosscheck(tanh_in(torch.float32), lambda g, out, x: (factor * g * (1 - out**2),), (x,), method="taylor")
    verdict = report.rows[0].verdict
    assert verdict.startswith("agrees to " if factor == 1 else ("wrong formula", "not judged"))
    assert verdict == "wrong formula" or size == 1000 or factor > 0  # of the rest less than three digits may be left


@pytest.mark.parametrize("size", [15, 1000])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_where_half_precision_is_inside_nothing_is_judged(dtype, size):
    for seed in range(3):
        report = crosscheck(tanh_in(dtype), lambda g, out, x: (g * (1 - out**2),), (normal(size, seed=seed),),
                            method="taylor")  # fmt: skip
        assert report.rows[0].verdict.endswith("or rounds too much inside: give other inputs")
        assert not report.ok


@pytest.mark.parametrize("factor", [1 + 1e-10, 1 + 1e-8, 1 + 1e-6])
def test_ten_digits_of_what_is_smooth(factor):
    x = normal(100)
    for scale, ok in ((factor, False), (1, True)):
        report = crosscheck(
            lambda x: torch.from_numpy(np.tanh(x.numpy())), lambda g, out, x, s=scale: (s * g * (1 - out**2),), (x,),
            method="taylor",
        )  # fmt: skip
        assert report.ok == ok
        assert "the formula alone, to 1" in report.notes[0]  # 10 to 19 digits


@pytest.mark.parametrize("size", [100, 100_000])
def test_a_factor_shows_however_many_numbers_there_are(size):
    """In random directions they cancel; along the gradient they add up."""

    def only_float32(x):
        assert x.dtype == torch.float32
        return torch.tanh(x)

    for factor, ok in ((1.01, False), (1, True)):
        report = crosscheck(
            only_float32, lambda g, out, x, k=factor: (k * g * (1 - out**2),), (normal(size),), method="taylor"
        )
        # Where torch rounds otherwise on a machine, less than three digits may be left.
        assert report.ok == ok or (not report.ok and not report.is_mismatch)


def test_what_is_too_large_to_see_a_slope_is_not_judged():
    report = crosscheck(
        lambda x: torch.from_numpy(2 * x.numpy() + 1e12), lambda g, out, x: (2 * g,), (normal(50),), method="taylor"
    )
    assert report.rows[0].verdict.startswith("not judged")


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 2 * x**3

    @staticmethod
    def backward(ctx, grad_out):
        return 3 * grad_out * ctx.saved_tensors[0] ** 2


def test_the_own_forward_of_a_function_is_judged():
    for factor, wrong in ((1, ["out"]), (2, ["x"])):
        report = crosscheck(
            lambda x, k=factor: torch.from_numpy(k * x.numpy() ** 3), Doubled, (normal(3),), names=("x",),
            method="taylor",
        )  # fmt: skip
        assert [(row.name, row.verdict) for row in report.mismatches] == [(name, "wrong formula") for name in wrong]


def test_a_gradient_of_no_input_is_a_row():
    report = crosscheck(torch.sin, lambda g, out, x: (g * torch.cos(x), g, 2 * g), (normal(3),), method="taylor")
    assert [row.said for row in report.mismatches] == ["no such tensor: none of that name was expected"] * 2


@pytest.mark.parametrize(
    ("forward", "says"),
    [
        (
            lambda x: 3.0,
            "^forward: expected to return a tensor, or a list, .* of tensors, got float$",
        ),
        (lambda x: x.long(), "^forward: expected to return a floating-point tensor, got torch.int64$"),
        (lambda x: x.to_sparse(), "^forward's result: expected a dense tensor, got one of torch.sparse_coo"),
    ],
)
@pytest.mark.parametrize("method", [None, "taylor"])
def test_what_a_forward_may_not_return(forward, says, method):
    with pytest.raises(TypeError, match=says):
        crosscheck(forward, lambda g, out, x: (g,), (normal(3),), method=method)


def test_a_sparse_gradient_is_refused_by_its_layout():
    report = crosscheck(lambda x: 2 * x, lambda g, out, x: ((2 * g).to_sparse(),), (normal(3, 3),), method="taylor")
    assert [row.verdict for row in report.rows] == ["wrong layout: expected torch.strided, got torch.sparse_coo"]


def test_what_cannot_be_judged_is_said():
    random = crosscheck(
        lambda x: x + torch.from_numpy(np.random.default_rng().normal(size=3)), lambda g, out, x: (g,),
        (torch.ones(3),), method="taylor",
    )  # fmt: skip
    assert random.rows[0].verdict.startswith("not judged")
    assert not random.ok
    with pytest.raises(ValueError, match="method: expected None, 'forward', or 'taylor' without a twin, got 'jax'"):
        crosscheck(forward, backward, INPUTS, method="jax")
    with pytest.raises(ValueError, match="method"):
        crosscheck(forward, backward, INPUTS, twin=forward, method="taylor")


def test_a_changed_input_is_a_row():
    def changing(grad_out, out, x, w):
        gradients = backward(grad_out, out, x, w)
        x.zero_()
        return gradients

    report = crosscheck(forward, changing, INPUTS, method="taylor")
    assert [(row.name, row.verdict) for row in report.mismatches] == [("x", "changed in place by backward")]


def test_an_empty_tensor_has_nothing_wrong(device):
    empty = (torch.ones(0, 3, device=device),)
    assert crosscheck(torch.sin, lambda g, out, x: (g * torch.cos(x),), empty, method="taylor").ok


def test_all_of_a_row():
    """Of a wrong one, a right one, one that is missing; error and budget in roundoffs of all that adds up."""
    inputs = [x.clone().requires_grad_() for x in INPUTS]
    report = crosscheck(forward, lambda *args: (None, 2 * backward(*args)[1]), inputs, method="taylor", dtypes=DTYPES)
    missing, wrong = report.rows
    assert (missing.name, missing.ok, missing.diagnosis) == ("x", False, "")
    assert (wrong.name, wrong.ok, wrong.verdict) == ("w", False, "wrong formula")
    assert wrong.diagnosis == "off by the constant factor 2"
    assert 0.1 < wrong.error * unit_roundoff(torch.float64) < 10
    assert 1e-14 < wrong.budget * unit_roundoff(torch.float64) < 1e-8
    assert report.notes[1:] == ("float32, bfloat16: not judged, for there is no autograd to compare its rounding with",)
    assert {row.diagnosis for row in crosscheck(forward, backward, INPUTS, method="taylor").rows} == {""}
    assert crosscheck(forward, backward, (INPUTS[0][:0], INPUTS[1][:0]), method="taylor").rows[0].error == 0


def test_all_of_a_row_of_a_functions_own_forward():
    options = {"names": ("x",), "method": "taylor", "dtypes": [torch.float64]}
    x = 10 * normal(3)
    out, right = crosscheck(lambda x: torch.from_numpy(x.numpy() ** 3), Doubled, (x,), **options).rows
    assert (out.name, out.ok, out.verdict, out.diagnosis) == ("out", False, "wrong formula", "")
    assert out.error == pytest.approx(2**53)
    assert out.budget == pytest.approx(2**26.5)
    assert (right.name, right.ok) == ("x", True)
    out, _ = crosscheck(lambda x: torch.from_numpy(2 * x.numpy() ** 3), Doubled, (x,), **options).rows
    assert (out.ok, out.said) == (True, "agrees")
    out, _ = crosscheck(lambda x: torch.from_numpy(2 * x.numpy() ** 3).float(), Doubled, (x,), **options).rows
    assert (out.ok, out.said) == (True, "agrees")  # a dtype is no matter of the formula
    out, _ = crosscheck(lambda x: torch.from_numpy(2 * x.numpy() ** 3), Doubled, (0 * x,), **options).rows
    assert out.budget == 0


def test_what_differs_from_call_to_call_is_said():
    calls = count(1)
    report = crosscheck(torch.sin, lambda g, out, x: (next(calls) * g * x.cos(),), (normal(3),), method="taylor")
    assert report.determinism == "the same call twice differs"


@pytest.mark.parametrize("method", [None, "taylor"])
def test_the_same_seed_gives_the_same_verdict(method):
    def rows(seed):
        torch.manual_seed(seed)
        return crosscheck(torch.sin, lambda g, out, x: (g * x.cos(),), (normal(50),), method=method).rows

    assert rows(0) == rows(1)


def test_an_input_may_be_called_a_gradient():
    report = crosscheck(
        torch.sin, lambda g, out, x: (g * x.cos(),), (normal(3),), names=("gradient x",), method="taylor"
    )
    assert [(row.name, row.said) for row in report.rows] == [("gradient x", "agrees to 11 digits")]


def test_an_element_is_excused_by_a_kink_of_its_own_alone():
    x = torch.tensor([0.0, 0.0, 0.7, -0.4], dtype=torch.float64)

    def forward(x):  # a kink at the first, and none at the second
        return torch.cat([50 * x[:1].abs(), x[1:] * 3])

    def backward(second):
        return lambda g, out, x: torch.cat([50 * g[:1] * x[:1].sign(), g[1:] * torch.tensor([second, 3, 3]).double()])

    assert crosscheck(forward, backward(3.0), (x,), method="taylor").ok
    assert crosscheck(forward, backward(2.0), (x,), method="taylor").formula == "wrong in x"


def test_none_for_a_constant_is_none():
    report = crosscheck(
        lambda x, c: x * c, lambda g, out, x, c: (g * c, None), (torch.randn(3), torch.randn(3)), method="taylor"
    )
    assert report.ok
    assert report.unjudged == {"c": "backward has None for it"}
