"""A transformer's training step in place: forward, backward and AdamW, without a graph and without new memory.

The derivation is in manual_bp/transformer.py, and the tests hold the step here to it. What is done otherwise:

- Gradient and AdamW follow each other block by block of a weight's rows: no gradient is kept, unless it is clipped, for
  its norm is known last. Therefore a weight carries the deltas down *before* it is updated.
- Of a block the normalized inputs x̂, q, k, v, the probabilities, what they take out of v, and h are kept; what is
  cheaper computed again is not. A lean step keeps x alone and computes the block again; of the logits it has a part of
  the vocabulary at a time.
- Gradients lie over values that have served: in the logits, k, v and h.
- GELU is x σ(2u), for ½ (1 + tanh u) = σ(2u), and torch's σ takes a fifth of the time of its tanh.
- Weights that multiply the same values are one matrix: their product is one.
- A mixed step rounds the factors of every product to bfloat16, and so keeps the values of a block for the backward;
  of the logits, whose rounded copies are large, it has a part at a time, too.

Shapes are in brackets: N sequences of T tokens, S = N T; the vocabulary V, the width W, d of a head, the hidden H. B is
N times the key heads, and R the queries for each: those of all heads that share it, at all T positions.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from manual_bp.adamw import AdamW
from manual_bp.rules import SoftmaxCrossEntropy

BLOCK = 2**20  # elements of a gradient that are computed before they are used
CUBE = 0.044715  # of GELU
SLOPE = 2 * math.sqrt(2 / math.pi)  # of 2u at 0

Gradient = Callable[[int, int, Tensor], object]  # writes rows first to last − 1 of a gradient
Product = Callable[..., Tensor]


def part(memory: Tensor, *shape: int) -> Tensor:
    """The beginning of the memory in this shape."""
    return memory[: math.prod(shape)].view(shape)


def product(a: Tensor, b: Tensor, out: Tensor, *, alpha: float = 1.0, add: bool = False) -> Tensor:
    """out ← alpha a b, or out + alpha a b, of two matrices or two batches of them."""
    return (torch.addmm if out.dim() == 2 else torch.baddbmm)(out, a, b, alpha=alpha, beta=float(add), out=out)


def product_in_bfloat16(a: Tensor, b: Tensor, out: Tensor, *, alpha: float = 1.0, add: bool = False) -> Tensor:
    """The same of a and b in bfloat16, summed in float32.

    A CPU that has no such product multiplies in float32 what is rounded to bfloat16, for torch's own takes up to 40
    times as long.
    """
    a, b = a.bfloat16(), b.bfloat16()
    if has_bfloat16(out.device):
        a_b = torch.matmul(a, b).float()
        return out.add_(a_b, alpha=alpha) if add else torch.mul(a_b, alpha, out=out)
    return product(a.float(), b.float(), out, alpha=alpha, add=add)


def has_bfloat16(device: torch.device) -> bool:
    """Whether it multiplies in bfloat16: a CPU does by oneDNN, which needs AVX-512 for it."""
    return device.type != "cpu" or torch.backends.cpu.get_cpu_capability().startswith("AVX512")


class Weight:
    """Parameters that are one matrix [rows, columns], or one vector [rows], with their moments."""

    def __init__(self, names: Sequence[str], parameters: dict[str, Tensor], optimizer: AdamW) -> None:
        """Takes one as it is, and copies several together; those of the dict are parts of the copy from now on.

        The optimizer's moments are copied.
        """
        self.w = torch.cat([parameters[name] for name in names]) if len(names) > 1 else parameters[names[0]]
        known = [optimizer.moments[name] for name in names if name in optimizer.moments]
        self.m, self.v = (torch.cat([of[i] for of in known]) if known else torch.zeros_like(self.w) for i in (0, 1))
        rows = [len(parameters[name]) for name in names]
        parameters.update(zip(names, self.w.split(rows), strict=True))
        self.moments = dict(zip(names, zip(self.m.split(rows), self.v.split(rows), strict=True), strict=True))
        optimizer.moments |= self.moments
        self.g = self.w.new_empty(0)  # where a gradient is kept

    def keep(self) -> Tensor:
        """The gradient, which is as large as w."""
        if not self.g.numel():
            self.g = torch.empty_like(self.w)
        return self.g


class Descent:
    """AdamW, behind the product of each block of a gradient, or behind the last one, where it is clipped."""

    def __init__(self, parameters: dict[str, Tensor], optimizer: AdamW) -> None:
        self.parameters, self.optimizer = parameters, optimizer
        self.weights: list[Weight] = []
        names = [name for name, p in parameters.items() if p.dim() == 1]
        self.vectors = Weight(names, parameters, optimizer)
        gradients = self.vectors.keep().split([len(parameters[name]) for name in names])
        self.vector = {name: (parameters[name], g) for name, g in zip(names, gradients, strict=True)}
        self.memory = self.vectors.w.new_empty(0)  # of a block

    def weight(self, *names: str) -> Weight:
        """The matrices of these names as one."""
        weight = Weight(names, self.parameters, self.optimizer)
        self.weights.append(weight)
        size = weight.w[: rows(weight)].numel()
        if len(self.memory) < size:
            self.memory = self.memory.new_empty(size)
        return weight

    def begin(self, rate: float) -> None:
        self.rate, self.clips = rate, self.optimizer.clip is not None
        self.optimizer.steps += 1

    def __call__(self, weight: Weight, gradient: Gradient, span: tuple[int, int] | None = None) -> None:
        """Take the gradient of a weight, or a span of its rows, from gradient(first, last, out), block by block."""
        for first, last in blocks(weight, span):
            if self.clips:
                gradient(first, last, weight.keep()[first:last])
            else:
                g = part(self.memory, *weight.w[first:last].shape)
                gradient(first, last, g)
                self.update(weight, first, last, g)

    def update(self, weight: Weight, first: int, last: int, g: Tensor) -> None:
        self.optimizer.step_(weight.w[first:last], weight.m[first:last], weight.v[first:last], g, self.rate)

    def end(self) -> None:
        """Take the gradients that are kept."""
        left = [*self.weights, self.vectors] if self.clips else [self.vectors]
        scale = self.optimizer.scale({str(number): weight.keep() for number, weight in enumerate(left)})
        for weight in left:
            for first, last in blocks(weight):
                self.update(weight, first, last, weight.g[first:last].mul_(scale))


def rows(weight: Weight) -> int:
    """Of a block."""
    return min(len(weight.w), max(1, BLOCK // weight.w[0].numel()))


def blocks(weight: Weight, span: tuple[int, int] | None = None) -> list[tuple[int, int]]:
    """The first row of each block, and of the one that follows."""
    start, end = span or (0, len(weight.w))
    return [(first, min(first + rows(weight), end)) for first in range(start, end, rows(weight))]


class Linear:
    """out = a W + b, for a [S, in]: w [in, out], or [out, in] and transposed."""

    def __init__(
        self, weight: Weight, transposed: bool, bias: tuple[Tensor, Tensor] | None, descent: Descent, product: Product
    ) -> None:
        """bias: b [out], and where its gradient goes."""
        self.weight, self.transposed, self.bias, self.descent = weight, transposed, bias, descent
        self.product = product
        self.w = weight.w.T if transposed else weight.w  # [in, out]

    def forward(self, a: Tensor, out: Tensor) -> Tensor:
        if self.bias:
            out.copy_(self.bias[0])
        return self.product(a, self.w, out, add=bool(self.bias))

    def add(self, a: Tensor, x: Tensor) -> None:
        """x ← x + a W + b."""
        self.product(a, self.w, x, add=True)
        if self.bias:
            x.add_(self.bias[0])

    def back(self, delta: Tensor, out: Tensor) -> Tensor:
        """delta Wᵀ [S, in] of delta [S, out]."""
        return self.product(delta, self.w.T, out)

    def learn(self, a: Tensor, delta: Tensor) -> None:
        """Gradient and update: aᵀ delta and the sum of delta. Whatever delta has to go through w comes before."""
        if self.bias:
            torch.sum(delta, 0, out=self.bias[1])
        left, right = (delta, a) if self.transposed else (a, delta)
        self.descent(self.weight, lambda first, last, out: self.product(left[:, first:last].T, right, out))


class Norm:
    """out = x̂ w + b, with x̂ = x/√(1/W Σ x² + eps); with a bias it is LayerNorm, of x minus its mean."""

    def __init__(self, w: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor] | None, eps: float) -> None:
        """w, b: the vector [W], and where its gradient goes."""
        (self.w, self.grad_w), self.b, self.eps = w, b, eps

    def forward(self, x: Tensor, x_hat: Tensor, scale: Tensor, out: Tensor) -> Tensor:
        """x̂ [S, W] and scale [S, 1], what x is multiplied by for it, are kept for the backward; out [S, W]."""
        if self.b:
            x = torch.sub(x, x.mean(1, keepdim=True), out=x_hat)
        torch.linalg.vector_norm(x, dim=1, keepdim=True, out=scale)
        scale.square_().div_(x.shape[1]).add_(self.eps).rsqrt_()
        torch.mul(x, scale, out=x_hat)
        return self.apply(x_hat, out)

    def apply(self, x_hat: Tensor, out: Tensor) -> Tensor:
        return torch.addcmul(self.b[0], x_hat, self.w, out=out) if self.b else torch.mul(x_hat, self.w, out=out)

    def backward(self, grad: Tensor, x_hat: Tensor, scale: Tensor, spare: Tensor, grad_x: Tensor) -> None:
        """Adds to grad_x [S, W]; the gradients of w and b; grad and spare [S, W] are used up."""
        width = grad.shape[1]
        torch.mul(grad, x_hat, out=spare)
        torch.sum(spare, 0, out=self.grad_w)
        along = torch.mv(spare, self.w)[:, None]  # Σ grad_x̂ x̂ [S, 1]
        if self.b:
            torch.sum(grad, 0, out=self.b[1])
            mean = torch.mv(grad, self.w).div_(width)[:, None]  # of grad_x̂ [S, 1]
            grad.mul_(self.w).sub_(mean)
        else:
            grad.mul_(self.w)
        grad.addcmul_(x_hat, along, value=-1 / width)
        grad_x.addcmul_(grad, scale)


class Attention:
    """softmax(q kᵀ/√d + mask) v of each head, for sequences of one length; q, k turned by their positions in Llama."""

    def __init__(
        self, heads: int, key_heads: int, d: int, shape: tuple[int, int], base: float | None, like: Tensor,
        product: Product,
    ) -> None:  # fmt: skip
        """base: of the rotation's frequencies, if there is one."""
        self.product, T = product, shape[1]
        self.heads, self.key_heads, self.d, self.shape = heads, key_heads, d, shape
        mask = like.new_full((T, T), -math.inf).triu_(1)
        self.mask = mask.repeat(heads // key_heads, 1)  # [R, T]
        self.turn: tuple[Tensor, Tensor] | None = None  # cos, sin [T, d/2]
        if base is not None:
            angle = torch.arange(T, dtype=like.dtype, device=like.device)[:, None] * base ** (
                -torch.arange(0, d, 2, dtype=like.dtype, device=like.device) / d
            )
            self.turn = angle.cos(), angle.sin()

    def views(self, q: Tensor, k: Tensor, v: Tensor, qkv: Tensor) -> list[tuple[Tensor, Tensor]]:
        """q [B, R, d], k and v [B, T, d], each beside its columns in qkv [S, ·]: both [N, its heads, T, d]."""
        counts = (self.heads, self.key_heads, self.key_heads)
        of_qkv = qkv.view(*self.shape, -1, self.d).transpose(1, 2).split(counts, 1)
        return [
            (x.view(self.shape[0], count, self.shape[1], self.d), y)
            for x, count, y in zip((q, k, v), counts, of_qkv, strict=True)
        ]

    def scatter(self, qkv: Tensor, q: Tensor, k: Tensor, v: Tensor) -> None:
        """q, k, v from the product; q and k turned."""
        (q, of_q), (k, of_k), (v, of_v) = self.views(q, k, v, qkv)
        self.turned(of_q, q, 1)
        self.turned(of_k, k, 1)
        v.copy_(of_v)

    def gather(self, q: Tensor, k: Tensor, v: Tensor, qkv: Tensor) -> None:
        """Their gradients, as that of the product; those of q and k turned back."""
        (q, of_q), (k, of_k), (v, of_v) = self.views(q, k, v, qkv)
        self.turned(q, of_q, -1)
        self.turned(k, of_k, -1)
        of_v.copy_(v)

    def turned(self, x: Tensor, out: Tensor, sign: int) -> None:
        if self.turn is None:
            out.copy_(x)
            return
        cos, sin = self.turn
        (x_1, x_2), (out_1, out_2) = x.chunk(2, -1), out.chunk(2, -1)
        torch.mul(x_1, cos, out=out_1).addcmul_(x_2, sin, value=-sign)
        torch.mul(x_2, cos, out=out_2).addcmul_(x_1, sin, value=sign)

    def split(self, joined: Tensor, out: Tensor) -> Tensor:
        """[S, W] as [B, R, d]."""
        (N, T), d = self.shape, self.d
        out.view(N, self.heads, T, d).copy_(joined.view(N, T, self.heads, d).transpose(1, 2))
        return out

    def join(self, split: Tensor, out: Tensor) -> Tensor:
        """[B, R, d] as [S, W]."""
        (N, T), d = self.shape, self.d
        out.view(N, T, self.heads, d).copy_(split.view(N, self.heads, T, d).transpose(1, 2))
        return out

    def forward(self, q: Tensor, k: Tensor, v: Tensor, p: Tensor, out: Tensor) -> Tensor:
        """out [B, R, d], and the probabilities p [B, R, T]."""
        self.product(q, k.mT, p.copy_(self.mask), alpha=1 / math.sqrt(self.d), add=True)
        torch.softmax(p, -1, out=p)
        return self.product(p, v, out)

    def backward(self, grad: Tensor, o: Tensor, q: Tensor, k: Tensor, v: Tensor, p: Tensor, s: Tensor) -> None:
        """grad, k, v ← the gradients of q, k, v; o [B, R, d] and s [B, R, T] are used up."""
        scale = 1 / math.sqrt(self.d)
        minus = o.mul_(grad).sum(-1, keepdim=True).neg_()  # −Σ grad_o o [B, R, 1]
        self.product(grad, v.mT, s.copy_(minus), add=True)
        s.mul_(p)
        self.product(p.mT, grad, v)
        self.product(s, k, grad, alpha=scale)
        self.product(s.mT, q, k, alpha=scale)


class GELU:
    """g = h σ(2u), 2u = √(8/π) (h + 0.044715 h³), of h [S, H]."""

    def __init__(self, like: Tensor) -> None:
        self.slope, self.one = like.new_tensor(SLOPE), like.new_ones(())

    def sigma(self, h: Tensor, out: Tensor) -> Tensor:
        return torch.addcmul(self.slope, h, h, value=SLOPE * CUBE, out=out).mul_(h).sigmoid_()

    def forward(self, h: Tensor, g: Tensor) -> Tensor:
        return self.sigma(h, g).mul_(h)

    def backward(self, h: Tensor, carry: Callable[[Tensor], object], grad: Tensor, g: Tensor) -> Tensor:
        """g, and grad [S, H], which carry(out) writes, times g′ = σ + h σ (1 − σ) 2u′; h is used up. Returns g.

        With y = 2u′ g this is σ + y (1 − σ) = y + σ (1 − y).
        """
        sigma = self.sigma(h, grad)
        torch.mul(h, sigma, out=g)
        torch.addcmul(self.slope, h, h, value=3 * SLOPE * CUBE, out=h).mul_(g)
        torch.lerp(h, self.one, sigma, out=h)
        carry(grad)
        grad.mul_(h)
        return g


class SwiGLU:
    """g = s h_2, s = h_1 σ(h_1), of h = (h_1, h_2) [S, 2H]."""

    def __init__(self, like: Tensor) -> None:
        self.one = like.new_ones(())

    def forward(self, h: Tensor, g: Tensor) -> Tensor:
        gate, up = h.chunk(2, 1)
        return torch.sigmoid(gate, out=g).mul_(gate).mul_(up)

    def backward(self, h: Tensor, carry: Callable[[Tensor], object], grad: Tensor, g: Tensor) -> Tensor:
        """grad [S, 2H] of grad_g [S, H], which carry(out) writes; h and g are used up. Returns g of the forward.

        grad_1 = grad_g h_2 (σ + s (1 − σ)), and σ + s (1 − σ) = s + σ (1 − s); grad_2 = grad_g s.
        """
        (gate, up), (grad_1, grad_2) = h.chunk(2, 1), grad.chunk(2, 1)
        sigma, s = torch.sigmoid(gate, out=grad_1), g
        torch.mul(gate, sigma, out=s)
        torch.lerp(s, self.one, sigma, out=grad_1).mul_(up)
        torch.mul(s, up, out=gate)
        carry(up)
        grad_1.mul_(up)
        torch.mul(s, up, out=grad_2)
        return gate


@dataclass
class Kept:
    """What a block's backward needs of its forward.

    x̂ [S, W] and its scale [S, 1] of both norms; q, o [B, R, d]; k, v [B, T, d]; p [B, R, T]; h.
    """

    x_1: Tensor
    scale_1: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    p: Tensor
    o: Tensor
    x_2: Tensor
    scale_2: Tensor
    h: Tensor

    def take(self, other: "Kept") -> None:
        """Have the values of another, in the own dtypes."""
        for memory, value in zip(vars(self).values(), vars(other).values(), strict=True):
            memory.copy_(value)


@dataclass
class Memory:
    """What all blocks use in turn: a, b [S, W]; u, g, of which each takes as much as it needs."""

    a: Tensor
    b: Tensor
    u: Tensor
    g: Tensor


@dataclass
class Block:
    """x ← x + attention(norm(x)),  x ← x + feed-forward(norm(x))."""

    norm_1: Norm
    qkv: Linear
    o: Linear
    norm_2: Norm
    up: Linear
    activation: GELU | SwiGLU
    down: Linear

    def hidden(self, x: Tensor, attention: Attention, t: Kept, s: Memory) -> None:
        """Forward as far as h; x [S, W] has what attention adds."""
        qkv = part(s.u, len(x), self.qkv.w.shape[1])
        self.qkv.forward(self.norm_1.forward(x, t.x_1, t.scale_1, out=s.a), out=qkv)
        attention.scatter(qkv, t.q, t.k, t.v)
        attention.forward(t.q, t.k, t.v, t.p, t.o)
        self.o.add(attention.join(t.o, out=s.b), x)
        self.up.forward(self.norm_2.forward(x, t.x_2, t.scale_2, out=s.a), out=t.h)

    def forward(self, x: Tensor, attention: Attention, t: Kept, s: Memory) -> None:
        self.hidden(x, attention, t, s)
        self.down.add(self.activation.forward(t.h, part(s.u, len(x), self.down.w.shape[0])), x)

    def backward(self, grad: Tensor, attention: Attention, t: Kept, s: Memory) -> None:
        """grad [S, W], of what the forward left in x, becomes that of what it found there."""
        rows = len(grad)
        grad_h, g = part(s.u, *t.h.shape), part(s.g, rows, self.down.w.shape[0])
        g = self.activation.backward(t.h, lambda out: self.down.back(grad, out), grad_h, g)
        self.down.learn(g, grad)
        self.up.back(grad_h, out=s.a)
        self.up.learn(self.norm_2.apply(t.x_2, out=s.b), grad_h)
        self.norm_2.backward(s.a, t.x_2, t.scale_2, s.b, grad)

        grad_o = part(s.u, *t.q.shape)
        attention.split(self.o.back(grad, out=s.b), out=grad_o)
        self.o.learn(attention.join(t.o, out=s.b), grad)
        attention.backward(grad_o, t.o, t.q, t.k, t.v, t.p, s.u[grad_o.numel() :][: t.p.numel()].view(t.p.shape))
        grad_qkv = part(s.g, rows, self.qkv.w.shape[1])
        attention.gather(grad_o, t.k, t.v, grad_qkv)
        self.qkv.back(grad_qkv, out=s.a)
        self.qkv.learn(self.norm_1.apply(t.x_1, out=s.b), grad_qkv)
        self.norm_1.backward(s.a, t.x_1, t.scale_1, s.b, grad)


class Table:
    """The embedding of tokens [S], w [V, W]; tied, it is the head, too.

    The rows of the batch's tokens wait for the gradient of the embedding, which comes last: as they were they are kept
    beside, with their share of the gradient, and put back when it is whole. In between no one reads them.
    """

    def __init__(self, weight: Weight, tied: bool, descent: Descent) -> None:
        self.weight, self.tied, self.descent = weight, tied, descent

    def forward(self, tokens: Tensor, x: Tensor) -> None:
        self.tokens, weight = tokens, self.weight
        torch.index_select(weight.w, 0, tokens, out=x)
        if not self.descent.clips:
            self.rows, self.place = tokens.unique(return_inverse=True)
            self.before = (weight.w[self.rows], weight.m[self.rows], weight.v[self.rows])
            self.share = torch.zeros_like(self.before[0])

    def take(self, first: int, last: int, g: Tensor) -> None:
        """The share of the head."""
        if not self.descent.clips:
            here = (self.rows >= first) & (self.rows < last)
            self.share[here] = g[self.rows[here] - first]

    def backward(self, grad: Tensor) -> None:
        """grad [S, W] of what was embedded."""
        weight, descent = self.weight, self.descent
        if not self.tied:
            descent(weight, lambda first, last, out: out.zero_())
        if descent.clips:
            weight.g.index_add_(0, self.tokens, grad)
        else:
            self.share.index_add_(0, self.place, grad)
            descent.optimizer.step_(*self.before, self.share, descent.rate)
            for memory, rows in zip((weight.w, weight.m, weight.v), self.before, strict=True):
                memory[self.rows] = rows
            del self.rows, self.place, self.before, self.share


class Head:
    """The cost J of the logits n Wᵀ, for n [S, W] and w [V, W]."""

    def __init__(self, weight: Weight, table: Table, descent: Descent, product: Product) -> None:
        self.weight, self.table, self.descent, self.product = weight, table, descent, product

    def step(self, n: Tensor, targets: Tensor, memory: Tensor, grad_n: Tensor, spare: Tensor) -> Tensor:
        """Forward, backward to grad_n [S, W], and update; J []. targets [S], negative ones count for nothing.

        As much of the vocabulary as the memory has place for is looked at at once. If this is not all, the logits are
        computed twice, for the sums of the softmax have to be known first.
        """
        S, V = len(n), len(self.weight.w)
        counts = (targets >= 0).to(n.dtype)
        mean = counts / counts.sum().clamp(min=1)  # ∂J/∂J_s [S]
        targets = targets.clamp(min=0)
        size = min(V, len(memory) // S)
        spans = [(first, min(first + size, V)) for first in range(0, V, size)]
        if len(spans) == 1:
            p = self.product(n, self.weight.w.T, part(memory, S, V))
            torch.softmax(p, 1, out=p)
            J_each = p.gather(1, targets[:, None])[:, 0].log_().neg_()
            low = (J_each > -math.log(torch.finfo(n.dtype).tiny)).nonzero()[
                :, 0
            ]  # there p has lost its digits, or is 0
            if len(low):
                J_each[low] = SoftmaxCrossEntropy.forward(n[low] @ self.weight.w.T, targets[low])
        else:
            log_sum = self.log_sum(n, spans, memory)
            J_each = log_sum[:, 0] - (n * self.weight.w[targets]).sum(1)
        weighed = torch.mul(n, mean[:, None], out=spare)
        for span in spans:
            first, last = span
            w, p = self.weight.w[first:last], part(memory, S, last - first)
            if len(spans) > 1:
                self.product(n, w.T, p).sub_(log_sum).exp_()
            here = ((targets >= first) & (targets < last)).nonzero()[:, 0]
            p[here, targets[here] - first] -= 1
            self.product(p, w, grad_n, add=first > 0)
            self.descent(self.weight, partial(self.gradient, p, weighed, first), span)
        grad_n.mul_(mean[:, None])
        return J_each @ mean

    def gradient(self, p: Tensor, n: Tensor, start: int, first: int, last: int, out: Tensor) -> None:
        """Of rows first to last − 1, p beginning at that of `start`."""
        self.product(p[:, first - start : last - start].T, n, out)
        if self.weight is self.table.weight:
            self.table.take(first, last, out)

    def log_sum(self, n: Tensor, spans: list[tuple[int, int]], memory: Tensor) -> Tensor:
        """log Σ e^logit [S, 1], each summand taken relative to the largest so far."""
        largest = n.new_full((len(n), 1), -math.inf)
        total = torch.zeros_like(largest)
        for first, last in spans:
            logits = self.product(n, self.weight.w[first:last].T, part(memory, len(n), last - first))
            so_far = torch.maximum(largest, logits.amax(1, keepdim=True))
            total.mul_(largest.sub_(so_far).exp_()).add_(logits.sub_(so_far).exp_().sum(1, keepdim=True))
            largest = so_far
        return largest.add_(total.log_())


class InPlace:
    """The step of a transformer, and the memory that it takes."""

    def __init__(
        self, parameters: dict[str, Tensor], optimizer: AdamW, *, form: str, heads: int, key_heads: int, eps: float,
        base: float, lean: bool, mixed: bool,
    ) -> None:  # fmt: skip
        """The step changes the parameters, and copies of the optimizer's moments, which take their place."""
        self.heads, self.key_heads, self.lean, self.mixed = heads, key_heads, lean, mixed
        self.product = product_in_bfloat16 if mixed else product
        self.base = base if form == "llama" else None
        self.descent = descent = Descent(parameters, optimizer)
        self.shape = (0, 0)

        def linear(*names: str) -> Linear:
            bias = descent.vector.get(names[0].replace("weight", "bias"))
            return Linear(descent.weight(*names), form == "llama", bias, descent, self.product)

        def norm(name: str) -> Norm:
            return Norm(descent.vector[f"{name}.weight"], descent.vector.get(f"{name}.bias"), eps)

        like = descent.vectors.w
        self.positions = None
        self.blocks: list[Block] = []
        if form == "gpt2":
            table = head = descent.weight("transformer.wte.weight")
            self.positions = descent.weight("transformer.wpe.weight")
            while f"{(of := f'transformer.h.{len(self.blocks)}.')}ln_1.weight" in parameters:
                self.blocks.append(
                    Block(
                        norm(f"{of}ln_1"),
                        linear(f"{of}attn.c_attn.weight"),
                        linear(f"{of}attn.c_proj.weight"),
                        norm(f"{of}ln_2"),
                        linear(f"{of}mlp.c_fc.weight"),
                        GELU(like),
                        linear(f"{of}mlp.c_proj.weight"),
                    )
                )
            self.norm = norm("transformer.ln_f")
        else:
            table = head = descent.weight("model.embed_tokens.weight")
            while f"{(of := f'model.layers.{len(self.blocks)}.')}input_layernorm.weight" in parameters:
                self.blocks.append(
                    Block(
                        norm(f"{of}input_layernorm"),
                        linear(*(f"{of}self_attn.{x}_proj.weight" for x in "qkv")),
                        linear(f"{of}self_attn.o_proj.weight"),
                        norm(f"{of}post_attention_layernorm"),
                        linear(f"{of}mlp.gate_proj.weight", f"{of}mlp.up_proj.weight"),
                        SwiGLU(like),
                        linear(f"{of}mlp.down_proj.weight"),
                    )
                )
            self.norm = norm("model.norm")
            if "lm_head.weight" in parameters:
                head = descent.weight("lm_head.weight")
        self.table = Table(table, head is table, descent)
        self.head = Head(head, self.table, descent, self.product)

    def is_of(self, parameters: dict[str, Tensor], optimizer: AdamW) -> bool:
        """Whether they are still those that the step changes."""
        of, weights = self.descent, (*self.descent.weights, self.descent.vectors)
        return (parameters is of.parameters and optimizer is of.optimizer) and all(
            optimizer.moments.get(name) is moments for weight in weights for name, moments in weight.moments.items()
        )

    def lay_out(self, N: int, T: int) -> None:
        """Get ready for sequences of this number and length."""
        like, (V, W), S, heads = self.descent.vectors.w, self.table.weight.w.shape, N * T, (self.heads, self.key_heads)
        qkv, hidden = (x.w.shape[1] for x in (self.blocks[0].qkv, self.blocks[0].up))
        d, p = W // self.heads, self.heads * T  # p: numbers of the probabilities [B, R, T] for each of S
        queries, keys = (N * self.key_heads, self.heads // self.key_heads * T, d), (N * self.key_heads, T, d)
        self.attention = Attention(*heads, d, (N, T), self.base, like, self.product)

        def memory(*shape: int) -> Tensor:
            return like.new_empty(shape)

        def kept(dtype: torch.dtype = like.dtype) -> Kept:
            of = partial(like.new_empty, dtype=dtype)
            return Kept(
                x_1=of(S, W), scale_1=memory(S, 1), q=of(queries), k=of(keys), v=of(keys), p=of(*queries[:2], T),
                o=of(queries), x_2=of(S, W), scale_2=memory(S, 1), h=of(S, hidden),
            )  # fmt: skip

        layers = len(self.blocks)
        self.x = memory(S, W)
        self.kept = [kept()] * layers if self.lean or self.mixed else [kept() for _ in range(layers)]
        self.rounded = [kept(torch.bfloat16) for _ in range(layers if self.mixed and not self.lean else 0)]
        self.inputs = [memory(S, W) for _ in range(layers if self.lean else 0)]
        inner = self.blocks[0].down.w.shape[0]
        self.memory = Memory(
            memory(S, W), memory(S, W), memory(S * max(hidden, qkv, W + p)), memory(S * max(inner, qkv, 2 * W))
        )
        self.logits = memory(S * V) if len(self.memory.u) < V * S and not (self.lean or self.mixed) else self.memory.u
        self.shape = N, T

    def step(self, tokens: Tensor, targets: Tensor, rate: float) -> Tensor:
        """One step on tokens [N, T], for targets [N, T], negative where none counts; returns the cost before it, []."""
        if tokens.shape != self.shape:
            self.lay_out(*tokens.shape)
        x, memory, table, descent = self.x, self.memory, self.table, self.descent
        descent.begin(rate)

        table.forward(tokens.flatten(), x)
        if self.positions:
            x.view(*self.shape, -1).add_(self.positions.w[: self.shape[1]])
        for layer, (block, kept) in enumerate(zip(self.blocks, self.kept, strict=True)):
            if self.lean:
                self.inputs[layer].copy_(x)
            block.forward(x, self.attention, kept, memory)
            if self.rounded:
                self.rounded[layer].take(kept)
        n, x_hat = part(memory.g, 2, *x.shape)
        scale = x.new_empty(len(x), 1)
        self.norm.forward(x, x_hat, scale, out=n)
        J = self.head.step(n, targets.flatten(), self.logits, memory.a, memory.b)

        grad = x.zero_()
        self.norm.backward(memory.a, x_hat, scale, memory.b, grad)
        for layer in reversed(range(len(self.blocks))):
            block, kept = self.blocks[layer], self.kept[layer]
            if self.lean:
                block.hidden(self.inputs[layer], self.attention, kept, memory)
            if self.rounded:
                kept.take(self.rounded[layer])
            block.backward(grad, self.attention, kept, memory)
        if self.positions:
            descent(self.positions, partial(self._of_positions, grad))
        table.backward(grad)
        descent.end()
        return J

    def _of_positions(self, grad: Tensor, first: int, last: int, out: Tensor) -> None:
        """The gradient of these positions, 0 beyond the length of the sequences."""
        here = grad.view(*self.shape, -1)[:, first:last]
        torch.sum(here, 0, out=out[: here.shape[1]])
        out[here.shape[1] :].zero_()
