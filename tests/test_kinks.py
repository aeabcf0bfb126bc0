"""The atlas of kinks: its page, torch's column, and its sets."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from crosscheck.verdict.conventions import TAKEN

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location("kinks", ROOT / "benchmarks" / "kinks.py")
kinks = importlib.util.module_from_spec(spec)
spec.loader.exec_module(kinks)
RECORD = json.loads(kinks.RECORD.read_text(encoding="utf-8"))

STEP = 2.0**-24
# Neither convex nor concave, of one side of the point alone, or of value nan: one-sided differences bound no set there.
UNBOUNDED = (
    "median",
    "quantile",
    "binary_cross_entropy",
    "pow(0, 2)",
    "where(x > 0, √x, 0)",
    "cross entropy",
)
BOUNDED = [
    name
    for name, point in kinks.POINTS.items()
    if point.set.largest and point.torch and not name.startswith(UNBOUNDED) and not isinstance(point.at[0], complex)
]


def test_the_page_is_that_of_the_record():
    assert kinks.PAGE.read_text(encoding="utf-8") == kinks.page(RECORD)


def test_torch_takes_what_the_record_says():
    here = kinks.measure("torch")
    found = {
        "versions": {"torch": here["version"]},
        "taken": {name: {"torch": here["taken"].get(name)} for name in kinks.POINTS},
    }
    assert not kinks.differences(RECORD, found)


def test_a_change_is_seen():
    found = {"versions": {"torch": "3"}, "taken": {**RECORD["taken"], "relu at 0": {"torch": [1.0]}}}
    assert kinks.differences(RECORD, found) == ["torch, relu at 0: [0.0] in the record, [1.0] here"]


@pytest.mark.parametrize("name", BOUNDED)
def test_a_set_is_that_of_the_one_sided_differences(name):
    point, words = kinks.POINTS[name], kinks.of_torch()[0]
    torch.set_default_dtype(torch.float64)
    try:
        function = eval(f"lambda x, y=None: ({point.words('torch')}).sum()", words)
        at = [torch.tensor(x) for x in point.at]
        for seed in range(5):
            generator = torch.Generator().manual_seed(seed)
            d = [2 * torch.rand(x.shape, generator=generator) - 1 for x in at]
            rest, ahead, behind = (
                function(*(x + h * step for x, step in zip(at, d, strict=True))) for h in (0, STEP, -STEP)
            )
            ends = sorted([(ahead - rest).item() / STEP, (rest - behind).item() / STEP])
            along = [number for step in d for number in step.flatten().tolist()]
            expected = [-point.set.largest([-number for number in along]), point.set.largest(along)]
            assert ends == pytest.approx(expected, abs=1e-4)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(
    ("name", "inside", "beyond"),
    [
        ("relu at 0", [0.3], [1.1]),
        ("max, 3 equal", [0.2, 0.5, 0.3], [1.2, -0.2, 0]),
        ("2-norm of 0", [0.6, 0.8], [0.8, 0.8]),
        ("1-norm of 0", [1, 1], [1, 1.1]),
        ("∞-norm of 0", [0.5, -0.5], [0.7, 0.7]),
        ("std, 3 equal", [0.5, -0.5, 0], [0.5, 0, 0]),
        ("largest eigenvalue of I", [0.5, 0.5, 0.5, 0.5], [0.5, 0.6, 0.6, 0.5]),
        ("two writes to one place", [0, 1], [1, 1]),
        ("elu at 0, α = 1", [1], [float("nan")]),
    ],
)
def test_what_is_outside_of_a_set_is_marked(name, inside, beyond):
    point = kinks.POINTS[name]
    assert not kinks.cell(point, inside, inside).endswith("✗")
    assert kinks.cell(point, beyond, beyond).endswith("✗")


def test_the_judge_says_what_the_record_says():
    points = {name.partition(",")[0]: name for name in reversed(kinks.POINTS)}
    assert {name: kinks.words(RECORD, points[name]) for name in TAKEN} == TAKEN
