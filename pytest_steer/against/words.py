"""A comparison in words: a message for each claim, and the lines of the whole that a terminal shows."""

from __future__ import annotations

import textwrap
from collections import Counter

from ..core.record import Against, AgainstClaim, BaselineSource, Judged, OtherUnits, Outcome

CALLED: dict[Outcome, str] = {
    "broken": "broken",
    "worse": "worse",
    "gone": "gone",
    "not_comparable": "not comparable",
    "new": "new",
    "newly_holding": "newly holding",
    "better": "better",
    "unchanged": "unchanged",
    "held": "held",
}
_SHOWN_FLIPS = 3


def number(value: float | None, percent: bool = False) -> str:
    """Three significant digits; a share as per cent."""
    if value is None:
        return "-"
    return f"{100 * value + 0.0:.3g}%" if percent else f"{value + 0.0:.3g}"


def message(entry: AgainstClaim) -> str:
    """What became of one claim, in one line."""
    before, after, name = entry.before, entry.after, entry.name
    what = f"{name}: {CALLED[entry.outcome]}"
    if before is None or after is None:
        was = (
            f"{what}: was {before.verdict}" if before is not None else what if after is None else f"{what}: {after.verdict}"
        )
        return f"{was}{_because(entry)}"
    verdicts = after.verdict if before.verdict == after.verdict else f"{before.verdict} -> {after.verdict}"
    return f"{what}: {verdicts}{_moved(entry, before, after)}{_because(entry)}"


def _moved(entry: AgainstClaim, before: Judged, after: Judged) -> str:
    percent = entry.percent
    if before.estimate is None or after.estimate is None:
        return ""
    said = f", {entry.statistic} {number(before.estimate, percent)} -> {number(after.estimate, percent)}"
    if entry.difference is None or entry.interval is None:
        return said
    low, high = entry.interval
    if entry.difference == 0 and before.estimate == after.estimate and not (entry.flips.lost or entry.flips.gained):
        missed = f", where a change of up to {number(max(-low, high), percent)} can be missed" if high > low else ""
        return f", {entry.statistic} {number(after.estimate, percent)}, equal on all {entry.n}{missed}"
    said += f": {_signed(entry.difference, percent)} [{_signed(low, percent)}, {_signed(high, percent)}]"
    return f"{said} over {entry.n}{_proven(entry.outcome, low, high)}"


def _signed(value: float, percent: bool) -> str:
    return f"{'+' if value > 0 else ''}{number(value, percent)}"


def _proven(outcome: Outcome, low: float, high: float) -> str:
    """Whether the interval says something where the verdicts say nothing."""
    if outcome not in ("held", "unchanged"):
        return ""
    return ", a change that is not proven either way" if low < 0 < high else ", within the tolerance or rounding"


def _because(entry: AgainstClaim) -> str:
    reasons = list(entry.reasons)
    items, flips = entry.items, entry.flips
    named = (("changed", items.changed), ("gone", items.gone), ("new", items.new))
    counts = [f"{count} {name}" for name, count in named if count]
    reasons += [f"units {', '.join(counts)}"] if counts else []
    reasons += [f"{flips.lost} flipped to the bad side, {flips.gained} back"] if flips.lost or flips.gained else []
    return f" ({'; '.join(reasons)})" if reasons else ""


def summary_lines(against: Against, width: int = 80) -> list[str]:
    """The comparison as a terminal shows it: the baseline, the counts, and each claim that is not as it was.

    Args:
        width: no line is wider, but for a word that is.
    """
    baseline = against.baseline
    path = "an earlier report" if baseline is None else baseline.path
    lines = wrapped(f"compared with {path} ({baseline_words(baseline)})", width)
    for note in against.notes:
        lines += wrapped(f"  {note}", width)
    for entry in against.claims:
        if entry.outcome == "held" and not entry.reasons and entry.items == OtherUnits():
            continue
        lines += wrapped(f"  {entry.message}", width)
        for one in entry.flipped[:_SHOWN_FLIPS] if entry.outcome in ("broken", "worse") else ():
            moved = f"    [{one.id}] {number(one.before)} -> {number(one.after)}  "
            text = f"{moved}{' '.join((one.question or '').split())}".rstrip()
            lines.append(text if len(text) <= width else f"{text[: width - 3]}...")
    return [*lines, *wrapped(counts_line(against), width)]


def counts_line(against: Against) -> str:
    """How many claims came to each outcome, worst first."""
    counts = Counter(entry.outcome for entry in against.claims)
    said = [f"{counts[outcome]} {words}" for outcome, words in CALLED.items() if counts[outcome]]
    said += [f"{against.not_run} of the baseline not run"] if against.not_run else []
    return ", ".join(said) or "no claims"


def baseline_words(baseline: BaselineSource | None) -> str:
    """Date, model and hash of a baseline."""
    if baseline is None:
        return "no provenance"
    return ", ".join(filter(None, (baseline.date[:10], baseline.model, f"sha256 {baseline.sha256[:12]}")))


def wrapped(text: str, width: int) -> list[str]:
    """Lines of at most this width; later ones are indented by two more."""
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text.strip(),
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
