"""The look of all figures, and Altair's charts as SVG that follows the page's colours."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ....core.columns import visible

# The page's style sheet turns each of these into the colour of the same name in the reader's scheme, light or dark.
INK, MUTED, RULE = "#1c2024", "#5b6470", "#d9dde3"
ACCENT, BAD, GOOD = "#0b5cad", "#b3261e", "#1b6e3c"
OTHERS = ("#0b5cad", "#a34700", "#00705a", "#8a3ffc", "#5b6470", "#1c2024")
"""Of several lines; in print they differ by their dashes."""
DASHES = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (12, 4), (4, 4))

WIDTH, HEIGHT = 312, 210
"""Of a figure with its axes, in CSS pixels: on a phone of 360 pixels it stands unscaled, so that no text gets too small."""


@dataclass(frozen=True)
class Drawn:
    """A figure as the page has it.

    Attributes:
        svg: safe to stand in HTML. said: the figure in words, for readers who do not see it.
        head / rows: its numbers as a table.
    """

    title: str
    about: str
    svg: str
    said: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


_LOOK = {
    "aria": False,  # the page says the figure in words
    "background": "transparent",
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelColor": MUTED, "titleColor": MUTED, "gridColor": RULE, "domainColor": RULE, "tickColor": RULE, "labelFontSize": 11,
        "titleFontSize": 11, "titleFontWeight": "normal", "titlePadding": 6, "labelLimit": 120, "titleLimit": 290, "tickCount": 5,
    },
    "legend": {
        "orient": "top", "title": None, "labelColor": INK, "labelFontSize": 11, "labelLimit": 280, "symbolOpacity": 1,
        "symbolStrokeWidth": 2, "columns": 1, "offset": 4,
    },
}  # fmt: skip


def svg_of(chart: Any, *, width: int = WIDTH, height: int = HEIGHT, grows: bool = False) -> str:
    """The chart as SVG.

    Args:
        chart: of Altair. All texts in it go through :func:`label` first.
        grows: the size is that of the inside, and the axes are added to it.
    """
    # Put next to the chart's own entries: each of Altair's configure_... copies the whole chart, data and all.
    spec = chart.to_dict(validate=False)
    spec["config"] = _LOOK
    spec |= {"width": width, "height": height, "padding": 5}
    spec["autosize"] = {"type": "pad"} if grows else {"type": "fit", "contains": "padding"}
    return _drawn(json.dumps(spec, sort_keys=True, allow_nan=False))


@lru_cache(maxsize=256)
def _drawn(spec: str) -> str:
    """Claims about the same items share their curve, so it is drawn once."""
    import vl_convert

    svg: str = vl_convert.vegalite_to_svg(json.loads(spec))
    start, _, rest = svg.partition(">")
    sizes = start[start.index(' width="') :]
    # Hidden from screen readers, which read the words next to it.
    return f'<svg aria-hidden="true" focusable="false"{sizes}>{rest}'


def label(text: str, longest: int = 28) -> str:
    """A text of others as it may stand in a figure: in one line, with controls written out, cut in the middle."""
    flat = " ".join(visible(str(text)).split())
    half = (longest - 1) // 2
    return flat if len(flat) <= longest else f"{flat[:half]}\u2026{flat[-half:]}"


def line_looks(field: str, names: Sequence[str]) -> tuple[Any, Any]:
    """Colour and dashes of each line, with a legend where there are several lines."""
    import altair as alt

    legend = alt.Legend(symbolType="stroke", symbolSize=260) if len(names) > 1 else None
    colors, dashes = list(OTHERS[: len(names)]), [list(one) for one in DASHES[: len(names)]]
    return (
        alt.Color(field, scale=alt.Scale(domain=names, range=colors), legend=legend),
        alt.StrokeDash(field, scale=alt.Scale(domain=names, range=dashes), legend=legend),
    )


def rule(place: dict[str, float], **look: Any) -> Any:
    """A line across the figure, at ``x`` or at ``y``."""
    import altair as alt

    (axis,) = place
    return alt.Chart(data([place])).mark_rule(**look).encode(**{axis: alt.X("x:Q") if axis == "x" else alt.Y("y:Q")})


def marks(marked: Sequence[tuple[float, str]], seen: Sequence[float], color: str) -> list[Any]:
    """Dashed rules at values to the right, with what they are called, one below the other and within the figure.

    Args:
        seen: the values that the figure reaches from and to.
    """
    import altair as alt

    middle = (min(seen) + max(seen)) / 2
    layers = []
    for place, (value, said) in enumerate(marked):
        rows = data([{"x": value, "said": label(said)}])
        layers.append(alt.Chart(rows).mark_rule(color=color, strokeDash=[3, 3]).encode(x=alt.X("x:Q")))
        side: dict[str, Any] = {"align": "left", "dx": 4} if value <= middle else {"align": "right", "dx": -4}
        text = alt.Chart(rows).mark_text(baseline="top", color=color, fontSize=11, **side)
        layers.append(text.encode(x=alt.X("x:Q"), y=at_height(14 * place), text=alt.Text("said:N")))
    return layers


def at_height(pixels: float) -> Any:
    """A place ``pixels`` below the figure's top."""
    import altair as alt

    return alt.YValue(pixels)  # type: ignore[no-untyped-call]


def data(rows: Sequence[Mapping[str, object]]) -> Any:
    """Rows for a chart, which stand in it."""
    import altair as alt

    return alt.InlineData(values=list(rows))
