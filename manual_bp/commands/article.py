"""`manual-bp article`: the article's two networks, equation by equation, in the terminal or as a page."""

import html
import json
import math
import tomllib
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from crosscheck import Report
from crosscheck.verdict.precision import unit_roundoff
from manual_bp import __version__, notation
from manual_bp import article as by_hand
from manual_bp._console import console
from manual_bp._files import unread, whole
from manual_bp.commands import CommandError
from manual_bp.commands._shares import exit_code
from manual_bp.commands._writing import can_write, can_write_into, matplotlib_for, writing
from manual_bp.commands.subjects import article_network
from manual_bp.network import Network
from reference import article as by_autograd

WEIGHTS = {"neuron": ("w1", "w2", "wb"), "two_by_two": by_autograd.WEIGHTS}
TITLES = {"neuron": "Figure 1: one neuron", "two_by_two": "Figure 2: two layers, four neurons"}
DEFAULTS: dict[str, dict[str, float]] = {
    "neuron": {"x1": 1.0, "x2": 2.0, "y": 1.0, "eta": 0.5, "w1": 0.1, "w2": -0.3, "wb": 0.2},
    "two_by_two": {"x": 0.6, "y": -1.0, "z_1": 1.0, "z_2": 0.0, "eta": 0.5}
    | dict(zip(by_autograd.WEIGHTS, (0.1, -0.2, 0.3, 0.5, 0.4, -0.1, 0.7, -0.6, 0.2, -0.3, 0.8, 0.1), strict=True)),
}


class Line(NamedTuple):
    """An equation, worked."""

    equation: notation.Equation
    in_numbers: str
    value: float
    autograd: float

    @property
    def beside(self) -> str:
        """Where autograd's value is another: that value, and how far apart they are, in roundoffs of it."""
        if self.value == self.autograd:
            return ""
        unit = unit_roundoff(torch.float64) * abs(self.autograd)
        apart = abs(self.value - self.autograd) / unit if unit else abs(self.value)
        return f"autograd {notation.number(self.autograd)}, {apart:.2g}{' roundoffs' * bool(unit)} apart"


def article(
    network: str | None, inputs: list[str], weights: list[str], eta: float | None, file: str | None,
    html_file: str | None, figures: str | None,
) -> int:  # fmt: skip
    """Work through the networks; returns the exit code."""
    given = numbers_given([network] if network else [*DEFAULTS], inputs, weights, eta, file)
    if html_file:
        matplotlib_for(f"--html {html_file}")
        can_write(f"--html {html_file}", html_file)
    if figures:
        matplotlib_for(f"--figures {figures}")
        can_write_into(f"--figures {figures}", figures)
    worked = {name: _work(name, numbers) for name, numbers in given.items()}
    written = []
    if html_file or figures:
        drawn = _figures(given)
        if figures:
            _write_figures(Path(figures), drawn)
            written.append(f"figures: {len(drawn)} in {figures}")
        if html_file:
            with writing(f"--html {html_file}"), whole(Path(html_file)) as draft:
                draft.write_text(_page(worked, given, drawn), encoding="utf-8")
            written.append(f"page: {html_file}")
    lines = console()
    for name, (steps, report) in worked.items():
        lines.print(TITLES[name], style="bold")
        lines.print(", ".join(f"{notation.text(n)} = {notation.number(v)}" for n, v in given[name].items()))
        _print(lines, steps)
        lines.print(f"\n{_verdict(name, steps, report)}\n", style="bold" if report.ok else "bold red")
    for line in written:
        lines.print(line)
    return exit_code([report for _, report in worked.values()])


def _verdict(name: str, steps: list[Line], report: Report) -> str:
    if not report.ok:
        return f"article.{name}: {report}"
    apart = sum(line.value != line.autograd for line in steps)
    bits = f", {len(steps) - apart} of them to the last bit" if apart else " to the last bit"
    return f"article.{name}: agrees with autograd in all {len(steps)} quantities{bits}"


def numbers_given(
    networks: Collection[str], inputs: list[str], weights: list[str], eta: float | None, file: str | None
) -> dict[str, dict[str, float]]:
    """The numbers of these networks: the defaults, over them the file's, over them those of the command line.

    The file may have those of another network as well, which then wait for their turn.
    """
    every = {name: dict(defaults) for name, defaults in DEFAULTS.items()}
    for name, numbers in (_read(Path(file)) if file else {}).items():
        if name not in every or not isinstance(numbers, Mapping):
            raise CommandError(f"{file}: expected tables {' and '.join(every)}, got {name!r}")
        for quantity, value in numbers.items():
            if quantity not in every[name]:
                raise CommandError(f"{file}: {name}: expected one of {', '.join(every[name])}, got {quantity!r}")
            every[name][quantity] = _number(f"{file}: {name}: {quantity}", value)
    given = {name: numbers for name, numbers in every.items() if name in networks}
    for option, pairs in (("--inputs", inputs), ("--weights", weights)):
        for pair in pairs:
            quantity, _, value = pair.partition("=")
            known = {
                name: [n for n in numbers if n != "eta" and (n in WEIGHTS[name]) == (option == "--weights")]
                for name, numbers in given.items()
            }
            if not any(quantity in names for names in known.values()):
                listed = "; ".join(f"{', '.join(names)} of {name}" for name, names in known.items())
                raise CommandError(f"{option} {pair}: expected NAME=NUMBER, NAME one of {listed}, got {quantity!r}")
            if not value:
                raise CommandError(f"{option} {pair}: expected NAME=NUMBER, got no number")
            for name, names in known.items():
                if quantity in names:
                    given[name][quantity] = _number(f"{option} {quantity}", value)
    if eta is not None:
        for numbers in given.values():
            numbers["eta"] = _number("--eta", eta)
    return given


def _number(what: str, value: object) -> float:
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise CommandError(f"{what}: expected a number, got {value!r}") from None
    except OverflowError:  # an integer of more than 308 digits
        number = math.inf
    if not math.isfinite(number):
        raise CommandError(f"{what}: expected a finite number, got {number}")
    return number


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_text(encoding="utf-8")
        read: Callable[[str], dict[str, Any]] = json.loads if path.suffix == ".json" else tomllib.loads
        numbers = read(content)
    except OSError as error:
        raise CommandError(f"{path}: expected a file in TOML or JSON, got {unread(error)}") from None
    except ValueError as error:
        raise CommandError(f"{path}: expected TOML, or JSON in a .json file, got neither ({error})") from None
    if not isinstance(numbers, dict):
        raise CommandError(f"{path}: expected tables {' and '.join(DEFAULTS)}, got {type(numbers).__name__}")
    return numbers


def _work(name: str, numbers: Mapping[str, float]) -> tuple[list[Line], Report]:
    """Every equation with its values, and the verdict on them."""
    function = getattr(by_hand, name)
    scalars = {n: torch.tensor(v, dtype=torch.float64) for n, v in numbers.items() if n != "eta"}
    try:
        ours = vars(function(**scalars, eta=numbers["eta"]))
    except ValueError as error:
        raise CommandError(str(error)) from None
    theirs = getattr(by_autograd, name)(**scalars, eta=numbers["eta"])
    values = {n: float(v) for n, v in ours.items()}
    lines = [
        Line(
            equation,
            notation.in_numbers(equation.value, values),
            values[equation.name],
            float(theirs[equation.name]),
        )
        for equation in notation.equations(function)
    ]
    return lines, article_network(name, scalars, numbers["eta"], [torch.float64])


def _by_section(lines: list[Line]) -> Iterator[tuple[notation.Section, list[Line]]]:
    for section in dict.fromkeys(line.equation.section for line in lines):
        yield section, [line for line in lines if line.equation.section == section]


def _print(lines: Any, steps: list[Line]) -> None:
    for section, of_section in _by_section(steps):
        lines.print(f"\n{section.title}", style="bold")
        for line in of_section:
            name, value = notation.text(line.equation.name), notation.number(line.value)
            indent = " " * (2 + len(name))
            equation = notation.as_text(line.equation.value)
            lines.print(f"  {name} = {equation}")
            if line.in_numbers.strip("()") != value:
                lines.print(f"{indent} = {line.in_numbers}")
            lines.print(f"{indent} = {value}{line.beside and f'   {line.beside}'}")


def _figures(given: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The article's figures of these networks, by name."""
    from manual_bp import figures

    scenes = {name: figures.Scene.of(*as_network(name, numbers), numbers["eta"]) for name, numbers in given.items()}
    return dict(figures.article_figures(scenes))


def as_network(name: str, numbers: Mapping[str, float]) -> tuple[Network, torch.Tensor, torch.Tensor]:
    """The network in matrix form, its sample x and its target z."""

    def tensor(*names: str) -> torch.Tensor:
        return torch.tensor([numbers[n] for n in names], dtype=torch.float64)

    if name == "neuron":
        return Network([tensor("w1", "w2")[None]], [tensor("wb")]), tensor("x1", "x2"), tensor("y")
    weights = [
        torch.stack([tensor(f"w_{layer}{k}_{one}", f"w_{layer}{k}_{other}") for k in "12"])
        for layer, one, other in (("1", "x", "y"), ("2", "11", "12"))
    ]
    biases = [tensor(f"w_{layer}1_b", f"w_{layer}2_b") for layer in "12"]
    return Network(weights, biases), tensor("x", "y"), tensor("z_1", "z_2")


def _write_figures(folder: Path, drawn: Mapping[str, Any]) -> None:
    from manual_bp.figures import save

    with writing(f"--figures {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, figure in drawn.items():
            save(figure, folder / f"{name}.svg")


ARTICLE = "The article by Mark Chang (2015)"
STYLE = """
:root { color-scheme: light dark; --ink: #222; --paper: #fff; --quiet: #5a5f6b; --line: #ddd;
  --ok: #00724f; --wrong: #b84f00; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e3; --paper: #16181c; --quiet: #a3a8b4; --line: #3a3d44; --ok: #2fc497; --wrong: #ff8a45; }
}
body { color: var(--ink); background: var(--paper); font: 1rem/1.5 system-ui, sans-serif;
  margin: 0 auto; max-width: 42rem; padding: 1rem; overflow-wrap: break-word; }
h2 { margin-top: 3rem; } h3 { margin: 2.2rem 0 .3rem; font-size: 1.05rem; }
.equation { border-left: 3px solid var(--line); margin: .8rem 0; padding: .1rem 0 .1rem .8rem; overflow-x: auto; }
.numbers { color: var(--quiet); font-size: .9rem; font-variant-numeric: tabular-nums; }
.numbers b { color: var(--ink); white-space: nowrap; }
math { font-size: 1.1em; }
figure { margin: 1.5rem 0; } figure svg { width: 100%; height: auto; display: block; }
.ok { color: var(--ok); } .wrong { color: var(--wrong); }
"""

# After which section of figure 2 each of its pictures stands
PLACES = {
    "Forward, layer 2": ["network"],
    "Step 1": ["delta-21", "step-1"],
    "Step 2": ["step-2"],
    "Step 3": ["delta-11", "step-3"],
    "Step 4": ["step-4"],
    "(1) Descent": ["descent"],
}


def _page(
    worked: Mapping[str, tuple[list[Line], Report]], given: Mapping[str, Mapping[str, float]], drawn: Mapping[str, Any]
) -> str:
    """One page that holds everything, for a browser without a network."""
    title = "Neural Networks Backward Propagation, worked through"
    parts = [f"<h1>{title}</h1>", f"<p>{ARTICLE}, equation by equation, with the numbers.</p>"]
    for name, (steps, report) in worked.items():
        parts.append(f"<h2>{TITLES[name]}</h2>")
        if name == "neuron":
            parts.append(_figure(drawn["neuron"]))
        numbers = ", ".join(f"{notation.text(n)} = {notation.number(v)}" for n, v in given[name].items())
        parts.append(f"<p>{html.escape(numbers)}</p>")
        for section, of_section in _by_section(steps):
            parts.append(f"<h3>{html.escape(section.title)}</h3>")
            if section.prose:
                parts.append(f"<p>{html.escape(section.prose)}</p>")
            parts += map(_equation, of_section)
            if name == "two_by_two":
                here = [
                    picture for at, pictures in PLACES.items() if section.title.startswith(at) for picture in pictures
                ]
                parts += [_figure(drawn[picture]) for picture in here]
        state = "ok" if report.ok else "wrong"
        parts.append(f'<p class="{state}">{html.escape(_verdict(name, steps, report))}</p>')
    parts.append(f"<p><small>manual-bp {__version__}, torch {html.escape(torch.__version__)}, float64</small></p>")
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    head += f"<title>{title}</title><style>{STYLE}</style>"
    body = "\n".join(parts)
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _equation(line: Line) -> str:
    """An equation, below it the same in numbers, and autograd's value where it is another."""
    first, *more = notation.terms_in_mathml(line.equation.value)
    terms = [f"{notation.mathml(line.equation.name)}<mo>=</mo>{first}", *more]
    shown = " ".join(f'<math displaystyle="true"><mrow>{term}</mrow></math>' for term in terms)
    value = notation.number(line.value)
    steps = [html.escape(line.in_numbers)] if line.in_numbers.strip("()") != value else []
    numbers = "".join(f"= {step} " for step in [*steps, f"<b>{value}</b>"]) + line.beside
    return f'<div class="equation">{shown}<div class="numbers">{numbers.rstrip()}</div></div>'


def _figure(figure: Any) -> str:
    from manual_bp.figures import as_svg

    return f"<figure>{as_svg(figure)}</figure>"
