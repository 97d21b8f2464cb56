"""The page as a whole: one self-contained file that obeys nothing it shows, and that stays below its size."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ...core.columns import visible
from .claim_view import ClaimView, ItemsView, anchors, claim_view
from .conversations import RepliesView
from .differences import differences
from .facts import CATEGORIES, category_of, model_facts, option_facts, provenance_facts
from .side_by_side import comparison_tables, effect_cost_figures, entanglement_maps

CAP = 15_000_000
"""Bytes. Above it items and replies are left out, of each claim the same number, and the page says which."""
MOST_FLIPPED = 20
"""Items that flipped since the baseline, in the list of all claims; each claim has its own list."""
LONGEST = 8_000
"""Characters of one text."""
MOST_PAIRS = 20
"""Of each claim, on a page of any size: its worst pairs of replies, of the base and of the steered model."""
MOST_DRAWN = 300
"""Claims whose figures are drawn, the most important ones; one takes about a fifth of a second."""
_NOTICE = 400
"""Bytes that it takes to say that items, or replies, of a claim are left out."""


def page_of(report: dict[str, Any], *, cap: int = CAP) -> str:
    """The page of a report.

    Args:
        cap: the size in bytes above which items are left out.
    """
    records = report["claims"]
    against = differences(report.get("against"))
    order = [category.key for category in CATEGORIES]
    places = sorted(range(len(records)), key=lambda place: (order.index(category_of(records[place]).key), place))
    names = anchors(records)
    views = [
        claim_view(
            records[place],
            place,
            names[place],
            against.of_claims.get(records[place]["id"]),
            most_pairs=MOST_PAIRS,
            drawn=rank < MOST_DRAWN,
        )
        for rank, place in enumerate(places)
    ]
    item = _environment().get_template("item.html").module.item  # type: ignore[attr-defined]
    pair = _environment().get_template("pair.html").module.pair  # type: ignore[attr-defined]
    for view in views:
        for one in view.lists:
            one.rows = [Markup(item(entry)) for entry in one.block.items]
        if view.replies:
            view.replies.rows = [Markup(pair(one)) for one in view.replies.pairs]
    lists: list[ItemsView | RepliesView] = [one for view in views for one in view.lists]
    lists += [view.replies for view in views if view.replies]
    counts = Counter(view.category.key for view in views)
    comparison = report.get("comparison") or {}
    about = {
        "report": report,
        "views": views,
        "categories": [(category, counts[category.key]) for category in CATEGORIES if counts[category.key]],
        "suites": sorted({record["suite"] for record in records}),
        "kinds": sorted({record["check"] for record in records if record["check"]}),
        "against": against,
        "most_flipped": MOST_FLIPPED,
        "anchor_of": {view.record["id"]: view.anchor for view in views},
        "tables": comparison_tables(comparison),
        "maps": entanglement_maps(comparison.get("entanglement") or []),
        "costs": effect_cost_figures(records),
        "provenance": provenance_facts(report["provenance"]),
        "options": option_facts(report["provenance"]),
        "models": [model_facts(model) for model in report["provenance"].get("models") or []],
        "css": Markup(_asset("page.css")),
        "js": Markup(_asset("page.js")),
        "policy": _policy(),
        "cap": cap,
    }
    template = _environment().get_template("page.html")
    room = cap - len(_bytes(template.render(about)))
    _drop_figures(views, -room)
    _choose_rows(lists, cap - len(_bytes(template.render(about))))
    return template.render(about)


def _drop_figures(views: Sequence[ClaimView], over: int) -> None:
    """Leave out the figures of the least important claims until so many bytes are saved."""
    for view in reversed(views):
        if over <= 0:
            return
        over -= sum(len(figure.svg) for figure in view.figures)
        view.is_drawn = view.is_drawn and not view.figures
        view.figures = []


def _choose_rows(lists: Sequence[ItemsView | RepliesView], room: int) -> None:
    """Decide how many items and pairs of replies of each claim are on the page: the same number of each, as many as there is room for."""
    sizes = [[len(_bytes(row)) + 1 for row in one.rows] for one in lists]
    room -= sum(_NOTICE for own in sizes if own)
    for most in range(1, max(map(len, sizes), default=0) + 1):
        room -= sum(own[most - 1] for own in sizes if len(own) >= most)
        if room < 0:
            return
        for one, own in zip(lists, sizes, strict=True):
            one.shown = min(most, len(own))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("pytest_steer.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    return environment


def _shown(value: Any) -> Any:
    """Texts of others with their controls written out, and cut where they have no end; what is HTML already stays."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    more = len(value) - LONGEST
    return visible(value if more <= 0 else f"{value[:LONGEST]}... [cut: {more:,} more characters]")


@cache
def _asset(name: str) -> str:
    return (files(__package__) / "templates" / name).read_text(encoding="utf-8")


def _policy() -> str:
    """The page's content security policy: its own script and style by their hashes, and nothing else; no request of any kind."""

    def allowed(name: str) -> str:
        return base64.b64encode(hashlib.sha256(_asset(name).encode()).digest()).decode()

    return (
        f"default-src 'none'; script-src 'sha256-{allowed('page.js')}'; style-src 'sha256-{allowed('page.css')}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
