"""Spearman's rank correlation: against scipy, by hand, and where there is none."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
import pytest
from scipy import stats

from pytest_steer.stats import rank_correlation, rank_correlation_bounds


def test_against_scipy_with_and_without_ties():
    draw = np.random.default_rng(0)
    for n in (3, 8, 50):
        one, other = draw.normal(size=n), draw.normal(size=n)
        assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
        one, other = draw.integers(3, size=n), draw.integers(4, size=n)
        one[0], other[-1] = 9, 9
        assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)


@pytest.mark.parametrize("sides", [([], []), ([1, 2], [2, 1]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0, 0, 0])])
def test_there_is_no_order(sides):
    assert rank_correlation(*sides) is None


def test_what_is_no_pair_of_sides():
    with pytest.raises(ValueError, match="expected one number of each per unit"):
        rank_correlation([1, 2, 3], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="NaN"):
        rank_correlation([1, 2, float("nan")], [1, 2, 3])


def test_bounds_are_those_of_bonett_and_wright():
    draw = np.random.default_rng(1)
    one = draw.normal(size=20)
    other = one + draw.normal(size=20)
    rho = stats.spearmanr(one, other).statistic
    found = rank_correlation_bounds(one, other)
    width = 1.6448536 * np.sqrt((1 + rho**2 / 2) / 17)
    assert astuple(found) == pytest.approx((rho, np.tanh(np.arctanh(rho) - width), np.tanh(np.arctanh(rho) + width), 20))


def test_bounds_are_wrong_about_as_often_as_stated():
    draw, truth = (
        np.random.default_rng(2),
        6 / np.pi * np.arcsin(0.6 / 2),
    )  # Spearman's rho of a normal pair with Pearson's 0.6
    wrong = [0, 0]
    for _ in range(400):
        one = draw.normal(size=12)
        found = rank_correlation_bounds(one, 0.6 * one + 0.8 * draw.normal(size=12))
        wrong[0] += found.low > truth
        wrong[1] += found.high < truth
    assert 1 <= min(wrong) <= max(wrong) <= 30, wrong  # 20 of 400 are 5 %
