"""``generalizes``: what is left of steerability in other contexts and on other data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Unpack

import numpy as np

from ..data import ContrastItem, ItemLike, Items, sample_of
from ..errors import SteerError
from ..evidence import Evidence
from ..measures import MULTIPLIERS, Array, PropensityCurve, asked_record
from ..measures.compared import bounds_of
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import (
    Direction,
    Inference,
    Verdict,
    items_needed_ratio,
    judge,
    least_ratio,
    mean_t,
    one_per_cluster,
    ratio_of_means,
)
from ..steering import Intervention, SteeringVector
from . import words
from .common import AboutItems
from .deployed import deployed_record, slope_warnings, with_deployed
from .doubts import look_closer
from .from_file import CONTEXT
from .holding import hold
from .judged import NOT_JUDGED, judged, judged_from
from .kinds import claim, promises_of
from .no_effect import controls_of_no_effect
from .other_data_schema import CONTEXTS, DATA_SETS, faults_of_settings
from .over_items import asking_warnings, check_has_slope, curve_fields, data_warnings
from .settings import (
    Measuring,
    OtherData,
    Setting,
    checked_data,
    describe,
    items_of,
    other_data_warnings,
    setting_warnings,
    settings_figures,
    settings_table,
)
from .units import of_ratio, units_record


@claim(
    "generalizes",
    title="Steering carries over to other settings",
    main="retention",
    one_of=("retention", "tan_relative"),
    any_of=("contexts", "data_sets"),
)
@dataclass(frozen=True, kw_only=True)
class Generalizes:
    """In each of the named contexts and data sets, steerability is at least `retention` times that in the base context, or at least `tan_relative` times that of the data set's own vector.

    Retention is the slope of one vector there, divided by its slope in the base context. Relative steerability (Tan et al. 2024) is
    the slope of this vector on another data set, divided by the slope that the data set's own vector has on it. The statistic is the
    least over the settings. Each setting has Fieller's bounds of the ratio: paired by item for contexts and for ``tan_relative``,
    unpaired for the retention on other data. The claim passes if every lower bound is past the threshold, and fails if the upper
    bound of any setting is below it at a level divided by their number (``stats.least_ratio``).

    Raises:
        SteerError: no settings, one name twice, a promise that is not above 0, or a data set with a vector for ``retention`` or without
            one for ``tan_relative``.
    """

    subject: Subject
    items: Items
    retention: Annotated[
        float | None,
        Param(
            "The least share of the base steerability that is left in every setting: 0.5 means half of it.",
            title="Least share of the base steerability",
            example=0.5,
            above=0,
        ),
    ] = None
    tan_relative: Annotated[
        float | None,
        Param(
            "The least steerability on every data set, as a share of that of the data set's own vector (Tan et al. 2024): 0.5 means "
            "half of it. Each of `data_sets` then names its `test` items and its `train` data or `vector`.",
            title="Least share of the own vector's steerability",
            example=0.5,
            above=0,
        ),
    ] = None
    contexts: Annotated[
        Mapping[str, Context],
        Param(
            "Names of contexts, each with what is not as given in it: `{swapped: {option_order: swapped}}`.",
            title="Shifted contexts",
            example={"swapped": {"option_order": "swapped"}},
            loads=CONTEXTS,
        ),
    ] = field(default_factory=dict)
    data_sets: Annotated[
        Mapping[str, Items | OtherData],
        Param(
            "Names of other data sets, each with its file of contrast items, relative to the folder of the claim file: "
            "`{formal: data/formal.json}`. For `tan_relative`, also what its own vector is made from, or that vector: "
            "`{formal: {test: data/formal.json, train: data/formal_train.json}}`.",
            title="Other data sets",
            example={"formal": "data/formal.json"},
            loads=DATA_SETS,
        ),
    ] = field(default_factory=dict)
    base: Annotated[
        Context,
        Param(
            "The context that the others are held against; without it, the one as given.",
            title="Base context",
            loads=CONTEXT,
            schema={"default": {}},
        ),
    ] = AS_GIVEN
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    min_n: int | None = None
    cluster: str | None = None
    seed: int = 0
    name: str = "generalizes"

    faults = staticmethod(faults_of_settings)

    def __post_init__(self) -> None:
        object.__setattr__(self, "data_sets", {name: checked_data(data) for name, data in self.data_sets.items()})
        if len(promises_of(self)) != 1:
            raise SteerError(
                "generalizes promises one of retention (steerability there / steerability in the base context) and tan_relative "
                "(steerability there / that of the data set's own vector): write retention=0.5 or tan_relative=0.5"
            )
        if not (isinstance(self.contexts, Mapping) and all(isinstance(one, Context) for one in self.contexts.values())):
            raise SteerError("contexts are named: write contexts={'swapped': Context(option_order='swapped')}")
        if not self.contexts and not self.data_sets:
            raise SteerError("generalizes needs contexts or data_sets to hold against the base context")
        twice = self.contexts.keys() & self.data_sets.keys()
        if twice:
            raise SteerError(
                f"{sorted(twice)[0]!r} is the name of a context and of a data set: give one of them another name"
            )
        if self._word == "tan_relative" and self.contexts:
            raise SteerError(
                "tan_relative compares vectors on other data sets: move `contexts` to a claim that promises retention"
            )
        for name, data in self.data_sets.items():
            if isinstance(data, OtherData) != (self._word == "tan_relative"):
                raise SteerError(
                    f"data_sets.{name}: retention needs no vector of the data set: give its items alone"
                    if self._word == "retention"
                    else f"data_sets.{name}: tan_relative compares with the data set's own vector: write `{name}: {{test: FILE, "
                    "train: FILE}` (or `vector: FILE`), in Python OtherData(items, vector)"
                )

    @property
    def _promised(self) -> float | None:
        return self.tan_relative if self._word == "tan_relative" else self.retention

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two items in a data set, or a context that cannot be put to an item.
            MeasurementError: the base steerability is not proven to be above 0, so nothing can be relative to it.
            SoundnessError: the hooks do not do what they say.
            SteerError: multipliers without a slope, or an intervention whose strength has none; see ``propensity_curve``.
        """
        sample = sample_of(self.items, self.cluster)
        others = {name: sample_of(items_of(data), self.cluster) for name, data in self.data_sets.items()}
        grid, sign = check_has_slope(self.subject, self.multipliers), self.subject.slope_sign
        warnings = [*data_warnings(self.subject, sample)]
        warnings += other_data_warnings(self.subject, sample, self.data_sets, others, warnings)
        soundness = check_before(model, self.subject)
        asked_there = Measuring(model, self.subject, self.base, grid, self.confidence)
        if self._word == "tan_relative":
            settings = asked_there.against_own_vectors(self.data_sets, others)
        else:
            settings = asked_there.against_base(sample, self.contexts, others)
        slopes = [
            (
                sign * one_per_cluster(one.curve.slopes, one.clusters),
                sign * one_per_cluster(one.base.slopes, one.base_clusters),
            )
            for one in settings
        ]
        ratios = [
            ratio_of_means(own, base_slopes, paired=one.paired, confidence=self.confidence)
            for one, (own, base_slopes) in zip(settings, slopes, strict=True)
        ]
        found = least_ratio(ratios)
        worst = settings[min(range(len(ratios)), key=lambda index: ratios[index].estimate)]
        curve, base, seen = worst.curve, worst.base, others.get(worst.name, sample)
        probes = tuple(
            probe
            for one in [*dict.fromkeys(own.base for own in settings), *(own.curve for own in settings)]
            for probe in one.probes
        )
        asked = asked_record(model, curve, worst.context)
        warnings += asking_warnings(model, self.subject, asked, sample.units)
        warnings += setting_warnings(settings)
        details = {
            "worst": worst.name,
            **(
                {"base": describe(base, self.base, repr(self.base), sign) | self._bounds(base, sample.clusters)}
                if self._word == "retention"
                else {}
            ),
            "settings": [
                {"name": one.name}
                | describe(one.curve, one.context, one.put, sign)
                | (
                    {"own_vector": one.own_vector() | self._bounds(one.base, one.base_clusters)}
                    if one.own is not None
                    else {}
                )
                | self._describe_ratio(ratio, len(ratios), min(map(len, units)))
                for one, units, ratio in zip(settings, slopes, ratios, strict=True)
            ],
        }
        word = self._word
        evidence = judged(
            model,
            self.subject,
            found,
            probes,
            threshold=self._promised,
            direction=Direction.AT_LEAST,
            confidence=self.confidence,
            min_n=self.min_n,
            fewest=min(len(units) for pair in slopes for units in pair),
            moved=lambda floor: floor.slope(grid) / abs(base.steerability),
            noisy=curve.probes,
            check="generalizes",
            name=self.name,
            statistic=_WORDS[word] if len(settings) == 1 else f"least {_WORDS[word]} of {len(settings)}",
            soundness=soundness,
            asked=asked,
            warnings=warnings,
            **curve_fields(curve, details | seen.details(), self.subject, self.confidence, worst.clusters) | seen.counts(),
        )
        at_deployed = with_deployed(model, self.subject, curve if self._word == "tan_relative" else base, self.base)
        evidence.details["deployed"] = deployed_record(
            self.subject, at_deployed, self.confidence, worst.clusters if self._word == "tan_relative" else sample.clusters
        )
        evidence.warnings += slope_warnings(evidence, self.subject)
        evidence.details |= self._controls(model, evidence, worst)
        if all(one.paired for one in settings):
            evidence.units = self._units(settings, slopes, grid)
        else:
            evidence.unpaired = "a ratio of means of different items is not a mean over items"
        if evidence.verdict is Verdict.INCONCLUSIVE:
            evidence.items_needed = self._items_needed(ratios)
        if worst.paired and self._promised is not None:
            # The paired ratio is at least r if the mean of shifted - r * base is at least 0, which a t test decides.
            kept = 1 - self.confidence
            level = 1 - (kept if evidence.verdict is Verdict.PASS else kept / len(ratios))
            look_closer(
                evidence,
                sign * (curve.slopes - self._promised * base.slopes),
                lambda values, clusters: mean_t(one_per_cluster(values, clusters), confidence=level),
                0.0,
                worst.clusters,
                [item.id for item in seen.units],
            )
        return evidence

    def _units(
        self, settings: Sequence[Setting], slopes: Sequence[tuple[Array, Array]], grid: list[float]
    ) -> dict[str, Any]:
        """The evidence's ``units`` record: what each item, or cluster of items, adds to the ratio of each setting."""
        forms, names, values, parts = [], [], [], []
        for one, (own, base) in zip(settings, slopes, strict=True):
            members = _clustered(one.curve.items, one.clusters)
            forms += [[part for item in items for part in item.form] for items in members]
            names += [items[0].id for items in members]
            parts += [one.name] * len(members)
            values.append(of_ratio(own, base))
        put = {one.name: {"context": one.context.to_dict()} for one in settings}
        how = {"base": {"context": self.base.to_dict()}, "put": put, "multipliers": grid}
        together = len(settings) > 1
        return units_record(forms, names, np.concatenate(values), unit="items", parts=parts if together else None, how=how)

    @property
    def _word(self) -> str:
        return next(iter(promises_of(self)))

    def _controls(self, model: Model, evidence: Evidence, worst: Setting) -> dict[str, Any]:
        """Random directions in the worst setting, where it is not proven which way the deployed model moves there."""
        if evidence.verdict is Verdict.PASS:
            return {}
        at_deployed = with_deployed(model, self.subject, worst.curve, worst.context)
        moves = deployed_record(self.subject, at_deployed, self.confidence, worst.clusters)["moves"]
        items = worst.curve.items
        found = controls_of_no_effect(model, self.subject, items, evidence, self.seed, worst.context, moves=moves)
        return {"controls": found["controls"] | {"where": f" in {worst.name}"}} if found else {}

    def _bounds(self, base: PropensityCurve, clusters: Sequence[int] | None) -> dict[str, Any]:
        return {"interval": list(bounds_of(mean_t(one_per_cluster(base.slopes, clusters), confidence=self.confidence)))}

    def _describe_ratio(self, ratio: Inference, settings: int, fewest: int) -> dict[str, Any]:
        found: dict[str, Any] = {
            self._word: ratio.estimate,
            "interval": list(bounds_of(ratio)),
            "interval_method": ratio.method,
        }
        if self._promised is None:
            return found | NOT_JUDGED
        verdict = judged_from(ratio, self._promised, Direction.AT_LEAST, self.min_n, fewest)
        p_fail = min(1.0, settings * ratio.p_at_most(self._promised))
        if verdict is Verdict.FAIL and p_fail > 1 - self.confidence:
            verdict = Verdict.INCONCLUSIVE
        return found | {"p_pass": ratio.p_at_least(self._promised), "p_fail": p_fail, "verdict": verdict.value}

    def _items_needed(self, ratios: list[Inference]) -> int | None:
        """As many as the most demanding of the settings that have not passed needs."""
        at = self._promised
        if at is None:
            return None
        open_ones = [ratio for ratio in ratios if judge(ratio, at, Direction.AT_LEAST) is not Verdict.PASS]
        needed = [items_needed_ratio(ratio, at) for ratio in open_ones]
        numbers = [number for number in needed if number is not None]
        return max(numbers) if numbers and len(numbers) == len(needed) else None

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        return [*words.remarks(evidence), *words.controls_beside(evidence)]

    figures = staticmethod(settings_figures)

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        return [
            *words.decide(evidence),
            *words.where(evidence),
            *settings_table(evidence),
            *words.curve(evidence),
            *words.worst_items(evidence),
        ]


def assert_generalizes(
    model: Model,
    vector: SteeringVector | Intervention | None,
    items: Iterable[ItemLike],
    *,
    retention: Promise = None,
    tan_relative: Promise = None,
    contexts: Mapping[str, Context] | None = None,
    data_sets: Mapping[str, Iterable[ItemLike] | OtherData] | None = None,
    base: Context = AS_GIVEN,
    multipliers: Sequence[float] = MULTIPLIERS,
    cluster: str | None = None,
    **shared: Unpack[AboutItems],
) -> Evidence:
    """Assert that steerability in each setting is at least ``retention`` times that in the base context.

    Args:
        retention: the promise: 0.5 is half of the base steerability.
        tan_relative: the promise instead of it: 0.5 is half of the steerability that the data set's own vector has (relative
            steerability, Tan et al. 2024); each data set is then ``OtherData(items, vector)``.
        contexts: names and contexts in which the same items are measured; paired by item.
        data_sets: names and other items, measured in the base context.
        base: the context that the others are held against.
        cluster: a key of the items of all data sets; each cluster counts as one item, with its mean slope.

    The other arguments and what is raised are those of :func:`assert_steers`; also SteerError if the base steerability is
    not proven to be above 0.
    """
    return hold("generalizes", locals())


_WORDS = {"retention": "retention", "tan_relative": "relative steerability (Tan)"}


def _clustered(items: Items, clusters: Sequence[int] | None) -> list[list[ContrastItem]]:
    """The items of each cluster, in the order of the clusters' numbers; each item alone without clusters."""
    members: dict[int, list[ContrastItem]] = {}
    for item, cluster in zip(items, range(len(items)) if clusters is None else clusters, strict=True):
        members.setdefault(cluster, []).append(item)
    return [members[cluster] for cluster in sorted(members)]
