"""Task items for in-context learning: an input and the output that a function gives for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from ..errors import DataError
from .formats.columns import check_columns
from .formats.entries import entries, file_of
from .likeness import hash_of, normal_form


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


def read_tasks(path: str | PathLike[str], *, columns: Mapping[str, str] | None = None) -> tuple[TaskItem, ...]:
    """Reads the field's files of functional tasks: a JSON list, JSON Lines or a table of {input, output}.

    An output that is a list of texts (several right answers) stands for its first. Numbers are read as text.

    Args:
        columns: other names of the two, ``{"input": "word", "output": "opposite"}``.

    Raises:
        DataError: the file is missing, is not valid, holds no pairs, or one of its entries is wrong.
    """
    file, names = file_of(path), task_columns(check_columns(columns))
    found = []
    for where, entry in entries(file):
        try:
            found.append(_task(entry, names))
        except DataError as error:
            raise DataError(f"{file}: {where}: {error}") from None
    if not found:
        raise DataError(f"{file}: the file holds no pairs of input and output")
    return tuple(found)


def task_columns(columns: Mapping[str, str]) -> tuple[str, str]:
    """Where input and output stand."""
    return columns.get("input", "input"), columns.get("output", "output")


def tasks_hash(tasks: Sequence[TaskItem]) -> str:
    """SHA-256 of the pairs, in order."""
    content = json.dumps([[item.input, item.output] for item in tasks], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def task_hashes(tasks: Sequence[TaskItem]) -> list[str]:
    """A short hash of each pair's input, that of ``Items.item_hashes`` for the question that ``task_items`` makes of it."""
    return [hash_of(item.input) for item in tasks]


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
    meta = {str(key): value for key, value in entry.items() if key not in names}
    return TaskItem(_text(entry[names[0]]), _text(output), meta)


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
