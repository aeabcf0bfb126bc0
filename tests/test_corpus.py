"""The corpus: no mistake is missed, and most are named."""

import pytest
import torch

from manual_bp.commands.subjects import cases
from manual_bp.corpus import CORPUS, Mistake
from manual_bp.mistakes import edited
from manual_bp.rules import RULES
from reference import Row, crosscheck
from reference.diagnosis import UNKNOWN


def mismatches(mistake: Mistake) -> list[Row]:
    """With the mistake made, in every case of the rule; autograd goes through the rule's own forward."""
    with edited([mistake.edit]):
        reports = [
            crosscheck(case.forward, case.backward, case.draw(0), dtypes=[torch.float64])
            for case in cases(mistake.owner)
        ]
    return [row for report in reports for row in report.mismatches]


@pytest.fixture(scope="module")
def wrong() -> dict[Mistake, list[Row]]:
    return {mistake: mismatches(mistake) for mistake in CORPUS}


def test_the_corpus_is_large_and_of_every_rule():
    assert len(set(CORPUS)) == len(CORPUS) >= 150
    by_another = {"Conv2d", "ConvTranspose2d", "Identity"}  # the first two have the code of those of one dimension
    assert {mistake.owner for mistake in CORPUS} == RULES.keys() - by_another | {"Network"}


@pytest.mark.parametrize("mistake", CORPUS, ids=str)
def test_no_mistake_is_missed(mistake, wrong):
    assert wrong[mistake]


def test_most_are_named(wrong):
    named = [mistake for mistake, rows in wrong.items() if any(is_named(row) for row in rows)]
    assert len(named) >= 0.95 * len(CORPUS)


def is_named(row: Row) -> bool:
    return not row.diagnosis.startswith(UNKNOWN)
