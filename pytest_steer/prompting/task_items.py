"""From pairs of a task to contrast items and back, so that every method and every measure can be put on the same ground."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from ..errors import DataError
from .contexts import Context
from .items import ContrastItem, Items
from .tasks import TaskItem

TASK_TEMPLATE = "Q: {question}\nA: "
IN_TASK_FORM = Context(template=TASK_TEMPLATE)
"""The context in which a task is asked: the prompt of Todd et al. (2023, arXiv 2310.15213); ``few_shot`` and ``history`` give
demonstrations, in the form of ``tasks.shots``."""


def task_items(tasks: Sequence[TaskItem], *, seed: int = 0, source: str = "tasks") -> Items:
    """Contrast items of a task: the input with its output as matching, and the output of another pair as not matching, answer.

    Ask them in ``IN_TASK_FORM``.

    Args:
        seed: of which other output is drawn; pairs of one output are no alternatives to each other.
        source: where the pairs come from, for messages.

    Raises:
        DataError: all pairs have the same output.
    """
    draw = random.Random(seed)
    outputs = [item.output.strip() for item in tasks]
    found = []
    for index, item in enumerate(tasks):
        others = sorted({output for output in outputs if output.casefold() != outputs[index].casefold()})
        if not others:
            raise DataError(f"{source}: every pair has the output {outputs[index]!r}, so there is no wrong answer to draw")
        found.append(ContrastItem(item.input.strip(), outputs[index], draw.choice(others), id=str(index)))  # type: ignore[arg-type]
    return Items(found, source)


def items_as_tasks(items: Iterable[ContrastItem]) -> tuple[TaskItem, ...]:
    """Contrast items as demonstrations of their behaviour: question -> (first) matching answer."""
    return tuple(TaskItem(item.question.strip(), item.matching[0].strip()) for item in items)
