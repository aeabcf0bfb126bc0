# pip install --no-deps memcnn==1.5.2
"""Invertible networks, in several implementations each, which have the inputs from the outputs."""

import torch
from case import FAULT, Case, draw
from memcnn import AdditiveCoupling, AffineAdapterNaive, AffineCoupling, InvertibleModuleWrapper
from reversible import coupled, in_place
from torch import Tensor, nn


def additive(way: int, wrapped: bool = False):
    def build(f, g):
        block = AdditiveCoupling(f, g, implementation_fwd=way, implementation_bwd=way)
        return InvertibleModuleWrapper(block) if wrapped else block

    return in_place(build)


def scaled(x: Tensor) -> Tensor:
    return torch.exp(torch.tanh(x))


def affine_of(way: int, inverse: bool = False):
    def call(x: Tensor) -> Tensor:
        block = AffineCoupling(
            nn.Tanh(), nn.Tanh(), adapter=AffineAdapterNaive, implementation_fwd=way, implementation_bwd=way
        )
        return block.inverse(x.clone()) if inverse else block(x.clone())

    return call


def forth(x: Tensor) -> Tensor:
    x1, x2 = x.chunk(2, 1)
    y1 = scaled(x2) * x1 + torch.tanh(x2)
    return torch.cat([y1, scaled(y1) * x2 + torch.tanh(y1)], 1)


def back(y: Tensor) -> Tensor:
    y1, y2 = y.chunk(2, 1)
    x2 = (y2 - torch.tanh(y1)) / scaled(y1)
    return torch.cat([(y1 - torch.tanh(x2)) / scaled(x2), x2], 1)


x, w, v = draw(5, 6), draw(3, 3, seed=1), draw(3, 3, seed=2)
HOW = {"dtypes": (torch.float64, torch.float32)}
EXACT = {"dtypes": torch.float64}
WRONG = ("wrong in x", FAULT, "way −1 by autograd and differences agree, this one has another gradient of the input")
CASES = [
    Case(f"AdditiveCoupling, way {way}", additive(way).forward, (x, w, v), coupled(1), how=HOW | {"backward": additive(way).backward})
    for way in (-1, 0, 1)
] + [
    Case(
        f"AdditiveCoupling, way {way}, wrapped", additive(way, True).forward, (x, w, v), coupled(1),
        how=HOW | {"backward": additive(way, True).backward},
    )
    for way in (-1,)
]  # fmt: skip
CASES += [
    Case(f"AffineCoupling, way {way}", affine_of(way), (draw(5, 6),), forth, *says, how=EXACT)
    for way, says in ((-1, ()), (0, ()), (1, WRONG))
]
CASES += [
    Case(f"AffineCoupling, inverse, way {way}", affine_of(way, True), (draw(5, 6),), back, *says, how=EXACT)
    for way, says in ((-1, ()), (0, WRONG), (1, WRONG))
]
