"""A data file taken apart into its entries, each with the words that say where it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError
from .shapes import show
from .tables import is_table, parquet_rows, table_rows

_WRAPPERS = ("items", "data")


def entries(file: Path, noun: str = "item") -> Iterator[tuple[str, Any]]:
    """Each entry of a JSON list, a JSON object that wraps one, JSON Lines, or a table, with where it stands.

    Args:
        noun: what an entry of a JSON list is called.

    Raises:
        DataError: the file is missing, cannot be read, or is not valid.
    """
    suffix = file.suffix.lower()
    if suffix == ".jsonl":
        for number, line in enumerate(read_text(file).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{file}: line {number}: is not valid JSON: {error}") from None
    elif suffix == ".parquet":
        yield from parquet_rows(file)
    elif is_table(file):
        yield from table_rows(file, read_text(file))
    elif suffix == ".json":
        yield from _listed(file, noun)
    else:
        raise DataError(f"{file}: cannot tell what is in a '{suffix}' file; use .json, .jsonl, .csv, .tsv or .parquet")


def _listed(file: Path, noun: str) -> Iterator[tuple[str, Any]]:
    content, where = read_json(file), noun + " {}"
    if isinstance(content, dict):
        # The entries stand under a key, and what stands beside it describes them.
        wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), list)), None)
        if wrapper is not None:
            content, where = content[wrapper], wrapper + "[{}]"
    if not isinstance(content, list):
        raise DataError(f'{file}: expected a list of entries, or {{"items": [entries]}}, found {show(content)}')
    for index, entry in enumerate(content):
        yield where.format(index), entry


def read_lines(file: Path) -> list[str]:
    """The lines of a text file that are not blank, without the spaces around them."""
    return [line.strip() for line in read_text(file).splitlines() if line.strip()]


def read_text(file: Path) -> str:
    """The content of a text file.

    Raises:
        DataError: missing, a folder, not UTF-8, or unreadable.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{file}: is a folder, not a file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DataError: it cannot be read, or is not valid.
    """
    try:
        return json.loads(read_text(file))
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        what = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error))
        cure = ". One entry per line is JSON Lines: give the file the suffix .jsonl" if what == "Extra data" else ""
        raise DataError(f"{file}{line}: is not valid JSON: {what}{cure}") from None
