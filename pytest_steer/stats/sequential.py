"""Bounds that stay valid however often one looks: items are drawn in rounds until the claim is decided.

A fixed-sample bound is wrong with a probability of at most ``alpha = 1 - confidence`` at one look. If one looks after
every item, the chance that it is wrong at some look is far higher. The bounds here are wrong at *any* look with a
probability of at most alpha, so a check may look at any time and stop as soon as :func:`~pytest_steer.stats.judge`
decides. The chance of ever passing a claim that does not hold is at most alpha, and so is the chance of ever failing one
that holds.

Both are built alike. For a value m of the truth, ``E_n(m) >= 0`` measures the evidence of n items that the truth lies
beyond m: how many times likelier they are under a mixture of such truths than under m. If m is the truth, the mean of
``E_n(m)``, given the earlier items, is at most ``E_{n-1}(m)``, starting at ``E_0 = 1``. It is the fortune of a gambler
whom the odds never favour, and Ville's inequality (1939) bounds the chance of ever being rich::

    P(E_n(m) >= 1 / alpha for any n) <= alpha

The bound is the m at which ``E_n(m) = 1 / alpha``. Since ``E_n(m)`` is monotone in m, the bound is on the wrong side of
the truth only if ``E_n(truth) > 1 / alpha``, and one test judges m and every value beyond it. The p-value of a threshold
is ``min(1, 1 / E_n(threshold))``.

Both functions depend only on the number of items and their sums, so the order of the items does not change the bounds.
Earlier looks are not intersected, so a bound may move back. The order of *drawing* must be random: with items sorted by
topic or length, nothing is guaranteed at an early look.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy.typing as npt
from scipy import special

from ._arguments import checked_confidence, checked_count, checked_number, checked_outcomes, checked_values
from .intervals import Inference, Mirrored, infer, mean_and_deviations, root_mean_square

# With fewer items a mean is not judged, since a handful of values that happen to lie close together would decide.
FEWEST_ITEMS_FOR_A_MEAN = 8

# The standard deviation of the half-normal mixture over effects, in standard deviations of an item. It must not depend
# on the items. It sets where the bound is tightest, and the guarantee holds for any value: some 30 items decide an
# effect of 0.5. With 0.25, effects of 1 take 40 % more items; with 1, effects of 0.25 take 15 % more.
_EFFECT = 0.5


def rounds(total: int, *, first: int = 8, growth: float = 1.5) -> list[int]:
    """How many items a check has seen at each of its looks: the last is ``total``, and each grows by ``growth``.

    Example: ``rounds(100)`` is ``[8, 12, 18, 27, 40, 60, 90, 100]``.

    Args:
        total: the number of all items. With ``total <= first`` there is only one look, and a bound for one look, from
            :func:`share` or :func:`mean_t`, is tighter.
        first: items at the first look.
        growth: factor from one look to the next, above 1; each look adds at least one item.

    Raises:
        ValueError: counts that are not whole numbers of at least 1, a growth that is not a finite number above 1.
    """
    total = checked_count(total, "total", least=1)
    first = checked_count(first, "first", least=1)
    growth = checked_number(growth, "growth", lambda number: 1 < number < math.inf, "a finite number above 1, such as 1.5")
    looks = [min(first, total)]
    while looks[-1] < total:
        # Rounded to the nearest: 10 * 1.1 is 11.000000000000002 in floating point.
        grown = round(min(looks[-1] * growth, total))
        looks.append(max(grown, looks[-1] + 1))
    return looks


def sequential_share(outcomes: npt.ArrayLike, *, confidence: float = 0.95) -> Inference:
    """Bounds of a share that hold at every look at once, whatever the stopping rule; exact for any number of items.

    Args:
        outcomes: True or False per item (or 1 and 0), all items seen so far, shape (items,).
        confidence: of each bound by itself, over all looks.

    For k successes of n items and the null hypothesis "share >= x" the evidence is the likelihood ratio of the shares
    x u below it, mixed with u uniform on (0, 1) (Robbins' method of mixtures), against x itself::

        E_n(x) = integral over u from 0 to 1 of  u^k ((1 - x u) / (1 - x))^(n - k)
               = B_x(k + 1, n - k + 1) / (x^(k + 1) (1 - x)^(n - k))

    with B_x the incomplete beta function, not regularised. At a share p the next item multiplies the integrand by
    ``p u + (1 - p) (1 - x u) / (1 - x) = 1 - (p - x) (1 - u) / (1 - x)`` on average, which is 1 at p = x and less at
    every p above: ``E_n(x)`` is a test martingale for x and never grows on average for the rest of the null hypothesis.
    The integrand grows with x, so ``E_n(x) = 1 / alpha`` has one solution at most: ``high``, 1 if there is none. ``low``
    is 1 less the ``high`` of the failures. The share that was seen always lies between, since ``E_n(x) <= 1`` for
    x <= k / n.

    The only assumption is that each item, given the earlier ones, is a success with the same probability.

    Example: 0 anti-steerable of n items give ``high <= 0.25`` from 16 items on; one look with :func:`share` needs 11.
    The price, for truth .02 under .10, .05 under .20 and .10 under .20, looking after each item: 71, 38 and 95 items
    on average, where a fixed sample of power .8 has 61, 30 and 82. With :func:`rounds`, 100, 54 and 136. The gain comes
    when the truth is clearer than planned: a claim planned for truth .10 under .20 takes 25 of the 82 items if it is .02.

    Raises:
        ValueError: no items, a shape that is not (items,), anything but True, False, 1 and 0.
    """
    confidence = checked_confidence(confidence)
    n, successes = checked_outcomes(outcomes)
    tails = SequentialBinomialTails(successes, n)
    return infer(tails, confidence, estimate=successes / n, method="sequential binomial", n=n, is_exact=True)


def sequential_mean(values: npt.ArrayLike, *, confidence: float = 0.95) -> Inference:
    """Bounds of a mean by a sequential t test: ``mean -+ c(confidence, n) * standard_error`` with c about 3 at 0.95.

    Args:
        values: one number per item, all items seen so far, shape (items,), at least 8. Items that are related are
            reduced to one number each cluster first.
        confidence: of each bound by itself, over all looks.

    **Valid at every look at once for normal values** of any mean and spread. No bound is valid for every distribution,
    since a rare, huge value can always be still to come. For others it is an approximation, measured below.

    For the null hypothesis "mean <= m" the evidence is the likelihood ratio of the effects ``d = (mean - m) / sd``
    above 0, mixed with the half-normal density of scale 0.5, against d = 0. The unknown spread s is integrated out of
    both with the density 1 / s, which leaves the likelihood of what does not depend on the unit: ratios of x_i - m. With
    ``r = sum(x_i - m) / sqrt(sum((x_i - m)^2))`` and v = 1 / 0.5^2, and ``y = sqrt(sum((x_i - m)^2)) / s``::

        E_n(m) = integral over d > 0 of  2 sqrt(v) phi(d sqrt(v)) e^(-n d^2 / 2) M(d r)
                 where M(c) is the mean of e^(c Y) for Y of the chi distribution with n degrees of freedom
               = 2 sqrt(v / (n + v)) (1 - r^2 / (n + v))^(-n / 2) T_n(r sqrt(n / (n + v - r^2)))

    with T_n Student's distribution function, n degrees of freedom. (Integrate d first: it leaves
    ``2 sqrt(v / (n + v)) exp(r^2 y^2 / (2 (n + v))) Phi(r y / sqrt(n + v))`` under the density of y; the exponential
    rescales y, and the mean of ``Phi(h Y)`` is ``P(Z < h Y) = T_n(h sqrt(n))``.) A ratio of two densities of the same
    statistics is a martingale under the one it is divided by; r falls as m grows and E_n rises with r, so ``E_n(m) = 1 / alpha``
    has one solution at most, at the same t statistic ``c`` for any values. Scale-invariant sequential t tests go back
    to Lai (1976); Wang & Ramdas (2023, arXiv 2310.03722) mix over normal effects on both sides.

    Ever wrong at a confidence of 0.95, in 10,000 runs, per bound; for skewed values the bound away from the long tail
    and then the one towards it (``high``, if the tail is on the right):

    ===============================  ========================  ====================  ============================
    values                           looking at each of 8-400  ``rounds(400)``       ``rounds(400, first=27)``
    ===============================  ========================  ====================  ============================
    normal                           3.3 %                     1.6 %                 1.2 %
    uniform; 0 or 1 with half each   4.2 %                     2.2 %                 1.5 %
    Student's t, 3 df                2.6 %                     1.2 %                 0.9 %
    gamma of shape 4, skewness 1     1.4 and 7.7 %             0.6 and 4.1 %         0.5 and 2.5 %
    exponential, skewness 2          0.5 and **15 %**          0.2 and 9.7 %         0.2 and 5.5 %
    lognormal, skewness 6            0.1 and **28 %**          0.0 and 20 %          0.0 and 12 %
    1 with probability .1, else 0    0.2 and **14 %**          0.1 and 9.2 %         0.1 and 9.2 %
    ===============================  ========================  ====================  ============================

    So a long tail needs a late first look. A measure with two levels is a share: use :func:`sequential_share`.

    The price, looking after each item, for effects of 1, 0.5 and 0.25 standard deviations: 13, 34 and 122 items on
    average, where a fixed sample of power .8 has 8, 27 and 101. With :func:`rounds`, 16, 45 and 171.

    If all values are equal, nothing is known about the spread and the bounds are infinite, unlike those of :func:`mean_t`.
    Eight equal values are common for a measure with few levels, and stopping there would be wrong far too often.
    The bounds are also infinite while n items cannot show as much as ``1 / alpha``: at 0.99 with 8 items, at 0.95 never.

    Raises:
        ValueError: fewer than 8 values, a NaN or an infinity (with its index), a wrong shape.
    """
    confidence = checked_confidence(confidence)
    items = checked_values(values)
    n = items.size
    if n < FEWEST_ITEMS_FOR_A_MEAN:
        raise ValueError(
            f"values had {n} items; expected at least {FEWEST_ITEMS_FOR_A_MEAN}, since fewer that happen to lie close "
            "together would decide. Look later, or once, with mean_t."
        )
    mean, deviations = mean_and_deviations(items)
    standard_deviation = root_mean_square(deviations) * math.sqrt(n / (n - 1))
    tails = SequentialStudentTails(mean, standard_deviation / math.sqrt(n), n)
    return infer(
        tails,
        confidence,
        estimate=mean,
        method="sequential t",
        n=n,
        standard_deviation=standard_deviation,
        is_symmetric=True,
    )


@dataclass(frozen=True)
class SequentialBinomialTails:
    """Bounds and p-values of the mixture test of a share, valid at every look at once."""

    successes: int
    n: int

    def low(self, confidence: float) -> float:
        return self._bound(self.log_evidence_above, 0.0, confidence) if self.successes else 0.0

    def high(self, confidence: float) -> float:
        return self._bound(self.log_evidence_below, 1.0, confidence) if self.successes < self.n else 1.0

    def _bound(self, log_evidence: Callable[[float], float], end: float, confidence: float) -> float:
        target = -math.log1p(-confidence)
        return _first_reached(lambda x: log_evidence(x) >= target, end, self.successes / self.n)

    def p_at_least(self, threshold: float) -> float:
        # A share is at least 0 by definition, so there is nothing to prove. No number of items proves that it is 1.
        if threshold <= 0:
            return 0.0
        return 1.0 if threshold >= 1 else _p_value(self.log_evidence_above(threshold))

    def p_at_most(self, threshold: float) -> float:
        if threshold >= 1:
            return 0.0
        return 1.0 if threshold <= 0 else _p_value(self.log_evidence_below(threshold))

    def log_evidence_below(self, x: float) -> float:
        """Logarithm of the evidence for a share below x, in (0, 1)."""
        return _log_evidence_for_fewer(self.successes, self.n - self.successes, x, 1 - x)

    def log_evidence_above(self, x: float) -> float:
        """Logarithm of the evidence for a share above x, in (0, 1): failures are rarer than 1 - x."""
        return _log_evidence_for_fewer(self.n - self.successes, self.successes, 1 - x, x)


@dataclass(frozen=True)
class SequentialStudentTails(Mirrored):
    """Bounds and p-values of the sequential t test of a mean, valid at every look at once."""

    mean: float
    standard_error: float
    n: int

    def low(self, confidence: float) -> float:
        return self.mean - _critical_t(self.n, confidence) * self.standard_error if self.standard_error else -math.inf

    def p_at_least(self, threshold: float) -> float:
        if math.isinf(threshold):
            return 0.0 if threshold < 0 else 1.0
        if self.standard_error == 0:
            return 1.0
        return _p_value(_log_evidence_of_t((self.mean - threshold) / self.standard_error, self.n))

    def negated(self) -> "SequentialStudentTails":
        return SequentialStudentTails(-self.mean, self.standard_error, self.n)


def _log_evidence_for_fewer(successes: int, failures: int, x: float, not_x: float) -> float:
    """``log(B_x(k + 1, n - k + 1) / (x^(k + 1) (1 - x)^(n - k)))``; ``not_x`` is 1 - x, exact where that is tiny."""
    regularised = float(special.betainc(successes + 1, failures + 1, x))
    if regularised == 0:
        # It is 0 only for x far below the share that was seen, where there is no evidence.
        return -math.inf
    log_incomplete_beta = math.log(regularised) + float(special.betaln(successes + 1, failures + 1))
    return log_incomplete_beta - (successes + 1) * math.log(x) - failures * math.log(not_x)


def _log_evidence_of_t(t: float, n: int) -> float:
    """Logarithm of the evidence for a mean above m, of ``t = (mean - m) / standard_error``.

    ``r^2 = n t^2 / (t^2 + n - 1)``; written with ``n - r^2``, which is tiny for a large t.
    """
    v = 1 / _EFFECT**2
    root = math.sqrt(n - 1)
    length = math.hypot(t, root)
    cosine, sine = (math.copysign(1, t), 0.0) if math.isinf(length) else (t / length, root / length)
    rest = v + n * sine**2  # n + v - r^2
    below = float(special.stdtr(n, n * cosine / math.sqrt(rest)))
    if below == 0:
        return -math.inf
    return math.log(2) + (math.log(v / (n + v)) + n * math.log((n + v) / rest)) / 2 + math.log(below)


def _critical_t(n: int, confidence: float) -> float:
    """The t statistic with an evidence of ``1 / (1 - confidence)``; infinite if n items cannot give that much."""
    target = -math.log1p(-confidence)
    if _log_evidence_of_t(math.inf, n) < target:
        return math.inf
    enough = 1.0
    while _log_evidence_of_t(enough, n) < target:
        enough *= 2
    return _first_reached(lambda t: _log_evidence_of_t(t, n) >= target, enough, 0.0)


def _p_value(log_evidence: float) -> float:
    return math.exp(-max(log_evidence, 0.0))


def _first_reached(reached: Callable[[float], bool], inside: float, outside: float) -> float:
    """Bisect to the last digit: the last float for which ``reached`` is still true, going from ``inside`` to ``outside``."""
    while True:
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            return inside
        if reached(middle):
            inside = middle
        else:
            outside = middle
