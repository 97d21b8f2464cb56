"""Readers of the files in which the field keeps contrast items and texts.

One module per file format registers its reader (``json_file.py``, ``csv_file.py``, ``parquet_file.py``), which takes the file apart.
``shapes.py`` and ``preferences.py`` make a contrast item of an entry, ``columns.py`` holds the names that a user gives to them.
``docs/data.md`` has the table of shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from typing import Any

from ...errors import DataError
from ...registry import discover
from ..items import Items
from .columns import check_columns
from .entries import entries, file_of, has_entries, text_lines
from .kinds import data_format
from .shapes import item_of, show

__all__ = ["data_format", "entries", "has_entries", "is_contrast_texts", "read_contrast_texts", "read_items", "read_texts"]

discover(__name__, __path__)


def read_items(path: str | PathLike[str], *, columns: Mapping[str, str] | None = None) -> Items:
    """Read contrast items from a JSON, JSON Lines, CSV, TSV or Parquet file in any of the known shapes.

    Args:
        columns: names of another shape, ``{"question": "q", "matching": "good", "not_matching": "bad"}``, and ``id``.

    Raises:
        DataError: the file is missing, is not valid, holds no items, or one of its entries is wrong. The message
            has the line (JSON Lines, CSV), the row (Parquet) or the index (JSON) of the entry.
    """
    file, names = file_of(path), check_columns(columns)
    items = []
    for number, (where, entry) in enumerate(entries(file)):
        if is_contrast_texts(entry):
            raise DataError(
                f"{file}: expected a list of contrast items, found two lists of texts, which make a vector and test none"
            )
        try:
            items.append(item_of(entry, str(number), names))
        except DataError as error:
            raise DataError(f"{file}: {where}: {error}") from None
    if not items:
        raise DataError(f"{file}: the file holds no items")
    given = f", columns={names!r}" if names else ""
    return Items(items, str(path), f"read_items({str(path)!r}{given})")


def read_texts(path: str | PathLike[str], *, column: str | None = None) -> list[str]:
    """Read texts: one per line of a text file, a JSON list of strings, or a column of a table or of JSON objects.

    Blank lines of a text file are skipped.

    Args:
        column: where the texts of a CSV, TSV or Parquet file, or of JSON objects, stand; ``text`` if there is one of that name.

    Raises:
        DataError: the file is missing, is not valid, holds no text, an entry is not a text, or it is not said which column of a table
            holds the texts.
    """
    file, name = file_of(path), column if column is not None else "text"
    texts = []
    if has_entries(file):
        for where, entry in entries(file):
            if isinstance(entry, dict) and name not in entry:
                raise DataError(f"{file}: {where}: {_which(name, entry, asked=column is not None)}")
            text = entry.get(name) if isinstance(entry, dict) else entry if column is None else None
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{file}: {where}: expected a text or an object with a {name!r}, found {show(entry)}")
            texts.append(text)
    elif column is None:
        texts = text_lines(file)
    else:
        raise DataError(
            f"{file}: is read as a text file, one text per line, which has no column {column!r}. Delete it, or give the file the "
            "suffix of what it is (.csv, .tsv, .json, .jsonl, .parquet)"
        )
    if not texts:
        raise DataError(f"{file}: the file holds no texts")
    return texts


def _which(name: str, entry: dict[str, object], *, asked: bool) -> str:
    there = ", ".join(map(repr, entry))
    if asked:
        return f"there is no column {name!r}; it has {there}"
    likely = max(entry, key=lambda column: len(str(entry[column])), default="body")
    return (
        f"has the columns {there}: which of them holds the texts? Say it, as `columns: {{text: {likely}}}` under `data` (in Python "
        f"read_texts(path, column={likely!r}))"
    )


def is_contrast_texts(entry: Any) -> bool:
    """Whether an entry is ``{"positive": [texts], "negative": [texts]}``; a contrast item of these keys has objects in them."""
    return isinstance(entry, dict) and {"positive", "negative"} <= entry.keys() and not isinstance(entry["positive"], dict)


def read_contrast_texts(path: str | PathLike[str]) -> tuple[list[str], list[str]]:
    """Read ``{"positive": [texts], "negative": [texts]}`` for free-text contrast.

    Raises:
        DataError: the file is missing or not of that shape, or one side is empty.
    """
    file = file_of(path)
    found = [entry for _, entry in entries(file)]
    if len(found) != 1 or not is_contrast_texts(found[0]):
        raise DataError(f'{file}: expected an object {{"positive": [texts], "negative": [texts]}}, found {show(found)}')
    sides = []
    for side in ("positive", "negative"):
        texts = found[0][side]
        if not isinstance(texts, list) or not texts:
            raise DataError(f"{file}: '{side}' has to be a list with at least one text")
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{file}: {side}[{index}]: expected a text, found {show(text)}")
        sides.append(list(texts))
    return sides[0], sides[1]
