"""Second opinions on the judge, with no autograd at all: Taylor remainders, differences, a complex step in NumPy."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crosscheck.candidate import as_tuple
from crosscheck.verdict.precision import is_floating, rounded, unit_roundoff

Complex = NDArray[np.complex128]
Real = NDArray[np.float64]

# Salts of the seed: a grad_out or a direction that equals the inputs, drawn with the same seed, hides mistakes.
GRAD_OUT, DIRECTION = 101, 202


def complex_step(x: Real, z: Real, weights: Sequence[Real], biases: Sequence[Real]) -> dict[str, Real]:
    """Every derivative of the sigmoid network's cross entropy: ∂J/∂q = Im J(q + ih)/h with h = 10⁻³⁰.

    x [N, n₀] and z [N, n_L], or one sample of each; weights [n_l, n_(l−1)], biases [n_l]; float64. Returns J and, for
    each layer l, delta_in[l], delta_out[l], weight[l] and bias[l]; and x, the gradient of the input.

    A step along the imaginary axis needs no difference of nearby numbers, and so has no rounding error to balance; it
    asks for an analytic function, which the article's network is. A delta is the derivative by a step added to the
    neuron itself.

    Source: Squire, Trapp, Using complex variables to estimate derivatives of real functions (SIAM Review 40, 1998).
    """
    h = 1e-30
    places: dict[str, tuple[int, ...]] = {"x": x.shape}
    for layer, w in enumerate(weights):
        neurons = (*x.shape[:-1], w.shape[0])
        places |= {f"delta_in[{layer}]": neurons, f"delta_out[{layer}]": neurons}
        places |= {f"weight[{layer}]": w.shape, f"bias[{layer}]": (w.shape[0],)}

    def J(step: dict[str, Complex]) -> np.complex128:
        a = np.asarray(x + step.get("x", 0j), dtype=np.complex128)
        for layer, (w, b) in enumerate(zip(weights, biases, strict=True)):
            W, B = w + step.get(f"weight[{layer}]", 0j), b + step.get(f"bias[{layer}]", 0j)
            n_in = a @ W.T + B + step.get(f"delta_in[{layer}]", 0j)
            a = 1 / (1 + np.exp(-n_in)) + step.get(f"delta_out[{layer}]", 0j)
        samples = 1 if x.ndim == 1 else len(x)
        return np.complex128(-np.sum(z * np.log(a) + (1 - z) * np.log(1 - a)) / samples)

    derivatives = {"J": np.array(J({}).real)}
    for name, shape in places.items():
        derivative = np.zeros(shape)
        for place in np.ndindex(*shape):
            step = np.zeros(shape, dtype=np.complex128)
            step[place] = 1j * h
            derivative[place] = J({name: step}).imag / h
        derivatives[name] = derivative
    return derivatives


def taylor_rate(
    forward: Callable[..., Any], backward: Callable[..., Sequence[Tensor | None]], inputs: Sequence[Any], seed: int = 0
) -> float:
    """The power of h with which the Taylor remainder falls: 2 where the gradient is right, 1 where it is wrong.

    r(h) = |J(x + hd) − J(x) − h⟨∂J/∂x, d⟩| for J = Σ grad_out · forward(x), grad_out and the direction d at random, in
    float64, from the two smallest h at which r is above its rounding error; ∞ where it never is, as for a linear
    function; nan where a number is not finite. Takes any forward that runs in float64, also one through which autograd
    cannot go; it must be smooth around the inputs.

    Source: Farrell, Ham, Funke, Rognes, Automated Derivation of the Adjoint of High-Level Transient Finite Element
    Programs (SIAM J. Sci. Comput. 35, 2013), as a test there.
    """
    xs, grads_out, J = _cost(forward, inputs, seed)
    out = forward(*rounded(xs, torch.float64))
    several = isinstance(out, tuple | list)
    gradients = as_tuple(backward(grads_out if several else grads_out[0], out, *rounded(xs, torch.float64)))
    generator = torch.Generator().manual_seed(seed + DIRECTION)
    d = [torch.randn(x.shape, generator=generator, dtype=torch.float64) if is_floating(x) else None for x in xs]
    pairs = [(g, along) for g, along in zip(gradients, d, strict=False) if g is not None and along is not None]
    slope = sum(float((g * along).sum()) for g, along in pairs)
    at_rest, size = J(xs)
    if not math.isfinite(at_rest + slope):
        return math.nan
    rounding = 64 * unit_roundoff(torch.float64) * size
    remainders = []
    for h in (2.0**-k for k in range(2, 24)):
        moved, _ = J([x if step is None else x + h * step for x, step in zip(xs, d, strict=True)])
        remainders.append(abs(moved - at_rest - h * slope))
    rates = [math.log2(r / s) for r, s in pairwise(remainders) if s > 8 * rounding]
    return rates[-1] if rates else math.inf


def limit_at_zero(f: Callable[[float], float], h: float, rounding: float) -> tuple[float, float]:
    """The limit of f(h) for h → 0, where f is even and smooth and its rounding error is rounding/h, and its doubt.

    By Richardson's extrapolation from h, h/2, h/4, ...; of all its values that with the least doubt, which is how far
    it is from those that it was made of, and no less than the rounding.

    Source: Ridders, Accurate computation of F′(x) and F′(x)F″(x) (Advances in Engineering Software 4, 1982).
    """
    best = math.nan, math.inf
    row: list[float] = []
    for step in range(12):
        above, row = row, [f(h / 2**step)]
        for order, one in enumerate(above, 1):
            row.append((4**order * row[-1] - one) / (4**order - 1))
            doubt = max(abs(row[-1] - row[-2]), abs(row[-1] - one), 2 * rounding * 2**step / h)
            if doubt < best[1]:
                best = row[-1], doubt
    return best


def derivative_along(J: Callable[[float], float], h: float) -> tuple[float, float]:
    """J′(0) and its doubt, by differences (J(h) − J(−h)) / 2h that are extrapolated to h = 0."""
    at_rest = abs(J(0.0))
    rounding = unit_roundoff(torch.float64) * max(at_rest, abs(J(h)))
    return limit_at_zero(lambda h: (J(h) - J(-h)) / (2 * h), h, 4 * rounding)


def central_differences(forward: Callable[..., Any], inputs: Sequence[Any], seed: int = 0) -> list[Tensor | None]:
    """The gradient of each floating input of J = Σ grad_out · forward(x), element by element: (J(x+h) − J(x−h)) / 2h.

    In float64 with h = ∛u·max(1, |x|), good to about 10 digits; it takes two calls of forward an element. grad_out is
    that of `taylor_rate` for the same seed.
    """
    xs, _, J = _cost(forward, inputs, seed)
    gradients: list[Tensor | None] = []
    for i, x in enumerate(xs):
        if not is_floating(x):
            gradients.append(None)
            continue
        gradient = torch.zeros_like(x)
        for place in np.ndindex(*x.shape):
            h = unit_roundoff(torch.float64) ** (1 / 3) * max(1.0, abs(float(x[place])))
            ahead, behind = x.clone(), x.clone()
            ahead[place] += h
            behind[place] -= h
            difference = J([*xs[:i], ahead, *xs[i + 1 :]])[0] - J([*xs[:i], behind, *xs[i + 1 :]])[0]
            gradient[place] = difference / float(ahead[place] - behind[place])
        gradients.append(gradient)
    return gradients


def _cost(
    forward: Callable[..., Any], inputs: Sequence[Any], seed: int
) -> tuple[list[Any], tuple[Tensor, ...], Callable[[Sequence[Any]], tuple[float, float]]]:
    """The inputs in float64, a random grad_out, and J(xs) with the sum of its terms' magnitudes."""
    xs = rounded(inputs, torch.float64)
    generator = torch.Generator().manual_seed(seed + GRAD_OUT)

    def outs(values: Sequence[Any]) -> tuple[Tensor, ...]:
        return as_tuple(forward(*rounded(values, torch.float64)))

    grads_out = tuple(torch.randn(out.shape, generator=generator, dtype=torch.float64) for out in outs(xs))

    def J(values: Sequence[Any]) -> tuple[float, float]:
        terms = [g * out for g, out in zip(grads_out, outs(values), strict=True)]
        return sum(float(term.sum()) for term in terms), sum(float(term.abs().sum()) for term in terms)

    return xs, grads_out, J
