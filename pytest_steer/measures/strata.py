"""Strata: the same items split by the label of their matching answer (letter, Yes / No)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .asking import Array
from .propensity import PropensityCurve


@dataclass(frozen=True)
class Stratum:
    """Items whose matching answer has one label.

    Attributes:
        label: "A", "Yes", ...
        n: number of items.
        steerability: mean slope of these items.
        anti_steerable_share: share of these items with slope <= 0.
    """

    label: str
    n: int
    steerability: float
    anti_steerable_share: float


def strata(curve: PropensityCurve) -> tuple[Stratum, ...]:
    """One stratum per label of the matching answer; none for free-text items.

    A vector that moves a letter rather than the behaviour shows as a rise in one stratum and a fall in the other (Tan
    et al. 2024 regress the slopes on these labels; with one label against another that is the difference of the means).
    """
    labels = curve.labels if curve.labels is not None else [item.label for item in curve.items]
    found = []
    for label in sorted({label for label in labels if label is not None}):
        slopes: Array = curve.slopes[np.array([own == label for own in labels])]
        found.append(Stratum(label, len(slopes), float(slopes.mean()), float((slopes <= 0).mean())))
    return tuple(found)
