# pip install --no-deps spikingjelly==2.0.0
"""Spiking networks: each surrogate has a smooth function, its primitive, and a derivative of it written by hand."""

import math

import torch
from case import Case, draw, step, straight_through
from spikingjelly.activation_based import surrogate as s
from torch import Tensor

x = draw(5, 7)


def case(name, function, soft, *rest, **how):
    return Case(name, function, (x,), straight_through(step, soft), *rest, **how)


def quadratic(x: Tensor) -> Tensor:
    return torch.where(abs(x) < 1, x - x * abs(x) / 2, 0 * x)


CASES = [
    case("piecewise_quadratic, 1", lambda x: s.piecewise_quadratic.apply(x, 1.0), quadratic),
    case("piecewise_exp, 2", lambda x: s.piecewise_exp.apply(x, 2.0), lambda x: x.detach().sign() * (1 - torch.exp(-2 * abs(x))) / 2),
    case("sigmoid, 4", lambda x: s.sigmoid.apply(x, 4.0), lambda x: torch.sigmoid(4 * x)),
    case("soft_sign, 2", lambda x: s.soft_sign.apply(x, 2.0), lambda x: x / (0.5 + abs(x)) / 2),
    case("soft_sign, 3", lambda x: s.soft_sign.apply(x, 3.0), lambda x: x / (1 / 3 + abs(x)) / 2),
    case("super_spike, 2", lambda x: s.super_spike.apply(x, 2.0), lambda x: 2 * x / (1 + abs(x))),
    case("atan, 2", lambda x: s.atan.apply(x, 2.0), lambda x: torch.atan(math.pi * x) / math.pi),
    case("atan, 3", lambda x: s.atan.apply(x, 3.0), lambda x: torch.atan(1.5 * math.pi * x) / math.pi),
    case("nonzero_sign_log_abs, 1", lambda x: s.nonzero_sign_log_abs.apply(x, 1.0), lambda x: x.detach().sign() * torch.log(1 + abs(x))),
    case("erf, 2", lambda x: s.erf.apply(x, 2.0), lambda x: torch.erf(2 * x) / 2),
    case("piecewise_leaky_relu, 1, .01", lambda x: s.piecewise_leaky_relu.apply(x, 1.0, 0.01), lambda x: torch.where(abs(x) <= 1, x / 2, 0.01 * x)),
    case("squarewave_fourier_series, 3, 8", lambda x: s.squarewave_fourier_series.apply(x, 3, 8), lambda x: 2 / math.pi * sum(torch.sin((2 * i - 1) * 2 * math.pi * x / 8) / (2 * i - 1) for i in (1, 2))),
    case("s2nn, 4, 1", lambda x: s.s2nn.apply(x, 4.0, 1.0), lambda x: torch.where(x < 0, torch.sigmoid(4 * x), torch.log(abs(x + 1)))),
    case("q_pseudo_spike, 2", lambda x: s.q_pseudo_spike.apply(x, 2.0), lambda x: torch.where(x < 0, 0.5 / (1 - 2 * x), 1 - 0.5 / (1 + 2 * x))),
    case("leaky_k_relu, 0, 1", lambda x: s.leaky_k_relu.apply(x, 0.1, 1.0), lambda x: torch.where(x < 0, 0.1 * x, x)),
    case("log_tailed_relu, 0", lambda x: s.log_tailed_relu.apply(x, 0.1), lambda x: torch.where(x <= 0, 0.1 * x, torch.where(x <= 1, x, torch.log(x.clamp(min=1e-9))))),
    case("rect, 1", lambda x: s.rect.apply(x, 1.0), lambda x: x.clamp(-0.5, 0.5)),
]  # fmt: skip
