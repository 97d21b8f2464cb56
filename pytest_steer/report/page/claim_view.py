"""A claim's record as the templates need it: words, numbers, figures, facts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from ...claims import kind_of
from ...core.block import Block, Items, Line, Table, block_of
from ...core.columns import message_of, one_screen
from ...core.errors import SteerError
from ...core.record import record_of
from ..verdict import marks_of
from .conversations import RepliesView, replies_view
from .differences import Difference
from .facts import Category, Facts, category_of, facts_of
from .figures import Drawn, draw, is_drawn, strip


@dataclass
class ItemsView:
    """A list of items: ``shown`` of those that the report has are on the page."""

    block: Items
    rows: list[Markup]
    shown: int = 0


@dataclass
class ClaimView:
    """One claim on the page.

    Attributes:
        anchor: id of its element, which stays the same as long as the claim's id does.
        place: in the order of the report.
        headline / reason: what was found, and why it is this verdict.
        trouble: why its figures cannot be drawn; empty if they can. is_drawn: whether those that it has are on the page.
        parts: what else it shows, in its order: lines and tables. lists: of items, the worst first.
        marks: what belongs to the verdict and stands beside it, in few words each.
    """

    record: dict[str, Any]
    anchor: str
    place: int
    category: Category
    title: str
    headline: str
    reason: str
    strip: Markup
    figures: list[Drawn]
    trouble: str
    parts: list[list[str] | Table]
    facts: list[tuple[str, Facts]]
    first_item: list[tuple[str, str, str, str]]
    context: list[tuple[str, str]]
    against: Difference | None
    is_drawn: bool
    replies: RepliesView | None = None
    lists: list[ItemsView] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)


def claim_view(
    record: dict[str, Any], place: int, anchor: str, against: Difference | None, *, most_pairs: int, drawn: bool
) -> ClaimView:
    """Everything that the page says of one claim.

    Args:
        against: how it is held against the earlier report, or None. most_pairs: how many pairs of replies are made ready. drawn: whether
            to draw it.
    """
    blocks = [found for one in record["blocks"] if (found := block_of(one)) is not None]
    figures, trouble = _figures(blocks) if drawn else ([], "")
    headline, reason = _headline(record)
    counterexample = record.get("counterexample") or {}
    return ClaimView(
        record=record,
        anchor=anchor,
        place=place,
        category=category_of(record),
        title=_title(record),
        headline=headline,
        reason=reason,
        strip=Markup(strip(record) if drawn else ""),
        figures=figures,
        trouble=trouble,
        parts=_parts(blocks),
        facts=facts_of(record),
        first_item=[_sequence(one) for one in (record.get("asked") or {}).get("first_item") or ()],
        context=[(str(axis), one_screen(str(value))) for axis, value in (counterexample.get("context") or {}).items()],
        against=against,
        is_drawn=drawn,
        replies=replies_view(record.get("replies"), most_pairs),
        lists=[ItemsView(_short(block), []) for block in blocks if isinstance(block, Items)],
        marks=marks_of(record_of(record)),
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


def _title(record: dict[str, Any]) -> str:
    """What the claim's kind promises; empty where the kind is not known here, as in a report from elsewhere."""
    try:
        return kind_of(record["check"]).title
    except SteerError:
        return ""


def _figures(blocks: Sequence[Block]) -> tuple[list[Drawn], str]:
    """What can be drawn, and why something could not be."""
    try:
        return [draw(one) for one in blocks if is_drawn(one)], ""
    except Exception as error:  # of another package's claim, and the rest of the page is to be written
        return [], f"its figures cannot be drawn: {message_of(error)}"


def _parts(blocks: Sequence[Block]) -> list[list[str] | Table]:
    """Lines that follow each other together, and tables."""
    parts: list[list[str] | Table] = []
    for block in blocks:
        if isinstance(block, Table):
            parts.append(block)
        elif isinstance(block, Line):
            if not parts or isinstance(parts[-1], Table):
                parts.append([])
            lines = parts[-1]
            assert isinstance(lines, list)
            lines += block.words.split("\n")
    return parts


def _short(block: Items) -> Items:
    """The list with its texts cut to a screen each."""
    return replace(
        block,
        items=[
            replace(
                one,
                text=one_screen(one.text),
                texts=[replace(part, text=one_screen(part.text, share=0.25)) for part in one.texts],
            )
            for one in block.items
        ],
    )


def _headline(record: dict[str, Any]) -> tuple[str, str]:
    """What was found and why it is this verdict; of an error, its first line and the rest."""
    if record["estimate"] is not None or record["headline"]:
        return record["headline"], record["reason"]
    first, _, rest = one_screen(record.get("error") or record["message"]).partition("\n")
    return first, rest


def _sequence(one: dict[str, Any]) -> tuple[str, str, str, str]:
    """The text before steering begins, the steered text, the scored text, and the tokens compared as the next one."""
    tokens, steered, scored = one["tokens"], one["first_steered"], one["first_scored"]
    parts = ("".join(tokens[:steered]), "".join(tokens[steered:scored]), "".join(tokens[scored:]))
    before, between, after = (one_screen(part) for part in parts)
    return before, between, after, " | ".join(one["candidates"] or ())
