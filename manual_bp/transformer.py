"""A decoder of attention blocks, in GPT-2's form and in Llama's, and its derivatives block by block.

Every line of a forward has its line in the backward beside it, last line first. The parameters and their gradients are
named, and laid out, as in Hugging Face's GPT2LMHeadModel and LlamaForCausalLM.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from os import PathLike
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import Tensor

from manual_bp import _checks, checkpoint, hugging_face, training
from manual_bp._checks import Values as Tokens
from manual_bp._console import Silent, console
from manual_bp.adamw import AdamW
from manual_bp.rules import (
    Affine,
    Embedding,
    LayerNorm,
    RMSNorm,
    RotaryEmbedding,
    ScaledDotProductAttention,
    SoftmaxCrossEntropy,
    SwiGLU,
    TanhGELU,
)
from manual_bp.training import DivergedError, History
from manual_bp.transformer_in_place import InPlace

Form = Literal["gpt2", "llama"]
Parameters = Mapping[str, Tensor]
IGNORED = -100  # a target that counts for nothing


@dataclass(frozen=True)
class Configuration:
    """What a transformer is made of.

    =============  ==================================================================
    form           "gpt2" or "llama"
    vocabulary V   how many tokens there are
    context C      the longest sequence
    width W        numbers in a position's vector
    layers         blocks
    heads          of the queries; each has W / heads numbers
    key_heads      of keys and values, shared by groups of query heads; as heads in GPT-2
    hidden H       numbers between the two products of the feed-forward layer
    tied           whether the head is the table of the token embedding
    eps            of the normalizations
    base           of the rotary frequencies base^(−2i/d), in Llama
    =============  ==================================================================

    Raises ValueError for numbers that do not divide each other, and for a form that does not exist.
    """

    form: Form
    vocabulary: int
    context: int
    width: int
    layers: int
    heads: int
    key_heads: int
    hidden: int
    tied: bool
    eps: float
    base: float = 10000.0

    def __post_init__(self) -> None:
        if self.form not in BLOCKS:
            raise ValueError(f"form: expected one of {', '.join(BLOCKS)}, got {self.form!r}")
        for name in ("vocabulary", "context", "width", "layers", "heads", "key_heads", "hidden"):
            _checks.count(name, getattr(self, name))
        if self.width % self.heads:
            raise ValueError(f"width: expected a multiple of the {self.heads} heads, got {self.width}")
        if self.heads % self.key_heads:
            raise ValueError(f"heads: expected a multiple of the {self.key_heads} key_heads, got {self.heads}")
        if self.form == "gpt2" and (self.key_heads != self.heads or not self.tied):
            raise ValueError(
                f"form: expected key_heads {self.heads} (as many as heads) and tied True in gpt2, got {self.key_heads} "
                f"and {self.tied}: choose llama for others"
            )
        if self.form == "llama" and self.width // self.heads % 2:
            raise ValueError(
                f"width: expected an even multiple of the {self.heads} heads (llama rotates pairs), got {self.width}"
            )

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter, by its name."""
        block = BLOCKS[self.form]
        of_block = {
            block.prefix.format(layer) + name: shape
            for layer in range(self.layers)
            for name, shape in block.shapes(self).items()
        }
        W, V = self.width, self.vocabulary
        if self.form == "gpt2":
            ends = {"transformer.wte.weight": (V, W), "transformer.wpe.weight": (self.context, W)}
            return ends | of_block | {"transformer.ln_f.weight": (W,), "transformer.ln_f.bias": (W,)}
        head = {} if self.tied else {"lm_head.weight": (V, W)}
        return {"model.embed_tokens.weight": (V, W)} | of_block | {"model.norm.weight": (W,)} | head


@dataclass(frozen=True)
class Values:
    """What a block computes, by the names in its forward."""

    x: Tensor
    a: Tensor
    q: Tensor
    k: Tensor
    v: Tensor
    o: Tensor
    y: Tensor
    m: Tensor
    h: Tensor
    g: Tensor
    out: Tensor


def split(x: Tensor, heads: int) -> Tensor:
    """[N, T, heads·d] as [N, heads, T, d]."""
    return x.reshape(*x.shape[:-1], heads, -1).transpose(1, 2)


def joined(x: Tensor) -> Tensor:
    """[N, heads, T, d] as [N, T, heads·d]."""
    return x.transpose(1, 2).flatten(-2)


class GPT2Block:
    """Attention and a feed-forward layer, each behind a LayerNorm and each added to what came in.

    Forward:
        a = LayerNorm(x),  (q, k, v) = a W_qkv + b_qkv, split into heads
        o = attention(q, k, v),  y = x + o W_o + b_o
        m = LayerNorm(y),  h = m W_h + b_h,  g = GELU(h)
        out = y + g W_out + b_out

    Shapes: x, a, o, y, m, out [N, T, W]; q, k, v [N, heads, T, d]; h, g [N, T, H]. The weights are laid out [in, out],
    as in GPT-2: the transposed of those of Affine.
    Source: Radford et al., Language Models are Unsupervised Multitask Learners (2019).
    """

    prefix = "transformer.h.{}."

    @staticmethod
    def shapes(c: Configuration) -> dict[str, tuple[int, ...]]:
        W, H = c.width, c.hidden
        return {
            "ln_1.weight": (W,), "ln_1.bias": (W,),
            "attn.c_attn.weight": (W, 3 * W), "attn.c_attn.bias": (3 * W,),
            "attn.c_proj.weight": (W, W), "attn.c_proj.bias": (W,),
            "ln_2.weight": (W,), "ln_2.bias": (W,),
            "mlp.c_fc.weight": (W, H), "mlp.c_fc.bias": (H,),
            "mlp.c_proj.weight": (H, W), "mlp.c_proj.bias": (W,),
        }  # fmt: skip

    @staticmethod
    def forward(x: Tensor, p: Parameters, c: Configuration) -> Values:
        a = LayerNorm.forward(x, p["ln_1.weight"], p["ln_1.bias"], eps=c.eps)
        qkv = Affine.forward(a, p["attn.c_attn.weight"].T, p["attn.c_attn.bias"])
        q, k, v = (split(part, c.heads) for part in qkv.chunk(3, -1))
        o = joined(ScaledDotProductAttention.forward(q, k, v, is_causal=True))
        y = x + Affine.forward(o, p["attn.c_proj.weight"].T, p["attn.c_proj.bias"])
        m = LayerNorm.forward(y, p["ln_2.weight"], p["ln_2.bias"], eps=c.eps)
        h = Affine.forward(m, p["mlp.c_fc.weight"].T, p["mlp.c_fc.bias"])
        g = TanhGELU.forward(h)
        out = y + Affine.forward(g, p["mlp.c_proj.weight"].T, p["mlp.c_proj.bias"])
        return Values(x, a, q, k, v, o, y, m, h, g, out)

    @staticmethod
    def backward(grad_out: Tensor, t: Values, p: Parameters, c: Configuration) -> tuple[Tensor, dict[str, Tensor]]:
        """grad_x, and the gradients of the parameters."""
        grad_g, w_out, b_out = Affine.backward(grad_out, t.out, t.g, p["mlp.c_proj.weight"].T, p["mlp.c_proj.bias"])
        (grad_h,) = TanhGELU.backward(grad_g, t.g, t.h)
        grad_m, w_h, b_h = Affine.backward(grad_h, t.h, t.m, p["mlp.c_fc.weight"].T, p["mlp.c_fc.bias"])
        grad_y, ln_2, ln_2b = LayerNorm.backward(grad_m, t.m, t.y, p["ln_2.weight"], p["ln_2.bias"], eps=c.eps)
        grad_y = grad_out + grad_y  # y goes on, and into m
        grad_o, w_o, b_o = Affine.backward(grad_y, t.y, t.o, p["attn.c_proj.weight"].T, p["attn.c_proj.bias"])
        grads = ScaledDotProductAttention.backward(
            split(grad_o, c.heads), split(t.o, c.heads), t.q, t.k, t.v, is_causal=True
        )
        grad_qkv = torch.cat([joined(grad) for grad in grads[:3]], -1)
        grad_a, w_qkv, b_qkv = Affine.backward(
            grad_qkv, grad_qkv, t.a, p["attn.c_attn.weight"].T, p["attn.c_attn.bias"]
        )
        grad_x, ln_1, ln_1b = LayerNorm.backward(grad_a, t.a, t.x, p["ln_1.weight"], p["ln_1.bias"], eps=c.eps)
        return grad_y + grad_x, {
            "ln_1.weight": ln_1, "ln_1.bias": ln_1b,
            "attn.c_attn.weight": w_qkv.T, "attn.c_attn.bias": b_qkv,
            "attn.c_proj.weight": w_o.T, "attn.c_proj.bias": b_o,
            "ln_2.weight": ln_2, "ln_2.bias": ln_2b,
            "mlp.c_fc.weight": w_h.T, "mlp.c_fc.bias": b_h,
            "mlp.c_proj.weight": w_out.T, "mlp.c_proj.bias": b_out,
        }  # fmt: skip  # x goes on, and into a


class LlamaBlock:
    """The same with RMSNorm, positions as rotations of queries and keys, and SwiGLU; no bias anywhere.

    Forward:
        a = RMSNorm(x),  q = R(a W_qᵀ),  k = R(a W_kᵀ),  v = a W_vᵀ, split into heads, R the rotation by the position
        o = attention(q, k, v),  y = x + o W_oᵀ
        m = RMSNorm(y),  h = (m W_gateᵀ, m W_upᵀ),  g = SiLU(h_1) h_2
        out = y + g W_downᵀ

    Shapes: as in GPT2Block, but h [N, T, 2H], and k, v [N, key_heads, T, d]: a group of query heads shares each.
    Source: Touvron et al., LLaMA (2023); shared heads: Ainslie et al., GQA (2023).
    """

    prefix = "model.layers.{}."

    @staticmethod
    def shapes(c: Configuration) -> dict[str, tuple[int, ...]]:
        W, H, K = c.width, c.hidden, c.width // c.heads * c.key_heads
        return {
            "self_attn.q_proj.weight": (W, W), "self_attn.k_proj.weight": (K, W), "self_attn.v_proj.weight": (K, W),
            "self_attn.o_proj.weight": (W, W),
            "mlp.gate_proj.weight": (H, W), "mlp.up_proj.weight": (H, W), "mlp.down_proj.weight": (W, H),
            "input_layernorm.weight": (W,), "post_attention_layernorm.weight": (W,),
        }  # fmt: skip

    @staticmethod
    def forward(x: Tensor, p: Parameters, c: Configuration) -> Values:
        angle = angles(x, c)
        a = RMSNorm.forward(x, p["input_layernorm.weight"], eps=c.eps)
        q = turned(split(Affine.forward(a, p["self_attn.q_proj.weight"]), c.heads), angle)
        k = turned(split(Affine.forward(a, p["self_attn.k_proj.weight"]), c.key_heads), angle)
        v = split(Affine.forward(a, p["self_attn.v_proj.weight"]), c.key_heads)
        o = joined(ScaledDotProductAttention.forward(q, k, v, is_causal=True))
        y = x + Affine.forward(o, p["self_attn.o_proj.weight"])
        m = RMSNorm.forward(y, p["post_attention_layernorm.weight"], eps=c.eps)
        gate, up = Affine.forward(m, p["mlp.gate_proj.weight"]), Affine.forward(m, p["mlp.up_proj.weight"])
        g = SwiGLU.forward(gate, up)
        out = y + Affine.forward(g, p["mlp.down_proj.weight"])
        return Values(x, a, q, k, v, o, y, m, torch.cat((gate, up), -1), g, out)

    @staticmethod
    def backward(grad_out: Tensor, t: Values, p: Parameters, c: Configuration) -> tuple[Tensor, dict[str, Tensor]]:
        """grad_x, and the gradients of the parameters."""
        angle = angles(t.x, c)
        grad_g, w_down, _ = Affine.backward(grad_out, t.out, t.g, p["mlp.down_proj.weight"])
        gate, up = t.h.chunk(2, -1)
        grad_gate, grad_up = SwiGLU.backward(grad_g, t.g, gate, up)
        m_gate, w_gate, _ = Affine.backward(grad_gate, gate, t.m, p["mlp.gate_proj.weight"])
        m_up, w_up, _ = Affine.backward(grad_up, up, t.m, p["mlp.up_proj.weight"])
        grad_y, norm_2 = RMSNorm.backward(m_gate + m_up, t.m, t.y, p["post_attention_layernorm.weight"], eps=c.eps)
        grad_y = grad_out + grad_y  # y goes on, and into m
        grad_o, w_o, _ = Affine.backward(grad_y, t.y, t.o, p["self_attn.o_proj.weight"])
        grad_q, grad_k, grad_v, _ = ScaledDotProductAttention.backward(
            split(grad_o, c.heads), split(t.o, c.heads), t.q, t.k, t.v, is_causal=True
        )
        grad_q, grad_k = turned(grad_q, -angle), turned(grad_k, -angle)  # RotaryEmbedding, (1)
        a_q, w_q, _ = Affine.backward(joined(grad_q), t.q, t.a, p["self_attn.q_proj.weight"])
        a_k, w_k, _ = Affine.backward(joined(grad_k), t.k, t.a, p["self_attn.k_proj.weight"])
        a_v, w_v, _ = Affine.backward(joined(grad_v), t.v, t.a, p["self_attn.v_proj.weight"])
        grad_x, norm_1 = RMSNorm.backward(a_q + a_k + a_v, t.a, t.x, p["input_layernorm.weight"], eps=c.eps)
        return grad_y + grad_x, {
            "self_attn.q_proj.weight": w_q, "self_attn.k_proj.weight": w_k, "self_attn.v_proj.weight": w_v,
            "self_attn.o_proj.weight": w_o,
            "mlp.gate_proj.weight": w_gate, "mlp.up_proj.weight": w_up, "mlp.down_proj.weight": w_down,
            "input_layernorm.weight": norm_1, "post_attention_layernorm.weight": norm_2,
        }  # fmt: skip  # x goes on, and into a


def angles(x: Tensor, c: Configuration) -> Tensor:
    """The angle of each position and pair, t · base^(−2i/d): [T, d/2] of x [N, T, W]."""
    d = c.width // c.heads
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32  # bfloat16 could not tell positions apart
    frequency = c.base ** (-torch.arange(0, d, 2, dtype=dtype, device=x.device) / d)
    return torch.arange(x.shape[-2], dtype=dtype, device=x.device)[:, None] * frequency


def turned(x: Tensor, angle: Tensor) -> Tensor:
    """x [N, heads, T, d], its pairs turned by the angles, in its own dtype."""
    return RotaryEmbedding.forward(x, angle).to(x.dtype)


Block = type[GPT2Block] | type[LlamaBlock]
BLOCKS: dict[str, Block] = {"gpt2": GPT2Block, "llama": LlamaBlock}


@dataclass(frozen=True)
class Trace:
    """The forward phase: what every block computed, and the parameters that it came from.

    tokens [N, T]; x the last block's output and n its normalization, [N, T, W]; logits [N, T, V].
    """

    tokens: Tensor
    blocks: tuple[Values, ...]
    n: Tensor
    logits: Tensor
    parameters: Parameters

    @property
    def x(self) -> Tensor:
        return self.blocks[-1].out


@dataclass(frozen=True)
class Gradients:
    """The backward phase: the cost J, its derivatives by name, and the deltas at the borders of the blocks.

    delta[l] = ∂J/∂x, x being what goes into block l, [N, T, W]; the last one is of what the last block puts out.
    """

    J: Tensor
    parameters: Parameters
    delta: tuple[Tensor, ...]
    logits: Tensor


class Transformer:
    """A decoder that predicts the next token, trained by hand-written backward propagation.

    x = embedding of the tokens (and positions);  x = block(x), layer by layer;  logits = norm(x) W_headᵀ
    J = mean over the targets of −log softmax(logits)[target]

    configuration: what it is made of. parameters: by the names, and in the shapes, of Hugging Face's models; all of one
    floating dtype and device. They are copied. optimizer: how `step` goes on from a gradient. lean: whether `step`
    computes the values of a block and parts of the logits anew in its backward, instead of keeping them.

    Raises TypeError for what is no floating tensor outside of autograd, ValueError for names and shapes that do not
    fit.
    """

    def __init__(
        self, configuration: Configuration, parameters: Parameters, optimizer: AdamW | None = None, *,
        lean: bool = False,
    ) -> None:  # fmt: skip
        first = _checked(configuration, parameters)
        self.configuration = configuration
        self.optimizer = optimizer or AdamW()
        self._parameters = {
            name: parameters[name].clone(memory_format=torch.contiguous_format) for name in configuration.shapes
        }
        self.dtype, self.device = first.dtype, first.device
        self.lean = lean
        self._in_place: InPlace | None = None

    @classmethod
    def random(
        cls, *, vocabulary: int = 65, context: int = 64, width: int = 128, layers: int = 4, heads: int = 4,
        form: Form = "gpt2", key_heads: int | None = None, hidden: int | None = None, tied: bool | None = None,
        dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu", seed: int = 0,
        optimizer: AdamW | None = None, lean: bool = False,
    ) -> "Transformer":  # fmt: skip
        """A transformer of these sizes: weights normal with a deviation of 0.02, biases 0, norms 1.

        What goes back into the stream, the last product of attention and of the feed-forward layer, is smaller by
        √(2 layers), as in GPT-2. hidden is 4 W in GPT-2, and 8/3 W in Llama, in whole heads. The same seed gives the
        same numbers on every device, and in every dtype but for rounding.
        """
        is_gpt2 = form == "gpt2"
        wide = 4 * width if is_gpt2 else -(-8 * width // (3 * heads)) * heads
        c = Configuration(
            form, vocabulary, context, width, layers, heads, key_heads or heads, hidden or wide,
            is_gpt2 if tied is None else tied, 1e-5 if is_gpt2 else 1e-6,
        )  # fmt: skip
        generator = torch.Generator().manual_seed(seed)
        back = ("attn.c_proj.weight", "mlp.c_proj.weight", "o_proj.weight", "down_proj.weight")

        def draw(name: str, shape: tuple[int, ...]) -> Tensor:
            if name.endswith("bias"):
                return torch.zeros(shape, dtype=dtype, device=device)
            if len(shape) == 1:
                return torch.ones(shape, dtype=dtype, device=device)
            deviation = 0.02 / math.sqrt(2 * layers) if name.endswith(back) else 0.02
            return (deviation * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype).to(device)

        return cls(c, {name: draw(name, shape) for name, shape in c.shapes.items()}, optimizer, lean=lean)

    @classmethod
    def from_transformers(cls, model: Any, optimizer: AdamW | None = None) -> "Transformer":
        """The transformer that a GPT2LMHeadModel or a LlamaForCausalLM of Hugging Face's transformers is.

        The parameters are copied, in their dtype, on their device. There is no dropout here: the model's is left out.
        Raises TypeError for another class, ValueError, naming the setting, for what is not here: another activation,
        biases in Llama, scaled attention or rotations, a head untied in GPT-2.
        """
        settings, parameters = hugging_face.read(model)
        return cls(Configuration(**settings), parameters, optimizer)

    def to_transformers(self) -> Any:
        """The same as a GPT2LMHeadModel or a LlamaForCausalLM, without dropout, with copies of the parameters.

        Raises ImportError where transformers, an extra, is not installed.
        """
        return hugging_face.build(asdict(self.configuration), self._parameters)

    def save(self, file: str | PathLike[str], *, labels: checkpoint.Labels | None = None) -> None:
        """Write configuration and parameters to a file, for `load`, in the format of safetensors.

        The file is written whole or not at all. The parameters have Hugging Face's names in it, too. labels: its
        classes are what the tokens stand for, kept beside them. Raises ValueError where they are not as many as the
        vocabulary, FileNotFoundError where the directory is missing.
        """
        if labels and len(labels.classes) != self.configuration.vocabulary:
            raise ValueError(
                f"labels.classes: expected length {self.configuration.vocabulary} (a name for each token), "
                f"got {len(labels.classes)}"
            )
        checkpoint.save_transformer(file, asdict(self.configuration), self._parameters, labels)

    @classmethod
    def load(cls, file: str | PathLike[str], *, device: torch.device | str = "cpu") -> "Transformer":
        """The transformer that `save` wrote, on this device.

        Raises CheckpointError, a ValueError, for a file that is torn or holds something else; OSError for one that
        cannot be read.
        """

        def build(configuration: dict[str, Any], parameters: Parameters) -> "Transformer":
            return cls(Configuration(**configuration), {name: p.to(device) for name, p in parameters.items()})

        return checkpoint.load_transformer(file, build)[0]

    @property
    def parameters(self) -> Parameters:
        """The parameters as they are now, by name; a step replaces them."""
        self._in_place = None  # no step changes what is handed out: the next one copies it
        return MappingProxyType(self._parameters)

    def __repr__(self) -> str:
        c, count = self.configuration, sum(p.numel() for p in self._parameters.values())
        return (
            f"Transformer({c.form}, {c.layers} × {c.width}, {c.heads} heads, context {c.context}, vocabulary "
            f"{c.vocabulary}: {count:,} parameters, {self.dtype} on {self.device})"
        )

    def _names(self) -> tuple[str, str, str]:
        """Of the token embedding, the last norm, and the head."""
        c = self.configuration
        if c.form == "gpt2":
            return "transformer.wte.weight", "transformer.ln_f", "transformer.wte.weight"
        table = "model.embed_tokens.weight"
        return table, "model.norm", table if c.tied else "lm_head.weight"

    def _of_block(self, layer: int, parameters: Parameters) -> dict[str, Tensor]:
        prefix = BLOCKS[self.configuration.form].prefix.format(layer)
        return {name.removeprefix(prefix): p for name, p in parameters.items() if name.startswith(prefix)}

    def forward(self, tokens: Tensor) -> Trace:
        """Run the forward phase on tokens [N, T], whole numbers from 0 to V − 1, T at most the context.

        Raises TypeError for what is no tensor of whole numbers, ValueError for another shape, device or token.
        """
        c, p = self.configuration, dict(self.parameters)
        self._check_tokens("tokens", tokens)
        _checks.classes("tokens", tokens, c.vocabulary)
        tokens = tokens.long()  # by what has 8 bits torch would mask
        table, norm, head = self._names()
        x = Embedding.forward(tokens, p[table])
        if c.form == "gpt2":
            x = x + p["transformer.wpe.weight"][: tokens.shape[1]]
        blocks: list[Values] = []
        for layer in range(c.layers):
            blocks.append(BLOCKS[c.form].forward(blocks[-1].out if blocks else x, self._of_block(layer, p), c))
        if c.form == "gpt2":
            n = LayerNorm.forward(blocks[-1].out, p[f"{norm}.weight"], p[f"{norm}.bias"], eps=c.eps)
        else:
            n = RMSNorm.forward(blocks[-1].out, p[f"{norm}.weight"], eps=c.eps)
        return Trace(tokens, tuple(blocks), n, Affine.forward(n, p[head]), p)

    def cost(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The cost J, a 0-d tensor: the mean of −log softmax(logits)[target] over the targets that are not −100."""
        trace = self.forward(tokens)
        self._check_targets(tokens, targets)
        return _mean(SoftmaxCrossEntropy.forward(trace.logits, targets, ignore_index=IGNORED), targets)

    def backward(self, trace: Trace, targets: Tensor) -> Gradients:
        """Run the backward phase: the gradient of J by every parameter, from the parameters of the forward phase.

        targets [N, T]: the token that follows each one, −100 where none counts.
        """
        c, p = self.configuration, trace.parameters
        self._check_targets(trace.tokens, targets)
        table, norm, head = self._names()
        J_each = SoftmaxCrossEntropy.forward(trace.logits, targets, ignore_index=IGNORED)
        mean = torch.full_like(J_each, 1 / max(int((targets != IGNORED).sum()), 1))  # ∂J/∂J_nt
        grad_logits, _ = SoftmaxCrossEntropy.backward(mean, J_each, trace.logits, targets, ignore_index=IGNORED)
        grad_n, grad_head, _ = Affine.backward(grad_logits, trace.logits, trace.n, p[head])
        grads: dict[str, Tensor] = {head: grad_head}
        if c.form == "gpt2":
            grad_x, grads[f"{norm}.weight"], grads[f"{norm}.bias"] = LayerNorm.backward(
                grad_n, trace.n, trace.x, p[f"{norm}.weight"], p[f"{norm}.bias"], eps=c.eps
            )
        else:
            grad_x, grads[f"{norm}.weight"] = RMSNorm.backward(grad_n, trace.n, trace.x, p[f"{norm}.weight"], eps=c.eps)
        delta = [grad_x]
        block = BLOCKS[c.form]
        for layer in reversed(range(c.layers)):
            grad_x, of_block = block.backward(grad_x, trace.blocks[layer], self._of_block(layer, p), c)
            grads |= {block.prefix.format(layer) + name: grad for name, grad in of_block.items()}
            delta.insert(0, grad_x)
        grad_table = Embedding.backward(grad_x, grad_x, trace.tokens, p[table])[1]
        grads[table] = grad_table + grads[table] if head == table else grad_table  # a tied table is used twice
        if c.form == "gpt2":
            positions = torch.zeros_like(p["transformer.wpe.weight"])
            positions[: trace.tokens.shape[1]] = grad_x.sum(0)
            grads["transformer.wpe.weight"] = positions
        in_order = {name: grads[name] for name in self._parameters}
        return Gradients(_mean(J_each, targets), MappingProxyType(in_order), tuple(delta), grad_logits)

    def step(self, tokens: Tensor, targets: Tensor, rate: float) -> Tensor:
        """Train on one batch: forward, backward and the optimizer in one, in place (manual_bp/transformer_in_place.py).

        Returns the cost before it. Raises as `forward` and `backward` for tokens and targets, and for a rate that is
        no number from 0 on.
        """
        rate = _checks.number("rate", rate)
        self._check_tokens("tokens", tokens)
        _checks.classes("tokens", tokens, self.configuration.vocabulary)
        self._check_targets(tokens, targets)
        if self.dtype not in (torch.float32, torch.float64):
            return one_round(self, tokens, targets, rate).J
        if self._in_place is None or not self._in_place.is_of(self._parameters, self.optimizer):
            c, self._parameters = self.configuration, dict(self._parameters)
            self._in_place = InPlace(
                self._parameters, self.optimizer, form=c.form, heads=c.heads, key_heads=c.key_heads, eps=c.eps,
                base=c.base, lean=self.lean,
            )  # fmt: skip
        # In inference mode calls cost less; XLA has no views in it.
        with torch.no_grad() if tokens.device.type == "xla" else torch.inference_mode():
            J = self._in_place.step(tokens, targets, rate)
        return J.clone()  # outside of it: a tensor as any other

    def update(self, gradients: Gradients, rate: float) -> None:
        """One step of the optimizer with these gradients."""
        self._parameters = self.optimizer.step(self._parameters, gradients.parameters, _checks.number("rate", rate))

    def __getstate__(self) -> dict[str, object]:
        return vars(self) | {"_in_place": None}

    def fit(
        self,
        data: Tokens,
        *,
        rate: float,
        steps: int,
        batch_size: int,
        seed: int = 0,
        held_out: Tokens | None = None,
        every: int = 100,
        file: str | PathLike[str] | None = None,
        progress: bool = True,
    ) -> History:
        """Train for so many steps; returns the cost of each, as history.cost[-1].

        data [tokens]: a text of more tokens than the context C. A step takes batch_size windows of C + 1 of them, drawn
        at random: C tokens, and what follows each. The same seed draws the same ones on every device. held_out: another
        text, on which the transformer is evaluated after each `every` steps. progress: a bar, in a terminal or a
        notebook.

        file: a checkpoint, written after each `every` steps and the last one. If it is there, the training goes on from
        it, and ends with the same numbers as if it had not been interrupted; more steps, or another rate, may be asked
        for, and those that it holds count. Raises CheckpointError, a ValueError, for a file that is torn, none, or of
        another training or other data; FileNotFoundError where its directory is missing.

        Raises TypeError or ValueError for a text that does not fit; DivergedError, an ArithmeticError, where after
        `every` steps the cost or a parameter is not finite, or the cost 10,000 times that of the first step: the
        transformer is then as it was before them.
        """
        for what, value in (("steps", steps), ("batch_size", batch_size), ("every", every)):
            _checks.count(what, value)
        rate = _checks.number("rate", rate)
        data = self._text("data", data)
        held_out = None if held_out is None else self._text("held_out", held_out)
        c, history = self.configuration, History()
        if file is not None:
            run = self._run(data, held_out, batch_size, seed, every)
            history = checkpoint.resume_steps(file, run, self._take_checked)
        windows = training.windows(data, c.context + 1, steps=steps, batch_size=batch_size, seed=seed)
        left = islice(windows, len(history.cost), None)
        before = self._state()
        with training.threads_for((c.vocabulary, c.width, c.hidden), batch_size * c.context):
            for done in training.steps_of(
                lambda window: self.step(window[:, :-1], window[:, 1:], rate),
                left,
                history,
                console(stderr=True) if progress else Silent(),
                steps=steps,
                every=every,
            ):
                try:
                    training.refuse_diverged_steps(history.cost, self._parameters.values(), rate)
                except DivergedError:
                    self._take(*before)
                    raise
                before = self._state()
                if held_out is not None and done % every == 0:
                    history.add_held_out(self.evaluate(held_out, batch_size=batch_size), None)
                if file is not None:
                    checkpoint.save_steps(file, run, *before, history)
        return history

    def evaluate(self, data: Tokens, *, batch_size: int) -> float:
        """The mean cost of a text [tokens], of ten batches of windows at most, which lie evenly spread in it.

        Raises as `fit` for a text that does not fit.
        """
        _checks.count("batch_size", batch_size)
        data = self._text("data", data)
        windows = training.spread(data, self.configuration.context + 1, 10 * batch_size)
        costs = [float(self.cost(w[:, :-1], w[:, 1:])) * len(w) for w in windows.split(batch_size)]
        return sum(costs) / len(windows)

    def _run(self, data: Tensor, held_out: Tensor | None, batch_size: int, seed: int, every: int) -> dict[str, object]:
        """What a training that a checkpoint takes up must have in common with this one."""
        optimizer = self.optimizer
        return asdict(self.configuration) | {
            "dtype": str(self.dtype), "betas": list(optimizer.betas), "optimizer_eps": optimizer.eps,
            "decay": optimizer.decay, "clip": optimizer.clip, "data": checkpoint.digest(data),
            "held_out": "none" if held_out is None else checkpoint.digest(held_out), "batch_size": batch_size,
            "seed": seed, "every": every,
        }  # fmt: skip

    def _state(self) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, Tensor]], int]:
        """The parameters, the optimizer's moments of each, and its steps: tensors that no training changes any more."""
        parameters = {name: p.clone() for name, p in self._parameters.items()}  # a step changes them in place
        moments = {name: (m.clone(), v.clone()) for name, (m, v) in self.optimizer.moments.items()}
        return parameters, moments, self.optimizer.steps

    def _take(self, parameters: dict[str, Tensor], moments: dict[str, tuple[Tensor, Tensor]], steps: int) -> None:
        """Go on from there."""
        self._parameters, self._in_place = parameters, None
        self.optimizer.moments, self.optimizer.steps = moments, steps

    def _take_checked(self, parameters: Parameters, moments: Mapping[str, tuple[Tensor, Tensor]], steps: int) -> None:
        """The same from whatever device they are on; refuses what does not fit."""
        here: list[dict[str, Tensor]] = []
        for of_kind in (parameters, *({name: of[i] for name, of in moments.items()} for i in (0, 1))):
            _checked(self.configuration, of_kind)
            here.append({name: of_kind[name].to(self.device) for name in self._parameters})  # a file has its own order
            _checks.like("parameters", next(iter(here[-1].values())), self.dtype, self.device)
        new, m, v = here
        self._take(new, {name: (m[name], v[name]) for name in new}, _checks.count("steps", steps))

    def generate(self, prompt: Tokens, count: int, *, seed: int = 0, temperature: float = 1.0) -> Tensor:
        """The prompt [T] or [N, T], and so many tokens more, each drawn from softmax(logits / temperature).

        Of what is longer than the context only the last part is looked at. temperature 0 takes the likeliest. Raises as
        `forward` for the prompt, TypeError or ValueError for a count that is no whole number from 1 and a temperature
        that is no number from 0.
        """
        _checks.count("count", count)
        temperature = _checks.not_negative("temperature", temperature)
        prompt = _checks.integers("prompt", _checks.tensor("prompt", prompt, None, self.device))
        _checks.on_device("prompt", prompt, self.device)
        if prompt.dim() not in (1, 2) or not prompt.numel():
            raise ValueError(f"prompt: expected shape [T] or [N, T] with at least one token, got {list(prompt.shape)}")
        _checks.classes("prompt", prompt, self.configuration.vocabulary)
        tokens = (prompt if prompt.dim() == 2 else prompt[None]).long()
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            first = max(tokens.shape[1] - self.configuration.context, 0)  # XLA has no place before the first one
            logits = self.forward(tokens[:, first:]).logits[:, -1].double().cpu()
            if temperature:
                below = logits - logits.amax(-1, keepdim=True)  # which no temperature takes to infinity
                drawn = torch.multinomial(torch.softmax(below / temperature, -1), 1, generator=generator)
            else:
                drawn = logits.argmax(-1, keepdim=True)
            tokens = torch.cat((tokens, drawn.to(tokens.device)), 1)
        return tokens if prompt.dim() == 2 else tokens[0]

    def _text(self, what: str, data: Tokens) -> Tensor:
        """Tokens in a row, of which there is a window at least."""
        data = _checks.integers(what, _checks.tensor(what, data, None, self.device))
        _checks.on_device(what, data, self.device)
        context = self.configuration.context
        if data.dim() != 1 or len(data) <= context:
            raise ValueError(
                f"{what}: expected shape [tokens], longer than the context of {context}, got {list(data.shape)}"
            )
        _checks.classes(what, data, self.configuration.vocabulary)
        return data.long()

    def _check_tokens(self, what: str, tokens: Tensor) -> None:
        _checks.integers(what, tokens)
        _checks.on_device(what, tokens, self.device)
        context = self.configuration.context
        if tokens.dim() != 2 or not tokens.numel() or tokens.shape[1] > context:
            raise ValueError(
                f"{what}: expected shape [N, T] with at least one token and T at most the context of {context}, "
                f"got {list(tokens.shape)}"
            )

    def _check_targets(self, tokens: Tensor, targets: Tensor) -> None:
        _checks.integers("targets", targets)
        _checks.on_device("targets", targets, self.device)
        _checks.shape("targets", targets, tokens.shape, "that of tokens")
        _checks.classes("targets", targets.where(targets != IGNORED, 0), self.configuration.vocabulary)


def _mean(J_each: Tensor, targets: Tensor) -> Tensor:
    """Over the targets that count."""
    return J_each.sum() / max(int((targets != IGNORED).sum()), 1)


def _checked(configuration: Configuration, parameters: Parameters) -> Tensor:
    """The first of the parameters; refuses other names and shapes than the configuration's, and several dtypes."""
    expected = configuration.shapes
    if {*parameters} != {*expected}:
        missing = ", ".join(name for name in expected if name not in parameters) or "none"
        more = ", ".join(name for name in parameters if name not in expected) or "none"
        raise ValueError(
            f"parameters: expected the {len(expected)} names in configuration.shapes, got others: missing {missing}; "
            f"unexpected {more}"
        )
    name = next(iter(expected))
    first = _checks.floating(name, parameters[name])
    for name, shape in expected.items():
        _checks.like(name, parameters[name], first.dtype, first.device)
        _checks.shape(name, parameters[name], shape, "that of the configuration")
    return first


def one_round(net: Transformer, tokens: Tensor, targets: Tensor, rate: float) -> Gradients:
    """One round of training as it is derived: the forward phase, the backward phase, and a step of the optimizer."""
    gradients = net.backward(net.forward(tokens), targets)
    net.update(gradients, rate)
    return gradients
