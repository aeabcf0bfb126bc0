"""Every planted mistake is caught by what `manual-bp verify` judges, where it was planted, and is gone afterwards."""

import inspect

import pytest
import torch

from crosscheck import Report
from crosscheck.verdict.precision import dtypes_of
from manual_bp import Network, article, mistakes
from manual_bp.commands.article import DEFAULTS
from manual_bp.commands.subjects import subjects
from manual_bp.mistakes import MISTAKES, Edit, planted
from reference import article as article_twin
from reference import network as network_twin

# The subjects that each mistake must show in, and the first wrong quantity of one of them.
SHOWS_IN = {
    "stale-weights": ({"article.two_by_two", "network 2", "network 6"}, "network 2", "delta_out[0]"),
    "sign": (
        {"article.neuron", "article.two_by_two", "rule Sigm", "rule Soft", "rule Squ", "network 1"},
        "network 1", "delta_in[0]",
    ),
    "missing-derivative": (
        {"article.two_by_two", "rule Sigmoid", "rule Tanh", "rule ReLU", "network 2"}, "network 2", "delta_in[0]",
    ),
    "transposed": ({"article.two_by_two", "rule Affine", "network 1"}, "rule Affine", "w"),
    "forgotten-mean": ({"network 1", "network 6"}, "network 1", "delta_out[0]"),
    "forgotten-bias": ({"article.neuron", "article.two_by_two", "rule Affine", "network 1"}, "rule Affine", "b"),
    "gelu-constant": ({"rule TanhGELU", "transformer, gpt2"}, "transformer, gpt2", "delta[0]"),
    "causal-mask": ({"rule Scaled", "transformer, gpt2"}, "transformer, gpt2", "J"),
    "missing-scale": ({"rule Scaled", "transformer, gpt2"}, "rule Scaled", "k"),
    "tied-head": (
        {"transformer, gpt2", "transformer, llama, tied"}, "transformer, gpt2", "grad transformer.wte.weight",
    ),
    "unsummed-heads": ({"rule Scaled", "transformer, llama, tied"}, "transformer, llama, tied", "delta[0]"),
    "late-decay": ({"transformer, gpt2", "transformer, llama"}, "transformer, gpt2", "new transformer.wte.weight"),
}  # fmt: skip


def judged(device: torch.device, *places: str) -> dict[str, Report]:
    """What begins so, but for the digits."""
    chosen = [subject for subject in subjects() if "digits" not in subject.name and subject.name.startswith(places)]
    return {subject.name: subject.judge(device, dtypes_of(device)[:2], 0) for subject in chosen}


def test_every_mistake_is_tested():
    assert MISTAKES.keys() == SHOWS_IN.keys()


@pytest.mark.parametrize("mistake", MISTAKES)
def test_planted_mistake_is_caught_where_it_is(mistake, device):
    places, example, first = SHOWS_IN[mistake]
    with planted(mistake):
        wrong = {name: report for name, report in judged(device, *places).items() if not report.ok}
    for place in places:
        assert any(name.startswith(place) for name in wrong), place
    (report,) = (report for name, report in wrong.items() if name.startswith(example))
    assert report.mismatches[0].name == first


def test_stale_weights_are_named(device):
    with planted("stale-weights"):
        (subject,) = (subject for subject in subjects() if subject.name.startswith("network 6"))
        report = subject.judge(device, dtypes_of(device)[:1], 0)
    assert report.mismatches
    for row in report.mismatches:
        assert row.diagnosis.startswith("weights updated already, with eta = 0.5, carry the deltas back"), row


def test_the_articles_own_mistake_is_named_in_its_own_network(device):
    with planted("stale-weights"):
        (subject,) = (subject for subject in subjects() if subject.name == "article.two_by_two")
        report = subject.judge(device, dtypes_of(device)[:1], 0)
    assert "delta_11_out" in {row.name for row in report.mismatches}
    for row in report.mismatches:
        assert "carry the deltas back: the article's literal order of steps" in row.diagnosis, row


def test_the_literal_order_of_a_network_is_that_of_autograd(device):
    """Ours with old weights replaced by new ones, theirs layer by layer; what they do not tell stays right."""
    widest = dtypes_of(device)[0]
    generator = torch.Generator().manual_seed(0)
    net = Network.random([3, 5, 4, 2], activation="tanh", dtype=widest, device=device, seed=1)
    x = torch.randn(6, 3, generator=generator).to(device, widest)
    z = torch.rand(6, 2, generator=generator).to(device, widest)
    given = (x, z, 0.7, net.weights, net.biases, ["tanh", "tanh", "sigmoid"], "cross_entropy")
    right, theirs = network_twin.one_round(*given), network_twin.literal_order(*given)
    wrong = mistakes.literal_order(net, net.forward(x), z, 0.7)
    layers = ("delta_in", "delta_out", "weight", "bias")
    ours = {f"{name}[{layer}]": getattr(wrong, name)[layer] for name in layers for layer in range(3)} | {"x": wrong.x}
    parameters = {"weight": net.weights, "bias": net.biases}
    for name, values in parameters.items():
        ours |= {f"new {name}[{i}]": old - 0.7 * ours[f"{name}[{i}]"] for i, old in enumerate(values)}
    of_the_last = {f"{name}[2]" for name in (*layers, "new weight", "new bias")}
    assert theirs.keys() == ours.keys() - of_the_last
    for name, value in ours.items():
        torch.testing.assert_close(value, (right | theirs)[name], rtol=1e-5, atol=1e-7)
    assert not torch.allclose(theirs["weight[1]"], right["weight[1]"])


def test_the_literal_order_of_the_article_is_that_of_autograd(device):
    widest = dtypes_of(device)[0]
    numbers = {name: torch.tensor(x, dtype=widest, device=device) for name, x in DEFAULTS["two_by_two"].items()}
    with planted("stale-weights"):
        ours = vars(article.two_by_two(**numbers))
    right, theirs = article_twin.two_by_two(**numbers), article_twin.literal_order(**numbers)
    for name in right:
        torch.testing.assert_close(ours[name], (right | theirs)[name], rtol=1e-5, atol=1e-7)
    changed = {name for name in right if not torch.isclose(right[name], ours[name])}
    assert {"delta_11_out", "delta_12_in", "dJ_dw_11_x", "w_12_b_new"} < changed <= theirs.keys() < right.keys()


def test_nothing_is_left_of_a_mistake(device):
    for mistake in MISTAKES:
        with planted(mistake):
            pass
    for name, report in judged(device, "").items():
        assert report.ok, name


def test_an_edit_that_no_longer_fits_the_source_fails(monkeypatch):
    edit = Edit(mistakes, "literal_order", "this is not in it", "nor this")
    monkeypatch.setitem(MISTAKES, "unfit", (edit,))
    with (
        pytest.raises(LookupError, match=r"mistakes.literal_order: expected 'this is not in it' once"),
        planted("unfit"),
    ):
        pass


def test_each_edit_changes_its_source():
    for edits in MISTAKES.values():
        for edit in edits:
            assert edit.right != edit.wrong
            assert edit.right in inspect.getsource(getattr(edit.owner, edit.name))


def test_an_unknown_mistake_is_refused():
    with pytest.raises(ValueError, match="mistake: expected one of stale-weights, .* got 'typo'"), planted("typo"):
        pass
