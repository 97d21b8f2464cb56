"""The difference of weighted shares: the estimate, its limits, and how often its bounds are wrong."""

from __future__ import annotations

import numpy as np
import pytest

from pytest_steer.stats import (
    change_difference,
    effective_n,
    items_needed_paired,
    mean_t,
    paired_share_difference,
    share_difference_of_clusters,
    weighted_share_difference,
)
from pytest_steer.stats.paired import weighted_tails

CHANGES = np.array([1.0] * 6 + [-1.0] * 2 + [0.0] * 92)


def test_equal_weights_give_the_exact_bounds_where_t_is_narrower():
    found, exact = weighted_share_difference(CHANGES, np.full(100, 3.0)), paired_share_difference(6, 2, 100)
    by_t = mean_t(CHANGES)
    assert found.estimate == pytest.approx(0.04)
    assert found.high == pytest.approx(max(exact.high, by_t.high))
    assert found.low == pytest.approx(min(exact.low, by_t.low))
    assert exact.high > by_t.high  # else the exact ones would not have been looked at


def test_the_estimate_and_the_effective_number():
    weights = np.where(CHANGES == 1, 5.0, 1.0)
    found = weighted_share_difference(CHANGES, weights)
    assert found.estimate == pytest.approx((6 * 5 - 2) / (6 * 5 + 94))
    assert effective_n(weights) == pytest.approx(124**2 / (6 * 25 + 94))
    assert found.high > mean_t(CHANGES * weights / weights.mean()).high - 1e-12


def test_no_change_still_has_a_width():
    weights = np.array([1.0, 3.0] * 50)
    found = weighted_share_difference(np.zeros(100), weights)
    assert found.high == paired_share_difference(0, 0, 80).high > 0.03  # (4 * 50)^2 / (10 * 50) = 80
    assert found.p_at_most(0.02) > 0.05
    assert found.p_at_most(0.06) <= 0.05


def test_counts_of_few_effective_units_are_rounded_to_the_far_side():
    """Weights of 9 and 1, so 36 effective units of 100, of which one light unit is a fifth."""
    weights = np.array([9.0] * 10 + [1.0] * 90)
    changes = np.zeros(100)
    changes[-1], changes[-2] = 1, -1
    found = weighted_share_difference(changes, weights)
    lost, gained = paired_share_difference(1, 0, 36), paired_share_difference(0, 1, 36)
    assert (found.low, found.high) == pytest.approx((gained.low, lost.high))
    for at in (0.02, 0.1):
        assert found.p_at_most(at) == pytest.approx(max(lost.p_at_most(at), mean_t(changes * weights / 1.8).p_at_most(at)))


@pytest.mark.parametrize(("lost", "heavy"), [(0.03, False), pytest.param(0.2, True, marks=pytest.mark.nightly)])
def test_bounds_are_wrong_no_more_often_than_stated(lost, heavy):
    """The upper bound, which a pass rests on. Units and weights are drawn; a unit of weight w counts w times."""
    random, n, trials, wrong = np.random.default_rng(7), 60, 80, 0
    for _ in range(trials):
        weights = random.choice([0.5, 1.0, 2.0, 4.0], size=n)
        chance = np.minimum(1, lost * (weights / 1.875 if heavy else 1.0))
        drawn = random.random(n)
        changes = np.where(drawn < chance, 1.0, np.where(drawn < chance + 0.02, -1.0, 0.0))
        every = np.array([0.5, 1.0, 2.0, 4.0])
        chances = np.minimum(1, lost * (every / 1.875 if heavy else 1.0))
        truth = (every * (chances - 0.02)).sum() / every.sum()
        wrong += weighted_tails(changes, weights).p_at_most(truth) <= 0.05  # the bound is below the truth
    assert wrong / trials <= 0.05 + 2 * (0.05 * 0.95 / trials) ** 0.5


@pytest.mark.parametrize(
    ("changes", "weights", "words"),
    [([1.0, 0.5], [1, 1], "-1, 0 or 1"), ([1.0, 0.0], [1, 0], "above 0"), ([1.0], [1], "at least 2"), ([1.0, 0.0], [1], "one for each")],
)  # fmt: skip
def test_what_is_refused(changes, weights, words):
    with pytest.raises(ValueError, match=words):
        weighted_share_difference(changes, weights)


def test_how_many_questions_decide():
    needed = items_needed_paired(0, 0, 20, 0.03)
    assert paired_share_difference(0, 0, needed).high <= 0.03 < paired_share_difference(0, 0, needed - 1).high
    assert items_needed_paired(3, 0, 100, 0.03) is None


@pytest.mark.nightly
def test_so_many_questions_decide_as_often_as_the_power_says():
    needed, random = items_needed_paired(10, 4, 384, 0.04), np.random.default_rng(1)
    counts = random.multinomial(needed, [10 / 384, 4 / 384, 370 / 384], size=40)
    passes = [paired_share_difference(int(a), int(b), needed).high <= 0.04 for a, b, _ in counts]
    assert 0.7 <= np.mean(passes) <= 0.95


def test_a_difference_of_changes_is_at_least_as_wide_as_t_and_as_the_exact_bound():
    differences = np.array([2.0] * 3 + [1.0] * 5 + [-1.0] * 2 + [0.0] * 40)
    found, exact, by_t = change_difference(differences), paired_share_difference(6, 1, 50), mean_t(differences)
    assert found.estimate == pytest.approx(differences.mean())
    assert found.high == pytest.approx(max(2 * exact.high, by_t.high))
    assert found.low <= min(by_t.low, 2 * paired_share_difference(5, 1, 50).low) + 1e-9
    still = change_difference(np.zeros(20))
    assert still.low < 0 < still.high  # equal answers to 20 questions prove nothing about the next one
    with pytest.raises(ValueError, match="-2, -1, 0, 1 or 2"):
        change_difference([0.5, 1])


def test_clusters_of_one_size_count_as_one_unit_each():
    changes = np.repeat([1.0] * 4 + [-1.0] + [0.0] * 15, 3)
    clusters = np.repeat(np.arange(20), 3)
    found, exact = share_difference_of_clusters(changes, clusters.tolist()), paired_share_difference(4, 1, 20)
    by_t = mean_t(changes, clusters=clusters.tolist())
    assert (found.estimate, found.n) == (pytest.approx(0.15), 20)
    assert found.high == pytest.approx(max(exact.high, by_t.high))
    assert found.low == pytest.approx(min(exact.low, by_t.low))
    assert found.high > paired_share_difference(12, 3, 60).high


def test_bounds_and_p_values_of_changes_agree():
    found = change_difference(np.array([1.0] * 6 + [0.0] * 44))
    assert found.p_at_least(found.low) == pytest.approx(0.05, abs=2e-3)
    assert found.p_at_most(found.high) == pytest.approx(0.05, abs=2e-3)


@pytest.mark.parametrize("differences", [[0, 0, 0, 0, 0, 0], [-2, -1, 0, 1, 0, 0], [2, 2, 1, 1, 0, -1]])
def test_changes_of_single_units_in_clusters_are_those_of_units(differences):
    alone, clustered = change_difference(differences), change_difference(differences, clusters=range(6))
    assert (clustered.estimate, clustered.low, clustered.high, clustered.n) == pytest.approx(
        (alone.estimate, alone.low, alone.high, 6)
    )
    copied = change_difference([*differences, *differences], clusters=[*range(6), *range(6)])
    assert (copied.low, copied.high, copied.n) == pytest.approx((alone.low, alone.high, 6))


def test_changes_in_clusters_are_checked():
    for differences, clusters in (([3, 0], [0, 1]), ([0.5, 0], [0, 1]), ([1, 0], [0, 0])):
        with pytest.raises(ValueError):
            change_difference(differences, clusters=clusters)
