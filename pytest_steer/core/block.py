"""Blocks: what a claim shows of its evidence. The terminal, Markdown and the page each draw every kind of block once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Literal

Bound = float | None
Interval = tuple[Bound, Bound]

Json = dict[str, Any]
"""A JSON object with free keys: of a user's file, of the settings of something registered, or as it is written."""

LEFT_OUT: Mapping[str, bool] = {"left out": True}
"""Marks a field of a record that a report does not have where it is None or empty."""


@dataclass(frozen=True, kw_only=True)
class _Block:
    """What every block has.

    Attributes:
        is_reason: it explains a fail or an inconclusive verdict, and a terminal shows it only then.
    """

    name: ClassVar[str]
    is_reason: bool = False


@dataclass(frozen=True, kw_only=True)
class _Titled(_Block):
    """A block with a heading.

    Attributes:
        title: what is seen, in a few words. about: one or two sentences below it.
        is_drawing: its numbers are in another block, so only the page draws it.
    """

    title: str = ""
    about: str = ""
    is_drawing: bool = False


@dataclass(frozen=True)
class Line(_Block):
    """One sentence."""

    name = "line"
    words: str


@dataclass(frozen=True)
class Table(_Titled):
    """Cells in rows.

    Attributes:
        rows: [n_rows][n_columns]. headers: [n_columns], or none.
        are_numbers: every column but the first is aligned to the right.
    """

    name = "table"
    rows: Sequence[Sequence[str]]
    headers: Sequence[str] = ()
    are_numbers: bool = False


@dataclass(frozen=True)
class Series:
    """One curve: its points from left to right, and where there is one, the bounds at each of them."""

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[Interval] | None = None


@dataclass(frozen=True)
class Curve(_Titled):
    """At most six series over the multiplier.

    Attributes:
        y: what is drawn upwards. x: what is drawn to the right.
        marked: places to the right with a mark, and what they are called (``deployed``).
        promised: levels that a claim promises.
    """

    name = "curve"
    series: Sequence[Series]
    y: str
    x: str = "multiplier"
    marked: Sequence[tuple[float, str]] = ()
    promised: Sequence[float] = ()
    percent: bool = False


@dataclass(frozen=True)
class Distribution(_Titled):
    """How often which value occurs among units.

    Attributes:
        x: what the values are. unit: whose they are.
        wrong: the side of 0 whose values are marked, with 0 itself; None where neither is wrong.
        wrong_name: what a value there is called.
        marked: values with a mark, and what they are called (``mean``, ``promised``).
    """

    name = "distribution"
    values: Sequence[float]
    x: str
    unit: str = "items"
    wrong: Literal["below", "above"] | None = None
    wrong_name: str = "anti-steerable"
    marked: Sequence[tuple[float, str]] = ()
    percent: bool = False


@dataclass(frozen=True)
class Estimate:
    """One estimate with its bounds; None for both where it was not judged."""

    name: str
    estimate: float
    interval: Interval = (None, None)
    n: int | None = None
    verdict: str | None = None


@dataclass(frozen=True)
class Intervals(_Titled):
    """Estimates with their bounds, one below the other.

    Attributes:
        x: what the estimates are.
        promised: levels that each of them is promised to keep.
    """

    name = "intervals"
    rows: Sequence[Estimate]
    x: str
    promised: Sequence[float] = ()
    percent: bool = False


@dataclass(frozen=True)
class CostPoint:
    """What one strength does and what it costs: a mean effect, and a relative rise of perplexity (0.05 is 5 %)."""

    name: str
    multiplier: float
    effect: float
    cost: float
    interval: Interval = (None, None)


@dataclass(frozen=True)
class EffectAgainstCost(_Titled):
    """Effect upwards and cost to the right; points of one name are joined in the order of the multiplier."""

    name = "effect_against_cost"
    points: Sequence[CostPoint]
    budget: float | None = None


@dataclass(frozen=True)
class Excerpt:
    """A text of an item, such as its matching answer, and what it is called."""

    name: str
    text: str = ""


@dataclass(frozen=True)
class Entry:
    """One of the units that a claim counts.

    Attributes:
        value: what the items are ordered by; None where that is no number. words: what was measured of it.
        text: its question or its text. texts: its answers.
    """

    id: str
    value: float | None
    words: str
    text: str = ""
    texts: Sequence[Excerpt] = ()


MOST_ITEMS = 30
"""Of each list, the first ones are in the evidence."""


@dataclass(frozen=True)
class Items(_Titled):
    """Units in the order of how much they say against the claim.

    Attributes:
        items: the first ones, at most ``MOST_ITEMS``. of: how many there are.
        value: the name of what they are ordered by.
    """

    name = "items"
    items: Sequence[Entry]
    of: int
    value: str = "slope"


@dataclass(frozen=True)
class Conversation(_Titled):
    """The evidence's replies, unsteered and steered side by side, in the order of the evidence."""

    name = "conversation"


Block = Line | Table | Curve | Distribution | Intervals | EffectAgainstCost | Items | Conversation
KINDS: dict[str, type[Block]] = {
    kind.name: kind for kind in (Line, Table, Curve, Distribution, Intervals, EffectAgainstCost, Items, Conversation)
}

PAGE_ONLY = (Distribution, EffectAgainstCost)
"""Kinds that only the page draws. What they show is in a line of the claim too."""


def in_text(blocks: Iterable[Block]) -> list[Block]:
    """The blocks that a terminal and Markdown draw."""
    return [one for one in blocks if not isinstance(one, PAGE_ONLY) and not getattr(one, "is_drawing", False)]


def items_of(items: Iterable[Entry], *, title: str, value: str = "slope", about: str = "") -> Items:
    """A list of items, cut to ``MOST_ITEMS``."""
    every = [*items]
    return Items(every[:MOST_ITEMS], len(every), value, title=title, about=about)


def as_reasons(blocks: Iterable[Block]) -> list[Block]:
    """The blocks as an explanation of a fail or an inconclusive verdict."""
    return [replace(block, is_reason=True) for block in blocks]


def block_record(block: Block) -> Json:
    """The block as plain data, as a report has it."""
    return {"kind": block.name, **asdict(block)}


def block_of(record: Json) -> Block | None:
    """The block of a report's record; None for a kind that is not known here."""
    from msgspec import convert

    kind = KINDS.get(record["kind"])
    return None if kind is None else convert(record, kind)
