"""What `manual-bp verify` judges: the article, networks, real data and every rule."""

import pytest
import torch

from crosscheck import Report, crosscheck
from crosscheck.row import Row
from manual_bp import Network, data
from manual_bp.commands import CommandError
from manual_bp.commands import subjects as subjects_module
from manual_bp.commands._subject import NotJudged
from manual_bp.commands.article import WEIGHTS
from manual_bp.commands.subjects import DOMAINS, subjects
from manual_bp.network import COSTS
from manual_bp.rules import RULES, Identity, Tanh

CPU = torch.device("cpu")


def test_the_names_of_what_is_judged():
    assert [subject.name for subject in subjects()] == [
        "article.neuron", "article.two_by_two", *(f"rule {name}" for name in RULES),
        "network 1 layer, sigmoid", "network 2 layers, tanh", "network 3 layers, relu", "network 4 layers, sigmoid",
        "network 5 layers, tanh", "network 6 layers, sigmoid", "network on real digits",
        "transformer, gpt2", "transformer, llama", "transformer, llama, tied",
    ]  # fmt: skip


def drawn(
    name: str, seed: int, monkeypatch, device: torch.device = CPU
) -> tuple[list[torch.Tensor | None], dict[str, object]]:
    """What a thing is judged on."""
    kept = []

    def keep(manual, autograd, inputs, **named):
        kept.append((inputs, named))
        return Report("", ())

    for judge in ("judge", "crosscheck"):
        monkeypatch.setattr(subjects_module, judge, keep)
    (thing,) = (subject for subject in subjects() if subject.name == name)
    thing.judge(device, [torch.float64, torch.float32], seed)
    return kept[-1]


@pytest.mark.parametrize("depth", range(1, 7))
def test_the_networks_that_are_judged_have_no_squares_and_lie_off_the_kink(depth, monkeypatch):
    (name,) = (subject.name for subject in subjects() if subject.name.startswith(f"network {depth}"))
    for seed in range(5):
        (x, z, *params), named = drawn(name, seed, monkeypatch)
        again = drawn(name, seed, monkeypatch)[0]
        assert all(map(torch.equal, (x, z, *params), again))
        other = drawn(name, seed + 1, monkeypatch)[0]
        assert x.shape != other[0].shape or not torch.equal(x, other[0])
        weights, biases = params[:depth], params[depth:]
        widths = [11, x.shape[1], *(len(w) for w in weights)]
        assert len(set(widths)) == len(widths)
        assert min(widths[1:]) >= 2
        assert max(widths[1:]) <= 10
        assert len(x) == 11
        assert z.shape == ((11, widths[-1]) if z.is_floating_point() else (11,))
        assert z.is_floating_point() or int(z.max()) < widths[-1]
        assert not torch.equal(weights[0], Network.random(widths[1:], dtype=torch.float64).weights[0])
        assert {t.dtype for t in (x, *params)} == {torch.float64}
        assert named["dtypes"] == [torch.float64, torch.float32]
        assert named["seed"] == seed
        if "relu" in name:
            for w, b in zip(weights, biases, strict=True):
                x = x @ w.T + b
                assert x.abs().min() > 0.03
                x = x.relu()


def test_the_networks_that_are_judged_are_of_2_to_10_neurons_a_layer(monkeypatch):
    of_seeds = [drawn("network 6 layers, sigmoid", seed, monkeypatch)[0] for seed in range(5)]
    assert {length for _, _, *params in of_seeds for w in params[:6] for length in w.shape} == set(range(2, 11))


@pytest.mark.parametrize(
    ("name", "quantities"),
    [
        ("neuron", ["y", "x1", "x2", "w1", "w2", "wb"]),
        ("two_by_two", ["z_1", "z_2", "x", "y", *WEIGHTS["two_by_two"]]),
    ],
)
def test_the_articles_networks_are_judged_on_numbers_of_the_seed(name, quantities, monkeypatch):
    assert list(DOMAINS[name]) == quantities
    (network,) = (subject for subject in subjects() if subject.name == f"article.{name}")
    report = network.judge(CPU, [torch.float64], 0)
    assert (report.ok, len(report.rows)) == (True, {"neuron": 16, "two_by_two": 65}[name])
    inputs, named = drawn(f"article.{name}", 3, monkeypatch)
    assert len(inputs) == len(quantities)
    assert {(t.dtype, t.dim()) for t in inputs} == {(torch.float64, 0)}
    given = dict(zip(quantities, map(float, inputs), strict=True))
    for quantity, value in given.items():
        is_target = quantity in (("y",) if name == "neuron" else ("z_1", "z_2"))
        assert (0 <= value <= 1) >= is_target
    assert (named["dtypes"], named["seed"]) == ([torch.float64, torch.float32], 3)
    assert list(map(float, drawn(f"article.{name}", 3, monkeypatch)[0])) == list(given.values())
    meta = torch.device("meta")
    monkeypatch.setattr(subjects_module, "dtypes_of", {meta: (torch.float32,), CPU: (torch.float64,)}.__getitem__)
    inputs, _ = drawn(f"article.{name}", 3, monkeypatch, meta)
    assert {(t.device, t.dtype) for t in inputs} == {(meta, torch.float32)}
    assert list(map(float, drawn(f"article.{name}", 4, monkeypatch)[0])) != list(given.values())


@pytest.mark.parametrize("name", ["article.neuron", "article.two_by_two", "network 2 layers, tanh"])
def test_the_articles_literal_order_is_an_alternative_of_what_it_changes(name, monkeypatch):
    inputs, named = drawn(name, 0, monkeypatch)
    alternatives = named["explained"].args[0](True, *inputs)
    cause = "weights updated already, with eta = 0.5, carry the deltas back: the article's literal order of steps"
    for quantity, known in alternatives.items():
        for said, _ in known.mistaken:
            assert said == cause, quantity
    wrong = {quantity for quantity, known in alternatives.items() if known.mistaken}
    if name.startswith("article"):
        assert ("delta_11_out" in wrong) == bool(wrong) == (name == "article.two_by_two")
        assert {other for known in alternatives.values() for other in known.others} == {
            quantity for quantity in alternatives if not quantity.endswith("_new")
        }
    else:
        assert {"delta_out[0]", "stepped weight[0]", "new bias[0]"} <= wrong
        assert {tuple(known.sizes.items()) for known in alternatives.values()} == {(("samples", 11),)}


def test_a_network_on_one_sample_has_no_number_of_samples(monkeypatch):
    kept = []
    monkeypatch.setattr(subjects_module, "judge", lambda *given, **named: kept.append((given[2], named["explained"])))
    net = Network.random([3, 2], dtype=torch.float64)
    subjects_module.network(net, torch.ones(3).double(), torch.ones(2).double(), 0.5, CPU, [torch.float64], 0)
    ((inputs, alternatives),) = kept
    assert {tuple(known.sizes) for known in alternatives.args[0](False, *inputs).values()} == {()}


def test_the_quantities_of_a_network_that_are_judged():
    net = Network.random([3, 4, 2], dtype=torch.float64)
    x, z = torch.rand(5, 3, dtype=torch.float64), torch.rand(5, 2, dtype=torch.float64)
    report = subjects_module.network(net, x, z, 0.5, CPU, [torch.float64], 0)
    assert report.ok
    kinds = ("n_in", "n_out", "delta_in", "delta_out", "weight", "bias", "new weight", "new bias", "stepped weight",
             "stepped bias")  # fmt: skip
    assert {row.name for row in report.rows} == {"J", "x"} | {f"{kind}[{layer}]" for kind in kinds for layer in (0, 1)}


def test_real_digits_are_judged_on_eleven_of_the_seed(digits, monkeypatch):
    X, Z = data.digits()
    (x, z, *params), named = drawn("network on real digits", 3, monkeypatch)
    batch = torch.randperm(1797, generator=torch.Generator().manual_seed(3))[:11]
    assert torch.equal(x, X[batch])
    assert torch.equal(z, Z[batch])
    theirs = Network.random([64, 32, 10], seed=3, dtype=torch.float64)
    assert all(map(torch.equal, params, (*theirs.weights, *theirs.biases)))
    assert named["seed"] == 3
    kept = []
    monkeypatch.setattr(subjects_module, "network", lambda net, *given: kept.append((net, given[2:])))
    subjects_module._digits(CPU, [torch.float64], 3)
    ((net, rest),) = kept
    assert (net.activations, net.cost_rule) == ((Tanh, Identity), COSTS["softmax_cross_entropy"])
    assert rest == (0.5, CPU, [torch.float64], 3)


def test_each_twin_of_a_rule_is_judged_by_its_options():
    (huber,) = (subject for subject in subjects() if subject.name == "rule Huber")
    report = huber.judge(CPU, [torch.float32], 3)
    assert (report.title, report.ok) == ("Huber", True)
    names = [row.name for row in report.rows]
    plain = [name for name in names if "delta=0.3" not in name]
    assert names == plain + [f"{name}, delta=0.3" for name in plain]
    assert {row.dtype for row in report.rows} == {torch.float32}


def test_each_twin_of_a_rule_is_judged_on_the_draw_of_the_seed(monkeypatch):
    asked = []

    def keep(forward, backward, inputs, *, twin, dtypes, seed):
        asked.append((str(twin), dtypes, seed))
        assert all(map(torch.equal, inputs, twin.draw(3)))
        return Report("", (Row("x", CPU, torch.float64, 8.0, 16.0, True, "agrees", ""),))

    monkeypatch.setattr(subjects_module, "crosscheck", keep)
    report = subjects_module.rule("Huber", CPU, [torch.float64, torch.bfloat16], 3)
    assert asked == [(options, [torch.float64, torch.bfloat16], 3) for options in ("", "delta=0.3")]
    assert [row.name for row in report.rows] == ["x", "x, delta=0.3"]


def test_a_rule_without_a_twin_here_is_not_judged():
    says = "^torch has no twin of it on cpu at bfloat16, float16$"
    with pytest.raises(NotJudged, match=says):
        subjects_module.rule("Cholesky", CPU, [torch.bfloat16, torch.float16], 0)
    says = "^rule Square has no twin: add its line to reference/rules.py$"
    with pytest.raises(CommandError, match=says):
        subjects_module.rule("Square", CPU, [torch.float32], 0)


@pytest.mark.parametrize("owner", ["Huber", "Network"])
def test_autograd_goes_through_the_forward_of_each_case(owner):
    of_owner = list(subjects_module.cases(owner))
    assert len(of_owner) == (2 if owner == "Huber" else 1)
    for case in of_owner:
        inputs = case.draw(3)
        assert all(torch.equal(a, b) for a, b in zip(inputs, case.draw(3), strict=True))
        assert not torch.equal(inputs[0], case.draw(4)[0])
        assert crosscheck(case.forward, case.backward, inputs, dtypes=[torch.float64]).ok


def test_inputs_on_a_device_are_leaves_of_its_widest_dtype(monkeypatch):
    inputs = [torch.ones(2, requires_grad=True) * 3, None, torch.arange(3), torch.ones(4).double()]
    meta = torch.device("meta")
    for device, widest in ((CPU, torch.float64), (meta, torch.float32)):
        monkeypatch.setattr(subjects_module, "dtypes_of", {device: (widest, torch.float16)}.__getitem__)
        triple, none, index, ones = subjects_module.on(device, inputs)
        assert none is None
        assert triple.device == index.device == ones.device == device
        assert (triple.dtype, index.dtype, ones.dtype) == (widest, torch.int64, widest)
        assert (triple.is_leaf, triple.requires_grad, ones.requires_grad) == (True, True, False)
