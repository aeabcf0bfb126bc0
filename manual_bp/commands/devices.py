"""`manual-bp devices`: which devices are here, and what ran where on several machines."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manual_bp import __version__
from manual_bp._console import console
from manual_bp._files import unread, whole
from manual_bp.commands import CommandError
from manual_bp.commands._writing import can_write, writing

WHERE = ("device", "kind", "title", "torch")
COUNTS = ("passed", "failed")
HEADER = ("device", "torch", *COUNTS, "skipped")


def devices(action: str | None = None, files: Sequence[str] = (), out: str | None = None) -> int:
    """List the devices, or merge reports of `pytest --device-report`; returns the exit code."""
    return _merge(files, out) if action == "merge" else _listed()


def _listed() -> int:
    import torch

    from crosscheck.devices import kinds, missing, of_kind, title

    lines = console()
    lines.print(f"manual-bp {__version__}, torch {torch.__version__}")
    for kind in kinds():
        if why := missing(kind):
            lines.print(f"{kind} is not here: {why}")
        else:
            for place in of_kind(kind) or [torch.device(kind)]:
                lines.print(title(place))
    return 0


def _merge(files: Sequence[str], out: str | None) -> int:
    if out:
        can_write(f"--out {out}", out)
    reports = [_read(file) for file in files]
    merged = {
        "asked": list(dict.fromkeys(name for report in reports for name in report["asked"])),
        "runs": _added(run for report in reports for run in report["runs"]),
    }
    if out:
        with writing(f"--out {out}"), whole(Path(out)) as draft:
            draft.write_text(json.dumps(merged, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    lines = console()
    for line in _table(merged["runs"]):
        lines.print(line)
    ran = {name for run in merged["runs"] if run["passed"] + run["failed"] for name in (run["device"], run["kind"])}
    idle = [name for name in merged["asked"] if name not in ran]
    for name in idle:
        lines.print(f"ERROR: no test ran on {name}, which was asked for", style="red")
    return 1 if idle or any(run["failed"] for run in merged["runs"]) else 0


def _read(file: str) -> dict[str, Any]:
    """A report. Raises CommandError for what is none."""
    try:
        report = json.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise CommandError(f"{file}: expected a report, got {unread(error)}") from None
    except ValueError:  # no JSON, or no text
        report = None
    if not _is_report(report):
        raise CommandError(
            f"{file}: expected a report that pytest --device-report or manual-bp devices merge -o writes, "
            "got another file"
        )
    assert isinstance(report, dict)
    return report


def _is_report(report: object) -> bool:
    match report:
        case {"asked": list(asked), "runs": list(runs)}:
            return all(isinstance(name, str) for name in asked) and all(map(_is_run, runs))
    return False


def _is_run(run: object) -> bool:
    match run:
        case {
            "device": str(), "kind": str(), "title": str(), "torch": str(),
            "passed": int(), "failed": int(), "skipped": dict(skipped),
        }:  # fmt: skip
            return all(isinstance(count, int) for count in skipped.values())
    return False


def _added(runs: Any) -> list[dict[str, Any]]:
    """The runs, those on the same device with the same torch added up."""
    added: dict[tuple[str, ...], dict[str, Any]] = {}
    for run in runs:
        key = tuple(run[name] for name in WHERE)
        sums = added.setdefault(key, {**dict(zip(WHERE, key, strict=True)), **dict.fromkeys(COUNTS, 0), "skipped": {}})
        for name in COUNTS:
            sums[name] += run[name]
        sums["skipped"] = dict(Counter(sums["skipped"]) + Counter(run["skipped"]))
    return list(added.values())


def _table(runs: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each device, and below it one for each reason why tests were skipped."""
    rows = [
        (run["title"], run["torch"], *(str(run[name]) for name in COUNTS), str(sum(run["skipped"].values())))
        for run in runs
    ]
    widths = [max(map(len, column)) for column in zip(HEADER, *rows, strict=True)]

    def line(row: Sequence[str]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()

    lines = [line(HEADER)]
    for row, run in zip(rows, runs, strict=True):
        reasons = sorted(run["skipped"].items(), key=lambda item: (-item[1], item[0]))
        lines += [line(row), *(f"    {count} skipped: {reason}" for reason, count in reasons)]
    return lines
