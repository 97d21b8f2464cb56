import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_steer.stats import Direction, Verdict, judge, mean_t, share

exactly = settings(
    deadline=None, derandomize=True, database=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow]
)

# an interval of exactly [1, 3]: the .75 quantile of t with 1 degree of freedom is 1, the standard error 1
ONE_TO_THREE = mean_t([1.0, 3.0], confidence=0.75)
BELOW, LOW, INSIDE, HIGH, ABOVE = 0.9, ONE_TO_THREE.low, 2.0, ONE_TO_THREE.high, 3.1


@pytest.mark.parametrize(
    ("threshold", "at_least", "at_most"),
    [
        (-math.inf, "pass", "fail"),
        (BELOW, "pass", "fail"),
        (LOW, "pass", "inconclusive"),
        (INSIDE, "inconclusive", "inconclusive"),
        (HIGH, "inconclusive", "pass"),
        (ABOVE, "fail", "pass"),
        (math.inf, "fail", "pass"),
    ],
)
def test_every_side_and_both_ties(threshold, at_least, at_most):
    assert judge(ONE_TO_THREE, threshold, Direction.AT_LEAST) is Verdict(at_least)
    assert judge(ONE_TO_THREE, threshold, Direction.AT_MOST) is Verdict(at_most)


def test_a_degenerate_interval_on_its_threshold_passes():
    assert judge(mean_t([2.0, 2.0]), 2.0, Direction.AT_LEAST) is Verdict.PASS
    assert judge(mean_t([2.0, 2.0]), 2.0, Direction.AT_MOST) is Verdict.PASS


def test_the_claims_of_the_reference():
    # 0 of 24 anti-steerable: at most .117
    assert judge(share(0, 24), 0.118, Direction.AT_MOST) is Verdict.PASS
    assert judge(share(0, 24), 0.117, Direction.AT_MOST) is Verdict.INCONCLUSIVE
    assert judge(share(24, 24), 0.882, Direction.AT_LEAST) is Verdict.PASS
    assert judge(share(12, 24), 0.1, Direction.AT_MOST) is Verdict.FAIL


@exactly
@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0, 1))
def test_a_verdict_is_a_p_value_below_alpha(count, threshold):
    inference = share(*count)
    alpha = 1 - inference.confidence
    verdict = judge(inference, threshold, Direction.AT_LEAST)
    assert (verdict is Verdict.PASS) == (inference.p_at_least(threshold) <= alpha)
    if verdict is Verdict.FAIL:
        assert inference.p_at_most(threshold) <= alpha
    assert verdict is not Verdict.ERROR


@pytest.mark.parametrize("direction", list(Direction))
def test_a_threshold_of_nan(direction):
    with pytest.raises(ValueError, match="threshold was nan; expected a number"):
        judge(ONE_TO_THREE, math.nan, direction)


@pytest.mark.parametrize("threshold", ["1.0", None])
def test_a_threshold_that_is_no_number(threshold):
    with pytest.raises(ValueError, match=r"threshold was .*; expected a number"):
        judge(ONE_TO_THREE, threshold, Direction.AT_LEAST)


def test_an_unknown_direction():
    with pytest.raises(ValueError, match="direction was 'atleast'; expected 'at_least' or 'at_most'"):
        judge(ONE_TO_THREE, 1.0, "atleast")
