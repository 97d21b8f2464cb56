"""The difference of the means of two sides, as a vector."""

from __future__ import annotations

from ..steering import SteeringVector
from .contrast import Contrast
from .reliability import with_reliability


def difference_of_means(contrast: Contrast, method: str) -> SteeringVector:
    """Mean of the positive side minus mean of the negative one, at each layer; for a method to return.

    Warns:
        SteerWarning: see ``reliability.unreliable``.
    """
    directions = {at: contrast.mean_difference(at).float() for at in contrast.layers}
    return with_reliability(contrast, SteeringVector(directions, {"method": method, **contrast.record}), stacklevel=4)
