"""Causes: each is named where it is the cause, with a correction that was tried, and no other is."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from crosscheck import crosscheck
from crosscheck.candidate import Candidate
from crosscheck.cause.alternatives import gather
from crosscheck.cause.decompositions import DECOMPOSITIONS
from crosscheck.cause.diagnosis import diagnose
from crosscheck.cause.slips import Edge, slips
from crosscheck.row import UNKNOWN
from crosscheck.verdict.precision import dtypes_of


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def at_home(inputs, device):
    """The inputs on a device, in its most precise dtype."""
    exact = dtypes_of(device)[0]
    return tuple(
        x.to(device, exact if x.is_floating_point() else x.dtype) if isinstance(x, Tensor) else x for x in inputs
    )


def softmax(x):
    e = torch.exp(x - x.max(-1, keepdim=True).values)
    return e / e.sum(-1, keepdim=True)


def layer(x, w, b):
    return torch.tanh(x @ w.T + b)


def norm_layer(x, w):
    centered = x - x.mean(-1, keepdim=True)
    variance = (centered * centered).mean(-1, keepdim=True)
    return w * centered / torch.sqrt(variance + 1e-5)


def softmax_back(grad_out, out, x):
    return out * (grad_out - (grad_out * out).sum(-1, keepdim=True))


def layer_back(grad_out, out, x, w, b):
    delta = grad_out * (1 - out * out)
    return delta @ w, delta.T @ x, delta.sum(0)


def norm_back(grad_out, out, x, w, *, through_mean=1.0, through_variance=1.0):
    centered = x - x.mean(-1, keepdim=True)
    sigma = torch.sqrt((centered * centered).mean(-1, keepdim=True) + 1e-5)
    x_hat, g = centered / sigma, grad_out * w
    along = x_hat * (g * x_hat).mean(-1, keepdim=True)
    return (
        (g - through_mean * g.mean(-1, keepdim=True) - through_variance * along) / sigma,
        (grad_out * x_hat).sum(0),
    )


LAYER = (layer, layer_back, (normal(6, 3), normal(4, 3, seed=1), normal(4, seed=2)))
SOFTMAX = (softmax, softmax_back, (normal(6, 5),))
NORM = (norm_layer, norm_back, (normal(6, 5), normal(5, seed=1)))
IMAGE = (lambda x: torch.sin(x), lambda g, out, x: g * torch.cos(x), (normal(2, 3, 5, 4),))


def at(place: int, change):
    """The gradients with one of them changed."""

    def changed(gradients, *args):
        gradients = list(gradients) if isinstance(gradients, tuple) else [gradients]
        gradients[place] = change(gradients[place], *args)
        return tuple(gradients)

    return changed


def without_one(gradient: Tensor) -> Tensor:
    gradient = gradient.clone()
    gradient[2, 1] *= 1.5
    return gradient


# What somebody did, to which gradient, and the words that name it.
CAUSES = {
    "sign": (LAYER, at(1, lambda w, *_: -w), "the sign is flipped"),
    "mean for sum": (LAYER, at(1, lambda w, *_: w / 6), "1/6: multiply by 6, which is out.shape[0] and x.shape[0]"),
    "factor": (LAYER, at(0, lambda x, *_: 0.7 * x), "off by the constant factor 7/10"),
    "square root": (LAYER, at(0, lambda x, *_: x * 12**0.5), "off by the constant factor 3.4641\n"),
    "zero": (LAYER, at(2, lambda b, *_: 0 * b), "zero where a gradient is due"),
    "constant": (LAYER, at(2, lambda b, *_: b + 1e-4), "off by the additive constant 0.0001"),
    "layout": (LAYER, at(1, lambda w, *_: w.T.reshape(w.shape)), "transposed, and its numbers then read"),
    "reversed": (LAYER, at(1, lambda w, *_: w.flip(1)), "reversed along dimension 1"),
    "off by one": (IMAGE, at(0, lambda x, *_: x.roll(1, 3)), "moved by 1 along dimension 3"),
    "one element": (LAYER, at(1, lambda w, *_: without_one(w)), "wrong at [2, 1] alone, right everywhere else"),
    "one row": (IMAGE, at(0, lambda x, *_: x * torch.tensor([1.0, 1, 1, 1, 2]).view(5, 1)), "in the slice 4 of dim"),
    "border": (IMAGE, at(0, lambda x, *_: F.pad(x[..., 1:], (1, 0))), "slice 0 of dimension 3 of grad_out is left out"),
    "last sample": (LAYER, at(2, lambda b, g, out, *_: (g * (1 - out * out))[-1]), "only the last sample counts"),
    "last forgotten": (LAYER, at(2, lambda b, g, out, *_: (g * (1 - out * out))[:-1].sum(0)), "the last sample is"),
    "grad_out": (LAYER, at(2, lambda b, g, out, *_: (1 - out * out).sum(0)), "grad_out is ignored, as if it were ones"),
    "wrong product": (NORM, at(1, lambda w, g, out, x, _: (g * x).sum(0)), "as if it were the sum of grad_out·x"),
    "derivative": (LAYER, at(0, lambda x, g, out, _, w, b: g @ w), "the derivative of tanh (line"),
    "handed on": (IMAGE, at(0, lambda x, g, *_: g), "the derivative of the forward is left out"),
    "twice": (IMAGE, at(0, lambda _, g, out, x: g * torch.cos(x) ** 2), "the derivative of the forward is applied tw"),
    "softmax": (SOFTMAX, at(0, lambda _, g, out, x: out * g), "the sum over the other outputs is left out"),
    "row factor": (SOFTMAX, at(0, lambda x, *_: x * normal(6, 1)), "off by another factor in each slice of dim"),
    "mean forgotten": (NORM, lambda _, *args: norm_back(*args, through_mean=0), "x - x.mean("),
    "variance": (NORM, lambda _, *args: norm_back(*args, through_variance=0), "is left out"),
    "half of it": (NORM, lambda _, *args: norm_back(*args, through_variance=0.5), "is off by the factor 1/2"),
    "two forgotten": (
        NORM, lambda _, *args: norm_back(*args, through_mean=0, through_variance=0), "and through",
    ),
    "wrong sign inside": (NORM, lambda _, *args: norm_back(*args, through_variance=-1), "has the wrong sign"),
}  # fmt: skip


@pytest.mark.parametrize("cause", CAUSES)
def test_cause_is_named(cause, device):
    (forward, backward, inputs), mistake, words = CAUSES[cause]
    inputs = at_home(inputs, device)
    crosscheck(forward, lambda *args: tup(backward(*args)), inputs).raise_on_mismatch()
    report = crosscheck(forward, lambda *args: mistake(backward(*args), *args), inputs)
    assert report.mismatches[0].verdict == "wrong formula"
    assert words in report.mismatches[0].diagnosis


def opaque_norm(x, w):
    return F.layer_norm(x, (5,), w, eps=1e-3)


def opaque_norm_back(grad_out, out, x, w, *, eps=1e-3, biased=True):
    centered = x - x.mean(-1, keepdim=True)
    sigma = torch.sqrt((centered * centered).sum(-1, keepdim=True) / (5 if biased else 4) + eps)
    x_hat, g = centered / sigma, grad_out * w
    along = x_hat * (g * x_hat).sum(-1, keepdim=True) / (5 if biased else 4)
    return (g - g.mean(-1, keepdim=True) - along) / sigma, (grad_out * x_hat).sum(0)


def two_layers(x, w1, w2):
    return (torch.relu(x @ w1.T) @ w2.T).square().sum()


def two_layers_back(grad_out, out, x, w1, w2, *, eta=0.0):
    a = torch.relu(x @ w1.T)
    delta = 2 * (a @ w2.T)
    grad_w2 = delta.T @ a
    delta = delta @ (w2 - eta * grad_w2) * (a > 0)
    return grad_out * (delta @ w1), grad_out * (delta.T @ x), grad_out * grad_w2


def recurrent(xs, w, h):
    for x in xs:
        h = torch.tanh(x + h @ w.T)
    return h


def recurrent_back(grad_out, out, xs, w, h, *, every=True, stale=False):
    hs = [h]
    for x in xs:
        hs.append(torch.tanh(x + hs[-1] @ w.T))
    grad_w, grads_x = torch.zeros_like(w), []
    for t in reversed(range(len(xs))):
        delta = grad_out * (1 - hs[t + 1] ** 2)
        share = delta.T @ hs[t + stale]
        grad_w = grad_w + share if every else share
        grads_x.insert(0, delta)
        grad_out = delta @ w
    return torch.stack(grads_x), grad_w, grad_out


def looked_up(w, index):
    return torch.tanh(w[index])


def looked_up_back(grad_out, out, w, index):
    grad_w = torch.zeros_like(w)
    grad_w[index] = grad_out * (1 - out * out)  # of equal indices only the last one stays
    return grad_w, None


OPAQUE = (opaque_norm, opaque_norm_back, (normal(6, 5), normal(5, seed=1)))
TRAINED = (two_layers, two_layers_back, (normal(7, 4), normal(5, 4, seed=1), normal(3, 5, seed=2)))
LOOP = (recurrent, recurrent_back, (normal(3, 4, 5), normal(5, 5, seed=1), normal(4, 5, seed=2)))

# The same of mistakes that come of one argument, or that a whole backward makes.
DEEPER = {
    "eps": (OPAQUE, {"eps": 1e-4}, "as if 0.001 in add (line"),
    "variance": (OPAQUE, {"biased": False}, "divided by n − 1 = 4 in place of n"),
    "updated": (TRAINED, {"eta": 0.1}, "as if w2 were updated already, with eta = 0.1"),
    "overwritten": (LOOP, {"every": False}, "call 1 of 3, counts"),
    "stale": (LOOP, {"stale": True}, "the result of tanh (line"),
}


@pytest.mark.parametrize("cause", DEEPER)
def test_deeper_cause_is_named(cause, device):
    (forward, backward, inputs), options, words = DEEPER[cause]
    inputs = at_home(inputs, device)
    crosscheck(forward, backward, inputs).raise_on_mismatch()
    report = crosscheck(forward, partial(backward, **options), inputs)
    assert any(words in row.diagnosis for row in report.mismatches), str(report)


def test_what_is_overwritten_is_named(device):
    index = torch.tensor([0, 2, 1, 2, 2])
    report = crosscheck(looked_up, looked_up_back, at_home((normal(4, 3), index), device))
    assert "overwrite each other, in place of adding up" in report.mismatches[0].diagnosis


def in_float32(x):
    return torch.softmax(x, -1, dtype=torch.float32).to(x.dtype)


def rms_in_float32(x, w):
    h = x.float()
    return (h * torch.rsqrt(h.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * w


def rms_back(grad_out, out, x, w):
    return grad_out * w, (grad_out * x).sum(0)


def divided_in_place(q, k, v):
    s = q @ k.mT
    s /= 2.0
    return s.softmax(-1) @ v


def divided_back(grad_out, out, q, k, v):
    p = torch.softmax(q @ k.mT / 2, -1)
    s = p * (grad_out @ v.mT) / 2  # without the sum
    return s @ k, s.mT @ q, p.mT @ grad_out


def dropped_in_place(x, w):
    return F.dropout(x @ w, 0.5, True, inplace=True) * 3


def shifted_in_place(x, w):
    return (x @ w).add_(1).tanh()


def tanh_in_place(x, w):
    h = x @ w
    h.tanh_()
    return h * 3


def relu_in_place(x, w):
    h = x @ w
    F.relu(h, inplace=True)
    return h * 3


def linear_back(factor):
    return lambda grad_out, out, x, w: (factor * grad_out @ w.mT, factor * x.mT @ grad_out)


LINEAR = torch.nn.Linear(3, 2)


def with_braces(x, weight, bias):
    return torch.tanh(torch.func.functional_call(LINEAR, {"weight": weight, "bias": bias}, (x,)))


def with_braces_back(grad_out, out, x, weight, bias):
    return grad_out @ weight, grad_out.mT @ x, grad_out.sum(0)


def attention(q, k, v, mask=None):
    return F.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=mask)


def attention_back(grad_out, out, q, k, v, mask=None):
    s = q @ k.mT / 2
    p = torch.softmax(s if mask is None else s.masked_fill(~mask, -torch.inf), -1).nan_to_num()
    s = p * (grad_out @ v.mT) / 2  # without the sum
    gradients = s @ k, s.mT @ q, p.mT @ grad_out
    return gradients if mask is None else (*gradients, None)


def cross_entropy_back(grad_out, out, x, target):
    return grad_out * (torch.softmax(x, -1) + F.one_hot(target.long(), x.shape[-1])) / len(x), None  # a wrong sign


def heads(x, n):
    return torch.softmax(x.view(len(x), n, -1), -1).view_as(x)


heads.__name__ = "softmax"  # as somebody may call it


def heads_back(grad_out, out, x, n):
    return grad_out * out * (1 - out), None


ATTENTION = (normal(5, 4), normal(6, 4, seed=1), normal(6, 3, seed=2))
AFFINE = (normal(5, 4), normal(4, 3, seed=1))
SEES_NOTHING = torch.tensor([True, False, True, True, True]).view(5, 1).expand(5, 6)

# What is in a forward that gets in the way of the search for the cause, and the words that name it all the same.
OBSTACLES = {
    "float32 inside": (
        in_float32,
        lambda g, out, x: (g * out * (1 - out),),
        (normal(5, 4),),
        "of the forward were out (1 − out)",
    ),
    "float32 in part": (
        rms_in_float32,
        rms_back,
        (normal(5, 4), normal(4, seed=1)),
        "as if it were the sum of grad_out·x",
    ),
    "float32 outside": (
        lambda x: torch.tanh(x).float(),
        lambda g, out, x: (g * x,),
        (normal(5, 4),),
        "of the forward were x",
    ),
    "/=": (divided_in_place, divided_back, ATTENTION, "softmax(-1)), the sum over the other outputs is left out"),
    "dropout in place": (dropped_in_place, linear_back(3), AFFINE, "the derivative of dropout (line"),
    "add_": (shifted_in_place, linear_back(1), AFFINE, "the derivative of tanh (line"),
    "tanh_": (tanh_in_place, linear_back(3), AFFINE, "the derivative of tanh (line"),
    "relu in place": (relu_in_place, linear_back(3), AFFINE, "the derivative of relu (line"),
    "braces": (with_braces, with_braces_back, (normal(5, 3), normal(2, 3), normal(2)), "the derivative of tanh (line"),
    "keywords": (
        attention,
        attention_back,
        ATTENTION,
        "there torch.softmax(s, -1)), the sum over the other outputs is",
    ),
    "keyword": (
        lambda x: F.gelu(input=x),
        lambda g, out, x: (g * torch.special.ndtr(x),),
        (normal(5, 4),),
        "is left out",
    ),
    "nothing seen": (
        attention,
        attention_back,
        (*ATTENTION, SEES_NOTHING),
        "the sum over the other outputs is left out",
    ),
    "bytes": (
        F.cross_entropy,
        cross_entropy_back,
        (normal(5, 4), torch.tensor([0, 1, 2, 3, 0], dtype=torch.uint8)),
        "the gradient of the output itself has the wrong sign",
    ),
    "a name of torch's": (heads, heads_back, (normal(3, 8), 4), "of the forward were out (1 − out)"),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_cause_is_named_in_spite_of(obstacle, device):
    forward, backward, inputs, words = OBSTACLES[obstacle]
    report = crosscheck(forward, backward, at_home(inputs, device))
    assert any(words in row.diagnosis for row in report.mismatches), str(report)


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_a_verdict_is_given_in_spite_of(obstacle, device):
    """Where there is no cause to be found, and all is tried."""
    forward, _, inputs, _ = OBSTACLES[obstacle]

    def backward(grad_out, out, *xs):
        return tuple(x.exp() + 0.1 * x if isinstance(x, Tensor) and x.is_floating_point() else None for x in xs)

    report = crosscheck(forward, backward, at_home(inputs, device))
    assert {row.verdict for row in report.mismatches} == {"wrong formula"}
    assert all(row.diagnosis.startswith(f"{UNKNOWN}\n") for row in report.mismatches), str(report)


def test_a_name_may_have_braces(device):
    """Also in causes that are filled in later: of a constant, of an update, of another value, of the forward."""

    def forward(x, w):
        return torch.tanh(x @ w * 2.0).square().sum()

    def backward(grad_out, out, x, w, *, scale=2.0, eta=0.0, swapped=False):
        a = torch.tanh(x @ w * 2.0)
        delta = 2 * a * (1 - a * a) * scale
        grad_w = x.mT @ delta
        return grad_out * (delta @ (w - eta * grad_w).mT), grad_out * ((w if swapped else x).mT @ delta)

    inputs = at_home((normal(4, 4), normal(4, 4, seed=1)), device)
    for options, words in (
        ({"eta": 0.1}, "as if {w:} were updated already, with eta = 0.1, in the derivative of matmul"),
        ({"swapped": True}, "in the derivative of matmul (line"),
    ):
        report = crosscheck(forward, partial(backward, **options), inputs, names=("x{", "{w:}"))
        assert words in report.mismatches[0].diagnosis
    report = crosscheck(torch.tanh, lambda g, out, x: (g * x.sin(),), inputs[:1], names=("{0}",))
    assert "as if the derivative of the forward were sin({0})" in report.mismatches[0].diagnosis


def test_a_failing_search_does_not_cost_the_verdict(device, monkeypatch):
    """Whatever fails in it, and wherever."""

    def fails(*args, **kwargs):
        raise IndexError(args)

    def fails_late(edge, *args):
        yield "the derivative of {} is another one", lambda g: g + 1
        fails()

    inputs = at_home(LAYER[2], device)

    def verdicts():
        report = crosscheck(layer, lambda g, out, *xs: tuple(x.exp() for x in xs), inputs)
        return {(row.verdict, row.diagnosis.partition("\n")[0]) for row in report.mismatches}

    for name in ("paths.slips", "paths.derivatives", "paths.others_operation", "paths.substitutes", "paths.constants"):
        for how in (fails, fails_late):
            with monkeypatch.context() as patched:
                patched.setattr(f"crosscheck.cause.{name}", how)
                assert verdicts() == {("wrong formula", UNKNOWN)}
    for name in ("slips", "derivatives", "_taken_wrongly", "_Gatherer", "_Made"):
        with monkeypatch.context() as patched:
            patched.setattr(f"crosscheck.cause.alternatives.{name}", fails)
            assert verdicts() == {("wrong formula", UNKNOWN)}
    monkeypatch.setattr("crosscheck.cause.alternatives.Paths", fails)
    untried = "operations of the forward cannot be tried, they raise IndexError"
    assert verdicts() == {("wrong formula", f"{UNKNOWN}: {untried}")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w, b, delta: (w, delta), "not summed over dimension 0, over which it was broadcast"),
        (lambda w, b, delta: (w, delta.sum(1)), "summed over the wrong axis: over dimension 1 in place of 0"),
        (lambda w, b, delta: (w, b.view(1, 4)), "the numbers are right, only the shape is not"),
        (lambda w, b, delta: (w.T, b), "transposed"),
    ],
)
def test_a_wrong_shape_is_told_by_the_numbers(change, words, device):
    def backward(grad_out, out, x, w, b):
        delta = grad_out * (1 - out * out)
        return delta @ w, *change(delta.T @ x, delta.sum(0), delta)

    report = crosscheck(layer, backward, at_home(LAYER[2], device))
    assert report.mismatches[0].verdict.startswith("wrong shape: expected [4")
    assert report.mismatches[0].diagnosis == words


def test_of_one_mistake_in_several_gradients_one_name_hints_at_the_others(device):
    x, w, b = LAYER[2]

    def backward(grad_out, out, x, w, b):
        grad_x, grad_w, grad_b = layer_back(grad_out, out, x, w, b)
        return grad_x + 1e-3 * grad_x**3, -grad_w, grad_b

    report = crosscheck(layer, backward, at_home((x, w, b), device))
    said = {row.name: row.diagnosis.partition("\n")[0] for row in report.mismatches if row.diagnosis}
    assert said == {"x": f"{UNKNOWN}, perhaps the same as in w", "w": "the sign is flipped"}


def test_infinities_on_both_sides_do_not_count(device):
    """The derivative of a square root at 0, of which autograd has an infinity, too."""
    (x,) = at_home((torch.tensor([0.0, 1, 4, 7, 5], dtype=torch.float64),), device)
    report = crosscheck(torch.sqrt, lambda g, out, x: (g / out,), (x,))
    assert report.mismatches[0].diagnosis.startswith("off by the constant factor 2")


def test_numbers_whose_squares_overflow_or_vanish_have_a_factor():
    for size in (1e200, 1e-200):
        o = size * normal(4, 3)
        assert diagnose(2 * o, o, 1e-14 * size).startswith("off by the constant factor 2\n")


def test_what_was_not_tried_is_said(device):
    def backward(grad_out, out, x):
        return (grad_out * (1 - out**2) + 1e-3 * x**3,)

    report = crosscheck(torch.tanh, backward, at_home((normal(130, 127),), device))
    said = report.mismatches[0].diagnosis.partition("\n")[0]
    assert (
        said
        == f"{UNKNOWN}: operations of the forward are tried with at most 16,384 numbers of input: give smaller ones"
    )


def weighted(q, k, v):
    return torch.softmax(q @ k.mT, -1) @ v


def test_operations_that_were_not_tried_are_said(device):
    """Of few numbers of input there may be too many in between."""

    def backward(grad_out, out, *xs):
        return tuple(x.exp() + 1e-3 * x.sin() for x in xs)

    inputs = at_home((normal(900, 2), normal(900, 2, seed=1), normal(900, 2, seed=2)), device)
    report = crosscheck(weighted, backward, inputs)
    said = report.mismatches[0].diagnosis.partition("\n")[0]
    untried = "take and give at most 2,097,152 numbers in all: give smaller inputs"
    assert said.startswith(f"{UNKNOWN}: operations of the forward are tried where they {untried}")


def test_a_search_has_an_end_that_is_said(device, monkeypatch):
    monkeypatch.setattr("crosscheck.cause.paths.SECONDS", 0.0)
    report = crosscheck(weighted, lambda g, out, *xs: tuple(x.exp() for x in xs), at_home((normal(5, 2),) * 3, device))
    said = report.mismatches[0].diagnosis.partition("\n")[0]
    assert said.startswith(
        f"{UNKNOWN}: there was no time for other derivatives, inputs taken wrongly, other operations"
    )


def test_a_crop_of_large_inputs_shows_the_cause(device):
    inputs = at_home((normal(200, 100), normal(100, seed=1)), device)
    report = crosscheck(norm_layer, lambda *args: norm_back(*args, through_mean=0), inputs)
    assert "is left out, as a crop shows, x [100, 100], w [100]" in report.mismatches[0].diagnosis
    assert report.mismatches[0].diagnosis.splitlines()[1].startswith("worst at [")


def test_terms_are_made_when_they_are_asked_for(device):
    """All at once they would fill the memory: of six inputs there are forty of them, for each gradient."""
    g, a, b = at_home((normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)), device)
    candidate = Candidate(torch.mul, None, torch.mul, names="ab", judged=(0, 1), values=False, seed=0)
    found = gather(candidate, False, g, a, b)
    terms = found["a"].terms
    assert found["b"].terms is terms
    assert list(terms) == [
        "a", "b", "(a − b)", "out", "grad_out", "grad_out·a", "grad_out·b", "grad_out·(a − b)", "grad_out·out",
    ]  # fmt: skip
    assert len(terms) == 9
    assert torch.equal(terms["grad_out·(a − b)"], terms["grad_out"] * (terms["a"] - terms["b"]))
    assert terms["(a − b)"] is not terms["(a − b)"]


@pytest.mark.parametrize("first", [False, True])
def test_of_what_is_overwritten_one_stays(first, device):
    (x, g) = at_home((normal(4, 3), normal(6, 3, seed=1)), device)
    index = torch.tensor([0, 2, 1, 2, 2, 0], device=device)
    expected = torch.zeros_like(x)
    for place, row in reversed([*zip(index, g, strict=True)]) if first else zip(index, g, strict=True):
        expected[place] = row
    edge = Edge(0, 0, torch.index_select, [x, 0, index], {}, x[index])
    called = (
        "in {}, of the gradients of one place the first alone stays"
        if first
        else "overwrite each other, in place of adding up"
    )
    slip = next(slip for text, slip in slips(edge) if called in text)
    assert torch.equal(slip(g), expected)


@pytest.mark.parametrize(
    ("func", "args", "along"),
    [
        (torch.softmax, (1,), {0, 2}),
        (torch.sum, (-1,), {0, 1}),
        (torch.triu, (1,), set()),
        (torch.clamp, (0,), set()),
        (torch.pow, (2,), set()),
        (lambda x, n: x**n, (2,), set()),
    ],
)
def test_what_takes_no_dimension_has_no_other(func, args, along, device):
    (x,) = at_home((normal(4, 3, 2),), device)
    texts = [text for text, _ in slips(Edge(0, 0, func, [x, *args], {}, func(x, *args)))]
    assert {text for text in texts if "along" in text} == {
        f"the derivative of {{}} is taken along dimension {dim}" for dim in along
    }


def test_another_diagonal_is_named(device):
    report = crosscheck(lambda x: torch.triu(x, 1), lambda g, out, x: (g.triu(),), at_home((normal(5, 5),), device))
    assert report.mismatches[0].diagnosis.startswith("as if 1 in triu (line ")
    assert "were 0\n" in report.mismatches[0].diagnosis


def test_the_first_of_several_outs_is_called_so(device):
    inputs = at_home((normal(5, 3), normal(3, 4, seed=1)), device)
    report = crosscheck(
        lambda x, w: (x @ w, x.sin()), lambda g, out, x, w: (g[0] @ w.mT + g[1] * x.cos(), 4 * x.mT @ g[0]), inputs
    )
    assert "divide by 4, which is out[0].shape[1] and w.shape[1]" in report.mismatches[0].diagnosis


@pytest.mark.parametrize("mask", [SEES_NOTHING, torch.where(SEES_NOTHING, 0.0, -torch.inf).double()])
def test_attention_that_sees_nothing_is_written_out_as_torch_has_it(mask, device):
    qkv = [x.requires_grad_() for x in at_home(ATTENTION, device)]
    (mask,) = at_home((mask,), device)
    ours, theirs = (
        DECOMPOSITIONS[F.scaled_dot_product_attention](*qkv, mask),
        F.scaled_dot_product_attention(*qkv, mask),
    )
    torch.testing.assert_close(ours, theirs)
    for x, y in zip(torch.autograd.grad(ours.sum(), qkv), torch.autograd.grad(theirs.sum(), qkv), strict=True):
        torch.testing.assert_close(x, y)


def test_the_source_may_have_been_edited(device, tmp_path):
    """Then a column may be in the middle of a letter."""
    file = tmp_path / "edited.py"
    file.write_text("import torch\nforward = lambda x: torch.tanh(x)\n")
    module = {}
    exec(compile(file.read_text(), file, "exec"), module)
    file.write_text("import torch\n" + "∂" * 40 + "\n")
    report = crosscheck(module["forward"], lambda g, out, x: (g + 1e-3 * x**3,), at_home((normal(5, 4),), device))
    assert report.mismatches[0].diagnosis.startswith(UNKNOWN)


def test_what_looks_alike_is_told_in_more_digits(device):
    """Softplus is linear from 20 on in torch, its derivative is not."""
    (x,) = at_home((torch.tensor([25.0, 1.0, -2.0], dtype=torch.float64),), device)
    report = crosscheck(F.softplus, lambda g, out, x: (g * torch.sigmoid(x),), (x,))
    got, expected = report.mismatches[0].diagnosis.rpartition("got ")[2].split(", expected ")
    assert got != expected
    (o,) = at_home((normal(4, 3),), device)
    said = diagnose(o * (1 + 1e-9), o, 1e-14)
    assert said.startswith("off by the constant factor 1 + 1e-09\n")


def tup(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


def test_swapped_gradients_are_named(device):
    forward, inputs = lambda x, y: x * x * y, (normal(5, 3), normal(5, 3, seed=1))
    inputs = at_home(inputs, device)
    report = crosscheck(forward, lambda g, out, x, y: (g * x * x, 2 * g * x * y), inputs)
    assert [row.diagnosis.partition("\n")[0] for row in report.mismatches[:2]] == [
        "it is the gradient of y",
        "it is the gradient of x",
    ]


def test_one_of_several_outs_forgotten_is_named(device):
    report = crosscheck(
        lambda x: (x.sin(), x.cos()), lambda g, out, x: (g[0] * out[1],), at_home((normal(5, 3),), device)
    )
    assert report.mismatches[0].diagnosis.startswith("grad_out[1] is left out")


@given(st.integers(0, 2**31), st.sampled_from([(7,), (5, 3), (2, 4, 3)]), st.sampled_from([1e-6, 1e-3, 1.0]))
def test_what_has_no_name_gets_none(device, seed, shape, size):
    o, noise = normal(*shape, seed=seed), normal(*shape, seed=seed + 1)
    m, o = at_home((o + size * noise * o.abs(), o), device)
    assert diagnose(m, o, 1e-12).startswith(UNKNOWN)


@given(st.integers(0, 2**31), st.floats(-3, 3).filter(lambda factor: abs(factor) > 0.01 and abs(factor - 1) > 0.01))
def test_a_factor_is_what_it_is_called(device, seed, factor):
    (o,) = at_home((normal(4, 3, seed=seed),), device)
    said = diagnose(factor * o, o, 1e-12).partition("\n")[0]
    if factor == -1:
        assert said == "the sign is flipped"
    else:
        numerator, _, denominator = said.removeprefix("off by the constant factor ").partition("/")
        assert float(numerator) / float(denominator or 1) == pytest.approx(factor, rel=1e-5)


def test_an_error_hardly_above_its_budget_is_not_explained(device):
    (o,) = at_home((normal(4, 3),), device)
    assert diagnose(1.1 * o, o, 0.05 * float(o.abs().max())).startswith(UNKNOWN)


@pytest.mark.parametrize(
    ("p", "factor", "cause"),
    [
        (0.3, 0.7, "7/10: divide by 7/10, which is (1 − p)"),
        (0.3, 1 / 0.7, "10/7: multiply by 7/10, which is (1 − p)"),
        (0.3, 0.3, "3/10: divide by 3/10, which is p"),
        (1.7, 1 / 1.7, "0.588235: multiply by 1.7, which is p"),
        (-2.0, 0.9, "9/10"),
        (True, 0.9, "9/10"),
    ],
)
def test_a_factor_is_told_by_a_number_among_the_inputs(p, factor, cause, device):
    def backward(grad_out, out, x, p):
        return factor * grad_out * torch.cos(x) * p, None

    report = crosscheck(lambda x, p: torch.sin(x) * p, backward, (normal(5, 3).to(device, dtypes_of(device)[0]), p))
    assert report.mismatches[0].diagnosis.startswith(f"off by the constant factor {cause}\n")


def test_a_share_that_is_part_of_another_is_not_left_out_beside_it():
    """The sign is flipped and the variance taken as a constant: with a share counted twice the numbers would fit."""

    def forward(x):
        centered = x - x.mean(0)
        return centered / ((centered**2).mean(0) + 1e-5).sqrt() * 1.5 + 0.5

    def backward(grad_out, out, x):
        centered, g = x - x.mean(0), 1.5 * grad_out
        return (-(g - g.mean(0)) / ((centered**2).mean(0) + 1e-5).sqrt(),)

    report = crosscheck(forward, backward, (torch.randn(6, 4, generator=torch.Generator().manual_seed(0)) * 3 + 2,))
    assert "and through" not in report.rows[0].diagnosis
