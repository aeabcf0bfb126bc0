"""Each slip at an operation gives what somebody gets who slips so: compared with that, worked out another way."""

import math
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.cause.slips import (
    ACTIVATIONS,
    Edge,
    Times,
    constants,
    derivatives,
    escaped,
    functions,
    masks,
    of_itself,
    others_operation,
    slips,
    substitutes,
    until_it_fails,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def edge(func, *args, place: int = 0, words=("its result", "its argument"), **kwargs) -> Edge:
    return Edge(7, place, func, args, kwargs, func(*args, **kwargs), words)


def gradient(forward, x: Tensor, g: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (found,) = torch.autograd.grad(forward(x), x, g)
    return found


def agree(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    assert list(ours) == list(theirs)
    for text, value in ours.items():
        torch.testing.assert_close(value, theirs[text], rtol=1e-12, atol=1e-12, equal_nan=True, msg=text)


def values(found, g: Tensor) -> dict[str, Tensor]:
    return {text: slip(g) for text, slip in found}


def named(words: str, found, g: Tensor) -> dict[str, Tensor]:
    """Those whose text has these words in it."""
    return values([(text, slip) for text, slip in found if words in text], g)


X, G = normal(4, 3), normal(4, 3, seed=1)
CUBE, ITS_G = normal(3, 4, 2), normal(3, 4, 2, seed=1)
SQUARE, ITS = normal(3, 3, seed=7), normal(3, 3, seed=8)

LEFT_OUT, TWICE = "the derivative of {} is left out", "the derivative of {} is applied twice"
ITSELF = "{} is applied to the gradient, as if it were its own transposed"
NOT_TRANSPOSED = "in the derivative of {}, the other matrix is not transposed: "
BY_IT, TO_IT = (f"the gradient {how} {{}} is transposed in dimensions 0 and 1" for how in ("by", "that comes to"))
EXCLUSIVE = "{} is taken for the exclusive one, without the element itself"


def along(dim: int) -> str:
    return f"the derivative of {{}} is taken along dimension {dim}"


def stands(place: int, how: str) -> str:
    return f"in the derivative of {{}}, argument {place} stands {how}"


@pytest.mark.parametrize("error", [ArithmeticError, KeyboardInterrupt])
def test_what_is_found_before_an_exception(error):
    def found():
        yield 1
        yield 2
        raise error

    if error is KeyboardInterrupt:
        with pytest.raises(error):
            list(until_it_fails(found()))
    else:
        assert list(until_it_fails(found())) == [1, 2]


def test_braces_are_escaped():
    assert escaped("d['{x}']").format("unused") == "d['{x}']"


# The edge itself


def test_its_name():
    assert edge(torch.sin, X).name == "sin"
    assert Edge(0, 0, Tensor.__matmul__, [X], {}, X).name == "matmul"
    assert Edge(0, 0, Tensor.add_, [X], {}, X).name == "add"
    nameless = partial(torch.sin)
    assert Edge(0, 0, nameless, [X], {}, X).name == str(nameless)


def test_the_argument_by_which_it_is_differentiated():
    w = normal(3, 2)
    assert edge(torch.matmul, X, w, place=0).x is X
    assert edge(torch.matmul, X, w, place=1).x is w


@pytest.mark.parametrize(
    ("it", "is_alike", "is_of_one"),
    [
        (edge(torch.sin, X), True, True),
        (edge(torch.mul, X, 2.0), True, True),
        (edge(torch.mul, X, G), True, False),
        (edge(torch.sum, X), False, False),
        (edge(torch.mul, X[0], X, place=0), False, False),
        (edge(torch.mul, X[0], X, place=1), True, False),
    ],
)
def test_what_is_alike(it, is_alike, is_of_one):
    assert (it.is_alike, it.is_of_one) == (is_alike, is_of_one)


@pytest.mark.parametrize(
    ("it", "is_bent", "is_activation"),
    [
        (edge(torch.exp, X), True, False),
        (edge(torch.pow, X, 3), True, False),
        (edge(torch.div, X, G, place=1), True, False),
        (edge(torch.div, X[0], G), False, False),  # the result has another shape
        (edge(torch.tanh, X), False, True),
        (edge(torch.mul, X, 2.0), False, False),
        (edge(torch.mul, X, 2.0, words=("out", "x")), False, True),  # a whole forward may be any
        (edge(torch.mul, X, G, words=("out", "x")), False, False),
        (edge(torch.where, X > 0, X, G, place=1), False, False),
    ],
)
def test_what_is_bent_and_what_is_an_activation(it, is_bent, is_activation):
    assert (it.is_bent, it.is_activation) == (is_bent, is_activation)


def test_its_tensors_have_names():
    found = edge(torch.where, X > 0, 0.5, X, place=2).tensors("of the step before")
    assert list(found) == ["argument 1 of the step before", "argument 3 of the step before"]
    assert found["argument 3 of the step before"] is X


def test_back():
    w, other = normal(3, 2), normal(4, 3, seed=5)
    g = normal(4, 2, seed=2)
    agree({"": edge(torch.matmul, X, w, place=0).back(g)}, {"": g @ w.T})
    agree({"": edge(torch.matmul, X, w, place=1).back(g)}, {"": X.T @ g})
    agree({"": edge(torch.matmul, X, w, place=1).back(g, args=(other, w))}, {"": other.T @ g})
    agree({"": edge(torch.sin, X).back(G, func=torch.exp)}, {"": G * X.exp()})
    agree({"": edge(torch.sin, X).back(G, torch.exp, (other,))}, {"": G * other.exp()})


def test_back_takes_options_and_the_values_of_what_also_gives_places():
    expected = torch.zeros_like(X).scatter(1, X.argmin(1, keepdim=True), G[:, :1])
    agree({"": Edge(0, 0, torch.min, (X,), {"dim": 1}, X.amin(1)).back(G[:, 0])}, {"": expected})


def test_back_leaves_the_values_as_they_are():
    """Also where the operation is in place, and where no gradients are taken."""
    x = X.clone()
    with torch.no_grad():
        agree({"": Edge(0, 0, Tensor.exp_, (x,), {}, X.exp()).back(G)}, {"": G * X.exp()})
    assert torch.equal(x, X)
    assert not x.requires_grad


def test_of():
    it = Edge(0, 0, torch.add, (X, G), {"alpha": 3}, X + 3 * G)
    agree({"": it.of((G, X))}, {"": G + 3 * X})
    agree({"": it.of((G, X), torch.sub)}, {"": G - 3 * X})


def test_nothing_and_having():
    it = edge(torch.matmul, X, normal(3, 2), place=1)
    assert torch.equal(it.nothing(normal(4, 2)), torch.zeros(3, 2, dtype=torch.float64))
    assert edge(torch.clamp, X, -1, 1).having(1, 5) == [X, 5, 1]


W, DW = normal(3, 2, seed=3), normal(3, 2, seed=4)


@pytest.mark.parametrize(
    ("it", "w", "dw"),
    [
        (edge(torch.matmul, X, W), W, DW),
        (edge(torch.matmul, X, W.T.clone().T), W, DW),
        (edge(F.linear, X, W.T), W, DW),
        (edge(torch.mul, X, W[:, 0]), W[:, 0], DW[:, 0]),
    ],
)
def test_with_a_weight_that_is_updated_already(it, w, dw):
    slip = it.updated(w, dw)
    g = normal(*it.out.shape, seed=6)
    old, new = slip(0.0, g), slip(0.3, g)
    agree({"": old}, {"": it.back(g)})
    updated = w - 0.3 * dw
    expected = {"matmul": lambda: g @ updated.T, "linear": lambda: g @ updated.T, "mul": lambda: g * updated}
    agree({"": new}, {"": expected[it.name]()})


def test_what_has_no_such_weight_cannot_have_it_updated():
    square = normal(3, 3, seed=4)
    assert edge(torch.matmul, X, W).updated(W + 1, DW) is None
    assert edge(torch.matmul, X, W).updated(normal(2, 2), DW) is None
    assert edge(torch.matmul, W.T, X.T, place=0).updated(W.T, DW.T) is None  # it is what is differentiated by
    assert edge(torch.matmul, X, square).updated(square + 1, square) is None
    many = normal(3, 2, 5)
    assert edge(torch.bmm, CUBE, many).updated(many + 1, many) is None


# Wrong derivatives of an operation


def test_what_is_its_own_comes_first():
    it = edge(torch.where, SQUARE > 0, SQUARE, ITS, place=1)
    own, every = [text for text, _ in of_itself(it)], [text for text, _ in slips(it)]
    assert own == [LEFT_OUT, TWICE, "in {}, the other branch is taken", ITSELF]
    kinds = [stands(3, "transposed"), "in the derivative of {}, the mask in argument 1 is inverted", BY_IT, TO_IT]
    assert every[:4] == own
    assert [text for text in every[4:] if text in kinds] == kinds
    assert [text for text, _ in of_itself(edge(torch.sum, SQUARE, 1))] == []


def test_masks_come_before_other_places():
    def total(x, mask):
        return (x * mask).sum(1, keepdim=True)

    kinds = [
        "in the derivative of {}, the mask in argument 2 is inverted",
        "the gradient that comes to {} is broadcast along dimension 0, not along 1",
        BY_IT,
    ]
    assert [text for text, _ in slips(edge(total, SQUARE, SQUARE > 0)) if text in kinds] == kinds


def test_at_a_function_number_by_number():
    agree(values(slips(edge(torch.sin, X)), G), {LEFT_OUT: G, TWICE: G * X.cos() ** 2, ITSELF: G.sin()})
    agree(
        values(slips(edge(torch.sin, SQUARE)), ITS),
        {
            LEFT_OUT: ITS,
            TWICE: ITS * SQUARE.cos() ** 2,
            ITSELF: ITS.sin(),
            BY_IT: ITS.T * SQUARE.T.cos(),
            TO_IT: ITS.T * SQUARE.cos(),
        },
    )


def test_at_a_product_number_by_number():
    v = normal(3, seed=2)
    theirs = {LEFT_OUT: G, TWICE: G * v * v, ITSELF: G * v}
    agree(values(slips(edge(torch.mul, X, v)), G), theirs)
    agree(values(slips(edge(torch.mul, v, X, place=1)), G), theirs)


def test_at_a_sum():
    """Neither is its derivative left out, nor is it its own transposed."""
    assert [text for text, _ in slips(edge(torch.sum, CUBE, 1))] == [along(0), along(2)]
    assert [text for text, _ in slips(edge(torch.sum, CUBE, -1))] == [along(0), along(1)]
    assert [text for text, _ in slips(edge(torch.sum, CUBE, dim=-3))] == [along(1), along(2)]
    assert [text for text, _ in slips(edge(torch.sum, CUBE))] == []
    assert [text for text, _ in slips(edge(torch.sum, CUBE, (0, 1)))] == []


def test_along_another_dimension():
    for it in (edge(torch.cumsum, CUBE, 1), edge(torch.cumsum, CUBE, dim=1)):
        agree(
            values(slips(it), ITS_G),
            {
                LEFT_OUT: ITS_G,
                TWICE: ITS_G.flip(1).cumsum(1).cumsum(1).flip(1),
                EXCLUSIVE: ITS_G.flip(1).cumsum(1).flip(1) - ITS_G,
                ITSELF: ITS_G.cumsum(1),
                along(0): ITS_G.flip(0).cumsum(0).flip(0),
                along(2): ITS_G.flip(2).cumsum(2).flip(2),
            },
        )


def test_at_an_exclusive_sum():
    """Each is the sum of those before it."""
    before = torch.ones(4, 4, dtype=torch.float64).tril(-1)
    agree(named("exclusive", slips(edge(torch.cumsum, X, 0)), G), {EXCLUSIVE: before.T @ G})


def test_at_an_exclusive_logcumsumexp():
    """What comes back from the element itself, g e^(x − y), is left out, not g."""
    y = X.exp().cumsum(0).log()
    theirs = X.exp() * (torch.ones(4, 4, dtype=torch.float64).triu(1) @ (G * (-y).exp()))
    agree(named("exclusive", slips(edge(torch.logcumsumexp, X, 0)), G), {EXCLUSIVE: theirs})


def test_at_a_sigmoid():
    y = 1 / (1 + (-X).exp())
    text = "the derivative of softmax is taken for that of {}"
    theirs = {LEFT_OUT: G, TWICE: G * (y - y * y) ** 2, text: y * G - y * (y * G).sum(1, keepdim=True)}
    agree(values(slips(edge(torch.sigmoid, X)), G), theirs | {ITSELF: G.sigmoid()})
    assert text not in dict(slips(edge(torch.sigmoid, X[0, 0])))


TO_OTHERS = "in {}, the gradient goes to all but the largest"
TO_ALL = "in {}, the gradient goes to all, not to the largest alone"


@pytest.mark.parametrize("func", [torch.amax, torch.max])
def test_at_a_maximum(func):
    x, g = SQUARE, normal(3, seed=2)
    out = x.amax(1)
    is_it = torch.eq(x, out[:, None])
    theirs = {
        TO_OTHERS: g[:, None] * ~is_it,
        TO_ALL: g[:, None].expand(3, 3),
        # Of which dimension it is the maximum the shape does not tell: the first of these two is right.
        "the gradient that comes to {} is broadcast along dimension 1, not along 0": g[:, None] * is_it,
        "the gradient that comes to {} is broadcast along dimension 0, not along 1": g * is_it,
        BY_IT: (g[:, None] * is_it).T,
        along(0): g * torch.eq(x, x.amax(0)),
    }
    agree(values(slips(Edge(0, 0, func, (x, 1), {}, out)), g), theirs)


@pytest.mark.parametrize("func", [torch.amin, torch.min])
def test_at_a_minimum(func):
    least, g = X.amin(0, keepdim=True), G[:1]
    to_others, to_all = (text.replace("largest", "smallest") for text in (TO_OTHERS, TO_ALL))
    found = named("goes to all", slips(Edge(0, 0, func, (X,), {"dim": 0, "keepdim": True}, least)), g)
    agree(found, {to_others: g * (least < X), to_all: g.expand(4, 3)})


def test_at_the_maximum_of_all():
    found = values(slips(edge(torch.max, X)), G[0, 0])
    agree(found, {TO_OTHERS: G[0, 0] * (X.max() > X), TO_ALL: G[0, 0].expand(4, 3)})


@pytest.mark.parametrize(("func", "other"), [(torch.tril, "triu"), (torch.triu, "tril"), (Tensor.tril_, "triu")])
@pytest.mark.parametrize("diagonal", [(), (-1,)])
def test_at_a_triangle(func, other, diagonal):
    text = f"the derivative of {{}} is that of {other}, the other triangle"
    this, theirs = ("tril", "triu") if other == "triu" else ("triu", "tril")
    kept = getattr(G, this)(*diagonal)
    expected = {LEFT_OUT: G, TWICE: kept, text: getattr(G, theirs)(*diagonal), ITSELF: kept}
    agree(values(slips(Edge(0, 0, func, (X, *diagonal), {}, getattr(X, this)(*diagonal))), G), expected)


def jacobian_of_softmax(x: Tensor, dim: int):
    """∂p_i/∂x_j = p_i ([i = j] − p_j), each number by itself."""
    p = (x - x.logsumexp(dim, keepdim=True)).exp().movedim(dim, -1)
    return torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)


def through(jacobian: Tensor, g: Tensor, dim: int) -> Tensor:
    return (jacobian.mT @ g.movedim(dim, -1).unsqueeze(-1)).squeeze(-1).movedim(-1, dim)


@pytest.mark.parametrize(
    ("args", "options", "dim"), [((1,), {}, 1), ((-2,), {}, 1), ((), {"dim": 1}, 1), ((0,), {}, 0), ((2,), {}, 2)]
)
def test_at_a_softmax(args, options, dim):
    x, g = CUBE, ITS_G
    p = torch.softmax(x, dim)
    back = through(jacobian_of_softmax(x, dim), g, dim)
    sums = (g * p).sum(dim, keepdim=True)
    others = [other for other in (0, 1, 2) if other != dim]
    theirs = {
        LEFT_OUT: g,
        TWICE: through(jacobian_of_softmax(x, dim), back, dim),
        "in {}, the sum over the other outputs is left out": p * g,
        "in {}, only the diagonal p (1 − p) counts, not the other outputs": (p - p * p) * g,
        "in {}, the sum of grad·p is taken without p": p * g - p * g.sum(dim, keepdim=True),
        "in {}, the sum has the wrong sign": p * g + p * sums,
        "in {}, the factor in front is left out": back / p,
        "in {}, the mean is taken for the sum": p * g - p * (g * p).mean(dim, keepdim=True),
    }
    for other in others:
        theirs[f"in {{}}, the sum is over dimension {other}"] = p * g - p * (g * p).sum(other, keepdim=True)
        q = torch.softmax(x, other)
        theirs[f"in {{}}, the softmax is over dimension {other}"] = q * (g - (g * q).sum(dim, keepdim=True))
    theirs[ITSELF] = torch.softmax(g, dim)
    for other in others:
        theirs[along(other)] = through(jacobian_of_softmax(x, other), g, other)
    agree(values(slips(edge(torch.softmax, x, *args, **options)), g), theirs)


@pytest.mark.parametrize(("args", "dim"), [((1,), 1), ((-3,), 0), ((2,), 2)])
def test_at_a_log_softmax(args, dim):
    x, g = CUBE, ITS_G
    p = torch.softmax(x, dim)
    total = g.sum(dim, keepdim=True)
    back = gradient(lambda x: torch.log_softmax(x, dim), x, g)
    theirs = {
        LEFT_OUT: g,
        TWICE: gradient(lambda x: torch.log_softmax(x, dim), x, back),
        "in {}, the gradient of the output itself is left out, beside the sum": back - g,
        "in {}, the gradient of the output itself has the wrong sign": back - 2 * g,
        "in {}, the sum has the wrong sign": 2 * g - back,
        "in {}, the softmax in front of the sum is left out": g - total,
        "in {}, its result stands in for the softmax": g - p.log() * total,
        "in {}, the mean is taken for the sum": g - p * g.mean(dim, keepdim=True),
        "in {}, the sum is left out": g * (1 - p),
        "in {}, the sum of grad·p is taken for that of grad": g - p * (g * p).sum(dim, keepdim=True),
        "in {}, the derivative of the softmax is taken": gradient(lambda x: torch.softmax(x, dim), x, g),
    }
    others = [other for other in (0, 1, 2) if other != dim]
    for other in others:
        theirs[f"in {{}}, the sum is over dimension {other}"] = g - p * g.sum(other, keepdim=True)
    theirs[ITSELF] = torch.log_softmax(g, dim)
    for other in others:
        theirs[along(other)] = gradient(lambda x, other=other: torch.log_softmax(x, other), x, g)
    agree(values(slips(edge(torch.log_softmax, x, *args)), g), theirs)


@pytest.mark.parametrize("keepdim", [False, True])
def test_at_a_logsumexp(keepdim):
    x, kept = CUBE, normal(3, 1, 2, seed=1)
    g = kept if keepdim else kept[:, 0]
    found = dict(slips(edge(torch.logsumexp, x, 1, keepdim=keepdim)))
    dimensions = {text: found.pop(text) for text in (along(0), along(2))}
    theirs = {
        "as if the derivative of {} were e^its argument": kept * x.exp(),
        "as if the derivative of {} were one over their number": (kept / 4).expand(3, 4, 2),
        "in {}, the softmax is over dimension 0": kept * torch.softmax(x, 0),
        "in {}, the softmax is over dimension 2": kept * torch.softmax(x, 2),
    }
    agree(values(found.items(), g), theirs)
    ours = dimensions[along(2)](normal(3, 4, 1) if keepdim else normal(3, 4))
    agree({"": ours}, {"": normal(3, 4, 1) * torch.softmax(x, 2)})


def test_at_a_logsumexp_of_one_number():
    x = torch.tensor(0.7, dtype=torch.float64)
    found = values(slips(edge(torch.logsumexp, x, 0)), x)
    one_over = "as if the derivative of {} were one over their number"
    agree({one_over: found[one_over]}, {one_over: x})


def test_over_several_dimensions_there_is_no_other_softmax():
    assert [text for text, _ in slips(edge(torch.logsumexp, CUBE, (0, 1)))] == []


def test_a_softmax_that_is_told_no_dimension_is_over_the_last():
    def softmax(x):
        return torch.softmax(x, -1)

    ours = values(slips(edge(softmax, CUBE)), ITS_G)
    theirs = values(slips(edge(torch.softmax, CUBE, -1)), ITS_G)
    assert theirs.keys() - ours.keys() == {along(0), along(1)}  # it takes no other
    agree(ours, {text: theirs[text] for text in ours})


INDEX = torch.tensor([0, 2, 1, 2, 2, 0])
IMAGE = normal(1, 1, 3, 3, seed=2)
SELECTIONS = {
    "index_select": (edge(torch.index_select, X, 0, INDEX), normal(6, 3, seed=1)),
    "embedding": (edge(F.embedding, INDEX, X, place=1), normal(6, 3, seed=1)),
    "getitem": (edge(Tensor.__getitem__, X, INDEX), normal(6, 3, seed=1)),
    "gather": (edge(torch.gather, X, 1, INDEX.view(2, 3)), normal(2, 3, seed=1)),
    "take_along_dim": (edge(torch.take_along_dim, X, INDEX[:4, None], 1), normal(4, 1, seed=1)),
    "take": (edge(torch.take, X, torch.tensor([11, 4, 11, 0, 4])), normal(5, seed=1)),
    "take of the second": (edge(torch.take, X, torch.tensor([1, 1])), normal(2, seed=1)),
    "repeat_interleave": (edge(torch.repeat_interleave, X, 2, dim=1), normal(4, 6, seed=1)),
    "repeat": (edge(Tensor.repeat, X, (2, 3)), normal(8, 9, seed=1)),
    "tile": (edge(torch.tile, X, (2,)), normal(4, 6, seed=1)),
    "expand": (edge(Tensor.expand, X, (2, 4, 3)), normal(2, 4, 3, seed=1)),
    "expand_as": (edge(Tensor.expand_as, X, CUBE.mT.reshape(2, 4, 3)), normal(2, 4, 3, seed=1)),
    "broadcast_to": (edge(torch.broadcast_to, X, (3, 4, 3)), normal(3, 4, 3, seed=1)),
    "unfold of windows": (edge(Tensor.unfold, X, 0, 2, 1), normal(3, 3, 2, seed=1)),
    "unfold of patches": (edge(F.unfold, IMAGE, 2), normal(1, 4, 4, seed=1)),
    "unfold of patches with a border": (edge(F.unfold, IMAGE, 2, padding=1), normal(1, 4, 16, seed=1)),
    "as_strided": (edge(torch.as_strided, X, (3, 2), (2, 3)), normal(3, 2, seed=1)),
}


@pytest.mark.parametrize("how", SELECTIONS)
def test_at_a_selection(how):
    """One place after the other, the last or the first written last."""
    it, g = SELECTIONS[how]
    assert it.name == how.partition(" ")[0]
    n, shape = it.x.numel(), it.x.shape
    came_from = it.of(it.having(it.place, torch.arange(1.0, n + 1).view(shape))).flatten().tolist()
    overwritten, first = torch.zeros(n, dtype=torch.float64), torch.zeros(n, dtype=torch.float64)
    pairs = [(int(place) - 1, number) for place, number in zip(came_from, g.flatten(), strict=True) if place]
    for place, number in pairs:
        overwritten[place] = number
    for place, number in reversed(pairs):
        first[place] = number
    found = dict(slips(it))
    both = ("in {}, gradients of one place overwrite each other, in place of adding up",
            "in {}, of the gradients of one place the first alone stays")  # fmt: skip
    agree(
        values([(text, found[text]) for text in both], g),
        dict(zip(both, (overwritten.view(shape), first.view(shape)), strict=True)),
    )


def test_at_a_where():
    condition, other = X > 0.2, normal(4, 3, seed=2)
    text = "in {}, the other branch is taken"
    for place, kept in ((1, ~condition), (2, condition)):
        it = edge(torch.where, condition, *((X, other) if place == 1 else (other, X)), place=place)
        found = dict(slips(it))
        assert [said for said in found if "argument" not in said] == [LEFT_OUT, TWICE, text, ITSELF]
        agree({text: found[text](G)}, {text: G * kept})


def test_at_a_product_of_matrices():
    w, square, g = normal(3, 2), normal(3, 3, seed=3), normal(4, 2, seed=2)
    reversed_, both = "reversed along its last dimension", "reversed along its last two dimensions"
    agree(
        values(slips(edge(torch.matmul, X, w)), g),
        {stands(2, reversed_): g.flip(-1) @ w.T, stands(2, both): (g.flip(-1) @ w.T).flip(-1)},
    )
    agree(
        values(slips(edge(torch.matmul, X, w, place=1)), g),
        {stands(1, reversed_): X.T.flip(0) @ g, stands(1, both): X.T.flip(0) @ g.flip(0)},
    )
    agree(
        values(slips(edge(torch.matmul, X, square)), G),
        {
            LEFT_OUT: G,
            TWICE: G @ square.T @ square.T,
            NOT_TRANSPOSED + "g @ B for g @ B.T": G @ square,
            stands(2, "transposed"): G @ square,
            stands(2, reversed_): G.flip(-1) @ square.T,
            stands(2, both): (G.flip(-1) @ square.T).flip(-1),
        },
    )


@pytest.mark.parametrize("func", [torch.matmul, torch.mm, torch.bmm])
def test_the_other_matrix_is_not_transposed(func):
    a, b, g = (t.expand(2, 3, 3) if func is torch.bmm else t for t in (SQUARE, ITS, normal(3, 3, seed=9)))
    for place, (text, theirs) in enumerate((("g @ B for g @ B.T", g @ b), ("A @ g for A.T @ g", a @ g))):
        found = dict(slips(edge(func, a, b, place=place)))
        assert ITSELF not in found
        agree(named("the other matrix", found.items(), g), {NOT_TRANSPOSED + text: theirs})


@pytest.mark.parametrize("is_column", [False, True])
def test_at_what_is_broadcast_along_rows_or_columns(is_column):
    v = normal(3, seed=2)
    rows, columns = v.expand(3, 3), v.view(3, 1).expand(3, 3)
    right, other = (columns, rows) if is_column else (rows, columns)
    theirs = {
        LEFT_OUT: ITS,
        TWICE: ITS * right * right,
        ITSELF: ITS * right,
        stands(2, "reversed along its last dimension"): ITS * right.flip(1),
        stands(2, "reversed along its last two dimensions"): ITS * right.flip(0, 1),
        stands(2, "broadcast along the other dimension"): ITS * other,
        BY_IT: (ITS * right).T,
        TO_IT: ITS.T * right,
    }
    agree(values(slips(edge(torch.mul, SQUARE, v.view(3, 1) if is_column else v.view(1, 3))), ITS), theirs)


def test_what_is_not_square_is_broadcast_along_one_dimension_alone():
    assert not named("broadcast", slips(edge(torch.mul, X, normal(4, 1))), G)
    assert not named("broadcast", slips(edge(torch.mul, SQUARE, ITS)), ITS)


def test_at_products_of_many_matrices():
    w, g = normal(3, 2, 5, seed=2), normal(3, 4, 5, seed=3)
    reversed_, both = "reversed along its last dimension", "reversed along its last two dimensions"
    agree(
        values(slips(edge(torch.bmm, CUBE, w)), g),
        {stands(2, reversed_): g.flip(2) @ w.mT, stands(2, both): (g.flip(2) @ w.mT).flip(2)},
    )


def test_vectors_and_whole_numbers_are_no_matrices():
    assert [text for text, _ in slips(edge(torch.mv, X, normal(3)))] == []
    assert [text for text, _ in slips(edge(torch.gather, X, 1, INDEX.view(2, 3))) if "argument" in text] == []


A, Y = normal(3, 3) + 3 * torch.eye(3, dtype=torch.float64), normal(3, 2, seed=1)
IN_PLACE_OF = "in the derivative of {}, the matrix stands in place of its transposed"


def test_at_the_solution_of_a_system():
    g, inverse = normal(3, 2, seed=2), torch.linalg.inv(A)
    y = inverse @ Y
    for place, theirs in ((1, inverse @ g), (0, -inverse @ g @ y.T)):
        found = dict(slips(edge(torch.linalg.solve, A, Y, place=place)))
        agree({IN_PLACE_OF: found[IN_PLACE_OF](g)}, {IN_PLACE_OF: theirs})


@pytest.mark.parametrize("func", [torch.linalg.inv, torch.inverse, Tensor.inverse])
def test_at_an_inverse(func):
    g, y = normal(3, 3, seed=2), torch.linalg.solve(A, torch.eye(3, dtype=torch.float64))
    found = dict(slips(edge(func, A)))
    agree({IN_PLACE_OF: found[IN_PLACE_OF](g)}, {IN_PLACE_OF: -y @ g @ y})


def cholesky(S: Tensor) -> Tensor:
    return torch.linalg.cholesky(S)


@pytest.mark.parametrize("func", [torch.linalg.cholesky, cholesky])  # and as torch called it once
def test_at_a_cholesky(func):
    """The diagonal of Lᵀ g counts twice as much as it should."""
    S, g = A @ A.T, normal(3, 3, seed=2).tril()
    L, text = torch.linalg.cholesky(S), "in {}, the diagonal is not halved"
    found = dict(slips(edge(func, S)))
    inverse = torch.linalg.inv(L)
    diagonal = torch.diag((L.T @ g).diagonal())
    right = gradient(lambda S: torch.linalg.cholesky(S), S, g)
    agree({text: found[text](g)}, {text: right + inverse.T @ (diagonal / 2) @ inverse})


@pytest.mark.parametrize(("func", "args"), [(torch.sin, ()), (torch.softmax, (0,)), (torch.matmul, (W,))])
def test_what_belongs_to_one_operation_is_not_said_of_another(func, args):
    texts = {text for text, _ in slips(edge(func, X, *args))}
    assert not texts & {IN_PLACE_OF, "in {}, the diagonal is not halved", "in {}, the other branch is taken"}
    assert not any("place" in text for text in texts)


# Masks


def mask_of(text: str) -> Tensor:
    rows = torch.tensor([[number == "T" for number in row] for row in text.split()])
    return rows if " " in text else rows[0]


# Of each the others in their order, each of them once; T is True
OTHER_MASKS = {
    "TFF": [
        ("inverted", "FTT"),
        ("True everywhere", "TTT"),
        ("False everywhere", "FFF"),
        ("reversed along dimension 0", "FFT"),
        ("moved by 1 along dimension 0", "TTF"),
        ("moved by 1 along dimension 0, False coming in", "FTF"),
        ("one wider at the end of dimension 0, True coming in", "TFT"),
    ],
    "TFFF TTFF": [
        ("inverted", "FTTT FFTT"),
        ("True everywhere", "TTTT TTTT"),
        ("False everywhere", "FFFF FFFF"),
        ("reversed along dimension 0", "TTFF TFFF"),
        ("moved by 1 along dimension 0", "TFFF TFFF"),
        ("moved by 1 along dimension 0, False coming in", "FFFF TFFF"),
        ("moved by 1 along dimension 0, True coming in", "TTTT TFFF"),
        ("one wider at the start of dimension 0, True coming in", "TTTT TTFF"),
        ("moved by -1 along dimension 0", "TTFF TTFF"),
        ("moved by -1 along dimension 0, False coming in", "TTFF FFFF"),
        ("one narrower at the end of dimension 0, False coming in", "TFFF FFFF"),
        ("moved by -1 along dimension 0, True coming in", "TTFF TTTT"),
        ("reversed along dimension 1", "FFFT FFTT"),
        ("moved by 1 along dimension 1", "TTFF TTTF"),
        ("moved by 1 along dimension 1, False coming in", "FTFF FTTF"),
        ("one narrower at the start of dimension 1, False coming in", "FFFF FTFF"),
        ("moved by -1 along dimension 1, True coming in", "FFFT TFFT"),
        ("one wider at the end of dimension 1, True coming in", "TFFT TTFT"),
        ("aligned to the other corner, moved by 2, False coming in", "FFTF FFTT"),
        ("aligned to the other corner, moved by 2, True coming in", "TTTF TTTT"),
        ("aligned to the other corner, moved by -2, True coming in", "FFTT FFTT"),
    ],
    "TF TT": [
        ("inverted", "FT FF"),
        ("True everywhere", "TT TT"),
        ("False everywhere", "FF FF"),
        ("reversed along dimension 0", "TT TF"),
        ("moved by 1 along dimension 0", "TF TF"),
        ("moved by 1 along dimension 0, False coming in", "FF TF"),
        ("moved by -1 along dimension 0, False coming in", "TT FF"),
        ("one narrower at the end of dimension 0, False coming in", "TF FF"),
        ("reversed along dimension 1", "FT TT"),
        ("moved by 1 along dimension 1, False coming in", "FT FT"),
        ("one narrower at the start of dimension 1, False coming in", "FF FT"),
        ("moved by -1 along dimension 1", "FF TT"),
    ],
}


def masked(mask: Tensor) -> Edge:
    return edge(torch.masked_fill, torch.zeros(mask.shape), mask, 1.0)


@pytest.mark.parametrize("mask", OTHER_MASKS)
def test_other_masks(mask):
    found = [*masks(masked(mask_of(mask)))]
    assert [(place, how) for place, how, _ in found] == [(1, how) for how, _ in OTHER_MASKS[mask]]
    for (_, _, other), (_, expected) in zip(found, OTHER_MASKS[mask], strict=True):
        assert torch.equal(other, mask_of(expected))


@pytest.mark.parametrize("low", [-math.inf, -1e9, -1e4])
def test_other_masks_that_are_added(low):
    mask = torch.tensor([0.0, low, low])
    found = [(how, other.tolist()) for _, how, other in masks(edge(torch.add, X, mask))]
    assert found[:3] == [
        ("inverted", [low, 0, 0]), ("0.0 everywhere", [0, 0, 0]), (f"{low} everywhere", [low, low, low]),
    ]  # fmt: skip
    ones = torch.tensor([1.0, 0, 0])
    assert [other.tolist() for _, _, other in masks(edge(torch.mul, X, ones))][:3] == [[0, 1, 1], [1, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize(
    "it",
    [
        edge(torch.mul, X, torch.tensor([0.0, 1, 2])),
        edge(torch.mul, X, torch.tensor([1.0, 2, 2])),
        edge(torch.mul, X, torch.tensor([0.0, 0, 0])),
        edge(torch.mul, X, torch.tensor([0.0])),
        edge(torch.mul, X, torch.tensor([0, 1, 1])),
        edge(torch.mul, X, torch.tensor([0.0, 1, 1]), place=1),  # it is what is differentiated by
        edge(torch.masked_fill, X, torch.tensor(True), 0.0),
    ],
)
def test_what_is_no_mask(it):
    assert [*masks(it)] == []


MASK = X > 0.4


def test_another_mask_in_a_derivative():
    text = "in the derivative of {{}}, the mask in argument 2 is {}".format
    found = dict(slips(edge(torch.masked_fill, X, MASK, 0.0)))
    theirs = {
        text("inverted"): G * MASK,
        text("True everywhere"): 0 * G,
        text("False everywhere"): G,
        text("reversed along dimension 0"): G * ~MASK.flip(0),
    }
    assert [said for said in found if "the mask" in said][:4] == list(theirs)
    agree({said: found[said](G) for said in theirs}, theirs)


def test_no_two_slips_have_the_same_words():
    """By their words they are tried: of two that have the same ones one is lost."""
    texts = [text for text, _ in slips(masked(mask_of("TFFF TTFF")))]
    assert len(set(texts)) == len(texts)


# What is right, in other places


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, 2])
def test_what_comes_back_is_broadcast_along_another_dimension(keepdim, dim):
    x, g = normal(3, 4, 3), normal(4, 3) if dim == 0 else normal(3, 4)
    text = f"the gradient that comes to {{}} is broadcast along dimension {2 - dim}, not along {dim}"
    theirs = g.T.unsqueeze(2 - dim).expand(3, 4, 3)
    for func, n in ((torch.sum, 1), (torch.mean, 3)):
        found = slips(edge(func, x, dim, keepdim))
        agree(named("broadcast", found, g.unsqueeze(dim) if keepdim else g), {text: theirs / n})


@pytest.mark.parametrize("it", [edge(torch.sum, X, 1), edge(torch.sum, SQUARE), edge(torch.sum, SQUARE[:1], 0, True)])
def test_what_is_broadcast_along_no_other_dimension(it):
    assert "broadcast" not in " ".join(text for text, _ in slips(it))


def test_transposed_in_dimensions_that_are_alike():
    x, w, g = (normal(3, 2, 3, seed=seed) for seed in (1, 2, 3))
    theirs = {
        "the gradient by {} is transposed in dimensions 0 and 2": torch.einsum("ijk,ijk->kji", g, w),
        "the gradient that comes to {} is transposed in dimensions 0 and 2": torch.einsum("kji,ijk->ijk", g, w),
    }
    agree(named("transposed in", slips(edge(torch.mul, x, w)), g), theirs)


@pytest.mark.parametrize(
    ("it", "by", "to"),
    [
        (edge(Tensor.permute, normal(3, 2, 3), (1, 2, 0)), ["0 and 2"], ["1 and 2"]),
        (edge(torch.sum, normal(3, 2, 3), 2), ["0 and 2"], []),
        (edge(torch.matmul, W.T, W), [], ["0 and 1"]),
        (edge(torch.sin, normal(2, 2, 2)), ["0 and 1", "0 and 2", "1 and 2"], ["0 and 1", "0 and 2", "1 and 2"]),
        (edge(torch.sum, normal(2, 2, 2, 2)), ["0 and 1", "0 and 2", "0 and 3", "1 and 2", "1 and 3", "2 and 3"], []),
        (edge(torch.sum, normal(2, 2, 2, 2, 3, 3)), [], []),  # these are too many
        (edge(torch.sin, normal(1, 1)), [], []),
        (edge(torch.sin, X), [], []),
    ],
)
def test_the_dimensions_that_are_alike(it, by, to):
    found = [text for text, _ in slips(it) if "transposed in" in text]
    assert found == [
        f"the gradient {how} {{}} is transposed in dimensions {dims}"
        for how, each in (("by", by), ("that comes to", to)) for dims in each
    ]  # fmt: skip


def repeated(x: Tensor, by: int) -> Tensor:
    """A B A B"""
    return torch.cat([x] * by)


def interleaved(x: Tensor, by: int) -> Tensor:
    """A A B B"""
    return torch.stack([x] * by, 1).flatten(0, 1)


@pytest.mark.parametrize(
    ("it", "by", "other"),
    [
        (edge(Tensor.repeat, X, (2, 1)), 2, "repeat_interleave"),
        (edge(Tensor.repeat, X, 2, 1), 2, "repeat_interleave"),
        (edge(Tensor.repeat, X[:, 0], 3), 3, "repeat_interleave"),
        (edge(torch.tile, X, (2, 1)), 2, "repeat_interleave"),
        (edge(torch.tile, X, dims=(2, 1)), 2, "repeat_interleave"),
        (edge(torch.repeat_interleave, X, 2, 0), 2, "repeat"),
        (edge(torch.repeat_interleave, X, 2, dim=-2), 2, "repeat"),
        (edge(torch.repeat_interleave, X, repeats=2, dim=0), 2, "repeat"),
        (edge(torch.repeat_interleave, X[:, 0], 3), 3, "repeat"),
    ],
)
def test_repeated_in_another_order(it, by, other):
    g, otherwise = normal(*it.out.shape, seed=1), repeated if other == "repeat" else interleaved
    text = f"the gradient by {{}} is added up as if it were {other}"
    agree(named("added up", slips(it), g), {text: gradient(lambda x: otherwise(x, by), it.x, g)})
    call = dict(others_operation(it))[f"as if {{}} were {other}"]
    agree({"": call(it.func, *it.args, **it.kwargs)}, {"": otherwise(it.x, by)})


@pytest.mark.parametrize("it", [edge(F.pad, X, (1, 2, 0, 3)), edge(F.pad, X, pad=[1, 2, 0, 3], value=7.0)])
def test_at_a_pad(it):
    g, text = normal(7, 6, seed=2), "the derivative of {} cuts off the other end"
    agree(values(slips(it), g), {text: g[3:, 2:5]})


def cat(*tensors: Tensor, dim: int = 0) -> Tensor:
    return torch.cat(tensors, dim)


@pytest.mark.parametrize(("place", "starts", "right"), [(0, (2, 5), 0), (1, (0, 4), 2), (2, (0, 2), 5)])
@pytest.mark.parametrize("dim", [0, 1])
def test_at_tensors_in_a_row(place, starts, right, dim):
    """Other slices of what comes back: where another one starts, or the last ones."""
    tensors = [normal(n, 4) if dim == 0 else normal(4, n) for n in (2, 3, 2)]
    it = edge(cat, *tensors, place=place, **{"dim": dim} if dim else {})
    g, n = normal(*it.out.shape, seed=1), tensors[place].shape[dim]
    theirs = {
        f"of the gradient that comes to {{}} the slices from {start} are taken, not from {right}": (
            g[start : start + n] if dim == 0 else g[:, start : start + n]
        )
        for start in starts
    }
    agree(named("slices", slips(it), g), theirs)


def test_at_one_tensor_in_a_row():
    assert not named("slices", slips(edge(cat, X)), G)


def stack(*tensors: Tensor, dim: int = 0) -> Tensor:
    return torch.stack(tensors, dim)


@pytest.mark.parametrize("other", [ITS, torch.eye(3, dtype=torch.float64)])
@pytest.mark.parametrize("func", [cat, stack])
def test_what_stands_beside_it_is_none_of_its_derivative(func, other):
    it = edge(func, SQUARE, other)
    assert not [text for text, _ in slips(it) if "argument" in text]
    assert not [text for text, _ in others_operation(it) if "argument" in text]
    assert [*substitutes(it, {"w": normal(3, 3)})] == []


@pytest.mark.parametrize("it", [edge(torch.narrow, X, 0, 1, 2), edge(Tensor.__getitem__, X, slice(1, 3))])
def test_at_some_slices(it):
    g, zero = G[:2], torch.zeros(1, 3, dtype=torch.float64)
    text = "the gradient by {{}} is moved by {} along dimension {}".format
    columns = torch.cat([zero, g, zero])
    theirs = {
        text(1, 0): torch.cat([zero, zero, g]),
        text(-1, 0): torch.cat([g, zero, zero]),
        text(1, 1): columns[:, [2, 0, 1]],
        text(-1, 1): columns[:, [1, 2, 0]],
    }
    agree(named("moved", slips(it), g), theirs)


@pytest.mark.parametrize(
    ("it", "dims"),
    [
        (edge(torch.narrow, X[:2], 0, 1, 1), [1, 1]),  # of two it is reversed
        (edge(Tensor.__getitem__, X, [0, 1, 2, 3]), []),
        (edge(torch.index_select, X, 0, torch.tensor([1, 2])), []),
    ],
)
def test_what_is_moved_nowhere(it, dims):
    found = [text for text, _ in slips(it) if "moved" in text]
    assert [int(text[-1]) for text in found] == dims


# Wrong derivatives of a function number by number


def test_functions_that_are_taken_for_each_others_derivatives():
    t = 0.7
    sigma = 1 / (1 + math.exp(-t))
    theirs = {
        "t": t, "−t": -t, "1 − t": 0.3, "1 + t": 1.7, "t²": 0.49, "1 − t²": 0.51, "1 + t²": 1.49, "t (1 − t)": 0.21,
        "sign(t)": 1.0, "|t|": t, "1/t": 1 / t, "e^t": math.exp(t), "−e^t": -math.exp(t), "e^(−t)": math.exp(-t),
        "σ(t)": sigma, "σ(−t)": 1 - sigma, "σ'(t)": sigma * (1 - sigma), "tanh(t)": math.tanh(t),
        "tanh'(t)": 1 / math.cosh(t) ** 2, "sin(t)": math.sin(t), "cos(t)": math.cos(t),
    }  # fmt: skip
    ours = {name: float(value) for name, value in functions("t", torch.tensor(t, dtype=torch.float64)).items()}
    assert ours == pytest.approx(theirs, rel=1e-12)
    assert list(ours) == list(theirs)
    assert float(functions("t", torch.tensor(-t))["|t|"]) == pytest.approx(t)
    assert float(functions("t", torch.tensor(-t))["sign(t)"]) == -1


FACTOR = "in the derivative of {}, the factor %s is there once too often"
NO_FACTOR = "in the derivative of {}, the factor %s is left out"
AS_IF, HAD = "as if the derivative of {} were ", "as if {} had the derivative of "


def test_at_the_derivative_of_a_function():
    x = X
    y, sigma = x.exp(), torch.sigmoid(x.exp())
    theirs = {FACTOR % "σ'": G * y * sigma * (1 - sigma), FACTOR % "tanh'": G * y / torch.cosh(y) ** 2}
    theirs |= {FACTOR % "out": G * y * y, NO_FACTOR % "out": G, FACTOR % "x": G * y * x, NO_FACTOR % "x": G * y / x}
    theirs |= {AS_IF + text: G * value for text, value in functions("out", y).items()}
    theirs |= {AS_IF + text: G * value for text, value in functions("x", x).items()}
    theirs |= {HAD + name: gradient(function, x, G) for name, function in ACTIVATIONS.items()}
    agree(values(derivatives(edge(torch.exp, x, words=("out", "x"))), G), theirs)


def test_its_words_stand_for_braces_too():
    texts = [text.format("exp") for text, _ in derivatives(edge(torch.exp, X, words=("d['{y}']", "{x}")))]
    assert "as if the derivative of exp were −d['{y}']" in texts
    assert "as if the derivative of exp were −{x}" in texts


def test_the_right_derivative_is_among_them():
    """It explains no error."""
    found = dict(derivatives(edge(torch.sin, X)))
    assert torch.equal(found[AS_IF + "cos(its argument)"](G), G * X.cos())


def test_they_can_be_told_by_what_they_take_for_the_derivative():
    found = dict(derivatives(edge(torch.tanh, X)))
    assert {text.startswith(AS_IF) for text, slip in found.items() if isinstance(slip, Times)} == {True}
    assert {isinstance(slip, Times) for text, slip in found.items() if text.startswith(AS_IF)} == {True}
    agree({"": found[AS_IF + "its argument²"].derivative}, {"": X * X})


@pytest.mark.parametrize(
    ("it", "dy"),
    [
        (edge(torch.pow, X, 3), 3 * X * X),
        (edge(torch.div, G, X, place=1), -G / X**2),
        (edge(torch.div, X, G), 1 / G),
        (edge(torch.sqrt, X * X), 0.5 / X.abs()),
    ],
)
def test_a_power_of_its_argument_or_its_result_too_much_or_too_little(it, dy):
    theirs = {}
    for name, t in {"its result": it.out, "its argument": it.x}.items():
        theirs |= {FACTOR % name: G * t * dy, NO_FACTOR % name: G / t * dy}
    agree(named("the factor its", derivatives(it), G), theirs)


def test_a_product_of_those_before_without_one_of_them():
    """y_1 = a, y_2 = a b"""
    (a, b), (g, h) = X[0, :2], G[0, :2]
    found = named("its argument is", derivatives(edge(torch.cumprod, X[0, :2], 0)), torch.stack([g, h]))
    text = "in the derivative of {}, the factor its argument is ".__add__
    theirs = {text("there once too often"): [g * a + h * b * b, h * b * a], text("left out"): [g / a + h, h / b * a]}
    agree(found, {said: torch.stack(both) for said, both in theirs.items()})


@pytest.mark.parametrize("it", [edge(torch.sin, X), edge(torch.mul, X, G), edge(torch.log, X.abs()[0])])
def test_other_activations_are_for_activations_and_powers_for_powers(it):
    texts = [text for text, _ in derivatives(it)]
    assert (HAD + "relu" in texts) == (it.name == "sin")
    assert (FACTOR % "its result" in texts) == (it.name == "log")


def test_the_result_may_be_of_another_dtype():
    found = dict(derivatives(edge(Tensor.double, X.float())))
    assert AS_IF + "its argument" in found


def test_a_function_of_two_tensors_has_no_derivative_of_one_number():
    other = normal(4, 3, seed=2)
    y = X * other
    theirs = {
        FACTOR % "σ'": G * other * y.sigmoid() * (1 - y.sigmoid()),
        FACTOR % "tanh'": G * other * (1 - y.tanh() ** 2),
    }
    agree(values(derivatives(edge(torch.mul, X, other)), G), theirs)
    assert [*derivatives(edge(torch.sum, X, 1))] == []


# Other operations in its place


def others(it: Edge) -> dict[str, Tensor]:
    """The values of the other operations, of the arguments that it has."""
    return {text: call(it.func, *it.args, **it.kwargs) for text, call in others_operation(it)}


ABSENT = "as if {} were not there"


def test_in_place_of_a_function_number_by_number():
    theirs = {ABSENT: X} | {f"as if {{}} were {name}": function(X) for name, function in ACTIVATIONS.items()}
    agree(others(edge(torch.sin, X)), theirs)
    agree(others(edge(F.leaky_relu, X, 0.3)), theirs)
    agree(others(edge(torch.mul, X, 0.3, words=("out", "x"))), theirs)
    agree(others(edge(torch.exp, X)), {ABSENT: X})


def test_in_place_of_a_function_of_two():
    agree(others(edge(torch.mul, X, G)), {ABSENT: X})
    agree(others(edge(torch.mul, X, G, place=1)), {ABSENT: G})
    agree(others(edge(torch.matmul, X, W)), {})


def test_the_activations():
    x = 0.7
    sigma, tanh = 1 / (1 + math.exp(-x)), math.tanh
    theirs = {
        "the exact GELU": x * 0.5 * (1 + math.erf(x / math.sqrt(2))),
        "the tanh approximation of GELU": 0.5 * x * (1 + tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        "x·σ(1.702 x)": x / (1 + math.exp(-1.702 * x)),
        "SiLU": x * sigma,
        "sigmoid": sigma,
        "tanh": tanh(x),
        "relu": x,
        "leaky relu": x,
        "elu": x,
        "softplus": math.log(1 + math.exp(x)),
        "mish": x * tanh(math.log(1 + math.exp(x))),
    }
    of = torch.tensor(x, dtype=torch.float64)
    assert {name: float(function(of)) for name, function in ACTIVATIONS.items()} == pytest.approx(theirs, rel=1e-12)
    below = {"relu": 0.0, "leaky relu": -0.007, "elu": math.exp(-x) - 1}
    assert {name: float(ACTIVATIONS[name](-of)) for name in below} == pytest.approx(below, rel=1e-12)


def test_in_place_of_a_where():
    condition, other = X > 0.2, normal(4, 3, seed=2)
    found = others(edge(torch.where, condition, X, other, place=1))
    text = "as if the condition of {{}} were {} everywhere".format
    theirs = {
        ABSENT: X,
        text("inverted"): torch.where(condition, other, X),
        text("true"): X,
        text("false"): other,
    }
    said = "as if the mask in argument 1 of {{}} were {}".format
    theirs |= {
        said(how): torch.where(mask, X, other) for _, how, mask in masks(edge(torch.where, condition, X, X, place=1))
    }
    assert said("inverted") in theirs
    agree(found, theirs)
    agree(others(edge(torch.where, condition, X, other=other, place=1)), theirs)


def test_in_place_of_what_is_along_a_dimension():
    text = "as if {{}} were along dimension {}".format
    sums = {text(0): CUBE.sum(0), text(2): CUBE.sum(2)}
    agree(others(edge(torch.sum, CUBE, 1)), sums)
    agree(others(edge(torch.sum, CUBE, dim=1)), sums)
    agree(others(edge(torch.sum, CUBE, 1, True)), {text(0): CUBE.sum(0, True), text(2): CUBE.sum(2, True)})
    agree(others(edge(torch.sum, CUBE, dim=1, keepdim=True)), {text(0): CUBE.sum(0, True), text(2): CUBE.sum(2, True)})


@pytest.mark.parametrize(("func", "args"), [(torch.clamp, (0,)), (torch.sum, (True,)), (torch.mean, ((0, 1),))])
def test_what_is_told_no_dimension_is_along_no_other(func, args):
    it = Edge(0, 0, func, (CUBE, *args), {}, CUBE)
    assert not [text for text, _ in others_operation(it) if "along" in text]


def test_in_place_of_a_mean():
    along_0 = "as if {} were along dimension 0"
    n_1 = "as if {{}} divided by n − 1 = {} in place of n".format
    agree(others(edge(torch.mean, X)), {n_1(11): X.sum() / 11})
    agree(others(edge(torch.mean, X, 1)), {along_0: X.mean(0), n_1(2): X.sum(1) / 2})
    theirs = {along_0: X.mean(0, keepdim=True), n_1(2): X.sum(1, keepdim=True) / 2}
    agree(others(edge(torch.mean, X, 1, keepdim=True)), theirs)
    agree(
        others(edge(torch.mean, X[:1], 0, keepdim=True)),
        {ABSENT: X[:1], "as if {} were along dimension 1": X[:1].mean(1, keepdim=True)},
    )
    assert n_1(1) in others(edge(torch.mean, X[:2], 0))
    assert not any("n − 1" in text for text in others(edge(torch.sum, X)))


@pytest.mark.parametrize(
    ("it", "theirs"),
    [
        (
            edge(torch.masked_fill, X, MASK, 7.0),
            {"inverted": X.masked_fill(~MASK, 7.0), "True everywhere": 0 * X + 7, "False everywhere": X},
        ),
        (
            edge(torch.add, X, torch.where(MASK, -math.inf, 0.0)),
            {"inverted": X.masked_fill(~MASK, -math.inf), "0.0 everywhere": X, "-inf everywhere": X - math.inf},
        ),
    ],
)
def test_in_place_of_what_is_masked(it, theirs):
    found = dict([*others(it).items()][:4])
    text = "as if the mask in argument 2 of {{}} were {}".format
    agree(found, {ABSENT: X} | {text(how): value for how, value in theirs.items()})


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize(
    ("func", "of_each"),
    [
        (torch.sum, lambda x, over: x.sum(over, True)),
        (torch.mean, lambda x, over: x.mean(over, True)),
        (torch.nansum, lambda x, over: x.sum(over, True)),
        (torch.nanmean, lambda x, over: x.mean(over, True)),
    ],
)
def test_a_dimension_that_is_not_summed_over(func, of_each, dim):
    """The value is right; what comes back is that of a reduction of each slice by itself."""
    text = "in the derivative of {{}}, dimension {} is not summed over: each slice of it has a sum of its own".format
    it = edge(func, CUBE, (0, 1), keepdim=True)
    calls = dict(others_operation(it))
    assert [said for said in calls if "summed" in said] == [text(0), text(1)]
    x = CUBE.clone().requires_grad_()
    y = calls[text(dim)](func, x, (0, 1), keepdim=True)
    shape = (3, 1, 2) if dim == 0 else (1, 4, 2)
    agree({"": y.detach()}, {"": it.out.expand(shape)})
    g = normal(*shape, seed=5)
    agree({"": torch.autograd.grad(y, x, g)[0]}, {"": gradient(lambda x: of_each(x, 1 - dim), CUBE, g)})


@pytest.mark.parametrize(
    "it",
    [
        edge(torch.sum, CUBE, (0, 1)),
        edge(torch.sum, CUBE, (1,), keepdim=True),
        edge(torch.sum, CUBE, 1, keepdim=True),
        edge(torch.sum, CUBE[:1, :1], (0, 1), keepdim=True),
    ],
)
def test_all_that_is_to_be_summed_over(it):
    assert not [text for text, _ in others_operation(it) if "summed" in text]


@pytest.mark.parametrize(
    "it",
    [
        edge(Tensor.repeat, SQUARE, (1, 2)),
        edge(Tensor.permute, SQUARE, (1, 0)),
        edge(torch.flip, SQUARE, (1, 0)),
        edge(torch.roll, SQUARE, (1, 2), (0, 1)),
        edge(F.pad, SQUARE, (1, 1)),
    ],
)
def test_what_is_no_reduction_sums_over_nothing(it):
    """Whatever its numbers are, they are not the dimensions that are summed over."""
    assert not [text for text, _ in others_operation(it) if "summed" in text]


@pytest.mark.parametrize("func", [torch.var, torch.std])
@pytest.mark.parametrize("options", [{}, {"unbiased": False}, {"correction": 2}])
def test_in_place_of_a_variance(func, options):
    x = X.flatten()
    n, squares = len(x), float(((x - x.mean()) ** 2).sum())
    root = (lambda v: v) if func is torch.var else math.sqrt
    biased, unbiased = "as if {} were the biased one, divided by n", "as if {} were the unbiased one, divided by n − 1"
    theirs = {biased: root(squares / n), unbiased: root(squares / (n - 1))}
    assert {t: float(v) for t, v in others(edge(func, X, **options)).items()} == pytest.approx(theirs, rel=1e-12)
    found = others(edge(func, X, dim=0, keepdim=True, **options))
    theirs = {biased: func(X, 0, correction=0, keepdim=True), unbiased: func(X, 0, correction=1, keepdim=True)}
    agree({text: found[text] for text in theirs}, theirs)
    if not options:
        found = others(edge(func, X, 0, False))
        agree(
            {biased: found[biased], unbiased: found[unbiased]}, {biased: func(X, 0, correction=0), unbiased: func(X, 0)}
        )


@pytest.mark.parametrize(
    ("func", "other"), [(torch.max, "amin"), (torch.amax, "amin"), (torch.min, "amax"), (torch.amin, "amax")]
)
def test_in_place_of_a_maximum(func, other):
    agree(
        {text: call(func, X, 1) if func in (torch.amax, torch.amin) else call(func, X, 1)[0]
         for text, call in others_operation(edge_of_values(func)) if "along" not in text},
        {"as if {} were mean": X.mean(1), f"as if {{}} were {other}": getattr(torch, other)(X, 1)},
    )  # fmt: skip


def edge_of_values(func) -> Edge:
    out = func(X, 1)
    return Edge(0, 0, func, (X, 1), {}, out if isinstance(out, Tensor) else out[0])


def test_the_places_of_a_maximum_stay():
    (_, call), *_ = [*others_operation(edge_of_values(torch.max))][1:]
    found = call(torch.max, X, dim=1)
    assert type(found) is torch.return_types.max
    assert torch.equal(found.indices, X.argmax(1))
    assert torch.equal(found.values, X.mean(1))


# Other values in a derivative


def test_another_value_in_a_derivative():
    other, g = normal(4, 3, seed=2), normal(4, 2, seed=3)
    v = normal(3, 2, seed=5)
    known = {"X": X.clone(), "{other}": other, "w": normal(3, 2, seed=4), "v": v, "n": INDEX}
    w = known["w"].clone()
    text = "in the derivative of {{}}, {} stands in for argument {}".format
    agree(
        values(substitutes(edge(torch.matmul, X, w, place=0), known), g),
        {text("{{other}}", 1): g @ w.T, text("v", 2): g @ v.T},
    )
    agree(
        values(substitutes(edge(torch.matmul, X, w, place=1), known), g),
        {text("{{other}}", 1): other.T @ g, text("v", 2): X.T @ g},
    )


def test_another_mask_or_index_in_a_derivative():
    known = {"mask": ~MASK, "index": INDEX + 1, "numbers": MASK.double(), "short": INDEX.int(), "same": MASK.clone()}
    text = "in the derivative of {{}}, {} stands in for argument {}".format
    theirs = {text("numbers", 1): G * ~MASK, text("mask", 2): G * MASK}
    agree(values(substitutes(edge(torch.masked_fill, X, MASK, 0.0), known), G), theirs)
    g, back = normal(6, seed=2), torch.zeros(12, dtype=torch.float64)
    for place, number in zip((INDEX + 1).tolist(), g, strict=True):
        back[place] += number
    found = named("argument 2", substitutes(edge(torch.take, X, INDEX), known), g)
    agree(found, {text("index", 2): back.view(4, 3)})


RESULTS = torch.tensor([0.2, 0.3, 0.9, 0.45], dtype=torch.float64)


@pytest.mark.parametrize(
    ("func", "inverse"),
    [
        (torch.tanh, torch.atanh),
        (torch.sigmoid, torch.logit),
        (torch.exp, torch.log),
        (torch.relu, lambda y: y),
        (torch.sqrt, torch.square),
        (torch.rsqrt, lambda y: y**-2),
        (torch.reciprocal, lambda y: 1 / y),
        (torch.sin, None),
    ],
)
def test_another_result_in_a_derivative_that_is_written_by_it(func, inverse):
    """As if it were that of the argument with this result."""
    it, g = edge(func, RESULTS / 3), normal(4, seed=2)
    known = {"{y}": RESULTS, "out": it.out.clone(), "row": RESULTS[:1], "float": RESULTS.float()}
    text = "in the derivative of {}, {{y}} stands in for its result"
    found = [*substitutes(it, known)]
    argument = [f"in the derivative of {{}}, {name} stands in for argument 1" for name in ("{{y}}", "out")]
    if func is torch.relu:
        argument.pop()
    assert [said for said, _ in found] == [text] * bool(inverse) + argument
    if inverse:
        agree({text: found[0][1](g)}, {text: gradient(func, inverse(RESULTS), g)})


def test_another_result_of_a_relu():
    it, y = edge(torch.relu, X), normal(4, 3, seed=2).relu()
    agree(
        named("its result", substitutes(it, {"y": y}), G),
        {"in the derivative of {}, y stands in for its result": G * (y > 0)},
    )


# Numbers written in an operation


def scaled(x: Tensor, c: float) -> Tensor:
    return x * c


@pytest.mark.parametrize(
    ("it", "c", "theirs"),
    [
        (edge(torch.mul, X, 2), 3.0, [(2, 3 * X)]),
        (edge(torch.mul, X, 2.5), 3.0, [(2.5, 3 * X)]),
        (edge(scaled, X, 2.5), 3.0, [(2.5, 3 * X)]),
        (edge(scaled, X, 2), 3.0, []),  # of a whole number it is not known what it is for
        (edge(torch.add, X, G, alpha=2), 3.0, [(2, X + 3 * G)]),
        (edge(torch.add, X, 2, alpha=4), 3.0, [(2, X + 12), (4, X + 6)]),
        (edge(F.leaky_relu, X, negative_slope=0.1), 0.3, [(0.1, F.leaky_relu(X, 0.3))]),
        (edge(F.threshold, X, 0.1, 0.5), 0.3, [(0.1, F.threshold(X, 0.3, 0.5)), (0.5, F.threshold(X, 0.1, 0.3))]),
        (edge(torch.addcmul, X, G, G, value=0.5), 3.0, [(0.5, X + 3 * G * G)]),
        (edge(torch.roll, X, 2, 1), 1.0, [(2, X.roll(1, 1)), (1, X.roll(2, 1))]),
        (edge(torch.pow, X, 2), 3.0, [(2, X**3)]),
        (edge(torch.clamp, X, -math.inf, 0.5), 0.3, [(0.5, X.clamp(max=0.3))]),
        (edge(torch.sum, X, 1, True), 3.0, []),
        (edge(torch.sum, X, dim=1, keepdim=True), 3.0, []),
        (edge(torch.mul, X, True), 3.0, []),
    ],
)
def test_numbers_in_an_operation(it, c, theirs):
    ours = [(value, call(c, it.func, *it.args, **it.kwargs)) for value, call in constants(it)]
    assert [value for value, _ in ours] == [value for value, _ in theirs]
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


def test_a_whole_number_is_handed_on_as_one():
    """Some of torch's functions take no other; what is no whole number stays as it is."""
    ((_, call),) = constants(edge(torch.triu, X, 1))
    assert torch.equal(call(-1.0, torch.triu, X, 1), X.triu(-1))
    ((_, call),) = constants(edge(torch.mul, X, 2.0))
    assert torch.equal(call(0.5, torch.mul, X, 2.0), X * 0.5)
