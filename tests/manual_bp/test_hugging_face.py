"""GPT-2 and Llama of Hugging Face's transformers, taken over and given back: the same logits, the same gradients."""

import sys

import pytest
import torch
from torch import nn

from manual_bp import Transformer

GPT2 = {"vocab_size": 11, "n_positions": 8, "n_embd": 12, "n_layer": 2, "n_head": 3}
LLAMA = {
    "vocab_size": 11, "max_position_embeddings": 8, "hidden_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 20,
}  # fmt: skip
# The class, and its settings: defaults, and what is not default in ours either
MODELS = {
    "gpt2": ("GPT2", GPT2),
    "gpt2, wider inside": ("GPT2", GPT2 | {"n_inner": 20, "activation_function": "gelu_pytorch_tanh"}),
    "llama": ("Llama", LLAMA),
    "llama, tied": ("Llama", LLAMA | {"tie_word_embeddings": True, "rope_parameters": {
        "rope_type": "default", "rope_theta": 500.0
    }}),
}  # fmt: skip
ROUNDED = {torch.float64: 1e-13, torch.float32: 1e-5, torch.bfloat16: 0.05}


def hugging_face(kind, dtype=torch.float64, device="cpu", **more):
    """A model of theirs with random numbers everywhere, in biases and norms, too."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    name, settings = MODELS[kind]
    config = getattr(transformers, f"{name}Config")(**settings | more)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=dtype).to(device).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def tokens(device):
    return torch.randint(11, (5, 8), generator=torch.Generator().manual_seed(1)).to(device)


def farthest(ours, theirs):
    """In units of the largest number."""
    assert (ours.shape, ours.dtype, ours.device) == (theirs.shape, theirs.dtype, theirs.device)
    return float(((ours - theirs).abs().max() / theirs.abs().max()).detach())


def rounded(kind, dtype):
    """What rounding takes apart: their Llama normalizes and turns in float32 even where it is in float64."""
    return ROUNDED[torch.float32 if kind.startswith("llama") and dtype == torch.float64 else dtype]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", MODELS)
def test_logits_and_gradients_are_those_of_hugging_face(kind, dtype, device):
    model = hugging_face(kind, dtype, device)
    net = Transformer.from_transformers(model)
    x = tokens(device)
    theirs = model(input_ids=x[:, :-1]).logits
    trace = net.forward(x[:, :-1])
    assert farthest(trace.logits, theirs.detach()) < rounded(kind, dtype)
    ours = net.backward(trace, x[:, 1:])
    nn.functional.cross_entropy(theirs.flatten(0, 1), x[:, 1:].flatten()).backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    assert ours.parameters.keys() == gradients.keys()
    if dtype != torch.bfloat16:  # in which they round after every operation
        for name, gradient in ours.parameters.items():
            assert farthest(gradient, gradients[name]) < rounded(kind, dtype), name


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("kind", MODELS)
def test_there_and_back(kind, dtype, device):
    model = hugging_face(kind, dtype, device)
    net = Transformer.from_transformers(model)
    state = torch.get_rng_state()
    back = net.to_transformers()
    assert torch.equal(torch.get_rng_state(), state)
    assert type(back) is type(model)
    assert not back.training
    x = tokens(device)
    assert farthest(back(input_ids=x).logits, model(input_ids=x).logits) < ROUNDED[dtype]  # by another name of GELU's
    again = Transformer.from_transformers(back)
    assert again.configuration == net.configuration
    assert all(torch.equal(again.parameters[name], value) for name, value in net.parameters.items())
    with torch.no_grad():
        for parameter in back.parameters():
            parameter.zero_()
    assert all(torch.equal(again.parameters[name], value) for name, value in net.parameters.items())


def test_a_trained_transformer_has_no_dropout_over_there():
    pytest.importorskip("transformers", reason="transformers is not installed")
    model = Transformer.random(vocabulary=11, context=8, width=12, heads=3, layers=2).to_transformers()
    x = tokens("cpu")
    assert torch.equal(model.train()(input_ids=x).logits, model.eval()(input_ids=x).logits)


@pytest.mark.parametrize(
    ("kind", "settings", "says"),
    [
        ("gpt2", {"activation_function": "gelu"}, "activation_function: expected 'gelu_new' or 'gelu_pytorch_tanh'"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights: expected True"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx: expected False"),
        ("gpt2", {"add_cross_attention": True}, "add_cross_attention: expected False"),
        ("gpt2", {"tie_word_embeddings": False}, "tie_word_embeddings: expected True"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act: expected 'silu'"),
        ("llama", {"attention_bias": True}, "attention_bias: expected False"),
        ("llama", {"mlp_bias": True}, "mlp_bias: expected False"),
        ("llama", {"head_dim": 4}, "head_dim: expected 2"),
        (
            "llama", {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "rope_parameters: rope_type: expected 'default'",
        ),
    ],
)  # fmt: skip
def test_what_ours_has_not_is_refused_by_name(kind, settings, says):
    model = hugging_face(kind, **settings)
    with pytest.raises(ValueError, match=f"^model.config.{says}, which is all that Transformer has, got "):
        Transformer.from_transformers(model)


def test_another_class_is_refused():
    model = hugging_face("gpt2").transformer
    says = "^model: expected a GPT2LMHeadModel or a LlamaForCausalLM of transformers, got GPT2Model$"
    with pytest.raises(TypeError, match=says):
        Transformer.from_transformers(model)
    with pytest.raises(TypeError, match="got Linear$"):
        Transformer.from_transformers(nn.Linear(2, 3))


def test_without_transformers_it_is_said_how_to_get_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    net = Transformer.random(vocabulary=11, context=8, width=12, heads=3, layers=2)
    with pytest.raises(ImportError, match=r"transformers is not installed: pip install 'manual-bp\[transformers\]'$"):
        net.to_transformers()
