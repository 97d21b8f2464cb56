"""Propensity curves in evidence: their records, the effect at the deployed multiplier, and what they say in a comparison of methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from ..measures import PropensityCurve
from ..measures.ask import Ask
from ..measures.at_cost import spread
from ..measures.compared import bounds_of, strength_of
from ..measures.subject import Subject
from ..stats import mean_t
from .deployed import deployed_record, moves_of
from .judging import Interval, Judgement, Reason, contradiction, withhold
from .numbers import number
from .over_items import curve_fields, wrong_share

__all__ = [
    "compared_by_items",
    "contradicted",
    "curve_fields",
    "deployed_record",
    "moves_of_deployed",
    "with_deployed",
    "wrong_share",
]


def with_deployed(ask: Ask, curve: PropensityCurve) -> PropensityCurve:
    """A curve of the same items that has the deployed multiplier and 0: the claim's own if it has them, else one of these two.

    It is measured after the claim's own, so that not even the last digit of a value on the grid depends on it.
    """
    deployed = float(ask.subject.multiplier)
    if {0.0, deployed} <= set(curve.multipliers.tolist()):
        return curve
    return ask.propensity(curve.items, [0.0, deployed])


def moves_of_deployed(subject: Subject, deployed: PropensityCurve, confidence: float, clusters: Sequence[int] | None) -> str:
    """Which way the mean effect at the deployed multiplier is proven to be: ``up``, ``down`` or ``neither way``."""
    effects = deployed.effects(float(subject.multiplier))
    return moves_of(mean_t(effects, confidence=confidence, clusters=clusters))


def contradicted(
    judgement: Judgement, curve: PropensityCurve, clusters: Sequence[int] | None, at: dict[str, Any]
) -> Judgement:
    """Withhold a pass if the effect at the deployed multiplier contradicts the slope that it rests on.

    It does if the mean effect has another sign than the slope gives it, provided that one of the two is significant.

    Args:
        at: the record of the effect, of the items of the curve. clusters: of these.
    """
    slope = mean_t(curve.slopes, confidence=judgement.found.confidence, clusters=clusters)
    sign = 1 if at["multiplier"] > 0 else -1
    expected = "up" if slope.estimate * sign > 0 else "down"
    is_opposite = at["moves"] == {"up": "down", "down": "up"}[expected]
    is_significant, same_sign = slope.low > 0 or slope.high < 0, slope.estimate * at["mean_effect"] * sign > 0
    if not slope.estimate or not (is_opposite or (is_significant and not same_sign)):
        return judgement
    text = (
        f"the slope over the multipliers says {expected} for the deployed multiplier {at['multiplier']:g}, and there the mean effect is "
        f"{number(at['mean_effect'])}"
    )
    cure = "choose a smaller deployed multiplier, or multipliers that reach it"
    return withhold(judgement, Reason(contradiction.name, text, cure))


def compared_by_items(
    curve: PropensityCurve,
    deployed: PropensityCurve,
    subject: Subject,
    confidence: float,
    clusters: Sequence[int] | None,
    *,
    judged_slope: Interval | None = None,
) -> dict[str, Any]:
    """What the evidence holds for a comparison of methods: the effect at the deployed multiplier, and the slope if there is one.

    Args:
        deployed: see :func:`with_deployed`. judged_slope: the bounds that a claim about the slope was judged by.
    """
    multiplier = float(subject.multiplier)
    unsteered = deployed.values[:, deployed.multipliers.tolist().index(0.0)]
    found: dict[str, Any] = {
        "n": len(curve.items),
        "spread": spread(unsteered),
        "deployed": asdict(strength_of(deployed.effects(multiplier), multiplier, confidence, clusters=clusters)),
    }
    if subject.intervention.strength == "linear":
        slopes = mean_t(curve.slopes, confidence=confidence, clusters=clusters)
        found |= {
            "steerability": slopes.estimate,
            "steerability_interval": list(bounds_of(slopes) if judged_slope is None else judged_slope),
            "anti_steerable_share": wrong_share(curve, subject.slope_sign),
            # Bounds of a claim about another statistic are not those that a claim about the slope was judged by.
            "rank": 1 if judged_slope is None else 0,
        }
    return found
