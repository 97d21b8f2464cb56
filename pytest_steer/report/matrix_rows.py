"""The comparison that the claims of a run already hold: evidence of one matrix, side by side.

Each kind of claim says itself what it has for a comparison (``compared`` of its evidence): ``n``, ``spread``, ``deployed`` and
``at_cost`` (fields of ``Strength``), ``steerability``, ``steerability_interval``, ``anti_steerable_share``, ``sides``, ``budget``, ``tasks``; and with
``rank`` which of several claims is asked first. Nothing is worked out here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from ..claims.numbers import number
from ..columns import WITHOUT_TERMINAL
from ..measures.compared import UNSTEERED, Row, SideChanges, Strength, TaskRow, setting_name
from .comparison import comparison_tables

Claim = dict[str, Any]


@dataclass
class _Cell:
    """Everything that was measured of one method at one strength on one behaviour, at equal cost within one budget."""

    behaviour: str
    method: str
    claims: list[Claim] = field(default_factory=list)

    def first(self, key: str) -> Any:
        """What the claims say of one thing, the first of them that does; None if none does."""
        ranked = sorted(self.claims, key=lambda claim: claim["compared"].get("rank", 0))
        return next((found for claim in ranked if (found := claim["compared"].get(key)) is not None), None)


def matrix_rows(claims: Sequence[Claim]) -> tuple[list[Row], list[TaskRow]]:
    """Rows of the claims that stand in a ``matrix``: methods (and vectors, layers, models) on behaviours.

    Args:
        claims: evidence as ``Evidence.to_dict`` gives it.

    Returns:
        One row per method and behaviour that claims about items were measured of, with what the claims say of it, and further ones
        for further strengths and budgets; and what was measured of tasks.
    """
    measured = [claim for claim in claims if claim["matrix"] and claim["compared"]]
    beside = {key: _of_no_items(measured, key) for key in ("cost", "kl", "accuracy_lost", "accuracy_lost_interval")}
    rows = [_row(cell, beside) for cell in _cells(claim for claim in measured if "n" in claim["compared"])]
    tasks = [row for cell in _cells(claim for claim in measured if "tasks" in claim["compared"]) for row in _task_rows(cell)]
    return rows, _once(tasks)


def comparison_of(claims: Sequence[Claim], *, width: int = WITHOUT_TERMINAL) -> str:
    """The tables of :func:`matrix_rows`; empty where no claim stands in a matrix."""
    rows, tasks = matrix_rows(claims)
    budgets = {budget for claim in claims if claim["matrix"] and (budget := _budget(claim)) is not None}
    return comparison_tables(rows, tasks, cost=budgets.pop() if len(budgets) == 1 else None, width=width)


def _cells(claims: Iterable[Claim]) -> list[_Cell]:
    own = list(claims)
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
    at: float = claim["compared"].get("deployed", claim)["multiplier"]
    return at


def _budget(claim: Claim) -> float | None:
    return (claim["compared"] or {}).get("budget")


def _steered(claim: Claim) -> tuple[Any, ...]:
    """What tells whether two claims are about the same intervention, in the same scope and at the same strength."""
    vector = claim["vector"]
    at = _deployed_multiplier(claim)
    return claim["model"]["fingerprint"], vector["hash"], vector["positions"], vector["include_first"], at


def _of_no_items(claims: Iterable[Claim], key: str) -> dict[tuple[Any, ...], Any]:
    """What claims about texts or questions say of a steered model."""
    return {
        _steered(claim): claim["compared"]["deployed"][key]
        for claim in claims
        if "n" not in claim["compared"] and key in claim["compared"].get("deployed", {})
    }


def _row(cell: _Cell, beside: dict[str, dict[tuple[Any, ...], Any]]) -> Row:
    deployed = dict(cell.first("deployed"))
    known = [beside["cost"].get(_steered(claim)) for claim in cell.claims if _budget(claim) is None] + [
        claim["compared"]["deployed"].get("cost") for claim in cell.claims
    ]
    deployed["cost"] = next((cost for cost in known if cost is not None), None)
    normalised = (claim["compared"]["deployed"].get("pne") for claim in cell.claims)
    deployed["pne"] = next((value for value in normalised if value is not None), None)
    own = [_steered(claim) for claim in cell.claims if _budget(claim) is None]
    for key in beside.keys() - {"cost"}:
        found = [value for one in own if (value := beside[key].get(one)) is not None]
        if found:
            deployed[key] = found[0]
    at_cost, sides = cell.first("at_cost"), cell.first("sides")
    return Row(
        behaviour=cell.behaviour,
        method=cell.method,
        n=cell.first("n"),
        spread=cell.first("spread"),
        deployed=_strength(deployed),
        at_cost=None if at_cost is None else _strength(at_cost),
        steerability=cell.first("steerability"),
        steerability_interval=tuple(cell.first("steerability_interval") or (None, None)),
        anti_steerable_share=cell.first("anti_steerable_share"),
        sides=None if sides is None else _sides(sides),
    )


def _sides(values: dict[str, Any]) -> SideChanges:
    intervals = {name: tuple(values[name]) for name in ("matching_interval", "not_matching_interval")}
    return SideChanges(**values | intervals)


def _strength(values: dict[str, Any]) -> Strength:
    intervals: dict[str, Any] = {key: tuple(values[key]) for key in ("interval", "accuracy_lost_interval") if key in values}
    return Strength(**values | intervals)


def _task_rows(cell: _Cell) -> list[TaskRow]:
    return [
        TaskRow(
            cell.behaviour,
            cell.method if record["steered"] else UNSTEERED,
            setting_name(record["n_shots"], record["shuffled"]),
            record["n"],
            record["first_token"],
            record["exact"],
        )
        for claim in cell.claims
        for record in claim["compared"]["tasks"]
        if record["first_token"] is not None
    ]


def _once(rows: Iterable[TaskRow]) -> list[TaskRow]:
    """Each method in each setting once, the unsteered model first."""
    found = {(row.behaviour, row.method, row.setting): row for row in rows}
    return sorted(found.values(), key=lambda row: row.method != UNSTEERED)
