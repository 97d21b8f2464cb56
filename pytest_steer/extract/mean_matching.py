"""Mean matching: the affine map that moves one mean onto the other."""

from __future__ import annotations

from collections.abc import Sequence

from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import SteeringVector
from .contrast import AnyReadout, Data, difference_of_means, read_contrast
from .kinds import method


@method("mean_matching", takes="contrast")
def mean_matching(
    model: Model, data: Data, *, layer: int | Sequence[int], readout: AnyReadout = None, context: Context = AS_GIVEN
) -> SteeringVector:
    """h -> h + mu_target - mu_source (Singh et al. 2024, arXiv 2402.09631): W = I, so it is a vector to be added.

    The target are the positive (matching) activations, the source the negative ones. Raises what ``read_contrast`` raises.
    """
    contrast = read_contrast(model, data, layer=layer, readout=readout, context=context)
    return difference_of_means(contrast, "mean_matching")
