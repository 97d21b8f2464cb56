"""Random controls: does a vector do more than random directions of the same norm at the same layers?"""

from __future__ import annotations

from typing import Any

from ..core.errors import SteerError
from ..extract import random_direction
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, SteeringVector, intervention_kind
from .propensity import PropensityCurve, propensity_curves
from .subject import Subject

_ADDED = ("add", "add_keeping_norm", "add_at_unit_norm")


def can_have_controls(subject: Subject) -> bool:
    """Whether it adds a vector, in the place of which a random direction could be added."""
    change = subject.intervention
    return (
        change.vector is not None and change.applied is None and change.recipe is not None and change.recipe.kind in _ADDED
    )


def random_controls(
    model: Model, subject: Subject, curve: PropensityCurve, count: int, *, seed: int, context: Context = AS_GIVEN
) -> dict[str, Any]:
    """The mean slopes of random directions on the items and multipliers of a curve, and where the curve's own ranks among them.

    A direction is drawn evenly from all, with the vector's norm at each of its layers, and applied as the vector is. The seeds are
    ``seed``, ``seed + 1``, ... If the vector is no better than a random direction, p is at most x with a probability of at most x.

    Returns:
        ``count``, ``seed``, ``n`` (items), ``multipliers``, ``steerability`` (the vector's), ``steerabilities`` (of the controls), and ``p`` =
        (1 + number of controls that are at least as large) / (count + 1).

    Raises:
        SteerError: it is no vector that is added.
    """
    drawn = directions_like(subject, count, seed)
    grid = curve.multipliers.tolist()
    found = propensity_curves(model, curve.items, drawn, multipliers=grid, context=context, **subject.scope)
    slopes = [control.steerability for control in found.values()]
    at_least = sum(slope >= curve.steerability for slope in slopes)
    return {
        "count": count,
        "seed": seed,
        "n": len(curve.items),
        "multipliers": grid,
        "steerability": curve.steerability,
        "steerabilities": slopes,
        "p": (1 + at_least) / (count + 1),
    }


def directions_like(subject: Subject, count: int, seed: int) -> dict[int, Intervention]:
    """Random directions of the vector's norm at each of its layers, applied as it is, with the seeds ``seed``, ``seed + 1``, ...

    Raises:
        SteerError: it is no vector that is added.
    """
    vector = subject.intervention.vector
    if vector is None or not can_have_controls(subject):
        raise SteerError(
            f"controls: {subject.intervention.method!r} adds no vector of this package, so there are no random directions of equal norm "
            "for it: delete `controls`"
        )
    return {number: as_the_subject(subject, random_direction(vector, seed=seed + number)) for number in range(count)}


def as_the_subject(subject: Subject, vector: SteeringVector) -> Intervention:
    """A vector applied in the way in which the subject applies its own."""
    recipe = subject.intervention.recipe
    assert recipe is not None
    return intervention_kind(recipe.kind).make(vector, layers=None, site=subject.intervention.site, settings={})
