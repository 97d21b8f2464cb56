"""Interventions and steering vectors. Knows nothing of prompts or pytest."""

from .interventions import Intervention, add, as_intervention, custom
from .positions import Positions, check_positions, first_steered
from .vector import SteeringVector

__all__ = [
    "Intervention", "Positions", "SteeringVector", "add", "as_intervention", "check_positions", "custom", "first_steered",
]  # fmt: skip
