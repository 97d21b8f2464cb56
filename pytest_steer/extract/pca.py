"""The first principal direction of the differences of pairs."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..core.errors import DataError, VectorError
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import SteeringVector
from .contrast import AnyReadout, Data, read_contrast, with_reliability
from .kinds import method


@method("pca", takes="contrast")
def pca(
    model: Model, data: Data, *, layer: int | Sequence[int], readout: AnyReadout = None, context: Context = AS_GIVEN
) -> SteeringVector:
    """First principal direction of the pairs' differences (linear artificial tomography, LAT; Zou et al. 2023, arXiv 2310.01405).

    The first right singular vector of the matrix of differences, not centred: LAT gives the differences alternating signs
    before it centres them, which takes the same direction without depending on the order of the pairs. (Centring differences of one
    sign, as some codes do, would take the mean difference out.) A principal direction has no sign and no length:
    the sign is that of the mean difference, and so is the length, so that a multiplier is the same dose as for ``caa``.

    Args:
        data: contrast items, or two lists of texts of equal length, paired by their place.
        readout: see ``contrast.read_contrast``; LAT reads the ``last`` token.

    Raises:
        DataError: the texts are not paired, or what ``read_contrast`` raises.
        VectorError: the differences are 0, or the direction is at right angles to their mean, so that it has no sign.
    """
    contrast = read_contrast(model, data, layer=layer, readout=readout, context=context)
    directions = {}
    for at in contrast.layers:
        positive, negative = contrast.positive[at], contrast.negative[at]
        if len(positive) != len(negative):
            raise DataError(f"pca needs pairs, but there are {len(positive)} positive and {len(negative)} negative texts")
        differences = positive - negative
        mean = differences.mean(0)
        first = torch.linalg.svd(differences, full_matrices=False).Vh[0]
        along = float(first @ mean)
        if abs(along) <= 1e-9 * float(mean.norm()) or not mean.any():
            raise VectorError(
                f"layer {at}: the mean difference has no part along the principal direction, so it has no sign"
            )
        directions[at] = (first * (mean.norm() if along > 0 else -mean.norm())).float()
    return with_reliability(contrast, SteeringVector(directions, {"method": "pca", **contrast.record}))
