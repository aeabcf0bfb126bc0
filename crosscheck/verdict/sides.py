"""The two sides in one dtype: what is hand-written and autograd, the oracle, and autograd's noise."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from crosscheck.devices import computed
from crosscheck.verdict.precision import (
    NEGLIGIBLE,
    Movable,
    comparable,
    distance,
    is_floating,
    nearby,
    norm,
    rounded,
    stepped,
    unit_roundoff,
    widened,
)  # fmt: skip

Computation = Callable[..., Mapping[str, Tensor]]

DRAWS = 3
MOVED = 2.0**-5  # the share of themselves that a draw moves the inputs by, at most


@dataclass(frozen=True)
class Comparison:
    """What is compared, and from which inputs.

    places: by its name, the input that a tensor is the gradient of; these inputs are moved, no other ever is. Without
    any, all are. grads_out: how many of the inputs, the first, come back from above. values: what the truth returns,
    where it can be asked for it, without the gradients. hides: whether it hides steps from autograd, as by `detach`, so
    that its differences are not its gradient.
    """

    by_hand: Computation
    by_autograd: Computation
    inputs: Sequence[Any]
    seed: int = 0
    grads_out: int = 0
    places: Mapping[str, int] = field(default_factory=dict)
    values: Callable[..., Sequence[Any]] | None = None
    hides: bool = False

    @property
    def judged(self) -> Movable:
        """The places of the inputs that may be moved."""
        return self.places.values() or [i for i, x in enumerate(self.inputs) if i >= self.grads_out and is_floating(x)]

    @property
    def drawn(self) -> Movable:
        """The same, and what comes back from above: other random numbers would do as well."""
        return {*self.judged, *(i for i, x in enumerate(self.inputs[: self.grads_out]) if is_floating(x))}


class Sides:
    """The values of both sides in one dtype, each computed when it is first asked for."""

    def __init__(self, of: Comparison, dtype: torch.dtype) -> None:
        self.of, self.dtype = of, dtype
        self.inputs = rounded(of.inputs, dtype)

    def by_hand(self, inputs: Sequence[Any]) -> Mapping[str, Tensor]:
        """The hand-written side in this dtype."""
        return computed(self.of.by_hand(*rounded(inputs, self.dtype)))

    def by_autograd(self, inputs: Sequence[Any]) -> Mapping[str, Tensor]:
        """The oracle: autograd in float64, from the numbers that they are in this dtype."""
        return self.of.by_autograd(*widened(inputs))

    @cached_property
    def failure(self) -> Exception | None:
        """What the hand-written side raises here, as a kernel does in a dtype that it is not made for."""
        try:
            self.manual  # noqa: B018 (here it is computed)
        except Exception as error:
            return error
        return None

    @cached_property
    def lack(self) -> Exception | None:
        """What autograd raises here, though it has the function in float64."""
        self.oracle  # noqa: B018 (what raises there is the caller's to see)
        try:
            self.autograd  # noqa: B018
        except Exception as error:
            return error
        return None

    @cached_property
    def manual(self) -> Mapping[str, Tensor]:
        return self.by_hand(self.inputs)

    @cached_property
    def oracle(self) -> Mapping[str, Tensor]:
        return self.by_autograd(self.inputs)

    @cached_property
    def autograd(self) -> Mapping[str, Tensor]:
        if self.dtype == torch.float64 and all(x.device.type == "cpu" for x in self.inputs if is_floating(x)):
            return self.oracle
        return self._by_autograd_here(self.inputs)

    def _by_autograd_here(self, inputs: Sequence[Any]) -> Mapping[str, Tensor]:
        """Autograd in this dtype, on the device."""
        return computed(self.of.by_autograd(*rounded(inputs, self.dtype)))

    def noise(self, surely: bool) -> dict[str, float]:
        """Autograd's error of each tensor, at least a roundoff; surely: the largest of some draws, one may be lucky."""
        return self._noise_of_draws if surely else self._noise

    @cached_property
    def _noise(self) -> dict[str, float]:
        return self._at_least(self._seen(self.autograd, self.oracle))

    @cached_property
    def _noise_of_draws(self) -> dict[str, float]:
        noise = self._noise
        for moved in self.draws(0 if self.dtype == torch.float64 else DRAWS - 1, MOVED):
            with suppress(Exception):  # what raises where it is only moved costs that draw
                seen = self._seen(self._by_autograd_here(moved), self.by_autograd(moved))
                noise = {name: max(noise[name], seen[name]) for name in noise}
        return noise

    def draws(self, count: int, relative: float) -> Iterator[list[Any]]:
        """The inputs in this dtype, moved by up to so much, as often; what is not judged stays."""
        generator = torch.Generator().manual_seed(self.of.seed)
        for _ in range(count):
            yield nearby(self.inputs, self.dtype, relative, generator, self.of.drawn)

    def _at_least(self, noise: Mapping[str, float]) -> dict[str, float]:
        """The noise, of a zero that of the largest number around."""
        floor = unit_roundoff(self.dtype) * self.largest
        return {name: max(size, floor) if name in self.zeros else size for name, size in noise.items()}

    def terms(self, steps: Mapping[int, Tensor], h: float) -> list[Tensor]:
        """What the truth returns where the inputs are moved so far, times what comes back to it: in sum J."""
        assert self.of.values is not None
        outs = self.of.values(*stepped(self.inputs, steps, h))
        found = zip(widened(self.inputs)[: self.of.grads_out], outs, strict=False)
        return [g * out.to(g.dtype) for g, out in found if is_floating(g) and is_floating(out)]

    @cached_property
    def largest(self) -> float:
        """The largest number around, of which a zero may be what is left."""
        given = self.inputs[: self.of.grads_out] or self.inputs
        return max(map(norm, (*self.oracle.values(), *filter(is_floating, given))))

    @cached_property
    def zeros(self) -> list[str]:
        """What is truly zero but for rounding: next to nothing, lost by autograd in float32, and another each time."""
        small = [name for name, o in self.oracle.items() if norm(o) <= NEGLIGIBLE * self.largest]
        if not small:
            return []
        a = self.autograd
        if self.dtype == torch.float64:
            with suppress(Exception):
                a = self.of.by_autograd(*rounded(self.inputs, torch.float32))
        lost = [n for n in small if 4 * distance(a[n], self.oracle[n]) >= norm(self.oracle[n])]
        return [name for name in lost if not norm(self.oracle[name]) or self._is_another(name)]

    def is_below_rounding(self, o: Tensor) -> bool:
        """Whether it is smaller than the rounding of the largest number around, in which its digits may be lost."""
        return norm(o) <= unit_roundoff(self.dtype) * self.largest

    def _is_another(self, name: str) -> bool:
        """Whether the oracle is quite another number where the inputs are moved by a few roundoffs of float64."""
        o = self.oracle[name]
        generator = torch.Generator().manual_seed(self.of.seed)
        wide = widened(self.inputs)
        for _ in range(DRAWS):
            moved = nearby(wide, torch.float64, 16 * unit_roundoff(torch.float64), generator, self.of.drawn)
            with suppress(Exception):
                if distance(self.by_autograd(moved)[name], o) > norm(o) / 16:
                    return True
        return False

    def _seen(self, values: Mapping[str, Tensor], oracle: Mapping[str, Tensor]) -> dict[str, float]:
        return {name: max(distance(values[name], o), unit_roundoff(self.dtype) * norm(o)) for name, o in oracle.items()}

    def error(self, name: str) -> float:
        """‖m − o‖, and 0 where m cannot be compared: it is missing, or of another shape or kind."""
        m, o = None if self.failure else self.manual.get(name), self.oracle[name]
        return distance(m, o) if m is not None and comparable(m, o) else 0.0

    @cached_property
    def _again(self) -> Sequence[Mapping[str, Tensor]]:
        """Two calls more: two buffers that are used in turns give every other call the same."""
        return [self.by_hand(self.inputs) for _ in range(2)]

    def repeat_error(self, name: str) -> float:
        """How far the same call again is apart."""
        one = self.manual.get(name)
        others = [again[name] for again in self._again if name in again]
        return max(
            (distance(one, other) for other in others if one is not None and comparable(one, other)), default=0.0
        )
