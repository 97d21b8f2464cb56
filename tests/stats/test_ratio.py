"""A ratio of means: against Fieller's closed form, against its own p-values, and against the truth in simulations."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_steer.stats import (
    Direction,
    Verdict,
    items_needed_ratio,
    judge,
    least_of,
    mean_bootstrap,
    mean_t,
    mean_transformed_t,
    ratio_of_means,
)

exactly = settings(deadline=None, derandomize=True, database=None, max_examples=60)


def made(seed, n=20, ratio=0.5, base=1.0, noise=0.4, shared=0.5):
    """Normal paired values: shifted and base share a part of their spread."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=n) * shared
    return ratio * (base + common) + rng.normal(size=n) * noise, base + common + rng.normal(size=n) * noise


def fieller(shifted, base, confidence):
    """Fieller's theorem in closed form: the roots of (a - r b)^2 = t^2 (v_a - 2 r c + r^2 v_b)."""
    n = len(base)
    a, b = shifted.mean(), base.mean()
    (va, c), (_, vb) = np.cov(shifted, base, ddof=1) / n
    t2 = stats.t.ppf(confidence, n - 1) ** 2
    g = t2 * vb / b**2
    assert g < 1
    centre = (a * b - t2 * c) / (b**2 - t2 * vb)
    half = math.sqrt((a * b - t2 * c) ** 2 - (b**2 - t2 * vb) * (a**2 - t2 * va)) / (b**2 - t2 * vb)
    return centre - half, centre + half


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("seed", range(8))
def test_is_fiellers_interval(seed, confidence):
    shifted, base = made(seed, n=12 + 5 * seed)
    found = ratio_of_means(shifted, base, confidence=confidence)
    assert (found.low, found.high) == pytest.approx(fieller(shifted, base, confidence), rel=1e-9)
    assert found.estimate == pytest.approx(shifted.mean() / base.mean(), rel=1e-14)
    assert (found.n, found.method, found.standard_deviation) == (len(base), "fieller", None)


@pytest.mark.parametrize("ratio", [-0.3, 0.2, 0.5, 0.9])
def test_unpaired_p_values_are_welchs(ratio):
    shifted, base = made(3, n=30)
    base = base[:17]
    found = ratio_of_means(shifted, base, paired=False)
    expected = stats.ttest_ind(shifted, ratio * base, equal_var=False, alternative="greater").pvalue
    base_p = stats.ttest_1samp(base, 0, alternative="greater").pvalue
    assert found.p_at_least(ratio) == pytest.approx(max(expected, base_p), rel=1e-9)
    other = stats.ttest_ind(shifted, ratio * base, equal_var=False, alternative="less").pvalue
    assert found.p_at_most(ratio) == pytest.approx(max(other, base_p), rel=1e-9)
    assert found.method == "fieller, unpaired"
    assert found.n == 30


@exactly
@given(st.integers(0, 10_000), st.booleans(), st.sampled_from([0.6, 0.9, 0.95, 0.99]), st.floats(-2, 2))
def test_bounds_and_p_values_agree(seed, paired, confidence, threshold):
    shifted, base = made(seed, n=10)
    assume(base.mean() > 0)
    found = ratio_of_means(shifted, base, paired=paired, confidence=confidence)
    assert found.low <= found.estimate <= found.high
    assert (found.p_at_least(threshold) <= 1 - confidence) == (found.low >= threshold)
    assert (found.p_at_most(threshold) <= 1 - confidence) == (found.high <= threshold)
    for bound, p_value in ((found.low, found.p_at_least), (found.high, found.p_at_most)):
        if math.isfinite(bound):
            assert p_value(bound) == pytest.approx(1 - confidence, rel=1e-6)


@pytest.mark.parametrize("paired", [True, False])
def test_a_base_that_is_not_proven_positive_bounds_nothing(paired):
    base = np.array([1.0, -0.9, 1.2, -0.8, 0.9])
    assert mean_t(base).low < 0 < base.mean()
    found = ratio_of_means(base * 3, base, paired=paired)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert judge(found, 0.5, Direction.AT_LEAST) is Verdict.INCONCLUSIVE
    assert found.p_at_least(-100) > 0.05
    # at a lower confidence it is proven, and the interval is bounded
    assert mean_t(base, confidence=0.6).low > 0
    assert math.isfinite(ratio_of_means(base * 3, base, paired=paired, confidence=0.6).low)


@pytest.mark.parametrize("base", [[0.0, 0.0], [-1.0, 0.5], [1.0, -1.0]])
def test_a_base_that_is_not_above_0_is_refused(base):
    with pytest.raises(ValueError, match="expected one above 0"):
        ratio_of_means([1.0, 2.0], base)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="shifted had 2 values and base 3"):
        ratio_of_means([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="NaN"):
        ratio_of_means([1, math.nan], [1, 2])
    with pytest.raises(ValueError, match="expected at least one, of one confidence"):
        least_of([])
    with pytest.raises(ValueError, match="not a ratio's; expected a result of ratio_of_means"):
        items_needed_ratio(mean_t([1, 2]), 0.5)


def test_no_spread():
    same = ratio_of_means(base := [1.0, 3.0, 2.0, 2.5], base)
    assert (same.low, same.estimate, same.high) == (1, 1, 1)
    half = ratio_of_means([value / 2 for value in base], base)
    assert (half.low, half.high) == pytest.approx((0.5, 0.5), abs=1e-12)
    flat = ratio_of_means([2.0, 2.0], [4.0, 4.0], paired=False)
    assert (flat.low, flat.high) == (0.5, 0.5)
    assert judge(flat, 0.5, Direction.AT_LEAST) is Verdict.PASS
    assert judge(flat, 0.51, Direction.AT_LEAST) is Verdict.FAIL


def wrong_shares(draw, runs, ratio, paired=True):
    """The shares of false passes and false fails at the truth itself, where both are greatest."""
    rng = np.random.default_rng(5)
    p_values = []
    for _ in range(runs):
        found = ratio_of_means(*draw(rng), paired=paired)
        p_values.append((found.p_at_least(ratio), found.p_at_most(ratio)))
    return (np.array(p_values) <= 0.05).mean(0)


def normal(rng, n=20):
    common = 1 + 0.6 * rng.normal(size=n)
    return 0.5 * common + 0.3 * rng.normal(size=n), common + 0.3 * rng.normal(size=n)


def exponential(rng, n=20):
    common = rng.exponential(size=n)
    return 0.5 * common + 0.3 * (rng.exponential(size=n) - 1), common


@pytest.mark.parametrize(
    ("draw", "paired", "most"),
    [
        pytest.param(normal, True, (0.058, 0.058), id="normal"),
        pytest.param(
            lambda rng: (normal(rng)[0], normal(rng, 40)[1]), False, (0.06, 0.06), id="unpaired", marks=pytest.mark.nightly
        ),
        pytest.param(exponential, True, (0.03, 0.125), id="skewed", marks=pytest.mark.nightly),
        pytest.param(lambda rng: exponential(rng, 100), True, (0.04, 0.085), id="skewed, many", marks=pytest.mark.nightly),
    ],
)
def test_false_verdicts_at_the_threshold(draw, paired, most):
    passes, fails = wrong_shares(draw, 2000, 0.5, paired)
    assert passes <= most[0]
    assert fails <= most[1]
    if draw is normal:
        assert min(passes, fails) >= 0.04  # exact, not merely safe


def test_the_least_of_several():
    base = made(1, n=25)[1]
    ratios = [ratio_of_means(made(seed, n=25, ratio=share)[0], base) for seed, share in ((2, 0.9), (3, 0.4), (4, 0.6))]
    found = least_of(ratios)
    assert found.estimate == min(ratio.estimate for ratio in ratios) == ratios[1].estimate
    assert found.low == min(ratio.low for ratio in ratios)
    adjusted = [ratio_of_means(made(seed, n=25, ratio=share)[0], base, confidence=1 - 0.05 / 3).high for seed, share in ((2, 0.9), (3, 0.4), (4, 0.6))]  # fmt: skip
    assert found.high == pytest.approx(min(adjusted), rel=1e-12)
    assert found.high > min(ratio.high for ratio in ratios)
    for threshold in (0.2, 0.4, 0.6):
        assert (found.p_at_least(threshold) <= 0.05) == (found.low >= threshold)
        assert (found.p_at_most(threshold) <= 0.05) == (found.high <= threshold)
        # The p-values themselves, which Holm's adjustment compares.
        assert found.p_at_least(threshold) == pytest.approx(max(ratio.p_at_least(threshold) for ratio in ratios))
        assert found.p_at_most(threshold) == pytest.approx(min(1, 3 * min(ratio.p_at_most(threshold) for ratio in ratios)))
    one = least_of(ratios[:1])
    assert (one.low, one.high) == (ratios[0].low, ratios[0].high)


@pytest.mark.parametrize(
    "truths",
    [
        # What it needs, the level of each, is held to its formula every day in the test of the least of several.
        pytest.param((0.5, 0.5, 0.5, 0.5), id="all at it", marks=pytest.mark.nightly),
        pytest.param((0.5, 2.0, 2.0, 2.0), id="one at it", marks=pytest.mark.nightly),
    ],
)
def test_false_verdicts_of_the_least_of_four(truths):
    """A false pass and a false fail have at most 5 %; with all four on the threshold both are well below."""
    rng = np.random.default_rng(7)
    verdicts = []
    for _ in range(1500):
        common = 1 + 0.6 * rng.normal(size=20)
        base = common + 0.3 * rng.normal(size=20)
        ratios = [ratio_of_means(truth * common + 0.3 * rng.normal(size=20), base) for truth in truths]
        found = least_of(ratios)
        verdicts.append((found.p_at_least(0.5) <= 0.05, found.p_at_most(0.5) <= 0.05))
    passes, fails = np.mean(verdicts, 0)
    assert passes <= 0.062
    assert fails <= 0.062
    if truths.count(0.5) == 1:
        assert passes >= 0.038  # the intersection-union test spends all of its level here
    else:
        assert fails >= 0.01


@pytest.mark.parametrize("power", [0.8, 0.95])
def test_items_needed_by_hand(power):
    shifted, base = made(2, n=30)
    found = ratio_of_means(shifted, base)
    threshold = found.estimate - 0.05
    needed = items_needed_ratio(found, threshold, power=power)
    difference = shifted - threshold * base
    effect = difference.mean() / difference.std(ddof=1)
    n = next(n for n in range(2, 10_000) if stats.nct.sf(stats.t.ppf(0.95, n - 1), n - 1, effect * math.sqrt(n)) >= power)
    assert needed == n
    at_it = items_needed_ratio(found, found.estimate)
    assert at_it is None or at_it > 100_000


@pytest.mark.parametrize("interval", ["transformed_t", "bootstrap"])
@pytest.mark.parametrize("seed", range(3))
def test_other_intervals_are_those_of_the_mean_difference_inverted(interval, seed):
    """The ratio is at most r if and only if the mean of shifted - r * base is at most 0, as a mean's own inference has it."""
    shifted, base = made(seed, n=40)
    base = base + 3
    found = ratio_of_means(shifted, base, interval=interval, seed=5)
    mean = mean_transformed_t if interval == "transformed_t" else partial(mean_bootstrap, seed=5)
    assert found.method == f"fieller, {interval.replace('_', ' ')}"
    for ratio in np.linspace(found.low - 0.1, found.high + 0.1, 7):
        plain = mean(shifted - ratio * base)
        assert found._tails.p_at_least(ratio) == pytest.approx(plain._tails.p_at_least(0.0), abs=2e-4)
        assert found._tails.p_at_most(ratio) == pytest.approx(plain._tails.p_at_most(0.0), abs=2e-4)
    for bound, p_value in ((found.low, found._tails.p_at_least), (found.high, found._tails.p_at_most)):
        assert p_value(bound) == pytest.approx(0.05, abs=1e-3)
    assert ratio_of_means(shifted, base, interval=interval, seed=5) == found
    with pytest.raises(ValueError, match="for unpaired items; expected 't'"):
        ratio_of_means(shifted, base, paired=False, interval=interval)


@pytest.mark.parametrize("interval", ["t", "transformed_t", "bootstrap"])
def test_over_clusters_the_test_of_the_mean_difference_is_the_one_over_clusters(interval):
    shifted, base = made(4, n=40)
    base = base + 3
    clusters = [f"c{index // 3 if index < 24 else index}" for index in range(40)]
    found = ratio_of_means(shifted, base, interval=interval, seed=5, clusters=clusters)
    own = {"t": mean_t, "transformed_t": mean_transformed_t, "bootstrap": partial(mean_bootstrap, seed=5)}[interval]
    assert found.n == 24
    assert found.method == "clustered fieller" + ("" if interval == "t" else f", {interval.replace('_', ' ')}")
    assert found.estimate == ratio_of_means(shifted, base).estimate
    for ratio in np.linspace(found.low - 0.1, found.high + 0.1, 7):
        plain = own(shifted - ratio * base, clusters=clusters)
        assert found.p_at_least(ratio) == pytest.approx(plain.p_at_least(0.0), abs=2e-4)
        assert found.p_at_most(ratio) == pytest.approx(plain.p_at_most(0.0), abs=2e-4)
    alone = ratio_of_means(shifted, base, clusters=range(40))
    assert (alone.low, alone.high) == pytest.approx((ratio_of_means(shifted, base).low, ratio_of_means(shifted, base).high))
    with pytest.raises(ValueError, match="clusters were given for unpaired items"):
        ratio_of_means(shifted, base, paired=False, clusters=clusters)
