"""A finding: what a reader should know beside the verdict, under a code that documentation, tests and claim files name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from .errors import SteerError

if TYPE_CHECKING:
    from .record import Noted


class Weight(IntEnum):
    """How much a finding says against its verdict. The heaviest are printed first."""

    ANOTHER = 0
    """The number may be that of another model, vector, function or data set."""
    MEANINGLESS = 1
    """The verdict may mean nothing, whatever the interval."""
    DOUBTFUL = 2
    """The interval or its error rate may be wrong."""
    NOTE = 3
    """Something to know; the verdict stands."""


def sentence(finding: Finding | Noted) -> str:
    """A finding of evidence or of its record in one sentence: what was seen, and what to do. The terminal, Markdown and the page show this."""
    return f"{finding.text}: {finding.cure}" if finding.cure else finding.text


def warning(words: str, *, about: str = "") -> str:
    """A warning as a line of a terminal.

    Args:
        about: which claims it is about, where several are shown together.
    """
    return f"warning: {about}: {words}" if about else f"warning: {words}"


@dataclass(frozen=True)
class Finding:
    """What was noticed about one claim.

    Attributes:
        code: of the table of codes. text: what was seen, with its numbers. cure: what to do, as an imperative; may be empty.
    """

    code: str
    text: str
    cure: str = ""

    def __str__(self) -> str:
        return sentence(self)

    def to_dict(self) -> dict[str, Any]:
        return {"code": self.code, "text": self.text, "cure": self.cure}


@dataclass(frozen=True)
class Code:
    """A kind of finding. Call it with a text to make one.

    Attributes:
        name: its code, such as ``train-test-overlap``.
        signal: what is seen, one sentence. meaning: why that matters. cure: what to do about it.
        mark: a few words that belong beside the verdict wherever it stands on one line; empty for none.
    """

    name: str
    signal: str
    meaning: str
    cure: str
    weight: Weight = Weight.NOTE
    mark: str = ""

    def __call__(self, text: str, cure: str = "") -> Finding:
        return Finding(self.name, text, cure)


CODES: dict[str, Code] = {}
"""Every code by its name, in the order of declaration. An extension declares its own with :func:`code`."""


def code(name: str, *, signal: str, meaning: str, cure: str, weight: Weight = Weight.NOTE, mark: str = "") -> Code:
    """Declare a code.

    Raises:
        SteerError: the name is taken.
    """
    made = Code(name, signal, meaning, cure, weight, mark)
    if CODES.setdefault(name, made) != made:
        raise SteerError(f"the code {name!r} of a finding is taken: choose another")
    return made


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """The findings without repeats, the most important first."""
    distinct = list(dict.fromkeys(findings))
    return sorted(distinct, key=lambda one: CODES[one.code].weight if one.code in CODES else Weight.NOTE)
