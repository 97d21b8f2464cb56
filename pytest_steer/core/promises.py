"""A promise as it is written: a number, a mapping that says where the number comes from, or nothing yet."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import SteerError
from .parameters import Schema
from .registry import did_you_mean

Promise = float | Mapping[str, object] | None
"""What a promise may be: ``0.3``, ``{"value": 0.3, "set": "2026-11-01", "from": "pilot.json"}``, or None: no threshold yet."""


@dataclass(frozen=True)
class Promised:
    """A promise that was given.

    Attributes:
        value: the threshold; None if there is none yet.
        set_on: the day on which it was set (``set``).
        source: the file with the data that it was set on (``from``).
        name: of the parameter.
    """

    value: float | None
    set_on: datetime.date | None = None
    source: str | None = None
    name: str = ""


def promised(given: Promise, name: str) -> Promised:
    """Take apart a promise; that ``value`` is a number within its bounds has been checked.

    Args:
        name: of the parameter, for messages.

    Raises:
        SteerError: a mapping with other keys, without ``value``, or with a day that is none.
    """
    if not isinstance(given, Mapping):
        return Promised(given)
    for key in given:
        if key not in _KEYS:
            raise SteerError(f"{name}: unknown key {key!r}: {did_you_mean(str(key), [*_KEYS])}")
    if "value" not in given:
        raise SteerError(
            f"{name}: 'value' is missing: write {{'value': 0.3, ...}}, or None as long as there is no threshold"
        )
    day, source = given.get("set"), given.get("from")
    if day is not None and not isinstance(day, datetime.date):
        day = read_day(str(day))
        if day is None:
            raise SteerError(f"{name}: 'set' is a day such as '2026-11-01', not {given['set']!r}")
    if source is not None and not isinstance(source, (str, os.PathLike)):
        raise SteerError(f"{name}: 'from' is the path of a file, not {source!r}")
    value: Any = given["value"]
    return Promised(value, day, None if source is None else os.fspath(source))


def read_day(text: str) -> datetime.date | None:
    """The day that a text like 2027-01-31 names, or None."""
    try:
        return datetime.date.fromisoformat(text) if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) else None
    except ValueError:
        return None


_KEYS: dict[str, Schema] = {
    "value": {
        "title": "Threshold",
        "description": "The threshold itself. Empty as long as there is none: then the claim is measured, and ends inconclusive.",
        "type": ["number", "null"],
        "x-words": "a number",
    },
    "set": {
        "title": "Day",
        "description": "The day on which the threshold was set, as YYYY-MM-DD.",
        "type": "string",
        "x-day": True,
        "examples": ["2026-11-01"],
    },
    "from": {
        "title": "Pilot",
        "description": "What the threshold was set on: a JSON report, or a file of items, texts or pairs. A claim that is judged on these "
        "again says so in a warning.",
        "type": "string",
        "pattern": r"\S",
        "x-file": True,
        "examples": ["pilot.json"],
    },
}
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def promise_schema(number: Schema) -> Schema:
    """The JSON Schema of a promise, from that of its number.

    The bounds stay beside the mapping's keys: JSON Schema applies them to numbers alone.
    """
    of_value = {key: number[key] for key in (*_BOUNDS, "examples") if key in number}
    examples = number.get("examples", [])
    mapping = [{"value": one, "set": "2026-11-01", "from": "pilot.json"} for one in examples[:1]]
    return {
        **number,
        **({"examples": [*examples, *mapping]} if examples else {}),
        "type": ["number", "object", "null"],
        "x-words": "a number",
        "x-promise": True,
        "required": ["value"],
        "properties": {**_KEYS, "value": {**_KEYS["value"], **of_value}},
        "additionalProperties": False,
    }
