"""Tables of methods and behaviours that were measured on the same items and texts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..core.columns import WITHOUT_TERMINAL, table, table_columns, wrapped
from ..core.numbers import bounded, number
from ..core.record import Row, SideChanges, Strength, TaskRow

_Table = tuple[Sequence[Sequence[str | int]], Sequence[str]]

_REACHED = {
    "most": "largest strength looked at",
    "least": "smallest strength looked at",
    "fixed": "has one strength",
}


def comparison_tables(
    rows: Sequence[Row], tasks: Sequence[TaskRow] = (), *, cost: float | None = None, width: int = WITHOUT_TERMINAL
) -> str:
    """All of the comparison as text: at the deployed strength, at equal cost, over all behaviours, and tasks.

    Args:
        cost: the wanted rise of perplexity, for the headings; None where nothing was measured at equal cost.
        width: columns that no line exceeds. Columns of a table that find no room follow in a further table below.
    """
    parts: list[tuple[str, _Table]] = []
    order = list(dict.fromkeys(row.behaviour for row in rows))
    rows = sorted(rows, key=lambda row: order.index(row.behaviour))
    if rows:
        parts.append(("at each method's own deployed strength", _deployed(rows)))
        if any(row.sides is not None for row in rows):
            title = "log-likelihood of the answers there: changes in nats per token, and on the scale of Pres et al. 2024"
            parts.append((title, _sides(rows)))
        if any(row.at_cost is not None for row in rows):
            parts.append((f"at equal perplexity cost{_wanted(cost)}", _at_cost(rows, cost)))
        if len({row.behaviour for row in rows}) > 1:
            title = "effects in standard deviations of each behaviour's unsteered propensities, methods by their mean"
            parts.append((title, _matrix(rows)))
    for behaviour in dict.fromkeys(task.behaviour for task in tasks):
        own = [task for task in tasks if task.behaviour == behaviour]
        sizes = "/".join(map(str, sorted({task.n for task in own})))
        parts.append((f"{behaviour}: accuracy of {sizes} items, first token / exact answer", _tasks(own, cost)))
    is_grouped = any(headers[0] == "behaviour" and table_columns(lines, headers) > width for _, (lines, headers) in parts)
    return "\n\n".join(
        "\n".join([wrapped(title, width), *_fitted(lines, headers, width, is_grouped)]) for title, (lines, headers) in parts
    )


def _fitted(lines: Sequence[Sequence[str | int]], headers: Sequence[str], width: int, is_grouped: bool) -> list[str]:
    """The lines of a table. Behaviours are headings where their column would have no room."""
    if not is_grouped or headers[0] != "behaviour":
        return table(lines, headers, width=width)
    return table([line[1:] for line in lines], headers[1:], width=width, groups=[str(line[0]) for line in lines])


def _wanted(cost: float | None) -> str:
    return "" if cost is None else f" ({number(cost, percent=True)})"


def _deployed(rows: Sequence[Row]) -> _Table:
    has_kl = any(row.deployed.kl is not None for row in rows)
    has_accuracy = any(row.deployed.accuracy_lost is not None for row in rows)

    def line(row: Row) -> list[str | int]:
        at = row.deployed
        return [
            row.behaviour, row.method, row.n, number(at.multiplier), bounded(row.steerability, row.steerability_interval),
            number(row.anti_steerable_share), bounded(at.effect, at.interval), number(row.standardised(at.effect)),
            number(at.wrong_way), number(at.cost, percent=True), number(at.pne), *([number(at.kl)] if has_kl else []),
            *([bounded(at.accuracy_lost, at.accuracy_lost_interval, percent=True)] if has_accuracy else []),
        ]  # fmt: skip

    headers = [
        "behaviour", "method", "n", "multiplier", "steerability", "anti-\nsteerable", "effect", "standard-\nised", "wrong\nway",
        "perplexity", "PNE", *(["KL"] if has_kl else []), *(["accuracy\nlost"] if has_accuracy else []),
    ]  # fmt: skip
    return [line(row) for row in rows], headers


def _sides(rows: Sequence[Row]) -> _Table:
    def line(row: Row, sides: SideChanges) -> list[str]:
        return [
            row.behaviour, row.method, number(row.deployed.multiplier), bounded(sides.matching_change, sides.matching_interval),
            bounded(sides.not_matching_change, sides.not_matching_interval), number(sides.promoted), number(sides.suppressed),
        ]  # fmt: skip

    headers = ["behaviour", "method", "multiplier", "matching", "not matching", "promoted", "suppressed"]
    return [line(row, row.sides) for row in rows if row.sides is not None], headers


def _at_cost(rows: Sequence[Row], cost: float | None) -> _Table:
    def line(row: Row, at: Strength) -> list[str]:
        return [
            row.behaviour, row.method, number(at.multiplier), number(at.cost, percent=True), bounded(at.effect, at.interval),
            number(row.standardised(at.effect)), number(at.wrong_way), number(at.pne), _note(at, cost),
        ]  # fmt: skip

    headers = [
        "behaviour", "method", "multiplier", "perplexity", "effect", "standard-\nised", "wrong\nway", "PNE", "note",
    ]  # fmt: skip
    return [line(row, row.at_cost) for row in rows if row.at_cost is not None], headers


def _note(at: Strength, wanted: float | None) -> str:
    """What the reader has to know of a strength that was searched for."""
    if at.reached == "cost" and wanted is not None and at.cost is not None and at.cost < 0.9 * wanted:
        return "costs more beyond"
    return _REACHED.get(at.reached or "", "")


def _matrix(rows: Sequence[Row]) -> _Table:
    """Methods x behaviours. A mean is shown where a method was measured on every behaviour."""
    behaviours = list(dict.fromkeys(row.behaviour for row in rows))
    cells = {(row.method, row.behaviour): row for row in rows}
    parts = ["deployed", *(["equal cost"] if any(row.at_cost is not None for row in rows) else [])]
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        line: list[float | None] = []
        for part in parts:
            own = [_effect(cells.get((method, behaviour)), part) for behaviour in behaviours]
            known = [value for value in own if value is not None]
            line += [*own, math.fsum(known) / len(known) if len(known) == len(behaviours) else None]
        lines.append((method, line))
    lines.sort(key=lambda entry: -math.inf if entry[1][-1] is None else entry[1][-1], reverse=True)
    headers = ["method", *(f"{behaviour}\n{part}" for part in parts for behaviour in [*behaviours, "mean"])]
    return [[method, *map(number, line)] for method, line in lines], headers


def _effect(row: Row | None, part: str) -> float | None:
    at = None if row is None else row.deployed if part == "deployed" else row.at_cost
    return None if row is None or at is None else row.standardised(at.effect)


def _tasks(tasks: Sequence[TaskRow], cost: float | None) -> _Table:
    columns = list(dict.fromkeys((task.at_cost, task.setting) for task in tasks))
    cells = {(task.method, task.at_cost, task.setting): task for task in tasks}
    lines = []
    for method in dict.fromkeys(task.method for task in tasks):
        line = [method]
        for at_cost, setting in columns:
            task = cells.get((method, at_cost, setting))
            line.append("" if task is None else f"{task.first_token:.2f} / {task.exact:.2f}")
        lines.append(line)
    extra = f"\nequal cost{_wanted(cost)}"
    return lines, ["method", *(setting + (extra if at_cost else "") for at_cost, setting in columns)]
