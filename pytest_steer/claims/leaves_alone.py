"""``leaves_alone``: steering does not move other behaviours, proven by two one-sided tests for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

from ..data import ItemLike, Items, Sample, safety_items, sample_of
from ..data.safety import SAFETY_SUITE, Reading
from ..errors import DataError, SteerError
from ..evidence import Evidence
from ..measures import MULTIPLIERS, Array, PropensityCurve, asked_record, propensity_curve, reading_of_questions
from ..measures.compared import bounds_of
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, IN_TASK_FORM, Context
from ..soundness import check_before
from ..stats import (
    Direction,
    Inference,
    Verdict,
    largest_size,
    size_of_mean,
)
from ..steering import Intervention, SteeringVector
from . import words
from .behaviours import (
    Behaviour,
    behaviours_figures,
    behaviours_table,
    check_others,
    cosines,
    entanglement,
    hidden_by_mean,
    items_needed,
    no_cosine,
)
from .behaviours_evidence import behaviours_compared, behaviours_units, look_closer_at
from .common import Deployment, Interval, IntervalMethod
from .deployed import far_grid, with_deployed
from .figures import worst_first
from .holding import hold
from .judged import judged, judged_from, mean_of
from .kinds import claim
from .numbers import number
from .other_data_schema import BEHAVIOURS, faults_of_behaviours
from .over_items import asking_warnings, check_has_slope, check_moved, curve_fields, data_warnings
from .settings import OtherData, checked_data, items_of, units_of
from .unread import withhold_unread


@claim("leaves_alone", title="Steering leaves other behaviours alone", main="band", directed=False)
@dataclass(frozen=True, kw_only=True)
class LeavesAlone:
    """The mean steerability of each other behaviour lies within +-`band`: steering moves none of them up or down by more.

    The statistic of an item is its slope over the multipliers; of an intervention whose strength has no slope, the effect at the
    deployed multiplier. The claim is one of equivalence: it passes if two one-sided tests prove for every behaviour that the mean is
    inside (``stats.size_of_mean``), fails if one is proven to be outside at a level divided by the number of tests
    (``stats.largest_size``), and is inconclusive otherwise. Beside slopes, the effects at the deployed multiplier, per unit of it, are tested too: one
    that is proven to be outside is a fail, and one that merely seems so no pass. The estimate is the size of the mean of the behaviour
    that is furthest out.

    Raises:
        SteerError: behaviours that are none, or without names.
    """

    subject: Subject
    band: Annotated[
        float | None,
        Param(
            "The most that the mean steerability of another behaviour may be above or below 0, in units of propensity (logits of "
            "letters, nats per token of worded answers) per unit of the multiplier; without a slope, the mean effect.",
            example=0.1,
            above=0,
            weak_from=1.0,
            weak="lets other behaviours move as much as many vectors move their own",
        ),
    ]
    behaviours: Annotated[
        Mapping[str, Items | OtherData] | None,
        Param(
            "Names of other behaviours, each with its file of contrast items, relative to the folder of the claim file: "
            "`{honesty: data/honesty.json}`. With `train` or `vector` the cosine is with the behaviour's own vector: "
            "`{honesty: {test: data/honesty.json, train: data/honesty_train.json}}`. Under a `matrix`, the entry that is called like "
            "the combination's behaviour or vector is left out. Without any, the safety items that ship are measured.",
            title="Other behaviours",
            example={"honesty": "data/honesty.json"},
            loads=BEHAVIOURS,
        ),
    ] = None
    safety: Annotated[
        Reading | None,
        Param(
            "Measure the safety items that ship too, and how they are read: open, the answers in words, or lettered, which says "
            "little of a model that is at chance with letters. Without `behaviours` open is the default.",
            title="Shipped safety items",
            example="open",
            schema={"type": ["string", "null"], "enum": ["open", "lettered", None], "default": None},
        ),
    ] = None
    interval: Interval = "t"
    items: Items | None = None
    context: Context = AS_GIVEN
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    seed: int = 0
    min_n: int | None = None
    cluster: str | None = None
    name: str = "leaves_alone"

    faults = staticmethod(faults_of_behaviours)

    def __post_init__(self) -> None:
        given = self.behaviours
        if given is not None and not (isinstance(given, Mapping) and given and all(isinstance(key, str) for key in given)):
            raise SteerError(
                "behaviours are named: write behaviours={'honesty': items}, or leave them out for the safety items"
            )
        data = {name: _checked(name, one) for name, one in (given or {}).items()}
        if given is None:
            object.__setattr__(self, "safety", self.safety or "open")
        shipped = safety_items(self.safety) if self.safety is not None else {}
        taken = sorted(data.keys() & shipped.keys())
        if taken:
            raise SteerError(f"{taken[0]!r} is the name of the shipped safety items: give the behaviour another name")
        object.__setattr__(self, "behaviours", data | shipped)

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two items of a behaviour, one that is the claim's own, or an item that cannot be asked.
            SoundnessError: the hooks do not do what they say.
            SteerError: multipliers without a slope; see ``propensity_curve``.
        """
        samples = {name: self._sample(name, data) for name, data in self._others.items()}
        warnings = check_others(samples, self.items) + self._warnings(samples)
        by_slope = self.subject.intervention.strength == "linear"
        grid = check_has_slope(
            self.subject, self.multipliers if by_slope else [0.0, float(self.subject.multiplier)], by_effect=True
        )
        soundness = check_before(model, self.subject)
        measured = [self._measured(model, name, sample, grid, by_slope) for name, sample in samples.items()]
        for one in measured:
            check_moved(model, self.subject, one.curve.values - one.curve.values[:, :1], "the items")
        tests = sum(len(one.sizes) for one in measured)
        found, furthest, at_deployed = self._deciding(measured, tests)
        asked = asked_record(model, furthest.curve, furthest.context)
        warnings += asking_warnings(model, self.subject, asked, furthest.sample.units)
        if len({tuple(sorted(units_of(one.curve))) for one in measured}) > 1:
            warnings.append(
                "some behaviours are scored in logits (answers of one token) and others in nats per token, and the band is the same number for both"
            )
        what = "steerability" if by_slope else "mean effect"
        if at_deployed and by_slope:
            what = f"effect at {self.subject.multiplier:g}{'' if self.subject.multiplier == 1 else ', per unit'}"
        of = furthest.name if len(measured) == 1 else f"{len(measured)} behaviours"
        evidence = judged(
            model,
            self.subject,
            found,
            tuple(probe for one in measured for probe in one.curve.probes),
            threshold=self.band,
            direction=Direction.AT_MOST,
            confidence=self.confidence,
            min_n=self.min_n,
            fewest=min(one.mean.n for one in measured),
            moved=lambda floor: floor.effect / abs(self.subject.multiplier) if at_deployed else floor.slope(grid),
            noisy=furthest.curve.probes,
            check="leaves_alone",
            name=self.name,
            statistic=f"{'' if len(measured) == 1 else 'largest '}|{what}| of {of}",
            soundness=soundness,
            asked=asked,
            warnings=warnings,
            **curve_fields(
                furthest.curve,
                self._details(model, measured, furthest, at_deployed) | furthest.sample.details(),
                self.subject,
                self.confidence,
                furthest.sample.clusters,
            )
            | furthest.sample.counts(),
        )
        if by_slope:
            evidence.warnings += far_grid(evidence, self.subject)
        if at_deployed and by_slope:
            evidence.details["deployed"]["contradicts"] = self._contradiction(furthest, measured, tests)
        evidence.units = behaviours_units(measured, float(self.subject.multiplier), at_deployed and by_slope, grid)
        if evidence.verdict is Verdict.INCONCLUSIVE and self.band is not None:
            evidence.items_needed = items_needed(measured, self.band, self.confidence, tests)
        for one, row in zip(measured, evidence.details["behaviours"], strict=True):
            reading = reading_of_questions(model, [item.question for item in one.sample.units])
            row["reading"] = withhold_unread(evidence, reading, of=one.name)
        if self.band is not None:
            multiplier = float(self.subject.multiplier)
            look_closer_at(evidence, furthest, self.band, tests, multiplier, at_deployed, self._mean)
        if evidence.verdict is Verdict.PASS and self.band is not None:
            evidence.warnings += hidden_by_mean(measured, self.band)
        evidence.compared = {"leaves_alone": behaviours_compared(evidence)}
        return evidence

    @property
    def _others(self) -> Mapping[str, Items | OtherData]:
        assert self.behaviours is not None  # set when made
        return self.behaviours

    def _sample(self, name: str, data: Items | OtherData) -> Sample[Items]:
        items = items_of(data)
        try:
            # The shipped items have no keys that name clusters.
            sample = sample_of(items, None if name in self._shipped else self.cluster)
        except DataError as error:
            raise _of_behaviour(name, error) from None
        return sample

    @property
    def _shipped(self) -> set[str]:
        return set(SAFETY_SUITE) if self.safety is not None else set()

    def _measured(self, model: Model, name: str, sample: Sample[Items], grid: list[float], by_slope: bool) -> Behaviour:
        context = self.context
        if (
            name in self._shipped and context.template == IN_TASK_FORM.template
        ):  # questions, though the claim's own items are pairs
            context = replace(context, values=tuple(pair for pair in context.values if pair[0].name != "template"))
        try:
            curve = self._curve(model, sample.units, grid, context)
        except DataError as error:
            raise _of_behaviour(name, error) from None
        at_deployed = with_deployed(model, self.subject, curve, context)
        effects = at_deployed.effects(float(self.subject.multiplier))
        values = curve.slopes if by_slope else effects
        mean = self._mean(values, sample.clusters)
        effect = self._mean(effects, sample.clusters)
        per_unit = self._mean(effects / float(self.subject.multiplier), sample.clusters)
        deployed_size = size_of_mean(per_unit) if by_slope else None
        return Behaviour(name, sample, context, curve, at_deployed, values, mean, effect, size_of_mean(mean), deployed_size)

    def _curve(self, model: Model, items: Items, grid: list[float], context: Context) -> PropensityCurve:
        return propensity_curve(
            model, items, self.subject.intervention, multipliers=grid, context=context, **self.subject.scope
        )

    def _mean(self, values: Array, clusters: Sequence[int] | None, confidence: float | None = None) -> Inference:
        level = confidence or self.confidence
        return mean_of(values, self.interval, confidence=level, seed=self.seed, clusters=clusters)

    def _details(
        self, model: Model, measured: Sequence[Behaviour], furthest: Behaviour, at_deployed: bool
    ) -> dict[str, Any]:
        multiplier, by_slope = float(self.subject.multiplier), furthest.deployed_size is not None
        tests = sum(len(one.sizes) for one in measured)
        rows = []
        for one in measured:
            data = self._others[one.name]
            own = data.vector if isinstance(data, OtherData) else None
            rows.append(
                {"name": one.name}
                | one.describe(multiplier)
                | {"cosine": cosines(model, self.subject, one.sample.units, own, one.context)}
                | one.judged(self.band, self.confidence, self.min_n, tests)
            )
        found: dict[str, Any] = {
            "by": "slope" if by_slope else "effect",
            "furthest": furthest.name,
            "behaviours": rows,
            "entanglement": entanglement(measured, multiplier),
            "deployed": {"multiplier": multiplier, "direction": self.subject.direction},
        }
        if at_deployed:
            found["effects"] = [float(effect) for effect in furthest.at_deployed.effects(multiplier)]
        if self.items is not None:
            own_sample = sample_of(self.items, self.cluster)
            grid = [float(one) for one in furthest.curve.multipliers]
            found["own"] = {"name": "(its own)"} | self._measured(model, "its own", own_sample, grid, by_slope).describe(
                multiplier
            )
        return found

    def _deciding(self, measured: Sequence[Behaviour], tests: int) -> tuple[Inference, Behaviour, bool]:
        """What decides, the behaviour that is furthest out by it, and whether it is the effects at the deployed multiplier.

        Beside slopes these decide if one is proven to be outside and no slope is, or if the slopes would pass and one seems to be outside.
        """
        found = largest_size([one.size for one in measured], tests=tests)
        furthest = max(measured, key=lambda one: one.size.estimate)
        sizes = [one.deployed_size for one in measured if one.deployed_size is not None]
        if not sizes:
            return found, furthest, True
        deployed = largest_size(sizes, tests=tests)
        by_slopes, by_effects = (self._verdict_of(one, measured) for one in (found, deployed))
        refuted = by_effects is Verdict.FAIL and by_slopes is not Verdict.FAIL
        seems_outside = self.band is not None and deployed.estimate > self.band
        if refuted or (by_slopes is Verdict.PASS and seems_outside):
            return deployed, measured[max(range(len(sizes)), key=lambda index: sizes[index].estimate)], True
        return found, furthest, False

    def _verdict_of(self, found: Inference, measured: Sequence[Behaviour]) -> Verdict:
        return judged_from(found, self.band, Direction.AT_MOST, self.min_n, min(one.mean.n for one in measured))

    def _contradiction(self, furthest: Behaviour, measured: Sequence[Behaviour], tests: int) -> str:
        alone = self._verdict_of(largest_size([one.size for one in measured], tests=tests), measured)
        would = {Verdict.PASS: "pass", Verdict.INCONCLUSIVE: "be inconclusive"}[alone]
        low, high = (number(bound) for bound in bounds_of(furthest.effect))
        return (
            f"the slopes alone would {would}, and at the deployed multiplier {self.subject.multiplier:g} the mean effect on {furthest.name} "
            f"is {number(furthest.effect.estimate)} [{low}, {high}]"
        )

    def _warnings(self, samples: Mapping[str, Sample[Items]]) -> list[str]:
        """What has to be known of each behaviour's items; what is said of all alike is about the vector, and said once."""
        each = {name: data_warnings(self.subject, sample) for name, sample in samples.items()}
        first = next(iter(each.values()))
        alike = [text for text in first if all(text in said for said in each.values())] if len(each) > 1 else []
        given = [(name, data.vector) for name, data in self._others.items() if isinstance(data, OtherData)]
        return [
            *alike,
            *(text for name, vector in given for text in no_cosine(name, self.subject, vector)),
            *(f"{name}: {text}" for name, said in each.items() for text in said if text not in alike),
        ]

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        return [*behaviours_table(evidence), *words.not_looked_at(evidence)]

    figures = staticmethod(behaviours_figures)

    @staticmethod
    def worst_first(record: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
        return sorted(worst_first(record), key=lambda pair: -abs(pair[0]))

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        furthest = next(one for one in evidence.details["behaviours"] if one["name"] == evidence.details["furthest"])
        up = furthest["effect" if "effects" in evidence.details else "estimate"] >= 0
        contradicted, needed = "contradicts" in evidence.details["deployed"], evidence.items_needed
        instead = f"not enough evidence: about {needed} {evidence.unit} would decide" if contradicted and needed else None
        return [
            *words.decide(evidence, instead),
            *words.where(evidence),
            f"  furthest out, {evidence.details['furthest']}:",
            *words.curve(evidence),
            *words.worst_items(evidence, lambda value: -value if up else value),
        ]


def _checked(name: str, data: Any) -> Items | OtherData:
    try:
        return checked_data(data)
    except SteerError as error:
        raise type(error)(f"behaviours.{name}: {error}") from None


def _of_behaviour(name: str, error: DataError) -> DataError:
    named = type(error)(f"{name}: {error}")
    named.key = f"behaviours.{name}"
    return named


def assert_leaves_alone(
    model: Model,
    vector: SteeringVector | Intervention | None,
    behaviours: Mapping[str, Iterable[ItemLike] | OtherData] | None = None,
    *,
    band: Promise,
    safety: Reading | None = None,
    interval: IntervalMethod = "t",
    items: Iterable[ItemLike] | None = None,
    context: Context = AS_GIVEN,
    multipliers: Sequence[float] = MULTIPLIERS,
    cluster: str | None = None,
    **shared: Unpack[Deployment],
) -> Evidence:
    """Assert that the mean steerability of each other behaviour lies within ``+-band``.

    Args:
        behaviours: names and contrast items of other behaviours, or ``OtherData(items, vector)`` with the behaviour's own vector, for
            the cosine; without any, the safety items that ship.
        band: the promise, in units of propensity per unit of the multiplier.
        safety: measure the safety items that ship too: ``open`` or ``lettered``.
        items: the vector's own test items, measured beside the others; a behaviour that is the same is refused.
        cluster: a key of the items of all behaviours; bounds are over clusters.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("leaves_alone", locals())
