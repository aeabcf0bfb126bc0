"""Data-parallel training: several processes, each with its share of every batch, on one machine or more.

Every process has the whole network. A step adds up the gradients of all of them, and so is the step of one process on
the whole batch: ∂J/∂W = Σ_r N_r/N · ∂J_r/∂W, where process r has N_r of the N samples, and J_r is their mean cost. Of a
transformer the samples are the targets that count.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from manual_bp._checks import first_line
from manual_bp.network import Gradients, Network
from manual_bp.transformer import IGNORED, Transformer
from manual_bp.transformer import Gradients as OfTransformer


class DistributedError(RuntimeError):
    """The processes do not fit together, or one of them is gone."""


def launched() -> bool:
    """Whether this process is one of several that torchrun has started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def own(device: str) -> str:
    """The name of the device that this process trains on: of several CUDA devices of a machine, each has its own."""
    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if device == "cuda" and launched() else device


@contextmanager
def joined(device: torch.device, *, timeout: float = 60.0) -> "Iterator[Processes]":
    """The processes that torchrun has started, connected: by NCCL where they train on CUDA, else by Gloo.

    timeout: seconds that one waits for another, at most. Raises DistributedError where one does not come.
    """
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # by which NCCL knows whose it is
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=timeout))
    except (RuntimeError, ValueError) as error:
        raise DistributedError(f"the processes could not be connected: {first_line(error)}") from None
    try:
        yield Processes()
    finally:
        dist.destroy_process_group()


_Sum = tuple[Tensor, dist.Work]  # a sum over all processes while it travels, and what waits for it


class Processes:
    """The connected processes: `rank` is the number of this one, `size` how many there are."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def agree(self, **facts: object) -> None:
        """Raises DistributedError, in every process, where one has another value of a fact, and says who has what."""
        of_all: list[dict[str, object]] = [{}] * self.size
        with self._answering():
            dist.all_gather_object(of_all, facts)
        for name, value in of_all[0].items():
            for rank, of_rank in enumerate(of_all):
                if of_rank.get(name) != value:
                    raise DistributedError(
                        f"{name}: expected the same in every process, got {value} in process 0 and "
                        f"{of_rank.get(name)} in process {rank}: start all of them with the same data and options"
                    )

    def share(self, batch: Tensor) -> Tensor:
        """The part of a batch that is this process's; of a small one it may be empty."""
        return batch.tensor_split(self.size)[self.rank]

    def step(self, net: Network, x: Tensor, z: Tensor, eta: float, *, samples: int) -> Tensor:
        """Train on a batch of so many samples, x [N_r, n₀] and z being this process's; returns the cost J of the batch.

        The gradient of a layer travels while that of the layer below is computed.
        """
        share = len(x) / samples
        travelling: list[_Sum] = []

        def send(*tensors: Tensor) -> None:
            travelling.extend(self._sum(tensor.mul_(share)) for tensor in tensors)

        if len(x):
            send(net.backward(net.forward(x), z, ready=send).J)
        else:  # the others wait for its gradients all the same
            for w, b in zip(reversed(net.weights), reversed(net.biases), strict=True):
                send(torch.zeros_like(w), torch.zeros_like(b))
            send(torch.zeros((), dtype=net.dtype, device=net.device))
        *gradients, J = map(self._arrived, travelling)
        weight, bias = tuple(gradients[-2::-2]), tuple(gradients[::-2])  # sent from the last layer to the first
        net.update(Gradients(J, delta_in=(), delta_out=(), weight=weight, bias=bias, x=x), eta)
        return J

    def step_of_transformer(self, net: Transformer, tokens: Tensor, targets: Tensor, rate: float) -> Tensor:
        """Train on a batch of sequences, tokens and targets [N_r, T] being this process's; returns the batch's cost J.

        J is the mean over the targets of all processes that are not −100. The gradients of a block travel while those
        of the block below are computed, and it is their sum that the optimizer clips.
        """
        if not len(tokens):  # the others wait for its gradients all the same: those of a target that does not count
            tokens = tokens.new_zeros(1, 1)
            targets = torch.full_like(tokens, IGNORED)
        counted = (targets != IGNORED).sum()
        of_all = self._sum(counted.clone())
        trace = net.forward(tokens)
        share = int(counted) / max(int(self._arrived(of_all)), 1)
        travelling: dict[str, _Sum] = {}

        def send(gradients: dict[str, Tensor]) -> None:
            for name, gradient in gradients.items():
                travelling[name] = self._sum(gradient.mul_(share).contiguous())

        own = net.backward(trace, targets, ready=send)
        J = self._arrived(self._sum(own.J * share))
        summed = {name: self._arrived(travelling[name]) for name in own.parameters}
        net.update(OfTransformer(J, summed, delta=(), logits=own.logits), rate)
        return J

    def _sum(self, tensor: Tensor) -> _Sum:
        """Have the tensors of all processes added up, in the place of this one."""
        with self._answering():
            return tensor, dist.all_reduce(tensor, async_op=True)

    def _arrived(self, travelling: _Sum) -> Tensor:
        """The sum, once it is there."""
        tensor, work = travelling
        with self._answering():
            work.wait()
        return tensor

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """What fails within it, fails because another process is gone."""
        try:
            yield
        except (RuntimeError, ValueError) as error:
            raise DistributedError(f"process {self.rank}: another one does not answer: {first_line(error)}") from None
