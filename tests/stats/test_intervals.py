import dataclasses
import math
import pickle
from typing import get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_steer.stats import mean_t, ratio_of_means, share
from pytest_steer.stats.estimators import Mean
from pytest_steer.stats.intervals import METHODS, IntervalMethod

# Neither the deadline nor the health check on slow data may look at the clock; the same examples on every run.
exactly = settings(
    deadline=None, derandomize=True, database=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)

confidences = st.floats(0.5, 0.999)
numbers = st.floats(-1e6, 1e6)
item_values = st.lists(numbers, min_size=2, max_size=30)
counts = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))

# scores, and the sums that give them by hand: mean 2.5, squared deviations 5
FOUR = [1.0, 2.0, 3.0, 4.0]


# Student's t


@exactly
@given(item_values.filter(lambda v: np.std(v) > 1e-3), confidences, numbers)
def test_t_agrees_with_scipy(values, confidence, threshold):
    inference = mean_t(values, confidence=confidence)
    both_sides = stats.ttest_1samp(values, 0).confidence_interval(2 * confidence - 1)
    assert inference.low == pytest.approx(both_sides.low, rel=1e-7, abs=1e-7)
    assert inference.high == pytest.approx(both_sides.high, rel=1e-7, abs=1e-7)
    greater = stats.ttest_1samp(values, threshold, alternative="greater").pvalue
    less = stats.ttest_1samp(values, threshold, alternative="less").pvalue
    assert inference.p_at_least(threshold) == pytest.approx(greater, rel=1e-6, abs=1e-10)
    assert inference.p_at_most(threshold) == pytest.approx(less, rel=1e-6, abs=1e-10)


@pytest.mark.parametrize(("size", "confidence"), [(2, 0.95), (5, 0.95), (30, 0.8)])
def test_t_bounds_are_wrong_in_alpha_of_normal_samples(size, confidence):
    runs, truth, alpha = 2000, 0.3, 1 - confidence
    samples = np.random.default_rng(size).normal(truth, 2.0, size=(runs, size))
    inferences = [mean_t(sample, confidence=confidence) for sample in samples]
    tolerance = 4 * math.sqrt(alpha * confidence / runs)
    assert np.mean([i.low >= truth for i in inferences]) == pytest.approx(alpha, abs=tolerance)
    assert np.mean([i.high <= truth for i in inferences]) == pytest.approx(alpha, abs=tolerance)


def test_equal_values_give_a_degenerate_interval_without_rounding():
    inference = mean_t([0.1] * 3)  # their mean is 0.10000000000000002 in floating point
    assert (inference.low, inference.estimate, inference.high) == (0.1, 0.1, 0.1)
    assert inference.standard_deviation == 0
    assert (inference.p_at_least(0.1), inference.p_at_most(0.1)) == (0, 0)
    assert (inference.p_at_least(0.2), inference.p_at_most(0.2)) == (1, 0)
    assert (inference.p_at_least(0.0), inference.p_at_most(0.0)) == (0, 1)


def test_tiny_values_keep_their_spread():
    # Squares of these vanish in floating point; a spread of 0 would prove that the mean is above 0.
    inference = mean_t([0.0, 2e-200, 1e-200])
    assert inference.low < 0 < inference.high
    assert inference.standard_deviation == pytest.approx(1e-200, rel=1e-12, abs=0)


def test_large_values_do_not_overflow():
    inference = mean_t([9e99, -9e99, 9e99])
    assert inference.estimate == pytest.approx(3e99)
    assert inference.standard_deviation == pytest.approx(math.sqrt(108) * 1e99)


# Clusters


def test_clusters_by_hand():
    # values 1 2 3 | 6, mean 3; sums of deviations -3 | 3, items outside 1 | 3
    # standard_error^2 = 1/2 * ((-3 / 1)^2 + (3 / 3)^2) = 5; and leaving out: 6 - 3 = 3, 2 - 3 = -1
    inference = mean_t([1, 2, 3, 6], clusters=["a", "a", "a", "b"], confidence=0.75)
    assert inference.estimate == 3
    # the t distribution with 1 degree of freedom is Cauchy: its .75 quantile is tan(pi / 4) = 1
    assert inference.low == pytest.approx(3 - math.sqrt(5))
    assert inference.high == pytest.approx(3 + math.sqrt(5))
    assert inference.standard_deviation == pytest.approx(math.sqrt(5) * math.sqrt(2))
    assert (inference.method, inference.n) == ("clustered t", 2)


def test_clusters_are_a_jackknife_over_clusters():
    generator = np.random.default_rng(0)
    labels = np.repeat(list("abcdefg"), [1, 2, 3, 4, 5, 9, 12])
    values = generator.normal(size=labels.size)
    without = [values[labels != label].mean() for label in "abcdefg"]
    standard_error = math.sqrt(6 / 7 * sum((mean - values.mean()) ** 2 for mean in without))
    inference = mean_t(values, clusters=labels)
    assert inference.low == pytest.approx(values.mean() - stats.t.ppf(0.95, 6) * standard_error)
    assert inference.standard_deviation / math.sqrt(inference.n) == pytest.approx(standard_error)
    assert inference.p_at_least(-0.1) == pytest.approx(stats.t.sf((values.mean() + 0.1) / standard_error, 6))


@exactly
@given(item_values, confidences)
def test_clusters_of_one_item_are_no_clusters(values, confidence):
    plain = mean_t(values, confidence=confidence)
    clustered = mean_t(values, confidence=confidence, clusters=range(len(values)))
    assert clustered.n == plain.n
    assert clustered.low == pytest.approx(plain.low, rel=1e-9, abs=1e-9)
    assert clustered.high == pytest.approx(plain.high, rel=1e-9, abs=1e-9)


def test_false_passes_with_few_clusters():
    runs, alpha = 2000, 0.05
    generator = np.random.default_rng(2)
    labels = np.repeat(range(5), 4)
    samples = generator.normal(size=(runs, 5))[:, labels] + 0.3 * generator.normal(size=(runs, 20))
    rate = np.mean([mean_t(sample, clusters=labels).low >= 0 for sample in samples])
    assert rate == pytest.approx(alpha, abs=4 * math.sqrt(alpha * (1 - alpha) / runs))
    # ... where items taken for independent give several times as many.
    assert np.mean([mean_t(sample).low >= 0 for sample in samples[:300]]) > 3 * alpha


def test_labels_may_be_any_hashable():
    expected = mean_t(FOUR, clusters=[0, 0, 1, 1])
    assert mean_t(FOUR, clusters=[("a", 1), ("a", 1), "b", "b"]) == expected
    assert mean_t(FOUR, clusters=iter("xxyy")) == expected
    assert mean_t(FOUR, clusters=np.array([5, 5, 2, 2])) == expected


# Clopper-Pearson


@exactly
@given(counts, confidences, st.floats(0.001, 0.999))
def test_share_agrees_with_scipy(count, confidence, threshold):
    successes, n = count
    inference = share(successes, n, confidence=confidence)
    above = stats.binomtest(successes, n, threshold, alternative="greater")
    below = stats.binomtest(successes, n, threshold, alternative="less")
    assert inference.low == pytest.approx(above.proportion_ci(confidence).low, abs=1e-9)
    assert inference.high == pytest.approx(below.proportion_ci(confidence).high, abs=1e-9)
    assert inference.p_at_least(threshold) == pytest.approx(above.pvalue, abs=1e-12)
    assert inference.p_at_most(threshold) == pytest.approx(below.pvalue, abs=1e-12)


def binomial_probability(k, n, truth):
    return math.comb(n, k) * truth**k * (1 - truth) ** (n - k)


@pytest.mark.parametrize("n", [1, 2, 7, 24, 50])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_false_verdicts_of_a_share_are_at_most_alpha_exactly(n, confidence):
    alpha = 1 - confidence
    inferences = [share(k, n, confidence=confidence) for k in range(n + 1)]
    # The worst truths lie on the bounds themselves, where alpha is used up.
    bounds = [b for i in inferences for b in (i.low, i.high) if 0 < b < 1]
    worst = 0.0
    for truth in [*np.linspace(0.01, 0.99, 99), *bounds]:
        probabilities = [binomial_probability(k, n, truth) for k in range(n + 1)]
        # A truth just below the threshold is the worst for a false pass of "at least", and so on; the bounds are
        # compared with a margin for rounding at the ties.
        false_pass = sum(p for p, i in zip(probabilities, inferences, strict=True) if i.low > truth + 1e-9)
        false_fail = sum(p for p, i in zip(probabilities, inferences, strict=True) if i.high < truth - 1e-9)
        assert false_pass <= alpha + 1e-9
        assert false_fail <= alpha + 1e-9
    for k, inference in enumerate(inferences):
        if k > 0:  # not narrower than needed: at its lower bound, k or more successes have probability alpha
            tail = sum(binomial_probability(j, n, inference.low) for j in range(k, n + 1))
            assert tail == pytest.approx(alpha, rel=1e-6)
            worst = max(worst, tail)
    assert worst == pytest.approx(alpha, rel=1e-6)


def test_thresholds_that_any_share_meets():
    nothing, everything = share(0, 5), share(5, 5)
    assert nothing.p_at_least(0) == 0
    assert everything.p_at_most(1) == 0
    assert nothing.p_at_least(-0.1) == 0
    assert nothing.p_at_most(-0.1) == 1
    assert everything.p_at_least(1.1) == 1
    assert everything.p_at_most(1.1) == 0
    assert everything.p_at_least(1) == 1
    assert nothing.p_at_most(0) == 1


# What holds for every inference


@st.composite
def inferences_with_threshold(draw):
    confidence = draw(confidences | st.sampled_from([0.9, 0.95, 0.99]))
    if draw(st.booleans()):
        successes, n = draw(counts)

        def make(level):
            return share(successes, n, confidence=level)
    else:
        values = draw(item_values)
        labels = draw(st.none() | st.just([i % 2 for i in range(len(values))]))

        def make(level):
            return mean_t(values, confidence=level, clusters=labels)

    inference = make(confidence)
    on_a_bound = st.sampled_from([inference.low, inference.high, inference.estimate])
    near_a_bound = on_a_bound.flatmap(
        lambda bound: st.sampled_from([math.nextafter(bound, -math.inf), math.nextafter(bound, math.inf)])
    )
    threshold = draw(on_a_bound | near_a_bound | numbers | st.floats(0, 1))
    return make, inference, threshold


@exactly
@given(inferences_with_threshold())
def test_p_values_and_bounds_agree_exactly_ties_included(drawn):
    _, inference, threshold = drawn
    alpha = 1 - inference.confidence
    assert (inference.low >= threshold) == (inference.p_at_least(threshold) <= alpha)
    assert (inference.high <= threshold) == (inference.p_at_most(threshold) <= alpha)
    assert 0 <= inference.p_at_least(threshold) <= 1
    assert 0 <= inference.p_at_most(threshold) <= 1


@exactly
@given(inferences_with_threshold(), confidences)
def test_a_p_value_is_the_level_at_which_the_bound_reaches_the_threshold(drawn, level):
    make, inference, threshold = drawn
    at_level = make(level)
    if abs(inference.p_at_least(threshold) - (1 - level)) > 1e-6:
        assert (at_level.low >= threshold) == (inference.p_at_least(threshold) <= 1 - level)
    if abs(inference.p_at_most(threshold) - (1 - level)) > 1e-6:
        assert (at_level.high <= threshold) == (inference.p_at_most(threshold) <= 1 - level)


def test_inferences_are_compared_and_hashed_by_what_they_show():
    assert mean_t(FOUR) == mean_t(FOUR[::-1])
    assert hash(mean_t(FOUR)) == hash(mean_t(FOUR[::-1]))
    assert mean_t(FOUR) != mean_t(FOUR, confidence=0.9)
    assert "_tails" not in repr(mean_t(FOUR))


@pytest.mark.parametrize("inference", [mean_t(FOUR), share(2, 5)])
def test_inferences_can_be_pickled_and_not_changed(inference):
    copy = pickle.loads(pickle.dumps(inference))
    assert copy == inference
    assert copy.p_at_least(0.4) == inference.p_at_least(0.4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        inference.low = 0.0


@pytest.mark.parametrize("broken", [{"low": math.nan}, {"high": math.nan}, {"estimate": math.nan}, {"low": 9.0}])
def test_an_interval_that_would_hide_an_error_is_refused(broken):
    with pytest.raises(ValueError, match="expected numbers, the lower bound first"):
        dataclasses.replace(mean_t(FOUR), **broken)


# What is refused, and how


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0], r"values had 1 item\(s\); expected at least 2"),
        ([[1.0], [1.0, 2.0]], "values had rows of different lengths; expected one number per item"),
        ([[1.0, 2.0]], r"values had shape \(1, 2\); expected one number per item"),
        ([1.0, math.nan, 2.0, math.inf], r"values\[1\] was nan \(2 of 4 values"),
        ([1.0, 1e101], r"values\[1\] was 1e\+101"),
        ([1.0, None], "values had the type object; expected real numbers"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(ValueError, match=message):
        mean_t(values)


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        ("aab", "clusters had 3 labels for 4 values"),
        (np.array(3), "clusters had the single label 3 for 4 values"),
        ("aaaa", "clusters named 1 cluster for 4 values; expected at least 2"),
        (["a", None, "b", "b"], r"clusters\[1\] was None"),
        ([["a"], ["a"], ["b"], ["b"]], r"clusters\[0\] was of type list; expected something hashable"),
    ],
)
def test_wrong_clusters(clusters, message):
    with pytest.raises(ValueError, match=message):
        mean_t(FOUR, clusters=clusters)


@pytest.mark.parametrize("confidence", [95, 1, 0.4, 0, -1, math.nan, math.inf])
def test_wrong_confidence(confidence):
    for refused in (lambda: mean_t(FOUR, confidence=confidence), lambda: share(1, 4, confidence=confidence)):
        with pytest.raises(ValueError, match=r"confidence was .*; expected a number from 0.5 up to"):
            refused()


@pytest.mark.parametrize("confidence", ["0.95", None, [0.95]])
def test_confidence_that_is_no_number(confidence):
    with pytest.raises(ValueError, match=r"confidence was .*; expected a number"):
        mean_t(FOUR, confidence=confidence)


@pytest.mark.parametrize(
    ("successes", "n", "message"),
    [
        (0, 0, r"n was 0; expected a whole number \(int\) of at least 1"),
        (-1, 4, "successes was -1; expected a whole number"),
        (5, 4, "successes was 5 of n = 4; expected no more successes than items"),
        (True, 4, "successes was True; expected a whole number"),
    ],
)
def test_wrong_counts(successes, n, message):
    with pytest.raises(ValueError, match=message):
        share(successes, n)


@pytest.mark.parametrize("inference", [mean_t(FOUR), share(2, 5)])
def test_a_threshold_of_nan(inference):
    for p_value in (inference.p_at_least, inference.p_at_most):
        with pytest.raises(ValueError, match="threshold was nan; expected a number"):
            p_value(math.nan)


def test_every_interval_method_has_its_functions():
    assert get_args(IntervalMethod) == tuple(METHODS)
    for name in METHODS:
        assert Mean(name).infer(np.arange(9.0), confidence=0.9).method == name.replace("_", " ")


@pytest.mark.parametrize("infer", [Mean("bca").infer, lambda values, **more: ratio_of_means(values, values, interval="bca")])
def test_an_unknown_interval_method_is_an_error_that_names_the_known_ones(infer):
    with pytest.raises(ValueError, match="interval was 'bca'; expected one of t, bootstrap, transformed_t"):
        infer(np.arange(1.0, 9.0), confidence=0.9)
