"""``leaves_alone``: steering does not move other behaviours, proven by two one-sided tests for each."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import torch

from ...core.block import Block, Estimate, Intervals, Line, Table
from ...core.errors import DataError, SteerError
from ...core.evidence import Direction, Evidence, Verdict
from ...core.finding import Finding, Weight, code
from ...core.numbers import estimated, in_brackets, number, would_decide
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Bounds, Data, RootMeanSquares
from ...data import ItemLike, Items, Sample, safety_items, sample_of
from ...data.formats import Reading
from ...measures import MULTIPLIERS, Array, PropensityCurve, asked_record
from ...measures.ask import Ask
from ...measures.compared import bounds_of
from ...prompting import AS_GIVEN, IN_TASK_FORM, Context
from ...stats import Inference, items_needed_within, largest_of, size_of_mean
from ...stats.estimators import Clusters, Mean, Size, Worst, floor_of
from ...stats.extremes import shared_level
from ...steering import Intervention, SteeringVector, as_intervention
from .. import show
from ..asserting import assertion
from ..base import Claim, Vector
from ..common import Interval
from ..curves import Deployed, check_has_slope, with_deployed
from ..findings import Found, of_single_values, on_promised_side
from ..judging import Judgement, verdict_of
from ..kind import claim
from ..measurement import Measurement, Read, counted, counted_together
from ..other_data import BEHAVIOURS, OtherData, checked_data, faults_of_behaviours, items_of, units_of

shared_items = code(
    "shared-items",
    signal="Some items of a behaviour are among those of another one, or of the claim's own.",
    meaning="The behaviours are not measured apart.",
    cure="Give each behaviour items of its own.",
)
mixed_scores = code(
    "mixed-scores",
    signal="Some behaviours are scored in logits and others in nats per token.",
    meaning="The band is the same number for both, and means another movement for each.",
    cure="Claim it of each kind of answers by itself, with a band for each.",
    weight=Weight.DOUBTFUL,
)
without_cosine = code(
    "no-cosine",
    signal="The vector of a behaviour has no direction that the claim's could be compared with.",
    meaning="The report has no cosine for this behaviour.",
    cure="Give a vector of the same width that has a layer in common with the claim's.",
)
hidden = code(
    "mean-hides-items",
    signal="A mean lies within the band, and more than half of its items move by more than the band.",
    meaning="Some move up and some down, which the mean does not show.",
    cure="Look at the items, or split the behaviour into those that belong together.",
    weight=Weight.DOUBTFUL,
)


@dataclass(frozen=True)
class Chosen:
    """The share of items whose matching answer is the likelier one: unsteered, and at the deployed multiplier."""

    unsteered: float
    steered: float


@dataclass(frozen=True)
class Cosine:
    """The cosine of the vector with a behaviour's own direction.

    Attributes:
        by_layer: at each layer that both have. method: of the own direction. from_items: it was made from the behaviour's items.
    """

    by_layer: Mapping[str, float]
    method: str
    from_items: bool


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What steering does to a behaviour. ``values`` are those of its items that have the ``estimate`` as their mean."""

    name: str
    context: Mapping[str, object]
    data: Data
    n: int
    estimate: float
    interval: Bounds
    interval_method: str
    effect: float
    effect_interval: Bounds
    chosen: Chosen
    values: list[float]
    clusters: Mapping[str, object] | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True, kw_only=True)
class LeftAlone(Moved):
    """A behaviour that steering is to leave alone, with the verdict of it alone."""

    cosine: Cosine | None
    p_pass: float | None
    p_fail: float | None
    verdict: str
    reading: Mapping[str, object] | None


@dataclass(frozen=True, kw_only=True)
class Details:
    """What the evidence has in ``details``.

    Attributes:
        by: slope or effect. effects: on the items of the furthest behaviour, where effects decide. own: the claim's own behaviour.
    """

    by: str
    furthest: str
    behaviours: Sequence[LeftAlone]
    entanglement: RootMeanSquares
    deployed: Deployed
    effects: list[float] | None = field(default=None, metadata=LEFT_OUT)
    own: Moved | None = field(default=None, metadata=LEFT_OUT)
    on_promised_side: Mapping[str, object] | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What was measured of one behaviour.

    Attributes:
        curve: over the claim's multipliers. deployed: of the same items, with the deployed multiplier and 0.
    """

    claim: LeavesAlone
    name: str
    sample: Sample[Items]
    context: Context
    curve: PropensityCurve
    deployed: PropensityCurve

    @cached_property
    def effects(self) -> Array:
        return self.deployed.effects(float(self.claim.multiplier))

    @property
    def tested(self) -> list[Array]:
        """[n_items] each: what has a mean that has to be within the band; first what the claim is about."""
        return [self.curve.slopes, self.effects / self.claim.multiplier] if self.claim.by_slope else [self.effects]

    @cached_property
    def mean(self) -> Inference:
        return self._mean(self.tested[0])

    @cached_property
    def effect(self) -> Inference:
        return self._mean(self.effects)

    @cached_property
    def sizes(self) -> list[Inference]:
        """What has to be within the band."""
        return [size_of_mean(self._mean(values)) for values in self.tested]

    def _mean(self, values: Array) -> Inference:
        return self.claim.estimator.infer(values, self.sample.clusters, confidence=self.claim.confidence)

    def judged(self, tests: int) -> tuple[float | None, float | None, Verdict]:
        """The p-values and the verdict of this behaviour alone, as one of ``tests`` that can fail the claim."""
        band = self.claim.threshold
        if band is None:
            return None, None, Verdict.INCONCLUSIVE
        outside = min(1.0, tests * min(size.p_at_least(band) for size in self.sizes))
        inside = max([self.sizes[0].p_at_most(band), *(1.0 for size in self.sizes[1:] if size.estimate > band)])
        least, alpha = floor_of(self.mean, self.claim.min_n), 1 - self.claim.confidence
        if least is not None and self.mean.n < least:
            return 1.0, 1.0, Verdict.INCONCLUSIVE
        verdict = Verdict.PASS if inside <= alpha else Verdict.FAIL if outside <= alpha else Verdict.INCONCLUSIVE
        return inside, outside, verdict

    @property
    def chosen(self) -> Chosen:
        columns, values = self.deployed.multipliers.tolist(), self.deployed.values
        return Chosen(*(float((values[:, columns.index(at)] > 0).mean()) for at in (0.0, float(self.claim.multiplier))))

    def described(self) -> Moved:
        """Its part of the record that does not depend on the promise."""
        measured = Moved(
            name=self.name,
            context=self.context.to_dict(),
            data=self.sample.describe(),
            n=self.mean.n,
            estimate=self.mean.estimate,
            interval=bounds_of(self.mean),
            interval_method=self.mean.method,
            effect=self.effect.estimate,
            effect_interval=bounds_of(self.effect),
            chosen=self.chosen,
            values=self.tested[0].tolist(),
        )
        return replace(measured, **self.sample.details())


@dataclass(frozen=True, eq=False)
class Decided:
    """The behaviours, and which test of them decides.

    Attributes:
        tested: which of the two tests of a behaviour decides: 0 for what the claim is about, 1 for the effects beside slopes.
        tests: how many can fail the claim.
    """

    behaviours: Sequence[Behaviour]
    tested: int
    tests: int

    @cached_property
    def furthest(self) -> Behaviour:
        return max(self.behaviours, key=lambda one: one.sizes[self.tested].estimate)

    @property
    def values(self) -> Array:
        """[n_items] what is tested of the furthest behaviour."""
        return self.furthest.tested[self.tested]


@dataclass(frozen=True)
class MeanOfSeveral(Mean):
    """A mean at the level of one of several tests."""

    tests: int = 1

    def infer(
        self, values: Array, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        strict = shared_level(confidence, self.tests)
        return super().infer(values, clusters, confidence=strict, direction=direction)


def _behaviours(given: Any) -> dict[str, Items | OtherData]:
    if not (isinstance(given, Mapping) and given and all(isinstance(key, str) for key in given)):
        raise SteerError("behaviours are named: write behaviours={'honesty': items}, or leave them out for the safety items")
    read = {}
    for name, data in given.items():
        try:
            read[name] = checked_data(data)
        except SteerError as error:
            raise type(error)(f"behaviours.{name}: {error}") from None
    return read


@claim("leaves_alone", title="Steering leaves other behaviours alone", main="band", directed=False)
class LeavesAlone(Claim):
    """The mean steerability of each other behaviour lies within +-`band`: steering moves none of them up or down by more.

    The statistic of an item is its slope over the multipliers; of an intervention whose strength has no slope, the effect at the
    deployed multiplier. The claim is one of equivalence: it passes if two one-sided tests prove for every behaviour that the mean is
    inside (``stats.size_of_mean``), fails if one is proven to be outside at a level divided by the number of tests
    (``stats.largest_of``), and is inconclusive otherwise. Beside slopes, the effects at the deployed multiplier, per unit of it, are tested too: one
    that is proven to be outside is a fail, and one that merely seems so no pass. The estimate is the size of the mean of the behaviour
    that is furthest out.

    Attributes:
        items: the vector's own test items, measured beside the others; a behaviour that is the same is refused.
        context: how the items of all behaviours are put to the model.
        multipliers: the grid of the propensity curves.
        cluster: a key of the items of all behaviours that names what belongs together: bounds are over clusters.

    Raises:
        SteerError: behaviours that are none, or without names.
        DataError: fewer than two items of a behaviour, one that is the claim's own, or an item that cannot be asked.
    """

    vector: Vector = field(kw_only=False)
    band: Annotated[
        Promise,
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
        Mapping[str, Iterable[ItemLike] | OtherData] | None,
        Param(
            "Names of other behaviours, each with its file of contrast items, relative to the folder of the claim file: "
            "`{honesty: data/honesty.json}`. With `train` or `vector` the cosine is with the behaviour's own vector: "
            "`{honesty: {test: data/honesty.json, train: data/honesty_train.json}}`. Under a `matrix`, the entry that is called like "
            "the combination's behaviour or vector is left out. Without any, the safety items that ship are measured.",
            title="Other behaviours",
            example={"honesty": "data/honesty.json"},
            judges=True,
            reads=_behaviours,
            loads=BEHAVIOURS,
        ),
    ] = field(default=None, kw_only=False)
    safety: Annotated[
        Reading | None,
        Param(
            "Measure the safety items that ship too, and how they are read: open, the answers in words, or lettered, which says "
            "little of a model that is at chance with letters. Without `behaviours` open is the default.",
            title="Shipped safety items",
            example="open",
            judges=True,
            schema={"type": ["string", "null"], "enum": ["open", "lettered", None], "default": None},
        ),
    ] = None
    interval: Interval = "t"
    items: Iterable[ItemLike] | None = None
    context: Context = AS_GIVEN
    multipliers: Sequence[float] = MULTIPLIERS
    cluster: str | None = None

    faults = staticmethod(faults_of_behaviours)

    def __post_init__(self) -> None:
        super().__post_init__()
        if taken := sorted((self.behaviours or {}).keys() & self.shipped.keys()):
            raise SteerError(f"{taken[0]!r} is the name of the shipped safety items: give the behaviour another name")

    @cached_property
    def shipped(self) -> dict[str, Items]:
        """The safety items that are measured, by name: all of them where no behaviour is given."""
        reading = self.safety or ("open" if self.behaviours is None else None)
        return {} if reading is None else safety_items(reading)

    @cached_property
    def others(self) -> dict[str, Iterable[ItemLike] | OtherData]:
        """The items of each other behaviour."""
        return {**(self.behaviours or {}), **self.shipped}

    @property
    def by_slope(self) -> bool:
        """Whether slopes are tested, and beside them effects; else effects alone."""
        return self.subject.intervention.strength == "linear"

    @property
    def estimator(self) -> Mean:
        return Mean(self.interval, self.seed)

    def measure(self, ask: Ask) -> Measurement:
        samples = {name: self._sample(name, data) for name, data in self.others.items()}
        own = None if self.items is None else sample_of(items_of(self.items), self.cluster)
        shared = [*_shared(samples, own)]
        multiplier, by_slope = float(self.multiplier), self.by_slope
        grid = check_has_slope(self.subject, self.multipliers if by_slope else [0.0, multiplier], by_effect=True)
        measured = [self._measured(ask, name, sample, grid) for name, sample in samples.items()]
        tests = sum(len(one.sizes) for one in measured)
        tested, alone = self._deciding(measured, tests)
        decided = Decided(measured, tested, tests)
        furthest, of_it = decided.furthest, decided.furthest.sample
        by_effect = tested > 0 or not by_slope
        reads = [Read(ask.reading(one.sample.units), of=one.name) for one in measured]
        details = Details(
            by="slope" if by_slope else "effect",
            furthest=furthest.name,
            behaviours=[self._left_alone(ask, one, read, tests) for one, read in zip(measured, reads, strict=True)],
            entanglement=_entanglement(measured),
            deployed=Deployed.of(self.subject, _contradiction(furthest, alone) if tested else None),
            effects=furthest.effects.tolist() if by_effect else None,
            own=None if own is None else replace(self._measured(ask, "its own", own, grid).described(), name="(its own)"),
        )
        what = "steerability" if by_slope else "mean effect"
        if tested:
            what = f"effect at {self.multiplier:g}{'' if self.multiplier == 1 else ', per unit'}"
        largest, of = ("", furthest.name) if len(measured) == 1 else ("largest ", f"{len(measured)} behaviours")
        found = Measurement(
            sample=furthest.sample,
            of=furthest.name,
            units=counted_together([counted(one.sample) for one in measured], of_it.called, n=of_it.n, unit=of_it.counted),
            values=np.concatenate([one.tested[tested] for one in measured]),
            estimator=Worst(Size(self.estimator), tuple(one.name for one in measured for _ in one.effects), tests),
            statistic=f"{largest}|{what}| of {of}",
            direction=Direction.AT_MOST,
            probes=[probe for one in measured for probe in one.curve.probes],
            noisy=furthest.curve.probes,
            moved=lambda floor: floor.effect / abs(multiplier) if by_effect else floor.slope(grid),
            kept=decided,
        )
        return found.but(
            curve=furthest.curve,
            deployed=furthest.deployed,
            asked=asked_record(ask.model, furthest.curve, furthest.context),
            is_slope=by_slope,
            also={one.name: one.sample for one in measured if one is not furthest},
            reads=reads,
            how={} if tested else {"multipliers": grid},
            details=details,
            compared={"entanglement": _compared(details, self.threshold)},
            fields={"strata": []},
            findings=[*shared, *self._no_cosines(), *_of_scores(measured)],
        )

    def judge(self, ask: Ask, measured: Measurement) -> Judgement:
        judgement = super().judge(ask, measured)
        if judgement.verdict is not Verdict.INCONCLUSIVE or self.threshold is None:
            return judgement
        return replace(judgement, items_needed=_needed(measured.kept, self.threshold, self.confidence))

    def find(self, found: Found) -> Iterator[Finding]:
        measured, verdict = found.measured, found.judgement.verdict
        decided: Decided = measured.kept
        # One behaviour decides a fail at its part of the level, and a pass at the whole of it.
        mean = MeanOfSeveral(self.interval, self.seed, tests=decided.tests if verdict is Verdict.FAIL else 1)
        furthest = measured.but(units=None, values=decided.values, estimator=Size(mean))
        yield from of_single_values(replace(found, measured=furthest))
        if verdict is Verdict.PASS and self.threshold is not None:
            yield from _hidden_by_mean(decided.behaviours, self.threshold)

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, object]:
        """The share of the furthest behaviour's items that are within the band."""
        furthest = measured.but(units=None, values=abs(measured.kept.values), estimator=Mean())
        return on_promised_side(Found(self, ask, furthest, judgement))

    def _sample(self, name: str, data: Iterable[ItemLike] | OtherData) -> Sample[Items]:
        with _named(name):  # the shipped items have no keys that name clusters
            return sample_of(items_of(data), None if name in self.shipped else self.cluster)

    def _measured(self, ask: Ask, name: str, sample: Sample[Items], grid: list[float]) -> Behaviour:
        context = self.context
        if name in self.shipped and context.template == IN_TASK_FORM.template:
            # The shipped items are questions, though the claim's own are pairs.
            context = replace(context, values=tuple(pair for pair in context.values if pair[0].name != "template"))
        ask = ask.within(context)
        with _named(name):
            curve = ask.propensity(sample.units, grid)
        return Behaviour(self, name, sample, context, curve, with_deployed(ask, curve))

    def _left_alone(self, ask: Ask, one: Behaviour, read: Read, tests: int) -> LeftAlone:
        p_pass, p_fail, verdict = one.judged(tests)
        return LeftAlone(
            **vars(one.described()),
            cosine=_cosine(ask.within(one.context), one.sample.units, _vector_of(self.others[one.name])),
            p_pass=p_pass,
            p_fail=p_fail,
            verdict=verdict.value,
            reading=read.record(self.confidence),
        )

    def _deciding(self, measured: Sequence[Behaviour], tests: int) -> tuple[int, Verdict]:
        """Which test of each behaviour decides, and the verdict of the first one alone.

        Beside slopes, effects decide if one is proven to be outside and no slope is, or if the slopes would pass and one seems to be outside.
        """
        each = [largest_of(sizes, tests=tests) for sizes in zip(*(one.sizes for one in measured), strict=True)]
        verdicts = [verdict_of(one, self.threshold, Direction.AT_MOST, self.min_n) for one in each]
        if len(each) == 1:
            return 0, verdicts[0]
        refuted = verdicts[1] is Verdict.FAIL and verdicts[0] is not Verdict.FAIL
        seems_outside = self.threshold is not None and each[1].estimate > self.threshold
        return int(refuted or (verdicts[0] is Verdict.PASS and seems_outside)), verdicts[0]

    def _no_cosines(self) -> Iterator[Finding]:
        """That there is no cosine with the vector that was given for a behaviour."""
        vector = self.subject.intervention.vector
        for name, data in self.others.items():
            own = _vector_of(data)
            if vector is None or own is None:
                continue  # what steers is no direction, which is no fault of the behaviour's vector
            known = as_intervention(own).vector
            if known is None:
                why = "what was given as its vector adds none"
            elif known.width != vector.width:
                why = f"its vector has the width {known.width}, and the claim's {vector.width}"
            elif not set(known.layers) & set(vector.layers):
                why = f"its vector is at the layers {list(known.layers)}, and the claim's at {list(vector.layers)}"
            else:
                continue
            yield without_cosine(f"{name}: {why}, so there is no cosine")

    # --- what it shows ---

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        """The behaviours side by side, the claim's own first if it was measured."""
        details: Details = evidence.own
        by_slope = details.by == "slope"
        rows = [
            [
                one.name,
                str(one.n),
                number(one.estimate),
                in_brackets(one.interval),
                *([number(one.effect)] if by_slope else []),
                f"{one.chosen.unsteered:.0%} -> {one.chosen.steered:.0%}",
                _cosine_words(getattr(one, "cosine", None)),
                getattr(one, "verdict", ""),
            ]
            for one in (*([] if details.own is None else [details.own]), *details.behaviours)
        ]
        measured = (
            ["steerability", "interval", f"effect at {evidence.multiplier:g}"] if by_slope else ["mean effect", "interval"]
        )
        yield Table(rows, ["behaviour", "n", *measured, "matching likelier", "cosine", ""])
        made = [one.cosine for one in details.behaviours if one.cosine is not None]
        if made:
            methods = ", ".join(dict.fromkeys(one.method + (" of its items" if one.from_items else "") for one in made))
            yield Line(f"cosine: of the vector with the behaviour's own direction ({methods})")
        rms, count = details.entanglement, len(details.behaviours)
        if count > 1:
            yield Line(
                f"entanglement (root mean square over {count} behaviours): effects {number(rms.effect)}, shares of likelier answers "
                f"{number(rms.chosen)}"
            )

    @staticmethod
    def reason(evidence: Evidence) -> str | None:
        contradicts: str | None = evidence.own.deployed.contradicts
        return contradicts

    @staticmethod
    def cure(evidence: Evidence) -> str | None:
        needed = evidence.items_needed
        contradicted = evidence.own.deployed.contradicts is not None
        return f"not enough evidence: {would_decide(needed, evidence.unit)}" if contradicted and needed else None

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        details: Details = evidence.own
        furthest = next(one for one in details.behaviours if one.name == details.furthest)
        up = (furthest.estimate if details.effects is None else furthest.effect) >= 0
        band = evidence.threshold
        yield Intervals(
            [Estimate(one.name, one.estimate, one.interval, one.n, one.verdict) for one in details.behaviours],
            "mean steerability" if details.by == "slope" else "mean effect at the deployed multiplier",
            promised=[] if band is None else [-band, band],
            title="Other behaviours",
            is_drawing=True,
            about="How far steering moves each." + ("" if band is None else f" The band of {band:g} is promised."),
        )
        yield Line(f"furthest out, {furthest.name}:")
        yield from show.curve(evidence)
        yield from show.distribution(evidence)
        yield from show.worst_items(evidence, lambda value: -value if up else value)


assert_leaves_alone = assertion(LeavesAlone)


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Say of which behaviour the data are at fault."""
    try:
        yield
    except DataError as error:
        named = type(error)(f"{name}: {error}")
        named.key = f"behaviours.{name}"
        raise named from None


def _vector_of(data: Iterable[ItemLike] | OtherData) -> SteeringVector | Intervention | None:
    return data.vector if isinstance(data, OtherData) else None


def _shared(samples: Mapping[str, Sample[Items]], own: Sample[Items] | None) -> Iterator[Finding]:
    """Refuse behaviours that are the claim's own or one another, and find items that are shared.

    Raises:
        DataError: names the behaviour.
    """
    known: dict[str, set[tuple[str, ...]]] = {} if own is None else {"data.test": {*own.forms}}
    for name, sample in samples.items():
        forms = {*sample.forms}
        for other, seen in known.items():
            shared = len(forms & seen)
            with _named(name):
                if shared == len(forms) and other == "data.test":
                    raise DataError(
                        "has the items of data.test and no others, so it is the claim's own behaviour: steering is meant to move it. "
                        "Name other behaviours"
                    )
                if shared == len(forms) == len(seen):
                    raise DataError(f"has the same items as {other}: name each behaviour once")
            if shared:
                yield shared_items(f"{name}: {shared} of its {len(forms)} items are in {other} too")
        known[name] = forms


def _of_scores(measured: Sequence[Behaviour]) -> Iterator[Finding]:
    if len({tuple(sorted(units_of(one.curve))) for one in measured}) > 1:
        yield mixed_scores(
            "some behaviours are scored in logits (answers of one token) and others in nats per token, and the band is the same number for both"
        )


def _needed(decided: Decided, band: float, confidence: float) -> int | None:
    """What would prove one mean to be outside if one seems to be, else what the most demanding behaviour needs to be inside."""
    strict = shared_level(confidence, decided.tests)

    def needed(size: Inference) -> int | None:
        deviation = size.standard_deviation or 0.0
        return items_needed_within(size.estimate, deviation, band, confidence=confidence, fail_confidence=strict)

    outside = [size for one in decided.behaviours for size in one.sizes if size.estimate >= band]
    if outside:
        return min((n for size in outside if (n := needed(size)) is not None), default=None)
    numbers = [needed(one.sizes[0]) for one in decided.behaviours if one.sizes[0].high > band]
    return None if not numbers or None in numbers else max(n for n in numbers if n is not None)


def _hidden_by_mean(behaviours: Sequence[Behaviour], band: float) -> Iterator[Finding]:
    """That a mean is within the band while most of its items are not: they move up and down alike."""
    for one in behaviours:
        sizes = abs(one.tested[0])
        outside = int((sizes > band).sum())
        if 2 * outside > len(sizes):
            yield hidden(
                f"{one.name}: {outside} of {len(sizes)} items move by more than the band, some up and some down (mean size "
                f"{number(float(sizes.mean()))}), and the mean over them hides it"
            )


def _contradiction(furthest: Behaviour, alone: Verdict) -> str:
    would = {Verdict.PASS: "pass", Verdict.INCONCLUSIVE: "be inconclusive"}[alone]
    return (
        f"the slopes alone would {would}, and at the deployed multiplier {furthest.claim.multiplier:g} the mean effect on {furthest.name} "
        f"is {estimated(furthest.effect.estimate, bounds_of(furthest.effect))}"
    )


def _entanglement(behaviours: Sequence[Behaviour]) -> RootMeanSquares:
    """Root mean squares of the changes of the behaviours (SteeringSafety, arXiv 2509.13450), at the deployed multiplier.

    That of the shares lies in [0, 1], like the paper's scores.
    """

    def root_mean_square(changes: Iterable[float]) -> float:
        return math.sqrt(math.fsum(change**2 for change in changes) / len(behaviours))

    return RootMeanSquares(
        effect=root_mean_square(one.effect.estimate for one in behaviours),
        chosen=root_mean_square(one.chosen.steered - one.chosen.unsteered for one in behaviours),
    )


def _compared(details: Details, band: float | None) -> dict[str, object]:
    """What the map of several vectors needs."""

    def of(one: Moved, *keys: str) -> dict[str, object]:
        return {key: getattr(one, key) for key in ("estimate", "interval", "effect", *keys)}

    return {
        "by": details.by,
        "band": band,
        "behaviours": [of(one, "name", "verdict") for one in details.behaviours],
        "own": None if details.own is None else of(details.own),
        "entanglement": details.entanglement,
    }


def _cosine(ask: Ask, items: Items, own: SteeringVector | Intervention | None) -> Cosine | None:
    """The cosine of the vector with a behaviour's own direction.

    None where there is nothing to compare: what steers adds no vector, or no direction of the residual stream at one of the layers.

    Args:
        own: the behaviour's own vector; None to make it from its items: the mean difference of its answers, read at the letter of
            lettered ones (as ``caa`` does) and over the tokens of worded ones.
    """
    change = ask.subject.intervention
    vector = change.vector
    if vector is None or (own is None and change.site != "block"):
        return None
    if own is None:
        method, directions = _own_directions(ask, items, vector.layers)
    else:
        known = as_intervention(own).vector
        if known is None or known.width != vector.width:
            return None
        method, directions = str(known.metadata.get("method") or "a saved vector"), known.directions
    found = {}
    for layer in sorted(set(vector.layers) & directions.keys()):
        one, other = vector.directions[layer].double().flatten(), directions[layer].double().flatten()
        norms = float(one.norm()) * float(other.norm())
        if norms > 0:  # sides that look alike have no direction
            found[str(layer)] = float(one @ other) / norms
    return Cosine(found, method, own is None) if found else None


def _own_directions(ask: Ask, items: Items, layers: Sequence[int]) -> tuple[str, Mapping[int, torch.Tensor]]:
    """The mean difference of the two sides of the items, by its method's name."""
    lettered = all(item.is_lettered for item in items)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a direction that steers nothing
        contrast = ask.contrast(items, layers, readout="answer" if lettered else "mean")
    return "caa" if lettered else "mean_difference", {at: contrast.mean_difference(at) for at in contrast.layers}


def _cosine_words(cosine: Cosine | None) -> str:
    """The cosine, or of several by layer the one of the largest size."""
    if cosine is None:
        return "-"
    by_layer = cosine.by_layer
    if len(by_layer) == 1:
        return f"{next(iter(by_layer.values())):+.2f}"
    layer = max(by_layer, key=lambda at: abs(by_layer[at]))
    return f"{by_layer[layer]:+.2f} (layer {layer}, largest of {len(by_layer)})"
