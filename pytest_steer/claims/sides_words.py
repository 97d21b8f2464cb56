"""The words of ``promotes`` and ``suppresses``: both sides, over the multipliers, by quartile and stratum, and beside another form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..evidence import Evidence
from . import words
from .beside import MEASURES
from .figures import Curves, Figure, Line, deployed_mark, distribution_of
from .numbers import number
from .sides import SIDES, called, with_bounds


def remarks(evidence: Evidence) -> list[str]:
    """Both sides, which way the model moves, and the other form of the behaviour, whatever the verdict."""
    return [*words.remarks(evidence), *_both_sides(evidence), *words.controls_beside(evidence), *_beside(evidence)]


def explanation(evidence: Evidence) -> list[str]:
    """Why the claim did not pass."""
    return [
        *words.decide(evidence),
        *words.where(evidence),
        *_over_multipliers(evidence),
        *_quartiles(evidence),
        *_strata(evidence),
        *_normalised(evidence),
        *_worst_items(evidence),
    ]


def _unit(evidence: Evidence) -> str:
    return "nats" if (evidence.asked or {}).get("answers") == "sum" else "nats per token"


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _both_sides(evidence: Evidence) -> list[str]:
    return [
        f"  {called(name)} answers: log-likelihood {number(record['base'])} -> {number(record['steered'])} {_unit(evidence)}, change "
        f"{with_bounds(record)}"
        for name, record in evidence.details["sides"].items()
    ]


def _over_multipliers(evidence: Evidence) -> list[str]:
    rows = [["multiplier", *(f"{m:g}" for m in evidence.multipliers or ())]]
    rows += [
        [called(name), *(f"{value:.2f}" for value in record["at"])] for name, record in evidence.details["sides"].items()
    ]
    return [f"  mean log-likelihood of the answers ({_unit(evidence)}):", *words.table(rows, align="right")]


def _quartiles(evidence: Evidence) -> list[str]:
    quartiles = evidence.details["quartiles"]
    if not quartiles:
        return []
    rows = [
        [one["name"], one["n"], number(one["base"]), *(_signed(one[f"{name}_change"]) for name in SIDES)]
        for one in quartiles
    ]
    side = called(evidence.details["promised_side"])
    return [
        f"  change by quartile of the unsteered log-likelihood of the {side} answers:",
        *words.table(rows, ["", "n", "unsteered", *map(called, SIDES)]),
    ]


def _strata(evidence: Evidence) -> list[str]:
    if len(evidence.strata) < 2:
        return []
    rows = [
        [f"matching answer {one['label']}", one["n"], *(_signed(one[f"{name}_change"]) for name in SIDES)]
        for one in evidence.strata
    ]
    return ["  strata:", *words.table(rows, ["", "n", *map(called, SIDES)])]


def _normalised(evidence: Evidence) -> list[str]:
    found = evidence.details["normalised"]
    if found is None:
        return []
    promoted, suppressed, scales = found["promoted"], found["suppressed"], found["scales"]
    return [
        f"  on the scale of Pres et al. 2024 (divided by {number(scales[0])} unsteered, {number(scales[1])} steered): promoted "
        f"{_signed(promoted[-1])}, suppressed {_signed(suppressed[-1])}; in the quarter with most to gain {_signed(promoted[0])}, "
        f"{_signed(suppressed[0])}"
    ]


def _worst_items(evidence: Evidence) -> list[str]:
    """The items whose promised side moves least in the promised direction."""
    promised = evidence.details["promised_side"]
    grid = evidence.multipliers or []
    base, at = grid.index(0.0), grid.index(float(evidence.multiplier or 0.0))
    sign = 1 if evidence.statistic.startswith("rise") else -1

    def change(item: Mapping[str, Any], side: str) -> float:
        own = item[f"{side}_likelihood"]
        return float(own[at] - own[base])

    lines = ["  worst items:"]
    for item in sorted(evidence.items or (), key=lambda item: sign * change(item, promised))[: words.WORST]:
        each = (
            f"{called(side)} {item[f'{side}_likelihood'][base]:.2f} -> {item[f'{side}_likelihood'][at]:.2f}"
            for side in SIDES
        )
        lines.append(f"    [{item['id']}] change {_signed(change(item, promised))}: {', '.join(each)}")
        lines.append(f"      {words.shorten(item['question'])}")
        matching, other = (" | ".join(item[side]) for side in SIDES)
        lines.append(f"      matching: {words.shorten(matching, 60)}   not matching: {words.shorten(other, 60)}")
    return lines


def _beside(evidence: Evidence) -> list[str]:
    """The other form of the behaviour, and whether it ranks the questions alike."""
    other = evidence.details.get("beside")
    if other is None:
        return []
    rows = [
        [name, n, *(with_bounds(sides[side]) for side in SIDES)]
        for name, n, sides in (
            ("here", evidence.n, evidence.details["sides"]),
            ("beside", other["n"], other["sides"]),
        )
    ]
    found = other["rank_correlation"]
    each = ", ".join(f"{_MEASURES[name]} {number(found[name])}" for name in MEASURES)
    shared = other["shared"]
    ranks = (
        f"  rank correlation (Spearman) over the {shared} questions that both ask: {each}"
        if shared > 2
        else f"  {shared or 'no'} question{'' if shared == 1 else 's'} of the two {'is' if shared == 1 else 'are'} the same: a rank correlation needs three"
    )
    return [f"  beside: {other['source']}", *words.table(rows, ["", "n", *map(called, SIDES)]), ranks]


_MEASURES = {"effect": "effect on propensity", "matching_change": "matching", "not_matching_change": "not matching"}


def figures(record: dict[str, Any]) -> list[Figure]:
    """The mean log-likelihood of each side's answers over the multiplier, and the items' slopes."""
    grid, sides = record["multipliers"], record["details"]["sides"]
    likelihoods = Curves(
        title="Both sides",
        about="Mean token log-likelihood of the answers that match and of those that do not.",
        lines=[Line(f"{called(side)} answers", list(zip(grid, sides[side]["at"], strict=True))) for side in SIDES],
        y="log-likelihood, nats per token",
        marked=deployed_mark(record),
    )
    return [likelihoods, *distribution_of(record)]
