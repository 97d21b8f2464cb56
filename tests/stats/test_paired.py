"""The difference of paired shares: bounds against a brute-force test, and their exact error rates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import optimize, stats

from pytest_steer.stats import paired_share_difference, share


def outcomes(n):
    return [(losses, gains) for losses in range(n + 1) for gains in range(n + 1 - losses)]


def plain_score(losses, gains, n, d):
    """Tango's statistic with the likelihood maximised by search."""

    def unlikely(q):
        p = np.array([q + d, q, 1 - d - 2 * q])
        return -stats.multinomial.logpmf([losses, gains, n - losses - gains], n, p / p.sum())

    least, most = max(0.0, -d), (1 - d) / 2
    q = optimize.minimize_scalar(unlikely, bounds=(least, most), method="bounded", options={"xatol": 1e-10}).x
    return (losses - gains - n * d) / np.sqrt(n * (2 * q + d * (1 - d)))


@pytest.mark.parametrize(("losses", "gains", "n", "d"), [(1, 0, 9, 0.3), (2, 1, 10, 0.4), (0, 2, 8, 0.1), (3, 3, 9, 0.25)])
def test_the_p_value_is_that_of_a_plain_search(losses, gains, n, d):
    scores = {one: plain_score(*one, n, d) for one in outcomes(n)}
    inside = [one for one in scores if scores[one] <= scores[losses, gains] + 1e-6]
    counts = [(b, c, n - b - c) for b, c in inside]
    level = 1e-4  # with the level at which the share of units that change is bounded first
    k = losses + gains
    low = stats.beta.ppf(level / 2, k, n - k + 1) if k else 0
    high = stats.beta.isf(level / 2, k + 1, n - k)
    largest = max(
        stats.multinomial.pmf(counts, n, [(changing + d) / 2, (changing - d) / 2, 1 - changing]).sum()
        for changing in np.linspace(max(low, d), min(high, 1), 2001)
    )
    found = paired_share_difference(losses, gains, n)
    assert found._tails.p_at_most(d) == pytest.approx(largest + level, abs=2e-5)


@pytest.mark.parametrize("n", [8, pytest.param(13, marks=pytest.mark.nightly)])
def test_no_difference_has_more_wrong_bounds_than_stated(n):
    """Over all counts, for a grid of differences and shares of units that change: not simulated, but summed."""
    every = outcomes(n)
    found = [paired_share_difference(*one, n) for one in every]
    low, high = np.array([one.low for one in found]), np.array([one.high for one in found])
    worst = [0.0, 0.0]
    for lost in np.linspace(0, 1, 33):
        for gained in np.linspace(0, 1 - lost, 17):
            chances = stats.multinomial.pmf([(b, c, n - b - c) for b, c in every], n, [lost, gained, 1 - lost - gained])
            wrong = chances[high < lost - gained - 1e-6].sum(), chances[low > lost - gained + 1e-6].sum()
            worst = [max(pair) for pair in zip(worst, wrong, strict=True)]
    assert max(worst) <= 0.05
    assert min(worst) > 0.03  # and not by bounds that are needlessly wide


@pytest.mark.parametrize("n", [120, 300, 330])
def test_without_any_change_it_is_the_bound_of_clopper_and_pearson(n):
    found = paired_share_difference(0, 0, n)
    assert found.high == pytest.approx(1 - 0.05 ** (1 / n), rel=0.005)
    assert found.low == pytest.approx(-found.high)
    assert found.high == pytest.approx(share(0, n).high, rel=0.005)
    assert (found.high < 0.02) is (n >= 300)


@pytest.mark.parametrize(("losses", "gains", "n"), [(3, 1, 40), (0, 5, 60), (10, 10, 50), (20, 0, 20), (1, 0, 1)])
def test_bounds_and_p_values_agree(losses, gains, n):
    found = paired_share_difference(losses, gains, n, confidence=0.9)
    turned = paired_share_difference(gains, losses, n, confidence=0.9)
    assert (found.estimate, found.low, found.high) == pytest.approx((-turned.estimate, -turned.high, -turned.low))
    assert found.low <= found.estimate == (losses - gains) / n <= found.high
    for side, step in itertools.product((found.high, found.low), (-0.01, 0.01)):
        at = side + step
        assert (found.p_at_most(at) <= 0.1) is (at >= found.high)
        assert (found.p_at_least(at) <= 0.1) is (at <= found.low)
    wide = paired_share_difference(losses, gains, n, confidence=0.99)
    assert wide.low <= found.low <= found.high <= wide.high


@pytest.mark.parametrize(("losses", "gains", "n"), [(-1, 0, 5), (3, 3, 5), (0, 0, 0)])
def test_counts_that_cannot_be(losses, gains, n):
    with pytest.raises(ValueError, match="losses"):
        paired_share_difference(losses, gains, n)
