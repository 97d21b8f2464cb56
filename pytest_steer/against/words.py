"""A comparison in words: a message for each claim, and the lines of the whole that a terminal shows."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Mapping
from typing import Any

Record = Mapping[str, Any]

CALLED = {
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


def message(entry: Record) -> str:
    """What became of one claim, in one line."""
    before, after, name = entry["before"], entry["after"], entry["name"]
    what = f"{name}: {CALLED[entry['outcome']]}"
    if after is None:
        return f"{what}: was {before['verdict']}{_because(entry)}"
    if before is None:
        return f"{what}: {after['verdict']}{_because(entry)}"
    verdicts = after["verdict"] if before["verdict"] == after["verdict"] else f"{before['verdict']} -> {after['verdict']}"
    return f"{what}: {verdicts}{_moved(entry)}{_because(entry)}"


def _moved(entry: Record) -> str:
    before, after, percent = entry["before"], entry["after"], entry["percent"]
    if before["estimate"] is None or after["estimate"] is None:
        return ""
    said = f", {entry['statistic']} {number(before['estimate'], percent)} -> {number(after['estimate'], percent)}"
    if entry["difference"] is None:
        return said
    low, high = entry["interval"]
    if entry["difference"] == 0 and before["estimate"] == after["estimate"] and not any(entry["flips"].values()):
        missed = f", where a change of up to {number(max(-low, high), percent)} can be missed" if high > low else ""
        return f", {entry['statistic']} {number(after['estimate'], percent)}, equal on all {entry['n']}{missed}"
    said += f": {_signed(entry['difference'], percent)} [{_signed(low, percent)}, {_signed(high, percent)}]"
    return f"{said} over {entry['n']}{_proven(entry)}"


def _signed(value: float, percent: bool) -> str:
    return f"{'+' if value > 0 else ''}{number(value, percent)}"


def _proven(entry: Record) -> str:
    """Whether the interval says something where the verdicts say nothing."""
    if entry["outcome"] not in ("held", "unchanged"):
        return ""
    low, high = entry["interval"]
    return ", a change that is not proven either way" if low < 0 < high else ", within the tolerance or rounding"


def _because(entry: Record) -> str:
    reasons = list(entry["reasons"])
    items, flips = entry["items"], entry["flips"]
    counts = [f"{items[key]} {key}" for key in ("changed", "gone", "new") if items[key]]
    reasons += [f"units {', '.join(counts)}"] if counts else []
    reasons += [f"{flips['lost']} flipped to the bad side, {flips['gained']} back"] if any(flips.values()) else []
    return f" ({'; '.join(reasons)})" if reasons else ""


def summary_lines(against: Record, width: int = 80) -> list[str]:
    """The comparison as a terminal shows it: the baseline, the counts, and each claim that is not as it was.

    Args:
        width: no line is wider, but for a word that is.
    """
    baseline = against["baseline"] or {}
    lines = wrapped(f"held against {baseline.get('path', 'an earlier report')} ({baseline_words(baseline)})", width)
    for note in against["notes"]:
        lines += wrapped(f"  {note}", width)
    for entry in against["claims"]:
        if entry["outcome"] == "held" and not entry["reasons"] and not any(entry["items"].values()):
            continue
        lines += wrapped(f"  {entry['message']}", width)
        for one in entry["flipped"][:_SHOWN_FLIPS] if entry["outcome"] in ("broken", "worse") else ():
            moved = f"    [{one['id']}] {number(one['before'])} -> {number(one['after'])}  "
            text = f"{moved}{' '.join((one['question'] or '').split())}".rstrip()
            lines.append(text if len(text) <= width else f"{text[: width - 3]}...")
    return [*lines, *wrapped(counts_line(against), width)]


def counts_line(against: Record) -> str:
    """How many claims came to each outcome, worst first."""
    counts = Counter(entry["outcome"] for entry in against["claims"])
    said = [f"{counts[outcome]} {CALLED[outcome]}" for outcome in CALLED if counts[outcome]]
    said += [f"{against['not_run']} of the baseline not run"] if against["not_run"] else []
    return ", ".join(said) or "no claims"


def baseline_words(baseline: Record) -> str:
    """Date, model and hash of a baseline."""
    parts = [
        str(baseline["date"])[:10] if baseline.get("date") else "",
        str(baseline.get("model") or ""),
        f"sha256 {baseline['sha256'][:12]}" if baseline.get("sha256") else "",
    ]
    return ", ".join(filter(None, parts)) or "no provenance"


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
