"""The comparison that the claims of a run already hold: evidence of one matrix, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from typing import Any

import numpy as np

from ..stats import mean_t
from .comparison import UNSTEERED, Row, Strength, TaskRow, comparison_tables

Claim = dict[str, Any]
_OF_ITEMS = ("steers", "not_anti_steered", "steers_at_cost")


@dataclass
class _Cell:
    """Everything that was measured of one method on one behaviour."""

    suite: str
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
        One row per method and behaviour that claims about items were measured of, with what the claims say of it; and what
        ``performs_task`` measured.
    """
    measured = [claim for claim in claims if claim["matrix"] and claim["estimate"] is not None]
    costs = {_steered(claim): claim["estimate"] for claim in measured if claim["check"] == "ppl_delta_below"}
    several = len({claim["suite"] for claim in measured}) > 1
    rows = [_row(cell, costs, several) for cell in _cells(measured, _OF_ITEMS)]
    tasks = [row for cell in _cells(measured, ("performs_task",)) for row in _task_rows(cell, several)]
    return rows, _once(tasks)


def comparison_of(claims: Sequence[Claim]) -> str:
    """The tables of :func:`matrix_rows`; empty where no claim stands in a matrix."""
    rows, tasks = matrix_rows(claims)
    budgets = {
        claim["details"]["budget"]
        for claim in claims
        if claim["check"] == "steers_at_cost" and claim["estimate"] is not None
    }
    return comparison_tables(rows, tasks, cost=budgets.pop() if len(budgets) == 1 else None)


def _cells(claims: Iterable[Claim], checks: Sequence[str]) -> list[_Cell]:
    found: dict[tuple[str, ...], _Cell] = {}
    for claim in claims:
        if claim["check"] in checks:
            choices = claim["matrix"]
            method = "-".join(label for axis, label in choices.items() if axis != "behaviour")
            behaviour = choices.get("behaviour") or PurePath(claim["data"]["source"]).stem
            key = claim["suite"], behaviour, method, claim["data"]["hash"]
            cell = found.setdefault(key, _Cell(claim["suite"], behaviour, method or claim["vector"]["method"]))
            cell.claims.append(claim)
    return list(found.values())


def _steered(claim: Claim) -> tuple[Any, ...]:
    """What tells whether two claims are about the same intervention, in the same scope and at the same strength."""
    vector = claim["vector"]
    return claim["model"]["fingerprint"], vector["hash"], vector["positions"], vector["include_first"], claim["multiplier"]


def _row(cell: _Cell, costs: dict[tuple[Any, ...], float], several: bool) -> Row:
    deployed, dosed = cell.first("steers", "not_anti_steered"), cell.first("steers_at_cost")
    slope = cell.first("steers")
    spread = None if dosed is None else dosed["details"]["sd_unsteered"]
    at = None
    if deployed is not None:
        at = _at(deployed, 0.0, deployed["multiplier"])
        if spread is None:
            spread = _spread(deployed)
    elif dosed is not None:
        own = dosed["details"]["deployed"]
        at = Strength(own["multiplier"], own["mean_effect"])
    assert at is not None  # a cell holds a claim
    if deployed is not None:
        at = replace(at, cost=costs.get(_steered(deployed)))
    if at.cost is None and dosed is not None and dosed["details"]["deployed"]["multiplier"] == at.multiplier:
        at = replace(at, cost=dosed["details"]["deployed"]["cost"])
    row = Row(
        behaviour=f"{cell.suite}: {cell.behaviour}" if several else cell.behaviour,
        method=cell.method,
        n=cell.claims[0]["n"],
        spread=spread,
        deployed=at,
        at_cost=None if dosed is None else _at_cost(dosed),
    )
    if slope is None:
        return row
    return replace(
        row,
        steerability=slope["estimate"],
        steerability_interval=tuple(slope["interval"]),
        anti_steerable=slope["details"]["anti_steerable_share"],
    )


def _at(claim: Claim, zero: float, multiplier: float) -> Strength:
    """The effect at a multiplier, from the items' propensities; None where the claim's grid lacks it or 0."""
    grid = claim["multipliers"]
    if zero not in grid or multiplier not in grid:
        return Strength(multiplier)
    base, steered = grid.index(zero), grid.index(multiplier)
    effects = np.array([item["propensity"][steered] - item["propensity"][base] for item in claim["items"]])
    found = mean_t(effects, confidence=claim["confidence"])
    return Strength(multiplier, found.estimate, (found.low, found.high), float((effects < 0).mean()))


def _spread(claim: Claim) -> float | None:
    if 0.0 not in claim["multipliers"]:
        return None
    unsteered = [item["propensity"][claim["multipliers"].index(0.0)] for item in claim["items"]]
    return float(np.std(unsteered, ddof=1)) if min(unsteered) < max(unsteered) else 0.0


def _at_cost(claim: Claim) -> Strength:
    details = claim["details"]
    found = mean_t(np.array(details["effects"]), confidence=claim["confidence"])
    return Strength(
        details["multiplier_at_cost"],
        found.estimate,
        (found.low, found.high),
        details["anti_steered_share"],
        details["cost"],
        details["reached"],
    )


def _task_rows(cell: _Cell, several: bool) -> list[TaskRow]:
    behaviour = f"{cell.suite}: {cell.behaviour}" if several else cell.behaviour
    return [
        TaskRow(
            behaviour,
            cell.method if record["steered"] else UNSTEERED,
            _setting(record),
            record["n"],
            record["first_token"],
            record["exact"],
        )
        for claim in cell.claims
        for record in claim["details"]["accuracies"]
        if record.get("first_token") is not None
    ]


def _setting(record: dict[str, Any]) -> str:
    shots = f"{record['shots']}-shot" if record["shots"] else "zero-shot"
    return f"{shots} shuffled" if record["shuffled"] else shots


def _once(rows: Iterable[TaskRow]) -> list[TaskRow]:
    """Each method in each setting once, the unsteered model first."""
    found = {(row.behaviour, row.method, row.setting): row for row in rows}
    return sorted(found.values(), key=lambda row: (row.behaviour, row.method != UNSTEERED))
