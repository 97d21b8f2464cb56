"""An inference (an estimate with two bounds), and ways to make one: Student's t, the bootstrap and Hall's t for a mean, Clopper-Pearson for a share."""

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

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
        is_symmetric: whether they take the values to be spread alike on both sides, as Student's t does.
        is_resampled: whether they come from thousands of samples of the values.

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
    is_symmetric: bool = field(default=False, repr=False, compare=False)
    is_resampled: bool = field(default=False, repr=False, compare=False)

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
    is_symmetric: bool = False,
    is_resampled: bool = False,
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
        is_symmetric=is_symmetric,
        is_resampled=is_resampled,
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
    return infer(
        tails, confidence, estimate=mean, method=method, n=n, standard_deviation=standard_deviation, is_symmetric=True
    )


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


# --- the bootstrap ---

# Values drawn at once: 8 MB of indices and 8 MB of values, whatever the number of items.
_DRAWN_AT_ONCE = 2**20

RESAMPLES = 10_000
"""How many times items are drawn again."""

# With fewer resampled means than this beyond it, a quantile is mostly noise of the resampling.
_RESAMPLES_BEYOND_BOUND = 10


def mean_bootstrap(
    values: npt.ArrayLike,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    clusters: Iterable[Hashable] | None = None,
) -> Inference:
    """BCa bounds of the mean over items (bias-corrected and accelerated, Efron 1987); the same seed gives the same bounds.

    Args:
        values: one number per item, shape (items,), resampled whole: the items must be independent.
        confidence: of each bound by itself.
        seed: of numpy's default generator.
        clusters: one label per value, where items are related. Then clusters are resampled whole, and the acceleration is that
            of the jackknife over clusters; the mean is still that over items.
        resamples: at least ``10 / (1 - confidence)``, so that ten or so lie beyond each bound.

    BCa reads the bounds off the sorted means of resampled items, at levels that are shifted for bias and skewness::

        level(alpha) = Phi(z0 + w),   w = (z0 + z) / (1 - a (z0 + z)),   z = Phi^-1(alpha)

        z0 = Phi^-1(share of the resampled means below the mean, ties counted half)                    bias
        a  = sum (x_i - mean)^3 / (6 (sum (x_i - mean)^2)^(3/2))                                       acceleration

    The acceleration of a mean is known in closed form: leaving out item i moves the mean by (x_i - mean) / (n - 1), so
    this is the jackknife formula of Efron & Tibshirani (1993, eq. 14.15).

    It follows skewed values better than :func:`mean_t` does, but it is only proven for large samples. At a confidence of
    0.95 each bound is wrong in some 8 % of samples of 10 normal values. For 20 exponential values it is 6 %, and 8 % on
    the side of the long tail. With fewer than 20 items use :func:`mean_t`. Equal values give [mean, mean], as there.

    A bound never lies outside the values. P-values are never below ``1 / (resamples + 1)``, the least that so many
    resamples can show.

    Raises:
        ValueError: fewer than 2 values, a NaN or an infinity (with its index), a wrong shape, too few resamples.
    """
    confidence = checked_confidence(confidence)
    items = checked_values(values)
    seed = checked_count(seed, "seed", least=0)
    resamples = checked_count(resamples, "resamples", least=1)
    needed = math.ceil(_RESAMPLES_BEYOND_BOUND / (1 - confidence))
    if resamples < needed:
        raise ValueError(
            f"resamples was {resamples}; expected at least {needed} for a confidence of {confidence:g}, so that "
            f"{_RESAMPLES_BEYOND_BOUND} of them lie beyond the bound. Raise resamples or lower the confidence."
        )
    numbers = cluster_numbers(clusters, items.size)
    mean, deviations = mean_and_deviations(items, numbers)
    n, spread = deviations.size, root_mean_square(deviations)
    tails: Tails = StudentTails(mean, 0.0, n - 1)
    if spread:
        tails = bootstrap_tails(resampled_means(items, numbers, seed, resamples), mean, deviations / spread, items)
    standard_deviation = spread * math.sqrt(n / (n - 1))
    method = "bootstrap" if clusters is None else "clustered bootstrap"
    return infer(
        tails, confidence, estimate=mean, method=method, n=n, standard_deviation=standard_deviation, is_resampled=True
    )


@dataclass(frozen=True, eq=False)
class BootstrapTails(Mirrored):
    """Bounds of BCa at any confidence, and the p-values that are their inverse in closed form."""

    means: FloatArray  # sorted, shape (resamples,)
    bias: float
    acceleration: float
    smallest_value: float
    largest_value: float

    def low(self, confidence: float) -> float:
        shifted = self.bias + float(stats.norm.ppf(1 - confidence))
        # shifted < 0 unless the bias is extreme, and 1 - a * shifted reaches 0 only for |shifted| >= 1 / |a| >= 6.
        denominator = 1 - self.acceleration * shifted
        if denominator > 0:
            level = float(stats.norm.cdf(self.bias + shifted / denominator))
        else:
            level = 0.0 if shifted < 0 else 1.0
        rank = math.floor(level * (self.means.size + 1))
        # If the resamples do not reach that level: the least that any number of them could have shown.
        return float(self.means[min(rank, self.means.size) - 1]) if rank >= 1 else self.smallest_value

    def p_at_least(self, threshold: float) -> float:
        least = 1 / (self.means.size + 1)
        below = int(np.searchsorted(self.means, threshold, side="left"))
        if threshold <= self.smallest_value:
            return least
        if below == self.means.size:
            return 1.0
        # low >= threshold where the rank exceeds the number of means below it: at this level and all higher ones.
        w = float(stats.norm.ppf((below + 1) / (self.means.size + 1))) - self.bias
        denominator = 1 + self.acceleration * w
        if denominator <= 0:  # no alpha has this level: all lie above it, or all below
            return least if self.acceleration > 0 else 1.0
        return max(least, float(stats.norm.cdf(w / denominator - self.bias)))

    def negated(self) -> "BootstrapTails":
        # Negation reverses the order of the means and the signs of bias and acceleration.
        return BootstrapTails(-self.means[::-1], -self.bias, -self.acceleration, -self.largest_value, -self.smallest_value)


def bootstrap_tails(resampled: FloatArray, mean: float, standardised: FloatArray, items: FloatArray) -> BootstrapTails:
    """The tails of means of resampled items.

    Args:
        resampled: these means. standardised: the items' deviations from their mean, in units of their spread (divisor n).
    """
    # In floating point the mean of 0.1, 0.1 and 0.1 exceeds 0.1.
    means = np.sort(np.clip(resampled, items.min(), items.max()))
    ties = np.count_nonzero(means == mean)
    # The added half keeps the share off 0 and 1, where the normal quantile is infinite.
    share_below = (np.count_nonzero(means < mean) + ties / 2 + 0.5) / (means.size + 1)
    return BootstrapTails(
        means=means,
        bias=float(stats.norm.ppf(share_below)),
        acceleration=float(np.mean(standardised**3)) / (6 * math.sqrt(standardised.size)),
        smallest_value=float(items.min()),
        largest_value=float(items.max()),
    )


def resampled_means(items: FloatArray, clusters: Clusters | None, seed: int, resamples: int) -> FloatArray:
    """Means of items, or of whole clusters of items, drawn with replacement, shape (resamples,)."""
    sums = items if clusters is None else np.bincount(clusters, weights=items).astype(np.float64)
    sizes = None if clusters is None else np.bincount(clusters)
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    rows = max(1, _DRAWN_AT_ONCE // sums.size)
    for start in range(0, resamples, rows):
        drawn = generator.integers(sums.size, size=(min(rows, resamples - start), sums.size))
        means[start : start + rows] = sums[drawn].mean(axis=1)
        if sizes is not None:
            means[start : start + rows] /= sizes[drawn].mean(axis=1)
    return means


# --- skewed values: Hall's transformed t, and how far skewness puts Student's t out ---

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

    For values of skewness g, ``t = (mean - m) / standard_error`` is not Student's: to the order ``1 / sqrt(n)``, with z the normal
    quantile of the confidence, one bound is wrong more often than stated by what the other is wrong less (Hall 1992, The Bootstrap
    and Edgeworth Expansion, section 2.6)::

        P(t > z) = alpha - g (2 z^2 + 1) phi(z) / (6 sqrt(n)),    P(t < -z) = alpha + the same

    With ``d = (mean - m) / s``, s the sample standard deviation and g the skewness of the sample, this function of m has that error
    taken out, and it falls as m grows, so that it can be inverted::

        h(m) = sqrt(n) (d + g d^2 / 3 + g^2 d^3 / 27 + g / (6 n)) = sqrt(n) (((1 + g d / 3)^3 - 1) / g + g / (6 n))

    (Hall 1992, On the removal of skewness by transformation, J. R. Stat. Soc. B 54.) It is compared with Student's quantiles.

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


# --- the ways to infer a mean, by name ---

IntervalMethod = Literal["t", "bootstrap", "transformed_t"]
"""How the bounds of a mean are made, as claims and claim files name it."""


@dataclass(frozen=True)
class MeanMethod:
    """One way to make the bounds of a mean.

    Attributes:
        about: what it does, as the end of a sentence that its name begins.
        mean: values to their inference; it takes ``confidence`` and ``clusters``, and ``seed`` if it ``draws``.
        test_ratios: its test of the mean of ``shifted - r * base`` for many r, if that is quicker than ``mean`` for each of them.
    """

    about: str
    mean: Callable[..., Inference]
    draws: bool = False
    test_ratios: Callable[[FloatArray, FloatArray, Clusters | None, int], Callable[[float], Tails]] | None = None

    def infer(
        self, values: npt.ArrayLike, *, confidence: float = 0.95, seed: int = 0, clusters: Iterable[Hashable] | None = None
    ) -> Inference:
        drawn = {"seed": seed} if self.draws else {}
        return self.mean(values, confidence=confidence, clusters=clusters, **drawn)

    def tested(
        self, shifted: FloatArray, base: FloatArray, clusters: Clusters | None, seed: int
    ) -> Callable[[float], Tails]:
        """r -> the test of the mean of ``shifted - r * base``."""
        if self.test_ratios is not None:
            return self.test_ratios(shifted, base, clusters, seed)
        return lambda ratio: self.infer(shifted - ratio * base, seed=seed, clusters=clusters)._tails


def method_of(name: str) -> MeanMethod:
    """The way to infer a mean of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in METHODS:
        raise ValueError(f"interval was {name!r}; expected one of {', '.join(METHODS)}.")
    return METHODS[name]


def _bootstrap_ratios(shifted: FloatArray, base: FloatArray, groups: Clusters | None, seed: int) -> Callable[[float], Tails]:
    # One seed draws the same items for both, and they are drawn once for all ratios.
    means, of_base = (resampled_means(own, groups, seed, RESAMPLES) for own in (shifted, base))

    def tested(ratio: float) -> Tails:
        values = shifted - ratio * base
        mean, deviations = mean_and_deviations(values, groups)
        spread = root_mean_square(deviations)
        if not spread:
            return StudentTails(mean, 0.0, deviations.size - 1)
        return bootstrap_tails(means - ratio * of_base, mean, deviations / spread, values)

    return tested


METHODS: dict[str, MeanMethod] = {
    "t": MeanMethod("is Student's interval over the items", mean_t),
    "bootstrap": MeanMethod("resamples them", mean_bootstrap, draws=True, test_ratios=_bootstrap_ratios),
    "transformed_t": MeanMethod("(Hall 1992) allows for skewness", mean_transformed_t),
}
"""Every :data:`IntervalMethod`. A new one is an entry here and a name there."""
