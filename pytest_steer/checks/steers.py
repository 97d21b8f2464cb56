"""``steers``: the behaviour rises with the multiplier, by at least so much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..metrics import MULTIPLIERS
from ..model import Model
from ..prompting import AS_GIVEN, Context, Items
from ..stats import Direction, Verdict, items_needed_mean, mean_bootstrap, mean_t
from .evidence import Evidence
from .over_items import measure_items
from .subject import Subject

IntervalMethod = Literal["t", "bootstrap"]


@dataclass(frozen=True, kw_only=True)
class Steers:
    """Steerability (mean of the items' slopes, Tan et al. 2024) is at least a threshold.

    Attributes:
        subject: what steers.
        items: held-out contrast items.
        steerability: the promise, in units of propensity per unit of the multiplier.
        interval: ``t`` (Student's, over items) or ``bootstrap`` (BCa, over items).
    """

    subject: Subject
    items: Items
    steerability: float
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    interval: IntervalMethod = "t"
    seed: int = 0
    context: Context = AS_GIVEN
    name: str = "steers"

    def measure(self, model: Model) -> Evidence:
        """Measures and judges; see ``over_items.measure_items`` for what is raised."""
        curve, evidence = measure_items(
            model,
            self.subject,
            self.items,
            self.multipliers,
            check="steers",
            name=self.name,
            statistic="steerability",
            direction=Direction.AT_LEAST,
            threshold=self.steerability,
            confidence=self.confidence,
            context=self.context,
        )
        if self.interval == "bootstrap":
            found = mean_bootstrap(curve.slopes, confidence=self.confidence, seed=self.seed)
        else:
            found = mean_t(curve.slopes, confidence=self.confidence)
        evidence.estimate, evidence.interval = found.estimate, (found.low, found.high)
        evidence.interval_method = found.method
        evidence.judge(found, self.steerability)
        if evidence.verdict is Verdict.INCONCLUSIVE and found.standard_deviation:
            evidence.items_needed = items_needed_mean(
                found.estimate, found.standard_deviation, self.steerability, confidence=self.confidence
            )
        return evidence
