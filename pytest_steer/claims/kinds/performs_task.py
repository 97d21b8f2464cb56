"""``performs_task``: the share of a task's pairs that the steered model answers right is at least `accuracy`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import convert

from ...core.block import Block, Entry, Estimate, Excerpt, Intervals, Line, Table
from ...core.errors import DataError
from ...core.evidence import Evidence, Verdict
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Compared, ComparedTask
from ...data import TaskItem, Tasks, as_tasks, sample_of
from ...measures import TaskAccuracy, asked_as_text, can_have_controls, check_shots
from ...measures.ask import Ask
from ...measures.propensity import Flags
from ...measures.subject import directions_like
from ...stats import paired_share_difference
from ...stats.estimators import Share
from .. import show
from ..asserting import assertion
from ..base import Claim
from ..curves import CONTROLS, stride_of
from ..judging import Judgement
from ..kind import claim
from ..measurement import Measurement

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


@dataclass(frozen=True)
class Accuracy:
    """A line of the table of accuracies; ``note`` says why a setting was left out."""

    setting: str
    n_shots: int
    shuffled: bool
    steered: bool
    n: int
    first_token: float | None
    exact: float | None
    note: str | None


@dataclass(frozen=True)
class Task:
    """A pair and the logit margins of its right output, unsteered and steered (``measures.TaskAccuracy``)."""

    id: str
    input: str
    output: str
    right_unsteered: bool
    right_steered: bool
    margins_unsteered: list[float]
    margins_steered: list[float]


@dataclass(frozen=True)
class Controls:
    """The accuracy of random directions on ``n`` tasks, that of the vector there, and its p-value among them."""

    count: int
    seed: int
    n: int
    accuracy: float
    accuracies: list[float]
    p: float


@dataclass(frozen=True)
class Details:
    """Accuracies of the model, unsteered under several prompts and steered, and each pair."""

    by: Literal["first_token", "exact"]
    accuracies: list[Accuracy]
    tasks: list[Task]
    controls: Controls | None = field(default=None, metadata=LEFT_OUT)


@claim("performs_task", title="Steered, the model does a task in context", main="accuracy", schema=_SHUFFLED_NEEDS_SHOTS)
class PerformsTask(Claim):
    """The share of right answers to the pairs of `data.test` at `multiplier` is at least `accuracy`.

    The bounds are exact binomial ones (Clopper & Pearson 1934). See ``measures.task_accuracy`` for what is right (``first_token`` is
    that of Todd et al. 2023, arXiv 2310.15213), and for the prompts.

    Attributes:
        tasks: held-out pairs, at least two; ``read_tasks(path)`` reads them from a file.
        demonstrations: pairs that demonstrations are drawn from; by default the other tasks.
        cluster: a key of the tasks (of their ``meta``) that names what belongs together, beside those of one input: bounds are over
            clusters.
        source: where the tasks come from, for messages.

    Raises:
        SteerError: numbers of demonstrations that mean nothing.
        DataError: fewer than two tasks, too few demonstrations, or an output that changes the tokens of its prompt.
    """

    tasks: Sequence[TaskItem] = field(kw_only=False)
    accuracy: Annotated[
        Promise,
        Param(
            "The least share of right answers: 0.5 means half of them.",
            title="Least accuracy",
            example=0.5,
            above=0,
            below=1,
        ),
    ]
    by: Annotated[
        Literal["first_token", "exact"],
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
            judges=True,
        ),
    ] = BASELINE_SHOTS
    demonstrations: Sequence[TaskItem] | None = None
    cluster: str | None = None
    source: str = "tasks"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_shots(self.n_shots, self.shuffled)

    def measure(self, ask: Ask) -> Measurement:
        sample = sample_of(as_tasks(self.tasks, self.source), self.cluster)
        asked = {"unsteered": (None, 0.0), "steered": (ask.subject.intervention, ask.subject.multiplier)}
        found = ask.tasks(sample.units, asked, source=self.source, **self._shown(self.n_shots, self.shuffled))
        bare, steered = found["unsteered"], found["steered"]
        before, right = self._right(bare).tolist(), self._right(steered)
        accuracies = [
            *self._baselines(ask, sample.units, bare),
            _accuracy(self.n_shots, self.shuffled, steered, is_steered=True),
        ]
        decisive = np.array([own[0] if self.by == "first_token" else own.min() for own in steered.margins])
        margins = ([own.tolist() for own in side.margins] for side in (bare, steered))
        tasks = [
            Task(str(index), task.input, task.output, *own)
            for index, (task, *own) in enumerate(zip(sample.units, before, right.tolist(), *margins, strict=True))
        ]
        return Measurement(
            sample=sample,
            values=right.astype(float),
            estimator=Share(),
            statistic="first-token accuracy" if self.by == "first_token" else "exact accuracy",
            probes=steered.probes,
            moved=lambda floor: float((abs(decisive) < math.sqrt(2) * floor.score).mean()),
            asked=asked_as_text(ask.model, steered.probes[0]),
            details=Details(self.by, accuracies, tasks),
            compared=Compared(tasks=convert(accuracies, tuple[ComparedTask, ...], from_attributes=True)),
        )

    def judge(self, ask: Ask, measured: Measurement) -> Judgement:
        judgement = super().judge(ask, measured)
        is_planned = measured.entries.clusters is None  # a share has no plan for units in clusters
        return judgement if is_planned else replace(judgement, items_needed=None)

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, Controls]:
        """Random directions of equal norm on at most 32 tasks, where the claim did not pass and accuracy is not proven to move."""
        records: list[Task] = measured.details.tasks
        lost = sum(one.right_unsteered and not one.right_steered for one in records)
        gained = sum(one.right_steered and not one.right_unsteered for one in records)
        moved = paired_share_difference(lost, gained, len(records), confidence=self.confidence)
        if judgement.verdict is Verdict.PASS or not moved.low <= 0 <= moved.high or not can_have_controls(ask.subject):
            return {}
        every, stride = measured.sample.units, stride_of(len(records))
        tasks, drawn = every[::stride], directions_like(ask.subject, CONTROLS, self.seed)
        asked = {number: (direction, ask.subject.multiplier) for number, direction in drawn.items()}
        how = self._shown(self.n_shots, self.shuffled) | {"demonstrations": self.demonstrations or every}
        shares = [float(self._right(one).mean()) for one in ask.tasks(tasks, asked, **how).values()]
        own = float(measured.values[::stride].mean())
        p = (1 + sum(share >= own for share in shares)) / (1 + len(shares))
        return {"controls": Controls(len(shares), self.seed, len(tasks), own, shares, p)}

    def _right(self, found: TaskAccuracy) -> Flags:
        return found.first_token if self.by == "first_token" else found.exact

    def _shown(self, n_shots: int, shuffled: bool) -> dict[str, Any]:
        return {"n_shots": n_shots, "shuffled": shuffled, "demonstrations": self.demonstrations, "seed": self.seed}

    def _baselines(self, ask: Ask, tasks: Tasks, bare: TaskAccuracy) -> list[Accuracy]:
        """The unsteered model zero-shot, few-shot with right and with shuffled outputs, and in the claim's own setting."""
        own, records = (self.n_shots, self.shuffled), []
        for setting in dict.fromkeys([(0, False), (self.baseline_n_shots, False), (self.baseline_n_shots, True), own]):
            try:
                found = bare if setting == own else ask.tasks(tasks, {0: (None, 0.0)}, **self._shown(*setting))[0]
                records.append(_accuracy(*setting, found))
            except DataError as error:  # too few pairs, or too long a prompt: the claim itself does not need it
                records.append(_accuracy(*setting, None, note=f"left out: {error}"))
        return records

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        own: Details = evidence.own
        if found := own.controls:
            yield Line(
                f"controls: {found.count} random directions of equal norm, on {found.n} tasks, have accuracy {min(found.accuracies):.2f} to "
                f"{max(found.accuracies):.2f}; the vector's, {found.accuracy:.2f}, is {show.rank_of(found.p, found.count)}"
            )

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        own: Details = evidence.own
        by_first = own.by == "first_token"
        yield Table(
            [
                [one.setting, str(one.n or "-"), _two_digits(one.first_token), _two_digits(one.exact), one.note or ""]
                for one in own.accuracies
            ],
            ["", "n", "first token", "exact", ""],
            title="accuracy",
        )
        assert evidence.estimate is not None
        rows = [Estimate("steered, judged", evidence.estimate, evidence.interval, evidence.n, evidence.verdict.value)]
        for one in own.accuracies:
            share = one.first_token if by_first else one.exact
            rows += [] if share is None else [Estimate(one.setting, share, n=one.n)]
        yield Intervals(
            rows,
            evidence.statistic,
            promised=show.promised_in(evidence),
            title="Accuracy",
            is_drawing=True,
            about=f"Share of right answers by the {'first token' if by_first else 'whole answer'}.",
        )
        wrong = [one for one in own.tasks if not one.right_steered]
        yield from show.items_block(
            sorted((_wrong_answer(one, by_first) for one in wrong), key=lambda entry: entry.value or 0.0),
            title=f"worst of the {len(wrong)} wrong answers",
            value="margin",
        )


assert_performs_task = assertion(PerformsTask)


def _accuracy(
    n_shots: int, shuffled: bool, found: TaskAccuracy | None, *, is_steered: bool = False, note: str | None = None
) -> Accuracy:
    prompts = f"{n_shots}-shot" if n_shots else "zero-shot"
    setting = f"{'steered' if is_steered else 'unsteered'}, {prompts}{', shuffled' if shuffled else ''}"
    if found is None:
        return Accuracy(setting, n_shots, shuffled, is_steered, 0, None, None, note)
    shares = found.first_token_accuracy, found.exact_accuracy
    return Accuracy(setting, n_shots, shuffled, is_steered, len(found.tasks), *shares, note)


def _two_digits(share: float | None) -> str:
    return "-" if share is None else f"{share:.2f}"


def _wrong_answer(task: Task, by_first: bool) -> Entry:
    """Which token of a wrong answer is not the likeliest, and by how much; the value is the margin by which it is wrong."""
    margins = task.margins_steered
    at = 0 if by_first else next(at for at, margin in enumerate(margins) if not margin > 0)
    what = "its end" if at == len(margins) - 1 else f"token {at + 1} of {len(margins) - 1}"
    unsteered = "right" if task.right_unsteered else "wrong"
    words = f"{what} is {-margins[at]:.2f} logits below the likeliest token; {unsteered} unsteered"
    value = margins[0] if by_first else min(margins)
    return Entry(task.id, value, words, task.input, [Excerpt("right", task.output)])
