"""``steers``: the behaviour rises with the multiplier, by at least `steerability`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal, Unpack

from ..data import ItemLike, Items, Sample, sample_of
from ..errors import SteerError
from ..evidence import Direction, Evidence
from ..measures import MULTIPLIERS, Array
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..run_context import current_run
from ..stats import Inference, mean_t, sequential_mean
from ..steering import Intervention, SteeringVector
from . import words
from .common import WEAK_MEAN, Controls, Interval, IntervalMethod, OverItems, Sequential
from .deployed import check_agrees, short_of_promise
from .holding import hold
from .in_rounds import is_in_rounds
from .judging import mean_of
from .kinds import claim
from .no_effect import controls_of_no_effect
from .over_items import measure_items


@claim("steers", title="The vector steers", main="steerability")
@dataclass(frozen=True, kw_only=True)
class Steers:
    """The mean steerability over the test items is at least `steerability`.

    Steerability is the slope of an item's propensity over the multipliers (Tan et al. 2024). With ``direction: lowers`` the claim is that
    propensity falls by as much per unit, from 0 to the deployed multiplier. A pass whose slope the effect at the deployed multiplier
    contradicts is inconclusive.

    Raises:
        SteerError: ``sequential`` with another interval than t, which has no anytime-valid bound.
    """

    subject: Subject
    items: Items
    steerability: Annotated[
        float | None,
        Param(
            "The least mean steerability: the change of propensity per unit of multiplier, for example 0.3.",
            title="Least mean steerability",
            example=0.3,
            unit="propensity per unit of the multiplier",
            weak_to=-1,
            weak=WEAK_MEAN,
        ),
    ]
    interval: Interval = "t"
    sequential: Sequential = None
    controls: Controls = "auto"
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    context: Context = AS_GIVEN
    cluster: str | None = None
    name: str = "steers"

    def __post_init__(self) -> None:
        if self.sequential and self.interval != "t":
            raise SteerError(
                f"sequential: true goes with interval: t; {self.interval} has no bound that may be looked at early"
            )

    def measure(self, model: Model) -> Evidence:
        """Measure and judge; see ``over_items.measure_items`` for what is raised."""
        sign = self.subject.slope_sign
        curve, _, evidence = measure_items(
            model,
            self.subject,
            self._sample,
            self.multipliers,
            check="steers",
            name=self.name,
            statistic="steerability" if sign > 0 else "negative steerability",
            direction=Direction.AT_LEAST,
            threshold=self.steerability,
            confidence=self.confidence,
            min_n=self.min_n,
            context=self.context,
            values=lambda curve: sign * curve.slopes,
            infer=self._infer,
            over_clusters=self._mean,
            moved=lambda floor, curve: floor.slope(curve.multipliers.tolist()),
            sequential=self._in_rounds,
            seed=self.seed,
            controls=0 if self.controls == "auto" else self.controls,
        )
        clusters = None if self._in_rounds else self._sample.clusters
        check_agrees(evidence, mean_t(curve.slopes, confidence=self.confidence, clusters=clusters))
        evidence.warnings += short_of_promise(evidence)
        if self.controls == "auto":
            evidence.details |= controls_of_no_effect(model, self.subject, curve.items, evidence, self.seed, self.context)
        return evidence

    @cached_property
    def _sample(self) -> Sample[Items]:
        return sample_of(self.items, self.cluster)

    @property
    def _in_rounds(self) -> bool:
        return is_in_rounds(self.sequential, current_run().effort, self._sample.drawable, self.interval)

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        return [*words.remarks(evidence), *words.controls(evidence)]

    def _infer(self, slopes: Array) -> Inference:
        if self._in_rounds:
            return sequential_mean(slopes, confidence=self.confidence)
        return self._mean(slopes)

    def _mean(self, slopes: Array, clusters: Sequence[int] | None = None) -> Inference:
        return mean_of(slopes, self.interval, confidence=self.confidence, seed=self.seed, clusters=clusters)


def assert_steers(
    model: Model,
    vector: SteeringVector | Intervention | None,
    items: Iterable[ItemLike],
    *,
    steerability: Promise,
    interval: IntervalMethod = "t",
    sequential: bool | None = None,
    controls: int | Literal["auto"] = "auto",
    **shared: Unpack[OverItems],
) -> Evidence:
    """Assert that steerability, the mean slope of the items' propensity over the multipliers, is at least a threshold.

    Args:
        items: held-out contrast items, at least two.
        steerability: the promise, in logits (nats per token for answers of several tokens) per unit of the multiplier.
        interval: ``t``, ``bootstrap`` or ``transformed_t``, over items or clusters of items.
        sequential: draw items in rounds under an anytime-valid bound and stop when decided (docs/verdicts.md); None leaves it to
            ``--steer-profile``, as in a claim file.
        controls: so many random directions of equal norm are measured too, and the evidence says where the vector ranks. By default 19 at
            the deployed multiplier, where there seems to be no effect; 0 leaves them out.
        shared: see :class:`pytest_steer.claims.common.OverItems`.

    Raises:
        SteeringFailure: the claim does not hold; SteeringInconclusive: not enough evidence. Both have ``.evidence``.
        SteerError: the claim cannot be measured.
    """
    return hold("steers", locals())
