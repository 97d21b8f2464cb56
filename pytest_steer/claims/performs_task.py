"""``performs_task``: the share of a task's pairs that the steered model answers right is at least `accuracy`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, Unpack

import numpy as np

from ..data import TaskItem, as_tasks, sample_of
from ..errors import DataError
from ..evidence import Evidence
from ..measures import TaskAccuracy, asked_as_text, can_have_controls, check_shots, task_accuracies
from ..measures.controls import directions_like
from ..measures.propensity import Flags
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..soundness import check_before
from ..stats import Direction, Verdict, items_needed_share, paired_share_difference, share, share_of_clusters
from ..steering import Intervention, SteeringVector
from . import task_words
from .common import Deployment
from .holding import hold
from .judged import judged, open_share
from .kinds import claim
from .no_effect import CONTROLS, step_of
from .over_items import warnings_about
from .units import units_record

RightBy = Literal["first_token", "exact"]

# The prompts of Todd et al. 2023 (arXiv 2310.15213) have ten; half of them show form and task, and small data sets have as many.
BASELINE_SHOTS = 5
_SHUFFLED_NEEDS_SHOTS = {
    "if": {"properties": {"shuffled": {"const": True}}, "required": ["shuffled"]},
    "then": {
        "properties": {
            "n_shots": {
                "description": "How many other pairs are shown before each question; `shuffled: true` needs two or more.",
                "minimum": 2,
                "examples": [5],
            }
        },
        "required": ["n_shots"],
    },
}


@claim("performs_task", title="Steered, the model does a task in context", main="accuracy", schema=_SHUFFLED_NEEDS_SHOTS)
@dataclass(frozen=True, kw_only=True)
class PerformsTask:
    """The share of right answers to the pairs of `data.test` at `multiplier` is at least `accuracy`.

    The bounds are exact binomial ones (Clopper & Pearson 1934). See ``measures.task_accuracy`` for what is right (``first_token`` is
    that of Todd et al. 2023, arXiv 2310.15213), and for the prompts.

    Attributes:
        tasks: held-out pairs.
        demonstrations: what demonstrations are drawn from; by default the other tasks.
        seed: of the draws of demonstrations.
        cluster: a key of the tasks that says which belong together; those of one input do without.
        source: where the tasks come from, for messages.

    Raises:
        SteerError: numbers of demonstrations that mean nothing.
    """

    subject: Subject
    tasks: Sequence[TaskItem]
    accuracy: Annotated[
        float | None,
        Param(
            "The least share of right answers: 0.5 means half of them.",
            title="Least accuracy",
            example=0.5,
            above=0,
            below=1,
        ),
    ]
    by: Annotated[
        RightBy,
        Param(
            "first_token: the likeliest next token is the first one of the output; exact: greedy decoding writes the whole output and "
            "ends there.",
            title="What makes an answer right",
            example="exact",
        ),
    ] = "first_token"
    n_shots: Annotated[
        int,
        Param(
            "How many other pairs are shown before each question; 0 is zero-shot.",
            title="Demonstrations in each prompt",
            example=5,
            at_least=0,
        ),
    ] = 0
    shuffled: Annotated[
        bool,
        Param(
            "true deals the outputs of the demonstrations out anew, so that the prompt has the task's form and not the task; it needs "
            "`n_shots: 2` or more.",
            title="Shuffled outputs",
            example=True,
        ),
    ] = False
    baseline_n_shots: Annotated[
        int,
        Param(
            "How many demonstrations the unsteered few-shot prompts have that the claim is shown beside.",
            title="Demonstrations of the baselines",
            example=10,
            at_least=2,
        ),
    ] = BASELINE_SHOTS
    demonstrations: Sequence[TaskItem] | None = None
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    cluster: str | None = None
    source: str = "tasks"
    name: str = "performs_task"

    def __post_init__(self) -> None:
        check_shots(self.n_shots, self.shuffled)

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two tasks, too few demonstrations, or an output that changes the tokens of its prompt.
            SoundnessError: the hooks do not do what they say.
            VectorError, MeasurementError: see ``measures.task_accuracy`` and ``check_fits``.
        """
        subject, change = self.subject, self.subject.intervention
        sample = sample_of(as_tasks(self.tasks, self.source), self.cluster)
        tasks, clusters = sample.units, sample.clusters
        soundness = check_before(model, subject)
        both: dict[str, tuple[Intervention | None, float]] = {
            "unsteered": (None, 0.0),
            "steered": (change, subject.multiplier),
        }
        try:
            found_at = self._accuracies(model, tasks, both, self.n_shots, self.shuffled)
        except DataError as error:
            raise type(error)(f"{self.source}: {error}") from None
        bare, steered = found_at["unsteered"], found_at["steered"]
        right, before = self._right(steered), self._right(bare)
        if clusters is None:
            found = share(int(right.sum()), len(right), confidence=self.confidence)
        else:
            found = share_of_clusters(right, clusters, confidence=self.confidence)
        decisive = np.array([own[0] if self.by == "first_token" else own.min() for own in steered.margins])
        accuracies = [*self._baselines(model, tasks, bare), _record(self.n_shots, self.shuffled, steered, is_steered=True)]
        evidence = judged(
            model,
            subject,
            found,
            steered.probes,
            threshold=self.accuracy,
            direction=Direction.AT_LEAST,
            confidence=self.confidence,
            min_n=self.min_n,
            moved=lambda floor: open_share(decisive, math.sqrt(2) * floor.score),
            check="performs_task",
            name=self.name,
            statistic="first-token accuracy" if self.by == "first_token" else "exact accuracy",
            n=sample.n,
            unit=sample.counted,
            data=sample.describe(),
            soundness=soundness,
            asked=asked_as_text(model, steered.probes[0]),
            warnings=[
                *warnings_about(subject, [task.input for task in tasks], tasks.hash),
                *map(str, sample.findings),
            ],
            compared={"tasks": accuracies},
            details={
                **sample.details(),
                "by": self.by,
                "accuracies": accuracies,
                "tasks": [
                    {
                        "id": str(index),
                        "input": task.input,
                        "output": task.output,
                        "right_unsteered": bool(before[index]),
                        "right_steered": bool(right[index]),
                        "margins_unsteered": bare.margins[index].tolist(),
                        "margins_steered": steered.margins[index].tolist(),
                    }
                    for index, task in enumerate(tasks)
                ],
            },
        )
        evidence.units = units_record(
            sample.forms,
            sample.names,
            right.astype(float),
            unit="tasks",
            kind="share",
            clusters=clusters,
            how={"by": self.by, "n_shots": self.n_shots, "shuffled": self.shuffled},
        )
        if evidence.verdict is Verdict.INCONCLUSIVE and self.accuracy is not None and clusters is None:
            evidence.items_needed = items_needed_share(
                found.estimate, self.accuracy, direction=Direction.AT_LEAST, confidence=self.confidence
            )
        evidence.details |= self._controls(model, tasks, right, before, evidence)
        return evidence

    def _controls(
        self, model: Model, tasks: Sequence[TaskItem], right: Flags, before: Flags, evidence: Evidence
    ) -> dict[str, Any]:
        """Random directions of equal norm on at most 32 tasks, where the claim did not pass and accuracy is not proven to move."""
        lost, gained = int((before & ~right).sum()), int((right & ~before).sum())
        moved = paired_share_difference(lost, gained, len(tasks), confidence=self.confidence)
        if evidence.verdict is Verdict.PASS or not moved.low <= 0 <= moved.high or not can_have_controls(self.subject):
            return {}
        step, strength = step_of(len(tasks)), self.subject.multiplier
        drawn = directions_like(self.subject, CONTROLS, self.seed)
        asked: dict[str, tuple[Intervention | None, float]] = {
            str(number): (direction, strength) for number, direction in drawn.items()
        }
        some = replace(self, demonstrations=self.demonstrations or tasks)
        found = some._accuracies(model, tasks[::step], asked, self.n_shots, self.shuffled)
        shares = [float(self._right(one).mean()) for one in found.values()]
        own = float(right[::step].mean())
        rank = 1 + sum(share >= own for share in shares)
        return {
            "controls": {
                "count": len(shares),
                "seed": self.seed,
                "n": len(tasks[::step]),
                "accuracy": own,
                "accuracies": shares,
                "p": rank / (1 + len(shares)),
            }
        }

    def _right(self, found: TaskAccuracy) -> Flags:
        return found.first_token if self.by == "first_token" else found.exact

    def _accuracies(
        self,
        model: Model,
        tasks: Sequence[TaskItem],
        vectors: dict[str, tuple[Intervention | None, float]],
        n_shots: int,
        shuffled: bool,
    ) -> dict[str, TaskAccuracy]:
        return task_accuracies(
            model,
            tasks,
            vectors,
            n_shots=n_shots,
            demonstrations=self.demonstrations,
            shuffled=shuffled,
            seed=self.seed,
            **self.subject.scope,
        )

    def _baselines(self, model: Model, tasks: Sequence[TaskItem], bare: TaskAccuracy) -> list[dict[str, Any]]:
        """The unsteered model's records: zero-shot, few-shot with right and with shuffled outputs, and in the claim's own setting."""
        own = (self.n_shots, self.shuffled)
        settings = dict.fromkeys([(0, False), (self.baseline_n_shots, False), (self.baseline_n_shots, True), own])
        records = []
        for n_shots, shuffled in settings:
            found: TaskAccuracy | None = bare
            note = None
            if (n_shots, shuffled) != own:
                try:
                    found = self._accuracies(model, tasks, {"unsteered": (None, 0.0)}, n_shots, shuffled)["unsteered"]
                except DataError as error:  # too few pairs, or too long a prompt: the claim itself does not need it
                    found, note = None, f"left out: {error}"
            records.append(_record(n_shots, shuffled, found, note=note))
        return records

    remarks = staticmethod(task_words.remarks)
    explanation = staticmethod(task_words.explanation)
    figures = staticmethod(task_words.figures)


def assert_performs_task(
    model: Model,
    vector: SteeringVector | Intervention | None,
    tasks: Sequence[TaskItem],
    *,
    accuracy: Promise,
    by: RightBy = "first_token",
    n_shots: int = 0,
    shuffled: bool = False,
    demonstrations: Sequence[TaskItem] | None = None,
    baseline_n_shots: int = BASELINE_SHOTS,
    cluster: str | None = None,
    **shared: Unpack[Deployment],
) -> Evidence:
    """Assert that the share of right answers of the steered model to ``tasks`` is at least ``accuracy``.

    Args:
        tasks: held-out pairs, at least two; ``read_tasks(path)`` reads them from a file.
        accuracy: the promise, between 0 and 1.
        by: ``first_token`` (the likeliest next token is the first one of the output) or ``exact`` (greedy decoding writes the whole
            output and ends there).
        n_shots / shuffled / demonstrations: see :func:`pytest_steer.task_accuracy`; they are those of the steered prompts.
        baseline_n_shots: demonstrations of the unsteered few-shot prompts that the evidence shows beside, from 2 on.
        cluster: a key of the tasks (of their ``meta``) that says which belong together; the bounds are then over clusters.
        multiplier: the deployed strength; an intervention of any kind of strength has one.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("performs_task", locals())


def _record(
    n_shots: int, shuffled: bool, found: TaskAccuracy | None, *, is_steered: bool = False, note: str | None = None
) -> dict[str, Any]:
    """One line of the table of accuracies."""
    prompts = f"{n_shots}-shot" if n_shots else "zero-shot"
    return {
        "setting": f"{'steered' if is_steered else 'unsteered'}, {prompts}{', shuffled' if shuffled else ''}",
        "n_shots": n_shots,
        "shuffled": shuffled,
        "steered": is_steered,
        "n": len(found.tasks) if found is not None else 0,
        "first_token": found.first_token_accuracy if found is not None else None,
        "exact": found.exact_accuracy if found is not None else None,
        "note": note,
    }
