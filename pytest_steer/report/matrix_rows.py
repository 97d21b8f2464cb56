"""The comparison that the claims of a run already hold: evidence of one matrix, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

import numpy as np

from ..claims.numbers import number
from ..measures.at_cost import spread
from ..stats import mean_t
from .comparison import UNSTEERED, Row, Strength, TaskRow, bounds_of, comparison_tables, setting_name, strength_of

Claim = dict[str, Any]
_OF_ITEMS = ("steers", "not_anti_steered", "steers_at_cost")


@dataclass
class _Cell:
    """Everything that was measured of one method at one strength on one behaviour, at equal cost within one budget."""

    behaviour: str
    method: str
    claims: list[Claim] = field(default_factory=list)

    def first(self, *checks: str) -> Claim | None:
        """The first claim of the first of these kinds that there is one of."""
        return next((claim for check in checks for claim in self.claims if claim["check"] == check), None)


def matrix_rows(claims: Sequence[Claim]) -> tuple[list[Row], list[TaskRow]]:
    """Rows of the claims that stand in a ``matrix``: methods (and vectors, layers, models) on behaviours.

    Args:
        claims: evidence as ``Evidence.to_dict`` gives it.

    Returns:
        One row per method and behaviour that claims about items were measured of, with what the claims say of it, and further ones
        for further strengths and budgets; and what ``performs_task`` measured.
    """
    measured = [claim for claim in claims if claim["matrix"] and claim["estimate"] is not None]
    costs = {_steered(claim): claim["estimate"] for claim in measured if claim["check"] == "ppl_delta_below"}
    rows = [_row(cell, costs) for cell in _cells(measured, _OF_ITEMS)]
    tasks = [row for cell in _cells(measured, ("performs_task",)) for row in _task_rows(cell)]
    return rows, _once(tasks)


def comparison_of(claims: Sequence[Claim]) -> str:
    """The tables of :func:`matrix_rows`; empty where no claim stands in a matrix."""
    rows, tasks = matrix_rows(claims)
    budgets = {budget for claim in claims if claim["matrix"] and (budget := _budget(claim)) is not None}
    return comparison_tables(rows, tasks, cost=budgets.pop() if len(budgets) == 1 else None)


def _cells(claims: Iterable[Claim], checks: Sequence[str]) -> list[_Cell]:
    own = [claim for claim in claims if claim["check"] in checks]
    several = len({claim["suite"] for claim in own}) > 1
    strengths: dict[tuple[str, str], list[float]] = {}
    budgets: dict[tuple[str, str], list[float]] = {}
    for claim in own:
        place = _place(claim, several)
        _note(strengths.setdefault(place, []), _deployed_multiplier(claim))
        _note(budgets.setdefault(place, []), _budget(claim))
    found: dict[tuple[object, ...], _Cell] = {}
    for claim in own:
        place = behaviour, method = _place(claim, several)
        multiplier, budget = _deployed_multiplier(claim), _budget(claim)
        if multiplier != strengths[place][0]:
            method += f" x {multiplier:g}"
        further = budget is not None and budget != budgets[place][0]
        if further:
            method += f" for {number(budget, percent=True)}"
        key = (place, multiplier, budget if further else None)
        found.setdefault(key, _Cell(behaviour, method)).claims.append(claim)
    return list(found.values())


def _note(known: list[float], value: float | None) -> None:
    if value is not None and value not in known:
        known.append(value)


def _place(claim: Claim, several: bool) -> tuple[str, str]:
    """Behaviour and method, by the names in the matrix."""
    choices = claim["matrix"]
    method = "-".join(label for axis, label in choices.items() if axis != "behaviour")
    behaviour = choices.get("behaviour") or PurePath(claim["data"]["source"]).stem
    return f"{claim['suite']}: {behaviour}" if several else behaviour, method or claim["vector"]["method"]


def _deployed_multiplier(claim: Claim) -> float:
    at: float = claim["details"]["deployed"]["multiplier"] if claim["check"] == "steers_at_cost" else claim["multiplier"]
    return at


def _budget(claim: Claim) -> float | None:
    known = claim["check"] == "steers_at_cost" and claim["estimate"] is not None
    return claim["details"]["budget"] if known else None


def _steered(claim: Claim) -> tuple[Any, ...]:
    """What tells whether two claims are about the same intervention, in the same scope and at the same strength."""
    vector = claim["vector"]
    return claim["model"]["fingerprint"], vector["hash"], vector["positions"], vector["include_first"], claim["multiplier"]


def _row(cell: _Cell, costs: dict[tuple[Any, ...], float]) -> Row:
    deployed, dosed = cell.first("steers", "not_anti_steered"), cell.first("steers_at_cost")
    if deployed is not None:
        unsteered = _propensities(deployed, 0.0)
        apart = None if unsteered is None else spread(unsteered)
        at = replace(_at(deployed), cost=costs.get(_steered(deployed)))
    else:
        assert dosed is not None  # a cell holds a claim
        own = dosed["details"]["deployed"]
        at, apart = Strength(own["multiplier"], own["mean_effect"]), None
    if dosed is not None:
        apart = dosed["details"]["sd_unsteered"] if apart is None else apart
        at = replace(at, cost=dosed["details"]["deployed"]["cost"]) if at.cost is None else at
    row = Row(
        behaviour=cell.behaviour,
        method=cell.method,
        n=(deployed or dosed or cell.claims[0])["n"],
        spread=apart,
        deployed=at,
        at_cost=None if dosed is None else _at_cost(dosed),
    )
    if deployed is None or deployed["vector"]["strength"] != "linear":
        return row
    # Bounds of a claim about another statistic are not those of the slope.
    slopes = mean_t(np.array([item["slope"] for item in deployed["items"]]), confidence=deployed["confidence"])
    interval = tuple(deployed["interval"]) if deployed["check"] == "steers" else bounds_of(slopes)
    return replace(
        row,
        steerability=slopes.estimate,
        steerability_interval=interval,
        anti_steerable=deployed["details"]["anti_steerable_share"],
    )


def _at(claim: Claim) -> Strength:
    """The effect at the claim's multiplier, from the items' propensities; None where its grid lacks that or 0."""
    multiplier: float = claim["multiplier"]
    unsteered, steered = _propensities(claim, 0.0), _propensities(claim, multiplier)
    if unsteered is None or steered is None:
        return Strength(multiplier)
    return strength_of(steered - unsteered, multiplier, claim["confidence"])


def _propensities(claim: Claim, multiplier: float) -> np.ndarray | None:
    """[n_items] at a multiplier of the claim's grid; None if it is not on it."""
    if multiplier not in claim["multipliers"]:
        return None
    column = claim["multipliers"].index(multiplier)
    return np.array([item["propensity"][column] for item in claim["items"]])


def _at_cost(claim: Claim) -> Strength:
    details = claim["details"]
    effects = np.array(details["effects"])
    return strength_of(
        effects, details["multiplier_at_cost"], claim["confidence"], cost=details["cost"], reached=details["reached"]
    )


def _task_rows(cell: _Cell) -> list[TaskRow]:
    return [
        TaskRow(
            cell.behaviour,
            cell.method if record["steered"] else UNSTEERED,
            setting_name(record["shots"], record["shuffled"]),
            record["n"],
            record["first_token"],
            record["exact"],
        )
        for claim in cell.claims
        for record in claim["details"]["accuracies"]
        if record["first_token"] is not None
    ]


def _once(rows: Iterable[TaskRow]) -> list[TaskRow]:
    """Each method in each setting once, the unsteered model first."""
    found = {(row.behaviour, row.method, row.setting): row for row in rows}
    return sorted(found.values(), key=lambda row: row.method != UNSTEERED)
