"""The data of a file: contrast items, pairs of a task or two lists of texts, told apart by what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pytest_steer.data import Items, read_contrast_texts, read_items, read_tasks, task_items
from pytest_steer.data.formats import entries, is_contrast_texts
from pytest_steer.data.formats.shapes import item_columns
from pytest_steer.data.tasks import task_columns
from pytest_steer.errors import DataError
from pytest_steer.extract import Training
from pytest_steer.extract.kinds import Texts
from pytest_steer.prompting import AS_GIVEN, IN_TASK_FORM, Context
from pytest_steer.sources import shown

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
