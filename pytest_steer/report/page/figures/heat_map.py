"""A map of numbers, rows by columns: colour for how far each is from 0, and the number itself in its cell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ....core.numbers import number
from .style import INK, RULE, Drawn, data, label, svg_of

_CELL = (74, 30)
# From far below 0 to far above; steps on which black text is readable, in both schemes.
_PALETTE = ("#8ab4d8", "#b5d1e8", "#dbe7f2", "#f2f2f0", "#fbe3d0", "#f8c49d", "#f0a068")


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """Numbers by row and column.

    Attributes:
        cells: the value of each (row, column). marks: a sign that follows the number of a (row, column).
    """

    title: str
    about: str
    rows: Sequence[str]
    columns: Sequence[str]
    cells: Mapping[tuple[str, str], float]
    marks: Mapping[tuple[str, str], str]


def draw_heat_map(figure: HeatMap) -> Drawn:
    """The map; a cell that was not measured is left out."""
    import altair as alt

    top = max((abs(value) for value in figure.cells.values()), default=0.0) or 1.0
    names = {name: label(name, 24) for name in (*figure.rows, *figure.columns)}
    rows = [
        {
            "row": names[row],
            "column": names[column],
            "value": value,
            "said": f"{value:+.2f}{figure.marks.get((row, column), '')}",
        }
        for (row, column), value in figure.cells.items()
    ]
    x = alt.X(
        "column:N",
        sort=None,
        title=None,
        axis=alt.Axis(orient="top", labelAngle=-30, labelColor=INK, domain=False, ticks=False),
    )
    y = alt.Y("row:N", sort=None, title=None, axis=alt.Axis(labelColor=INK, labelLimit=150, domain=False, ticks=False))
    scale = alt.Scale(domain=[-top, top], range=list(_PALETTE), type="quantize")
    base = alt.Chart(data(rows)).encode(x=x, y=y)
    chart = alt.layer(
        base.mark_rect(stroke=RULE).encode(color=alt.Color("value:Q", scale=scale, legend=None)),
        base.mark_text(color="#111111", fontSize=12).encode(text=alt.Text("said:N")),
    )
    svg = svg_of(chart, width=_CELL[0] * len(figure.columns), height=_CELL[1] * len(figure.rows), grows=True)
    table = [
        [
            row,
            *(
                f"{number(figure.cells[row, column])}{figure.marks.get((row, column), '')}"
                if (row, column) in figure.cells
                else ""
                for column in figure.columns
            ),
        ]
        for row in figure.rows
    ]
    said = "; ".join(f"{row} on {column} {number(value)}" for (row, column), value in figure.cells.items())
    return Drawn(figure.title, figure.about, svg, said, ["vector", *figure.columns], table)
