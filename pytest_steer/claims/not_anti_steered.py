"""``not_anti_steered``: the share of items that move the wrong way is at most `share`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Unpack

from ..data import ItemLike, Items, Sample, sample_of
from ..evidence import Evidence
from ..measures import MULTIPLIERS, Array, NoiseFloor, PropensityCurve
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..run_context import current_run
from ..stats import Direction, Inference, Verdict, items_needed_share, sequential_share
from ..steering import Intervention, SteeringVector
from . import words
from .common import WEAK_SHARE, Controls, OverItems, Sequential
from .holding import hold
from .in_rounds import is_in_rounds
from .judging import open_share, share_of
from .kinds import claim
from .no_effect import controls_of_no_effect
from .over_items import measure_items

By = Literal["slope", "effect"]


@claim("not_anti_steered", title="Few items are steered the wrong way", main="share")
@dataclass(frozen=True, kw_only=True)
class NotAntiSteered:
    """The share of items that move the wrong way is at most `share`.

    The bounds are exact binomial ones (Clopper & Pearson 1934). ``by: slope`` counts items whose slope is <= 0, so a tie counts as
    anti-steerable (Tan et al. 2024); ``by: effect`` counts items whose propensity at the deployed multiplier is below that at 0, so a
    tie is not (Braun et al. 2025, arXiv 2505.22637). With ``direction: lowers`` items that do not fall towards the deployed multiplier,
    or rise at it, count.
    """

    subject: Subject
    items: Items
    share: Annotated[
        float | None,
        Param(
            "The largest share of items that may be steered the wrong way: 0.25 means 25 %.",
            title="Largest share of anti-steerable items",
            example=0.25,
            above=0,
            below=1,
            weak_from=0.6,
            weak=WEAK_SHARE,
        ),
    ]
    by: Annotated[
        By,
        Param(
            "slope: the item's steerability is not above 0; effect: its propensity falls at the deployed multiplier.",
            title="What makes an item anti-steerable",
            example="slope",
        ),
    ] = "slope"
    sequential: Sequential = None
    controls: Controls = "auto"
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    context: Context = AS_GIVEN
    cluster: str | None = None
    name: str = "not_anti_steered"

    def measure(self, model: Model) -> Evidence:
        """Measure and judge; see ``over_items.measure_items`` for what is raised."""
        grid = list(self.multipliers)
        if self.by == "effect":
            # An intervention without a slope has no curve: its deployed strength is held against the unsteered model.
            grid = grid if self.subject.intervention.strength == "linear" else []
            grid = sorted({*grid, 0.0, self.subject.multiplier})
        curve, found, evidence = measure_items(
            model,
            self.subject,
            self._sample,
            grid,
            check="not_anti_steered",
            name=self.name,
            statistic="anti-steerable share"
            if self._sign > 0
            else f"share that {'does not fall' if self.by == 'slope' else 'rises'}",
            direction=Direction.AT_MOST,
            threshold=self.share,
            confidence=self.confidence,
            min_n=self.min_n,
            context=self.context,
            values=self._moves_the_wrong_way,
            infer=self._infer,
            over_clusters=lambda wrong, clusters: share_of(wrong, confidence=self.confidence, clusters=clusters),
            moved=self._open,
            sequential=self._in_rounds,
            seed=self.seed,
            controls=0 if self.controls == "auto" else self.controls,
            by_effect=self.by == "effect",
        )
        evidence.details |= {"by": self.by, "anti_steered_items": int(self._moves_the_wrong_way(curve).sum())}
        if evidence.units is not None:
            evidence.units["how"]["by"] = self.by
        if self.by == "effect":
            evidence.details["effects"] = [float(effect) for effect in curve.effects(self.subject.multiplier)]
        if self.controls == "auto":
            evidence.details |= controls_of_no_effect(model, self.subject, curve.items, evidence, self.seed, self.context)
        if evidence.verdict is Verdict.INCONCLUSIVE and self.share is not None:
            evidence.items_needed = items_needed_share(
                found.estimate, self.share, direction=Direction.AT_MOST, confidence=self.confidence
            )
        return evidence

    @cached_property
    def _sample(self) -> Sample[Items]:
        return sample_of(self.items, self.cluster)

    @property
    def _in_rounds(self) -> bool:
        return is_in_rounds(self.sequential, current_run().effort, self._sample.drawable)

    def _moves_the_wrong_way(self, curve: PropensityCurve) -> Array:
        if self.by == "slope":
            return (self._sign * curve.slopes <= 0).astype(float)
        return (self._sign * curve.effects(self.subject.multiplier) < 0).astype(float)

    @property
    def _sign(self) -> int:
        return self.subject.slope_sign if self.by == "slope" else self.subject.effect_sign

    def _open(self, floor: NoiseFloor, curve: PropensityCurve) -> float:
        """The share of items of which the noise leaves open which way they move."""
        if self.by == "slope":
            return open_share(curve.slopes, floor.slope(curve.multipliers.tolist()))
        return open_share(curve.effects(self.subject.multiplier), floor.effect)

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        return [*words.remarks(evidence), *words.controls(evidence)]

    def _infer(self, wrong: Array) -> Inference:
        if self._in_rounds:
            return sequential_share(wrong.astype(bool), confidence=self.confidence)
        return share_of(wrong, confidence=self.confidence)


def assert_not_anti_steered(
    model: Model,
    vector: SteeringVector | Intervention | None,
    items: Iterable[ItemLike],
    *,
    share: Promise,
    by: By = "slope",
    sequential: bool | None = None,
    controls: int | Literal["auto"] = "auto",
    **shared: Unpack[OverItems],
) -> Evidence:
    """Assert that the share of items that move the wrong way is at most ``share``.

    Args:
        share: the promise, between 0 and 1.
        by: ``slope`` (slope <= 0, Tan et al. 2024) or ``effect`` (propensity at ``multiplier`` below that at 0, Braun et al.
            2025).

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("not_anti_steered", locals())
