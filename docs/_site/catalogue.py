"""The pages of the catalogue: one for each rule, and one on which all formulas stand beside each other.

They are written from the rules themselves, judged while the site is built.
"""

import inspect
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import torch
from formula import as_mathml, results

from crosscheck import crosscheck
from crosscheck.row import dtype_name, highest
from crosscheck.verdict.precision import DTYPES
from manual_bp.commands.rules import code_of
from manual_bp.commands.subjects import cases, rule
from manual_bp.corpus import CORPUS
from manual_bp.mistakes import edited
from manual_bp.rules import RULES, Rule
from manual_bp.rules._rule import SECTIONS

CPU = torch.device("cpu")


def write(folder: Path) -> None:
    """Write every page into the folder, and leave those alone that have not changed."""
    folder.mkdir(exist_ok=True)
    families: defaultdict[str, list[type[Rule]]] = defaultdict(list)
    for known in RULES.values():
        families[known.__module__.rpartition(".")[2]].append(known)
    pages = {known.__name__: _page(known) for known in RULES.values()}
    pages["index"] = _index(families)
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _index(families: dict[str, list[type[Rule]]]) -> str:
    """All rules on one page, formula beside formula."""
    lines = [
        "# The catalogue",
        "",
        f"{len(RULES)} backward passes, derived by hand. Each rule is a forward and a backward in plain torch, with",
        "the derivation between them. `manual-bp rules LayerNorm` prints one in the terminal and judges it anew.",
        "",
        "`grad_x` is ∂J/∂x for some scalar J. The letters under a Σ are summed over. [k = j] is 1 where k = j, else 0.",
    ]
    for family, members in families.items():
        about = (inspect.getdoc(inspect.getmodule(members[0])) or "").partition("\n")[0]
        lines += ["", f"## {family.capitalize()}", "", about, "", "```{table}", ":class: formulas", ""]
        lines += ["| rule | forward | backward |", "| --- | --- | --- |"]
        for member in members:
            said = _sections(member)
            backward = "<br>".join(map(_cell, results(said["Derivation:"], _inputs(member))))
            lines.append(f"| [{member.__name__}]({member.__name__}.md) | {_cell(said['formula'])} | {backward} |")
        lines.append("```")
    names = "\n".join(known.__name__ for members in families.values() for known in members)
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", names, "```", ""])


def _page(known: type[Rule]) -> str:
    """One rule: formula, derivation, code, what is often wrong, verdict."""
    said = _sections(known)
    file = known.__module__.replace(".", "/") + ".py"
    code = "\n\n".join(textwrap.dedent(inspect.getsource(function)).strip() for function in code_of(known))
    return "\n".join(
        [
            f"# {known.__name__}",
            "",
            f"{said['about']}.",
            "",
            f'<div class="formula">{as_mathml(said["formula"])}</div>',
            "",
            f"**Shapes.** {_sentence(said['Shapes:'])}",
            "",
            "## Derivation",
            "",
            "```text",
            textwrap.dedent(said["Derivation:"].strip("\n")).rstrip(),
            "```",
            "",
            "## Code",
            "",
            "```python",
            code,
            "```",
            "",
            f"Source: [`{file}`](../../{file}#L{inspect.getsourcelines(known)[1]}).",
            "",
            "## Often wrong",
            "",
            _sentence(said["Often wrong:"]),
            "",
            *_mistakes(known),
            "",
            "## Verdict",
            "",
            *_verdict(known),
            "",
            "## Source",
            "",
            _sentence(said["Source:"]),
            "",
        ]
    )


def _mistakes(known: type[Rule]) -> Iterator[str]:
    """What the judge says of each mistake of the corpus in this rule."""
    if not any(mistake.owner == known.__name__ for mistake in CORPUS):
        return
    yield "What the judge says if you write the left in place of the right:"
    yield ""
    yield "```{table}"
    yield ":class: mistakes"
    yield ""
    yield "| written | right | the judge |"
    yield "| --- | --- | --- |"
    for mistake in CORPUS:
        if mistake.owner == known.__name__:
            said: dict[str, str] = {}
            with edited([mistake.edit]):
                for case in cases(mistake.owner):
                    report = crosscheck(case.forward, case.backward, case.draw(0), seed=0)
                    for row in highest(report.mismatches):
                        said.setdefault(row.name, row.diagnosis.partition("\n")[0] or row.verdict)
            shown = "<br>".join(f"{_text(name)}: {_text(text)}" for name, text in said.items())
            yield f"| {_code(mistake.wrong)} | {_code(mistake.right)} | {shown} |"
    yield "```"


def _verdict(known: type[Rule]) -> list[str]:
    """The largest error of each tensor in units of its budget, now, in each dtype."""
    report = rule(known.__name__, CPU, DTYPES, seed=0)
    shown = [t for t in DTYPES if any(row.dtype == t for row in report.rows)]
    lines = [
        "Judged when this page was built, against a twin in torch's own operations. A number is the largest error in",
        "units of its budget: up to 1 it agrees.",
        "",
        "| | " + " | ".join(map(dtype_name, shown)) + " | verdict |",
        "| --- |" + " ---: |" * len(shown) + " --- |",
    ]
    for name in dict.fromkeys(row.name for row in report.rows):
        rows = {row.dtype: row for row in report.rows if row.name == name}
        shares = [f"{rows[t].share:.2g}" if t in rows else "–" for t in shown]
        wrong = [row.said for row in rows.values() if not row.ok]
        lines.append(f"| {_text(name)} | {' | '.join(shares)} | {_text(wrong[0]) if wrong else 'agrees'} |")
    return lines


def _sections(known: type[Rule]) -> dict[str, str]:
    """The parts of a rule's docstring, by name."""
    text = inspect.getdoc(known) or ""
    head, _, rest = text.partition("\n\n")
    about, _, formula = head.replace("\n", " ").partition(": ")
    said = {"about": about, "formula": formula.rstrip(".")}
    for section, following in zip(SECTIONS, (*SECTIONS[1:], None), strict=True):
        part = rest.partition(section)[2]
        said[section] = part.partition(following)[0] if following else part
    return said


def _inputs(known: type[Rule]) -> list[str]:
    parameters = inspect.signature(known.forward).parameters.values()
    return [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY]


def _cell(formula: str) -> str:
    """A formula in a cell of a table, which a bar would end."""
    return as_mathml(formula).replace("|", "&#124;")


def _sentence(text: str) -> str:
    """Prose of a docstring, from a capital letter on."""
    words = " ".join(text.split())
    return _text(words[:1].upper() + words[1:] if words[:2].isascii() and words[:2].isalpha() else words)


def _text(text: str) -> str:
    """Text, in which Markdown sees no marks of its own."""
    return re.sub(r"([\\|\[\]*_<$])", r"\\\1", text)


def _code(text: str) -> str:
    return "`` " + text.replace("|", r"\|") + " ``"
