"""The six things that a claim can have come to, as the page names and orders them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Category:
    """One of them.

    Attributes:
        key: in classes of the style sheet. sign: beside the words, so that colour is never alone. about: what it means.
    """

    key: str
    words: str
    sign: str
    about: str


BROKEN = Category("broken", "broken", "\u2715", "The evidence proves that the promise is not kept.")
ERROR = Category("error", "could not be measured", "!", "There is no result.")
INCONCLUSIVE = Category("inconclusive", "inconclusive", "?", "The evidence proves neither.")
UNEXPECTED = Category("unexpected", "xpass", "\u2260", "The claim is marked as known to fail, and it holds.")
KNOWN = Category("known", "known to fail", "~", "The claim is marked as known to fail, and it does not hold.")
HELD = Category("held", "held", "\u2713", "The evidence proves that the promise is kept.")

CATEGORIES = (BROKEN, ERROR, INCONCLUSIVE, UNEXPECTED, KNOWN, HELD)
"""The most important first."""

_OF_VERDICT = {"fail": BROKEN, "inconclusive": INCONCLUSIVE, "pass": HELD}


def category_of(record: dict[str, Any]) -> Category:
    """What a claim came to."""
    if record["verdict"] == "error":
        return ERROR
    if record.get("xfail") is not None:
        return UNEXPECTED if record["verdict"] == "pass" else KNOWN
    return _OF_VERDICT[record["verdict"]]
