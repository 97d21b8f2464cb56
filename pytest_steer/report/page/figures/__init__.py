"""Figures of the page: one module per form, from the blocks that a claim shows (``core/block.py``) to SVG and words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....core.block import Block, Curve, Distribution, EffectAgainstCost, Intervals
from .curves import draw_curves
from .distribution import draw_distribution
from .effect_cost import draw_effect_cost
from .heat_map import HeatMap, draw_heat_map
from .intervals import draw_intervals
from .strip import strip
from .style import Drawn

_DRAWS: dict[type, Callable[[Any], Drawn]] = {
    Curve: draw_curves,
    Distribution: draw_distribution,
    EffectAgainstCost: draw_effect_cost,
    HeatMap: draw_heat_map,
    Intervals: draw_intervals,
}

__all__ = ["Drawn", "HeatMap", "draw", "is_drawn", "strip"]


def draw(figure: Block | HeatMap) -> Drawn:
    """The figure as SVG, in words and as numbers."""
    return _DRAWS[type(figure)](figure)


def is_drawn(block: Block) -> bool:
    """Whether a block is a figure, and has something to draw."""
    return type(block) in _DRAWS and not (isinstance(block, Distribution) and not block.values)
