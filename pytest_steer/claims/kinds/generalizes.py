"""``generalizes``: what is left of steerability in other contexts and on other data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import numpy as np

from ...core.block import Block, Estimate, Intervals, Line, Table
from ...core.errors import DataError, MeasurementError, SteerError
from ...core.evidence import Evidence
from ...core.finding import Finding, Weight, code
from ...core.numbers import in_brackets, number
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Bounds, Data
from ...data import ContrastItem, Items, Sample, sample_of
from ...data.traces import known_in, traces
from ...measures import Array, PropensityCurve
from ...measures.ask import Ask
from ...measures.compared import bounds_of
from ...measures.subject import Subject
from ...prompting import AS_GIVEN, Context
from ...stats import (
    Direction,
    Inference,
    Verdict,
    items_needed_ratio,
    judge,
    least_of,
    mean_t,
    one_per_cluster,
    ratio_of_means,
)
from ...stats.estimators import Clusters, Estimator, Mean, Ratio
from ...stats.extremes import shared_level
from .. import show
from ..asserting import assertion
from ..base import OverItems
from ..curves import (
    WithControls,
    check_has_slope,
    contradicted,
    controls_of_no_effect,
    deployed_record,
    moves_of_deployed,
    with_deployed,
    wrong_share,
)
from ..findings import Found, of_single_values, of_the_vector, of_training_data, on_promised_side
from ..from_file import CONTEXT
from ..judging import Judgement, at_level, verdict_of
from ..kind import claim
from ..measurement import Counted, Measurement, counted
from ..other_data import CONTEXTS, DATA_SETS, OtherData, checked_data_sets, faults_of_settings, items_of, units_of

own_vector_is_the_claims = code(
    "own-vector-is-the-claims",
    signal="The own vector of a data set is the claim's vector.",
    meaning="The ratio of the two is 1 whatever the model does.",
    cure="Name training data of the data set.",
    weight=Weight.MEANINGLESS,
)
shared_questions = code(
    "questions-of-the-base-data",
    signal="Other data ask questions of the claim's own items.",
    meaning="The two are not independent, so the bounds of their ratio are not exact.",
    cure="Ask other questions.",
    weight=Weight.DOUBTFUL,
)
unchanged_prompts = code(
    "context-changes-no-prompt",
    signal="All items are asked in a context as in the base context.",
    meaning="The two are the same measurement.",
    cure="Name a context that asks in another way.",
    weight=Weight.MEANINGLESS,
)
other_units = code(
    "settings-in-other-units",
    signal="Answers of one token are compared with answers of several.",
    meaning="The one is scored in logits, the other in nats per token, so the ratio depends on the units.",
    cure="Compare data whose answers are scored alike.",
    weight=Weight.DOUBTFUL,
)


@dataclass(frozen=True, eq=False)
class Setting:
    """One setting: the curve in it and the one that it is compared with.

    Attributes:
        put: the context, or the data, in words.
        sample: of the curve's items. base_sample: of those of the base.
        own: the data set's own vector, of which the base is.
    """

    name: str
    context: Context
    put: str
    curve: PropensityCurve
    base: PropensityCurve
    sample: Sample[Items]
    base_sample: Sample[Items]
    own: Subject | None = None

    @property
    def paired(self) -> bool:
        """Whether both are of the same items."""
        return self.sample is self.base_sample


@dataclass(frozen=True)
class OwnVector:
    """The data set's own vector, and what it does there."""

    hash: str
    steerability: float
    slopes: list[float]
    interval: Bounds


@dataclass(frozen=True, kw_only=True)
class InSetting:
    """What the vector does in a setting: of the base with the interval of the steerability, else with that of its ratio."""

    context: Mapping[str, object]
    put: str
    data: Data
    n: int
    steerability: float
    anti_steerable_share: float
    slopes: list[float]
    interval: Bounds


@dataclass(frozen=True, kw_only=True)
class Judged(InSetting):
    """A setting with the verdict of it alone. It has the ratio that is promised, by the name of the promise."""

    name: str
    retention: float | None = field(default=None, metadata=LEFT_OUT)
    tan_relative: float | None = field(default=None, metadata=LEFT_OUT)
    own_vector: OwnVector | None = field(default=None, metadata=LEFT_OUT)
    interval_method: str
    p_pass: float | None
    p_fail: float | None
    verdict: str

    @property
    def ratio(self) -> float:
        found = self.tan_relative if self.retention is None else self.retention
        assert found is not None
        return found


@dataclass(frozen=True, kw_only=True)
class Details(WithControls):
    """What the evidence has in ``details``. ``base`` is there for ``retention``, and ``worst`` has the least ratio."""

    worst: str
    base: InSetting | None = field(default=None, metadata=LEFT_OUT)
    settings: Sequence[Judged]
    deployed: Mapping[str, Any]
    on_promised_side: Mapping[str, object] | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True)
class LeastRatio(Ratio):
    """The least over settings of the mean of the first column relative to that of the second.

    A setting whose two sides are not paired has rows with one side alone, and NaN for the other.

    Attributes:
        parts: [n_units] the setting of each.
    """

    parts: tuple[str, ...] = ()

    def sides(self, values: Array) -> list[tuple[Array, Array]]:
        """Of each setting what is divided and by what, a number for each unit."""
        return [(above[~np.isnan(above)], below[~np.isnan(below)]) for above, below in (own.T for own in self._rows(values))]

    def each(self, values: Array, confidence: float) -> list[Inference]:
        """The ratio of each setting."""
        are_paired = [not np.isnan(own).any() for own in self._rows(values)]
        return [
            ratio_of_means(*sides, paired=paired, confidence=confidence)
            for sides, paired in zip(self.sides(values), are_paired, strict=True)
        ]

    def infer(
        self, values: Array, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        fewest = min(len(side) for sides in self.sides(values) for side in sides)
        return replace(least_of(self.each(values, confidence)), n=fewest)

    def per_unit(self, values: Array, direction: Direction) -> Array:
        per_unit = super().per_unit
        return np.concatenate([per_unit(own, direction) for own in self._rows(values)])

    def units_needed(
        self, found: Inference, values: Array, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        """As many as the most demanding of the settings that have not passed needs."""
        each = self.each(values, found.confidence)
        needed = [items_needed_ratio(one, threshold) for one in each if judge(one, threshold, direction) is not Verdict.PASS]
        return None if None in needed else max((count for count in needed if count is not None), default=None)

    def as_mean(self, values: Array, threshold: float, direction: Direction) -> None:
        return None  # the claim says it of the worst setting

    def _rows(self, values: Array) -> list[Array]:
        labels = np.array(self.parts, dtype=object)
        return [values[labels == name] for name in dict.fromkeys(self.parts)]


@dataclass(frozen=True)
class MeanOfClusters(Mean):
    """The mean over clusters, in which each counts alike, at a confidence of its own."""

    confidence: float = 0.95

    def infer(
        self, values: Array, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        return mean_t(one_per_cluster(values, clusters), confidence=self.confidence)


@claim(
    "generalizes",
    title="Steering carries over to other settings",
    main="retention",
    one_of=("retention", "tan_relative"),
    any_of=("contexts", "data_sets"),
)
class Generalizes(OverItems):
    """In each of the named contexts and data sets, steerability is at least `retention` times that in the base context, or at least `tan_relative` times that of the data set's own vector.

    Retention is the slope of one vector there, divided by its slope in the base context. Relative steerability (Tan et al. 2024) is
    the slope of this vector on another data set, divided by the slope that the data set's own vector has on it. The statistic is the
    least over the settings. Each setting has Fieller's bounds of the ratio: paired by item for contexts and for ``tan_relative``,
    unpaired for the retention on other data. The claim passes if every lower bound is past the threshold, and fails if the upper
    bound of any setting is below it at a level divided by their number (``stats.least_of``). Each cluster counts as one item, with its
    mean slope.

    Raises:
        SteerError: no settings, one name twice, a promise that is not above 0, or a data set with a vector for ``retention`` or without
            one for ``tan_relative``.
        MeasurementError: the base steerability is not proven to be above 0, so nothing can be relative to it.
    """

    retention: Annotated[
        Promise,
        Param(
            "The least share of the base steerability that is left in every setting: 0.5 means half of it.",
            title="Least share of the base steerability",
            example=0.5,
            above=0,
        ),
    ] = None
    tan_relative: Annotated[
        Promise,
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
            judges=True,
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
            judges=True,
            reads=checked_data_sets,
            loads=DATA_SETS,
        ),
    ] = field(default_factory=dict)
    context: Annotated[
        Context,
        Param(
            "The context that the others are held against; without it, the one as given.",
            title="Base context",
            called="base",
            loads=CONTEXT,
            schema={"default": {}},
        ),
    ] = AS_GIVEN

    faults = staticmethod(faults_of_settings)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = [name for name in _WORDS if getattr(self, name) is not None]
        if len(given) != 1:
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
        if self._is_relative and self.contexts:
            raise SteerError(
                "tan_relative compares vectors on other data sets: move `contexts` to a claim that promises retention"
            )
        for name, data in self.data_sets.items():
            if isinstance(data, OtherData) != self._is_relative:
                raise SteerError(
                    f"data_sets.{name}: tan_relative compares with the data set's own vector: write `{name}: {{test: FILE, "
                    "train: FILE}` (or `vector: FILE`), in Python OtherData(items, vector)"
                    if self._is_relative
                    else f"data_sets.{name}: retention needs no vector of the data set: give its items alone"
                )

    @property
    def _is_relative(self) -> bool:
        """Whether steerability is compared with that of the data sets' own vectors."""
        return self.tan_relative is not None

    def measure(self, ask: Ask) -> Measurement:
        """Measure the curves in all settings.

        Raises:
            DataError: fewer than two items in a data set, or a context that cannot be put to an item.
            MeasurementError: what a setting is compared with is not proven to steer.
        """
        sample, sign = self.sampled_items, self.subject.slope_sign
        others = {name: sample_of(items_of(data), self.cluster) for name, data in self.data_sets.items()}
        grid = check_has_slope(self.subject, self.multipliers)
        shared = [] if self._is_relative else [*self._shared_questions(others)]
        settings = (
            self._against_own_vectors(ask, others, grid) if self._is_relative else self._against_base(ask, others, grid)
        )
        estimator, values, units = _stacked(settings, sign)
        each = estimator.each(values, self.confidence)
        worst = settings[min(range(len(each)), key=lambda index: each[index].estimate)]
        deployed = with_deployed(ask, worst.curve if self._is_relative else worst.base)
        bases = [*dict.fromkeys(one.base for one in settings)]
        asked = [*bases, *(one.curve for one in settings)]
        called = _WORDS["tan_relative" if self._is_relative else "retention"]
        is_paired = all(one.paired for one in settings)
        measured = Measurement(
            sample=sample,
            units=replace(units, n=worst.sample.n, unit=worst.sample.counted, of=worst.sample),
            values=values,
            estimator=estimator,
            statistic=called if len(settings) == 1 else f"least {called} of {len(settings)}",
            probes=tuple(probe for curve in asked for probe in curve.probes),
            noisy=worst.curve.probes,
            moved=lambda floor: floor.slope(grid) / abs(worst.base.steerability),
            curve=worst.curve,
            deployed=deployed,
            kept=(settings, worst),
        )
        return measured.but(
            context=worst.context,
            is_slope=True,
            also=others,
            how={
                "base": {"context": self.context.to_dict()},
                "put": {one.name: {"context": one.context.to_dict()} for one in settings},
                "multipliers": grid,
            },
            unpaired=None if is_paired else "a ratio of means of different items is not a mean over items",
            compared={},
            findings=[*shared, *_of_settings(settings)],
            details=Details(
                worst=worst.name,
                base=None if self._is_relative else self._base(worst.base, sample),
                settings=[
                    self._describe(one, ratio, len(settings), min(map(len, sides)))
                    for one, ratio, sides in zip(settings, each, estimator.sides(values), strict=True)
                ],
                deployed=deployed_record(self.subject, deployed, self.confidence, worst.base_sample.clusters),
            ),
            fields={"data": worst.curve.items.describe(), "strata": []},
        )

    def doubt(self, ask: Ask, measured: Measurement, judgement: Judgement) -> Judgement:
        """Withhold a pass if the effect at the deployed multiplier, of the base or of the data set, contradicts the slope there."""
        _, worst = measured.kept
        curve = worst.curve if self._is_relative else worst.base
        return contradicted(judgement, curve, worst.base_sample.clusters, measured.details.deployed)

    def find(self, found: Found) -> Iterator[Finding]:
        if (worst := self._as_mean(found)) is not None:
            yield from of_single_values(worst)
        settings, _ = found.measured.kept
        for one in settings:
            if one.own is None:
                continue
            if one.own.intervention.hash == self.subject.intervention.hash:
                yield own_vector_is_the_claims(
                    f"{one.name}: its own vector is the claim's vector (the same training data), so the ratio is 1 whatever the "
                    "model does: name training data of the data set"
                )
                continue
            own = replace(found, measured=found.measured.but(sample=one.sample, subject=one.own))
            for finding in (*of_training_data(own), *of_the_vector(own)):
                yield replace(finding, text=f"{one.name}, its own vector: {finding.text}")

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, object]:
        """The share of items that keep the promise in the worst setting, and random directions there if the model does not provably move."""
        as_mean, (_, worst) = self._as_mean(Found(self, ask, measured, judgement)), measured.kept
        found = {} if as_mean is None else on_promised_side(as_mean)
        if judgement.verdict is Verdict.PASS:
            return found
        deployed = with_deployed(measured.where(ask), worst.curve)
        moves = moves_of_deployed(self.subject, deployed, self.confidence, worst.sample.clusters)
        controls = controls_of_no_effect(ask, measured.but(deployed=deployed), judgement, seed=self.seed, moves=moves)
        return found | {name: one | {"where": f" in {worst.name}"} for name, one in controls.items()}

    # --- what is measured ---

    def _against_base(self, ask: Ask, others: Mapping[str, Sample[Items]], grid: list[float]) -> list[Setting]:
        """The curve in each context and on each of the other data, compared with that of the claim's items in the base context."""
        sample = self.sampled_items
        base = _curve_in(ask, sample.units, grid, "the base context")
        self._check_base(base, sample, "in the base context the vector")
        found = []
        for name, context in self.contexts.items():
            curve = _curve_in(ask.within(context), sample.units, grid, name)
            found.append(Setting(name, context, repr(context), curve, base, sample, sample))
        for name, other in others.items():
            curve = _curve_in(ask, other.units, grid, name)
            found.append(Setting(name, self.context, f"data: {curve.items.source}", curve, base, other, sample))
        return found

    def _against_own_vectors(self, ask: Ask, others: Mapping[str, Sample[Items]], grid: list[float]) -> list[Setting]:
        """The curve on each of the other data, compared with that of their own vector, deployed as the claim's is."""
        found = []
        for name, data in self.data_sets.items():
            assert isinstance(data, OtherData)
            own, other, what = replace(self.subject, vector=data.vector), others[name], f"{name}, its own vector"
            check_has_slope(own, grid)
            base = _curve_in(ask.of(own), other.units, grid, what)
            self._check_base(base, other, f"on {what}")
            curve = _curve_in(ask, other.units, grid, name)
            found.append(Setting(name, self.context, f"data: {curve.items.source}", curve, base, other, other, own))
        return found

    def _check_base(self, base: PropensityCurve, sample: Sample[Items], what: str) -> None:
        """Refuse a base of which no share can be taken.

        Raises:
            MeasurementError: its steerability is not proven to be above 0.
        """
        subject = self.subject
        slopes = subject.slope_sign * one_per_cluster(base.slopes, sample.clusters)
        found = mean_t(slopes, confidence=self.confidence)
        if found.low > 0:
            return
        seen = f"{found.estimate:.3g} [{found.low:.3g}, {found.high:.3g}]"
        if found.high < 0 and subject.slope_sign < 0:
            raise MeasurementError(
                f"{what} raises the behaviour towards the deployed multiplier {subject.multiplier:g} (negative steerability {seen}), and "
                "the claim says `direction: lowers`: deploy it at a negative multiplier, or delete that"
            )
        if found.high < 0:
            raise MeasurementError(
                f"{what} steers the other way (steerability {seen}), so a share of that says nothing: turn the vector round, or choose another base"
            )
        raise MeasurementError(
            f"{what}'s steerability is {seen}, which cannot be told from 0, so a share of it would be noise: "
            "measure more items, or claim first that it steers"
        )

    def _shared_questions(self, others: Mapping[str, Sample[Items]]) -> Iterator[Finding]:
        """What other data share with the claim's items, with which retention compares them.

        Raises:
            DataError: they ask the questions of the claim's items and no others.
        """
        own = self.sampled_items.units
        asked = traces([item.question for item in own])
        for name, other in others.items():
            known = known_in((item.question for item in other.units), asked)
            if known.same == len(other.units) == len(own):
                raise DataError(
                    f"{name}: asks the questions of the base data and no others, so it says nothing about other data"
                )
            if shared := known.asked + known.near:
                yield shared_questions(
                    f"{name}: {shared} of its {len(other.units)} items ask a question of the base data too"
                    f"{', or nearly do' if shared > known.same else ''}, so the two are not "
                    "independent and the interval is not exact"
                )

    def _as_mean(self, found: Found) -> Found | None:
        """The verdict in the worst setting as that of a mean; None where there is none.

        The paired ratio is at least r if the mean of (slope there - r * slope of the base) is at least 0, which a t test decides.
        """
        measured, judgement = found.measured, found.judgement
        settings, worst = measured.kept
        if not worst.paired or self.threshold is None:
            return None
        level = shared_level(self.confidence, 1 if judgement.verdict is Verdict.PASS else len(settings))
        values = self.subject.slope_sign * (worst.curve.slopes - self.threshold * worst.base.slopes)
        estimator: Estimator = MeanOfClusters(confidence=level)
        in_worst = measured.but(values=values, estimator=estimator, units=counted(worst.sample))
        return replace(found, measured=in_worst, judgement=replace(judgement, at=math.ulp(0.0)))

    # --- its records ---

    def _base(self, base: PropensityCurve, sample: Sample[Items]) -> InSetting:
        return self._in_setting(base, self.context, repr(self.context), self._bounds(base, sample))

    def _describe(self, one: Setting, ratio: Inference, settings: int, fewest: int) -> Judged:
        at, p_pass, p_fail = self.threshold, None, None
        verdict = verdict_of(replace(ratio, n=fewest), at, Direction.AT_LEAST, self.min_n)
        if at is not None:
            p_pass, p_fail = ratio.p_at_least(at), min(1.0, settings * ratio.p_at_most(at))
            verdict = at_level(verdict, p_pass, p_fail, self.confidence)
        judged = Judged(
            **vars(self._in_setting(one.curve, one.context, one.put, bounds_of(ratio))),
            name=one.name,
            interval_method=ratio.method,
            p_pass=p_pass,
            p_fail=p_fail,
            verdict=verdict.value,
        )
        if one.own is None:
            return replace(judged, retention=ratio.estimate)
        base, there = one.base, self._bounds(one.base, one.base_sample)
        own = OwnVector(one.own.intervention.hash, base.steerability, base.slopes.tolist(), there)
        return replace(judged, tan_relative=ratio.estimate, own_vector=own)

    def _in_setting(self, curve: PropensityCurve, context: Context, put: str, interval: Bounds) -> InSetting:
        return InSetting(
            context=context.to_dict(),
            put=put,
            data=curve.items.describe(),
            n=len(curve.items),
            steerability=curve.steerability,
            anti_steerable_share=wrong_share(curve, self.subject.slope_sign),
            slopes=curve.slopes.tolist(),
            interval=interval,
        )

    def _bounds(self, curve: PropensityCurve, sample: Sample[Items]) -> Bounds:
        return bounds_of(mean_t(one_per_cluster(curve.slopes, sample.clusters), confidence=self.confidence))

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        """The settings side by side, the base first, and the curve and items of the worst one."""
        details: Details = evidence.own
        base, worst, sign = details.base, details.worst, show.slope_sign(evidence)
        word = "tan_relative" if base is None else "retention"
        rows = [
            [
                one.name,
                str(one.n),
                number(sign * one.steerability),
                *([] if one.own_vector is None else [number(sign * one.own_vector.steerability)]),
                number(one.ratio),
                in_brackets(one.interval),
                f"{one.anti_steerable_share:.2f}",
                one.verdict,
                show.shorten(one.put, 60),
            ]
            for one in details.settings
        ]
        if base is not None:
            own = f"{base.anti_steerable_share:.2f}"
            rows.insert(0, ["(base)", str(base.n), number(sign * base.steerability), "1", "", own, "", base.put])
        own_column = ["of its own vector"] if base is None else []
        headers = ["setting", "n", show.steerability(sign), *own_column, word, "interval", show.wrong_way(sign), "", ""]
        yield Table(rows, headers)
        yield Intervals(
            [Estimate(one.name, one.ratio, one.interval, one.n, one.verdict) for one in details.settings],
            word.replace("_", " "),
            promised=show.promised_in(evidence),
            title="Contexts and data sets",
            is_drawing=True,
            about=f"How much of the base steerability is left in each. Curve and slopes are those of the worst, {worst}.",
        )
        yield Line(f"in the worst setting, {worst}:")
        yield from show.of_items(evidence)


assert_generalizes = assertion(Generalizes)

_WORDS = {"retention": "retention", "tan_relative": "relative steerability (Tan)"}


def _curve_in(ask: Ask, items: Items, grid: list[float], place: str) -> PropensityCurve:
    """The curve in a setting, which errors of data name."""
    try:
        return ask.propensity(items, grid)
    except DataError as error:
        raise type(error)(f"in {place}: {error}") from None


def _stacked(settings: Sequence[Setting], sign: int) -> tuple[LeastRatio, Array, Counted]:
    """The slopes of all settings, there and of the base, a row for each item or cluster of items."""
    stacked: list[tuple[str, Array, list[ContrastItem]]] = []
    for one in settings:
        here, there = (
            sign * one_per_cluster(curve.slopes, sample.clusters)
            for curve, sample in ((one.curve, one.sample), (one.base, one.base_sample))
        )
        sides = [(one.sample, here, there)]
        if not one.paired:
            sides = [(one.sample, here, np.full_like(here, np.nan)), (one.base_sample, np.full_like(there, np.nan), there)]
        for sample, *columns in sides:
            stacked += [
                (one.name, row, items) for row, items in zip(np.stack(columns, axis=1), _clustered(sample), strict=True)
            ]
    units = Counted(
        [items[0].id for *_, items in stacked],
        [[part for item in items for part in item.form] for *_, items in stacked],
        "items",
    )
    return LeastRatio(parts=tuple(name for name, *_ in stacked)), np.array([row for _, row, _ in stacked]), units


def _clustered(sample: Sample[Items]) -> list[list[ContrastItem]]:
    """The items of each cluster, in the order of the clusters' numbers; each item alone without clusters."""
    members: dict[int, list[ContrastItem]] = {}
    for item, cluster in zip(sample.units, sample.clusters or range(len(sample.units)), strict=True):
        members.setdefault(cluster, []).append(item)
    return [members[cluster] for cluster in sorted(members)]


def _of_settings(settings: Sequence[Setting]) -> Iterator[Finding]:
    """Settings that change nothing, and settings in other units than their base."""
    for one in settings:
        if one.own is None and one.paired and _prompts(one.curve) == _prompts(one.base):
            yield unchanged_prompts(f"{one.name}: its context changes no prompt: all items are asked as in the base context")
        if units_of(one.curve) != units_of(one.base):
            yield other_units(
                f"{one.name}: its answers and those of the base are scored differently (one token: logits; several: nats per token), "
                "so their steerabilities are in different units"
            )


def _prompts(curve: PropensityCurve) -> list[Any]:
    return [probe.ids for probe in curve.probes]
