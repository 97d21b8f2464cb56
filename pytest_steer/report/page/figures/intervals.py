"""Estimates with their bounds, one below the other, and what each is promised to keep."""

from __future__ import annotations

from typing import Any

from ....core.block import Intervals
from ....core.numbers import number, promise
from .style import ACCENT, INK, MUTED, Drawn, data, label, svg_of

_LINE, _AXIS = 24, 44
_SHOWN = 40


def draw_intervals(figure: Intervals) -> Drawn:
    """A dot per estimate and a bar between its bounds. A bound that is not there is drawn to the figure's edge."""
    import altair as alt

    shown = figure.rows[:_SHOWN]
    names = _distinct([label(row.name) for row in shown])
    known = [
        value for row in shown for value in (row.estimate, *row.interval) if value is not None
    ] + list(figure.promised)  # fmt: skip
    low, high = min(known), max(known)
    room = 0.06 * (high - low) or 0.5
    edges = low - room, high + room
    rows = [
        {"name": name, "estimate": row.estimate} | _ends(row.interval, edges)
        for name, row in zip(names, shown, strict=True)
    ]  # fmt: skip
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
        layers.insert(0, alt.Chart(data([{"x": 0}])).mark_rule(color=MUTED).encode(x=alt.X("x:Q")))
    layers += [
        alt.Chart(data([{"x": level}])).mark_rule(color=INK, strokeDash=[4, 3]).encode(x=alt.X("x:Q"))
        for level in figure.promised
    ]
    svg = svg_of(alt.layer(*layers), height=len(rows) * _LINE + _AXIS)
    about = figure.about + ("" if len(figure.rows) <= _SHOWN else f" The first {_SHOWN} of {len(figure.rows)} are drawn.")
    if figure.promised:
        about += f" Dashed: {' and '.join(promise(level, figure.percent) for level in figure.promised)}, promised."
    table = [
        [
            label(row.name, 60),
            number(row.estimate, figure.percent),
            ""
            if row.interval == (None, None)
            else "[{}, {}]".format(*(number(end, figure.percent) for end in row.interval)),
            "" if row.n is None else str(row.n),
            row.verdict or "",
        ]
        for row in figure.rows
    ]
    said = "; ".join(f"{row[0]} {row[1]} {row[2]}".strip() for row in table[:_SHOWN])
    return Drawn(figure.title, about.strip(), svg, said, ["name", figure.x, "bounds", "n", "verdict"], table)


def _ends(interval: tuple[float | None, float | None], edges: tuple[float, float]) -> dict[str, float | None]:
    if interval == (None, None):
        return {"low": None, "high": None}
    low, high = interval
    return {"low": edges[0] if low is None else low, "high": edges[1] if high is None else high}


def _distinct(names: list[str]) -> list[str]:
    """The names, numbered where two are the same, since rows of one name would be drawn on each other."""
    found: list[str] = []
    for name in names:
        number_of = sum(name == other for other in names[: len(found)]) + 1
        found.append(name if number_of == 1 else f"{name} ({number_of})")
    return found
