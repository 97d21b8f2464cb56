"""Markdown for a comment or a step summary on GitHub: the verdict first, what is broken with its numbers, and a table of all claims."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any, TypeVar

from ...core.block import Conversation, Curve, Intervals, Items, Line, Table, block_of, in_text
from ...core.columns import visible
from ...core.evidence import Json
from ...core.numbers import bounds, number, promised, would_decide
from ...core.record import Against, AgainstClaim, ClaimRecord, Judged, Outcome, Provenance, Replies, ReplyPair, Report, typed
from ..replies import agreement_words, counted, judge_name, outcome_words, pair_name, sides_of
from ..verdict import (
    BROKEN,
    ERROR,
    INCONCLUSIVE,
    KNOWN,
    UNEXPECTED,
    ReportVerdict,
    marks_of,
    own_name,
    verdict_of,
    verdict_words,
    words_of,
)  # fmt: skip
from .kinds import report_format

MARKER = "<!-- pytest-steer: summary -->"
# GitHub takes 65,536 characters in a comment. Bytes are counted, of which there are at least as many.
COMMENT = 65_000
_SIGNS = {0: "✅", 1: "❌", 3: "⚠️"}
_NAME, _WHY, _KIND = 160, 400, 80
"""Characters of a name, of a sentence of somebody's, and of a few words."""
Thing = TypeVar("Thing")


@report_format("markdown", suffixes=[".md"])
def to_markdown(report: Json) -> str:
    """The verdict, what is broken and a table of all claims, short enough for a comment on GitHub."""
    return markdown_of(report, COMMENT)


def markdown_of(report: Json, limit: int) -> str:
    """The summary in at most ``limit`` bytes, 20,000 or more. What there is no room for is named at its end."""
    whole = typed(report)
    verdict = verdict_of(whole)
    for room in _ROOMS:
        text = _text(whole, verdict, room)
        if len(text.encode(errors="replace")) <= limit:
            break
    return text


@dataclass(frozen=True)
class _Room:
    """How many of each there is room for; None for all. ``pairs``: of replies, of each claim that does not hold."""

    messages: int | None = None
    warnings: int | None = None
    entries: int | None = None
    rows: int | None = None
    pairs: int = 3


# From all to what always fits.
_ROOMS = (
    _Room(), _Room(messages=20), _Room(messages=5), _Room(messages=5, pairs=1), _Room(messages=5, pairs=0), _Room(messages=0, pairs=0),
    _Room(0, 20, pairs=0), _Room(0, 0, pairs=0), _Room(0, 0, 40, 200, 0), _Room(0, 0, 20, 60, 0), _Room(0, 0, 10, 20, 0),
    _Room(0, 0, 3, 5, 0),
)  # fmt: skip


def _text(report: Report, verdict: ReportVerdict, room: _Room) -> str:
    left_out: list[str] = []

    def first(things: Sequence[Thing], many: int | None, words: str) -> Sequence[Thing]:
        if many is None or len(things) <= many:
            return things
        left_out.append(f"{len(things) - many} of {len(things)} {words}")
        return things[:many]

    of = verdict.claims
    with_message = first(of[BROKEN] + of[ERROR] + of[INCONCLUSIVE], room.messages, "messages in full")
    shown = {id(claim) for claim in with_message}
    parts = [MARKER, f"## {_SIGNS[verdict.code]} {verdict.headline}", _subject(report.provenance, verdict)]
    if verdict.missing:
        parts.append(f"**Not all was measured:** {'; '.join(verdict.missing)}.")
    for title, category, why in (
        ("Broken", BROKEN, _why),
        ("Could not be measured", ERROR, lambda claim: prose((claim.error or "").partition("\n")[0], _WHY)),
        ("Not enough evidence", INCONCLUSIVE, _why),
        ("Hold, although known to fail: delete their `xfail`", UNEXPECTED, _known),
    ):
        if of[category]:
            kept = first(of[category], room.entries, f"claims under {title!r}")
            entries = [
                f"- {_named(claim)}: {why(claim)}{_pairs(claim, room.pairs)}{_shown(claim) if id(claim) in shown else ''}"
                for claim in kept
            ]
            parts += [f"### {title}", "\n".join(entries)]
    if report.against:
        parts += _against(report.against, lambda rows: first(rows, room.rows, "rows of the baseline"))
    if report.claims:
        rows = [_row(claim) for claim in first(report.claims, room.rows, "rows of the table of all claims")]
        headers = ["verdict", "claim", "statistic", "estimate", "interval", "promised", "n"]
        parts += ["### All claims", table(headers, rows)]
    replied = [(claim, claim.replies) for claim in report.claims if claim.replies]
    if replied:
        kept_rows = [_replies_row(*one) for one in first(replied, room.rows, "rows of the table of replies")]
        parts += ["### Replies", table(["claim", "judge", "base", "steered", "agreement with people"], kept_rows)]
    if of[KNOWN]:
        known = first(of[KNOWN], room.entries, "known failures")
        body = "\n".join(f"- {_named(claim)}: {prose(claim.xfail or '', _WHY)}" for claim in known)
        parts.append(folded("Known failures", body))
    warned = [(claim, words_of(one)) for claim in report.claims for one in claim.findings]
    if warned and room.warnings != 0:
        said = first(warned, room.warnings, "warnings")
        parts.append(folded("Warnings", "\n".join(f"- {_named(claim)}: {prose(text, _WHY)}" for claim, text in said)))
    elif warned:
        left_out.append(f"{len(warned)} warnings")
    with_pairs = sum(bool(claim.replies) for claim in of[BROKEN] + of[INCONCLUSIVE])
    if with_pairs and room.pairs < _Room.pairs:
        left_out.append(f"replies of {with_pairs} claims{', of each but the worst' if room.pairs else ''}")
    parts.append(folded("Provenance", _provenance(report.provenance)))
    if left_out:
        parts.append(f"Left out, because GitHub takes no more: {'; '.join(left_out)}. The JSON report has them.")
    return "\n\n".join(parts) + "\n"


def _subject(run: Provenance, verdict: ReportVerdict) -> str:
    models = [f"{code(model.id, _NAME)} ({prose(model.dtype, 20)})" for model in run.models]
    more = f" and {len(models) - 3} more" if len(models) > 3 else ""
    on = f"On {', '.join(models[:3])}{more}" if models else "On no model"
    counts = f"{verdict.counts}. " if verdict.counts else ""
    return f"{counts}{on}, profile {prose(run.profile, 40)}, seed {run.seed}, {_day(run)}."


def _day(run: Provenance) -> str:
    return prose(run.started[:16].replace("T", " "))


def _provenance(run: Provenance) -> str:
    lines = [
        f"- model {code(model.id, _NAME)}: {model.layers} layers, width {model.width}, {prose(model.dtype)} on {prose(model.device)}, "
        f"fingerprint {code(model.fingerprint[:16])}, {prose(model.template_name or 'template not known', _KIND)}"
        for model in run.models[:8]
    ]
    if commit := run.commit:
        lines.append(f"- commit {code(commit.id, 60)}{' with changes that are not committed' if commit.dirty else ''}")
    lines.append(f"- versions: {prose(', '.join(f'{name} {version}' for name, version in run.versions.items()), _WHY)}")
    lines.append(f"- started {_day(run)} UTC, took {run.seconds:.0f} s")
    return "\n".join(lines)


# --- a claim ---


def _name(claim: ClaimRecord) -> str:
    return f"{claim.suite}: {own_name(claim)}"


def _named(claim: ClaimRecord) -> str:
    kind = f" ({code(claim.check, 60)})" if claim.check not in ("", claim.name) else ""
    return f"{code(_name(claim), _NAME)}{kind}"


def _numbers(claim: ClaimRecord) -> tuple[str, str, str]:
    """Estimate, interval and promise."""
    if claim.estimate is None:
        return "-", "-", "-"
    interval = bounds(claim.interval, claim.percent) or "-"
    return number(claim.estimate, claim.percent), interval, promised(claim.promised, claim.threshold, claim.percent)


def _measured(claim: ClaimRecord) -> str:
    estimate, interval, keeps = _numbers(claim)
    return f"**{estimate}** {prose(interval)}, {'' if claim.threshold is None else 'promised '}{keeps}"


def _why(claim: ClaimRecord) -> str:
    """The numbers of a claim that does not hold, and why that is its verdict, on one line."""
    reason, found = claim.reason, claim.counterexample
    if claim.verdict == "inconclusive" and claim.items_needed:
        reason += f"; {would_decide(claim.items_needed, claim.unit)}"
    context = found and code(json.dumps(found.context, ensure_ascii=False), _WHY)
    broken_by = f" Broken in the context {context}." if found else ""
    return f"{prose(claim.statistic, _KIND)} {_measured(claim)}; {prose(reason, _WHY)}.{broken_by}"


def _known(claim: ClaimRecord) -> str:
    return f"{_measured(claim)}. It was expected to fail: {prose(claim.xfail or '', _WHY)}"


def _row(claim: ClaimRecord) -> list[str]:
    verdict = verdict_words(claim.verdict, claim.xfail)
    shown = ", ".join([verdict if verdict == "pass" else f"**{verdict}**", *map(prose, marks_of(claim))])
    name = code(_name(claim), _NAME, in_table=True)
    return [shown, name, prose(claim.statistic or claim.check or "-", _KIND), *_numbers(claim), str(claim.n or "-")]


def _shown(claim: ClaimRecord) -> str:
    """What else the claim shows, folded; of an error, all that is known."""
    said = drawn_blocks(claim.blocks) if claim.verdict != "error" else block(claim.error or "")
    said = said if len(said) <= 4_000 else f"{said[:4_000].rpartition(chr(10))[0]}\n\n... (cut)"
    indented = "\n".join(f"  {line}" for line in said.split("\n"))
    return f"\n\n{folded('What was measured', indented, '  ')}\n" if said else ""


# --- its replies ---

_ASKED, _REPLY, _OUTCOME = 160, 300, 160
"""Characters of a turn of the user, of a reply, and of its outcome with the judge's reason."""
_TURNS = 3
"""How many turns are shown of a conversation: the last ones."""


def _replies_row(claim: ClaimRecord, replies: Replies) -> list[str]:
    """Who judged, the outcomes of the replies, and how far the judge agrees with people."""
    name = code(_name(claim), _NAME, in_table=True)
    sides = [", ".join(f"{count} {outcome}" for outcome, count in side.items()) for side in counted(replies).values()]
    return [name, prose(judge_name(replies), 160) or "-", *sides, prose(agreement_words(replies), 160) or "-"]


def _pairs(claim: ClaimRecord, most: int) -> str:
    """The worst pairs of replies of a claim that does not hold side by side, folded; empty where there are none."""
    replies = claim.replies
    if claim.verdict == "pass" or replies is None or not (kept := replies.of[:most]):
        return ""
    rows = [row for pair in kept for row in _pair_rows(replies, pair)]
    body = "\n".join(f"  {line}" for line in table(["asked", "base", "steered"], rows).split("\n"))
    return f"\n\n{folded(f'Replies, the worst first ({len(kept)} of {len(replies.of)})', body, '  ')}\n"


def _pair_rows(replies: Replies, pair: ReplyPair) -> list[list[str]]:
    """How both sides are judged, and of each turn what is asked and both replies."""
    sides = sides_of(pair).values()
    outcomes = [prose(outcome_words(reply), _OUTCOME) for reply in sides]
    many = max(len(pair.prompt), *(len(reply.turns) for reply in sides))
    first = max(0, many - _TURNS)
    name = code(pair_name(replies, pair), 80, in_table=True)
    rows = [[f"**{name}**", *(said and f"**{said}**" for said in outcomes)]]
    rows += [[f"*{first} earlier turns*", "", ""]] if first else []
    for turn in range(first, many):
        rows.append([_turn(pair.prompt, turn, _ASKED), *(_turn(reply.turns, turn, _REPLY) for reply in sides)])
    return rows


def _turn(turns: Sequence[str], turn: int, longest: int) -> str:
    return "" if turn >= len(turns) else cell(turns[turn], longest) or "*(empty)*"


# --- what else it shows ---

_ITEMS = 3
_WORDS, _TEXT, _CELL = 400, 200, 120
"""Characters of a line, of an item's text and of a cell."""


def drawn_blocks(blocks: Iterable[Json]) -> str:
    """All that a claim shows next to its numbers and its replies; empty where it shows nothing."""
    known = [found for one in blocks if (found := block_of(one)) is not None]
    apart = [one for one in in_text(known) if not isinstance(one, Conversation)]  # replies have a section of their own
    parts: list[str] = []
    for is_lines, group in groupby(apart, key=lambda block: isinstance(block, Line)):
        said = [_DRAWN[type(block)](block) for block in group]
        parts += ["\n".join(said)] if is_lines else said
    return "\n\n".join(parts)


def _line(block: Line) -> str:
    return "\n".join(f"- {prose(one, _WORDS)}" for one in block.words.split("\n"))


def _table(block: Table) -> str:
    width = max([len(block.headers), *map(len, block.rows)])
    headers = [*block.headers, *[""] * (width - len(block.headers))]
    return _titled(block.title, block.about) + _cells(headers, block.rows)


def _curve(block: Curve) -> str:
    grid = list(dict.fromkeys(x for series in block.series for x, _ in series.points))
    rows = []
    for series in block.series:
        at = dict(series.points)
        rows.append([series.name, *(number(at[x], block.percent) if x in at else "" for x in grid)])
    return _titled(block.title, "") + _cells([block.x, *(f"{x:.4g}" for x in grid)], rows)


def _intervals(block: Intervals) -> str:
    rows = [
        [
            one.name, "-" if one.n is None else str(one.n), number(one.estimate, block.percent),
            bounds(one.interval, block.percent) or "-", one.verdict or "",
        ]
        for one in block.rows
    ]  # fmt: skip
    return _titled(block.title, "") + _cells(["", "n", block.x, "interval", ""], rows)


def _items(block: Items) -> str:
    lines = []
    for one in block.items[:_ITEMS]:
        texts = "; ".join(f"{prose(part.name)}: {prose(part.text, _CELL)}" for part in one.texts if part.text)
        said = ". ".join(part for part in (prose(one.text, _TEXT), texts) if part)
        lines.append(f"- {code(one.id, 80)} {prose(one.words, _CELL)}{f'<br>{said}' if said else ''}")
    return _titled(block.title, f"{min(_ITEMS, len(block.items))} of {block.of}") + "\n".join(lines)


_DRAWN: dict[type, Callable[[Any], str]] = {Line: _line, Table: _table, Curve: _curve, Intervals: _intervals, Items: _items}


def _titled(title: str, about: str) -> str:
    return f"**{prose(title, _CELL)}**{f' ({prose(about, _CELL)})' if about else ''}\n\n" if title else ""


def _cells(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table([cell(one, _CELL) for one in headers], [[cell(str(one), _CELL) for one in row] for row in rows])


# --- against a baseline ---

_FLIPPED = 20
# The worst first. A claim that is held on the same items has no row.
_ORDER: dict[Outcome, str] = {
    "broken": "broken", "worse": "worse", "not_comparable": "not comparable", "gone": "gone", "new": "new",
    "newly_holding": "newly holding", "better": "better", "unchanged": "not holding, as before", "held": "held",
}  # fmt: skip


def _against(against: Against, first: Callable[[Sequence[AgainstClaim]], Sequence[AgainstClaim]]) -> list[str]:
    """A heading, which baseline it was, how many claims have which outcome, and a row for each that changed.

    Args:
        first: keeps the rows that there is room for.
    """
    outcomes = Counter(claim.outcome for claim in against.claims)
    counts = (
        ", ".join(f"{outcomes[outcome]} {words}" for outcome, words in _ORDER.items() if outcomes[outcome]) or "no claim"
    )
    left_out = f", {against.not_run} of the baseline not run" if against.not_run else ""
    source = ""
    if baseline := against.baseline:
        about = [f"sha256 {code(baseline.sha256[:12])}"] if baseline.sha256 else []
        about += [f"of {prose(baseline.date, 40)}"] if baseline.date else []
        about += [f"on {code(baseline.model, 160)}"] if baseline.model else []
        details = f" ({', '.join(about)})" if about else ""
        source = f" against {code(baseline.path, 160)}{details}"
    parts = ["### Against the baseline", f"{counts}{left_out}{source}."]
    parts += [f"- {prose(note, 400)}" for note in against.notes]
    changed = [claim for claim in against.claims if claim.outcome != "held" or claim.reasons or _changed(claim)]
    if changed:
        changed.sort(key=lambda claim: list(_ORDER).index(claim.outcome))
        headers = ["outcome", "claim", "before", "after", "difference", "paired", "items that flipped", "why"]
        parts.append(table(headers, [_against_row(claim) for claim in first(changed)]))
    flipped = [(claim, item) for claim in against.claims for item in claim.flipped]
    if flipped:
        lines = [
            f"- {code(claim.id, 160)}: item {code(item.id, 80)}, {number(item.before)} → {number(item.after)}"
            f"{f': {prose(item.question, 160)}' if item.question else ''}"
            for claim, item in flipped[:_FLIPPED]
        ]
        parts.append(folded(f"Items that flipped ({len(lines)} of {len(flipped)})", "\n".join(lines)))
    return parts


def _changed(claim: AgainstClaim) -> str:
    """How many items only one of the two runs has, which no claim may hide, held or not."""
    return ", ".join(f"{count} {word}" for word, count in asdict(claim.items).items() if count)


def _against_row(claim: AgainstClaim) -> list[str]:
    difference = number(claim.difference, claim.percent)
    if claim.difference is not None and claim.interval:
        difference += f" {bounds(claim.interval, claim.percent)}"
    items = _changed(claim)
    why = "; ".join([*claim.reasons, *([f"items: {items}"] if items else [])]) or claim.message.partition("\n")[0]
    return [
        f"**{_ORDER[claim.outcome]}**",
        code(claim.id, 160, in_table=True),
        _side(claim.before, claim.percent),
        _side(claim.after, claim.percent),
        difference,
        str(claim.n or "-"),
        str(len(claim.flipped) or "-"),
        prose(why, 400),
    ]


def _side(side: Judged | None, percent: bool) -> str:
    return "-" if side is None else f"{side.verdict} {number(side.estimate, percent)}"


# --- Markdown that shows a text and obeys nothing of it ---

_MARKS = re.compile(r"([\\`*_\[\]|~])")
_BREAK = "&#8203;"  # a space of no width: what GitHub links, it links only in one piece
# Mentions and addresses, numbers of issues, links, emoji. GitHub looks for them after Markdown, so a backslash does not help.
_LINKED = re.compile(r"(@|#(?=\d)|\bGH-(?=\d)|\bwww(?=\.)|:(?=//)|:(?=[\w+-]+:))", re.IGNORECASE)
_LINE_ENDS = re.compile(r"\s*[\n\r\t]\s*")


def prose(text: str, longest: int | None = None) -> str:
    """The text on one line, escaped.

    Args:
        longest: characters that are kept.
    """
    text = _one_line(text, longest).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _LINKED.sub(rf"\1{_BREAK}", _MARKS.sub(r"\\\1", text))
    return text.replace("$", "<span>$</span>")  # which begins a formula


def cell(text: str, longest: int) -> str:
    """The text escaped for a cell of a table, its lines apart.

    Args:
        longest: characters that are kept.
    """
    text = visible(text.replace("\r\n", "\n")).strip()
    text = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return "<br>".join(prose(line) for line in text.split("\n") if line.strip())


def code(text: str, longest: int | None = None, *, in_table: bool = False) -> str:
    """The text on one line as a code span.

    Args:
        in_table: it stands in a cell, where a pipe has to be escaped even in code.
    """
    text = _one_line(text, longest) or " "
    ticks = "`" * (_longest_run(text) + 1)
    inner = f" {text} " if text.startswith("`") or text.endswith("`") else text
    span = f"{ticks}{inner}{ticks}"
    return span.replace("|", "\\|") if in_table else span


def block(text: str, indent: str = "") -> str:
    """The text as a fenced block.

    Args:
        indent: before each line, as of a block in a list.
    """
    text = visible(text.replace("\r\n", "\n"))
    fence = "`" * max(3, _longest_run(text) + 1)
    return "\n".join(indent + line for line in (f"{fence}text", *text.split("\n"), fence))


def folded(summary: str, body: str, indent: str = "") -> str:
    """A body of Markdown that opens with a click.

    Args:
        summary: constant words, as HTML.
    """
    return f"{indent}<details><summary>{summary}</summary>\n\n{body}\n\n{indent}</details>"


def table(headers: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are Markdown already."""
    lines = [headers, ["---"] * len(headers), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _one_line(text: str, longest: int | None) -> str:
    text = visible(_LINE_ENDS.sub(" ", text)).strip()
    return text if longest is None or len(text) <= longest else f"{text[: longest - 1]}…"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)
