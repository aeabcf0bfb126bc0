"""The corpus: no mistake is missed, and most are named."""

from functools import cache

import pytest
import torch

from crosscheck import crosscheck
from crosscheck.row import UNKNOWN, Row
from crosscheck.verdict.precision import dtypes_of
from manual_bp.commands.subjects import cases, on
from manual_bp.corpus import CORPUS, Mistake
from manual_bp.mistakes import edited
from manual_bp.rules import RULES


@cache
def mismatches(mistake: Mistake, device: torch.device) -> list[Row]:
    """With the mistake made, in every case of the rule; autograd goes through the rule's own forward."""
    with edited([mistake.edit]):
        reports = [
            crosscheck(case.forward, case.backward, on(device, case.draw(0)), dtypes=[dtypes_of(device)[0]])
            for case in cases(mistake.owner)
        ]
    return [row for report in reports for row in report.mismatches]


def test_the_corpus_is_large_and_of_every_rule():
    assert len(set(CORPUS)) == len(CORPUS) >= 150
    by_another = {"Conv2d", "ConvTranspose2d", "Identity"}  # the first two have the code of those of one dimension
    assert {mistake.owner for mistake in CORPUS} == RULES.keys() - by_another | {"Network"}


@pytest.mark.parametrize("mistake", CORPUS, ids=str)
def test_no_mistake_is_missed(mistake, device):
    assert mismatches(mistake, device)


def test_most_are_named(device):
    named = [mistake for mistake in CORPUS if any(is_named(row) for row in mismatches(mistake, device))]
    assert len(named) >= 0.95 * len(CORPUS)


def is_named(row: Row) -> bool:
    return not row.diagnosis.startswith(UNKNOWN)
