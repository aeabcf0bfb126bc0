"""`manual-bp verify`: judge what is written by hand here, or a gradient of the user's own."""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import torch

from crosscheck import Report, devices
from crosscheck.form.kinds import REAL
from crosscheck.report import shown
from crosscheck.row import KINK, Row, dtype_name
from crosscheck.verdict.precision import DTYPES, dtypes_of, unit_roundoff
from manual_bp import __version__
from manual_bp._console import console
from manual_bp._files import whole
from manual_bp.commands import CommandError
from manual_bp.commands._shares import Shares, colour, exit_code, is_known
from manual_bp.commands._subject import NotJudged, Subject
from manual_bp.commands._writing import can_write, writing
from manual_bp.commands.target import subjects
from manual_bp.mistakes import planted

SHOWN = 8  # of the rows of a mismatch


def verify(
    targets: Sequence[str],
    device: Sequence[str] | None,
    dtype: Sequence[str] | None,
    seed: int,
    json_file: str | None,
    plant: str | None,
) -> int:
    """Judge, print a line for each thing and device, where it is wrong, and the verdict; returns the exit code."""
    start = time.perf_counter()
    if targets and plant:
        raise CommandError(
            "--plant: expected no TARGET beside it, for it plants a mistake in manual-bp's code, got "
            f"{targets[0]}: leave one of them out"
        )
    if json_file and json_file != "-":
        can_write(f"--json {json_file}", json_file)
    try:
        places = [devices.device(name) for name in device] if device else devices.available()
        mistake = planted(plant) if plant else nullcontext()
        asked = {place: _dtypes(place, dtype) for place in places}
    except ValueError as error:
        raise CommandError(str(error)) from None
    things = [thing for target in targets for thing in subjects(target, seed)] or _what_is_written_here()
    dtypes = [t for t in DTYPES if any(t in of_place for of_place in asked.values())]

    lines = console(stderr=json_file == "-")
    about = f"manual-bp {__version__}, torch {torch.__version__}, on {_listed(places)}, seed {seed}"
    lines.print(f"{about}, planted: {plant}" if plant else about)
    shares = Shares(lines, [thing.name for thing in things], dtypes)
    reports: list[Report] = []
    on: defaultdict[torch.device, list[Report]] = defaultdict(list)
    not_judged: defaultdict[str, dict[str, None]] = defaultdict(dict)  # of each thing the reasons, in order
    with mistake, lines.progress() as progress:
        task = progress.add_task("judging", total=len(things) * len(places))
        for thing, place in product(things, places):
            progress.update(task, description=thing.name)
            try:
                report = replace(thing.judge(place, asked[place], seed), title=thing.name)
            except NotJudged as error:
                not_judged[thing.name][str(error)] = None
            else:
                reports.append(report)
                on[place].append(report)
                shares.add(thing.name, place, report.rows, _verdict(report))
            progress.advance(task)

    reasons = {name: "; ".join(of_thing) for name, of_thing in not_judged.items()}
    for report in reports:
        if not report.ok:
            lines.print(f"\n{_where(report)}", style="red" if report.breaches else colour(report.rows))
        if targets:
            kinks = [f"{row.name} at {dtype_name(row.dtype)}: {row.verdict}" for row in report.conventions]
            lines.print("\n  ".join((f"\n{report.title} on {report.rows[0].device}", *report.said, *kinks)))
    if json_file:
        about_run = {"manual_bp": __version__, "torch": torch.__version__, "seed": seed, "planted": plant}
        _write(json_file, about_run | _as_dict(reports, reasons))
    lines.print()
    for name, reason in reasons.items():
        lines.print(f"Not judged: {name}: {reason}")
    wrong = sum(report.is_mismatch for report in reports)
    unknown = sum(not is_known(report) for report in reports)
    rows = [(report.title, row) for report in reports for row in _judged(report)]
    count = len({(title, row.name, row.device) for title, row in rows})
    tensors = f"{count} tensor{'s' * (count != 1)}"
    judged = f"{len(reports) - unknown} judged, {tensors}, {_on(on, asked)}"
    counts = [f"MISMATCH in {wrong}"] * bool(wrong) + [f"NOT JUDGED in {unknown}"] * bool(unknown)
    verdict = ", ".join(counts) or ("all agree" if reports else "nothing could be judged")
    lines.print(f"{judged}, in {time.perf_counter() - start:.0f} s: {verdict}", style="bold red" if wrong else "bold")
    return exit_code(reports)


def _what_is_written_here() -> list[Subject]:
    # Loaded for these alone: beside a target there may be a reference.py of the user's own.
    from manual_bp.commands.subjects import subjects

    return list(subjects())


def _dtypes(place: torch.device, asked: Sequence[str] | None) -> list[torch.dtype]:
    """The dtypes to judge in on a device. Raises ValueError for one that was asked for and that the device has not."""
    here = dtypes_of(place)
    for name in asked or ():
        if name not in map(dtype_name, here):
            raise ValueError(f"--dtype: expected one of {_listed(map(dtype_name, here))} on {place}, got {name}")
    return [t for t in here if not asked or dtype_name(t) in asked]


def _on(reports: Mapping[torch.device, Sequence[Report]], asked: Mapping[torch.device, Sequence[torch.dtype]]) -> str:
    """On which devices, and at which of the dtypes that were asked for, something was judged, and at which nothing."""
    places: defaultdict[str, list[torch.device]] = defaultdict(list)
    for place, dtypes in asked.items():
        of_place = reports.get(place, ())
        of_each = [{REAL.get(row.dtype, row.dtype) for row in _judged(report)} for report in of_place]
        judged = [t for t in dtypes if any(t in found for found in of_each)]
        never = [t for t in dtypes if t not in judged]
        fewer = sum(is_known(r) and not found.issuperset(judged) for r, found in zip(of_place, of_each, strict=True))
        said = f" at {_listed(map(dtype_name, judged))}" * bool(judged)
        said += f" ({fewer} of them at fewer dtypes)" * bool(fewer)
        said += f", not at {_listed(map(dtype_name, never))}" * bool(never)
        places[said].append(place)
    return "; ".join(f"on {_listed(here)}{said}" for said, here in places.items())


def _judged(report: Report) -> list[Row]:
    return [row for row in report.rows if row not in report.not_judged]


def _verdict(report: Report) -> str:
    if report.ok and is_known(report):
        return KINK if report.conventions else "agrees"
    names = list(dict.fromkeys(row.name for row in report.mismatches or report.not_judged))
    if report.breaches and not report.mismatches:
        return f"CONTRACT BROKEN in {', '.join(dict.fromkeys(breach.check for breach in report.breaches))}"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{'MISMATCH' if report.is_mismatch else 'NOT JUDGED'} in {', '.join(names[:3])}{more}"


def _where(report: Report) -> str:
    """What is wrong, or could not be judged, at the most precise dtype that shows any."""
    wrong = report.mismatches or report.not_judged
    what = "what is wrong" if report.mismatches else "what could not be judged"
    if report.breaches and not report.mismatches:
        return "\n".join((f"{report.title}: the contract is broken", *map(str, report.breaches)))
    finest = min(wrong, key=lambda row: unit_roundoff(row.dtype)).dtype
    rows = tuple(row for row in wrong if row.dtype == finest)
    more = f"\n... and {len(rows) - SHOWN} more" if len(rows) > SHOWN else ""
    return f"{report.title}: {what}, error and budget in roundoffs\n{shown(rows[:SHOWN])}{more}"


def _listed(things: Iterable[object]) -> str:
    return ", ".join(map(str, things))


def _as_dict(reports: Sequence[Report], not_judged: Mapping[str, str]) -> dict[str, Any]:
    ok = bool(reports) and all(report.ok for report in reports)
    return {"ok": ok, "reports": [report.as_dict() for report in reports], "not_judged": not_judged}


def _write(file: str, verdicts: Mapping[str, Any]) -> None:
    text = json.dumps(verdicts, indent=2) + "\n"
    if file == "-":
        sys.stdout.write(text)
        return
    with writing(f"--json {file}"), whole(Path(file)) as draft:
        draft.write_text(text, encoding="utf-8")
