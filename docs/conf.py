"""The site: `tox -e docs` builds it. It needs no network, and asks for none when it is read."""

import sys
from pathlib import Path
from typing import Any

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_site"))

import catalogue  # noqa: E402
import docstrings  # noqa: E402
import source  # noqa: E402

import manual_bp  # noqa: E402

project = "manual-bp"
release = version = manual_bp.__version__
copyright = "the authors of manual-bp"  # noqa: A001 (Sphinx's name)
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_build", "_site"]
nitpicky = True
default_role = "code"

myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
myst_url_schemes = source.SCHEMES
nb_execution_mode = "off"  # the tests run the notebooks, and keep their outputs

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # they stand in the signature's place in the source, and in the docstring's words
html_theme = "furo"
html_title = "manual-bp"
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_show_sphinx = False
copybutton_exclude = ".linenos, .gp, .go"


def as_mathml(translator: Any, node: nodes.Element, display: str) -> None:
    """A formula of LaTeX, set while the site is built: no script has to do it in the browser."""
    translator.body.append(latex2mathml.converter.convert(node.astext(), display=display))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    inline = (lambda translator, node: as_mathml(translator, node, "inline"), None)
    block = (lambda translator, node: as_mathml(translator, node, "block"), None)
    app.add_html_math_renderer("mathml", inline, block)
    app.connect("source-read", source.read)
    app.connect("autodoc-process-docstring", docstrings.plain)
    app.connect("html-collect-pages", source.pages)
    catalogue.write(HERE / "rules")


html_math_renderer = "mathml"
