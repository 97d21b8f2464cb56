"""From pairs of a task to contrast items and back, so that every method and every measure can be put on the same ground."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from ..errors import DataError
from .items import ContrastItem, Items
from .likeness import normal_form
from .tasks import TaskItem


def task_items(tasks: Sequence[TaskItem], *, seed: int = 0, source: str = "tasks") -> Items:
    """Contrast items of a task: the input with its output as matching, and the output of another pair as not matching, answer.

    Ask them in ``prompting.IN_TASK_FORM``.

    Args:
        seed: of which other output is drawn. The same output, and another one of the same input, are no wrong answers. A pair that is
            there twice has one wrong answer, so that its items are the same.
        source: where the pairs come from, for messages.

    Raises:
        DataError: a pair for which there is no wrong output.
    """
    draw = random.Random(seed)
    outputs = [item.output.strip() for item in tasks]
    found = []
    drawn: dict[tuple[str, str], str] = {}
    for index, item in enumerate(tasks):
        # Another output of the same input is right too.
        right = {other.output.strip().casefold() for other in tasks if other.input.strip() == item.input.strip()}
        others = sorted({output for output in outputs if output.casefold() not in right})
        if not others:
            raise DataError(
                f"{source}: pair {index} ({item.input!r}): no pair has another output than {outputs[index]!r}, so there is no wrong "
                "answer to draw"
            )
        wrong = draw.choice(others)
        wrong = drawn.setdefault((normal_form(item.input), normal_form(item.output)), wrong)
        found.append(ContrastItem(item.input.strip(), (outputs[index],), (wrong,), str(index), item.meta))
    return Items(found, source)


def items_as_tasks(items: Iterable[ContrastItem]) -> tuple[TaskItem, ...]:
    """Contrast items as demonstrations of their behaviour: question -> (first) matching answer."""
    return tuple(TaskItem(item.question.strip(), item.matching[0].strip()) for item in items)
