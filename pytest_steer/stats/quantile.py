"""Bounds of a quantile of values that belong together in clusters: order statistics, as many as independent values would allow.

"The q-quantile is at most t" says that the share F(t) of values up to t is at least q. So a bound of the quantile is the value at which
the exact bound of that share (Clopper & Pearson 1934) just reaches q (Woodruff 1952, J. Am. Stat. Assoc. 47). Values of one cluster are
alike, so that N of them are worth fewer independent ones (Korn & Graubard 1998, Survey Methodology 24)::

    n_eff = F (1 - F) / v * (z / t)^2,    at most N

with F the share at the estimated quantile, v its variance, and z and t the normal and the Student quantile (G - 1 degrees of freedom) of
the confidence, since v is estimated from G clusters. v is the jackknife's (see ``mean_t``) with one cluster more that nobody saw: wholly
above the quantile for the upper bound, wholly below it for the lower one::

    v = (sum over clusters of d_c^2) / (G (G - 1)) + (u - F)^2 / G^2,    u = 0 (upper bound) or 1 (lower bound)

Without it, clusters that are wholly beyond the bound and so rare that the sample has none would make a bound wrong in every fifth case.
For the same reason no upper bound is better than q^m: so likely is it that m clusters show none of those that are wholly above, if these
make up 1 - q of all values. With fewer than log(alpha) / log(q) clusters it is infinite (29 for q = 0.9 at 0.95). m is the number of
clusters, or N^2 / sum of N_c^2 where they differ in size (Kish 1965).
"""

import math
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..core.evidence import Direction
from ._arguments import FloatArray, checked_clusters, checked_confidence, checked_probability, checked_values
from .intervals import Inference, deviations_of_clusters, infer
from .planning import items_needed_share


def quantile(
    values: npt.ArrayLike, q: float, *, confidence: float = 0.95, clusters: Iterable[Hashable] | None = None
) -> Inference:
    """Bounds of the q-quantile, the least value that a share q of all values does not exceed.

    Args:
        values: shape (values,), such as one number for each position of some texts.
        q: between 0 and 1, such as 0.9.
        confidence: of each bound by itself.
        clusters: one label per value, where values are related: those of one text. Without it every value stands for itself, and the bounds
            are exact for whatever distribution.

    Rates of wrong bounds are in docs/verdicts.md.

    Raises:
        ValueError: fewer than 2 values or clusters, a NaN or an infinity (with its index), a wrong shape, a q that is 0 or 1.
    """
    confidence = checked_confidence(confidence)
    every, q = checked_values(values), checked_probability(q, "q")
    if not 0 < q < 1:
        raise ValueError(f"q was {q}; expected a share between 0 and 1.")
    ordered = np.sort(every)
    estimate = float(ordered[math.ceil(q * len(ordered) - 1e-9) - 1])
    units, distinct = len(every), float(len(every))
    independent = distinct, distinct
    if clusters is not None:
        of_value, units = checked_clusters(clusters, len(every))
        distinct = len(every) ** 2 / float(np.sum(np.bincount(of_value) ** 2.0))
        up_to = every <= estimate
        independent = _independent(up_to, of_value, 0.0, confidence), _independent(up_to, of_value, 1.0, confidence)
    tails = QuantileTails(ordered, q, independent, distinct)
    method = "order statistics" if clusters is None else "clustered order statistics"
    return infer(tails, confidence, estimate=estimate, method=method, n=units)


def items_needed_quantile(inference: Inference, threshold: float, *, power: float = 0.8) -> int | None:
    """The number of clusters with which the quantile would be decided with this power, if the share of values up to the threshold were
    the truth, and clusters as alike as these; None if no number would.

    Raises:
        ValueError: not a result of :func:`quantile`, or a number out of range.
    """
    tails = inference._tails
    if not isinstance(tails, QuantileTails):
        raise ValueError("the inference is not a quantile's; expected a result of quantile.")
    share = float((tails.ordered <= threshold).mean())
    least = math.ceil(math.log(1 - inference.confidence) / math.log(tails.q))
    needed = least
    if share < 1:
        found = items_needed_share(
            share, tails.q, direction=Direction.AT_LEAST, confidence=inference.confidence, power=power
        )
        if found is None:
            return None
        needed = found
    independent = tails.independent[0 if share > tails.q else 1]
    return max(math.ceil(needed * inference.n / independent), least)


def _independent(up_to: npt.NDArray[np.bool_], of_value: npt.NDArray[np.intp], unseen: float, confidence: float) -> float:
    """How many independent values would know the share of flags as well, with one more cluster that has the share ``unseen`` of them."""
    share = float(up_to.mean())
    deviations = deviations_of_clusters(up_to.astype(np.float64) - share, of_value)
    count = deviations.size
    variance = float(np.sum(deviations**2) / (count - 1) + (unseen - share) ** 2 / count) / count
    known = (float(stats.norm.ppf(confidence)) / float(stats.t.ppf(confidence, count - 1))) ** 2
    return min(float(up_to.size), share * (1 - share) / variance * known) if 0 < share < 1 else float(count)


@dataclass(frozen=True, eq=False)
class QuantileTails:
    """Bounds of a quantile at any confidence, and the p-values that they invert.

    Attributes:
        independent: how many independent values would know the share at the quantile as well, for the upper and for the lower bound.
        distinct: the number of clusters, or that of equal clusters with the same weight.
    """

    ordered: FloatArray
    q: float
    independent: tuple[float, float]
    distinct: float

    def low(self, confidence: float) -> float:
        """The least value up to which the share may be q."""
        shares = np.searchsorted(self.ordered, self.ordered, side="left") / len(self.ordered)
        proven = self._p_below(shares) <= 1 - confidence
        # A value is a lower bound if the share before it is proven to be below q; p grows with the share.
        return float(self.ordered[proven][-1]) if proven.any() else -math.inf

    def high(self, confidence: float) -> float:
        shares = np.searchsorted(self.ordered, self.ordered, side="right") / len(self.ordered)
        proven = self._p_above(shares) <= 1 - confidence
        return float(self.ordered[proven][0]) if proven.any() else math.inf

    def p_at_least(self, threshold: float) -> float:
        share = np.searchsorted(self.ordered, threshold, side="left") / len(self.ordered)
        return float(self._p_below(np.array([share]))[0])

    def p_at_most(self, threshold: float) -> float:
        share = np.searchsorted(self.ordered, threshold, side="right") / len(self.ordered)
        return float(self._p_above(np.array([share]))[0])

    def _p_above(self, shares: FloatArray) -> FloatArray:
        """P-values of the claims that true shares are at least q."""
        found: FloatArray = np.maximum(_p_at_least(shares, self.independent[0], self.q), self.q**self.distinct)
        return found

    def _p_below(self, shares: FloatArray) -> FloatArray:
        unseen = (1 - self.q) ** self.distinct
        found: FloatArray = np.maximum(_p_at_least(1 - shares, self.independent[1], 1 - self.q), unseen)
        return found


def _p_at_least(shares: FloatArray, n: float, at: float) -> FloatArray:
    """Binomial p-values, in terms of the beta distribution so that numbers need not be whole, see ``ClusteredBinomialTails``."""
    successes = shares * n
    with np.errstate(invalid="ignore"):
        found: FloatArray = np.where(successes > 0, stats.beta.cdf(at, successes, n - successes + 1), 1.0)
    return found
