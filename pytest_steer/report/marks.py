"""What belongs to a claim's verdict wherever that stands on one line: in the table, in Markdown, on the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..claims.numbers import low_confidence
from ..core.record import ClaimRecord


def marks_of(claim: ClaimRecord) -> list[str]:
    """Few words each: a low confidence, rounding that is wider than the interval, texts that the model does not read."""
    low = low_confidence(claim.confidence).strip() if claim.verdict in ("pass", "fail") else ""
    marks = [f"{low} confidence"] if low else []
    marks += ["within rounding"] if claim.noise and claim.noise.interval_is_narrower else []
    return marks + (["model does not read the texts"] if _is_unread(claim.details) else [])


def _is_unread(details: Mapping[str, Any]) -> bool:
    groups = details.get("behaviours")  # each of which has its own texts
    records = [details, *(groups if isinstance(groups, list) else ())]
    readings = [one.get("reading") for one in records if isinstance(one, Mapping)]
    return any(isinstance(one, Mapping) and one.get("is_better") is False for one in readings)
