# pip install --no-deps reformer-pytorch==1.4.4
"""A reversible transformer, whose backward has the inputs from the outputs."""

import torch
from case import Case, absent, draw
from reversible import coupled, in_place

absent("einops", "local_attention", "axial_positional_embedding", "product_key_memory")
from reformer_pytorch import reversible


def build(f, g):
    block = reversible.ReversibleBlock(f, g)
    return lambda x: reversible._ReversibleFunction.apply(x, torch.nn.ModuleList([block]), ARGS)


ARGS = {}
x, w, v = draw(2, 5, 6), draw(3, 3, seed=1), draw(3, 3, seed=2)
CASES = [
    Case(
        "ReversibleBlock", in_place(build).forward, (x, w, v), coupled(2),
        how={"backward": in_place(build).backward, "dtypes": (torch.float64, torch.float32)},
    )
]  # fmt: skip
