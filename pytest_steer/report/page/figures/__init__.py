"""Figures of the page: one module per form, from the plain data that a claim gives (``claims/figures.py``) to SVG and words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....claims.figures import Curves, Distribution, EffectAgainstCost, Figure, Intervals
from .curves import draw_curves
from .distribution import draw_distribution
from .effect_cost import draw_effect_cost
from .heat_map import HeatMap, draw_heat_map
from .intervals import draw_intervals
from .strip import strip
from .style import Drawn

_DRAWS: dict[type, Callable[[Any], Drawn]] = {
    Curves: draw_curves,
    Distribution: draw_distribution,
    EffectAgainstCost: draw_effect_cost,
    HeatMap: draw_heat_map,
    Intervals: draw_intervals,
}

__all__ = ["Drawn", "HeatMap", "draw", "strip"]


def draw(figure: Figure | HeatMap) -> Drawn:
    """The figure as SVG, in words and as numbers."""
    return _DRAWS[type(figure)](figure)
