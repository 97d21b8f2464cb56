"""Effect against cost over the multiplier, as a table and as a picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from ..core.columns import current_columns, table
from ..core.errors import SteerError
from ..core.evidence import Json
from ..core.numbers import estimated, number
from ..core.record import Bounds

Cost = Literal["perplexity", "kl"]

MOST_LINES = 8
SIZE = (760, 500)
"""Of the picture, in CSS pixels; a PNG has twice as many each way."""
PNG_SCALE = 2

# Okabe and Ito's colours, which the colour-blind tell apart, without the yellow, which is invisible in print.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#777777")
# In black and white, lines differ by these.
DASHES = ((1, 0), (7, 3), (2, 2), (8, 3, 2, 3), (12, 4), (4, 4), (1, 3), (10, 2, 2, 2, 2, 2))
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right", "triangle-left")
_AXES = {
    "perplexity": "Cost: rise of perplexity (square root of its logarithm)",
    "kl": "Cost: KL(unsteered || steered), nats per token (square root)",
}
# Ticks of the rise of perplexity, whose axis is that of the mean difference in nats per token.
_RISES = (
    -0.5, -0.2, -0.05, -0.01, 0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 3, 9, 29, 99, 999, 9999, 99_999,
)  # fmt: skip
_AS_RISE = "datum.value == 0 ? '0%' : format(exp(datum.value) - 1, abs(datum.value) < 0.009 ? '+.1~%' : '+,.0%')"


@dataclass(frozen=True)
class Point:
    """What was measured at one multiplier.

    Attributes:
        effect: mean propensity minus that at multiplier 0, in ``Line.unit``.
        cost: relative rise of perplexity (0.05 is 5 %), or KL divergence in nats per token.
        effect_interval / cost_interval: one-sided bounds, each at the confidence; None where there is none.
        is_deployed: whether a claim deploys this multiplier.
    """

    multiplier: float
    effect: float
    effect_interval: Bounds
    cost: float
    cost_interval: Bounds
    is_deployed: bool = False


@dataclass(frozen=True)
class Line:
    """One vector on one behaviour. Its points are in the order of the multipliers, 0 among them."""

    name: str
    points: tuple[Point, ...]
    n_items: int
    n_texts: int


def effect_cost_table(lines: Sequence[Line], cost: Cost) -> str:
    """The numbers of the picture, with the deployed multipliers marked."""
    percent = cost == "perplexity"
    points = [(line.name, one) for line in lines for one in line.points]
    rows = [
        [
            f"{one.multiplier:g}",
            estimated(one.effect, one.effect_interval),
            estimated(one.cost, one.cost_interval, percent),
            "deployed" if one.is_deployed else "",
        ]
        for _, one in points
    ]
    headers = ["multiplier", "effect [interval]", f"{'perplexity' if percent else 'KL'} [interval]", ""]
    return "\n".join(table(rows, headers, width=current_columns(), groups=[name for name, _ in points]))


def check_drawable() -> None:
    """Refuse to draw without the libraries, before anything is measured.

    Raises:
        SteerError: it says what to install.
    """
    try:
        import altair  # noqa: F401
        import vl_convert  # noqa: F401
    except ModuleNotFoundError as error:
        raise SteerError(
            f"pictures are drawn by Altair and vl-convert, and {error.name} is not installed. Install them: "
            'pip install "pytest-steer[page]"'
        ) from None


def effect_cost_picture(lines: Sequence[Line], cost: Cost, *, title: str, confidence: float, suffix: str) -> bytes:
    """The picture, effect up and cost to the right, one line per vector and one point per multiplier.

    Args:
        lines: at most eight, which can be told apart.
        confidence: of each bound. suffix: ``.svg`` or ``.png``.

    Raises:
        SteerError: Altair or vl-convert is not installed.
    """
    check_drawable()
    return saved(_chart(lines, cost, title, confidence), title=title, said=_described(lines, cost), suffix=suffix)


def saved(chart: Any, *, title: str, said: str, suffix: str) -> bytes:
    """A chart of Altair as the bytes of a file.

    Args:
        said: the picture in words, for screen readers. suffix: ``.svg`` or ``.png``.
    """
    if suffix == ".png":
        drawn = io.BytesIO()
        chart.save(drawn, format="png", scale_factor=PNG_SCALE)
        return drawn.getvalue()
    text = io.StringIO()
    chart.save(text, format="svg")
    # Screen readers read these two; Vega writes neither.
    words = f"<title>{escape(title)}</title><desc>{escape(said)}</desc>"
    start, end, rest = text.getvalue().partition(">")
    return f'{start} role="img"{end}{words}{rest}\n'.encode()


def line_looks(names: Sequence[str]) -> tuple[Any, Any, Any]:
    """Colour, dashes and shape of the points of each line, with a legend where there are several lines."""
    import altair as alt

    look: Json = {"symbolSize": 120, "symbolOpacity": 1, "symbolStrokeWidth": 0}
    legend = alt.Legend(title=None, orient="bottom", columns=2, labelLimit=340, **look) if len(names) > 1 else None
    color, dash, shape = (
        alt.Scale(domain=names, range=list(palette[: len(names)])) for palette in (COLOURS, DASHES, SHAPES)
    )
    return (
        alt.Color("line:N", scale=color, legend=legend),
        alt.StrokeDash("line:N", scale=dash, legend=None),
        alt.Shape("line:N", scale=shape, legend=legend),
    )


def framed(layers: Sequence[Any], *, title: str, subtitle: str) -> Any:
    """The layers as one picture."""
    import altair as alt

    heading = alt.TitleParams(title, subtitle=subtitle, anchor="start", fontSize=15, subtitleFontSize=12, limit=SIZE[0])
    autosize = alt.AutoSizeParams(type="fit", contains="padding")
    return (
        alt.layer(*layers)
        .properties(title=heading, width=SIZE[0], height=SIZE[1], autosize=autosize, background="#ffffff", padding=12)
        .configure_axis(labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridColor="#e5e5e5")
        .configure_legend(labelFontSize=12)
    )


def _chart(lines: Sequence[Line], cost: Cost, title: str, confidence: float) -> Any:
    import altair as alt

    rows = [_row(line, one, cost) for line in lines for one in line.points]
    # A cost grows about with the square of the multiplier, so that its root keeps small and large ones apart.
    scale = alt.Scale(type="sqrt", padding=24, nice=False)
    axis = alt.Axis(tickCount=8)
    if cost == "perplexity":
        axis = alt.Axis(values=_ticks([row["cost"] for row in rows]), labelExpr=_AS_RISE)
    color, dash, shape = line_looks([line.name for line in lines])
    said = "Effect: mean change of propensity (nats, or logits of labels)"
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("cost:Q", title=_AXES[cost], scale=scale, axis=axis),
        y=alt.Y("effect:Q", title=said, scale=alt.Scale(padding=24)),
        color=color,
    )
    bar = base.mark_rule(strokeWidth=1.5, opacity=0.55)
    ring = base.transform_filter("datum.is_deployed").mark_point(
        size=300, shape="circle", filled=False, color="#000000", strokeWidth=2, aria=False
    )
    text = base.encode(text="label:N")
    where: Json = {"dx": -8, "dy": -10, "align": "right", "fontSize": 12, "aria": False}
    layers = [
        alt.Chart(alt.InlineData(values=[{"effect": 0}])).mark_rule(color="#999999", strokeWidth=1).encode(y="effect:Q"),
        bar.encode(y="effect_low:Q", y2="effect_high:Q"),
        bar.encode(x=alt.X("cost_low:Q", scale=scale), x2="cost_high:Q"),
        base.mark_line(strokeWidth=2).encode(order="multiplier:Q", strokeDash=dash),
        # Behind each number a white rim, so that a line does not cross it.
        text.mark_text(**where, stroke="#ffffff", strokeWidth=4).encode(color=alt.value("#ffffff")),
        text.mark_text(**where),
        base.mark_point(filled=True, size=55, opacity=1).encode(shape=shape, description="said:N"),
        ring.encode(color=alt.value("#000000")),
    ]
    items, texts = ("/".join(map(str, sorted({getattr(line, of) for line in lines}))) for of in ("n_items", "n_texts"))
    subtitle = (
        "Numbers at the points are multipliers, a ring marks a deployed one. "
        f"Bars are bounds, each at {confidence:g}: {items} items, {texts} texts."
    )
    return framed(layers, title=title, subtitle=subtitle)


def _ticks(seen: Sequence[float]) -> list[float]:
    """Rises of perplexity that a reader knows, as far apart as their labels need."""

    def place(value: float) -> float:
        return math.copysign(math.sqrt(abs(value)), value)

    low, high = min(seen), max(seen)
    apart = 0.06 * (place(high) - place(low))
    kept: list[float] = []
    for tick in sorted((math.log1p(one) for one in _RISES), key=abs):
        if low <= tick <= high and all(abs(place(tick) - place(other)) >= apart for other in kept):
            kept.append(tick)
    return sorted(kept)


def _row(line: Line, one: Point, cost: Cost) -> Json:
    """A point as it is drawn: a rise of perplexity as its logarithm, the mean difference in nats per token."""

    def drawn(value: float | None) -> float | None:
        return math.log1p(value) if value is not None and cost == "perplexity" else value

    low, high = map(drawn, one.cost_interval)
    return {
        "line": line.name,
        "multiplier": one.multiplier,
        "label": f"{one.multiplier:g}",
        "said": f"{line.name}: {_said(one, cost)}",
        "effect": one.effect,
        "effect_low": one.effect_interval[0],
        "effect_high": one.effect_interval[1],
        "cost": drawn(one.cost),
        "cost_low": low,
        "cost_high": high,
        "is_deployed": one.is_deployed,
    }


def _described(lines: Sequence[Line], cost: Cost) -> str:
    """The picture in words."""
    what = "the rise of perplexity" if cost == "perplexity" else "the KL divergence in nats per token"
    parts = [f"Effect, the mean change of propensity, against {what}."]
    parts += [f"{line.name}: {'; '.join(_said(one, cost) for one in line.points)}." for line in lines]
    return " ".join(parts)


def _said(one: Point, cost: Cost) -> str:
    deployed = " (deployed)" if one.is_deployed else ""
    name = "perplexity" if cost == "perplexity" else "KL"
    return (
        f"multiplier {one.multiplier:g}{deployed}, effect {number(one.effect)}, {name} "
        f"{number(one.cost, percent=cost == 'perplexity')}"
    )
