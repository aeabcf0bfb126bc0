"""Low precision alone: what many numbers and draws show, and what stays rounding."""

import math

import pytest
import torch
from torch import Tensor

from crosscheck import crosscheck
from crosscheck.verdict.filters import _alike, _common, _student


def normal(*shape, seed=0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, W = normal(40, 30), normal(20, 30, seed=1)


def layer(x, w):
    return torch.tanh(x @ w.T)


def layer_back(change=lambda grad_w: grad_w):
    """By hand, in float32 inside."""

    def backward(g, out, x, w):
        d = g.float() * (1 - out.float() ** 2)
        return (d @ w.float()).to(x.dtype), change(d.T @ x.float()).to(x.dtype)

    return backward


def row(k: float):
    def change(grad_w):
        grad_w[3] *= k
        return grad_w

    return change


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_factor_below_the_roundoff_of_a_number_is_seen(dtype):
    u = torch.finfo(dtype).eps / 2
    assert crosscheck(layer, layer_back(), (X, W), dtypes=[dtype]).ok
    report = crosscheck(layer, layer_back(lambda w: (1 + 1.5 * u) * w), (X, W), dtypes=[dtype])
    assert report.formula == "wrong in w"
    (wrong,) = report.mismatches
    assert wrong.diagnosis.startswith("off by about the factor 1")
    assert "in 16 draws, where its mean is " in wrong.diagnosis
    # As much as a constant that is rounded once may leave
    assert crosscheck(layer, layer_back(lambda w: (1 + 0.4 * u) * w), (X, W), dtypes=[dtype]).ok


def test_a_slice_that_is_wrong_is_named():
    (wrong,) = crosscheck(layer, layer_back(row(1.02)), (X, W), dtypes=[torch.bfloat16]).mismatches
    assert wrong.diagnosis.startswith("off by about the factor 1.019, in slice 3 of dimension 0, in 16 draws")


def test_a_small_term_that_is_left_out_is_seen():
    def forward(x, w):
        return x * w + 0.02 * torch.sin(x)

    def backward(g, out, x, w):
        return (g.float() * w.float()).to(x.dtype), (g.float() * x.float()).to(x.dtype)

    report = crosscheck(forward, backward, (normal(40, 30), 1 + normal(40, 30, seed=1).abs()), dtypes=[torch.bfloat16])
    (wrong,) = report.mismatches
    assert wrong.verdict == "wrong formula, by 16 draws together"
    assert wrong.diagnosis.startswith("off by about the factor 0.99")  # which is 0.02 sin(x) on the average


def test_what_would_have_been_seen_is_said():
    notes = crosscheck(layer, layer_back(), (X, W), dtypes=[torch.bfloat16]).notes
    assert notes == (
        "bfloat16 alone, 16 draws: a factor off by 0.003 in x, 0.003 in w would be seen; "
        "a false alarm has a chance of 1e-06",
    )
    assert not crosscheck(layer, layer_back(), (X, W)).notes


def test_the_same_at_other_dtypes_needs_no_draws():
    """Where float64 runs, it says more."""
    seen = set()

    def counted(g, out, x, w):
        seen.add(x.dtype)
        return layer_back()(g, out, x, w)

    assert (
        crosscheck(layer, counted, (X, W), dtypes=[torch.float32, torch.bfloat16]).formula == "right, judged at float32"
    )
    assert seen == {torch.float32, torch.bfloat16}


@pytest.mark.parametrize("k", [1, 1.02])
def test_what_takes_several_dtypes_as_given_alone(k):
    """Activations in bfloat16 and weights in float32, and nothing else."""

    def backward(g, out, x, w):
        if (x.dtype, w.dtype) != (torch.bfloat16, torch.float32):
            raise RuntimeError("no kernel for these")
        d = g * (1 - out * out)
        return (d @ w).to(x.dtype), k * (d.T @ x.to(w.dtype))

    def forward(x, w):
        return torch.tanh(x.to(w.dtype) @ w.T)

    report = crosscheck(forward, backward, (X.bfloat16(), W))
    assert [row.dtype for row in report.rows] == [torch.bfloat16, torch.float32]
    assert report.formula == ("right, judged at bfloat16" if k == 1 else "wrong in w")
    assert k == 1 or report.mismatches[0].diagnosis.startswith("off by about the factor 1.02")
    with pytest.raises(RuntimeError, match="no kernel for these"):
        crosscheck(forward, backward, (X, W))


def test_what_cuts_off_is_told_as_what_it_is():
    """Numbers of 8 bits, from float32 by dropping the rest of the bits."""

    def backward(g, out, x, w):
        cut_off = (g.float() * x.float()).contiguous().view(torch.int32) & ~0xFFFF
        return (g.float() * w.float()).to(x.dtype), cut_off.view(torch.float32).to(x.dtype)

    report = crosscheck(torch.mul, backward, (X, normal(40, 30, seed=1)), dtypes=[torch.bfloat16])
    assert [row.verdict for row in report.rows] == ["agrees", "agrees, and cuts off where others round"]


@pytest.mark.parametrize("k", [0.993, 0.994, 0.995, 0.996])
def test_a_factor_below_one_is_not_taken_for_cutting_off(k):
    """About a roundoff below: rounded, the errors lie to one side as well."""

    def backward(g, out, x, w):
        return (g.float() * w.float()).to(x.dtype), (k * (g.float() * x.float())).to(x.dtype)

    report = crosscheck(lambda x, w: x * w, backward, (X, normal(40, 30, seed=1)), dtypes=[torch.bfloat16])
    assert report.formula == "wrong in w", report


def by_pairs(terms):
    while len(terms) > 1:
        terms = torch.cat([terms, torch.zeros_like(terms[:1])]) if len(terms) % 2 else terms
        terms = terms[::2] + terms[1::2]
    return terms[0]


def one_by_one(terms):
    total = torch.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


@pytest.mark.parametrize("add", [by_pairs, one_by_one])
@pytest.mark.parametrize("seed", range(5))
def test_what_adds_up_in_low_precision_is_no_formula(add, seed):
    def backward(g, out, x, w, b):
        return g @ w, add(g[:, :, None] * x[:, None, :]), add(g)

    xs = normal(40, 6, seed=seed), normal(5, 6, seed=seed + 1), normal(5, seed=seed + 2)
    report = crosscheck(torch.nn.functional.linear, backward, xs, dtypes=[torch.bfloat16], seed=seed)
    assert not [r for r in report.rows if r.verdict.startswith("wrong")], report


@pytest.mark.parametrize(("dtype", "seed"), [(torch.bfloat16, 2), (torch.float16, 0)])
def test_rows_whose_digits_cancel_are_no_formula(dtype, seed):
    """Of a softmax that is one at one place: the same digits are lost in every draw."""
    x = 10 * normal(8, 64, seed=seed)
    report = crosscheck(
        lambda x: x.softmax(-1), lambda g, out, x: (out * (g - (g * out).sum(-1, keepdim=True)),), (x,), dtypes=[dtype]
    )
    assert report.ok, report


def test_errors_that_are_alike():
    same, other = torch.ones(16, 5).double(), normal(16, 500).double()
    assert _alike(same) == pytest.approx(math.sqrt(16 * 15 / 2))
    assert abs(_alike(other)) < 5
    assert _common(same) == pytest.approx(1)
    assert _common(other) < 0.3


@pytest.mark.parametrize("degrees", [5, 15])
@pytest.mark.parametrize("chance", [1e-6, 1e-9])
def test_the_tail_of_students_t(degrees, chance):
    """By its density, ∝ (1 + t²/ν)^(−(ν+1)/2), added up: no more than that chance, and not far less."""
    t = torch.linspace(0, 1e4, 10_000_001, dtype=torch.float64)
    density = (1 + t**2 / degrees) ** (-(degrees + 1) / 2)
    share = float(density[t > _student(degrees, chance)].sum() / density.sum())
    assert chance / 20 < share <= chance
