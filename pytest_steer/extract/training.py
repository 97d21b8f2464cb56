"""The training data of a method: contrast items, pairs of a task or two lists of texts, told apart by what is in their file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..core.errors import DataError
from ..core.sources import shown
from ..data import Items, TaskItem, Tasks, items_as_tasks, read_contrast_texts, read_items, read_tasks, task_items
from ..data.formats import entries, is_contrast_texts
from ..data.formats.shapes import item_columns
from ..data.tasks import task_columns
from ..prompting import AS_GIVEN, IN_TASK_FORM, Context

Columns = Mapping[str, str]
Texts = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Training:
    """The training data of one extraction.

    Attributes:
        data: contrast items, (positive texts, negative texts) or pairs of a task, as the file holds them.
        file: the file, for messages.
        seed: of the wrong answers that pairs of a task get where contrast items are needed.
    """

    data: Items | Texts | Tasks
    file: Path
    seed: int

    @property
    def context(self) -> Context:
        """How the items of :meth:`contrast` and :meth:`items` are to be asked."""
        return IN_TASK_FORM if isinstance(self.data, Tasks) else AS_GIVEN

    def contrast(self, method: str) -> Items | Texts:
        """Contrast items, also those of the pairs of a task, or (positive texts, negative texts).

        Raises:
            DataError: pairs that all have one output.
        """
        return self.data if isinstance(self.data, tuple) else self.items(method)

    def items(self, method: str) -> Items:
        """Contrast items; of the pairs of a task, each with another pair's output as the answer that does not match.

        Raises:
            DataError: the file holds texts, or pairs that all have one output.
        """
        if isinstance(self.data, Items):
            return self.data
        if isinstance(self.data, Tasks):
            return task_items(self.data, seed=self.seed, source=shown(self.file))
        raise DataError(
            f"{self.file}: holds texts, and {method} compares two answers to one question. To make a vector of texts, write "
            f"method: mean_difference; {method} takes contrast items ({{question, answer_matching_behavior, "
            "answer_not_matching_behavior}) or pairs of a task ({input, output})"
        )

    def demonstrations(self, method: str) -> Tasks:
        """Pairs of input and output: of contrast items question -> matching answer, of texts negative -> positive, by place.

        Raises:
            DataError: texts that are not paired.
        """
        if isinstance(self.data, Tasks):
            return self.data
        if isinstance(self.data, Items):
            return items_as_tasks(self.data)
        positive, negative = self.data
        if len(positive) != len(negative):
            raise DataError(
                f"{self.file}: {method} takes texts as demonstrations, negative text i -> positive text i, but there are "
                f"{len(negative)} negative and {len(positive)} positive ones: bring as many of each, or contrast items, or pairs of "
                "a task ({input, output})"
            )
        return Tasks(TaskItem(before, after) for before, after in zip(negative, positive, strict=True))


def read_training(file: Path, seed: int, columns: Columns | None = None) -> Training:
    """The data of a file, told apart by what is in it.

    Args:
        columns: what its columns are called, where they have other names.

    Raises:
        DataError: it holds neither contrast items, nor pairs of a task, nor two lists of texts.
    """
    if holds_tasks(file, columns):
        return Training(read_tasks(file, columns=columns), file, seed)
    return Training(contrast_data(file, columns), file, seed)


def contrast_data(file: Path, columns: Columns | None = None) -> Items | Texts:
    """Contrast items, or (positive texts, negative texts), whichever the file holds.

    Raises:
        DataError: it holds neither.
    """
    if is_contrast_texts(next(entries(file), (None, None))[1]):
        return read_contrast_texts(file)
    return read_items(file, columns=columns)


def holds_items(file: Path, columns: Columns | None = None) -> bool:
    """Whether the first entry of a file is neither a pair of a task nor a contrast text, so that the file is read as contrast items."""
    return not holds_tasks(file, columns) and not is_contrast_texts(next(entries(file), (None, None))[1])


def holds_tasks(file: Path, columns: Columns | None = None) -> bool:
    """Whether the first entry of a file has an input and an output."""
    try:
        first = next(entries(file), None)
    except DataError:
        return False  # for which the file's own reader has better words
    if first is None or not isinstance(first[1], dict):
        return False
    named = item_columns(columns or {})
    if named is not None and named[0] in first[1]:
        return False
    return set(task_columns(columns or {})) <= set(first[1])


def shuffled(training: Training, *, seed: int) -> Training:
    """The same pairs, in a random half of which the two sides are swapped. Texts that are not paired are dealt out again.

    Raises:
        DataError: pairs of a task, which have no second side.
    """
    generator, data = np.random.default_rng(seed), training.data
    if isinstance(data, Tasks):
        raise DataError("pairs of a task have an output and no second side, so there are no labels to shuffle: use `random`")
    if isinstance(data, Items):
        turned = [
            replace(item, matching=item.not_matching, not_matching=item.matching) if flip else item
            for item, flip in zip(data, _half(len(data), generator), strict=True)
        ]
        return replace(training, data=type(data)(turned, data.source))
    positive, negative = data
    if len(positive) == len(negative):
        flips = _half(len(positive), generator)
        pairs = [(b, a) if flip else (a, b) for a, b, flip in zip(positive, negative, flips, strict=True)]
        return replace(training, data=([a for a, _ in pairs], [b for _, b in pairs]))
    together = [*positive, *negative]
    dealt = [together[int(index)] for index in generator.permutation(len(together))]
    return replace(training, data=(dealt[: len(positive)], dealt[len(positive) :]))


def _half(count: int, generator: np.random.Generator) -> list[bool]:
    flips = np.zeros(count, dtype=bool)
    flips[generator.permutation(count)[: count // 2]] = True
    return [bool(flip) for flip in flips]
