"""Effect against cost: what a vector does at each strength, and how much perplexity that costs."""

from __future__ import annotations

from typing import Any

from ....core.block import EffectAgainstCost
from ....core.numbers import bounds, number
from .style import INK, MUTED, OTHERS, RULE, Drawn, data, label, line_looks, rule, svg_of


def draw_effect_cost(figure: EffectAgainstCost) -> Drawn:
    """One line per name from multiplier to multiplier, with the multipliers at the points."""
    import altair as alt

    names = list(dict.fromkeys(label(one.name) for one in figure.points))[: len(OTHERS)]
    rows = [
        {
            "name": label(one.name),
            "multiplier": one.multiplier,
            "said": number(one.multiplier),
            "effect": one.effect,
            "cost": one.cost,
            "low": one.interval[0],
            "high": one.interval[1],
        }
        for one in figure.points
        if label(one.name) in names
    ]
    several = len(names) > 1
    x = alt.X(
        "cost:Q", title="cost: rise of perplexity", axis=alt.Axis(format="+.3~%"), scale=alt.Scale(nice=False, padding=14)
    )
    y = alt.Y("effect:Q", title="mean effect", scale=alt.Scale(padding=14))
    color, dash = line_looks("name:N", names)
    base = alt.Chart(data(rows)).encode(x=x, color=color)
    bounded = alt.Chart(data([row for row in rows if row["low"] is not None and row["high"] is not None])).encode(
        x=x, color=color
    )
    layers: list[Any] = [
        rule({"y": 0}, color=RULE),
        bounded.mark_rule(strokeWidth=2, opacity=0.4).encode(y=alt.Y("low:Q", title="mean effect"), y2=alt.Y2("high")),
        base.mark_line(strokeWidth=2).encode(y=y, order=alt.Order("multiplier:Q"), strokeDash=dash),
        base.mark_point(filled=True, size=40, opacity=1).encode(y=y),
        base.mark_text(dy=-9, dx=-3, fontSize=11, align="right").encode(
            y=y, text=alt.Text("said:N"), color=alt.ColorValue(MUTED)
        ),
    ]
    if figure.budget is not None:
        layers.append(rule({"x": figure.budget}, color=INK, strokeDash=[4, 3]))
    table = [
        [
            *([label(one.name, 60)] if several else []),
            number(one.multiplier),
            number(one.effect),
            bounds(one.interval),
            number(one.cost, percent=True),
        ]
        for one in figure.points
    ]
    said = "; ".join(
        f"{one.name + ' ' if several else ''}at multiplier {number(one.multiplier)} effect {number(one.effect)}, "
        f"perplexity {number(one.cost, percent=True)}"
        for one in figure.points
    )
    head = [*(["vector"] if several else []), "multiplier", "mean effect", "bounds", "perplexity"]
    return Drawn(figure.title, figure.about, svg_of(alt.layer(*layers)), said, head, table)
