"""What belongs to a claim's verdict wherever that stands on one line: in the table, in Markdown, on the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..claims.numbers import low_confidence
from ..core.finding import CODES


def marks_of(claim: Mapping[str, Any]) -> list[str]:
    """Few words each: a low confidence, rounding that is wider than the interval, texts that the model does not read."""
    low = low_confidence(claim["confidence"]).strip() if claim["verdict"] in ("pass", "fail") else ""
    marks = [f"{low} confidence"] if low else []
    marks += ["within rounding"] if (claim.get("noise") or {}).get("interval_is_narrower") else []
    said = [*claim["findings"], *([claim["withheld"]] if claim.get("withheld") else [])]
    return marks + list(
        dict.fromkeys(CODES[one["code"]].mark for one in said if one["code"] in CODES and CODES[one["code"]].mark)
    )


def words_of(finding: Mapping[str, Any]) -> str:
    """A finding of a record as one sentence."""
    return f"{finding['text']}: {finding['cure']}" if finding["cure"] else str(finding["text"])
