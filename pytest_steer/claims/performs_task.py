"""``performs_task``: steered, the model does a task in context, in at least so large a share of the cases."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..data import TaskItem
from ..data.tasks import task_hashes, tasks_hash
from ..errors import DataError, SteerError
from ..evidence import Evidence
from ..measures import TaskAccuracy, as_tasks, asked_as_text, check_shots, steering_receipt, task_accuracies
from ..measures.subject import Subject, describe_model, describe_receipt
from ..model import Model
from ..soundness import check_before
from ..stats import Direction, Verdict, items_needed_share, share
from ..steering import Intervention
from .judging import give_verdict
from .over_items import warnings_about
from .precision import add_noise, open_share

RightBy = Literal["first_token", "exact"]

# The prompts of Todd et al. 2023 (arXiv 2310.15213) have ten; half of them show form and task, and small data sets have as many.
BASELINE_SHOTS = 5


@dataclass(frozen=True, kw_only=True)
class PerformsTask:
    """The share of right answers at the deployed multiplier is at least a threshold; exact binomial bounds (Clopper & Pearson
    1934). See ``measures.task_accuracy`` for what is right, and for the prompts.

    Attributes:
        tasks: held-out pairs.
        accuracy: the promise, between 0 and 1.
        by: ``first_token`` (Todd et al. 2023, arXiv 2310.15213) or ``exact``.
        shots / shuffled: demonstrations in the claim's own prompts, and whether their outputs are dealt out anew.
        demonstrations: what demonstrations are drawn from; by default the other tasks.
        baseline_shots: demonstrations of the unsteered few-shot prompts that the claim is shown beside.
        seed: of the draws of demonstrations.
        source: where the tasks come from, for messages.

    Raises:
        SteerError: the accuracy is not between 0 and 1, numbers of demonstrations that mean nothing, or an unknown ``by``.
    """

    subject: Subject
    tasks: Sequence[TaskItem]
    accuracy: float
    by: RightBy = "first_token"
    shots: int = 0
    shuffled: bool = False
    demonstrations: Sequence[TaskItem] | None = None
    baseline_shots: int = BASELINE_SHOTS
    confidence: float = 0.95
    seed: int = 0
    source: str = "tasks"
    name: str = "performs_task"

    def __post_init__(self) -> None:
        if not 0 < self.accuracy < 1:
            raise SteerError(f"accuracy has to be between 0 and 1 (0.5 means half of the tasks), not {self.accuracy}")
        if self.by not in get_args(RightBy):
            raise SteerError(f"by is 'first_token' or 'exact', not {self.by!r}")
        check_shots(self.shots, self.shuffled)
        try:
            check_shots(self.baseline_shots, shuffled=True)
        except SteerError as error:
            raise SteerError(f"baseline_shots: {error}") from None

    def measure(self, model: Model) -> Evidence:
        """Measures and judges.

        Raises:
            DataError: fewer than two tasks, too few demonstrations, or an output that changes the tokens of its prompt.
            SoundnessError: the hooks do not do what they say.
            VectorError, MeasurementError: see ``measures.task_accuracy`` and ``check_fits``.
        """
        started = time.perf_counter()
        subject, change = self.subject, self.subject.intervention
        tasks = as_tasks(self.tasks, self.source)
        if len(tasks) < 2:
            raise DataError(f"{self.source}: has 1 task; an interval needs at least two")
        soundness = check_before(model, subject)
        both: dict[str, tuple[Intervention | None, float]] = {
            "unsteered": (None, 0.0),
            "steered": (change, subject.multiplier),
        }
        try:
            found_at = self._accuracies(model, both, self.shots, self.shuffled)
        except DataError as error:
            raise type(error)(f"{self.source}: {error}") from None
        bare, steered = found_at["unsteered"], found_at["steered"]
        right, before = self._right(steered), self._right(bare)
        found = share(int(right.sum()), len(right), confidence=self.confidence)
        receipt = steering_receipt(model, steered.probes, change, subject.multiplier)
        evidence = Evidence(
            check="performs_task",
            name=self.name,
            verdict=Verdict.ERROR,
            statistic="first-token accuracy" if self.by == "first_token" else "exact accuracy",
            estimate=found.estimate,
            interval=(found.low, found.high),
            interval_method=found.method,
            confidence=self.confidence,
            threshold=self.accuracy,
            direction=Direction.AT_LEAST,
            n=len(tasks),
            unit="tasks",
            multiplier=subject.multiplier,
            model=describe_model(model),
            vector=subject.describe(receipt),
            data={"hash": tasks_hash(tasks), "n": len(tasks), "source": self.source},
            receipt=describe_receipt(receipt),
            soundness=soundness,
            asked=asked_as_text(model, steered.probes[0]),
            details={
                "by": self.by,
                "accuracies": [
                    *self._baselines(model, bare),
                    _record(self.shots, self.shuffled, steered, is_steered=True),
                ],
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
        evidence.warnings += warnings_about(subject, tasks, task_hashes(tasks), tasks_hash(tasks))
        decisive = np.array([own[0] if self.by == "first_token" else own.min() for own in steered.margins])
        add_noise(evidence, model, subject, steered.probes, lambda floor: open_share(decisive, math.sqrt(2) * floor.score))
        give_verdict(evidence, found, self.accuracy)
        if evidence.verdict is Verdict.INCONCLUSIVE:
            evidence.items_needed = items_needed_share(
                found.estimate, self.accuracy, direction=Direction.AT_LEAST, confidence=self.confidence
            )
        evidence.seconds = time.perf_counter() - started
        return evidence

    def _right(self, found: TaskAccuracy) -> Any:
        return found.first_token if self.by == "first_token" else found.exact

    def _accuracies(
        self, model: Model, vectors: dict[str, tuple[Intervention | None, float]], shots: int, shuffled: bool
    ) -> dict[str, TaskAccuracy]:
        return task_accuracies(
            model,
            self.tasks,
            vectors,
            positions=self.subject.positions,
            include_first=self.subject.include_first,
            shots=shots,
            demonstrations=self.demonstrations,
            shuffled=shuffled,
            seed=self.seed,
            allow_mismatch=self.subject.allow_mismatch,
        )

    def _baselines(self, model: Model, bare: TaskAccuracy) -> list[dict[str, Any]]:
        """The unsteered model's records: zero-shot, few-shot with right and with shuffled outputs, and in the claim's own setting."""
        own = (self.shots, self.shuffled)
        settings = [(0, False), (self.baseline_shots, False), (self.baseline_shots, True)]
        records = []
        for shots, shuffled in [*settings, *([] if own in settings else [own])]:
            if (shots, shuffled) == own:
                records.append(_record(shots, shuffled, bare))
                continue
            try:
                found = self._accuracies(model, {"unsteered": (None, 0.0)}, shots, shuffled)["unsteered"]
            except DataError as error:  # too few pairs, or too long a prompt: the claim itself does not need it
                records.append(_record(shots, shuffled, None, note=f"left out: {error}"))
                continue
            records.append(_record(shots, shuffled, found))
        return records


def _record(
    shots: int, shuffled: bool, found: TaskAccuracy | None, *, is_steered: bool = False, note: str | None = None
) -> dict[str, Any]:
    """One line of the table of accuracies."""
    words = f"{shots}-shot" if shots else "zero-shot"
    return {
        "setting": f"{'steered' if is_steered else 'unsteered'}, {words}{', shuffled' if shuffled else ''}",
        "shots": shots,
        "shuffled": shuffled,
        "steered": is_steered,
        "n": len(found.tasks) if found is not None else 0,
        "first_token": found.first_token_accuracy if found is not None else None,
        "exact": found.exact_accuracy if found is not None else None,
        "note": note,
    }
