"""Steering vectors and interventions from a model. Knows nothing of checks or pytest."""

from .contrast import Contrast, letter_imbalance, read_contrast
from .directions import pca, probe, random_direction
from .function_vector import fv
from .in_context_vector import icv
from .learned import learned
from .maps import ablation, leace, mean_matching, mimic
from .mean_difference import caa, mean_difference
from .reliability import reliability, unreliable

__all__ = [
    "Contrast", "ablation", "caa", "fv", "icv", "leace", "learned", "letter_imbalance", "mean_difference", "mean_matching",
    "mimic", "pca", "probe", "random_direction", "read_contrast", "reliability", "unreliable",
]  # fmt: skip
