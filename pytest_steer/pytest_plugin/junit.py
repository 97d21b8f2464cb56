"""What JUnit files have of each claim: properties of its test case, for claims that hold too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

_KEYS = ("suite", "name", "check", "verdict", "statistic", "estimate", "threshold", "direction", "n", "unit", "confidence")


def add_properties(item: pytest.Item, records: Sequence[dict[str, Any]]) -> None:
    """Give a test the numbers of its claims as ``user_properties``, which pytest writes to JUnit files, under xdist too.

    They are called ``steer.estimate``, ``steer.interval`` and so on. Of a test with several assertions, each has a number:
    ``steer.1.estimate``, ``steer.2.estimate``.
    """
    for at, record in enumerate(records, 1):
        prefix = "steer" if len(records) == 1 else f"steer.{at}"
        item.user_properties += [(f"{prefix}.{name}", value) for name, value in properties_of(record)]


def properties_of(record: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and text of what is known of a claim. Numbers are in full; an absent bound of the interval is ``-inf`` or ``inf``."""
    low, high = record["interval"]
    known = {key: record[key] for key in _KEYS} | {
        "interval": None
        if record["interval"] == [None, None]
        else f"[{'-inf' if low is None else _text(low)}, {'inf' if high is None else _text(high)}]",
        "model": (record["model"] or {}).get("id"),
        "vector": (record["vector"] or {}).get("hash"),
        "multiplier": record["multiplier"],
        "xfail": record["xfail"],
    }
    return [(name, _text(value)) for name, value in known.items() if value not in (None, "")]


def _text(value: Any) -> str:
    return repr(value) if isinstance(value, float) else str(value)
