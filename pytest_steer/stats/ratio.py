"""Bounds of a ratio of two means by Fieller's theorem (Fieller 1954).

"The ratio R = mean(shifted) / mean(base) is at least r" is, for a positive base, the claim that
``mean(shifted) - r * mean(base)`` is at least 0, which a t test decides::

    T(r) = (mean(shifted) - r * mean(base)) / standard_error(r)

    paired:    standard_error(r)^2 = variance of the items' (shifted - r * base) / n           n - 1 degrees of freedom
    unpaired:  standard_error(r)^2 = variance(shifted) / n + r^2 * variance(base) / m          Welch-Satterthwaite

A bound is the r at which the test just rejects. At every level a separate t test has to prove that the base is positive.
Then there is exactly one such r on each side (for the paired test in closed form; see the tests). Otherwise the ratio is
unbounded on both sides, since a ratio to something that may be 0 can be anything.

The t test can be replaced by another test of the mean of ``shifted - r * base`` of paired items, whose bounds are inverted in the same way
(``METHODS`` of :mod:`intervals`). BCa resamples items with both their values.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace

import numpy.typing as npt
from scipy import optimize, special

from ._arguments import FloatArray, checked_confidence, checked_values
from .intervals import (
    Clusters,
    Inference,
    IntervalMethod,
    StudentTails,
    Tails,
    cluster_numbers,
    infer,
    mean_and_deviations,
    method_of,
    root_mean_square,
)
from .planning import items_needed_mean

# Doubling the distance from the estimate more often than this leaves the range in which a ratio means anything.
_MOST_DOUBLINGS = 100


def ratio_of_means(
    shifted: npt.ArrayLike,
    base: npt.ArrayLike,
    *,
    paired: bool = True,
    confidence: float = 0.95,
    interval: IntervalMethod = "t",
    seed: int = 0,
    clusters: Iterable[Hashable] | None = None,
) -> Inference:
    """Fieller's bounds of ``mean(shifted) / mean(base)``, each one-sided.

    Args:
        shifted: one number per item, shape (items,).
        base: one number per item; ``paired``: of the same items in the same order, else of others.
        confidence: of each bound by itself.
        interval: the test that is inverted; one other than ``t`` for paired items only.
        seed: of the bootstrap.
        clusters: one label per item, where paired items are related. The test of the mean of ``shifted - r * base`` is then the one over
            clusters, see :func:`mean_t`, and n counts clusters; the means are still those over items.

    Exact for paired normal values. For others it relies on the central limit theorem, as :func:`mean_t` does. False
    passes and false fails at a confidence of 0.95, simulated with the truth on the threshold (see the tests): 5 % and 5 %
    for 20 paired normal items, and for 20 and 40 unpaired ones. For paired items with exponential base and noise, whose
    long tail is upward, 2 % and 11 % with 20 items and 3 % and 8 % with 100. A t interval of such values does the same.

    Raises:
        ValueError: fewer than 2 values, a NaN or an infinity (with its index), a wrong shape, paired sides of different
            lengths, a base whose mean is not positive, clusters of unpaired items or fewer than 2, or an interval that there is none of, or not for
            unpaired items.
    """
    method = method_of(interval)
    if interval != "t" and not paired:
        raise ValueError(f"interval was {interval!r} for unpaired items; expected 't'.")
    confidence = checked_confidence(confidence)
    sides = checked_values(shifted), checked_values(base)
    if paired and sides[0].size != sides[1].size:
        raise ValueError(
            f"shifted had {sides[0].size} values and base {sides[1].size}; expected one of each per item, or paired=False."
        )
    if clusters is not None and not paired:
        raise ValueError("clusters were given for unpaired items; expected them for paired ones.")
    groups = cluster_numbers(clusters, sides[0].size)
    tails = _tails(*sides, paired, groups)
    if interval != "t":
        tails = replace(tails, tested=method.tested(*sides, groups, seed))
    base_mean = tails.base.mean
    if not base_mean > 0:
        raise ValueError(f"base had the mean {base_mean:g}; expected one above 0, since a ratio to it would say nothing.")
    by = "" if interval == "t" else f", {interval.replace('_', ' ')}"
    called = f"fieller{by}" if paired else "fieller, unpaired"
    n = sides[0].size if groups is None else int(groups.max()) + 1
    return infer(
        tails,
        confidence,
        estimate=tails.shifted / base_mean,
        method=called if groups is None else f"clustered {called}",
        n=n,
        is_symmetric=interval == "t" and paired,
        is_resampled=method.draws,
    )


def items_needed_ratio(ratio: Inference, threshold: float, *, power: float = 0.8) -> int | None:
    """The number of items that would decide the ratio with this power, if the estimates were the truth; None if no number would.

    The plan is :func:`items_needed_mean` of ``shifted - threshold * base``. Unpaired data sets are taken to grow alike.

    Raises:
        ValueError: not a result of :func:`ratio_of_means`, or a number out of range.
    """
    tails = ratio._tails
    if not isinstance(tails, RatioTails):
        raise ValueError("the inference is not a ratio's; expected a result of ratio_of_means.")
    spread = tails.standard_error(threshold)[0] * math.sqrt(ratio.n)
    distance = tails.shifted - threshold * tails.base.mean
    return items_needed_mean(distance, spread, 0.0, confidence=ratio.confidence, power=power)


@dataclass(frozen=True, eq=False)
class RatioTails:
    """Bounds at any confidence, and the p-values that they invert.

    Attributes:
        shifted: the mean of ``shifted``.
        base: the t test of the mean of ``base``.
        standard_error: r -> (standard error of the mean of shifted - r * base, degrees of freedom).
        tested: r -> the test of the mean of shifted - r * base, if that is not the t test.
    """

    shifted: float
    base: StudentTails
    standard_error: Callable[[float], tuple[float, float]]
    tested: Callable[[float], Tails] | None = None

    def p_at_least(self, threshold: float) -> float:
        return max(self._test(threshold, 1), self.base.p_at_least(0))

    def p_at_most(self, threshold: float) -> float:
        return max(self._test(threshold, -1), self.base.p_at_least(0))

    def low(self, confidence: float) -> float:
        return self._bound(confidence, 1)

    def high(self, confidence: float) -> float:
        return self._bound(confidence, -1)

    def _test(self, ratio: float, side: int) -> float:
        """P-value of the claim that mean(shifted) - ratio * mean(base) is positive (side 1) or negative (side -1)."""
        if math.isinf(ratio):
            return 1.0 if ratio * side > 0 else self.base.p_at_least(0)
        if self.tested is not None:
            found = self.tested(ratio)
            return found.p_at_least(0.0) if side > 0 else found.p_at_most(0.0)
        error, degrees = self.standard_error(ratio)
        distance = side * (self.shifted - ratio * self.base.mean)
        if error == 0:
            return 0.0 if distance >= 0 else 1.0
        # scipy.stats.t.sf without its checks of arguments, since a bound needs dozens of p-values.
        return float(special.stdtr(degrees, -distance / error))

    def _bound(self, confidence: float, side: int) -> float:
        alpha = 1 - confidence
        unbounded = -side * math.inf
        if self.base.p_at_least(0) >= alpha:
            return unbounded
        inner = self.shifted / self.base.mean
        if self._test(inner, side) <= alpha:  # no spread at all, or a confidence of one half
            return inner
        step = max(abs(inner), 1.0) / 64
        for _ in range(_MOST_DOUBLINGS):
            outer = inner - side * step
            if self._test(outer, side) <= alpha:
                return float(optimize.brentq(lambda ratio: self._test(ratio, side) - alpha, outer, inner, xtol=1e-13))
            inner, step = outer, 2 * step
        return unbounded


def _tails(shifted: FloatArray, base: FloatArray, paired: bool, groups: Clusters | None) -> RatioTails:
    (mean, rises), (base_mean, base_rises) = (mean_and_deviations(side, groups) for side in (shifted, base))

    def of_mean(deviations: FloatArray) -> float:
        return root_mean_square(deviations) / math.sqrt(deviations.size - 1)

    own, of_base = of_mean(rises), of_mean(base_rises)

    def paired_error(ratio: float) -> tuple[float, float]:
        return of_mean(rises - ratio * base_rises), rises.size - 1

    def welch_error(ratio: float) -> tuple[float, float]:
        a, b = own**2, (ratio * of_base) ** 2
        weight = a**2 / (rises.size - 1) + b**2 / (base_rises.size - 1)
        return math.sqrt(a + b), (a + b) ** 2 / weight if weight else min(rises.size, base_rises.size) - 1

    return RatioTails(mean, StudentTails(base_mean, of_base, base_rises.size - 1), paired_error if paired else welch_error)
