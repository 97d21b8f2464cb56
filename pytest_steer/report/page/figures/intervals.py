"""Estimates with their bounds, one below the other, and what each is promised to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ....core.block import Estimate, Intervals
from ....core.numbers import bounds, number, promise
from .style import ACCENT, INK, MUTED, Drawn, data, label, rule, svg_of

_LINE, _AXIS = 24, 44
_SHOWN = 40


def draw_intervals(figure: Intervals) -> Drawn:
    """A dot per estimate and a bar between its bounds. A bound that is not there is drawn to the figure's edge."""
    import altair as alt

    shown = figure.rows[:_SHOWN]
    names = _distinct([label(row.name) for row in shown])
    known = [value for row in shown for value in (row.estimate, *row.interval) if value is not None]
    low, high = min([*known, *figure.promised]), max([*known, *figure.promised])
    room = 0.06 * (high - low) or 0.5
    edges = low - room, high + room
    rows = [{"name": name, "estimate": one.estimate} | _ends(one, edges) for name, one in zip(names, shown, strict=True)]
    axis = alt.Axis(format="+%" if figure.percent else "", grid=True)
    scale = alt.Scale(domain=list(edges), nice=False, zero=False)
    x = alt.X("estimate:Q", title=label(figure.x, 60), axis=axis, scale=scale)
    y = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelColor=INK, labelLimit=150, ticks=False, domain=False))
    base = alt.Chart(data(rows)).encode(y=y)
    layers: list[Any] = [
        base.mark_bar(height=4, color=ACCENT, opacity=0.35).encode(
            x=alt.X("low:Q", title=label(figure.x, 60), scale=scale), x2=alt.X2("high")
        ),
        base.mark_point(filled=True, size=46, opacity=1, color=ACCENT).encode(x=x),
    ]
    if edges[0] < 0 < edges[1]:
        layers.insert(0, rule({"x": 0}, color=MUTED))
    layers += [rule({"x": level}, color=INK, strokeDash=[4, 3]) for level in figure.promised]
    svg = svg_of(alt.layer(*layers), height=len(rows) * _LINE + _AXIS)
    about = figure.about + ("" if len(figure.rows) <= _SHOWN else f" The first {_SHOWN} of {len(figure.rows)} are drawn.")
    if figure.promised:
        about += f" Dashed: {' and '.join(promise(level, figure.percent) for level in figure.promised)}, promised."
    table = [
        [
            label(row.name, 60),
            number(row.estimate, figure.percent),
            bounds(row.interval, figure.percent),
            "" if row.n is None else str(row.n),
            row.verdict or "",
        ]
        for row in figure.rows
    ]
    said = "; ".join(f"{row[0]} {row[1]} {row[2]}".strip() for row in table[:_SHOWN])
    return Drawn(figure.title, about.strip(), svg, said, ["name", figure.x, "bounds", "n", "verdict"], table)


def _ends(row: Estimate, edges: tuple[float, float]) -> dict[str, float | None]:
    low, high = (None, None) if row.interval == (None, None) else edges
    return {
        "low": low if row.interval[0] is None else row.interval[0],
        "high": high if row.interval[1] is None else row.interval[1],
    }


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, numbered where two are the same, since rows of one name would be drawn on each other."""
    seen = Counter[str]()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return found
