"""The corpus: no mistake is missed, and most are named."""

from functools import partial

import pytest
import torch

from manual_bp.corpus import CORPUS, Mistake
from manual_bp.mistakes import edited
from manual_bp.rules import RULES
from reference import Row, crosscheck
from reference.diagnosis import UNKNOWN
from reference.twins import TWINS


def mismatches(mistake: Mistake) -> list[Row]:
    """With the mistake made, in every case of the rule; autograd goes through the rule's own forward."""
    rule, rows = RULES[mistake.rule], []
    with edited([mistake.edit]):
        for twin in TWINS[mistake.rule]:
            forward, backward = (partial(f, **twin.options) for f in (rule.forward, rule.backward))
            rows += crosscheck(forward, backward, twin.draw(0), dtypes=[torch.float64]).mismatches
    return rows


@pytest.fixture(scope="module")
def wrong() -> dict[Mistake, list[Row]]:
    return {mistake: mismatches(mistake) for mistake in CORPUS}


def test_the_corpus_is_large_and_of_every_rule():
    assert len(set(CORPUS)) == len(CORPUS) >= 150
    by_another = {"Conv2d", "ConvTranspose2d", "Identity"}  # the first two have the code of those of one dimension
    assert {mistake.rule for mistake in CORPUS} == RULES.keys() - by_another


@pytest.mark.parametrize("mistake", CORPUS, ids=lambda mistake: f"{mistake.rule}-{mistake.kind}")
def test_no_mistake_is_missed(mistake, wrong):
    assert wrong[mistake]


def test_most_are_named(wrong):
    named = [mistake for mistake, rows in wrong.items() if not rows[0].diagnosis.startswith(UNKNOWN)]
    assert len(named) >= 0.8 * len(CORPUS)
