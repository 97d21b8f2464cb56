"""Bounds of the mean of skewed values: Hall's transformed t (Hall 1992), and how far skewness puts Student's t out.

For values of skewness g, ``t = (mean - m) / standard_error`` is not Student's: to the order ``1 / sqrt(n)``, with z the normal
quantile of the confidence, one bound is wrong more often than stated by what the other is wrong less (Hall 1992, The Bootstrap
and Edgeworth Expansion, section 2.6)::

    P(t > z) = alpha - g (2 z^2 + 1) phi(z) / (6 sqrt(n)),    P(t < -z) = alpha + the same

With ``d = (mean - m) / s``, s the sample standard deviation and g the skewness of the sample, this function of m has that error
taken out, and it falls as m grows, so that it can be inverted::

    h(m) = sqrt(n) (d + g d^2 / 3 + g^2 d^3 / 27 + g / (6 n)) = sqrt(n) (((1 + g d / 3)^3 - 1) / g + g / (6 n))

(Hall 1992, On the removal of skewness by transformation, J. R. Stat. Soc. B 54.) It is compared with Student's quantiles.
"""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ._arguments import FloatArray, checked_confidence, checked_values
from .intervals import (
    Inference,
    Mirrored,
    StudentTails,
    Tails,
    cluster_numbers,
    infer,
    mean_and_deviations,
    root_mean_square,
)

# Below it the cubic is a straight line in double precision, and its inverse divides by the skewness.
_NO_SKEWNESS = 1e-6


def mean_transformed_t(
    values: npt.ArrayLike, *, confidence: float = 0.95, clusters: Iterable[Hashable] | None = None
) -> Inference:
    """Bounds of a mean by Hall's transformed t: wider than :func:`mean_t` on the side of the long tail, narrower on the other.

    Args:
        values: one number per item, shape (items,).
        confidence: of each bound by itself.
        clusters: one label per value, where items are related; see :func:`mean_t`. The skewness is then that of the clusters.

    The skewness of a few values is itself poorly known, so the error is reduced and not gone: docs/verdicts.md has the rates. A
    bound never lies on the far side of the mean. Equal values give [mean, mean].

    Raises:
        ValueError: fewer than 2 values or clusters, a NaN or an infinity (with its index), a wrong shape.
    """
    confidence = checked_confidence(confidence)
    items = checked_values(values)
    mean, deviations = mean_and_deviations(items, cluster_numbers(clusters, items.size))
    n, spread = deviations.size, root_mean_square(deviations)
    standard_deviation = spread * math.sqrt(n / (n - 1))
    tails: Tails = StudentTails(mean, 0.0, n - 1)
    if spread:
        tails = TransformedTails(mean, standard_deviation, skewness_of(deviations), n)
    method = "transformed t" if clusters is None else "clustered transformed t"
    return infer(tails, confidence, estimate=mean, method=method, n=n, standard_deviation=standard_deviation)


def skewness_of(deviations: FloatArray) -> float:
    """The third moment of deviations from the mean in units of the second (divisor n); 0 for equal values."""
    spread = root_mean_square(deviations)
    return float(np.mean((deviations / spread) ** 3)) if spread else 0.0


def error_rate_of_t(skewness: float, n: int, confidence: float) -> float:
    """How often the lower bound of t exceeds the mean of values of this skewness, to the order ``1 / sqrt(n)``.

    For the upper bound give minus the skewness.
    """
    z = float(stats.norm.ppf(confidence))
    rate = 1 - confidence - skewness * (2 * z**2 + 1) * float(stats.norm.pdf(z)) / (6 * math.sqrt(n))
    return min(max(rate, 0.0), 1.0)


def is_clearly_skewed(skewness: float, n: int) -> bool:
    """Whether n normal values have a skewness that far from 0 in less than some 10 % of cases: 1.645 standard errors.

    The standard error is ``sqrt(6 n (n - 1) / ((n - 2) (n + 1) (n + 3)))`` (Fisher 1930), of the skewness with divisors n - 1, n - 2.
    """
    if n < 3:
        return False
    unbiased = skewness * math.sqrt(n * (n - 1)) / (n - 2)
    return abs(unbiased) > 1.645 * math.sqrt(6 * n * (n - 1) / ((n - 2) * (n + 1) * (n + 3)))


@dataclass(frozen=True)
class TransformedTails(Mirrored):
    """Bounds and p-values of the transformed t test of a mean."""

    mean: float
    standard_deviation: float
    skewness: float
    n: int

    def low(self, confidence: float) -> float:
        at = float(stats.t.ppf(confidence, self.n - 1)) / math.sqrt(self.n) - self.skewness / (6 * self.n)
        if abs(self.skewness) > _NO_SKEWNESS:
            at = 3 * (float(np.cbrt(1 + self.skewness * at)) - 1) / self.skewness
        return self.mean - self.standard_deviation * max(at, 0.0)

    def p_at_least(self, threshold: float) -> float:
        if math.isinf(threshold):
            return 0.0 if threshold < 0 else 1.0
        d, g = (self.mean - threshold) / self.standard_deviation, self.skewness
        transformed = d + g * d**2 / 3 + g**2 * d**3 / 27 + g / (6 * self.n)
        p_value = float(stats.t.sf(math.sqrt(self.n) * transformed, self.n - 1))
        return p_value if threshold <= self.mean else max(p_value, 0.5)

    def negated(self) -> "TransformedTails":
        return TransformedTails(-self.mean, self.standard_deviation, -self.skewness, self.n)
