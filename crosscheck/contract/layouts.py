"""The same numbers in other memory: what comes back from above, or goes in, is not always contiguous."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Layout = Callable[[Tensor], Tensor]


def transposed(x: Tensor) -> Tensor:
    """In the order of columns, as behind a transpose."""
    return x.mT.contiguous().mT if x.dim() > 1 else x


def sliced(x: Tensor) -> Tensor:
    """From the middle of a larger tensor: gaps between its rows, and a storage offset."""
    other = 3 if x.is_floating_point() or not x.numel() else x.flatten()[0].item()  # of indices one that there is
    around = torch.full([length + 2 for length in x.shape] or [3], other, dtype=x.dtype, device=x.device)
    inside = around[tuple(slice(1, -1) for _ in x.shape)] if x.dim() else around[1]
    return inside.copy_(x)


def unaligned(x: Tensor) -> Tensor:
    """Contiguous, but a number behind where memory begins: not aligned to 16 bytes."""
    return torch.empty(x.numel() + 1, dtype=x.dtype, device=x.device)[1:].view(x.shape).copy_(x)


def channels_last(x: Tensor) -> Tensor:
    """With the channels of an image beside each other."""
    return x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x


def expanded(x: Tensor) -> Tensor:
    """One number for all, with strides of 0, as the gradient of a sum comes back."""
    return x.flatten()[:1].view([1] * x.dim()).expand(x.shape) if x.numel() else x


def expanded_rows(x: Tensor) -> Tensor:
    """The first row for all, with a stride of 0, as what is broadcast."""
    return x[:1].expand(x.shape) if x.dim() else x


LAYOUTS: Mapping[str, Layout] = {
    "transposed": transposed, "sliced": sliced, "unaligned": unaligned, "channels_last": channels_last
}  # fmt: skip


def laid_out(x: Tensor, layout: Layout, is_complex: bool) -> Tensor:
    """In the layout, of complex numbers without tearing their parts apart."""
    x = x.detach()
    return torch.view_as_real(layout(torch.view_as_complex(x.contiguous()))) if is_complex else layout(x)


def is_another(x: Tensor, other: Tensor) -> bool:
    """Whether they lie differently in memory."""
    here, there = ((t.stride(), t.storage_offset()) for t in (x, other))
    return here != there
