"""How a verdict is shown: a table for people, JSON for machines, HTML for a notebook."""

import json
import math
from types import SimpleNamespace

import pytest
import torch

from crosscheck.report import GradientMismatch, Report
from crosscheck.row import Row

CPU = torch.device("cpu")
DTYPES = (torch.float64, torch.float32)


def row(name="x", dtype=torch.float64, error=1.0, budget=16.0, ok=True, verdict="agrees", diagnosis=""):
    return Row(name, CPU, dtype, error, budget, ok, verdict, diagnosis)


WRONG = {"ok": False, "error": 123456.0, "verdict": "wrong formula", "diagnosis": "the sign is flipped\nworst at [0]"}
REPORT = Report(
    "mine",
    (row(), row("weight", **WRONG), row(dtype=torch.float32), row("weight", torch.float32, **WRONG)),
    notes=("bfloat16: not judged",),
    repeats="gives the same",
)


def test_the_table():
    assert str(REPORT).splitlines() == [
        "mine: MISMATCH in 2 of 4",
        "name    device  dtype       error  budget  verdict",
        "x       cpu     float64         1      16  agrees",
        "weight  cpu     float64  1.23e+05      16  wrong formula",
        "x       cpu     float32         1      16  agrees",
        "weight  cpu     float32  1.23e+05      16  wrong formula",
        "weight: the sign is flipped",
        "    worst at [0]",
        "formula: wrong in weight",
        "numerics: where the formula is right, as accurate as autograd",
        "determinism: the same call twice gives the same",
        "contract: not judged",
        "coverage: judged in x, weight",
        "bfloat16: not judged",
    ]


def test_a_cause_without_alternatives_is_one_line():
    report = Report("", (row(ok=False, verdict="wrong formula", diagnosis="transposed"),))
    assert str(report).splitlines()[3:] == ["x: transposed", *report.said]
    assert report.rows[0].said == "wrong formula: transposed"
    assert report.determinism == "not judged"


def test_json():
    read = json.loads(REPORT.to_json())
    assert [*read] == [
        "title",
        "ok",
        "rows",
        "formula",
        "numerics",
        "determinism",
        "contract",
        "coverage",
        "notes",
        "breaches",
        "checked",
    ]
    assert (read["title"], read["ok"], read["notes"]) == ("mine", False, ["bfloat16: not judged"])
    assert read["rows"][1] == {
        "name": "weight",
        "device": "cpu",
        "dtype": "float64",
        "error": 123456.0,
        "budget": 16.0,
        "ok": False,
        "verdict": "wrong formula",
        "diagnosis": "the sign is flipped\nworst at [0]",
    }
    assert REPORT.to_json().startswith('{\n  "title": ')


@pytest.mark.parametrize("number", [math.inf, math.nan])
def test_what_is_no_number_is_null_in_json(number):
    read = json.loads(Report("", (row(error=number, budget=number),)).to_json(), parse_constant=pytest.fail)
    assert (read["rows"][0]["error"], read["rows"][0]["budget"]) == (None, None)


@pytest.mark.parametrize(
    ("error", "budget", "share"), [(8.0, 16.0, 0.5), (0.0, 16.0, 0), (0.0, 0.0, 0), (1.0, 0.0, math.inf)]
)
def test_the_share_of_the_budget(error, budget, share):
    assert row(error=error, budget=budget).share == share


def test_what_is_wrong_is_listed_once():
    rows = (row("x", **WRONG), row("y", **WRONG), row("x", torch.float32, **WRONG))
    assert Report("", rows).formula == "wrong in x, y"


def test_numerics_are_judged_where_the_formula_is_right():
    assert Report("", (row("x", **WRONG), row("x", torch.float32))).numerics == "not judged"
    assert Report("", (row("x", **WRONG), row("y"))).numerics.startswith("where the formula is right, ")
    assert Report("", (row("x"),)).numerics == "as accurate as autograd"


def test_of_what_could_not_be_judged():
    kink = row(ok=False, verdict="not judged: every element lies at a kink")
    assert Report("", (row("y"), kink)).verdict == "gradient: NOT JUDGED in 1 of 2"
    at_a_kink = row(verdict="agrees, but for a convention at a kink, first at [0]: autograd takes 0, this 1")
    assert Report("", (row(), at_a_kink)).conventions == (at_a_kink,)


def test_html_for_a_notebook(monkeypatch):
    monkeypatch.setattr("crosscheck.report.find_spec", lambda name: None if name == "matplotlib" else pytest.fail(name))
    wrong = {**WRONG, "diagnosis": "a < b\nc < d"}
    page = Report("<mine>", (row(), row("w", **wrong), row("v", **wrong)), ("n < m", "more"))._repr_html_()
    sides = ("left", "left", "left", "right", "right", "left")

    def line(tag, *cells):
        return "".join(f"<{tag} style='text-align:{side}'>{c}</{tag}>" for side, c in zip(sides, cells, strict=True))

    heads = line("th", "name", "device", "dtype", "error", "budget", "verdict")
    w, v = (line("td", name, "cpu", "float64", "1.23e+05", "16", "wrong formula") for name in "wv")
    shaded = "<tr style='background-color:rgba(213,94,0,0.25)'>"
    assert page == (
        "<div><b>&lt;mine&gt;: MISMATCH in 2 of 3</b></div>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>"
        f"<tr>{line('td', 'x', 'cpu', 'float64', '1', '16', 'agrees')}</tr>"
        f"{shaded}{w}</tr>{shaded}{v}</tr></tbody></table>"
        "<div><b>w</b>: a &lt; b<br>&emsp;c &lt; d</div><div><b>v</b>: a &lt; b<br>&emsp;c &lt; d</div>"
        "<div><b>formula</b>: wrong in w, v</div>"
        "<div><b>numerics</b>: where the formula is right, as accurate as autograd</div>"
        "<div><b>determinism</b>: not judged</div>"
        "<div><b>contract</b>: not judged</div><div><b>coverage</b>: judged in x, w, v</div>"
        "<div>n &lt; m</div><div>more</div>"
    )


def test_ipython_shows_the_table():
    said = []
    REPORT._repr_pretty_(SimpleNamespace(text=said.append), cycle=False)
    assert said == [str(REPORT)]


def test_a_picture_needs_rows_and_matplotlib(monkeypatch):
    with pytest.raises(ValueError, match="^rows: expected at least one to draw, got a report in which nothing was jud"):
        Report("", ()).plot()
    monkeypatch.setattr("crosscheck.report.find_spec", lambda name: None if name == "matplotlib" else pytest.fail(name))
    says = r"^matplotlib is not installed: pip install 'manual-bp\[figures\]'$"
    with pytest.raises(ModuleNotFoundError, match=says):
        REPORT.plot()


def test_a_mismatch_is_raised_with_the_table():
    with pytest.raises(GradientMismatch) as raised:
        REPORT.raise_on_mismatch()
    assert str(raised.value) == str(REPORT)
    Report("", (row(),)).raise_on_mismatch()


def test_a_notebook_shows_the_picture():
    pytest.importorskip("matplotlib")
    assert REPORT.plot()._repr_svg_().startswith("<svg")
