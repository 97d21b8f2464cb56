import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from pytest_steer.stats import Direction, Verdict, items_needed_mean, items_needed_share, judge, mean_t, planning, share

exactly = settings(
    deadline=None, derandomize=True, database=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)

AT_LEAST, AT_MOST = Direction.AT_LEAST, Direction.AT_MOST


# A mean


def power_of_t(effect, n, confidence):
    """The power by integration over the sample standard deviation, without the noncentral t distribution."""
    critical = stats.t.ppf(confidence, n - 1)

    def given_deviation(ratio):
        return stats.norm.sf(critical * ratio - effect * math.sqrt(n)) * density(ratio)

    def density(ratio):
        return stats.chi.pdf(ratio * math.sqrt(n - 1), n - 1) * math.sqrt(n - 1)

    spread = 1 / math.sqrt(2 * (n - 1))
    return integrate.quad(given_deviation, max(0, 1 - 12 * spread), 1 + 12 * spread, limit=200)[0]


@pytest.mark.parametrize("effect", [0.05, 0.3, 1.0, 2.5])
@pytest.mark.parametrize(("confidence", "power"), [(0.9, 0.5), (0.95, 0.8), (0.999, 0.95)])
def test_mean_needs_the_smallest_number_with_the_power(effect, confidence, power):
    n = items_needed_mean(effect, 1.0, 0.0, confidence=confidence, power=power)
    assert power_of_t(effect, n, confidence) >= power
    if n > 2:
        assert power_of_t(effect, n - 1, confidence) < power


def test_mean_decides_as_often_as_promised():
    n = items_needed_mean(1.0, 1.0, 0.4)
    samples = np.random.default_rng(0).normal(1.0, 1.0, size=(1000, n))
    passes = np.mean([judge(mean_t(sample), 0.4, AT_LEAST) is Verdict.PASS for sample in samples])
    assert 0.8 - 4 * 0.013 <= passes <= 0.84 + 4 * 0.013


@pytest.mark.filterwarnings("error")
def test_mean_with_enormous_effects():
    assert items_needed_mean(1e300, 1e-300, 0.0) == 2
    assert items_needed_mean(1.0, 0.0, 0.5) == 2
    assert items_needed_mean(1e300, 1.0, 0.0, confidence=0.5) == 2
    assert items_needed_mean(-1e308, 1.0, 1e308) == 2
    # Beyond the reach of the noncentral t in scipy. With n = 2 the power is P(|Z| < ratio of noncentrality to critical
    # value), and the critical value is that of a Cauchy distribution.
    effect, confidence = 1e8, 1 - 1e-9
    ratio = effect * math.sqrt(2) / math.tan(math.pi * (confidence - 0.5))
    power = math.erf(ratio / math.sqrt(2))
    assert 0.3 < power < 0.4
    assert items_needed_mean(effect, 1.0, 0.0, confidence=confidence, power=power - 1e-4) == 2
    assert items_needed_mean(effect, 1.0, 0.0, confidence=confidence, power=power + 1e-4) == 3


def test_power_of_t_has_no_step_where_its_formula_changes():
    # n = 2, at a critical value near the noncentrality 1e4
    below, above = (planning._power_of_t(1e4 / math.sqrt(2) * (1 + s), 2, 1 - 2e-5) for s in (-1e-12, 1e-12))
    assert 0.1 < below < 0.9
    assert below == pytest.approx(above, abs=1e-6)


def test_mean_that_no_number_decides():
    assert items_needed_mean(0.3, 1.0, 0.3) is None
    assert items_needed_mean(0.3, 0.0, 0.3) is None
    assert items_needed_mean(0.3, 1.0, 0.3, power=0.01) is None  # alpha alone would have this power
    # The normal approximation needs (1.645 + .842)^2 / effect^2 items: 10 million at an effect of 7.863e-4.
    assert items_needed_mean(7.87e-4, 1.0, 0.0) == pytest.approx(9_982_000, rel=1e-3)
    assert items_needed_mean(7.85e-4, 1.0, 0.0) is None
    assert items_needed_mean(1e-300, 1e300, 0.0) is None


# A share


def probability_of_at_most(c, n, truth):
    """P(X <= c) as a plain sum of the binomial formula."""
    if truth in (0, 1):
        return float(c >= n * truth)
    return math.fsum(
        math.exp(
            math.lgamma(n + 1)
            - math.lgamma(k + 1)
            - math.lgamma(n - k + 1)
            + k * math.log(truth)
            + (n - k) * math.log1p(-truth)
        )
        for k in range(c + 1)
    )


def power_of_share(truth, threshold, n, confidence=0.95):
    """Probability that the exact test proves a share on the other side of the threshold, by brute force."""
    if truth > threshold:
        truth, threshold = 1 - truth, 1 - threshold
    c = -1
    while c + 1 < n and probability_of_at_most(c + 1, n, threshold) <= 1 - confidence:
        c += 1
    return probability_of_at_most(c, n, truth) if c >= 0 else 0.0


def power_by_verdicts(truth, threshold, n, direction, confidence):
    """The same by judging every possible outcome."""
    wanted = Verdict.PASS if (truth > threshold) == (direction is AT_LEAST) else Verdict.FAIL
    return math.fsum(
        stats.binom.pmf(k, n, truth)
        for k in range(n + 1)
        if judge(share(k, n, confidence=confidence), threshold, direction) is wanted
    )


REFERENCE = [(0.02, 0.10, 61), (0.05, 0.20, 30), (0.10, 0.20, 82), (0.03, 0.05, 601)]


@pytest.mark.parametrize(("truth", "threshold", "items"), REFERENCE)
def test_share_matches_the_reference_and_is_the_smallest(truth, threshold, items):
    assert items_needed_share(truth, threshold, direction=AT_MOST) == items
    # The same claim of the failures, and the refutation of the opposite claim.
    assert items_needed_share(1 - truth, 1 - threshold, direction=AT_LEAST) == items
    assert items_needed_share(truth, threshold, direction=AT_LEAST) == items
    assert power_of_share(truth, threshold, items) >= 0.8
    smaller = range(1, items) if items < 100 else [*range(1, items, 23), *range(items - 20, items)]
    assert max(power_of_share(truth, threshold, n) for n in smaller) < 0.8


@pytest.mark.parametrize(
    ("truth", "threshold", "confidence", "power"),
    [
        (0.5, 0.8, 0.95, 0.8),
        (0.9, 0.6, 0.95, 0.8),
        (0.9, 0.6, 0.99, 0.95),
        (0.0, 0.1, 0.95, 0.8),
        (1.0, 0.9, 0.95, 0.8),
        (0.3, 0.6, 0.8, 0.5),
        (0.2, 1.0, 0.95, 0.8),
        (0.8, 0.0, 0.95, 0.8),
    ],
)
@pytest.mark.parametrize("direction", [AT_LEAST, AT_MOST])
def test_share_agrees_with_the_verdicts_over_all_outcomes(truth, threshold, confidence, power, direction):
    n = items_needed_share(truth, threshold, direction=direction, confidence=confidence, power=power)
    assert power_by_verdicts(truth, threshold, n, direction, confidence) >= power - 1e-9
    for smaller in range(max(1, n - 4), n):
        assert power_by_verdicts(truth, threshold, smaller, direction, confidence) < power


@exactly
@given(st.floats(0, 1), st.floats(0.01, 0.99), st.sampled_from([0.8, 0.9, 0.95]), st.floats(0.3, 0.95))
def test_share_is_the_first_of_all_numbers_with_the_power(truth, threshold, confidence, power):
    if abs(truth - threshold) < 0.15:
        return  # more items than brute force can try quickly
    n = items_needed_share(truth, threshold, direction=AT_MOST, confidence=confidence, power=power)
    counts = range(1, n + 1)
    tails = np.concatenate([stats.binom.cdf(np.arange(m + 1), m, threshold) for m in counts])
    if min(np.abs(tails - alpha).min() for alpha in (confidence, 1 - confidence)) < 1e-9:
        return  # a tie: whether a bound lies on the threshold or beside it is a matter of the last digit
    powers = [power_of_share(truth, threshold, m, confidence) for m in counts]
    assert powers[-1] >= power - 1e-9
    assert max(powers[:-1], default=0) < power + 1e-9


def test_share_on_the_threshold():
    assert items_needed_share(0.2, 0.2, direction=AT_MOST) is None
    assert items_needed_share(0.2, 0.2, direction=AT_MOST, power=0.01) is None  # alpha alone would have this power
    assert items_needed_share(0.0, 0.0, direction=AT_MOST) is None
    assert items_needed_share(1.0, 1.0, direction=AT_LEAST) is None


def test_claims_that_every_share_meets_need_one_item():
    assert items_needed_share(0.4, 0.0, direction=AT_LEAST) == 1
    assert items_needed_share(0.4, 1.0, direction=AT_MOST) == 1
    for k in (0, 1):
        assert judge(share(k, 1), 0.0, AT_LEAST) is Verdict.PASS
        assert judge(share(k, 1), 1.0, AT_MOST) is Verdict.PASS


def test_a_tie_passes_but_does_not_fail():
    # One success of one has low = alpha, here exactly .25: enough for "at least .25", too little against "at most".
    assert items_needed_share(0.9, 0.25, direction=AT_LEAST, confidence=0.75) == 1
    assert items_needed_share(0.9, 0.25, direction=AT_MOST, confidence=0.75) == 2
    assert judge(share(1, 1, confidence=0.75), 0.25, AT_LEAST) is Verdict.PASS
    assert judge(share(1, 1, confidence=0.75), 0.25, AT_MOST) is Verdict.INCONCLUSIVE


def test_share_beyond_a_million():
    assert items_needed_share(0.5, 0.501, direction=AT_MOST) is None
    # (1.645 + .842)^2 / 4 / (.00125)^2 = 989 000
    assert items_needed_share(0.5, 0.50125, direction=AT_MOST) == pytest.approx(989_000, rel=0.01)
    # The first tooth lies beyond: even without a success, ln(20) / 1e-6 = 3 million items are needed.
    assert items_needed_share(0.0, 1e-6, direction=AT_MOST) is None
    # The randomised test suffices just below the limit, the exact one only beyond it.
    assert items_needed_share(0.0, 2.99e-6, direction=AT_MOST) is None


@pytest.mark.parametrize(
    ("truth", "threshold"), [(0.05, 0.052), (0.495, 0.5), (0.5, 0.50125), (0.0, 3.5e-6), (2e-6, 1e-5), (0.3, 0.9)]
)
def test_share_looks_at_few_numbers(truth, threshold, monkeypatch):
    looked_at = []
    powers = planning._powers_of_binomial

    def count(n, *arguments):
        looked_at.append(n.size)
        return powers(n, *arguments)

    monkeypatch.setattr(planning, "_powers_of_binomial", count)
    n = items_needed_share(truth, threshold, direction=AT_MOST)
    assert n is not None
    assert sum(looked_at) < 2000 + 4 / threshold


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: items_needed_mean(math.nan, 1, 0), "estimate was nan; expected a finite number"),
        (lambda: items_needed_mean(1, -1, 0), "standard_deviation was -1; expected a finite number of 0 or more"),
        (lambda: items_needed_mean(1, 1, math.nan), "threshold was nan"),
        (lambda: items_needed_mean(1, 1, 0, power=1), "power was 1; expected a number strictly between 0 and 1"),
        (lambda: items_needed_share(1.1, 0.5, direction=AT_MOST), "share was 1.1; expected a number from 0 to 1"),
        (lambda: items_needed_share(0.1, 5, direction=AT_MOST), "threshold was 5; expected a number from 0 to 1"),
        (lambda: items_needed_share(0.1, 0.5, direction="below"), "direction was 'below'"),
    ],
)
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
