# pip install --no-deps diffsptk==4.0.1
"""Speech: quantization whose gradient goes straight through, and the filling of gaps."""

import torch
from case import FAULT, Case, absent, draw, straight_through
from torch import Tensor

absent("torchaudio", "soundfile")
from diffsptk.modules.magic_intpl import MagicNumberInterpolationImpl
from diffsptk.modules.quantize import Floor, Round


def filled(x: Tensor) -> Tensor:
    """Zeros between numbers, on the straight line between the two neighbours; those at an end like the nearest."""
    found, known = [], [i for i, v in enumerate(x.detach().tolist()) if v != 0]
    for i in range(len(x)):
        left = max((k for k in known if k <= i), default=known[0])
        right = min((k for k in known if k >= i), default=known[-1])
        share = (i - left) / (right - left) if right > left else 0.0
        found.append(x[left] * (1 - share) + x[right] * share)
    return torch.stack(found)


def spread(v: Tensor) -> Tensor:
    return torch.zeros(7, dtype=v.dtype).masked_scatter(gaps != 0, v)


def interpolated(x: Tensor) -> Tensor:
    return MagicNumberInterpolationImpl.apply(x, torch.tensor(0.0, dtype=x.dtype))


x = 3 * draw(5, 7)
gaps = torch.tensor([1.5, 0, 0, -2.0, 3.0, 0, 0.5], dtype=torch.float64)
CASES = [
    Case("Floor", Floor, (x,), straight_through(torch.floor, lambda x: x)),
    Case("Round", Round, (x,), straight_through(lambda x: x.sign() * (abs(x) + 0.5).floor(), lambda x: x)),
    Case("MagicNumberInterpolation, without gaps", interpolated, (draw(7),), lambda x: x * 1),
    Case(
        "MagicNumberInterpolation, with gaps",
        interpolated,
        (gaps,),
        filled,
        "wrong in x",
        FAULT,
        "the backward is a mask, and passes nothing to the neighbours",
    ),
    Case(
        "MagicNumberInterpolation, wrt the numbers between",
        lambda v: interpolated(spread(v)),
        (gaps[gaps != 0],),
        lambda v: filled(spread(v)),
        "wrong in v",
        FAULT,
        "the backward is a mask, and passes nothing to the neighbours",
    ),
]
