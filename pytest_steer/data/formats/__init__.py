"""Readers of the files in which the field keeps contrast items and texts.

``entries.py`` takes a file apart (JSON, JSON Lines, CSV, TSV, Parquet), ``shapes.py`` and ``preferences.py`` make a contrast item of
an entry, ``columns.py`` holds the names that a user gives to them. ``docs/data.md`` has the table of shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path

from ...errors import DataError
from ..items import Items
from .columns import check_columns
from .entries import entries, read_json, read_lines
from .shapes import item_of, show
from .tables import is_table

__all__ = ["read_contrast_texts", "read_items", "read_texts"]


def read_items(path: str | PathLike[str], *, columns: Mapping[str, str] | None = None) -> Items:
    """Reads contrast items from a JSON, JSON Lines, CSV, TSV or Parquet file in any of the known shapes.

    Args:
        columns: names of another shape, ``{"question": "q", "matching": "good", "not_matching": "bad"}``, and ``id``.

    Raises:
        DataError: the file is missing, is not valid, holds no items, or one of its entries is wrong. The message
            has the line (JSON Lines, CSV), the row (Parquet) or the index (JSON) of the entry.
    """
    file, names = Path(path), check_columns(columns)
    items = []
    for number, (where, entry) in enumerate(entries(file)):
        try:
            items.append(item_of(entry, str(number), names))
        except DataError as error:
            raise DataError(f"{file}: {where}: {error}") from None
    if not items:
        raise DataError(f"{file}: the file holds no items")
    given = f", columns={names!r}" if names else ""
    return Items(items, str(path), f"read_items({str(path)!r}{given})")


def read_texts(path: str | PathLike[str], *, column: str | None = None) -> list[str]:
    """Reads texts: one per line of a text file, a JSON list of strings, or a column of a table or of JSON objects.

    Blank lines of a text file are skipped.

    Args:
        column: where the texts of a CSV, TSV or Parquet file, or of JSON objects, stand; ``text`` if there is one of that name.

    Raises:
        DataError: the file is missing, is not valid, holds no text, an entry is not a text, or a table does not say which of its
            columns holds the texts.
    """
    file = Path(path)
    is_json = file.suffix.lower() in {".json", ".jsonl"}
    if not is_table(file) and not is_json:
        if column is not None:
            raise DataError(
                f"{file}: is read as a text file, one text per line, which has no column {column!r}. Delete it, or give the file the "
                "suffix of what it is (.csv, .tsv, .json, .jsonl, .parquet)"
            )
        texts = read_lines(file)
    else:
        texts = []
        for where, entry in entries(file):
            name = column if column is not None else "text"
            if isinstance(entry, dict) and name not in entry and (column is not None or not is_json):
                raise DataError(f"{file}: {_which(name, entry, asked=column is not None)}")
            text = entry.get(name) if isinstance(entry, dict) else entry if column is None else None
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{file}: {where}: expected a text or an object with a {name!r}, found {show(entry)}")
            texts.append(text)
    if not texts:
        raise DataError(f"{file}: the file holds no texts")
    return texts


def _which(name: str, entry: dict[str, object], *, asked: bool) -> str:
    there = ", ".join(map(repr, entry))
    if asked:
        return f"there is no column {name!r}; it has {there}"
    likely = max(entry, key=lambda column: len(str(entry[column])), default="body")
    return (
        f"is a table with the columns {there}: which of them holds the texts? Say it, as `columns: {{text: {likely}}}` under `data` "
        f"(in Python read_texts(path, column={likely!r}))"
    )


def read_contrast_texts(path: str | PathLike[str]) -> tuple[list[str], list[str]]:
    """Reads ``{"positive": [texts], "negative": [texts]}`` for free-text contrast.

    Raises:
        DataError: the file is missing or not of that shape, or one side is empty.
    """
    file = Path(path)
    content = read_json(file)
    if not isinstance(content, dict) or not {"positive", "negative"} <= content.keys():
        raise DataError(f'{file}: expected an object {{"positive": [texts], "negative": [texts]}}, found {show(content)}')
    sides = []
    for side in ("positive", "negative"):
        texts = content[side]
        if not isinstance(texts, list) or not texts:
            raise DataError(f"{file}: '{side}' has to be a list with at least one text")
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{file}: {side}[{index}]: expected a text, found {show(text)}")
        sides.append(list(texts))
    return sides[0], sides[1]
