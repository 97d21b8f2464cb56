"""What the deployed multiplier does: measured beside the grid of a claim and never in its fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..evidence import Evidence
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
