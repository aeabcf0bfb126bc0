"""Several processes as one candidate: every rank has the numbers of all, and so every rank decides alike."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from crosscheck.candidate import Candidate
from crosscheck.verdict.precision import distance, is_floating, norm, widened


class Together:
    """The candidates of all ranks: from what all of them are given to tensors by name and rank.

    Each rank runs its own at the same time, so that its collectives meet those of the others, and hands what it returns
    to all. What raises on one rank is raised on every one, by its number.
    """

    def __init__(self, candidate: Candidate, inputs: Sequence[Any], group: Any) -> None:
        self.candidate, self.group = candidate, group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        outs = self._of_all(lambda: candidate.outs_of(candidate.truth, widened(inputs)))
        self.outs_of_ranks = outs
        candidate.outs = len(outs[self.rank])
        # What is the same on several ranks is one input, and is moved on all of them alike.
        self.inputs: list[Any] = []
        self.slots = [list(map(self._slot, of)) for of in self._of_all(lambda: list(inputs))]
        self.judged = self._of_all(lambda: [candidate.names[i] for i in candidate.judged])
        self.names = self._of_all(lambda: list(candidate.names))

    def _of_all(self, run: Callable[[], Any]) -> list[Any]:
        """What every rank returns, in their order. Raises RuntimeError where one raises, on all of them."""
        error = ""
        found: Any = None
        try:
            found = run()
        except Exception as raised:
            error = f"{type(raised).__name__}: {raised}"
        everywhere: list[Any] = [None] * self.size
        dist.all_gather_object(everywhere, (error, _on_cpu(found)), group=self.group)
        for rank, (said, _) in enumerate(everywhere):
            if said:
                raise RuntimeError(f"on rank {rank}: {said}")
        return [value for _, value in everywhere]

    @property
    def is_replicated(self) -> bool:
        """Whether all ranks return the same: then one grad_out comes back for all."""
        one, *others = self.outs_of_ranks
        return all(
            len(one) == len(other) and all(_is_about(x, y) for x, y in zip(one, other, strict=True)) for other in others
        )

    def given(self, draw: Callable[[Sequence[Tensor], int], Sequence[Any]]) -> list[Any]:
        """The grad_outs of all ranks, then the inputs of all; draw: the grad_outs for outs, by a number."""
        grads = [draw(outs, 0 if self.is_replicated else rank) for rank, outs in enumerate(self.outs_of_ranks)]
        self.counts = [len(of) for of in grads]
        return [*(g for of in grads for g in of), *self.inputs]

    @property
    def places(self) -> dict[str, int]:
        """Of each judged input of each rank its place in `given`."""
        start = sum(self.counts)
        of_ranks = zip(self.names, self.judged, self.slots, strict=True)
        return {
            _named(name, rank): start + slots[names.index(name)]
            for rank, (names, judged, slots) in enumerate(of_ranks)
            for name in judged
        }

    def by_hand(self, *given: Any) -> Mapping[str, Tensor]:
        """The gradients of all ranks, by hand."""
        return self._named(lambda: self.candidate.by_hand(*self._own(given)))

    def by_autograd(self, *given: Any) -> Mapping[str, Tensor]:
        """The gradients of all ranks, by autograd."""
        return self._named(lambda: self.candidate.by_autograd(*self._own(given)))

    def _own(self, given: Sequence[Any]) -> list[Any]:
        """Of what all ranks are given that of this one."""
        before, total = sum(self.counts[: self.rank]), sum(self.counts)
        grads = given[before : before + self.counts[self.rank]]
        return [*grads, *(given[total + slot] for slot in self.slots[self.rank])]

    def _slot(self, x: Any) -> int:
        """The place of an input among those of all ranks."""
        for place, other in enumerate(self.inputs):
            if isinstance(x, Tensor) and isinstance(other, Tensor) and x.dtype == other.dtype and torch.equal(x, other):
                return place
        self.inputs.append(x)
        return len(self.inputs) - 1

    def _named(self, run: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        of_ranks = enumerate(self._of_all(lambda: dict(run())))
        return {_named(name, rank): x for rank, found in of_ranks for name, x in found.items()}

    @property
    def changed(self) -> dict[str, str]:
        """What was changed in place on any rank."""
        return self._named(lambda: self.candidate.changed)


def _named(name: str, rank: int) -> str:
    return f"{name} on rank {rank}"


def _on_cpu(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.detach().cpu().requires_grad_(x.requires_grad and x.is_floating_point())
    if isinstance(x, dict):
        return {name: _on_cpu(value) for name, value in x.items()}
    return type(x)(map(_on_cpu, x)) if type(x) in (list, tuple) else x


def _is_about(x: Any, y: Any) -> bool:
    if not (is_floating(x) and is_floating(y) and x.shape == y.shape):
        return x is y is None
    return distance(x, y) <= torch.finfo(torch.float32).eps * norm(y)
