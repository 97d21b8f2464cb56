"""``ppl_delta_below``: bounds and p-values of a rise whose logarithm is known in closed form."""

from __future__ import annotations

import math

import builders
import numpy as np
import pytest
from scipy import stats

from pytest_steer import SteeringFailure, SteeringInconclusive, assert_ppl_delta_below
from pytest_steer.stats import Verdict

C = {"up": 1.0, "down": -0.5, "still": 0.0, "much": 1.0}
TEXTS = [f"{'still ' * n}down much still" for n in range(10)]
M = 2.0


@pytest.fixture(scope="module")
def linear():
    return builders.Linear(tuple(C), {}, {}, C)


def rises(words):
    """By how much the mean NLL of each text rises: tokens from the third on have log mean_j exp(m c_j) - m c_t, and the second, which
    an unsteered position predicts, has none."""
    partition = math.log(np.mean([math.exp(M * C.get(word, 0.0)) for word in words]))
    tokens = [text.split() for text in TEXTS]
    return np.array([sum(partition - M * C[t] for t in own[2:]) / (len(own) - 1) for own in tokens])


def evidence(linear, limit):
    try:
        return assert_ppl_delta_below(linear.model, linear.vector(), TEXTS, limit=limit, multiplier=M)
    except (SteeringFailure, SteeringInconclusive) as decided:
        return decided.evidence


def test_the_limit_is_a_rise_and_the_bounds_are_those_of_its_logarithm(linear):
    known = rises(linear.words)
    low, high = np.expm1(stats.t.interval(0.9, len(known) - 1, known.mean(), stats.sem(known)))
    assert low > 0.2  # else a rise and its logarithm would hardly differ
    for limit, verdict in (
        (1.01 * high, Verdict.PASS),
        (0.99 * high, Verdict.INCONCLUSIVE),
        (1.01 * low, Verdict.INCONCLUSIVE),
        (0.99 * low, Verdict.FAIL),
    ):
        found = evidence(linear, limit)
        assert found.verdict is verdict
        assert (found.estimate, *found.interval) == pytest.approx((math.expm1(known.mean()), low, high), abs=1e-5)
        at_limit = [stats.ttest_1samp(known, math.log1p(limit), alternative=side).pvalue for side in ("less", "greater")]
        assert (found.p_pass, found.p_fail) == pytest.approx(tuple(at_limit), rel=1e-3)


def test_the_perplexities_shown_are_those_that_the_statistic_is_the_ratio_of(linear):
    """A short text whose perplexity rises beside a long one whose perplexity falls: per token it falls, per text it rises."""
    texts = ["up down down", "up " * 40 + "much"]
    with pytest.raises(SteeringFailure) as failed:
        assert_ppl_delta_below(linear.model, linear.vector(), texts, limit=1e-9, multiplier=M)
    found = failed.value.evidence
    base, steered = found.details["perplexity_base"], found.details["perplexity_steered"]
    assert found.estimate == pytest.approx(steered / base - 1)
    assert base == pytest.approx(math.exp(np.mean([text["nll_base"] for text in found.details["texts"]])))
    tokens = found.details["perplexity_over_tokens"]
    assert found.estimate > 0 > tokens["steered"] / tokens["base"] - 1
    assert f"perplexity (geometric mean of the texts): {base:.2f} unsteered, {steered:.2f} steered" in found.message
