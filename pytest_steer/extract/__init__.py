"""Steering vectors and interventions from a model: one module per method. Knows nothing of checks or pytest."""

from ..core.registry import discover
from .ablation import ablation
from .caa import caa
from .contrast import Contrast, Data, letter_imbalance, read_contrast, unreliable
from .fv import fv
from .icv import icv
from .kinds import MethodKind, method, method_kind
from .leace import leace
from .learned import learned
from .mean_difference import mean_difference, mean_matching
from .mimic import mimic
from .pca import pca
from .probe import probe
from .random_direction import random_direction
from .training import Training

discover(__name__, __path__)

__all__ = [
    "Contrast", "Data", "MethodKind", "Training", "ablation", "caa", "fv", "icv", "leace", "learned", "letter_imbalance", "mean_difference",
    "mean_matching", "method", "method_kind", "mimic", "pca", "probe", "random_direction", "read_contrast", "unreliable",
]  # fmt: skip
