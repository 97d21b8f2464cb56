"""Which data a method of extraction is given: contrast items, pairs of a task or two lists of texts, whichever the file holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pytest_steer.data import (
    Items,
    TaskItem,
    items_as_tasks,
    read_contrast_texts,
    read_items,
    read_tasks,
    task_items,
)
from pytest_steer.data.formats.columns import item_columns
from pytest_steer.data.formats.entries import entries, read_json
from pytest_steer.data.tasks import task_columns
from pytest_steer.errors import DataError
from pytest_steer.prompting import AS_GIVEN, IN_TASK_FORM, Context
from pytest_steer.sources import shown

Texts = tuple[list[str], list[str]]
ITEMS_ONLY = ("caa", "learned")
"""Methods that compare two answers to one question, so that texts are no data for them."""


@dataclass(frozen=True)
class Training:
    """The training data of one extraction, in each of the forms that methods take. One of the first three is there.

    Attributes:
        given: contrast items, as the file holds them.
        texts: (positive texts, negative texts), as the file holds them.
        tasks: pairs of a task, as the file holds them.
        file: where they come from, for messages.
        seed: of the wrong answers that pairs of a task get where contrast items are needed.
    """

    given: Items | None
    texts: Texts | None
    tasks: tuple[TaskItem, ...] | None
    file: Path
    seed: int

    @property
    def held(self) -> Items | Texts | tuple[TaskItem, ...]:
        """The data as the file holds them."""
        found = self.given or self.texts or self.tasks
        assert found is not None  # an empty file is an error of its reader
        return found

    @property
    def context(self) -> Context:
        """How the items of :attr:`contrast` and :meth:`items` are to be asked."""
        return AS_GIVEN if self.tasks is None else IN_TASK_FORM

    @property
    def contrast(self) -> Items | Texts:
        """Contrast items, also those of the pairs of a task, or (positive texts, negative texts).

        Raises:
            DataError: pairs that all have one output.
        """
        return self.texts if self.texts is not None else self.items("")

    def items(self, method: str) -> Items:
        """Contrast items; of the pairs of a task, each with another pair's output as the answer that does not match.

        Raises:
            DataError: the file holds texts, or pairs that all have one output.
        """
        if self.given is not None:
            return self.given
        if self.tasks is not None:
            return task_items(self.tasks, seed=self.seed, source=shown(self.file))
        raise DataError(
            f"{self.file}: holds texts, and {method} compares two answers to one question: give it contrast items "
            "({question, answer_matching_behavior, answer_not_matching_behavior}) or pairs of a task ({input, output}). "
            f"Texts are taken by every other method than {' and '.join(ITEMS_ONLY)}"
        )

    @property
    def demonstrations(self) -> tuple[TaskItem, ...]:
        """Pairs of input and output: of contrast items question -> matching answer, of texts negative -> positive, by place.

        Raises:
            DataError: texts that are not paired.
        """
        if self.tasks is not None:
            return self.tasks
        if self.texts is None:
            return items_as_tasks(self.items(""))
        positive, negative = self.texts
        if len(positive) != len(negative):
            raise DataError(
                f"{self.file}: fv takes texts as demonstrations, negative text i -> positive text i, but there are "
                f"{len(negative)} negative and {len(positive)} positive ones: bring as many of each, or contrast items, or pairs of "
                "a task ({input, output})"
            )
        return tuple(TaskItem(before, after) for before, after in zip(negative, positive, strict=True))


Columns = Mapping[str, str]


def read_training(file: Path, seed: int, columns: Columns | None = None) -> Training:
    """The data of a file, told apart by what is in it.

    Args:
        columns: what its columns are called, where they have other names.

    Raises:
        DataError: it holds neither contrast items, nor pairs of a task, nor two lists of texts.
    """
    if holds_tasks(file, columns):
        return Training(None, None, read_tasks(file, columns=columns), file, seed)
    found = contrast_data(file, columns)
    if isinstance(found, Items):
        return Training(found, None, None, file, seed)
    return Training(None, found, None, file, seed)


def read_test_items(file: Path, seed: int, columns: Columns | None = None) -> tuple[Items, Context]:
    """Contrast items to measure on, and the context in which they are asked as given: pairs of a task in the form of a task.

    Raises:
        DataError: the file holds neither contrast items nor pairs of a task, or pairs that all have one output.
    """
    name, given = shown(file), f", columns={dict(columns)!r}" if columns else ""
    if not holds_tasks(file, columns):
        return Items(read_items(file, columns=columns), name, f"read_items({name!r}{given})"), AS_GIVEN
    made = task_items(read_tasks(file, columns=columns), seed=seed, source=name)
    return Items(made, name, f"task_items(read_tasks({name!r}{given}), seed={seed})"), IN_TASK_FORM


def contrast_data(file: Path, columns: Columns | None = None) -> Items | Texts:
    """Contrast items, or (positive texts, negative texts), whichever the file holds.

    Raises:
        DataError: it holds neither.
    """
    if file.suffix.lower() not in _OTHER_SUFFIXES:
        content = read_json(file)
        if isinstance(content, dict) and {"positive", "negative"} <= set(content):
            return read_contrast_texts(file)
    return read_items(file, columns=columns)


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


_OTHER_SUFFIXES = (".jsonl", ".csv", ".tsv", ".parquet")
