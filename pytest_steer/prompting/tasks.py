"""Task items for in-context learning: an input and the output that a function gives for it."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import DataError


@dataclass(frozen=True)
class TaskItem:
    """One pair of a task, such as ("hot", "cold") of antonyms.

    Raises:
        DataError: the input or the output is empty.
    """

    input: str
    output: str

    def __post_init__(self) -> None:
        for name in ("input", "output"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value.strip():
                raise DataError(f"the {name} of a task item has to be a text that is not empty, not {value!r}")


def read_tasks(path: str | PathLike[str]) -> tuple[TaskItem, ...]:
    """Reads the field's files of functional tasks: a JSON list, JSON Lines or CSV of {input, output}.

    An output that is a list of texts (several right answers) stands for its first. Numbers are read as text.

    Raises:
        DataError: the file is missing, is not valid, holds no pairs, or one of its entries is wrong.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: cannot be read: {error}") from None
    found = []
    for where, entry in _entries(file, text):
        try:
            found.append(_task(entry))
        except DataError as error:
            raise DataError(f"{file}: {where}: {error}") from None
    if not found:
        raise DataError(f"{file}: the file holds no pairs of input and output")
    return tuple(found)


def tasks_hash(tasks: Sequence[TaskItem]) -> str:
    """SHA-256 of the pairs, in order."""
    content = json.dumps([[item.input, item.output] for item in tasks], ensure_ascii=False)
    return hashlib.sha256(content.encode()).hexdigest()


def task_hashes(tasks: Sequence[TaskItem]) -> list[str]:
    """A short hash of each pair's input, that of ``Items.item_hashes`` for the question that ``task_items`` makes of it."""
    return [hashlib.sha256(item.input.strip().encode()).hexdigest()[:16] for item in tasks]


def shots(demonstrations: Sequence[TaskItem], query: str) -> str:
    """The prompt of Todd et al. (2023, arXiv 2310.15213): "Q: input", "A: output", a blank line; then the query, "A:" open.

    The output follows with a space before it.
    """
    shown = "".join(f"Q: {item.input.strip()}\nA: {item.output.strip()}\n\n" for item in demonstrations)
    return f"{shown}Q: {query.strip()}\nA:"


def _entries(file: Path, text: str) -> list[tuple[str, Any]]:
    suffix = file.suffix.lower()
    try:
        if suffix == ".csv":
            return [(f"line {number}", row) for number, row in enumerate(csv.DictReader(io.StringIO(text)), 2)]
        if suffix == ".jsonl":
            lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
            return [(f"line {number}", json.loads(line)) for number, line in lines]
        data = json.loads(text)
    except (ValueError, RecursionError, csv.Error) as error:
        raise DataError(f"{file}: is not valid {suffix.lstrip('.') or 'json'}: {error}") from None
    if not isinstance(data, list):
        raise DataError(f"{file}: expected a list of {{input, output}}, found {type(data).__name__}")
    return [(f"entry {index}", entry) for index, entry in enumerate(data)]


def _task(entry: Any) -> TaskItem:
    if not isinstance(entry, dict) or not {"input", "output"} <= set(entry):
        contrast = isinstance(entry, dict) and (
            {"question", "prompt"} & set(entry) or {"positive", "negative"} <= set(entry)
        )
        also = "; this looks like a contrast item, which is no pair of a task" if contrast else ""
        raise DataError(f"expected an object with 'input' and 'output'{also}")
    output = entry["output"]
    if isinstance(output, list) and output:
        output = output[0]
    return TaskItem(_text(entry["input"]), _text(output))


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
