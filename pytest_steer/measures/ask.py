"""Ask: a model, what steers it and how it is asked, bound once, and every question that a claim can ask of it.

It checks the hooks before the first answer and notes what each answer moved, so that no claim forwards a scope or forgets a check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..core.errors import DataError, SteerError
from ..core.record import Soundness
from ..data import DialogueLike, ItemLike, Items, Question, TaskItem, TextLike, Texts, as_items
from ..extract import Contrast, read_contrast
from ..model import Model, Probe
from ..model.drawing import Drawing
from ..model.noise import eps_of
from ..model.replies import GREEDY, Replies, replies
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, SteeringVector
from .asking import Array, Scope
from .at_cost import AtCost, Deployed, effects_at, multipliers_at_cost
from .kl import Divergence, kl_at_answers, kl_curve
from .likelihood import Perplexity, Reading, perplexity, perplexity_curves, reading_of_questions, reading_of_texts
from .multiple_choice import Capability, PromptForm, ScoredBy, capability
from .propensity import AnswerLikelihoods, PropensityCurve, Vector, answer_likelihoods, curves_in_contexts, propensity_curves
from .receipt import NoiseFloor, noise_floor
from .subject import Subject
from .tasks import TaskAccuracy, task_accuracies

Check = Callable[[Model, Subject], Soundness | None]


def _unchecked(_model: Model, _subject: Subject) -> None:
    """Look at no hook."""


@dataclass(frozen=True, eq=False)
class Ask:
    """A model, a subject and a context.

    Attributes:
        subject: the intervention, where it acts, its deployed multiplier, and what of it is accepted.
        context: how items and prompts are put to the model.
        check: checks the hooks of a subject and returns the record of that; called before the first answer.
    """

    model: Model
    subject: Subject
    context: Context = AS_GIVEN
    check: Check = field(default=_unchecked, repr=False)
    _moved: dict[tuple[str, Any], float] = field(default_factory=dict, repr=False)

    @cached_property
    def soundness(self) -> Soundness | None:
        """The record of the check of the hooks, which is made now if nothing was asked yet.

        Raises:
            SoundnessError: the hooks do not do what they say. VectorError: the intervention does not fit the model.
        """
        return self.check(self.model, self.subject)

    def of(self, subject: Subject) -> Ask:
        """The same questions about another subject, whose hooks are checked too."""
        return replace(self, subject=subject, _moved={})

    def in_place(self, vector: SteeringVector | Intervention) -> Ask:
        """The same questions about another vector in the place of the subject's, such as a random direction, whose hooks act as its own do."""
        return replace(self, subject=replace(self.subject, vector=vector), check=_unchecked, _moved={})

    def within(self, context: Context) -> Ask:
        """The same questions in another context."""
        return replace(self, context=context)

    def propensity(self, items: Iterable[ItemLike], multipliers: Sequence[float]) -> PropensityCurve:
        """The propensity of every item at every multiplier."""
        curve = propensity_curves(
            self.model, items, {0: self._checked}, self._scope, multipliers=multipliers, context=self.context
        )[0]
        return self._rose(curve)

    def propensity_in(
        self, contexts: Sequence[Context], items: Items, multipliers: Sequence[float]
    ) -> list[PropensityCurve]:
        """The items' curves in each of several contexts, asked at once; an axis that one leaves as given is as in the own context."""
        places = [one.over(self.context) for one in contexts]
        curves = curves_in_contexts(self.model, items, self._checked, self._scope, contexts=places, multipliers=multipliers)
        return [self._rose(curve) for curve in curves]

    def likelihoods(self, items: Iterable[ItemLike], multipliers: Sequence[float]) -> AnswerLikelihoods:
        """The log-likelihood of each item's answers, both sides apart, at every multiplier."""
        found = answer_likelihoods(
            self.model, items, self._checked, multipliers=multipliers, context=self.context, **vars(self._scope)
        )
        sides = (found.matching, found.not_matching)
        self._note("the items", np.concatenate([side[:, 1:] - side[:, :1] for side in sides]), found.items)
        return found

    def perplexity(
        self,
        texts: Sequence[TextLike],
        multipliers: Sequence[float],
        *,
        window: int | None = None,
        stride: int | None = None,
        source: str = "",
    ) -> tuple[Perplexity, list[Perplexity]]:
        """The perplexity of the texts, unsteered and at every multiplier.

        Args:
            source: the origin of the texts, put before an error about them.
        """
        both = {"base": None, "steered": self._checked}
        with _named(source):
            found = perplexity_curves(
                self.model, texts, both, self._scope, multipliers=multipliers, window=window, stride=stride
            )
        base, steered = found["base"][0], found["steered"]
        self._note("the texts", np.concatenate([one.per_text - base.per_text for one in steered]), texts)
        return base, steered

    def at_cost(
        self, subjects: Mapping[Any, Deployed], texts: Sequence[TextLike], *, source: str = "", **how: Any
    ) -> dict[Any, AtCost]:
        """The multiplier of each subject where perplexity has risen by the budget; ``how`` as ``multipliers_at_cost`` takes it."""
        _ = self.soundness
        with _named(source):
            return multipliers_at_cost(self.model, texts, subjects, allow_mismatch=self.subject.allow_mismatch, **how)

    def effects(self, at: Mapping[Any, tuple[Deployed, float]], items: Iterable[ItemLike]) -> tuple[dict[Any, Array], Array]:
        """The effect of each (subject, multiplier) on each item, and the items' unsteered propensities."""
        _ = self.soundness
        return effects_at(self.model, items, at, context=self.context, allow_mismatch=self.subject.allow_mismatch)

    def divergence(self, texts: Sequence[TextLike], multipliers: Sequence[float], *, source: str = "") -> list[Divergence]:
        """KL(unsteered || steered) of the next token's distribution at each position of the texts."""
        with _named(source):
            found = kl_curve(self.model, texts, self._checked, self._scope, multipliers=multipliers)
        return self._diverged("the texts", found)

    def divergence_at_answers(self, items: Iterable[ItemLike], multipliers: Sequence[float]) -> list[Divergence]:
        """The same divergence at the position that predicts the first scored token of the items' answers."""
        found = kl_at_answers(self.model, items, self._checked, self._scope, multipliers=multipliers, context=self.context)
        return self._diverged("the items", found)

    def accuracy(
        self, questions: Iterable[Question], multipliers: Sequence[float], *, by: ScoredBy, prompt: PromptForm, source: str
    ) -> Capability:
        """The model's answer to each question, at every multiplier."""
        with _named(source):
            found = capability(
                self.model, questions, self._checked, multipliers=multipliers, by=by, prompt=prompt, **vars(self._scope)
            )
        self._note("the questions", np.concatenate([scores[:, -1] - scores[:, 0] for scores in found.scores]))
        return found

    def tasks(
        self, tasks: Sequence[TaskItem], vectors: Mapping[Any, tuple[Vector, float]], *, source: str = "", **how: Any
    ) -> dict[Any, TaskAccuracy]:
        """The accuracy under each of several (vector, multiplier); ``how`` as ``task_accuracies`` takes it."""
        _ = self.soundness
        with _named(source):
            return task_accuracies(self.model, tasks, vectors, self._scope, **how)

    def replies(
        self, prompts: Iterable[DialogueLike], multipliers: Sequence[float], *, drawing: Drawing = GREEDY, from_turn: int = 1
    ) -> Replies:
        """The replies to the prompts at every multiplier."""
        # Greedy replies may be equal under honest steering: that is a finding (`replies-unchanged`), and no proof that nothing steered.
        return replies(
            self.model,
            prompts,
            self._checked,
            multipliers=multipliers,
            drawing=drawing,
            from_turn=from_turn,
            context=self.context,
            **vars(self._scope),
        )

    def reading(self, units: Texts | Items) -> Reading | None:
        """How the unsteered model reads texts, or the questions of items; None if these are too short to say."""
        if isinstance(units, Items):
            return reading_of_questions(self.model, [item.question for item in units])
        return reading_of_texts(self.model, perplexity(self.model, units).per_text)

    def contrast(self, items: Iterable[ItemLike], layers: Sequence[int], *, readout: str) -> Contrast:
        """The unsteered activations of both sides of the items at some layers."""
        return read_contrast(self.model, as_items(items), layer=list(layers), readout=readout, context=self.context)

    def noise(self, probes: Sequence[Probe]) -> NoiseFloor:
        """The noise floor of the scores of such probes."""
        return noise_floor(self.model, probes, self.subject.intervention, self.subject.multiplier)

    def check_moved(self) -> None:
        """Refuse a user's own way of steering that changed no number of some of what was measured. Equal replies are a finding instead.

        Raises:
            SteerError: every change of the numbers of some units is within a few roundings of 0.
        """
        if self.subject.intervention.applied is None:
            return
        for (what, _), size in self._moved.items():
            if size > 16 * eps_of(self.model.dtype):
                continue
            raise SteerError(
                f"apply steered nothing while {what} were measured: every number is that of the unsteered model, though the check of "
                "the hooks saw it steer. Does it stop after some forwards, or act only on some lengths?"
            )

    @property
    def _checked(self) -> Intervention:
        """The subject's intervention, whose hooks are checked."""
        _ = self.soundness
        return self.subject.intervention

    @property
    def _scope(self) -> Scope:
        return self.subject.scope

    def _rose(self, curve: PropensityCurve) -> PropensityCurve:
        self._note("the items", curve.values[:, 1:] - curve.values[:, :1], curve.items)
        return curve

    def _diverged(self, what: str, found: list[Divergence]) -> list[Divergence]:
        # Where nothing is steered both sides are one computation, and differ by nothing at all.
        if found:
            self._note(what, (np.concatenate(found[0].per_position) > 0).astype(float))
        return found

    def _note(self, what: str, changes: Array, units: Any = None) -> None:
        """Keep the largest change of the numbers of some units, each kind and each set of them by itself."""
        if changes.size:
            key = what, getattr(units, "hash", None)
            self._moved[key] = max(self._moved.get(key, 0.0), float(abs(changes).max()))


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Put the source in front of errors about data."""
    try:
        yield
    except DataError as error:
        if not source:
            raise
        raise type(error)(f"{source}: {error}") from None
