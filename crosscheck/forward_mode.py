"""The forward mode: Jacobian-vector products by the candidate's own rule, as `jvp` of an autograd.Function."""

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.autograd.functional import jvp

from crosscheck.candidate import Candidate, as_tuple, device_of
from crosscheck.devices import set_seed
from crosscheck.report import Report
from crosscheck.verdict.judge import judge
from crosscheck.verdict.precision import dtypes_of, is_floating, rounded


def judge_forward_mode(
    candidate: Candidate, inputs: Sequence[Any], dtypes: Sequence[torch.dtype] | None, title: str, seed: int
) -> Report:
    """Judge ∂out/∂x · t for each judged input x by itself, along a random t, by that of the truth.

    The truth's is of autograd's reverse mode alone. Rows are called `out by x`. Raises TypeError where there is none.
    """
    through, places = candidate.through, candidate.judged
    assert through is not None
    generator = torch.Generator().manual_seed(seed)
    tangents = [_drawn(inputs[i], generator) for i in places]

    def by_hand(*given: Any) -> dict[str, Any]:
        ts, xs = given[: len(places)], list(given[len(places) :])
        found: dict[str, Any] = {}
        for t, i in zip(ts, places, strict=True):
            with torch.no_grad(), warnings.catch_warnings(), forward_ad.dual_level():
                warnings.simplefilter("ignore", DeprecationWarning)  # torch's forward mode uses what it has deprecated
                set_seed(device_of(xs), candidate.seed)
                dual = [forward_ad.make_dual(x, t) if j == i else x for j, x in enumerate(rounded(xs, t.dtype))]
                for name, out in candidate.named(through(*dual)).items():
                    tangent = forward_ad.unpack_dual(out).tangent
                    found[f"{name} by {candidate.names[i]}"] = torch.zeros_like(out) if tangent is None else tangent
        return {name: tangent.clone() for name, tangent in found.items()}

    def by_autograd(*given: Any) -> dict[str, Any]:
        ts, xs = given[: len(places)], list(given[len(places) :])
        found: dict[str, Any] = {}
        for t, i in zip(ts, places, strict=True):

            def of(x: Tensor, i: int = i) -> tuple[Tensor, ...]:
                set_seed(device_of(xs), candidate.seed)
                return tuple(filter(is_floating, as_tuple(candidate.truth(*xs[:i], x, *xs[i + 1 :]))))

            names = candidate.named(candidate.outs_of(candidate.truth, rounded(xs, t.dtype)))
            along = as_tuple(jvp(of, xs[i], t)[1])
            found |= {f"{name} by {candidate.names[i]}": y for name, y in zip(names, along, strict=True)}
        return found

    try:
        by_hand(*rounded((*tangents, *inputs), tangents[0].dtype))
    except (NotImplementedError, RuntimeError) as error:
        raise TypeError(
            f"forward: expected a forward mode, as Function.jvp, got {type(error).__name__}: {error}"
        ) from error
    return judge(
        by_hand, by_autograd, (*tangents, *inputs), title=title, dtypes=dtypes, seed=seed, grads_out=len(tangents),
        places={f"moved: {candidate.names[i]}": len(places) + i for i in places},
    )  # fmt: skip


def _drawn(x: Tensor, generator: torch.Generator) -> Tensor:
    t = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return t.to(x.device, dtypes_of(x.device)[0])
