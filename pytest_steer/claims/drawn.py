"""Evidence as text for a terminal. A claim shows a list of blocks; each kind of block is drawn here once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from ..core.block import Block, Conversation, Curve, Intervals, Items, Line, Table, as_reasons, in_text
from ..core.columns import current_columns, cut, in_columns, table, visible, wrapped
from ..core.evidence import Evidence, Verdict
from ..core.numbers import bounds, low_confidence, number
from ..core.record import Reply
from . import show
from .kind import ClaimKind, kind_of
from .pilots import threshold_line
from .rulings import short_reason

_ITEMS = 3
"""Items of a list, and replies, that a terminal shows."""
_TEXT, _EXCERPT = 110, 60
"""Characters of an item's text, and of each of its answers."""


def complete(evidence: Evidence) -> Evidence:
    """The evidence with its headline, reason and blocks, and the message made of them.

    Call it when nothing else of the evidence changes any more.

    Raises:
        SteerError: a user-defined claim shows something other than blocks.
    """
    if evidence.check and evidence.verdict is Verdict.ERROR:
        with suppress(Exception):  # of a user's claim, which may be the error itself
            evidence = evidence.but(extra=kind_of(evidence.check).said("extra", evidence))
    elif evidence.check:
        evidence = _shown(kind_of(evidence.check), evidence)
    return evidence.but(message=explain(evidence))


def _shown(kind: ClaimKind, evidence: Evidence) -> Evidence:
    evidence = evidence.but(extra=kind.said("extra", evidence))
    always = kind.said("always", evidence)
    why = show.curve(evidence) if evidence.threshold is None else kind.said("why", evidence)  # which may count with it
    return evidence.but(
        headline=kind.said("headline", evidence) or show.headline(evidence),
        reason=show.reason(evidence, kind.said("reason", evidence)),
        blocks=(
            *map(Line, threshold_line(evidence)),
            *show.frame(evidence),
            *always,
            *as_reasons([*show.what_next(evidence, kind.said("cure", evidence)), *show.where(evidence), *why]),
        ),
    )


def explain(evidence: Evidence, *, brief: bool = False, width: int | None = None, first: int = 0) -> str:
    """The text of one claim for a terminal. A pass takes a few lines; any other verdict explains itself and says what to do.

    Args:
        brief: leave out why: the curve, strata, the worst items.
        width: columns that no line exceeds; controls are written out then. By default only tables are kept to 100.
        first: columns that something else takes in front of the first line.
    """
    if width is None:
        return "\n".join(_lines(evidence, brief))
    with in_columns(width):
        return wrapped(visible("\n".join(_lines(evidence, brief))), width, first=first)


def _lines(evidence: Evidence, brief: bool) -> list[str]:
    run_again = [f"  run again: {evidence.rerun}"] if evidence.rerun else []
    if evidence.verdict is Verdict.ERROR:
        return [f"{evidence.name}: ERROR  {evidence.error}", *run_again]
    few = show.too_few(evidence)
    said = f"{few}: " if few is not None and few in evidence.reason else ""  # which its finding need not say again
    lines = [
        f"{evidence.name}: {_verdict(evidence)}  {evidence.headline}",
        f"  {evidence.reason}",
        *(f"  warning: {str(one).removeprefix(said)}" for one in evidence.findings),
        *(f"  silenced: {one.code} ({one.reason})" for one in evidence.silenced),
    ]
    blocks = [block for block in evidence.blocks if not block.is_reason]
    lines += _drawn(evidence, blocks)
    if evidence.passed:
        return lines + (run_again if evidence.xfail is not None else [])
    if not brief:
        lines += _drawn(evidence, [block for block in evidence.blocks if block.is_reason])
    found = evidence.counterexample
    reproduce = [f"  show the counterexample again: {found['reproduce']}"] if found else []
    return [*lines, *reproduce, *run_again]


def _verdict(evidence: Evidence) -> str:
    if evidence.passed and evidence.xfail is not None:
        return "XPASS"
    sure = low_confidence(evidence.confidence) if evidence.verdict is not Verdict.INCONCLUSIVE else ""
    return f"{evidence.verdict.value.upper()}{sure}"


# --- the kinds of blocks ---


def _drawn(evidence: Evidence, blocks: Iterable[Block]) -> list[str]:
    lines: list[str] = []
    for block in in_text(blocks):
        lines += _conversation(evidence, block) if isinstance(block, Conversation) else _DRAWN[type(block)](block)
    return lines


def _line(block: Line) -> list[str]:
    return [f"  {line}" for line in block.words.split("\n")]


def _table(block: Table) -> list[str]:
    about = f" ({block.about})" if block.about else ""
    title = [f"  {block.title}{about}:"] if block.title else []
    return [*title, *_cells(block.rows, block.headers, right=block.are_numbers)]


def _curve(block: Curve) -> list[str]:
    """A row of multipliers, and a row for each series."""
    grid = list(dict.fromkeys(x for series in block.series for x, _ in series.points))
    rows = [[block.x, *(f"{x:.4g}" for x in grid)]]
    for series in block.series:
        at = dict(series.points)
        rows.append([series.name, *(number(at[x], block.percent) if x in at else "" for x in grid)])
    return _cells(rows, right=True)


def _intervals(block: Intervals) -> list[str]:
    rows = []
    for one in block.rows:
        n, interval = "" if one.n is None else str(one.n), bounds(one.interval, block.percent)
        rows.append([one.name, n, number(one.estimate, block.percent), interval, one.verdict or ""])
    return [f"  {block.title}:", *_cells(rows, ["", "n", block.x, "interval", ""])]


def _items(block: Items) -> list[str]:
    lines = [f"  {block.title}:"]
    for one in block.items[:_ITEMS]:
        lines.append(f"    [{one.id}] {one.words}")
        lines += [f"      {show.shorten(one.text, _TEXT)}"] if one.text else []
        answers = [f"{part.name}: {show.shorten(part.text, _EXCERPT)}" for part in one.texts]
        lines += [f"      {'   '.join(answers)}"] if answers else []
    return lines


def _conversation(evidence: Evidence, block: Conversation) -> list[str]:
    """The first replies, base above steered, each in one line."""
    found = evidence.replies
    if found is None:
        return []
    lines = [f"  {block.title or 'worst replies'}:"]
    for one in found.of[:_ITEMS]:
        sample = f", sample {one.sample}" if found.drawing["samples"] > 1 else ""
        lines.append(_cut(f"    [{one.id}{sample}] {' '.join(one.prompt[-1].split())}"))
        for name, reply in (("base", one.base), ("steered", one.steered)):
            lines.append(_cut(f"      {name + ':':8} {_ruled(reply)}{reply.turns[-1]!r}"))
    return lines


def _ruled(reply: Reply) -> str:
    """The outcome of a reply, in front of its text."""
    score = "" if reply.score is None else number(reply.score)
    why = "" if reply.why is None else f"({short_reason(reply.why)})"
    said = " ".join(part for part in (reply.outcome or "", score, why) if part)
    return f"{said}  " if said else ""


def _cut(line: str) -> str:
    return cut(visible(line), current_columns())


_DRAWN: dict[type, Callable[[Any], list[str]]] = {
    Line: _line,
    Table: _table,
    Curve: _curve,
    Intervals: _intervals,
    Items: _items,
}


def _cells(rows: Sequence[Sequence[object]], headers: Sequence[str] = (), *, right: bool = False) -> list[str]:
    lines = table(rows, headers, width=current_columns() - 4, right=right, rule=False)
    return [f"    {line}".rstrip() for line in lines]
