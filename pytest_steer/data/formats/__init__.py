"""Readers of the files in which the field keeps contrast items and texts.

One module per file format registers its reader (``json_file.py``, ``csv_file.py``, ``parquet_file.py``), which takes the file apart.
``shapes.py`` makes contrast items and texts of entries, by the names that a user gives to them; ``open_assistant.py`` makes texts.
``docs/data.md`` has the table of shapes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from ...core.errors import DataError
from ...core.evidence import Json
from ...core.file_formats import suffixes_of
from ...core.registry import discover
from ...core.sources import BUILTIN_FOLDER
from ..items import Items
from ..texts import Rule, TextLike, Texts
from ..texts import leave_out as without
from .entries import data_format, each_made, entries, file_of, has_entries, read_again, text_lines
from .open_assistant import best_replies, is_open_assistant
from .shapes import TEXT, check_columns, item_of, show, text_of

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

    def rows() -> Iterator[tuple[str, Any]]:
        for where, entry in entries(file):
            if is_contrast_texts(entry):
                raise DataError(
                    f"{file}: expected a list of contrast items, found two lists of texts, which make a vector and test none"
                )
            yield where, entry

    items = each_made(rows(), file, lambda entry, number: item_of(entry, number, names), "items")
    return Items(items, str(path), read_again("read_items", path, names))


def read_texts(
    path: str | PathLike[str],
    *,
    column: str | None = None,
    columns: Mapping[str, str] | None = None,
    language: str | None = None,
    best: int | None = None,
    first_turns: bool | None = None,
    leave_out: Rule | None = None,
) -> Texts:
    """Read texts: plain ones, or completions with their prompts.

    Plain texts are the lines of a text file (blank ones are skipped), a JSON list of strings, or a column of a table or of JSON objects.
    Completions are entries of ``{prompt, completion}`` or other usual names, see docs/data.md; of OpenAssistant's messages these are the
    best-rated replies. ``builtin:neutral`` is the corpus that is shipped.

    Args:
        column: where plain texts of a CSV, TSV or Parquet file, or of JSON objects, stand; ``text`` if there is one of that name.
        columns: names of another shape: ``{"text": ...}``, or ``{"prompt": ..., "completion": ...}``, and ``id``.
        language / best / first_turns: of OpenAssistant's messages, which replies: ``en``, 128 and False without it; see
            ``open_assistant.best_replies``.
        leave_out: the rule by which texts are left out, see :func:`leave_out`.

    Returns:
        A sequence of ``str`` and :class:`Completion` that also knows the texts' ids and what was left out.

    Raises:
        DataError: the file is missing, is not valid, holds no text, an entry is not a text, or it is not said which column of a table
            holds the texts; or the rule cannot be used.
    """
    file = file_of(path)
    if best is not None and (isinstance(best, bool) or not isinstance(best, int) or best < 1):
        raise DataError(f"best is how many replies are read, from 1 on, not {best!r}")
    names = check_columns(columns) | ({} if column is None else {"text": column})
    settings = {"language": language, "best": best, "first_turns": first_turns}
    chosen = {name: value for name, value in settings.items() if value is not None}
    texts = _texts_of(file, names, chosen).called_by(str(path))
    if leave_out is None:
        return texts
    try:
        return without(texts, leave_out)
    except DataError as error:
        raise DataError(f"{file}: {error}") from None


def _texts_of(file: Path, names: Mapping[str, str], chosen: Json) -> Texts:
    own = {name: where for name, where in names.items() if name in (*TEXT, "id")}
    if not has_entries(file):
        if own.keys() - {"id"}:
            raise DataError(
                f"{file}: is read as a text file, one text per line, which has no column {next(iter(own.values()))!r}. Delete it, or give "
                f"the file the suffix of what it is ({', '.join(suffixes_of('data format'))})"
            )
        found = Texts(text_lines(file))
    else:
        rows = entries(file)
        first = next(rows, None)
        every = itertools.chain([] if first is None else [first], rows)
        if first is not None and is_open_assistant(first[1]):
            try:
                return best_replies(every, **chosen)
            except DataError as error:
                raise DataError(f"{file}: {str(error).removeprefix(f'{file}: ')}") from None
        found = _entries_as_texts(file, every, own)
    if not found:
        raise DataError(f"{file}: the file holds no texts")
    if chosen:
        raise DataError(
            f"{file}: {next(iter(chosen))} chooses among the messages of OpenAssistant, and this file holds none. Delete it"
        )
    return found


def _entries_as_texts(file: Path, rows: Iterable[tuple[str, Any]], names: Mapping[str, str]) -> Texts:
    def made(entry: Any, number: str) -> tuple[TextLike, str]:
        identity = entry.get(names.get("id", "id")) if isinstance(entry, dict) else None
        return text_of(entry, names), number if identity is None else str(identity)

    found = each_made(rows, file, made)
    return Texts([text for text, _ in found], [own for _, own in found])


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


Reading = Literal["open", "lettered"]

SAFETY_SUITE = ("safety_refuses", "safety_answers")
"""Of the first the matching answer refuses, of the second it helps; see docs/builtin-corpus.md."""

_OPEN = {"question": "request", "matching": "open_matching", "not_matching": "open_not_matching"}


def safety_items(reading: Reading = "open") -> dict[str, Items]:
    """The shipped safety items by the name of their file.

    Args:
        reading: ``open``: the request alone, and the answers in words. ``lettered``: the request with two options, answered by a
            letter.

    Raises:
        DataError: an unknown reading.
    """
    if reading not in get_args(Reading):
        raise DataError(f"safety items are read as {' or '.join(get_args(Reading))}, not {reading!r}")
    columns = _OPEN if reading == "open" else None
    suite = {name: read_items(BUILTIN_FOLDER / f"{name}.json", columns=columns) for name in SAFETY_SUITE}
    return {
        name: Items(items, f"{name} ({reading})", f"safety_items({reading!r})[{name!r}]") for name, items in suite.items()
    }
