"""Directions by other means than the difference of the means: principal component, linear probe, chance."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..errors import DataError, VectorError
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import SteeringVector
from .contrast import Data, read_contrast
from .reliability import vouched


def pca(
    model: Model, data: Data, *, layer: int | Sequence[int], readout: str | None = None, context: Context = AS_GIVEN
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
    return vouched(contrast, SteeringVector(directions, {"method": "pca", **contrast.record}))


def probe(
    model: Model,
    data: Data,
    *,
    layer: int | Sequence[int],
    readout: str | None = None,
    context: Context = AS_GIVEN,
    C: float = 1.0,
) -> SteeringVector:
    """Weights of a logistic regression that tells the two sides apart (the probe of von Rütte et al. 2024, arXiv 2402.14433).

    L2-regularised, with an intercept, by scikit-learn. Activations are divided by the root mean square of their deviation
    from the mean, one number for all dimensions, so that ``C`` means the same on every model and the direction is not bent. The
    vector has the length of the mean difference, so that a multiplier is the same dose as for ``caa``.

    Args:
        C: inverse of the regularisation, as in scikit-learn.

    Raises:
        DataError: C is not positive, or what ``read_contrast`` raises.
        VectorError: the two sides are the same.
    """
    from sklearn.linear_model import LogisticRegression

    if not 0 < C < float("inf"):
        raise DataError(f"C has to be a positive number, not {C}")
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
    return vouched(contrast, SteeringVector(directions, {"method": "probe", "C": C, **contrast.record}))


def random_direction(like: SteeringVector, *, seed: int = 0) -> SteeringVector:
    """A direction drawn evenly from all, of the same length as a vector at each of its layers: the control for its effects.

    Args:
        like: the vector that is controlled for; its record goes along, but for the numbers of its data.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = {}
    for layer, direction in like.directions.items():
        drawn = torch.randn(like.width, generator=generator, dtype=torch.float64)
        directions[layer] = (drawn / drawn.norm() * direction.double().norm()).float()
    kept = {key: value for key, value in like.metadata.items() if key not in ("reliability", "label_balance")}
    return SteeringVector(directions, {**kept, "method": "random", "like": like.hash, "seed": seed})
