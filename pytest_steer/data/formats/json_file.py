"""JSON and JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError
from .kinds import data_format
from .shapes import show
from .text import read_text

_WRAPPERS = ("items", "data")


@data_format("jsonl", suffixes=[".jsonl"])
def read_lines(file: Path) -> Iterator[tuple[str, Any]]:
    """One entry per line, as JSON."""
    for number, line in enumerate(read_text(file).split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _parsed(line, number)


@data_format("json", suffixes=[".json"])
def read(file: Path) -> Iterator[tuple[str, Any]]:
    """A list of entries, an object that has it under items or data, or two lists of texts."""
    content, where = _parsed(read_text(file)), "item {}"
    if isinstance(content, dict):
        # The entries stand under a key, and what stands beside it describes them.
        wrapper = next((key for key in _WRAPPERS if isinstance(content.get(key), list)), None)
        if wrapper is not None:
            content, where = content[wrapper], wrapper + "[{}]"
        elif {"positive", "negative"} <= content.keys():
            content = [content]
    if not isinstance(content, list):
        raise DataError(
            f'expected a list of entries, {{"items": [entries]}} or {{"positive": [texts], "negative": [texts]}}, found {show(content)}'
        )
    for index, entry in enumerate(content):
        yield where.format(index), entry


def _parsed(text: str, line: int | None = None) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        reason, number = "nested too deeply", line
    except ValueError as error:
        reason, number = getattr(error, "msg", str(error)), line or getattr(error, "lineno", None)
    cure = (
        ". One entry per line is JSON Lines: give the file the suffix .jsonl"
        if reason == "Extra data" and line is None
        else ""
    )
    raise DataError(f"{f'line {number}: ' if number else ''}is not valid JSON: {reason}{cure}")
