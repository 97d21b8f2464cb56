"""Bounds of a quantile: exact for independent values, as stated for clusters, none where too few clusters were seen."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pytest_steer.stats import Direction, Verdict, items_needed_quantile, judge, quantile


def lognormal(generator, clusters, related, size=20):
    """Values whose logarithms have this correlation within a cluster."""
    of_value = np.repeat(np.arange(clusters), size)
    common, own = generator.standard_normal(clusters), generator.standard_normal(of_value.size)
    return np.exp(math.sqrt(related) * common[of_value] + math.sqrt(1 - related) * own), of_value


def wholly_large(generator, clusters, share, size=20):
    """Values below 1, but in a share of the clusters all of them above 10; and the 0.9 quantile, where that share is above 0.1."""
    of_value = np.repeat(np.arange(clusters), size)
    large = generator.random(clusters) < share
    return np.where(large[of_value], 10.0, 0.0) + generator.random(of_value.size), of_value


def rates(draw, truth, q, n, runs, seed=0):
    """How often the upper and the lower bound are on the wrong side of the truth."""
    generator = np.random.default_rng(seed)
    wrong = np.zeros(2)
    for _ in range(runs):
        values, clusters = draw(generator, n)
        found = quantile(values, q, clusters=clusters)
        wrong += found.high < truth, found.low > truth
    return wrong / runs


# --- independent values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "q"), [(30, 0.9), (80, 0.9), (15, 0.5), (40, 0.75)])
def test_bounds_are_the_order_statistics_of_the_binomial(n, q):
    """The k-th smallest of n is an upper bound if at least k of n being at most the quantile is unlikely (David & Nagaraja, 7.1)."""
    values = np.random.default_rng(n).exponential(size=n)
    ordered = np.sort(values)
    found = quantile(values, q)
    # P(the k-th smallest < quantile) = P(at least k values below it) = P(Binomial(n, q) >= k)
    upper = next(k for k in range(1, n + 1) if stats.binom.sf(k - 1, n, q) <= 0.05)
    lower = next(k for k in range(n, 0, -1) if stats.binom.cdf(k - 1, n, q) <= 0.05)
    assert (found.low, found.high) == (ordered[lower - 1], ordered[upper - 1])
    assert found.estimate == np.quantile(values, q, method="inverted_cdf")
    assert (found.method, found.n) == ("order statistics", n)


@pytest.mark.parametrize(("n", "bounded"), [(28, False), (29, True)])
def test_with_too_few_values_there_is_no_upper_bound(n, bounded):
    values = np.arange(float(n))
    for clusters in (None, np.arange(n)):
        found = quantile(values, 0.9, clusters=clusters)
        assert math.isfinite(found.high) == (bounded and clusters is None)
        if clusters is None:
            assert found.p_at_most(1e9) == pytest.approx(0.9**n)
    # Texts of one size that all are alike within: 29 of them say nothing yet, 60 do.
    many, few = (quantile(np.repeat(np.arange(float(n)), 9), 0.9, clusters=np.repeat(np.arange(n), 9)) for n in (60, 29))
    assert math.isfinite(many.high)
    assert math.isinf(few.high)


def test_many_values_of_few_clusters_have_no_upper_bound():
    """However alike the clusters that were seen are: each tenth may be wholly above, and be none of 28."""
    for n, bounded in ((28, False), (29, True)):
        values, of_value = lognormal(np.random.default_rng(0), n, 0.0, size=400)
        assert math.isfinite(quantile(values, 0.9, clusters=of_value).high) == bounded
    of_one_size = np.repeat(np.arange(40), 20)
    unequal = np.where(np.arange(of_one_size.size) < 400, 0, of_one_size)  # half of the values are one cluster
    values = lognormal(np.random.default_rng(0), 40, 0.0)[0]
    assert math.isinf(quantile(values, 0.9, clusters=unequal).high)


def test_bounds_of_clusters_by_their_formula():
    """Written out for clusters of one size, whose jackknife is the variance of their shares."""
    values, of_value = lognormal(np.random.default_rng(7), 50, 0.4)
    ordered, q, g = np.sort(values), 0.9, 50
    estimate = ordered[math.ceil(q * len(values)) - 1]
    shares = (values <= estimate).reshape(g, -1).mean(1)
    f = shares.mean()
    known = (stats.norm.ppf(0.95) / stats.t.ppf(0.95, g - 1)) ** 2
    n_up, n_low = (f * (1 - f) / (shares.var(ddof=1) / g + (u - f) ** 2 / g**2) * known for u in (0, 1))
    up_to = np.arange(1, len(values) + 1) / len(values)
    upper = ordered[np.argmax(stats.beta.ppf(0.05, up_to * n_up, (1 - up_to) * n_up + 1) >= q)]
    before = up_to - 1 / len(values)
    lower = ordered[np.flatnonzero(stats.beta.ppf(0.95, before * n_low + 1, (1 - before) * n_low) <= q)[-1]]
    found = quantile(values, q, clusters=of_value)
    assert (found.estimate, found.low, found.high) == (estimate, lower, upper)


@pytest.mark.parametrize("clusters", [None, 40])
def test_p_values_and_bounds_say_the_same(clusters):
    values, of_value = lognormal(np.random.default_rng(3), 40, 0.3)
    labels = of_value if clusters else None
    found = quantile(values, 0.9, clusters=labels)
    assert found.low < found.estimate < found.high < values.max()
    for threshold in [*np.quantile(values, np.linspace(0.7, 1, 61)), found.low, found.high, found.estimate]:
        most, least = found.p_at_most(threshold), found.p_at_least(threshold)
        assert (most <= 0.05) == (found.high <= threshold)
        assert (least <= 0.05) == (found.low >= threshold)
    assert judge(found, found.high, Direction.AT_MOST) is Verdict.PASS
    assert judge(found, np.nextafter(found.high, 0), Direction.AT_MOST) is Verdict.INCONCLUSIVE
    assert judge(found, np.nextafter(found.low, 0), Direction.AT_MOST) is Verdict.FAIL
    assert found.p_at_most(np.inf) <= 0.05
    assert found.p_at_least(0.0) <= 0.05
    # More confidence, wider bounds.
    wider = quantile(values, 0.9, confidence=0.99, clusters=labels)
    assert wider.low <= found.low
    assert wider.high >= found.high


def test_equal_values():
    found = quantile(np.zeros(100), 0.9, clusters=np.repeat(np.arange(50), 2))
    assert (found.estimate, found.low, found.high) == (0.0, 0.0, 0.0)
    assert math.isinf(quantile(np.zeros(40), 0.9, clusters=np.repeat(np.arange(20), 2)).high)


# --- error rates -----------------------------------------------------------------------------------------------------------------

TRUTH = math.exp(stats.norm.ppf(0.9))


@pytest.mark.parametrize("related", [0.0, 0.3])
def test_bounds_of_clustered_values_are_wrong_as_rarely_as_stated(related):
    runs = 300
    upper, lower = rates(lambda g, n: lognormal(g, n, related), TRUTH, 0.9, 60, runs)
    room = 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert upper <= room
    assert 0 < lower <= room
    values, of_value = lognormal(np.random.default_rng(0), 2000, 0.9)
    assert quantile(values, 0.9, clusters=of_value).low < TRUTH < quantile(values, 0.9, clusters=of_value).high


def test_clusters_that_are_wholly_above_are_not_missed():
    """12 % of the clusters are wholly above: the 0.9 quantile is among their values, and often a sample has few of them."""
    truth = 10 + (0.12 - 0.1) / 0.12
    upper, _ = rates(lambda g, n: wholly_large(g, n, 0.12), truth, 0.9, 40, 400)
    assert upper <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.nightly
@pytest.mark.parametrize("n", [40, 100, 200])
@pytest.mark.parametrize(
    ("draw", "truth", "most"),
    [
        *((lambda g, n, r=r: lognormal(g, n, r), TRUTH, 0.05) for r in (0.0, 0.1, 0.5, 1.0)),
        (lambda g, n: wholly_large(g, n, 0.12), 10 + 0.02 / 0.12, 0.05),
        (lambda g, n: wholly_large(g, n, 0.05), 0.9 / 0.95, 0.1),
    ],
)
def test_error_rates(draw, truth, most, n):
    """As docs/verdicts.md has them."""
    runs = 2000
    upper, lower = rates(draw, truth, 0.9, n, runs, seed=n)
    assert upper <= most + 3 * math.sqrt(most * (1 - most) / runs)
    assert lower <= 0.1


# --- planning and bad input ---------------------------------------------------------------------------------------------------


def test_how_many_clusters_would_decide():
    values, of_value = lognormal(np.random.default_rng(5), 60, 0.2)
    found = quantile(values, 0.9, clusters=of_value)
    threshold = float(np.quantile(values, 0.93))
    assert judge(found, threshold, Direction.AT_MOST) is Verdict.INCONCLUSIVE
    needed = items_needed_quantile(found, threshold)
    assert needed > 60
    generator, held = np.random.default_rng(6), 0
    truth = stats.lognorm.ppf(0.93, 1.0)
    for _ in range(40):
        more, of_more = lognormal(generator, needed, 0.2)
        held += quantile(more, 0.9, clusters=of_more).high <= truth
    assert held >= 28  # 80 % power, and twice the standard error below it
    assert items_needed_quantile(found, float(values.max())) >= 29
    with pytest.raises(ValueError, match="not a quantile's"):
        items_needed_quantile(Wrong(), 1.0)


class Wrong:
    _tails = None


@pytest.mark.parametrize(
    ("values", "q", "clusters", "words"),
    [
        ([1.0], 0.9, None, "at least 2"),
        ([1.0, math.nan], 0.9, None, "nan"),
        ([1.0, 2.0], 1.0, None, "between 0 and 1"),
        ([1.0, 2.0], 0.5, ["a", "a"], "cluster"),
    ],
)
def test_wrong_arguments(values, q, clusters, words):
    with pytest.raises(ValueError, match=words):
        quantile(values, q, clusters=clusters)
