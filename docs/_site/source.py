"""The documents of the repository as pages of the site: their links lead to pages, and to lines of code, here."""

import re
from collections.abc import Iterator
from os.path import relpath
from pathlib import Path, PurePosixPath
from typing import Any

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx.application import Sphinx

DOCS = Path(__file__).parents[1]
ROOT = DOCS.parent
PAGES = {
    "README.md": "index.md",
    "DEVELOPERS.md": "developers.md",
    "CHANGELOG.md": "changelog.md",
    "manual_bp/rules": "rules/index.md",
}
SCHEMES: dict[str, Any] = {"http": None, "https": None, "code": "{{path}}", "line": "{{path}}#{{fragment}}"}
LINK = re.compile(r"\]\((?P<path>[\w./-]+)(?P<anchor>#[\w-]+)?\)")

linked: set[str] = set()


def read(app: Sphinx, docname: str, source: list[str]) -> None:
    """Take in what {{README.md}} and its like stand for, and let every link lead to a page of the site."""
    page = Path(str(app.env.doc2path(docname)))

    def rebased(text: str, file: Path) -> str:
        return LINK.sub(lambda link: f"]({_target(link, file.parent, page.parent)})", text)

    def whole(match: re.Match[str]) -> str:
        return rebased((ROOT / match[1]).read_text(encoding="utf-8"), ROOT / match[1])

    if page.suffix == ".md":
        source[0] = re.sub(r"^\{\{(.+)\}\}$", whole, rebased(source[0], page), flags=re.MULTILINE)


def _target(link: re.Match[str], here: Path, page: Path) -> str:
    file, anchor = (here / link["path"]).resolve(), link["anchor"] or ""
    if not file.is_relative_to(ROOT):
        raise ValueError(f"{link[0]}: expected a file of this repository")
    name = file.relative_to(ROOT).as_posix()
    if name in PAGES or file.is_relative_to(DOCS):
        return relpath(DOCS / PAGES[name] if name in PAGES else file, page) + anchor
    linked.add(name)
    scheme = "line" if anchor else "code"
    return f"<{scheme}:{relpath(DOCS / 'code' / name, page)}.html{anchor}>"


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for each file that is linked to, with a name for each line; for a folder, the names in it."""
    formatter = HtmlFormatter(linenos="inline", lineanchors="L", wrapcode=True)
    for name in sorted(linked):
        if (ROOT / name).is_dir():
            files = sorted(file.name for file in (ROOT / name).iterdir() if not file.name.startswith(("__", ".")))
            body = "<ul>" + "".join(f"<li><code>{file}</code></li>" for file in files) + "</ul>"
        else:
            try:
                lexer = get_lexer_for_filename(PurePosixPath(name).name)
            except ClassNotFound:
                lexer = get_lexer_for_filename("plain.txt")
            body = highlight((ROOT / name).read_text(encoding="utf-8"), lexer, formatter).replace('id="L-', 'id="L')
        yield f"code/{name}", {"title": name, "body": f"<h1>{name}</h1>\n{body}"}, "page.html"
