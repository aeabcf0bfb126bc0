"""The judge over functions that compute in a lower precision inside, as nearly every kernel does.

    python benchmarks/inside.py                      float32 inside, 5 draws of each function
    python benchmarks/inside.py --seeds 200          8,000 right gradients, and as many wrong ones
    python benchmarks/inside.py --inside bfloat16    all in bfloat16; tf32 and e4m3 are the operands of float32 products

What comes in is cast, what comes out cast back; the twin computes in the dtype that comes in. Of the wrong ones one
gradient is multiplied by a number: 1.0001 for float32, where a false alarm is a right one that is not ok or is called a
wrong formula, and a miss a wrong one that is ok. Where less is inside, whose rounding may be told, a false alarm is a
right one that is called a wrong formula, a miss a wrong one that is not, and the number is larger.
"""

import argparse
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial, wraps
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Generator, Tensor
from torch.overrides import TorchFunctionMode

from crosscheck import crosscheck
from crosscheck.report import aligned


def total(x: Tensor, dim: int = -1) -> Tensor:
    return x.sum(dim, keepdim=True)


def gelu_backward(g: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
    return (g * ((1 + torch.erf(x / math.sqrt(2))) / 2 + x * torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)),)


def tanh_gelu_backward(g: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
    t = torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return (g * (1 + t + x * (1 - t * t) * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)) / 2,)


def mish_backward(g: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
    t = torch.tanh(F.softplus(x))
    return (g * (t + x * (1 - t * t) * torch.sigmoid(x)),)


def silu_slope(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s))


def batch_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, w, b, training=True)


def norm_backward(g: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor, dim: int = 1) -> tuple[Tensor, ...]:
    scale = torch.rsqrt(x.var(dim, correction=0, keepdim=True) + 1e-5)
    z, dz = (x - x.mean(dim, True)) * scale, g * w
    return scale * (dz - dz.mean(dim, True) - z * (dz * z).mean(dim, True)), (g * z).sum(0), g.sum(0)


def rms_norm_backward(g: Tensor, out: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    scale = torch.rsqrt((x * x).mean(1, True) + 1e-6)
    z = x * scale
    return scale * (g * w - z * (g * w * z).mean(1, True)), (g * z).sum(0)


def cosine_backward(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    a, b, g, out = x.norm(dim=1)[:, None], y.norm(dim=1)[:, None], g[:, None], out[:, None]
    return g * (y / b - out * x / a) / a, g * (x / a - out * y / b) / b


def cross_entropy_backward(g: Tensor, out: Tensor, x: Tensor) -> tuple[Tensor]:
    return (g * (x.softmax(1) - F.one_hot(LABELS, x.shape[1])) / len(x),)


def bce_backward(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return g * (torch.sigmoid(x) - y) / x.numel(), -g * x / x.numel()


def kl_div_backward(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return -g * y, g * (y.log() + 1 - x)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1) @ v


def attention_backward(g: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    p = (q @ k.mT / math.sqrt(q.shape[-1])).softmax(-1)
    dp = g @ v.mT
    ds = p * (dp - total(dp * p)) / math.sqrt(q.shape[-1])
    return ds @ k, ds.mT @ q, p.mT @ g


def conv1d_backward(g: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dw = torch.einsum("nol,nclk->ock", g, x.unfold(2, w.shape[2], 1))
    return F.conv_transpose1d(g, w), dw, g.sum((0, 2))


def swiglu_backward(g: Tensor, out: Tensor, x: Tensor, w: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    a, b = x @ w, x @ v
    da, db = g * b * silu_slope(a), g * F.silu(a)
    return da @ w.T + db @ v.T, x.T @ da, x.T @ db


def turned(x: Tensor, sign: int = 1) -> Tensor:
    """Rotary positions; turned back with the other sign."""
    at = torch.arange(x.shape[0]).double()[:, None] / 10 ** torch.arange(x.shape[1] // 2)
    cos, sin = at.cos().to(x), sign * at.sin().to(x)
    a, b = x.chunk(2, 1)
    return torch.cat((a * cos - b * sin, a * sin + b * cos), 1)


def layers_backward(g: Tensor, out: Tensor, x: Tensor, w: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    h = torch.tanh(x @ w)
    dh = g @ v.T * (1 - h * h)
    return dh @ w.T, x.T @ dh, h.T @ g


def distances(x: Tensor, y: Tensor) -> Tensor:
    return total(x * x) + total(y * y).T - 2 * x @ y.T


def distances_backward(g: Tensor, out: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return 2 * (total(g) * x - g @ y), 2 * (total(g, 0).T * y - g.T @ x)


Function = tuple[str, Callable[..., Tensor], Callable[..., tuple[Tensor, ...]], tuple[tuple[int, ...], ...]]
ROWS = ((6, 9),)
LABELS = torch.tensor([3, 0, 4, 4, 1, 2, 0, 3])
POSITIVE = {"log", "sqrt", "rsqrt", "lgamma", "div", "kl_div"}
# fmt: off
FUNCTIONS: tuple[Function, ...] = (  # their names, forwards, backwards and the shapes of their inputs
    ("tanh", torch.tanh, lambda g, o, x: (g * (1 - o * o),), ROWS),
    ("sigmoid", torch.sigmoid, lambda g, o, x: (g * o * (1 - o),), ROWS),
    ("silu", F.silu, lambda g, o, x: (g * silu_slope(x),), ROWS),
    ("gelu", F.gelu, gelu_backward, ROWS),
    ("gelu, tanh", partial(F.gelu, approximate="tanh"), tanh_gelu_backward, ROWS),
    ("mish", F.mish, mish_backward, ROWS),
    ("erf", torch.erf, lambda g, o, x: (g * 2 / math.sqrt(math.pi) * torch.exp(-x * x),), ROWS),
    ("exp", torch.exp, lambda g, o, x: (g * o,), ROWS),
    ("log", torch.log, lambda g, o, x: (g / x,), ROWS),
    ("sqrt", torch.sqrt, lambda g, o, x: (g / (2 * o),), ROWS),
    ("rsqrt", torch.rsqrt, lambda g, o, x: (-g * o**3 / 2,), ROWS),
    ("sin", torch.sin, lambda g, o, x: (g * x.cos(),), ROWS),
    ("atan", torch.atan, lambda g, o, x: (g / (1 + x * x),), ROWS),
    ("lgamma", torch.lgamma, lambda g, o, x: (g * torch.digamma(x),), ROWS),
    ("softplus", F.softplus, lambda g, o, x: (g * torch.sigmoid(x),), ROWS),
    ("elu", F.elu, lambda g, o, x: (g * torch.where(x > 0, 1, x.exp()),), ROWS),
    ("div", torch.div, lambda g, o, x, y: (g / y, -g * x / (y * y)), ((7, 5), (7, 5))),
    ("softmax", partial(torch.softmax, dim=1), lambda g, o, x: (o * (g - total(g * o)),), ROWS),
    ("log_softmax", partial(F.log_softmax, dim=1), lambda g, o, x: (g - o.exp() * total(g),), ROWS),
    ("logsumexp", lambda x: x.logsumexp(1), lambda g, o, x: (g[:, None] * x.softmax(1),), ROWS),
    ("cumsum", lambda x: x.cumsum(1), lambda g, o, x: (g.flip(1).cumsum(1).flip(1),), ROWS),
    ("std", lambda x: x.std(1), lambda g, o, x: ((g / o)[:, None] * (x - x.mean(1, True)) / (x.shape[1] - 1),), ROWS),
    ("layer_norm", lambda x, w, b: F.layer_norm(x, w.shape, w, b), norm_backward, ((5, 12), (12,), (12,))),
    ("batch_norm", batch_norm, partial(norm_backward, dim=0), ((9, 4), (4,), (4,))),
    ("rms_norm", lambda x, w: F.rms_norm(x, w.shape, w, 1e-6), rms_norm_backward, ((6, 10), (10,))),
    ("normalize", F.normalize, lambda g, o, x: ((g - o * total(g * o)) / x.norm(dim=1, keepdim=True),), ROWS),
    ("cosine_similarity", F.cosine_similarity, cosine_backward, ((4, 8), (4, 8))),
    ("mse_loss", F.mse_loss, lambda g, o, x, y: (2 * g * (x - y) / x.numel(), 2 * g * (y - x) / x.numel()), ROWS * 2),
    ("cross_entropy", lambda x: F.cross_entropy(x, LABELS), cross_entropy_backward, ((8, 5),)),
    ("bce_with_logits", F.binary_cross_entropy_with_logits, bce_backward, ((7, 4), (7, 4))),
    ("kl_div", partial(F.kl_div, reduction="sum"), kl_div_backward, ((3, 8), (3, 8))),
    ("outer", torch.outer, lambda g, o, x, y: (g @ y, x @ g), ((6,), (9,))),
    ("matmul", torch.matmul, lambda g, o, x, y: (g @ y.T, x.T @ g), ((12, 20), (20, 7))),
    ("linear", F.linear, lambda g, o, x, w, b: (g @ w, g.T @ x, g.sum(0)), ((9, 12), (5, 12), (5,))),
    ("conv1d", F.conv1d, conv1d_backward, ((2, 3, 11), (4, 3, 5), (4,))),
    ("attention", attention, attention_backward, ((2, 5, 8), (2, 7, 8), (2, 7, 6))),
    ("swiglu", lambda x, w, v: F.silu(x @ w) * (x @ v), swiglu_backward, ((6, 8), (8, 10), (8, 10))),
    ("rope", turned, lambda g, o, x: (turned(g, -1),), ((9, 8),)),
    ("two layers", lambda x, w, v: torch.tanh(x @ w) @ v, layers_backward, ((7, 6), (6, 9), (9, 4))),
    ("squared distances", distances, distances_backward, ((6, 5), (8, 5))),
)
# fmt: on
KINDS = {"right": "false alarm", "wrong": "missed"}


class Products(TorchFunctionMode):
    """Rounds the operands of products."""

    def __init__(self, rounding: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rounding, self.found = rounding, False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.__name__.strip("_") in PRODUCTS:
            self.found = True
            args = [
                self.rounding(x) if isinstance(x, Tensor) and i < 2 + (x.dim() > 1) else x for i, x in enumerate(args)
            ]
        return func(*args, **(kwargs or {}))


PRODUCTS = {"matmul", "rmatmul", "einsum", "linear", "conv1d", "conv_transpose1d", "outer"}


def tf32(x: Tensor, half: int = 0x1000) -> Tensor:
    """To 10 bits of mantissa: to the nearest by adding half of the last one, and with none of it cut off."""
    return ((x.view(torch.int32) + half) & ~0x1FFF).view(torch.float32)


def e4m3(x: Tensor) -> Tensor:
    return x.to(torch.float8_e4m3fn).float()


WAYS: dict[
    str, tuple[torch.dtype, Callable[[Tensor], Tensor] | None, float]
] = {  # and what a wrong one is multiplied by
    "float32": (torch.float32, None, 1.0001),
    "tf32": (torch.float32, tf32, 1.05),
    "tf32-truncated": (torch.float32, partial(tf32, half=0), 1.05),
    "float16": (torch.float16, None, 1.05),
    "bfloat16": (torch.bfloat16, None, 1.25),
    "e4m3": (torch.float32, e4m3, 2.0),
}


def inside(function: Callable[..., Any], way: str, factor: float = 1.0, which: int = 0) -> Callable[..., Any]:
    """The function computed that way; one of its results is multiplied by a factor, too."""
    dtype, rounding, _ = WAYS[way]

    @wraps(function)
    def computed(*given: Tensor) -> Any:
        with Products(rounding) if rounding else nullcontext():
            found = function(*(x.to(dtype) for x in given))
        if isinstance(found, Tensor):
            return found.to(given[0].dtype)
        return tuple((factor * x if i == which else x).to(given[0].dtype) for i, x in enumerate(found))

    return computed


def drawn(function: Function, seed: int) -> tuple[Tensor, ...]:
    generator = Generator().manual_seed(seed)
    if function[0] in POSITIVE:
        return tuple(0.25 + 2 * torch.rand(shape, generator=generator) for shape in function[3])
    return tuple(torch.randn(shape, generator=generator) for shape in function[3])


def check(function: Function, seed: int) -> None:
    """Raises AssertionError where the backward of the table is not right in float64."""
    name, forward, backward, _ = function
    xs = [x.double().requires_grad_() for x in drawn(function, seed)]
    out = forward(*xs)
    g = torch.randn(out.shape, generator=Generator().manual_seed(seed + 1), dtype=torch.float64)
    for found, expected in zip(backward(g, out, *xs), torch.autograd.grad(out, xs, g), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10, msg=f"{name}: its backward is wrong")


def has_products(function: Function, way: str) -> bool:
    """Whether the way makes a difference to it."""
    with (products := Products(lambda x: x)):
        function[1](*drawn(function, 0))
    return WAYS[way][1] is None or products.found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="draws of the inputs of each function (5)")
    parser.add_argument("--inside", choices=WAYS, default="float32", metavar="WAY", help=f"{', '.join(WAYS)} (float32)")
    given = parser.parse_args()
    way, is_float32 = given.inside, given.inside == "float32"
    counts, faults = defaultdict(Counter), []
    cases = [(f, seed) for f in FUNCTIONS if has_products(f, way) for seed in range(given.seeds)]
    for case, seed in track(cases, f"{way} inside", transient=True, console=Console(stderr=True)):
        check(case, seed)
        name, forward, backward, shapes = case
        for kind, fault in KINDS.items():
            mine = inside(backward, way, WAYS[way][2] if kind == "wrong" else 1.0, seed % len(shapes))
            start = time.perf_counter()
            report = crosscheck(inside(forward, way), mine, drawn(case, seed), twin=forward, seed=seed)
            counts[name].update({kind: 1, f"ms, {kind}": 1000 * (time.perf_counter() - start)})
            is_wrong = report.formula.startswith("wrong")
            is_false_alarm = is_wrong or (is_float32 and not report.ok)
            is_missed = report.ok if is_float32 else not is_wrong
            if is_false_alarm if kind == "right" else is_missed:
                counts[name][fault] += 1
                faults.append(f"{name}, seed {seed}: {fault}: {report.formula}; {report.numerics}")
    headings = ("function", "right", "false alarm", "ms each", "wrong", "missed", "ms of these")
    lines = []
    for name, c in [*counts.items(), ("all", sum(counts.values(), Counter()))]:
        right, wrong = ((c[kind], c[fault], c[f"ms, {kind}"] / c[kind]) for kind, fault in KINDS.items())
        lines.append((name, *(f"{cell:,.0f}" for cell in (*right, *wrong))))
    print(aligned(headings, lines, right=headings[1:]), *faults, sep="\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
