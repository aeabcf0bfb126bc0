# pip install --no-deps norse==1.1.0
"""Spiking networks: a step forward, a smooth function's derivative backward."""

import torch
from case import CONVENTION, LIMIT, Case, absent, draw, step, straight_through

absent("nir", "nirtorch")
from norse.torch.functional.superspike import super_fn
from norse.torch.functional.threshold import heavi_circ_fn, heavi_erfc_fn, heavi_tanh_fn, triangle_fn

x = draw(5, 7)
CASES = [
    Case("super_fn", lambda x: super_fn(x, 100.0), (x,), straight_through(step, lambda x: x / (1 + abs(x)))),
    Case("triangle_fn", lambda x: triangle_fn(x, 0.3), (x,), straight_through(step, lambda x: 0.3 * torch.where(abs(x) < 1, x - x * abs(x) / 2, 0.5 * x.detach().sign()))),
    Case("heavi_erfc_fn, k = 1", lambda x: heavi_erfc_fn(x, 1.0), (x,), straight_through(step, torch.erf), "wrong in x", LIMIT, "√π rounded to float32: off by 3e-8 in float64"),
    Case(
        "heavi_erfc_fn, k = 2, its documents", lambda x: heavi_erfc_fn(x, 2.0), (x,),
        straight_through(step, lambda x: (1 + torch.erf(2 * x)) / 2),
        "wrong in x", CONVENTION, "half of erf(kx) has the slope k/√π exp(−k²x²): the k is missing, and a 2 too many",
    ),
    Case(
        "heavi_tanh_fn, k = 2, its documents", lambda x: heavi_tanh_fn(x, 2.0), (x,),
        straight_through(step, lambda x: (1 + torch.tanh(2 * x)) / 2),
    ),
    Case(
        "heavi_circ_fn, its documents", lambda x: heavi_circ_fn(x, 0.5), (x,),
        straight_through(step, lambda x: (1 + x / torch.sqrt(x**2 + 0.25)) / 2),
    ),
]  # fmt: skip
