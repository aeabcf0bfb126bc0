"""The two sides in one dtype: what is hand-written and autograd, the oracle, and autograd's noise."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from crosscheck.verdict.precision import (
    NEGLIGIBLE,
    comparable,
    distance,
    is_floating,
    nearby,
    norm,
    rounded,
    unit_roundoff,
    widened,
)  # fmt: skip

Computation = Callable[..., Mapping[str, Tensor]]

DRAWS = 3
MOVED = 2.0**-5  # the share of themselves that a draw moves the inputs by, at most


class Sides:
    """The values of both sides in one dtype, each computed when it is first asked for."""

    def __init__(
        self, by_hand: Computation, by_autograd: Computation, inputs: Sequence[Any], dtype: torch.dtype, seed: int,
        grads_out: int,
    ) -> None:  # fmt: skip
        self.by_hand, self.by_autograd, self.dtype, self.seed = by_hand, by_autograd, dtype, seed
        self.inputs, self.grads_out = rounded(inputs, dtype), grads_out

    @cached_property
    def failure(self) -> Exception | None:
        """What the hand-written side raises here, as a kernel does in a dtype that it is not made for."""
        try:
            self.manual  # noqa: B018 (here it is computed)
        except Exception as error:
            return error
        return None

    @cached_property
    def manual(self) -> Mapping[str, Tensor]:
        return self.by_hand(*rounded(self.inputs, self.dtype))

    @cached_property
    def oracle(self) -> Mapping[str, Tensor]:
        return self.by_autograd(*widened(self.inputs))

    @cached_property
    def autograd(self) -> Mapping[str, Tensor]:
        if self.dtype == torch.float64:
            return self.oracle
        return self.by_autograd(*rounded(self.inputs, self.dtype))

    def noise(self, surely: bool) -> dict[str, float]:
        """Autograd's error of each tensor, at least a roundoff; surely: the largest of some draws, one may be lucky."""
        return self._noise_of_draws if surely else self._noise

    @cached_property
    def _noise(self) -> dict[str, float]:
        return self._at_least(self._seen(self.autograd, self.oracle))

    @cached_property
    def _noise_of_draws(self) -> dict[str, float]:
        noise = self._noise
        generator = torch.Generator().manual_seed(self.seed)
        for _ in range(0 if self.dtype == torch.float64 else DRAWS - 1):
            moved = nearby(self.inputs, self.dtype, MOVED, generator)
            seen = self._seen(self.by_autograd(*rounded(moved, self.dtype)), self.by_autograd(*widened(moved)))
            noise = {name: max(noise[name], seen[name]) for name in noise}
        return noise

    def _at_least(self, noise: Mapping[str, float]) -> dict[str, float]:
        """The noise, of a zero that of the largest number around."""
        floor = unit_roundoff(self.dtype) * self._largest
        return {name: max(size, floor) if name in self.zeros else size for name, size in noise.items()}

    @cached_property
    def _largest(self) -> float:
        """The largest number around, of which a zero may be what is left."""
        given = self.inputs[: self.grads_out] or self.inputs
        return max(map(norm, (*self.oracle.values(), *filter(is_floating, given))))

    @cached_property
    def zeros(self) -> list[str]:
        """What is truly zero but for rounding: next to nothing, and lost by autograd as well where it rounds."""
        small = [name for name, o in self.oracle.items() if norm(o) <= NEGLIGIBLE * self._largest]
        if not small:
            return []
        in_float32 = self.dtype == torch.float64
        a = self.by_autograd(*rounded(self.inputs, torch.float32)) if in_float32 else self.autograd
        return [name for name in small if 4 * distance(a[name], self.oracle[name]) >= norm(self.oracle[name])]

    def _seen(self, values: Mapping[str, Tensor], oracle: Mapping[str, Tensor]) -> dict[str, float]:
        return {name: max(distance(values[name], o), unit_roundoff(self.dtype) * norm(o)) for name, o in oracle.items()}

    def error(self, name: str) -> float:
        """‖m − o‖, and 0 where m cannot be compared: it is missing, or of another shape or kind."""
        m, o = None if self.failure else self.manual.get(name), self.oracle[name]
        return distance(m, o) if m is not None and comparable(m, o) else 0.0

    @cached_property
    def _again(self) -> Sequence[Mapping[str, Tensor]]:
        """Two calls more: two buffers that are used in turns give every other call the same."""
        return [self.by_hand(*rounded(self.inputs, self.dtype)) for _ in range(2)]

    def repeat_error(self, name: str) -> float:
        """How far the same call again is apart."""
        one = self.manual.get(name)
        others = [again[name] for again in self._again if name in again]
        return max(
            (distance(one, other) for other in others if one is not None and comparable(one, other)), default=0.0
        )
