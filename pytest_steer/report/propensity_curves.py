"""The propensity curves of a report's claims, as a table and as a picture. Nothing is measured: all of it stands in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.columns import current_columns, table, visible
from ..core.numbers import number
from ..core.record import UNBOUNDED, ClaimRecord
from .effect_cost import COLOURS, DASHES, SHAPES, SIZE, Bounds, check_drawable, saved


@dataclass(frozen=True)
class Curve:
    """The mean propensity over the multiplier.

    Attributes:
        claims: the claims that it stands in; those about the same items under the same vector share one.
        points: multiplier, mean and its bounds, each at ``confidence``; None where there is no bound.
        deployed: the multipliers that the claims deploy.
    """

    claims: tuple[str, ...]
    points: tuple[tuple[float, float, Bounds], ...]
    n: int
    confidence: float
    deployed: tuple[float, ...]

    @property
    def name(self) -> str:
        """The first claim's name, and how many others share the curve."""
        others = len(self.claims) - 1
        return visible(self.claims[0]) + (f" and {others} other{'s' * (others > 1)}" if others else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        points = [{"multiplier": at, "propensity": mean, "interval": list(bounds)} for at, mean, bounds in self.points]
        return {
            "claims": list(self.claims),
            "n_items": self.n,
            "confidence": self.confidence,
            "deployed": list(self.deployed),
            "points": points,
        }


def curves_in(claims: Sequence[ClaimRecord]) -> list[Curve]:
    """The curves of these records, each once."""
    found: dict[tuple[object, ...], Curve] = {}
    for claim in claims:
        grid, mean = claim.multipliers, claim.curve
        if not grid or not mean:
            continue
        bands = claim.curve_interval or [UNBOUNDED] * len(grid)
        points = tuple((at, y, (low, high)) for at, y, (low, high) in zip(grid, mean, bands, strict=True))
        known = found.get(key := (points, claim.confidence))
        deployed = () if claim.multiplier is None else (claim.multiplier,)
        found[key] = Curve(
            (*(known.claims if known else ()), claim.name),
            points,
            claim.n,
            claim.confidence,
            tuple(dict.fromkeys((*(known.deployed if known else ()), *deployed))),
        )
    return list(found.values())


def curves_table(curves: Sequence[Curve]) -> str:
    """The numbers of the picture."""
    rows, names = [], []
    for curve in curves:
        for at, mean, (low, high) in curve.points:
            bounds = "" if (low, high) == (None, None) else f" [{number(low)}, {number(high)}]"
            rows.append([f"{at:g}", f"{number(mean)}{bounds}", "deployed" if at in curve.deployed else ""])
            names.append(curve.name)
    headers = ["multiplier", "propensity [interval]", ""]
    return "\n".join(table(rows, headers, width=current_columns(), groups=names))


def curves_picture(curves: Sequence[Curve], *, title: str, suffix: str) -> bytes:
    """The picture: propensity up, the multiplier to the right, one line with its band per curve.

    Args:
        curves: at most ``MOST_LINES``. suffix: ``.svg`` or ``.png``.

    Raises:
        SteerError: Altair or vl-convert is not installed.
    """
    check_drawable()
    said = " ".join(
        f"{curve.name}: {'; '.join(f'{number(mean)} at {at:g}' for at, mean, _ in curve.points)}." for curve in curves
    )
    return saved(_chart(curves, title), title=title, said=f"Mean propensity over the multiplier. {said}", suffix=suffix)


def _chart(curves: Sequence[Curve], title: str) -> Any:
    import altair as alt

    # Claims of two files can have one name.
    names = [curve.name if len(curves) == 1 else f"{place}: {curve.name}" for place, curve in enumerate(curves, 1)]
    rows = [
        {
            "line": name,
            "x": at,
            "y": mean,
            "low": low,
            "high": high,
            "deployed": at in curve.deployed,
            "said": f"{name}: {number(mean)} at multiplier {at:g}",
        }
        for name, curve in zip(names, curves, strict=True)
        for at, mean, (low, high) in curve.points
    ]

    def told(palette: Sequence[Any]) -> Any:
        return alt.Scale(domain=names, range=list(palette[: len(names)]))

    look: dict[str, Any] = {"symbolSize": 120, "symbolOpacity": 1, "symbolStrokeWidth": 0}
    legend = alt.Legend(title=None, orient="bottom", columns=2, labelLimit=340, **look) if len(curves) > 1 else None
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("x:Q", title="Multiplier", scale=alt.Scale(nice=False, padding=16)),
        color=alt.Color("line:N", scale=told(COLOURS), legend=legend),
    )
    said = "Mean propensity (nats, or logits of labels)"
    y = alt.Y("y:Q", title=said, scale=alt.Scale(zero=False))
    band = base.transform_filter("isValid(datum.low) && isValid(datum.high)").mark_area(opacity=0.18)
    path = base.mark_line(strokeWidth=2).encode(y=y, strokeDash=alt.StrokeDash("line:N", scale=told(DASHES), legend=None))
    points = base.mark_point(filled=True, size=55, opacity=1).encode(
        y=y, shape=alt.Shape("line:N", scale=told(SHAPES), legend=legend), description="said:N"
    )
    rings = base.transform_filter("datum.deployed").mark_point(
        size=300, shape="circle", filled=False, strokeWidth=2, aria=False
    )
    rings = rings.encode(y=y, color=alt.value("#000000"))
    confidence = "/".join(f"{one:g}" for one in sorted({curve.confidence for curve in curves}))
    items = "/".join(map(str, sorted({curve.n for curve in curves})))
    subtitle = f"A ring marks a deployed multiplier. Bands are bounds of the mean, each at {confidence}: {items} items."
    return (
        alt.layer(band.encode(y=alt.Y("low:Q", title=said), y2="high:Q"), path, points, rings)
        .properties(
            title=alt.TitleParams(title, subtitle=subtitle, anchor="start", fontSize=15, subtitleFontSize=12, limit=SIZE[0]),
            width=SIZE[0],
            height=SIZE[1],
            autosize=alt.AutoSizeParams(type="fit", contains="padding"),
            background="#ffffff",
            padding=12,
        )
        .configure_axis(labelFontSize=12, titleFontSize=13, titleFontWeight="normal", gridColor="#e5e5e5")
        .configure_legend(labelFontSize=12)
    )
