"""Curve over the multiplier, with their bands."""

from __future__ import annotations

from typing import Any

from ....core.block import Curve
from ....core.numbers import bounds, number
from .style import INK, MUTED, OTHERS, Drawn, data, label, line_looks, marks, rule, svg_of


def draw_curves(figure: Curve) -> Drawn:
    """Lines with points, a band where there are bounds, and a dashed rule where the model is deployed."""
    import altair as alt

    lines = figure.series[: len(OTHERS)]
    names = [label(line.name) for line in lines]
    points = [
        {"line": name, "x": x, "y": y, "low": band[0], "high": band[1]}
        for name, line in zip(names, lines, strict=True)
        for (x, y), band in zip(line.points, line.band or [(None, None)] * len(line.points), strict=True)
    ]
    axis = alt.Axis(format="%") if figure.percent else alt.Axis()
    x = alt.X("x:Q", title=label(figure.x, 60), scale=alt.Scale(nice=False, padding=8), axis=alt.Axis(grid=False))
    y = alt.Y("y:Q", title=label(figure.y, 60), scale=alt.Scale(zero=False), axis=axis)
    color, dash = line_looks("line:N", names)
    base = alt.Chart(data(points)).encode(x=x, color=color)
    layers: list[Any] = []
    if any(one["low"] is not None for one in points):
        # Without colour of its own for the legend: the line has it.
        band = alt.Chart(data([one for one in points if one["low"] is not None and one["high"] is not None]))
        layers.append(
            band.mark_area(opacity=0.18, color=OTHERS[0]).encode(
                x=x, y=alt.Y("low:Q", title=label(figure.y, 60), scale=alt.Scale(zero=False), axis=axis), y2=alt.Y2("high")
            )
        )  # fmt: skip
    layers += [rule({"y": level}, color=INK, strokeDash=[4, 3]) for level in figure.promised]
    layers += marks(figure.marked, [*(x for line in lines for x, _ in line.points), *(at for at, _ in figure.marked)], MUTED)
    layers += [
        base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash),
        base.mark_point(filled=True, size=28, opacity=1).encode(y=y),
    ]
    several = len(lines) > 1
    rows = [
        [*([name] if several else []), f"{x:g}", number(y, figure.percent), *filter(None, [bounds(band, figure.percent)])]
        for name, line in zip(names, lines, strict=True)
        for (x, y), band in zip(line.points, line.band or [(None, None)] * len(line.points), strict=True)
    ]
    head = [*(["line"] if several else []), figure.x, figure.y, *(["bounds"] if any(line.band for line in lines) else [])]
    said = "; ".join(
        f"{name} from {number(line.points[0][1], figure.percent)} at {line.points[0][0]:g} to "
        f"{number(line.points[-1][1], figure.percent)} at {line.points[-1][0]:g}"
        for name, line in zip(names, lines, strict=True)
    )
    return Drawn(figure.title, figure.about, svg_of(alt.layer(*layers)), said, head, rows)
