"""The autograd twin of a transformer, from torch.nn.functional, torch.autograd and torch's AdamW."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.adamw import adamw

Parameters = Mapping[str, Tensor]


def heads_of(x: Tensor, heads: int) -> Tensor:
    return x.view(*x.shape[:2], heads, -1).transpose(1, 2)


def attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return out.transpose(1, 2).reshape(q.shape[0], q.shape[2], -1)


def gpt2(tokens: Tensor, p: Parameters, layers: int, heads: int, eps: float) -> tuple[list[Tensor], Tensor]:
    """What goes into each block and out of the last, and the logits, of GPT-2."""
    norm = [p["transformer.wte.weight"].shape[1]]
    xs = [F.embedding(tokens, p["transformer.wte.weight"]) + p["transformer.wpe.weight"][: tokens.shape[1]]]
    for layer in range(layers):
        w = {name.removeprefix(f"transformer.h.{layer}."): value for name, value in p.items()}
        a = F.layer_norm(xs[-1], norm, w["ln_1.weight"], w["ln_1.bias"], eps)
        q, k, v = (a @ w["attn.c_attn.weight"] + w["attn.c_attn.bias"]).chunk(3, -1)
        o = attention(heads_of(q, heads), heads_of(k, heads), heads_of(v, heads))
        y = xs[-1] + o @ w["attn.c_proj.weight"] + w["attn.c_proj.bias"]
        m = F.layer_norm(y, norm, w["ln_2.weight"], w["ln_2.bias"], eps)
        g = F.gelu(m @ w["mlp.c_fc.weight"] + w["mlp.c_fc.bias"], approximate="tanh")
        xs.append(y + g @ w["mlp.c_proj.weight"] + w["mlp.c_proj.bias"])
    n = F.layer_norm(xs[-1], norm, p["transformer.ln_f.weight"], p["transformer.ln_f.bias"], eps)
    return xs, F.linear(n, p["transformer.wte.weight"])


def rotated(x: Tensor, base: float) -> Tensor:
    """Complex numbers times e^(i t θ), the first half of x the real parts."""
    wide = x.double() if x.dtype == torch.float64 else x.float()
    half = wide.shape[-1] // 2
    theta = base ** (-torch.arange(half, dtype=wide.dtype, device=x.device) / half)
    angle = torch.outer(torch.arange(x.shape[-2], dtype=wide.dtype, device=x.device), theta)
    turned = torch.complex(wide[..., :half], wide[..., half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat((turned.real, turned.imag), -1).to(x.dtype)


def llama(
    tokens: Tensor, p: Parameters, layers: int, heads: int, key_heads: int, eps: float, base: float
) -> tuple[list[Tensor], Tensor]:
    """What goes into each block and out of the last, and the logits, of Llama."""
    table = p["model.embed_tokens.weight"]
    norm = [table.shape[1]]
    xs = [F.embedding(tokens, table)]
    for layer in range(layers):
        w = {name.removeprefix(f"model.layers.{layer}."): value for name, value in p.items()}
        a = F.rms_norm(xs[-1], norm, w["input_layernorm.weight"], eps)
        q = rotated(heads_of(F.linear(a, w["self_attn.q_proj.weight"]), heads), base)
        k = rotated(heads_of(F.linear(a, w["self_attn.k_proj.weight"]), key_heads), base)
        v = heads_of(F.linear(a, w["self_attn.v_proj.weight"]), key_heads)
        y = xs[-1] + F.linear(attention(q, k, v), w["self_attn.o_proj.weight"])
        m = F.rms_norm(y, norm, w["post_attention_layernorm.weight"], eps)
        g = F.silu(F.linear(m, w["mlp.gate_proj.weight"])) * F.linear(m, w["mlp.up_proj.weight"])
        xs.append(y + F.linear(g, w["mlp.down_proj.weight"]))
    n = F.rms_norm(xs[-1], norm, p["model.norm.weight"], eps)
    return xs, F.linear(n, p.get("lm_head.weight", table))


def forward(
    tokens: Tensor, p: Parameters, *, form: str, layers: int, heads: int, key_heads: int, eps: float, base: float
) -> tuple[list[Tensor], Tensor]:
    """What goes into each block and out of the last, and the logits."""
    if form == "gpt2":
        return gpt2(tokens, p, layers, heads, eps)
    return llama(tokens, p, layers, heads, key_heads, eps, base)


def one_round(
    tokens: Tensor, targets: Tensor, p: Parameters, rate: float, *, betas: tuple[float, float], adam_eps: float,
    decay: float, clip: float | None, m: Parameters | None = None, v: Parameters | None = None, steps: int = 0,
    **made_of: object,
) -> dict[str, Tensor]:  # fmt: skip
    """One round of training by autograd and torch's AdamW: every quantity by its name.

    m, v, steps: the moments that the optimizer has, and the steps that it took; without them it is the first.
    J, grad logits, delta[l] at the borders of the blocks; of each parameter its gradient, its new value, both moments.
    """
    with torch.enable_grad():
        leaves = {name: value.detach().clone().requires_grad_() for name, value in p.items()}
        xs, logits = forward(tokens, leaves, **made_of)  # type: ignore[arg-type]
        J = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
        *delta, grad_logits = torch.autograd.grad(J, [*xs, logits], retain_graph=True)
        grads = torch.autograd.grad(J, list(leaves.values()))
    found = {"J": J, "grad logits": grad_logits} | {f"delta[{layer}]": d for layer, d in enumerate(delta)}
    found |= {f"grad {name}": grad for name, grad in zip(leaves, grads, strict=True)}
    zeros = {name: torch.zeros_like(value) for name, value in p.items()}
    stepped = step(
        p, dict(zip(leaves, grads, strict=True)), m or zeros, v or zeros, steps, rate,
        betas=betas, eps=adam_eps, decay=decay, clip=clip,
    )  # fmt: skip
    return {name: value.detach() for name, value in (found | stepped).items()}


def step(
    p: Parameters, grads: Parameters, m: Parameters, v: Parameters, steps: int, rate: float, *,
    betas: tuple[float, float], eps: float, decay: float, clip: float | None,
) -> dict[str, Tensor]:  # fmt: skip
    """A step of torch's AdamW after so many, by the function behind the class, which would load torch's compiler."""
    new = [value.detach().clone() for value in p.values()]
    gradients = [grad.detach().clone() for grad in grads.values()]
    if clip is not None:
        norm = torch.nn.utils.get_total_norm(gradients)
        gradients = [grad * torch.clamp(clip / (norm + 1e-6), max=1) for grad in gradients]
    new_m, new_v = ([of[name].detach().clone() for name in p] for of in (m, v))
    adamw(
        new, gradients, new_m, new_v, [], [torch.tensor(float(steps)) for _ in new], amsgrad=False,
        beta1=betas[0], beta2=betas[1], lr=rate, weight_decay=decay, eps=eps, maximize=False, foreach=False,
    )  # fmt: skip
    found: dict[str, Tensor] = {}
    for name, w, m_w, v_w in zip(p, new, new_m, new_v, strict=True):
        found |= {f"new {name}": w, f"m {name}": m_w, f"v {name}": v_w}
    return found
