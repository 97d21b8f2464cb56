"""The words and figures of ``beats``: the vector beside its baselines, and the items on which it does least."""

from __future__ import annotations

from typing import Any

from ..evidence import Evidence
from . import words
from .figures import Figure, Intervals, figures_of_items, interval_row, promised_in
from .numbers import number


def headline(evidence: Evidence) -> str:
    """The verdict with its numbers; what equals its baseline does not beat it."""
    details = evidence.details
    said = words.headline(evidence, details["over_budget"] or details["within_rounding"])
    return said.replace("promised at least", "promised more than", 1)


def remarks(evidence: Evidence) -> list[str]:
    """The vector beside what it is held against, whatever the verdict."""
    return [*words.remarks(evidence), *_table(evidence), *words.controls_beside(evidence)]


def explanation(evidence: Evidence) -> list[str]:
    """Why the claim did not pass."""
    worst = sorted(evidence.items or (), key=lambda item: item["difference"])[: words.WORST]
    return [
        *words.decide(evidence, _instead(evidence)),
        *words.where(evidence, at="" if evidence.details["budget"] else "deployed "),
        "  items on which the baseline does most against the vector:",
        *(
            f"    [{item['id']}] vector {number(item['propensity'][1] - item['propensity'][0])}, difference {number(item['difference'])}  "
            f"{words.shorten(item['question'], 70)}"
            for item in worst
        ),
    ]


def figures(record: dict[str, Any]) -> list[Figure]:
    """The difference to each baseline, with bounds."""
    rivals = record["details"]["rivals"]
    rows = [interval_row(one, one["name"], "difference") for one in rivals]
    beaten = Intervals(
        title="What the vector does more than each baseline",
        about="Paired by item: the vector's effect minus the baseline's, with bounds.",
        rows=sorted(rows, key=lambda row: row.estimate),
        x="difference of effects",
        promised=promised_in(record),
    )
    return [beaten, *figures_of_items(record)]


def worst_first(record: dict[str, Any]) -> list[tuple[float, dict[str, Any]]]:
    """The items on which the baseline does most against the vector first."""
    return sorted(((item["difference"], item) for item in record["items"]), key=lambda pair: float(pair[0]))


def _instead(evidence: Evidence) -> str | None:
    if evidence.details["over_budget"]:
        return _DEARER
    return _ALIKE if evidence.details["within_rounding"] else None


_ALIKE = "hold the vector against another baseline: these two are alike"
_DEARER = "choose a larger budget, or another baseline: at unequal cost the two do not compare"


def _table(evidence: Evidence) -> list[str]:
    """The vector and what it is held against: of many rivals the best one, and where the vector ranks."""
    details = evidence.details
    best = next(one for one in details["rivals"] if one["name"] == details["worst"])
    rows = []
    for one in (details["vector"], best):
        cost = "" if one["cost"] is None else f"{one['cost']:+.1%}"
        strength = "" if one["multiplier"] is None else f"{one['multiplier']:.3g}"
        low, high = map(number, one.get("interval", (None, None)))
        difference = f"{number(one['difference'])} [{low}, {high}]" if "difference" in one else ""
        right = [] if details["accuracy"] is None else [f"{one['accuracy']:.1%}"]
        rows.append([one["name"], strength, number(one["mean_effect"]), difference, cost, *right])
    answers = [] if details["accuracy"] is None else [f"right answers ({details['accuracy']:.1%} plain)"]
    lines = words.table(rows, ["", "multiplier", "mean effect", "vector is larger by", "perplexity", *answers])
    if "prompt" in best:
        lines.append(f"  prompt: {words.shorten(best['prompt'], 100)}")
    if "rank" in details:
        rank = details["rank"]
        lines.append(f"  the vector is number {rank['number']} of {rank['of']} (p = {rank['p']:.3g})")
    lines.append(f"  the vector does more on {details['items_won']:.0%} of the items")
    return lines
