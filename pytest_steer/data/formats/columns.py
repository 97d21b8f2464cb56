"""The names that a user's file has for what is read from it: ``columns: {question: q, matching: good, not_matching: bad}``."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import DataError

ITEM = ("question", "matching", "not_matching", "id")
TASK = ("input", "output")
TEXT = ("text", "prompt", "completion")
KNOWN = (*ITEM, *TASK, *TEXT)


def check_columns(columns: Mapping[str, str] | None) -> dict[str, str]:
    """``columns`` as a dictionary.

    Raises:
        DataError: something is named that is not read, or a name is no text, or two things have one name.
    """
    if columns is None:
        return {}
    if not isinstance(columns, Mapping):
        raise DataError(f"columns is a mapping such as {{'question': 'q'}}, not {columns!r}")
    for key, name in columns.items():
        if key not in KNOWN:
            raise DataError(f"columns: {key!r} is nothing that is read; known: {', '.join(KNOWN)}")
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"columns: the column of {key!r} is a name, not {name!r}")
    names = [columns[key] for key in ITEM if key in columns]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(f"columns: {repeated[0]!r} stands for two things")
    return dict(columns)


def item_columns(columns: Mapping[str, str]) -> tuple[str, str, str] | None:
    """Where question, matching and not matching answer stand, if ``columns`` says it of one of them."""
    if not set(ITEM[:3]) & columns.keys():
        return None
    question, matching, not_matching = (columns.get(key, key) for key in ITEM[:3])
    return question, matching, not_matching
