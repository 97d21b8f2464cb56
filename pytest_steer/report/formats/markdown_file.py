"""Markdown for a comment or a step summary on GitHub: the verdict first, what is broken with its numbers, and a table of all claims."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.numbers import number, promised
from ...core.record import record_of
from ..baseline_markdown import against_baseline
from ..blocks_markdown import drawn_blocks
from ..markdown import block, code, folded, prose, table
from ..marks import marks_of
from ..replies_markdown import replies_table, worst_pairs
from ..verdict import BROKEN, HOLDS, NOT_MEASURED, Claim, ReportVerdict, verdict_of, verdict_words
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
