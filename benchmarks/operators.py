"""The judge over torch's own operators: every differentiable one, with the samples that torch tests it by.

    pip install expecttest                                        which torch.testing._internal needs
    python benchmarks/operators.py --results operators.jsonl      all of it; what the file has already is skipped
    python benchmarks/operators.py --only sinh 'linalg.*'         these alone
    python benchmarks/operators.py --device xla                   on a device, beside float64 on the CPU

The backward is autograd's own, so it is right: a mismatch is a false alarm, or, on another device, that device's.
What the report says it cannot judge, or the judge refuses by name, is counted apart. Then four mistakes are planted,
one by one, in the first gradient that is not zero. Each operator has a process of its own, forked from one that has
torch, and is killed when its time is up.
"""

import argparse
import json
import random
import re
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.testing._internal import common_methods_invocations as invocations
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from crosscheck import crosscheck, devices
from crosscheck.report import aligned
from crosscheck.row import dtype_name
from crosscheck.verdict.precision import NEGLIGIBLE, is_floating, norm

SEED = 0
NOWHERE = "the gradient is nowhere finite"
TRIES = 60  # samples that are looked at
REFUSED = r"^[^:\n]+: expected "  # how an error of the judge's own begins
FAILED = ("false alarms", "missed", "raw errors")
LISTED = (*FAILED, "timeouts", "not judged", "refused", "cannot show", "no usable sample")
OPERATORS = {
    op.full_name: op
    for op in invocations.op_db
    if op.supports_autograd and torch.float64 in op.supported_backward_dtypes("cpu")
}
MISTAKES: dict[str, Callable[[Tensor, int], Tensor]] = {  # of a gradient and a place in it
    "factor 1.001": lambda g, at: g * 1.001,
    "one element": lambda g, at: g + 0.01 * norm(g) * (torch.arange(g.numel(), device=g.device) == at).view(g.shape),
    "sign": lambda g, at: -g,
    "offset": lambda g, at: g + 1e-4 * norm(g),
}
Record = dict[str, Any]  # of an operator: a line of the results


class Found(NamedTuple):
    """The outcome of one judgement, and the words for it."""

    sample: int
    mistake: str
    outcome: str
    said: str


class Subject(NamedTuple):
    """A sample of an operator, as a function of those of its tensors that require grad."""

    op: Callable[..., Any]
    leaves: list[Any]  # of its input, args and kwargs
    tree: TreeSpec
    inputs: dict[int, Tensor]  # by their place among the leaves

    def forward(self, *xs: Tensor) -> Any:
        """The operator. Its other tensors follow to the first one's device, those of float64 to its dtype."""
        given = dict(enumerate(self.leaves)) | dict(zip(self.inputs, xs, strict=True))
        for i, x in given.items():
            if isinstance(x, Tensor) and i not in self.inputs:
                given[i] = x.detach().to(xs[0].device, xs[0].dtype if x.dtype == torch.float64 else x.dtype, copy=True)
        first, args, kwargs = tree_unflatten(list(given.values()), self.tree)
        return self.op(first, *args, **kwargs)

    def backward(self, grad_out: Any, out: Any, *xs: Tensor) -> tuple[Tensor, ...]:
        """Autograd's own."""
        with torch.enable_grad():
            leaves = [x.detach().requires_grad_() for x in xs]
            pairs = zip(tuples(self.forward(*leaves)), tuples(grad_out), strict=True)
            outs, grads = zip(*((o, g) for o, g in pairs if o.requires_grad), strict=True)
        return torch.autograd.grad(outs, leaves, grads, allow_unused=True, materialize_grads=True)

    def outs(self) -> tuple[Any, ...]:
        torch.manual_seed(SEED)
        return tuples(self.forward(*self.inputs.values()))

    def target(self) -> tuple[int, int] | str:
        """The first gradient that is not zero, and a finite element near its middle; or why there is none."""
        grads = tuple(torch.randn_like(o) if is_floating(o) else None for o in self.outs())
        gradients = self.backward(grads, None, *self.inputs.values())
        floor = NEGLIGIBLE * max(norm(g) for g in (*gradients, *grads) if g is not None)
        for i, g in enumerate(gradients):
            if norm(g) > floor:
                places = g.flatten().isfinite().nonzero().flatten()
                return i, int(places[len(places) // 2])
        if not any(g.numel() for g in gradients):
            return "the gradient is empty"
        finite = any(bool(g.isfinite().any()) for g in gradients)
        return "the gradient is zero" + ", but for rounding" * any(map(norm, gradients)) if finite else NOWHERE

    def mistaken(self, mistake: str, i: int, at: int, *given: Any) -> tuple[Tensor, ...]:
        """The backward with a mistake in the gradient of the i-th input."""
        right = self.backward(*given)
        return *right[:i], MISTAKES[mistake](right[i], at), *right[i + 1 :]


def tuples(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def subjects(name: str, device: str) -> Iterator[Subject | str]:
    """An operator's samples that differ by more than their numbers, one empty one at most; or why one is of no use."""
    torch.manual_seed(SEED), random.seed(SEED), np.random.seed(SEED)
    seen = set[str]()
    try:
        samples = list(islice(OPERATORS[name].sample_inputs("cpu", torch.float64, requires_grad=True), TRIES))
    except Exception as error:  # as for a package that is not here
        yield f"its samples raise {type(error).__name__}: {error}"
        return
    for sample in samples:
        leaves, tree = tree_flatten((sample.input, sample.args, sample.kwargs))
        given = {i: x for i, x in enumerate(leaves) if is_floating(x) and x.requires_grad}
        inputs = {i: x.detach().to(device).requires_grad_() for i, x in given.items()}
        subject = Subject(OPERATORS[name], leaves, tree, inputs)
        try:
            outs = [o for o in subject.outs() if is_floating(o) and o.requires_grad] if inputs else []
        except Exception as error:
            yield f"it raises {type(error).__name__}: {error}"
            continue
        if not outs:
            yield "no floating result depends on a floating input"
            continue
        full = any(x.numel() for x in inputs.values()) and any(o.numel() for o in outs)
        shown = [(x.shape, x.dtype, x.layout) if isinstance(x, Tensor) else x for x in leaves]
        if (key := f"{shown} {tree}" if full else "empty") not in seen:
            yield subject
            seen.add(key)


def judged(subject: Subject, backward: Callable[..., Any]) -> tuple[str, str, bool]:
    """What the judge makes of it, the words for it, and whether anything agrees."""
    try:
        found = crosscheck(subject.forward, backward, list(subject.inputs.values()), seed=SEED)
        report = replace(found, duties=None)  # benchmarks/contract.py is about these
    except Exception as error:
        refused = isinstance(error, TypeError | ValueError) and re.search(REFUSED, str(error))
        return "refused" if refused else "raw errors", f"{type(error).__name__}: {error}", False
    outcome = "agrees" if report.ok else "mismatch" if report.is_mismatch else "not judged"
    rows = {"agrees": report.rows, "mismatch": report.mismatches, "not judged": report.not_judged}[outcome]
    highest = {(row.name, row.verdict): row for row in reversed(rows)}.values()
    said = [f"{row.name} {dtype_name(row.dtype)}: {row.said}" for row in reversed(highest)]
    return outcome, "; ".join((*said, *report.notes)), any(row.ok for row in report.rows)


def work(pipe: Connection, name: str, device: str, count: int) -> None:
    """Judge an operator, and send what is found as it is found."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    devices.device(device)  # its package, if it has one, is imported
    usable: list[Subject] = []
    for subject in subjects(name, device):
        if isinstance(subject, str):
            pipe.send(Found(-1, "", "unusable", subject))
        else:
            usable.append(subject)
        if len(usable) == count:
            break
    for number, subject in enumerate(usable):
        outcome, said, some = judged(subject, subject.backward)
        pipe.send(Found(number, "right", outcome.replace("mismatch", "false alarms"), said))
        plant = outcome == "agrees" or (outcome == "not judged" and some)
        target = subject.target() if plant else f"the right gradient: {outcome}"
        for mistake in MISTAKES:
            if isinstance(target, str):
                pipe.send(Found(number, mistake, "cannot show", target))
                continue
            outcome, said, _ = judged(subject, partial(subject.mistaken, mistake, *target))
            pipe.send(Found(number, mistake, {"agrees": "missed", "mismatch": "caught"}.get(outcome, outcome), said))


def records(names: Sequence[str], jobs: int, limit: float, *how: Any) -> Iterator[Record]:
    """What was found of each operator, as it ends: so many at a time, none beyond the limit, none left behind."""
    context = ForkServerContext()
    context.set_forkserver_preload([invocations.__name__, "crosscheck.check"])
    waiting = list(reversed(names))
    running: dict[Connection, tuple[str, float, ForkServerProcess, list[Found]]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                ours, theirs = context.Pipe(duplex=False)
                process = context.Process(target=work, args=(theirs, waiting[-1], *how), daemon=True)
                process.start()
                theirs.close()
                running[ours] = waiting.pop(), time.monotonic(), process, []
            ready = wait(list(running), timeout=1)
            for pipe, (name, start, process, found) in list(running.items()):
                seconds = round(time.monotonic() - start, 1)
                try:
                    if pipe in ready:
                        found.append(pipe.recv())
                    if seconds < limit:
                        continue
                    found.append(Found(-1, "", "timeouts", f"killed after {seconds} s and {len(found)} judgements"))
                except EOFError:
                    process.join(10)
                    if process.exitcode != 0:
                        said = f"exit code {process.exitcode} after {len(found)} judgements"
                        found.append(Found(-1, "", "raw errors", said))
                process.kill()
                process.join()
                del running[pipe]
                yield {"operator": name, "seconds": seconds, "found": found}
    finally:
        for _, _, process, _ in running.values():
            process.kill()


def told(results: Sequence[Record]) -> str:
    """The table, and below it a line for each thing that is neither agreed nor caught."""
    lines: dict[str, list[str]] = {what: [] for what in LISTED}
    count: Counter[str] = Counter()
    for record in results:
        found = [Found(*each) for each in record["found"]] or [Found(-1, "", "unusable", "it has none")]
        samples = {one.sample for one in found if one.sample >= 0}
        count.update(operators=bool(samples), samples=len(samples), **Counter(one.outcome for one in found))
        together: dict[tuple[str, str], dict[str, None]] = {}
        for one in found:
            outcome = "no usable sample" if one.outcome == "unusable" and not samples else one.outcome
            where = f"{one.sample} {one.mistake}" if one.outcome != "cannot show" else str(one.sample)
            together.setdefault((outcome, " ".join(one.said.split())[:300]), {})[where] = None
        for (outcome, said), places in together.items():
            at = f", sample {', '.join(places)}" * ("-1 " not in places)
            lines.get(outcome, []).append(f"{record['operator']}{at}: {said}")
    headings = ("operators", "samples", "caught", *LISTED[:-1])
    table = aligned(headings, [[f"{count[heading]:,}" for heading in headings]], right=headings)
    return "\n\n".join((table, *("\n  ".join((f"{what}:", *found)) for what, found in lines.items() if found)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, metavar="FILE", help="JSON lines, to be added to")
    parser.add_argument("--only", nargs="+", metavar="NAME", default=["*"], help="as add, std.unbiased or linalg.*")
    parser.add_argument("--device", default="cpu", help="to which the tensors are moved (cpu)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (2)")
    parser.add_argument("--limit", type=float, default=60, help="seconds for an operator (60)")
    parser.add_argument("--samples", type=int, default=3, help="of an operator, at most (3)")
    given = parser.parse_args()
    names = [name for name in OPERATORS if any(fnmatchcase(name, want) for want in given.only)]
    for want in given.only:
        if not any(fnmatchcase(name, want) for name in names):
            parser.error(f"--only: expected differentiable operators of op_db, got {want}")
    lines = given.results.read_text().splitlines() if given.results and given.results.exists() else []
    results = [record for record in map(json.loads, lines) if record["operator"] in names]
    left = [name for name in names if name not in {record["operator"] for record in results}]
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("operators", total=len(names), completed=len(results))
        for record in records(left, given.jobs, given.limit, given.device, given.samples):
            results.append(record)
            progress.advance(task)
            if given.results:
                with given.results.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    print(f"torch {torch.__version__}, {given.device}\n\n{told(results)}")
    sys.exit(any(Found(*each).outcome in FAILED for record in results for each in record["found"]))


if __name__ == "__main__":
    main()
