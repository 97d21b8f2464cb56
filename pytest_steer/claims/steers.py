"""``steers``: the behaviour rises with the multiplier, by at least so much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..data import Items
from ..errors import SteerError
from ..evidence import Evidence
from ..measures import MULTIPLIERS, Array
from ..measures.subject import Subject
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..stats import Direction, Inference, Verdict, items_needed_mean, mean_bootstrap, mean_t, sequential_mean
from .over_items import measure_items

IntervalMethod = Literal["t", "bootstrap"]


@dataclass(frozen=True, kw_only=True)
class Steers:
    """Steerability (mean of the items' slopes, Tan et al. 2024) is at least a threshold.

    Attributes:
        subject: what steers.
        items: held-out contrast items.
        steerability: the promise, in units of propensity per unit of the multiplier.
        interval: ``t`` (Student's, over items) or ``bootstrap`` (BCa, over items).
        sequential: draw items in rounds under an anytime-valid bound, and stop when decided; ``interval`` has to be ``t``.

    Raises:
        SteerError: ``sequential`` with the bootstrap, which has no anytime-valid bound.
    """

    subject: Subject
    items: Items
    steerability: float
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    interval: IntervalMethod = "t"
    sequential: bool = False
    seed: int = 0
    context: Context = AS_GIVEN
    name: str = "steers"

    def __post_init__(self) -> None:
        if self.sequential and self.interval != "t":
            raise SteerError("sequential: true goes with interval: t; a bootstrap has no bound that may be looked at early")

    def measure(self, model: Model) -> Evidence:
        """Measures and judges; see ``over_items.measure_items`` for what is raised."""
        _, found, evidence = measure_items(
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
            values=lambda curve: curve.slopes,
            infer=self._infer,
            moved=lambda floor, curve: floor.slope(curve.multipliers.tolist()),
            sequential=self.sequential,
            seed=self.seed,
        )
        if evidence.verdict is Verdict.INCONCLUSIVE and found.standard_deviation:
            evidence.items_needed = items_needed_mean(
                found.estimate, found.standard_deviation, self.steerability, confidence=self.confidence
            )
        return evidence

    def _infer(self, slopes: Array) -> Inference:
        if self.sequential:
            return sequential_mean(slopes, confidence=self.confidence)
        if self.interval == "bootstrap":
            return mean_bootstrap(slopes, confidence=self.confidence, seed=self.seed)
        return mean_t(slopes, confidence=self.confidence)
