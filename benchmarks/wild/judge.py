"""Judge the cases of one package, in its environment: python judge.py cases/NAME.py prints a line of JSON for each."""

import json
import re
import runpy
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from case import AGREES, Case
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from crosscheck import Report, crosscheck
from crosscheck.row import CHANGED, INACCURATE, UNSTEADY, WRONG

SECONDS = 120  # for a case
STEP = 2.0**-12  # of the differences, extrapolated to zero
SAYS = {
    "nan": "nan in",
    "wrong shape": "wrong shape of",
    WRONG: "wrong in",
    INACCURATE: "less accurate in",
    UNSTEADY: "unsteady in",
    CHANGED: "changes",
}
REFUSED = r"^[^:\n]+: expected "  # how an error of the judge's own begins


def outcome(report: Report) -> str:
    """The verdict in a few words: 'agrees', 'wrong in a, b', 'breaks transposed', 'not judged in x'."""
    if report.ok:
        return AGREES
    said = []
    for verdict, words in SAYS.items():
        names = dict.fromkeys(row.name for row in report.mismatches if row.verdict.startswith(verdict))
        said += [f"{words} {', '.join(names)}"] * bool(names)
    checks = dict.fromkeys(breach.check for breach in report.breaches)
    said += [f"breaks {', '.join(checks)}"] * bool(checks)
    return "; ".join(said) or f"not judged in {', '.join(dict.fromkeys(row.name for row in report.not_judged))}"


def derivatives(case: Case) -> dict[str, float]:
    """Without the judge: the derivative along where package and twin are farthest apart, by both and by differences.

    The differences are central ones of the twin, in float64, at two steps, extrapolated (Richardson).
    """
    leaves, tree = tree_flatten(tuple(case.inputs))
    at = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.is_floating_point()]

    def outs(function: Any, xs: list[Tensor]) -> list[Tensor]:
        torch.manual_seed(0)
        given = dict(enumerate(leaves)) | dict(zip(at, xs, strict=True))
        found = function(*tree_unflatten(list(given.values()), tree))
        return [out for out in tree_flatten(found)[0] if isinstance(out, Tensor) and out.is_floating_point()]

    def gradients(function: Any, xs: list[Tensor]) -> list[Tensor]:
        xs = [x.detach().clone().requires_grad_() for x in xs]
        loss = sum((out * g.to(out.dtype)).sum() for out, g in zip(outs(function, xs), grad_outs, strict=True))
        found = torch.autograd.grad(loss, xs, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g.double() for x, g in zip(xs, found, strict=True)]

    xs = [leaves[i].detach().double() for i in at]
    torch.manual_seed(1)
    grad_outs = [torch.randn_like(out) for out in outs(case.twin, xs)]
    function = getattr(case.function, "apply", case.function) if isinstance(case.function, type) else case.function
    try:
        by_package = gradients(function, xs)
    except Exception:  # what takes float32 alone
        by_package = gradients(function, [x.float() for x in xs])
    by_twin = gradients(case.twin, xs)
    along = [(p - t).nan_to_num() for p, t in zip(by_package, by_twin, strict=True)]
    size = max(float(d.abs().max()) for d in along if d.numel()) or 1.0
    along = [d / size for d in along]

    def slope(step: float) -> float:
        sides = [outs(case.twin, [x + way * step * d for x, d in zip(xs, along, strict=True)]) for way in (1, -1)]
        return sum(float(((a - b) * g).sum()) for a, b, g in zip(*sides, grad_outs, strict=True)) / (2 * step)

    dot = lambda gs: sum(float((g * d).sum()) for g, d in zip(gs, along, strict=True))  # noqa: E731
    by_differences = (4 * slope(STEP / 2) - slope(STEP)) / 3
    return {"package": dot(by_package), "twin": dot(by_twin), "differences": by_differences}


def judged(case: Case) -> dict[str, Any]:
    """A case as it is, the record of it beside."""
    start = time.perf_counter()
    found: dict[str, Any] = {"case": case.name, "expected": case.says, "kind": case.kind, "why": case.why}
    try:
        report = crosscheck(case.function, inputs=case.inputs, twin=case.twin, **case.how)
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
        first = said.splitlines()[0]
        refused = isinstance(error, TypeError | ValueError) and re.search(REFUSED, str(error))
        return found | {"says": f"{'refused' if refused else 'raises'}: {first}", "gradients": 0, "report": said}
    outs = {row.name for row in report.rows if row.name.startswith("out")}
    found |= {
        "says": outcome(report),
        "gradients": len({row.name for row in report.rows if not row.verdict.startswith(CHANGED)} - outs),
        "dtypes": list(dict.fromkeys(str(row.dtype).removeprefix("torch.") for row in report.rows)),
        "seconds": round(time.perf_counter() - start, 1),
        "report": "" if found["expected"] == outcome(report) == AGREES else str(report),
    }
    if "wrong in" in found["says"]:
        try:
            found["derivatives"] = derivatives(case)
        except Exception as error:
            found["derivatives"] = f"{type(error).__name__}: {error}"
    return found


def main(path: Path, only: str = "") -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, _late)
    for case in runpy.run_path(str(path))["CASES"]:
        if only in case.name:
            signal.alarm(SECONDS)
            print(json.dumps(judged(case)), flush=True)
            signal.alarm(0)


def _late(*_: Any) -> None:
    raise TimeoutError(f"more than {SECONDS} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
