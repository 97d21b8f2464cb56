"""The comparison that the claims of a run already hold: evidence of one matrix, side by side.

Each kind of claim says itself what it has for a comparison (``core.record.Compared``). Nothing is worked out here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import PurePath
from typing import TypeVar

from ..core.columns import WITHOUT_TERMINAL, table, wrapped
from ..core.numbers import number
from ..core.record import UNBOUNDED, ClaimRecord, Compared, Entanglement, EntanglementRow, Row, Strength, TaskRow
from ..measures.compared import UNSTEERED, setting_name
from .comparison import comparison_tables

Value = TypeVar("Value")
Steered = tuple[str, str, str, bool, float]


@dataclass(frozen=True)
class _Measured:
    """A claim of a matrix that says something in a comparison."""

    claim: ClaimRecord
    compared: Compared
    choices: Mapping[str, str]

    @property
    def multiplier(self) -> float:
        """The deployed one."""
        at = self.claim.multiplier if self.compared.deployed is None else self.compared.deployed.multiplier
        assert at is not None
        return at

    @property
    def steered(self) -> Steered:
        """What tells whether two claims are about the same intervention, in the same scope and at the same strength."""
        return *steered_by(self.claim), self.multiplier


@dataclass(frozen=True)
class _Cell:
    """Everything that was measured of one method at one strength on one behaviour, at equal cost within one budget."""

    behaviour: str
    method: str
    claims: list[_Measured] = field(default_factory=list)

    def first(self, value: Callable[[Compared], Value | None]) -> Value | None:
        """What the claims say of one thing, the first of them that does; None if none does."""
        ranked = sorted(self.claims, key=lambda one: one.compared.rank)
        return _first(value(one.compared) for one in ranked)

    @property
    def deployed(self) -> list[Strength]:
        return [one.compared.deployed for one in self.claims if one.compared.deployed is not None]


def matrix_rows(claims: Sequence[ClaimRecord]) -> tuple[list[Row], list[TaskRow]]:
    """Rows of the claims that stand in a ``matrix``: methods (and vectors, layers, models) on behaviours.

    Returns:
        One row per method and behaviour that claims about items were measured of, with what the claims say of it, and further ones
        for further strengths and budgets; and what was measured of tasks.
    """
    measured = _measured(claims)
    of_others = _of_others(measured)
    rows = [_row(cell, of_others) for cell in _cells([one for one in measured if one.compared.n is not None])]
    tasks = [row for cell in _cells([one for one in measured if one.compared.tasks]) for row in _task_rows(cell)]
    return rows, _once(tasks)


def steered_by(claim: ClaimRecord) -> tuple[str, str, str, bool]:
    """The model, the intervention and its scope: equal for two claims about the same one."""
    model, vector = claim.model, claim.vector
    assert model is not None
    assert vector is not None
    return model.fingerprint, vector.hash, vector.positions, vector.include_first


def comparison_of(claims: Sequence[ClaimRecord], *, width: int = WITHOUT_TERMINAL) -> str:
    """The tables of :func:`matrix_rows`; empty where no claim stands in a matrix."""
    rows, tasks = matrix_rows(claims)
    budgets = {one.compared.budget for one in _measured(claims)} - {None}
    return comparison_tables(rows, tasks, cost=budgets.pop() if len(budgets) == 1 else None, width=width)


def _measured(claims: Sequence[ClaimRecord]) -> list[_Measured]:
    return [_Measured(one, one.compared, one.matrix) for one in claims if one.matrix and one.compared]


def _cells(claims: Sequence[_Measured]) -> list[_Cell]:
    several = len({one.claim.suite for one in claims}) > 1
    strengths: dict[tuple[str, str], float] = {}
    budgets: dict[tuple[str, str], float] = {}
    for one in claims:
        place = _place(one, several)
        strengths.setdefault(place, one.multiplier)
        if one.compared.budget is not None:
            budgets.setdefault(place, one.compared.budget)
    found: dict[tuple[object, ...], _Cell] = {}
    for one in claims:
        place = behaviour, method = _place(one, several)
        budget = one.compared.budget
        if one.multiplier != strengths[place]:
            method += f" x {one.multiplier:g}"
        further = budget is not None and budget != budgets[place]
        if further:
            method += f" for {number(budget, percent=True)}"
        key = (place, one.multiplier, budget if further else None)
        found.setdefault(key, _Cell(behaviour, method)).claims.append(one)
    return list(found.values())


def _place(one: _Measured, several: bool) -> tuple[str, str]:
    """Behaviour and method, by the names in the matrix."""
    claim = one.claim
    method = "-".join(label for axis, label in one.choices.items() if axis != "behaviour")
    behaviour = one.choices.get("behaviour") or PurePath("" if claim.data is None else claim.data.source).stem
    behaviour = f"{claim.suite}: {behaviour}" if several else behaviour
    return behaviour, method or ("" if claim.vector is None else claim.vector.method)


def _of_others(claims: Sequence[_Measured]) -> dict[Steered, list[Strength]]:
    """What claims about texts or questions say of steered models, the last claim first."""
    found: dict[Steered, list[Strength]] = {}
    for one in reversed(claims):
        if one.compared.n is None and one.compared.deployed is not None:
            found.setdefault(one.steered, []).append(one.compared.deployed)
    return found


def _row(cell: _Cell, of_others: dict[Steered, list[Strength]]) -> Row:
    deployed, n = cell.first(lambda said: said.deployed), cell.first(lambda said: said.n)
    assert deployed is not None
    assert n is not None
    others = [at for one in cell.claims if one.compared.budget is None for at in of_others.get(one.steered, ())]
    accuracy = next((at for at in others if at.accuracy_lost is not None), deployed)
    return Row(
        behaviour=cell.behaviour,
        method=cell.method,
        n=n,
        spread=cell.first(lambda said: said.spread),
        deployed=replace(
            deployed,
            cost=_first(at.cost for at in [*others, *cell.deployed]),
            pne=_first(at.pne for at in cell.deployed),
            kl=_first(at.kl for at in [*others, deployed]),
            accuracy_lost=accuracy.accuracy_lost,
            accuracy_lost_interval=accuracy.accuracy_lost_interval,
        ),
        at_cost=cell.first(lambda said: said.at_cost),
        steerability=cell.first(lambda said: said.steerability),
        steerability_interval=cell.first(lambda said: said.steerability_interval) or UNBOUNDED,
        anti_steerable_share=cell.first(lambda said: said.anti_steerable_share),
        sides=cell.first(lambda said: said.sides),
    )


def _first(values: Iterable[Value | None]) -> Value | None:
    return next((value for value in values if value is not None), None)


def _task_rows(cell: _Cell) -> list[TaskRow]:
    return [
        TaskRow(
            cell.behaviour,
            cell.method if one.steered else UNSTEERED,
            setting_name(one.n_shots, one.shuffled),
            one.n,
            one.first_token,
            one.exact,
        )
        for measured in cell.claims
        for one in measured.compared.tasks or ()
        if one.first_token is not None and one.exact is not None
    ]


def _once(rows: Iterable[TaskRow]) -> list[TaskRow]:
    """Each method in each setting once, the unsteered model first."""
    found = {(row.behaviour, row.method, row.setting): row for row in rows}
    return sorted(found.values(), key=lambda row: row.method != UNSTEERED)


MARKS = {"pass": "", "fail": " !", "inconclusive": " ?"}


def entanglement_rows(claims: Sequence[ClaimRecord]) -> list[EntanglementRow]:
    """One row per ``leaves_alone`` claim that stands in a ``matrix``."""
    rows = []
    for claim in claims:
        found = None if claim.compared is None else claim.compared.entanglement
        if not claim.matrix or found is None:
            continue
        if found.own is not None:
            found = replace(found, own=replace(found.own, name=claim.matrix.get("behaviour") or "(its own)"))
        known = {one.name: getattr(found, one.name) for one in fields(Entanglement)}
        name, vector = claim.name.partition("[")[0], "-".join(claim.matrix.values())
        rows.append(EntanglementRow(suite=claim.suite, claim=name, vector=vector, **known))
    return rows


def entanglement_map(claims: Sequence[ClaimRecord], *, width: int = WITHOUT_TERMINAL) -> str:
    """The map as text, vectors down and behaviours across; empty where no claim file's matrix has several vectors.

    Args:
        width: columns that no line exceeds.
    """
    maps = by_claim(entanglement_rows(claims))
    return "\n\n".join(_map(title, rows, width) for title, rows in maps.items() if len(rows) > 1)


def by_claim(rows: Iterable[EntanglementRow]) -> dict[str, list[EntanglementRow]]:
    """The rows of each claim of a matrix, by its suite and name."""
    maps: dict[str, list[EntanglementRow]] = {}
    for row in rows:
        maps.setdefault(f"{row.suite}: {row.claim}", []).append(row)
    return maps


def _map(claim: str, rows: Sequence[EntanglementRow], width: int) -> str:
    names = list(dict.fromkeys(one.name for row in rows for one in (*([row.own] if row.own else []), *row.behaviours)))
    lines = []
    for row in rows:
        cells = {one.name: f"{_signed(one.estimate)}{MARKS[one.verdict]}" for one in row.behaviours}
        if row.own is not None:
            cells[row.own.name] = f"({_signed(row.own.estimate)})"
        rms = row.entanglement
        lines.append([row.vector, *(cells.get(name, "") for name in names), number(rms.effect), number(rms.chosen)])
    what = "mean steerability" if all(row.by == "slope" for row in rows) else "mean steerability or effect"
    title = f"{claim}: {what} of other behaviours, in brackets of the vector's own (! outside of the band, ? not decided)"
    headers = ["vector", *names, "entanglement", "of choices"]
    return "\n".join([wrapped(title, width), *table(lines, headers, width=width)])


def _signed(value: float) -> str:
    return f"{value:+.3g}" if value else "0"
