"""Random directions of equal norm beside a claim: they tell an absent effect from one that any direction has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..core.evidence import Verdict
from ..core.record import LEFT_OUT
from ..measures import can_have_controls, random_controls
from ..measures.ask import Ask
from .curves import moves_of_deployed
from .judging import Judgement
from .measurement import Measurement

CONTROLS = 19
"""The fewest random directions that can show p = 0.05."""
_MOST_ITEMS = 32


@dataclass(frozen=True, kw_only=True)
class WithControls:
    """Details of a claim beside which random directions may be measured."""

    controls: Mapping[str, Any] | None = field(default=None, metadata=LEFT_OUT)


def controls_of_no_effect(
    ask: Ask, measured: Measurement, judgement: Judgement, *, seed: int, moves: str | None = None
) -> dict[str, Any]:
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
