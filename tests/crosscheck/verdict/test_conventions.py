"""A convention at a kink is named: what was taken, and what frameworks take there."""

import pytest
import torch
import torch.nn.functional as F

from crosscheck import crosscheck
from crosscheck.verdict.conventions import TAKEN, convention


def said(forward, backward, *inputs):
    """What is said of each input, behind the words that every convention has."""
    report = crosscheck(forward, backward, inputs)
    assert report.ok
    return [row.verdict.partition("first at ")[2] for row in report.rows if row.dtype == torch.float64]


def taking(choice):
    """The backward of a maximum along the last dimension, by how it divides 1 among the tied."""
    return lambda grad_out, out, x: grad_out[:, None] * choice((x == out[:, None]).to(x))


CHOICES = {
    "the first": lambda tied: tied * (tied.cumsum(1) == 1),
    "number 2": lambda tied: tied * (tied.cumsum(1) == 2),
    "the last": lambda tied: tied * (tied.flip(1).cumsum(1).flip(1) == 1),
    "even shares": lambda tied: tied / tied.sum(1, keepdim=True),
    "uneven shares": lambda tied: tied / tied.sum(1, keepdim=True) * tied.cumsum(1) / 2,
}


@pytest.fixture
def ties(device):
    return torch.tensor([[1.0, 3, 3, 0, 3], [2, 5, 5, 5, 4]], device=device)


@pytest.mark.parametrize("choice", ["number 2", "the last", "even shares", "uneven shares"])
def test_of_ties_it_is_said_who_takes_which(choice, ties):
    [found] = said(lambda x: x.max(1).values, taking(CHOICES[choice]), ties)
    taken = f"[0, 1]: of 3 equal ones autograd takes the first, this {choice}"
    assert found == f"{taken} (max along a dim: {TAKEN['max along a dim']})"


def test_of_ties_the_first_is_said_beside_even_shares(ties):
    [found] = said(lambda x: x.amax(1), taking(CHOICES["the first"]), ties)
    assert found == f"[0, 1]: of 3 equal ones autograd takes even shares, this the first (amax: {TAKEN['amax']})"


def clamped(grad_out, out, x):
    return grad_out * ((x > 0) & (x < 1))


@pytest.mark.parametrize(
    ("forward", "backward", "x", "taken", "name"),
    [
        (F.relu, lambda g, out, x: g * (x >= 0), [2.0, 0, -1], "the slope to the right", "relu at 0"),
        (F.relu, lambda g, out, x: g * torch.heaviside(x, 0.5 + 0 * x), [2.0, 0, -1], "halfway", "relu at 0"),
        (torch.abs, lambda g, out, x: g * (1 - 2.0 * (x <= 0)), [2.0, 0, -1], "the slope to the left", "abs at 0"),
        (lambda x: x.clamp(0, 1), clamped, [0.5, 0, 3], "the slope to the left", "clamp at its lower bound"),
        (lambda x: x.clamp(max=1), clamped, [0.5, 1, 3], "the slope to the right", "clamp at its upper bound"),
    ],
)
def test_of_slopes_it_is_said_to_which_side(forward, backward, x, taken, name, device):
    [found] = said(forward, backward, torch.tensor(x, device=device))
    assert found.startswith("[1]: autograd takes ")
    assert found.endswith(f", {taken} ({name}: {TAKEN[name]})")


def test_a_single_number_has_two_sides(device):
    x, y = torch.zeros((), device=device), torch.ones(3, device=device)
    found, _ = said(lambda x, y: F.relu(x) + y, lambda g, out, x, y: (g.sum() * (x >= 0), g), x, y)
    assert found.startswith("[]: autograd takes 0, ")
    assert ", the slope to the right (relu at 0: " in found


def test_of_a_norm_at_zero_it_is_said_what_others_take(device):
    def axis(grad_out, out, x):
        unit = torch.eye(x.shape[1]).to(x)[0]
        return grad_out[:, None] * torch.where(out[:, None] == 0, unit, x / out[:, None])

    x = torch.tensor([[3.0, 1, -2], [0, 0, 0]], device=device)
    [found] = said(lambda x: torch.linalg.vector_norm(x, dim=1), axis, x)
    assert found.endswith(f", the slope to the right (2-norm of 0: {TAKEN['2-norm of 0']})")


def test_of_what_is_between_the_slopes_the_numbers_are_said(device):
    backward = lambda g, out, x: g * torch.where(x == 0, 0.3, (x > 0).to(x))  # noqa: E731
    [found] = said(F.relu, backward, torch.tensor([2.0, 0, -1], device=device))
    assert "slope" not in found
    assert "halfway" not in found
    assert found.endswith(f" (relu at 0: {TAKEN['relu at 0']})")


def test_without_a_known_operation_the_numbers_alone_are_said(device):
    x = torch.tensor([2.0, 0, -1], device=device)
    [found] = said(lambda x: torch.where(x > 0, x, 0), lambda g, out, x: g * (x >= 0), x)
    assert found.startswith("[1]: autograd takes 0, ")
    assert "(" not in found


@pytest.mark.parametrize(
    ("function", "inputs", "name"),
    [
        (torch.Tensor.relu_, ([0.0, 1],), "relu at 0"),
        (abs, ([0.0, 1],), "abs at 0"),
        (lambda x: x.clamp(min=0), ([0.0, 1],), "clamp at its lower bound"),
        (lambda x: x.clip(-1, 1), ([0.0, 1],), "clamp at its upper bound"),
        (torch.max, ([0.0, 1, 1],), "max"),
        (lambda x: x.max(0), ([0.0, 1, 1],), "max along a dim"),
        (lambda x: x.max(dim=0), ([0.0, 1, 1],), "max along a dim"),
        (torch.amax, ([0.0, 1, 1],), "amax"),
        (lambda x: x.amax((0, 1)), ([[0.0, 1], [1, 0]],), "amax"),
        (torch.min, ([0.0, 0, 1],), "min"),
        (torch.maximum, ([0.0, 1], [2.0, 1]), "maximum"),
        (torch.max, ([0.0, 1], [2.0, 1]), "maximum"),
        (torch.minimum, ([0.0, 1], [2.0, 1]), "minimum"),
        (lambda x: F.max_pool1d(x[None], 2), ([1.0, 1],), "max_pool"),
        (lambda x: F.max_pool2d(x[None], 2), ([[1.0, 1], [1, 0]],), "max_pool"),
        (lambda x: x.topk(1), ([1.0, 1],), "topk"),
        (lambda x: x.norm(), ([0.0, 0],), "2-norm of 0"),
        (lambda x: x.norm(p=1), ([0.0, 0],), "1-norm of 0"),
        (lambda x: torch.linalg.norm(x, torch.inf), ([0.0, 0],), "∞-norm of 0"),
        (lambda x: torch.linalg.vector_norm(x, ord=1, dim=1), ([[1.0, 2], [0, 0]],), "1-norm of 0"),
    ],
)
def test_an_operation_at_its_kink_is_known(function, inputs, name, device):
    found = convention(function, [torch.tensor(x, device=device) for x in inputs])
    assert found == f"{name}: {TAKEN[name]}"


@pytest.mark.parametrize(
    ("function", "x"),
    [
        (F.relu, [1.0, 2]),
        (torch.amax, [1.0, 2]),
        (lambda x: x.max(1), [[1.0, 2], [2, 1]]),
        (lambda x: x.clamp(0, 3), [1.0, 2]),
        (lambda x: x.norm(dim=1), [[1.0, 0], [0, 1]]),
        (lambda x: x.topk(1), [1.0, 2]),
        (lambda x: F.relu(x) + x.abs(), [0.0, 2]),
        (lambda x: x.norm(0.5), [0.0, 0]),
    ],
)
def test_away_from_kinks_and_at_several_none_is_named(function, x, device):
    assert convention(function, [torch.tensor(x, device=device)]) == ""


def test_an_operation_that_the_atlas_has_not_is_left_without_a_name(ties):
    [found] = said(lambda x: x.min(1).values, taking(CHOICES["the last"]), torch.where(ties == 3, -3.0, ties))
    assert found == "[0, 1]: of 3 equal ones autograd takes the first, this the last"
