"""GPT-2 and Llama as Hugging Face's transformers has them: its config as ours, its model from our parameters."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# The form of each of its classes, and the settings of its config that a Configuration has no name for: all that is
# not written here is refused.
FORMS = {"GPT2LMHeadModel": "gpt2", "LlamaForCausalLM": "llama"}
ONLY: dict[str, dict[str, tuple[object, ...]]] = {
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),  # two names of one formula
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "add_cross_attention": (False,),
        "tie_word_embeddings": (True,),
    },
    "llama": {"hidden_act": ("silu",), "attention_bias": (False,), "mlp_bias": (False,)},
}


def read(model: Any) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The settings of a Configuration, by name, and the parameters of a model.

    Raises TypeError for another class, ValueError for what a Configuration cannot say.
    """
    form = FORMS.get(type(model).__name__)
    if form is None:
        raise TypeError(f"model: expected a {' or a '.join(FORMS)} of transformers, got {type(model).__name__}")
    c = model.config
    for name, allowed in ONLY[form].items():
        _refuse_others(name, getattr(c, name), *allowed)
    settings = {
        "form": form,
        "vocabulary": c.vocab_size,
        "context": c.max_position_embeddings,
        "width": c.hidden_size,
        "layers": c.num_hidden_layers,
        "heads": c.num_attention_heads,
        "tied": c.tie_word_embeddings,
    }
    if form == "gpt2":
        settings |= {"key_heads": c.n_head, "hidden": c.n_inner or 4 * c.n_embd, "eps": c.layer_norm_epsilon}
    else:
        _refuse_others("head_dim", c.head_dim, c.hidden_size // c.num_attention_heads)
        _refuse_others("rope_parameters: rope_type", c.rope_parameters["rope_type"], "default")
        settings |= {"key_heads": c.num_key_value_heads, "hidden": c.intermediate_size, "eps": c.rms_norm_eps}
        settings["base"] = float(c.rope_parameters["rope_theta"])
    return settings, {name: parameter.detach() for name, parameter in model.named_parameters()}


def _refuse_others(name: str, value: object, *allowed: object) -> None:
    if value not in allowed:
        expected = " or ".join(map(repr, allowed))
        raise ValueError(f"model.config.{name}: expected {expected}, which is all that Transformer has, got {value!r}")


def build(settings: Mapping[str, Any], parameters: Mapping[str, Tensor]) -> Any:
    """The model of these settings with copies of the parameters, in their dtype, on their device.

    Raises ImportError where transformers is not installed.
    """
    try:
        from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig
    except ImportError:
        raise ImportError("transformers is not installed: pip install 'manual-bp[transformers]'") from None
    s = settings
    every = {
        "vocab_size": s["vocabulary"], "tie_word_embeddings": s["tied"], "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    if s["form"] == "gpt2":
        config: Any = GPT2Config(
            n_positions=s["context"], n_embd=s["width"], n_layer=s["layers"], n_head=s["heads"], n_inner=s["hidden"],
            layer_norm_epsilon=s["eps"], resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, **every,
        )  # fmt: skip
    else:
        config = LlamaConfig(
            max_position_embeddings=s["context"], hidden_size=s["width"], num_hidden_layers=s["layers"],
            num_attention_heads=s["heads"], num_key_value_heads=s["key_heads"], intermediate_size=s["hidden"],
            rms_norm_eps=s["eps"], rope_parameters={"rope_type": "default", "rope_theta": s["base"]}, **every,
        )  # fmt: skip
    first = next(iter(parameters.values()))  # the table of the embedding, which a tied head is
    with torch.random.fork_rng(devices=[]):  # it draws weights, which nobody will see
        model = AutoModelForCausalLM.from_config(config, dtype=first.dtype)
    model.load_state_dict(dict(parameters) | ({"lm_head.weight": first} if s["tied"] else {}))
    return model.to(first.device).eval()
