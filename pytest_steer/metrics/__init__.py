"""What is measured: propensity curves, steerability, strata, perplexity, dose. Knows nothing of pytest."""

from .likelihood import Perplexity, perplexity, perplexity_curves
from .propensity import (
    MULTIPLIERS,
    Array,
    PropensityCurve,
    check_multipliers,
    check_slope_grid,
    propensity_curve,
    propensity_curves,
)
from .receipt import LayerDose, Receipt, steering_receipt
from .strata import Stratum, strata

__all__ = [
    "MULTIPLIERS", "Array", "LayerDose", "Perplexity", "PropensityCurve", "Receipt", "Stratum", "check_multipliers",
    "check_slope_grid", "perplexity", "perplexity_curves", "propensity_curve", "propensity_curves", "steering_receipt", "strata",
]  # fmt: skip
