"""Projections: what a mistake comes to along a direction, beside the gradients computed whole."""

import pytest
import torch
from torch import Tensor

from crosscheck.cause import paths as module
from crosscheck.cause.paths import Paths
from crosscheck.cause.screen import Screen


def normal(*shape, seed=0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, W, G = normal(6, 3), normal(4, 3, seed=1), normal(6, 4, seed=2)


def forward(x, w):
    return torch.tanh(x @ w.mT).exp() * 0.5


def screened(error: Tensor, place: int = 0, wrong: Tensor | None = None) -> tuple[Paths, Screen]:
    xs = [X.clone().requires_grad_(), W.clone().requires_grad_()]
    paths = Paths(forward, xs, [G], {})
    screen = paths.screen(place, error, torch.ones_like(error) > 0 if wrong is None else wrong, 1e-12)
    assert screen is not None
    return paths, screen


@pytest.mark.parametrize("place", [0, 1])
def test_a_change_within_the_forward_is_that_of_the_gradient(place):
    """⟨t, Δ⟩ of what is left out at an operation, and ⟨v, m − o⟩."""
    paths, screen = screened(normal(*(X, W)[place].shape, seed=7), place)
    for edge, by in paths._by.items():
        without = paths._with({edge: edge.nothing})
        expected = screen.directions @ (without[place] - paths.whole[place]).flatten()
        along, size = screen.along(edge, -by)
        assert bool(((along - expected).abs() <= 1e-6 * size).all())


def test_only_the_mistake_that_was_made_passes():
    right, _ = screened(normal(6, 3))
    exp = next(edge for edge in right._live if edge.name == "exp")
    made = right._with({exp: lambda g: 2 * exp.back(g)})
    paths, screen = screened(made[0] - right.whole[0])
    exp = next(edge for edge in paths._live if edge.name == "exp")
    by = paths._by[exp]
    assert screen.fit(exp, [by, 2 * by, 1.001 * by, 0 * by, by * torch.nan]) == [True, False, False, False, False]
    assert screen.factor(*screen.along(exp, by)) == pytest.approx(1)
    assert screen.factor(*screen.along(exp, 3 * by)) == pytest.approx(1 / 3)
    tanh = next(edge for edge in paths._live if edge.name == "tanh")
    assert not any(screen.fit(tanh, [paths._by[tanh] * (1 + normal(6, 4, seed=s)) for s in range(50)]))


def test_elsewhere_another_mistake_may_be_right():
    """Directions are zero where nothing is wrong."""
    wrong = torch.zeros(6, 3, dtype=torch.bool).index_fill(0, torch.tensor([1, 4]), True)
    paths, screen = screened(paths_error := paths_without_tanh() * wrong, wrong=wrong)
    tanh = next(edge for edge in paths._live if edge.name == "tanh")
    assert screen.fit(tanh, [paths._to[tanh] - paths._by[tanh]]) == [True]
    assert paths_error.any()
    assert not screen.directions.view(-1, 6, 3)[:, ~wrong].any()


def paths_without_tanh() -> Tensor:
    """The error where the derivative of tanh is left out."""
    x = X.clone().requires_grad_()
    u = x @ W.mT
    g = G * u.tanh().exp() * 0.5
    return torch.autograd.grad(u, x, g - g * (1 - u.tanh() ** 2))[0]


def test_a_block_that_was_lost():
    lost = torch.zeros(6, 4)
    lost[2:5] = 1
    _, screen = screened(torch.autograd.grad(forward(x := X.clone().requires_grad_(), W), x, -G * lost)[0])
    assert (0, 6, 2, 4) in list(screen.lost(screen.of_outs[0], G))
    lost = torch.zeros(6, 4)
    lost[1::3] = 1  # of each three
    _, screen = screened(torch.autograd.grad(forward(x := X.clone().requires_grad_(), W), x, -G * lost)[0])
    assert (0, 3, 1, 1) in list(screen.lost(screen.of_outs[0], G))
    assert not list(screen.lost(screen.of_outs[0], normal(6, 4, seed=5)))


def test_near_a_kink_nothing_is_screened():
    xs = [torch.zeros(6, 3, dtype=torch.float64).requires_grad_()]
    paths = Paths(torch.relu, xs, [normal(6, 3)], {})
    assert paths.screen(0, normal(6, 3), torch.ones(6, 3) > 0, 1e-12) is None


def test_without_a_screen_all_are_tried(monkeypatch):
    monkeypatch.setattr(module, "slips", lambda edge: iter([("thrice {}", lambda g: 3 * edge.back(g))]))
    paths, screen = screened(normal(6, 3))
    everything = [cause for cause, _ in paths.mistaken() if cause.startswith("thrice")]
    assert len(everything) == 6
    assert not [cause for cause, _ in paths.mistaken(screen) if cause.startswith("thrice")]
