# pip install --no-deps pytorch-revgrad==0.2.0
"""The reversal of a gradient, which is no derivative on purpose."""

import torch
from case import CONVENTION, Case, draw, straight_through
from pytorch_revgrad.functional import revgrad

x, alpha = draw(4, 3), torch.tensor(0.7, dtype=torch.float64)
HOW = {"wrt": ["x"]}
CASES = [
    Case(
        "revgrad, as it is meant",
        lambda x: revgrad(x, alpha.to(x.dtype)),
        (x,),
        straight_through(lambda x: x, lambda x: -alpha.to(x.dtype) * x),
    ),
    Case(
        "revgrad, as the derivative of its values",
        lambda x: revgrad(x, alpha.to(x.dtype)),
        (x,),
        lambda x: x * 1,
        "wrong in x",
        CONVENTION,
        "−0.7 for 1, on purpose",
    ),
]
