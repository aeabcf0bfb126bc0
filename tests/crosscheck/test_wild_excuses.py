"""What a judge is tempted to excuse, and must not: wrong gradients as people really have them."""

import math
import re
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, tensor
from torch.autograd import Function
from torch.autograd.functional import jacobian
from torch.distributions import Bernoulli, Dirichlet, Poisson

from crosscheck import compare, crosscheck


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def of(function, factor=1, place=0, constants=0):
    """The backward of this function, but for a factor in one gradient; the last inputs are constants."""

    def backward(grad_out, out, *inputs):
        k = len(inputs) - constants
        gradients = [*torch.func.vjp(lambda *xs: function(*xs, *inputs[k:]), *inputs[:k])[1](grad_out)]
        gradients[place] = factor * gradients[place]
        return (*gradients, *[None] * constants)

    return backward


def is_wrong(report, name=""):
    """Whether it is called a wrong formula, and which."""
    return not report.ok and report.formula.startswith("wrong") and name in report.formula


# Sums that cancel, of what has no kink
LINEAR = {
    "added": (torch.add, (4,)), "subtracted": (torch.sub, (4,)), "multiplied": (torch.mul, (4,)),
    "matrix": (torch.matmul, (4, 3)), "smooth": (lambda x, b: torch.tanh(x + b), (4,)),
    "appended": (lambda x, b: torch.cat((x, b.expand(len(x), 4)), 1), (4,)),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("name", LINEAR)
def test_a_factor_in_what_is_summed_over_many_rows(name, dtype):
    forward, shape = LINEAR[name]
    for seed in range(20 if name == "added" else 4):
        inputs = normal(4000, 4, seed=seed), normal(*shape, seed=seed + 100)
        report = crosscheck(forward, of(forward, 0.7, 1), inputs, names="xb", dtypes=[dtype], seed=seed)
        assert is_wrong(report, "b"), (seed, report)


@pytest.mark.parametrize("dtypes", [None, [torch.bfloat16]], ids=["all", "bfloat16"])
def test_a_sum_that_is_added_up_row_by_row_in_bfloat16(dtypes):
    by_hand = lambda g, out, x, w: (g * w, sum((g * x).unbind(), torch.zeros_like(w)))  # noqa: E731
    for rows, seed in ((4000, 2), (4000, 4), (8000, 3)):
        inputs = rand(rows, 4, seed=seed) + 0.5, normal(4, seed=seed)
        report = crosscheck(torch.mul, by_hand, inputs, names="xw", dtypes=dtypes, seed=seed)
        assert ("w", torch.bfloat16) in [(row.name, row.dtype) for row in report.mismatches], report
        assert dtypes or report.formula.startswith("right")


# Smooth functions of one number, in which digits are lost
ONE = {
    "elu": (F.elu, lambda g, out, x: g * (out + 1), -6),
    "softplus": (F.softplus, lambda g, out, x: g * (1 - torch.exp(-out)), -5),
    "logsigmoid": (F.logsigmoid, lambda g, out, x: g * (1 - torch.exp(out)), 5),
    "sigmoid": (torch.sigmoid, lambda g, out, x: g * out * (1 - out), 6),
    "tanh": (torch.tanh, lambda g, out, x: g * (1 - out**2), 4),
    "sine": (lambda x: torch.sin(x) / x, lambda g, out, x: g * (torch.cos(x) - out) / x, 0.02),
}


@pytest.mark.parametrize("name", ONE)
def test_a_smooth_function_of_one_number_has_no_kink(name):
    forward, formula, end = ONE[name]
    for x in torch.linspace(end / 3, end, 8, dtype=torch.float64)[:, None]:
        report = crosscheck(forward, lambda *args: (formula(*args),), (x,))
        assert not any("kink" in row.verdict for row in report.rows), (x, report)
        assert report.rows[0].verdict.startswith(("agrees", "right formula")), (x, report)
        assert is_wrong(crosscheck(forward, lambda *args: (1.01 * formula(*args),), (x,))), x


def each_of(forward, inputs):
    """For each out which of all the numbers it may be, by what it is at points around."""
    points = [[normal(*x.shape, seed=seed + 50 * i) for i, x in enumerate(inputs)] for seed in range(40)]
    found = [[j.reshape(forward(*p).numel(), -1) for j in jacobian(forward, tuple(p))] for p in points]
    return torch.stack([torch.cat(each, 1) != 0 for each in found]).any(0)


# What the tied get, of the gradient of what they tie for: it has to be 1 in all
TAKEN = {
    "each the whole": lambda tied: tied, "the first twice": lambda tied: 2 * tied * (tied.cumsum(1) == 1),
    "none": lambda tied: 0 * tied, "0.8 each of two": lambda tied: 0.8 * tied * (tied.cumsum(1) <= 2),
    "0.3 in all": lambda tied: 0.3 * tied / tied.sum(1, keepdim=True),
}  # fmt: skip
LEVELS = tensor([[1.0, 3, 3, 0], [2, 0.5, 2, 2], [-1, 1, 0, 0.5]])
MOVED, FEW, INDEX = LEVELS.roll(1, 1), tensor([3.0, 0, 2, -1]), tensor([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 1, 0])
SELECTING = {
    "max": (lambda x: x.max(), LEVELS), "max(dim)": (lambda x: x.max(1).values, LEVELS),
    "amax": (lambda x: x.amax(1), LEVELS), "amin": (lambda x: x.amin((0, 1)), -LEVELS),
    "min": (lambda x: x.min(1).values, -LEVELS), "aminmax": (lambda x: x.aminmax(dim=0).max, LEVELS.T.contiguous()),
    "maximum": (torch.maximum, LEVELS, MOVED), "minimum": (torch.minimum, LEVELS, MOVED),
    "fmax": (torch.fmax, LEVELS, MOVED), "clamp(min)": (lambda x, least: x.clamp(min=least), LEVELS, MOVED),
    "clamp(max)": (lambda x, most: x.clamp(max=most), LEVELS, MOVED),
    "max_pool1d": (lambda x: F.max_pool1d(x[None], 2), LEVELS),
    "windows that overlap": (lambda x: F.max_pool1d(x[None], 3, 1), LEVELS),
    "max_pool2d": (lambda x: F.max_pool2d(x[None, None], 2), MOVED[:2]),
    "adaptive_max_pool2d": (lambda x: F.adaptive_max_pool2d(x[None], (2, 1)), LEVELS),
    "scatter_reduce": (lambda t, x: t.scatter_reduce(0, INDEX, x, "amax"), FEW, LEVELS.flatten()),
    "index_reduce": (lambda t, x: t.index_reduce(0, INDEX, x, "amax"), FEW, LEVELS.flatten()),
    "cummax": (lambda x: x.cummax(1).values, LEVELS), "cummin": (lambda x: x.cummin(1).values, -LEVELS),
    "median": (lambda x: x.median(1).values, LEVELS[:, 1:]), "kthvalue": (lambda x: x.kthvalue(2, 1).values, LEVELS),
    "sort": (lambda x: x.sort(1).values, LEVELS), "topk": (lambda x: x.topk(2, 1).values, LEVELS),
    "quantile": (lambda x: x.quantile(2 / 3, 1), LEVELS),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:index_reduce:UserWarning")
@pytest.mark.parametrize("name", SELECTING)
def test_what_ties_shares_one_gradient(name):
    forward, *inputs = SELECTING[name]
    among = each_of(forward, inputs)

    def backward(taken, grad_out, out, *inputs):
        tied = (among & (torch.cat([x.flatten() for x in inputs]) == out.reshape(-1, 1))).to(out)
        shares = torch.where(tied.sum(1, keepdim=True) > 1, TAKEN[taken](tied), tied)
        gradients = (grad_out.flatten() @ shares).split([x.numel() for x in inputs])
        return tuple(m.view(x.shape) for m, x in zip(gradients, inputs, strict=True))

    reports = {taken: crosscheck(forward, partial(backward, taken), inputs) for taken in TAKEN}
    assert not {taken: report.formula for taken, report in reports.items() if not is_wrong(report)}


def unit(vector, g, out, x):
    """x / ‖x‖ of each row, and where a row is zero this vector."""
    return (g[:, None] * torch.where(out[:, None] > 0, x / out[:, None], tensor(vector).to(x)),)


X = normal(4, 3) * tensor([[1.0], [0], [1], [0]])
Y = torch.where(rand(4, 3, seed=1) < 0.5, X, 0.5 * X + 1)
NO_SUBGRADIENTS = {
    "1.2 long": (lambda x: x.norm(dim=1), partial(unit, [1.2, 0.0, 0.0]), X),
    "1.21 long": (lambda x: torch.linalg.vector_norm(x, dim=1), partial(unit, [0.7, 0.7, 0.7]), X),
    "std, uncentred": (lambda x: x.std(1), lambda g, out, x: (g[:, None] * torch.where(
        out[:, None] > 0, (x - x.mean(1, keepdim=True)) / 2 / out[:, None], 0.15),), X + (X == 0)),
    "both up": (lambda x, y: (x - y).abs(), lambda g, out, x, y: (
        torch.where(x == y, g, g * (x - y).sign()), torch.where(x == y, g, g * (y - x).sign())), X, Y),
    "one side each": (lambda x, y: F.relu(x - y), lambda g, out, x, y: (g * (x >= y), -g * (x > y)), X, Y),
    "a middle one, -0.5 and 1.5": (lambda x: x.median(), lambda g, out, x: (
        g * tensor([1.5, -0.5, *[0.0] * 5]).to(x),), torch.full((7,), 0.7)),
    "relu6, -0.5": (F.relu6, lambda g, out, x: (g * torch.where(x % 6 == 0, -0.5, (x > 0).to(x)),), X.sign() * 6),
}  # fmt: skip


@pytest.mark.parametrize("name", NO_SUBGRADIENTS)
def test_what_is_no_subgradient_in_some_direction(name):
    forward, backward, *inputs = NO_SUBGRADIENTS[name]
    report = crosscheck(forward, backward, inputs)
    assert is_wrong(report), report


def attend(q, k, v, mask):
    return torch.softmax((q @ k.T).masked_fill(mask == 0, -math.inf), 1) @ v


each = partial(partial, reduction="none")
hinge, soft, ranking = each(F.hinge_embedding_loss), each(F.soft_margin_loss), each(F.margin_ranking_loss, margin=0.3)
bce, bce_logits = each(F.binary_cross_entropy), each(F.binary_cross_entropy_with_logits)
SIGN, M, IDX = tensor([1.0, -1, -1, 1, -1, 1]), tensor([1.0, 0, 1, 1, 0, 1]), tensor([2.0, 0, 1, 2, 4, 4])
A, B, P = -normal(6), normal(6), rand(6) * 0.8 + 0.1
# The last input is a constant. Then: of which function the wrong gradient is.
CONSTANTS = {
    "attention": (attend, (A.view(3, 2), B.view(3, 2), P.view(3, 2), torch.ones(3, 3).tril()),
                  lambda q, k, v, mask: attend(q, k, v, mask == mask)),
    "hinge_embedding_loss": (hinge, (A, SIGN), lambda x, mask: x * (mask == 1)),
    "where": (lambda x, mask: torch.where(mask == 1, torch.tanh(x), x / 2), (A, M),
              lambda x, mask: torch.where(mask == 1, torch.sin(x), x / 2)),
    "float indices": (lambda w, mask: w[mask.long()], (normal(5, 3), IDX),
                      lambda w, mask: w[mask.long()] * (torch.arange(6) < 5)[:, None]),
    "knots": (lambda x, mask: x * mask[torch.bucketize(x, mask)], (A, torch.linspace(-3, 3, 7)),
              lambda x, mask: x * mask[torch.bucketize(x, mask) - 1]),
    "labels": (bce_logits, (A, M), lambda x, mask: bce_logits(x, 1 - mask)),
    "labels of probabilities": (bce, (P, M), lambda p, mask: -bce(p, mask)),
    "log_prob": (lambda p, mask: Bernoulli(p).log_prob(mask), (P, M), lambda p, mask: -Bernoulli(p).log_prob(mask)),
    "counts": (lambda rate, mask: Poisson(rate).log_prob(mask), (P, IDX), lambda rate, mask: mask * rate.log() + rate),
    "soft_margin_loss": (soft, (A, SIGN), lambda x, mask: -mask * F.softplus(-x)),
    "margin_ranking_loss": (ranking, (A, B, SIGN), lambda x, y, mask: ranking(x, y, mask) * mask),
    "padding": (lambda x, mask: (x * mask).sum() / mask.sum(), (A, M), lambda x, mask: (x * mask).mean()),
}  # fmt: skip


@pytest.mark.parametrize("dtypes", [None, [torch.float32]], ids=["all", "float32"])
@pytest.mark.parametrize("name", CONSTANTS)
def test_a_constant_is_not_moved(name, dtypes):
    forward, (*variables, constant), another = CONSTANTS[name]
    inputs = (*(x.clone().requires_grad_() for x in variables), constant)
    options = {"names": [*"abc"[: len(variables)], "mask"], "dtypes": dtypes}
    report = crosscheck(forward, of(forward, constants=1), inputs, **options)
    assert report.ok, report
    assert all("mask" in said for said in (report.formula, report.coverage, report.as_dict()["coverage"]))
    ignoring = lambda g, out, *inputs: of(forward, constants=1)(torch.ones_like(out), out, *inputs)  # noqa: E731
    for mistaken in (of(another, constants=1), ignoring):
        report = crosscheck(forward, mistaken, inputs, **options)
        assert is_wrong(report), report


def test_what_cannot_be_seen_over_rounding_proves_nothing():
    """In float32 all digits of the gradient are lost."""
    forward = lambda x: ((x + 1e7) - 1e7) ** 2  # noqa: E731
    for mistaken in (of(forward, 2.5), lambda g, out, x: (2 * x,), lambda g, out, x: (-g,)):
        report = crosscheck(forward, mistaken, (normal(50) / 4,), dtypes=[torch.float32])
        assert not report.ok, report
        assert not report.formula.startswith("right"), report


JUDGED = {  # what raises where it is moved, and what is small, and not zero
    "labels, too": (bce, P, M), "a simplex": (Dirichlet(tensor([2.0, 3, 5])).log_prob, tensor([[0.25, 0.5, 0.25]])),
    "prod": (lambda x: x.prod(), rand(125)), "scaled": (lambda x: 1e-60 * torch.sin(x), normal(20)),
    "far out": (lambda x: torch.exp(-(x**2)), normal(9) + 16), "cumprod": (lambda x: x.cumprod(0)[-1], rand(150)),
    "softmax": (lambda x: torch.softmax(x, 0)[1:], tensor([160.0, 0, 1, 2])),
}  # fmt: skip


@pytest.mark.parametrize("name", JUDGED)
def test_what_raises_where_it_is_moved_or_is_tiny_is_judged(name):
    forward, *inputs = JUDGED[name]
    report = crosscheck(forward, of(forward), inputs, names="xy"[: len(inputs)])
    assert report.ok, report
    assert "zero" not in report.formula, report
    for factor in (-1, 1.01):
        assert is_wrong(crosscheck(forward, of(forward, factor), inputs, names="xy"[: len(inputs)]))


def det(x):
    """By its first row, without an inverse."""
    rest = [[j for j in range(x.shape[-1]) if j != i] for i in range(x.shape[-1])]
    return sum((-1) ** i * x[..., 0, i] * det(x[..., 1:, j]) for i, j in enumerate(rest)) if rest else 1


SINGULAR = {
    "2x2": [[1.0, 2], [2, 4]], "3x3": [[1.0, 2, 3], [4, 5, 6], [7, 8, 9]], "zeros": [[1.0, 0, 0], [0, 2, 0], [0, 0, 0]],
    "4x4": [[2.0, 1, 0, 1], [1, 3, 1, 0], [2, 1, 0, 1], [0, 1, 2, 5]], "batch": [[[1.0, 2], [2, 4]], [[1, 2], [3, 5]]],
}  # fmt: skip


@pytest.mark.parametrize("name", SINGULAR)
def test_the_determinant_of_a_singular_matrix(name):
    """torch's own gradient is zero there."""
    x = tensor(SINGULAR[name])
    report = crosscheck(torch.linalg.det, of(det), (x,))
    assert report.ok, report
    as_torch = lambda g, out, x: (of(det)(g, out, x)[0] * (out != 0)[..., None, None],)  # noqa: E731
    for mistaken in (as_torch, of(det, 1.1), lambda g, out, x: (0 * x,)):
        assert not crosscheck(torch.linalg.det, mistaken, (x,)).ok


@pytest.mark.parametrize("name", ["sqrt", "log", "rsqrt", "arccosh"])
def test_where_autograd_is_not_finite_it_is_said(name):
    forward, x = getattr(torch, name), tensor([4.0, 1, 0, 2])
    by_hand = lambda factor: lambda *args: (of(forward, factor)(*args)[0].nan_to_num(42, 42, 42),)  # noqa: E731
    report = crosscheck(forward, by_hand(1), (x,))
    assert not report.is_mismatch, report
    assert all("not finite" in row.verdict for row in report.rows), report
    assert is_wrong(crosscheck(forward, by_hand(1.1), (x,)))


@pytest.mark.parametrize("factor", [1.5, -1.0, 0.0, 1e3])
def test_an_oracle_that_contradicts_what_is_expected_is_refused(factor):
    e = normal(5, 3)
    for o in (factor * e, torch.where(e == e.max(), factor * e, e)):
        for m in (e, 1.37 * e, o):
            with pytest.raises(ValueError, match="apart"):
                compare({"w": m}, {"w": e}, oracle={"w": o.double()})
    for low in (e, e.bfloat16()):
        assert compare({"w": low}, {"w": low}, oracle={"w": e.double()}).ok
        assert compare({"w": 1.37 * low}, {"w": low}, oracle={"w": e.double()}).is_mismatch


def test_data_beside_parameters_is_not_judged_and_said():
    forward = lambda data, w, b: F.layer_norm(data, (3,), w, b)  # noqa: E731
    module = torch.nn.LayerNorm(3)
    report = crosscheck(forward, of(forward, 999), (normal(5, 3), module.weight, module.bias))
    assert report.ok
    assert all("data" in said for said in (report.formula, report.coverage, str(report), report.as_dict()["coverage"]))
    asked = (normal(5, 3).requires_grad_(), module.weight, module.bias)
    assert is_wrong(crosscheck(forward, of(forward, 999), asked), "data")


class Doubled(Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad_out):
        return 7 * grad_out


@torch.library.custom_op("test_wild_excuses::doubled", mutates_args=())
def doubled(x: Tensor) -> Tensor:
    return 2 * x


doubled.register_autograd(lambda ctx, grad_out: 7 * grad_out)
OWN = {
    "Function.apply": Doubled.apply, "a lambda": lambda x: Doubled.apply(x),
    "partial": partial(Doubled.apply), "what follows it": lambda x: 0.5 * Doubled.apply(x + x).view(-1),
    "custom_op": doubled, "a lambda, of a custom_op": lambda x: doubled(x),
    "what follows a custom_op": lambda x: 0.5 * doubled(x + x).view(-1),
    "a packet": torch.ops.test_wild_excuses.doubled, "an overload": torch.ops.test_wild_excuses.doubled.default,
    "compiled": torch.compile(lambda x: 2 * x, backend="aot_eager"), "a lambda, compiled": lambda x: OWN["compiled"](x),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_what_would_be_judged_by_its_own_backward_is_refused(name):
    given, right, mistaken = (normal(5),), lambda g, out, x: (2 * g,), lambda g, out, x: (7 * g,)
    for backward in (right, mistaken):
        with pytest.raises(TypeError, match="its own backward"):
            crosscheck(OWN[name], backward, given, names="x")
    assert crosscheck(OWN[name], right, given, names="x", twin=lambda x: 2 * x).ok
    assert is_wrong(crosscheck(OWN[name], mistaken, given, names="x", twin=lambda x: 2 * x))


@pytest.mark.parametrize("noise", [0, 1e-9, 1e-7, 1e-5, 1e-3])
def test_taylor_says_to_how_many_digits_and_fewer_than_three_are_none(noise):
    forward = lambda x: torch.sin(x) + noise * torch.frac(1e9 * torch.sin(1e9 * x))  # noqa: E731
    for factor in (1, 1.0001, 1.001, 1.1):
        report = crosscheck(forward, of(torch.sin, factor), (normal(20).double(),), method="taylor")
        said = f"{report.rows[0].verdict} {report.formula}"
        if report.ok:
            digits = int(re.search(r"to (\d+) digits", said)[1])
            assert 3 <= digits < 1 - math.log10(factor - 1 or 1e-99), report
        elif noise > 1e-6 and factor == 1:
            assert said.startswith("not judged"), report
        assert noise or report.ok == (factor == 1)


# What was found by reading


def test_ties_that_the_error_itself_does_not_break():
    x = normal(2000, 5)
    x[0, :2] = 9.0
    wrong = lambda g, out, x: (g[:, None] * (x == out[:, None]).to(x),)  # noqa: E731
    assert not crosscheck(lambda x: x.amax(1), wrong, (x,), dtypes=[torch.float32]).ok


def test_what_is_only_smaller_than_others_is_compared():
    large, small = normal(50).bfloat16(), (0.05 * normal(50, seed=1)).bfloat16()
    assert not compare({"large": large, "small": -small}, {"large": large, "small": small}).ok


def test_a_buffer_that_is_never_emptied_is_another_number_each_time():
    buffers = {}

    def backward(grad_out, out, x):
        buffer = buffers.setdefault(x.dtype, torch.zeros_like(x))
        return (buffer.mul_(0.03).add_(2 * x * grad_out),)

    assert not crosscheck(lambda x: x * x, backward, (normal(6),)).ok


def test_a_derivative_that_is_another_one_on_purpose():
    def forward(x):
        return torch.fake_quantize_per_tensor_affine(x.float(), 1.0, 0, -8, 7).to(x.dtype)

    assert not crosscheck(forward, lambda g, out, x: (0 * g,), (2 * normal(6),)).ok


def test_what_cannot_be_judged_in_these_ways_is_refused_by_name():
    with pytest.raises(TypeError, match="^x: expected a tensor with numbers, got one on the device meta"):
        crosscheck(torch.sin, lambda g, out, x: (g,), (normal(3).to("meta"),), names=["x"])
    with pytest.raises(ValueError, match="^digits: expected a whole number from 1, or none beside a method, got True$"):
        crosscheck(torch.sin, lambda g, out, x: (g,), (normal(3),), digits=True)


def sines(x, m):
    return torch.where(m == 1, x.sin(), x)


ASIDE = torch.tensor([1.0, 1, 0, 0, 1, 1], dtype=torch.float64)
JUMPS = {
    "a mask of numbers": (sines, lambda g, out, x, m: (g, torch.zeros_like(m)), (normal(6), ASIDE)),
    "a target that is left out": (
        lambda x, t: ((x - t) ** 2 * (t != 1)).sum(), lambda g, out, x, t: (2 * g * (x - t), -2 * g * (x - t)),
        (normal(6), ASIDE),
    ),
    "how many are not zero": (
        lambda x: x.sum() / (x != 0).sum(), lambda g, out, x: ((g / x.numel()).expand_as(x).clone(),),
        (normal(6) * ASIDE,),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtypes", [None, [torch.bfloat16]])
@pytest.mark.parametrize("jump", JUMPS)
def test_a_function_that_jumps_at_its_inputs_has_autograds_gradient(jump, dtypes):
    """All around there is another function: its gradient is no excuse."""
    forward, backward, inputs = JUMPS[jump]
    report = crosscheck(forward, backward, inputs, dtypes=dtypes)
    assert not any("all around" in row.verdict for row in report.rows if row.ok), report
    assert not report.ok or (jump == "how many are not zero" and dtypes is None)


@pytest.mark.parametrize("hidden", [True, False], ids=["behind a detach", "seen by autograd"])
def test_where_the_out_itself_jumps_nothing_is_a_convention(hidden):
    """A hole is filled with the mean of its neighbours: by these the function is linear, by the hole it is torn."""

    def filled(x):
        hole = (x[1].detach() if hidden else x[1]) == 0
        return torch.stack([x[0], torch.where(hole, (x[0] + x[2]) / 2, x[1]), x[2]])

    def backward(grad_out, out, x):
        return (grad_out * (x != 0),)  # nothing goes on from the hole to its neighbours

    x = torch.tensor([1.5, 0.0, -2.0], dtype=torch.float64)
    assert crosscheck(filled, backward, (x,)).formula == "wrong in x"


def test_a_small_jump_is_seen_beside_a_steep_slope():
    def filled(x):
        return torch.stack([1e7 * x[0], torch.where(x[1].detach() == 0, (x[0] + x[2]) / 2, x[1]), x[2]])

    def backward(grad_out, out, x):
        there = grad_out * (x != 0)
        return (torch.stack([1e7 * there[0], there[1], there[2]]),)

    assert crosscheck(filled, backward, (torch.tensor([1.5, 0.0, -2.0], dtype=torch.float64),)).formula == "wrong in x"


def test_a_convention_holds_beside_a_mask_that_jumps():
    report = crosscheck(
        lambda x: (torch.relu(x), (x > 0).to(x.dtype)),
        lambda grads_out, outs, x: (grads_out[0] * (x >= 0),),
        (torch.tensor([0.0, 1.0, -2.0, 0.0], dtype=torch.float64),),
    )
    assert report.ok
