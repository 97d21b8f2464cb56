"""Interventions and steering vectors. Knows nothing of prompts or pytest."""

from .additive import add, add_keeping_norm
from .affine_maps import affine
from .depth import check_depth
from .gates import gated_by_condition, gated_by_probe
from .intervention_file import holds_intervention, load_intervention, save_intervention
from .interventions import Intervention, Rows, Site, as_intervention, check_site, custom
from .masked import masked
from .modules import module
from .positions import Positions, check_positions, first_steered
from .projection import ablate, clamp
from .recipe import Recipe
from .rotation import rotate
from .vector import SteeringVector

__all__ = [
    "Intervention", "Positions", "Recipe", "Rows", "Site", "SteeringVector", "ablate", "add", "add_keeping_norm", "affine",
    "as_intervention", "check_depth", "check_positions", "check_site", "clamp", "custom", "first_steered", "gated_by_condition",
    "gated_by_probe", "holds_intervention", "load_intervention", "masked", "module", "rotate", "save_intervention",
]  # fmt: skip
