"""Functions of sequences and attention with their backward passes, and mistakes that people make in these."""

import torch
from torch import Tensor
from torch.nn import functional

Gradients = tuple[Tensor | None, ...]


def draw(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    """Standard normal float64 tensors, the same ones at every call."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


# Attention


def window_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every query sees the last three keys up to its own; the last query stands at the last key."""
    n, m = len(q), len(k)
    distance = torch.arange(n, device=q.device)[:, None] + (m - n) - torch.arange(m, device=q.device)
    mask = (distance >= 0) & (distance < 3)
    scores = q @ k.T * q.shape[-1] ** -0.5
    return scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v


def window_attention_backward(grad_out: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Gradients:
    n, m = len(q), len(k)
    scale = q.shape[-1] ** -0.5
    distance = torch.arange(n, device=q.device)[:, None] + (m - n) - torch.arange(m, device=q.device)
    mask = (distance >= 0) & (distance < 3)
    weights = (q @ k.T * scale).masked_fill(~mask, -torch.inf).softmax(-1)
    grad_weights = grad_out @ v.T
    grad_scores = weights * (grad_weights - (grad_weights * weights).sum(-1, keepdim=True))
    grad_q = grad_scores @ k * scale
    grad_k = grad_scores.T @ q * scale
    grad_v = weights.T @ grad_out
    return grad_q, grad_k, grad_v


def causal_attention(q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """Causal attention with more keys than queries, and the logarithm of each row's sum."""
    n, m = q.shape[-2], k.shape[-2]
    mask = torch.ones(n, m, dtype=torch.bool, device=q.device).tril(m - n)
    scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v, scores.logsumexp(-1)


def causal_attention_backward(
    grad_out: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor], q: Tensor, k: Tensor, v: Tensor
) -> Gradients:
    grad, grad_lse = grad_out
    result, lse = out
    n, m = q.shape[-2], k.shape[-2]
    scale = q.shape[-1] ** -0.5
    mask = torch.ones(n, m, dtype=torch.bool, device=q.device).tril(m - n)
    scores = (q @ k.mT * scale).masked_fill(~mask, -torch.inf)
    weights = (scores - lse[..., None]).exp()
    delta = (grad * result).sum(-1) - grad_lse
    grad_scores = weights * (grad @ v.mT - delta[..., None]) * scale
    grad_q = grad_scores @ k
    grad_k = grad_scores.mT @ q
    grad_v = weights.mT @ grad
    return grad_q, grad_k, grad_v


def grouped_query_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Neighbouring heads of the queries share a head of the keys and values."""
    group = len(q) // len(k)
    keys, values = k.repeat_interleave(group, 0), v.repeat_interleave(group, 0)
    return (q @ keys.mT * q.shape[-1] ** -0.5).softmax(-1) @ values


def grouped_query_attention_backward(grad_out: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Gradients:
    heads, group = len(k), len(q) // len(k)
    scale = q.shape[-1] ** -0.5
    keys = k.repeat_interleave(group, 0)
    values = v.repeat_interleave(group, 0)
    weights = (q @ keys.mT * scale).softmax(-1)
    delta = (grad_out * out).sum(-1, keepdim=True)
    grad_scores = weights * (grad_out @ values.mT - delta)
    grad_q = grad_scores @ keys * scale
    grad_keys = grad_scores.mT @ q * scale
    grad_values = weights.mT @ grad_out
    grad_k = grad_keys.unflatten(0, (heads, group)).sum(1)
    grad_v = grad_values.unflatten(0, (heads, group)).sum(1)
    return grad_q, grad_k, grad_v


def blockwise_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over two blocks of keys, one after the other, with a running maximum and sum."""
    top = torch.full_like(q[:, :1], -torch.inf)
    total = torch.zeros_like(q[:, :1])
    result = torch.zeros_like(q[:, :1])
    for keys, values in zip(k.chunk(2), v.chunk(2), strict=True):
        scores = q @ keys.T * q.shape[-1] ** -0.5
        new = torch.maximum(top, scores.amax(-1, keepdim=True)).detach()
        weights = (scores - new).exp()
        total = total * (top - new).exp() + weights.sum(-1, keepdim=True)
        result = result * (top - new).exp() + weights @ values
        top = new
    return result / total


def blockwise_attention_backward(grad_out: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Gradients:
    scale = q.shape[-1] ** -0.5
    k1, k2 = k.chunk(2)
    v1, v2 = v.chunk(2)
    scores1 = q @ k1.T * scale
    scores2 = q @ k2.T * scale
    lse = torch.logaddexp(scores1.logsumexp(-1, keepdim=True), scores2.logsumexp(-1, keepdim=True))
    weights1 = (scores1 - lse).exp()
    weights2 = (scores2 - lse).exp()
    delta = (grad_out * out).sum(-1, keepdim=True)
    grad_scores1 = weights1 * (grad_out @ v1.T - delta) * scale
    grad_scores2 = weights2 * (grad_out @ v2.T - delta) * scale
    grad_q = grad_scores1 @ k1 + grad_scores2 @ k2
    grad_k = torch.cat([grad_scores1.T @ q, grad_scores2.T @ q])
    grad_v = torch.cat([weights1.T @ grad_out, weights2.T @ grad_out])
    return grad_q, grad_k, grad_v


def alibi_attention(q: Tensor, k: Tensor, v: Tensor, slopes: Tensor) -> Tensor:
    """Causal attention whose scores fall linearly with the distance, with a slope for each head."""
    steps = torch.arange(q.shape[-2], device=q.device)
    distance = steps[:, None] - steps
    scores = q @ k.mT * q.shape[-1] ** -0.5 - slopes[:, None, None] * distance
    return scores.masked_fill(distance < 0, -torch.inf).softmax(-1) @ v


def alibi_attention_backward(
    grad_out: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor, slopes: Tensor
) -> Gradients:
    scale = q.shape[-1] ** -0.5
    steps = torch.arange(q.shape[-2], device=q.device)
    distance = steps[:, None] - steps
    scores = q @ k.mT * scale - slopes[:, None, None] * distance
    weights = scores.masked_fill(distance < 0, -torch.inf).softmax(-1)
    grad_weights = grad_out @ v.mT
    grad_scores = weights * (grad_weights - (grad_weights * weights).sum(-1, keepdim=True))
    grad_q = grad_scores @ k * scale
    grad_k = grad_scores.mT @ q * scale
    grad_v = weights.mT @ grad_out
    grad_slopes = -(grad_scores * distance).sum((1, 2))
    return grad_q, grad_k, grad_v, grad_slopes


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the pairs (x_i, x_{i + half}) by the angles with these cosines and sines."""
    first, second = x.chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1)


def rotary_scores(q: Tensor, k: Tensor, frequency: Tensor) -> Tensor:
    """Scores of rotated queries and keys, softly capped at 2; the frequencies are given, as integers."""
    angles = (torch.arange(len(k), device=q.device)[:, None] * frequency).to(q.dtype) / 8
    cos, sin = angles.cos(), angles.sin()
    scores = turn(q, cos[: len(q)], sin[: len(q)]) @ turn(k, cos, sin).T * q.shape[-1] ** -0.5
    return 2 * (scores / 2).tanh()


def rotary_scores_backward(grad_out: Tensor, out: Tensor, q: Tensor, k: Tensor, frequency: Tensor) -> Gradients:
    n, scale = len(q), q.shape[-1] ** -0.5
    angles = (torch.arange(len(k), device=q.device)[:, None] * frequency).to(q.dtype) / 8
    cos, sin = angles.cos(), angles.sin()
    turned_q = turn(q, cos[:n], sin[:n])
    turned_k = turn(k, cos, sin)
    grad_scores = grad_out * (1 - (out / 2).square())
    grad_turned_q = grad_scores @ turned_k * scale
    grad_turned_k = grad_scores.T @ turned_q * scale
    grad_q = turn(grad_turned_q, cos[:n], -sin[:n])
    grad_k = turn(grad_turned_k, cos, -sin)
    return grad_q, grad_k, None


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Causal linear attention with the features elu + 1."""
    features_q, features_k = functional.elu(q) + 1, functional.elu(k) + 1
    states = (features_k[:, :, None] * v[:, None, :]).cumsum(0)
    total = (features_q * features_k.cumsum(0)).sum(-1, keepdim=True)
    return torch.einsum("td,tde->te", features_q, states) / total


def linear_attention_backward(grad_out: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor) -> Gradients:
    features_q, features_k = functional.elu(q) + 1, functional.elu(k) + 1
    states = (features_k[:, :, None] * v[:, None, :]).cumsum(0)
    sums = features_k.cumsum(0)
    total = (features_q * sums).sum(-1, keepdim=True)
    grad_top = grad_out / total
    grad_total = -(grad_top * out).sum(-1, keepdim=True)
    grad_features_q = torch.einsum("te,tde->td", grad_top, states) + grad_total * sums
    grad_states = (features_q[:, :, None] * grad_top[:, None, :]).flip(0).cumsum(0).flip(0)
    grad_sums = (features_q * grad_total).flip(0).cumsum(0).flip(0)
    grad_features_k = torch.einsum("tde,te->td", grad_states, v) + grad_sums
    grad_q = grad_features_q * features_q.clamp(max=1)
    grad_k = grad_features_k * features_k.clamp(max=1)
    grad_v = torch.einsum("tde,td->te", grad_states, features_k)
    return grad_q, grad_k, grad_v


def cosine_attention(q: Tensor, k: Tensor, v: Tensor, log_scale: Tensor) -> Tensor:
    """Attention with L2-normalized queries and keys and a learnt scale."""
    similarity = functional.normalize(q, dim=-1) @ functional.normalize(k, dim=-1).T
    return (similarity * log_scale.exp()).softmax(-1) @ v


def cosine_attention_backward(
    grad_out: Tensor, out: Tensor, q: Tensor, k: Tensor, v: Tensor, log_scale: Tensor
) -> Gradients:
    norm_q = q.norm(dim=-1, keepdim=True)
    norm_k = k.norm(dim=-1, keepdim=True)
    unit_q = q / norm_q
    unit_k = k / norm_k
    similarity = unit_q @ unit_k.T
    scores = similarity * log_scale.exp()
    weights = scores.softmax(-1)
    grad_scores = weights * (grad_out @ v.T - (grad_out * out).sum(-1, keepdim=True))
    grad_log_scale = (grad_scores * scores).sum()
    grad_similarity = grad_scores * log_scale.exp()
    grad_unit_q = grad_similarity @ unit_k
    grad_unit_k = grad_similarity.T @ unit_q
    grad_q = (grad_unit_q - unit_q * (grad_unit_q * unit_q).sum(-1, keepdim=True)) / norm_q
    grad_k = (grad_unit_k - unit_k * (grad_unit_k * unit_k).sum(-1, keepdim=True)) / norm_k
    return grad_q, grad_k, weights.T @ grad_out, grad_log_scale


def attention_pool(x: Tensor, query: Tensor, temperature: Tensor, mask: Tensor) -> Tensor:
    """Mean of a sequence's items, weighted by a softmax with a temperature over those that are no padding."""
    scores = (x @ query / temperature).masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1)[..., None] * x).sum(1)


def attention_pool_backward(
    grad_out: Tensor, out: Tensor, x: Tensor, query: Tensor, temperature: Tensor, mask: Tensor
) -> Gradients:
    raw = x @ query
    weights = (raw / temperature).masked_fill(~mask, -torch.inf).softmax(-1)
    grad_weights = (x * grad_out[:, None]).sum(-1)
    grad_scores = weights * (grad_weights - (grad_out * out).sum(-1, keepdim=True))
    grad_raw = grad_scores / temperature
    grad_x = weights[..., None] * grad_out[:, None] + grad_raw[..., None] * query
    grad_query = (grad_raw[..., None] * x).sum((0, 1))
    grad_temperature = -(grad_scores * raw).sum() / temperature.square()
    return grad_x, grad_query, grad_temperature, None


# Recurrences and scans


def gated_recurrence(x: Tensor, gate: Tensor, start: Tensor) -> Tensor:
    """All states of h = a h + (1 - a) x, with a = sigmoid(gate)."""
    state, states = start, []
    for step, decay in zip(x, gate.sigmoid(), strict=True):
        state = decay * state + (1 - decay) * step
        states.append(state)
    return torch.stack(states)


def gated_recurrence_backward(grad_out: Tensor, out: Tensor, x: Tensor, gate: Tensor, start: Tensor) -> Gradients:
    a = gate.sigmoid()
    before = torch.cat([start[None], out[:-1]])
    grad_x = torch.zeros_like(x)
    grad_a = torch.zeros_like(a)
    carry = torch.zeros_like(start)
    for t in reversed(range(len(x))):
        grad_state = grad_out[t] + carry
        grad_x[t] = grad_state * (1 - a[t])
        grad_a[t] = grad_state * (before[t] - x[t])
        carry = grad_state * a[t]
    return grad_x, grad_a * a * (1 - a), carry


def padded_recurrence(x: Tensor, w: Tensor, lengths: Tensor) -> Tensor:
    """All states of h = tanh(x + h w); a sequence that has ended keeps its last state."""
    state, states = torch.zeros_like(x[:, 0]), []
    for t in range(x.shape[1]):
        state = torch.where((t < lengths)[:, None], (x[:, t] + state @ w).tanh(), state)
        states.append(state)
    return torch.stack(states, 1)


def padded_recurrence_backward(grad_out: Tensor, out: Tensor, x: Tensor, w: Tensor, lengths: Tensor) -> Gradients:
    before = torch.cat([torch.zeros_like(out[:, :1]), out[:, :-1]], 1)
    grad_x = torch.zeros_like(x)
    grad_w = torch.zeros_like(w)
    carry = torch.zeros_like(x[:, 0])
    for t in reversed(range(x.shape[1])):
        grad_state = grad_out[:, t] + carry
        going = (t < lengths)[:, None]
        grad_inner = grad_state * (1 - out[:, t].square()) * going
        grad_x[:, t] = grad_inner
        grad_w += before[:, t].T @ grad_inner
        carry = torch.where(going, grad_inner @ w.T, grad_state)
    return grad_x, grad_w, None


def moving_average(x: Tensor, logit: Tensor) -> Tensor:
    """Exponential moving average with Adam's correction of the beginning, with a decay for each column."""
    decay = logit.sigmoid()
    average, averages = torch.zeros_like(logit), []
    for t, step in enumerate(x, 1):
        average = decay * average + (1 - decay) * step
        averages.append(average / (1 - decay**t))
    return torch.stack(averages)


def moving_average_backward(grad_out: Tensor, out: Tensor, x: Tensor, logit: Tensor) -> Gradients:
    decay = logit.sigmoid()
    steps = torch.arange(1, len(x) + 1, device=x.device)[:, None]
    correction = 1 - decay**steps
    averages = out * correction
    before = torch.cat([torch.zeros_like(averages[:1]), averages[:-1]])
    grad_averages = grad_out / correction
    grad_correction = -grad_out * out / correction
    grad_decay = -(grad_correction * steps * decay ** (steps - 1)).sum(0)
    grad_x = torch.zeros_like(x)
    carry = torch.zeros_like(logit)
    for t in reversed(range(len(x))):
        grad_average = grad_averages[t] + carry
        grad_x[t] = grad_average * (1 - decay)
        grad_decay = grad_decay + grad_average * (before[t] - x[t])
        carry = grad_average * decay
    return grad_x, grad_decay * decay * (1 - decay)


def cumulative_share(x: Tensor, y: Tensor) -> Tensor:
    """y times the part of a row's sum of softplus(x) that has come up to here."""
    sums = functional.softplus(x).cumsum(1)
    return y * sums / sums[:, -1:]


def cumulative_share_backward(grad_out: Tensor, out: Tensor, x: Tensor, y: Tensor) -> Gradients:
    sums = functional.softplus(x).cumsum(1)
    total = sums[:, -1:]
    grad_y = grad_out * sums / total
    grad_sums = grad_out * y / total
    grad_total = -(grad_out * out).sum(1, keepdim=True) / total
    grad_parts = grad_sums.sum(1, keepdim=True) - grad_sums.cumsum(1) + grad_sums + grad_total
    return grad_parts * x.sigmoid(), grad_y


def stick_breaking(x: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Values weighted by p_t prod_{s < t} (1 - p_s), with p = sigmoid(x), and what is left of the stick."""
    logs = functional.logsigmoid(-x)
    before = (logs.cumsum(1) - logs).exp()
    return (x.sigmoid() * before) @ values, logs.sum(1).exp()


def stick_breaking_backward(
    grad_out: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor], x: Tensor, values: Tensor
) -> Gradients:
    grad, grad_left = grad_out
    _, left = out
    p = x.sigmoid()
    logs = functional.logsigmoid(-x)
    before = (logs.cumsum(1) - logs).exp()
    weights = p * before
    grad_weights = grad @ values.T
    grad_before = grad_weights * weights  # of the logarithm
    grad_logs = grad_before.flip(1).cumsum(1).flip(1) - grad_before
    grad_logs = grad_logs + (grad_left * left)[:, None]
    grad_x = grad_weights * before * p * (1 - p) - grad_logs * p
    return grad_x, weights.T @ grad


def advantages(rewards: Tensor, values: Tensor, done: Tensor) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation, and the returns that belong to it."""
    alive = (~done).to(rewards.dtype)
    errors = rewards + 0.9 * alive * values[1:] - values[:-1]
    carry, found = torch.zeros_like(rewards[0]), []
    for t in reversed(range(len(rewards))):
        carry = errors[t] + 0.72 * alive[t] * carry
        found.append(carry)
    advantage = torch.stack(found[::-1])
    return advantage, advantage + values[:-1]


def advantages_backward(
    grad_out: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor], rewards: Tensor, values: Tensor, done: Tensor
) -> Gradients:
    grad_advantage, grad_returns = grad_out
    alive = (~done).to(rewards.dtype)
    grad_errors = torch.zeros_like(rewards)
    carry = torch.zeros_like(rewards[0])
    for t in range(len(rewards)):
        grad_errors[t] = grad_advantage[t] + grad_returns[t] + carry
        carry = 0.72 * alive[t] * grad_errors[t]
    grad_values = torch.zeros_like(values)
    grad_values[:-1] += grad_returns - grad_errors
    grad_values[1:] += 0.9 * alive * grad_errors
    return grad_errors, grad_values, None


# Normalization and gating


def gated_rms_norm(x: Tensor, weight: Tensor, gate: Tensor) -> Tensor:
    """x + rms_norm(x) weight silu(gate)."""
    normal = x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    return x + normal * weight * functional.silu(gate)


def gated_rms_norm_backward(grad_out: Tensor, out: Tensor, x: Tensor, weight: Tensor, gate: Tensor) -> Gradients:
    inverse = (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt()
    normal = x * inverse
    s = gate.sigmoid()
    silu = gate * s
    grad_normal = grad_out * weight * silu
    inner = (grad_normal * normal).mean(-1, keepdim=True)
    grad_x = grad_out + inverse * (grad_normal - normal * inner)
    grad_weight = (grad_out * normal * silu).sum(0)
    grad_gate = grad_out * normal * weight * (s + silu * (1 - s))
    return grad_x, grad_weight, grad_gate


def add_layer_norm(x: Tensor, y: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """layer_norm(x + y), and x + y for the next residual connection."""
    total = x + y
    return functional.layer_norm(total, total.shape[-1:], weight, bias), total


def add_layer_norm_backward(
    grad_out: tuple[Tensor, Tensor], out: tuple[Tensor, Tensor], x: Tensor, y: Tensor, weight: Tensor, bias: Tensor
) -> Gradients:
    grad, grad_total = grad_out
    _, total = out
    inverse = (total.var(-1, keepdim=True, correction=0) + 1e-5).rsqrt()
    normal = (total - total.mean(-1, keepdim=True)) * inverse
    grad_normal = grad * weight
    mean = grad_normal.mean(-1, keepdim=True)
    inner = (grad_normal * normal).mean(-1, keepdim=True)
    grad_sum = grad_total + inverse * (grad_normal - mean - normal * inner)
    grad_x = grad_sum
    grad_y = grad_sum
    grad_weight = (grad * normal).sum(0)
    grad_bias = grad.sum(0)
    return grad_x, grad_y, grad_weight, grad_bias


def group_norm_silu(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """silu(group_norm(x)) of (batch, channels, length), with two groups of channels."""
    return functional.silu(functional.group_norm(x, 2, weight, bias))


def group_norm_silu_backward(grad_out: Tensor, out: Tensor, x: Tensor, weight: Tensor, bias: Tensor) -> Gradients:
    grouped = x.unflatten(1, (2, -1))
    inverse = (grouped.var((-2, -1), keepdim=True, correction=0) + 1e-5).rsqrt()
    normal = (grouped - grouped.mean((-2, -1), keepdim=True)) * inverse
    z = normal.flatten(1, 2) * weight[:, None] + bias[:, None]
    s = z.sigmoid()
    grad_z = grad_out * s * (1 + z * (1 - s))
    grad_weight = (grad_z * normal.flatten(1, 2)).sum((0, 2))
    grad_bias = grad_z.sum((0, 2))
    grad_normal = (grad_z * weight[:, None]).unflatten(1, (2, -1))
    mean = grad_normal.mean((-2, -1), keepdim=True)
    inner = (grad_normal * normal).mean((-2, -1), keepdim=True)
    grad_x = (inverse * (grad_normal - mean - normal * inner)).flatten(1, 2)
    return grad_x, grad_weight, grad_bias


def top_two_gating(x: Tensor, router: Tensor, experts: Tensor) -> Tensor:
    """Every token goes to its two best experts, with sigmoid gates that are made to sum to one."""
    top, chosen = (x @ router).sigmoid().topk(2, -1)
    gates = top / top.sum(-1, keepdim=True)
    return torch.einsum("ti,td,tido->to", gates, x, experts[chosen])


def top_two_gating_backward(grad_out: Tensor, out: Tensor, x: Tensor, router: Tensor, experts: Tensor) -> Gradients:
    scores = (x @ router).sigmoid()
    top, chosen = scores.topk(2, -1)
    total = top.sum(-1, keepdim=True)
    gates = top / total
    grad_gates = torch.einsum("to,td,tido->ti", grad_out, x, experts[chosen])
    grad_top = (grad_gates - (grad_gates * gates).sum(-1, keepdim=True)) / total
    grad_scores = torch.zeros_like(scores).scatter(-1, chosen, grad_top)
    grad_logits = grad_scores * scores * (1 - scores)
    spread = torch.zeros_like(scores).scatter(-1, chosen, gates)
    grad_experts = torch.einsum("te,td,to->edo", spread, x, grad_out)
    grad_router = x.T @ grad_logits
    grad_x = grad_logits @ router.T + torch.einsum("te,to,edo->td", spread, grad_out, experts)
    return grad_x, grad_router, grad_experts


def sequence_loss(logits: Tensor, bias: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """Mean over the tokens that are no padding of the cross-entropy plus a tenth of the squared logsumexp."""
    mask = torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]
    scores = logits + bias
    lse = scores.logsumexp(-1)
    losses = lse - scores.gather(-1, targets[..., None])[..., 0] + 0.1 * lse.square()
    return (losses * mask).sum() / mask.sum()


def sequence_loss_backward(
    grad_out: Tensor, out: Tensor, logits: Tensor, bias: Tensor, targets: Tensor, lengths: Tensor
) -> Gradients:
    mask = torch.arange(logits.shape[1], device=logits.device) < lengths[:, None]
    scores = logits + bias
    hot = functional.one_hot(targets, logits.shape[-1]).to(logits.dtype)
    grad_lse = 1 + 0.2 * scores.logsumexp(-1, keepdim=True)
    grad_scores = (scores.softmax(-1) * grad_lse - hot) * mask[..., None]
    grad_logits = grad_out * grad_scores / mask.sum()
    return grad_logits, grad_logits.sum((0, 1)), None, None


# Windows, shifts and look-ups


def causal_conv(x: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """x times the sigmoid of its causal depthwise convolution, of (length, channels)."""
    size = kernel.shape[-1]
    windows = functional.pad(x, (0, 0, size - 1, 0)).unfold(0, size, 1)
    return x * ((windows * kernel).sum(-1) + bias).sigmoid()


def causal_conv_backward(grad_out: Tensor, out: Tensor, x: Tensor, kernel: Tensor, bias: Tensor) -> Gradients:
    length, size = len(x), kernel.shape[-1]
    padded = functional.pad(x, (0, 0, size - 1, 0))
    windows = padded.unfold(0, size, 1)
    s = ((windows * kernel).sum(-1) + bias).sigmoid()
    grad_inner = grad_out * x * s * (1 - s)
    grad_kernel = (grad_inner[..., None] * windows).sum(0)
    grad_bias = grad_inner.sum(0)
    grad_padded = torch.zeros_like(padded)
    for tap in range(size):
        grad_padded[tap : tap + length] += grad_inner * kernel[:, tap]
    grad_x = grad_out * s + grad_padded[size - 1 :]
    return grad_x, grad_kernel, grad_bias


def window_energy(x: Tensor, taper: Tensor) -> Tensor:
    """Logarithm of the energy in overlapping windows, two apart, weighted by softmax(taper)."""
    frames = x.unfold(-1, len(taper), 2)
    return (frames.square() * taper.softmax(0)).sum(-1).log()


def window_energy_backward(grad_out: Tensor, out: Tensor, x: Tensor, taper: Tensor) -> Gradients:
    size = len(taper)
    weights = taper.softmax(0)
    frames = x.unfold(-1, size, 2)
    grad_energy = (grad_out / out.exp())[..., None]
    grad_frames = 2 * grad_energy * frames * weights
    grad_weights = (grad_energy * frames.square()).sum((0, 1))
    grad_x = torch.zeros_like(x)
    for i in range(frames.shape[1]):
        grad_x[:, 2 * i : 2 * i + size] += grad_frames[:, i]
    grad_taper = weights * (grad_weights - (grad_weights * weights).sum())
    return grad_x, grad_taper


def bag_direction(table: Tensor, indices: Tensor, lengths: Tensor) -> Tensor:
    """L2-normalized mean of the embeddings in padded bags."""
    mask = torch.arange(indices.shape[1], device=table.device) < lengths[:, None]
    mean = (table[indices] * mask[..., None]).sum(1) / lengths[:, None]
    return functional.normalize(mean, dim=-1)


def bag_direction_backward(grad_out: Tensor, out: Tensor, table: Tensor, indices: Tensor, lengths: Tensor) -> Gradients:
    mask = torch.arange(indices.shape[1], device=table.device) < lengths[:, None]
    mean = (table[indices] * mask[..., None]).sum(1) / lengths[:, None]
    norm = mean.norm(dim=-1, keepdim=True)
    grad_mean = (grad_out - out * (grad_out * out).sum(-1, keepdim=True)) / norm
    grad_items = (grad_mean / lengths[:, None])[:, None].expand(*indices.shape, -1)
    grad_items = torch.where(mask[..., None], grad_items, 0)
    grad_table = torch.zeros_like(table)
    grad_table.index_put_((indices,), grad_items, accumulate=True)
    return grad_table, None, None


def token_shift(x: Tensor, mix: Tensor, w: Tensor) -> Tensor:
    """relu(mixed w)^2, where mixed lies between a step and the one before."""
    previous = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    return ((mix * x + (1 - mix) * previous) @ w).relu().square()


def token_shift_backward(grad_out: Tensor, out: Tensor, x: Tensor, mix: Tensor, w: Tensor) -> Gradients:
    previous = torch.cat([torch.zeros_like(x[:1]), x[:-1]])
    mixed = mix * x + (1 - mix) * previous
    grad_inner = 2 * grad_out * (mixed @ w).relu()
    grad_mixed = grad_inner @ w.T
    grad_previous = grad_mixed * (1 - mix)
    grad_x = mix * grad_mixed + torch.cat([grad_previous[1:], torch.zeros_like(x[:1])])
    grad_mix = (grad_mixed * (x - previous)).sum(0)
    grad_w = mixed.T @ grad_inner
    return grad_x, grad_mix, grad_w


# name of the function: its inputs
INPUTS = {
    "window_attention": lambda: draw((5, 4), (7, 4), (7, 3)),
    "causal_attention": lambda: draw((2, 4, 3), (2, 6, 3), (2, 6, 5)),
    "grouped_query_attention": lambda: draw((4, 5, 3), (2, 6, 3), (2, 6, 2)),
    "blockwise_attention": lambda: draw((5, 3), (8, 3), (8, 2)),
    "alibi_attention": lambda: draw((2, 5, 3), (2, 5, 3), (2, 5, 4), (2,)),
    "rotary_scores": lambda: [*draw((5, 6), (7, 6)), torch.tensor([8, 4, 1])],
    "linear_attention": lambda: draw((6, 3), (6, 3), (6, 4)),
    "cosine_attention": lambda: draw((5, 3), (7, 3), (7, 4), ()),
    "attention_pool": lambda: [
        *draw((3, 5, 4), (4,)),
        torch.tensor(1.7, dtype=torch.float64),
        torch.arange(5) < torch.tensor([5, 2, 3])[:, None],
    ],
    "gated_recurrence": lambda: draw((7, 4), (7, 4), (4,)),
    "padded_recurrence": lambda: [*draw((3, 6, 4), (4, 4)), torch.tensor([6, 3, 2])],
    "moving_average": lambda: draw((8, 3), (3,)),
    "cumulative_share": lambda: draw((4, 7), (4, 7)),
    "stick_breaking": lambda: draw((4, 6), (6, 3)),
    "advantages": lambda: [*draw((8, 3), (9, 3)), torch.arange(24).reshape(8, 3) % 5 == 3],
    "gated_rms_norm": lambda: draw((6, 6), (6,), (6, 6)),
    "add_layer_norm": lambda: draw((7, 5), (7, 5), (5,), (5,)),
    "group_norm_silu": lambda: draw((3, 4, 5), (4,), (4,)),
    "top_two_gating": lambda: draw((7, 3), (3, 4), (4, 3, 2)),
    "sequence_loss": lambda: [
        *draw((3, 5, 4), (4,)),
        torch.tensor([[1, 0, 3, 2, 2], [0, 3, 1, 1, 0], [2, 2, 0, 1, 3]]),
        torch.tensor([5, 2, 3]),
    ],
    "causal_conv": lambda: draw((9, 4), (4, 3), (4,)),
    "window_energy": lambda: draw((3, 13), (5,)),
    "bag_direction": lambda: [
        *draw((6, 4)),
        torch.tensor([[1, 4, 1, 3, 5], [2, 3, 5, 0, 0], [4, 1, 2, 0, 4]]),
        torch.tensor([5, 2, 3]),
    ],
    "token_shift": lambda: draw((7, 4), (4,), (4, 5)),
}

# (function, the text in the source of its backward, what stands there by mistake, what a person would call it,
#  a regular expression that a right name of the mistake would match)
MISTAKES = [
    (
        "window_attention",
        "distance < 3",
        "distance < 4",
        "the window is one too wide",
        r"window|mask|wide|band|moved|shift|off by one|boundar|argument|condition|< 3|< 4|compar",
    ),
    (
        "window_attention",
        "[:, None] + (m - n) - torch",
        "[:, None] - torch",
        "the positions of the queries begin at the first key, at the top left in place of the bottom right",
        r"mask|align|corner|top.left|bottom.right|moved|shift|position|offset|distance|condition",
    ),
    (
        "window_attention",
        "grad_scores.T @ q * scale",
        "grad_scores.T @ q",
        "the scale is forgotten for the keys",
        r"scal|factor|constant|multipl|times|sqrt|root",
    ),
    (
        "causal_attention",
        "tril(m - n)",
        "tril(m - n - 1)",
        "the diagonal is masked away: the causal mask is off by one",
        r"mask|diagonal|off by one|moved|shift|tril|causal|triang|align|boundar|position|strict",
    ),
    (
        "causal_attention",
        ".sum(-1) - grad_lse",
        ".sum(-1)",
        "the gradient of the second output, the logsumexp, is forgotten",
        r"second output|output 1|output 2|other output|lse|logsumexp|aux|ignored|unused|forgot|missing|left out|lost",
    ),
    (
        "causal_attention",
        "grad_scores @ k",
        "grad_scores @ k * scale",
        "the scale is applied twice for the queries",
        r"scal|factor|constant|twice|multipl|times|sqrt|root",
    ),
    (
        "causal_attention",
        "weights.mT @ grad\n",
        "weights.mT @ result\n",
        "the output stands in place of its gradient in the gradient of the values",
        r"in place of|instead of|for its gradient|output itself|does not depend on grad|independent of|not linear"
        r"|stands in for grad_out"
        r"|value.*gradient|ignores",
    ),
    (
        "grouped_query_attention",
        "grad_keys.unflatten(0, (heads, group)).sum(1)",
        "grad_keys[::group]",
        "only the first head of each group counts for the keys",
        r"only the first|first (head|of|member)|(others?|second|rest|heads?) .*(lost|left out|missing|forgot|dropped)"
        r"|of every 2 in dimension 0"
        r"|not summed|(lost|left out|missing|dropped) .*(heads?|group|members?|sum)|part of the sum",
    ),
    (
        "grouped_query_attention",
        "grad_values.unflatten(0, (heads, group)).sum(1)",
        "grad_values.unflatten(0, (group, heads)).sum(0)",
        "the values' gradient is summed over the wrong heads, as if repeat had been used for repeat_interleave",
        r"summed over|sum .*wrong|wrong (members?|sum|axis)|over the wrong|unflatten|permut|mixed up|layout|stride"
        r"|as if it were repeat"
        r"|reshap|rows .*(swapped|moved|exchanged)|transpos",
    ),
    (
        "grouped_query_attention",
        "grad_values.unflatten(0, (heads, group)).sum(1)",
        "grad_values.unflatten(0, (heads, group)).mean(1)",
        "mean in place of sum over the heads of a group",
        r"\bmean|average|divided|half|halv|factor|scal|1 ?/ ?2|0\.5|number of|too small",
    ),
    (
        "grouped_query_attention",
        "k.repeat_interleave(group, 0)",
        "k.repeat(group, 1, 1)",
        "the keys are repeated in the wrong order: repeat in place of repeat_interleave",
        r"repeated|\brepeat\b in place|\bin the wrong order|permut|swap|wrong keys?|mixed up|another head|layout"
        r"|were repeat"
        r"|stride|tile",
    ),
    (
        "blockwise_attention",
        "grad_scores2 @ k2",
        "grad_scores2 @ k1",
        "the second block is multiplied by the keys of the first (stale block)",
        r"stale|keys? of the first|first (half|block).*(in place|instead|twice|for)"
        r"|of the step before"
        r"|(wrong|other) (block|half|rows|keys|operand)|k1|in place of|instead of|moved|shift",
    ),
    (
        "blockwise_attention",
        "scores2 - lse",
        "scores2 - scores2.logsumexp(-1, keepdim=True)",
        "the second block's weights are normalized by the block's own sum",
        r"normali|own sum|local|logsumexp|lse|softmax|denominator|rescal|total",
    ),
    (
        "blockwise_attention",
        "grad_scores1 @ k1 + grad_scores2 @ k2",
        "grad_scores2 @ k2",
        "the second block overwrites the first in the queries' gradient",
        r"overwr|last (block|one|half)|lost|left out|missing|forgot|accumul|only the second|\bterm|part of the sum"
        r"|dropped",
    ),
    (
        "alibi_attention",
        "(grad_weights * weights).sum(-1, keepdim=True)",
        "(grad_weights * weights).sum(-2, keepdim=True)",
        "the softmax's sum goes over the queries in place of the keys",
        r"axis|dim|over the (queries|columns|rows)|softmax|transpos|broadcast|along",
    ),
    (
        "alibi_attention",
        "-(grad_scores * distance).sum((1, 2))",
        "(grad_scores * distance).sum((1, 2))",
        "the sign of the slopes' gradient",
        r"\bsign|negat|minus|opposite|-1\b",
    ),
    (
        "rotary_scores",
        "turn(grad_turned_q, cos[:n], -sin[:n])",
        "turn(grad_turned_q, cos[:n], sin[:n])",
        "the gradient is rotated forwards again in place of back",
        r"\brotat(ed|es|ion) (forw|back|on|by|in|of|the|is)|turn(ed|s)? (the|forw|on|by|back)|inverse|transpos|\bsign"
        r"|sin\b|angle|direction|orthogonal|negat",
    ),
    (
        "rotary_scores",
        "grad_scores.T @ turned_q",
        "grad_scores.T @ q",
        "the queries as they were before the rotation are used for the keys' gradient",
        r"before|unrotated|not (rotated|turned)|(in place|instead) of .*turned_q|\bq\b (stands|in place|instead|for)"
        r"|(rotation|turn) .*(miss|forgot|left)|wrong (operand|value|tensor)|\braw\b",
    ),
    (
        "rotary_scores",
        "(out / 2).square()",
        "out.square()",
        "the derivative of the soft cap: tanh's square lacks the division by the cap",
        r"tanh|cap\b|activation|derivative|squar|factor|scal|divi|elementwise",
    ),
    (
        "linear_attention",
        "(features_q * grad_total).flip(0).cumsum(0).flip(0)",
        "(features_q * grad_total).cumsum(0)",
        "the cumulative sum of the normalizer is not reversed",
        r"revers|direction|flip|cumsum|cumulative|backwards?\b.*time|forwards?\b|\border|scan|past|future|transpos|prefix"
        r"|suffix",
    ),
    (
        "linear_attention",
        " + grad_sums",
        "",
        "the normalizer's part of the keys' gradient is left out",
        r"denominator|left out|missing|forgot|lost|\bterm|constant|divi|quotient|total",
    ),
    (
        "cosine_attention",
        "(grad_unit_k - unit_k * (grad_unit_k * unit_k).sum(-1, keepdim=True)) / norm_k",
        "grad_unit_k / norm_k",
        "the keys' norm is taken for a constant: the normalization's projection is missing",
        r"normali|norm\b|projec|identity|constant|radial|detach|along|unit|\bterm|left out|missing|inner",
    ),
    (
        "cosine_attention",
        "(grad_scores * scores).sum()",
        "(grad_scores * similarity).sum()",
        "exp's derivative is forgotten in the gradient of the logarithmic scale",
        r"\bexp\b|exp's|logarithm|derivative|factor|scal|chain|multipl|log_scale",
    ),
    (
        "attention_pool",
        "grad_x = weights[..., None] * grad_out[:, None] + grad_raw",
        "grad_x = grad_raw",
        "the part of the items as values is left out: only that through the weights is there",
        r"left out|missing|forgot|lost|\bterm|values?\b|direct|only .*(weights|scores|softmax)|\bpath|branch|dropped",
    ),
    (
        "attention_pool",
        "temperature.square()",
        "temperature",
        "the temperature's derivative lacks a division by the temperature: 1 / T in place of 1 / T^2",
        r"temperature|squar|power|quotient|divi|factor|scal|reciproc|twice",
    ),
    (
        "gated_recurrence",
        "before[t] - x[t]",
        "out[t] - x[t]",
        "the state after the step is used in place of that before it",
        r"state|step (after|before)|moved|shift|off by one|after|\bnext|previous|before|neighbo"
        r"|(in place|instead) of|\blate|early",
    ),
    (
        "gated_recurrence",
        "carry = grad_state * a[t]",
        "carry = grad_state * a[t - 1]",
        "the carried gradient decays by the gate of the wrong step",
        r"decay|\bgate|wrong step|moved|shift|off by one|neighbo|previous|next|step before|a\[t|index|position|roll",
    ),
    (
        "padded_recurrence",
        "grad_inner @ w.T",
        "grad_inner @ w",
        "the recurrent matrix is not transposed",
        r"transpos|w\.T|matrix",
    ),
    (
        "padded_recurrence",
        "t < lengths",
        "t <= lengths",
        "the padding mask is off by one: the first step of the padding counts as a step",
        r"mask|off by one|length|paddi?n?g?\b|moved|shift|boundar|condition|<=|compar|one too",
    ),
    (
        "padded_recurrence",
        "torch.where(going, grad_inner @ w.T, grad_state)",
        "grad_inner @ w.T",
        "the gradient isn't handed on through sequences that have ended",
        r"hand(ed)? on|carr|through|\bended|where|branch|\belse|pass(ed)?|other side|lost|left out|missing|forgot"
        r"|frozen|cut",
    ),
    (
        "moving_average",
        "grad_average * (1 - decay)\n",
        "grad_average\n",
        "the factor 1 - decay is forgotten in the gradient of the input",
        r"factor|1 - decay|scal|multipl|forgot|missing|left out|constant",
    ),
    (
        "moving_average",
        "decay ** (steps - 1)",
        "decay**steps",
        "the derivative of the power keeps the exponent: t d^t in place of t d^(t - 1)",
        r"power|exponent|derivative|off by one|correction|\bpow\b|moved|shift|decay\*\*",
    ),
    (
        "cumulative_share",
        " + grad_sums + grad_total",
        " + grad_total",
        "the reversed cumulative sum is exclusive in place of inclusive",
        r"exclusive|inclusive|diagonal|off by one|own (step|position|element)|moved|shift|itself|cumsum|cumulative"
        r"|self|suffix|scan",
    ),
    (
        "cumulative_share",
        " + grad_sums + grad_total",
        " + grad_sums",
        "the total is taken for a constant: the normalization's term is left out",
        r"total|normaliz|constant|denominator|quotient|divi|left out|missing|forgot|\bterm|identity|detach",
    ),
    (
        "stick_breaking",
        ".flip(1) - grad_before",
        ".flip(1)",
        "the reversed cumulative sum is inclusive in place of exclusive",
        r"exclusive|inclusive|diagonal|off by one|own (step|position|element)|moved|shift|itself|cumsum|cumulative"
        r"|self|suffix|scan",
    ),
    (
        "stick_breaking",
        "(grad_left * left)[:, None]",
        "grad_left[:, None]",
        "exp's derivative is forgotten for what is left of the stick",
        r"\bexp\b|exp's|logarithm|derivative|factor|left of|second output|output 1|output 2|chain|multipl|\bleft\b",
    ),
    (
        "advantages",
        "in range(len(rewards))",
        "in reversed(range(len(rewards)))",
        "the scan of the backward pass runs in the direction of the forward's",
        r"revers|direction|\border|flip|scan|forwards?\b|backwards? in|past|future|transpos|recurren|carry",
    ),
    (
        "advantages",
        "grad_returns - grad_errors",
        "-grad_errors",
        "the values' own part of the returns is left out",
        r"returns|second output|output 1|output 2|left out|missing|lost|\bterm|direct(ly)?\b|own part|residual|skip"
        r"|\bpath",
    ),
    (
        "advantages",
        "0.9 * alive * grad_errors",
        "0.9 * grad_errors",
        "the mask of ended episodes is forgotten for the next values",
        r"mask|alive|done|episode|\bended|where|leak|unmasked",
    ),
    (
        "gated_rms_norm",
        "(grad_normal * normal).mean(-1, keepdim=True)",
        "(grad_normal * normal).mean(-1)",
        "the row's term is broadcast along the columns: keepdim is missing",
        r"broadcast|keepdim|axis|dim\b|transpos|along|per.row|row.*column",
    ),
    (
        "gated_rms_norm",
        "grad_out + inverse *",
        "inverse *",
        "the residual connection is forgotten",
        r"residual|skip|identity|grad_out|direct|left out|forgot|lost|(a|one) term|\bpath"
        r"|missing (from|in|\bterm|part|addend)",
    ),
    (
        "gated_rms_norm",
        "(s + silu * (1 - s))",
        "s * (1 - s)",
        "the derivative of the sigmoid stands in for that of silu",
        r"silu|swish|sigmoid|activation|derivative|elementwise|\bgate",
    ),
    (
        "add_layer_norm",
        "correction=0",
        "correction=1",
        "the variance is the unbiased one",
        r"varian|unbiased|bessel|correction|n - 1|\beps|sigma|standard dev|normalized by"
        r"|n − 1"
        r"|normalization's (scale|factor)|scal|factor",
    ),
    (
        "add_layer_norm",
        "grad_normal - mean - normal * inner",
        "grad_normal - normal * inner",
        "the term of the mean is left out of the normalization's derivative",
        r"\bmean\b|centr|center|projec|left out|missing|forgot|\bterm|constant (vector|direction|row)|average",
    ),
    (
        "add_layer_norm",
        "grad_bias = grad.sum(0)",
        "grad_bias = grad[:-2].sum(0)",
        "the last two rows are lost from the sum for the bias",
        r"last|rows?\b.*(lost|left|miss|drop|not)|(lost|left out|missing|dropped).*rows?\b|two rows"
        r"|slices 5 to 6 of dimension 0"
        r"|(rows?|positions?) 5|part of the sum|tail|end of",
    ),
    (
        "add_layer_norm",
        "grad_y = grad_sum",
        "grad_y = grad_sum + grad_total",
        "the gradient of the second output is counted twice for y",
        r"twice|double|two times|second output|output 1|output 2|grad_total|once too|again|2 times",
    ),
    (
        "group_norm_silu",
        "(grad_normal * normal).mean((-2, -1), keepdim=True)",
        "(grad_normal * normal).mean(-1, keepdim=True)",
        "a mean goes over each channel in place of the whole group",
        r"channel|group|axis|axes|dim\b|dimension|\bmean|over (each|only|the)",
    ),
    (
        "group_norm_silu",
        "(grad_z * weight[:, None])",
        "grad_z",
        "the weight is forgotten on the way to the input",
        r"weight|factor|affine|scal|gamma|multipl|forgot|missing|left out",
    ),
    (
        "top_two_gating",
        "(grad_gates - (grad_gates * gates).sum(-1, keepdim=True)) / total",
        "grad_gates / total",
        "the sum of the gates is taken for a constant: the renormalization's term is left out",
        r"normaliz|constant|total|denominator|quotient|divi|projec|identity|\bterm|left out|missing|forgot|detach",
    ),
    (
        "top_two_gating",
        "scatter(-1, chosen, gates)",
        "scatter(-1, chosen[:, :1], gates[:, :1])",
        "only the best expert counts: the second one is lost",
        r"only the (best|first)|best expert|second (expert|one|best|choice)|lost|dropped|top.?1"
        r"|expert.*(left out|missing|forgot)|(left out|missing|forgot).*expert"
        r"|part of the sum|experts?\b.*not",
    ),
    (
        "sequence_loss",
        "mask.sum()",
        "mask.numel()",
        "divided by the number of all tokens in place of those that are no padding",
        r"number of|count|numel|divi|factor|scal|\bmean|average|denominator|constant",
    ),
    (
        "sequence_loss",
        "* mask[..., None]",
        "* ~mask[..., None]",
        "the padding mask is inverted",
        r"mask|invert|padding (counts|in place|only)|complement|negat|opposite|length|where|condition",
    ),
    (
        "causal_conv",
        "grad_padded[tap : tap + length] += grad_inner",
        "grad_padded[tap : tap + length] = grad_inner",
        "overlapping windows overwrite one another: the last tap wins",
        r"overwr|overlap|last (tap|one|write|window)|accumul|wins|lost|left out|missing|added up|not summed|dropped"
        r"|one place the first alone stays"
        r"|part of the sum",
    ),
    (
        "causal_conv",
        "grad_padded[size - 1 :]",
        "grad_padded[: 1 - size]",
        "the padding is cut off at the wrong end: the gradient is moved by two steps",
        r"moved|shift|wrong end|padd|offset|off by|cut|roll|align|position|displac|delay",
    ),
    (
        "window_energy",
        "range(frames.shape[1])",
        "range(frames.shape[1] - 1)",
        "the last window is lost",
        r"last|lost|(window|frame|position|row|element|block)s?\b.*(left out|missing|dropped|forgot)|dropped|end\b|tail"
        r"|slice 4 of dimension 1"
        r"|(left out|missing|forgot).*(window|frame|position|row|element|block)|one (window|frame) too|part of the sum",
    ),
    (
        "window_energy",
        "weights * (grad_weights - (grad_weights * weights).sum())",
        "weights * grad_weights",
        "the softmax's sum term is left out",
        r"softmax|normaliz|projec|sum term|term of the sum|inner product|diagonal|constant|left out of|subtract",
    ),
    (
        "bag_direction",
        "torch.where(mask[..., None], grad_items, 0)",
        "grad_items",
        "the padding mask is forgotten: the padding's embedding gets gradients",
        r"mask|padd|where|leak|length",
    ),
    (
        "bag_direction",
        "accumulate=True",
        "accumulate=False",
        "embeddings that occur repeatedly get only the last gradient",
        r"accumul|repeat|last|overwr|duplicat|more than once|wins|collision|occur|several times|index_put|scatter",
    ),
    (
        "token_shift",
        "torch.cat([grad_previous[1:], torch.zeros_like(x[:1])])",
        "torch.cat([torch.zeros_like(x[:1]), grad_previous[:-1]])",
        "the gradient is shifted in the direction of the forward pass in place of back",
        r"shift|moved|direction|roll|wrong way|position|steps? (late|early|too|forw|back|away)|transpos"
        r"|forwards?\b|off by|neighbo",
    ),
    (
        "token_shift",
        "grad_mixed * (x - previous)",
        "grad_mixed * x",
        "the previous step's part is left out of the gradient of the mix",
        r"previous|left out|missing|forgot|lost|\bterm|1 - mix|subtract|difference",
    ),
]
