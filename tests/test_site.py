"""The site builds without a warning, all its links lead somewhere, and it asks nothing of a network."""

import importlib.util
import inspect
import os
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest

from manual_bp.rules import RULES

pytest.importorskip("sphinx", reason="the site needs the group docs")

ROOT = Path(__file__).parents[1]


class Page(HTMLParser):
    """What a page leads to, what it loads by itself, and what one can lead to in it."""

    LOADED = ("script", "img", "source", "iframe")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.loads: set[str] = set()
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attributes}
        self.names |= {given[name] for name in ("id", "name") if name in given}
        loads = given.get("src", "") if tag in self.LOADED else given.get("href", "") if tag == "link" else ""
        self.loads |= {loads} - {""}
        self.links |= {given["href"]} - {""} if tag == "a" and "href" in given else set()


def built(folder: Path) -> Path:
    """The site, with every warning an error."""
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-E", "-d", folder / "trees", ROOT / "docs"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([*command, folder / "html"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def lost(pages: dict[Path, Page]) -> list[str]:
    """The links within the site that lead nowhere."""
    missing = []
    for path, page in pages.items():
        for link in page.links | page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = file.exists() and (not parts.fragment or file not in pages or parts.fragment in pages[file].names)
            missing += [] if known else [f"{path.name}: {link}"]
    return missing


def read(site: Path) -> dict[Path, Page]:
    return {path.resolve(): Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_the_site_is_whole(tmp_path):
    site = built(tmp_path)
    pages = read(site)
    assert len(pages) > len(RULES) + 20
    assert lost(pages) == []
    asked = {load for page in pages.values() for load in page.loads if urlsplit(load).scheme in ("http", "https")}
    assert asked == set()  # of a network
    index = Page((site / "rules" / "index.html").read_text(encoding="utf-8"))
    for name in RULES:
        text = (site / "rules" / f"{name}.html").read_text(encoding="utf-8")
        assert f"{name}.html" in index.links
        assert "<math" in text
        assert "agrees" in text


def test_a_lost_link_is_seen(tmp_path):
    (tmp_path / "a.html").write_text('<a href="b.html">b</a><a href="#there">there</a><p id="here">', encoding="utf-8")
    assert sorted(lost(read(tmp_path))) == ["a.html: #there", "a.html: b.html"]


def formula() -> ModuleType:
    spec = importlib.util.spec_from_file_location("formula", ROOT / "docs" / "_site" / "formula.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_formula_is_set_with_all_its_letters(rule):
    text = (inspect.getdoc(rule) or "").partition("\n\n")[0].replace("\n", " ").partition(": ")[2]
    assert formula().is_drawn_alike(text)


@pytest.mark.parametrize(
    ("text", "above", "below"),
    [("a b / c d", "ab", "cd"), ("a b/c d", "b", "c"), ("x + a / (1 + b)", "a", "1+b"), ("∂out/∂x = 1", "∂out", "∂x")],
)
def test_a_slash_divides_a_factor_and_with_spaces_a_product(text, above, below):
    (fraction,) = ElementTree.fromstring(formula().as_mathml(text)).iter("mfrac")
    assert ["".join(part.itertext()) for part in fraction] == [above, below]


def test_a_bracket_that_is_not_closed_is_refused():
    with pytest.raises(ValueError, match=r"expected a closing '\)'"):
        formula().as_mathml("f (x")
