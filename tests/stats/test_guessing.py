"""Guessing: the exact distribution of right guesses, against enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from pytest_steer.stats import guessing_share, p_of_guessing, p_of_weighted_guessing


def by_enumeration(right, options):
    """The chance of at least so many right guesses, over all patterns of right and wrong."""
    total = 0.0
    for pattern in itertools.product((0, 1), repeat=len(options)):
        chance = 1.0
        for hit, count in zip(pattern, options, strict=True):
            chance *= 1 / count if hit else 1 - 1 / count
        total += chance * (sum(pattern) >= right)
    return total


@pytest.mark.parametrize("options", [(4,) * 8, (2, 2, 3, 4, 5, 5, 4, 2), (2, 13)])
def test_the_chance_of_guessing_is_that_of_all_patterns(options):
    for right in range(len(options) + 1):
        assert p_of_guessing(right, options) == pytest.approx(by_enumeration(right, options), rel=1e-9)


def test_one_number_of_options_is_the_binomial_test():
    assert p_of_guessing(120, [4] * 384) == pytest.approx(stats.binomtest(120, 384, 0.25, alternative="greater").pvalue)
    assert guessing_share([2, 4, 4]) == pytest.approx(1 / 3)


def test_more_than_guessing():
    assert p_of_guessing(60, [4] * 100, more=0.2) == pytest.approx(stats.binom.sf(59, 100, 0.45))
    assert p_of_guessing(60, [2, 4] * 50, more=0.1) > p_of_guessing(60, [2, 4] * 50, more=0.05)
    assert p_of_guessing(4, [2] * 4, more=0.5) == 1.0


def test_many_questions_of_several_numbers_of_options():
    options = [4] * 5000 + [5] * 5000
    normal = stats.norm.sf((2350 - 2250) / (5000 * 0.25 * 0.75 + 5000 * 0.2 * 0.8) ** 0.5)
    assert p_of_guessing(2350, options) == pytest.approx(normal, rel=0.1)


def test_the_chance_of_weighted_guesses_is_that_of_all_patterns():
    weights, options = np.array([5.0, 1.0, 2.0, 0.5, 1.0]), [2, 4, 3, 2, 5]
    for right in itertools.product((False, True), repeat=5):
        wanted = 0.0
        for pattern in itertools.product((0, 1), repeat=5):
            chance = np.prod([1 / count if hit else 1 - 1 / count for hit, count in zip(pattern, options, strict=True)])
            wanted += chance * (weights @ pattern >= weights @ np.array(right) - 1e-9)
        assert p_of_weighted_guessing(right, options, weights) == pytest.approx(wanted, abs=0.012)
    assert guessing_share([2, 4], [3, 1]) == pytest.approx(3 / 8 + 1 / 16)
    alike = [True] * 30 + [False] * 10
    assert p_of_weighted_guessing(alike, [2] * 40, [1.0] * 40, more=0.1) == pytest.approx(
        p_of_guessing(30, [2] * 40, more=0.1), abs=0.01
    )


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 0.0), (1.0, float("nan"))])
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="weights are above 0"):
        p_of_weighted_guessing((True, False), (2, 2), weights)


@pytest.mark.parametrize(("right", "options"), [(1, ()), (3, (2, 2)), (0, (1, 2))])
def test_what_cannot_be_guessed(right, options):
    with pytest.raises(ValueError):
        p_of_guessing(right, options)
