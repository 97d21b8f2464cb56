"""Bounds of two fillings, and of the largest of several: against their definitions."""

import math

import pytest

from pytest_steer.stats import Direction, as_rise, between_fillings, judge, largest_of, mean_t, share


def test_each_bound_is_that_of_the_filling_that_is_worse_for_it():
    least, most = share(10, 20), share(14, 20)
    found = between_fillings(least, most, Direction.AT_LEAST)
    assert (found.low, found.high, found.estimate) == (least.low, most.high, 0.5)
    assert found.p_at_least(0.3) == least.p_at_least(0.3)
    assert found.p_at_most(0.9) == most.p_at_most(0.9)
    assert between_fillings(least, most, Direction.AT_MOST).estimate == 0.7


def test_a_verdict_between_the_fillings_is_open():
    # 19 of 20 accepted and one missing is proven to be above 0.7 only if the missing one does not count.
    found = between_fillings(share(17, 20), share(20, 20), Direction.AT_LEAST)
    assert judge(found, 0.7, Direction.AT_LEAST).value == "inconclusive"
    assert judge(share(19, 20), 0.7, Direction.AT_LEAST).value == "pass"


def test_fillings_that_are_exchanged_are_refused():
    with pytest.raises(ValueError, match="least first"):
        between_fillings(share(14, 20), share(10, 20), Direction.AT_LEAST)
    with pytest.raises(ValueError, match="one confidence"):
        between_fillings(share(1, 20), share(2, 20, confidence=0.9), Direction.AT_LEAST)


def test_the_largest_needs_all_upper_bounds_and_one_lower_bound_at_a_divided_level():
    one, two = mean_t([0.1, 0.2, 0.3]), mean_t([0.0, 0.1, 0.05, 0.02])
    found = largest_of([one, two])
    assert found.estimate == one.estimate
    assert found.n == 3
    assert found.high == max(one.high, two.high)
    assert found.low == max(mean_t(values, confidence=0.975).low for values in ([0.1, 0.2, 0.3], [0.0, 0.1, 0.05, 0.02]))
    assert found.p_at_most(0.4) == max(one.p_at_most(0.4), two.p_at_most(0.4))
    assert found.p_at_least(0.1) == min(1, 2 * min(one.p_at_least(0.1), two.p_at_least(0.1)))
    with pytest.raises(ValueError, match="empty"):
        largest_of([])


def test_a_rise_is_inferred_on_the_scale_of_logarithms():
    of = mean_t([0.1, 0.2, 0.3, 0.25])
    rise = as_rise(of)
    assert (rise.estimate, rise.low, rise.high) == tuple(map(math.expm1, (of.estimate, of.low, of.high)))
    assert rise.p_at_most(0.5) == pytest.approx(of.p_at_most(math.log(1.5)), rel=1e-12)
    assert rise.p_at_least(0.1) == pytest.approx(of.p_at_least(math.log(1.1)), rel=1e-12)
    assert as_rise(mean_t([0.0, 5000.0])).high == math.inf
