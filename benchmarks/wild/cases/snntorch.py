# pip install --no-deps snntorch==1.0.0
"""Spiking networks: a step forward, a surrogate's derivative backward."""

import math

import torch
from case import CONVENTION, FAULT, Case, draw, straight_through
from snntorch import surrogate

x = draw(5, 7)
gt = lambda x: (x > 0).to(x.dtype)


def case(name, function, soft, *rest):
    return Case(name, function, (x,), straight_through(gt, soft), *rest)


CASES = [
    case("fast_sigmoid(25)", surrogate.fast_sigmoid(25), lambda x: x / (1 + 25 * abs(x))),
    case("atan(2)", surrogate.atan(2.0), lambda x: torch.atan(math.pi * x) / math.pi),
    case("atan(4)", surrogate.atan(4.0), lambda x: torch.atan(2 * math.pi * x) / math.pi),
    case(
        "sigmoid(25)", surrogate.sigmoid(25), lambda x: torch.sigmoid(25 * x),
        "less accurate in x", FAULT, "exp(−25 x)² is inf below −1.8 in float32, and nan below −3.6: inf / inf",
    ),
    case("sigmoid(5)", surrogate.sigmoid(5), lambda x: torch.sigmoid(5 * x), "less accurate in x", FAULT, "the same in float16"),
    Case(
        "sigmoid(25) at −4, in float32", surrogate.sigmoid(25), (torch.tensor([-4.0, 0.5]),),
        straight_through(gt, lambda x: torch.sigmoid(25 * x)), "nan in x", FAULT, "nan for 0", {"dtypes": torch.float32},
    ),
    case("straight_through_estimator", surrogate.straight_through_estimator(), lambda x: x),
    case(
        "triangular", surrogate.triangular(), lambda x: torch.where(x < 0, x, -x),
        "agrees", CONVENTION, "falls behind the threshold: a rising step with a falling slope",
    ),
    case(
        "triangular, as a triangle", surrogate.triangular(), lambda x: torch.where(abs(x) < 1, x - x * abs(x) / 2, x.detach().sign() / 2),
        "wrong in x", CONVENTION, "it is no triangle: ±1 everywhere",
    ),
    case("spike_rate_escape", surrogate.spike_rate_escape(1, 25), lambda x: x, "wrong in x", CONVENTION, "the slope k exp(−β|u − 1|) is largest at 1, not at the threshold 0"),
]  # fmt: skip
