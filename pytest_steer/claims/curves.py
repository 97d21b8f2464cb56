"""Propensity curves in evidence: their records, the effect at the deployed multiplier, their entries for a comparison of methods, and controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ..core.errors import SteerError
from ..core.evidence import Json, Verdict
from ..core.numbers import number
from ..core.record import LEFT_OUT, Bounds, Compared, Item
from ..measures import (
    PropensityCurve,
    can_have_controls,
    check_dose,
    check_multipliers,
    check_slope_grid,
    explained,
    random_controls,
)
from ..measures.ask import Ask
from ..measures.at_cost import spread
from ..measures.compared import bounds_of, strength_of
from ..measures.subject import Moves, Subject
from ..stats import Inference, mean_t
from .judging import Judgement, Reason, contradiction, withhold
from .measurement import Measurement


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


def contradicted(judgement: Judgement, curve: PropensityCurve, clusters: Sequence[int] | None, at: Json) -> Judgement:
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
    judged_slope: Bounds | None = None,
) -> Compared:
    """What the evidence holds for a comparison of methods: the effect at the deployed multiplier, and the slope if there is one.

    Args:
        deployed: see :func:`with_deployed`. judged_slope: the bounds that a claim about the slope was judged by.
    """
    multiplier = float(subject.multiplier)
    unsteered = deployed.values[:, deployed.multipliers.tolist().index(0.0)]
    found = Compared(
        n=len(curve.items),
        spread=spread(unsteered),
        deployed=strength_of(deployed.effects(multiplier), multiplier, confidence, clusters=clusters),
    )
    if subject.intervention.strength != "linear":
        return found
    slopes = mean_t(curve.slopes, confidence=confidence, clusters=clusters)
    return replace(
        found,
        steerability=slopes.estimate,
        steerability_interval=bounds_of(slopes) if judged_slope is None else judged_slope,
        anti_steerable_share=wrong_share(curve, subject.slope_sign),
        # Bounds of a claim about another statistic are not those that a claim about the slope was judged by.
        rank=1 if judged_slope is None else 0,
    )


def curve_band(curve: PropensityCurve, confidence: float, clusters: Sequence[int] | None) -> list[Bounds]:
    """The bounds of the mean propensity at each multiplier by Student's t, each one-sided; they do not hold for all multipliers at once."""
    return [bounds_of(mean_t(column, confidence=confidence, clusters=clusters)) for column in curve.values.T]


@dataclass(frozen=True)
class Deployed:
    """The evidence's ``details.deployed`` of a claim that has no mean effect on items.

    Attributes:
        contradicts: what the deployed model does that the slopes do not say.
    """

    multiplier: float
    direction: Moves
    contradicts: str | None = field(default=None, metadata=LEFT_OUT)

    @staticmethod
    def of(subject: Subject, contradicts: str | None = None) -> Deployed:
        return Deployed(float(subject.multiplier), subject.direction, contradicts)


def deployed_record(
    subject: Subject, curve: PropensityCurve, confidence: float, clusters: Sequence[int] | None = None
) -> Json:
    """The evidence's ``details.deployed``: the mean effect there, and which way it is proven to move the model.

    Args:
        curve: with the deployed multiplier and 0. clusters: of its items, see ``data.Sample``.
    """
    effect = mean_t(curve.effects(float(subject.multiplier)), confidence=confidence, clusters=clusters)
    return {
        "multiplier": float(subject.multiplier),
        "mean_effect": effect.estimate,
        "interval": list(bounds_of(effect)),
        "moves": moves_of(effect),
        "direction": subject.direction,
    }


def moves_of(effect: Inference) -> str:
    """Which way the mean effect is proven to be: ``up``, ``down`` or ``neither way``."""
    return "up" if effect.low > 0 else "down" if effect.high < 0 else "neither way"


_INSTEAD = (
    "Claim what it does at its deployed strength: not_anti_steered with by: effect (against the unsteered model), and what it costs: "
    "ppl_delta_below"
)


def check_has_slope(
    subject: Subject, multipliers: Sequence[float], *, by_effect: bool = False, instead: str = _INSTEAD
) -> list[float]:
    """Validate that a slope over these multipliers is defined, and return them as floats.

    Args:
        by_effect: the statistic compares the deployed strength with 0, so that an intervention without a slope has it too.
        instead: what to claim of an intervention without a slope.

    Raises:
        SteerError: multipliers without a slope, or an intervention whose strength has none.
    """
    grid = check_multipliers(multipliers)
    check_slope_grid(grid)
    change = subject.intervention
    check_dose(change, grid, "multipliers")
    if change.strength != "linear" and not by_effect:
        raise SteerError(
            f"the strength of {change.method!r} is {change.strength}, so a slope over multipliers has no meaning for it. {instead}"
        )
    return grid


def item_records(curve: PropensityCurve) -> list[Item]:
    """The items of a curve, each with what was measured of it."""
    labels = [item.label for item in curve.items] if curve.labels is None else curve.labels
    return [
        Item(
            id=item.id,
            propensity=tuple(values),
            slope=slope,
            label=label,
            question=item.question,
            matching=tuple(item.matching),
            not_matching=tuple(item.not_matching),
        )
        for item, values, slope, label in zip(curve.items, curve.values.tolist(), curve.slopes.tolist(), labels, strict=True)
    ]


def curve_details(curve: PropensityCurve, subject: Subject) -> Json:
    """What the evidence says of a curve besides its verdict. Steerability is the slope as it is; anti-steerable is what moves the wrong way."""
    return {
        "steerability": curve.steerability,
        "anti_steerable_share": wrong_share(curve, subject.slope_sign),
        "curvature": float(curve.curvatures.mean()) if curve.curvatures is not None else None,
        "monotonicity": float(curve.monotonicity.mean()),
        "explained": explained(curve),
    }


def wrong_share(curve: PropensityCurve, sign: int) -> float:
    """The share of items whose slope is not on the promised side of 0: the anti-steerable share, or of items that do not fall."""
    return float((sign * curve.slopes <= 0).mean())


# --- random directions of equal norm: they tell an absent effect from one that any direction has ---

CONTROLS = 19
"""The fewest random directions that can show p = 0.05."""
_MOST_ITEMS = 32


@dataclass(frozen=True, kw_only=True)
class WithControls:
    """Details of a claim beside which random directions may be measured."""

    controls: Json | None = field(default=None, metadata=LEFT_OUT)


def controls_of_no_effect(
    ask: Ask, measured: Measurement, judgement: Judgement, *, seed: int, moves: str | None = None
) -> Json:
    """Random directions beside a claim that did not pass and of which it is not proven which way the deployed model moves.

    Vector and controls are compared on the same items, at most 32, spread evenly over the claim's own, at the deployed multiplier alone.
    """
    assert measured.deployed is not None
    clusters = measured.sample_of_entries.clusters
    found = moves or moves_of_deployed(ask.subject, measured.deployed, judgement.found.confidence, clusters)
    if judgement.verdict is Verdict.PASS or found != "neither way" or not can_have_controls(ask.subject):
        return {}
    items, there = measured.deployed.items, measured.where(ask)
    some = items[:: stride_of(len(items))]
    grid = [0.0, float(ask.subject.multiplier)]
    curve = there.propensity(some, grid)
    return {"controls": random_controls(there.model, there.subject, curve, CONTROLS, seed=seed, context=there.context)}


def stride_of(count: int, most: int = _MOST_ITEMS) -> int:
    """Stride that keeps at most ``most`` evenly spaced items. All of them would cost more than the claim."""
    return -(-count // most)
