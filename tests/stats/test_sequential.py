import itertools
import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from pytest_steer.stats import (
    Direction,
    Verdict,
    items_needed_mean,
    items_needed_share,
    judge,
    rounds,
    sequential_mean,
    sequential_share,
)
from pytest_steer.stats.sequential import SequentialBinomialTails, _log_evidence_of_t

# Neither the deadline nor the health check on slow data may look at the clock; the same examples on every run.
exactly = settings(
    deadline=None, derandomize=True, database=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)

confidences = st.floats(0.5, 0.999)
outcome_lists = st.lists(st.booleans(), min_size=1, max_size=60)
value_lists = st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=40).filter(lambda v: np.std(v) > 1e-3)

ALPHA = 0.05
RUNS = 4000
MOST = 300  # items of a simulated run, looked at after each
SHARES = (0.02, 0.1, 0.25, 0.5)


def at_most_with_slack(rate):
    """Is a simulated rate compatible with a chance of at most 5 %? 99.9 % of such rates are."""
    return rate <= stats.binom.isf(0.001, RUNS, ALPHA) / RUNS


def outcomes(successes, n):
    return np.arange(n) < successes


@pytest.fixture(scope="module")
def share_boundaries():
    """For each threshold and n = 1 ... MOST, the most successes with which "at most" passes, and the fewest that fail.

    Both never fall as items are added, which is asserted on the way, and makes each a walk.
    """

    def verdict(successes, n, threshold):
        return judge(sequential_share(outcomes(successes, n)), threshold, Direction.AT_MOST)

    found = {}
    for threshold in SHARES:
        passes, fails, most_passing, fewest_failing = [], [], -1, 0
        for n in range(1, MOST + 1):
            if verdict(most_passing + 1, n, threshold) is Verdict.PASS:
                most_passing += 1
                assert most_passing == n or verdict(most_passing + 1, n, threshold) is not Verdict.PASS
            while fewest_failing <= n and verdict(fewest_failing, n, threshold) is not Verdict.FAIL:
                fewest_failing += 1
            passes.append(most_passing)
            fails.append(fewest_failing)
        found[threshold] = np.array(passes), np.array(fails)
    return found


@pytest.fixture(scope="module")
def critical_t():
    """The margin of ``sequential_mean`` in standard errors, for n = 8 ... MOST."""
    margins = []
    for n in range(8, MOST + 1):
        inference = sequential_mean(np.arange(n))
        margins.append((inference.high - inference.estimate) / inference.standard_deviation * math.sqrt(n))
    return np.array(margins)


def t_statistics(samples, mean):
    """Of the first 8, 9, ... values of each run; 0 where these are all equal, which decides nothing."""
    n = np.arange(1, samples.shape[1] + 1)
    sums = np.cumsum(samples - mean, axis=1)
    squares = np.cumsum((samples - mean) ** 2, axis=1) - sums**2 / n
    sums, squares, n = sums[:, 7:], squares[:, 7:], n[7:]
    known = squares > 1e-9
    return np.where(known, sums / np.sqrt(n * np.where(known, squares, 1) / (n - 1)), 0)


# A share


@pytest.mark.parametrize("threshold", SHARES)
@pytest.mark.parametrize("shift", [0, 0.05])
def test_share_is_ever_wrong_in_at_most_alpha(share_boundaries, threshold, shift):
    most_passing, fewest_failing = share_boundaries[threshold]
    uniform = np.random.default_rng(round(100 * (threshold + shift))).random((RUNS, MOST))
    # On the threshold neither may happen in more than alpha; beyond it, the one that is false.
    above = np.cumsum(uniform < threshold + shift, axis=1, dtype=np.int32)
    below = np.cumsum(uniform < max(threshold - shift, 0.01), axis=1, dtype=np.int32)
    false_passes = np.mean((above <= most_passing).any(axis=1))
    false_fails = np.mean((below >= fewest_failing).any(axis=1))
    assert at_most_with_slack(false_passes)
    assert at_most_with_slack(false_fails)


@pytest.mark.parametrize("threshold", SHARES)
def test_share_exactly(share_boundaries, threshold):
    # No simulation: the distribution of the successes of the runs that are still undecided, item by item.
    most_passing, fewest_failing = share_boundaries[threshold]
    undecided, passed, failed = np.array([1.0]), 0.0, 0.0
    for n in range(1, MOST + 1):
        undecided = np.append(undecided, 0) * (1 - threshold) + np.append(0, undecided) * threshold
        successes = np.arange(n + 1)
        passing, failing = successes <= most_passing[n - 1], successes >= fewest_failing[n - 1]
        passed += undecided[passing].sum()
        failed += undecided[failing].sum()
        undecided = np.where(passing | failing, 0, undecided)
    # Not far below alpha either: bounds that are too wide would be a bug as well.
    assert 0.01 < passed <= ALPHA
    assert 0.01 < failed <= ALPHA


@pytest.mark.parametrize(("successes", "n"), [(0, 1), (0, 16), (1, 8), (3, 40), (30, 40), (40, 40), (25, 100)])
@pytest.mark.parametrize("x", [0.001, 0.02, 0.25, 0.5, 0.9])
def test_share_agrees_with_brute_force(successes, n, x):
    failures = n - successes

    def likelihood_ratio(q):
        return math.exp(
            (successes * math.log(q / x) if successes else 0) + (failures * math.log((1 - q) / (1 - x)) if failures else 0)
        )

    peak = min(max(successes / n, 1e-9), 1 - 1e-9)
    below = integrate.quad(likelihood_ratio, 0, x, points=[min(peak, 0.999 * x)], epsrel=1e-11, limit=400)[0] / x
    above = integrate.quad(likelihood_ratio, x, 1, points=[max(peak, 1.001 * x)], epsrel=1e-11, limit=400)[0] / (1 - x)
    tails = SequentialBinomialTails(successes, n)
    assert math.exp(tails.log_evidence_below(x)) == pytest.approx(below, rel=1e-8)
    assert math.exp(tails.log_evidence_above(x)) == pytest.approx(above, rel=1e-8)
    assert tails.p_at_most(x) == pytest.approx(min(1, 1 / below), rel=1e-8)
    assert tails.p_at_least(x) == pytest.approx(min(1, 1 / above), rel=1e-8)


@pytest.mark.parametrize("x", [0.02, 0.3, 0.5, 0.97])
@pytest.mark.parametrize(("successes", "n"), [(0, 0), (0, 7), (3, 10), (10, 10)])
def test_evidence_of_a_share_is_a_fair_game_on_the_threshold_and_a_losing_one_beyond(x, successes, n):
    def expected_next(p):
        nexts = [SequentialBinomialTails(successes + more, n + 1).log_evidence_below(x) for more in (0, 1)]
        return (1 - p) * math.exp(nexts[0]) + p * math.exp(nexts[1])

    now = math.exp(SequentialBinomialTails(successes, n).log_evidence_below(x))
    assert expected_next(x) == pytest.approx(now, rel=1e-10)
    assert expected_next(x + 0.02) < now < expected_next(x - 0.01)


def test_limits_of_a_share():
    none, all_ = sequential_share([False] * 5), sequential_share([True] * 5)
    assert (none.low, all_.high) == (0, 1)
    assert (none.p_at_least(0), none.p_at_least(1e-17), none.p_at_least(1), none.p_at_least(1.5)) == (0, 1, 1, 1)
    assert (none.p_at_most(1), none.p_at_most(0), none.p_at_most(-1), none.p_at_least(-math.inf)) == (0, 1, 1, 0)
    assert (all_.p_at_least(1), all_.p_at_most(1), all_.p_at_most(0.999)) == (1, 0, 1)


def test_rare_successes_of_many_items_keep_their_digits():
    inference = sequential_share(outcomes(1, 1_000_000))
    assert 0 < inference.low < 1e-6 < inference.high < 2e-5
    # for one success of n and a tiny x the evidence is about B(n, 2) / x = 1 / (n (n + 1) x)
    assert inference.low == pytest.approx(1 / (20 * 1e6 * 1e6), rel=1e-3)


# A mean


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda generator, size: generator.normal(2, 3, size), 2),
        (lambda generator, size: generator.uniform(-1, 5, size), 2),
        (lambda generator, size: generator.integers(0, 2, size), 0.5),
    ],
    ids=["normal", "uniform", "two points"],
)
def test_mean_is_ever_wrong_in_at_most_alpha(critical_t, draw, mean):
    t = t_statistics(draw(np.random.default_rng(1), (RUNS, MOST)), mean)
    # On the threshold; beyond it each of the two is rarer, since t moves away from its critical value at every look.
    rates = np.mean((t >= critical_t).any(axis=1)), np.mean((t <= -critical_t).any(axis=1))
    assert at_most_with_slack(max(rates))
    assert min(rates) > 0.02  # and no wider than need be
    beyond = t_statistics(draw(np.random.default_rng(2), (RUNS, MOST)) - 0.2, mean)
    assert np.mean((beyond >= critical_t).any(axis=1)) < ALPHA / 2


def test_skewed_means_as_documented(critical_t):
    # Not a guarantee but the opposite: the docstring warns of 15 % and 0.5 %.
    t = t_statistics(np.random.default_rng(3).exponential(size=(RUNS, MOST)), 1)
    assert np.mean((t <= -critical_t).any(axis=1)) == pytest.approx(0.15, abs=0.025)
    assert np.mean((t >= critical_t).any(axis=1)) == pytest.approx(0.005, abs=0.005)
    late = np.isin(np.arange(8, MOST + 1), rounds(MOST, first=27))
    assert np.mean((t <= -critical_t)[:, late].any(axis=1)) < 0.075


def test_simulated_runs_are_judged_as_the_functions_do(critical_t):
    # The simulations compare t statistics with margins; here every look of some runs goes through the public functions.
    samples = np.random.default_rng(4).normal(0.4, 1, size=(6, 60))
    for sample, t in zip(samples, t_statistics(samples, 0), strict=True):
        for n in range(8, 61):
            passes = judge(sequential_mean(sample[:n]), 0, Direction.AT_LEAST) is Verdict.PASS
            fails = judge(sequential_mean(sample[:n]), 0, Direction.AT_MOST) is Verdict.FAIL
            assert passes == fails == (t[n - 8] >= critical_t[n - 8])


@pytest.mark.parametrize("n", [8, 25])
@pytest.mark.parametrize("threshold", [-1.0, 0.0, 0.4, 1.2])
def test_mean_agrees_with_brute_force(n, threshold):
    # Likelihoods of the values themselves on a grid of effects and spreads, with nothing integrated by hand.
    values = np.random.default_rng(n).normal(0.5, 0.8, n)
    effects = np.linspace(0, 5, 1001)[:, None]
    log_spread = np.linspace(-3, 4, 1401)
    spreads = np.exp(log_spread)
    prior = 2 * stats.norm.pdf(effects[:, 0], scale=0.5)

    def log_likelihood(x, d):
        z_squared = ((x**2).sum() / spreads**2) - 2 * d * x.sum() / spreads + n * d**2
        return -z_squared / 2 - n * log_spread

    def evidence(x):
        under_null = log_likelihood(x, 0.0)
        top = under_null.max()
        null = integrate.trapezoid(np.exp(under_null - top), log_spread)  # d log s = ds / s
        mixed = integrate.trapezoid(np.exp(log_likelihood(x, effects) - top), log_spread, axis=1)
        return integrate.simpson(mixed * prior, x=effects[:, 0]) / null

    t = (values.mean() - threshold) / values.std(ddof=1) * math.sqrt(n)
    above, below = evidence(values - threshold), evidence(threshold - values)
    assert math.exp(_log_evidence_of_t(t, n)) == pytest.approx(above, rel=1e-6)
    assert math.exp(_log_evidence_of_t(-t, n)) == pytest.approx(below, rel=1e-6)
    inference = sequential_mean(values)
    assert inference.p_at_least(threshold) == pytest.approx(min(1, 1 / above), rel=1e-6)
    assert inference.p_at_most(threshold) == pytest.approx(min(1, 1 / below), rel=1e-6)


@pytest.mark.parametrize("n", [2, 8, 60, 400])
def test_evidence_of_a_mean_is_a_fair_game(n):
    # its expectation on the threshold, where the t statistic has Student's distribution, is 1; beyond, it is less
    def expected(distribution):
        def integrand(quantile):
            return math.exp(_log_evidence_of_t(float(distribution.isf(quantile)), n))

        # Half of the expectation is in rare runs: integrate over the logarithm of the quantile.
        return integrate.quad(lambda z: integrand(math.exp(-z)) * math.exp(-z), 0, 300, limit=400, points=[1, 5, 20, 60])[0]

    assert expected(stats.t(n - 1)) == pytest.approx(1, abs=2e-3)
    assert expected(stats.t(n - 1, loc=-0.5)) < 1


@exactly
@given(value_lists, st.floats(0.01, 100), st.floats(-1000, 1000), st.randoms(use_true_random=False))
def test_mean_follows_unit_and_origin_and_not_the_order(values, scale, shift, random):
    inference = sequential_mean(values)
    moved = sequential_mean([scale * value + shift for value in random.sample(values, len(values))])
    tolerance = 1e-9 * scale * 1e6 + 1e-6
    assert moved.low == pytest.approx(scale * inference.low + shift, rel=1e-6, abs=tolerance)
    assert moved.high == pytest.approx(scale * inference.high + shift, rel=1e-6, abs=tolerance)


def test_equal_values_decide_nothing():
    inference = sequential_mean([0.1] * 50)
    assert (inference.low, inference.estimate, inference.high) == (-math.inf, 0.1, math.inf)
    assert inference.standard_deviation == 0
    for threshold in (-5.0, 0.1, 5.0):
        assert inference.p_at_least(threshold) == inference.p_at_most(threshold) == 1
        assert judge(inference, threshold, Direction.AT_LEAST) is Verdict.INCONCLUSIVE


def test_limits_of_a_mean():
    inference = sequential_mean(np.arange(10))
    assert (inference.p_at_least(-math.inf), inference.p_at_least(math.inf)) == (0, 1)
    assert (inference.p_at_most(math.inf), inference.p_at_most(-math.inf)) == (0, 1)
    tiny = sequential_mean([0.0, *[1e-300] * 9])
    assert 0 < tiny.low < 9e-301 < tiny.high < 1e-299
    assert 0 < tiny.p_at_most(1e100) < 0.05
    huge = sequential_mean([9e99, -9e99] * 5)
    assert -2e100 < huge.low < -9e98 < 9e98 < huge.high < 2e100


# Both


@exactly
@given(st.one_of(outcome_lists, value_lists), confidences, st.floats(-1, 1), st.integers(-3, 3))
def test_bounds_and_p_values_agree(items, confidence, offset, digits):
    infer = sequential_share if isinstance(items[0], bool) else sequential_mean
    inference = infer(items, confidence=confidence)
    alpha = 1 - confidence
    near = [bound + sign * 10.0**-power for bound in (inference.low, inference.high) for sign in (-1, 1) for power in (3, 6)]
    for threshold in (inference.low, inference.high, offset * 10.0**digits, *near):
        assert (inference.low >= threshold) == (inference.p_at_least(threshold) <= alpha)
        assert (inference.high <= threshold) == (inference.p_at_most(threshold) <= alpha)
    # the test above holds by construction; the tails themselves give alpha on a bound
    for p, bound in ((inference._tails.p_at_least, inference.low), (inference._tails.p_at_most, inference.high)):
        if math.isfinite(bound) and not (infer is sequential_share and bound in (0, 1)):
            assert p(bound) == pytest.approx(alpha, rel=1e-6)


def test_no_evidence_at_all_is_a_p_value_of_1():
    # the functions behind it vanish in floating point
    assert sequential_share(outcomes(900, 1000)).p_at_most(0.1) == 1
    assert sequential_share(outcomes(100, 1000)).p_at_least(0.9) == 1
    many = sequential_mean(np.arange(1000))
    assert (many.p_at_least(1e9), many.p_at_most(-1e9)) == (1, 1)


@exactly
@given(outcome_lists)
def test_a_bound_is_rounded_away_from_the_share(items):
    # so that the last digit of the bisection never decides a claim
    inference, tails = sequential_share(items), SequentialBinomialTails(sum(items), len(items))
    enough = -math.log1p(-0.95)
    assert inference.high == 1 or tails.log_evidence_below(inference.high) >= enough
    assert inference.low == 0 or tails.log_evidence_above(inference.low) >= enough


# How many items it takes


@pytest.mark.parametrize(("truth", "threshold"), [(0.05, 0.25), (0.1, 0.25), (0.25, 0.1), (0.8, 0.5)])
def test_items_used_for_a_share(share_boundaries, truth, threshold):
    most_passing, fewest_failing = share_boundaries[threshold]
    successes = np.cumsum(np.random.default_rng(5).random((1000, MOST)) < truth, axis=1)
    right = successes <= most_passing if truth < threshold else successes >= fewest_failing
    assert np.mean(right.any(axis=1)) > 0.98
    used = np.where(right.any(axis=1), right.argmax(axis=1) + 1, MOST)
    assert used.mean() < 1.5 * items_needed_share(truth, threshold, direction=Direction.AT_MOST)


@pytest.mark.parametrize("effect", [0.4, 0.6])
def test_items_used_for_a_mean(critical_t, effect):
    proven = t_statistics(np.random.default_rng(6).normal(effect, 1, size=(1000, MOST)), 0) >= critical_t
    assert np.mean(proven.any(axis=1)) > 0.98
    used = np.where(proven.any(axis=1), proven.argmax(axis=1) + 8, MOST)
    assert used.mean() < 1.5 * items_needed_mean(effect, 1, 0)


# Looks


def test_rounds():
    assert rounds(100) == [8, 12, 18, 27, 40, 60, 90, 100]
    assert rounds(100, first=20, growth=2) == [20, 40, 80, 100]
    assert rounds(8) == [8]
    assert rounds(5) == [5]
    assert rounds(12, first=10, growth=1.1) == [10, 11, 12]
    assert rounds(4, first=1, growth=1.001) == [1, 2, 3, 4]
    assert rounds(1000, growth=1e308) == [8, 1000]


@exactly
@given(st.integers(1, 5000), st.integers(1, 50), st.floats(1.05, 5))
def test_rounds_grow_to_the_total(total, first, growth):
    looks = rounds(total, first=first, growth=growth)
    assert looks[0] == min(first, total)
    assert looks[-1] == total
    for before, after in itertools.pairwise(looks):
        assert before < after <= max(before + 1, growth * before + 0.5 + 1e-9)


# Wrong arguments


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([], "outcomes had 0 items; expected at least 1"),
        ([[True], [False]], r"outcomes had shape \(2, 1\)"),
        ([1.0, math.nan], "outcomes had the type float64.* correct the item"),
        ([0.0, 1.0], "outcomes had the type float64.* Compare a score with its limit first"),
        ([0, 1, 2], r"outcomes\[2\] was 2; expected True or False"),
    ],
)
def test_wrong_outcomes(wrong, message):
    with pytest.raises(ValueError, match=message):
        sequential_share(wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([1.0] * 7, "values had 7 items; expected at least 8.* with mean_t"),
        ([*range(9), math.nan], r"values\[9\] was nan"),
    ],
)
def test_wrong_values(wrong, message):
    with pytest.raises(ValueError, match=message):
        sequential_mean(wrong)


@pytest.mark.parametrize("infer", [sequential_share, sequential_mean])
@pytest.mark.parametrize("confidence", [95, 0.4, 1, math.nan, "0.95"])
def test_wrong_confidence(infer, confidence):
    with pytest.raises(ValueError, match="confidence was"):
        infer([0, 1] * 5, confidence=confidence)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"total": 0}, "total was 0"),
        ({"total": 24, "first": 0}, "first was 0"),
        ({"total": 24, "growth": 1}, "growth was 1; expected a finite number above 1"),
        ({"total": 24, "growth": "2"}, "growth was the text '2'"),
    ],
)
def test_wrong_rounds(wrong, message):
    with pytest.raises(ValueError, match=message):
        rounds(**wrong)
