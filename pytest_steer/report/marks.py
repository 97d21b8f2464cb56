"""What belongs to a claim's verdict wherever that stands on one line: in the table, in Markdown, on the page."""

from __future__ import annotations

from ..core.finding import CODES
from ..core.numbers import low_confidence
from ..core.record import ClaimRecord, Noted


def marks_of(claim: ClaimRecord) -> list[str]:
    """Few words each: a low confidence, rounding that is wider than the interval, texts that the model does not read."""
    low = low_confidence(claim.confidence).strip() if claim.verdict in ("pass", "fail") else ""
    marks = [f"{low} confidence"] if low else []
    marks += ["within rounding"] if claim.noise and claim.noise.interval_is_narrower else []
    said = [*claim.findings, *([claim.withheld] if claim.withheld else [])]
    return marks + list(dict.fromkeys(CODES[one.code].mark for one in said if one.code in CODES and CODES[one.code].mark))


def words_of(finding: Noted) -> str:
    """A finding of a record as one sentence."""
    return f"{finding.text}: {finding.cure}" if finding.cure else finding.text
