"""``performs_task``: the share of a task's pairs that the steered model answers right is at least `accuracy`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import field, replace
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import convert

from ...core.block import Block, Entry, Estimate, Excerpt, Intervals, Line, Table
from ...core.errors import DataError
from ...core.evidence import Evidence, Verdict
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import Compared, ComparedTask
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
from ..controls import CONTROLS, stride_of
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
            schema={"type": "number"},
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
        before, right = self._right(bare), self._right(steered)
        accuracies = [
            *self._baselines(ask, sample.units, bare),
            _record(self.n_shots, self.shuffled, steered, is_steered=True),
        ]
        decisive = np.array([own[0] if self.by == "first_token" else own.min() for own in steered.margins])
        records = [
            {
                "id": str(index),
                "input": task.input,
                "output": task.output,
                "right_unsteered": bool(before[index]),
                "right_steered": bool(right[index]),
                "margins_unsteered": bare.margins[index].tolist(),
                "margins_steered": steered.margins[index].tolist(),
            }
            for index, task in enumerate(sample.units)
        ]
        return Measurement(
            sample=sample,
            values=right.astype(float),
            estimator=Share(),
            statistic="first-token accuracy" if self.by == "first_token" else "exact accuracy",
            probes=steered.probes,
            moved=lambda floor: float((abs(decisive) < math.sqrt(2) * floor.score).mean()),
            asked=asked_as_text(ask.model, steered.probes[0]),
            details={"by": self.by, "accuracies": accuracies, "tasks": records},
            compared=Compared(tasks=convert(accuracies, tuple[ComparedTask, ...])),
        )

    def judge(self, ask: Ask, measured: Measurement) -> Judgement:
        judgement = super().judge(ask, measured)
        is_planned = measured.entries.clusters is None  # a share has no plan for units in clusters
        return judgement if is_planned else replace(judgement, items_needed=None)

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, Any]:
        """Random directions of equal norm on at most 32 tasks, where the claim did not pass and accuracy is not proven to move."""
        before, right = (
            np.array([one[key] for one in measured.details["tasks"]]) for key in ("right_unsteered", "right_steered")
        )
        lost, gained = int((before & ~right).sum()), int((right & ~before).sum())
        moved = paired_share_difference(lost, gained, len(right), confidence=self.confidence)
        if judgement.verdict is Verdict.PASS or not moved.low <= 0 <= moved.high or not can_have_controls(ask.subject):
            return {}
        tasks, stride = measured.sample.units, stride_of(len(right))
        drawn = directions_like(ask.subject, CONTROLS, self.seed)
        asked = {str(number): (direction, ask.subject.multiplier) for number, direction in drawn.items()}
        how = self._shown(self.n_shots, self.shuffled) | {"demonstrations": self.demonstrations or tasks}
        shares = [float(self._right(one).mean()) for one in ask.tasks(tasks[::stride], asked, **how).values()]
        own = float(right[::stride].mean())
        return {
            "controls": {
                "count": len(shares),
                "seed": self.seed,
                "n": len(tasks[::stride]),
                "accuracy": own,
                "accuracies": shares,
                "p": (1 + sum(share >= own for share in shares)) / (1 + len(shares)),
            }
        }

    def _right(self, found: TaskAccuracy) -> Flags:
        return found.first_token if self.by == "first_token" else found.exact

    def _shown(self, n_shots: int, shuffled: bool) -> dict[str, Any]:
        return {"n_shots": n_shots, "shuffled": shuffled, "demonstrations": self.demonstrations, "seed": self.seed}

    def _baselines(self, ask: Ask, tasks: Tasks, bare: TaskAccuracy) -> list[dict[str, Any]]:
        """The unsteered model's records: zero-shot, few-shot with right and with shuffled outputs, and in the claim's own setting."""
        own = (self.n_shots, self.shuffled)
        records = []
        for setting in dict.fromkeys([(0, False), (self.baseline_n_shots, False), (self.baseline_n_shots, True), own]):
            found: TaskAccuracy | None = bare
            note = None
            if setting != own:
                try:
                    found = ask.tasks(tasks, {"unsteered": (None, 0.0)}, **self._shown(*setting))["unsteered"]
                except DataError as error:  # too few pairs, or too long a prompt: the claim itself does not need it
                    found, note = None, f"left out: {error}"
            records.append(_record(*setting, found, note=note))
        return records

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        if found := evidence.details.get("controls"):
            shares = found["accuracies"]
            yield Line(
                f"controls: {found['count']} random directions of equal norm, on {found['n']} tasks, have accuracy {min(shares):.2f} to "
                f"{max(shares):.2f}; the vector's, {found['accuracy']:.2f}, is {show.rank_of(found)}"
            )

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        details = evidence.details
        by, accuracies = details["by"], details["accuracies"]
        rows = [
            [
                one["setting"],
                str(one["n"] or "-"),
                *("-" if one[key] is None else f"{one[key]:.2f}" for key in ("first_token", "exact")),
                one["note"] or "",
            ]
            for one in accuracies
        ]
        yield Table(rows, ["", "n", "first token", "exact", ""], title="accuracy")
        assert evidence.estimate is not None
        judged = Estimate("steered, judged", evidence.estimate, evidence.interval, evidence.n, evidence.verdict.value)
        yield Intervals(
            [judged, *(Estimate(one["setting"], one[by], n=one["n"]) for one in accuracies if one[by] is not None)],
            evidence.statistic,
            promised=show.promised_in(evidence),
            title="Accuracy",
            is_drawing=True,
            about=f"Share of right answers by the {'first token' if by == 'first_token' else 'whole answer'}.",
        )
        yield from _wrong_answers(details["tasks"], by == "first_token")


assert_performs_task = assertion(PerformsTask)


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


def _wrong_answers(tasks: list[dict[str, Any]], by_first: bool) -> list[Block]:
    """The wrong answers that are furthest from right: which token is not the likeliest, and by how much."""
    wrong = [task for task in tasks if not task["right_steered"]]

    def distance(task: dict[str, Any]) -> float:
        margins: list[float] = task["margins_steered"]
        return margins[0] if by_first else min(margins)

    def item(task: dict[str, Any]) -> Entry:
        margins = task["margins_steered"]
        at = 0 if by_first else next(at for at, margin in enumerate(margins) if not margin > 0)
        what = "its end" if at == len(margins) - 1 else f"token {at + 1} of {len(margins) - 1}"
        unsteered = "right" if task["right_unsteered"] else "wrong"
        words = f"{what} is {-margins[at]:.2f} logits below the likeliest token; {unsteered} unsteered"
        return Entry(task["id"], distance(task), words, task["input"], [Excerpt("right", task["output"])])

    return show.items_block(
        map(item, sorted(wrong, key=distance)), title=f"worst of the {len(wrong)} wrong answers", value="margin"
    )
