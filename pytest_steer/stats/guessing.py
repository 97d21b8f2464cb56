"""What guessing gets right, and whether a number of right answers is proven to be more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import signal, stats

from ._arguments import checked_count

_DRAWS = 19_999
_AT_ONCE = 2**20


def guessing_share(options: Sequence[int], weights: Sequence[float] | None = None) -> float:
    """The share of right answers that guessing expects: the mean of 1 / number of options, weighted where questions have weights."""
    return float(np.average(1 / np.asarray(options, dtype=float), weights=weights))


def p_of_guessing(right: int, options: Sequence[int], *, more: float = 0.0) -> float:
    """The chance that guessing gets at least ``right`` answers right: small means that more than guessing is proven.

    Args:
        right: questions that were answered right. options: how many options each question has.
        more: what is added to the chance of each right guess: small then means that accuracy is proven to exceed guessing by more than
            that.

    The number of right guesses is Poisson-binomial, a sum of binomials over the questions of one number of options; its distribution is
    theirs, convolved. For one number of options this is the exact binomial test.

    Raises:
        ValueError: no questions, more right answers than questions, or a question of fewer than two options.
    """
    if not len(options) or min(options) < 2:
        raise ValueError("guessing needs at least one question, and two options in each")
    right = checked_count(right, "right", least=0)
    if right > len(options):
        raise ValueError(f"{right} right answers to {len(options)} questions")
    each = sorted(Counter(options).items())
    if len(each) == 1:
        ((count, n),) = each
        return float(stats.binom.sf(right - 1, n, min(1.0, 1 / count + more)))
    chances = np.ones(1)
    for count, n in each:
        chances = signal.convolve(chances, stats.binom.pmf(np.arange(n + 1), n, min(1.0, 1 / count + more)), method="direct")
    return float(min(1.0, max(0.0, chances[right:].sum())))


def p_of_weighted_guessing(
    right: Sequence[bool], options: Sequence[int], weights: Sequence[float], *, more: float = 0.0, seed: int = 0
) -> float:
    """Simulate the chance that guessing reaches this weighted share of right answers.

    Args:
        right: for each question whether it was answered right. options / more: see :func:`p_of_guessing`. weights: of the questions, above 0.

    It is (1 + k) / (draws + 1) with k of 19,999 draws of random guesses that get at least as much weight right. So it is at most x with a
    probability of at most x if the answers are guesses (Davison and Hinkley 1997, section 4.2).

    Raises:
        ValueError: lists of different lengths, weights that are not above 0, or as for :func:`p_of_guessing`.
    """
    if not len(options) or min(options) < 2:
        raise ValueError("guessing needs at least one question, and two options in each")
    weight = np.asarray(weights, dtype=float)
    if not len(right) == len(options) == len(weight) or not (weight > 0).all():
        raise ValueError("right, options and weights are of the same questions, and weights are above 0")
    weight = weight / weight.sum()
    seen = float(weight @ np.asarray(right, dtype=float))
    chances = np.minimum(1.0, 1 / np.asarray(options, dtype=float) + more)
    generator, at_least = np.random.default_rng(seed), 0
    step = max(1, _AT_ONCE // len(weight))
    for start in range(0, _DRAWS, step):
        guesses = generator.random((min(step, _DRAWS - start), len(weight))) < chances
        at_least += int((guesses @ weight >= seen - 1e-12).sum())
    return (1 + at_least) / (_DRAWS + 1)
