"""What can be drawn of a claim, as plain data: a claim says which figures it has, and the page draws them.

A class that is a claim may define ``figures``, a static method from its record (``Evidence.to_dict``, as it stands in a report) to a list of
these. Without it a claim has those of :func:`figures_of_items`. Everything drawn stands in the record: no statistic is worked out here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Record = dict[str, Any]
Bound = float | None


@dataclass(frozen=True, kw_only=True)
class _Titled:
    """What every figure has.

    Attributes:
        title: what is seen, in a few words. about: one or two sentences below it.
    """

    title: str
    about: str = ""


@dataclass(frozen=True)
class Line:
    """One curve: its points from left to right, and where there is one, the bounds at each of them."""

    name: str
    points: Sequence[tuple[float, float]]
    band: Sequence[tuple[Bound, Bound]] | None = None


@dataclass(frozen=True, kw_only=True)
class Curves(_Titled):
    """At most six curves over the multiplier.

    Attributes:
        y: what is drawn upwards. x: what is drawn to the right.
        marked: places to the right with a mark, and what they are called (``deployed``).
        promised: levels that a claim promises.
    """

    lines: Sequence[Line]
    y: str
    x: str = "multiplier"
    marked: Sequence[tuple[float, str]] = ()
    promised: Sequence[float] = ()
    percent: bool = False


@dataclass(frozen=True, kw_only=True)
class Distribution(_Titled):
    """How often which value occurs among units.

    Attributes:
        x: what the values are. unit: whose they are.
        wrong: the side of 0 whose values are marked, with 0 itself; None where neither is wrong.
        wrong_name: what a value there is called.
        marked: values with a mark, and what they are called (``mean``, ``promised``).
    """

    values: Sequence[float]
    x: str
    unit: str = "items"
    wrong: Literal["below", "above"] | None = None
    wrong_name: str = "anti-steerable"
    marked: Sequence[tuple[float, str]] = ()
    percent: bool = False


@dataclass(frozen=True)
class Row:
    """One estimate with its bounds; None for both where it was not judged."""

    name: str
    estimate: float
    interval: tuple[Bound, Bound] = (None, None)
    n: int | None = None
    verdict: str | None = None


@dataclass(frozen=True, kw_only=True)
class Intervals(_Titled):
    """Estimates side by side, one below the other.

    Attributes:
        x: what the estimates are.
        promised: what each of them is promised to keep.
    """

    rows: Sequence[Row]
    x: str
    promised: Sequence[float] = ()
    percent: bool = False


@dataclass(frozen=True)
class CostPoint:
    """What one strength does and what it costs: a mean effect, and a relative rise of perplexity (0.05 is 5 %)."""

    name: str
    multiplier: float
    effect: float
    cost: float
    interval: tuple[Bound, Bound] = (None, None)


@dataclass(frozen=True, kw_only=True)
class EffectAgainstCost(_Titled):
    """Effect upwards and cost to the right; points of one name are joined in the order of the multiplier."""

    points: Sequence[CostPoint]
    budget: float | None = None


Figure = Curves | Distribution | Intervals | EffectAgainstCost


def figures_of_items(record: Record) -> list[Figure]:
    """The propensity curve with its band and the distribution of the items' slopes (Tan et al. 2024, figure 1), where the record has them."""
    return [*curve_of(record), *distribution_of(record)]


def curve_of(record: Record) -> list[Figure]:
    """The mean propensity over the multiplier."""
    grid, mean = record.get("multipliers"), record.get("curve")
    if not grid or not mean:
        return []
    band = record.get("curve_interval")
    bounds = f"The band is the bounds of the mean at each multiplier, each at {record['confidence']:g}." if band else ""
    return [
        Curves(
            title="Propensity curve",
            about=f"Mean over {len(record.get('items') or ()) or record['n']} items. {bounds}".strip(),
            y="mean propensity",
            lines=[Line("mean propensity", list(zip(grid, mean, strict=True)), [(low, high) for low, high in band or ()] or None)],
            marked=deployed_mark(record),
        )
    ]  # fmt: skip


def distribution_of(record: Record) -> list[Figure]:
    """The items' slopes, or their effects where a claim is about these, with what moves the wrong way marked."""
    items, details = record.get("items") or [], record["details"]
    effects = details.get("effects")
    if not items or (effects is None and "anti_steerable_share" not in details):
        return []
    sign = _sign(record, by_effect=effects is not None)
    values = [item["slope"] for item in items] if effects is None else effects
    what, name = ("slope", "anti-steerable") if effects is None else ("effect", "moves the wrong way")
    share, mean = details.get("anti_steerable_share"), details.get("steerability")
    marked = [(mean, "mean")] if mean is not None and effects is None else []
    if record["threshold"] is not None and record["statistic"] in (
        "steerability",
        "negative steerability",
        "effect",
        "negative effect",
    ):
        marked.append((sign * record["threshold"], "promised"))
    return [
        Distribution(
            title="Slopes of the items" if effects is None else "Effects on the items",
            about=f"{share:.0%} of {len(values)} items {'are anti-steerable' if sign > 0 else 'do not fall'}."
            if share is not None and effects is None
            else f"{len(values)} items.",
            values=values,
            x="slope: propensity per unit of the multiplier" if effects is None else f"{what}: change of propensity",
            wrong="below" if sign > 0 else "above",
            wrong_name=name if sign > 0 else "does not fall",
            marked=marked,
        )
    ]


def promised_in(record: Record) -> list[float]:
    """The threshold, for ``promised``; nothing as long as there is none."""
    return [] if record["threshold"] is None else [record["threshold"]]


def deployed_mark(record: Record) -> list[tuple[float, str]]:
    """The deployed multiplier, for ``marked``."""
    at = record["details"].get("deployed")
    multiplier = at.get("multiplier") if isinstance(at, dict) else record.get("multiplier")
    return [] if multiplier is None else [(multiplier, "deployed")]


def interval_row(found: Record, name: str, estimate: str = "estimate", interval: str = "interval") -> Row:
    """A row of a record that has an estimate and its bounds under these keys."""
    low, high = found.get(interval) or (None, None)
    return Row(name, found[estimate], (low, high), found.get("n"), found.get("verdict"))


def _sign(record: Record, *, by_effect: bool) -> int:
    """What a slope or an effect is multiplied with so that above 0 means as promised."""
    at = record["details"].get("deployed") or {}
    return -1 if at.get("direction") == "lowers" and (by_effect or at["multiplier"] > 0) else 1


def worst_first(record: Record) -> list[tuple[float, Record]]:
    """The items with the slope or effect that a claim is about, those that move least in the promised direction first."""
    effects = record["details"].get("effects")
    items = record.get("items") or []
    values = [item["slope"] for item in items] if effects is None else effects
    sign = _sign(record, by_effect=effects is not None)
    return sorted(zip(values, items, strict=True), key=lambda pair: sign * float(pair[0]))
