"""The propensity curves of a report's claims, as a table and as a picture. Nothing is measured: all of it stands in the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.columns import current_columns, table, visible
from ..core.numbers import bounded, number
from ..core.record import UNBOUNDED, Bounds, ClaimRecord
from .effect_cost import check_drawable, framed, line_looks, saved


@dataclass(frozen=True)
class Point:
    """The mean propensity at a multiplier and its bounds; None where there is no bound."""

    multiplier: float
    propensity: float
    interval: Bounds


@dataclass(frozen=True)
class Curve:
    """The mean propensity over the multiplier.

    Attributes:
        claims: the claims that it stands in; those about the same items under the same vector share one.
        confidence: of each bound.
        deployed: the multipliers that the claims deploy.
    """

    claims: tuple[str, ...]
    points: tuple[Point, ...]
    n_items: int
    confidence: float
    deployed: tuple[float, ...]

    @property
    def name(self) -> str:
        """The first claim's name, and how many others share the curve."""
        others = len(self.claims) - 1
        return visible(self.claims[0]) + (f" and {others} other{'s' * (others > 1)}" if others else "")


def curves_in(claims: Sequence[ClaimRecord]) -> list[Curve]:
    """The curves of these records, each once."""
    found: dict[tuple[object, ...], Curve] = {}
    for claim in claims:
        grid, mean = claim.multipliers, claim.curve
        if not grid or not mean:
            continue
        bands = claim.curve_interval or [UNBOUNDED] * len(grid)
        points = tuple(map(Point, grid, mean, bands))
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
        for one in curve.points:
            deployed = "deployed" if one.multiplier in curve.deployed else ""
            rows.append([f"{one.multiplier:g}", bounded(one.propensity, one.interval), deployed])
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
        f"{curve.name}: {'; '.join(f'{number(one.propensity)} at {one.multiplier:g}' for one in curve.points)}."
        for curve in curves
    )
    return saved(_chart(curves, title), title=title, said=f"Mean propensity over the multiplier. {said}", suffix=suffix)


def _chart(curves: Sequence[Curve], title: str) -> Any:
    import altair as alt

    # Claims of two files can have one name.
    names = [curve.name if len(curves) == 1 else f"{place}: {curve.name}" for place, curve in enumerate(curves, 1)]
    rows = [
        {
            "line": name,
            "x": one.multiplier,
            "y": one.propensity,
            "low": one.interval[0],
            "high": one.interval[1],
            "deployed": one.multiplier in curve.deployed,
            "said": f"{name}: {number(one.propensity)} at multiplier {one.multiplier:g}",
        }
        for name, curve in zip(names, curves, strict=True)
        for one in curve.points
    ]

    color, dash, shape = line_looks(names)
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X("x:Q", title="Multiplier", scale=alt.Scale(nice=False, padding=16)), color=color
    )
    said = "Mean propensity (nats, or logits of labels)"
    y = alt.Y("y:Q", title=said, scale=alt.Scale(zero=False))
    band = base.transform_filter("isValid(datum.low) && isValid(datum.high)").mark_area(opacity=0.18)
    ring = base.transform_filter("datum.deployed").mark_point(
        size=300, shape="circle", filled=False, strokeWidth=2, aria=False
    )
    layers = [
        band.encode(y=alt.Y("low:Q", title=said), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y, strokeDash=dash),
        base.mark_point(filled=True, size=55, opacity=1).encode(y=y, shape=shape, description="said:N"),
        ring.encode(y=y, color=alt.value("#000000")),
    ]
    confidence = "/".join(f"{one:g}" for one in sorted({curve.confidence for curve in curves}))
    items = "/".join(map(str, sorted({curve.n_items for curve in curves})))
    subtitle = f"A ring marks a deployed multiplier. Bands are bounds of the mean, each at {confidence}: {items} items."
    return framed(layers, title=title, subtitle=subtitle)
