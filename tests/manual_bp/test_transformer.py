"""The transformer by hand: its gradients and steps are those of autograd and of torch's AdamW."""

import math
import os
import re
from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from manual_bp import transformer
from manual_bp.adamw import AdamW
from manual_bp.checkpoint import CheckpointError, Labels, load_transformer
from manual_bp.commands.subjects import TRANSFORMERS
from manual_bp.training import DivergedError
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
        ({"tied": False}, "form: expected key_heads 3 (as many as heads) and tied True in gpt2, got 3 and False"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Transformer.random(**{**SIZES, **TRANSFORMERS["gpt2"], **change})


def test_what_does_not_fit_is_refused_before_anything_changes():
    net, (tokens, targets) = drawn("gpt2"), text()
    before = dict(net.parameters)
    for wrong, message in (
        ((tokens + 5, targets), "tokens: expected a class index from 0 to 10, got"),
        ((tokens.float(), targets), "tokens: expected class indices of an integer dtype, got torch.float32"),
        ((tokens[:, :0], targets[:, :0]), r"tokens: expected shape \[N, T\] with at least one token"),
        ((tokens, targets[:, 1:]), r"targets: expected shape \[5, 7\]"),
        ((tokens, targets + 5), "targets: expected a class index from 0 to 10, got"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            net.step(*wrong, 0.1)
    assert all(net.parameters[name] is before[name] for name in before)
    with pytest.raises(ValueError, match="missing transformer.wpe.weight; unexpected lm_head.weight"):
        Transformer(
            net.configuration,
            {name.replace("transformer.wpe", "lm_head"): value for name, value in net.parameters.items()},
        )


def written(device: torch.device | str = "cpu", seed: int = 5, length: int = 300) -> Tensor:
    """A text: the next token follows from the one before, but for one in ten."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(length, generator=generator) < 0.1
    steps = torch.where(noise, torch.randint(11, (length,), generator=generator), 3)
    return (steps.cumsum(0) % 11).to(device)


def fit(net: Transformer, file=None, steps: int = 25, **more):
    text = written(net.device)
    settings = {"rate": 0.01, "batch_size": 3, "seed": 4, "every": 10, "held_out": text[250:], "progress": False}
    return net.fit(text[:250], steps=steps, file=file, **settings | more)


def same(ours: Transformer, theirs: Transformer) -> bool:
    """Bit for bit, the optimizer's moments, too."""
    a, b = ours.optimizer, theirs.optimizer
    return (
        all(torch.equal(value, theirs.parameters[name]) for name, value in ours.parameters.items())
        and a.steps == b.steps
        and a.moments.keys() == b.moments.keys()
        and all(torch.equal(*pair) for name in a.moments for pair in zip(a.moments[name], b.moments[name], strict=True))
    )


@FORMS
def test_fit_is_the_steps_on_its_windows(form, device):
    fitted, stepped = (drawn(form, device, dtype=torch.float32) for _ in range(2))
    history = fit(fitted, steps=7)
    starts = torch.Generator().manual_seed(4)
    text = written(device)
    for cost in history.cost:
        rows = [text[i : i + 9] for i in torch.randint(250 - 8, (3,), generator=starts)]
        batch = torch.stack(rows)
        assert float(stepped.step(batch[:, :-1], batch[:, 1:], 0.01)) == cost
    assert len(history.cost) == 7
    assert same(fitted, stepped)


@FORMS
def test_fit_learns_what_follows(form, device):
    net = drawn(form, device, dtype=torch.float32)
    history = fit(net, steps=200, rate=0.02)
    assert history.cost[0] == pytest.approx(math.log(11), abs=0.1)
    assert history.cost[-1] < 1.5
    assert len(history.held_out_cost) == 20
    assert history.held_out_cost[-1] == net.evaluate(written(device)[250:], batch_size=3) < 1.5
    assert history.held_out_accuracy == []


@pytest.mark.parametrize("length", [9, 10, 31, 300])
def test_a_text_is_evaluated_on_windows_from_its_beginning_to_its_end(length, device):
    net, text = drawn("gpt2", device), written(device)[:length]
    starts = [round(i * (length - 9) / (min(20, length - 8) - 1 or 1)) for i in range(min(20, length - 8))]
    assert (starts[0], starts[-1]) == (0, length - 9)
    costs = [float(net.cost(text[None, i : i + 8], text[None, i + 1 : i + 9])) for i in starts]
    assert net.evaluate(text, batch_size=2) == pytest.approx(sum(costs) / len(costs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("at", [4, 17, 25])
@FORMS
def test_interrupted_and_taken_up_is_uninterrupted(form, at, dtype, device, tmp_path, monkeypatch):
    def fresh(seed=0):
        return drawn(form, device, dtype, seed=seed, optimizer=AdamW(decay=0.1, clip=0.5))

    whole, taken = fresh(), 0
    expected = fit(whole)

    def interrupted(net, *args):
        nonlocal taken
        taken += 1
        if taken == at:
            raise KeyboardInterrupt
        return right(net, *args)

    right = Transformer.step
    with monkeypatch.context() as patch:
        patch.setattr(Transformer, "step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(fresh(), tmp_path / "net.safetensors")
    resumed = fresh(seed=0 if at == 4 else 9)  # its own parameters do not count where there is something to take up
    assert fit(resumed, tmp_path / "net.safetensors") == expected
    assert same(resumed, whole)
    assert os.listdir(tmp_path) == ["net.safetensors"]


def test_more_steps_and_another_rate_go_on_from_the_end(tmp_path):
    whole, parts = drawn("gpt2"), drawn("gpt2")
    expected = fit(whole, steps=25)
    fit(parts, tmp_path / "net", steps=13)
    assert fit(parts, tmp_path / "net", steps=25) == expected
    assert same(parts, whole)
    assert fit(drawn("gpt2"), tmp_path / "net", steps=25) == expected  # and nothing is left to do
    assert len(fit(parts, tmp_path / "net", steps=30, rate=0.1).cost) == 30


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"batch_size": 4}, "batch_size 3 there, 4 here"),
        ({"seed": 5}, "seed 4 there, 5 here"),
        ({"every": 5}, "every 10 there, 5 here"),
        ({"held_out": None}, r"held_out \[50\] \(\w{8}\) there, none here"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(other, says, tmp_path):
    fit(drawn("gpt2"), tmp_path / "net", steps=3)
    net, before = drawn("gpt2"), drawn("gpt2")
    with pytest.raises(
        CheckpointError, match=rf"expected the checkpoint of this training, got that of another \({says}\): go on"
    ):
        fit(net, tmp_path / "net", **other)
    assert same(net, before)


def test_the_checkpoint_of_other_data_or_another_transformer_is_refused(tmp_path):
    file = tmp_path / "net"
    fit(drawn("gpt2"), file, steps=3)
    for net, says in (
        (drawn("llama"), "form gpt2 there, llama here; heads 3 there, 6 here"),
        (drawn("gpt2", dtype=torch.float32), "dtype torch.float64 there, torch.float32 here"),
        (drawn("gpt2", optimizer=AdamW(clip=1.0)), "clip None there, 1.0 here"),
    ):
        with pytest.raises(CheckpointError, match=says):
            fit(net, file)
    with pytest.raises(CheckpointError, match=r"data \[250\] \(\w{8}\) there, \[300\] \("):
        drawn("gpt2").fit(written(), rate=0.1, steps=1, batch_size=3, file=file)


@pytest.mark.parametrize("torn", [0, 1, 100, -1])
def test_a_torn_checkpoint_is_refused_and_stays(torn, tmp_path):
    file = tmp_path / "net"
    fit(drawn("gpt2"), file, steps=3)
    content = file.read_bytes()[:torn]
    file.write_bytes(content)
    net = drawn("gpt2")
    says = "net: expected a checkpoint of Transformer.fit, got a file that is not one, or is damaged .* move it away"
    with pytest.raises(CheckpointError, match=says):
        fit(net, file)
    assert same(net, drawn("gpt2"))
    assert file.read_bytes() == content


def test_a_missing_directory_is_said_before_anything_is_trained(tmp_path):
    net = drawn("gpt2")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        fit(net, tmp_path / "nowhere" / "net")
    assert same(net, drawn("gpt2"))


def test_a_training_that_diverges_ends_as_it_was_before(tmp_path):
    """And its checkpoint, from which a smaller rate goes on."""
    ours, theirs = drawn("gpt2", dtype=torch.float32), drawn("gpt2", dtype=torch.float32)
    fit(ours, tmp_path / "net", steps=10)
    fit(theirs, steps=10)
    says = r"^step 20: the training diverges, the cost is .*: choose a rate smaller than 1e\+30$"
    with pytest.raises(DivergedError, match=says):
        fit(ours, tmp_path / "net", rate=1e30)
    assert same(ours, theirs)
    assert len(fit(ours, tmp_path / "net").cost) == 25


def test_fit_shows_how_far_it_is(monkeypatch):
    shown = []

    class Bar:
        def progress(self):
            return nullcontext(self)

        def add_task(self, description, *, total):
            shown.append((description, total))

        def update(self, task, *, description, completed):
            shown.append((description, completed))

    monkeypatch.setattr(transformer, "console", lambda *, stderr: Bar())
    history = fit(drawn("gpt2"), steps=20, progress=True)
    assert shown[0] == ("training", 20)
    assert shown[-1] == (f"step 20 of 20, cost {history.cost[-1]:.4g}", 20)
    fit(drawn("gpt2"), steps=1)
    assert shown[-1][1] == 20


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@FORMS
def test_what_is_saved_is_loaded(form, dtype, device, tmp_path):
    net, file = drawn(form, device, dtype), tmp_path / "net.safetensors"
    net.step(*text(device), 0.1)
    net.save(file)
    loaded = Transformer.load(file, device=device)
    assert loaded.configuration == net.configuration
    assert (loaded.dtype, loaded.device) == (net.dtype, net.device)
    assert all(torch.equal(value, loaded.parameters[name]) for name, value in net.parameters.items())
    from safetensors.torch import load_file

    assert load_file(file).keys() == net.parameters.keys()  # as a file for Hugging Face's model


def test_what_the_tokens_stand_for_is_beside_the_transformer(tmp_path):
    net, file, labels = drawn("gpt2"), tmp_path / "net", Labels([], [*"abcdefghij\n"])
    net.save(file, labels=labels)
    assert load_transformer(file, lambda configuration, parameters: configuration["width"]) == (12, labels)
    with pytest.raises(ValueError, match=r"^labels.classes: expected length 11 \(a name for each token\), got 2$"):
        net.save(file, labels=Labels([], ["a", "b"]))
    assert load_transformer(file, lambda configuration, parameters: None)[1] == labels


def test_a_file_that_holds_something_else_is_not_loaded(tmp_path):
    fit(drawn("gpt2"), tmp_path / "net", steps=1)
    says = (
        r"net: expected a transformer, as Transformer.save writes it, got .* \(it holds a checkpoint of Transformer.fit"
    )
    with pytest.raises(CheckpointError, match=says):
        Transformer.load(tmp_path / "net")
    with pytest.raises(FileNotFoundError):
        Transformer.load(tmp_path / "nothing")


def test_texts_and_tokens_of_every_kind_are_taken(device):
    """Lists, arrays, and whole numbers of few bits, by which torch would mask."""
    net, text = drawn("gpt2", device), written(device)[:40]
    expected = net.evaluate(text, batch_size=2)
    assert net.evaluate(text.tolist(), batch_size=2) == net.evaluate(text.cpu().numpy(), batch_size=2) == expected
    few = text.to(torch.uint8)
    assert net.evaluate(few, batch_size=2) == expected
    assert torch.equal(net.forward(few[None, :8]).logits, net.forward(text[None, :8]).logits)


@pytest.mark.parametrize(
    ("data", "more", "says"),
    [
        ([0.5] * 20, {}, "data: expected class indices of an integer dtype, got torch.float64"),
        ([1] * 8, {}, r"data: expected shape \[tokens\], longer than the context of 8, got \[8\]"),
        ([[1] * 20], {}, r"data: expected shape \[tokens\], .* got \[1, 20\]"),
        ([1] * 19 + [11], {}, r"data: expected a class index from 0 to 10, got 11 at \[19\]"),
        ([1] * 20, {"held_out": [1] * 3}, r"held_out: expected shape \[tokens\], longer"),
        ([1] * 20, {"steps": 0}, "steps: expected 1 or more, got 0"),
        ([1] * 20, {"batch_size": 1.5}, "batch_size: expected a whole number, got 1.5"),
        ([1] * 20, {"every": 0}, "every: expected 1 or more, got 0"),
        ([1] * 20, {"rate": math.nan}, "rate: expected a finite number, got nan"),
    ],
)
def test_what_cannot_be_fitted_is_refused(data, more, says):
    net = drawn("gpt2")
    with pytest.raises((TypeError, ValueError), match=f"^{says}"):
        net.fit(data, **{"rate": 0.1, "steps": 2, "batch_size": 2} | more)
    assert same(net, drawn("gpt2"))


def test_what_is_generated_is_drawn_from_the_softmax(device):
    """In each step from the last part of what there is, by torch's own draw of the same seed."""
    net = drawn("llama", device, optimizer=AdamW(decay=0.0))
    fit(net, steps=60, rate=0.02)
    for prompt in ([2], [1, 5, 9, 2, 0, 3, 7]):
        ours = net.generate(prompt, 6, seed=3, temperature=0.7)
        generator, theirs = torch.Generator().manual_seed(3), torch.tensor([prompt], device=device)
        for _ in range(6):
            logits = twin.forward(theirs[:, -8:], net.parameters, **made_of(net.configuration))[1][0, -1]
            p = torch.softmax(logits.double().cpu() / 0.7, -1)
            theirs = torch.cat((theirs, torch.multinomial(p, 1, generator=generator)[None].to(device)), 1)
        assert ours.tolist() == theirs[0].tolist()


def test_prompts_of_every_kind(device):
    net = drawn("gpt2", device)
    fit(net, steps=60, rate=0.02)
    likeliest = net.generate([4, 7, 10], 5, temperature=0)
    assert likeliest.tolist() == [4, 7, 10, 2, 5, 8, 0, 3]
    assert torch.equal(net.generate([4, 7, 10], 5, temperature=1e-310), likeliest)
    prompts = torch.tensor([[4, 7, 10], [0, 3, 6]], dtype=torch.uint8, device=device)
    several = net.generate(prompts, 5, temperature=0)
    assert several.shape == (2, 8)
    assert torch.equal(several[0], likeliest)


@pytest.mark.parametrize(
    ("prompt", "more", "says"),
    [
        ([], {}, "prompt: expected class indices of an integer dtype, got torch.float64"),
        (
            torch.ones(0, dtype=torch.long),
            {},
            r"prompt: expected shape \[T\] or \[N, T\] with at least one token, got \[0\]",
        ),
        (torch.ones(1, 1, 2, dtype=torch.long), {}, r"prompt: expected shape .* got \[1, 1, 2\]"),
        (3, {}, r"prompt: expected shape .* got \[\]"),
        ([1, 11] + [0] * 9, {}, r"prompt: expected a class index from 0 to 10, got 11 at \[1\]"),
        ("ab", {}, "prompt: expected a tensor, an array or nested lists of numbers"),
        ([1], {"count": 0}, "count: expected 1 or more, got 0"),
        ([1], {"temperature": -0.1}, "temperature: expected 0 or more, got -0.1"),
        ([1], {"temperature": math.inf}, "temperature: expected a finite number, got inf"),
        ([1], {"temperature": "hot"}, "temperature: expected a number, got str"),
    ],
)
def test_what_nothing_can_be_generated_from_is_refused(prompt, more, says):
    with pytest.raises((TypeError, ValueError), match=f"^{says}"):
        drawn("gpt2").generate(prompt, **{"count": 2} | more)
