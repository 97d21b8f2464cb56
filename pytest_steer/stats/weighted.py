"""The difference of two weighted shares that were seen on the same units, such as accuracy over the anchor items of a benchmark."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ._arguments import checked_confidence, checked_values
from .intervals import Inference, Tails, infer, mean_t
from .paired import paired_share_difference


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
    - the exact paired bound (:func:`paired_share_difference`) at the effective number of units, (sum w)^2 / sum w^2, with the weighted
      shares that changed rounded to counts towards the far side. It is what Korn and Graubard (1998, Survey Methodology 24:193) do
      for one share.

    Both take the units for independent draws, as far as their weights say. With equal weights the second one is the exact bound.

    Raises:
        ValueError: fewer than two units, other changes than -1, 0 and 1, weights that are not above 0, or a confidence out of range.
    """
    change, weight = checked_values(changes), np.asarray(weights, dtype=float)
    if change.shape != weight.shape or not np.isin(change, (-1.0, 0.0, 1.0)).all():
        raise ValueError("changes are -1, 0 or 1, one for each weight")
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise ValueError("weights are finite numbers above 0")
    confidence = checked_confidence(confidence)
    by_t = mean_t(change * weight / weight.mean(), confidence=confidence)
    n = max(1, math.floor(effective_n(weight) + 1e-9))
    lost, gained = (float(weight[change == sign].sum() / weight.sum()) * n for sign in (1, -1))
    far = paired_share_difference(_up(lost), min(_down(gained), n - _up(lost)), n, confidence=confidence)
    near = paired_share_difference(min(_down(lost), n - _up(gained)), _up(gained), n, confidence=confidence)
    return infer(
        _Wider(by_t, far, near),
        confidence,
        estimate=by_t.estimate,
        method="weighted paired",
        n=len(change),
        standard_deviation=by_t.standard_deviation,
    )


@dataclass(frozen=True)
class _Wider:
    """The wider of two bounds on each side."""

    by_t: Inference
    far: Inference
    near: Inference

    def low(self, confidence: float) -> float:
        return min(_tails(self.by_t).low(confidence), _tails(self.near).low(confidence), self.by_t.estimate)

    def high(self, confidence: float) -> float:
        return max(_tails(self.by_t).high(confidence), _tails(self.far).high(confidence), self.by_t.estimate)

    def p_at_least(self, threshold: float) -> float:
        return max(self.by_t.p_at_least(threshold), self.near.p_at_least(threshold))

    def p_at_most(self, threshold: float) -> float:
        return max(self.by_t.p_at_most(threshold), self.far.p_at_most(threshold))


def _tails(found: Inference) -> Tails:
    return found._tails


def _up(count: float) -> int:
    return math.ceil(count - 1e-9)


def _down(count: float) -> int:
    return math.floor(count + 1e-9)
