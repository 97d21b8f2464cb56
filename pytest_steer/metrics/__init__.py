"""What is measured: propensity curves, steerability, strata, perplexity, dose. Knows nothing of pytest."""

from .asking import Array
from .first_order import first_order_slopes
from .likelihood import Perplexity, perplexity, perplexity_curves
from .propensity import (
    MULTIPLIERS,
    PropensityCurve,
    check_multipliers,
    check_slope_grid,
    curves_in_contexts,
    propensity_curve,
    propensity_curves,
)
from .receipt import LayerDose, Receipt, steering_receipt
from .strata import Stratum, strata
from .sweep import sweep_curves, sweep_perplexity

__all__ = [
    "MULTIPLIERS", "Array", "LayerDose", "Perplexity", "PropensityCurve", "Receipt", "Stratum", "check_multipliers",
    "check_slope_grid", "curves_in_contexts", "first_order_slopes", "perplexity", "perplexity_curves", "propensity_curve", "propensity_curves",
    "steering_receipt", "strata", "sweep_curves", "sweep_perplexity",
]  # fmt: skip
