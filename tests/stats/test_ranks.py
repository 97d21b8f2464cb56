"""Spearman's rank correlation: against scipy, by hand, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pytest_steer.stats import rank_correlation


def test_against_scipy_with_and_without_ties():
    draw = np.random.default_rng(0)
    for n in (3, 8, 50):
        one, other = draw.normal(size=n), draw.normal(size=n)
        assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)
        one, other = draw.integers(3, size=n), draw.integers(4, size=n)
        one[0], other[-1] = 9, 9
        assert rank_correlation(one, other) == pytest.approx(stats.spearmanr(one, other).statistic)


def test_by_hand():
    """1 - 6 sum d^2 / (n (n^2 - 1)), d the differences of the ranks: (0, 1, 1, 0)."""
    assert rank_correlation([1, 20, 3, 400], [5, 6, 7, 8]) == pytest.approx(1 - 6 * 2 / (4 * 15))
    assert rank_correlation([1, 2, 3], [1, 8, 27]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [0, -1, -2]) == pytest.approx(-1)


@pytest.mark.parametrize("sides", [([], []), ([1, 2], [2, 1]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [0, 0, 0])])
def test_there_is_no_order(sides):
    assert rank_correlation(*sides) is None


def test_what_is_no_pair_of_sides():
    with pytest.raises(ValueError, match="expected one number of each per unit"):
        rank_correlation([1, 2, 3], [1, 2, 3, 4])
    with pytest.raises(ValueError, match="NaN"):
        rank_correlation([1, 2, float("nan")], [1, 2, 3])
