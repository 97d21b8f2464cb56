"""The difference of two shares of the same units where these have weights or clusters, or are changes themselves."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
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
    return _inferred(weighted_tails(change, weight), confidence, len(change), "weighted paired")


def weighted_tails(change: FloatArray, weight: FloatArray) -> WiderTails:
    """The tests of :func:`weighted_share_difference`, of arguments that are valid."""
    lost, gained = (float(weight[change == sign].sum() / weight.sum()) for sign in (1, -1))
    return wider_tails(mean_t(change * weight / weight.mean()), lost, gained, effective_n(weight))


def change_difference(
    differences: npt.ArrayLike, *, clusters: Sequence[Hashable] | None = None, confidence: float = 0.95
) -> Inference:
    """Bounds of the mean of differences between two runs of which each is a change itself: lost (1), gained (-1) or neither (0).

    Args:
        differences: -2, -1, 0, 1 or 2, one per unit. clusters: one label per unit, where units are related. confidence: of each bound by itself.

    Each bound is the wider of Student's t and twice the exact paired bound of half the differences, in which a half counts as half a
    unit: of all values between -1 and 1 with these positive and negative parts, whole ones vary most. With clusters, t is over clusters and
    the exact bound at as many units as are independent at least, as in :func:`share_difference_of_clusters`.

    Raises:
        ValueError: fewer than two units or clusters, or other differences.
    """
    change = checked_values(differences)
    if not np.isin(change, (-2.0, -1.0, 0.0, 1.0, 2.0)).all():
        raise ValueError("differences of changes are -2, -1, 0, 1 or 2")
    method = "paired exact, of changes" if clusters is None else "clustered paired, of changes"
    return _of_units(change, clusters, confidence, method, scale=2.0)


def share_difference_of_clusters(
    changes: npt.ArrayLike, clusters: Sequence[Hashable], *, confidence: float = 0.95
) -> Inference:
    """Bounds of the share lost minus the share gained, of units that are related within clusters and each seen twice.

    Args:
        changes: 1 for a unit that was lost, -1 for one that was gained, else 0. clusters: one label per unit.

    Each bound is the wider of t over clusters (:func:`mean_t`) and the exact paired bound at as many units as are independent at least,
    N^2 / sum of N_c^2 (see :func:`share_of_clusters`).

    Raises:
        ValueError: fewer than two clusters, or other changes than -1, 0 and 1.
    """
    change = checked_values(changes)
    if not np.isin(change, (-1.0, 0.0, 1.0)).all():
        raise ValueError("changes are -1, 0 or 1")
    return _of_units(change, clusters, confidence, "clustered paired")


def _of_units(
    change: FloatArray, clusters: Sequence[Hashable] | None, confidence: float, method: str, *, scale: float = 1.0
) -> Inference:
    """The wider of t and the exact paired bound of changes between -scale and scale."""
    by_t = mean_t(change / scale, confidence=confidence, clusters=clusters)
    lost, gained = (float(np.maximum(sign * change, 0).mean()) / scale for sign in (1, -1))
    independent = change.size if clusters is None else effective_n(np.unique(np.asarray(clusters), return_counts=True)[1])
    return _inferred(wider_tails(by_t, lost, gained, independent, scale=scale), confidence, by_t.n, method)


def wider_tails(by_t: Inference, lost: float, gained: float, n: float, *, scale: float = 1.0) -> WiderTails:
    """The wider of t and the exact paired tests of these shares of about n units, rounded towards the far side.

    Args:
        scale: of the statistic, in units of both.
    """
    whole = max(1, math.floor(n + 1e-9))
    (fewer_lost, more_lost), (fewer_gained, more_gained) = (
        (math.floor(count + 1e-9), math.ceil(count - 1e-9)) for count in (lost * whole, gained * whole)
    )
    far = PairedTails(more_lost, min(fewer_gained, whole - more_lost), whole)
    near = PairedTails(min(fewer_lost, whole - more_gained), more_gained, whole)
    return WiderTails(by_t, far, near, scale)


@dataclass(frozen=True)
class WiderTails:
    """The wider of two bounds on each side, as far as a difference of shares goes."""

    by_t: Inference
    far: PairedTails
    near: PairedTails
    scale: float = 1.0

    def low(self, confidence: float) -> float:
        low = min(self.by_t._tails.low(confidence), self.near.low(confidence), self.by_t.estimate)
        return self.scale * max(low, -1.0)

    def high(self, confidence: float) -> float:
        high = max(self.by_t._tails.high(confidence), self.far.high(confidence), self.by_t.estimate)
        return self.scale * min(high, 1.0)

    def p_at_least(self, threshold: float) -> float:
        at = threshold / self.scale
        return max(self.by_t.p_at_least(at), self.near.p_at_least(at))

    def p_at_most(self, threshold: float) -> float:
        at = threshold / self.scale
        return max(self.by_t.p_at_most(at), self.far.p_at_most(at))


def _inferred(tails: WiderTails, confidence: float, n: int, method: str) -> Inference:
    deviation = tails.by_t.standard_deviation
    return infer(
        tails,
        confidence,
        estimate=tails.scale * tails.by_t.estimate,
        method=method,
        n=n,
        standard_deviation=None if deviation is None else tails.scale * deviation,
    )
