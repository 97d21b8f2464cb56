"""Methods x behaviours on the same ground, as tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tabulate import tabulate

from ..claims.numbers import number
from ..claims.over_items import finite
from ..stats import Inference, mean_t

Interval = tuple[float | None, float | None]
UNSTEERED = "unsteered"
_REACHED = {
    "most": "largest strength looked at",
    "least": "smallest strength looked at",
    "fixed": "has one strength",
}


@dataclass(frozen=True)
class Strength:
    """What a method does to a behaviour at one strength.

    Attributes:
        multiplier: the strength.
        effect: mean over items of the propensity there minus the unsteered one; None if it was not measured.
        interval: its bounds, each one-sided. wrong_way: share of items whose effect is below 0 (Braun et al. 2025).
        cost: relative rise of perplexity on neutral texts, or None if there are none.
        reached: of a strength that was searched for: ``cost`` (the wanted cost), ``most`` (the largest strength looked at costs
            less), ``least`` (even the smallest costs more) or ``fixed`` (the method has one strength).
    """

    multiplier: float
    effect: float | None = None
    interval: Interval = (None, None)
    wrong_way: float | None = None
    cost: float | None = None
    reached: str | None = None


def strength_of(
    effects: np.ndarray, multiplier: float, confidence: float, *, cost: float | None = None, reached: str | None = None
) -> Strength:
    """The record of the effects [n_items] at one strength, with Student's t bounds."""
    found = mean_t(effects, confidence=confidence)
    wrong_way = float((effects < 0).mean())
    return Strength(multiplier, found.estimate, bounds_of(found), wrong_way, None if cost is None else finite(cost), reached)


def bounds_of(found: Inference) -> Interval:
    """One-sided bounds as JSON has them."""
    return finite(found.low), finite(found.high)


@dataclass(frozen=True)
class Row:
    """One method on one behaviour.

    Attributes:
        n: items. spread: standard deviation of the items' unsteered propensities, the unit of what is standardised.
        steerability: mean slope of the items' propensity curves, and its bounds; None without a slope.
        anti_steerable: share of items with a slope <= 0 (Tan et al. 2024); None without a slope.
        deployed / at_cost: at the method's own strength, and at the one where perplexity has risen by the wanted share.
    """

    behaviour: str
    method: str
    n: int
    spread: float | None
    deployed: Strength
    at_cost: Strength | None = None
    steerability: float | None = None
    steerability_interval: Interval = (None, None)
    anti_steerable: float | None = None

    def standardised(self, value: float | None) -> float | None:
        """A difference of propensities in standard deviations of the unsteered propensities (Glass's delta; Glass 1976)."""
        return None if value is None or not self.spread else value / self.spread

    def to_dict(self) -> dict[str, Any]:
        """JSON values, with what is standardised."""
        found: dict[str, Any] = asdict(self)
        found["steerability_standardised"] = self.standardised(self.steerability)
        for name in ("deployed", "at_cost"):
            strength = getattr(self, name)
            if strength is not None:
                found[name]["interval"] = list(strength.interval)
                found[name]["effect_standardised"] = self.standardised(strength.effect)
        found["steerability_interval"] = list(self.steerability_interval)
        return found


def setting_name(shots: int, shuffled: bool) -> str:
    """How prompts of a task are called: ``zero-shot``, ``5-shot``, ``5-shot shuffled``."""
    words = f"{shots}-shot" if shots else "zero-shot"
    return f"{words} shuffled" if shuffled else words


@dataclass(frozen=True)
class TaskRow:
    """How often one method gives the right answer to the items of a task, in one setting.

    Attributes:
        setting: see :func:`setting_name`.
        first_token / exact: shares of items.
        at_cost: at the strength of equal cost, rather than the deployed one.
    """

    behaviour: str
    method: str
    setting: str
    n: int
    first_token: float
    exact: float
    at_cost: bool = False


def comparison_tables(rows: Sequence[Row], tasks: Sequence[TaskRow] = (), *, cost: float | None = None) -> str:
    """All of the comparison as text: at the deployed strength, at equal cost, over all behaviours, and tasks.

    Args:
        cost: the wanted rise of perplexity, for the headings; None where nothing was measured at equal cost.
    """
    parts = []
    order = list(dict.fromkeys(row.behaviour for row in rows))
    rows = sorted(rows, key=lambda row: order.index(row.behaviour))
    if rows:
        parts.append(f"at each method's own deployed strength\n{_deployed(rows)}")
        if any(row.at_cost is not None for row in rows):
            parts.append(f"at equal perplexity cost{_wanted(cost)}\n{_at_cost(rows, cost)}")
        if len({row.behaviour for row in rows}) > 1:
            parts.append(
                "effects in standard deviations of each behaviour's unsteered propensities, methods by their mean\n"
                + _matrix(rows)
            )
    for behaviour in dict.fromkeys(task.behaviour for task in tasks):
        own = [task for task in tasks if task.behaviour == behaviour]
        sizes = "/".join(map(str, sorted({task.n for task in own})))
        parts.append(f"{behaviour}: accuracy of {sizes} items, first token / exact answer\n{_tasks(own, cost)}")
    return "\n\n".join(parts)


def _wanted(cost: float | None) -> str:
    return "" if cost is None else f" ({number(cost, percent=True)})"


def _deployed(rows: Sequence[Row]) -> str:
    lines: list[list[str | int]] = []
    for row in rows:
        at = row.deployed
        lines.append(
            [
                row.behaviour,
                row.method,
                row.n,
                number(at.multiplier),
                number(row.steerability),
                _interval(row.steerability_interval),
                number(row.anti_steerable),
                number(at.effect),
                _interval(at.interval),
                number(row.standardised(at.effect)),
                number(at.wrong_way),
                number(at.cost, percent=True),
            ]
        )
    headers = [
        "behaviour", "method", "n", "multiplier", "steerability", "interval", "anti-steerable", "effect", "interval",
        "standardised", "wrong way", "perplexity",
    ]  # fmt: skip
    return _table(lines, headers)


def _at_cost(rows: Sequence[Row], cost: float | None) -> str:
    lines = []
    for row in rows:
        at = row.at_cost
        if at is None:
            continue
        lines.append(
            [
                row.behaviour,
                row.method,
                number(at.multiplier),
                number(at.cost, percent=True),
                number(at.effect),
                _interval(at.interval),
                number(row.standardised(at.effect)),
                number(at.wrong_way),
                _note(at, cost),
            ]
        )
    headers = ["behaviour", "method", "multiplier", "perplexity", "effect", "interval", "standardised", "wrong way", ""]
    return _table(lines, headers)


def _note(at: Strength, wanted: float | None) -> str:
    """What the reader has to know of a strength that was searched for."""
    if at.reached == "cost" and wanted is not None and at.cost is not None and at.cost < 0.9 * wanted:
        return "costs more beyond"
    return _REACHED.get(at.reached or "", "")


def _matrix(rows: Sequence[Row]) -> str:
    """Methods x behaviours. A mean is shown where a method was measured on every behaviour."""
    behaviours = list(dict.fromkeys(row.behaviour for row in rows))
    cells = {(row.method, row.behaviour): row for row in rows}
    both = any(row.at_cost is not None for row in rows)
    reads: list[tuple[str, Callable[[Row], Strength | None]]] = [("deployed", lambda row: row.deployed)]
    if both:
        reads.append(("equal cost", lambda row: row.at_cost))
    lines = []
    for method in dict.fromkeys(row.method for row in rows):
        line: list[float | None] = []
        for _, read in reads:
            own = [_effect(cells.get((method, behaviour)), read) for behaviour in behaviours]
            known = [value for value in own if value is not None]
            line += [*own, math.fsum(known) / len(known) if len(known) == len(behaviours) else None]
        lines.append((method, line))
    lines.sort(key=lambda entry: -math.inf if entry[1][-1] is None else entry[1][-1], reverse=True)
    headers = ["method"]
    for name, _ in reads:
        headers += [f"{behaviour}\n{name}" for behaviour in [*behaviours, "mean"]]
    return _table([[method, *map(number, line)] for method, line in lines], headers)


def _effect(row: Row | None, read: Callable[[Row], Strength | None]) -> float | None:
    at = None if row is None else read(row)
    return None if row is None or at is None else row.standardised(at.effect)


def _tasks(tasks: Sequence[TaskRow], cost: float | None) -> str:
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
    return _table(lines, ["method", *(setting + (extra if at_cost else "") for at_cost, setting in columns)])


def _interval(interval: Interval) -> str:
    return "" if interval == (None, None) else "[{}, {}]".format(*map(number, interval))


def _table(lines: Iterable[Sequence[str | int]], headers: Sequence[str]) -> str:
    return str(tabulate(list(lines), headers=headers, tablefmt="simple", disable_numparse=True))
