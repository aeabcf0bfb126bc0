"""An atlas of conventions: what torch and six others take as the gradient at kinks, ties, zeros and infinities.

    python benchmarks/kinks.py                 measures all, and ends with 1 where something differs from the record
    python benchmarks/kinks.py --only torch    measures one of them
    python benchmarks/kinks.py --write         writes the record, kinks.json, and the page, docs/kinks.md

torch is the one that is installed here. Each of the others gets an environment of its own, with the version that is
named below, when it is first measured; some 3 GB in all. All is in float32 on the CPU.
"""

import argparse
import datetime
import json
import math
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
RECORD, PAGE = ROOT / "benchmarks" / "kinks.json", ROOT / "docs" / "kinks.md"
NAMES = {
    "torch": "torch", "jax": "JAX", "tensorflow": "TensorFlow", "paddle": "Paddle", "mlx": "MLX",
    "tinygrad": "tinygrad", "autograd": "autograd",
}  # fmt: skip
PINS = {
    "jax": ["jax==0.10.2"],
    "tensorflow": ["tensorflow-cpu==2.21.0", "keras==3.15.1"],
    "paddle": ["paddlepaddle==3.3.1"],
    "mlx": ["mlx[cpu]==0.32.4"],
    "tinygrad": ["tinygrad==0.14.0"],
    "autograd": ["autograd==1.9.1"],
}
MISSING, RAISES, SHARES = "—", "raises", "shares of 1"

Values = list[float]


class Subgradients(NamedTuple):
    """A set of subgradients: in words, whether a vector is in it, and the largest ⟨v, d⟩ of all v in it along d.

    Without the last two there is none.
    """

    said: str
    holds: Callable[[Values], bool] | None = None
    largest: Callable[[Values], float] | None = None


FRACTIONS = {"0.333": "⅓", "0.5": "½", "0.25": "¼", "0.167": "⅙", "0.375": "⅜"}


def shown(values: Values) -> str:
    """The numbers as they stand in a cell."""
    short = (f"{0 if abs(value) < 1e-20 else value:.3g}" for value in values)
    texts = [FRACTIONS.get(text.lstrip("-"), text.lstrip("-")) for text in short]
    signs = ["−" if value < -1e-20 else "" for value in values]
    return ", ".join(
        sign + text.replace("e+", "e").replace("inf", "∞") for sign, text in zip(signs, texts, strict=True)
    )


def near(x: float, y: float) -> bool:
    return abs(x - y) <= 1e-5 * max(1, abs(y))


def dot(v: Sequence[float], d: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(v, d, strict=True))


def smooth(*v: float) -> Subgradients:
    """One alone: no kink."""
    return Subgradients(
        f"smooth: {shown(list(v))}", lambda x: all(map(near, x, v)) and len(x) == len(v), lambda d: dot(v, d)
    )


def interval(low: float, high: float) -> Subgradients:
    """Of one number, all from the one slope to the other."""
    return Subgradients(
        f"[{shown([low])}, {shown([high])}]",
        lambda x: low - 1e-5 <= x[0] <= high + 1e-5,
        lambda d: max(low * d[0], high * d[0]),
    )


def shares(*tied: int, among: int) -> Subgradients:
    """Of selections: none below 0, 1 in all; the others have 0."""

    def holds(x: Values) -> bool:
        return near(sum(x), 1) and min(x) >= -1e-5 and all(near(x[i], 0) for i in range(among) if i not in tied)

    return Subgradients(SHARES, holds, lambda d: max(d[i] for i in tied))


def ball(p: float, said: str) -> Subgradients:
    """Of the p-norm at zero, what is up to 1 long in the dual norm."""
    dual = 1 / (1 - 1 / p) if p > 1 else math.inf
    return Subgradients(said, lambda x: norm(x, dual) <= 1 + 1e-5, lambda d: norm(d, p))


def norm(x: Values, p: float) -> float:
    return max(map(abs, x)) if p == math.inf else sum(abs(value) ** p for value in x) ** (1 / p)


def deviation(d: Values) -> float:
    """The standard deviation."""
    mean = sum(d) / len(d)
    return norm([value - mean for value in d], 2) / math.sqrt(len(d) - 1)


CENTRED = Subgradients(
    "centred, 1/√(n − 1) long",
    lambda x: near(sum(x), 0) and norm(x, 2) <= 1 / math.sqrt(len(x) - 1) + 1e-5,
    deviation,
)
DENSITIES = Subgradients(
    "PSD, trace 1",
    lambda x: near(x[0] + x[3], 1) and near(x[1], x[2]) and x[0] >= -1e-5 and x[0] * x[3] >= x[1] * x[2] - 1e-5,
)
LAST_WRITE = Subgradients("1 for one, 0 for the other", lambda x: sorted(x) == [0, 1])
INFINITE, JUMP, UNDEFINED = map(Subgradients, ("none: infinite", "none: a jump", "none: undefined"))


class Point(NamedTuple):
    """An expression in x, y and z, in the words of each framework, and where it is differentiated by all of these.

    numpy: the words of JAX, MLX and autograd, where they have none of their own. The gradient is that of the sum.
    """

    name: str
    at: tuple[Any, ...]
    set: Subgradients
    torch: str = ""
    numpy: str = ""
    jax: str = ""
    tensorflow: str = ""
    paddle: str = ""
    mlx: str = ""
    tinygrad: str = ""
    autograd: str = ""

    def words(self, framework: str) -> str:
        """The expression in the words of a framework; empty where it has none."""
        own = str(getattr(self, framework))
        return own or (self.numpy if framework in ("jax", "mlx", "autograd") else "")


UNIT, INF = interval(0, 1), math.inf
ONES, EYE = [1.0, 1, 1], [[1.0, 0], [0, 1]]
THREE = shares(0, 1, 2, among=3)
PAIR = shares(0, 1, among=2)
ATLAS: dict[str, tuple[Point, ...]] = {
    "Activations": (
        Point("relu at 0", (0.0,), UNIT, "F.relu(x)", jax="jax.nn.relu(x)", tensorflow="tf.nn.relu(x)",
              paddle="F.relu(x)", mlx="nn.relu(x)", tinygrad="x.relu()"),
        Point("leaky_relu at 0, slope 0.01", (0.0,), interval(0.01, 1), "F.leaky_relu(x)", jax="jax.nn.leaky_relu(x)",
              tensorflow="tf.nn.leaky_relu(x, 0.01)", paddle="F.leaky_relu(x)", mlx="nn.leaky_relu(x)",
              tinygrad="x.leaky_relu()"),
        Point("relu6 at 0", (0.0,), UNIT, "F.relu6(x)", jax="jax.nn.relu6(x)", tensorflow="tf.nn.relu6(x)",
              paddle="F.relu6(x)", mlx="nn.relu6(x)", tinygrad="x.relu6()"),
        Point("relu6 at 6", (6.0,), UNIT, "F.relu6(x)", jax="jax.nn.relu6(x)", tensorflow="tf.nn.relu6(x)",
              paddle="F.relu6(x)", mlx="nn.relu6(x)", tinygrad="x.relu6()"),
        Point("hardtanh at −1", (-1.0,), UNIT, "F.hardtanh(x)", jax="jax.nn.hard_tanh(x)",
              tensorflow="keras.activations.hard_tanh(x)", paddle="F.hardtanh(x)", mlx="nn.hard_tanh(x)",
              tinygrad="x.hardtanh()"),
        Point("hardtanh at 1", (1.0,), UNIT, "F.hardtanh(x)", jax="jax.nn.hard_tanh(x)",
              tensorflow="keras.activations.hard_tanh(x)", paddle="F.hardtanh(x)", mlx="nn.hard_tanh(x)",
              tinygrad="x.hardtanh()"),
        Point("hardsigmoid at −3", (-3.0,), interval(0, 1 / 6), "F.hardsigmoid(x)", jax="jax.nn.hard_sigmoid(x)",
              tensorflow="keras.activations.hard_sigmoid(x)", paddle="F.hardsigmoid(x)", tinygrad="x.hardsigmoid()"),
        Point("hardsigmoid at 3", (3.0,), interval(0, 1 / 6), "F.hardsigmoid(x)", jax="jax.nn.hard_sigmoid(x)",
              tensorflow="keras.activations.hard_sigmoid(x)", paddle="F.hardsigmoid(x)", tinygrad="x.hardsigmoid()"),
        Point("hardswish at −3", (-3.0,), interval(-0.5, 0), "F.hardswish(x)", jax="jax.nn.hard_swish(x)",
              tensorflow="keras.activations.hard_swish(x)", paddle="F.hardswish(x)", mlx="nn.hardswish(x)",
              tinygrad="x.hardswish()"),
        Point("hardswish at 3", (3.0,), interval(1, 1.5), "F.hardswish(x)", jax="jax.nn.hard_swish(x)",
              tensorflow="keras.activations.hard_swish(x)", paddle="F.hardswish(x)", mlx="nn.hardswish(x)",
              tinygrad="x.hardswish()"),
        Point("softshrink at 0.5", (0.5,), UNIT, "F.softshrink(x)", tensorflow="keras.activations.soft_shrink(x)",
              jax="jax.nn.soft_shrink(x)", paddle="F.softshrink(x)", mlx="nn.softshrink(x)", tinygrad="x.softshrink()"),
        Point("hardshrink at 0.5", (0.5,), JUMP, "F.hardshrink(x)", tensorflow="keras.activations.hard_shrink(x)",
              jax="jax.nn.hard_shrink(x)", paddle="F.hardshrink(x)", mlx="nn.hard_shrink(x)"),
        Point("threshold at 0, to 0", (0.0,), UNIT, "F.threshold(x, 0, 0)", paddle="F.thresholded_relu(x, 0.0)",
              tensorflow="keras.activations.threshold(x, 0, 0)"),
        Point("elu at 0, α = 1", (0.0,), smooth(1), "F.elu(x)", jax="jax.nn.elu(x)", tensorflow="tf.nn.elu(x)",
              paddle="F.elu(x)", mlx="nn.elu(x)", tinygrad="x.elu()"),
        Point("elu at 0, α = 2", (0.0,), interval(1, 2), "F.elu(x, 2)", jax="jax.nn.elu(x, 2)", paddle="F.elu(x, 2)",
              tensorflow="keras.activations.elu(x, 2)", mlx="nn.elu(x, 2)", tinygrad="x.elu(2)"),
        Point("celu at 0, α = 2", (0.0,), smooth(1), "F.celu(x, 2)", jax="jax.nn.celu(x, 2.0)",
              tensorflow="keras.activations.celu(x, 2.0)", paddle="F.celu(x, 2)", mlx="nn.celu(x, 2)",
              tinygrad="x.celu(2)"),
        Point("selu at 0", (0.0,), interval(1.0507, 1.7581), "F.selu(x)", jax="jax.nn.selu(x)",
              tensorflow="tf.nn.selu(x)", paddle="F.selu(x)", mlx="nn.selu(x)", tinygrad="x.selu()"),
        Point("silu at −100", (-100.0,), smooth(0), "F.silu(x)", jax="jax.nn.silu(x)", tensorflow="tf.nn.silu(x)",
              paddle="F.silu(x)", mlx="nn.silu(x)", tinygrad="x.silu()"),
        Point("mish at −100", (-100.0,), smooth(0), "F.mish(x)", jax="jax.nn.mish(x)", paddle="F.mish(x)",
              tensorflow="keras.activations.mish(x)", mlx="nn.mish(x)", tinygrad="x.mish()"),
        Point("softplus at 200", (200.0,), smooth(1), "F.softplus(x)", jax="jax.nn.softplus(x)",
              tensorflow="tf.nn.softplus(x)", paddle="F.softplus(x)", mlx="nn.softplus(x)", tinygrad="x.softplus()"),
        Point("softsign at 0", (0.0,), smooth(1), "F.softsign(x)", jax="jax.nn.soft_sign(x)",
              tensorflow="tf.nn.softsign(x)", paddle="F.softsign(x)", mlx="nn.softsign(x)", tinygrad="x.softsign()"),
    ),
    "Selections and ties": (
        Point("max, 3 equal", (ONES,), THREE, "x.max()", "np.max(x)", tensorflow="tf.reduce_max(x)",
              paddle="paddle.max(x)", tinygrad="x.max()"),
        Point("max along a dim, 3 equal", ([ONES],), THREE, "x.max(1).values", "np.max(x, axis=1)",
              tensorflow="tf.reduce_max(x, 1)", paddle="paddle.max(x, 1)", tinygrad="x.max(1)"),
        Point("amax, 3 equal", ([ONES],), THREE, "x.amax(1)", jax="jnp.amax(x, 1)", paddle="paddle.amax(x, 1)",
              autograd="np.amax(x, 1)"),
        Point("min, 3 equal", (ONES,), THREE, "x.min()", "np.min(x)", tensorflow="tf.reduce_min(x)",
              paddle="paddle.min(x)", tinygrad="x.min()"),
        Point("maximum, 2 equal", (1.0, 1.0), PAIR, "torch.maximum(x, y)", "np.maximum(x, y)",
              tensorflow="tf.maximum(x, y)", paddle="paddle.maximum(x, y)", tinygrad="x.maximum(y)"),
        Point("minimum, 2 equal", (1.0, 1.0), PAIR, "torch.minimum(x, y)", "np.minimum(x, y)",
              tensorflow="tf.minimum(x, y)", paddle="paddle.minimum(x, y)", tinygrad="x.minimum(y)"),
        Point("fmax, 2 equal", (1.0, 1.0), PAIR, "torch.fmax(x, y)", jax="jnp.fmax(x, y)",
              paddle="paddle.fmax(x, y)", autograd="np.fmax(x, y)"),
        Point("maximum with the constant 0, at 0", (0.0,), UNIT, "torch.maximum(x, torch.zeros(()))",
              "np.maximum(x, 0)", tensorflow="tf.maximum(x, 0.0)", paddle="paddle.maximum(x, paddle.zeros([]))",
              tinygrad="x.maximum(0)"),
        Point("clamp at its lower bound", (0.0,), UNIT, "x.clamp(0, 1)", "np.clip(x, 0, 1)",
              tensorflow="tf.clip_by_value(x, 0.0, 1.0)", paddle="paddle.clip(x, 0, 1)", tinygrad="x.clip(0, 1)"),
        Point("clamp at its upper bound", (1.0,), UNIT, "x.clamp(0, 1)", "np.clip(x, 0, 1)",
              tensorflow="tf.clip_by_value(x, 0.0, 1.0)", paddle="paddle.clip(x, 0, 1)", tinygrad="x.clip(0, 1)"),
        Point("clamp at a bound y that is a tensor", (1.0, 1.0), PAIR, "torch.clamp(x, min=y)",
              jax="jnp.clip(x, y, None)", mlx="mx.clip(x, y, None)", tinygrad="x.clip(y, None)"),
        Point("max_pool, 3 equal", (ONES,), THREE, "F.max_pool1d(x[None, None], 3)",
              jax="jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (3,), (3,), 'VALID')",
              tensorflow="tf.nn.max_pool1d(x[None, :, None], 3, 3, 'VALID')", paddle="F.max_pool1d(x[None, None], 3)",
              mlx="nn.MaxPool1d(3)(x[None, :, None])", tinygrad="x.reshape(1, 1, 1, 3).max_pool2d((1, 3))"),
        Point("sort, the first of 3 equal", (ONES,), THREE, "x.sort().values[0]", "np.sort(x)[0]",
              tensorflow="tf.sort(x)[0]", paddle="paddle.sort(x)[0]", tinygrad="x.sort()[0][0]"),
        Point("topk, 1 of 3 equal", (ONES,), THREE, "x.topk(1).values", jax="jax.lax.top_k(x, 1)[0]",
              tensorflow="tf.math.top_k(x, 1).values", paddle="paddle.topk(x, 1)[0]", mlx="mx.topk(x, 1)",
              tinygrad="x.topk(1)[0]"),
        Point("median, 3 equal", (ONES,), THREE, "x.median()", "np.median(x)", paddle="paddle.median(x)"),
        Point("median along a dim, 3 equal", ([ONES],), THREE, "x.median(1).values", "np.median(x, axis=1)",
              paddle="paddle.median(x, 1)"),
        Point("quantile ½, 3 equal", (ONES,), THREE, "x.quantile(0.5)", jax="jnp.quantile(x, 0.5)",
              paddle="paddle.quantile(x, 0.5)"),
        Point("cummax, 3 equal, the last", (ONES,), THREE, "x.cummax(0).values[2]", jax="jax.lax.cummax(x)[2]",
              paddle="paddle.cummax(x)[0][2]", mlx="mx.cummax(x)[2]", tinygrad="x.cummax()[0][2]"),
        Point("scatter_reduce amax, 2 equal", ([1.0, 1],), PAIR,
              "torch.full((1,), -1.0).scatter_reduce(0, torch.zeros(2, dtype=torch.long), x, 'amax')",
              jax="jax.ops.segment_max(x, jnp.zeros(2, int), 1)", tensorflow="tf.math.segment_max(x, [0, 0])",
              paddle="paddle.geometric.segment_max(x, paddle.zeros([2], 'int32'))",
              mlx="mx.full((1,), -1.0).at[mx.zeros(2, mx.int32)].maximum(x)",
              tinygrad="Tensor([-1.0]).scatter_reduce(0, Tensor([0, 0]), x, 'amax')"),
        Point("two writes to one place", ([1.0, 2],), LAST_WRITE,
              "torch.zeros(1).index_put((torch.zeros(2, dtype=torch.long),), x)",
              jax="jnp.zeros(1).at[jnp.zeros(2, int)].set(x)",
              tensorflow="tf.tensor_scatter_nd_update(tf.zeros(1), [[0], [0]], x)",
              paddle="paddle.index_put(paddle.zeros([1]), (paddle.zeros([2], 'int64'),), x)",
              tinygrad="Tensor([0.0]).scatter(0, Tensor([0, 0]), x)"),
        Point("scatter twice to one place", ([1.0, 2],), LAST_WRITE,
              "torch.zeros(1).scatter(0, torch.zeros(2, dtype=torch.long), x)",
              paddle="paddle.put_along_axis(paddle.zeros([1]), paddle.zeros([2], 'int64'), x, 0)",
              mlx="mx.put_along_axis(mx.zeros(1), mx.zeros(2, mx.int32), x, 0)"),
    ),
    "Absolute values, norms and deviations": (
        Point("abs at 0", (0.0,), interval(-1, 1), "x.abs()", "np.abs(x)", tensorflow="tf.abs(x)",
              paddle="paddle.abs(x)", tinygrad="x.abs()"),
        Point("sign at 0", (0.0,), JUMP, "x.sign()", "np.sign(x)", tensorflow="tf.sign(x)", paddle="paddle.sign(x)",
              tinygrad="x.sign()"),
        Point("copysign(x, 1) at 0", (0.0,), interval(-1, 1), "torch.copysign(x, torch.ones(()))",
              jax="jnp.copysign(x, 1.0)", paddle="paddle.copysign(x, paddle.ones([]))", tinygrad="x.copysign(1)"),
        Point("1-norm of 0", ([0.0, 0],), ball(1, "each up to 1"), "torch.linalg.vector_norm(x, 1)",
              "np.linalg.norm(x, 1)", tensorflow="tf.norm(x, 1)", paddle="paddle.linalg.norm(x, 1)"),
        Point("2-norm of 0", ([0.0, 0],), ball(2, "up to 1 long"), "torch.linalg.vector_norm(x)",
              "np.linalg.norm(x)", tensorflow="tf.norm(x)", paddle="paddle.linalg.norm(x)"),
        Point("∞-norm of 0", ([0.0, 0],), ball(INF, "up to 1 in all"), "torch.linalg.vector_norm(x, float('inf'))",
              "np.linalg.norm(x, float('inf'))", tensorflow="tf.norm(x, float('inf'))",
              paddle="paddle.linalg.norm(x, float('inf'))"),
        Point("∞-norm of (1, 1)", ([1.0, 1],), PAIR, "torch.linalg.vector_norm(x, float('inf'))",
              "np.linalg.norm(x, float('inf'))", tensorflow="tf.norm(x, float('inf'))",
              paddle="paddle.linalg.norm(x, float('inf'))"),
        Point("√(x · x) of 0", ([0.0, 0],), ball(2, "up to 1 long"), "(x * x).sum().sqrt()", "np.sqrt(np.sum(x * x))",
              tensorflow="tf.sqrt(tf.reduce_sum(x * x))", paddle="(x * x).sum().sqrt()",
              tinygrad="(x * x).sum().sqrt()"),
        Point("pairwise distance of equal ones", ([[1.0, 1]],), ball(2, "up to 1 long"),
              "torch.cdist(x, torch.ones(1, 2))", paddle="paddle.cdist(x, paddle.ones([1, 2]))",
              tensorflow="tf.norm(x - tf.ones((1, 2)))"),
        Point("hypot(0, 0)", (0.0, 0.0), ball(2, "up to 1 long"), "torch.hypot(x, y)", jax="jnp.hypot(x, y)",
              paddle="paddle.hypot(x, y)", autograd="np.hypot(x, y)"),
        Point("complex abs at 0", (0j,), ball(2, "up to 1 long"), "x.abs()", "np.abs(x)", tensorflow="tf.abs(x)",
              paddle="paddle.abs(x)"),
        Point("std, 3 equal", (ONES,), CENTRED, "x.std()", jax="jnp.std(x, ddof=1)", mlx="mx.std(x, ddof=1)",
              paddle="paddle.std(x)", tinygrad="x.std()", autograd="np.std(x, ddof=1)"),
        Point("std, 3 equal, over n", (ONES,), Subgradients(
              "centred, 1/√n long", lambda x: near(sum(x), 0) and norm(x, 2) <= 3**-0.5 + 1e-5),
              "x.std(correction=0)", "np.std(x)", tensorflow="tf.math.reduce_std(x)",
              paddle="paddle.std(x, unbiased=False)", tinygrad="x.std(correction=0)"),
        Point("var, 3 equal", (ONES,), smooth(0, 0, 0), "x.var()", "np.var(x)",
              tensorflow="tf.math.reduce_variance(x)", paddle="paddle.var(x)", tinygrad="x.var()"),
        Point("normalize of 0", ([0.0, 0],), JUMP, "F.normalize(x, dim=0)[0]",
              tensorflow="tf.math.l2_normalize(x)[0]", paddle="F.normalize(x, axis=0)[0]",
              tinygrad="x.normalize(dim=0)[0]"),
        Point("cosine of 0 and (1, 2)", ([0.0, 0],), JUMP, "F.cosine_similarity(x, torch.tensor([1.0, 2]), 0)",
              tensorflow="-keras.losses.cosine_similarity(tf.constant([1.0, 2]), x)",
              paddle="F.cosine_similarity(x, paddle.to_tensor([1.0, 2]), 0)",
              mlx="nn.losses.cosine_similarity_loss(x, mx.array([1.0, 2]), axis=0)"),
    ),
    "Roots, powers and products": (
        Point("sqrt at 0", (0.0,), INFINITE, "x.sqrt()", "np.sqrt(x)", tensorflow="tf.sqrt(x)", paddle="x.sqrt()",
              tinygrad="x.sqrt()"),
        Point("complex sqrt at 0, real part", (0j,), INFINITE, "x.sqrt().real", "np.real(np.sqrt(x))",
              tensorflow="tf.math.real(tf.sqrt(x))", paddle="paddle.sqrt(x).real()"),
        Point("x ** 0.5 at 0", (0.0,), INFINITE, *["x ** 0.5"] * 2, tensorflow="x ** 0.5", paddle="x ** 0.5",
              tinygrad="x ** 0.5"),
        Point("x ** 0 at 0", (0.0,), smooth(0), *["x ** 0"] * 2, tensorflow="x ** 0", paddle="x ** 0",
              tinygrad="x ** 0"),
        Point("x ** 1 at 0", (0.0,), smooth(1), *["x ** 1"] * 2, tensorflow="x ** 1", paddle="x ** 1",
              tinygrad="x ** 1"),
        Point("pow(0, 0)", (0.0, 0.0), JUMP, *["x ** y"] * 2, tensorflow="x ** y", paddle="x ** y", tinygrad="x ** y"),
        Point("pow(0, 0.5)", (0.0, 0.5), INFINITE, *["x ** y"] * 2, tensorflow="x ** y", paddle="x ** y",
              tinygrad="x ** y"),
        Point("pow(0, 2)", (0.0, 2.0), smooth(0, 0), *["x ** y"] * 2, tensorflow="x ** y", paddle="x ** y",
              tinygrad="x ** y"),
        Point("prod of 0, 2, 3", ([0.0, 2, 3],), smooth(6, 0, 0), "x.prod()", "np.prod(x)",
              tensorflow="tf.reduce_prod(x)", paddle="x.prod()", tinygrad="x.prod()"),
        Point("prod of 0, 0, 3", ([0.0, 0, 3],), smooth(0, 0, 0), "x.prod()", "np.prod(x)",
              tensorflow="tf.reduce_prod(x)", paddle="x.prod()", tinygrad="x.prod()"),
        Point("cumprod of 0, 2, 3, the last", ([0.0, 2, 3],), smooth(6, 0, 0), "x.cumprod(0)[2]",
              jax="jnp.cumprod(x)[2]", mlx="mx.cumprod(x)[2]", tensorflow="tf.math.cumprod(x)[2]",
              paddle="x.cumprod(0)[2]", tinygrad="x.cumprod(0)[2]"),
        Point("cumprod of 0, 0, 3, the last", ([0.0, 0, 3],), smooth(0, 0, 0), "x.cumprod(0)[2]",
              jax="jnp.cumprod(x)[2]", mlx="mx.cumprod(x)[2]", tensorflow="tf.math.cumprod(x)[2]",
              paddle="x.cumprod(0)[2]", tinygrad="x.cumprod(0)[2]"),
    ),
    "Logarithms, exponentials and quotients": (
        Point("log at 0", (0.0,), INFINITE, "x.log()", "np.log(x)", tensorflow="tf.math.log(x)", paddle="x.log()",
              tinygrad="x.log()"),
        Point("xlogy(0, 0)", (0.0, 0.0), INFINITE, "torch.xlogy(x, y)", jax="special.xlogy(x, y)",
              tensorflow="tf.math.xlogy(x, y)"),
        Point("xlogy(0, 2)", (0.0, 2.0), smooth(math.log(2), 0), "torch.xlogy(x, y)", jax="special.xlogy(x, y)",
              tensorflow="tf.math.xlogy(x, y)"),
        Point("entropy −x log x at 0", (0.0,), INFINITE, "torch.special.entr(x)", jax="special.entr(x)"),
        Point("logaddexp(−∞, −∞)", (-INF, -INF), UNDEFINED, "torch.logaddexp(x, y)", "np.logaddexp(x, y)",
              tinygrad="x.logaddexp(y)", paddle="paddle.logaddexp(x, y)"),
        Point("logsumexp of −∞, −∞", ([-INF, -INF],), UNDEFINED, "x.logsumexp(0)", jax="jax.nn.logsumexp(x)",
              tensorflow="tf.reduce_logsumexp(x)", paddle="paddle.logsumexp(x)", mlx="mx.logsumexp(x)",
              tinygrad="x.logsumexp()"),
        Point("softmax of −∞, −∞, the first", ([-INF, -INF],), UNDEFINED, "x.softmax(0)[0]",
              jax="jax.nn.softmax(x)[0]", tensorflow="tf.nn.softmax(x)[0]", paddle="F.softmax(x)[0]",
              mlx="mx.softmax(x)[0]", tinygrad="x.softmax()[0]"),
        Point("softmax of 0, −∞, the first", ([0.0, -INF],), smooth(0, 0), "x.softmax(0)[0]",
              jax="jax.nn.softmax(x)[0]", tensorflow="tf.nn.softmax(x)[0]", paddle="F.softmax(x)[0]",
              mlx="mx.softmax(x)[0]", tinygrad="x.softmax()[0]"),
        Point("log_softmax of 0, −∞, the first", ([0.0, -INF],), smooth(0, 0), "x.log_softmax(0)[0]",
              jax="jax.nn.log_softmax(x)[0]", tensorflow="tf.nn.log_softmax(x)[0]", paddle="F.log_softmax(x)[0]",
              mlx="nn.log_softmax(x)[0]", tinygrad="x.log_softmax()[0]"),
        Point("sinc at 0", (0.0,), smooth(0), "x.sinc()", jax="jnp.sinc(x)", autograd="np.sinc(x)", paddle="x.sinc()"),
        Point("where(x ≠ 0, sin(x)/x, 1) at 0", (0.0,), smooth(0), "torch.where(x != 0, x.sin() / x, 1)",
              "np.where(x != 0, np.sin(x) / x, 1.0)", tensorflow="tf.where(x != 0, tf.sin(x) / x, 1.0)",
              paddle="paddle.where(x != 0, x.sin() / x, paddle.ones([]))", tinygrad="(x != 0).where(x.sin() / x, 1.0)"),
        Point("where(x > 0, √x, 0) at 0", (0.0,), interval(0, INF), "torch.where(x > 0, x.sqrt(), 0)",
              "np.where(x > 0, np.sqrt(x), 0.0)", tensorflow="tf.where(x > 0, tf.sqrt(x), 0.0)",
              paddle="paddle.where(x > 0, x.sqrt(), paddle.zeros([]))", tinygrad="(x > 0).where(x.sqrt(), 0.0)"),
        Point("atan2(0, 0)", (0.0, 0.0), JUMP, "torch.atan2(x, y)", "np.arctan2(x, y)", tensorflow="tf.atan2(x, y)",
              paddle="paddle.atan2(x, y)"),
        Point("arccos at 1", (1.0,), INFINITE, "x.acos()", "np.arccos(x)", tensorflow="tf.acos(x)", paddle="x.acos()",
              tinygrad="x.acos()"),
        Point("spence at 1.5", (1.5,), smooth(math.log(1.5) / (1 - 1.5)), jax="special.spence(x)",
              tensorflow="tf.math.special.spence(x)"),
    ),
    "Steps and remainders": (
        Point("floor at 1", (1.0,), JUMP, "x.floor()", "np.floor(x)", tensorflow="tf.floor(x)", paddle="x.floor()",
              tinygrad="x.floor()"),
        Point("round at 0.5", (0.5,), JUMP, "x.round()", jax="jnp.round(x)", mlx="mx.round(x)",
              tensorflow="tf.round(x)", paddle="x.round()", tinygrad="x.round()", autograd="np.round(x)"),
        Point("round at 0.3", (0.3,), smooth(0), "x.round()", jax="jnp.round(x)", mlx="mx.round(x)",
              tensorflow="tf.round(x)", paddle="x.round()", tinygrad="x.round()", autograd="np.round(x)"),
        Point("remainder of 3 by 1", (3.0, 1.0), JUMP, "torch.remainder(x, y)", "np.remainder(x, y)",
              tensorflow="tf.math.floormod(x, y)", paddle="paddle.remainder(x, y)", tinygrad="x.mod(y)"),
        Point("fmod of 3 by 1", (3.0, 1.0), JUMP, "torch.fmod(x, y)", jax="jnp.fmod(x, y)", tinygrad="x.fmod(y)",
              tensorflow="tf.truncatemod(x, y)", autograd="np.fmod(x, y)"),
        Point("heaviside at 0", (0.0,), JUMP, "torch.heaviside(x, torch.zeros(()))", jax="jnp.heaviside(x, 0.0)",
              paddle="paddle.heaviside(x, paddle.zeros([]))", mlx="nn.step(x, 0.0)"),
        Point("nan_to_num of nan", (math.nan,), UNDEFINED, "x.nan_to_num()", "np.nan_to_num(x)",
              paddle="paddle.nan_to_num(x)"),
        Point("nan_to_num of ∞", (INF,), UNDEFINED, "x.nan_to_num()", "np.nan_to_num(x)",
              paddle="paddle.nan_to_num(x)"),
    ),
    "Losses": (
        Point("l1_loss of equal ones", (1.0,), interval(-1, 1), "F.l1_loss(x, torch.ones(()))",
              tensorflow="keras.losses.mean_absolute_error(tf.ones(1), x[None])",
              mlx="nn.losses.l1_loss(x, mx.ones([]))",
              paddle="F.l1_loss(x, paddle.ones([]))"),
        Point("huber_loss at its joint", (1.0,), smooth(1), "F.huber_loss(x, torch.zeros(()))",
              tensorflow="keras.losses.huber(tf.zeros(1), x[None])", mlx="nn.losses.huber_loss(x, mx.zeros([]))",
              paddle="F.smooth_l1_loss(x, paddle.zeros([]))"),
        Point("hinge at its margin", (1.0,), interval(-1, 0), "F.hinge_embedding_loss(x, -torch.ones(()))",
              tensorflow="keras.losses.hinge(tf.ones(1), x[None])", mlx="nn.losses.hinge_loss(x, mx.ones([]))",
              paddle="F.hinge_embedding_loss(x, -paddle.ones([]))"),
        Point("binary_cross_entropy of 0 and 0", (0.0,), smooth(1), "F.binary_cross_entropy(x, torch.zeros(()))",
              tensorflow="keras.losses.binary_crossentropy(tf.zeros(1), x[None])",
              paddle="F.binary_cross_entropy(x, paddle.zeros([]))",
              mlx="nn.losses.binary_cross_entropy(x, mx.zeros([]), with_logits=False)"),
        Point("cross entropy, target 0 of logit −∞", ([0.0, -INF],), smooth(0, 0),
              "F.cross_entropy(x[None], torch.tensor([[1.0, 0]]))",
              tensorflow="tf.nn.softmax_cross_entropy_with_logits(tf.constant([1.0, 0]), x)",
              paddle="F.cross_entropy(x[None], paddle.to_tensor([[1.0, 0]]), soft_label=True)",
              mlx="nn.losses.cross_entropy(x, mx.array([1.0, 0]))",
              tinygrad="x.reshape(1, 2).cross_entropy(Tensor([[1.0, 0]]))"),
        Point("kl_div at target 0", (0.0, 0.0), INFINITE, "F.kl_div(x, y, reduction='sum')",
              paddle="F.kl_div(x, y, reduction='sum')"),
    ),
    "Matrices": (
        Point("largest eigenvalue of I", (EYE,), DENSITIES, "torch.linalg.eigvalsh(x)[-1]",
              "np.linalg.eigvalsh(x)[-1]", tensorflow="tf.linalg.eigvalsh(x)[-1]",
              paddle="paddle.linalg.eigvalsh(x)[-1]", autograd="np.linalg.eigh(x)[0][-1]"),
        Point("largest singular value of I", (EYE,), DENSITIES, "torch.linalg.svdvals(x)[0]",
              jax="jnp.linalg.svd(x, compute_uv=False)[0]", tensorflow="tf.linalg.svd(x, compute_uv=False)[0]",
              paddle="paddle.linalg.svd(x)[1][0]", mlx="mx.linalg.svd(x, compute_uv=False)[0]",
              autograd="np.linalg.svd(x, compute_uv=False)[0]"),
        Point("sum of the singular values of I", (EYE,), smooth(1, 0, 0, 1), "torch.linalg.svd(x).S",
              jax="jnp.linalg.svd(x)[1]", tensorflow="tf.linalg.svd(x)[0]", paddle="paddle.linalg.svd(x)[1]",
              mlx="mx.linalg.svd(x)[1]", autograd="np.linalg.svd(x)[1]"),
        Point("first eigenvector of I", (EYE,), UNDEFINED, "torch.linalg.eigh(x).eigenvectors[:, 0]",
              "np.linalg.eigh(x)[1][:, 0]", tensorflow="tf.linalg.eigh(x)[1][:, 0]",
              paddle="paddle.linalg.eigh(x)[1][:, 0]"),
        Point("det of rank n − 1", ([[1.0, 2], [2, 4]],), smooth(4, -2, -2, 1), "torch.linalg.det(x)",
              jax="jnp.linalg.det(x)", tensorflow="tf.linalg.det(x)", paddle="paddle.linalg.det(x)",
              autograd="np.linalg.det(x)"),
    ),
}  # fmt: skip
POINTS = {point.name: point for points in ATLAS.values() for point in points}


def of_torch() -> tuple[dict[str, Any], Any, Any]:
    """What expressions are written in, how a tensor is made, and the gradients of a function by its arguments."""
    import torch
    import torch.nn.functional as F

    def gradients(function: Any, *xs: Any) -> Any:
        out = function(*(x.requires_grad_() for x in xs))
        return torch.autograd.grad(out.sum(), xs, allow_unused=True, materialize_grads=True)

    return {"torch": torch, "F": F}, torch.tensor, gradients


def of_jax() -> tuple[dict[str, Any], Any, Any]:
    import jax
    import jax.numpy as jnp
    from jax.scipy import special

    def gradients(function: Any, *xs: Any) -> Any:
        return jax.grad(lambda *xs: function(*xs).sum(), tuple(range(len(xs))))(*xs)

    return {"jax": jax, "jnp": jnp, "np": jnp, "special": special}, jnp.array, gradients


def of_tensorflow() -> tuple[dict[str, Any], Any, Any]:
    import keras
    import tensorflow as tf

    def gradients(function: Any, *xs: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(xs)
            out = tf.reduce_sum(function(*xs))
        return tape.gradient(out, xs, unconnected_gradients="zero")

    return {"tf": tf, "keras": keras}, tf.constant, gradients


def of_paddle() -> tuple[dict[str, Any], Any, Any]:
    import paddle
    import paddle.nn.functional as F

    def gradients(function: Any, *xs: Any) -> Any:
        for x in xs:
            x.stop_gradient = False
        found = paddle.grad(function(*xs).sum(), xs, allow_unused=True)
        return [paddle.zeros_like(x) if grad is None else grad for grad, x in zip(found, xs, strict=True)]

    return {"paddle": paddle, "F": F}, paddle.to_tensor, gradients


def of_mlx() -> tuple[dict[str, Any], Any, Any]:
    import mlx.core as mx
    import mlx.nn as nn

    def gradients(function: Any, *xs: Any) -> Any:
        found = mx.grad(lambda *xs: function(*xs).sum(), tuple(range(len(xs))))(*xs)
        return found if len(xs) > 1 else [found]

    return {"mx": mx, "np": mx, "nn": nn}, mx.array, gradients


def of_tinygrad() -> tuple[dict[str, Any], Any, Any]:
    os.environ["DEV"] = "PYTHON"  # the gradients are the same on every device, and this one is always there
    from tinygrad import Tensor, dtypes

    def gradients(function: Any, *xs: Any) -> Any:
        return [grad.clone() for grad in function(*xs).sum().gradient(*xs)]  # else one that is constant is compiled

    def tensor(x: Any) -> Any:  # a number by itself would be folded into the code
        return Tensor(x if isinstance(x, list) else [x], dtype=dtypes.float32)

    return {"Tensor": Tensor}, tensor, gradients


def of_autograd() -> tuple[dict[str, Any], Any, Any]:
    import autograd
    import autograd.numpy as np

    def gradients(function: Any, *xs: Any) -> Any:
        return autograd.grad(lambda *xs: np.sum(function(*xs)), tuple(range(len(xs))))(*xs)

    return {"np": np}, lambda x: np.array(x, np.complex64 if isinstance(x, complex) else np.float32), gradients


Record = dict[str, Any]  # the date, the versions by framework, and what each takes, by the name of the point


def measure(framework: str) -> Record:
    """The version of a framework that is installed here, and what it takes at each point."""
    warnings.simplefilter("ignore")
    words, tensor, gradients = globals()[f"of_{framework}"]()
    found: dict[str, Any] = {}
    for point in POINTS.values():
        expression = point.words(framework)
        if not expression:
            continue
        try:
            grads = gradients(eval(f"lambda x, y=None, z=None: {expression}", words), *map(tensor, point.at))
            arrays = (grad if hasattr(grad, "tolist") else grad.numpy() for grad in grads)
            found[point.name] = [number for array in arrays for number in numbers(array.tolist())]
        except AttributeError:
            print(f"{NAMES[framework]} has no {expression}", file=sys.stderr)
        except Exception as error:
            found[point.name] = RAISES
            print(f"{NAMES[framework]}, {expression}: {type(error).__name__}: {error}", file=sys.stderr)
    names = [pin.partition("==")[0].partition("[")[0] for pin in PINS.get(framework, [framework])]
    return {"version": " with Keras ".join(version(name).partition("+")[0] for name in names), "taken": found}


def numbers(of: Any) -> Iterator[float | str]:
    """All that are in nested lists, a complex one as two; in JSON what is not finite is a word."""
    if isinstance(of, list):
        for each in of:
            yield from numbers(each)
    elif isinstance(of, complex):
        yield from numbers([of.real, of.imag])
    else:
        yield float(f"{of:.6g}") + 0 if math.isfinite(of) else str(of)


def measured(framework: str, environments: Path) -> Record | None:
    """The same from an environment of its own; None where there is none to be had. Raises where it crashes."""
    python = Path(sys.executable)
    if framework in PINS:
        python = environments / framework / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", environments / framework], check=True)
            if subprocess.run([python, "-m", "pip", "install", "-q", "numpy", *PINS[framework]]).returncode:
                shutil.rmtree(environments / framework)
                return None
    child = [python, "-P", __file__, "--measure", framework]
    return dict(json.loads(subprocess.run(child, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1]))


def same(one: Any, other: Any) -> bool:
    """Whether two have taken the same, but for rounding."""
    if one is None or other is None or RAISES in (one, other) or len(one) != len(other):
        return bool(one == other)
    pairs = [(float(x), float(y)) for x, y in zip(one, other, strict=True)]
    return all(x == y or (math.isnan(x) and math.isnan(y)) or near(x, y) for x, y in pairs)


def differences(record: Record, found: Record) -> list[str]:
    """What the record says otherwise."""
    lines = []
    for framework in found["versions"]:
        old, new = record["versions"].get(framework), found["versions"][framework]
        if framework != "torch" and old != new:
            lines.append(f"{NAMES[framework]}: {old} in the record, {new} here")
        for point in POINTS:
            was, now = (of["taken"].get(point, {}).get(framework) for of in (record, found))
            if not same(was, now):
                lines.append(f"{NAMES[framework]}, {point}: {was} in the record, {now} here")
    return lines


def outside(point: Point, taken: Any) -> bool:
    """Whether there are subgradients, and this is none."""
    return bool(point.set.holds and taken not in (None, RAISES) and not point.set.holds([*map(float, taken)]))


def cell(point: Point, taken: Any, torchs: Any) -> str:
    """What was taken, bold where it is not what torch takes, with a cross where it is no subgradient."""
    if taken is None:
        return MISSING
    text = taken if taken == RAISES else shown([*map(float, taken)])
    text = f"**{text}**" if torchs is not None and not same(taken, torchs) else text
    return text + " ✗" * outside(point, taken)


def words(record: Record, name: str) -> str:
    """What is taken at a point in one line, with who takes it; in the judge's words autograd is torch's own."""
    by: dict[str, list[str]] = {}
    for framework, taken in record["taken"][name].items():
        if taken != RAISES and framework != "autograd":
            by.setdefault(choice(POINTS[name], [*map(float, taken)]), []).append(NAMES[framework])
    return "; ".join(f"{what} in {', '.join(who)}" for what, who in by.items())


def choice(point: Point, taken: Values) -> str:
    """What was taken, of shares which one, in words."""
    if point.set.said == SHARES and near(sum(taken), 1):
        if near(max(taken), 1):
            places = {0: "the first", len(taken) - 1: "the last"}
            return places.get(taken.index(max(taken)), "the middle one")
        return "even shares" if near(max(taken), min(taken)) else "uneven shares"
    return shown(taken[:1] if all(str(value) == str(taken[0]) for value in taken) else taken)


HEAD = """\
# An atlas of kinks

The gradients that torch and others return at {count} points where there is no derivative, or where a formula breaks
down: kinks, ties, zeros, infinities. Who ports a backward pass from one framework to another finds here what changes.

Measured on {date} in float32 on the CPU, tinygrad on its device `PYTHON`:
{versions}.{missing}
[`benchmarks/kinks.py`](../benchmarks/kinks.py) has the call behind each number, and measures again.

- **Set** is the set of subgradients; a backward pass may take any of them. *[0, 1]* is every slope from 0 to 1. *Shares
  of 1*: each of the tied gets a share, none below 0, and they add up to 1. *Smooth*: no kink, one gradient is right.
  *None*: there is no subgradient, and anything may come back.
- **Bold** is another gradient than torch's. ✗ is one outside of the set. *raises*: the function is there, its gradient
  is not. {without}: there is no such function.
- Commas separate the elements of a vector, or the gradients of several inputs, in order.

At {apart} points somebody returns another gradient than torch. At {wrong} somebody returns one outside of the set;
torch does so at {torchs}.
"""


def page(record: Record) -> str:
    """The page of the record."""
    taken, columns = record["taken"], [framework for framework in NAMES if framework in record["versions"]]
    apart = [p for p in taken if any(not same(v, taken[p].get("torch", v)) for v in taken[p].values())]
    wrong = [p for p in taken if any(outside(POINTS[p], v) for v in taken[p].values())]
    absent = [NAMES[framework] for framework in NAMES if framework not in columns]
    lines = HEAD.format(
        count=len(taken), date=record["date"], apart=len(apart), wrong=len(wrong), without=MISSING,
        torchs=sum(outside(POINTS[p], taken[p].get("torch")) for p in taken),
        versions=", ".join(f"{NAMES[each]} {record['versions'][each]}" for each in columns),
        missing=f" Not measured: {', '.join(absent)}." * bool(absent),
    ).splitlines()  # fmt: skip
    for family, points in ATLAS.items():
        heads = ["at", "set", *(NAMES[framework] for framework in columns)]
        lines += ["", f"## {family}", "", f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|"]
        for point in points:
            row = taken[point.name]
            cells = (cell(point, row.get(framework), row.get("torch")) for framework in columns)
            lines.append(f"| {point.name} | {point.set.said} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def written(record: Record) -> str:
    """The record in JSON, a line for each point."""
    head = json.dumps({key: record[key] for key in ("date", "versions")})
    lines = (json.dumps({name: taken}, ensure_ascii=False)[1:-1] for name, taken in record["taken"].items())
    return f'{head[:-1]}, "taken": {{\n' + ",\n".join(lines) + "\n}}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=NAMES, help="one of them")
    parser.add_argument("--write", action="store_true", help="write the record and the page")
    parser.add_argument("--environments", type=Path, default=ROOT / "build" / "kinks", help="where they are kept")
    parser.add_argument("--measure", choices=NAMES, help=argparse.SUPPRESS)  # in an environment of its own
    given = parser.parse_args()
    if given.only and given.write:
        parser.error("--write: expected to measure all, got --only")
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return
    record: Record = json.loads(RECORD.read_text(encoding="utf-8"))
    found: Record = {"date": str(datetime.date.today()), "versions": {}, "taken": {name: {} for name in POINTS}}
    for framework in [given.only] if given.only else NAMES:
        one = measured(framework, given.environments)
        if one is None:
            print(f"{NAMES[framework]}: not measured, for it cannot be installed")
            continue
        found["versions"][framework] = one["version"]
        for name, taken in one["taken"].items():
            found["taken"][name][framework] = taken
    lines = differences(record, found)
    print(*lines or ["as in the record"], sep="\n")
    if given.write:
        RECORD.write_text(written(found), encoding="utf-8")
        PAGE.write_text(page(found), encoding="utf-8")
    sys.exit(bool(lines) and not given.write)


if __name__ == "__main__":
    main()
