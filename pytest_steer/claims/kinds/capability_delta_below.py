"""``capability_delta_below``: steering loses less than `limit` of the accuracy on multiple-choice questions."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np

from ...core.block import Block, Distribution, Entry, Excerpt, Line, Table
from ...core.evidence import Direction, Evidence, Verdict
from ...core.numbers import estimated
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Bounds, Compared, Strength
from ...data import OWN_QUESTIONS, Questions, as_questions, read_questions, sample_of
from ...data.likeness import normal_form
from ...measures import Capability, NoiseFloor, PromptForm, ScoredBy, asked_as_text
from ...measures.ask import Ask
from ...measures.compared import bounds_of
from ...measures.multiple_choice import context_of
from ...stats import effective_n, guessing_share, mean_t, p_of_guessing, p_of_weighted_guessing
from ...stats.estimators import PairedShare
from .. import show
from ..asserting import assertion
from ..base import Claim
from ..from_file import QUESTIONS
from ..judging import Judgement, Reason, nothing_to_lose, withhold
from ..kind import claim
from ..measurement import Measurement


@dataclass(frozen=True)
class Guessing:
    """The share that guessing would get right, and the p-value of being no better; ``p_of_limit``: of being better by no more than the limit."""

    share: float
    p: float
    above: bool
    p_of_limit: float | None = field(default=None, metadata=LEFT_OUT)


@dataclass(frozen=True)
class Probability:
    """The mean probability of the right option, and its mean change with t bounds."""

    unsteered: float
    steered: float
    change: float
    interval: Bounds


@dataclass(frozen=True)
class OfSubject:
    """The accuracies on the ``n`` questions of a subject."""

    subject: str
    n: int
    unsteered: float
    steered: float
    lost: int
    gained: int
    chance: Guessing


@dataclass(frozen=True)
class Answered:
    """A question and the answers, unsteered and steered: the option, whether it is right, the right one's probability and its margin."""

    id: str
    subject: str
    question: str
    choices: list[str]
    answer: int
    weight: float
    chosen: list[int]
    right: list[bool]
    probability: list[float]
    margin: list[float]

    @property
    def change(self) -> float:
        """Of the right option's probability."""
        base, steered = self.probability
        return steered - base


@dataclass(frozen=True, kw_only=True)
class Details:
    """What the evidence says beside its verdict; means and shares are weighted where the questions have weights."""

    by: ScoredBy
    prompt_form: PromptForm
    accuracy: dict[str, float]
    lost: int
    gained: int
    chance: Guessing
    probability: Probability
    weights: dict[str, float] | None
    subjects: list[OfSubject]
    questions: list[Answered]


@claim("capability_delta_below", title="Steering costs little of what the model knows", main="limit")
class CapabilityDeltaBelow(Claim):
    """Steering at `multiplier` loses less than `limit` of the accuracy on multiple-choice questions.

    The statistic is the accuracy unsteered minus steered, each question paired with itself: the share lost minus the share gained, with
    exact bounds (``stats.paired_share_difference``); with weights see ``stats.weighted_share_difference``. A model that is not proven to
    answer better than by guessing has nothing to lose, so the claim is then inconclusive.

    Attributes:
        questions: at least two different ones, ``read_questions(path)``; without them the project's own.

    Raises:
        DataError: fewer than two questions, or one that cannot be asked.
        SteerError: ``prompt: chat`` and the model has no chat template.
    """

    limit: Annotated[
        Promise,
        Param(
            "The largest loss of accuracy: 0.03 means 3 of 100 questions.",
            title="Largest loss of accuracy",
            example=0.03,
            above=0,
            below=1,
            weak_from=0.2,
            weak="lets every fifth question be lost; 3 % is written 0.03",
        ),
    ]
    questions: Annotated[
        Questions | None,
        Param(
            "A file of multiple-choice questions (MMLU, ARC, TruthfulQA or our own shape), or a data set of the hub, hub:ORG/NAME/CONFIG:SPLIT. Without "
            "it the project's own 384 questions.",
            title="Questions",
            example="data/questions.jsonl",
            judges=True,
            reads=as_questions,
            loads=QUESTIONS,
            schema={"type": "string", "default": OWN_QUESTIONS},
        ),
    ] = field(default=None, kw_only=False)
    by: Annotated[
        ScoredBy,
        Param(
            "How an option is scored: the sum or mean of the log-likelihoods of its tokens after the question, or letters: the options are listed as "
            "(A), (B) and their letters compared, which small models cannot do.",
            title="Scored by",
            example="letters",
        ),
    ] = "sum"
    prompt: Annotated[
        PromptForm,
        Param(
            "plain: `Question: ...` and `Answer:`, as lm-evaluation-harness asks; chat: the chat template, as the model is deployed.",
            title="How questions are asked",
            example="chat",
        ),
    ] = "plain"

    def measure(self, ask: Ask) -> Measurement:
        sample = sample_of(read_questions() if self.questions is None else self.questions)
        questions = sample.units
        template = context_of(ask.model, self.by, self.prompt).setting(ask.model.format).form.name
        found = ask.accuracy(
            questions, [0.0, ask.subject.multiplier], by=self.by, prompt=self.prompt, source=questions.source
        )
        losses = found.right[:, 0].astype(float) - found.right[:, 1]
        estimator = PairedShare(tuple(one.weight for one in questions) if questions.is_weighted else None)
        lost = estimator.infer(losses, confidence=self.confidence)
        return Measurement(
            sample=sample,
            values=losses,
            estimator=estimator,
            statistic="accuracy lost",
            direction=Direction.AT_MOST,
            percent=True,
            probes=found.probes,
            moved=lambda floor: _left_open(found, floor, self.by),
            asked=replace(asked_as_text(ask.model, found.probes[0]), template=template),
            details=Details(
                # Options that are labels are compared by letter whatever is asked for.
                by="letters" if all(question.is_lettered for question in questions) else self.by,
                prompt_form=self.prompt,
                accuracy=dict(zip(("unsteered", "steered"), found.accuracy.tolist(), strict=True)),
                lost=int((losses == 1).sum()),
                gained=int((losses == -1).sum()),
                chance=_guessing(found, self.confidence, range(len(questions)), self.threshold),
                probability=_probability(found, self.confidence),
                weights={"effective_n": effective_n(found.weights)} if questions.is_weighted else None,
                subjects=_subjects(found, self.confidence),
                questions=_answered(found),
            ),
            compared=Compared(
                deployed=Strength(
                    float(ask.subject.multiplier), accuracy_lost=lost.estimate, accuracy_lost_interval=bounds_of(lost)
                )
            ),
        )

    def doubt(self, ask: Ask, measured: Measurement, judgement: Judgement) -> Judgement:
        """Withhold what a model with nothing to lose would get."""
        own: Details = measured.details
        chance, accuracy = own.chance, own.accuracy["unsteered"]
        one_answer = _one_answer(measured.sample.units, [one.chosen[0] for one in own.questions], self.by)
        if not chance.above:
            text = (
                f"unsteered accuracy {accuracy:.1%} is not proven above guessing, {chance.share:.1%} (p = {chance.p:.2g}), so there is "
                "nothing to lose"
            )
            cure = "ask easier questions (`questions: FILE`), or more of them; or score another way (`by`, `prompt`)"
        elif one_answer is not None:
            text = f"unsteered, the model gives {one_answer} and not questions, so there is nothing to lose"
            cure = "score the texts of options that differ between questions, `by: sum`, and list them in no prompt"
        elif judgement.verdict is Verdict.PASS and (chance.p_of_limit or 0) > 1 - self.confidence:
            text = (
                f"it is not proven that unsteered accuracy, {accuracy:.1%}, exceeds guessing, {chance.share:.1%}, by more than the limit "
                f"(p = {chance.p_of_limit:.2g}): losing all of it could be a pass"
            )
            cure = "promise a smaller limit, ask more questions, or such as the model can answer (`questions: FILE`)"
        else:
            return judgement
        return withhold(judgement, Reason(nothing_to_lose.name, text, cure))

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        own: Details = evidence.own
        yield Line(
            f"accuracy {own.accuracy['unsteered']:.1%} unsteered, {own.accuracy['steered']:.1%} steered ({own.lost} lost, {own.gained} "
            f"gained); guessing {own.chance.share:.1%}"
        )
        yield Line(
            f"probability of the right answer {own.probability.unsteered:.3f} -> {own.probability.steered:.3f}: mean change "
            f"{estimated(own.probability.change, own.probability.interval)}"
        )
        if own.weights:
            yield Line(f"questions have weights: they say as much as {own.weights['effective_n']:.0f} of equal weight")

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        own: Details = evidence.own
        asked = evidence.asked.template if evidence.asked else ""
        yield Line(f"asked: {asked}; options scored by {_SCORED[own.by]}")
        if len(own.subjects) > 1:
            yield _table(own.subjects)
        yield Distribution(
            [one.change for one in own.questions],
            "change of the right option's probability",
            "questions",
            title="What each question loses or gains",
            about=f"{own.lost} right answers lost, {own.gained} gained, of {len(own.questions)} questions.",
        )
        lost = [one for one in own.questions if one.right[0] and not one.right[1]]
        yield from show.items_block(
            map(_entry, sorted(lost, key=lambda one: one.change)),
            title=f"worst of the {len(lost)} lost questions (probability of the right answer)",
            value="change",
        )


assert_capability_delta_below = assertion(CapabilityDeltaBelow)

_SCORED = {
    "sum": "the summed log-likelihood of their tokens",
    "mean": "the mean log-likelihood of their tokens",
    "letters": "the logits of their letters",
}
_ONE_ANSWER = 0.9  # a model that gives one answer this often does not read the questions
_SUBJECTS = 9


def _guessing(found: Capability, confidence: float, of: Sequence[int], limit: float | None = None) -> Guessing:
    """Whether the unsteered model is proven to be better than guessing, at the questions with these indices; weighted where these have weights."""
    options = [len(found.questions[index].choices) for index in of]
    right, weights = found.right[of, 0], found.weights[of].tolist()

    def p_of(more: float) -> float:
        if found.questions.is_weighted:
            return p_of_weighted_guessing(right.tolist(), options, weights, more=more)
        return p_of_guessing(int(right.sum()), options, more=more)

    p = p_of(0.0)
    return Guessing(guessing_share(options, weights), p, p <= 1 - confidence, None if limit is None else p_of(limit))


def _one_answer(questions: Questions, given: Sequence[int], by: ScoredBy) -> str | None:
    """What the unsteered model gives whatever is asked, as a part of a sentence, or None: a letter where options are scored by letter, or an option
    where all questions have the same ones."""
    lettered = [index for index, one in enumerate(questions) if by == "letters" or one.is_lettered]
    if lettered:
        chosen = Counter(string.ascii_uppercase[given[index]] for index in lettered)
        said, reads = "option {}", "letters"
    elif len({frozenset(map(normal_form, one.choices)) for one in questions}) == 1:
        chosen = Counter(normal_form(one.choices[at]) for one, at in zip(questions, given, strict=True))
        said, reads = "the same option, {!r},", "options"
    else:
        return None
    ((answer, count),) = chosen.most_common(1)
    if count < _ONE_ANSWER * chosen.total():
        return None
    return f"{said.format(answer)} in {count} of {chosen.total()} questions: it reads {reads}"


def _probability(found: Capability, confidence: float) -> Probability:
    shares, changes = found.weights * len(found.weights), found.probabilities[:, 1] - found.probabilities[:, 0]
    change = mean_t(changes * shares, confidence=confidence)
    base, steered = (found.weights @ found.probabilities).tolist()
    return Probability(base, steered, change.estimate, bounds_of(change))


def _subjects(found: Capability, confidence: float) -> list[OfSubject]:
    names, records = np.array([question.subject for question in found.questions]), []
    for name in dict.fromkeys(names.tolist()):
        own = np.flatnonzero(names == name).tolist()
        right, weights = found.right[own], found.weights[own]
        base, steered = (weights / weights.sum() @ right).tolist()
        lost, gained = int((right[:, 0] & ~right[:, 1]).sum()), int((right[:, 1] & ~right[:, 0]).sum())
        records.append(OfSubject(name, len(own), base, steered, lost, gained, _guessing(found, confidence, own)))
    return records


def _answered(found: Capability) -> list[Answered]:
    of_each = (found.chosen, found.right, found.probabilities, found.margins)
    return [
        Answered(
            one.id,
            one.subject,
            one.question,
            [*one.choices],
            one.answer,
            float(one.weight),
            *(own[at].tolist() for own in of_each),
        )
        for at, one in enumerate(found.questions)
    ]


def _left_open(found: Capability, floor: NoiseFloor, by: ScoredBy) -> float:
    """The share of questions whose answer rounding alone could turn, unsteered or steered."""
    # A margin is the difference of two scores; a sum of tokens has the roundings of all of them.
    lengths = np.array([max(one.lengths) if len(one.probes) > 1 else 1 for one in found.asked], dtype=float)
    room = math.sqrt(2) * floor.score * (lengths**-0.5 if by == "mean" else lengths**0.5)
    return float((abs(found.margins) < room[:, None]).any(axis=1).mean())


def _table(subjects: Sequence[OfSubject]) -> Table:
    rows = [
        [
            one.subject or "(none)",
            str(one.n),
            f"{one.unsteered:.0%}",
            f"{one.steered:.0%}",
            str(one.lost),
            str(one.gained),
            "" if one.chance.above else "not above guessing",
        ]
        for one in sorted(subjects, key=lambda one: one.steered - one.unsteered)
    ]
    more = f"and {len(rows) - _SUBJECTS} with smaller losses" if len(rows) > _SUBJECTS else ""
    headers = ["", "n", "unsteered", "steered", "lost", "gained", ""]
    return Table(rows[:_SUBJECTS], headers, title="accuracy by subject", about=more)


def _entry(one: Answered) -> Entry:
    base, steered = one.probability
    options = [Excerpt(name, one.choices[at]) for name, at in (("right", one.answer), ("chosen", one.chosen[1]))]
    return Entry(one.id, one.change, f"{base:.2f} -> {steered:.2f}", one.question, options)
