"""An inference (an estimate with two bounds), and two ways to make one: Student's t for a mean, Clopper-Pearson for a share."""

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..core.evidence import Direction, Verdict
from ._arguments import (
    FloatArray,
    checked_clusters,
    checked_confidence,
    checked_count,
    checked_outcomes,
    checked_threshold,
    checked_values,
)

Clusters = npt.NDArray[np.intp]


class Tails(Protocol):
    """Bounds at any confidence and their inverse, the p-values: the level at which a bound would just reach a threshold."""

    def low(self, confidence: float) -> float: ...

    def high(self, confidence: float) -> float: ...

    def p_at_least(self, threshold: float) -> float: ...

    def p_at_most(self, threshold: float) -> float: ...


class Mirrored(Tails, Protocol):
    """Tails of which the lower side is written out. The upper bound is minus the lower bound of the negated values."""

    def negated(self) -> Tails: ...

    def high(self, confidence: float) -> float:
        return -self.negated().low(confidence)

    def p_at_most(self, threshold: float) -> float:
        return self.negated().p_at_least(-threshold)


@dataclass(frozen=True, kw_only=True)
class Inference:
    """An estimate with a lower and an upper bound, each one-sided.

    Attributes:
        estimate: the mean or the share that was seen.
        low: at most the truth, with a probability of at least ``confidence``.
        high: at least the truth, with a probability of at least ``confidence``. Both bounds hold at once with a
            probability of at least ``2 * confidence - 1``.
        confidence: of each bound, in [0.5, 1).
        method: ``"t"``, ``"transformed t"``, ``"bootstrap"``, ``"clopper-pearson"``, ``"fieller"`` (also ``"fieller, unpaired"``,
            ``"fieller, transformed t"``, ``"fieller, bootstrap"``), ``"sequential binomial"``, ``"sequential t"``, ``"paired exact"`` or
            ``"order statistics"``; all but the unpaired, the sequential and the paired ones also as ``"clustered ..."``.
        n: number of independent units: clusters where there are clusters, else items.
        standard_deviation: of one independent unit, so that the standard error is ``standard_deviation / sqrt(n)``;
            None for a share or a ratio. :func:`items_needed_mean` takes it.
        is_exact: whether the bounds hold for any number of units, as those of a share do.

    Two inferences are equal, and hash alike, when these seven are the same. An inference of a mean or a share can be pickled.
    """

    estimate: float
    low: float
    high: float
    confidence: float
    method: str
    n: int
    standard_deviation: float | None
    _tails: Tails = field(repr=False, compare=False)
    is_exact: bool = field(default=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        checked_confidence(self.confidence)
        if math.isnan(self.estimate) or not self.low <= self.high:
            raise ValueError(
                f"estimate was {self.estimate} with bounds {self.low} and {self.high}; expected numbers, the lower "
                "bound first. With a NaN every claim would be inconclusive, and the error would stay hidden."
            )

    def p_at_least(self, threshold: float) -> float:
        """One-sided p-value of the null hypothesis "truth < threshold": small means "truth >= threshold" is proven.

        ``low >= threshold`` exactly when ``p_at_least(threshold) <= 1 - confidence``.
        """
        threshold = checked_threshold(threshold)
        return self._on_side_of_bound(self._tails.p_at_least(threshold), self.low >= threshold)

    def p_at_most(self, threshold: float) -> float:
        """One-sided p-value of the null hypothesis "truth > threshold": small means "truth <= threshold" is proven.

        ``high <= threshold`` exactly when ``p_at_most(threshold) <= 1 - confidence``.
        """
        threshold = checked_threshold(threshold)
        return self._on_side_of_bound(self._tails.p_at_most(threshold), self.high <= threshold)

    def _on_side_of_bound(self, p_value: float, proven: bool) -> float:
        # Bound and p-value are computed separately, so for a threshold on the bound itself they can disagree in the
        # last digit. The verdict follows the bound, and the p-value is moved to the same side.
        alpha = 1 - self.confidence
        return min(p_value, alpha) if proven else max(p_value, math.nextafter(alpha, 1))


def infer(
    tails: Tails,
    confidence: float,
    *,
    estimate: float,
    method: str,
    n: int,
    standard_deviation: float | None = None,
    is_exact: bool = False,
) -> Inference:
    """The inference whose bounds at ``confidence`` and p-values come from ``tails``."""
    return Inference(
        estimate=estimate,
        low=tails.low(confidence),
        high=tails.high(confidence),
        confidence=confidence,
        method=method,
        n=n,
        standard_deviation=standard_deviation,
        _tails=tails,
        is_exact=is_exact,
    )


def derived(found: Inference, tails: Tails, **changes: Any) -> Inference:
    """The inference whose bounds and p-values come from ``tails``; all else is that of ``found``, except for the changes."""
    level = found.confidence
    return replace(found, low=tails.low(level), high=tails.high(level), _tails=tails, **changes)


def mean_t(values: npt.ArrayLike, *, confidence: float = 0.95, clusters: Iterable[Hashable] | None = None) -> Inference:
    """Bounds of a mean by Student's t: ``mean -+ t(confidence, n - 1) * standard_error``.

    Args:
        values: one number per item, shape (items,). For a paired comparison, the differences.
        confidence: of each bound by itself.
        clusters: one label per value, where items are related (variants of one prompt, one subject's questions).

    Without clusters, ``standard_error = s / sqrt(n)``, with s the sample standard deviation (divisor n - 1). Exact
    for normal values; for others it relies on the central limit theorem. Skewed values need more items: with 20
    exponential ones the bound towards the long tail is wrong in 11 % of cases at a confidence of 0.95, the other in 2 %.

    With clusters, the standard error assumes that clusters are independent, not items, and G clusters have G - 1
    degrees of freedom. The mean is still the mean over items. Miller (2024, arXiv 2411.00640, appendix A)
    gives, for N items::

        standard_error^2 = sum over clusters c of (sum over i in c of (x_i - mean))^2 / N^2

    which is right for many clusters, and too small for few or where one is much larger than the others. So we use
    its jackknife form (CR3: Bell & McCaffrey 2002; MacKinnon, Nielsen & Webb 2023), which leaves out one cluster of
    N_c items at a time and has the same limit::

        standard_error^2 = (G - 1) / G * sum over clusters c of (mean without c - mean)^2
                         = (G - 1) / G * sum over clusters c of (sum over i in c of (x_i - mean))^2 / (N - N_c)^2

    For clusters of one size it is Miller's times G / (G - 1), and the interval is the t interval over cluster means;
    for clusters of one item it is the plain t interval. False passes at a confidence of 0.95, for perfectly related
    items: 5 clusters of one size, 5 % (Miller's formula 6.5 %); clusters of 2, 5, 8, 10, 20 and 30 items, 7 % (11 %);
    one cluster of 20 items and four of 1, 8 % (38 %).

    If all values are equal, the standard error is 0 and the interval is [mean, mean]. That is what a t interval says,
    but from few items it is little evidence.

    Raises:
        ValueError: fewer than 2 values or clusters, a NaN or an infinity (with its index), a wrong shape.
    """
    confidence = checked_confidence(confidence)
    items = checked_values(values)
    mean, deviations = mean_and_deviations(items, cluster_numbers(clusters, items.size))
    method, n = "t" if clusters is None else "clustered t", deviations.size
    standard_deviation = root_mean_square(deviations) * math.sqrt(n / (n - 1))
    standard_error = standard_deviation / math.sqrt(n)
    tails = StudentTails(mean, standard_error, n - 1)
    return infer(tails, confidence, estimate=mean, method=method, n=n, standard_deviation=standard_deviation)


def share(successes: int, n: int, *, confidence: float = 0.95) -> Inference:
    """Exact one-sided bounds of a share (Clopper & Pearson 1934): whatever the truth, they are never too narrow.

    ``low`` is the share at which as many successes or more have probability ``alpha = 1 - confidence``, and ``high``
    the share at which as many or fewer have it; in terms of quantiles of the beta distribution::

        low  = Beta(alpha; k, n - k + 1)            0 if k = 0
        high = Beta(1 - alpha; k + 1, n - k)        1 if k = n

    Example: 0 anti-steerable items of 24 give ``high = 1 - 0.05 ** (1 / 24) = 0.117``.

    Raises:
        ValueError: counts that are not whole numbers, no items, more successes than items.
    """
    confidence = checked_confidence(confidence)
    n = checked_count(n, "n", least=1)
    successes = checked_count(successes, "successes", least=0)
    if successes > n:
        raise ValueError(f"successes was {successes} of n = {n}; expected no more successes than items.")
    tails = BinomialTails(successes, n - successes)
    return infer(tails, confidence, estimate=successes / n, method="clopper-pearson", n=n, is_exact=True)


def share_of_clusters(outcomes: npt.ArrayLike, clusters: Iterable[Hashable], *, confidence: float = 0.95) -> Inference:
    """Bounds of a share of items that are related within clusters: those of :func:`share`, for as many units as are independent at least.

    Args:
        outcomes: True or False per item, shape (items,).
        clusters: one label per item.

    The estimate p is the share of items. If the items of each cluster were copies of one another, N items in clusters of N_c
    would have the variance of ``m = N^2 / sum of N_c^2`` independent ones (Kish 1965), which is the number of clusters if they
    are of one size. The bounds are those of ``p m`` successes of m, which need not be whole numbers, in terms of the beta
    distribution. For copies and clusters of one size they are exact; the less items are related, the wider than necessary.
    A t interval over the clusters' shares has width 0 if no item of any cluster is a success, which proves nothing.

    Raises:
        ValueError: fewer than 2 clusters, labels of another number, outcomes that are not True or False.
    """
    confidence = checked_confidence(confidence)
    n, successes = checked_outcomes(outcomes)
    cluster_of_item, count = checked_clusters(clusters, n)
    independent = n**2 / float(np.sum(np.bincount(cluster_of_item) ** 2.0))
    tails = ClusteredBinomialTails(successes / n * independent, (n - successes) / n * independent)
    return infer(tails, confidence, estimate=successes / n, method="clustered clopper-pearson", n=count, is_exact=True)


@dataclass(frozen=True)
class StudentTails(Mirrored):
    """Bounds and p-values of the t test of a mean."""

    mean: float
    standard_error: float
    degrees_of_freedom: int

    def low(self, confidence: float) -> float:
        return self.mean - float(stats.t.ppf(confidence, self.degrees_of_freedom)) * self.standard_error

    def p_at_least(self, threshold: float) -> float:
        if self.standard_error == 0:
            return 0.0 if self.mean >= threshold else 1.0
        return float(stats.t.sf((self.mean - threshold) / self.standard_error, self.degrees_of_freedom))

    def negated(self) -> "StudentTails":
        return StudentTails(-self.mean, self.standard_error, self.degrees_of_freedom)


@dataclass(frozen=True)
class ClusteredBinomialTails:
    """Bounds and p-values of a share by the beta distribution, for numbers of successes and failures that need not be whole."""

    successes: float
    failures: float

    def low(self, confidence: float) -> float:
        return float(stats.beta.ppf(1 - confidence, self.successes, self.failures + 1)) if self.successes else 0.0

    def high(self, confidence: float) -> float:
        return float(stats.beta.isf(1 - confidence, self.successes + 1, self.failures)) if self.failures else 1.0

    def p_at_least(self, threshold: float) -> float:
        if threshold <= 0 or not self.successes:
            return 0.0 if threshold <= 0 else 1.0
        return float(stats.beta.cdf(threshold, self.successes, self.failures + 1))

    def p_at_most(self, threshold: float) -> float:
        return ClusteredBinomialTails(self.failures, self.successes).p_at_least(1 - threshold)


def cluster_numbers(clusters: Iterable[Hashable] | None, items: int) -> Clusters | None:
    """The cluster of each item as a number from 0 on, shape (items,); None without clusters."""
    return None if clusters is None else checked_clusters(clusters, items)[0]


@dataclass(frozen=True)
class BinomialTails(ClusteredBinomialTails):
    """Bounds and p-values of the exact binomial test of a share, for whole numbers."""

    successes: int
    failures: int

    def p_at_least(self, threshold: float) -> float:
        # A share is at least 0 by definition, so there is nothing to prove, and it never exceeds 1.
        n = self.successes + self.failures
        return 0.0 if threshold <= 0 else float(stats.binom.sf(self.successes - 1, n, min(threshold, 1)))

    def p_at_most(self, threshold: float) -> float:
        n = self.successes + self.failures
        return 0.0 if threshold >= 1 else float(stats.binom.cdf(self.successes, n, max(threshold, 0)))


def mean_and_deviations(items: FloatArray, clusters: Clusters | None = None) -> tuple[float, FloatArray]:
    """The mean over items, and the deviation of each independent unit from it. Equal values have deviations of exactly 0."""
    if items.min() == items.max():
        # In floating point the mean of 0.1, 0.1 and 0.1 is not 0.1, which would leave a spread of rounding errors.
        mean, deviations = float(items[0]), np.zeros_like(items)
    else:
        mean = float(items.mean())
        deviations = items - mean
    return mean, deviations if clusters is None else deviations_of_clusters(deviations, clusters)


def deviations_of_clusters(deviations: FloatArray, cluster_of_item: Clusters) -> FloatArray:
    """One deviation per cluster c of G, shape (G,): (G - 1) * (mean - mean without c).

    The formula of :func:`mean_t` for clusters is then the plain one, over clusters instead of items. For a cluster of one
    item it is the item's deviation.
    """
    sums = np.bincount(cluster_of_item, weights=deviations)
    items_outside = deviations.size - np.bincount(cluster_of_item)
    return ((sums.size - 1) * sums / items_outside).astype(np.float64)


def one_per_cluster(values: FloatArray, clusters: Sequence[int] | None) -> FloatArray:
    """[n_clusters] the mean of each cluster's values, in the order of their numbers; the values themselves without clusters."""
    if clusters is None:
        return values
    place = np.unique(np.asarray(clusters), return_inverse=True)[1]
    means: FloatArray = np.bincount(place, weights=values) / np.bincount(place)
    return means


def root_mean_square(deviations: FloatArray) -> float:
    """``sqrt(mean(deviations ** 2))``, scaled first so that the squares of tiny deviations do not underflow."""
    largest = float(np.abs(deviations).max())
    return largest * math.sqrt(float(np.mean((deviations / largest) ** 2))) if largest else 0.0


def judge(inference: Inference, threshold: float, direction: Direction) -> Verdict:
    """Judge the claim that the truth is at least, or at most, the threshold.

    ========  ====================  ====================  ==============
    claim     pass                  fail                  inconclusive
    ========  ====================  ====================  ==============
    at least  ``low >= threshold``  ``high < threshold``  otherwise
    at most   ``high <= threshold`` ``low > threshold``   otherwise
    ========  ====================  ====================  ==============

    Both sides need proof: a claim that does not hold passes with a probability of at most ``1 - confidence``, and a
    claim that holds fails with at most the same probability.

    Raises:
        ValueError: the threshold is NaN, or the direction is unknown.
    """
    threshold = checked_threshold(threshold)
    if Direction(direction) is Direction.AT_LEAST:
        proven, refuted = inference.low >= threshold, inference.high < threshold
    else:
        proven, refuted = inference.high <= threshold, inference.low > threshold
    if proven:
        return Verdict.PASS
    return Verdict.FAIL if refuted else Verdict.INCONCLUSIVE
