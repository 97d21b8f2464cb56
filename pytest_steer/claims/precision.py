"""What a model's numbers do to a verdict: the noise floor in the evidence, and a warning where the interval is narrower."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..evidence import Evidence
from ..measures import Array, NoiseFloor, noise_floor
from ..measures.subject import Subject
from ..model import Model, Probe
from .numbers import number


def add_noise(
    evidence: Evidence,
    model: Model,
    subject: Subject,
    probes: Sequence[Probe],
    moved: Callable[[NoiseFloor], float],
) -> None:
    """Puts the noise floor of the claim's scores into its evidence; warns where the interval is narrower than what it moves.

    Args:
        moved: what the floor moves the statistic of one unit (item, text) by; for a share, the share of units that it leaves open.
    """
    floor = noise_floor(model, probes, subject.intervention, subject.multiplier)
    room, (low, high) = moved(floor), evidence.interval
    narrow = bool(floor.coarse and low is not None and high is not None and high - low < room)
    evidence.noise = _record(floor, room, narrow)
    if narrow:
        evidence.warnings.append(
            f"the interval is narrower than the rounding: in {model.dtype} a score is known to {number(floor.score)} {floor.unit}, which "
            f"is {number(room, evidence.percent)} of {evidence.statistic}; for the last word measure in float32 "
            "(--steer-dtype float32)"
        )


def open_share(values: Array, room: float) -> float:
    """The share of values whose sign the noise leaves open."""
    return float((abs(values) < room).mean())


def _record(floor: NoiseFloor, room: float, narrow: bool) -> dict[str, Any]:
    return {
        "score": floor.score,
        "between_batches": floor.between_batches,
        "rounding": floor.rounding,
        "unit": floor.unit,
        "statistic": room,
        "interval_is_narrower": narrow,
    }
