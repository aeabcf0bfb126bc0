"""The tables of the documents are made by one command, and put between two lines."""

import importlib.util
import re
import sys
from datetime import date
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = """\
# Mine

<!-- table: verify -->
what was there
<!-- end -->

Between.

<!-- table: bench -->
<!-- end -->
"""


def loaded():
    spec = importlib.util.spec_from_file_location("tables", ROOT / "benchmarks" / "tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """The module, where the documents are a README and a page, and the tables a line each."""
    module = loaded()
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    (tmp_path / "docs" / "page.md").write_text("<!-- table: verify -->\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "machine", lambda: "Today, here.")
    monkeypatch.setattr(module, "TABLES", {name: lambda name=name: f"a \\1 {name}" for name in module.TABLES})
    return module


PUT = "<!-- table: {0} -->\n```text\na \\1 {0}\n```\n\nToday, here.\n<!-- end -->\n"


def test_a_table_takes_the_place_of_the_one_before(tables, tmp_path, capsys):
    for _ in range(2):
        tables.main(["verify"])
        assert capsys.readouterr().out == "verify: written to README.md, docs/page.md\n"
        expected = README.replace("<!-- table: verify -->\nwhat was there\n<!-- end -->\n", PUT.format("verify"))
        assert (tmp_path / "README.md").read_text(encoding="utf-8") == expected
        assert (tmp_path / "docs" / "page.md").read_text(encoding="utf-8") == PUT.format("verify")
    tables.main(["bench"])
    expected = expected.replace("<!-- table: bench -->\n<!-- end -->\n", PUT.format("bench"))
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "detection: expected the lines <!-- table: detection --> and <!-- end --> in README.md or docs/*.md, got"),
        (["bench", "typo"], "expected some of verify, detection, scoreboard, bench, got typo"),
    ],
)
def test_what_has_no_place_is_refused_before_anything_is_measured(names, says, tables, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        tables.main(names)
    assert says in capsys.readouterr().err
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == README


def test_a_table_is_shown_without_being_written(tables, tmp_path, capsys):
    tables.main(["detection", "--print"])
    assert capsys.readouterr().out == "```text\na \\1 detection\n```\n\nToday, here.\n\n"
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == README


def test_a_table_of_markdown_is_put_as_it_is(tables, tmp_path):
    (tmp_path / "docs" / "page.md").write_text("<!-- table: scoreboard -->\n<!-- end -->\n", encoding="utf-8")
    tables.main(["scoreboard"])
    expected = "<!-- table: scoreboard -->\na \\1 scoreboard\n<!-- end -->\n"
    assert (tmp_path / "docs" / "page.md").read_text(encoding="utf-8") == expected


DETECTION = """\
<!-- table: detection -->
```text
way                         dtype     false alarms                 missed          ms a right one  ms a wrong one
gradcheck, slow             float64      6 of 207    2.9 %     15 of 795   1.9 %               39              56
the judge, in it alone      float64      0 of 429      0 %      0 of 795     0 %               11              44

the judge, in it alone      float32      1 of 715  0.14 %  2,000 of 2,574   78 %               38              66
assert_close, its defaults  bfloat16 245 of 1,390     18 %   53 of 2,574   2.1 %              1.1             1.5
```

That day, there.
<!-- end -->
"""


def test_the_scoreboard_is_of_some_lines_of_the_detection(tables, tmp_path, monkeypatch):
    (tmp_path / "docs" / "page.md").write_text(DETECTION, encoding="utf-8")
    judge, close = "the judge, in it alone", "assert_close, its defaults"
    monkeypatch.setattr(tables, "WAYS", ((close, "bfloat16"), (judge, "float64"), (judge, "float32")))
    assert tables.scoreboard().splitlines() == [
        "| way of testing | dtype | right ones called wrong | mistakes that pass |",
        "| --- | --- | ---: | ---: |",
        "| assert_close | bfloat16 | 245 of 1,390 | 53 of 2,574 |",
        "| **crosscheck** | float64 | 0 of 429 | 0 of 795 |",
        "| **crosscheck** | float32 | 1 of 715 | 2,000 of 2,574 |",
        "",
        "That day, there.",
    ]
    monkeypatch.setattr(tables, "WAYS", ((judge, "float16"),))
    with pytest.raises(AssertionError, match="^the judge, in it alone, float16: expected it in the table detection"):
        tables.scoreboard()


def test_the_scoreboard_is_of_the_detection_as_it_stands():
    tables = loaded()
    (stands,) = (found[0] for text in tables.texts() if (found := tables.block("scoreboard").search(text)))
    assert stands == f"{tables.scoreboard()}\n"


def test_verify_is_shortened(tables, monkeypatch):
    lines = ["article.neuron  0", "rule Add  0", "rule Tanh  0", "rule Sigmoid  0", "rule SigmoidCrossEntropy  0"]
    printed = "\n".join(("about", "units", "", "    heading", *lines, "", "5 judged"))
    monkeypatch.setattr(tables, "command", lambda name: printed)
    shown = ["about", "units", "", "    heading", lines[0], "...", lines[3], "...", "", "5 judged"]
    assert tables.verify() == "\n".join(shown)


def test_the_line_below_tells_when_and_where():
    said = loaded().machine()
    assert re.fullmatch(rf"\d+ \w+ {date.today().year}, \d+ cores of .+, torch {re.escape(torch.__version__)}\.", said)


def test_the_detection_is_in_blocks(tables, monkeypatch):
    class Detection:
        CORPUS = (1, 2)
        scores = staticmethod(lambda seeds, dtypes: {f"{dtypes[0]} {seeds}": 0})
        table = staticmethod(lambda found: "\n".join(("head", *(f"way {key} 0" for key in found))))
        naming = staticmethod(lambda found: iter(["it names all"]))

    monkeypatch.setitem(sys.modules, "detection", Detection)
    monkeypatch.setattr(tables, "SEEDS", {"float64": 3, "float16": 10})
    assert tables.detection() == (
        "2 mistakes, 3 times in float64, 10 times in float16\n\n"
        "head\nway float64 3 0\n\nway float16 10 0\n\nit names all"
    )


def test_every_table_of_the_documents_can_be_made(tables):
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    text = "".join(page.read_text(encoding="utf-8") for page in pages)
    assert {*re.findall("^<!-- table: (.*) -->$", text, re.MULTILINE)} <= {*tables.TABLES}
    assert len(re.findall("^<!-- table: ", text, re.MULTILINE)) == len(re.findall("^<!-- end -->$", text, re.MULTILINE))
