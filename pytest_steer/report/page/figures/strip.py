"""One claim in one line: estimate and interval on an axis, and the side of the threshold that is promised."""

from __future__ import annotations

from typing import Any

from ....core.numbers import promise
from ....core.record import ClaimRecord
from .style import ACCENT, GOOD, INK, MUTED, at_height, data, svg_of

_WIDTH, _HEIGHT = 250, 14


def strip(claim: ClaimRecord) -> str:
    """The SVG; empty where nothing was measured or promised."""
    import altair as alt

    estimate, threshold = claim.estimate, claim.threshold
    if estimate is None or threshold is None:
        return ""
    low, high = claim.interval
    known = [one for one in (estimate, threshold, low, high) if one is not None]
    room = 0.18 * (max(known) - min(known)) or abs(threshold) or 1.0
    edges = min(known) - room, max(known) + room
    side = claim.promised
    at_least = side != "at most"
    promised = {"from": threshold, "to": edges[1]} if at_least else {"from": edges[0], "to": threshold}
    sign = {"at least": "\u2265", "at most": "\u2264", "more than": ">"}[side]
    axis = alt.Axis(format="+%" if claim.percent else "", grid=False, tickCount=4, tickSize=3, labelColor=MUTED)
    scale = alt.Scale(domain=list(edges), nice=False, zero=False)
    x = alt.X("x:Q", title=None, axis=axis, scale=scale)
    layers: list[Any] = [
        alt.Chart(data([promised])).mark_rect(color=GOOD, opacity=0.14).encode(x=alt.X("from:Q", title=None, scale=scale), x2=alt.X2("to")),
        alt.Chart(data([{"x": threshold}])).mark_rule(color=GOOD, strokeWidth=2).encode(x=x),
        alt.Chart(data([{"x": threshold, "said": f"{sign} {promise(threshold, claim.percent)}"}]))
        .mark_text(color=GOOD, fontSize=11, baseline="bottom", dy=-2)
        .encode(x=x, y=at_height(0), text=alt.Text("said:N")),
        alt.Chart(data([{"x": estimate}])).mark_point(filled=True, size=60, opacity=1, color=INK).encode(x=x, y=at_height(_HEIGHT / 2)),
    ]  # fmt: skip
    if low is not None or high is not None:
        ends = {"low": edges[0] if low is None else low, "high": edges[1] if high is None else high}
        bar = alt.Chart(data([ends])).mark_rule(strokeWidth=4, color=ACCENT, opacity=0.7)
        layers.insert(3, bar.encode(x=alt.X("low:Q", scale=scale), x2=alt.X2("high"), y=at_height(_HEIGHT / 2)))
    return svg_of(alt.layer(*layers), width=_WIDTH, height=_HEIGHT, grows=True)
