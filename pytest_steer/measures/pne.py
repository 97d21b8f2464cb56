"""The perplexity-normalised effect, PNE (von Rütte et al. 2024, arXiv 2402.14433): what steering does for what it costs."""

from __future__ import annotations

import math

from scipy.special import expit

from .asking import Array


def matching_probability(propensities: Array) -> float:
    """The mean over items of the probability of the matching answer against the other: 1 / (1 + exp(-propensity)).

    For two labels of one token each that is CAA's P(match) / (P(match) + P(other)); of longer answers each counts with the geometric
    mean probability of its tokens.

    Args:
        propensities: [n_items].
    """
    return float(expit(propensities).mean())


def pne(effects: Array, unsteered: Array, mean_rise: float) -> float | None:
    """[p(a) - p(0)] / [PPL(a) / PPL(0)] at a strength a.

    In the paper p is the share of generated replies in which a classifier finds the concept, or the mean of the classifier's
    probability. Here it is :func:`matching_probability`, which needs no classifier. PPL is as in the paper the arithmetic mean of the
    texts' perplexities.

    Args:
        effects: [n_items] propensity at a minus propensity unsteered. unsteered: [n_items] propensities.
        mean_rise: PPL(a) / PPL(0) - 1, see ``likelihood.relative_mean_rise``.

    Returns:
        None where a perplexity is beyond the range of numbers.
    """
    gained = matching_probability(unsteered + effects) - matching_probability(unsteered)
    return gained / (1 + mean_rise) if math.isfinite(mean_rise) else None
