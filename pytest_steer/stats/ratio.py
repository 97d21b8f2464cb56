"""Bounds of a ratio of two means by Fieller's theorem (Fieller 1954), and of the least of several ratios.

"The ratio R = mean(shifted) / mean(base) is at least r" is, for a positive base, the claim that
``mean(shifted) - r * mean(base)`` is at least 0, which a t test decides::

    T(r) = (mean(shifted) - r * mean(base)) / standard_error(r)

    paired:    standard_error(r)^2 = variance of the items' (shifted - r * base) / n           n - 1 degrees of freedom
    unpaired:  standard_error(r)^2 = variance(shifted) / n + r^2 * variance(base) / m          Welch-Satterthwaite

A bound is the r at which the test just rejects. Every level needs the base to be proven positive at that level, by a t
test of its own: then exactly one r lies on each side (for the paired test in closed form; see the tests). Where it is not, the ratio
is unbounded on both sides, as it should be: a ratio to something that may be 0 may be anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy.typing as npt
from scipy import optimize, special

from ._arguments import FloatArray, checked_confidence, checked_values
from .intervals import Inference, Tails, mean_and_deviations, root_mean_square
from .planning import items_needed_mean

# Doubling the distance from the estimate more often than this would leave the range of what a ratio can mean.
_MOST_DOUBLINGS = 100


def ratio_of_means(
    shifted: npt.ArrayLike, base: npt.ArrayLike, *, paired: bool = True, confidence: float = 0.95
) -> Inference:
    """Fieller's bounds of ``mean(shifted) / mean(base)``, each one-sided.

    Args:
        shifted: one number per item, shape (items,).
        base: one number per item; ``paired``: of the same items in the same order, else of others.
        confidence: of each bound by itself.

    Exact for normal values when paired; for others it relies on the central limit theorem, as :func:`mean_t` does. False
    passes and false fails at a confidence of 0.95, simulated with the truth on the threshold (tests): 20 paired normal
    items 5 % and 5 %; 20 and 40 unpaired ones 5 % and 5 %; 20 paired items with exponential base and noise, whose long tail is
    upward, 2 % and 11 %; 100 of these 3 % and 8 %. That is what a t interval of such values does.

    Raises:
        ValueError: fewer than 2 values, a NaN or an infinity (with its index), a wrong shape, paired values of different
            numbers, or a base whose mean is not above 0.
    """
    confidence = checked_confidence(confidence)
    sides = checked_values(shifted), checked_values(base)
    if paired and sides[0].size != sides[1].size:
        raise ValueError(
            f"shifted had {sides[0].size} values and base {sides[1].size}; expected one of each per item, or paired=False."
        )
    tails = _tails(*sides, paired)
    if not tails.base > 0:
        raise ValueError(f"base had the mean {tails.base:g}; expected one above 0, or a ratio to it says nothing.")
    return Inference(
        estimate=tails.shifted / tails.base,
        low=tails.low(confidence),
        high=tails.high(confidence),
        confidence=confidence,
        method="fieller" if paired else "fieller, unpaired",
        n=sides[0].size,
        standard_deviation=None,
        _tails=tails,
    )


def least_ratio(ratios: Sequence[Inference]) -> Inference:
    """Bounds of the least of several ratios, from those of each; however they depend on each other.

    All of them are at least r when each is (an intersection-union test, Berger 1982), so the lower bound is the least of the
    lower bounds, unadjusted. That one of them is below r is said of k ratios at ``1 - alpha / k`` each (Bonferroni), so the
    upper bound is the least of the upper bounds at that level. The chance that each bound is wrong is at most alpha.

    Args:
        ratios: what :func:`ratio_of_means` gave, all at one confidence.

    Raises:
        ValueError: none, something else, or different confidences.
    """
    tails = [ratio._tails for ratio in ratios]
    if not tails or len({ratio.confidence for ratio in ratios}) > 1:
        raise ValueError(f"ratios were {len(tails)} of different confidences, or none; expected some of one confidence.")
    known = [tail for tail in tails if isinstance(tail, RatioTails)]
    if len(known) != len(tails):
        raise ValueError("ratios held an inference that is not a ratio's; expected those of ratio_of_means.")
    confidence = ratios[0].confidence
    adjusted = 1 - (1 - confidence) / len(known)
    least = min(ratios, key=lambda ratio: ratio.estimate)
    return Inference(
        estimate=least.estimate,
        low=min(tail.low(confidence) for tail in known),
        high=min(tail.high(adjusted) for tail in known),
        confidence=confidence,
        method=least.method,
        n=least.n,
        standard_deviation=None,
        _tails=_LeastTails(tuple(known)),
    )


def items_needed_ratio(ratio: Inference, threshold: float, *, power: float = 0.8) -> int | None:
    """Items with which the ratio would be decided with this power, if what was seen were the truth; None if no number would.

    A plan by :func:`items_needed_mean` on ``shifted - threshold * base``; unpaired it takes both data sets to grow alike.

    Raises:
        ValueError: not what :func:`ratio_of_means` gave, or a number out of range.
    """
    tails = ratio._tails
    if not isinstance(tails, RatioTails):
        raise ValueError("ratio was not an inference of ratio_of_means.")
    spread = tails.standard_error(threshold)[0] * math.sqrt(ratio.n)
    return items_needed_mean(tails.shifted - threshold * tails.base, spread, 0.0, confidence=ratio.confidence, power=power)


@dataclass(frozen=True, eq=False)
class RatioTails:
    """Bounds at any confidence, and the p-values that they invert.

    Attributes:
        shifted / base: the means.
        standard_error: r -> (standard error of the mean of shifted - r * base, degrees of freedom).
        base_standard_error / base_degrees: of the base's mean.
    """

    shifted: float
    base: float
    standard_error: Callable[[float], tuple[float, float]]
    base_standard_error: float
    base_degrees: int

    @property
    def p_base(self) -> float:
        """One-sided p-value of "the base is not above 0"."""
        if self.base_standard_error == 0:
            return 0.0 if self.base > 0 else 1.0
        return _upper_tail(self.base / self.base_standard_error, self.base_degrees)

    def p_at_least(self, threshold: float) -> float:
        return max(self._test(threshold, 1), self.p_base)

    def p_at_most(self, threshold: float) -> float:
        return max(self._test(threshold, -1), self.p_base)

    def low(self, confidence: float) -> float:
        return self._bound(confidence, 1)

    def high(self, confidence: float) -> float:
        return self._bound(confidence, -1)

    def _test(self, ratio: float, side: int) -> float:
        """P-value of "mean(shifted) - ratio * mean(base)" being above (side 1) or below (side -1) 0."""
        if math.isinf(ratio):
            return 1.0 if ratio * side > 0 else self.p_base
        error, degrees = self.standard_error(ratio)
        distance = side * (self.shifted - ratio * self.base)
        if error == 0:
            return 0.0 if distance >= 0 else 1.0
        return _upper_tail(distance / error, degrees)

    def _bound(self, confidence: float, side: int) -> float:
        alpha = 1 - confidence
        unbounded = -side * math.inf
        if self.p_base >= alpha:
            return unbounded
        inner = self.shifted / self.base
        if self._test(inner, side) <= alpha:  # no spread at all, or a confidence of one half
            return inner
        step = max(abs(inner), 1.0) / 64
        for _ in range(_MOST_DOUBLINGS):
            outer = inner - side * step
            if self._test(outer, side) <= alpha:
                return float(optimize.brentq(lambda ratio: self._test(ratio, side) - alpha, outer, inner, xtol=1e-13))
            inner, step = outer, 2 * step
        return unbounded


@dataclass(frozen=True, eq=False)
class _LeastTails:
    """P-values of the least of several ratios."""

    each: tuple[Tails, ...]

    def p_at_least(self, threshold: float) -> float:
        return max(tails.p_at_least(threshold) for tails in self.each)

    def p_at_most(self, threshold: float) -> float:
        return min(1.0, len(self.each) * min(tails.p_at_most(threshold) for tails in self.each))


def _upper_tail(t: float, degrees: float) -> float:
    """P(Student's t > t); the bare function, since a bound asks for dozens of them."""
    return float(special.stdtr(degrees, -t))


def _tails(shifted: FloatArray, base: FloatArray, paired: bool) -> RatioTails:
    (mean, rises), (base_mean, base_rises) = mean_and_deviations(shifted), mean_and_deviations(base)

    def of_mean(deviations: FloatArray) -> float:
        return root_mean_square(deviations) / math.sqrt(deviations.size - 1)

    own, of_base = of_mean(rises), of_mean(base_rises)

    def paired_error(ratio: float) -> tuple[float, float]:
        return of_mean(rises - ratio * base_rises), rises.size - 1

    def welch_error(ratio: float) -> tuple[float, float]:
        a, b = own**2, (ratio * of_base) ** 2
        weight = a**2 / (rises.size - 1) + b**2 / (base_rises.size - 1)
        return math.sqrt(a + b), (a + b) ** 2 / weight if weight else min(rises.size, base_rises.size) - 1

    return RatioTails(mean, base_mean, paired_error if paired else welch_error, of_base, base.size - 1)
