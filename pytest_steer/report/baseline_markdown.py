"""The comparison of a report with its baseline, as Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from ..core.numbers import number
from .markdown import code, folded, prose, table

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
        parts.append(table(headers, [_row(claim) for claim in first(changed)]))
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


def _row(claim: dict[str, Any]) -> list[str]:
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
