"""Bounds of the size of a mean: for claims that it stays within a band around 0. Of several sizes see ``extremes.largest_of``.

"The mean lies within +-band" is proven by two one-sided tests (Schuirmann 1987): the mean is above -band, and it is below band.
The size of the mean, ``|mean|``, is then at most the band. With the bounds of the mean at one confidence::

    upper bound of |mean| = max(high, -low)

Both tests have to prove their side, so none needs an adjustment (an intersection-union test, Berger 1982). "The mean lies
outside" can be proven on two sides, and its p-value allows for both: that of the near side plus that of the far one. For a band of 0 this
is the two-sided test, for a wide one the one-sided test. The lower bound is the band at which this test just rejects.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from ._arguments import checked_confidence, checked_finite, checked_number, checked_power
from .intervals import Inference, Tails, derived
from .planning import MOST_ITEMS_FOR_A_MEAN, first_enough, items_needed_mean

_NODES = 256  # of the integral over the sample standard deviation; the power is then known to about 1e-3


def size_of_mean(mean: Inference) -> Inference:
    """Bounds of ``|mean|``, each one-sided, from those of the mean.

    Args:
        mean: of :func:`mean_t`, with or without clusters.
    """
    tails = _SizeTails(mean._tails, 1 if mean.estimate >= 0 else -1, abs(mean.estimate))
    return derived(mean, tails, estimate=abs(mean.estimate), is_exact=False)


def items_needed_within(
    size: float,
    standard_deviation: float,
    band: float,
    *,
    confidence: float = 0.95,
    fail_confidence: float | None = None,
    power: float = 0.8,
) -> int | None:
    """The number of items with which two one-sided t tests would decide with this power, if ``size`` were the truth.

    Inside the band, both tests have to reject. Given the sample standard deviation s of n normal values with mean m and
    deviation sd, that has the probability::

        P(-band + t s / sqrt(n) <= mean <= band - t s / sqrt(n)),   t the quantile of the confidence with n - 1 degrees of freedom

    which is integrated over the distribution of s. Outside, the plan is :func:`items_needed_mean`.

    Args:
        fail_confidence: that at which a mean is proven to be outside; by default ``confidence``.

    Returns:
        None if the size lies on the band, where no number decides, or if more than 10 million are needed.

    Raises:
        ValueError: a number that is not finite, a negative one, a confidence or power out of range.
    """
    size, band = abs(checked_finite(size, "size")), checked_finite(band, "band")
    deviation = checked_number(standard_deviation, "standard_deviation", lambda number: 0 <= number < math.inf, "0 or more")
    confidence, power = checked_confidence(confidence), checked_power(power)
    if size >= band:
        return items_needed_mean(size, deviation, band, confidence=fail_confidence or confidence, power=power)
    if deviation == 0:
        return 2

    def enough(n: int) -> bool:
        return _power_within((band - size) / deviation, (band + size) / deviation, n, confidence) >= power

    return first_enough(enough, 2, MOST_ITEMS_FOR_A_MEAN)


def _power_within(near: float, far: float, n: int, confidence: float) -> float:
    """The probability that both tests reject, for distances to the near and the far end of the band in standard deviations."""
    quantiles = (np.arange(_NODES) + 0.5) / _NODES
    spread = np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))  # of the sample, as a multiple of the true one
    margin = stats.t.ppf(confidence, n - 1) * spread
    inside = stats.norm.cdf(near * math.sqrt(n) - margin) - stats.norm.cdf(margin - far * math.sqrt(n))
    return float(np.maximum(inside, 0).mean())


@dataclass(frozen=True, eq=False)
class _SizeTails:
    """Bounds and p-values of the size of a mean, from those of the mean.

    Attributes:
        mean: of the mean. side: 1 if its estimate is 0 or above, else -1. size: of the estimate.
    """

    mean: Tails
    side: int
    size: float

    def low(self, confidence: float) -> float:
        alpha = 1 - confidence
        if self.p_at_least(math.ulp(0.0)) >= alpha:
            return 0.0
        if self.p_at_least(self.size) <= alpha:  # no spread at all
            return self.size
        return float(optimize.brentq(lambda band: self.p_at_least(band) - alpha, 0.0, self.size, xtol=1e-15))

    def high(self, confidence: float) -> float:
        return max(self.mean.high(confidence), -self.mean.low(confidence))

    def p_at_least(self, threshold: float) -> float:
        if threshold <= 0:  # no size is below 0
            return 0.0
        beyond = self.mean.p_at_least if self.side > 0 else lambda at: self.mean.p_at_most(-at)
        return min(1.0, beyond(threshold) + beyond(-threshold))

    def p_at_most(self, threshold: float) -> float:
        return max(self.mean.p_at_most(threshold), self.mean.p_at_least(-threshold)) if threshold >= 0 else 1.0
