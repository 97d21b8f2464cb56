"""JSON and JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError
from .kinds import data_format
from .shapes import show

_WRAPPERS = ("items", "data")


@data_format("jsonl", suffixes=[".jsonl"])
def read_lines(file: Path) -> Iterator[tuple[str, Any]]:
    """One entry per line, as JSON."""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            yield f"line {number}", _parsed(line, f"line {number}: ")


@data_format("json", suffixes=[".json"])
def read(file: Path) -> Iterator[tuple[str, Any]]:
    """A list of entries, an object that has it under items or data, or two lists of texts."""
    content, where = _parsed(file.read_text(encoding="utf-8-sig")), "item {}"
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


def _parsed(text: str, where: str = "") -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        # Within a line, the line that Python counts is always the first.
        reason = getattr(error, "msg", error) if where else error
        is_lines = not where and "Extra data" in str(error)
        hint = ". One entry per line is JSON Lines: give the file the suffix .jsonl" if is_lines else ""
        raise DataError(f"{where}is not valid JSON: {reason}{hint}") from None
