"""``beats``: the vector does more than a baseline, on the same items."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Unpack

import numpy as np

from ..data import ItemLike, Items, Question, Questions, Sample, TextLike, as_questions, as_texts, sample_of
from ..data.traces import known_in, traces
from ..errors import SteerError
from ..evidence import Direction, Evidence, Verdict
from ..measures import Array, asked_record, perplexity, propensity_curve, reading_of_texts
from ..measures.at_cost import MAX_MULTIPLIER
from ..measures.compared import bounds_of
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import Inference, least_of
from ..steering import Intervention, SteeringVector
from . import beats_words
from .baseline_schema import BASELINE_SCHEMA
from .baselines import Baseline, as_baseline, check_choice
from .common import AboutItems, Interval, IntervalMethod
from .deployed import deployed_record, moves_of, with_deployed
from .doubts import look_closer
from .holding import hold
from .judged import judged, mean_of
from .kinds import claim
from .leaks import text_leaks
from .no_effect import controls_of_no_effect
from .numbers import number
from .over_items import (
    asking_warnings,
    compared_by_items,
    curve_fields,
    data_warnings,
    item_units,
)
from .rivals import Measured, Rival, measure_rivals, not_told_apart, too_few_to_beat, unmoved, wrong_way
from .unread import withhold_unread


@claim("beats", title="The vector does more than a baseline", only_with={"max_multiplier": "budget"})
@dataclass(frozen=True, kw_only=True)
class Beats:
    """The mean effect of the vector exceeds that of `baseline` by more than `margin`, on the same test items.

    The effect of an item is its propensity under steering, or under the baseline, minus that of the plain model. At the deployed
    multipliers, or with `budget` at those where perplexity has risen by it (``multipliers_at_cost``). Differences are paired by item. Where
    the baseline is several directions (`random`, `shuffled`), each has to be beaten: the claim passes if every lower bound is above
    `margin`, and fails if the upper bound of any is not, at a level divided by their number (``stats.least_of``). A vector that is drawn like 19 random
    ones is the best of the 20 with a probability of 5 %, so that is the most that a random direction passes.

    Raises:
        SteerError: the baseline cannot be used, several prompts without items to choose on, or ``budget`` without neutral texts.
    """

    subject: Subject
    items: Items
    baseline: Annotated[
        Baseline,
        Param(
            "What is to be beaten: `random` or `shuffled`, or one of `{random: 19}`, `{shuffled: 19}`, `{unrelated: FILE}` (training data of "
            "another behaviour), `{prompt: [TEXT, ...]}`, `{model: NAME}`, `{adapter: FOLDER}`, `{vector: FILE}`.",
            title="Baseline",
            example="random",
            schema=BASELINE_SCHEMA,
        ),
    ]
    margin: Annotated[
        float | None,
        Param(
            "The vector's mean effect is larger by more than this.",
            title="Margin",
            example=0,
            unit="propensity",
            promise=True,
            weak_to=-1,
            weak="lets the vector do that much less than its baseline; that it does no less is promised by a margin a little below 0, such as -0.1",
        ),
    ] = 0.0
    chosen_on: Annotated[
        Items | None,
        Param(
            "Training items on which the best of several prompts is chosen; without it, the vector's own training data if these are contrast "
            "items.",
            title="Items that the prompt is chosen on",
            example="train.json",
            schema={"type": ["string", "null"], "pattern": r"\S", "x-items": True, "default": None},
        ),
    ] = None
    baseline_multiplier: Annotated[
        float | None,
        Param(
            "The multiplier of a baseline `vector`; without it, that of the claim.",
            example=1,
            schema={"type": ["number", "null"], "not": {"const": 0}, "default": None},
        ),
    ] = None
    budget: Annotated[
        float | None,
        Param(
            "Compare at the multipliers where the perplexity of the neutral texts has risen by this share: 0.05 means 5 %.",
            title="Budget: relative rise of perplexity",
            example=0.05,
            above=0,
            schema={"type": ["number", "null"], "default": None},
        ),
    ] = None
    max_multiplier: Annotated[
        float,
        Param(
            "With `budget`: the largest multiplier tried, as a multiple of the deployed one.",
            title="Largest multiplier",
            example=8,
            at_least=1,
        ),
    ] = MAX_MULTIPLIER
    questions: Annotated[
        Questions | None,
        Param(
            "Multiple-choice questions, on which the accuracy of the vector and of the strongest baseline is shown beside: a file, as for "
            "`capability_delta_below`, or builtin:capability.",
            title="Questions",
            example="builtin:capability",
            schema={"type": ["string", "null"], "pattern": r"\S", "x-questions": True, "default": None},
        ),
    ] = None
    interval: Interval = "t"
    texts: Sequence[TextLike] = ()
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    context: Context = AS_GIVEN
    cluster: str | None = None
    source: str = "texts"
    name: str = "beats"

    def __post_init__(self) -> None:
        object.__setattr__(self, "baseline", as_baseline(self.baseline, self.chosen_on, self.baseline_multiplier))
        check_choice(self.baseline)
        if self.questions is not None:
            object.__setattr__(self, "questions", as_questions(self.questions))
        if self.budget is not None and not self.texts:
            raise SteerError(
                "budget is a rise of perplexity on neutral texts, and there are none: give data.neutral (in Python texts=)"
            )

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two items, or data that cannot be scored. SoundnessError: the hooks do not do what they say.
            SteerError, VectorError, MeasurementError: see ``rivals.measure_rivals``.
        """
        sample = sample_of(self.items, self.cluster)
        of_texts = sample_of(as_texts(self.texts, self.source)) if self.texts else None
        texts, repeats = (of_texts.units, [*map(str, of_texts.findings)]) if of_texts else ([], ())
        soundness = check_before(model, self.subject)
        found = measure_rivals(
            model,
            self.subject,
            self.baseline,
            sample.units,
            texts,
            context=self.context,
            budget=self.budget,
            max_multiplier=self.max_multiplier,
            seed=self.seed,
            questions=self.questions,
        )
        sign = self.subject.effect_sign
        differences = [sign * (found.own.effects - rival.effects) for rival in found.rivals]
        each = [self._mean(one, sample.clusters) for one in differences]
        worst = min(range(len(each)), key=lambda index: each[index].estimate)
        strength = found.own.multiplier
        assert strength is not None
        curve = propensity_curve(
            model,
            sample.units,
            self.subject.intervention,
            multipliers=[0.0, strength],
            context=self.context,
            **self.subject.scope,
        )
        asked = asked_record(model, curve, self.context)
        least = least_of(each)
        # A vector that equals its baseline does not beat it.
        above = None if self.margin is None else math.nextafter(self.margin, math.inf)
        evidence = judged(
            model,
            replace(self.subject, multiplier=strength),
            least,
            curve.probes,
            threshold=self.margin,
            scaled=above,
            direction=Direction.AT_LEAST,
            confidence=self.confidence,
            min_n=self.min_n,
            moved=lambda floor: math.sqrt(2) * floor.effect,
            check="beats",
            name=self.name,
            statistic=_STATISTIC[self.baseline.kind] + (" at equal cost" if self.budget is not None else ""),
            soundness=soundness,
            asked=asked,
            warnings=[
                *data_warnings(self.subject, sample),
                *asking_warnings(model, self.subject, asked, sample.units),
                *repeats,
                *text_leaks(self.subject.intervention.metadata, texts),
                *found.notes,
                *self._leaks(sample),
            ],
            **curve_fields(
                curve,
                self._details(found, each, differences, worst) | sample.details(),
                self.subject,
                self.confidence,
                sample.clusters,
            )
            | sample.counts(),
        )
        if len(each) == 1:
            how = {"baseline": self.baseline.kind, "budget": self.budget, "context": self.context.to_dict()}
            evidence.units = item_units(sample, differences[0], how)
        else:
            evidence.unpaired = f"the strongest of {len(each)} baselines may be another one in each run"
        if found.over_budget is not None:
            evidence.verdict, evidence.items_needed = Verdict.INCONCLUSIVE, None
            evidence.p_pass = evidence.p_fail = 1.0  # proves nothing, neither alone nor among others
        elif evidence.verdict is Verdict.PASS and evidence.noise is not None and self.margin is not None:
            room = evidence.noise["statistic"]
            alike = not_told_apart(found, [one - self.margin for one in differences], room)
            if alike is not None:
                _withhold(evidence, alike, room, model.dtype)
        if self.budget is not None and of_texts is not None:
            reading = reading_of_texts(model, perplexity(model, texts).per_text)
            evidence.details["reading"] = withhold_unread(evidence, reading, of_texts.clusters)
        for item, difference in zip(evidence.items or (), differences[worst], strict=True):
            item["difference"] = float(difference)
        if evidence.verdict is Verdict.PASS:
            drawn = self.baseline.kind in ("random", "shuffled")
            evidence.warnings += too_few_to_beat(len(each), self.confidence) if drawn else []
            evidence.warnings += unmoved(found, worst) or wrong_way(found, worst, sign)
        at_deployed = with_deployed(model, self.subject, curve, self.context)
        evidence.details["deployed"] = deployed_record(self.subject, at_deployed, self.confidence, sample.clusters)
        if self.baseline.kind != "random":  # which is that control itself
            compared = replace(self.subject, multiplier=strength)
            moves = "neither way" if moves_of(each[worst]) == "neither way" else None
            evidence.details |= controls_of_no_effect(
                model, compared, sample.units, evidence, self.seed, self.context, moves=moves
            )
        names = [item.id for item in sample.units]
        if len(each) == 1:
            look_closer(evidence, differences[0], self._mean, above, sample.clusters, names)
        evidence.compared = compared_by_items(curve, self.subject, evidence, at_deployed, sample.clusters)
        return evidence

    def _mean(self, values: Array, clusters: Sequence[int] | None = None) -> Inference:
        return mean_of(values, self.interval, confidence=self.confidence, seed=self.seed, clusters=clusters)

    def _details(
        self, found: Measured, each: Sequence[Inference], differences: Sequence[Array], worst: int
    ) -> dict[str, Any]:
        own, means = found.own, [float(rival.effects.mean()) for rival in found.rivals]
        sign = self.subject.effect_sign
        more = {}
        if self.baseline.kind in ("random", "shuffled"):
            at_least = sum(sign * mean >= sign * float(own.effects.mean()) for mean in means)
            more["rank"] = {"number": 1 + at_least, "of": len(means) + 1, "p": (1 + at_least) / (len(means) + 1)}
        return {
            "baseline": self.baseline.kind,
            "worst": found.rivals[worst].name,
            "vector": _described(own),
            "rivals": [
                _described(rival) | {"difference": one.estimate, "interval": list(bounds_of(one))}
                for rival, one in zip(found.rivals, each, strict=True)
            ],
            "budget": self.budget,
            "over_budget": found.over_budget,
            "within_rounding": None,
            "accuracy": found.accuracy,
            "items_won": float(np.mean(differences[worst] > 0)),
            **more,
        }

    def _leaks(self, sample: Sample[Items]) -> list[str]:
        chosen_on = self.baseline.chosen_on
        if chosen_on is None or len(self.baseline.prompts) < 2:
            return []
        known = known_in([item.question for item in sample.units], traces([item.question for item in chosen_on]))
        if not (shared := known.asked + known.near):
            return []
        return [f"the prompt was chosen on {shared} of these {len(sample.units)} questions, which flatters it"]

    headline = staticmethod(beats_words.headline)
    remarks = staticmethod(beats_words.remarks)
    explanation = staticmethod(beats_words.explanation)
    figures = staticmethod(beats_words.figures)
    worst_first = staticmethod(beats_words.worst_first)


def _withhold(evidence: Evidence, alike: str, room: float, dtype: str) -> None:
    """Take a pass back that rounding can have made."""
    evidence.details["within_rounding"] = (
        f"every difference to {alike} is within rounding ({number(room)} in {dtype}) of the promised {number(evidence.threshold)}"
    )
    evidence.verdict, evidence.items_needed = Verdict.INCONCLUSIVE, None
    evidence.p_pass = evidence.p_fail = 1.0


_STATISTIC = {
    "random": "effect over the best random direction",
    "shuffled": "effect over the best shuffled vector",
    "unrelated": "effect over the unrelated vector",
    "prompt": "effect over the prompt",
    "model": "effect over the model",
    "adapter": "effect over the adapter",
    "vector": "effect over the other vector",
}


def _described(rival: Rival) -> dict[str, Any]:
    return {
        "name": rival.name,
        "multiplier": rival.multiplier,
        "mean_effect": float(rival.effects.mean()),
        "accuracy": rival.accuracy,
        "cost": rival.cost if rival.cost is None or math.isfinite(rival.cost) else None,
        **rival.about,
    }


def assert_beats(
    model: Model,
    vector: SteeringVector | Intervention | None,
    items: Iterable[ItemLike],
    *,
    baseline: Any,
    margin: Promise = 0.0,
    chosen_on: Iterable[ItemLike] | None = None,
    baseline_multiplier: float | None = None,
    budget: float | None = None,
    max_multiplier: float = MAX_MULTIPLIER,
    texts: Sequence[TextLike] = (),
    questions: Iterable[Question] | None = None,
    interval: IntervalMethod = "t",
    context: Context = AS_GIVEN,
    cluster: str | None = None,
    **shared: Unpack[AboutItems],
) -> Evidence:
    """Assert that the mean effect of the vector exceeds that of a baseline by more than ``margin``.

    Args:
        baseline: ``"random"``, another vector, a model, a list of system prompts, or a :class:`Baseline`, such as
            ``Baseline.random(99)`` or ``Baseline.shuffled(vectors)``.
        chosen_on: training items, on which the best of several prompts is chosen.
        baseline_multiplier: of a vector; without it, that of the claim.
        margin: the promise: mean over items of the difference, in propensity.
        budget: compare where the perplexity of ``texts`` has risen by this share. max_multiplier: see :func:`assert_steers_at_cost`.
        texts: neutral texts; with them the evidence has what the vector and the baseline cost.
        questions: as of ``read_questions()``; with them it has the share that each answers right.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("beats", locals())
