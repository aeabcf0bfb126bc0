"""What a judge is tempted to call wrong, and must not: right gradients as people really have them."""

import math
import re
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import special, tensor
from torch.autograd import Function, grad
from torch.distributions import Beta

from crosscheck import compare, crosscheck
from crosscheck.row import ZERO


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def of(function, factor=1, constants=0):
    """The backward of this function, but for a factor in the first gradient; the last inputs are constants."""

    def backward(grad_out, out, *inputs):
        k = len(inputs) - constants
        first, *rest = torch.func.vjp(lambda *xs: function(*xs, *inputs[k:]), *inputs[:k])[1](grad_out)
        return factor * first, *rest, *[None] * constants

    return backward


ROWS = {
    "tanh": (torch.tanh, lambda g, x: g * (1 - torch.tanh(x) ** 2)),
    "sigmoid": (torch.sigmoid, lambda g, x: g * x.sigmoid() * (1 - x.sigmoid())),
    "softmax": (lambda x: x.softmax(0), lambda g, x: (g - (g * x.softmax(0)).sum(0)) * x.softmax(0)),
    "logsumexp": (lambda x: x.logsumexp(0), lambda g, x: g * torch.exp(x - x.logsumexp(0))),
    "unit": (lambda x: x / x.norm(), lambda g, x: (g - x * (g @ x) / (x @ x)) / x.norm()),
}


@pytest.mark.parametrize("has_twin", [False, True])
@pytest.mark.parametrize("name", ROWS)
def test_float32_inside(name, has_twin):
    function, formula = ROWS[name]
    judged = partial(crosscheck, lambda x: function(x.float()).to(x.dtype), twin=function if has_twin else None)
    by_hand = lambda factor: lambda g, out, x: ((factor * formula(g.float(), x.float())).to(x.dtype),)  # noqa: E731
    for seed in range(30 if name == "tanh" else 8):
        report = judged(by_hand(1), (normal(50, seed=seed),), seed=seed)
        assert report.ok, (seed, report)
        assert seed % 4 or judged(by_hand(1.0001), (normal(50, seed=seed),), seed=seed).formula.startswith("wrong")


def tf32(x, added=0):
    """The last 13 bits are cut off, as tensor cores may read it, or rounded."""
    return ((x.float().view(torch.int32) + added) & ~0x1FFF).view(torch.float32)


E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
INSIDE = {
    "TF32, cut": tf32, "TF32, nearest": partial(tf32, added=0x1000), "bfloat16": lambda x: x.bfloat16().float(),
    "float16": lambda x: x.half().float(), "e4m3": lambda x: x.to(E4M3).float(), "e5m2": lambda x: x.to(E5M2).float(),
    "e4m3, scaled": lambda x: (x * 448 / x.abs().max()).to(E4M3).float() * x.abs().max().float() / 448,
}  # fmt: skip


@pytest.mark.parametrize("name", INSIDE)
def test_less_than_float32_inside(name):
    def backward(factor, g, out, a, b):
        low_g, low_a, low_b = map(INSIDE[name], (g, a, b))
        return factor * (low_g @ low_b.T).to(a.dtype), (low_a.T @ low_g).to(b.dtype)

    layer = lambda g, out, a, b: backward(1, g * (out > 0), out, a, b)  # noqa: E731
    for seed in range(6):
        inputs = normal(30, 20, seed=seed), normal(20, 10, seed=seed + 100)
        for forward, by_hand in ((torch.matmul, partial(backward, 1)), (lambda a, b: F.relu(a @ b), layer)):
            report = crosscheck(forward, by_hand, inputs, names="ab", seed=seed)
            assert not report.formula.startswith("wrong"), (seed, report)
    assert crosscheck(torch.matmul, partial(backward, 3), inputs, names="ab").formula.startswith("wrong")


INDEX = torch.arange(300) * 7 % 5
SUMS = {
    "atomics": (lambda w: w[INDEX], (5, 4), lambda order, g: torch.zeros(5, 4).index_add_(0, INDEX[order], g[order])),
    "in parts": (lambda b: b.expand(300, 4) + 0, (4,), lambda order, g: sum(p.sum(0) for p in g[order].split(37))),
}


@pytest.mark.parametrize("dtypes", [None, [torch.float32], [torch.bfloat16]], ids=["all", "float32", "bfloat16"])
@pytest.mark.parametrize("name", SUMS)
def test_sums_in_any_order(name, dtypes):
    forward, shape, formula = SUMS[name]
    orders = np.random.default_rng(0)

    def judged(seed=0, lost=0, rows=300):
        shuffled = lambda: torch.from_numpy(orders.permutation(rows)[lost:])  # noqa: E731
        by_hand = lambda g, out, x: (formula(shuffled(), g.float()).to(x.dtype),)  # noqa: E731
        return crosscheck(forward, by_hand, (normal(*shape),), dtypes=dtypes, seed=seed)

    for seed in range(4):
        report = judged(seed)
        assert report.ok, report
        assert "by rounding" in report.determinism or dtypes == [torch.bfloat16], report
    for report in (judged(lost=40), *[judged(lost=1)] * (dtypes != [torch.bfloat16])):
        assert report.is_mismatch, report
        assert "by rounding" not in report.determinism
    assert judged(rows=260).is_mismatch


def share(of, g, out, x):
    shares = of((x == out[:, None]).to(x))
    return (g[:, None] * shares / shares.sum(1, keepdim=True),)


def share_of_all(weights, g, out, x):
    shares = (x == out) * weights.to(x)
    return (g * shares / shares.sum(),)


U, TWICE, TWO, STATS = normal(20), tensor([0, 2, 2, 4]), (normal(6), normal(4, seed=1)), (torch.zeros(3), torch.ones(3))
ctc = lambda p: F.ctc_loss(p, tensor([[1, 2], [3, 1]]), tensor([6, 6]), tensor([2, 2]), reduction="sum")  # noqa: E731
put = lambda g, out, x, v: (g.index_fill(0, TWICE, 0), g[TWICE] * (v == out[TWICE]))  # noqa: E731
OFF = {  # torch's own float64
    "hardsigmoid": (F.hardsigmoid, lambda g, out, x: (g * (x.abs() < 3) / 6,), 3 * U),
    "celu": (lambda x: F.celu(x, 0.3), lambda g, out, x: (torch.where(x > 0, g, g * torch.exp(x / 0.3)),), U),
    "digamma": (torch.digamma, lambda g, out, x: (g * special.zeta(torch.full_like(x, 2), x),), U.abs() + 0.5),
    "ctc_loss": (ctc, lambda g, out, p: (of(ctc)(g, out, p)[0] - g * p.exp(),), normal(6, 2, 4).log_softmax(2)),
    "index_put": (lambda x, v: x.index_put((TWICE,), v), put, *TWO),
    "scatter": (lambda x, v: x.scatter(0, TWICE, v), put, *TWO),
    "index_copy": (lambda x, v: x.index_copy(0, TWICE, v), put, *TWO),
    "as_strided_scatter": (lambda x, v: torch.as_strided_scatter(x, v, (3,), (2,)),
                           lambda g, out, x, v: (g * tensor([0, 1] * 3), g[::2]), *TWO[:1], U[:3]),
    "gaussian_nll_loss": (lambda v: F.gaussian_nll_loss(U.to(v), 0 * v, v, reduction="none"), lambda g, out, v: (
        torch.where(v > 1e-6, g / 2 / v * (1 - U.to(v) ** 2 / v), 0),), torch.where(U > 0.5, 1e-8, U.abs() + 0.1)),
}  # fmt: skip
NEARLY = {  # or by design; or it lacks a dtype, or changes its inputs
    "sinc": (torch.sinc, lambda g, out, x: (-g * math.pi**2 * x / 3 * (1 - math.pi**2 * x**2 / 10),), 1e-4 * U),
    "erfcx": (special.erfcx, lambda g, out, x: (g * (2 * x * out - 2 / math.sqrt(math.pi)),), U.abs() * 9 + 2),
    "embedding": (lambda w: F.embedding(tensor([0, 1, 1]), w, padding_idx=1),
                  lambda g, out, w: (torch.cat((g[:1], 0 * w[1:])),), normal(4, 3)),
    "i1": (special.i1, lambda g, out, x: (g * (special.i0(x) - out / x),), U),
    "i1e": (special.i1e, lambda g, out, x: (g * (special.i0e(x) - out * x.sign() - out / x),), U),
    "instance_norm": (F.instance_norm, of(lambda x, *_: F.instance_norm(x), constants=2), normal(2, 3, 5), *STATS),
    "batch_norm": (lambda x, w, b, *stats: F.batch_norm(x, *stats, w, b, training=True),
                   of(lambda x, w, b, *_: F.batch_norm(x, None, None, w, b, training=True), constants=2),
                   normal(8, 3), U[:3], U[3:6], *STATS),
    "a counter": (lambda x, n: (n.add_(1), x**2)[1], lambda g, out, x, n: (2 * g * x, None), U, torch.zeros(1)),
}  # fmt: skip
X = normal(6, 3) * tensor([[1.0], [0], [1], [0], [1], [1]])
KINKS = {
    "a layer": (lambda x, w, b: F.relu(x @ w + b), of(lambda x, w, b: torch.where(x @ w + b >= 0, x @ w + b, 0)),
                X, normal(3, 5), torch.zeros(5)),
    "norm": (lambda x: torch.linalg.vector_norm(x, dim=1), lambda g, out, x: (
        g[:, None] * torch.where(out[:, None] > 0, x / out[:, None], tensor([1.0, 0, 0]).to(x)),), X),
    "abs": (torch.abs, lambda g, out, x: (g * torch.where(x == 0, 1, x.sign()),), X),
    "hardtanh": (F.hardtanh, lambda g, out, x: (g * (x.abs() <= 1),), torch.where(X > 0.5, 1.0, X)),
    "maximum": (torch.maximum, lambda g, out, x, y: (g * (x >= y), g * (x < y)), X, 2 * X),
    "sort": (lambda x: x.sort(1).values, lambda g, out, x: (
        torch.zeros_like(x).scatter(1, 2 - x.flip(1).argsort(dim=1, stable=True), g),), X),
    "median": (lambda x: x.median(1).values, partial(share, lambda tied: tied), X),
    # Of the middle one both one-sided derivatives are the same. Which subgradient autograd takes is another matter.
    "topk": (lambda x: x.topk(3, 1).values, lambda g, out, x: (
        torch.zeros_like(x).scatter(1, (-x).argsort(dim=1, stable=True)[:, :3], g),), torch.cat((X, 0 * X - 3), 1)),
    **{f"median of equal ones, {taken}": (torch.median, partial(share_of_all, weights), 0 * U[:13] + 0.7)
       for taken, weights in {"evenly": torch.ones(13), "some": rand(13), "others": rand(13, seed=1)}.items()},
}  # fmt: skip
TIED = {"max": lambda x: x.max(1).values, "amax": lambda x: x.amax(1), "pool": lambda x: F.max_pool1d(x, 70)[:, 0]}
SHARES = {
    "evenly": lambda tied: tied, "the last": lambda tied: tied * (tied.cumsum(1) == tied.sum(1, keepdim=True)),
    "the first": lambda tied: tied * (tied.cumsum(1) == 1), "some": lambda tied: tied * (normal(3, 70) ** 2).to(tied),
}  # fmt: skip
KINKS |= {
    f"{name} of {n}, {taken}": (TIED[name], partial(share, SHARES[taken]), torch.cat((x.roll(5, 1), normal(1, 70))))
    for n, x in ((n, torch.where(torch.arange(70) < n, 2.0, normal(2, 70).tanh())) for n in (2, 16, 64))
    for name in TIED for taken in SHARES
}  # fmt: skip


@pytest.mark.parametrize("name", OFF | NEARLY | KINKS)
def test_right_gradients_agree(name):
    forward, backward, *inputs = (OFF | NEARLY | KINKS)[name]
    mistaken = lambda *args: (1.01 * backward(*args)[0], *backward(*args)[1:])  # noqa: E731
    for seed in range(3):
        if seed and name in ("instance_norm", "batch_norm"):
            inputs = [*(x.clone().requires_grad_() for x in inputs[:-2]), *STATS]
        report = crosscheck(forward, backward, inputs, names="abcde"[: len(inputs)], seed=seed)
        assert report.ok, (seed, report)
        said = " ".join((*(row.verdict for row in report.rows), *report.notes))
        assert name not in OFF or re.search(r"autograd.* off\b", said), report
        assert name not in ("i1", "i1e") or "float16: not judged" in said
    assert not crosscheck(forward, mistaken, inputs, names="abcde"[: len(inputs)]).ok


@pytest.mark.parametrize("twin", [None, lambda x, w: (x * w).square().sum()], ids=["", "twin"])
def test_a_loss_and_a_gradient_in_float32_whatever_comes_in(twin):
    def judged(factor):
        def backward(g, out, x, w):
            assert g.dtype == out.dtype == torch.float32
            x32, w32 = x.float(), w.float()
            return (2 * g * x32 * w32**2).to(x.dtype), factor * (2 * g * x32**2 * w32).sum(0)

        loss = lambda x, w: (x.float() * w.float()).square().sum()  # noqa: E731
        return crosscheck(loss, backward, (normal(5, 3), normal(3)), twin=twin)

    report = judged(1)
    assert report.ok, report
    for name in ("w", "out") if twin else ("w",):
        assert any(note.startswith(name) and "float32" in note for note in report.notes), report
    assert judged(2).formula == "wrong in w"


class Attend(Function):
    saved = "both"

    @staticmethod
    def forward(ctx, s, v):
        lse = torch.logsumexp(s, 1)
        ctx.save_for_backward(torch.exp(s - lse[:, None]), v)
        out, *more = (torch.exp(s - lse[:, None]) @ v, *SAVED[Attend.saved](lse))
        ctx.mark_non_differentiable(*[x for x in more if x is not None])
        return (out, *more) if more else out

    @staticmethod
    def backward(ctx, g, *_):
        a, v = ctx.saved_tensors
        return a * (g @ v.T - (g @ v.T * a).sum(1, keepdim=True)), a.T @ g


SAVED = {"one": lambda x: (), "both": lambda x: (x,), "None": lambda x: (None,), "wide": lambda x: (x[:, None],)}


@pytest.mark.parametrize("twins", SAVED)
@pytest.mark.parametrize("saved", SAVED)
def test_outs_that_are_not_differentiable_or_others(saved, twins, monkeypatch):
    def twin(s, v):
        more = SAVED[twins](torch.logsumexp(s, 1))
        return (torch.softmax(s, 1) @ v, *more) if more else torch.softmax(s, 1) @ v

    monkeypatch.setattr(Attend, "saved", saved)
    report = crosscheck(twin, Attend, (normal(5, 4), normal(4, 3)))
    assert {row.name for row in report.rows} > {"s", "v"}
    assert report.ok or saved != twins, report
    if saved != twins and {saved, twins} != {"None", "one"}:
        assert {"out", "out[0]", "out[1]"} & {row.name for row in report.mismatches}, report


SATURATED = {
    "labels": (lambda x: F.binary_cross_entropy_with_logits(x, torch.ones_like(x), reduction="none"),
               lambda g, out, x: g * (torch.sigmoid(x) - 1)),
    "logsigmoid": (F.logsigmoid, lambda g, out, x: g * (1 - torch.sigmoid(x))),
    "tanh": (lambda x: torch.tanh(x / 2), lambda g, out, x: g * (1 - out**2) / 2),
    "softmax": (lambda x: F.log_softmax(torch.stack((x, 0 * x)), 0)[0], lambda g, out, x: g * (1 - torch.exp(out))),
}  # fmt: skip


@pytest.mark.parametrize("size", [12.0, 33.6, 35.5, 300.0])
@pytest.mark.parametrize("name", SATURATED)
def test_digits_lost_in_saturation_are_no_formula(name, size):
    for x in (tensor([size]), size + normal(6)):
        report = crosscheck(SATURATED[name][0], lambda *args: (SATURATED[name][1](*args),), (x,))
        assert size == 300 or not report.formula.startswith("wrong"), report
        assert not re.search(r"\d{30}", str(report)), report


def fixed_point(m, x, enough):
    """z = m z + x, by iterating until it moves by no more than this share of itself."""
    z, last = x, 0 * x
    while float((z - last).abs().max()) > max(enough, torch.finfo(x.dtype).eps) * float(z.abs().max()):
        z, last = m @ z + x, z
    return z


@pytest.mark.parametrize("seed", range(4))
def test_to_how_many_digits_an_iteration_agrees(seed):
    def judged(enough, factor=1, **options):
        back = lambda g, m: fixed_point(m.T, g, enough)  # noqa: E731
        by_hand = lambda g, out, m, x: (factor * back(g, m)[:, None] * out, back(g, m))  # noqa: E731
        inputs = torch.linalg.qr(normal(6, 6, seed=seed)).Q / 2, normal(6, seed=seed)
        forward = lambda m, x: torch.linalg.solve(torch.eye(6).to(m) - m, x)  # noqa: E731
        return crosscheck(forward, by_hand, inputs, dtypes=[torch.float64, torch.float32], **options)

    report = judged(1e-10)
    assert not report.ok
    said = re.findall(r"(\d+) digits", " ".join(row.verdict + row.diagnosis for row in report.rows))
    assert set(said) & {"9", "10", "11"}, report
    assert judged(2e-11, digits=10).ok
    assert judged(1e-5, digits=4).ok
    assert not judged(1e-7, digits=10).ok
    assert judged(2e-11, 1.001, digits=10).formula == "wrong in m"


def with_a_bias_before_batch_norm(dtype):
    x, b = (x.to(dtype).requires_grad_() for x in (normal(20, 3), normal(3)))
    J = (F.batch_norm(x + b, None, None, training=True) ** 3).sum()
    return dict(zip("xb", grad(J, (x, b)), strict=True))


def test_a_bias_before_batch_norm_which_may_be_zero_is_not_compared():
    expected, oracle = map(with_a_bias_before_batch_norm, (torch.float32, torch.float64))
    for b in (0 * expected["b"], expected["x"].sum(0), -expected["b"], expected["x"].flip(0).sum(0)):
        report = compare({**expected, "b": b}, expected)
        assert [row.verdict.startswith("not judged") for row in report.rows] == [False, True], report
        assert not report.is_mismatch
        assert not compare({**expected, "b": b}, expected, oracle=oracle).is_mismatch
    assert compare({**expected, "b": 2e-3 * U[:3]}, {**expected, "b": 1e-3 * U[:3]}).is_mismatch
    assert compare({**expected, "b": expected["b"] + 1e-3}, expected).is_mismatch


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_an_oracle_tells_what_may_be_zero_only_where_it_is_finer(dtype):
    expected, exact = map(with_a_bias_before_batch_norm, (dtype, torch.float64))
    expected["b"] = exact["b"].to(dtype) + torch.finfo(dtype).eps * expected["x"].sum(0)  # what rounding left
    mine = {**expected, "b": expected["b"].flip(0)}
    may = "not judged: it may be zero by cancellation"
    hint = ": hand in oracle=, the same in float64" if dtype != torch.float64 else ""
    assert compare(mine, expected).rows[1].verdict == may + hint
    assert compare(mine, expected, oracle=expected).rows[1].verdict == may + hint
    at_float64 = exact if hint else {name: x.clone() for name, x in expected.items()}
    report = compare(mine, expected, oracle=at_float64)
    assert report.rows[1].verdict == (ZERO if hint else may)
    assert report.ok
    assert compare({**mine, "b": mine["b"] + 0.1}, expected, oracle=at_float64).formula == "wrong in b"


def test_what_rounding_left_of_an_exact_zero_is_not_wrong():
    x = {"x": normal(3, 4), "b": torch.zeros(3)}
    report = compare({**x, "b": 1e-7 * U[:3]}, x)
    assert report.rows[1].verdict.startswith("not judged: it may be zero by cancellation")
    assert compare({**x, "b": 1e-3 * U[:3]}, x).formula == "wrong in b"


@pytest.mark.skipif(torch.cuda.is_available(), reason="it is of Triton's interpreter")
def test_bfloat16_in_tritons_interpreter_is_left_out():
    global tl  # where the interpreter looks for it
    triton = pytest.importorskip("triton")
    tl = triton.language

    @triton.jit
    def kernel(x_ptr, y_ptr, out_ptr, n: tl.constexpr):
        i = tl.arange(0, n)
        tl.store(out_ptr + i, tl.load(x_ptr + i) * tl.load(y_ptr + i))

    def times(x, y):
        x, y = x.contiguous(), y.contiguous()
        kernel[(1,)](x, y, out := torch.empty_like(x), n=16)
        return out

    inputs = normal(16), normal(16, seed=1)
    report = crosscheck(times, lambda g, out, x, y: (times(g, y), times(g, x)), inputs, twin=torch.mul)
    assert report.ok, report
    assert torch.bfloat16 not in {row.dtype for row in report.rows}
    assert any("bfloat16" in note and "Triton" in note for note in report.notes), report


cholesky, eigh, inverse = torch.linalg.cholesky, torch.linalg.eigvalsh, lambda x: torch.linalg.inv(x.tril())
SPD, STEPS = normal(4, 4) @ normal(4, 4).T + 4 * torch.eye(4), tensor([[1.0, 2.5, -0.5], [2.0, 0.3, -1.0]])
TAYLOR = {
    "cholesky": (cholesky, of(cholesky), SPD), "eigh": (eigh, of(eigh), SPD), "inv": (inverse, of(inverse), SPD),
}  # fmt: skip
ROUGH = {
    "log_prob": (Beta(2.0, 3.0).log_prob, of(Beta(2.0, 3.0).log_prob), tensor([0.999, 0.5])),
    "acos": (torch.acos, of(torch.acos), tensor([0.9999, 0.3])),
    "floor": (lambda x: x + x.floor(), lambda g, out, x: (g,), STEPS),
    "round": (lambda x: x.sin() * (x * 2).round(), lambda g, out, x: (g * x.cos() * (x * 2).round(),), STEPS),
    "nan": (torch.sqrt, lambda g, out, x: (g / 2 / out,), STEPS),
}  # fmt: skip


@pytest.mark.parametrize("name", TAYLOR | ROUGH)
def test_taylor(name):
    forward, backward, x = (TAYLOR | ROUGH)[name]
    report = crosscheck(forward, backward, (x,), names="x", method="taylor")
    assert not report.is_mismatch, report
    assert report.ok or name in ROUGH, report
    assert not crosscheck(forward, lambda *args: (2 * backward(*args)[0],), (x,), names="x", method="taylor").ok


@pytest.mark.parametrize("twin", [None, F.linear], ids=["", "twin"])
def test_none_for_data_where_nothing_requires_grad(twin):
    by_hand = lambda g, out, data, w, b: (None, g.T @ data, g.sum(0))  # noqa: E731
    inputs, options = (normal(5, 3), normal(4, 3), normal(4)), {"names": ("data", "w", "b"), "twin": twin}
    report = crosscheck(F.linear, by_hand, inputs, **options)
    assert report.ok, report
    assert re.search("not .*data", report.coverage)
    report = crosscheck(F.linear, by_hand, [x.clone().requires_grad_() for x in inputs], **options)
    assert report.formula == "wrong in data", report
    assert not crosscheck(F.linear, lambda *args: (None, None, None), inputs, **options).ok


def test_a_case_of_its_own_is_autograds_word_alone():
    """At z = 1 exactly `where` hands autograd nothing back; all around there is a gradient."""

    def forward(z, y):
        p = 1 - z
        return torch.where(p == 0, 0.0, p * y)

    z = torch.tensor([0.25, 1.0, 0.5, 1.0]).double()
    report = crosscheck(forward, lambda g, out, z, y: (-g * y, g * (1 - z)), (z, normal(4)), dtypes=[torch.bfloat16])
    assert report.ok, report
    assert report.rows[0].verdict.startswith("agrees with the gradient all around")
    assert not crosscheck(
        forward, lambda g, out, z, y: (g * y, g * (1 - z)), (z, normal(4)), dtypes=[torch.bfloat16]
    ).ok


def test_digits_are_those_of_what_cancels_where_the_gradient_is_zero():
    y, w = tensor([0.3, -1.2], dtype=torch.float64), tensor([0.7, 1.9], dtype=torch.float64)

    def backward(grad_out, out, y, w):
        return grad_out, grad_out * tensor([3e-10, -2e-10]).to(grad_out.dtype)

    assert crosscheck(lambda y, w: y + 0 * w, backward, (y, w), digits=6, dtypes=torch.float64).ok
    assert not crosscheck(lambda y, w: y + 0 * w, backward, (y, w), digits=12, dtypes=torch.float64).ok


def test_digits_are_those_of_the_whole_tensor():
    """Where only float64 runs, blocks of small numbers are held to more, but not of an iteration."""
    w = tensor([[0.1, 0.4], [-0.3, 0.2]], dtype=torch.float64)
    steps, off = [torch.matrix_exp(w * t) for t in (0, 0.4, 1.1)], (0, 1e-7, 3e-8)

    def forward(y):
        return torch.stack([y @ m.T for m in steps])

    def backward(grad_out, out, y):
        return (sum(g @ m * (1 + by) for g, m, by in zip(grad_out, steps, off, strict=True)),)

    y = torch.randn(3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert crosscheck(forward, backward, (y,), digits=5).ok
    assert not crosscheck(forward, backward, (y,), digits=9).ok


def test_what_is_compiled_is_compiled_in_every_way_of_calling():
    """It is another graph in each, and with as few of them as by default it would refuse some, or run uncompiled."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    def forward(x, b):
        return torch.sin(x + b)

    torch.compiler.reset()
    op = torch.compile(forward, fullgraph=True, backend=backend, dynamic=False)
    report = crosscheck(op, inputs=(torch.randn(5, 3), torch.randn(3)), twin=forward)
    torch.compiler.reset()
    assert report.ok
    assert len(graphs) > torch._dynamo.config.recompile_limit
