"""A claim's record as the templates need it: words, numbers, figures, facts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from ...claims import kind_of
from ...claims.figures import figures_of_items, worst_first
from ...claims.kinds import ClaimKind
from ...claims.numbers import number, promised
from ...core.record import record_of
from ...errors import SteerError
from ...screen import message_of, one_screen
from ..marks import marks_of
from .conversations import RepliesView, replies_view
from .differences import Difference
from .facts import Facts, facts_of
from .figures import Drawn, draw, strip
from .verdicts import Category, category_of


@dataclass(frozen=True)
class ItemView:
    """One item, with the number that it is ordered by."""

    id: str
    value: str
    label: str
    question: str
    answers: list[tuple[str, str]]
    propensity: str


@dataclass
class ClaimView:
    """One claim on the page.

    Attributes:
        anchor: id of its element, which stays the same as long as the claim's id does.
        place: in the order of the report.
        headline / statement: what it came to, in words, from its message.
        warnings: the record's, and why something cannot be drawn.
        is_drawn: whether its figures, if it has some, are on the page.
        items: the worst first; ``shown`` of them are on the page.
        order: what the items are ordered by (``slope``, ``effect``).
        marks: what belongs to the verdict and stands beside it, in few words each.
    """

    record: dict[str, Any]
    anchor: str
    place: int
    category: Category
    title: str
    headline: str
    statement: str
    strip: Markup
    figures: list[Drawn]
    warnings: list[str]
    facts: list[tuple[str, Facts]]
    first_item: list[tuple[str, str, str, str]]
    context: list[tuple[str, str]]
    strata: list[list[str]]
    strata_head: list[str]
    against: Difference | None
    is_drawn: bool
    replies: RepliesView | None = None
    items: list[ItemView] = field(default_factory=list)
    order: str = "slope"
    marks: list[str] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    shown: int = 0
    rows: list[Markup] = field(default_factory=list)


def claim_view(
    record: dict[str, Any],
    place: int,
    anchor: str,
    against: Difference | None,
    *,
    most_items: int,
    most_pairs: int,
    drawn: bool,
) -> ClaimView:
    """Everything that the page says of one claim.

    Args:
        against: how it is held against the earlier report, or None. most_items / most_pairs: how many items and pairs of replies
            are made ready. drawn: whether to draw it.
    """
    kind = _kind(record)
    figures, trouble = _figures(record, kind) if drawn else ([], "")
    headline, statement = _headline(record)
    worst = _worst(record, kind)
    counterexample = record.get("counterexample") or {}
    return ClaimView(
        record=record,
        anchor=anchor,
        place=place,
        category=category_of(record),
        title=kind.title if kind is not None else "",
        headline=headline,
        statement=statement,
        strip=Markup(strip(record, keeps=_keeps(record)) if drawn else ""),
        figures=figures,
        warnings=[*(record.get("warnings") or ()), *([trouble] if trouble else [])],
        facts=facts_of(record),
        first_item=[_sequence(one) for one in (record.get("asked") or {}).get("first_item") or ()],
        context=[(str(axis), one_screen(str(value))) for axis, value in (counterexample.get("context") or {}).items()],
        strata=[_stratum(one) for one in record.get("strata") or ()],
        strata_head=["matching answer", "n", "steerability", "anti-steerable share"],
        against=against,
        is_drawn=drawn,
        replies=replies_view(record.get("replies"), most_pairs),
        items=[_item(value, item) for value, item in worst[:most_items]],
        order="difference"
        if worst and "difference" in worst[0][1]
        else "effect"
        if record["details"].get("effects")
        else "slope",
        marks=marks_of(record_of(record)),
        values=[float(value) for value, _ in worst],
    )


def anchors(records: Sequence[dict[str, Any]]) -> list[str]:
    """An id for each claim's element: made from the claim's own id, so that a link stays good from run to run."""
    seen: dict[str, int] = {}
    found = []
    for record in records:
        key = f"{record['id']}\n{record['check']}\n{record['name']}"
        seen[key] = seen.get(key, 0) + 1
        words = "-".join(re.findall(r"[a-z0-9]+", f"{record['suite']} {record['name']}".lower()))[:60]
        short = hashlib.sha256(f"{key}\n{seen[key]}".encode("utf-8", "replace")).hexdigest()[:8]
        found.append(f"claim-{words}-{short}" if words else f"claim-{short}")
    return found


def _kind(record: dict[str, Any]) -> ClaimKind | None:
    """The claim's kind; None where it is not known here, as in a report from elsewhere."""
    try:
        return kind_of(record["check"])
    except SteerError:
        return None


def _figures(record: dict[str, Any], kind: ClaimKind | None) -> tuple[list[Drawn], str]:
    """What can be drawn, and why something could not be."""
    if record["verdict"] == "error":
        return [], ""
    try:
        return [draw(one) for one in (figures_of_items(record) if kind is None else kind.figures(record))], ""
    except Exception as error:  # of another package's claim, and the rest of the page is to be written
        home = kind.declared.__module__ if kind is not None else "the record"
        return [], f"its figures cannot be drawn: {home}: {message_of(error)}"


def _worst(record: dict[str, Any], kind: ClaimKind | None) -> list[tuple[float, dict[str, Any]]]:
    if not record.get("items"):
        return []
    try:
        return worst_first(record) if kind is None else kind.worst_first(record)
    except Exception:  # the same; in the order of the data
        return [(item["slope"], item) for item in record["items"]]


def _headline(record: dict[str, Any]) -> tuple[str, str]:
    """The numbers, and why that is the verdict: the first two lines of the claim's message, less what the page says beside them."""
    if record["estimate"] is None:
        first, _, rest = one_screen(record.get("error") or record["message"]).partition("\n")
        return first, rest
    percent = bool(record.get("percent"))
    low, high = (number(bound, percent) for bound in record["interval"])
    bounds = "" if record["interval"] == [None, None] else f" [{low}, {high}]"
    keeps, statistic = _keeps(record), record.get("statistic") or "estimate"
    second = record["message"].partition("\n")[2].partition("\n")[0].strip()
    return (
        f"{statistic} {number(record['estimate'], percent)}{bounds}, "
        + ("" if record["threshold"] is None else "promised ")
        + promised(keeps, record["threshold"], percent),
        second,
    )


def _keeps(record: dict[str, Any]) -> str:
    """On which side of its threshold a claim promises to be, in words; some say it themselves in their message."""
    if "promised more than" in record["message"].partition("\n")[0]:
        return "more than"
    return "at most" if record.get("direction") == "at_most" else "at least"


def _sequence(one: dict[str, Any]) -> tuple[str, str, str, str]:
    """The text before steering begins, the steered text, the scored text, and the tokens compared as the next one."""
    tokens, steered, scored = one["tokens"], one["first_steered"], one["first_scored"]
    parts = ("".join(tokens[:steered]), "".join(tokens[steered:scored]), "".join(tokens[scored:]))
    before, between, after = (one_screen(part) for part in parts)
    return before, between, after, " | ".join(one["candidates"] or ())


def _stratum(one: dict[str, Any]) -> list[str]:
    return [one["label"], str(one["n"]), number(one["steerability"]), f"{one['anti_steerable_share']:.0%}"]


def _item(value: float, item: dict[str, Any]) -> ItemView:
    sides = [("matching", item.get("matching")), ("not matching", item.get("not_matching"))]
    return ItemView(
        id=item["id"],
        value=number(value),
        label=item.get("label") or "",
        question=one_screen(str(item.get("question", ""))),
        answers=[(name, one_screen(" | ".join(answers), share=0.25)) for name, answers in sides if answers],
        propensity=", ".join(f"{one:.2f}" for one in item["propensity"]),
    )
