"""Inferences made of others: the least and the largest of several, a relative rise, the worst of what missing units may be, the size of a mean."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import optimize, stats

from ..core.evidence import Direction
from ._arguments import checked_confidence, checked_finite, checked_number, checked_power
from .intervals import Inference, Tails, derived
from .planning import MOST_ITEMS_FOR_A_MEAN, first_enough, items_needed_mean


def least_of(inferences: Sequence[Inference]) -> Inference:
    """The inference of the smallest of several means, shares or ratios of one confidence.

    The lower bound is the least of theirs, so "all are at least x" is proven when each is (intersection-union test, Berger 1982). The
    upper bound is the least of theirs at a level divided by their number (Bonferroni), so "one is below x" is proven at the stated
    confidence, however they depend on each other. n is the least of theirs.

    Raises:
        ValueError: there are none, or their confidences differ.
    """
    return inferences[0] if len(inferences) == 1 else _extreme_of(inferences, len(inferences), is_least=True)


def largest_of(inferences: Sequence[Inference], *, tests: int | None = None) -> Inference:
    """The inference of the largest of several means, shares or rises of one confidence.

    The upper bound is the largest of theirs, so "all are at most x" is proven when each is (intersection-union test, Berger 1982). The
    lower bound is the largest of theirs at a level divided by their number (Bonferroni), so "one is above x" is proven at the stated
    confidence. n is the least of theirs.

    Args:
        tests: how many tests share alpha on the side of the lower bound, if others than these do.

    Raises:
        ValueError: there are none, their confidences differ, or the tests are fewer.
    """
    if tests is not None and tests < len(inferences):
        raise ValueError(f"tests were {tests} of {len(inferences)} inferences; expected at least as many.")
    return _extreme_of(inferences, tests or len(inferences), is_least=False)


def _extreme_of(inferences: Sequence[Inference], tests: int, *, is_least: bool) -> Inference:
    if not inferences or len({one.confidence for one in inferences}) > 1:
        raise ValueError("inferences was empty or of several confidences; expected at least one, of one confidence.")
    worst = (min if is_least else max)(inferences, key=lambda one: one.estimate)
    tails = ExtremeTails(tuple(one._tails for one in inferences), tests, is_least)
    return derived(worst, tails, n=min(one.n for one in inferences), standard_deviation=None)


def shared_level(confidence: float, tests: int) -> float:
    """The confidence of each of several tests that share an error rate equally (Bonferroni)."""
    return 1 - (1 - confidence) / tests


@dataclass(frozen=True, eq=False)
class ExtremeTails:
    """Bounds and p-values of the least or the largest of several numbers.

    That all of them are on one side is proven when each is. That one of them is on the other side is tested at an equal part of alpha.
    """

    each: tuple[Tails, ...]
    tests: int
    is_least: bool

    def low(self, confidence: float) -> float:
        level = confidence if self.is_least else shared_level(confidence, self.tests)
        return self._extreme(tails.low(level) for tails in self.each)

    def high(self, confidence: float) -> float:
        level = shared_level(confidence, self.tests) if self.is_least else confidence
        return self._extreme(tails.high(level) for tails in self.each)

    def p_at_least(self, threshold: float) -> float:
        return self._p_value([tails.p_at_least(threshold) for tails in self.each], of_all=self.is_least)

    def p_at_most(self, threshold: float) -> float:
        return self._p_value([tails.p_at_most(threshold) for tails in self.each], of_all=not self.is_least)

    def _extreme(self, bounds: Iterable[float]) -> float:
        return min(bounds) if self.is_least else max(bounds)

    def _p_value(self, each: Sequence[float], of_all: bool) -> float:
        return max(each) if of_all else min(1.0, self.tests * min(each))


def as_rise(inference: Inference) -> Inference:
    """The inference of the relative rise exp(d) - 1 from that of a difference d of logarithms, such as of perplexities."""
    tails = RiseTails(inference._tails)
    return derived(inference, tails, estimate=_rise(inference.estimate), standard_deviation=None)


@dataclass(frozen=True, eq=False)
class RiseTails:
    """Bounds and p-values of exp(d) - 1, by those of d."""

    of: Tails

    def low(self, confidence: float) -> float:
        return _rise(self.of.low(confidence))

    def high(self, confidence: float) -> float:
        return _rise(self.of.high(confidence))

    def p_at_least(self, threshold: float) -> float:
        return 0.0 if threshold <= -1 else self.of.p_at_least(math.log1p(threshold))

    def p_at_most(self, threshold: float) -> float:
        return 1.0 if threshold <= -1 else self.of.p_at_most(math.log1p(threshold))


def _rise(difference: float) -> float:
    try:
        return math.expm1(difference)
    except OverflowError:
        return math.inf


def between_fillings(least: Inference, most: Inference, promised: Direction) -> Inference:
    """The inference of a mean, share or difference whose missing units may be anything (worst-case bounds, Manski 1990).

    The lower bound is that of ``least``, in which every missing unit has its least value, and the upper bound that of ``most``. So "at
    least x" is proven only if no values of the missing units would refute it, and "below x" only if none would save it.

    Args:
        promised: a pass has to be proven in the filling of ``least`` if it is AT_LEAST, and of ``most`` if it is AT_MOST; that filling
            gives the estimate.

    Raises:
        ValueError: the two are of different confidences, or ``least`` is above ``most``.
    """
    if least.confidence != most.confidence or least.estimate > most.estimate:
        raise ValueError("the fillings have to be of one confidence, the least first")
    chosen = least if promised is Direction.AT_LEAST else most
    return derived(chosen, FilledTails(least._tails, most._tails), n=min(least.n, most.n))


@dataclass(frozen=True, eq=False)
class FilledTails:
    """The lower bound of one filling and the upper bound of another."""

    least: Tails
    most: Tails

    def low(self, confidence: float) -> float:
        return self.least.low(confidence)

    def high(self, confidence: float) -> float:
        return self.most.high(confidence)

    def p_at_least(self, threshold: float) -> float:
        return self.least.p_at_least(threshold)

    def p_at_most(self, threshold: float) -> float:
        return self.most.p_at_most(threshold)


# --- the size of a mean, and how many items decide a claim about it ---

_NODES = 256  # of the integral over the sample standard deviation; the power is then known to about 1e-3


def size_of_mean(mean: Inference) -> Inference:
    """Bounds of ``|mean|``, each one-sided, from those of the mean: for claims that it stays within a band around 0.

    "The mean lies within +-band" is proven by two one-sided tests (Schuirmann 1987): the mean is above -band, and it is below band.
    The size of the mean, ``|mean|``, is then at most the band. With the bounds of the mean at one confidence::

        upper bound of |mean| = max(high, -low)

    Both tests have to prove their side, so none needs an adjustment (an intersection-union test, Berger 1982). "The mean lies
    outside" can be proven on two sides, and its p-value allows for both: that of the near side plus that of the far one. For a band of 0
    this is the two-sided test, for a wide one the one-sided test. The lower bound is the band at which this test just rejects.

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
