"""``beats``: the vector does more than a baseline, on the same items, at the deployed multipliers or at equal cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from ...core import record
from ...core.block import Block, Estimate, Intervals, Line, Table
from ...core.errors import DataError, MeasurementError, SteerError
from ...core.evidence import Evidence
from ...core.finding import Finding, Weight, code
from ...core.numbers import estimated, number
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Bounds
from ...data import Items, Questions, Sample, TextLike, Texts, as_items, as_questions, as_texts, sample_of
from ...data.traces import known_in, traces
from ...measures import Array, PropensityCurve, capability, chance_warnings, perplexity, propensity_curve, relative_rise
from ...measures.ask import Ask
from ...measures.at_cost import MAX_MULTIPLIER
from ...measures.compared import bounds_of, finite
from ...measures.likelihood import prompt_cost
from ...measures.subject import Subject, describe_model
from ...model import Model
from ...model.noise import eps_of
from ...prompting import Context
from ...stats import Direction, Inference, Verdict, least_of
from ...stats.estimators import AsMean, Clusters, Mean
from .. import show
from ..asserting import assertion
from ..base import AboutItems
from ..common import Interval
from ..curves import WithControls, controls_of_no_effect, moves_of, moves_of_deployed
from ..findings import Found, at_chance
from ..from_file import ITEMS, QUESTIONS
from ..judging import Judgement, Reason, over_budget, withhold, within_rounding
from ..kind import claim
from ..measurement import Measurement, Read
from .baselines import BASELINE, Baseline, as_baseline, check_choice, choice_faults, vectors_of

unequal_cost = code(
    "unequal-cost",
    signal="The vector or a baseline does not cost the budget.",
    meaning="The two are compared at different costs.",
    cure="Choose a budget that both reach.",
    weight=Weight.DOUBTFUL,
)
repeated_baselines = code(
    "repeated-baselines",
    signal="Some of the shuffled vectors are the same.",
    meaning="Few training pairs have few ways to shuffle their labels, so there are fewer baselines than asked for.",
    cure="Train on more pairs, or compare with `random`.",
)
chosen_on_test = code(
    "prompt-chosen-on-test-items",
    signal="The best of several prompts was chosen on questions of the test items.",
    meaning="The prompt is flattered, so a fail may be the choice's.",
    cure="Choose it on other items.",
    weight=Weight.DOUBTFUL,
)
few_directions = code(
    "few-random-directions",
    signal="A vector that is drawn like the baselines would be the best of all more often than a pass may be wrong.",
    meaning="The pass can be chance.",
    cure="Take more directions.",
    weight=Weight.MEANINGLESS,
)
idle_baseline = code(
    "baseline-moves-nothing",
    signal="The baseline changes no item at all.",
    meaning="Anything that moves the items beats it.",
    cure="See whether the prompt or the vector reaches the model.",
    weight=Weight.MEANINGLESS,
)
wrong_way = code(
    "beaten-the-wrong-way",
    signal="A claim passes whose baseline, or vector too, moves the items the wrong way.",
    meaning="To do more than that says less than to do something.",
    cure="Claim the vector's own effect too, with `steers`.",
    weight=Weight.DOUBTFUL,
)


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One way to move the items, as the evidence has it.

    Attributes:
        name: ``vector`` for the claim's own.
        multiplier: None without steering.
        mean_effect: mean over the items of the propensity this way minus that of the plain model under test.
        cost: relative rise of perplexity on the neutral texts; None if it was not measured.
        accuracy: share of the questions that are answered right; None without questions.
        difference / interval: what the vector does more, of its rivals.
    """

    name: str
    multiplier: float | None = None
    mean_effect: float
    cost: float | None = None
    accuracy: float | None = None
    difference: float | None = field(default=None, metadata=LEFT_OUT)
    interval: Bounds | tuple[()] = field(default=(), metadata=LEFT_OUT)


@dataclass(frozen=True, kw_only=True)
class Steered(Rival):
    """A vector or an intervention."""

    hash: str
    method: str


@dataclass(frozen=True, kw_only=True)
class Prompted(Rival):
    """A system prompt. ``tried`` are the mean effects of all prompts on the items that the best one is chosen on."""

    prompt: str
    tried: list[float] | None


@dataclass(frozen=True, kw_only=True)
class OtherModel(Rival):
    """Another checkpoint, and whether it splits prompts and answers as the model under test does."""

    model: record.Model
    same_tokens: bool


@dataclass(frozen=True)
class Rank:
    """The place of the vector among its baselines, and the probability of one as good by chance."""

    number: int
    of: int
    p: float


@dataclass(frozen=True, kw_only=True)
class Details(WithControls):
    """What the evidence has in ``details``.

    Attributes:
        baseline: its kind. worst: the rival that the claim is judged by. accuracy: of the plain model.
        items_won: share of the items on which the vector does more than the worst.
    """

    baseline: str
    worst: str
    vector: Rival
    rivals: Sequence[Rival]
    budget: float | None
    accuracy: float | None
    items_won: float
    rank: Rank | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True, eq=False)
class Rivals:
    """The claim's vector and its rivals on the same items.

    Attributes:
        effects: name to float64 [n_items], propensity this way minus propensity of the plain model under test.
        accuracy: of the plain model under test on the questions, or None.
        over_budget: why the claim's vector cannot be compared at the budget, or None.
        each: the inference of what the vector does more than each of the others.
    """

    own: Rival
    others: Sequence[Rival]
    effects: Mapping[str, Array]
    findings: Sequence[Finding]
    accuracy: float | None
    over_budget: str | None
    each: Sequence[Inference] = ()

    @property
    def worst(self) -> int:
        """The place of the rival that the claim is judged by."""
        return min(range(len(self.each)), key=lambda at: self.each[at].estimate)


@dataclass(frozen=True)
class LeastMean(Mean):
    """The least of the means of several columns; of one column its mean."""

    def each(self, values: Array, clusters: Clusters = None, *, confidence: float) -> list[Inference]:
        """The inference of each column."""
        return [super(LeastMean, self).infer(column, clusters, confidence=confidence) for column in values.T]

    def infer(
        self, values: Array, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        return least_of(self.each(values, clusters, confidence=confidence))

    def per_unit(self, values: Array, direction: Direction) -> Array:
        (column,) = values.T  # of several, runs are not paired
        return np.asarray(column)

    def as_mean(self, values: Array, threshold: float, direction: Direction) -> AsMean:
        return (values[:, 0], threshold, Mean(self.interval, self.seed)) if values.shape[1] == 1 else None


@claim("beats", title="The vector does more than a baseline", only_with={"max_multiplier": "budget"})
class Beats(AboutItems):
    """The mean effect of the vector exceeds that of `baseline` by more than `margin`, on the same test items.

    The effect of an item is its propensity under steering, or under the baseline, minus that of the plain model. At the deployed
    multipliers, or with `budget` at those where perplexity has risen by it (``multipliers_at_cost``). Differences are paired by item. Where
    the baseline is several directions (`random`, `shuffled`), each has to be beaten: the claim passes if every lower bound is above
    `margin`, and fails if the upper bound of any is not, at a level divided by their number (``stats.least_of``). A vector that is drawn like 19 random
    ones is the best of the 20 with a probability of 5 %, so that is the most that a random direction passes.

    Attributes:
        texts: neutral texts, on which the vector and the baseline cost perplexity. source: where they come from, for messages.

    Raises:
        SteerError: the baseline cannot be used, several prompts without items to choose on, or ``budget`` without neutral texts.
    """

    baseline: Annotated[
        Any,
        Param(
            "What is to be beaten: `random` or `shuffled`, or one of `{random: 19}`, `{shuffled: 19}`, `{unrelated: FILE}` (training data of "
            "another behaviour), `{prompt: [TEXT, ...]}`, `{model: NAME}`, `{adapter: FOLDER}`, `{vector: FILE}`.",
            example="random",
            reads=as_baseline,
            loads=BASELINE,
        ),
    ]
    margin: Annotated[
        Promise,
        Param(
            "The vector's mean effect is larger by more than this.",
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
            reads=as_items,
            loads=ITEMS,
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
            example="builtin:capability",
            judges=True,
            reads=as_questions,
            loads=QUESTIONS,
        ),
    ] = None
    interval: Interval = "t"
    texts: Sequence[TextLike] = ()
    source: str = "texts"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.rival)
        if self.budget is not None and not self.texts:
            raise SteerError(
                "budget is a rise of perplexity on neutral texts, and there are none: give data.neutral (in Python texts=)"
            )

    faults = staticmethod(choice_faults)

    @cached_property
    def rival(self) -> Baseline:
        """The baseline with the items that its prompt is chosen on, and its multiplier."""
        return as_baseline(self.baseline, self.chosen_on, self.baseline_multiplier)

    def measure(self, ask: Ask) -> Measurement:
        sample, sign, kind = self.sampled_items, self.subject.effect_sign, self.rival.kind
        of_texts = sample_of(as_texts(self.texts, self.source)) if self.texts else None
        found = _measured(ask, self, None if of_texts is None else of_texts.units)
        own, strength = found.effects["vector"], found.own.multiplier
        assert strength is not None
        values = np.stack([sign * (own - found.effects[rival.name]) for rival in found.others], axis=1)
        estimator = LeastMean(self.interval, self.seed)
        each = estimator.each(values, sample.clusters, confidence=self.confidence)
        found = replace(found, each=each)
        differences = values[:, found.worst]
        curve = ask.propensity(sample.units, [0.0, strength])
        reads = []
        if self.budget is not None and of_texts is not None:
            reads.append(Read(ask.reading(of_texts.units), of_texts.clusters, texts=of_texts.units))
        measured = Measurement(
            sample=sample,
            values=values,
            estimator=estimator,
            statistic=_STATISTIC[kind] + (" at equal cost" if self.budget is not None else ""),
            is_strict=True,  # a vector that equals its baseline does not beat it
            probes=curve.probes,
            moved=lambda floor: math.sqrt(2) * floor.effect,
            subject=replace(self.subject, multiplier=strength),
            curve=curve,
            kept=found,
        )
        return measured.but(
            also={} if of_texts is None else {"": of_texts},
            reads=reads,
            of_items=[{"difference": float(difference)} for difference in differences],
            unpaired=None if len(each) == 1 else f"the strongest of {len(each)} baselines may be another one in each run",
            findings=[*found.findings, *self._chosen_on_test(sample)],
            details=Details(
                baseline=kind,
                worst=found.others[found.worst].name,
                vector=found.own,
                rivals=[
                    replace(rival, difference=one.estimate, interval=bounds_of(one))
                    for rival, one in zip(found.others, each, strict=True)
                ],
                budget=self.budget,
                accuracy=found.accuracy,
                items_won=float(np.mean(differences > 0)),
                rank=_rank(found, sign) if kind in ("random", "shuffled") else None,
            ),
            fields={"strata": []},  # slopes, which a difference of effects has not
        )

    def doubt(self, ask: Ask, measured: Measurement, judgement: Judgement) -> Judgement:
        rivals: Rivals = measured.kept
        if rivals.over_budget is not None:
            cure = "choose a larger budget, or another baseline: at unequal cost the two do not compare"
            return withhold(judgement, Reason(over_budget.name, rivals.over_budget, cure))
        if judgement.verdict is not Verdict.PASS or judgement.noise is None or self.threshold is None:
            return judgement
        room = judgement.noise.statistic
        largest = abs(measured.values - self.threshold).max(axis=0)
        alike = next((one.name for one, size in zip(rivals.others, largest, strict=True) if size <= room), None)
        if alike is None:
            return judgement
        text = (
            f"every difference to {alike} is within rounding ({number(room)} in {ask.model.dtype}) of the promised "
            f"{number(self.threshold)}"
        )
        cure = "hold the vector against another baseline: these two are alike"
        return withhold(judgement, Reason(within_rounding.name, text, cure))

    def find(self, found: Found) -> Iterator[Finding]:
        if found.judgement.verdict is not Verdict.PASS:
            return
        rivals: Rivals = found.measured.kept
        if self.rival.kind in ("random", "shuffled"):
            yield from _too_few_to_beat(len(rivals.each), self.confidence)
        rival, sign = rivals.others[rivals.worst], self.subject.effect_sign
        if not rivals.effects[rival.name].any():
            what = "the prompt" if isinstance(rival, Prompted) else "the baseline"
            yield idle_baseline(
                f"{what} moves none of these items at all: to do more than that is to do anything. Does it reach the model?"
            )
            return
        own, other = (sign * one.mean_effect for one in (rivals.own, rival))
        if own > 0 and (other >= 0 or len(rivals.each) > 1):
            return
        who = "the baseline moves" if own > 0 else "the vector and its baseline move"
        effects = f"{sign * other:.3g}" if own > 0 else f"{sign * own:.3g} and {sign * other:.3g}"
        yield wrong_way(
            f"{who} these items the wrong way (mean effect {effects}): to do more than that says less than to do something"
        )

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, object]:
        assert measured.deployed is not None
        assert measured.subject is not None
        if self.rival.kind == "random":  # which is that control itself
            return {}
        rivals: Rivals = measured.kept
        moves = moves_of(rivals.each[rivals.worst])
        if moves != "neither way":
            moves = moves_of_deployed(ask.subject, measured.deployed, self.confidence, measured.entries.clusters)
        return controls_of_no_effect(ask.of(measured.subject), measured, judgement, seed=self.seed, moves=moves)

    def _chosen_on_test(self, sample: Sample[Items]) -> Iterator[Finding]:
        chosen_on = self.rival.chosen_on
        if chosen_on is None or len(self.rival.prompts) < 2:
            return
        known = known_in([item.question for item in sample.units], traces([item.question for item in chosen_on]))
        if shared := known.asked + known.near:
            yield chosen_on_test(
                f"the prompt was chosen on {shared} of these {len(sample.units)} questions, which flatters it"
            )

    # --- what it shows ---

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        """The vector beside its baseline: of many rivals the best one, and where the vector ranks."""
        details: Details = evidence.own
        best = next(one for one in details.rivals if one.name == details.worst)
        rows = [
            [
                one.name,
                "" if one.multiplier is None else f"{one.multiplier:.3g}",
                number(one.mean_effect),
                "" if one.difference is None else f"{estimated(one.difference, one.interval)}",
                "" if one.cost is None else f"{one.cost:+.1%}",
                *([] if details.accuracy is None else [f"{one.accuracy:.1%}"]),
            ]
            for one in (details.vector, best)
        ]
        answers = [] if details.accuracy is None else [f"right answers ({details.accuracy:.1%} plain)"]
        yield Table(rows, ["", "multiplier", "mean effect", "vector is larger by", "perplexity", *answers])
        if isinstance(best, Prompted):
            yield Line(f"prompt: {show.shorten(best.prompt, 100)}")
        if (rank := details.rank) is not None:
            yield Line(f"the vector is number {rank.number} of {rank.of} (p = {rank.p:.3g})")
        yield Line(f"the vector does more on {details.items_won:.0%} of the items")

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        """The difference to each baseline, the curve, and the items on which the baseline does most against the vector."""
        rows = [Estimate(one.name, one.difference, one.interval) for one in evidence.own.rivals]
        yield Intervals(
            sorted(rows, key=lambda row: row.estimate)[:_RIVALS],
            "difference of effects",
            promised=show.promised_in(evidence),
            title="What the vector does more than each baseline",
            about="Paired by item: the vector's effect minus the baseline's, with bounds.",
        )
        yield from show.curve(evidence)
        yield from show.distribution(evidence)
        yield from show.items_block(
            (
                show.contrast_item(
                    item,
                    item.difference or 0.0,
                    f"vector {number(item.propensity[1] - item.propensity[0])}, difference {number(item.difference)}",
                )
                for item in sorted(evidence.items or (), key=lambda item: item.difference or 0.0)
            ),
            title="items on which the baseline does most against the vector",
            value="difference",
        )


_RIVALS = 20


assert_beats = assertion(Beats)

_STATISTIC = {
    "random": "effect over the best random direction",
    "shuffled": "effect over the best shuffled vector",
    "unrelated": "effect over the unrelated vector",
    "prompt": "effect over the prompt",
    "model": "effect over the model",
    "adapter": "effect over the adapter",
    "vector": "effect over the other vector",
}


# --- the vector and its rivals ---


def _measured(ask: Ask, claim: Beats, texts: Texts | None) -> Rivals:
    """Effects and costs of the claim's vector and of its baseline.

    Raises:
        SteerError: the baseline cannot stand in for the vector. SoundnessError: the hooks of another vector do not do what they say, so that
            it would be beaten too easily.
    """
    subject, baseline, budget, items = claim.subject, claim.rival, claim.budget, claim.sampled_items.units
    _ = ask.soundness
    steered, sign = {"vector": subject}, subject.effect_sign
    if baseline.has_strength:
        others = vectors_of(baseline, subject, claim.seed)
        if baseline.kind == "vector":  # the others are applied as the claim's own vector is, whose hooks are checked
            for one in others.values():
                _ = ask.of(one).soundness
        steered |= others
    costs: dict[str, float] = {}
    said, over = [*_repeated(baseline, len(steered) - 1)], None
    if budget is not None:
        assert texts is not None
        at = ask.at_cost(steered, texts, budget=budget, max_multiplier=claim.max_multiplier)
        steered = {name: replace(one, multiplier=at[name].multiplier) for name, one in steered.items()}
        costs = {name: at[name].cost for name in steered}
        off = [f"{name} {costs[name]:+.1%}" for name, one in at.items() if one.reached != "cost"]
        if off:
            named = ", ".join(off[:3]) + (", ..." if len(off) > 3 else "")
            said.append(unequal_cost(f"not all cost the budget of {budget:.1%}: {named} at the nearest multiplier tried"))
        if costs["vector"] > budget:
            over = f"the vector exceeds the budget at every multiplier tried ({costs['vector']:+.1%} against {budget:+.1%})"
    effects, unsteered = ask.effects({name: (one, float(one.multiplier)) for name, one in steered.items()}, items)
    own, *rivals = (_steered(name, one, effects[name], costs.get(name)) for name, one in steered.items())
    if baseline.kind == "prompt":
        effects["prompt"], only = _prompt(ask, baseline, items, unsteered, texts, sign)
        rivals = [only]
    elif baseline.checkpoint is not None:
        effects[baseline.kind], only = _checkpoint(ask, baseline, items, unsteered, texts)
        rivals = [only]
        # A broken one is beaten by anything.
        said += map(at_chance, chance_warnings(baseline.checkpoint, [item.question for item in items]))
    if budget is not None and not baseline.has_strength:
        said += _of_fixed_cost(rivals[0], budget)
    strongest = max(rivals, key=lambda one: sign * one.mean_effect)
    base = perplexity(ask.model, texts) if texts and budget is None else None

    def completed(rival: Rival) -> Rival:
        """With cost and accuracy, where it is the vector or its strongest rival: nineteen would cost more than the claim."""
        cost, accuracy, deployed = rival.cost, None, steered.get(rival.name)
        if rival is own or rival is strongest:
            if base is not None and texts is not None and deployed is not None:
                _, (there,) = ask.in_place(deployed.vector).perplexity(texts, [deployed.multiplier])
                cost = relative_rise(there, base)
            if claim.questions is not None:
                accuracy = _accuracy(ask, baseline, rival, deployed, claim.questions)
        return replace(rival, cost=None if cost is None else finite(cost), accuracy=accuracy)

    plain = None if claim.questions is None else capability(ask.model, claim.questions, multipliers=[0.0]).accuracy[0]
    return Rivals(completed(own), [*map(completed, rivals)], effects, said, None if plain is None else float(plain), over)


def _steered(name: str, subject: Subject, effects: Array, cost: float | None) -> Rival:
    strength, change = float(subject.multiplier), subject.intervention
    return Steered(
        name=name, multiplier=strength, mean_effect=float(effects.mean()), cost=cost, hash=change.hash, method=change.method
    )


def _rank(found: Rivals, sign: int) -> Rank:
    at_least = 1 + sum(sign * rival.mean_effect >= sign * found.own.mean_effect for rival in found.others)
    of = len(found.others) + 1
    return Rank(at_least, of, at_least / of)


def _repeated(baseline: Baseline, count: int) -> Iterator[Finding]:
    """That vectors of the baseline are the same, of which ``count`` are left."""
    given = len(baseline.vectors)
    if given > count and baseline.kind == "shuffled":
        yield repeated_baselines(
            f"{given - count} of the {given} shuffled vectors repeat another one, which leaves {count}: few training pairs have few ways to "
            "shuffle their labels. Train on more pairs, or hold the vector against `random`"
        )


def _too_few_to_beat(count: int, confidence: float) -> Iterator[Finding]:
    """That a vector which is drawn like its rivals is the best of all more often than the claim may be wrong.

    Of ``count`` rivals and one more that is exchangeable with them, each is the best with a probability of 1 / (count + 1).
    """
    chance, allowed = 1 / (count + 1), 1 - confidence
    if chance <= allowed * (1 + 1e-9):
        return
    drawn = "one direction" if count == 1 else f"{count} directions"
    yield few_directions(
        f"the baseline is {drawn}: a vector that is drawn like them is the best in {chance:.0%} of cases, and a pass should be wrong in at most "
        f"{allowed:.0%}. Take {min(999, math.ceil(1 / allowed - 1e-9) - 1)}"
    )


def _of_fixed_cost(rival: Rival, budget: float) -> Iterator[Finding]:
    if rival.cost is None:
        yield unequal_cost("the baseline has no multiplier, and its cost is not known")
    elif rival.cost > budget:
        yield unequal_cost(
            f"the baseline has no multiplier, and its cost of {rival.cost:+.1%} exceeds the budget of {budget:.1%}"
        )


def _accuracy(ask: Ask, baseline: Baseline, rival: Rival, subject: Subject | None, questions: Questions) -> float:
    """The share of right answers. Under a prompt, each question follows it."""
    if subject is not None:
        found = ask.in_place(subject.vector).accuracy(questions, [subject.multiplier], by="sum", prompt="plain", source="")
    elif isinstance(rival, Prompted):
        asked = [replace(one, question=f"{rival.prompt}\n\n{one.question}") for one in questions]
        found = capability(ask.model, Questions(asked, questions.source), multipliers=[0.0])
    else:
        assert baseline.checkpoint is not None
        found = capability(baseline.checkpoint, questions, multipliers=[0.0])
    return float(found.accuracy[0])


def _prompt(
    ask: Ask, baseline: Baseline, items: Items, unsteered: Array, texts: Texts | None, sign: int
) -> tuple[Array, Rival]:
    """The effects [n_items] of the system prompt with the largest mean effect on the training items."""

    def propensities(of: Items, prompt: str | None) -> Array:
        context = ask.context if prompt is None else Context(system=prompt).over(ask.context)
        return _plain(ask.model, of, context).values[:, 0]

    tried, best = None, 0
    if len(baseline.prompts) > 1:
        assert baseline.chosen_on is not None  # see `check_choice`
        plain = propensities(baseline.chosen_on, None)
        tried = [float((propensities(baseline.chosen_on, text) - plain).mean()) for text in baseline.prompts]
        best = int(np.argmax(sign * np.array(tried)))
    text = baseline.prompts[best]
    cost = float(np.expm1(prompt_cost(ask.model, texts, text).mean())) if texts else None
    effects = propensities(items, text) - unsteered
    return effects, Prompted(name="prompt", mean_effect=float(effects.mean()), cost=cost, prompt=text, tried=tried)


def _plain(model: Model, items: Items, context: Context) -> PropensityCurve:
    return propensity_curve(model, items, None, multipliers=[0.0], context=context)


def _checkpoint(ask: Ask, baseline: Baseline, items: Items, unsteered: Array, texts: Texts | None) -> tuple[Array, Rival]:
    """The effects [n_items] of another model, unsteered.

    Raises:
        SteerError: it splits answers of several tokens in another way, so that log-likelihoods per token do not compare, or it is the
            model under test itself.
    """
    model, context, other = ask.model, ask.context, baseline.checkpoint
    assert other is not None
    here = _plain(model, items, context)
    try:
        there = _plain(other, items, context)
    except (DataError, MeasurementError) as error:
        raise type(error)(f"the baseline {baseline.kind!r}, {other.id}: {error}") from None
    alike = [one.ids for one in here.probes] == [one.ids for one in there.probes]
    single = all(probe.candidates is not None for curve in (here, there) for probe in curve.probes)
    if not alike and not single and context.answers != "sum":
        raise SteerError(
            f"the baseline {other.id} has another tokenizer or chat template than {model.id}, and answers of several tokens are scored per "
            "token, so the two do not compare: write `answers: sum`, which scores whole answers"
        )
    rounding = 64 * eps_of(model.dtype) * max(1.0, float(abs(here.values).max()))
    if float(abs(there.values - here.values).max()) <= rounding:
        raise SteerError(
            f"the baseline {baseline.kind!r} scores every item as {model.id} does, so there is nothing to beat. Is it the model under "
            "test itself, or an adapter that was not trained?"
        )
    cost = None
    if texts:
        with suppress(MeasurementError):
            own, others = perplexity(model, texts), perplexity(other, texts)
            cost = relative_rise(others, own) if np.array_equal(own.tokens, others.tokens) else None
    effects = there.values[:, 0] - unsteered
    mean, described = float(effects.mean()), describe_model(other)
    return effects, OtherModel(name=baseline.kind, mean_effect=mean, cost=cost, model=described, same_tokens=alike)
