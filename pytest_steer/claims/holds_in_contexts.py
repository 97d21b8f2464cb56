"""``holds_in_contexts``: the promise holds in the worst context that a search can find.

The statistic of a claim is measured in each context over one fixed batch of items; the search goes for the context where it is
worst (``worst_context.py``). The worst of many contexts on one batch is an extreme value and no evidence (REFERENCE, section 6),
so the claim is judged in that one context on items that the search did not see: pass if the bound on the far side is past
the threshold, fail if the other one is, as for any claim. There is no interval over contexts, and a pass does not say that
no context is worse.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Unpack

from .. import progress
from ..core.block import Block
from ..data import ItemLike, Items, sample_of
from ..errors import SteerError
from ..evidence import Evidence
from ..fuzzing.trials import Search, Trials
from ..measures import (
    MULTIPLIERS,
    Array,
    NoiseFloor,
    PropensityCurve,
    asked_record,
    curves_in_contexts,
    strata,
)
from ..measures.subject import Subject
from ..model import Model, engine_of
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import Direction, Inference, Verdict, items_needed_share
from ..steering import Intervention, SteeringVector
from . import show
from .common import WEAK_MEAN, WEAK_SHARE, AboutItems, Interval, IntervalMethod
from .context_looks import Look, search_details
from .deployed import deployed_record, slope_warnings, with_deployed
from .doubts import look_closer
from .explain_contexts import contexts_tried, how_to_reproduce, nothing_searched, worst_contexts
from .holding import hold
from .judged import SHARES, judged, judged_from, mean_of, open_share, share_of
from .kinds import claim, promises_of
from .no_effect import controls_of_no_effect
from .over_items import (
    asking_warnings,
    check_has_slope,
    curve_band,
    curve_details,
    data_warnings,
    item_record,
)
from .searching import divided, search_of

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

Statistic = Literal["steerability", "anti_steerable_share", "effect"]
STATISTICS: tuple[Statistic, ...] = ("steerability", "anti_steerable_share", "effect")

_WORDS = {"steerability": "steerability", "anti_steerable_share": "anti-steerable share", "effect": "mean effect"}


@claim(
    "holds_in_contexts",
    title="The promise holds in the worst context that a search finds",
    main="steerability",
    one_of=STATISTICS,
    not_with={"multipliers": "effect", "interval": "anti_steerable_share"},
)
@dataclass(frozen=True, kw_only=True)
class HoldsInContexts:
    """What is promised of every context in `contexts`: one of steerability, anti_steerable_share, effect, such as `{steerability: 0.1}`.

    Steerability is the mean slope, anti_steerable_share the share of items whose slope is <= 0, effect the mean propensity at the deployed
    multiplier minus that at 0.

    Attributes:
        subject: what steers.
        items: held-out contrast items; a batch of them is searched on, the others judge.
        search: the contexts, and how they are searched.
        context: how items are asked and read where a context leaves it as given: template, thinking, date, answers.

    Raises:
        SteerError: a number that cannot be used.
    """

    subject: Subject
    items: Items
    search: Search
    steerability: Annotated[
        float | None,
        Param(
            "The least mean steerability in any context: the change of propensity per unit of multiplier, for example 0.1.",
            title="Least mean steerability",
            example=0.1,
            weak_to=-1,
            weak=WEAK_MEAN,
        ),
    ] = None
    anti_steerable_share: Annotated[
        float | None,
        Param(
            "The largest share of items whose steerability is not above 0, in any context: 0.25 means 25 %.",
            title="Largest share of anti-steerable items",
            example=0.25,
            above=0,
            below=1,
            weak_from=0.6,
            weak=WEAK_SHARE,
        ),
    ] = None
    effect: Annotated[
        float | None,
        Param(
            "The least mean effect in any context: propensity at `multiplier` minus propensity at 0, for example 0.1.",
            title="Least mean effect",
            example=0.1,
            weak_to=-1,
            weak=WEAK_MEAN,
        ),
    ] = None
    max_contexts: Annotated[
        int | None,
        Param(
            "How many contexts are looked at; without it, what --steer-profile says.",
            title="Number of contexts",
            example=40,
            at_least=1,
        ),
    ] = None
    batch: Annotated[
        int | None,
        Param(
            "How many items the search sees, the others judge what it finds; without it, what --steer-profile says.",
            title="Size of the batch",
            example=16,
            at_least=2,
        ),
    ] = None
    interval: Interval = "t"
    context: Context = AS_GIVEN
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    min_n: int | None = None
    cluster: str | None = None
    seed: int = 0
    name: str = "holds_in_contexts"

    def __post_init__(self) -> None:
        given = [*promises_of(self)]
        if len(given) != 1:
            raise SteerError(
                f"holds_in_contexts takes exactly one of {', '.join(STATISTICS)}, not {' and '.join(given) or 'none'}"
            )

    @property
    def statistic(self) -> Statistic:
        """The one of the three that is promised."""
        return next(statistic for statistic in STATISTICS if statistic in promises_of(self))

    @property
    def threshold(self) -> float | None:
        return promises_of(self)[self.statistic].value

    def measure(self, model: Model) -> Evidence:
        """Search on the batch, then judge on the other items.

        Raises:
            DataError: too few items, or an item that cannot be put in one of the contexts.
            SteerError: multipliers without a slope, or an intervention whose strength has none.
            SoundnessError: the hooks do not do what they say.
            VectorError, MeasurementError: see ``propensity_curve`` and ``check_fits``.
        """
        from ..fuzzing.worst_context import find_worst  # loads Hypothesis

        grid = self._grid()
        sample = sample_of(self.items, self.cluster, at_least=0)
        batch, fresh = divided(sample, self.items.source, self.search.batch, self.batch, seed=self.seed)
        soundness = check_before(model, self.subject)
        before = engine_of(model).forwards, engine_of(model).remembered
        curves = partial(self._curves, model, grid)
        trials = Trials(
            lambda contexts: [self._estimate(curve) for curve in curves(batch.units, contexts)],
            self.threshold,
            self._direction,
        )
        max_contexts = self.search.max_contexts if self.max_contexts is None else self.max_contexts
        search = replace(self.search, place=self.search.place or self.name)
        found = find_worst(trials, search, max_contexts=max_contexts, seed=self.seed)
        with progress.looking(0, sure=False):  # the context may be known from other claims
            looks = [self._judged(found.worst.context, curves(fresh.units, [found.worst.context])[0], fresh.clusters)]
            if looks[0].verdict is Verdict.FAIL and found.smallest is not None and found.smallest != found.worst:
                # A fixed sequence of tests: the second is made only if the first refutes the claim, and the batch alone chose
                # both, so neither needs a stricter level (Maurer, Hothorn & Lehmacher 1995).
                simpler = found.smallest.context
                looks.append(self._judged(simpler, curves(fresh.units, [simpler])[0], fresh.clusters))
            decisive = looks[-1] if looks[-1].verdict is Verdict.FAIL else looks[0]
            curve, inference = decisive.curve, decisive.inference
            linear = self.subject.intervention.strength == "linear"
            asked = asked_record(model, curve, decisive.context.over(self.context))
            evidence = judged(
                model,
                self.subject,
                inference,
                curve.probes,
                threshold=self.threshold,
                direction=self._direction,
                confidence=self.confidence,
                min_n=self.min_n,
                moved=lambda floor: self._moved(floor, curve),
                check="holds_in_contexts",
                name=self.name,
                statistic=self._words,
                n=fresh.n,
                unit=f"{fresh.counted} that the search did not see",
                data=sample.describe(),
                multipliers=[float(m) for m in grid],
                curve=[float(p) for p in curve.mean],
                curve_interval=curve_band(curve, self.confidence, fresh.clusters),
                items=[item_record(curve, index) for index in range(len(fresh.units))] if linear else None,
                strata=[vars(stratum) for stratum in strata(curve, self.subject.slope_sign)] if linear else [],
                soundness=soundness,
                asked=asked,
                warnings=data_warnings(self.subject, sample) + asking_warnings(model, self.subject, asked, sample.units),
            )
            evidence.unpaired = "the search may find another worst context in each run"
            if evidence.verdict is Verdict.FAIL:
                evidence.extra["counterexample"] = {"context": decisive.context.to_dict(), "estimate": inference.estimate}
            if (
                evidence.verdict is Verdict.INCONCLUSIVE
                and self.threshold is not None
                and self.statistic == "anti_steerable_share"
            ):
                evidence.items_needed = items_needed_share(
                    inference.estimate, self.threshold, direction=Direction.AT_MOST, confidence=self.confidence
                )
            evidence.details = (
                search_details(self.statistic, self.seed, trials, found, batch.units, decisive, looks)
                | {"max_contexts": max_contexts}
                | fresh.details()
            )
            if linear:
                evidence.details |= curve_details(curve, self.subject)
            at_deployed = with_deployed(model, self.subject, curve, decisive.context.over(self.context))
            evidence.details["deployed"] = deployed_record(self.subject, at_deployed, self.confidence, fresh.clusters)
            context = decisive.context.over(self.context)
            evidence.details |= controls_of_no_effect(model, self.subject, fresh.units, evidence, self.seed, context)
            if self.search.only is None:
                tried = [row.context.over(self.context) for row in trials.rows]
                evidence.warnings += nothing_searched(model.format, batch.units, tried)
            if self.statistic != "effect":
                evidence.warnings += slope_warnings(evidence, self.subject)
            if inference.method not in SHARES:
                names = [item.id for item in fresh.units]
                look_closer(evidence, self._values(curve), self._bounds, self.threshold, fresh.clusters, names)
        computed, answered = engine_of(model).forwards - before[0], engine_of(model).remembered - before[1]
        saved = answered + (trials.asked - len(trials.rows)) * len(batch.units) * len(grid)
        evidence.details["forwards"] = {"computed": computed, "saved": saved}
        return evidence

    # --- what is measured ---

    @property
    def _direction(self) -> Direction:
        return Direction.AT_MOST if self.statistic == "anti_steerable_share" else Direction.AT_LEAST

    def _grid(self) -> list[float]:
        if self.statistic == "effect":
            return sorted({0.0, float(self.subject.multiplier)})
        return check_has_slope(self.subject, self.multipliers, instead="Promise an effect")

    def _curves(self, model: Model, grid: list[float], items: Items, contexts: Sequence[Context]) -> list[PropensityCurve]:
        return curves_in_contexts(
            model,
            items,
            self.subject.intervention,
            contexts=[context.over(self.context) for context in contexts],
            multipliers=grid,
            **self.subject.scope,
        )

    def _values(self, curve: PropensityCurve) -> Array:
        """[n_items] what the statistic is the mean of."""
        if self.statistic == "effect":
            return self._sign * curve.effects(float(self.subject.multiplier))
        slopes = self._sign * curve.slopes
        return slopes if self.statistic == "steerability" else (slopes <= 0).astype(float)

    @property
    def _sign(self) -> int:
        return self.subject.effect_sign if self.statistic == "effect" else self.subject.slope_sign

    @property
    def _words(self) -> str:
        if self._sign > 0:
            return _WORDS[self.statistic]
        return (
            "share that does not fall" if self.statistic == "anti_steerable_share" else f"negative {_WORDS[self.statistic]}"
        )

    def _moved(self, floor: NoiseFloor, curve: PropensityCurve) -> float:
        """What the noise floor moves the statistic of one item by; of a share, the share of items that it leaves open."""
        if self.statistic == "effect":
            return floor.effect
        room = floor.slope(curve.multipliers.tolist())
        return room if self.statistic == "steerability" else open_share(curve.slopes, room)

    def _estimate(self, curve: PropensityCurve) -> float:
        return float(self._values(curve).mean())

    def _bounds(self, values: Array, clusters: Sequence[int] | None) -> Inference:
        if self.statistic == "anti_steerable_share":
            return share_of(values, confidence=self.confidence, clusters=clusters)
        return mean_of(values, self.interval, confidence=self.confidence, seed=self.seed, clusters=clusters)

    def _judged(self, context: Context, curve: PropensityCurve, clusters: Sequence[int] | None) -> Look:
        found = self._bounds(self._values(curve), clusters)
        return Look(context, curve, found, judged_from(found, self.threshold, self._direction, self.min_n))

    always = staticmethod(contexts_tried)

    @staticmethod
    def why(evidence: Evidence) -> Iterable[Block]:
        return [*worst_contexts(evidence), *show.of_items(evidence)]

    @staticmethod
    def extra(evidence: Evidence) -> dict[str, Any]:
        found = evidence.counterexample
        return {"counterexample": None if found is None else {**found, "reproduce": how_to_reproduce(evidence)}}


def assert_holds_in_contexts(
    model: Model,
    vector: SteeringVector | Intervention | None,
    items: Iterable[ItemLike],
    *,
    contexts: SearchStrategy[Context] | Mapping[str, Sequence[Any]],
    steerability: Promise = None,
    anti_steerable_share: Promise = None,
    effect: Promise = None,
    max_contexts: int | None = None,
    batch: int | None = None,
    listed: Sequence[Context] = (),
    only: Context | None = None,
    interval: IntervalMethod = "t",
    multipliers: Sequence[float] = MULTIPLIERS,
    cluster: str | None = None,
    **shared: Unpack[AboutItems],
) -> Evidence:
    """Assert that one statistic keeps its threshold in the worst context that a search finds (docs/fuzzing.md).

    Args:
        items: held-out contrast items, at least four: a batch is searched on, the others judge what was found.
        contexts: a strategy (``pytest_steer.contexts(...)``), or its axes as a mapping, ``{"option_order": ["as_given",
            "swapped"]}``. With a mapping, every combination of the values and "as given" is allowed, so the search may recombine
            them and set axes back; a strategy's contexts are only drawn, climbed and shrunk by Hypothesis.
        steerability / anti_steerable_share / effect: the promise, exactly one: least mean slope, largest share of items whose slope is
            <= 0, least mean change of propensity from 0 to ``multiplier``.
        max_contexts / batch: how many contexts are looked at, with how many items; by default what ``--steer-profile`` says.
        listed: contexts that are always tried, before any other.
        only: judge this context and search for no other.
        cluster: a key of the items that names what belongs together; clusters are searched on, or judge, as a whole.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold(
        "holds_in_contexts",
        locals(),
        late={"search": lambda: search_of(contexts, listed, only, str(shared.get("name", "holds_in_contexts")))},
    )
