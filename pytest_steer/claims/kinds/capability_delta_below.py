"""``capability_delta_below``: steering loses less than `limit` of the accuracy on multiple-choice questions."""

from __future__ import annotations

import math
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Annotated, Any

import numpy as np

from ...core.block import Block, Distribution, Entry, Excerpt, Line, Table
from ...core.evidence import Direction, Evidence, Verdict
from ...core.numbers import number
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import Compared, Strength
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
            schema={"type": "number"},
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
            moved=lambda floor: float(_open(found, floor, self.by).mean()),
            asked=replace(asked_as_text(ask.model, found.probes[0]), template=template),
            details={
                # Options that are labels are compared by letter whatever is asked for.
                "by": "letters" if all(question.is_lettered for question in questions) else self.by,
                "prompt_form": self.prompt,
                "accuracy": {"unsteered": float(found.accuracy[0]), "steered": float(found.accuracy[1])},
                "lost": int((losses == 1).sum()),
                "gained": int((losses == -1).sum()),
                "chance": _chance_of(found, self.confidence, limit=self.threshold),
                "probability": _probability(found, self.confidence),
                "weights": {"effective_n": effective_n(found.weights)} if questions.is_weighted else None,
                "subjects": _subjects(found, self.confidence),
                "questions": _records(found),
            },
            compared=Compared(
                deployed=Strength(
                    float(ask.subject.multiplier), accuracy_lost=lost.estimate, accuracy_lost_interval=bounds_of(lost)
                )
            ),
        )

    def doubt(self, ask: Ask, measured: Measurement, judgement: Judgement) -> Judgement:
        """Withhold what a model with nothing to lose would get."""
        details = measured.details
        chance, accuracy = details["chance"], details["accuracy"]["unsteered"]
        one_answer = _one_answer(measured.sample.units, [one["chosen"][0] for one in details["questions"]], self.by)
        if not chance["above"]:
            text = (
                f"unsteered accuracy {accuracy:.1%} is not proven above guessing, {chance['share']:.1%} (p = {chance['p']:.2g}), so there is "
                "nothing to lose"
            )
            cure = "ask easier questions (`questions: FILE`), or more of them; or score another way (`by`, `prompt`)"
        elif one_answer is not None:
            text = f"unsteered, the model gives {one_answer} and not questions, so there is nothing to lose"
            cure = "score the texts of options that differ between questions, `by: sum`, and list them in no prompt"
        elif judgement.verdict is Verdict.PASS and chance["p_of_limit"] > 1 - self.confidence:
            text = (
                f"it is not proven that unsteered accuracy, {accuracy:.1%}, exceeds guessing, {chance['share']:.1%}, by more than the limit "
                f"(p = {chance['p_of_limit']:.2g}): losing all of it could be a pass"
            )
            cure = "promise a smaller limit, ask more questions, or such as the model can answer (`questions: FILE`)"
        else:
            return judgement
        return withhold(judgement, Reason(nothing_to_lose.name, text, cure))

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        details = evidence.details
        accuracy, probability, chance = details["accuracy"], details["probability"], details["chance"]
        low, high = (number(bound) for bound in probability["interval"])
        yield Line(
            f"accuracy {accuracy['unsteered']:.1%} unsteered, {accuracy['steered']:.1%} steered ({details['lost']} lost, {details['gained']} "
            f"gained); guessing {chance['share']:.1%}"
        )
        yield Line(
            f"probability of the right answer {probability['unsteered']:.3f} -> {probability['steered']:.3f}: mean change "
            f"{number(probability['change'])} [{low}, {high}]"
        )
        if weights := details["weights"]:
            yield Line(f"questions have weights: they say as much as {weights['effective_n']:.0f} of equal weight")

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        details = evidence.details
        questions = details["questions"]
        asked = evidence.asked.template if evidence.asked else ""
        yield Line(f"asked: {asked}; options scored by {_SCORED[details['by']]}")
        yield from _table(details["subjects"])
        yield Distribution(
            [_change(one) for one in questions],
            "change of the right option's probability",
            "questions",
            title="What each question loses or gains",
            about=f"{details['lost']} right answers lost, {details['gained']} gained, of {len(questions)} questions.",
        )
        lost = [one for one in questions if one["right"][0] and not one["right"][1]]
        yield from show.items_block(
            map(_item, sorted(lost, key=_change)),
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


def _chance_of(
    found: Capability, confidence: float, of: Sequence[int] | None = None, *, limit: float | None = None
) -> dict[str, Any]:
    """What guessing would get right, and whether the unsteered model is proven to be better; weighted where the questions have weights.

    Args:
        of: indices of the questions; all of them by default.
        limit: ask too whether it is proven to be better by more than that.
    """
    chosen = [*range(len(found.questions))] if of is None else of
    options = [len(found.questions[index].choices) for index in chosen]
    right, weights = found.right[chosen, 0], found.weights[chosen]

    def p_of(more: float) -> float:
        if found.questions.is_weighted:
            return p_of_weighted_guessing(right.tolist(), options, weights.tolist(), more=more)
        return p_of_guessing(int(right.sum()), options, more=more)

    p = p_of(0.0)
    record = {"share": guessing_share(options, weights.tolist()), "p": p, "above": p <= 1 - confidence}
    return record if limit is None else record | {"p_of_limit": p_of(limit)}


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


def _probability(found: Capability, confidence: float) -> dict[str, Any]:
    """The mean probability of the right option, and its mean change with t bounds, over weighted questions where they have weights."""
    shares, changes = found.weights * len(found.weights), found.probabilities[:, 1] - found.probabilities[:, 0]
    change = mean_t(changes * shares, confidence=confidence)
    base, steered = (float(mean) for mean in found.weights @ found.probabilities)
    return {"unsteered": base, "steered": steered, "change": change.estimate, "interval": list(bounds_of(change))}


def _subjects(found: Capability, confidence: float) -> list[dict[str, Any]]:
    """Per subject: questions, accuracy unsteered and steered, and whether the first is proven to be above chance."""
    names = np.array([question.subject for question in found.questions])
    records = []
    for name in dict.fromkeys(names.tolist()):
        own = np.flatnonzero(names == name).tolist()
        weights = found.weights[own] / found.weights[own].sum()
        base, steered = (float(share) for share in weights @ found.right[own])
        changes = found.right[own, 0].astype(int) - found.right[own, 1]
        records.append(
            {
                "subject": name,
                "n": len(own),
                "unsteered": base,
                "steered": steered,
                "lost": int((changes == 1).sum()),
                "gained": int((changes == -1).sum()),
                "chance": _chance_of(found, confidence, own),
            }
        )
    return records


def _records(found: Capability) -> list[dict[str, Any]]:
    return [
        {
            "id": question.id,
            "subject": question.subject,
            "question": question.question,
            "choices": list(question.choices),
            "answer": question.answer,
            "weight": float(question.weight),
            "chosen": found.chosen[index].tolist(),
            "right": found.right[index].tolist(),
            "probability": found.probabilities[index].tolist(),
            "margin": found.margins[index].tolist(),
        }
        for index, question in enumerate(found.questions)
    ]


def _open(found: Capability, floor: NoiseFloor, by: ScoredBy) -> Any:
    """[n_questions] whether rounding alone could turn the answer to a question, unsteered or steered."""
    # A margin is the difference of two scores; a sum of tokens has the roundings of all of them.
    lengths = np.array([max(one.lengths) if len(one.probes) > 1 else 1 for one in found.asked], dtype=float)
    room = math.sqrt(2) * floor.score * (lengths**-0.5 if by == "mean" else lengths**0.5)
    return (abs(found.margins) < room[:, None]).any(axis=1)


_SUBJECTS = 9


def _table(subjects: list[dict[str, Any]]) -> Iterator[Block]:
    if len(subjects) < 2:
        return
    rows = [
        [
            one["subject"] or "(none)",
            str(one["n"]),
            f"{one['unsteered']:.0%}",
            f"{one['steered']:.0%}",
            str(one["lost"]),
            str(one["gained"]),
            "" if one["chance"]["above"] else "not above guessing",
        ]
        for one in sorted(subjects, key=lambda one: float(one["steered"] - one["unsteered"]))
    ]
    more = f"and {len(rows) - _SUBJECTS} with smaller losses" if len(rows) > _SUBJECTS else ""
    headers = ["", "n", "unsteered", "steered", "lost", "gained", ""]
    yield Table(rows[:_SUBJECTS], headers, title="accuracy by subject", about=more)


def _change(question: Mapping[str, Any]) -> float:
    """Of the right option's probability."""
    base, steered = question["probability"]
    return float(steered - base)


def _item(question: Mapping[str, Any]) -> Entry:
    base, steered = question["probability"]
    options = (("right", question["answer"]), ("chosen", question["chosen"][1]))
    return Entry(
        question["id"],
        _change(question),
        f"{base:.2f} -> {steered:.2f}",
        question["question"],
        [Excerpt(name, question["choices"][at]) for name, at in options],
    )
