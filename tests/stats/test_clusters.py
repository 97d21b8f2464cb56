"""Bounds over clusters: of a mean by the bootstrap, and of a share."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats

from pytest_steer.stats import mean_bootstrap, mean_t, share, share_of_clusters

DRAW = np.random.default_rng(5)
SIZES = [1, 4, 2, 3, 5, 1, 2, 2, 6, 3]
LABELS = np.repeat(np.arange(10), SIZES)
VALUES = DRAW.normal(size=10)[LABELS] + DRAW.normal(size=len(LABELS))


def test_the_bootstrap_resamples_whole_clusters():
    """Against loops that resample clusters, with the jackknife over clusters for the acceleration (Efron & Tibshirani 1993)."""
    found = mean_bootstrap(VALUES, clusters=LABELS, seed=3)
    groups = [VALUES[label == LABELS] for label in range(10)]
    draw = np.random.default_rng(3)
    chosen = draw.integers(10, size=(10_000, 10))
    means = np.sort([np.concatenate([groups[c] for c in row]).mean() for row in chosen])
    bias = stats.norm.ppf((np.sum(means < VALUES.mean()) + 0.5) / 10_001)
    left = np.array([VALUES[label != LABELS].mean() for label in range(10)])
    # The mean without a cluster is compared with the mean of all, as for clusters of one size.
    moved = VALUES.mean() - left
    acceleration = (moved**3).sum() / (6 * (moved**2).sum() ** 1.5)
    z = bias + stats.norm.ppf(0.05)
    level = stats.norm.cdf(bias + z / (1 - acceleration * z))
    assert found.low == pytest.approx(means[int(level * 10_001) - 1], abs=2e-3)
    assert found.estimate == pytest.approx(VALUES.mean())
    assert (found.method, found.n) == ("clustered bootstrap", 10)


def test_clusters_of_one_item_are_items():
    own = np.arange(len(VALUES))
    one, other = mean_bootstrap(VALUES, clusters=own), mean_bootstrap(VALUES)
    assert (one.low, one.high) == (pytest.approx(other.low), pytest.approx(other.high))
    flags = VALUES > 0
    one, other = share_of_clusters(flags, own), share(int(flags.sum()), len(flags))
    assert (one.low, one.high, one.n) == (pytest.approx(other.low), pytest.approx(other.high), other.n)
    for at in (0.2, 0.5, 0.8):
        assert one.p_at_least(at) == pytest.approx(other.p_at_least(at))
        assert one.p_at_most(at) == pytest.approx(other.p_at_most(at))


@pytest.mark.parametrize(("wrong", "count"), [(0, 8), (3, 8), (8, 8), (1, 20)])
def test_copies_of_an_item_are_no_further_evidence(wrong, count):
    flags = np.arange(count) < wrong
    copies = share_of_clusters(np.repeat(flags, 5), np.repeat(np.arange(count), 5))
    alone = share(wrong, count)
    assert (copies.low, copies.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    assert (copies.method, copies.n) == ("clustered clopper-pearson", count)


def test_bounds_between_whole_numbers_invert_the_p_values():
    flags = VALUES > 0.4
    found = share_of_clusters(flags, LABELS)
    independent = len(LABELS) ** 2 / sum(size**2 for size in SIZES)
    k = flags.mean() * independent
    low = optimize.brentq(lambda x: stats.beta.cdf(x, k, independent - k + 1) - 0.05, 0, 1)
    assert found.low == pytest.approx(low)
    assert found.p_at_least(found.low) == pytest.approx(0.05)
    assert found.p_at_most(found.high) == pytest.approx(0.05)
    assert found.estimate == flags.mean()


@pytest.mark.parametrize("correlation", [0.0, 0.5, 1.0])
def test_false_verdicts_over_clusters_of_five(correlation):
    """A claim about a share, and one about a mean, each with the truth on its threshold: a pass is false just below it."""
    draw = np.random.default_rng(int(10 * correlation))
    suites, clusters = 1500, 16
    labels = np.repeat(np.arange(clusters), 5)
    hidden = np.sqrt(correlation) * draw.normal(size=(suites, clusters, 1)) + np.sqrt(1 - correlation) * draw.normal(
        size=(suites, clusters, 5)
    )
    values = hidden.reshape(suites, -1)
    truth = 0.8
    flags = values < stats.norm.ppf(truth)
    wrong_share = np.mean([share_of_clusters(row, labels).low > truth for row in flags])
    wrong_mean = np.mean([mean_t(row, clusters=labels).low > 0 for row in values])
    assert wrong_share <= 0.065
    assert 0.035 <= wrong_mean <= 0.068
    if correlation == 0.5:  # what clusters are for
        assert np.mean([mean_t(row).low > 0 for row in values]) > 0.12
