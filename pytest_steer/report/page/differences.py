"""The difference to an earlier report, as the page shows it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from ...against.held_against import OUTCOMES
from ...core.columns import cut
from ...core.numbers import number
from .facts import Facts, commit_of, known

_QUESTION = 160
"""Columns of a question in a table; the whole one is among the claim's items."""


@dataclass(frozen=True)
class Difference:
    """How one claim is held against its earlier self.

    Attributes:
        flipped: of each item that flipped, the most moved first, its id, its question (shortened), and its value before -> after.
    """

    id: str
    outcome: str
    message: str
    before: str
    after: str
    difference: str
    reasons: list[str]
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
        return {one.id: one for one in self.claims}

    @property
    def flipped(self) -> list[tuple[str, list[str]]]:
        """The items that flipped, each with the id of its claim, in the order of the claims."""
        return [(one.id, item) for one in self.claims for item in one.flipped]

    @property
    def counts(self) -> list[tuple[str, int]]:
        found = Counter(one.outcome for one in self.claims)
        return [(name.replace("_", " "), count) for name, count in found.items()]


def differences(against: dict[str, Any] | None) -> Differences:
    """What the report says under ``against``."""
    if not against:
        return Differences()
    order = {name: place for place, name in enumerate(OUTCOMES)}
    claims = sorted(against["claims"], key=lambda one: order.get(one["outcome"], -1))
    left_out = against.get("not_run") or 0
    notes = [f"{left_out} claims of the baseline were not run and are left out"] if left_out else []
    return Differences(
        [_difference(one) for one in claims],
        known(
            (key, commit_of(against["baseline"]) if key == "commit" else value)
            for key, value in (against["baseline"] or {}).items()
        ),
        [*(against.get("notes") or ()), *notes],
    )


def _difference(one: dict[str, Any]) -> Difference:
    percent = bool(one.get("percent"))
    items = one.get("items") or {}
    changed = ", ".join(f"{count} {what}" for what, count in items.items() if count)
    bounds = _bounds(one.get("interval"), percent)
    return Difference(
        id=one["id"],
        outcome=one["outcome"],
        message=one.get("message") or "",
        before=_side(one.get("before"), percent),
        after=_side(one.get("after"), percent),
        difference="" if one.get("difference") is None else f"{number(one['difference'], percent)}{bounds}",
        reasons=list(one.get("reasons") or ()),
        flipped=[
            [
                str(item["id"]),
                cut(" ".join(str(item.get("question") or "").split()), _QUESTION),
                f"{_value(item.get('before'))} → {_value(item.get('after'))}",
            ]
            for item in one.get("flipped") or ()
        ],
        items=f"items: {changed}" if changed else "",
    )


def _side(side: dict[str, Any] | None, percent: bool) -> str:
    if side is None:
        return "-"
    estimate = side.get("estimate")
    shown = "" if estimate is None else f" {number(estimate, percent)}{_bounds(side.get('interval'), percent)}"
    return f"{side['verdict']}{shown}"


def _bounds(interval: Any, percent: bool) -> str:
    return (
        ""
        if not interval or list(interval) == [None, None]
        else " [{}, {}]".format(*(number(end, percent) for end in interval))
    )


def _value(value: Any) -> str:
    return number(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)
