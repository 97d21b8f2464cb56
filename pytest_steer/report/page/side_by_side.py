"""What claims say together: methods on behaviours, what vectors do to other behaviours, effect against cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from ...core.block import CostPoint, EffectAgainstCost
from ...core.numbers import number
from .figures import Drawn, HeatMap, draw

_LINES = 6  # that can be told apart in one figure
_MARKS = {"pass": "", "fail": " !", "inconclusive": " ?"}
Table = tuple[str, list[str], list[list[str]]]


def comparison_tables(comparison: dict[str, Any]) -> list[Table]:
    """Title, head and rows of each: methods on behaviours, and accuracies of tasks."""
    tables: list[Table] = []
    rows = comparison.get("rows") or []
    if rows:
        head = ["behaviour", "method", "n", "multiplier", "steerability", "bounds", "anti-steerable", "effect", "bounds"]
        head += ["standardised", "wrong way", "perplexity"]
        tables.append(("Methods on behaviours, at each method's deployed strength", head, [_row(one) for one in rows]))
    at_cost = [one for one in rows if one.get("at_cost")]
    if at_cost:
        head = ["behaviour", "method", "multiplier", "perplexity", "effect", "bounds", "wrong way"]
        tables.append(("At equal perplexity cost", head, [_at_cost(one) for one in at_cost]))
    tasks = comparison.get("tasks") or []
    if tasks:
        head = ["behaviour", "method", "setting", "n", "first token", "exact"]
        lines = [
            [
                one["behaviour"],
                one["method"],
                one["setting"],
                str(one["n"]),
                f"{one['first_token']:.2f}",
                f"{one['exact']:.2f}",
            ]
            for one in tasks
        ]
        tables.append(("Accuracy on tasks", head, lines))
    return tables


def _row(one: dict[str, Any]) -> list[str]:
    at = one["deployed"]
    return [
        one["behaviour"], one["method"], str(one["n"]), number(at["multiplier"]),
        number(one["steerability"]), _bounds(one["steerability_interval"]), number(one["anti_steerable_share"]),
        number(at["effect"]), _bounds(at["interval"]), number(at.get("effect_standardised")), number(at["wrong_way"]),
        number(at["cost"], percent=True),
    ]  # fmt: skip


def _at_cost(one: dict[str, Any]) -> list[str]:
    at = one["at_cost"]
    return [
        one["behaviour"], one["method"], number(at["multiplier"]), number(at["cost"], percent=True), number(at["effect"]),
        _bounds(at["interval"]), number(at["wrong_way"]),
    ]  # fmt: skip


def _bounds(interval: Sequence[float | None]) -> str:
    return "" if list(interval) == [None, None] else "[{}, {}]".format(*map(number, interval))


def entanglement_maps(rows: Sequence[dict[str, Any]]) -> list[Drawn]:
    """A heat map per claim of a matrix: what each vector does to each behaviour; its own in brackets."""
    maps: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        maps.setdefault((row["suite"], row["claim"]), []).append(row)
    return [_entanglement(f"{suite}: {claim}", found) for (suite, claim), found in maps.items()]


def _entanglement(title: str, rows: Sequence[dict[str, Any]]) -> Drawn:
    cells: dict[tuple[str, str], float] = {}
    marks: dict[tuple[str, str], str] = {}
    for row in rows:
        for one in row["behaviours"]:
            cells[row["vector"], one["name"]] = one["estimate"]
            marks[row["vector"], one["name"]] = _MARKS[one["verdict"]]
        if row["own"] is not None:
            cells[row["vector"], row["own"]["name"]] = row["own"]["estimate"]
            marks[row["vector"], row["own"]["name"]] = " *"
    what = "Mean steerability" if all(row["by"] == "slope" for row in rows) else "Mean steerability or effect"
    about = f"{what} of each behaviour under each vector. * the vector's own; ! outside of the band; ? not decided."
    columns = list(dict.fromkeys(name for _, name in cells))
    return draw(
        HeatMap(title=title, about=about, rows=[row["vector"] for row in rows], columns=columns, cells=cells, marks=marks)
    )


def effect_cost_figures(records: Sequence[dict[str, Any]]) -> list[Drawn]:
    """Effect against cost of each suite whose claims measured both of one intervention; empty where none did.

    Effect and cost are those that claims give for a comparison (``compared``).
    """
    costs: dict[tuple[Any, ...], float] = {}
    for record in records:
        cost = ((record.get("compared") or {}).get("deployed") or {}).get("cost")
        if cost is not None and record.get("vector"):
            costs.setdefault((_steered(record), record["compared"]["deployed"]["multiplier"]), cost)
    suites: dict[str, dict[tuple[str, float], CostPoint]] = {}
    names = _names(records)
    for place, record in enumerate(records):
        compared = record.get("compared") or {}
        if "n" not in compared or not record.get("vector"):
            continue
        steered, points = _steered(record), suites.setdefault(record["suite"], {})
        for at in (compared.get("deployed"), compared.get("at_cost")):
            if at is None or at.get("effect") is None:
                continue
            multiplier = at["multiplier"]
            cost = at.get("cost") if at.get("cost") is not None else costs.get((steered, multiplier))
            if cost is not None:
                name = names[place]
                low, high = at.get("interval") or (None, None)
                points.setdefault((name, 0.0), CostPoint(name, 0.0, 0.0, 0.0))
                points.setdefault((name, multiplier), CostPoint(name, multiplier, at["effect"], cost, (low, high)))
    return [figure for suite, points in suites.items() for figure in _drawn(suite, list(points.values()))]


def _drawn(suite: str, points: Sequence[CostPoint]) -> list[Drawn]:
    names = list(dict.fromkeys(point.name for point in points))
    return [
        draw(
            EffectAgainstCost(
                title=suite,
                about="Mean effect and rise of perplexity of one intervention, from the unsteered model at 0. Numbers are multipliers.",
                points=sorted(
                    (point for point in points if point.name in names[at : at + _LINES]),
                    key=lambda point: (names.index(point.name), point.multiplier),
                ),
            )
        )
        for at in range(0, len(names), _LINES)
    ]


def _steered(record: dict[str, Any]) -> tuple[Any, ...]:
    vector = record["vector"]
    return record["model"]["fingerprint"], vector["hash"], vector["positions"], vector.get("include_first")


def _names(records: Sequence[dict[str, Any]]) -> dict[int, str]:
    """By place among the records, the intervention and the behaviour that each is measured on; what all share is left out."""
    parts = {}
    for place, record in enumerate(records):
        if record.get("matrix"):
            parts[place] = ("-".join(record["matrix"].values()), "")
        elif record.get("vector") and record.get("data"):
            parts[place] = (record["vector"]["method"], PurePath(record["data"].get("source", "")).stem)
    several = len({method for method, _ in parts.values()}) > 1
    return {
        place: ", ".join(filter(None, (method if several or not data else "", data)))
        for place, (method, data) in parts.items()
    }
