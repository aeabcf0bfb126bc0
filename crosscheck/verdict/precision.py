"""The numbers of the judge: the dtypes, rounding to them, and how far tensors are apart."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from typing import Any, TypeGuard

import torch
from torch import Generator, Tensor

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
FACTOR = 16  # of the noise: right gradients stay below 6, the weakest mistakes begin at 10⁴
NEGLIGIBLE = 2.0**-40  # of the largest number around: what is smaller in float64 is zero but for rounding
TILE = 16381  # a prime: no row of a tensor is as long
SMALL = 2**14  # numbers of input up to which many runs more cost little
Movable = Collection[int]  # the places of those inputs that may be moved


class NoPrecision(NotImplementedError):  # noqa: N818 (what it is called is what is said of a dtype)
    """What numbers come as has not this precision; the text says so."""


SPARSE = 64  # times its elements a tensor may span in memory for a copy to span as much


def unit_roundoff(dtype: torch.dtype) -> float:
    """u(t): the largest relative error of rounding to nearest, 2⁻⁵³ for float64."""
    return torch.finfo(dtype).eps / 2


@cache
def dtypes_of(device: torch.device) -> tuple[torch.dtype, ...]:
    """The dtypes that the device has, the most precise first."""

    def runs(dtype: torch.dtype) -> bool:
        try:
            torch.ones(1, dtype=dtype, device=device)
        except (RuntimeError, TypeError):
            return False
        return True

    return tuple(filter(runs, DTYPES))


def sorted_dtypes(dtypes: Sequence[torch.dtype] | None, device: torch.device) -> list[torch.dtype]:
    """These dtypes, all without any, the most precise first. Raises ValueError for what is none that the device has."""
    here = dtypes_of(device)
    for dtype in dtypes or ():
        if dtype not in here:
            raise ValueError(f"dtypes: expected some of {', '.join(map(str, here))}, got {dtype!r}")
    return sorted(here if dtypes is None else dtypes, key=unit_roundoff)


def is_floating(x: object) -> TypeGuard[Tensor]:
    return isinstance(x, Tensor) and x.dtype.is_floating_point


def is_small(inputs: Sequence[Any]) -> bool:
    """Whether they are few numbers in all."""
    return sum(x.numel() for x in inputs if is_floating(x)) <= SMALL


def comparable(x: object, y: object) -> bool:
    """Whether their difference can be computed."""
    return is_floating(x) and is_floating(y) and x.shape == y.shape and x.layout == y.layout == torch.strided


def rounded(inputs: Sequence[Any], dtype: torch.dtype) -> list[Any]:
    """Fresh copies of the inputs in the same memory layout, the floating-point ones rounded to a dtype."""
    return [_copy(x, dtype if is_floating(x) else x.dtype) if isinstance(x, Tensor) else x for x in inputs]


IEEE = ("cpu", "cuda")  # whose float64 is torch's own; XLA has constants of float32 in it


def place_of_oracle(device: torch.device) -> torch.device:
    """The device, or the CPU where the float64 of the device is not torch's own, or not there."""
    return device if device.type in IEEE else torch.device("cpu")


def widened(inputs: Sequence[Any]) -> list[Any]:
    """The same numbers in float64, in the place of the oracle."""
    moved = [x.cpu() if isinstance(x, Tensor) and x.device.type not in IEEE else x for x in inputs]
    return rounded(moved, torch.float64)


def nearby(
    inputs: Sequence[Any], dtype: torch.dtype, relative: float, generator: Generator, movable: Movable
) -> list[Any]:
    """The inputs in a dtype, those that may be moved made smaller by up to so much: what bounded them still does."""

    def smaller(x: Tensor) -> Tensor:
        return x.cpu().double() * (1 - relative * shares(x.shape, generator))

    return [
        _copy(x, dtype, smaller) if i in movable and not is_whole(x) else x
        for i, x in enumerate(rounded(inputs, dtype))
    ]


def shares(shape: torch.Size, generator: Generator) -> Tensor:
    """Random numbers from 0 to 1, in float64 on the CPU; of many a tile of them, again and again.

    To draw each by itself would take longer than many a function of them.
    """
    tile = torch.rand(min(shape.numel(), TILE), generator=generator, dtype=torch.float64)
    times = -(-shape.numel() // TILE)
    return (tile.repeat(times) if times > 1 else tile)[: shape.numel()].view(shape)


def stepped(inputs: Sequence[Any], steps: Mapping[int, Tensor], h: float) -> list[Any]:
    """The inputs in float64, some of them a step further: x + h·d, in the layout of x."""

    def further(d: Tensor) -> Callable[[Tensor], Tensor]:
        return lambda x: x + h * d[tuple(slice(length) for length in x.shape)]

    return [_copy(x, torch.float64, further(steps[i])) if i in steps else x for i, x in enumerate(widened(inputs))]


def in_layout_of(x: Tensor, d: Tensor) -> Tensor:
    """A step that is the same for all that is one number in memory, as along an expanded dimension."""
    return d[tuple(slice(1 if stride == 0 else None) for stride in x.stride())].expand_as(x)


def room(x: Tensor) -> Tensor:
    """How far each number may be moved for a share of it: |x|, and for a zero as far as the largest, 1 at most."""
    return torch.where(x == 0, min(norm(x) or 1.0, 1.0), x.abs())


def is_whole(x: Tensor) -> bool:
    """Whether all of it are whole numbers: labels, masks and indices are, and stay so."""
    return bool((x == x.round()).all())


def _copy(x: Tensor, dtype: torch.dtype, change: Callable[[Tensor], Tensor] = lambda x: x) -> Tensor:
    """A changed copy with the strides of x, also where an expanded dimension has stride 0."""
    expanded = [dim for dim, stride in enumerate(x.stride()) if stride == 0 and x.shape[dim] > 1]
    if expanded:
        once = x.detach()[tuple(slice(1) if dim in expanded else slice(None) for dim in range(x.dim()))]
        return _copy(once, dtype, change).expand(x.shape)
    extent = 1 + sum((length - 1) * stride for length, stride in zip(x.shape, x.stride(), strict=True))
    strides = x.stride()
    if extent > SPARSE * x.numel():  # as a column of a wide matrix: its gaps grow small, but there they are
        strides = tuple(2 * stride for stride in torch.empty_like(x).stride())
    copy = torch.empty_strided(x.shape, strides, dtype=dtype, device=x.device)
    return copy.copy_(change(x.detach()))


def norm(x: Tensor) -> float:
    """‖x‖, the largest finite magnitude."""
    if not x.numel():
        return 0.0
    low, high = map(float, torch.aminmax(x))  # one pass over the memory; the rest is for what is not finite
    if math.isfinite(low) and math.isfinite(high):
        return max(0.0, high, -low)  # of equal ones the first: never −0
    return float(torch.nan_to_num(x, nan=0.0, posinf=0.0, neginf=0.0).abs().max())


def is_finite(x: Tensor) -> bool:
    """Whether all of it is."""
    return not x.numel() or all(math.isfinite(float(end)) for end in torch.aminmax(x))


def distance(x: Tensor, oracle: Tensor) -> float:
    """‖x − o‖ where both are finite, and infinite where that is too large a number."""
    difference = apart(x, oracle)
    if not is_finite(difference):
        were_finite = x.detach().to(oracle.device).isfinite() & oracle.detach().isfinite()
        if not is_finite(difference[were_finite]):
            return math.inf
    return norm(difference)


def apart(x: Tensor, oracle: Tensor) -> Tensor:
    """x − o, in the oracle's dtype and place."""
    return x.detach().to(oracle.device).to(oracle.dtype) - oracle.detach()


SIDE = 128  # of a picture


def in_blocks(x: Tensor) -> Tensor:
    """|x| as a matrix on the CPU in float32, of a large tensor the largest of each block."""
    matrix = x.detach().abs().to("cpu", torch.float32)
    matrix = matrix.reshape(-1, matrix.shape[-1]) if matrix.dim() > 1 else matrix.reshape(1, -1)
    rows, columns = (min(side, SIDE) for side in matrix.shape)
    if not matrix.numel() or (rows, columns) == matrix.shape:
        return matrix
    largest: Tensor = torch.nn.functional.adaptive_max_pool2d(matrix[None], (rows, columns))
    return largest[0]


def first(where: Tensor) -> list[int] | None:
    """The first place where it is true."""
    places = torch.nonzero(where)
    return places[0].tolist() if len(places) else None
