"""The transformer by hand: its gradients and steps are those of autograd and of torch's AdamW."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from manual_bp.adamw import AdamW
from manual_bp.commands.subjects import TRANSFORMERS
from manual_bp.transformer import IGNORED, Configuration, Transformer
from reference import transformer as twin

SIZES = {"vocabulary": 11, "context": 8, "width": 12, "layers": 2}
FORMS = pytest.mark.parametrize("form", TRANSFORMERS)


def drawn(form: str, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64, **more) -> Transformer:
    return Transformer.random(**SIZES, **TRANSFORMERS[form], **more, dtype=dtype, device=device)


def text(device: torch.device | str = "cpu", seed: int = 0, n: int = 5, t: int = 7) -> tuple[Tensor, Tensor]:
    """Tokens, and the targets that follow, some of which count for nothing."""
    tokens = torch.randint(11, (n, t + 1), generator=torch.Generator().manual_seed(seed))
    targets = tokens[:, 1:].clone()
    targets[0, :2] = IGNORED
    return tokens[:, :-1].to(device), targets.to(device)


def made_of(c: Configuration) -> dict[str, object]:
    return {name: getattr(c, name) for name in ("form", "layers", "heads", "key_heads", "eps", "base")}


def close(ours: Tensor, theirs: Tensor) -> bool:
    return bool((ours - theirs).abs().max() <= 1e-12 * theirs.abs().max().clamp(min=1))


@FORMS
def test_gradients_and_deltas_are_autograds(form, device):
    net = drawn(form, device)
    tokens, targets = text(device)
    ours = net.backward(net.forward(tokens), targets)
    settings = {"betas": (0.9, 0.999), "adam_eps": 1e-8, "decay": 0.01, "clip": None}
    theirs = twin.one_round(tokens, targets, net.parameters, 0.1, **settings, **made_of(net.configuration))
    assert close(ours.J, theirs["J"])
    assert close(net.cost(tokens, targets), theirs["J"])
    for layer, delta in enumerate(ours.delta):
        assert close(delta, theirs[f"delta[{layer}]"])
    for name, gradient in ours.parameters.items():
        assert gradient.shape == net.parameters[name].shape
        assert close(gradient, theirs[f"grad {name}"])


@FORMS
@pytest.mark.parametrize("clip", [None, 0.3])
def test_steps_are_those_of_torchs_adamw(form, clip, device):
    net = drawn(form, device, optimizer=AdamW(betas=(0.8, 0.95), eps=1e-6, decay=0.1, clip=clip))
    theirs = {name: value.clone().requires_grad_() for name, value in net.parameters.items()}
    adam = torch.optim.AdamW(theirs.values(), lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)
    for seed in range(4):
        tokens, targets = text(device, seed)
        net.step(tokens, targets, 0.02)
        adam.zero_grad()
        logits = twin.forward(tokens, theirs, **made_of(net.configuration))[1]
        F.cross_entropy(logits.flatten(0, 1), targets.flatten()).backward()
        if clip:
            torch.nn.utils.clip_grad_norm_(theirs.values(), clip)
        adam.step()
    for name, value in net.parameters.items():
        assert close(value, theirs[name].detach())


@FORMS
def test_what_a_position_predicts_does_not_depend_on_what_follows(form):
    net, (tokens, _) = drawn(form), text()
    changed = tokens.clone()
    changed[:, 4:] = (tokens[:, 4:] + 1) % 11
    before, after = net.forward(tokens).logits, net.forward(changed).logits
    assert torch.equal(before[:, :4], after[:, :4])
    assert not torch.equal(before[:, 4:], after[:, 4:])


@FORMS
def test_a_trace_keeps_the_parameters_that_it_was_made_with(form):
    net, (tokens, targets) = drawn(form), text()
    trace = net.forward(tokens)
    first = net.backward(trace, targets)
    net.step(tokens, targets, 0.1)
    again = net.backward(trace, targets)
    assert all(torch.equal(first.parameters[name], again.parameters[name]) for name in net.parameters)


@FORMS
def test_it_learns_a_sequence_by_heart(form):
    net = drawn(form, dtype=torch.float32)
    tokens, targets = text(n=3)
    costs = [float(net.step(tokens, targets, 0.01)) for _ in range(150)]
    assert costs[0] == pytest.approx(math.log(11), abs=0.1)
    assert costs[-1] < 0.05
    prompt = tokens[1]
    assert net.generate(prompt[:6], 1, temperature=0)[-1] == prompt[6]


def test_the_caller_keeps_what_is_handed_in():
    net = drawn("gpt2")
    mine = {name: value.clone() for name, value in net.parameters.items()}
    other = Transformer(net.configuration, mine)
    kept = {name: value.clone() for name, value in mine.items()}
    other.step(*text(), 0.1)
    assert all(torch.equal(mine[name], kept[name]) for name in mine)
    assert not torch.equal(other.parameters["transformer.wte.weight"], mine["transformer.wte.weight"])


def test_targets_that_all_count_for_nothing_cost_nothing():
    net, (tokens, targets) = drawn("gpt2"), text()
    grads = net.backward(net.forward(tokens), torch.full_like(targets, IGNORED))
    assert grads.J == 0
    assert all(not gradient.any() for gradient in grads.parameters.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"form": "bert"}, "form: expected one of gpt2, llama, got 'bert'"),
        ({"width": 13}, "width: expected a multiple of the 3 heads, got 13"),
        ({"layers": 0}, "layers: expected 1 or more, got 0"),
        ({"key_heads": 2}, "heads: expected a multiple of the 2 key_heads, got 3"),
        ({"tied": False}, "form: gpt2 has as many key_heads as heads and a tied head"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        Transformer.random(**{**SIZES, **TRANSFORMERS["gpt2"], **change})


def test_what_does_not_fit_is_refused_before_anything_changes():
    net, (tokens, targets) = drawn("gpt2"), text()
    before = dict(net.parameters)
    for wrong, message in (
        ((tokens + 5, targets), "tokens: expected class indices from 0 to 10, got"),
        ((tokens.float(), targets), "tokens: expected class indices of an integer dtype, got torch.float32"),
        ((tokens[:, :0], targets[:, :0]), r"tokens: expected shape \[N, T\] with T up to the context of 8"),
        ((tokens, targets[:, 1:]), r"targets: expected shape \[5, 7\]"),
        ((tokens, targets + 5), "targets: expected class indices from 0 to 10, got"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            net.step(*wrong, 0.1)
    assert all(net.parameters[name] is before[name] for name in before)
    with pytest.raises(ValueError, match="got transformer.wpe.weight missing, and lm_head.weight besides"):
        Transformer(
            net.configuration,
            {name.replace("transformer.wpe", "lm_head"): value for name, value in net.parameters.items()},
        )
