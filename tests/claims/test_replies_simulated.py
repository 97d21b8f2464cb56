"""The bounds of shares of replies hold when several samples of one prompt agree with each other: simulated rulings, known truths."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_steer.claims.rulings import Ruling, ShareAccepted, ShareGained, accepted, gained
from pytest_steer.stats import Direction

PROMPTS, SAMPLES = 20, 4
CLUSTERS = [prompt for prompt in range(PROMPTS) for _ in range(SAMPLES)]


def draw(rng, share, agree):
    """Outcomes of the samples of each prompt: with a probability of ``agree`` all samples of a prompt are one draw."""
    alike = rng.random(PROMPTS) < agree
    one, each = rng.random((PROMPTS, 1)) < share, rng.random((PROMPTS, SAMPLES)) < share
    return np.where(alike[:, None], one, each).ravel()


def rulings(outcomes, unknown=None):
    known = [Ruling("accepted" if one else "rejected") for one in outcomes]
    if unknown is not None:
        known = [Ruling("undetermined", "loops") if lost else one for one, lost in zip(known, unknown, strict=True)]
    return known


def wrong(runs, share, agree, clusters, lost=0.0):
    """How often each bound of the share is on the wrong side of the truth."""
    rng = np.random.default_rng([runs, int(100 * share), int(100 * agree)])
    below = above = 0
    for _ in range(runs):
        outcomes = draw(rng, share, agree)
        # What is undetermined is so because of what it would have been: the worst for a filling with one value.
        unknown = (rng.random(len(outcomes)) < lost) & outcomes
        found = ShareAccepted().infer(
            accepted(rulings(outcomes, unknown)), clusters, confidence=0.95, direction=Direction.AT_LEAST
        )
        below, above = below + (found.high < share), above + (found.low > share)
    return below / runs, above / runs


def test_bounds_over_clusters_hold_where_samples_agree():
    for share in (0.5, 0.9):
        assert max(wrong(400, share, agree=1.0, clusters=CLUSTERS)) <= 0.075
    # Without clusters the same samples give an interval that is far too narrow.
    assert max(wrong(400, 0.5, agree=1.0, clusters=None)) > 0.15


def test_undetermined_replies_cost_no_error():
    assert max(wrong(400, 0.6, agree=1.0, clusters=CLUSTERS, lost=0.3)) <= 0.075


@pytest.mark.nightly
@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("agree", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("lost", [0.0, 0.2])
def test_bounds_hold_whatever_the_share_and_the_agreement(share, agree, lost):
    assert max(wrong(4000, share, agree, CLUSTERS, lost)) <= 0.058


@pytest.mark.nightly
@pytest.mark.parametrize(("before", "after"), [(0.2, 0.6), (0.5, 0.5), (0.05, 0.1)])
@pytest.mark.parametrize("agree", [0.0, 1.0])
def test_bounds_of_a_difference_hold(before, after, agree):
    rng = np.random.default_rng([7, int(100 * before), int(100 * agree)])
    missed = np.zeros(2)
    for _ in range(600):
        base, steered = (rulings(draw(rng, share, agree)) for share in (before, after))
        found = ShareGained().infer(gained(base, steered), CLUSTERS, confidence=0.95)
        missed += [found.high < after - before, found.low > after - before]
    assert max(missed / 600) <= 0.07
