"""What claims say together: methods on behaviours, what vectors do to other behaviours, effect against cost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath

from ...core.block import CostPoint, EffectAgainstCost
from ...core.numbers import bounds, number
from ...core.record import ClaimRecord, Comparison, EntanglementRow, Row, Strength
from ..matrix_rows import MARKS, by_claim, steered_by
from .figures import Drawn, HeatMap, draw

_LINES = 6  # that can be told apart in one figure
Table = tuple[str, list[str], list[list[str]]]


def comparison_tables(comparison: Comparison) -> list[Table]:
    """Title, head and rows of each: methods on behaviours, and accuracies of tasks."""
    tables: list[Table] = []
    if comparison.rows:
        head = ["behaviour", "method", "n", "multiplier", "steerability", "bounds", "anti-steerable", "effect", "bounds"]
        head += ["standardised", "wrong way", "perplexity"]
        rows = [_row(one) for one in comparison.rows]
        tables.append(("Methods on behaviours, at each method's deployed strength", head, rows))
    at_cost = [_at_cost(one, one.at_cost) for one in comparison.rows if one.at_cost is not None]
    if at_cost:
        head = ["behaviour", "method", "multiplier", "perplexity", "effect", "bounds", "wrong way"]
        tables.append(("At equal perplexity cost", head, at_cost))
    if comparison.tasks:
        head = ["behaviour", "method", "setting", "n", "first token", "exact"]
        rows = [
            [one.behaviour, one.method, one.setting, str(one.n), f"{one.first_token:.2f}", f"{one.exact:.2f}"]
            for one in comparison.tasks
        ]
        tables.append(("Accuracy on tasks", head, rows))
    return tables


def _row(one: Row) -> list[str]:
    at = one.deployed
    return [
        one.behaviour, one.method, str(one.n), number(at.multiplier), number(one.steerability), bounds(one.steerability_interval),
        number(one.anti_steerable_share), number(at.effect), bounds(at.interval), number(at.effect_standardised),
        number(at.wrong_way), number(at.cost, percent=True),
    ]  # fmt: skip


def _at_cost(one: Row, at: Strength) -> list[str]:
    return [
        one.behaviour, one.method, number(at.multiplier), number(at.cost, percent=True), number(at.effect), bounds(at.interval),
        number(at.wrong_way),
    ]  # fmt: skip


def entanglement_maps(rows: Sequence[EntanglementRow]) -> list[Drawn]:
    """A heat map per claim of a matrix: what each vector does to each behaviour; its own in brackets."""
    return [_entanglement(claim, found) for claim, found in by_claim(rows).items()]


def _entanglement(title: str, rows: Sequence[EntanglementRow]) -> Drawn:
    cells: dict[tuple[str, str], float] = {}
    marks: dict[tuple[str, str], str] = {}
    for row in rows:
        for one in row.behaviours:
            cells[row.vector, one.name] = one.estimate
            marks[row.vector, one.name] = MARKS[one.verdict]
        if row.own is not None:
            cells[row.vector, row.own.name] = row.own.estimate
            marks[row.vector, row.own.name] = " *"
    what = "Mean steerability" if all(row.by == "slope" for row in rows) else "Mean steerability or effect"
    about = f"{what} of each behaviour under each vector. * the vector's own; ! outside of the band; ? not decided."
    columns = list(dict.fromkeys(name for _, name in cells))
    return draw(
        HeatMap(title=title, about=about, rows=[row.vector for row in rows], columns=columns, cells=cells, marks=marks)
    )


def effect_cost_figures(claims: Sequence[ClaimRecord]) -> list[Drawn]:
    """Effect against cost of each suite whose claims measured both of one intervention; empty where none did.

    Effect and cost are those that claims give for a comparison (``compared``).
    """
    costs: dict[tuple[object, ...], float] = {}
    for claim in claims:
        at = None if claim.compared is None else claim.compared.deployed
        if at is not None and at.cost is not None and claim.vector is not None:
            costs.setdefault((*steered_by(claim), at.multiplier), at.cost)
    suites: dict[str, dict[tuple[str, float], CostPoint]] = {}
    for claim, name in zip(claims, _names(claims), strict=True):
        compared = claim.compared
        if compared is None or compared.n is None or claim.vector is None:
            continue
        points = suites.setdefault(claim.suite, {})
        for at in (compared.deployed, compared.at_cost):
            if at is None or at.effect is None:
                continue
            cost = costs.get((*steered_by(claim), at.multiplier)) if at.cost is None else at.cost
            if cost is not None:
                points.setdefault((name, 0.0), CostPoint(name, 0.0, 0.0, 0.0))
                points.setdefault((name, at.multiplier), CostPoint(name, at.multiplier, at.effect, cost, at.interval))
    return [figure for suite, points in suites.items() for figure in _drawn(suite, list(points.values()))]


def _drawn(suite: str, points: Sequence[CostPoint]) -> list[Drawn]:
    names = list(dict.fromkeys(point.name for point in points))
    about = "Mean effect and rise of perplexity of one intervention, from the unsteered model at 0. Numbers are multipliers."
    points = sorted(points, key=lambda point: (names.index(point.name), point.multiplier))
    parts = [names[at : at + _LINES] for at in range(0, len(names), _LINES)]
    return [
        draw(EffectAgainstCost(title=suite, about=about, points=[point for point in points if point.name in part]))
        for part in parts
    ]


def _names(claims: Sequence[ClaimRecord]) -> list[str]:
    """Of each claim the intervention and the behaviour that it is measured on; a method that all share is left out."""
    parts = []
    for claim in claims:
        method, data = "", ""
        if claim.matrix:
            method = "-".join(claim.matrix.values())
        elif claim.vector and claim.data:
            method, data = claim.vector.method, PurePath(claim.data.source).stem
        parts.append((method, data))
    several = len({method for method, _ in parts if method}) > 1
    return [", ".join(filter(None, (method if several or not data else "", data))) for method, data in parts]
