"""``capability_delta_below``: steering loses less than `limit` of the accuracy on multiple-choice questions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Unpack

import numpy as np

from ..data import OWN_QUESTIONS, Question, Questions, as_questions, read_questions, sample_of
from ..errors import DataError
from ..evidence import Evidence, Verdict
from ..measures import Array, Capability, NoiseFloor, PromptForm, ScoredBy, asked_as_text, capability
from ..measures.compared import bounds_of
from ..measures.multiple_choice import context_of
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..soundness import check_before
from ..stats import (
    Direction,
    Inference,
    effective_n,
    items_needed_paired,
    mean_t,
    paired_share_difference,
    weighted_share_difference,
)
from ..steering import Intervention, SteeringVector
from . import words
from .common import Deployment
from .figures import Distribution, Figure
from .holding import hold
from .judged import judged
from .kinds import claim
from .nothing_to_lose import chance_of, withhold
from .numbers import number
from .over_items import check_moved, warnings_about
from .units import units_record


@claim("capability_delta_below", title="Steering costs little of what the model knows", main="limit")
@dataclass(frozen=True, kw_only=True)
class CapabilityDeltaBelow:
    """Steering at `multiplier` loses less than `limit` of the accuracy on multiple-choice questions.

    The statistic is the accuracy unsteered minus steered, each question paired with itself: the share lost minus the share gained, with
    exact bounds (``stats.paired_share_difference``); with weights see ``stats.weighted_share_difference``. A model that is not proven to
    answer better than by guessing has nothing to lose, so the claim is then inconclusive.

    Attributes:
        questions: at least two different ones; without them the project's own.
    """

    subject: Subject
    limit: Annotated[
        float | None,
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
            schema={"type": "string", "pattern": r"\S", "x-questions": True, "default": OWN_QUESTIONS},
        ),
    ] = None
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
    confidence: float = 0.95
    min_n: int | None = None
    name: str = "capability_delta_below"

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two questions, or one that cannot be asked.
            SteerError: ``prompt: chat`` and the model has no chat template.
            SoundnessError: the hooks do not do what they say.
            VectorError, MeasurementError: see ``measures.capability`` and ``check_fits``.
        """
        subject = self.subject
        given = read_questions() if self.questions is None else as_questions(self.questions)
        sample = sample_of(given)
        questions = sample.units
        context_of(model, self.by, self.prompt)  # refused before the hooks are checked
        soundness = check_before(model, subject)
        try:
            found = capability(
                model,
                questions,
                subject.intervention,
                multipliers=[0.0, subject.multiplier],
                by=self.by,
                prompt=self.prompt,
                **subject.scope,
            )
        except DataError as error:
            raise type(error)(f"{given.source}: {error}") from None
        moves = np.concatenate([scores[:, 1] - scores[:, 0] for scores in found.scores])
        check_moved(model, subject, moves, "the questions")
        changes = found.right[:, 0].astype(float) - found.right[:, 1]
        losses, gains = int((changes == 1).sum()), int((changes == -1).sum())
        inferred = self._inferred(questions, changes, losses, gains)
        chance = chance_of(found, self.confidence, limit=self.limit)
        evidence = judged(
            model,
            subject,
            inferred,
            found.probes,
            threshold=self.limit,
            direction=Direction.AT_MOST,
            confidence=self.confidence,
            min_n=self.min_n,
            moved=lambda floor: float(_open(found, floor, self.by).mean()),
            check="capability_delta_below",
            name=self.name,
            statistic="accuracy lost",
            n=sample.n,
            unit=sample.counted,
            percent=True,
            data=sample.describe(),
            soundness=soundness,
            asked=asked_as_text(model, found.probes[0]) | {"template": _template(model, self.by, self.prompt)},
            warnings=[
                *warnings_about(subject, [question.question for question in questions], questions.hash),
                *map(str, sample.findings),
            ],
            details={
                # Options that are labels are compared by letter whatever is asked for.
                "by": "letters" if all(question.is_lettered for question in questions) else self.by,
                "prompt_form": self.prompt,
                "accuracy": {"unsteered": float(found.accuracy[0]), "steered": float(found.accuracy[1])},
                "lost": losses,
                "gained": gains,
                "chance": chance,
                "probability": self._probability(found),
                "weights": {"effective_n": effective_n(found.weights)} if questions.is_weighted else None,
                "subjects": _subjects(found, self.confidence),
                "questions": _records(found),
            },
        )
        weights = found.weights * len(found.weights)
        evidence.units = units_record(
            sample.forms,
            sample.names,
            changes * weights,
            unit="questions",
            kind="mean" if questions.is_weighted else "change",
            how={"by": self.by, "prompt_form": self.prompt},
        )
        if evidence.verdict is Verdict.INCONCLUSIVE and self.limit is not None and not questions.is_weighted:
            evidence.items_needed = items_needed_paired(
                losses, gains, len(questions), self.limit, confidence=self.confidence
            )
        withhold(evidence, found, self.by)
        lost = {"accuracy_lost": evidence.estimate, "accuracy_lost_interval": list(evidence.interval)}
        evidence.compared = {"deployed": {"multiplier": float(subject.multiplier)} | lost}
        return evidence

    def _inferred(self, questions: Questions, changes: Array, losses: int, gains: int) -> Inference:
        if questions.is_weighted:
            weights = [question.weight for question in questions]
            return weighted_share_difference(changes, weights, confidence=self.confidence)
        return paired_share_difference(losses, gains, len(questions), confidence=self.confidence)

    def _probability(self, found: Capability) -> dict[str, Any]:
        """The mean probability of the right option, and its mean change with t bounds, over weighted questions where they have weights."""
        shares, changes = found.weights * len(found.weights), found.probabilities[:, 1] - found.probabilities[:, 0]
        change = mean_t(changes * shares, confidence=self.confidence)
        base, steered = (float(mean) for mean in found.weights @ found.probabilities)
        return {"unsteered": base, "steered": steered, "change": change.estimate, "interval": list(bounds_of(change))}

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        details = evidence.details
        accuracy, probability, chance = details["accuracy"], details["probability"], details["chance"]
        low, high = (number(bound) for bound in probability["interval"])
        weights = details["weights"]
        return [
            f"  accuracy {accuracy['unsteered']:.1%} unsteered, {accuracy['steered']:.1%} steered ({details['lost']} lost, {details['gained']} "
            f"gained); guessing {chance['share']:.1%}",
            f"  probability of the right answer {probability['unsteered']:.3f} -> {probability['steered']:.3f}: mean change "
            f"{number(probability['change'])} [{low}, {high}]",
            *(
                [f"  questions have weights: they say as much as {weights['effective_n']:.0f} of equal weight"]
                if weights
                else []
            ),
            *words.not_looked_at(evidence),
        ]

    @staticmethod
    def figures(record: dict[str, Any]) -> list[Figure]:
        details = record["details"]
        changes = [one["probability"][1] - one["probability"][0] for one in details["questions"]]
        return [
            Distribution(
                title="What each question loses or gains",
                about=f"{details['lost']} right answers lost, {details['gained']} gained, of {len(changes)} questions.",
                values=changes,
                x="change of the right option's probability",
                unit="questions",
            )
        ]

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        details = evidence.details
        return [
            *words.decide(evidence),
            *words.where(evidence),
            f"  asked: {evidence.asked['template'] if evidence.asked else ''}; options scored by {_SCORED[details['by']]}",
            *_table(details["subjects"]),
            *_worst(details["questions"]),
        ]


_SCORED = {
    "sum": "the summed log-likelihood of their tokens",
    "mean": "the mean log-likelihood of their tokens",
    "letters": "the logits of their letters",
}


def assert_capability_delta_below(
    model: Model,
    vector: SteeringVector | Intervention | None,
    questions: Iterable[Question] | None = None,
    *,
    limit: Promise,
    by: ScoredBy = "sum",
    prompt: PromptForm = "plain",
    **shared: Unpack[Deployment],
) -> Evidence:
    """Assert that steering loses less than ``limit`` of the accuracy on multiple-choice questions.

    Args:
        questions: at least two, ``read_questions(path)``; by default the project's own 384.
        limit: the promise: 0.03 allows 3 of 100 questions.
        by: ``sum`` or ``mean`` of the log-likelihoods of an option's tokens, or ``letters``; see :func:`pytest_steer.capability`.
        prompt: ``plain`` (as lm-evaluation-harness asks) or ``chat`` (the chat template).
        multiplier: the deployed strength.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    given = locals()
    if questions is None:
        given["questions"] = read_questions(OWN_QUESTIONS)
    return hold("capability_delta_below", given)


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
                "chance": chance_of(found, confidence, own),
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


def _template(model: Model, by: ScoredBy, prompt: PromptForm) -> str:
    return context_of(model, by, prompt).setting(model.format).form.name


def _table(subjects: list[dict[str, Any]]) -> list[str]:
    if len(subjects) < 2:
        return []
    rows = [
        [
            one["subject"] or "(none)",
            one["n"],
            f"{one['unsteered']:.0%}",
            f"{one['steered']:.0%}",
            one["lost"],
            one["gained"],
            "" if one["chance"]["above"] else "not above guessing",
        ]
        for one in sorted(subjects, key=lambda one: one["steered"] - one["unsteered"])
    ]
    shown = rows[: words.WORST * 3]
    more = [f"    and {len(rows) - len(shown)} subjects with smaller losses"] if len(rows) > len(shown) else []
    return ["  accuracy by subject:", *words.table(shown, ["", "n", "unsteered", "steered", "lost", "gained", ""]), *more]


def _worst(questions: list[dict[str, Any]]) -> list[str]:
    """The lost questions whose right answer lost most probability."""
    lost = [one for one in questions if one["right"][0] and not one["right"][1]]
    lines = [f"  worst of the {len(lost)} lost questions (probability of the right answer):"] if lost else []
    for one in sorted(lost, key=lambda one: one["probability"][1] - one["probability"][0])[: words.WORST]:
        base, steered = one["probability"]
        right, chosen = one["choices"][one["answer"]], one["choices"][one["chosen"][1]]
        lines.append(f"    [{one['id']}] {base:.2f} -> {steered:.2f}  {words.shorten(one['question'], 90)}")
        lines.append(f"      right: {words.shorten(right, 50)}   chosen: {words.shorten(chosen, 50)}")
    return lines
