"""witness="taylor": a gradient is judged where autograd cannot go through the forward."""

import numpy as np
import pytest
import torch

from manual_bp.commands.subjects import cases, on
from manual_bp.corpus import CORPUS
from manual_bp.mistakes import edited
from reference import crosscheck

# Its matrix must stay symmetric: no direction changes one number alone.
OWNERS = [owner for owner in dict.fromkeys(mistake.owner for mistake in CORPUS) if owner != "Cholesky"]


def forward(x, w):
    """Through which autograd cannot go."""
    return torch.from_numpy(np.tanh(x.numpy()) * w.numpy())


def backward(grad_out, out, x, w):
    t = torch.tanh(x)
    return grad_out * w * (1 - t * t), grad_out * t


INPUTS = (torch.linspace(-2, 2, 12).view(4, 3), torch.linspace(1, 3, 12).view(4, 3))


@pytest.mark.parametrize("owner", OWNERS)
def test_right_gradients_agree(owner, device):
    for seed in range(3):
        for case in cases(owner):
            inputs = on(device, case.draw(seed))
            crosscheck(case.forward, case.backward, inputs, seed=seed, witness="taylor").raise_on_mismatch()


@pytest.mark.parametrize("mistake", [m for m in CORPUS if m.owner in OWNERS and m.kind != "precision"], ids=str)
def test_mistakes_are_caught(mistake, device):
    with edited([mistake.edit]):
        reports = [
            crosscheck(case.forward, case.backward, on(device, case.draw(0)), witness="taylor")
            for case in cases(mistake.owner)
        ]
    assert not all(report.ok for report in reports)


def test_without_autograd():
    with pytest.raises(TypeError, match=": give such a function as twin, or witness='taylor'$"):
        crosscheck(forward, backward, INPUTS)
    report = crosscheck(forward, backward, INPUTS, witness="taylor")
    report.raise_on_mismatch()
    assert [(row.name, row.dtype) for row in report.rows] == [("x", torch.float64), ("w", torch.float64)]
    assert any("judged by Taylor's expansion in float64" in note for note in report.notes)
    assert report.determinism == "the same call twice gives the same"


@pytest.mark.parametrize("options", [{"witness": "tailor"}, {"witness": "taylor", "twin": forward}])
def test_another_witness_is_refused(options):
    says = f"^witness: expected None, or 'taylor' without a twin, got {options['witness']!r}$"
    with pytest.raises(ValueError, match=says):
        crosscheck(forward, backward, INPUTS, **options)


def test_the_highest_of_the_dtypes_is_taken():
    report = crosscheck(forward, backward, INPUTS, witness="taylor", dtypes=[torch.float32])
    assert [row.dtype for row in report.rows] == [torch.float32] * 2


def test_what_is_not_finite_is_said():
    report = crosscheck(forward, lambda *args: (backward(*args)[0] / 0, backward(*args)[1]), INPUTS, witness="taylor")
    assert [row.verdict for row in report.mismatches] == ["not finite at [0, 0]"]


def test_rounding_is_not_judged():
    report = crosscheck(forward, backward, INPUTS, witness="taylor")
    assert report.numerics == "not judged"
    assert not crosscheck(forward, backward, INPUTS, witness="taylor", dtypes=[]).ok
    with pytest.raises(ValueError, match="dtypes: expected some of torch.float64, .* got 'float32'"):
        crosscheck(forward, backward, INPUTS, witness="taylor", dtypes=["float32"])


def test_zeros_and_no_elements_are_no_proof(device):
    x = torch.zeros(3, device=device)
    report = crosscheck(lambda x: x * x, lambda g, out, x: (g * x * 3,), (x,), witness="taylor")
    assert [row.verdict for row in report.rows] == ["agrees, but it is zero everywhere, where no wrong factor shows"]
    assert not crosscheck(lambda x: 2 * x, lambda g, out, x: (g * x,), (x,), witness="taylor").ok
    report = crosscheck(torch.sin, lambda g, out, x: (g * x,), (x[:0],), witness="taylor")
    assert [row.verdict for row in report.rows] == ["not judged: it has no elements"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda x, w: (-x, w), "the sign is flipped"),
        (lambda x, w: (x / 4, w), "off by the constant factor 1/4"),
        (lambda x, w: (0 * x, w), "zero where a gradient is due"),
        (lambda x, w: (x + 1e-5, w), "unknown cause"),
        (lambda x, w: (x.T, w), "wrong shape: expected [4, 3], got [3, 4]"),
        (lambda x, w: (None, w), "missing"),
    ],
)
def test_what_is_wrong_is_said(wrong, words):
    report = crosscheck(forward, lambda *args: wrong(*backward(*args)), INPUTS, witness="taylor")
    assert [row.name for row in report.mismatches] == ["x"]
    assert words in f"{report.mismatches[0].verdict} {report.mismatches[0].diagnosis}"


def test_one_of_a_thousand_elements(device):
    def wrong(grad_out, out, x):
        gradient = grad_out * torch.cos(x)
        gradient[7, 7] *= 1.001
        return (gradient,)

    x = torch.linspace(0.1, 3, 1024, device=device).view(32, 32)
    assert not crosscheck(torch.sin, wrong, (x,), witness="taylor").ok


def test_a_kernel_of_float32_alone():
    def only_float32(x):
        assert x.dtype == torch.float32
        return torch.from_numpy(np.sin(x.numpy()))

    for scale, ok in ((1.0, True), (1.01, False)):
        report = crosscheck(
            only_float32, lambda g, out, x, s=scale: (s * g * torch.cos(x),), INPUTS[:1], witness="taylor"
        )
        assert report.ok == ok
        assert {row.dtype for row in report.rows} == {torch.float32}
        assert report.notes[0].startswith("float64: not judged, for it raises AssertionError")


def test_a_kink_is_a_convention(device):
    x = torch.tensor([-1.0, 0.0, 2.0], device=device)
    report = crosscheck(torch.relu, lambda g, out, x: (g * (x >= 0),), (x,), witness="taylor")
    assert report.ok
    assert report.rows[0].verdict == "agrees, but for a convention at a kink"


def test_what_cannot_be_judged_is_said():
    random = crosscheck(
        lambda x: x + torch.from_numpy(np.random.default_rng().normal(size=3)), lambda g, out, x: (g,),
        (torch.ones(3),), witness="taylor",
    )  # fmt: skip
    assert random.rows[0].verdict.startswith("not judged")
    with pytest.raises(ValueError, match="witness: expected None, or 'taylor' without a twin, got 'jax'"):
        crosscheck(forward, backward, INPUTS, witness="jax")
    with pytest.raises(ValueError, match="witness"):
        crosscheck(forward, backward, INPUTS, twin=forward, witness="taylor")


def test_a_changed_input_is_a_row():
    def changing(grad_out, out, x, w):
        gradients = backward(grad_out, out, x, w)
        x.zero_()
        return gradients

    report = crosscheck(forward, changing, INPUTS, witness="taylor")
    assert [(row.name, row.verdict) for row in report.mismatches] == [("x", "changed in place by backward")]


def test_an_empty_tensor_has_nothing_wrong(device):
    empty = (torch.ones(0, 3, device=device),)
    assert crosscheck(torch.sin, lambda g, out, x: (g * torch.cos(x),), empty, witness="taylor").ok
