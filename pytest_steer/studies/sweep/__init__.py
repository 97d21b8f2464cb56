"""Looking for a layer and a multiplier: splitting the data, making the vector, measuring the grid, choosing. Knows nothing of pytest."""

from .grid import Candidate, LayerResult, Limits, Sweep, sweep
from .methods import find_method, vector_at, vector_methods
from .pairs import PairsResult, check_sizes, data_efficiency
from .plan import Parts, read_parts

__all__ = [
    "Candidate", "LayerResult", "Limits", "PairsResult", "Parts", "Sweep", "check_sizes", "data_efficiency", "find_method", "read_parts",
    "sweep", "vector_at", "vector_methods",
]  # fmt: skip
