# pip install --no-deps revtorch==0.2.4
"""Reversible blocks, whose backward has the inputs from the outputs. The parameters' gradients land in their .grad."""

import torch
from case import Case, draw
from reversible import coupled, in_place
from revtorch import ReversibleBlock, ReversibleSequence
from torch import nn


def sequence(eager):
    def build(f, g):
        return ReversibleSequence(nn.ModuleList([ReversibleBlock(f, g, split_along_dim=1)]), eager)

    return in_place(build)


x, w, v = draw(5, 6), draw(3, 3, seed=1), draw(3, 3, seed=2)
HOW = {"dtypes": (torch.float64, torch.float32)}
CASES = [
    Case(
        "ReversibleSequence",
        sequence(False).forward,
        (x, w, v),
        coupled(1),
        how=HOW | {"backward": sequence(False).backward},
    ),
    Case(
        "ReversibleSequence, eager",
        sequence(True).forward,
        (x, w, v),
        coupled(1),
        how=HOW | {"backward": sequence(True).backward},
    ),
]
