"""The article's notation, and `manual-bp article` in the terminal."""

import ast
import json
import re

import pytest
import torch

from manual_bp import article, notation
from manual_bp.__main__ import main
from manual_bp.commands.article import DEFAULTS
from reference import article as reference_article


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("n_11_in", "n11(in)"),
        ("n_out", "n(out)"),
        ("delta_21_out", "δ21(out)"),
        ("w_21_11", "w21,11"),
        ("w_11_b_new", "w11,b′"),
        ("wb", "wb"),
        ("z_1", "z1"),
        ("J", "J"),
        ("dJ_dw_11_x", "∂J/∂w11,x"),
        ("dn_21_in_dn_11_out", "∂n21(in)/∂n11(out)"),
        ("eta", "η"),
    ],
)
def test_symbols(name, text):
    assert notation.text(name) == text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("n_out - y", "n(out) − y"),
        ("w1 * x1 + w2 * x2 + wb", "w1·x1 + w2·x2 + wb"),
        ("n_out * (1 - n_out)", "n(out)·(1 − n(out))"),
        ("w1 - eta * dJ_dw1", "w1 − η·∂J/∂w1"),
        ("x - (y - z_1)", "x − (y − z1)"),
        ("sigmoid(-n_in)", "σ(−n(in))"),
        ("-times_log(1 - y, logsigmoid(-n_in))", "−(1 − y)·log σ(−n(in))"),
        ("-y * (1 + exp(-n_in))", "−y·(1 + e^(−n(in)))"),
        ("sigmoid(w1 + x1)", "σ(w1 + x1)"),
        ("ones_like(n_in) - 2", "1 − 2"),
    ],
)
def test_formulas(source, text):
    assert notation.as_text(ast.parse(source, mode="eval").body) == text


N_IN = "<mrow><msub><mi>n</mi><mtext>11</mtext></msub><mtext>(in)</mtext></mrow>"
X_1 = "<mrow><msub><mi>x</mi><mtext>1</mtext></msub></mrow>"
J = "<mrow><mi>J</mi></mrow>"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("x1", X_1),
        ("n_11_in", N_IN),
        ("w_11_x_new", "<mrow><msubsup><mi>w</mi><mtext>11,x</mtext><mo>′</mo></msubsup></mrow>"),
        ("delta_out", "<mrow><mi>δ</mi><mtext>(out)</mtext></mrow>"),
        ("dJ_dx1", f"<mfrac><mrow><mo>∂</mo>{J}</mrow><mrow><mo>∂</mo>{X_1}</mrow></mfrac>"),
        ("x1 * (1 - J)", f"{X_1}<mo>·</mo><mrow><mo>(</mo><mn>1</mn><mo>−</mo>{J}<mo>)</mo></mrow>"),
        ("-x1 + 2", f"<mo>−</mo>{X_1}<mo>+</mo><mn>2</mn>"),
        ("exp(-n_11_in)", f"<msup><mi>e</mi><mrow><mo>−</mo>{N_IN}</mrow></msup>"),
        ("sigmoid(n_11_in)", f"<mi>σ</mi><mrow><mo>(</mo>{N_IN}<mo>)</mo></mrow>"),
        (
            "times_log(J, logsigmoid(x1))",
            f"{J}<mo>·</mo><mi>log</mi><mspace width='.2em'/><mi>σ</mi><mrow><mo>(</mo>{X_1}<mo>)</mo></mrow>",
        ),
        ("ones_like(J)", "<mn>1</mn>"),
    ],
)
def test_formulas_in_mathml(source, shown):
    assert notation.as_mathml(ast.parse(source, mode="eval").body) == shown


def test_an_equation_stands_under_the_comment_above_it():
    n_in, n_out, J, *_ = notation.equations(article.neuron)
    assert (n_in.section, n_in.name, ast.unparse(n_in.value)) == ("Forward", "n_in", "w1 * x1 + w2 * x2 + wb")
    assert (n_out.section, n_out.name) == ("Forward", "n_out")
    assert (J.section, J.name) == ("Cost: −y·log n(out) − (1−y)·log(1 − n(out))", "J")


def test_numbers_are_put_in_with_their_signs():
    numbers = {"w1": -0.5, "x1": 2.0, "n_in": -1.0}
    assert notation.in_numbers(ast.parse("x1 - w1 * x1", mode="eval").body, numbers) == "2 − (−0.5)·2"
    assert notation.in_numbers(ast.parse("sigmoid(n_in)", mode="eval").body, numbers) == "σ(−1)"


@pytest.mark.parametrize("name", DEFAULTS)
def test_every_quantity_has_its_equation_and_the_equation_its_value(name):
    """What is shown, computed anew from the text that is shown."""
    function = getattr(article, name)
    values = {n: float(v) for n, v in vars(function(**DEFAULTS[name])).items()}
    shown = {line.name: line.value for line in notation.equations(function)}
    assert shown.keys() == values.keys() - DEFAULTS[name].keys()
    functions = {
        "sigmoid": lambda n: 1 / (1 + torch.tensor(-n).exp().item()),
        "logsigmoid": lambda n: -torch.tensor(-n).exp().log1p().item(),
        "exp": lambda n: torch.tensor(n).exp().item(),
        "times_log": lambda a, b: a * b,
        "ones_like": lambda n: 1.0,
    }
    for quantity, formula in shown.items():
        assert eval(ast.unparse(formula), functions | values) == pytest.approx(values[quantity], rel=1e-6), quantity


def test_a_formula_without_a_notation_is_refused():
    with pytest.raises(ValueError, match="no notation for 'x @ w'"):
        notation.as_text(ast.parse("x @ w", mode="eval").body)


def test_the_article_is_worked_through_in_its_steps(capsys):
    assert main(["article"]) == 0
    out = capsys.readouterr().out
    steps = [out.index(f"Step {number}: ") for number in (1, 2, 3, 4)]
    assert steps == sorted(steps)
    assert "  δ11(out) = ∂n21(in)/∂n11(out)·δ21(in) + ∂n22(in)/∂n11(out)·δ22(in)\n" in out
    assert out.count("roundoffs apart") == 16 + 65  # every quantity has autograd's beside it
    assert "article.neuron: agrees with autograd in all 16 quantities" in out
    assert "article.two_by_two: agrees with autograd in all " in out


@pytest.mark.parametrize("kind", ["toml", "json"])
def test_numbers_of_ones_own(kind, capsys, tmp_path):
    file = tmp_path / f"numbers.{kind}"
    numbers = {"neuron": {"x1": 0.25, "eta": 3.0}}
    file.write_text(json.dumps(numbers) if kind == "json" else "[neuron]\nx1 = 0.25\neta = 3.0\n")
    assert main(["article", "neuron", "--file", str(file), "--weights", "w1=-2", "--inputs", "y=0"]) == 0
    out = capsys.readouterr().out
    assert "x1 = 0.25, x2 = 2, y = 0, η = 3, w1 = −2, w2 = −0.3, wb = 0.2\n" in out
    assert "       = (−2)·0.25 + (−0.3)·2 + 0.2\n" in out
    assert "Figure 2" not in out
    q = article.neuron(x1=0.25, x2=2.0, y=0.0, eta=3.0, w1=-2.0, w2=-0.3, wb=0.2)
    assert f"= {notation.number(float(q.w1_new))}   autograd {notation.number(float(q.w1_new))}" in out


@pytest.mark.parametrize(
    ("arguments", "content", "says"),
    [
        (["--inputs", "q=1"], None, "--inputs q=1: expected NAME=NUMBER, NAME one of x1, x2, y of neuron; x, y, z_1"),
        (["--inputs", "w1=1"], None, "--inputs w1=1: expected NAME=NUMBER"),
        (["--weights", "w1=one"], None, "--weights w1: expected a number, got 'one'"),
        (["neuron", "--inputs", "x=1"], None, "--inputs x=1: expected NAME=NUMBER, NAME one of x1, x2, y of neuron\n"),
        (["--inputs", "x=1e999"], None, "--inputs x: expected a finite number, got inf"),
        (["--inputs", "x=nan"], None, "--inputs x: expected a finite number, got nan"),
        (["--file", "FILE"], f"[neuron]\nx1 = {'9' * 400}", "neuron: x1: expected a finite number, got inf"),
        (["--inputs", "z_1=2"], None, "z_1: expected targets from 0 to 1, got 2.0"),
        (["--eta", "nan"], None, "eta: expected a finite number, got nan"),
        (["--file", "FILE"], "[three]\nx = 1", "expected tables neuron and two_by_two, got 'three'"),
        (["--file", "FILE"], "[neuron]\nx = 1", "neuron: expected one of x1, x2, y, eta, w1, w2, wb, got 'x'"),
        (["--file", "FILE"], "[neuron", "expected TOML, or JSON in a .json file: "),
        (["--file", "nowhere.toml"], None, "nowhere.toml: No such file or directory"),
        (["--html", "nowhere/page.html"], None, "--html nowhere/page.html: "),
    ],
)
def test_what_cannot_be_worked_is_said(arguments, content, says, capsys, tmp_path, monkeypatch):
    if "--html" in arguments:
        pytest.importorskip("matplotlib", reason="the page has figures")
    monkeypatch.chdir(tmp_path)
    if content:
        (tmp_path / "numbers.toml").write_text(content)
    assert main(["article", *(a.replace("FILE", "numbers.toml") for a in arguments)]) == 2
    out, err = capsys.readouterr()
    assert says in err
    assert out == ""


def test_a_mistake_is_seen(capsys, monkeypatch):
    twin = reference_article.neuron
    monkeypatch.setattr(reference_article, "neuron", lambda **given: twin(**given | {"w1": given["w1"] + 1e-9}))
    assert main(["article", "neuron"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"MISMATCH in \d+ of 16", out)
