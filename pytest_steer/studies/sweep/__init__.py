"""Looking for a layer and a multiplier: splitting the data, measuring the grid, choosing, showing. Knows nothing of pytest."""

from .data import split_items, write_items
from .grid import Choice, LayerResult, Limits, Sweep, sweep
from .show import heat_map, heat_map_svg, layer_table
from .snippet import claim_snippet, steerability_to_promise

__all__ = [
    "Choice", "LayerResult", "Limits", "Sweep", "claim_snippet", "heat_map", "heat_map_svg", "layer_table", "split_items",
    "steerability_to_promise", "sweep", "write_items",
]  # fmt: skip
