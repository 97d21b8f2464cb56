"""What every table and report says of one claim: its verdict in words, its marks and its name."""

from __future__ import annotations

from ..core.finding import CODES
from ..core.numbers import low_confidence
from ..core.record import ClaimRecord
from .outcome import KNOWN, UNEXPECTED, category_of


def verdict_words(verdict: str, xfail: str | None) -> str:
    """The verdict of a claim, and whether it was expected."""
    category = category_of(verdict, xfail)
    return category.words if category is UNEXPECTED else f"{verdict}{' (known)' if category is KNOWN else ''}"


def marks_of(claim: ClaimRecord) -> list[str]:
    """Few words each: a low confidence, rounding that is wider than the interval, texts that the model does not read."""
    low = low_confidence(claim.confidence).strip() if claim.verdict in ("pass", "fail") else ""
    marks = [f"{low} confidence"] if low else []
    marks += ["within rounding"] if claim.noise and claim.noise.interval_is_narrower else []
    said = [*claim.findings, *([claim.withheld] if claim.withheld else [])]
    return marks + list(dict.fromkeys(CODES[one.code].mark for one in said if one.code in CODES and CODES[one.code].mark))


def own_name(node_id: str, name: str) -> str:
    """An assertion is known by its test, a claim by its name; both follow the file in the id."""
    return node_id.partition("::")[2] or name
