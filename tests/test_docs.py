"""The documents: links lead somewhere, a link to a line shows that line, what they tell one to do works."""

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ADD_A_RULE = ROOT / "docs" / "add_a_rule.md"


def text_of(document: Path) -> str:
    return document.read_text(encoding="utf-8")


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(document), re.MULTILINE | re.DOTALL)


def links() -> Iterator[tuple[Path, str, str]]:
    """Each document's links: what they say, and where they lead."""
    for document in DOCUMENTS:
        prose = re.sub(r"^```.*?^```", "", text_of(document), flags=re.MULTILINE | re.DOTALL)
        for words, target in re.findall(r"\[([^\]]*(?:\[[^\]]*\][^\]]*)*)\]\(([^)\s]+)\)", prose):
            yield document, words, target


def shown(words: str, file: Path, line: str) -> str:
    """What is wrong with a link to a line, if anything."""
    code = words.strip("`")
    at = [str(n) for n, text in enumerate(text_of(file).splitlines(), 1) if code in text]
    return "" if line in at else f"{file.name} has `{code}` not on line {line} but on {', '.join(at) or 'none'}"


def test_links_lead_somewhere():
    local = [(document, target) for document, _, target in links() if "://" not in target]
    assert len(local) > 50
    lost = [(document.name, t) for document, t in local if not (document.parent / t.partition("#")[0]).exists()]
    assert lost == []


def test_a_link_to_a_line_shows_that_line():
    to_lines = [(document, words, *t.split("#L")) for document, words, t in links() if "#L" in t]
    assert len(to_lines) > 40
    wrong = [shown(words, document.parent / path, line) for document, words, path, line in to_lines]
    assert [text for text in wrong if text] == []


def test_a_line_that_moved_is_seen(tmp_path):
    file = tmp_path / "moved.py"
    file.write_text("import torch\n\nn_in = w * x\n", encoding="utf-8")
    assert shown("`n_in = w * x`", file, "3") == ""
    assert shown("`n_in = w * x`", file, "2") == "moved.py has `n_in = w * x` not on line 2 but on 3"
    assert shown("`n_in = w + x`", file, "3") == "moved.py has `n_in = w + x` not on line 3 but on none"


@pytest.mark.parametrize(
    ("page", "files"),
    [
        ("derivation.md", {"article.py", "network.py", "losses.py", "affine.py"}),
        (
            "transformer.md",
            {
                "transformer.py",
                "losses.py",
                "affine.py",
                "normalization.py",
                "activations.py",
                "attention.py",
                "adamw.py",
            },
        ),
    ],
)
def test_a_derivation_shows_every_kind_of_line(page, files):
    """Of the article: forward, cost, deltas, gradients and descent; and the recursion at any depth. Of a transformer,
    the rules that its blocks are made of."""
    targets = {t.partition("#")[0].rpartition("/")[2] for d, _, t in links() if d.name == page and "#L" in t}
    assert targets == files


def test_environments_of_tox_exist():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    known = set(re.findall(r"\w+", " ".join(tox.sections())))
    known |= {f"py3{minor}-{age}" for minor in (11, 12, 13) for age in ("oldest", "newest")}
    asked = [names for document in DOCUMENTS for names in re.findall(r"tox -e ([\w,-]+)", text_of(document))]
    named = {name for names in asked for name in names.split(",")}
    assert named >= {"cuda", "fuzz", "mutants", "py311-oldest"}
    assert named <= known


@pytest.mark.parametrize("mistake", [None, "2 * x", "Often wrong:", "a twin"])
def test_a_rule_is_added_as_told(mistake, tmp_path):
    """In a copy of the packages, whole and with something forgotten."""
    (square,) = (block for block in blocks(ADD_A_RULE, "python") if "class Square" in block)
    (twin,) = (block for block in blocks(ADD_A_RULE, "text") if "Square" in block)
    for package in ("manual_bp", "reference", "crosscheck"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "manual_bp" / "rules" / "activations.py").open("a", encoding="utf-8") as family:
        family.write(square.partition("\n\n")[2].replace(mistake or "", "x" if mistake == "2 * x" else ""))
    twins = tmp_path / "reference" / "rules.py"
    if mistake != "a twin":
        twins.write_text(twins.read_text(encoding="utf-8").removesuffix("}\n") + twin + "}\n", encoding="utf-8")
    command = [sys.executable, "-m", "manual_bp", "rules", "Square"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    if mistake is None:
        assert done.returncode == 0, done.stderr
        assert "The square of a number" in done.stdout
        assert "\nx   cpu" in done.stdout
    else:
        says = {
            "2 * x": "wrong formula: off by the constant factor 1/2",
            "Often wrong:": "rule Square: expected forward, backward and a docstring",
            "a twin": "rule Square has no twin: add its line to reference/rules.py",
        }
        assert done.returncode != 0
        assert says[mistake] in done.stdout + done.stderr
