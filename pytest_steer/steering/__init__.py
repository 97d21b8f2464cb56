"""Interventions and steering vectors. Knows nothing of prompts or pytest."""

from .formats import Stored, source, vector_format
from .formats.kinds import check_depth
from .intervention import (
    Applied,
    Apply,
    Intervention,
    Positions,
    Rows,
    Site,
    SteeredBatch,
    applied,
    check_positions,
    custom,
    first_steered,
)
from .intervention_file import holds_intervention, load_intervention, save_intervention
from .interventions.additive import add, add_at_unit_norm, add_keeping_norm, as_intervention
from .interventions.affine_maps import affine
from .interventions.gates import gated_by_condition, gated_by_probe
from .interventions.masked import masked
from .interventions.modules import module
from .interventions.projection import ablate, clamp
from .interventions.rotation import rotate
from .kinds import SAVED_VECTOR, InterventionKind, intervention, intervention_kind
from .vector import SteeringVector

__all__ = [
    "SAVED_VECTOR", "Applied", "Apply", "Intervention", "InterventionKind", "Positions", "Rows", "Site", "SteeredBatch",
    "SteeringVector", "Stored", "ablate", "add", "add_at_unit_norm", "add_keeping_norm", "affine", "applied", "as_intervention", "check_depth",
    "check_positions", "clamp", "custom", "first_steered", "gated_by_condition", "gated_by_probe", "holds_intervention",
    "intervention", "intervention_kind", "load_intervention", "masked", "module", "rotate", "save_intervention", "source",
    "vector_format",
]  # fmt: skip
