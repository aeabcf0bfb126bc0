"""The article's notation, and `manual-bp article` in the terminal."""

import ast
import io
import json
import re
from types import SimpleNamespace

import pytest
import torch

from manual_bp import __version__, article, notation
from manual_bp.__main__ import main
from manual_bp._console import Plain
from manual_bp.commands import CommandError, _writing
from manual_bp.commands import article as article_module
from manual_bp.commands.article import ARTICLE, DEFAULTS, Line, as_network, numbers_given
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


def test_a_formula_in_mathml_is_its_terms():
    def terms(source):
        return notation.terms_in_mathml(ast.parse(source, mode="eval").body)

    minus, plus = ('<mo form="infix">−</mo>', '<mo form="infix">+</mo>')
    assert terms("x1") == [X_1]
    assert terms("-x1 * J") == [notation.as_mathml(ast.parse("-x1 * J", mode="eval").body)]
    assert terms("x1 + J - x1 * J") == [X_1, f"{plus}{J}", f"{minus}{X_1}<mo>·</mo>{J}"]
    assert terms("x1 - (J + 1)") == [X_1, f"{minus}<mrow><mo>(</mo>{J}<mo>+</mo><mn>1</mn><mo>)</mo></mrow>"]


def test_an_equation_stands_under_the_comment_above_it():
    n_in, n_out, J, *_ = notation.equations(article.neuron)
    assert (n_in.name, ast.unparse(n_in.value)) == ("n_in", "w1 * x1 + w2 * x2 + wb")
    assert n_in.section.title == "Forward"
    assert n_in.section.prose.startswith("n(in) is the weighted sum of what comes to the neuron. A bias")
    assert n_in.section.prose.endswith("always 1.")
    assert (n_out.section, n_out.name) == (n_in.section, "n_out")
    assert (J.section.title, J.name) == ("Cost: −y·log n(out) − (1−y)·log(1 − n(out))", "J")
    assert " ".join(J.section.prose.split()) == J.section.prose


def test_a_comment_alone_is_a_title_without_prose():
    def function(x):
        # One
        y = x  # not this

        # Two
        # in words
        # and more
        z = y
        w = z
        return z + w

    assert [(*line.section, line.name) for line in notation.equations(function)] == [
        ("One", "", "y"), ("Two", "in words and more", "z"), ("Two", "in words and more", "w"),
    ]  # fmt: skip


def test_every_step_of_the_article_is_told_in_words():
    for name in DEFAULTS:
        assert [
            line.section.title for line in notation.equations(getattr(article, name)) if not line.section.prose
        ] == []


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
    apart = [line for line in out.splitlines() if " roundoffs apart" in line]
    said = re.findall(r"agrees with autograd in all (\d+) quantities(, \d+ of them)? to the last bit", out)
    assert [int(total) for total, _ in said] == [16, 65]
    same = [int(re.sub(r"\D", "", of_them) or total) for total, of_them in said]
    assert len(apart) == 16 + 65 - sum(same)


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
    assert f"      = {notation.number(float(q.w1_new))}\n" in out


@pytest.mark.parametrize(
    ("arguments", "content", "says"),
    [
        (["--inputs", "q=1"], None, "--inputs q=1: expected NAME=NUMBER, NAME one of x1, x2, y of neuron; x, y, z_1"),
        (["--inputs", "w1=1"], None, "--inputs w1=1: expected NAME=NUMBER"),
        (["--weights", "w1=one"], None, "--weights w1: expected a number, got 'one'"),
        (
            ["neuron", "--inputs", "x=1"],
            None,
            "--inputs x=1: expected NAME=NUMBER, NAME one of x1, x2, y of neuron, got 'x'\n",
        ),
        (["--inputs", "x=1e999"], None, "--inputs x: expected a finite number, got inf"),
        (["--inputs", "x=nan"], None, "--inputs x: expected a finite number, got nan"),
        (["--file", "FILE"], f"[neuron]\nx1 = {'9' * 400}", "neuron: x1: expected a finite number, got inf"),
        (["--inputs", "z_1=2"], None, "z_1: expected a target from 0 to 1, got 2.0"),
        (["--eta", "nan"], None, "--eta: expected a finite number, got nan"),
        (["--file", "FILE"], "[three]\nx = 1", "expected tables neuron and two_by_two, got 'three'"),
        (["--file", "FILE"], "[neuron]\nx = 1", "neuron: expected one of x1, x2, y, eta, w1, w2, wb, got 'x'"),
        (["--file", "FILE"], "[neuron", "expected TOML, or JSON in a .json file, got neither ("),
        (["--file", "nowhere.toml"], None, "nowhere.toml: expected a file in TOML or JSON, got no file of that name"),
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


@pytest.mark.parametrize(
    ("value", "autograd", "beside"),
    [
        (0.5, 0.5, ""),
        (0.0, 0.0, ""),
        (0.5 + 2**-53, 0.5, "autograd 0.5, 2 roundoffs apart"),
        (-0.5, -0.5 - 2**-52, "autograd −0.5, 4 roundoffs apart"),
        (3 * 2.0**-60, 0.0, f"autograd 0, {3 * 2.0**-60:.2g} apart"),
        (-0.25, 0.0, "autograd 0, 0.25 apart"),
    ],
)
def test_how_far_apart_in_roundoffs_or_beside_zero_in_full(value, autograd, beside):
    assert Line(EQUATION, "", value, autograd).beside == beside


@pytest.mark.parametrize(("apart", "bits"), [(0, " to the last bit"), (1, ", 2 of them to the last bit")])
def test_the_verdict_says_how_many_are_the_same_to_the_last_bit(apart, bits):
    steps = [Line(EQUATION, "", 1.0, 1.0 + 2**-52 * (place < apart)) for place in range(3)]
    report = SimpleNamespace(ok=True)
    assert article_module._verdict("n", steps, report) == f"article.n: agrees with autograd in all 3 quantities{bits}"


EQUATION = notation.Equation(
    notation.Section("Forward & <back>", "n & <m>"), "n_out", ast.parse("sigmoid(n_in)", mode="eval").body
)
LINES = [
    Line(EQUATION, "σ(−1)", 0.25, 0.5),
    Line(EQUATION._replace(name="w1", value=ast.parse("x1", mode="eval").body), "(−2)", -2.0, -2.0),
    Line(EQUATION._replace(section=notation.Section("Step 1: δ", "")), "<3>", 3.0, 3.0),
]


class Recorded(Plain):
    """Keeps what is printed, and in what style."""

    def __init__(self):
        self.printed = []

    def print(self, text="", *, style=None, end="\n"):
        self.printed.append((text + end, style))


@pytest.fixture
def lines(monkeypatch):
    recorded = Recorded()
    monkeypatch.setattr(article_module, "console", lambda: recorded)
    return recorded


def test_equations_are_printed_under_their_sections_and_numbers_once(lines):
    article_module._print(lines, LINES)
    assert lines.printed == [
        ("\nForward & <back>\n", "bold"),
        ("  n(out) = σ(n(in))\n", None),
        ("         = σ(−1)\n", None),
        ("         = 0.25   autograd 0.5, 4.5e+15 roundoffs apart\n", None),
        ("  w1 = x1\n", None),
        ("     = −2\n", None),
        ("\nStep 1: δ\n", "bold"),
        ("  n(out) = σ(n(in))\n", None),
        ("         = <3>\n", None),
        ("         = 3\n", None),
    ]


WORKED = dict.fromkeys(("html_file", "figures", "file", "eta"))


def test_a_network_is_worked_under_its_title_and_numbers_to_its_verdict(lines, monkeypatch):
    assert article_module.article("neuron", [], [], **WORKED) == 0
    assert lines.printed[:3] == [
        ("Figure 1: one neuron\n", "bold"),
        ("x1 = 1, x2 = 2, y = 1, η = 0.5, w1 = 0.1, w2 = −0.3, wb = 0.2\n", None),
        ("\nForward\n", "bold"),
    ]
    assert lines.printed[3:6] == [
        ("  n(in) = w1·x1 + w2·x2 + wb\n", None),
        ("        = 0.1·1 + (−0.3)·2 + 0.2\n", None),
        ("        = −0.3\n", None),
    ]
    assert lines.printed[-1][0].startswith("\narticle.neuron: agrees with autograd in all 16 quantities")
    assert lines.printed[-1][1] == "bold"
    assert article_module.article("two_by_two", [], [], **WORKED) == 0
    assert ("Figure 2: two layers, four neurons\n", "bold") in lines.printed
    twin = reference_article.neuron
    monkeypatch.setattr(reference_article, "neuron", lambda **given: twin(**given | {"w1": given["w1"] + 1e-9}))
    lines.printed.clear()
    assert article_module.article("neuron", [], [], **WORKED) == 1
    assert lines.printed[-1][0].startswith("\narticle.neuron: gradient: MISMATCH in ")
    assert lines.printed[-1][1] == "bold red"


@pytest.mark.parametrize("name", DEFAULTS)
def test_a_network_is_worked_in_float64(name):
    steps, report = article_module._work(name, DEFAULTS[name])
    ours = vars(getattr(article, name)(**DEFAULTS[name]))
    assert {line.equation.name: line.value for line in steps} == {
        quantity: value.item() for quantity, value in ours.items() if quantity not in DEFAULTS[name]
    }
    assert {row.dtype for row in report.rows} == {torch.float64}


def test_files_are_in_utf_8_whatever_the_machine_has(lines, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(io, "text_encoding", lambda encoding, stacklevel=2: encoding or "ascii")
    numbers, page = tmp_path / "numbers.toml", tmp_path / "page.html"
    numbers.write_bytes("# η\n[neuron]\neta = 2\n".encode())
    monkeypatch.setattr(article_module, "_figures", lambda given: {})
    monkeypatch.setattr(article_module, "_page", lambda worked, given, drawn: f"η = {given['neuron']['eta']:g}")
    assert article_module.article("neuron", [], [], **WORKED | {"file": str(numbers), "html_file": str(page)}) == 0
    assert page.read_bytes() == "η = 2".encode()


def given(*networks, inputs=(), weights=(), eta=None, file=None):
    return numbers_given(networks or list(DEFAULTS), list(inputs), list(weights), eta, file)


def test_numbers_come_from_the_defaults_the_file_and_the_command_line_in_this_order(tmp_path):
    file = tmp_path / "numbers.toml"
    file.write_text("[neuron]\nx1 = 3\nx2 = 4\neta = 2\n[two_by_two]\nx = 5\ny = 6\n", encoding="utf-8")
    ours = given(inputs=["x1=7", "y=1"], weights=["wb=8", "w_11_x=9"], file=str(file))
    assert ours == {
        "neuron": DEFAULTS["neuron"] | {"x1": 7.0, "x2": 4.0, "y": 1.0, "wb": 8.0, "eta": 2.0},
        "two_by_two": DEFAULTS["two_by_two"] | {"x": 5.0, "y": 1.0, "w_11_x": 9.0},
    }
    assert {network: list(numbers) for network, numbers in ours.items()} == {
        network: list(numbers) for network, numbers in DEFAULTS.items()
    }
    assert given("neuron", file=str(file), eta=0.0) == {
        "neuron": DEFAULTS["neuron"] | {"x1": 3.0, "x2": 4.0, "eta": 0.0}
    }
    assert all(numbers["eta"] == 3.0 for numbers in given(eta=3.0).values())
    assert given() == DEFAULTS


TWO_BY_TWO = "w_11_x, w_11_y, w_11_b, w_12_x, w_12_y, w_12_b, w_21_11, w_21_12, w_21_b, w_22_11, w_22_12, w_22_b"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (
            {"inputs": ["eta=1"]},
            "--inputs eta=1: expected NAME=NUMBER, NAME one of x1, x2, y of neuron; x, y, z_1, z_2 of two_by_two, got "
            "'eta'",
        ),
        (
            {"weights": ["x=1"]},
            f"--weights x=1: expected NAME=NUMBER, NAME one of w1, w2, wb of neuron; {TWO_BY_TWO} of two_by_two, "
            "got 'x'",
        ),
        ({"inputs": ["x1=a=b"]}, "--inputs x1: expected a number, got 'a=b'"),
        ({"inputs": ["x1"]}, "--inputs x1: expected NAME=NUMBER, got no number"),
        ({"file": "no.json"}, "no.json: expected a file in TOML or JSON, got no file of that name"),
        ({"file": "list.json"}, "list.json: expected tables neuron and two_by_two, got list"),
        (
            {"file": "bytes.json"},
            "bytes.json: expected TOML, or JSON in a .json file, got neither ('utf-8' codec can't decode byte",
        ),
        (
            {"file": "text.json"},
            "text.json: expected TOML, or JSON in a .json file, got neither (Expecting value: line 1 column 1",
        ),
        ({"file": "json.txt"}, "json.txt: expected TOML, or JSON in a .json file, got neither ("),
        ({"file": "number.toml"}, "number.toml: expected tables neuron and two_by_two, got 'neuron'"),
        ({"file": "none.json"}, "none.json: neuron: x1: expected a number, got None"),
        ({"file": "huge.json"}, "huge.json: neuron: x1: expected a finite number, got inf"),
        (
            {"file": "eta_.json"},
            "eta_.json: neuron: expected one of x1, x2, y, eta, w1, w2, wb, got 'eta_'",
        ),
    ],
)
def test_numbers_that_are_none_are_named(asked, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, content in {
        "list.json": b"[1]", "bytes.json": b"\xff", "text.json": b"text", "json.txt": b'{"neuron": {}}',
        "number.toml": b"neuron = 3", "none.json": b'{"neuron": {"x1": null}}',
        "huge.json": b'{"neuron": {"x1": 1%s}}' % (b"0" * 400), "eta_.json": b'{"neuron": {"eta_": 1}}',
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CommandError) as refused:
        given(**asked)
    said = str(refused.value)
    assert said == says or (": expected TOML" in says and said.startswith(says))


def test_an_equation_its_numbers_and_autograds_value_where_it_is_another():
    def math(inside):
        return f'<math displaystyle="true"><mrow>{inside}</mrow></math>'

    n_out, of_n_in = notation.mathml("n_out"), notation.as_mathml(EQUATION.value)
    assert article_module._equation(LINES[0]) == (
        f'<div class="equation">{math(f"{n_out}<mo>=</mo>{of_n_in}")}'
        '<div class="numbers">= σ(−1) = <b>0.25</b> autograd 0.5, 4.5e+15 roundoffs apart</div></div>'
    )
    assert article_module._equation(LINES[1]) == (
        f'<div class="equation">{math(notation.mathml("w1") + "<mo>=</mo>" + notation.mathml("x1"))}'
        '<div class="numbers">= <b>−2</b></div></div>'
    )
    of_two = LINES[2]._replace(equation=EQUATION._replace(value=ast.parse("x1 + J", mode="eval").body))
    first = f"{n_out}<mo>=</mo>{X_1}"
    assert article_module._equation(of_two) == (
        f'<div class="equation">{math(first)} {math(f"""<mo form="infix">+</mo>{J}""")}'
        '<div class="numbers">= &lt;3&gt; = <b>3</b></div></div>'
    )


@pytest.fixture
def page(monkeypatch):
    """A page of the three equations, with the names of the pictures in their place."""

    def write(name, *, ok=True, steps=LINES):
        monkeypatch.setattr(article_module, "_figure", lambda picture: f"<figure>{picture}</figure>")
        monkeypatch.setattr(article_module, "_equation", lambda line: f"<i>{line.value:g}</i>")
        monkeypatch.setattr(article_module, "_verdict", lambda name, steps, report: f"{name} & <{report.ok}>")
        pictures = {picture: picture for places in article_module.PLACES.values() for picture in places}
        worked = {name: (steps, SimpleNamespace(ok=ok))}
        return article_module._page(worked, {name: {"x1": 0.5, "eta": -1.0}}, {"neuron": "of the neuron"} | pictures)

    return write


def test_a_page_to_the_letter(page):
    title = "Neural Networks Backward Propagation, worked through"
    for name, figure, state in (("neuron", "<figure>of the neuron</figure>\n", "ok"), ("two_by_two", "", "wrong")):
        picture = "" if figure else "\n<figure>delta-21</figure>\n<figure>step-1</figure>"
        assert page(name, ok=state == "ok") == (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title><style>{article_module.STYLE}</style></head>\n<body><h1>{title}</h1>\n"
            f"<p>{ARTICLE}, equation by equation, with the numbers.</p>\n"
            f"<h2>{article_module.TITLES[name]}</h2>\n{figure}<p>x1 = 0.5, η = −1</p>\n"
            "<h3>Forward &amp; &lt;back&gt;</h3>\n<p>n &amp; &lt;m&gt;</p>\n<i>0.25</i>\n<i>-2</i>\n"
            f"<h3>Step 1: δ</h3>\n<i>3</i>{picture}\n"
            f'<p class="{state}">{name} &amp; &lt;{state == "ok"}&gt;</p>\n'
            f"<p><small>manual-bp {__version__}, torch {torch.__version__}, float64</small></p></body></html>\n"
        )


def test_every_picture_has_its_place_on_the_page(page):
    """After the section that it shows, in the order of the article."""
    html = page("two_by_two", steps=[Line(e, "", 1.0, 1.0) for e in notation.equations(article.two_by_two)])
    found = re.findall(r"<h3>(Forward, layer 2|Step \d|\(1\) Descent)|<figure>(.*?)</figure>", html)
    assert ["".join(one) for one in found] == [
        "Forward, layer 2", "network", "Step 1", "delta-21", "step-1", "Step 2", "step-2", "Step 3", "delta-11",
        "step-3", "Step 4", "step-4", "(1) Descent", "descent",
    ]  # fmt: skip


def test_what_was_written_is_said(lines, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    html, folder = tmp_path / "article.html", tmp_path / "new" / "drawn"
    saved = []
    monkeypatch.setattr("manual_bp.figures.save", lambda figure, path: saved.append((figure, path)))
    monkeypatch.setattr(article_module, "_figures", lambda given: {name: list(given) for name in ("one", "two")})
    monkeypatch.setattr(article_module, "_page", lambda *given: f"δ of {[list(part) for part in given]}")
    files = {"html_file": str(html), "figures": str(folder)}
    assert article_module.article("neuron", [], [], **WORKED | files) == 0
    assert lines.printed[-2:] == [(f"figures: 2 in {folder}\n", None), (f"page: {html}\n", None)]
    assert html.read_text(encoding="utf-8") == "δ of [['neuron'], ['neuron'], ['one', 'two']]"
    assert folder.is_dir()
    assert saved == [(["neuron"], folder / "one.svg"), (["neuron"], folder / "two.svg")]
    for option in files:
        lines.printed.clear()
        assert article_module.article("neuron", [], [], **WORKED | {option: files[option]}) == 0
        assert len([text for text, _ in lines.printed if text.startswith(("figures:", "page:"))]) == 1


@pytest.mark.parametrize("option", ["--html", "--figures"])
def test_where_nothing_can_be_written_it_is_said_before_the_work(option, lines, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    name = {"--html": "html_file", "--figures": "figures"}[option]
    asked = {name: str(tmp_path / "file" / "f")}
    why = f"expected a directory that exists, got no {tmp_path / 'file'}: make it first"
    if option == "--figures":
        why = f"expected a directory, got the file {tmp_path / 'file'}"
    for installed, says in ((True, why), (False, "matplotlib is not installed: pip install 'manual-bp[figures]'")):
        monkeypatch.setattr(_writing, "find_spec", lambda module, installed=installed: installed or None)
        with pytest.raises(CommandError, match=f"^{re.escape(f'{option} {asked[name]}: {says}')}$"):
            article_module.article("neuron", [], [], **WORKED | asked)
    assert lines.printed == []


@pytest.mark.parametrize("option", ["html_file", "figures"])
def test_a_full_disk_behind_a_page_or_a_figure_is_said(option, lines, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")

    def full(*given, **named):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("manual_bp.figures.save", full)
    monkeypatch.setattr(type(tmp_path), "write_text", full)
    monkeypatch.setattr(article_module, "_figures", lambda given: {"one": "figure"})
    monkeypatch.setattr(article_module, "_page", lambda *given: "")
    what = f"--{option.removesuffix('_file')} {tmp_path / 'f'}"
    with pytest.raises(CommandError, match=f"^{re.escape(what)}: No space left on device$"):
        article_module.article("neuron", [], [], **WORKED | {option: str(tmp_path / "f")})


def test_a_network_in_matrix_form():
    net, x, z = as_network("neuron", {"x1": 1.0, "x2": 2.0, "y": 3.0, "w1": 4.0, "w2": 5.0, "wb": 6.0})
    assert (net.weights[0].tolist(), net.biases[0].tolist()) == ([[4, 5]], [6])
    assert (x.tolist(), z.tolist(), net.dtype) == ([1, 2], [3], torch.float64)
    numbers = {name: float(i) for i, name in enumerate((*TWO_BY_TWO.split(", "), "x", "y", "z_1", "z_2"))}
    net, x, z = as_network("two_by_two", numbers)
    assert [w.tolist() for w in net.weights] == [[[0, 1], [3, 4]], [[6, 7], [9, 10]]]
    assert [b.tolist() for b in net.biases] == [[2, 5], [8, 11]]
    assert (x.tolist(), z.tolist(), net.dtype) == ([12, 13], [14, 15], torch.float64)


def test_what_is_drawn_is_of_the_numbers_given(monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("manual_bp.figures.Scene.of", lambda net, x, z, eta: (net.sizes, x.tolist(), z.tolist(), eta))
    monkeypatch.setattr("manual_bp.figures.article_figures", lambda scenes: scenes.items())
    assert article_module._figures(given(inputs=["x=3"], eta=7.0)) == {
        "neuron": ((2, 1), [1.0, 2.0], [1.0], 7.0),
        "two_by_two": ((2, 2, 2), [3.0, -1.0], [1.0, 0.0], 7.0),
    }
