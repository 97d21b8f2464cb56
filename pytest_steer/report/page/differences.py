"""The difference to an earlier report, as the page shows it."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field

from ...against.held_against import OUTCOMES, outcome_words, units_words
from ...core.columns import cut
from ...core.numbers import bounded, number
from ...core.record import UNBOUNDED, Against, AgainstClaim, Bounds, Judged
from .facts import Facts, commit_words, known

_QUESTION = 160
"""Columns of a question in a table; the whole one is among the claim's items."""


@dataclass(frozen=True)
class Difference:
    """One claim compared with its earlier self.

    Attributes:
        outcome: in words.
        flipped: of each item that flipped, the most moved first, its id, its question (shortened), and its value before -> after.
    """

    claim: AgainstClaim
    outcome: str
    before: str
    after: str
    difference: str
    flipped: list[list[str]]
    items: str


@dataclass(frozen=True)
class Differences:
    """All of them, the most important first; without an earlier report there are none.

    Attributes:
        notes: what differs between the two runs.
    """

    claims: list[Difference] = field(default_factory=list)
    baseline: Facts = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def of_claims(self) -> dict[str, Difference]:
        return {one.claim.id: one for one in self.claims}

    @property
    def flipped(self) -> list[tuple[str, list[str]]]:
        """The items that flipped, each with the id of its claim, in the order of the claims."""
        return [(one.claim.id, item) for one in self.claims for item in one.flipped]

    @property
    def counts(self) -> list[tuple[str, int]]:
        found = Counter(one.claim.outcome for one in self.claims)
        return [(outcome_words(name), count) for name, count in found.items()]


def differences(against: Against | None) -> Differences:
    """What the report says under ``against``."""
    if against is None:
        return Differences()
    notes = [f"{against.not_run} claims of the baseline were not run and are left out"] if against.not_run else []
    baseline = against.baseline
    facts = {} if baseline is None else asdict(baseline) | {"commit": commit_words(baseline.commit)}
    claims = sorted(against.claims, key=lambda one: list(OUTCOMES).index(one.outcome))
    return Differences([_difference(one) for one in claims], known(facts), [*against.notes, *notes])


def _difference(one: AgainstClaim) -> Difference:
    changed = units_words(one.items)
    return Difference(
        claim=one,
        outcome=outcome_words(one.outcome),
        before=_side(one.before, one.percent),
        after=_side(one.after, one.percent),
        difference=_words(one.difference, one.interval, one.percent),
        flipped=[
            [
                item.id,
                cut(" ".join((item.question or "").split()), _QUESTION),
                f"{number(item.before)} → {number(item.after)}",
            ]
            for item in one.flipped
        ],
        items=f"items: {changed}" if changed else "",
    )


def _side(side: Judged | None, percent: bool) -> str:
    return "-" if side is None else f"{side.verdict} {_words(side.estimate, side.interval, percent)}".rstrip()


def _words(value: float | None, interval: Bounds | None, percent: bool) -> str:
    return "" if value is None else bounded(value, interval or UNBOUNDED, percent)
