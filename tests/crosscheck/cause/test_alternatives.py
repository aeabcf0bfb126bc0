"""The alternatives on each gradient: what is known beside it, and what it would be under a mistake, in numbers."""

import math
from functools import partial
from itertools import chain, count

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.candidate import Candidate
from crosscheck.cause import alternatives as module
from crosscheck.cause.alternatives import (
    _all_but,
    _column,
    _Gatherer,
    _having,
    _Kept,
    _Made,
    _of_one,
    _only,
    _taken_wrongly,
    gather,
)
from crosscheck.cause.diagnosis import Alternatives


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, W, B, G = normal(4, 3), normal(2, 3, seed=1), normal(2, seed=2), normal(4, 2, seed=9)
XS = {"x": X, "w": W, "b": B}


def layer(x, w, b):
    return torch.tanh(x @ w.mT + b)


def given(forward, *grads_out, judged=None, values=False, **xs) -> tuple:
    """What `gather` is given: the floating-point inputs are judged, unless it is said which."""
    floating = [i for i, x in enumerate(xs.values()) if isinstance(x, Tensor) and x.is_floating_point()]
    candidate = Candidate(
        forward, None, forward, names=tuple(xs), judged=judged or floating, values=values, seed=3,
        outs=len(grads_out),
    )  # fmt: skip
    return candidate, *grads_out, *xs.values()


def gathering(forward, *grads_out, **xs) -> _Gatherer:
    candidate, *args = given(forward, *grads_out, **xs)
    return _Gatherer(candidate, args)


def mistaken(gatherer: _Gatherer) -> dict:
    """By a mistaken grad_out, and by mistaken inputs."""
    return dict(chain(gatherer._grads_out_mistaken(), gatherer._inputs_mistaken()))


def plain(*args, **xs) -> dict[str, Alternatives]:
    candidate, *args = given(*args, **xs)
    return gathered(candidate, False, *args)


def deep(*args, **xs) -> dict[str, Alternatives]:
    candidate, *args = given(*args, **xs)
    return gathered(candidate, True, *args)


def gathered(candidate: Candidate, *args) -> dict[str, Alternatives]:
    """What there is on each gradient that is judged: nothing at all would be of a search that failed."""
    found = gather(candidate, *args)
    assert {candidate.names[i] for i in candidate.judged} <= found.keys()
    return found


def autograd(forward, g, *xs) -> tuple[Tensor, ...]:
    """The gradients of the floating-point inputs."""
    xs = [x.clone().requires_grad_() if x.is_floating_point() else x for x in xs]
    judged = [x for x in xs if x.requires_grad]
    return torch.autograd.grad(forward(*xs), judged, g, materialize_grads=True)


def equal(ours: Tensor, theirs: Tensor) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def same(ours, theirs) -> None:
    """The same tensors by name, in the same order."""
    assert list(ours) == list(theirs)
    for name, tensor in theirs.items():
        equal(ours[name], tensor)


# What is known without a further run


def test_sizes_that_a_factor_can_come_from():
    """Two of something there is always: it counts where the forward computes with it, as a root does."""

    def forward(x, w, index, p, n, flag, nothing):
        return (x @ w.mT)[index] * p

    xs = {"x": X, "w": W, "index": torch.tensor([3, 1, 0, 1, 2]), "p": 0.25, "n": 3, "flag": "on", "nothing": None}
    for of in plain(forward, normal(5, 2), **xs).values():
        assert of.sizes == {
            "out.shape[0]": 5, "x.shape[0]": 4, "x.shape[1]": 3, "w.shape[1]": 3,
            "index.shape[0]": 5, "out.numel()": 10, "x.numel()": 12, "w.numel()": 6, "index.numel()": 5,
            "p": 0.25, "n": 3, "(1 − p)": 0.75, "(1 − n)": -2,
        }  # fmt: skip


def test_sizes_that_a_forward_computes_with():
    def forward(x, w, scale):
        return (x @ w.mT / math.sqrt(3)).mean(1) * scale

    (of, *_) = plain(forward, normal(4), x=X, w=W, scale=torch.tensor(0.75).double()).values()
    roots = {name: size for name, size in of.sizes.items() if name.startswith("√")}
    assert roots == {"√x.shape[1]": math.sqrt(3), "√w.shape[1]": math.sqrt(3)}
    assert of.sizes["w.shape[0]"] == 2  # of which it takes the mean
    assert of.sizes["scale"] == 0.75


def test_sizes_of_the_first_of_several_results():
    (of,) = plain(lambda x: (x @ W.mT, x.sin()), G, normal(4, 3), x=X).values()
    assert list(of.sizes) == [
        "out[0].shape[0]", "x.shape[0]", "x.shape[1]", "out[0].numel()", "x.numel()",
    ]  # fmt: skip
    assert list(of.sizes.values()) == [4, 4, 3, 8, 12]
    same(of.terms, {"x": X})


def test_gradients_of_the_others():
    x, w, b = autograd(layer, G, X, W, B)
    found = plain(layer, G, **XS)
    same(found["x"].others, {"w": w, "b": b})
    same(found["w"].others, {"x": x, "b": b})
    same(found["b"].others, {"x": x, "w": w})
    found = plain(layer, G, **XS, judged=(0, 2), values=True)
    assert list(found) == ["out", "x", "b"]
    same(found["x"].others, {"b": b})
    same(found["out"].others, {"x": x, "b": b})


def test_nothing_further_is_run():
    runs = count()

    def counted(x, w, b):
        next(runs)
        return layer(x, w, b)

    found = plain(counted, G, **XS)
    assert next(runs) == 2  # by autograd, and for the result
    for of in found.values():
        assert not [*of.mistaken, *of.slips, *of.substituted, *of.families, *of.shares]
        assert (of.unsummed, of.untried) == (None, "")


def test_what_is_given_is_taken_in_float64():
    x, w, b = (t.float() for t in (X, W, B))
    of = deep(layer, G.float(), x=x, w=w, b=b)["x"]
    g, x, w, b = (t.double() for t in (G.float(), x, w, b))
    equal(of.others["b"], autograd(layer, g, x, w, b)[2])
    equal(of.terms["out"], layer(x, w, b))
    equal(of.terms["grad_out"], g)
    equal(dict(of.inputs)["as if x were of the other sign"], autograd(layer, g, -x, w, b)[0])


def test_terms_that_a_gradient_is_made_of():
    y, v, g = normal(4, 3, seed=1), normal(3, seed=2), normal(4, 3, seed=3)
    found = plain(lambda x, y, v, n: x * y + v, g, x=X, y=y, v=v, n=torch.tensor([1, 2, 3]))
    out = X * y + v
    terms = {
        "x": X, "y": y, "v": v, "(x − y)": X - y, "out": out, "grad_out": g, "grad_out·x": g * X, "grad_out·y": g * y,
        "grad_out·(x − y)": g * (X - y), "grad_out·out": g * out,
    }  # fmt: skip
    for of in found.values():
        same(of.terms, terms)
        assert not any(term.requires_grad for term in of.terms.values())


# A mistaken input, or what comes from above

ABOVE = ["grad_out is ignored, as if it were ones"]
SIGN, LAST, LAST_TWO = (
    "of the other sign", "reversed along its last dimension", "reversed along its last two dimensions",
)  # fmt: skip
SAMPLES = [
    "only the last sample counts", "the last sample is left out", "only the first sample counts",
    "the first sample is left out",
]  # fmt: skip
ROWS = [text.replace("sample", "row of all samples") for text in SAMPLES]


def test_mistaken_inputs():
    expected = {
        ABOVE[0]: autograd(layer, torch.ones(4, 2).double(), X, W, B),
    }
    for cause, places in zip(SAMPLES, ([3], [0, 1, 2], [0], [1, 2, 3]), strict=True):
        g = torch.zeros_like(G)
        g[places] = G[places]
        expected[cause] = autograd(layer, g, X, W, B)
    for cause, places in zip(ROWS, ([7], range(7), [0], range(1, 8)), strict=True):
        g = torch.zeros_like(G)
        g.view(8)[[*places]] = G.view(8)[[*places]]
        expected[cause] = autograd(layer, g, X, W, B)
    expected |= {
        f"as if x were {SIGN}": autograd(layer, G, -X, W, B),
        f"as if x were {LAST}": autograd(layer, G, X[:, [2, 1, 0]], W, B),
        f"as if x were {LAST_TWO}": autograd(layer, G, X[[3, 2, 1, 0]][:, [2, 1, 0]], W, B),
        f"as if w were {SIGN}": autograd(layer, G, X, -W, B),
        f"as if w were {LAST}": autograd(layer, G, X, W[:, [2, 1, 0]], B),
        f"as if w were {LAST_TWO}": autograd(layer, G, X, W[[1, 0]][:, [2, 1, 0]], B),
        f"as if b were {SIGN}": autograd(layer, G, X, W, -B),
    }
    found = mistaken(gathering(layer, G, **XS))
    assert list(found) == list(expected)
    for cause, theirs in expected.items():
        same(found[cause], dict(zip("xwb", theirs, strict=True)))


@pytest.mark.parametrize(
    ("shape", "causes"),
    [
        ((), []),
        ((1,), []),
        ((2,), SAMPLES),
        ((5,), SAMPLES),
        ((1, 3), ROWS),
        ((1, 1), []),
        ((2, 1), [*SAMPLES, *ROWS]),
        ((1, 2, 3), ROWS),
    ],
)
def test_samples_where_there_are_some(shape, causes):
    found = mistaken(gathering(lambda x, n: x.sin(), normal(*shape, seed=9), x=normal(*shape), n=2))
    assert [cause for cause in found if cause not in ABOVE and not cause.startswith("as if x")] == causes


def test_one_of_several_results_is_left_out():
    def forward(x, w):
        return x.sin() * w, x.argmax(-1), (x * w).sum(-1)

    g, none, h = normal(4, 3, seed=8), torch.zeros(4, dtype=torch.int64), normal(4, seed=9)
    w = normal(4, 3, seed=1)
    found = mistaken(gathering(forward, g, none, h, x=X, w=w))
    ones = X.cos() * w + w, X.sin() + X
    first, last = (g * w * X.cos(), g * X.sin()), (h.unsqueeze(-1) * w, h.unsqueeze(-1) * X)
    names = [f"as if {name} were {how}" for name in "xw" for how in (SIGN, LAST, LAST_TWO)]
    of_results = [f"grad_out[{i}] is {how}" for i in (0, 2) for how in ("left out", "counted twice")]
    assert list(found) == [*ABOVE, *of_results, *SAMPLES, *names]
    both = first[0] + last[0], first[1] + last[1]
    twice = [[one + other for one, other in zip(both, more, strict=True)] for more in (first, last)]
    for cause, theirs in zip((*ABOVE, *of_results), (ones, last, twice[0], first, twice[1]), strict=True):
        same(found[cause], dict(zip("xw", theirs, strict=True)))
    place = torch.tensor([[0.0], [0], [0], [1]])
    same(found["only the last sample counts"], {"x": both[0] * place, "w": both[1] * place})


def test_one_of_two_results_is_left_out():
    found = mistaken(gathering(lambda x: (x.sin(), x * x), X, 2 * X, x=X))
    equal(found["grad_out[0] is left out"]["x"], 4 * X * X)
    equal(found["grad_out[1] is left out"]["x"], X * X.cos())
    equal(found["grad_out[1] is counted twice"]["x"], X * X.cos() + 8 * X * X)
    equal(found["grad_out[0] and grad_out[1] are taken for each other"]["x"], 2 * X * X.cos() + 2 * X * X)


def test_a_mask_is_taken_wrongly():
    mask = X > 0.3
    found = mistaken(gathering(lambda x, mask: x.sin() * mask, normal(4, 3, seed=9), x=X, mask=mask))
    g = normal(4, 3, seed=9)
    equal(found["as if mask were inverted"]["x"], g * X.cos() * ~mask)
    equal(found["as if mask were True everywhere"]["x"], g * X.cos())


def test_an_input_that_cannot_be_is_passed_over():
    a = normal(3, 3)
    a = a @ a.mT + torch.eye(3)
    found = mistaken(gathering(torch.linalg.cholesky, normal(3, 3, seed=9), x=a))
    assert [cause for cause in found if "as if x were" in cause] == [
        f"as if x were {LAST_TWO}",
        "as if x were transposed",
    ]


A = normal(2, 3, 3)
TAKEN = {
    "mask": (X > 0, {"inverted": X <= 0, "True everywhere": X == X}),
    "whole numbers": (torch.tensor([[1, 2, 3]]), {}),
    "a number": (2.5, {}),
    "one number": (normal(), {SIGN: -normal()}),
    "vector": (B, {SIGN: -B}),
    "matrix": (W, {SIGN: -W, LAST: W[:, [2, 1, 0]], LAST_TWO: W[[1, 0]][:, [2, 1, 0]]}),
    "square matrices": (A, {
        SIGN: -A, LAST: A[..., [2, 1, 0]], LAST_TWO: A[..., [2, 1, 0], :][..., [2, 1, 0]],
        "transposed": torch.einsum("ijk->ikj", A),
    }),
    "matrices": (normal(3, 2, 3), {
        SIGN: -normal(3, 2, 3), LAST: normal(3, 2, 3)[..., [2, 1, 0]],
        LAST_TWO: normal(3, 2, 3)[:, [1, 0]][..., [2, 1, 0]],
    }),
}  # fmt: skip


@pytest.mark.parametrize("x", TAKEN)
def test_an_input_as_it_is_taken_by_mistake(x):
    x, expected = TAKEN[x]
    same(dict(_taken_wrongly(x)), expected)


# Samples


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize("g", [G, normal(3, 2, 4), normal(2, 4, 3).mT, normal(1, 3).expand(4, 3)])
def test_one_sample_alone(g, place):
    for dims in (1, 2):
        alone = _only(g, dims=dims, place=place)
        flat = g.reshape(-1, *g.shape[dims:])
        i = place % len(flat)
        equal(alone.reshape(flat.shape)[i], flat[i])
        assert int((alone != 0).sum()) == flat[i].numel()
        equal(_all_but(g, dims=dims, place=place), g - alone)


def test_one_of_several_inputs_is_another():
    assert _having((X, 2, W), 0, B) == [B, 2, W]
    assert _having((X, 2, W), 1, B) == [X, B, W]
    assert _having((X, 2, W), 2, B) == [X, 2, B]


# Left out


def test_another_input_is_left_out():
    def forward(x, w, n):
        return x.exp() * w**n

    g, w = normal(4, 3, seed=9), normal(4, 3, seed=1)
    found = gathering(forward, g, x=X, w=w, n=2)
    assert not [cause for cause, _ in found._left_out("x") if "n were" in cause]
    same(dict(found._left_out("x")), {
        "as if w were left out, a one": g * X.exp(),
        "as if w were left out, a zero": 0 * X,
    })  # fmt: skip
    same(dict(found._left_out("w")), {
        "as if x were left out, a one": g * torch.e * 2 * w,
        "as if x were left out, a zero": g * 2 * w,
    })  # fmt: skip


def test_what_cannot_be_left_out_is_passed_over():
    def forward(x, w):
        if not w.any():
            raise ZeroDivisionError
        return x / w

    g, w = normal(4, 3, seed=9), normal(4, 3, seed=1)
    same(dict(gathering(forward, g, x=X, w=w)._left_out("x")), {"as if w were left out, a one": g})


# Sums


def test_sums_of_what_a_gradient_is_made_of():
    y, v, g = normal(4, 3, seed=1), normal(3, seed=2), normal(4, 3, seed=3)
    found = gathering(lambda x, y, v, u: x * y + v, g, x=X, y=y, v=v, u=normal(5, seed=4))
    out = X * y + v
    sums = {
        "grad_out": g, "grad_out·x": g * X, "grad_out·y": g * y, "grad_out·v": g * v, "grad_out·(x − y)": g * (X - y),
        "grad_out·out": g * out, "grad_out·grad_out": g * g, "grad_out·grad_out·x": g * g * X,
        "grad_out·grad_out·y": g * g * y, "grad_out·grad_out·(x − y)": g * g * (X - y),
        "grad_out·grad_out·out": g * g * out,
    }  # fmt: skip
    same(dict(found._sums("v")), {f"as if it were the sum of {name}": t.sum(0) for name, t in sums.items()})
    assert not list(found._sums("x"))


def test_no_sums_of_several_results():
    assert not list(gathering(lambda x, v: (x * v, x + v), X, X, x=X, v=normal(3))._sums("v"))


# Before it is summed


def test_a_gradient_before_it_is_summed():
    found = gathering(layer, G, **XS)
    equal(found._unsummed(2), G * (1 - layer(X, W, B) ** 2))
    assert found._unsummed(0) is None
    g = normal(4, 3, seed=9)
    found = gathering(lambda x, y: x * y, g, x=X, y=normal(4, 1, seed=1))
    assert found._unsummed(0) is None
    equal(found._unsummed(1), g * X)


# The forward as a whole


def softmaxes(monkeypatch, forward, x, g) -> list[tuple]:
    """The operations that a forward is taken for: each with its dimension."""
    seen = []

    def recorded(edge):
        seen.append((edge.name, *edge.args[1:], edge.words, edge.place))
        equal(edge.out, forward(x))
        yield "{} in part", lambda g: 2 * edge.back(g)

    monkeypatch.setattr(module, "slips", recorded)
    monkeypatch.setattr(module, "of_itself", recorded)
    monkeypatch.setattr(module, "derivatives", lambda edge: iter([("{} at the end", lambda g: 3 * g)]))
    (back,) = autograd(forward, g, x)
    *found, last = gathering(forward, g, x=x)._at_forward(0)
    assert len(found) == len(seen)
    for cause, value in found:
        assert cause == "the forward in part"
        torch.testing.assert_close(value, 2 * back)
    assert last[0] == "the forward at the end"
    equal(last[1], 3 * g)
    return seen


WORDS = (("out", "x"), 0)


def test_a_forward_that_is_a_softmax(monkeypatch):
    taken = partial(softmaxes, monkeypatch)
    g = normal(4, 3, seed=9)
    for dim in (0, 1):
        for function in (torch.softmax, torch.log_softmax):
            found = taken(partial(function, dim=dim), X, g)
            assert [of[1:] for of in found] == [WORDS, (dim, *WORDS)]
            assert found[1][0] == function.__name__
    assert taken(lambda x: torch.logsumexp(x, 1), X, normal(4))[1:] == [("logsumexp", 1, *WORDS)]
    assert len(taken(torch.sin, X, g)) == 1
    assert len(taken(lambda x: x.softmax(1) * (1 + 2e-9), X, g)) == 1
    assert len(taken(lambda x: x.softmax(1) * (1 + 5e-10), X, g)) == 2
    assert len(taken(lambda x: x.softmax(1) + 1e-8 * (x.argmin(1, keepdim=True) == torch.arange(3)), 9 * X, g)) == 1


def test_a_softmax_in_float32_is_one():
    def forward(x):
        return x.softmax(1).float()

    g = normal(4, 3, seed=9).float().double()
    found = [text for text, _ in gathering(forward, g, x=X)._at_forward(0)]
    assert "in the forward, the sum over the other outputs is left out" in found


def test_slips_at_the_forward_in_their_words():
    found = dict(gathering(layer, G, **XS)._at_forward(2))
    assert not [cause for cause in found if "derivative of the forward were" in cause]
    g, y = normal(4, 3, seed=9), X.tanh()
    found = dict(gathering(torch.tanh, g, x=X)._at_forward(0))
    equal(found["the derivative of the forward is left out"], g)
    equal(found["the derivative of the forward is applied twice"], g * (1 - y * y) ** 2)
    equal(found["as if the derivative of the forward were 1 − out"], g * (1 - y))
    equal(found["as if the derivative of the forward were cos(x)"], g * X.cos())


def test_slips_at_the_forward_draw_the_same_random_numbers():
    x, g = normal(40, 3), normal(40, 3, seed=9)
    torch.manual_seed(3)
    kept = F.dropout(x) != 0
    found = dict(gathering(F.dropout, g, x=x)._at_forward(0))
    equal(found["the derivative of the forward is applied twice"], 4 * g * kept)
    equal(found["the forward is applied to the gradient, as if it were its own transposed"], 2 * g * kept)


def test_slips_at_the_forward_that_fail_are_passed_over(monkeypatch):
    def fails(g):
        raise IndexError

    def fails_late(edge):
        yield "{} fails", fails
        yield "{} is tripled", lambda g: 3 * g
        raise IndexError

    monkeypatch.setattr(module, "of_itself", fails_late)
    monkeypatch.setattr(module, "derivatives", lambda edge: iter([("{} at the end", lambda g: 4 * g)]))
    g = normal(4, 3, seed=9)
    found = gathering(torch.sin, g, x=X)._at_forward(0)
    same(dict(found), {"the forward is tripled": 3 * g, "the forward at the end": 4 * g})


def test_no_slips_at_several_results():
    assert not list(gathering(lambda x: (x.sin(), x.cos()), X, X, x=X)._at_forward(0))


# All together


def of_one(text: str, factor: float):
    """A search that finds one slip."""
    return lambda edge, *_: iter([(text, lambda g: factor * edge.back(g))])


def test_deep_alternatives_in_its_order(monkeypatch):
    monkeypatch.setattr(module, "of_itself", of_one("slip at {}", 2))
    monkeypatch.setattr(module, "derivatives", of_one("derivative at {}", 3))
    monkeypatch.setattr("crosscheck.cause.paths.slips", of_one("slip at {}", 4))
    monkeypatch.setattr("crosscheck.cause.paths.derivatives", of_one("derivative at {}", 5))
    monkeypatch.setattr("crosscheck.cause.paths.others_operation", lambda edge: iter(()))
    monkeypatch.setattr("crosscheck.cause.paths.substitutes", of_one("another value in {}", 6))

    def forward(x, v):
        for _ in range(2):
            x = x * 0.5
        return x + v

    g, v = normal(4, 3, seed=9), normal(3, seed=1)
    first, file = forward.__code__.co_firstlineno, "test_alternatives.py"
    mul, add = f"mul (line {first + 2} of {file}: x * 0.5)", f"add (line {first + 3} of {file}: x + v)"
    by_1, by_2, every = f"{add} by its argument 1", f"{add} by its argument 2", f"every {mul}"
    of_x, of_v = deep(forward, g, x=X, v=v).values()
    x, b = g / 4, g.sum(0)
    assert of_x.unsummed is None
    equal(of_v.unsummed, g)
    times = [f"{mul}, call {i} of 2," for i in (1, 2)]
    same(of_x.shares, {by_2: 0 * x, by_1: x} | dict.fromkeys((*times, every), x))
    same(of_v.shares, {by_2: b} | dict.fromkeys((by_1, *times, every), 0 * v))
    alone = [f"only the gradient through {name} counts" for name in times]
    left_out = f"the derivatives of {by_1} and of {every} are left out"
    same(dict(of_x.slips), {
        "slip at the forward": 2 * x, "derivative at the forward": 3 * x, **dict.fromkeys(alone, x),
        f"slip at {by_2}": x, f"slip at {by_1}": 4 * x, f"slip at {every}": 16 * x,
    })  # fmt: skip
    same(dict(of_x.bent), {
        f"derivative at {by_2}": x, f"derivative at {by_1}": 5 * x, f"derivative at {every}": 25 * x,
        f"slip at {add}": 4 * x,
    })  # fmt: skip
    same(dict(of_v.slips), {
        "slip at the forward": 2 * b, "derivative at the forward": 3 * b, **dict.fromkeys(alone, b),
        f"slip at {by_2}": 4 * b, f"slip at {by_1}": b, f"slip at {every}": b,
    })  # fmt: skip
    same(dict(of_v.bent), {
        f"derivative at {by_2}": 5 * b, f"derivative at {by_1}": b, f"derivative at {every}": b,
        f"slip at {add}": 4 * b,
    })  # fmt: skip
    same(dict(of_x.replaced), {left_out: g})
    same(dict(of_v.replaced), {left_out: b})
    same(dict(of_x.substituted), {
        f"another value in {by_2}": x, f"another value in {by_1}": 6 * x, f"another value in {every}": 36 * x,
        f"another value in {add}": 6 * x,
    })  # fmt: skip
    same(dict(of_v.substituted), {
        f"another value in {by_2}": 6 * b, f"another value in {by_1}": b, f"another value in {every}": b,
        f"another value in {add}": 6 * b,
    })  # fmt: skip
    same(dict(of_x.left_out), {"as if v were left out, a one": x, "as if v were left out, a zero": x})
    same(dict(of_v.left_out), {"as if x were left out, a one": b, "as if x were left out, a zero": b})
    of_x, of_v = ({**of.__dict__, "mistaken": dict(of.mistaken)} for of in (of_x, of_v))
    sums = [cause for cause in of_v["mistaken"] if cause.startswith("as if it were the sum of grad_out")]
    assert len(sums) == 7
    assert list(of_v["mistaken"]) == [*of_x["mistaken"], *sums]
    equal(of_x["mistaken"]["grad_out is ignored, as if it were ones"], torch.full_like(x, 0.25))
    equal(of_v["mistaken"]["as if it were the sum of grad_out·v"], b * v)
    for of, at, theirs in ((of_x, lambda c: c * c * g, X), (of_v, lambda c: b, v)):
        (text, right, value), (updated, *_) = of["families"]
        assert (text, right, of["untried"]) == (f"as if 0.5 in {every} were {{}}", 0.5, "")
        assert updated == f"as if v were updated already, with eta = {{}}, in the derivative of {by_1}"
        for c in (0.5, -3.0):
            equal(value(c), at(c))
            assert value(c).shape == theirs.shape


def test_alternatives_as_often_as_it_is_asked_for_comes_from_one_run():
    runs = count()

    def counted(x, w, b):
        next(runs)
        return layer(x, w, b)

    found = deep(counted, G, **XS)
    before = next(runs)
    *_, _ = found["x"].inputs
    after = next(runs)
    assert after > before + 6
    *_, _ = found["w"].inputs
    assert next(runs) == after + 1


def test_alternatives_on_what_is_no_gradient():
    found = deep(layer, G, **XS, values=True)["out"]
    assert found.is_value
    assert not [*found.mistaken, *found.inputs, *found.slips, *found.substituted, *found.families, *found.shares]
    assert (found.unsummed, found.untried) == (None, "")


@pytest.mark.parametrize(("small", "is_tried"), [(20, True), (19, False)])
def test_operations_are_tried_with_few_numbers(small, is_tried, monkeypatch):
    monkeypatch.setattr("crosscheck.verdict.precision.SMALL", small)
    for of in deep(layer, G, **XS).values():
        said = "operations of the forward are tried with at most 16,384 numbers of input: give smaller ones"
        assert of.untried == ("" if is_tried else said)
        assert bool(of.shares) == is_tried
        assert "as if x were of the other sign" in dict([*of.mistaken, *of.inputs])
        assert bool(list(of.slips)) == bool(list(of.substituted)) == is_tried


def test_alternatives_where_operations_cannot_be_tried(monkeypatch):
    def fails(*args):
        raise IndexError

    monkeypatch.setattr(module, "Paths", fails)
    for of in deep(layer, G, **XS).values():
        assert of.untried == "operations of the forward cannot be tried, they raise IndexError"
        assert not of.shares
        assert "as if x were of the other sign" in dict(of.inputs)
    assert list(deep(torch.tanh, X, x=X)["x"].slips)


def test_why_operations_are_not_tried_is_said(monkeypatch):
    monkeypatch.setattr("crosscheck.cause.paths.MAX_NUMBERS", 2)
    said = "operations of the forward are tried where they take and give at most 2 numbers in all: give smaller inputs"
    assert {of.untried for of in deep(layer, G, **XS).values()} == {said}


def test_what_there_was_no_time_for_is_said(monkeypatch):
    monkeypatch.setattr("crosscheck.cause.paths.SECONDS", 0.0)
    of = deep(layer, G, **XS)["x"]
    assert not [*of.inputs, *of.left_out]
    assert {"inputs taken wrongly", "inputs left out"} <= {*of.skipped}


def test_alternatives_are_gathered_until_the_search_fails(monkeypatch):
    def fails_late(*args):
        yield "a cause", X
        raise IndexError

    def nothing(*args):
        raise IndexError

    for name in ("_sums", "_at_forward", "_left_out"):
        monkeypatch.setattr(_Gatherer, name, fails_late)
    monkeypatch.setattr(_Gatherer, "_grads_out_mistaken", lambda self, *args: iter(()))
    monkeypatch.setattr(module, "Paths", nothing)
    of = deep(layer, G, **XS)["x"]
    for found in (of.mistaken, of.slips, of.left_out):
        assert [cause for cause, _ in found] == ["a cause"]


def test_no_alternatives_where_nothing_can_be_gathered(monkeypatch):
    def fails(*args):
        raise IndexError

    monkeypatch.setattr(module, "_Gatherer", fails)
    candidate, *args = given(layer, G, **XS)
    assert gather(candidate, True, *args) == gather(candidate, False, *args) == {}


def test_an_update_is_by_the_gradients_of_the_cost():
    def forward(x, w):
        return (x @ w.mT).sin().sum()

    w = (X.mT @ (X @ W.mT).cos()).mT
    for g in (torch.tensor(2.5).double(), torch.tensor([[-0.5]]).double()):
        of_one = gathering(lambda x, w, g=g: forward(x, w).view(g.shape), g, x=X, w=W)
        equal(of_one._of_the_cost()["w"], w)
        found = [text for text, *_ in deep(lambda x, w, g=g: forward(x, w).view(g.shape), g, x=X, w=W)["x"].families]
        assert sum("as if w were updated already, with eta = {}" in text for text in found) == 1
    found = gathering(lambda x, w: x @ w.mT, G, x=X, w=W)
    same(found._of_the_cost(), {"x": G @ W, "w": G.mT @ X})
    found = gathering(lambda x: (x.sum(), x.sin().sum()), normal(), normal(seed=1), x=X)
    same(found._of_the_cost(), {"x": normal() + normal(seed=1) * X.cos()})


def test_operations_are_tried_with_the_same_random_numbers():
    def forward(x, unused):
        return F.dropout(x.exp(), 0.5) * 3.0

    x, g = normal(40, 3), normal(40, 3, seed=9)
    torch.manual_seed(3)
    kept = F.dropout(x.exp(), 0.5) != 0
    with torch.no_grad():
        found = deep(forward, g, x=x, unused=X)
    for of in found.values():
        assert [name.partition(" ")[0] for name in of.shares] == ["mul", "dropout", "exp"]
    for of, back in ((found["x"], 6 * g * kept * x.exp()), (found["unused"], 0 * X)):
        same(of.shares, dict.fromkeys(of.shares, back))


# What keeps them


def test_what_is_kept_is_worked_out_once_and_no_further_than_asked():
    asked = []

    def items():
        for i in range(4):
            asked.append(i)
            yield i

    kept = _Kept(items())
    assert asked == []
    one, other = iter(kept), iter(kept)
    assert (next(one), next(one), asked) == (0, 1, [0, 1])
    assert (next(other), next(other), next(other), asked) == (0, 1, 2, [0, 1, 2])
    assert list(one) == [2, 3]
    assert list(other) == [3]
    assert list(kept) == asked == [0, 1, 2, 3]


def test_what_is_kept_ends_where_it_fails():
    kept = _Kept(1 // n for n in (1, 1, 0, 1))
    assert list(kept) == list(kept) == [1, 1]


def test_what_is_made_is_made_when_it_is_asked_for():
    made = []
    of = _Made({name: lambda name=name: made.append(name) or B for name in "ab"})
    assert (list(of), len(of), made) == (["a", "b"], 2, [])
    equal(of["b"], B)
    equal(of["b"], B)
    assert made == ["b", "b"]


def test_one_of_the_gradients():
    found = [("a", {"x": X, "w": W}), ("b", {"x": 2 * X})]
    same(dict(_column(found, "x")), {"a": X, "b": 2 * X})
    same(dict(_column(found, "w")), {"a": W})
    text, right, value = _of_one(("a {}", 2.0, lambda c: None if c < 0 else (X, c * W)), 1)
    assert (text, right) == ("a {}", 2.0)
    equal(value(3.0), 3 * W)
    assert value(-1.0) is None
