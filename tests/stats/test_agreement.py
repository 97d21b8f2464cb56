"""Cohen's kappa: against scikit-learn, against the variance as its authors write it, and by simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from pytest_steer.stats import Kappa, cohen_kappa


def raters(table):
    """Answers that give this table of counts: rows are the first rater's no and yes."""
    pairs = [(i, j) for i, j in itertools.product((0, 1), (0, 1)) for _ in range(table[i][j])]
    return [bool(i) for i, _ in pairs], [bool(j) for _, j in pairs]


TABLES = [
    [[20, 5], [10, 15]],
    [[45, 15], [25, 15]],
    [[1, 0], [0, 1]],
    [[0, 3], [4, 0]],
    [[30, 0], [5, 0]],
    [[90, 2], [1, 7]],
]


@pytest.mark.parametrize("table", TABLES)
def test_it_is_that_of_scikit_learn(table):
    one, other = raters(table)
    assert cohen_kappa(one, other).estimate == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)


def fleiss_cohen_everitt(table):
    """The variance as it is written in Fleiss, Cohen & Everitt (1969), formula 13."""
    p = np.asarray(table, dtype=float)
    n, p = p.sum(), p / p.sum()
    rows, columns = p.sum(1), p.sum(0)
    po, pe = np.trace(p), rows @ columns
    kappa = (po - pe) / (1 - pe)
    first = sum(p[i, i] * ((1 - pe) - (columns[i] + rows[i]) * (1 - po)) ** 2 for i in range(2))
    second = (1 - po) ** 2 * sum(p[i, j] * (columns[i] + rows[j]) ** 2 for i in range(2) for j in range(2) if i != j)
    third = (po * pe - 2 * pe + po) ** 2
    return kappa, (first + second - third) / (n * (1 - pe) ** 4)


@pytest.mark.parametrize("table", TABLES)
def test_the_bounds_are_those_of_half_a_unit_more_in_each_cell(table):
    found = cohen_kappa(*raters(table), confidence=0.9)
    kappa, variance = fleiss_cohen_everitt(np.asarray(table) + 0.5)
    reach = stats.norm.ppf(0.9) * math.sqrt(variance)
    assert found.low == pytest.approx(max(-1, min(kappa - reach, found.estimate)), abs=1e-12)
    assert found.high == pytest.approx(min(1, max(kappa + reach, found.estimate)), abs=1e-12)


def test_whole_agreement_still_has_a_lower_bound_below_one():
    found = cohen_kappa([True] * 10 + [False] * 10, [True] * 10 + [False] * 10)
    assert found.estimate == found.high == 1
    assert 0.6 < found.low < 0.95


def test_no_kappa_where_both_say_the_same_of_everything():
    assert cohen_kappa([True] * 9, [True] * 9) is None
    assert cohen_kappa([False] * 9, [False] * 9) is None
    assert cohen_kappa([], []) is None


def test_a_rater_who_always_says_the_same_agrees_by_chance():
    found = cohen_kappa([True] * 30, [True] * 25 + [False] * 5)
    assert found.estimate == 0
    assert found.low < 0 < found.high


def test_units_that_come_twice_in_their_clusters_count_once():
    """Two copies of each unit, one cluster each: about the bounds of the units by themselves."""
    one, other = raters([[20, 5], [10, 15]])
    alone = cohen_kappa(one, other)
    twice = cohen_kappa(one * 2, other * 2, clusters=[*range(50)] * 2)
    free = cohen_kappa(one * 2, other * 2)
    assert twice.low == pytest.approx(alone.low, abs=0.01)
    assert free.low > alone.low + 0.03


def test_a_single_cluster_says_nothing_of_others():
    one, other = raters([[20, 5], [10, 15]])
    assert cohen_kappa(one, other, clusters=["q"] * 50) == Kappa(pytest.approx(0.4), -1.0, 1.0, 50)


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match="one rater had 2 answers and the other 1"):
        cohen_kappa([True, False], [True])
    with pytest.raises(ValueError, match="confidence"):
        cohen_kappa([True, False], [True, False], confidence=95)


def table_of(kappa, share):
    """Chances of the four cells for raters who both accept this share."""
    chance = share**2 + (1 - share) ** 2
    agree = kappa * (1 - chance) + chance
    yes = (agree - 1 + 2 * share) / 2
    return np.array([1 - 2 * share + yes, share - yes, share - yes, yes])


def wrong_bounds(draw, kappa, runs):
    """How often the lower and the upper bound are on the wrong side."""
    low = high = 0
    for _ in range(runs):
        found = draw()
        low += found is not None and found.low > kappa
        high += found is not None and found.high < kappa
    return low / runs, high / runs


@pytest.mark.parametrize(("n", "kappa", "share"), [(20, 0.9, 0.8), (50, 0.4, 0.9), (100, 0.6, 0.5)])
def test_simulated_bounds_of_units_by_themselves(n, kappa, share):
    rng, chances = np.random.default_rng(1), table_of(kappa, share)

    def draw():
        cells = rng.choice(4, size=n, p=chances)
        return cohen_kappa(cells >= 2, cells % 2 == 1)

    runs = 800
    for wrong in wrong_bounds(draw, kappa, runs):
        assert wrong <= 0.08 + 2 * math.sqrt(0.08 * 0.92 / runs)


def test_simulated_bounds_of_units_in_clusters():
    """Four replies to a prompt, of which all have the cell of the first one with a chance of 0.7."""
    rng, chances, kappa = np.random.default_rng(2), table_of(0.5, 0.7), 0.5
    clusters = np.repeat(np.arange(30), 4)

    def cells():
        first, own = rng.choice(4, size=30, p=chances), rng.choice(4, size=120, p=chances)
        return np.where(np.repeat(rng.random(30) < 0.7, 4), np.repeat(first, 4), own)

    def draw(given):
        found = cells()
        return cohen_kappa(found >= 2, found % 2 == 1, clusters=given)

    runs = 800
    assert max(wrong_bounds(lambda: draw(clusters), kappa, runs)) <= 0.08 + 2 * math.sqrt(0.08 * 0.92 / runs)
    assert max(wrong_bounds(lambda: draw(None), kappa, runs)) > 0.12  # which the clusters prevent
