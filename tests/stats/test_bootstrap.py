import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats

from pytest_steer.stats import intervals, mean_bootstrap
from pytest_steer.stats.intervals import BootstrapTails

exactly = settings(
    deadline=None, derandomize=True, database=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)

numbers = st.floats(-1e6, 1e6)
item_values = st.lists(numbers, min_size=2, max_size=12)
skewed = np.random.default_rng(0).exponential(size=40)


def few(values, confidence=0.9):
    """300 resamples are enough for what holds exactly."""
    return mean_bootstrap(values, confidence=confidence, resamples=300)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
@pytest.mark.parametrize("values", [skewed, -skewed, skewed**2], ids=["skewed", "negated", "more skewed"])
def test_agrees_with_scipy_within_the_noise_of_resampling(values, confidence):
    ours = mean_bootstrap(values, confidence=confidence, seed=1)
    theirs = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=2 * confidence - 1,
        n_resamples=10_000,
        method="BCa",
        random_state=np.random.default_rng(2),  # its name in all versions of scipy
    ).confidence_interval
    # Some four standard errors of the difference of two quantiles at the shifted level. Without bias and acceleration
    # the bounds are further away than this (see the next test).
    standard_error = np.std(values, ddof=1) / math.sqrt(values.size)
    tolerance = {0.8: 0.08, 0.95: 0.14}[confidence] * standard_error
    assert ours.low == pytest.approx(theirs.low, abs=tolerance)
    assert ours.high == pytest.approx(theirs.high, abs=tolerance)


def test_bias_and_acceleration_by_hand():
    # 0 0 0 4: mean 1, deviations -1 -1 -1 3; cubes sum to 24, squares to 12; a = 24 / (6 * 12^1.5)
    tails = mean_bootstrap([0, 0, 0, 4.0], resamples=50_000)._tails
    assert tails.acceleration == pytest.approx(24 / (6 * 12**1.5))
    # The number of fours among four draws is binomial: P(0) = (3/4)^4 below the mean, P(1) = (3/4)^3 on it.
    below = 0.75**4 + 0.75**3 / 2
    assert tails.bias == pytest.approx(stats.norm.ppf(below), abs=0.025)


def test_bounds_by_hand():
    # Ten resampled means 1..10 of eleven gaps: no bias, no acceleration; confidence .7 -> rank floor(.3 * 11) = 3.
    tails = BootstrapTails(np.arange(1.0, 11), 0.0, 0.0, 0.0, 11.0)
    assert (tails.low(0.7), tails.high(0.7)) == (3, 8)
    # bias .2: z = Phi^-1(.3) = -.5244; low level Phi(.4 - .5244) = .4505 -> rank 4; high Phi(.4 + .5244) = .8223,
    # that is rank 11 - floor(.1777 * 11) = 10
    tails = BootstrapTails(np.arange(1.0, 11), 0.2, 0.0, 0.0, 11.0)
    assert (tails.low(0.7), tails.high(0.7)) == (4, 10)
    # acceleration .3: low -.5244 / (1 + .1573) = -.4531, level .3252, rank 3; at .5244 / (1 - .1573) = .6223, level
    # .7331: rank 11 - floor(.2669 * 11) = 9
    tails = BootstrapTails(np.arange(1.0, 11), 0.0, 0.3, 0.0, 11.0)
    assert (tails.low(0.7), tails.high(0.7)) == (3, 9)
    # Beyond the resamples: the smallest and the largest value, the bounds of any number of resamples.
    assert (tails.low(0.999), tails.high(0.999)) == (0, 11)
    # Where the formula itself breaks down (1 - a z <= 0) too.
    tails = BootstrapTails(np.arange(1.0, 11), 0.0, 0.5, 0.0, 11.0)
    assert tails.high(0.99) == 11


def test_p_values_by_hand():
    plain = BootstrapTails(np.arange(1.0, 11), 0.0, 0.0, 0.0, 11.0)
    # low is the third mean for the smallest level of rank 3, which is 3 / 11
    assert plain.p_at_least(3.0) == pytest.approx(3 / 11)
    assert plain.p_at_least(3.5) == pytest.approx(4 / 11)
    assert plain.p_at_most(8.0) == pytest.approx(3 / 11)
    assert plain.p_at_most(7.5) == pytest.approx(4 / 11)
    # w = Phi^-1(3 / 11) - .2 = -.8046, and / (1 - .3 * .8046) = -1.0606; - .2 = -1.2606; Phi of it = .1037
    shifted = BootstrapTails(np.arange(1.0, 11), 0.2, 0.3, 0.0, 11.0)
    assert shifted.p_at_least(3.0) == pytest.approx(0.1037, abs=1e-4)
    # Phi^-1(1 / 11) = -1.335 would give Phi(-1.335 / (1 - .3 * 1.335)) = .013: more than ten resamples can show
    steep = BootstrapTails(np.arange(1.0, 11), 0.0, 0.3, 0.0, 11.0)
    assert steep.p_at_least(0.5) == pytest.approx(1 / 11)
    # Where no level leads to the threshold: every bound is above it, or every bound below.
    right = BootstrapTails(np.arange(1.0, 11), 0.0, 0.8, 0.0, 11.0)
    assert right.low(0.999999) >= 0.5
    assert right.p_at_least(0.5) == pytest.approx(1 / 11)
    left = BootstrapTails(np.arange(1.0, 11), 0.0, -0.8, 0.0, 11.0)
    assert left.low(1e-6) < 9.5
    assert left.p_at_least(9.5) == 1


def test_false_verdicts_on_skewed_values():
    runs, truth = 500, 1.0
    samples = np.random.default_rng(4).exponential(truth, size=(runs, 50))
    inferences = [mean_bootstrap(sample, resamples=500, seed=run) for run, sample in enumerate(samples)]
    # The nominal .05 within four standard errors (.039), on either side.
    assert np.mean([i.low >= truth for i in inferences]) == pytest.approx(0.05, abs=0.039)
    assert np.mean([i.high <= truth for i in inferences]) == pytest.approx(0.05, abs=0.039)


def test_the_same_seed_gives_the_same_bounds():
    assert mean_bootstrap(skewed, seed=3) == mean_bootstrap(skewed, seed=3)
    assert mean_bootstrap(skewed, seed=3) != mean_bootstrap(skewed, seed=4)


def test_chunks_bound_the_memory_and_cover_all_resamples(monkeypatch):
    drawn = []
    default_rng = np.random.default_rng

    class Spy:
        def __init__(self, seed):
            self.generator = default_rng(seed)

        def integers(self, high, size):
            drawn.append(size)
            return self.generator.integers(high, size=size)

    monkeypatch.setattr(np.random, "default_rng", Spy)
    monkeypatch.setattr(intervals, "_DRAWN_AT_ONCE", 1000)
    inference = mean_bootstrap(skewed, resamples=310)
    assert sum(rows for rows, _ in drawn) == 310
    assert max(rows * columns for rows, columns in drawn) <= 1000
    # Every resample was filled: each is a mean of the items.
    means = inference._tails.means
    assert means.shape == (310,)
    assert skewed.min() < means[0] <= means[-1] < skewed.max()


def test_equal_values_give_a_degenerate_interval():
    inference = mean_bootstrap([0.1] * 3)
    assert (inference.low, inference.estimate, inference.high, inference.standard_deviation) == (0.1, 0.1, 0.1, 0)
    assert (inference.p_at_least(0.1), inference.p_at_least(0.2)) == (0, 1)
    assert inference.method == "bootstrap"


@st.composite
def inferences_with_threshold(draw):
    values = draw(item_values)
    inference = few(values, draw(st.floats(0.5, 0.96)))
    on_a_bound = st.sampled_from([inference.low, inference.high, *values])
    near_a_bound = on_a_bound.flatmap(
        lambda bound: st.sampled_from([math.nextafter(bound, -math.inf), math.nextafter(bound, math.inf)])
    )
    return values, inference, draw(on_a_bound | near_a_bound | st.floats(min(values), max(values)) | numbers)


@exactly
@given(inferences_with_threshold())
def test_p_values_and_bounds_agree_exactly_ties_included(drawn):
    _, inference, threshold = drawn
    alpha = 1 - inference.confidence
    assert (inference.low >= threshold) == (inference.p_at_least(threshold) <= alpha)
    assert (inference.high <= threshold) == (inference.p_at_most(threshold) <= alpha)


@exactly
@given(inferences_with_threshold(), st.floats(0.5, 0.96))
def test_a_p_value_is_the_level_at_which_the_bound_reaches_the_threshold(drawn, level):
    values, inference, threshold = drawn
    at_level = few(values, level)
    if abs(inference.p_at_least(threshold) - (1 - level)) > 1e-9:
        assert (at_level.low >= threshold) == (inference.p_at_least(threshold) <= 1 - level)
    if abs(inference.p_at_most(threshold) - (1 - level)) > 1e-9:
        assert (at_level.high <= threshold) == (inference.p_at_most(threshold) <= 1 - level)


def test_p_values_are_not_smaller_than_the_resamples_can_show():
    inference = few(skewed)
    assert inference.p_at_least(-100) == pytest.approx(1 / 301)
    assert inference.p_at_most(100) == pytest.approx(1 / 301)
    assert inference.p_at_least(100) == 1
    assert inference.p_at_most(-100) == 1


def test_every_seed_draws_other_resamples():
    bounds = {
        (found.low, found.high)
        for found in (mean_bootstrap(skewed, resamples=300, seed=n, confidence=0.9) for n in range(4))
    }
    assert len(bounds) == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": [1.0]}, "expected at least 2"),
        ({"resamples": 199}, "resamples was 199; expected at least 200 for a confidence of 0.95"),
        ({"resamples": 9_999, "confidence": 0.999}, "resamples was 9999; expected at least 10000"),
        ({"resamples": 1e4}, "resamples was 10000.0; expected a whole number"),
        ({"seed": -1}, "seed was -1; expected a whole number"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        mean_bootstrap(**{"values": [1.0, 2.0], **arguments})
