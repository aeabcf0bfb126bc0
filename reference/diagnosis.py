"""Names the likely mistake: a hypothesis is accepted only if the gradient corrected by it agrees."""

from collections.abc import Iterator
from fractions import Fraction

import torch
from torch import Tensor


def diagnose(manual: Tensor, oracle: Tensor, budget: float) -> str:
    """One clause of cause, "unknown" where no hypothesis holds, and one of evidence: the worst element."""
    cause = next(
        (cause for cause, corrected in _hypotheses(manual, oracle) if _near(corrected, oracle, budget)), "unknown cause"
    )
    error = (manual - oracle).abs().nan_to_num(nan=0.0)
    place = torch.unravel_index(error.argmax(), error.shape)
    at = [int(i) for i in place]
    where = f"worst at {at}: " if at else ""
    return f"{cause} ({where}got {manual[place].item():.6g}, expected {oracle[place].item():.6g})"


def _hypotheses(m: Tensor, o: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Each cause with the gradient that it would have been without it."""
    yield "the sign is flipped", -m
    if not m.any():
        yield "zero where a gradient is due", o
    if m.numel() > 1:
        factor = float((m * o).sum() / (o * o).sum()) if o.any() else 0.0
        if factor:
            yield f"off by the constant factor {_readable(factor)}", m / factor
    if m.dim() == 2:
        if m.shape[0] == m.shape[1]:
            yield "transposed", m.T
        yield "the elements of the transposed in this shape", m.reshape(m.T.shape).T
    if m.numel() > 2:
        constant = float((m - o).mean())
        yield f"off by the additive constant {constant:.6g}", m - constant


def _near(corrected: Tensor, oracle: Tensor, budget: float) -> bool:
    return bool(((corrected - oracle).abs() <= budget).all())


def _readable(factor: float) -> str:
    """The factor as a whole number, one part of it, or a fraction of small numbers, where it is one."""
    simple = Fraction(factor).limit_denominator(1024)
    near = abs(float(simple) - factor) <= 1e-6 * abs(factor)
    small = 1 in (abs(simple.numerator), simple.denominator) or max(abs(simple.numerator), simple.denominator) <= 16
    return str(simple) if near and small else f"{factor:.6g}"
