"""The transformer's step in place against its derivation: forward, backward, AdamW."""

import copy
import pickle

import pytest
import torch
from torch import Tensor

from crosscheck import compare
from manual_bp import transformer_in_place
from manual_bp.adamw import AdamW
from manual_bp.checkpoint import CheckpointError
from manual_bp.commands.subjects import TRANSFORMERS
from manual_bp.transformer import IGNORED, Transformer, one_round
from reference import transformer as twin

SIZES = {"context": 8, "width": 12, "layers": 2}
LARGE = 200  # a vocabulary whose logits are a memory of their own, and in a lean step several parts


def of_every_form(test):
    test = pytest.mark.parametrize("form", TRANSFORMERS)(test)
    return pytest.mark.parametrize("lean", [False, True], ids=["kept", "lean"])(test)


def drawn(form: str, vocabulary: int = 11, **more: object) -> Transformer:
    return Transformer.random(**SIZES, **TRANSFORMERS[form], vocabulary=vocabulary, **more)


def text(vocabulary: int, device: torch.device | str, seed: int = 0, n: int = 5, t: int = 7) -> tuple[Tensor, Tensor]:
    """Tokens, and the targets that follow, some of which count for nothing."""
    tokens = torch.randint(vocabulary, (n, t + 1), generator=torch.Generator().manual_seed(seed))
    targets = tokens[:, 1:].clone()
    targets[0, :2] = IGNORED
    return tokens[:, :-1].to(device), targets.to(device)


def state(net: Transformer) -> dict[str, Tensor]:
    """Parameters and moments."""
    found = dict(net.parameters)
    for name, (m, v) in net.optimizer.moments.items():
        found |= {f"m {name}": m, f"v {name}": v}
    return {name: value.clone() for name, value in found.items()}


def assert_agree(ours: Transformer, theirs: Transformer) -> None:
    """To the last digits of float64."""
    for name, value in state(theirs).items():
        assert (state(ours)[name] - value).abs().max() <= 1e-11 * value.abs().max(), name


def assert_steps_are_rounds(net: Transformer, *batches: tuple[Tensor, Tensor], rate: float = 0.02) -> None:
    """Take steps in place and as rounds: in float64 they agree, in float32 the judge decides, by rounds in float64."""
    rounds = copy.deepcopy(net)
    o = net.optimizer
    moments = {name: (m.cpu().double(), v.cpu().double()) for name, (m, v) in o.moments.items()}
    exact = Transformer(
        net.configuration, {name: p.cpu().double() for name, p in net.parameters.items()},
        AdamW(o.betas, o.eps, o.decay, o.clip, o.steps, moments),
    )  # fmt: skip
    for tokens, targets in batches:
        J = net.step(tokens, targets, rate)
        assert torch.isclose(
            J, one_round(rounds, tokens, targets, rate).J, rtol=1e-12 if J.dtype == torch.float64 else 1e-5
        )
        one_round(exact, tokens.cpu(), targets.cpu(), rate)
    if net.dtype == torch.float32:
        compare(state(net), state(rounds), oracle=state(exact)).raise_on_mismatch()
    else:
        assert_agree(net, rounds)
    assert net.optimizer.steps == rounds.optimizer.steps


@of_every_form
@pytest.mark.parametrize("vocabulary", [11, LARGE])
@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.dtypes("float32", "float64")
def test_a_step_is_a_round(form, lean, vocabulary, clip, device, dtype):
    # With an eps of the size of the gradients: else the step is their sign, which is a jump where one is zero.
    optimizer = AdamW(betas=(0.8, 0.95), eps=1e-2, decay=0.1, clip=clip)
    net = drawn(form, vocabulary, dtype=dtype, device=device, lean=lean, optimizer=optimizer)
    assert_steps_are_rounds(net, *(text(vocabulary, device, seed) for seed in range(4)))


@of_every_form
def test_batches_may_change_their_shape(form, lean, device):
    net = drawn(form, dtype=torch.float64, device=device, lean=lean)
    assert_steps_are_rounds(net, *(text(11, device, n=n, t=t) for n, t in ((5, 7), (2, 8), (5, 7), (1, 1))))


@of_every_form
def test_a_weight_of_several_blocks_is_updated_whole(form, lean, monkeypatch):
    for block in (1, 40):
        monkeypatch.setattr(transformer_in_place, "BLOCK", block)
        for clip in (None, 0.3):
            net = drawn(form, LARGE, dtype=torch.float64, lean=lean, optimizer=AdamW(clip=clip))
            assert_steps_are_rounds(net, text(LARGE, "cpu"), text(LARGE, "cpu", 1))


@pytest.mark.parametrize("lean", [False, True])
@pytest.mark.parametrize("vocabulary", [11, LARGE])
def test_a_target_whose_probability_underflows_has_a_cost(vocabulary, lean):
    net = drawn("llama", vocabulary, tied=False, lean=lean)
    parameters = {name: 5000 * p if name == "lm_head.weight" else p for name, p in net.parameters.items()}
    net = Transformer(net.configuration, parameters, lean=lean)
    tokens, targets = text(vocabulary, "cpu")
    assert torch.softmax(net.forward(tokens).logits, -1).gather(-1, targets.clamp(min=0)[..., None]).min() == 0
    assert_steps_are_rounds(net, (tokens, targets))


@pytest.mark.parametrize("lean", [False, True])
def test_targets_that_all_count_for_nothing_change_nothing_but_by_the_decay(lean):
    net = drawn("gpt2", lean=lean, optimizer=AdamW(decay=0))
    before = state(net)
    tokens, targets = text(11, "cpu")
    assert net.step(tokens, torch.full_like(targets, IGNORED), 0.1) == 0
    assert all(torch.equal(net.parameters[name], p) for name, p in before.items())


def test_steps_and_rounds_may_alternate(device):
    mixed, rounds = (drawn("llama, tied", dtype=torch.float64, device=device) for _ in range(2))
    for seed in range(6):
        batch = text(11, device, seed)
        one_round(rounds, *batch, 0.02)
        if seed % 3:
            mixed.step(*batch, 0.02)
        else:
            one_round(mixed, *batch, 0.02)
    assert_agree(mixed, rounds)


def test_what_was_given_out_before_a_step_stays():
    net, batch = drawn("gpt2"), text(11, "cpu")
    net.step(*batch, 0.02)
    parameters = net.parameters
    before = {name: p.clone() for name, p in parameters.items()}
    net.step(*batch, 0.02)
    assert all(torch.equal(p, before[name]) for name, p in parameters.items())
    assert not torch.equal(net.parameters["transformer.wte.weight"], before["transformer.wte.weight"])


def test_other_moments_count_from_their_step_on():
    net, batch = drawn("llama"), text(11, "cpu")
    net.step(*batch, 0.02)
    net.optimizer = AdamW(betas=(0.5, 0.9), clip=1.0)
    assert_steps_are_rounds(net, batch, batch)
    net.optimizer.moments, net.optimizer.steps = {}, 0
    assert_steps_are_rounds(net, batch)


def test_steps_in_between_copy_nothing():
    net, batch = drawn("gpt2"), text(11, "cpu")
    net.step(*batch, 0.02)
    memory = {name: p.data_ptr() for name, p in net._parameters.items()}
    net.step(*batch, 0.02)
    assert {name: p.data_ptr() for name, p in net._parameters.items()} == memory


def test_half_precision_takes_the_derived_round():
    """The rules compute it in float32 between."""
    net, batch = drawn("gpt2", dtype=torch.bfloat16), text(11, "cpu")
    rounds = copy.deepcopy(net)
    net.step(*batch, 0.02)
    one_round(rounds, *batch, 0.02)
    assert all(torch.equal(p, rounds.parameters[name]) for name, p in net.parameters.items())


def test_a_copy_goes_on_from_there():
    net, batch = drawn("llama"), text(11, "cpu")
    net.step(*batch, 0.02)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        before = state(net)
        other.step(*batch, 0.02)
        assert all(torch.equal(value, before[name]) for name, value in state(net).items())
    net.step(*batch, 0.02)
    assert all(torch.equal(value, state(other)[name]) for name, value in state(net).items())


def errors_of_gradients(form: str, vocabulary: int, lean: bool, seed: int) -> tuple[float, float, float]:
    """Of a mixed step, of autograd under autocast, and of a step in float32: the mean of the parameters'."""
    random = drawn(form, vocabulary)
    c, generator = random.configuration, torch.Generator().manual_seed(seed)
    parameters = {name: p + 0.15 * torch.randn(p.shape, generator=generator) for name, p in random.parameters.items()}
    batch = text(vocabulary, "cpu", seed, t=8)

    def by_autograd(dtype: torch.dtype) -> dict[str, Tensor]:
        found = twin.one_round(
            *batch, {name: p.to(dtype) for name, p in parameters.items()}, 0.1, betas=(0.0, 0.9), adam_eps=1e-8,
            decay=0.0, clip=None, form=c.form, layers=c.layers, heads=c.heads, key_heads=c.key_heads, eps=c.eps,
            base=c.base,
        )  # fmt: skip
        return {name: found[f"grad {name}"] for name in parameters}

    def by_hand(mixed: bool) -> dict[str, Tensor]:
        net = Transformer(c, parameters, AdamW(betas=(0.0, 0.9)), lean=lean, mixed=mixed)
        net.step(*batch, 0.1)
        assert all(value.dtype == torch.float32 for value in state(net).values())
        return {name: m for name, (m, _) in net.optimizer.moments.items()}  # the gradient, as β₁ is 0

    exact = by_autograd(torch.float64)

    def error(values: dict[str, Tensor]) -> float:
        return sum(float((values[name] - g).norm() / g.norm()) for name, g in exact.items()) / len(exact)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        autocast = by_autograd(torch.float32)
    return error(by_hand(mixed=True)), error(autocast), error(by_hand(mixed=False))


@of_every_form
@pytest.mark.parametrize("vocabulary", [11, LARGE])
@pytest.mark.parametrize(("has_bfloat16", "most"), [(False, 1.0), (True, 1.15)])  # with it scores are rounded, too
def test_a_mixed_step_is_as_near_to_the_truth_as_autocast(form, lean, vocabulary, has_bfloat16, most, monkeypatch):
    """Over several draws, for in one it is a matter of luck."""
    monkeypatch.setattr(transformer_in_place, "has_bfloat16", lambda device: has_bfloat16)
    draws = [errors_of_gradients(form, vocabulary, lean, seed) for seed in range(12)]
    mixed, autocast, in_float32 = map(sum, zip(*draws, strict=True))
    assert 1000 * in_float32 < mixed <= most * autocast


def test_a_product_in_bfloat16_is_that_of_the_rounded_factors(device):
    a, b = (
        torch.randn(shape, generator=torch.Generator().manual_seed(2)).to(device) for shape in ((2, 3, 5), (2, 5, 4))
    )
    exact = a.bfloat16().double() @ b.bfloat16().double()
    for of in (0, slice(None)):
        out = torch.full_like(exact[of], torch.nan, dtype=torch.float32)
        transformer_in_place.product_in_bfloat16(a[of], b[of], out, alpha=0.5)
        torch.testing.assert_close(out.double(), 0.5 * exact[of], rtol=2**-8, atol=1e-5)
        transformer_in_place.product_in_bfloat16(a[of], b[of], out, alpha=2.0, add=True)
        torch.testing.assert_close(out.double(), 2.5 * exact[of], rtol=2**-8, atol=1e-5)


def test_a_mixed_training_goes_on_from_its_own_checkpoint_alone(tmp_path):
    data, options = list(range(11)), {"rate": 0.01, "batch_size": 2, "file": tmp_path / "net", "progress": False}
    whole, first, second = (drawn("gpt2", mixed=True) for _ in range(3))
    whole.fit(data, steps=6, **options | {"file": None})
    first.fit(data, steps=3, **options)
    second.fit(data, steps=6, **options)
    assert all(torch.equal(p, second.parameters[name]) for name, p in whole.parameters.items())
    with pytest.raises(CheckpointError, match=r"dtype mixed there, torch.float32 here"):
        drawn("gpt2").fit(data, steps=6, **options)


def test_a_step_takes_the_parameters_as_its_own_unless_they_were_given_out():
    net, batch = drawn("gpt2"), text(11, "cpu")
    name = "transformer.wte.weight"
    own = net._parameters[name].data_ptr()
    net.step(*batch, 0.02)
    assert net._parameters[name].data_ptr() == own
    given = net.parameters[name]
    before = given.clone()
    net.step(*batch, 0.02)
    assert torch.equal(given, before)


@pytest.mark.parametrize(
    ("place", "capability", "has"),
    [("cpu", "AVX2", False), ("cpu", "AVX512", True), ("cpu", "DEFAULT", False), ("cuda", "AVX2", True)],
)
def test_who_multiplies_in_bfloat16(place, capability, has, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert transformer_in_place.has_bfloat16(torch.device(place)) is has
