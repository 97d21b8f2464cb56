"""The weights of a linear probe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch

from ..core.errors import VectorError
from ..core.parameters import Param, properties_of
from ..core.validation import check_values
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import SteeringVector
from .contrast import AnyReadout, Data, read_contrast, with_reliability
from .kinds import method


@method("probe", takes="contrast")
def probe(
    model: Model,
    data: Data,
    *,
    layer: int | Sequence[int],
    readout: AnyReadout = None,
    context: Context = AS_GIVEN,
    C: Annotated[float, Param("Inverse of the regularisation of the probe, as in scikit-learn.", above=0)] = 1.0,
) -> SteeringVector:
    """Weights of a logistic regression that tells the two sides apart (the probe of von Rütte et al. 2024, arXiv 2402.14433).

    L2-regularised, with an intercept, by scikit-learn. Activations are divided by the root mean square of their deviation
    from the mean, one number for all dimensions, so that ``C`` means the same on every model and the direction is not bent. The
    vector has the length of the mean difference, so that a multiplier is the same dose as for ``caa``.

    Args:
        C: inverse of the regularisation, as in scikit-learn.

    Raises:
        SteerError: a setting is out of range.
        DataError: what ``read_contrast`` raises.
        VectorError: the two sides are the same.
    """
    from sklearn.linear_model import LogisticRegression

    check_values("probe", {"C": C}, properties_of(probe))
    contrast = read_contrast(model, data, layer=layer, readout=readout, context=context)
    directions = {}
    for at in contrast.layers:
        both = torch.cat([contrast.positive[at], contrast.negative[at]])
        length = contrast.mean_difference(at).norm()
        centred = both - both.mean(0)
        scale = centred.pow(2).mean().sqrt()
        if not scale > 0 or not length > 0:
            raise VectorError(f"layer {at}: the two sides have the same activations")
        labels = [1] * len(contrast.positive[at]) + [0] * len(contrast.negative[at])
        fitted = LogisticRegression(C=C, max_iter=5000, tol=1e-8).fit((centred / scale).numpy(), labels)
        weights = torch.from_numpy(fitted.coef_[0])
        directions[at] = (weights / weights.norm() * length).float()
    return with_reliability(contrast, SteeringVector(directions, {"method": "probe", "C": C, **contrast.record}))
