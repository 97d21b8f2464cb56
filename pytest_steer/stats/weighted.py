"""The difference of two weighted shares that were seen on the same units, such as accuracy over the anchor items of a benchmark."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._arguments import FloatArray, checked_confidence, checked_values
from .intervals import Inference, infer, mean_t
from .paired import PairedTails


def effective_n(weights: npt.ArrayLike) -> float:
    """The number of equally weighted units that say as much: (sum w)^2 / sum w^2 (Kish 1965)."""
    found = np.asarray(weights, dtype=float)
    return float(found.sum() ** 2 / (found**2).sum())


def weighted_share_difference(changes: npt.ArrayLike, weights: npt.ArrayLike, *, confidence: float = 0.95) -> Inference:
    """Bounds of the weighted share lost minus the weighted share gained, of units that are each seen twice.

    Args:
        changes: 1 for a unit that was right before and is wrong after, -1 the other way round, else 0; shape (units,).
        weights: of the units, above 0.
        confidence: of each bound by itself.

    The estimate is sum(w d) / sum(w). There is no exact bound for any weights, so each bound is the wider of two:

    - Student's t over the weighted differences w d / mean(w), which sees a loss on heavy units, and has no width where nothing changes;
    - the exact paired bound (:func:`~.paired.paired_share_difference`) at the effective number of units, (sum w)^2 / sum w^2, with the weighted
      shares that changed rounded to counts towards the far side. It is what Korn and Graubard (1998, Survey Methodology 24:193) do
      for one share.

    Both take the units for independent draws, as far as their weights say. With equal weights the second one is the exact bound. A bound is
    wrong no more often than stated if a loss is no likelier on heavy units than on light ones, and in up to 11 % of cases where only heavy ones
    are lost (``benchmarks/weighted_rates.py``, docs/verdicts.md).

    Raises:
        ValueError: fewer than two units, other changes than -1, 0 and 1, weights that are not above 0, or a confidence out of range.
    """
    change, weight = checked_values(changes), np.asarray(weights, dtype=float)
    if change.shape != weight.shape or not np.isin(change, (-1.0, 0.0, 1.0)).all():
        raise ValueError("changes are -1, 0 or 1, one for each weight")
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise ValueError("weights are finite numbers above 0")
    confidence = checked_confidence(confidence)
    tails = weighted_tails(change, weight)
    return infer(
        tails,
        confidence,
        estimate=tails.by_t.estimate,
        method="weighted paired",
        n=len(change),
        standard_deviation=tails.by_t.standard_deviation,
    )


def weighted_tails(change: FloatArray, weight: FloatArray) -> WeightedTails:
    """The tests of :func:`weighted_share_difference`, of arguments that are valid."""
    by_t = mean_t(change * weight / weight.mean())
    n = max(1, math.floor(effective_n(weight) + 1e-9))
    lost, gained = (float(weight[change == sign].sum() / weight.sum()) * n for sign in (1, -1))
    far = PairedTails(_up(lost), min(_down(gained), n - _up(lost)), n)
    near = PairedTails(min(_down(lost), n - _up(gained)), _up(gained), n)
    return WeightedTails(by_t, far, near)


@dataclass(frozen=True)
class WeightedTails:
    """The wider of two bounds on each side."""

    by_t: Inference
    far: PairedTails
    near: PairedTails

    def low(self, confidence: float) -> float:
        return min(self.by_t._tails.low(confidence), self.near.low(confidence), self.by_t.estimate)

    def high(self, confidence: float) -> float:
        return max(self.by_t._tails.high(confidence), self.far.high(confidence), self.by_t.estimate)

    def p_at_least(self, threshold: float) -> float:
        return max(self.by_t.p_at_least(threshold), self.near.p_at_least(threshold))

    def p_at_most(self, threshold: float) -> float:
        return max(self.by_t.p_at_most(threshold), self.far.p_at_most(threshold))


def _up(count: float) -> int:
    return math.ceil(count - 1e-9)


def _down(count: float) -> int:
    return math.floor(count + 1e-9)
