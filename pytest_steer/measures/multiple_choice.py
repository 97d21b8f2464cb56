"""What a model knows: multiple-choice questions, answered by the likelihood of each option, over multipliers."""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from ..core.errors import DataError, SteerError
from ..data import ContrastItem, Question, Questions, as_questions
from ..model import Model, engine_of
from ..model.arguments import checks_arguments
from ..prompting import Context
from ..steering import Intervention, Positions, SteeringVector
from .asking import Array, Asked, OfAsked, Scope, asked_of, finite
from .propensity import Flags, check_multipliers, fitting, pairs_of

ScoredBy = Literal["sum", "mean", "letters"]
PromptForm = Literal["plain", "chat"]

# That of lm-evaluation-harness for ARC and others: an option follows after one space.
_PLAIN = "Question: {question}\nAnswer: "


@dataclass(frozen=True, eq=False)
class Capability(OfAsked):
    """Scores of the options of multiple-choice questions over multipliers.

    Attributes:
        scores: for each question float64 [n_options, n_multipliers], in the order of its options: the log-likelihood of an option's
            tokens in nats, summed or averaged; where every option is one token (letters always are), its raw logit.
        multipliers: float64 [n_multipliers], as they were given.
        questions: the questions, in order.
        asked: how each question was asked and read.
    """

    scores: tuple[Array, ...]
    multipliers: Array
    questions: Questions
    asked: tuple[Asked, ...] = field(repr=False, default=())

    @property
    def _answered(self) -> list[tuple[int, Array]]:
        return [(question.answer, scores) for question, scores in zip(self.questions, self.scores, strict=True)]

    @cached_property
    def margins(self) -> Array:
        """[n_questions, n_multipliers]: how far the right option is ahead of the best wrong one; below 0 where the answer is wrong."""
        rows = [scores[right] - np.delete(scores, right, axis=0).max(axis=0) for right, scores in self._answered]
        return np.array(rows)

    @cached_property
    def right(self) -> Flags:
        """bool [n_questions, n_multipliers]: the right option has the highest score. A tie is not right."""
        return self.margins > 0

    @cached_property
    def probabilities(self) -> Array:
        """[n_questions, n_multipliers]: the probability of the right option, the softmax over the options' scores."""
        return np.array([np.exp(scores[right] - np.logaddexp.reduce(scores, axis=0)) for right, scores in self._answered])

    @cached_property
    def chosen(self) -> np.ndarray[tuple[int, ...], np.dtype[np.int_]]:
        """int [n_questions, n_multipliers]: the option with the highest score, the first of several."""
        return np.array([scores.argmax(axis=0) for scores in self.scores])

    @cached_property
    def weights(self) -> Array:
        """[n_questions] the weights of the questions, with a sum of 1."""
        weights = np.array([question.weight for question in self.questions], dtype=float)
        found: Array = weights / weights.sum()
        return found

    @cached_property
    def accuracy(self) -> Array:
        """[n_multipliers] the share of questions that are answered right, weighted where the questions have weights."""
        found: Array = self.weights @ self.right
        return found


@checks_arguments
def capability(
    model: Model,
    questions: Iterable[Question],
    vector: SteeringVector | Intervention | None = None,
    *,
    multipliers: Sequence[float] = (0.0, 1.0),
    by: ScoredBy = "sum",
    prompt: PromptForm = "plain",
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
) -> Capability:
    """Answer multiple-choice questions at every multiplier, all in one pass over each question.

    Args:
        questions: ``read_questions()`` has the project's own 384; ``read_questions(path)`` reads MMLU, ARC, TruthfulQA and other files.
        vector: a steering vector (added), or any intervention; None for the unsteered model.
        multipliers: strengths; 0 is the unsteered model.
        by: how an option is scored: ``sum`` or ``mean`` of the log-likelihoods of the tokens of its text after the question, or
            ``letters``: the options are listed in the prompt, "(A) ...", and the logits of their letters are compared. Questions whose
            options are labels already are scored by letter in any case.
        prompt: ``plain``: "Question: ...", a line with "Answer:" and the option after a space, as lm-evaluation-harness asks; no chat
            template. ``chat``: the question as the user's turn of the chat template, the option as the reply.
        positions: the steered tokens, as for contrast items; the tokens of an option are steered in every scope.
        include_first: steer the first position too where the scope reaches it.
        allow_mismatch: ``("model",)`` and / or ``("template",)``: accept a vector that was made elsewhere.

    Raises:
        DataError: no questions, one that cannot be tokenised, or more options than letters.
        SteerError: an unknown way of scoring or asking; ``chat`` and the model has no chat template.
        VectorError: the intervention does not fit the model, see ``check_fits``.
        MeasurementError: a score is NaN or infinite.
    """
    scope = Scope(positions, include_first, allow_mismatch)
    grid, data = check_multipliers(multipliers), as_questions(questions)
    context_of(model, by, prompt)  # refused before anything is tokenised
    change = fitting(model, vector, scope, grid, "multipliers")
    asked = tuple(asked_question(model, one, scope, by=by, prompt=prompt) for one in data)
    per_probe = iter(engine_of(model).run_pairs([probe for one in asked for probe in one.probes], pairs_of(change, grid)))
    scores = []
    for question, one in zip(data, asked, strict=True):
        own = [next(per_probe) for _ in one.probes]
        columns = np.array([one.answers([found[column] for found in own]) for column in range(len(grid))]).T
        # The right option comes first in an item; here each has its place again.
        order = [question.answer, *(index for index in range(len(question.choices)) if index != question.answer)]
        scores.append(finite(columns[np.argsort(order)], f"question {question.id}: a score"))
    return Capability(tuple(scores), np.array(grid), data, asked)


def asked_question(model: Model, question: Question, scope: Scope, *, by: ScoredBy, prompt: PromptForm) -> Asked:
    """The probes of a question, of the right option first; arguments and errors are those of :func:`capability`."""
    context = context_of(model, by, prompt)
    return asked_of(model, _as_item(question, by), scope, context, called="question")


def context_of(model: Model, by: ScoredBy, prompt: PromptForm) -> Context:
    """How questions are put to the model.

    Raises:
        SteerError: see :func:`capability`.
    """
    for name, value, known in (("by", by, get_args(ScoredBy)), ("prompt", prompt, get_args(PromptForm))):
        if value not in known:
            raise SteerError(f"{name} is {', '.join(map(repr, known[:-1]))} or {known[-1]!r}, not {value!r}")
    if prompt == "chat" and model.format.template is None:
        raise SteerError(
            f"prompt is 'chat', and {model.id} has no chat template: write prompt: plain, or load it with its template"
        )
    answers = "mean" if by == "mean" else "sum"
    return Context(template=_PLAIN, answers=answers) if prompt == "plain" else Context(answers=answers)


def _as_item(question: Question, by: ScoredBy) -> ContrastItem:
    """The question as an item whose matching answer is the right option, and whose other answers are the wrong ones in order."""
    if by == "letters" and not question.is_lettered:
        count = len(question.choices)
        if count > len(string.ascii_uppercase):
            raise DataError(f"question {question.id}: has {count} options, more than there are letters: write by: sum")
        labels = [f"({letter})" for letter in string.ascii_uppercase[:count]]
        listed = (f"{label} {choice.strip()}" for label, choice in zip(labels, question.choices, strict=True))
        text = "\n".join([f"{question.question.strip()}\n\nChoices:", *listed])
        question = replace(question, question=text, choices=tuple(labels))
    right, *wrong = question.right_first
    return ContrastItem(question.question, (right,), tuple(wrong), question.id)
