"""What the deployed multiplier does: measured beside the grid of a claim and never in its fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..evidence import Evidence, Verdict
from ..measures import PropensityCurve, propensity_curve
from ..measures.compared import bounds_of
from ..measures.subject import Subject
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..stats import Inference, mean_t
from .numbers import number

# How many times the multipliers of a slope may be smaller, or larger, than the deployed one without a word.
_FAR = 10


def with_deployed(model: Model, subject: Subject, curve: PropensityCurve, context: Context = AS_GIVEN) -> PropensityCurve:
    """A curve of the same items that has the deployed multiplier and 0: the claim's own if it has them, else one of these two.

    It is measured after the claim's own, so that not even the last digit of a value on the grid depends on it.
    """
    deployed = float(subject.multiplier)
    if {0.0, deployed} <= set(curve.multipliers.tolist()):
        return curve
    return propensity_curve(
        model, curve.items, subject.intervention, multipliers=[0.0, deployed], context=context, **subject.scope
    )


def deployed_record(
    subject: Subject, curve: PropensityCurve, confidence: float, clusters: Sequence[int] | None = None
) -> dict[str, Any]:
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


def check_agrees(evidence: Evidence, slope: Inference) -> None:
    """Turn a pass into inconclusive if the deployed effect contradicts the slope that it rests on.

    It does if the mean effect has not the sign that the slope gives it, provided that one of the two is proven not to be 0.
    """
    at = evidence.details["deployed"]
    sign = 1 if at["multiplier"] > 0 else -1
    expected = "up" if slope.estimate * sign > 0 else "down"
    proven = slope.low > 0 or slope.high < 0
    opposite = at["moves"] == {"up": "down", "down": "up"}[expected]
    same_sign = slope.estimate * at["mean_effect"] * sign > 0
    if evidence.verdict is not Verdict.PASS or not slope.estimate or not (opposite or (proven and not same_sign)):
        return
    evidence.verdict, evidence.items_needed = Verdict.INCONCLUSIVE, None
    evidence.p_pass = 1.0  # so that no adjustment over several claims makes it a pass again
    at["contradicts"] = (
        f"the slope over the multipliers says {expected} for the deployed multiplier {at['multiplier']:g}, and there the mean effect is "
        f"{number(at['mean_effect'])}"
    )


def short_of_promise(evidence: Evidence) -> list[str]:
    """A warning if a claim about slopes passes, and the deployed effect per unit of the multiplier is proven to be below its promise."""
    at, promised = evidence.details["deployed"], evidence.threshold
    sides = [bound / at["multiplier"] for bound in at["interval"] if bound is not None]
    lowers = at["direction"] == "lowers" and at["multiplier"] > 0
    if evidence.verdict is not Verdict.PASS or promised is None or len(sides) < 2:
        return []
    if (-min(sides) if lowers else max(sides)) >= promised:
        return []
    return [
        f"at the deployed multiplier {at['multiplier']:g} the mean effect is {number(at['mean_effect'])}, which is proven to be less than the "
        f"promised {number(promised)} per unit of the multiplier: the slope does not reach that far"
    ]


def slope_warnings(evidence: Evidence, subject: Subject) -> list[str]:
    """Warnings about a slope beside the deployed multiplier: it is far from the grid, or negative and not said to lower the behaviour."""
    return [*far_grid(evidence, subject), *_negative(evidence, subject)]


def far_grid(evidence: Evidence, subject: Subject) -> list[str]:
    """A warning if the deployed multiplier is far from those of the slope."""
    deployed, sizes = abs(subject.multiplier), sorted(abs(one) for one in evidence.multipliers or () if one)
    if not sizes or _FAR * sizes[-1] >= deployed >= sizes[0] / _FAR:
        return []
    side = (
        f"the largest multiplier of the slope is {sizes[-1]:g}"
        if deployed > sizes[-1]
        else (f"the smallest multiplier of the slope other than 0 is {sizes[0]:g}")
    )
    return [
        f"{side} and the deployed one is {subject.multiplier:g}, more than {_FAR} times as {'large' if deployed > sizes[-1] else 'small'}: the slope says "
        "little about it. Choose multipliers around the deployed one"
    ]


def _negative(evidence: Evidence, subject: Subject) -> list[str]:
    at = evidence.details["deployed"]
    if subject.direction == "lowers" or subject.multiplier > 0 or subject.intervention.strength != "linear":
        return []
    moves = "does not provably move" if at["moves"] == "neither way" else f"moves {at['moves']}"
    return [
        f"deployed at the negative multiplier {at['multiplier']:g}, the model {moves} (mean effect {number(at['mean_effect'])}), while this claim "
        "is about the slope over the multipliers. If the vector is meant to lower the behaviour, write `direction: lowers`"
    ]
