"""How many items would decide a claim: what an inconclusive verdict tells its reader.

Both functions take the estimate for the truth, which it is not: the number is a plan, not a promise. And the items
must be new ones, or the interval no longer has its confidence: adding items until a claim passes is a sequential test.
"""

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..evidence import Direction
from ._arguments import FloatArray, checked_confidence, checked_finite, checked_power, checked_probability

MOST_ITEMS_FOR_A_MEAN = 10_000_000
MOST_ITEMS_FOR_A_SHARE = 1_000_000


def items_needed_mean(
    estimate: float,
    standard_deviation: float,
    threshold: float,
    *,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """Items with which :func:`mean_t` would decide the claim with this power, if the estimate were the truth.

    Decide means pass or fail, whichever the side of the threshold is that the estimate lies on. ``estimate`` and
    ``standard_deviation`` are those of an :class:`Inference`; under clusters the answer counts clusters.

    The t statistic of n normal values has the noncentral t distribution with n - 1 degrees of freedom and
    noncentrality ``|estimate - threshold| * sqrt(n) / standard_deviation``; the answer is the smallest n (at least 2)
    at which it is above ``t(confidence, n - 1)`` with this power. Every larger n has the power too.

    Returns:
        None when the estimate lies on the threshold, where no number decides, or when more than 10 million are needed.

    Raises:
        ValueError: a number that is not finite, a negative standard deviation, a confidence or power out of range.
    """
    distance = abs(checked_finite(estimate, "estimate") - checked_finite(threshold, "threshold"))
    standard_deviation = checked_finite(standard_deviation, "standard_deviation")
    confidence, power = checked_confidence(confidence), checked_power(power)
    if standard_deviation < 0:
        raise ValueError(f"standard_deviation was {standard_deviation:g}; expected 0 or more.")
    if distance == 0:
        return None
    effect = distance / standard_deviation if standard_deviation else math.inf

    def enough(n: int) -> bool:
        return _power_of_t(effect, n, confidence) >= power

    low, high = 1, 2
    while not enough(high):
        if high == MOST_ITEMS_FOR_A_MEAN:
            return None
        low, high = high, min(2 * high, MOST_ITEMS_FOR_A_MEAN)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def items_needed_share(
    share: float, threshold: float, *, direction: Direction, confidence: float = 0.95, power: float = 0.8
) -> int | None:
    """Items with which :func:`share` would decide the claim with this power, if ``share`` were the truth.

    Decide means pass if the share is on the good side of the threshold, fail if it is on the bad side. Exact binomial
    probabilities: with ``c(n)`` the largest number of successes that still proves a share below the threshold,
    ``P(X <= c(n) | n, threshold) <= 1 - confidence``, the power is ``P(X <= c(n) | n, share)``; for a share above its
    threshold, the same of failures.

    The answer is the **smallest** n with this power. It is not true of every larger one: the power is a sawtooth that
    falls while ``c(n)`` stays and jumps where it steps up. Truth .05 under .20: 30 items have a power of .81, 31 have
    .799, 36 have .73, and from 37 on all have .8 or more. So take the number itself, or clearly more.

    Examples (confidence .95, power .8): truth .02 under .10 needs 61; .05 under .20, 30; .10 under .20, 82; .03 under
    .05, 601.

    Returns:
        None when the share lies on the threshold, where no number decides, or when more than 1 million are needed.

    Raises:
        ValueError: a share or threshold outside [0, 1], a confidence or power out of range, an unknown direction.
    """
    share, threshold = checked_probability(share, "share"), checked_probability(threshold, "threshold")
    confidence, power = checked_confidence(confidence), checked_power(power)
    at_least = Direction(direction) is Direction.AT_LEAST
    if share == threshold:
        return None
    if threshold == (0 if at_least else 1):
        return 1  # true of any share: the first item, whatever it is, gives a bound on the good side
    # A fail needs the bound strictly beyond the threshold, a pass allows it on the threshold (see `judge`).
    strictly = (share < threshold) == at_least
    if share > threshold:
        share, threshold = 1 - share, 1 - threshold
    alpha = 1 - confidence

    # The exact power is a sawtooth, so it cannot be bisected. The power of the test that is randomised to use alpha up
    # can: it never falls as items are added, since that test is the most powerful one and may ignore an item. And it is
    # never below the exact power, so no n before the first at which it suffices can be the answer.
    def randomised_suffices(n: int) -> bool:
        _exact, randomised = _powers_of_binomial(np.array([n]), share, threshold, alpha, strictly)
        return bool(randomised[0] >= power - 1e-9)

    low, high = 0, MOST_ITEMS_FOR_A_SHARE
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if randomised_suffices(middle) else (middle, high)

    # From there the answer, if there is one, is a few teeth away; a tooth is some 1 / threshold items long.
    start, length = high, 64
    while start <= MOST_ITEMS_FOR_A_SHARE:
        n = np.arange(start, min(start + length, MOST_ITEMS_FOR_A_SHARE + 1))
        exact, _randomised = _powers_of_binomial(n, share, threshold, alpha, strictly)
        enough = np.flatnonzero(exact >= power)
        if enough.size:
            return int(n[enough[0]])
        start, length = start + length, 2 * length
    return None


def _power_of_t(effect: float, n: int, confidence: float) -> float:
    """Probability that the t statistic of n values exceeds its critical value; effect in standard deviations."""
    critical = float(stats.t.ppf(confidence, n - 1))
    noncentrality = effect * math.sqrt(n)
    if noncentrality < 1e4:
        return float(stats.nct.sf(critical, n - 1, noncentrality))
    # Beyond, scipy's series does not converge. The mean is then as good as fixed, and only the sample standard
    # deviation varies: critical < noncentrality / (chi / sqrt(n - 1)). The error is of the order of 1e-8.
    if critical == 0:
        return 1.0
    return float(stats.chi2.cdf((n - 1) * (noncentrality / critical) ** 2, n - 1))


def _powers_of_binomial(
    n: npt.NDArray[np.int_], share: float, threshold: float, alpha: float, strictly: bool
) -> tuple[FloatArray, FloatArray]:
    """Power to prove ``share < threshold`` with n items: of the exact test, and of it randomised to use alpha up."""
    # The quantile is the first count whose probability reaches alpha; the count before it is the critical one, unless
    # alpha is reached exactly, which only a strict bound forbids.
    critical = stats.binom.ppf(alpha, n, threshold)
    at_quantile = stats.binom.cdf(critical, n, threshold)
    critical -= at_quantile >= alpha if strictly else at_quantile > alpha
    exact = stats.binom.cdf(critical, n, share)
    spare = alpha - stats.binom.cdf(critical, n, threshold)
    next_count = critical + 1
    chance = np.clip(spare / stats.binom.pmf(next_count, n, threshold), 0, 1)
    return exact, exact + chance * stats.binom.pmf(next_count, n, share)
