"""``not_anti_steered``: at most so large a share of the items moves the wrong way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..data import Items
from ..errors import SteerError
from ..evidence import Evidence
from ..measures import MULTIPLIERS, Array, NoiseFloor, PropensityCurve
from ..measures.subject import Subject
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..stats import Direction, Inference, Verdict, items_needed_share, sequential_share, share
from .over_items import measure_items
from .precision import open_share

By = Literal["slope", "effect"]


@dataclass(frozen=True, kw_only=True)
class NotAntiSteered:
    """The share of anti-steerable items is at most a threshold; exact binomial bounds (Clopper & Pearson 1934).

    Attributes:
        share: the promise, between 0 and 1.
        by: ``slope`` counts items whose slope is <= 0, so a tie is anti-steerable (Tan et al. 2024); ``effect`` counts
            items whose propensity at the deployed multiplier is below that at 0, so a tie is not (Braun et al. 2025,
            arXiv 2505.22637).
        sequential: draw items in rounds under an anytime-valid bound, and stop when decided.

    Raises:
        SteerError: the share is not between 0 and 1.
    """

    subject: Subject
    items: Items
    share: float
    by: By = "slope"
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    sequential: bool = False
    seed: int = 0
    context: Context = AS_GIVEN
    name: str = "not_anti_steered"

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SteerError(f"share has to be between 0 and 1 (0.25 means a quarter of the items), not {self.share}")
        if self.by not in ("slope", "effect"):
            raise SteerError(f"by is 'slope' or 'effect', not {self.by!r}")

    def measure(self, model: Model) -> Evidence:
        """Measures and judges; see ``over_items.measure_items`` for what is raised."""
        grid = list(self.multipliers)
        if self.by == "effect":
            # An intervention without a slope has no curve: its deployed strength is held against the unsteered model.
            grid = grid if self.subject.intervention.strength == "linear" else []
            grid = sorted({*grid, 0.0, self.subject.multiplier})
        curve, found, evidence = measure_items(
            model,
            self.subject,
            self.items,
            grid,
            check="not_anti_steered",
            name=self.name,
            statistic="anti-steerable share",
            direction=Direction.AT_MOST,
            threshold=self.share,
            confidence=self.confidence,
            context=self.context,
            values=self._moves_the_wrong_way,
            infer=self._infer,
            moved=self._open,
            sequential=self.sequential,
            seed=self.seed,
            by_effect=self.by == "effect",
        )
        evidence.details |= {"by": self.by, "anti_steered_items": int(self._moves_the_wrong_way(curve).sum())}
        if self.by == "effect":
            evidence.details["effects"] = [float(effect) for effect in curve.effects(self.subject.multiplier)]
        if evidence.verdict is Verdict.INCONCLUSIVE:
            evidence.items_needed = items_needed_share(
                found.estimate, self.share, direction=Direction.AT_MOST, confidence=self.confidence
            )
        return evidence

    def _moves_the_wrong_way(self, curve: PropensityCurve) -> Array:
        wrong = curve.anti_steerable if self.by == "slope" else curve.effects(self.subject.multiplier) < 0
        return wrong.astype(float)

    def _open(self, floor: NoiseFloor, curve: PropensityCurve) -> float:
        """The share of items of which the noise leaves open which way they move."""
        if self.by == "slope":
            return open_share(curve.slopes, floor.slope(curve.multipliers.tolist()))
        return open_share(curve.effects(self.subject.multiplier), floor.effect)

    def _infer(self, wrong: Array) -> Inference:
        if self.sequential:
            return sequential_share(wrong.astype(bool), confidence=self.confidence)
        return share(int(wrong.sum()), len(wrong), confidence=self.confidence)
