"""Hall's transformed t, and what skewness does to Student's: against the published cubic, root finding and simulations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import optimize, stats

from pytest_steer.stats import error_rate_of_t, is_clearly_skewed, mean_t, mean_transformed_t, skewness_of

VALUES = np.random.default_rng(3).lognormal(size=14)


def hall(values, m):
    """The transformed statistic, term by term."""
    n, s = len(values), values.std(ddof=1)
    g = stats.skew(values)
    d = (values.mean() - m) / s
    return math.sqrt(n) * (d + g * d**2 / 3 + g**2 * d**3 / 27 + g / (6 * n))


@pytest.mark.parametrize(
    "values", [VALUES, -VALUES, 3 - 2 * VALUES, np.arange(9.0)], ids=["right", "left", "moved", "symmetric"]
)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_bounds_are_where_the_statistic_reaches_students_quantile(values, confidence):
    found = mean_transformed_t(values, confidence=confidence)
    quantile = stats.t.ppf(confidence, len(values) - 1)
    far = 100 * values.std()
    low = optimize.brentq(lambda m: hall(values, m) - quantile, values.mean() - far, values.mean() + far)
    high = optimize.brentq(lambda m: hall(values, m) + quantile, values.mean() - far, values.mean() + far)
    assert (found.low, found.high) == (pytest.approx(low, rel=1e-9), pytest.approx(high, rel=1e-9))
    assert found.estimate == values.mean()
    assert (found.method, found.n) == ("transformed t", len(values))
    for at in (found.low, found.high, values.mean() - 0.1 * far, -1.0):
        if at <= values.mean():
            assert found.p_at_least(at) == pytest.approx(stats.t.sf(hall(values, at), len(values) - 1), abs=1e-9)


def test_without_skewness_it_is_students():
    values = np.array([-3.0, -1.0, -1.0, 0.0, 0.0, 1.0, 1.0, 3.0])
    one, other = mean_transformed_t(values), mean_t(values)
    assert (one.low, one.high) == (pytest.approx(other.low), pytest.approx(other.high))
    equal = mean_transformed_t([2.0] * 9)
    assert (equal.low, equal.high) == (2.0, 2.0)


def test_a_bound_is_never_on_the_far_side_of_the_mean():
    found = mean_transformed_t([0.0] * 9 + [1.0], confidence=0.51)
    assert found.low <= found.estimate <= found.high
    assert found.p_at_least(found.estimate + 0.01) >= 0.49


def test_clusters_count_as_their_means():
    values, clusters = np.repeat(VALUES, 3), np.repeat(np.arange(14), 3)
    found, alone = mean_transformed_t(values, clusters=clusters), mean_transformed_t(VALUES)
    assert (found.low, found.high) == (pytest.approx(alone.low), pytest.approx(alone.high))
    assert (found.method, found.n) == ("clustered transformed t", 14)


def test_skewness_and_when_it_is_clear():
    assert skewness_of(VALUES - VALUES.mean()) == pytest.approx(stats.skew(VALUES))
    assert skewness_of(np.zeros(5)) == 0.0
    draw = np.random.default_rng(0)
    for n in (8, 30, 100):
        normal = draw.normal(size=(2000, n))
        clear = [is_clearly_skewed(float(g), n) for g in stats.skew(normal, axis=1)]
        assert 0.06 < np.mean(clear) < 0.13
    assert not is_clearly_skewed(1.0, 2)


@pytest.mark.parametrize(("shape", "n"), [(4, 20), (4, 60), (1, 60)])
def test_the_error_rate_of_t_is_that_of_simulations(shape, n):
    """Gamma values of that shape have the skewness 2 / sqrt(shape)."""
    values = np.random.default_rng(1).gamma(shape, size=(40_000, n))
    t = (values.mean(1) - shape) / values.std(1, ddof=1) * math.sqrt(n)
    z = stats.t.ppf(0.95, n - 1)
    skewness = 2 / math.sqrt(shape)
    assert np.mean(t > z) == pytest.approx(error_rate_of_t(skewness, n, 0.95), abs=0.012)
    assert np.mean(t < -z) == pytest.approx(error_rate_of_t(-skewness, n, 0.95), abs=0.012)


def test_it_is_wrong_less_often_than_t_for_lognormal_values():
    values = np.random.default_rng(2).lognormal(size=(1500, 30))
    truth = math.exp(0.5)
    wrong = {way: np.mean([way(row).high < truth for row in values]) for way in (mean_t, mean_transformed_t)}
    assert wrong[mean_t] > 0.13
    assert wrong[mean_transformed_t] < 0.115
