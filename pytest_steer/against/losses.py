"""By how much a claim's statistic got worse between two runs, over the units that both have, with bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.record import ClaimRecord
from ..stats import Inference, least_of
from ..stats.estimators import gain_between
from .pairing import Paired

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Loss:
    """A difference between two runs.

    Attributes:
        gain: inference of the rise towards the good side, over the part that fell most; a loss is a negative gain.
        sign: 1 if a rise of the statistic is good, -1 if a fall is.
        part: that fell most, where the statistic is the worst of several; else None.
        before / after: the values of the pairs.
        n: independent units of the part with the fewest.
    """

    gain: Inference
    sign: int
    part: str | None
    before: Array
    after: Array
    n: int

    @property
    def estimate(self) -> float:
        """How far the statistic moved towards the bad side."""
        return -self.gain.estimate

    @property
    def bounds(self) -> tuple[float, float]:
        """One-sided bounds of the loss."""
        return -self.gain.high, -self.gain.low

    @property
    def difference(self) -> tuple[float, tuple[float, float]]:
        """After minus before, on the scale of the statistic, and its bounds."""
        low, high = self.gain.low, self.gain.high
        return (self.gain.estimate, (low, high)) if self.sign > 0 else (self.estimate, (-high, -low))


def loss_of(old: ClaimRecord, new: ClaimRecord, pairs: Paired, *, confidence: float) -> Loss | None:
    """The loss over paired units; None with fewer than two units (or clusters) in a part.

    A mean is compared by Student's t over the paired differences (:func:`stats.mean_t`), a share by its exact paired bound
    (:func:`stats.paired_share_difference`), with clusters as in ``stats.share_difference_of_clusters``; a share lost by
    :func:`stats.change_difference`. Of several parts each has its bounds, combined as ``stats.least_of`` does.
    """
    assert old.units is not None
    assert new.units is not None
    sign = 1 if new.direction == "at_least" else -1
    before = np.array([old.units.values[at] for at, _ in pairs.places], dtype=np.float64)
    after = np.array([new.units.values[at] for _, at in pairs.places], dtype=np.float64)
    labels = np.array(pairs.parts, dtype=object)
    clusters = None if pairs.clusters is None else np.array(pairs.clusters)
    found: dict[str, Inference] = {}
    for part in dict.fromkeys(pairs.parts):
        own = labels == part
        together = None if clusters is None else clusters[own].tolist()
        if together is not None and len(set(together)) == len(together):
            together = None
        if len(set(together) if together is not None else before[own]) < (2 if together is not None else 1) or own.sum() < 2:
            return None
        gains = sign * (after[own] - before[own])
        found[part] = gain_between(new.units.kind, gains, together, confidence=confidence)
    if not found:
        return None
    worst = min(found, key=lambda part: found[part].estimate)
    least = least_of(list(found.values()))
    return Loss(least, sign, worst if len(found) > 1 else None, before, after, least.n)
