"""The size of a mean: against two one-sided t tests of scipy, against its own p-values, and against the truth in simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_steer.stats import (
    Direction,
    Verdict,
    items_needed_mean,
    items_needed_within,
    judge,
    largest_of,
    mean_t,
    size_of_mean,
)

exactly = settings(deadline=None, derandomize=True, database=None, max_examples=60)
BAND = 0.1


def made(seed, n=20, mean=0.0, spread=0.2):
    return np.random.default_rng(seed).normal(mean, spread, n)


def tost(values, band):
    """The p-value of two one-sided tests, by scipy."""
    below = stats.ttest_1samp(values, band, alternative="less").pvalue
    above = stats.ttest_1samp(values, -band, alternative="greater").pvalue
    return max(below, above)


def outside(values, band):
    """The p-value that the mean is outside: both tails beyond what was seen, of a mean on the nearer end of the band."""
    error = values.std(ddof=1) / np.sqrt(len(values))
    seen, degrees = abs(values.mean()), len(values) - 1
    return stats.t.sf((seen - band) / error, degrees) + stats.t.cdf(-(seen + band) / error, degrees)


@pytest.mark.parametrize("mean", [-0.3, -0.02, 0.0, 0.05, 0.25])
@pytest.mark.parametrize("seed", range(5))
def test_p_values_are_those_of_the_tests(seed, mean):
    values = made(seed, mean=mean)
    size = size_of_mean(mean_t(values))
    assert size.p_at_most(BAND) == pytest.approx(tost(values, BAND))
    assert size.p_at_least(BAND) == pytest.approx(min(1, outside(values, BAND)))
    assert size.estimate == abs(values.mean())
    assert (size.method, size.n) == ("t", 20)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("mean", [-0.3, 0.0, 0.25])
def test_bounds_are_where_the_tests_just_reject(mean, confidence):
    values = made(3, mean=mean)
    plain = mean_t(values, confidence=confidence)
    size = size_of_mean(plain)
    assert size.high == max(plain.high, -plain.low)
    assert tost(values, size.high) == pytest.approx(1 - confidence)
    if size.low > 0:
        assert outside(values, size.low) == pytest.approx(1 - confidence)
    else:
        assert 2 * stats.t.sf(abs(stats.ttest_1samp(values, 0).statistic), 19) > 1 - confidence


@exactly
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=12), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_bounds_enclose_the_estimate_and_turn_with_the_sign(values, confidence):
    size = size_of_mean(mean_t(values, confidence=confidence))
    assert 0 <= size.low <= size.estimate <= size.high
    turned = size_of_mean(mean_t([-value for value in values], confidence=confidence))
    assert (turned.low, turned.estimate, turned.high) == pytest.approx((size.low, size.estimate, size.high))


def test_equal_values_have_no_width():
    for value in (0.0, 0.4, -0.4):
        size = size_of_mean(mean_t([value] * 8))
        assert (size.low, size.estimate, size.high) == (abs(value),) * 3
    assert judge(size, 0.4, Direction.AT_MOST) is Verdict.PASS
    assert judge(size, 0.3, Direction.AT_MOST) is Verdict.FAIL


def test_the_largest_of_several_passes_if_each_does_and_fails_at_a_level_divided_by_their_number():
    each = [size_of_mean(mean_t(made(seed, mean=mean))) for seed, mean in enumerate((0.0, -0.3, 0.1))]
    largest = largest_of(each)
    assert largest.estimate == each[1].estimate
    assert largest.high == max(size.high for size in each)
    values = made(1, mean=-0.3)
    assert outside(values, largest.low) == pytest.approx(0.05 / 3)
    assert largest.p_at_least(0.2) == pytest.approx(3 * outside(values, 0.2))
    assert largest.p_at_most(0.4) == pytest.approx(max(size.p_at_most(0.4) for size in each))
    assert largest_of(each[:1]).low == pytest.approx(each[0].low)
    shared = largest_of(each, tests=6)
    assert outside(values, shared.low) == pytest.approx(0.05 / 6)
    assert (shared.high, shared.p_at_least(0.2)) == (largest.high, pytest.approx(2 * largest.p_at_least(0.2)))


def test_false_verdicts_on_the_edge_of_the_band_are_as_rare_as_stated():
    """600 samples each: 5 % is known to 1.8 % either way. A narrow band and a wide one, in standard errors 1 and 6."""
    rng = np.random.default_rng(0)

    def rates(mean, band, n=15, spread=0.2):
        found = [size_of_mean(mean_t(rng.normal(mean, spread, n))) for _ in range(600)]
        return [
            np.mean([judge(size, band, Direction.AT_MOST) is verdict for size in found])
            for verdict in (Verdict.PASS, Verdict.FAIL)
        ]

    for band in (0.05, 0.3):
        passes, fails = rates(band, band)
        assert passes <= 0.07  # two tests of a narrow band are conservative
        assert fails == pytest.approx(0.05, abs=0.018)
    assert rates(-0.3, 0.3)[0] == pytest.approx(0.05, abs=0.018)
    assert rates(0.0, 0.1)[1] <= 0.05


@pytest.mark.nightly
def test_several_on_the_edge_fail_no_more_often():
    rng = np.random.default_rng(1)
    edge = [largest_of([size_of_mean(mean_t(rng.normal(0.3, 0.2, 15))) for _ in range(4)]) for _ in range(600)]
    verdicts = [judge(size, 0.3, Direction.AT_MOST) for size in edge]
    assert np.mean([verdict is Verdict.FAIL for verdict in verdicts]) <= 0.07
    assert np.mean([verdict is Verdict.PASS for verdict in verdicts]) <= 0.01


@pytest.mark.parametrize("size", [0.0, 0.04, 0.08])
def test_the_number_of_items_has_the_power_and_one_fewer_has_not(size):
    n = items_needed_within(size, 0.2, BAND)
    rng = np.random.default_rng(2)
    samples = rng.normal(size, 0.2, (4000, n))
    error = samples.std(axis=1, ddof=1) / np.sqrt(n)
    margin = stats.t.ppf(0.95, n - 1) * error
    inside = (abs(samples.mean(axis=1)) + margin <= BAND).mean()
    assert inside == pytest.approx(0.8, abs=0.025)
    assert items_needed_within(size, 0.2, BAND, power=0.5) < n
    assert items_needed_within(-size, 0.2, BAND) == n


def test_outside_of_the_band_the_plan_is_that_of_a_mean():
    assert items_needed_within(0.3, 0.2, BAND) == items_needed_mean(0.3, 0.2, BAND)
    assert items_needed_within(0.3, 0.2, BAND, fail_confidence=0.99) == items_needed_mean(0.3, 0.2, BAND, confidence=0.99)
    assert items_needed_within(BAND, 0.2, BAND) is None
    assert items_needed_within(0.05, 0.0, BAND) == 2
    assert items_needed_within(BAND - 1e-9, 1.0, BAND) is None


def test_what_is_refused():
    with pytest.raises(ValueError, match="inferences was empty or of several confidences"):
        largest_of([])
    with pytest.raises(ValueError, match="inferences was empty or of several confidences"):
        largest_of([size_of_mean(mean_t(made(0), confidence=one)) for one in (0.9, 0.95)])
    with pytest.raises(ValueError, match="tests were 1 of 2 inferences"):
        largest_of([size_of_mean(mean_t(made(0)))] * 2, tests=1)
    with pytest.raises(ValueError, match="size was nan"):
        items_needed_within(float("nan"), 0.2, BAND)
