"""Pairs of a task for in-context learning: an input and the output that a function gives for it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from ..core.errors import DataError
from .formats.entries import each_made, entries, file_of
from .formats.shapes import check_columns, others_of
from .items import ContrastItem, Items
from .likeness import normal_form
from .units import Units


@dataclass(frozen=True)
class TaskItem:
    """One pair of a task, such as ("hot", "cold") of antonyms.

    Attributes:
        meta: what else its entry holds, such as the key that ``cluster`` names.

    Raises:
        DataError: the input or the output is empty.
    """

    input: str
    output: str
    meta: dict[str, object] = field(default_factory=dict, compare=False, hash=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"the {name} of a task item has to be a text that is not empty, not {value!r}")

    @property
    def form(self) -> tuple[str, ...]:
        """The normal form; pairs of one form are one pair."""
        return normal_form(self.input), normal_form(self.output)


class Tasks(Units[TaskItem]):
    """Pairs of a task. Those of one input belong together."""

    called, one, shown_as = "tasks", "pair", "pairs of a task"

    def content_of(self, entry: TaskItem) -> object:
        return [entry.input, entry.output]

    def together(self) -> Sequence[Hashable]:
        return [form[0] for form in self.forms]

    def name_of(self, place: int) -> str:
        return f"pair {place} ({self[place].input!r})"


def as_tasks(tasks: Iterable[TaskItem], source: str = "") -> Tasks:
    """Pairs of a task from any iterable of TaskItem.

    Args:
        source: where they come from, for messages; by default what they say themselves.

    Raises:
        DataError: there are none, or one is something else.
    """
    found = Tasks(tasks, source or getattr(tasks, "source", ""))
    if not found:
        raise DataError(f"{found.source}: a list of at least one TaskItem is needed; read_tasks(path) reads one from a file")
    for index, item in enumerate(found):
        if not isinstance(item, TaskItem):
            raise DataError(
                f"{found.source}: item {index} is a {type(item).__name__}, not a TaskItem: read a file with read_tasks(path), build "
                "TaskItem(input=..., output=...), or turn contrast items into tasks with prompting.items_as_tasks"
            )
    return found


def read_tasks(path: str | PathLike[str], *, columns: Mapping[str, str] | None = None) -> Tasks:
    """Read files of functional tasks: a JSON list, JSON Lines or a table of {input, output}.

    Of an output that is a list of texts (several right answers), the first is read. Numbers are read as text.

    Args:
        columns: other names of the two, ``{"input": "word", "output": "opposite"}``.

    Raises:
        DataError: the file is missing, is not valid, holds no pairs, or one of its entries is wrong.
    """
    file, names = file_of(path), task_columns(check_columns(columns))
    found = each_made(entries(file), file, lambda entry, _: _task(entry, names), "pairs of input and output")
    return Tasks(found, str(path))


def task_columns(columns: Mapping[str, str]) -> tuple[str, str]:
    """Where input and output stand."""
    return columns.get("input", "input"), columns.get("output", "output")


def shots(demonstrations: Sequence[TaskItem], query: str) -> str:
    """The prompt of Todd et al. (2023, arXiv 2310.15213): "Q: input", "A: output", a blank line; then the query, "A:" open.

    The output follows with a space before it.
    """
    shown = "".join(f"Q: {item.input.strip()}\nA: {item.output.strip()}\n\n" for item in demonstrations)
    return f"{shown}Q: {query.strip()}\nA:"


def _task(entry: Any, names: tuple[str, str]) -> TaskItem:
    if not isinstance(entry, dict) or not set(names) <= set(entry):
        contrast = isinstance(entry, dict) and (
            {"question", "prompt"} & set(entry) or {"positive", "negative"} <= set(entry)
        )
        also = "; this looks like a contrast item, which is no pair of a task" if contrast else ""
        there = f"; found {sorted(map(str, entry))}" if isinstance(entry, dict) and not contrast else also
        raise DataError(f"expected an object with {names[0]!r} and {names[1]!r}{there}")
    output = entry[names[1]]
    if isinstance(output, list) and output:
        output = output[0]
    return TaskItem(_text(entry[names[0]]), _text(output), others_of(entry, names))


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


# --- from pairs of a task to contrast items and back ---


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


def items_as_tasks(items: Iterable[ContrastItem]) -> Tasks:
    """Contrast items as demonstrations of their behaviour: question -> (first) matching answer."""
    return Tasks(TaskItem(item.question.strip(), item.matching[0].strip()) for item in items)


# --- which pairs are shown before a query, and with which outputs ---


def draw_demonstrations(
    query: TaskItem, pool: Sequence[TaskItem], shots: int, *, shuffled: bool = False, seed: int = 0
) -> tuple[TaskItem, ...]:
    """Pairs to show before a query, all different, in a random order.

    What is drawn depends on the query, the seed and which pairs there are, and neither on their order nor on other queries.

    Args:
        pool: what they are drawn from; the query itself, and pairs with the input of the query, are passed over.
        shuffled: shuffle their outputs, see :func:`deal_anew`.

    Raises:
        DataError: the pool has fewer such pairs.
    """
    if not shots:
        return ()
    others = {(item.input.strip(), item.output.strip()) for item in pool if item.input.strip() != query.input.strip()}
    if len(others) < shots:
        raise DataError(
            f"task item {query.input!r}: {shots} demonstrations are asked for, but there are only {len(others)} other pairs to "
            "draw from: ask for fewer shots, or name more pairs"
        )
    content = repr((seed, shots, query.input.strip(), query.output.strip()))
    draw = random.Random(hashlib.sha256(content.encode()).digest())
    shown = [TaskItem(*pair) for pair in draw.sample(sorted(others), shots)]
    return deal_anew(shown, draw) if shuffled else tuple(shown)


def deal_anew(shown: Sequence[TaskItem], draw: random.Random) -> tuple[TaskItem, ...]:
    """Shuffle the outputs of demonstrations, so that as few as possible keep their own.

    None does unless one output is that of more than half of them. The field (Todd et al. 2023, arXiv 2310.15213, section 2.3;
    ``extract.fv`` too) deals them out at random, so that some demonstrations may stay right and the shuffled baseline is a little
    too good.
    """
    order = list(range(len(shown)))
    draw.shuffle(order)
    # Those of one output side by side; then each takes the output that stands one block further on.
    first: dict[str, int] = {}
    for place, index in enumerate(order):
        first.setdefault(shown[index].output.strip(), place)
    order.sort(key=lambda index: first[shown[index].output.strip()])  # stable
    outputs = [shown[index].output for index in order]
    step = max((sum(shown[index].output.strip() == output for index in order) for output in first), default=0)
    dealt = list(shown)
    for place, index in enumerate(order):
        dealt[index] = TaskItem(shown[index].input, outputs[(place + step) % len(outputs)])
    return tuple(dealt)
