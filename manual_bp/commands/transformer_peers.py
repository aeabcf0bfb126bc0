"""The training step of a transformer as others take it: what `manual-bp bench --model transformer` measures."""

import ctypes
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from manual_bp.commands.peers import Peer, Run, repeated
from manual_bp.transformer import Transformer

RATE, EPS, DECAY, BETAS = 1e-3, 1e-8, 0.01, (0.9, 0.999)  # of AdamW, for all


class Sizes(NamedTuple):
    """Of a transformer in GPT-2's form; a sequence is as long as its context."""

    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int


def batch(sizes: Sizes, samples: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Tokens [N, T], and those that follow."""
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(sizes.vocabulary, (samples, sizes.context + 1), generator=generator).to(device)
    return text[:, :-1].contiguous(), text[:, 1:].contiguous()


def by_hand(sizes: Sizes, samples: int, device: torch.device, lean: bool = False) -> Run:
    net = Transformer.random(**sizes._asdict(), device=device, lean=lean)
    tokens, targets = batch(sizes, samples, device)
    return repeated(lambda: net.step(tokens, targets, RATE), device)


def by_hand_lean(sizes: Sizes, samples: int, device: torch.device) -> Run:
    return by_hand(sizes, samples, device, lean=True)


def _parameters(sizes: Sizes, device: torch.device) -> dict[str, Tensor]:
    return {
        name.removeprefix("transformer."): p
        for name, p in Transformer.random(**sizes._asdict(), device=device).parameters.items()
    }


def _cost(p: dict[str, Tensor], sizes: Sizes, samples: int) -> Callable[[Tensor, Tensor], Tensor]:
    W, shape = sizes.width, (samples, sizes.context, sizes.heads, sizes.width // sizes.heads)
    names = [f"{name}.{kind}" for name in ("ln_1", "attn.c_attn", "attn.c_proj") for kind in ("weight", "bias")]
    names += [f"{name}.{kind}" for name in ("ln_2", "mlp.c_fc", "mlp.c_proj") for kind in ("weight", "bias")]
    layers = [[p[f"h.{layer}.{name}"] for name in names] for layer in range(sizes.layers)]

    def cost(tokens: Tensor, targets: Tensor) -> Tensor:
        x = (F.embedding(tokens, p["wte.weight"]) + p["wpe.weight"]).view(-1, W)
        for w_1, b_1, w_qkv, b_qkv, w_o, b_o, w_2, b_2, w_h, b_h, w_out, b_out in layers:
            a = F.layer_norm(x, [W], w_1, b_1)
            q, k, v = (part.view(shape).transpose(1, 2) for part in torch.addmm(b_qkv, a, w_qkv).split(W, 1))
            o = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(-1, W)
            x = x + torch.addmm(b_o, o, w_o)
            m = F.layer_norm(x, [W], w_2, b_2)
            x = x + torch.addmm(b_out, F.gelu(torch.addmm(b_h, m, w_h), approximate="tanh"), w_out)
        n = F.layer_norm(x, [W], p["ln_f.weight"], p["ln_f.bias"])
        return F.cross_entropy(F.linear(n, p["wte.weight"]), targets.view(-1))

    return cost


def by_autograd(sizes: Sizes, samples: int, device: torch.device, compiled: bool = False) -> Run:
    params = {name: p.requires_grad_() for name, p in _parameters(sizes, device).items()}
    optimizer = torch.optim.AdamW(params.values(), lr=RATE, betas=BETAS, eps=EPS, weight_decay=DECAY, fused=True)
    tokens, targets = batch(sizes, samples, device)
    cost = _cost(params, sizes, samples)
    if compiled:
        cost = torch.compile(cost)

    def step() -> None:
        optimizer.zero_grad()
        cost(tokens, targets).backward()
        optimizer.step()

    return repeated(step, device)


def by_autograd_compiled(sizes: Sizes, samples: int, device: torch.device) -> Run:
    return by_autograd(sizes, samples, device, compiled=True)


def by_autograd_keeping_memory(sizes: Sizes, samples: int, device: torch.device) -> Run:
    """The same where glibc gives no memory back to the system, which costs time when it is taken again."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for threshold in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
            mallopt(threshold, 2**30)
    return by_autograd(sizes, samples, device)


def by_jax(sizes: Sizes, samples: int, device: torch.device) -> Run:
    import jax
    import jax.numpy as jnp

    W, heads, d = sizes.width, sizes.heads, sizes.width // sizes.heads
    drawn = _parameters(sizes, device)
    params: Any = {name: jnp.asarray(drawn.pop(name).numpy()) for name in [*drawn]}  # so they are never there twice
    tokens, targets = (jnp.asarray(part.numpy()) for part in batch(sizes, samples, device))
    causal = jnp.tril(jnp.ones((sizes.context, sizes.context), bool))

    def cost(p: Any) -> Any:
        def affine(name: str, a: Any) -> Any:
            return a @ p[f"{name}.weight"] + p[f"{name}.bias"]

        def norm(name: str, x: Any) -> Any:
            centred = x - x.mean(-1, keepdims=True)
            scale = jax.lax.rsqrt((centred * centred).mean(-1, keepdims=True) + 1e-5)
            return centred * scale * p[f"{name}.weight"] + p[f"{name}.bias"]

        x = p["wte.weight"][tokens] + p["wpe.weight"]
        for of in (f"h.{layer}." for layer in range(sizes.layers)):
            parts = jnp.split(affine(f"{of}attn.c_attn", norm(f"{of}ln_1", x)), 3, -1)
            q, k, v = (part.reshape(*tokens.shape, heads, d).swapaxes(1, 2) for part in parts)
            scores = jnp.where(causal, q @ k.swapaxes(2, 3) / math.sqrt(d), -jnp.inf)
            o = (jax.nn.softmax(scores) @ v).swapaxes(1, 2).reshape(*tokens.shape, W)
            x = x + affine(f"{of}attn.c_proj", o)
            x = x + affine(f"{of}mlp.c_proj", jax.nn.gelu(affine(f"{of}mlp.c_fc", norm(f"{of}ln_2", x))))
        logits = norm("ln_f", x) @ p["wte.weight"].T
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], -1).mean()

    def step(p: Any, m: Any, v: Any, t: Any) -> Any:
        g = jax.grad(cost)(p)
        m = jax.tree.map(lambda m, g: BETAS[0] * m + (1 - BETAS[0]) * g, m, g)
        v = jax.tree.map(lambda v, g: BETAS[1] * v + (1 - BETAS[1]) * g * g, v, g)
        rate, root = RATE / (1 - BETAS[0] ** t), jnp.sqrt(1 - BETAS[1] ** t)
        p = jax.tree.map(lambda p, m, v: p * (1 - RATE * DECAY) - rate * m / (jnp.sqrt(v) / root + EPS), p, m, v)
        return p, m, v, t + 1

    compiled = jax.jit(step, donate_argnums=(0, 1, 2))
    state = params, *(jax.tree.map(jnp.zeros_like, params) for _ in "mv"), jnp.float32(1)

    def run(steps: int) -> None:
        nonlocal state, params
        for _ in range(steps):
            state = compiled(*state)
        params = jax.block_until_ready(state[0])

    return run


LEAST = (Sizes(5, 4, 4, 1, 2), 2)
PEERS: dict[str, Peer] = {
    "manual-bp": Peer(by_hand, devices=("cpu", "cuda"), least=LEAST),
    "manual-bp, lean": Peer(by_hand_lean, devices=("cpu", "cuda"), least=LEAST),
    "autograd + AdamW": Peer(by_autograd, devices=("cpu", "cuda"), least=LEAST),
    "autograd + AdamW, compiled": Peer(by_autograd_compiled, devices=("cpu", "cuda"), least=LEAST),
    "autograd + AdamW, memory kept": Peer(by_autograd_keeping_memory, least=LEAST),
    "JAX, jit": Peer(by_jax, needs="jax", least=LEAST),
}
