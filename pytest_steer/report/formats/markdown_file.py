"""Markdown for a comment or a step summary on GitHub: the verdict first, what is broken with its numbers, and a table of all claims."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.block import Curve, Intervals, Items, Line, Table, block_of
from ...core.columns import visible
from ...core.numbers import number, promised
from ...core.record import record_of
from ..replies import SIDES, agreement_words, counts_words, judge_name, outcome_words, pair_name
from ..verdict import BROKEN, HOLDS, NOT_MEASURED, Claim, ReportVerdict, marks_of, verdict_of, verdict_words
from .kinds import report_format

MARKER = "<!-- pytest-steer: summary -->"
# GitHub takes 65,536 characters in a comment. Bytes are counted, of which there are at least as many.
COMMENT = 65_000
_NAME, _WHY = 160, 400
_SIGNS = {HOLDS: "✅", BROKEN: "❌", NOT_MEASURED: "⚠️"}


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


@report_format("markdown", suffixes=[".md"])
def to_markdown(report: dict[str, Any]) -> str:
    """The verdict, what is broken and a table of all claims, short enough for a comment on GitHub."""
    return markdown_of(report, COMMENT)


def markdown_of(report: dict[str, Any], limit: int) -> str:
    """The summary in at most ``limit`` bytes, 20,000 or more. What there is no room for is named at its end."""
    verdict = verdict_of(report)
    for room in _ROOMS:
        text = _text(report, verdict, room)
        if len(text.encode(errors="replace")) <= limit:
            break
    return text


def _text(report: dict[str, Any], verdict: ReportVerdict, room: _Room) -> str:
    left_out: list[str] = []

    def first(things: Sequence[Any], many: int | None, words: str) -> Sequence[Any]:
        if many is None or len(things) <= many:
            return things
        left_out.append(f"{len(things) - many} of {len(things)} {words}")
        return things[:many]

    with_message = first(verdict.broken + verdict.errors + verdict.inconclusive, room.messages, "messages in full")
    shown = {id(claim) for claim in with_message}
    sections: list[tuple[str, list[Claim], Callable[[Claim], str]]] = [
        ("Broken", verdict.broken, _why),
        ("Could not be measured", verdict.errors, lambda claim: prose(str(claim["error"]).partition("\n")[0], _WHY)),
        ("Not enough evidence", verdict.inconclusive, _why),
        ("Hold, although known to fail: delete their `xfail`", verdict.unexpected, _known),
    ]
    parts = [MARKER, f"## {_SIGNS[verdict.code]} {verdict.headline}", _subject(report, verdict)]
    if verdict.missing:
        parts.append(f"**Not all was measured:** {'; '.join(verdict.missing)}.")
    for title, claims, why in sections:
        if claims:
            kept = first(claims, room.entries, f"claims under {title!r}")
            entries = [
                f"- {_named(claim)}: {why(claim)}{_pairs(claim, room.pairs)}{_shown(claim) if id(claim) in shown else ''}"
                for claim in kept
            ]
            parts += [f"### {title}", "\n".join(entries)]
    if report.get("against"):
        parts.append(against_baseline(report["against"], lambda rows: first(rows, room.rows, "rows of the baseline")))
    if report["claims"]:
        rows = [_row(claim) for claim in first(report["claims"], room.rows, "rows of the table of all claims")]
        headers = ["verdict", "claim", "statistic", "estimate", "interval", "promised", "n"]
        parts += ["### All claims", table(headers, rows)]
    replied = [
        (code(_name(claim), _NAME, in_table=True), claim["replies"]) for claim in report["claims"] if claim.get("replies")
    ]
    if replied:
        parts += ["### Replies", replies_table(first(replied, room.rows, "rows of the table of replies"))]
    if verdict.known:
        known = first(verdict.known, room.entries, "known failures")
        body = "\n".join(f"- {_named(claim)}: {prose(str(claim['xfail']), _WHY)}" for claim in known)
        parts.append(folded("Known failures", body))
    warned = [
        (claim, f"{one['text']}{': ' if one['cure'] else ''}{one['cure']}")
        for claim in report["claims"]
        for one in claim["findings"]
    ]
    if warned and room.warnings != 0:
        warned = list(first(warned, room.warnings, "warnings"))
        parts.append(folded("Warnings", "\n".join(f"- {_named(claim)}: {prose(text, _WHY)}" for claim, text in warned)))
    elif warned:
        left_out.append(f"{len(warned)} warnings")
    with_pairs = sum(bool(claim.get("replies")) for claim in verdict.broken + verdict.inconclusive)
    if with_pairs and room.pairs < _Room.pairs:
        left_out.append(f"replies of {with_pairs} claims{', of each but the worst' if room.pairs else ''}")
    parts.append(folded("Provenance", _provenance(report)))
    if left_out:
        parts.append(f"Left out, because GitHub takes no more: {'; '.join(left_out)}. The JSON report has them.")
    return "\n\n".join(parts) + "\n"


def _subject(report: dict[str, Any], verdict: ReportVerdict) -> str:
    provenance = report["provenance"]
    models = [f"{code(model['id'], _NAME)} ({prose(model['dtype'], 20)})" for model in provenance.get("models") or []]
    more = f" and {len(models) - 3} more" if len(models) > 3 else ""
    on = f"On {', '.join(models[:3])}{more}" if models else "On no model"
    counts = f"{verdict.counts}. " if verdict.counts else ""
    return f"{counts}{on}, profile {prose(provenance['profile'], 40)}, seed {provenance['seed']}, {_day(report)}."


def _day(report: dict[str, Any]) -> str:
    return prose(str(report["provenance"]["started"])[:16].replace("T", " "))


def _named(claim: Claim) -> str:
    kind = f" ({code(claim['check'], 60)})" if claim["check"] not in ("", claim["name"]) else ""
    return f"{code(_name(claim), _NAME)}{kind}"


def _name(claim: Claim) -> str:
    # An assertion is known by its test, a claim by its name; both follow the file in the id.
    return f"{claim['suite']}: {claim['id'].partition('::')[2] or claim['name']}"


def _numbers(claim: Claim) -> tuple[str, str, str]:
    """Estimate, interval and promise."""
    if claim["estimate"] is None:
        return "-", "-", "-"
    percent = claim.get("percent", False)
    low, high = claim["interval"]
    interval = f"[{number(low, percent)}, {number(high, percent)}]" if (low, high) != (None, None) else "-"
    return number(claim["estimate"], percent), interval, promised(claim["promised"], claim["threshold"], percent)


def _keeping(claim: Claim, keeps: str) -> str:
    return keeps if claim["threshold"] is None else f"promised {keeps}"


def _why(claim: Claim) -> str:
    """The numbers of a claim that does not hold, and why that is its verdict, on one line."""
    estimate, interval, keeps = _numbers(claim)
    reason = claim["reason"]
    if claim["verdict"] == "inconclusive" and claim.get("items_needed"):
        reason += f"; about {claim['items_needed']} {claim['unit']} would decide"
    counterexample = claim.get("counterexample")
    broken_by = (
        f" Broken in the context {code(json.dumps(counterexample['context'], ensure_ascii=False), _WHY)}."
        if counterexample
        else ""
    )
    return (
        f"{prose(claim.get('statistic', ''), 80)} **{estimate}** {prose(interval)}, {_keeping(claim, keeps)}; "
        f"{prose(reason, _WHY)}.{broken_by}"
    )


def _known(claim: Claim) -> str:
    estimate, interval, keeps = _numbers(claim)
    return f"**{estimate}** {prose(interval)}, {_keeping(claim, keeps)}. It was expected to fail: {prose(str(claim['xfail']), _WHY)}"


def _pairs(claim: Claim, most: int) -> str:
    """The replies of a claim that does not hold."""
    shown = worst_pairs(claim.get("replies"), most, "  ") if claim["verdict"] != "pass" else ""
    return f"\n\n{shown}\n" if shown else ""


def _shown(claim: Claim) -> str:
    """What else the claim shows, folded; of an error, all that is known."""
    said = drawn_blocks(claim) if claim["verdict"] != "error" else block(str(claim["error"]))
    said = said if len(said) <= 4_000 else f"{said[:4_000].rpartition(chr(10))[0]}\n\n... (cut)"
    indented = "\n".join(f"  {line}" for line in said.split("\n"))
    return f"\n\n{folded('What was measured', indented, '  ')}\n" if said else ""


def _row(claim: Claim) -> list[str]:
    estimate, interval, keeps = _numbers(claim)
    verdict = verdict_words(claim["verdict"], claim["xfail"])
    shown = ", ".join([verdict if verdict == "pass" else f"**{verdict}**", *map(prose, marks_of(record_of(claim)))])
    name = code(_name(claim), _NAME, in_table=True)
    kind = prose(claim.get("statistic") or claim["check"] or "-", 80)
    return [shown, name, kind, estimate, interval, keeps, str(claim["n"] or "-")]


def _provenance(report: dict[str, Any]) -> str:
    provenance = report["provenance"]
    lines = []
    for model in provenance.get("models") or []:
        lines.append(
            f"- model {code(model['id'], _NAME)}: {model['layers']} layers, width {model['width']}, {prose(model['dtype'])} on "
            f"{prose(model['device'])}, fingerprint {code(model['fingerprint'][:16])}, {prose(model.get('template_name') or 'template not known', 80)}"
        )
        if len(lines) == 8:
            break
    commit = provenance.get("commit")
    if commit:
        lines.append(
            f"- commit {code(commit['id'], 60)}{' with changes that are not committed' if commit.get('dirty') else ''}"
        )
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    lines.append(f"- versions: {prose(versions, _WHY)}")
    lines.append(f"- started {_day(report)} UTC, took {provenance['seconds']:.0f} s")
    return "\n".join(lines)


_ASKED, _REPLY, _WHY = 160, 300, 160
"""Characters of a turn of the user, of a reply, and of why it is judged as it is."""
_TURNS = 3


def worst_pairs(replies: Mapping[str, Any] | None, most: int, indent: str = "") -> str:
    """The worst pairs side by side, folded; empty where there are none. Of long conversations, the last turns.

    Args:
        indent: before each line, as of a table in a list.
    """
    pairs = [] if replies is None else replies["of"]
    kept = pairs[:most]
    if replies is None or not kept:
        return ""
    rows = [row for pair in kept for row in _rows(replies, pair)]
    body = "\n".join(f"{indent}{line}" for line in table(["asked", *SIDES], rows).split("\n"))
    return folded(f"Replies, the worst first ({len(kept)} of {len(pairs)})", body, indent)


def _rows(replies: Mapping[str, Any], pair: Mapping[str, Any]) -> list[list[str]]:
    """How both sides are judged, and of each turn what is asked and both replies."""
    sides = [pair[side] for side in SIDES]
    many = max(len(pair["prompt"]), *(len(reply["turns"]) for reply in sides))
    first = max(0, many - _TURNS)
    rows = [[f"**{code(pair_name(replies, pair), 80, in_table=True)}**", *(_outcome(reply) for reply in sides)]]
    rows += [[f"*{first} earlier turns*", "", ""]] if first else []
    for turn in range(first, many):
        rows.append([_turn(pair["prompt"], turn, _ASKED), *(_turn(reply["turns"], turn, _REPLY) for reply in sides)])
    return rows


def _outcome(reply: Mapping[str, Any]) -> str:
    said = prose(outcome_words(reply), _WHY)
    return f"**{said}**" if said else ""


def _turn(turns: Sequence[str], turn: int, longest: int) -> str:
    return "" if turn >= len(turns) else cell(turns[turn], longest) or "*(empty)*"


def replies_table(claims: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Of each claim with replies, who judged, what the replies came to, and how far the judge agrees with people.

    Args:
        claims: the name of each, as Markdown, and its replies.
    """
    rows = [
        [
            name,
            prose(judge_name(replies), 160) or "-",
            *(counts_words(replies, side) for side in SIDES),
            prose(agreement_words(replies), 160) or "-",
        ]
        for name, replies in claims
    ]
    return table(["claim", "judge", *SIDES, "agreement with people"], rows)


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


_ITEMS = 3
_WORDS, _TEXT, _CELL = 400, 200, 120
"""Characters of a line, of an item's text and of a cell."""


def drawn_blocks(claim: Mapping[str, Any]) -> str:
    """All that a claim shows beside its numbers and its replies; empty where it shows nothing."""
    parts: list[str] = []
    lines: list[str] = []

    def end_list() -> None:
        if lines:
            parts.append("\n".join(lines))
            lines.clear()

    for record in claim["blocks"]:
        block = block_of(record)
        if isinstance(block, Line):
            lines += [f"- {prose(one, _WORDS)}" for one in block.words.split("\n")]
        elif not getattr(block, "is_drawing", False) and (draw := _DRAWN.get(type(block))):
            end_list()
            parts.append(draw(block))
    end_list()
    return "\n\n".join(parts)


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
    rows = []
    for one in block.rows:
        low, high = (number(bound, block.percent) for bound in one.interval)
        bounds = "-" if (low, high) == ("-", "-") else f"[{low}, {high}]"
        n = "-" if one.n is None else str(one.n)
        rows.append([one.name, n, number(one.estimate, block.percent), bounds, one.verdict or ""])
    return _titled(block.title, "") + _cells(["", "n", block.x, "interval", ""], rows)


def _items(block: Items) -> str:
    lines = []
    for one in block.items[:_ITEMS]:
        texts = "; ".join(f"{prose(part.name)}: {prose(part.text, _CELL)}" for part in one.texts if part.text)
        said = ". ".join(part for part in (prose(one.text, _TEXT), texts) if part)
        lines.append(f"- {code(one.id, 80)} {prose(one.words, _CELL)}{f'<br>{said}' if said else ''}")
    return _titled(block.title, f"{min(_ITEMS, len(block.items))} of {block.of}") + "\n".join(lines)


_DRAWN: dict[type, Callable[[Any], str]] = {Table: _table, Curve: _curve, Intervals: _intervals, Items: _items}


def _titled(title: str, about: str) -> str:
    return f"**{prose(title, _CELL)}**{f' ({prose(about, _CELL)})' if about else ''}\n\n" if title else ""


def _cells(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return table([cell(one, _CELL) for one in headers], [[cell(str(one), _CELL) for one in row] for row in rows])


_FLIPPED = 20
# The worst first. A claim that is held on the same items has no row.
_ORDER = {
    "broken": "broken",
    "worse": "worse",
    "not_comparable": "not comparable",
    "gone": "gone",
    "new": "new",
    "newly_holding": "newly holding",
    "better": "better",
    "unchanged": "not holding, as before",
    "held": "held",
}


def against_baseline(against: dict[str, Any], first: Callable[[Sequence[Any]], Sequence[Any]]) -> str:
    """A heading, which baseline it was, how many claims came to what, and a row for each that changed.

    Args:
        first: keeps the rows that there is room for.
    """
    outcomes = Counter(claim["outcome"] for claim in against["claims"])
    counts = ", ".join(f"{outcomes[outcome]} {words}" for outcome, words in _ORDER.items() if outcomes[outcome])
    baseline = against["baseline"]
    if against.get("not_run"):
        counts += f", {against['not_run']} of the baseline not run"
    about = [f"sha256 {code(str(baseline['sha256'])[:12])}"] if baseline.get("sha256") else []
    if baseline.get("date"):
        about.append(f"of {prose(str(baseline['date']), 40)}")
    if baseline.get("model"):
        about.append(f"on {code(_model(baseline['model']), 160)}")
    about_it = ", ".join(about)
    parts = [
        "### Against the baseline",
        f"{counts or 'no claim'} against {code(str(baseline['path']), 160)}{f' ({about_it})' if about_it else ''}.",
    ]
    parts += [f"- {prose(str(note), 400)}" for note in against.get("notes") or ()]
    order = list(_ORDER)
    changed = [claim for claim in against["claims"] if claim["outcome"] != "held" or _is_about_other_items(claim)]
    changed.sort(key=lambda claim: order.index(claim["outcome"]) if claim["outcome"] in order else len(order))
    if changed:
        headers = ["outcome", "claim", "before", "after", "difference", "paired", "items that flipped", "why"]
        parts.append(table(headers, [_table_row(claim) for claim in first(changed)]))
    flipped = [(claim, item) for claim in against["claims"] for item in claim.get("flipped") or ()]
    if flipped:
        kept = flipped[:_FLIPPED]
        lines = [
            f"- {code(str(claim['id']), 160)}: item {code(str(item['id']), 80)}, "
            f"{number(item['before'])} → {number(item['after'])}{_asked(item)}"
            for claim, item in kept
        ]
        parts.append(folded(f"Items that flipped ({len(kept)} of {len(flipped)})", "\n".join(lines)))
    return "\n\n".join(parts)


def _asked(item: dict[str, Any]) -> str:
    """The question of an item, where the report has it."""
    return f": {prose(str(item['question']), 160)}" if item.get("question") else ""


def _is_about_other_items(claim: dict[str, Any]) -> bool:
    """Whether more than its numbers changed, which no claim may hide, held or not."""
    return bool(claim.get("reasons")) or any((claim.get("items") or {}).values())


def _table_row(claim: dict[str, Any]) -> list[str]:
    percent = bool(claim.get("percent"))
    difference = number(claim["difference"], percent) if claim.get("difference") is not None else "-"
    if difference != "-" and claim.get("interval"):
        low, high = claim["interval"]
        difference += f" [{number(low, percent)}, {number(high, percent)}]"
    items = ", ".join(f"{count} {word}" for word, count in (claim.get("items") or {}).items() if count)
    why = (
        "; ".join([*claim.get("reasons", ()), *([f"items: {items}"] if items else [])])
        or str(claim.get("message") or "").partition("\n")[0]
    )
    return [
        f"**{_ORDER.get(claim['outcome'], prose(str(claim['outcome']), 40))}**",
        code(str(claim["id"]), 160, in_table=True),
        _side(claim.get("before"), percent),
        _side(claim.get("after"), percent),
        difference,
        str(claim.get("n") or "-"),
        str(len(claim.get("flipped") or ()) or "-"),
        prose(why, 400),
    ]


def _side(side: dict[str, Any] | None, percent: bool) -> str:
    if side is None:
        return "-"
    return f"{prose(str(side['verdict']), 40)} {number(side.get('estimate'), percent)}"


def _model(model: Any) -> str:
    return str(model.get("id", "")) if isinstance(model, dict) else str(model)
