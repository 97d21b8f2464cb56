"""The page: one self-contained HTML file below a size limit, which shows texts of others and never runs them."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ...claims import kind_of
from ...core.block import Block, Entry, Items, Line, Table, block_of
from ...core.columns import message_of, one_screen, visible
from ...core.errors import SteerError
from ...core.evidence import Json
from ...core.finding import sentence
from ...core.record import ClaimRecord, Comparison, typed
from ..claim_words import marks_of
from ..outcome import CATEGORIES, Category, category_of
from .conversations import outcome_rows, pair_of, replies_facts
from .differences import Difference, differences
from .facts import Facts, facts_of, model_facts, option_facts, provenance_facts
from .figures import Drawn, draw, is_drawn, strip
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


def page_of(report: Json, *, cap: int = CAP) -> str:
    """The page of a report.

    Args:
        cap: the size in bytes above which items are left out.
    """
    whole = typed(report)
    claims, run, against = whole.claims, whole.provenance, differences(whole.against)
    names = anchors(claims)
    views = [_view(claim, place, names[place], against.of_claims.get(claim.id)) for place, claim in enumerate(claims)]
    views.sort(key=lambda view: CATEGORIES.index(view.category))
    counts = Counter(view.category for view in views)
    for view in views[:MOST_DRAWN]:
        view.draw()
    lists = [one for view in views for one in view.lists]
    lists += [view.pairs for view in views if view.pairs]
    comparison = whole.comparison or Comparison(rows=(), tasks=())
    about = {
        "run": run,
        "views": views,
        "categories": [(category, counts[category]) for category in CATEGORIES if counts[category]],
        "suites": sorted({claim.suite for claim in claims}),
        "kinds": sorted({claim.check for claim in claims if claim.check}),
        "against": against,
        "most_flipped": MOST_FLIPPED,
        "anchor_of": {view.claim.id: view.anchor for view in views},
        "tables": comparison_tables(comparison),
        "maps": entanglement_maps(comparison.entanglement),
        "costs": effect_cost_figures(claims),
        "provenance": provenance_facts(run),
        "options": option_facts(run),
        "models": [model_facts(model) for model in run.models],
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


@dataclass
class Listed:
    """Entries of which the page has the first ``shown``, and the report ``of``."""

    title: str
    of: int
    rows: list[Markup]
    shown: int = 0


@dataclass
class ClaimView:
    """One claim on the page.

    Attributes:
        place: in the order of the report.
        anchor: id of its element, which stays the same as long as the claim's id does.
        against: the difference to the earlier report, or None.
        lists: of items, the worst first. pairs: the worst pairs of its replies, or None.
        trouble: why its figures cannot be drawn; empty if they can. is_drawn: whether those that it has are on the page.
    """

    claim: ClaimRecord
    place: int
    anchor: str
    against: Difference | None
    blocks: list[Block]
    lists: list[Listed]
    pairs: Listed | None
    strip: str = ""
    figures: list[Drawn] = field(default_factory=list)
    trouble: str = ""
    is_drawn: bool = False

    def draw(self) -> None:
        """Draw its figures, and itself in one line."""
        self.is_drawn, self.strip = True, Markup(strip(self.claim))
        try:
            self.figures = [draw(one) for one in self.blocks if is_drawn(one)]
        except Exception as error:  # of another package's claim, and the rest of the page is to be written
            self.trouble = f"its figures cannot be drawn: {message_of(error)}"

    @property
    def category(self) -> Category:
        return category_of(self.claim.verdict, self.claim.xfail)

    @property
    def marks(self) -> list[str]:
        return marks_of(self.claim)

    @cached_property
    def facts(self) -> list[tuple[str, Facts]]:
        return facts_of(self.claim)

    @cached_property
    def replies(self) -> tuple[Facts, list[list[str]]] | None:
        """How its replies were drawn and judged, and their outcomes."""
        found = self.claim.replies
        return None if found is None else (replies_facts(found), outcome_rows(found))

    @property
    def title(self) -> str:
        """What the claim's kind promises; empty where the kind is not known here, as in a report from elsewhere."""
        try:
            return kind_of(self.claim.check).title
        except SteerError:
            return ""

    @cached_property
    def said(self) -> tuple[str, str]:
        """What was found, and why it is this verdict; of an error, its first line and the rest."""
        claim = self.claim
        if claim.estimate is not None or claim.headline:
            return claim.headline, claim.reason
        first, _, rest = one_screen(claim.error or claim.message).partition("\n")
        return first, rest

    @property
    def context(self) -> list[tuple[str, str]]:
        """The context of its counterexample."""
        found = self.claim.counterexample
        return [] if found is None else [(axis, one_screen(str(value))) for axis, value in found.context.items()]

    @cached_property
    def parts(self) -> list[list[str] | Table]:
        """Lines that follow each other together, and tables."""
        parts: list[list[str] | Table] = []
        for block in self.blocks:
            if isinstance(block, Table):
                parts.append(block)
            elif isinstance(block, Line):
                lines = block.words.split("\n")
                if parts and isinstance(parts[-1], list):
                    parts[-1] += lines
                else:
                    parts.append(lines)
        return parts

    @cached_property
    def first_item(self) -> list[tuple[str, str, str, str]]:
        """Of each sequence the text before steering begins, the steered text, the scored text, and the tokens compared as the next one."""
        found = []
        for one in self.claim.asked.first_item if self.claim.asked else ():
            steered, scored = one.first_steered, one.first_scored
            parts = one.tokens[:steered], one.tokens[steered:scored], one.tokens[scored:]
            before, between, after = (one_screen("".join(part)) for part in parts)
            found.append((before, between, after, " | ".join(one.candidates or ())))
        return found


def _view(claim: ClaimRecord, place: int, anchor: str, against: Difference | None) -> ClaimView:
    item, pair = _macro("item"), _macro("pair")
    blocks = [found for one in claim.blocks if (found := block_of(one)) is not None]
    lists = [
        Listed(block.title, block.of, [Markup(item(_short(entry))) for entry in block.items])
        for block in blocks
        if isinstance(block, Items)
    ]
    replies, pairs = claim.replies, None
    if replies is not None:
        rows = [Markup(pair(pair_of(replies, one))) for one in replies.of[:MOST_PAIRS]]
        pairs = Listed("worst pairs of replies", len(replies.of), rows)
    return ClaimView(claim, place, anchor, against, blocks, lists, pairs)


def _short(entry: Entry) -> Entry:
    """The entry with its texts cut to a screen each."""
    texts = [replace(part, text=one_screen(part.text, share=0.25)) for part in entry.texts]
    return replace(entry, text=one_screen(entry.text), texts=texts)


def anchors(claims: Iterable[ClaimRecord]) -> list[str]:
    """An id for each claim's element: made from the claim's own id, so that a link stays good from run to run."""
    seen: Counter[str] = Counter()
    found = []
    for claim in claims:
        key = f"{claim.id}\n{claim.check}\n{claim.name}"
        seen[key] += 1
        words = "-".join(re.findall(r"[a-z0-9]+", f"{claim.suite} {claim.name}".lower()))[:60]
        short = hashlib.sha256(f"{key}\n{seen[key]}".encode("utf-8", "replace")).hexdigest()[:8]
        found.append(f"claim-{words}-{short}" if words else f"claim-{short}")
    return found


def _drop_figures(views: Sequence[ClaimView], over: int) -> None:
    """Leave out the figures of the least important claims until ``over`` bytes are saved."""
    for view in reversed(views):
        if over <= 0:
            return
        over -= sum(len(figure.svg) for figure in view.figures)
        view.is_drawn = view.is_drawn and not view.figures
        view.figures = []


def _choose_rows(lists: Sequence[Listed], room: int) -> None:
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
    made = Environment(
        loader=PackageLoader("pytest_steer.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters["sentence"] = sentence
    return made


@cache
def _macro(name: str) -> Any:
    return getattr(_environment().get_template(f"{name}.html").module, name)


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
