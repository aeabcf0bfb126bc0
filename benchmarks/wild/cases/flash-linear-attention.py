# pip install --no-deps flash-linear-attention==0.6.0 fla-core==0.6.0 einops==0.8.2
"""Linear attention: the rows of a batch without its padding, and back."""

import torch
from case import CONVENTION, Case, absent, draw

absent("fla.utils", "fla.ops")
from fla.layers.utils import index_first_axis, index_put_first_axis

x, rows, twice = draw(5, 2, 3), torch.tensor([4, 1, 2]), torch.tensor([4, 1, 4])
CASES = [
    Case("index_first_axis", lambda x: index_first_axis(x, rows), (x,), lambda x: x[rows]),
    Case(
        "index_first_axis, a row twice",
        lambda x: index_first_axis(x, twice),
        (x,),
        lambda x: x[twice],
        "wrong in x",
        CONVENTION,
        "the last of two wins, for rows are meant to be taken once",
    ),
    Case(
        "index_put_first_axis",
        lambda x: index_put_first_axis(x, rows, 6),
        (x[:3],),
        lambda x: torch.zeros(6, 2, 3).to(x).index_add(0, rows, x),
    ),
]
