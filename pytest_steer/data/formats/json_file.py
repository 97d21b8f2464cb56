"""JSON and JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...core.errors import DataError
from ...core.evidence import Json
from .entries import data_format
from .shapes import show

_WRAPPERS = ("items", "data")


@data_format("jsonl", suffixes=[".jsonl"])
def read_lines(file: Path) -> Iterator[tuple[str, Any]]:
    """One entry per line, as JSON."""
    for number, line in enumerate(file.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if line.strip():
            entry = _parsed(line, f"line {number}: ")
            _check_keys(entry, f"line {number}: ")
            yield f"line {number}", entry


@data_format("json", suffixes=[".json"])
def read(file: Path) -> Iterator[tuple[str, Any]]:
    """A list of entries, an object that has it under items or data, or two lists of texts."""
    content, where = _parsed(file.read_text(encoding="utf-8-sig")), "item {}"
    if isinstance(content, dict):
        _check_keys(content, "", inside=False)
        # The entries may be under a key, next to others that describe them.
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
        _check_keys(entry, f"{where.format(index)}: ")
        yield where.format(index), entry


class _Repeating(Json):
    """An object of which JSON's reader would keep the last of two values of one key."""


def _mapping(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    return found if len(found) == len(pairs) else _Repeating({"": [key for key, _ in pairs]})


def _check_keys(value: Any, where: str, *, inside: bool = True) -> None:
    """Refuse an object that has a key twice, at any depth."""
    if isinstance(value, _Repeating):
        (keys,) = value.values()
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"{where}the key {repeated!r} is there twice. Delete one of them")
    if inside and isinstance(value, (dict, list)):
        for inner in value.values() if isinstance(value, dict) else value:
            _check_keys(inner, where)


def _parsed(text: str, where: str = "") -> Any:
    try:
        return json.loads(text, object_pairs_hook=_mapping)
    except (ValueError, RecursionError) as error:
        # Within a line, the line that Python counts is always the first.
        reason = getattr(error, "msg", error) if where else error
        is_lines = not where and "Extra data" in str(error)
        hint = ". One entry per line is JSON Lines: give the file the suffix .jsonl" if is_lines else ""
        raise DataError(f"{where}is not valid JSON: {reason}{hint}") from None
