"""Random directions beside a claim that shows no effect: they tell an effect that is absent from one that any direction has."""

from __future__ import annotations

from typing import Any

from ..data import Items
from ..evidence import Evidence, Verdict
from ..measures import can_have_controls, propensity_curve, random_controls
from ..measures.subject import Subject
from ..model import Model
from ..prompting import Context

CONTROLS = 19
"""The fewest that can show p = 0.05."""
_ITEMS = 32


def step_of(count: int, most: int = _ITEMS) -> int:
    """Of so many items every how many-th is measured: at most ``most``, spread evenly. All of them would cost more than the claim."""
    return -(-count // most)


def controls_of_no_effect(
    model: Model,
    subject: Subject,
    items: Items,
    evidence: Evidence,
    seed: int,
    context: Context,
    *,
    moves: str | None = None,
) -> dict[str, Any]:
    """The evidence's ``details.controls`` where a claim did not pass and it is not proven which way the deployed model moves, for a vector
    that is added; else nothing.

    Vector and controls are compared on the same items, at most 32, spread evenly over the claim's own.

    Args:
        moves: which way the model moves, as ``deployed.moves_of`` says it, if not as ``details.deployed`` has it.
    """
    no_effect = evidence.verdict is not Verdict.PASS and (moves or evidence.details["deployed"]["moves"]) == "neither way"
    if not no_effect or not can_have_controls(subject):
        return {}
    grid = [0.0, float(subject.multiplier)]
    items = items[:: step_of(len(items))]
    curve = propensity_curve(model, items, subject.intervention, multipliers=grid, context=context, **subject.scope)
    return {"controls": random_controls(model, subject, curve, CONTROLS, seed=seed, context=context)}
