"""What autograd gives if an operation of a forward is differentiated otherwise: under which name, and which numbers."""

import linecache
import os
import re
from collections.abc import Iterable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crosscheck.cause import paths as module
from crosscheck.cause import recorded as operations
from crosscheck.cause.decompositions import DECOMPOSITIONS
from crosscheck.cause.paths import Paths
from crosscheck.cause.recorded import Recorded


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, W = normal(4, 3), normal(4, 3, seed=1)


def inputs(xs) -> list[Tensor]:
    return [x.clone().requires_grad_() for x in xs]


def paths(forward, *xs, **named) -> Paths:
    xs = inputs(xs or (X, W))
    g = normal(*forward(*xs).shape, seed=9)
    return Paths(forward, xs, [g], named)


class Runs:
    """A time that is up after so many looks at it."""

    def __init__(self, count: int) -> None:
        self.count = count

    @property
    def is_up(self) -> bool:
        self.count -= 1
        return self.count < 0


def short(text: str) -> str:
    """Without the lines of a file, which are not always the same."""
    return re.sub(r"line \d+( of \w+\.py)?: ", "", text)


def by_name(found: Iterable[tuple[str, Sequence[Tensor]]]) -> dict[str, Sequence[Tensor]]:
    return {short(text): gradients for text, gradients in found}


def shares(forward, *xs) -> dict[str, Sequence[Tensor]]:
    return by_name(paths(forward, *xs).shares.items())


def equal(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


def same(ours, theirs) -> None:
    """The same gradients by name, in the same order."""
    assert list(ours) == list(theirs)
    for name, gradients in theirs.items():
        equal(ours[name], gradients)


# Names

TANH = torch.nn.Tanh()


def act(x):
    return torch.tanh(x)


def through(x):
    return act(x)


def looped(x, w):
    for _ in range(3):
        x = torch.tanh(x * w)
    return x


def in_several_lines(x, w):
    return torch.where(
        w.detach() > 0,
        x,
        x.exp(),
    )


MUL = "mul (x * w) by its argument"
NAMES = {
    "one argument": (lambda x, w: torch.tanh(x), ["tanh (torch.tanh(x))"]),
    "two arguments": (lambda x, w: x * w, [f"{MUL} 2", f"{MUL} 1"]),
    "the second of two": (lambda x, w: x.detach() * w, ["mul (x.detach() * w)"]),
    "no tensor first": (lambda x, w: torch.einsum("ij->ji", x), ['einsum (torch.einsum("ij->ji", x))']),
    "the last one first": (lambda x, w: x.sin().exp(), ["exp (x.sin().exp())", "sin (x.sin())"]),
    "behind a letter of two bytes": (lambda σ, w: w + σ.sin(), [
        "add (w + σ.sin()) by its argument 2", "add (w + σ.sin()) by its argument 1", "sin (σ.sin())",
    ]),
    "several lines": (in_several_lines, [
        "where (return torch.where() by its argument 3", "where (return torch.where() by its argument 2",
        "exp (x.exp())",
    ]),
    "a module of torch's": (lambda x, w: TANH(x), ["tanh (TANH(x))"]),
    "from two places": (lambda x, w: act(act(x).sin()), [
        "tanh (torch.tanh(x), from act(act(x).sin()))", "sin (act(x).sin())", "tanh (torch.tanh(x), from act(x))",
    ]),
    "from one place": (lambda x, w: act(x.sin()), ["tanh (torch.tanh(x))", "sin (x.sin())"]),
    "from two places, through another": (lambda x, w: through(through(x).sin()), [
        "tanh (torch.tanh(x), from through(through(x).sin()))", "sin (through(x).sin())",
        "tanh (torch.tanh(x), from through(x))",
    ]),
    "several times": (looped, [
        *(f"{name} 1 of 3,\n{name} 2 of 3,\n{name} 3 of 3,\nevery {name.removesuffix(', call')}"
          for name in ("tanh (torch.tanh(x * w)), call", f"{MUL} 2, call", f"{MUL} 1, call")),
    ]),
    "alike in one line": (lambda x, w: torch.sin(w) + torch.sin(w), [
        "add (torch.sin(w) + torch.sin(w)) by its argument 2", "add (torch.sin(w) + torch.sin(w)) by its argument 1",
        "sin (torch.sin(w)), call 1 of 2,", "sin (torch.sin(w)), call 2 of 2,", "every sin (torch.sin(w))",
    ]),
    "written out": (lambda x, w: F.silu(x), [
        "mul (F.silu(x), there x * torch.sigmoid(x)) by its argument 2",
        "mul (F.silu(x), there x * torch.sigmoid(x)) by its argument 1",
        "sigmoid (F.silu(x), there torch.sigmoid(x))",
    ]),
    "written out in two functions": (lambda x, w: F.mse_loss(x, w.detach()), [
        "mean (F.mse_loss(x, w.detach()), there reductions[reduction]())",
        "pow (F.mse_loss(x, w.detach()), there (n_out - z) ** 2)",
        "sub (F.mse_loss(x, w.detach()), there n_out - z)",
    ]),
    "written out, as its option says": (lambda x, w: F.mse_loss(x, w.detach(), reduction="sum"), [
        'sum (F.mse_loss(x, w.detach(), reduction="sum"), there reductions[reduction]())',
        'pow (F.mse_loss(x, w.detach(), reduction="sum"), there (n_out - z) ** 2)',
        'sub (F.mse_loss(x, w.detach(), reduction="sum"), there n_out - z)',
    ]),
    "written out, and not": (lambda x, w: F.silu(w * 2.0, True).sin(), [
        "sin (F.silu(w * 2.0, True).sin())", "silu (F.silu(w * 2.0, True))", "mul (w * 2.0)",
    ]),
    "written out, alike in two places": (lambda x, w: F.gelu(x), [
        "mul (F.gelu(x), there x * (0.5 * (1 + torch.erf(x / math.sqrt(2))))) by its argument 2",
        "mul (F.gelu(x), there x * (0.5 * (1 + torch.erf(x / math.sqrt(2))))) by its argument 1",
        "mul (F.gelu(x), there 0.5 * (1 + torch.erf(x / math.sqrt(2))))",
        "add (F.gelu(x), there 1 + torch.erf(x / math.sqrt(2)))",
        "erf (F.gelu(x), there torch.erf(x / math.sqrt(2)))", "div (F.gelu(x), there x / math.sqrt(2))",
    ]),
    "a value and its place": (lambda x, w: x.max(-1).values, ["max (x.max(-1))"]),
    "several tensors": (lambda x, w: x.chunk(2)[0].sin(), [
        "sin (x.chunk(2)[0].sin())",
        *(f"narrow (x.chunk(2), there x.narrow(dim, start, size)), call {i} of 2," for i in (1, 2)),
        "every narrow (x.chunk(2), there x.narrow(dim, start, size))",
    ]),
    "constants": (lambda x, w: x.detach().sin() * torch.ones(3, dtype=x.dtype) + w, [
        "add (x.detach().sin() * torch.ones(3, dtype=x.dtype) + w)",
    ]),
    "what computes nothing": (lambda x, w: x.requires_grad_() * 2.0, ["mul (x.requires_grad_() * 2.0)"]),
}  # fmt: skip


@pytest.mark.parametrize("forward", NAMES)
def test_operations_by_name(forward):
    forward, names = NAMES[forward]
    assert list(shares(forward)) == [name for lines in names for name in lines.splitlines()]


def test_the_lines_of_an_operation_and_its_callers():
    def forward(x):
        x = act(x)
        return act(x + 1)

    first, called = (function.__code__.co_firstlineno + 1 for function in (forward, act))
    assert list(paths(forward, X).shares) == [
        f"tanh (line {called} of test_paths.py: torch.tanh(x), from line {first + 1}: act(x + 1))",
        f"add (line {first + 1} of test_paths.py: x + 1)",
        f"tanh (line {called} of test_paths.py: torch.tanh(x), from line {first}: act(x))",
    ]


def test_what_calls_the_forward_is_not_said():
    def forward(x):
        return through(act(x).sin())

    found = paths(forward, X).shares
    assert list(map(short, found)) == [
        "tanh (torch.tanh(x), from act(x), from through(act(x).sin()))",
        "sin (act(x).sin())",
        "tanh (torch.tanh(x), from act(x))",
    ]


def compiled(source: str, file: str = "<nowhere>"):
    names = {"torch": torch}
    exec(compile(source, file, "exec"), names)
    return names["forward"]


def test_operations_whose_source_is_not_there():
    forward = compiled("def forward(x, w):\n    x = torch.sin(x)\n    w = torch.sin(w)\n    return torch.sin(x * w)")
    found = paths(forward).shares
    assert list(found) == [
        "sin, call 1 of 3,", "sin, call 2 of 3,", "sin, call 3 of 3,", "every sin",
        "mul by its argument 2", "mul by its argument 1",
    ]  # fmt: skip
    a, b = X.sin(), W.sin()
    g = normal(4, 3, seed=9) * (a * b).cos()
    equal(found["sin, call 1 of 3,"], (g * b * X.cos(), 0 * W))
    equal(found["sin, call 2 of 3,"], (0 * X, g * a * W.cos()))


def test_the_source_may_be_another_by_now(tmp_path):
    file = tmp_path / "edited.py"
    forward = compiled("forward = lambda x: torch.tanh(x)\n", str(file))
    file.write_text("∂" * 40 + "\n")
    assert list(shares(forward, X)) == ["tanh (\N{REPLACEMENT CHARACTER}∂∂∂∂)"]


def test_a_function_is_written_out_where_it_is_called_as_that_is(monkeypatch):
    monkeypatch.setitem(DECOMPOSITIONS, torch.sum, lambda t, *, dim: t.mean(dim))
    assert list(shares(lambda x: torch.sum(x, dim=1), X)) == ["mean (t.mean(dim))"]
    assert list(shares(lambda x: torch.sum(x, 1), X)) == ["sum (torch.sum(x, 1))"]
    assert list(shares(lambda x: torch.sum(input=x.sin(), dim=1), X)) == ["sin (x.sin())"]


# What is remembered


def recorded(forward, *xs) -> tuple[list, Recorded]:
    xs = inputs(xs or (X, W))
    with Recorded() as found:
        forward(*xs)
    edges = [edge for of in found.places(found.edges).values() for edge in of]
    return sorted(edges, key=lambda edge: (edge.number, edge.place)), found


def test_an_operation_and_its_values():
    edges, found = recorded(lambda x, w: (torch.ones(3) + 1, x.exp() * w.detach(), w.sum(-1, keepdim=True)))
    assert [(edge.number, edge.place, edge.name, dict(edge.kwargs)) for edge in edges] == [
        (3, 0, "exp", {}),
        (5, 0, "mul", {}),
        (6, 0, "sum", {"keepdim": True}),
    ]
    assert edges[2].args[1] == -1
    equal(edges[1].args, (X.exp(), W))
    equal([edge.out for edge in edges], (X.exp(), X.exp() * W, W.sum(-1, keepdim=True)))
    assert not any(x.requires_grad for edge in edges for x in (edge.x, edge.out))
    assert found.count == 6
    assert found.numbers == 12 + 12 + 3 * 12 + 12 + 4
    assert not found.in_place


def test_the_values_are_those_before_they_are_changed():
    def forward(x, w):
        y = x.exp()
        y.mul_(w)
        y += 1
        return torch.einsum("ij->ji", y)

    edges, found = recorded(forward, X, W.detach())
    assert found.in_place == {2, 3}
    exp, mul, by_w, add, _ = edges
    equal((exp.out, mul.x, by_w.x, add.x), (X.exp(), X.exp(), W, X.exp() * W))
    equal((mul.out, add.out), (X.exp() * W, X.exp() * W + 1))


# Shares

G = normal(4, 3, seed=9)


def tanh_(x):
    """The derivative of tanh."""
    return 1 - x.tanh() ** 2


def in_place(x, w):
    y = x * 2.0
    y += w
    y.tanh_()
    return y * 3.0


def test_what_comes_back_through_each_operation():
    found = shares(lambda x, w: torch.tanh(x) * w + x)
    add, mul, tanh = "add (torch.tanh(x) * w + x)", "mul (torch.tanh(x) * w)", "tanh (torch.tanh(x))"
    expected = {
        f"{add} by its argument 2": (G, 0 * W),
        f"{add} by its argument 1": (G * W * tanh_(X), G * X.tanh()),
        f"{mul} by its argument 2": (0 * X, G * X.tanh()),
        f"{mul} by its argument 1": (G * W * tanh_(X), 0 * W),
        tanh: (G * W * tanh_(X), 0 * W),
    }
    same(found, expected)


def test_what_comes_back_through_each_step():
    def twice(x, w):
        for _ in range(2):
            x = x * w
        return x.exp()

    found = shares(twice)
    g = G * (X * W * W).exp()
    expected = {
        "exp (x.exp())": (g * W * W, 2 * g * X * W),
        f"{MUL} 2, call 1 of 2,": (0 * X, g * X * W),
        f"{MUL} 2, call 2 of 2,": (0 * X, g * X * W),
        f"every {MUL} 2": (0 * X, 2 * g * X * W),
        f"{MUL} 1, call 1 of 2,": (g * W * W, 0 * W),
        f"{MUL} 1, call 2 of 2,": (g * W * W, g * X * W),
        f"every {MUL} 1": (g * W * W, g * X * W),
    }
    same(found, expected)


def test_what_comes_back_through_an_operation_in_place():
    found = shares(in_place)
    g = 3 * G * tanh_(2 * X + W)
    expected = {
        "mul (y * 3.0)": (2 * g, g),
        "tanh (y.tanh_())": (2 * g, g),
        "add (y += w) by its argument 2": (0 * X, g),
        "add (y += w) by its argument 1": (2 * g, 0 * W),
        "mul (x * 2.0)": (2 * g, 0 * W),
    }
    same(found, expected)


def test_what_comes_back_through_an_operation_with_options():
    found = shares(lambda x, w: x.exp().sum(dim=-1, keepdim=True) * w)
    back = (G * W).sum(-1, keepdim=True) * X.exp()
    equal(found["sum (x.exp().sum(dim=-1, keepdim=True))"], (back, 0 * W))


def test_what_comes_back_through_an_operation_with_two_results():
    def forward(x, w):
        found = x.exp().max(-1)
        return found.values * w.gather(-1, found.indices.unsqueeze(-1)).squeeze(-1)

    found = shares(forward)
    g, largest = normal(4, seed=9).unsqueeze(-1), F.one_hot(X.argmax(-1), 3)
    equal(found["max (x.exp().max(-1))"], (g * W * X.exp() * largest, 0 * W))
    equal(found["exp (x.exp())"], found["max (x.exp().max(-1))"])


# Of several times one alone


def test_only_one_of_several_times_counts():
    found = by_name(paths(looped).alone())
    a = (X * W).tanh()
    b = (a * W).tanh()
    d3 = G * tanh_(b * W)
    d2 = d3 * W * tanh_(a * W)
    d1 = d2 * W * tanh_(X * W)
    names = ("tanh (torch.tanh(x * w))", f"{MUL} 2", f"{MUL} 1")
    assert list(found) == [
        f"only the gradient through {name}, call {i} of 3, counts" for name in names for i in (1, 2, 3)
    ]
    for i, back in enumerate((d1 * X, d2 * a, d3 * b), 1):
        equal(found[f"only the gradient through {MUL} 2, call {i} of 3, counts"], (d1 * W, back))
    ahead = d3 * b  # what by its argument 1 is not behind
    for i, back in enumerate((0 * W, d1 * X, d1 * X + d2 * a), 1):
        equal(found[f"only the gradient through {MUL} 1, call {i} of 3, counts"], (d1 * W, ahead + back))


def test_no_time_counts_alone_where_not_all_were_tried(monkeypatch):
    monkeypatch.setattr(module, "Time", lambda: Runs(2))

    def twice(x):
        for _ in range(2):
            x = x.sin()
        return x

    found = paths(twice, X)
    assert list(map(short, found.shares)) == ["sin (x.sin()), call 1 of 2,", "sin (x.sin()), call 2 of 2,"]
    assert not list(found.alone())


def test_what_runs_once_is_not_one_of_several():
    assert not list(paths(lambda x, w: (x * w).sin()).alone())


# Mistaken


def only(*found):
    """A search that finds this."""
    return lambda *_: iter([found])


def another(words: str, factor: float):
    """A slip of this name, by which a derivative is that many times what it is."""
    return lambda edge: only(f"{words} of {{}}", lambda g: factor * edge.back(g))()


def all_mistakes(forward, *xs):
    """In their order."""
    found = paths(forward, *xs)
    return [*found.mistaken(), *found.bent(), *found.replaced(), *found.two_mistaken()]


@pytest.fixture
def few(monkeypatch) -> None:
    """Few mistakes, of other kinds than the real ones."""
    monkeypatch.setattr(module, "slips", another("twice the derivative", 2))
    monkeypatch.setattr(module, "derivatives", another("half the derivative", 0.5))
    negative = only("the negative of {}", lambda func, *args, **kwargs: -func(*args, **kwargs))
    monkeypatch.setattr(module, "others_operation", negative)


def test_mistakes_in_their_order(few):
    found = by_name(all_mistakes(lambda x, w: torch.tanh(x) * w))
    mul, tanh = "mul (torch.tanh(x) * w)", "tanh (torch.tanh(x))"
    by_1, by_2 = f"{mul} by its argument 1", f"{mul} by its argument 2"
    x, w = G * W * tanh_(X), G * X.tanh()
    expected = {
        f"twice the derivative of {by_2}": (x, 2 * w),
        f"twice the derivative of {by_1}": (2 * x, w),
        f"twice the derivative of {tanh}": (2 * x, w),
        f"half the derivative of {by_2}": (x, w / 2),
        f"half the derivative of {by_1}": (x / 2, w),
        f"half the derivative of {tanh}": (x / 2, w),
        f"twice the derivative of {mul}": (2 * x, 2 * w),
        f"the negative of {mul}": (-x, -w),
        f"the negative of {tanh}": (-x, -w),
        f"the derivatives of {by_2} and of {by_1} are left out": (G * tanh_(X), G),
        f"the derivatives of {by_2} and of {tanh} are left out": (G * W, G),
        f"the derivatives of {by_1} and of {tanh} are left out": (G, w),
    }
    same(found, expected)


def test_mistakes_at_every_step(few):
    def twice(x, w):
        for _ in range(2):
            x = torch.exp(x) * w
        return x

    found = by_name(all_mistakes(twice))
    exp, mul = "every exp (torch.exp(x))", "every mul (torch.exp(x) * w)"
    a = X.exp() * W
    assert len(found) == 3 + 3 + 1 + 2 + 3
    x, w = G * a.exp() * W * a, G * a.exp()
    equal(found[f"twice the derivative of {exp}"], (4 * x, 2 * w * W * X.exp() + w))
    equal(found[f"twice the derivative of {mul} by its argument 2"], (x, 2 * w * W * X.exp() + 2 * w))
    equal(found[f"half the derivative of {mul} by its argument 1"], (x / 4, w * W * X.exp() / 2 + w))
    b = -a  # of the first step, if it were its negative
    equal(found[f"the negative of {mul}"], (G * b.exp() * W * a, G * b.exp() * (W * X.exp() - 1)))
    equal(
        found[f"the derivatives of {mul} by its argument 1 and of {exp} are left out"],
        (G, G * (X.exp() + a.exp())),
    )


def test_only_what_is_alike_is_left_out():
    def forward(x):
        y = torch.tanh(x).sum(-1)
        z = torch.sin(y)
        return torch.exp(z)

    exp, sin, tanh = "exp (torch.exp(z))", "sin (torch.sin(y))", "tanh (torch.tanh(x))"
    found = by_name(all_mistakes(forward, X))
    assert [cause for cause in found if cause.endswith("are left out")] == [
        f"the derivatives of {one} and of {other} are left out" for one, other in ((exp, sin), (exp, tanh), (sin, tanh))
    ]


def test_another_operation_in_place(few):
    found = by_name(all_mistakes(in_place))
    g = 3 * G * tanh_(2 * X + W)
    equal(found["the negative of tanh (y.tanh_())"], (-2 * g, -g))
    equal(found["the negative of add (y += w)"], (-2 * g, -g))
    g = 3 * G * tanh_(-2 * X + W)
    equal(found["the negative of mul (x * 2.0)"], (-2 * g, g))


def test_another_operation_in_place_is_given_its_arguments(monkeypatch):
    def scaled(func, x, y, *, alpha):
        return x * alpha + func(x, 2 * y, alpha=alpha)

    monkeypatch.setattr(module, "others_operation", only("scaled {}", scaled))

    def forward(x, w):
        y = x * 2.0
        y.add_(w, alpha=5)
        return y.exp()

    cause = "scaled add (y.add_(w, alpha=5))"
    g = G * (12 * X + 10 * W).exp()
    equal(by_name(all_mistakes(forward))[cause], (12 * g, 10 * g))


def test_what_cannot_be_is_no_mistake(monkeypatch):
    def fails(func, *args):
        raise IndexError

    for other in (fails, lambda func, x: func(x)[:2], lambda func, x: func(x).detach()):
        monkeypatch.setattr(module, "others_operation", only("another than {}", other))
        assert not [cause for cause, _ in all_mistakes(lambda x: x.sin(), X) if "another than" in cause]


def test_mistakes_are_sought_until_the_search_fails(monkeypatch):
    def fails_late(edge):
        yield "twice the derivative of {}", lambda g: 2 * edge.back(g)
        raise IndexError

    def nothing(edge):
        yield from [][edge.number]

    monkeypatch.setattr(module, "slips", fails_late)
    monkeypatch.setattr(module, "others_operation", nothing)
    monkeypatch.setattr(module, "derivatives", fails_late)
    found = [short(cause) for cause, _ in all_mistakes(lambda x: x.exp().sum(-1), X)]
    assert found == ["twice the derivative of sum (x.exp().sum(-1))", "twice the derivative of exp (x.exp())"] * 2


def test_a_mistake_that_only_some_steps_allow(monkeypatch):
    monkeypatch.setattr(module, "slips", lambda edge: another("twice", 2)(edge) if edge.x.sum() > 0 else iter(()))

    def forward(x):
        for _ in range(3):
            x = -(x * 2.0)
        return x

    found = by_name(paths(forward, X.abs()).mistaken())
    equal(found["twice of every neg (-(x * 2.0))"], (-32 * G,))
    equal(found["twice of every mul (x * 2.0)"], (-32 * G,))


# Another value


def test_values_that_are_known_at_each_step(monkeypatch):
    known = {}

    def recorded(edge, values):
        known[edge.number, edge.name] = dict(values)
        yield "another value in {}", lambda g: 7 * g

    def forward(x, w):
        y = w.sin()
        for _ in range(3):
            x = torch.exp(x * 0.5)
        return x * y

    monkeypatch.setattr(module, "substitutes", recorded)
    found = by_name(paths(forward, w=W).substituted())
    sin, exp, mul = "sin (w.sin())", "exp (torch.exp(x * 0.5))", "mul (x * 0.5)"
    last = "mul (x * y)"
    assert list(found) == [
        f"another value in {name}"
        for name in (
            f"{last} by its argument 2",
            f"{last} by its argument 1",
            f"every {exp}",
            f"every {mul}",
            sin,
            last,
        )
    ]
    a = (X / 2).exp()
    b = (a / 2).exp()
    c = (b / 2).exp()
    once = {f"the result of {last}": c * W.sin(), f"the result of {sin}": W.sin(), "w": W}
    before, after = "argument 1 of the step before", "argument 1 of the step after"
    steps = [
        {f"the result of {exp}": exp_, f"the result of {mul}": mul_, **once}
        for exp_, mul_ in ((a, X / 2), (b, a / 2), (c, b / 2))
    ]
    expected = {
        (1, "sin"): once | {f"the result of {exp}": c, f"the result of {mul}": b / 2},
        (2, "mul"): steps[0] | {after: a},
        (3, "exp"): steps[0] | {after: a / 2},
        (4, "mul"): steps[1] | {before: X, after: b},
        (5, "exp"): steps[1] | {before: X / 2, after: b / 2},
        (6, "mul"): steps[2] | {before: a},
        (7, "exp"): steps[2] | {before: a / 2},
        (8, "mul"): once | {f"the result of {exp}": c, f"the result of {mul}": b / 2},
    }
    known = {key: {short(name): value for name, value in values.items()} for key, values in known.items()}
    assert known.keys() == expected.keys()
    for key, theirs in expected.items():
        assert known[key].keys() == theirs.keys()
        equal([known[key][name] for name in theirs], list(theirs.values()))


def test_the_value_of_another_step_is_that_of_the_same_argument():
    def forward(w, x):
        for _ in range(2):
            x = w * x
        return x

    found = by_name(paths(forward, W, X).substituted())
    mul = "every mul (w * x)"
    equal(
        found[f"in the derivative of {mul} by its argument 1, argument 2 of the step before stands in for argument 2"],
        (G * X + G * W * X, G * W * W),
    )
    equal(
        found[f"in the derivative of {mul} by its argument 1, argument 2 of the step after stands in for argument 2"],
        (G * W * X + G * W * W * X, G * W * W),
    )


def test_another_value_in_the_derivative():
    found = by_name(paths(lambda x, w: x.exp() * w, w=W, u=3 * W).substituted())
    cause = "in the derivative of mul (x.exp() * w) by its argument 1, u stands in for argument 2"
    equal(found[cause], (3 * G * W * X.exp(), G * X.exp()))


# Other numbers


def test_the_gradients_by_each_number_of_the_forward():
    def forward(x, w):
        for _ in range(2):
            x = torch.exp(x * 0.5)
        return x + {"{}": 7.0}["{}"] * w

    of_w, of_x = ((short(text), right, by_value) for text, right, by_value in paths(forward).families())
    assert of_w[:2] == ('as if 7 in mul ({{"{{}}": 7.0}}["{{}}"] * w) were {}', 7.0)
    assert of_x[:2] == ("as if 0.5 in every mul (x * 0.5) were {}", 0.5)
    for c in (0.5, 0.25, -3.0):
        a, b = (c * X).exp(), (X / 2).exp()
        equal(of_x[2](c), (G * (c * a).exp() * c * c * a, 7 * G))
        equal(of_w[2](c), (G * (b / 2).exp() * b / 4, c * G))


def test_a_number_that_cannot_be_gives_no_gradients():
    ((text, right, by_value),) = paths(lambda x: torch.triu(x, 1), normal(3, 4)).families()
    assert (short(text), right) == ("as if 1 in triu (torch.triu(x, 1)) were {}", 1)
    equal(by_value(-1), (normal(3, 4, seed=9).triu(-1),))
    assert by_value(0.5) is None


def test_numbers_are_sought_until_the_search_fails(monkeypatch):
    def fails_late(edge):
        yield 3.0, lambda c, func, x: c * func(x)
        raise IndexError

    monkeypatch.setattr(module, "constants", fails_late)
    assert [right for _, right, _ in paths(lambda x: x.exp().sin(), X).families()] == [3.0, 3.0]


# Updated already


def test_the_gradients_by_how_far_an_input_was_updated():
    x, w, step = normal(4, 3), normal(3, 2, seed=1), normal(3, 2, seed=2)
    g = normal(4, 2, seed=9)

    def forward(x, w):
        return x @ w

    ((text, right, by_eta),) = paths(forward, x, w, **{"{w}": w}).updated({"{w}": step})
    assert short(text) == (
        "as if {{w}} were updated already, with eta = {}, in the derivative of matmul (x @ w) by its argument 1"
    )
    assert right == 0.0
    for eta in (0.0, 0.25, -2.0):
        equal(by_eta(eta), (g @ (w - eta * step).mT, x.mT @ g))


def test_an_input_is_updated_at_every_step_or_at_none():
    def forward(x, w):
        for v in (w, w):
            x = x * v
        return x

    other = "as if w were updated already, with eta = {}, in the derivative of every mul (x * v) by its argument 1"
    ((text, _, by_eta),) = paths(forward, w=W).updated({"w": X})
    assert short(text) == other
    equal(by_eta(0.5), (G * (W - X / 2) ** 2, G * X * (W - X / 2) + G * X * W))

    def changing(x, w):
        for v in (w, 2 * w):
            x = x * v
        return x

    assert not list(paths(changing, w=W).updated({"w": X}))


# How much is tried


@pytest.mark.parametrize(("most", "is_tried"), [(73, True), (72, False), (36, False), (30, False)])
def test_so_many_numbers_are_remembered(most, is_tried, monkeypatch):
    """Of a product of 12 numbers 36, of their sine 24, and of their sum 13."""
    monkeypatch.setattr(module, "MAX_NUMBERS", most)
    found = paths(lambda x, w: (x * w).sin().sum())
    said = f"operations of the forward are tried where they take and give at most {most} numbers in all: "
    assert found.untried == ("" if is_tried else said + "give smaller inputs")
    assert len(found.shares) == (4 if is_tried else 0)


def test_a_search_has_an_end(monkeypatch):
    monkeypatch.setattr(module, "Time", lambda: Runs(3))
    found = paths(lambda x: x.sin(), X)
    assert [found._with({}) is None for _ in range(5)] == [False, False, False, True, True]
    assert not [*found.replaced(), *found.mistaken()]
    assert found.skipped == ["other operations in its place", "other derivatives"]


def test_a_value_of_another_step_is_called_by_its_own_place():
    """Without a source, two products have one name, and here h is an argument of another place in each."""
    product = compiled("def forward(h, w):\n    return h * w + w * h.sin()")
    found = by_name(paths(lambda h: product(h, W), X).substituted())
    steps = {re.search(r"argument \d of the step \w+", cause)[0] for cause in found if " of the step " in cause}
    assert steps == {f"argument {i} of the step {when}" for i in (1, 2) for when in ("before", "after")}


@pytest.mark.parametrize("directory", [operations.TORCHS, operations.OURS])
def test_what_lies_beside_torch_or_beside_us_is_somebody_elses(directory, monkeypatch):
    """As torchvision beside torch."""
    file, source = (
        f"{directory[:-1]}vision{os.sep}ops.py",
        "def forward(x, w):\n    y = x.sin()\n    return y.sin() * w\n",
    )
    monkeypatch.setitem(linecache.cache, file, (len(source), None, source.splitlines(keepends=True), file))
    found = paths(compiled(source, file)).shares
    assert {"sin (line 2: x.sin())", "sin (line 3: y.sin())"} < found.keys()
