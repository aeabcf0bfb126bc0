"""`manual-bp rules`: the catalogue, and one rule with its derivation, its code and a fresh verdict."""

import inspect
import textwrap
from collections import defaultdict
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import product
from typing import Any

import torch

from crosscheck import Report, devices
from crosscheck.verdict.precision import DTYPES, dtypes_of
from manual_bp import rules as catalogue
from manual_bp._console import console
from manual_bp.commands import CommandError
from manual_bp.commands._shares import Shares, exit_code
from manual_bp.commands._subject import NotJudged
from manual_bp.commands.subjects import rule
from manual_bp.rules import RULES, Rule


def rules(names: Sequence[str]) -> int:
    """List all rules, or explain and judge those of these names; returns the exit code."""
    lines = console()
    if not names:
        _list(lines)
        return 0
    known = {name.lower(): name for name in RULES}
    for name in names:
        if name.lower() not in known:
            near = [known[match] for match in get_close_matches(name.lower(), known)]
            hint = f": did you mean {', '.join(near)}?" if near else ""
            raise CommandError(f"rule {name}: expected one of the {len(RULES)} that `manual-bp rules` lists{hint}")
    return exit_code([report for name in names for report in _explain(lines, known[name.lower()])])


def _list(lines: Any) -> None:
    families: defaultdict[str, list[type[Rule]]] = defaultdict(list)
    for listed in RULES.values():
        families[listed.__module__].append(listed)
    width = max(map(len, RULES))
    for family, members in families.items():
        about = (inspect.getdoc(inspect.getmodule(members[0])) or "").partition("\n")[0]
        lines.print(f"{family.rpartition('.')[2]}", style="bold", end=": ")
        lines.print(f"{about[:1].lower()}{about[1:]}")
        for member in members:
            formula = (member.__doc__ or "").partition("\n")[0].partition(": ")[2].rstrip(".")
            lines.print(f"  {member.__name__:{width}}  {formula}")
        lines.print()
    lines.print(
        f"{len(RULES)} rules. `manual-bp rules LayerNorm` shows the derivation and the code of one, and judges it."
    )


def _explain(lines: Any, name: str) -> list[Report]:
    """Print what the rule says of itself, its code, and the verdict on it; returns the verdict on each device."""
    shown = RULES[name]
    lines.print(name, style="bold")
    lines.print(f"{inspect.getdoc(shown)}\n")
    _, _, notation = (inspect.getdoc(catalogue) or "").partition("\n\n")
    lines.print(f"{notation}\n", style="dim")
    lines.print(f"The code, in {shown.__module__}:", style="bold")
    for function in code_of(shown):
        lines.print(textwrap.indent(textwrap.dedent(inspect.getsource(function)), "    "))
    lines.print("Judged now, by autograd", style="bold")
    reports: dict[torch.device, Report] = {}
    for place in devices.available():
        try:
            reports[place] = rule(name, place, dtypes_of(place), seed=0)
        except NotJudged as error:
            lines.print(f"Not judged: {error}")
    tensors = list(dict.fromkeys(row.name for report in reports.values() for row in report.rows))
    shares = Shares(lines, tensors, [t for t in DTYPES if any(t in dtypes_of(place) for place in reports)])
    for tensor, (place, report) in product(tensors, reports.items()):
        if rows := [row for row in report.rows if row.name == tensor]:
            worst = min(rows, key=lambda row: (row.ok, row.verdict == "agrees"))
            shares.add(tensor, place, rows, worst.said)
    lines.print()
    return list(reports.values())


def code_of(shown: type[Rule]) -> list[Callable[..., Any]]:
    """The rule's two functions, and the private ones of its class and module that they call."""
    functions: list[Callable[..., Any]] = [shown.forward, shown.backward]
    for function in functions:
        body = inspect.unwrap(function)
        for name in body.__code__.co_names:
            called = getattr(shown, name, None) or getattr(inspect.getmodule(body), name, None)
            if name.startswith("_") and inspect.isfunction(called) and called not in functions:
                functions.append(called)
    return functions
