"""Layers that several processes share, judged by all of them together: parallel linear layers, and a ring of attention.

    torchrun --nproc-per-node 2 examples/two_ranks.py

Each rank has a part of the weights, or of the sequence; the collectives of the backward are written by hand. The twin
is the whole layer on every rank, in which the parts of the others are constants. A rank that is wrong is named on all.
"""

import math

import torch
import torch.distributed as dist
from torch import Tensor

from crosscheck import Report, crosscheck


def parts(x: Tensor) -> list[Tensor]:
    """The tensors of all ranks; one's own is itself, those of the others are constants."""
    found = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(found, x.detach().contiguous())
    found[dist.get_rank()] = x
    return found


def summed(x: Tensor) -> Tensor:
    """The sum over all ranks."""
    x = x.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(x)
    return x


def own(x: Tensor, dim: int) -> Tensor:
    """The part of this rank."""
    return x.chunk(dist.get_world_size(), dim)[dist.get_rank()]


# Column-parallel: each rank has some of the outputs.


def column_forward(x: Tensor, w: Tensor) -> Tensor:
    """out = x [w_0, w_1, ...]; x is the same on all ranks."""
    return torch.cat(parts(x @ w), 1)


def column_backward(grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """∂J/∂x = Σ_r g_r w_rᵀ, over all ranks; ∂J/∂w_r = xᵀ g_r."""
    g = own(grad_out, 1)
    return summed(g @ w.T), x.T @ g


def column_twin(x: Tensor, w: Tensor) -> Tensor:
    return x @ torch.cat(parts(w), 1)


# Row-parallel: each rank has some of the inputs.


def row_forward(x: Tensor, w: Tensor) -> Tensor:
    """out = Σ_r x_r w_r, over all ranks."""
    return summed(x @ w)


def row_backward(grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    """∂J/∂x_r = g w_rᵀ, ∂J/∂w_r = x_rᵀ g: no collective, for grad_out is the same on all ranks."""
    return grad_out @ w.T, x.T @ grad_out


def row_twin(x: Tensor, w: Tensor) -> Tensor:
    return torch.cat(parts(x), 1) @ torch.cat(parts(w), 0)


# A ring of attention: each rank has some of the sequence, and keys and values go round.


def handed_on(*tensors: Tensor) -> list[Tensor]:
    """Those of the rank before, while one's own go to the rank behind."""
    rank, size = dist.get_rank(), dist.get_world_size()
    received = [torch.empty_like(x, memory_format=torch.contiguous_format) for x in tensors]
    sends = [dist.P2POp(dist.isend, x.contiguous(), (rank + 1) % size) for x in tensors]
    receives = [dist.P2POp(dist.irecv, x, (rank - 1) % size) for x in received]
    for request in dist.batch_isend_irecv([*sends, *receives]):
        request.wait()
    return received


def ring(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Attention of the queries of this rank to the keys of all, and the logarithm of the sum of exponentials."""
    out, lse = torch.zeros_like(q), q.new_full(q.shape[:1], -torch.inf)
    for _ in range(dist.get_world_size()):
        scores = q @ k.T / math.sqrt(q.shape[1])
        total = torch.logaddexp(lse, scores.logsumexp(1))
        out = out * (lse - total).exp()[:, None] + (scores - total[:, None]).exp() @ v
        lse, (k, v) = total, handed_on(k, v)
    return out, lse


def ring_forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.cat(parts(ring(q, k, v)[0]))


def ring_backward(grad_out: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, ...]:
    """P = exp(S − lse); ∂J/∂v = Pᵀ g, ∂J/∂S = P (g vᵀ − Σ g out); gradients of keys and values go round with them."""
    g, (mine, lse) = own(grad_out, 0), ring(q, k, v)
    scale = 1 / math.sqrt(q.shape[1])
    grad_q, grad_k, grad_v = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
    for _ in range(dist.get_world_size()):
        p = (q @ k.T * scale - lse[:, None]).exp()
        grad_s = p * (g @ v.T - (g * mine).sum(1, keepdim=True))
        grad_q += grad_s @ k * scale
        grad_k, grad_v = grad_k + grad_s.T @ q * scale, grad_v + p.T @ g
        k, v, grad_k, grad_v = handed_on(k, v, grad_k, grad_v)
    return grad_q, grad_k, grad_v


def ring_twin(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (torch.cat(parts(x)) for x in (q, k, v))
    return torch.softmax(q @ k.T / math.sqrt(q.shape[1]), 1) @ v


def inputs(rank: int, *shapes: tuple[int, int], shared: int = 0) -> tuple[Tensor, ...]:
    """Random ones, of which the first few are the same on all ranks."""
    return tuple(
        torch.randn(shape, generator=torch.Generator().manual_seed(i if i < shared else 100 * (rank + 1) + i))
        for i, shape in enumerate(shapes)
    )


def reports() -> dict[str, Report]:
    """The verdicts, the same on every rank."""
    group, rank = dist.group.WORLD, dist.get_rank()
    halves = (3, 4), (4, 5)
    same_x = inputs(rank, *halves, shared=1)
    return {
        "column": crosscheck(column_forward, column_backward, same_x, twin=column_twin, group=group),
        "row": crosscheck(row_forward, row_backward, inputs(rank, *halves), twin=row_twin, group=group),
        "ring": crosscheck(ring_forward, ring_backward, inputs(rank, *[(4, 3)] * 3), twin=ring_twin, group=group),
    }  # fmt: skip


if __name__ == "__main__":
    dist.init_process_group("gloo")
    for name, report in reports().items():
        if dist.get_rank() == 0:
            print(name, report, sep=": ")
        report.raise_on_mismatch()
    dist.destroy_process_group()
