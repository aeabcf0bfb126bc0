# pip install --no-deps torchlpc==0.7.2 numba==0.68.1 llvmlite==0.50.0
"""Recursive filters whose coefficients change with time: yₜ = xₜ − Σₖ a[t, k] yₜ₋ₖ."""

import torch
from case import Case, draw
from torch import Tensor
from torchlpc import sample_wise_lpc


def filtered(x: Tensor, a: Tensor, zi: Tensor | None = None) -> Tensor:
    order = a.shape[2]
    past = list((torch.zeros_like(a[:, 0]) if zi is None else zi).unbind(1))  # the latest first
    found = []
    for t in range(x.shape[1]):
        y = x[:, t] - sum(a[:, t, k] * past[k] for k in range(order))
        past = [y, *past[:-1]]
        found.append(y)
    return torch.stack(found, 1)


x, a, zi = draw(2, 7), 0.3 * draw(2, 7, 3, seed=1), draw(2, 3, seed=2)
HOW = {"dtypes": (torch.float64, torch.float32)}
CASES = [
    Case("sample_wise_lpc", sample_wise_lpc, (x, a), filtered, how=HOW),
    Case("sample_wise_lpc, wrt its start", sample_wise_lpc, (x, a, zi), filtered, how=HOW),
    Case(
        "sample_wise_lpc, order 1",
        sample_wise_lpc,
        (x, a[..., :1].contiguous(), zi[:, :1].contiguous()),
        filtered,
        how=HOW,
    ),
    Case("sample_wise_lpc, forward mode", sample_wise_lpc, (x, a), filtered, how=HOW | {"method": "forward"}),
    Case("sample_wise_lpc, twice", sample_wise_lpc, (x, a), filtered, how={"dtypes": torch.float64, "order": 2}),
]
