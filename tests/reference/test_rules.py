"""The twins: what is drawn for them lies in its domain, and fills it."""

import math

import pytest
import torch

from crosscheck.verdict.precision import dtypes_of
from reference import rules as twins
from reference.rules import Twin

F64 = torch.float64


def drawn(domain, seed: int = 0):
    return domain(torch.Generator().manual_seed(seed))


def standard(*shape: int):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=F64)


def test_numbers_near_no_kink():
    assert torch.equal(drawn(twins.normal(40, 30)), standard(40, 30))
    x = drawn(twins.away_from_zero(40, 30))
    assert torch.equal(x, standard(40, 30) + 0.1 * standard(40, 30).sign())


def test_numbers_from_zero_to_one():
    p = drawn(twins.probability(40, 30))
    assert torch.equal(p, drawn(twins.probability(40, 30)))
    assert p.shape == (40, 30)
    assert p.dtype == F64
    assert 0 <= p.min() < 0.01
    assert 0.99 < p.max() < 1
    assert p.mean() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("domain", "given", "numbers", "dtype"),
    [
        (twins.index, (4, 40, 30), {0, 1, 2, 3}, torch.int64),
        (twins.ties, (40, 30), {-2, -1, 0, 1, 2}, F64),
        (twins.sign, (40, 30), {-1, 1}, F64),
        (twins.mask, (40, 30), {False, True}, torch.bool),
    ],
)
def test_each_of_a_few_numbers(domain, given, numbers, dtype):
    domain = domain(*given)
    x = drawn(domain)
    assert torch.equal(x, drawn(domain))
    assert x.shape == (40, 30)
    assert x.dtype == dtype
    assert set(x.unique().tolist()) == numbers
    assert not torch.equal(x, drawn(domain, seed=1))


def test_a_mask_hides_one_of_three():
    assert drawn(twins.mask(40, 30)).double().mean() == pytest.approx(2 / 3, abs=0.03)


def test_matrices_for_the_rules_of_linear_algebra():
    x, one = standard(5, 4, 4), torch.eye(4, dtype=F64)
    torch.testing.assert_close(drawn(twins.positive_definite(5, 4, 4)), x @ x.mT / 4 + one)
    torch.testing.assert_close(drawn(twins.well_conditioned(5, 4, 4)), x / 2 + 3 * one)
    assert torch.linalg.cond(drawn(twins.positive_definite(5, 4, 4))).max() < 20
    assert torch.linalg.cond(drawn(twins.well_conditioned(5, 4, 4))).max() < 20


def test_what_is_left_out_is_none():
    assert Twin(torch.nn.functional.linear, twins.normal(5, 3), twins.absent).draw(0)[1] is None


def test_one_generator_for_all_that_is_drawn():
    twin = Twin(torch.add, twins.normal(3), twins.normal(3))
    x, y = twin.draw(0)
    assert not torch.equal(x, y)
    assert torch.equal(twin.draw(0)[1], y)
    assert not torch.equal(twin.draw(1)[0], x)


def test_a_twin_is_its_function_with_its_options():
    twin = Twin(torch.add, twins.normal(3), alpha=2, out=None)
    assert str(twin) == "alpha=2, out=None"
    assert str(Twin(torch.add)) == ""
    assert torch.equal(twin(torch.ones(2), torch.ones(2)), torch.tensor([3.0, 3.0]))


def fails_in(*dtypes: torch.dtype, error=RuntimeError):
    """A function, and its derivative, of which torch has none in some dtypes."""

    def function(x, mask, nothing):
        assert mask.dtype == torch.bool
        assert nothing is None
        assert x.requires_grad
        if x.dtype in dtypes:
            raise error("not implemented for that")
        return x * mask, x.detach()

    return function


CPU = torch.device("cpu")
DRAWN = (twins.normal(5, 3), twins.mask(5, 3), twins.absent)


@pytest.mark.parametrize(
    ("missing", "left"),
    [
        ((), [torch.float64, torch.float32, torch.float16, torch.bfloat16]),
        ((torch.bfloat16,), [torch.float64, torch.float32, torch.float16]),
        ((torch.float16, torch.bfloat16), [torch.float64, torch.float32]),
        ((torch.float32, torch.float64), [torch.float64, torch.float32, torch.float16, torch.bfloat16]),
    ],
)
def test_in_which_dtypes_it_is_judged(missing, left):
    """In single and double precision in any case: where it is missing there, that is to be seen."""
    assert set(Twin(fails_in(*missing), *DRAWN).dtypes(CPU, dtypes_of(CPU))) == set(left)


def test_an_error_of_another_kind_is_one():
    with pytest.raises(TypeError, match="that"):
        Twin(fails_in(torch.float16, error=TypeError), *DRAWN).dtypes(CPU, dtypes_of(CPU))


def test_its_derivative_must_be_there_too():
    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            if g.dtype == torch.float16:
                raise RuntimeError("not implemented for 'Half'")
            return g

    assert Twin(Half.apply, twins.normal()).dtypes(CPU, dtypes_of(CPU)) == tuple(
        t for t in dtypes_of(CPU) if t != torch.float16
    )


def test_the_losses_of_classes_with_their_options():
    n, t, ignored = standard(5, 3), torch.tensor([0, 2, 1, 2, 0]), 2
    log_z = n.exp().sum(1).log()
    plain = log_z - n[torch.arange(5), t]
    torch.testing.assert_close(twins._cross_entropy(n, t), plain)
    seen = (t != ignored).double()
    torch.testing.assert_close(twins._cross_entropy(n, t, ignore_index=2), plain * seen)
    theirs = (plain + 0.3 * log_z**2) * seen
    torch.testing.assert_close(twins._cross_entropy(n, t, z_loss=0.3, ignore_index=2), theirs)
    torch.testing.assert_close(twins._cross_entropy(n, t, z_loss=0.3), plain + 0.3 * log_z**2)
    assert twins._cross_entropy(1e200 * n, t).isfinite().all()  # where log_z² is not


def test_turning_by_an_angle():
    x, angle = standard(5, 8), standard(5, 4)
    for interleaved in (False, True):
        out = twins._rotary(x, angle, interleaved=interleaved)
        for row in range(5):
            for i in range(4):
                places = (2 * i, 2 * i + 1) if interleaved else (i, i + 4)
                a, b = (float(x[row, place]) for place in places)
                cos, sin = math.cos(float(angle[row, i])), math.sin(float(angle[row, i]))
                turned = [float(out[row, place]) for place in places]
                assert turned == pytest.approx([a * cos - b * sin, a * sin + b * cos])
    assert torch.equal(twins._rotary(x, angle), twins._rotary(x, angle, interleaved=False))


def test_the_norms_and_their_defaults():
    x, w, b = 1e-3 * standard(5, 6), torch.ones(6, dtype=F64), torch.zeros(6, dtype=F64)
    for ours, theirs in (
        (twins._layer_norm(x, w, b), torch.nn.LayerNorm(6, dtype=F64)(x)),
        (twins._batch_norm(x, w, b), torch.nn.BatchNorm1d(6, dtype=F64)(x)),
        (twins._group_norm(x, w, b, num_groups=3), torch.nn.GroupNorm(3, 6, dtype=F64)(x)),
        (twins._rms_norm(x, w), x / ((x * x).mean(-1, keepdim=True) + 1e-6).sqrt()),
    ):
        torch.testing.assert_close(ours, theirs.detach())
