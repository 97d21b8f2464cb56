"""How many items would decide a claim, for the message of an inconclusive verdict.

Both functions treat the estimate as the truth, so the number is a plan and not a promise. The items must be new ones:
adding items until a claim passes is a sequential test, and the interval would lose its confidence.
"""

import bisect
import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..core.evidence import Direction
from ._arguments import FloatArray, checked_confidence, checked_finite, checked_number, checked_power, checked_probability
from .paired import paired_share_difference

MOST_ITEMS_FOR_A_MEAN = 10_000_000
MOST_ITEMS_FOR_A_SHARE = 1_000_000
MOST_ITEMS_FOR_A_DIFFERENCE = 100_000


def items_needed_mean(
    estimate: float,
    standard_deviation: float,
    threshold: float,
    *,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """The number of items with which :func:`mean_t` would decide the claim with this power, if the estimate were the truth.

    The claim is decided when it passes or fails, depending on which side of the threshold the estimate lies.
    ``estimate`` and ``standard_deviation`` are those of an :class:`Inference`; with clusters the answer counts clusters.

    The t statistic of n normal values has the noncentral t distribution with n - 1 degrees of freedom and
    noncentrality ``|estimate - threshold| * sqrt(n) / standard_deviation``. The answer is the smallest n (at least 2)
    at which it exceeds ``t(confidence, n - 1)`` with this power. Every larger n has the power too.

    Returns:
        None if the estimate lies on the threshold, where no number decides, or if more than 10 million are needed.

    Raises:
        ValueError: a number that is not finite, a negative standard deviation, a confidence or power out of range.
    """
    distance = abs(checked_finite(estimate, "estimate") - checked_finite(threshold, "threshold"))
    standard_deviation = checked_number(
        standard_deviation, "standard_deviation", lambda number: 0 <= number < math.inf, "a finite number of 0 or more"
    )
    confidence, power = checked_confidence(confidence), checked_power(power)
    if distance == 0:
        return None
    effect = distance / standard_deviation if standard_deviation else math.inf

    def enough(n: int) -> bool:
        return _power_of_t(effect, n, confidence) >= power

    return first_enough(enough, 2, MOST_ITEMS_FOR_A_MEAN)


def first_enough(enough: Callable[[int], bool], least: int, most: int) -> int | None:
    """The smallest number from ``least`` on that is enough, where all larger ones are too; None if it exceeds ``most``."""
    low, high = least - 1, least
    while not enough(high):
        if high >= most:
            return None
        low, high = high, min(2 * high, most)
    return bisect.bisect_left(range(high), True, lo=low + 1, key=enough)


def items_needed_share(
    share: float, threshold: float, *, direction: Direction, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """The number of items with which :func:`share` would decide the claim with this power, if ``share`` were the truth.

    The claim is decided when it passes or fails, depending on which side of the threshold the share lies. The binomial
    probabilities are exact. With ``c(n)`` the largest number of successes that still proves a share below the threshold,
    ``P(X <= c(n) | n, threshold) <= 1 - confidence``, the power is ``P(X <= c(n) | n, share)``. For a share above its
    threshold, the same holds for failures.

    The answer is the **smallest** n with this power. Larger ones may lack it: the power is a sawtooth that falls while
    ``c(n)`` stays and jumps where it steps up. Truth .05 under .20: 30 items have a power of .81, 31 have .799, 36
    have .73, and from 37 on all have .8 or more. So take the number itself, or clearly more.

    Examples (confidence .95, power .8): truth .02 under .10 needs 61; .05 under .20, 30; .10 under .20, 82; .03 under
    .05, 601.

    Returns:
        None if the share lies on the threshold, where no number decides, or if more than 1 million are needed.

    Raises:
        ValueError: a share or threshold outside [0, 1], a confidence or power out of range, an unknown direction.
    """
    share, threshold = checked_probability(share, "share"), checked_probability(threshold, "threshold")
    confidence, power = checked_confidence(confidence), checked_power(power)
    at_least = Direction(direction) is Direction.AT_LEAST
    if share == threshold:
        return None
    if threshold == (0 if at_least else 1):
        return 1  # true for every share: with any first item the bound is on the good side
    # For a fail the bound must lie strictly past the threshold; for a pass it may lie on it (see `judge`).
    strictly = (share < threshold) == at_least
    if share > threshold:
        share, threshold = 1 - share, 1 - threshold
    alpha = 1 - confidence

    # The exact power is a sawtooth, so it cannot be bisected. The power of the randomised test, which uses alpha up, can
    # be: it never falls as items are added, since that test is the most powerful one and may ignore an item. It is never
    # below the exact power, so the answer cannot be smaller than the first n at which it suffices.
    def randomised_suffices(n: int) -> bool:
        _exact, randomised = _powers_of_binomial(np.array([n]), share, threshold, alpha, strictly)
        return bool(randomised[0] >= power - 1e-9)

    start = bisect.bisect_left(range(MOST_ITEMS_FOR_A_SHARE), True, lo=1, key=randomised_suffices)
    # From there the answer, if there is one, is a few teeth away. A tooth is some 1 / threshold items long.
    length = 64
    while start <= MOST_ITEMS_FOR_A_SHARE:
        n = np.arange(start, min(start + length, MOST_ITEMS_FOR_A_SHARE + 1))
        exact, _randomised = _powers_of_binomial(n, share, threshold, alpha, strictly)
        enough = np.flatnonzero(exact >= power)
        if enough.size:
            return int(n[enough[0]])
        start, length = start + length, 2 * length
    return None


def items_needed_paired(
    losses: int, gains: int, n: int, threshold: float, *, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """About how many items :func:`paired_share_difference` needs to decide the claim, if the shares seen were the truth.

    The larger of two numbers. The first is that of :func:`items_needed_mean` for the differences (1, -1 and 0), which has the power. The
    second is the smallest n at which the exact bound decides for the expected counts. It is the larger one where few items changed.

    Returns:
        None if the estimate lies on the threshold, or if more than 100 thousand are needed.

    Raises:
        ValueError: see :func:`paired_share_difference` and :func:`items_needed_mean`.
    """
    estimate = (losses - gains) / n
    deviation = math.sqrt(max(0.0, (losses + gains) / n - estimate**2))
    start = items_needed_mean(estimate, deviation, threshold, confidence=confidence, power=power)
    if start is None:
        return None

    def decides(count: int) -> bool:
        lost, gained = round(losses / n * count), round(gains / n * count)
        found = paired_share_difference(lost, min(gained, count - lost), count, confidence=confidence)
        return found.high <= threshold if estimate < threshold else found.low > threshold

    return first_enough(decides, start, MOST_ITEMS_FOR_A_DIFFERENCE)


def _power_of_t(effect: float, n: int, confidence: float) -> float:
    """The probability that the t statistic of n values exceeds its critical value, for an effect in standard deviations."""
    critical = float(stats.t.ppf(confidence, n - 1))
    noncentrality = effect * math.sqrt(n)
    if noncentrality < 1e4:
        return float(stats.nct.sf(critical, n - 1, noncentrality))
    # Above that, scipy's series does not converge. The mean is then as good as fixed, and only the sample standard
    # deviation varies: critical < noncentrality / (chi / sqrt(n - 1)). The error is of the order of 1e-8.
    if critical == 0:
        return 1.0
    return float(stats.chi2.cdf((n - 1) * (noncentrality / critical) ** 2, n - 1))


def _powers_of_binomial(
    n: npt.NDArray[np.int_], share: float, threshold: float, alpha: float, strictly: bool
) -> tuple[FloatArray, FloatArray]:
    """The power to prove ``share < threshold`` with n items, of the exact test and of the test randomised to use alpha up."""
    # The quantile is the first count whose probability reaches alpha. The count before it is the critical one, unless
    # alpha is reached exactly, which only a strict bound forbids.
    critical = stats.binom.ppf(alpha, n, threshold)
    at_quantile = stats.binom.cdf(critical, n, threshold)
    critical -= at_quantile >= alpha if strictly else at_quantile > alpha
    exact = stats.binom.cdf(critical, n, share)
    spare = alpha - stats.binom.cdf(critical, n, threshold)
    next_count = critical + 1
    chance = np.clip(spare / stats.binom.pmf(next_count, n, threshold), 0, 1)
    return exact, exact + chance * stats.binom.pmf(next_count, n, share)
