"""How values are distributed among units, as in figure 1 of Tan et al. 2024: those on the wrong side of 0 are marked."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from ....core.block import Distribution
from ....core.numbers import number
from .style import ACCENT, BAD, INK, Drawn, data, label, marks, rule, svg_of

_BINS = 24


def draw_distribution(figure: Distribution) -> Drawn:
    """Bars of equal width, of which one edge is 0, so that no bar stands on both sides of it."""
    import altair as alt

    bins = [one | {"side": _side(one, figure.wrong)} for one in binned(figure.values, zero_below=figure.wrong == "below")]
    axis = alt.Axis(format="%", grid=False) if figure.percent else alt.Axis(grid=False)
    wrong = figure.wrong is not None and any(one["side"] == "wrong" and one["n"] for one in bins)
    scale = alt.Scale(domain=["right", "wrong"], range=[ACCENT, BAD])
    # Room for the words at the marks above the bars.
    height = alt.Scale(domainMax=max(one["n"] for one in bins) * (1.02 + 0.1 * len(figure.marked)))
    bars = (
        alt.Chart(data([one for one in bins if one["n"]]))
        .mark_bar(binSpacing=0.5)
        .encode(
            x=alt.X("low:Q", bin="binned", title=label(figure.x, 60), axis=axis, scale=alt.Scale(nice=False, padding=6)),
            x2=alt.X2("high"),
            y=alt.Y("n:Q", title=label(figure.unit, 30), axis=alt.Axis(tickMinStep=1, format="d"), scale=height),
            color=alt.Color("side:N", scale=scale, legend=None),
        )
    )
    layers: list[Any] = [bars]
    if bins[0]["low"] <= 0 <= bins[-1]["high"]:
        layers.append(rule({"x": 0}, color=INK, strokeWidth=1))
    layers += marks(figure.marked, [bins[0]["low"], bins[-1]["high"], *(value for value, _ in figure.marked)], INK)
    said = f"{len(figure.values)} {figure.unit} from {number(min(figure.values), figure.percent)} to {number(max(figure.values), figure.percent)}"
    if wrong:
        count = sum(one["n"] for one in bins if one["side"] == "wrong")
        said += f", {count} of them {figure.wrong_name}"
    table = [
        [f"{number(one['low'], figure.percent)} to {number(one['high'], figure.percent)}", str(one["n"])]
        + ([figure.wrong_name if one["side"] == "wrong" else ""] if wrong else [])
        for one in bins
        if one["n"]
    ]
    side = "left" if figure.wrong == "below" else "right"
    about = f"{figure.about} Red and {side} of the line: {figure.wrong_name}." if wrong else figure.about
    head = [figure.x, figure.unit, *(["side"] if wrong else [])]
    return Drawn(figure.title, about, svg_of(alt.layer(*layers)), said, head, table)


def binned(values: Sequence[float], *, zero_below: bool) -> list[dict[str, Any]]:
    """How many values lie in each bin; all bins are equally wide, and 0 is an edge. A value on an edge counts to the bin above it.

    Args:
        zero_below: values of 0 count to the bin below, where an item that does not move is anti-steerable.
    """
    low, high = min(values), max(values)
    low, high = (min(low, 0.0), max(high, 0.0)) if min(abs(low), abs(high)) <= high - low else (low, high)  # near 0
    # Values that differ in their last digits alone stand in one bin.
    width = _round(max((high - low) / _BINS, max(abs(low), abs(high)) / 1000)) if low or high else 1.0
    places = [_place(value / width, zero_below) for value in values]
    counts = Counter(places)
    first, last = min([*places, math.floor(low / width)]), max(places)
    return [{"low": place * width, "high": (place + 1) * width, "n": counts[place]} for place in range(first, last + 1)]


def _place(value: float, zero_below: bool) -> int:
    if value == 0:
        return -1 if zero_below else 0
    return math.floor(value) if value > 0 else min(math.floor(value), -1)


def _round(width: float) -> float:
    """The least of 1, 2, 2.5 and 5 times a power of ten that is no smaller."""
    power: float = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= width * (1 - 1e-9))


def _side(one: dict[str, Any], wrong: str | None) -> str:
    is_wrong = (wrong == "below" and one["high"] <= 0) or (wrong == "above" and one["low"] >= 0)
    return "wrong" if is_wrong else "right"
