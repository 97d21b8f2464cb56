"""What a method does to a behaviour, in the form in which methods are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..core.record import Bounds, Reached, Strength
from ..stats import Inference, mean_t
from .asking import Array

Interval = Bounds
UNSTEERED = "unsteered"


def strength_of(
    effects: Array,
    multiplier: float,
    confidence: float,
    *,
    cost: float | None = None,
    reached: Reached | None = None,
    clusters: Sequence[int] | None = None,
    normalised: float | None = None,
) -> Strength:
    """The record of the effects [n_items] at one strength, with Student's t bounds, over clusters if there are some.

    Args:
        normalised: the perplexity-normalised effect.
    """
    found = mean_t(effects, confidence=confidence, clusters=clusters)
    wrong_way = float((effects < 0).mean())
    return Strength(
        multiplier, found.estimate, bounds_of(found), wrong_way, None if cost is None else finite(cost), reached, normalised
    )


def finite(bound: float) -> float | None:
    """The bound, or None if there is none on that side."""
    return float(bound) if math.isfinite(bound) else None


def bounds_of(found: Inference) -> Interval:
    """One-sided bounds as JSON has them."""
    return finite(found.low), finite(found.high)


def setting_name(n_shots: int, shuffled: bool) -> str:
    """How prompts of a task are called: ``zero-shot``, ``5-shot``, ``5-shot shuffled``."""
    words = f"{n_shots}-shot" if n_shots else "zero-shot"
    return f"{words} shuffled" if shuffled else words
