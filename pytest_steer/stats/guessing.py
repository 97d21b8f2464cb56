"""What guessing gets right, and whether a number of right answers is proven to be more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from scipy import signal, stats

from ._arguments import checked_count


def guessing_share(options: Sequence[int]) -> float:
    """The share of right answers that guessing expects: the mean of 1 / number of options."""
    return float(np.mean(1 / np.asarray(options, dtype=float)))


def p_of_guessing(right: int, options: Sequence[int], *, more: float = 0.0) -> float:
    """The chance that guessing gets at least so many answers right: small means that more than guessing is proven.

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
