"""`manual-bp train --model transformer`: what it trains on, prints and writes."""

import os
import re
from pathlib import Path

import pytest
import torch

from manual_bp import Transformer
from manual_bp.__main__ import main
from manual_bp.adamw import AdamW
from manual_bp.checkpoint import load_transformer
from manual_bp.data import DataError, text
from manual_bp.mistakes import planted

SMALL = {"--layers": "1", "--width": "8", "--heads": "2", "--context": "6", "--batch-size": "3", "--steps": "20"}
TEXT = "the cat sat on the mat\n" * 20


@pytest.fixture
def train(tmp_path, capsys):
    """Trains on a text in a file; returns the exit code, and what is printed, on standard output and error."""

    def run(*options, of=TEXT, **more):
        (tmp_path / "mine.txt").write_text(of, encoding="utf-8")
        small = SMALL | {f"--{name.replace('_', '-')}": str(value) for name, value in more.items()}
        arguments = [part for option in small.items() for part in option]
        code = main(["train", "--model", "transformer", "--data", str(tmp_path / "mine.txt"), *arguments, *options])
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("form", ["gpt2", "llama"])
def test_it_trains_as_fit_does_and_writes_as_generate_does(form, train, tmp_path):
    code, out, _ = train(form=form, seed=3, rate=0.01, verify_every=8, save=tmp_path / "net")
    assert code == 0
    tokens, characters = text(str(tmp_path / "mine.txt"))
    net = Transformer.random(
        form=form, vocabulary=len(characters), context=6, width=8, layers=1, heads=2, seed=3,
        optimizer=AdamW(decay=0.1, clip=1.0),
    )  # fmt: skip
    assert out.startswith(f"{net}\n414 characters to train on, 46 held out\n\n step        cost  held-out cost\n")
    history = net.fit(
        tokens[:414], rate=0.01, steps=20, batch_size=3, seed=3, held_out=tokens[414:], every=2, progress=False
    )
    means = [sum(history.cost[i : i + 2]) / 2 for i in range(0, 20, 2)]
    rows = [
        f"{2 * i:5d}  {mean:10.6f}  {held_out:13.6f}"
        for i, (mean, held_out) in enumerate(zip(means, history.held_out_cost, strict=True), start=1)
    ]
    assert out.splitlines()[4:14] == rows
    assert re.search(r"\n20 steps by hand, \d+ ms each\n", out)
    assert "cross-checked against autograd in float64 at 2 of them: all agree\n" in out
    sample = net.generate([0], 400, seed=3, temperature=0.8).tolist()  # the first of the characters is the line's end
    assert out.endswith("\nWhat it writes:\n" + "".join(characters[token] for token in sample).strip("\n") + "\n")
    saved, labels = load_transformer(tmp_path / "net", lambda configuration, parameters: parameters)
    assert labels.classes == characters == sorted(set(TEXT))
    assert all(torch.equal(value, saved[name]) for name, value in net.parameters.items())


@pytest.mark.parametrize(
    ("mistake", "first"), [("gelu-constant", "delta[0]"), ("late-decay", "new transformer.wte.weight")]
)
def test_a_mistake_ends_a_cross_checked_training_at_once(mistake, first, train):
    with planted(mistake):
        code, out, _ = train(verify_every=3)
    assert code == 1
    assert re.search(r"^step 3: gradient: MISMATCH in", out, re.MULTILINE)
    assert re.findall(r"^(.*?)  +cpu .* wrong formula", out, re.MULTILINE)[0] == first
    assert "steps by hand" not in out


def test_a_training_that_diverges_is_said(train):
    code, _, err = train(rate=1e30)
    assert code == 2
    assert re.search(
        r"manual-bp train: step \d+: the training diverges, the cost is .*: choose a rate smaller than", err
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"steps": 0}, "--steps: expected 1 or more, got 0"),
        ({"verify_every": 0}, "--verify-every: expected 1 or more, got 0"),
        ({"rate": "nan"}, "--rate: expected a finite number, got nan"),
        ({"width": 9}, "width: expected a multiple of the 2 heads, got 9"),
        ({"device": "quantum"}, "device: expected one of cpu, cuda, mps, xpu"),
        ({"context": 46}, "--context 46: expected a text of at least 470 characters"),
        ({"context": 5, "of": "the cat s"}, "--context 5: expected a text of at least 60 characters"),
        ({"data": "nothing.txt"}, "nothing.txt: expected a text file in UTF-8, got no file of that name"),
        ({"save": "nowhere/net"}, "--save nowhere/net: expected a directory that exists, got no "),
        ({"of": ""}, "mine.txt: expected at least one character, got none"),
    ],
)
def test_what_cannot_be_trained_is_said(options, says, train):
    code, out, err = train(**options)
    assert (code, out) == (2, "")
    assert says in err


@pytest.mark.parametrize("of", ["ab\nc", "ü€𝄞\x00ü"])
def test_the_characters_of_a_text_are_its_tokens(of, tmp_path):
    (tmp_path / "mine.txt").write_text(of, encoding="utf-8", newline="")
    tokens, characters = text(str(tmp_path / "mine.txt"))
    assert characters == sorted(set(of))
    assert tokens.dtype == torch.int64
    assert "".join(characters[token] for token in tokens.tolist()) == of


def test_without_a_file_the_text_is_pythons_own_library():
    tokens, characters = text(None)
    written = "".join(characters[token] for token in tokens.tolist())
    assert Path(os.__file__).read_text(encoding="utf-8") in written
    assert written.isascii()


def test_what_is_no_text_is_said(tmp_path):
    (tmp_path / "mine.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"mine.txt: expected a text file in UTF-8, got another kind of file \("):
        text(str(tmp_path / "mine.txt"))
