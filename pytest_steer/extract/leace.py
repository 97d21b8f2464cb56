"""LEACE: the smallest change after which no linear probe finds the concept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch

from ..core.errors import VectorError
from ..core.parameters import Param
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, affine
from .contrast import AnyReadout, Data, read_contrast, record_with_reliability
from .kinds import method

# In standard deviations of a dimension. Directions that tolerance rightly drops leave up to 0.003 on shipped data, a lost concept 0.4 or more.
_LARGEST_GAP = 0.05

# Of the median deviation.
_DOMINATING = 10
# Over many directions, each of which leaves a little.
_LARGEST_HIDDEN_GAP = 0.5


@method("leace", takes="contrast")
def leace(
    model: Model,
    data: Data,
    *,
    layer: int | Sequence[int],
    readout: AnyReadout = None,
    context: Context = AS_GIVEN,
    tolerance: Annotated[
        float, Param("Eigenvalues under this share of the largest count as 0 for leace.", at_least=0, below=1)
    ] = 1e-6,
) -> Intervention:
    """Least-squares concept erasure (LEACE; Belrose et al. 2023, arXiv 2306.03819, theorem 4.3).

        r(h) = h - W^+ P W (h - mu),  W = (S_hh^1/2)^+,  P the orthogonal projection on the column space of W S_hz

    with z = 1 for the positive side and 0 for the negative one, all rows together giving mu, S_hh (n in the
    denominator) and S_hz. Afterwards no linear probe on these data does better than chance. The
    ``concept-erasure`` package computes the same with its defaults ``shrinkage`` and ``constrain_cov_trace`` turned off; the paper
    has neither. The strength is interpolated.

    Args:
        tolerance: eigenvalues of S_hh under this share of the largest count as 0.

    Raises:
        DataError: what ``read_contrast`` raises.
        VectorError: the two means are the same, so there is nothing to erase, or they are still apart afterwards.
    """
    contrast = read_contrast(model, data, layer=layer, readout=readout, context=context)
    weights, biases = {}, {}
    for at in contrast.layers:
        weights[at], biases[at] = least_squares_erasure(contrast.positive[at], contrast.negative[at], tolerance, at)
    return affine(weights, biases, metadata=record_with_reliability(contrast, "leace", tolerance=tolerance))


def least_squares_erasure(
    positive: torch.Tensor, negative: torch.Tensor, tolerance: float, layer: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(W, b) of :func:`leace` for rows of float64 [n, width].

    Before the covariance is decomposed, a dimension whose standard deviation is more than ten times the median one is divided by
    their ratio: if it varied a thousand times as much as the others, it would push theirs below ``tolerance``. The map is the same: with
    as many rows as dimensions LEACE does not depend on the units, and with fewer what it measures is put back into the span of the
    rows, as the pseudo-inverse has it.
    """
    both = torch.cat([positive, negative])
    z = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))]).to(both)
    mu = both.mean(0)
    unit = _levelled(deviations(both))
    centred = (both - mu) / unit
    cross = centred.T @ (z - z.mean()) / len(both)
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(both))
    kept = values > tolerance * values.max()
    root = torch.where(kept, values.clamp(min=0).sqrt(), 0.0)
    inverse = torch.where(kept, root.reciprocal(), 0.0)
    whitened = inverse * (vectors.T @ cross)  # W S_hz, seen in the eigenvectors
    if not float(whitened.norm()) > 1e-9:
        raise VectorError(f"layer {layer}: the two sides have the same mean activation, so there is nothing to erase")
    whitened = whitened / whitened.norm()
    # W^+ P W is of rank one: what leaves along the one vector is what the other one measures.
    leaves, measures = unit * (vectors @ (root * whitened)), vectors @ (inverse * whitened) / unit
    span, _ = torch.linalg.qr(unit[:, None] * vectors[:, kept])
    erased = torch.outer(leaves, span @ (span.T @ measures))
    weight, bias = torch.eye(len(mu), dtype=both.dtype) - erased, erased @ mu
    check_gap(positive @ weight.T + bias, negative @ weight.T + bias, deviations(both), f"layer {layer}: leace")
    _check_whitened(positive @ weight.T - negative.mean(0) @ weight.T, both, layer)
    return weight, bias


def _check_whitened(shifted: torch.Tensor, both: torch.Tensor, layer: int) -> None:
    """Refuse a map that leaves the means apart in a direction that another one hides, whose variance dwarfs it.

    Args:
        shifted: rows of one side after the map, less the mean of the other side. both: all rows before the map, [n, width].

    Raises:
        VectorError: their distance is more than half a standard deviation in some direction (Mahalanobis).
    """
    values, vectors = torch.linalg.eigh(torch.cov(both.T, correction=0))
    kept = values > values.max() * 1e-13
    gap = float(((vectors.T @ shifted.mean(0))[kept] / values[kept].sqrt()).norm())
    if not gap <= _LARGEST_HIDDEN_GAP:
        raise VectorError(
            f"layer {layer}: leace leaves the means of the two sides {gap:.2g} standard deviations apart in a direction that others of far "
            "larger variance hide: try another layer, or a smaller tolerance"
        )


def _levelled(deviation: torch.Tensor) -> torch.Tensor:
    ratio = deviation / deviation.median()
    return torch.where(ratio > _DOMINATING, ratio, 1.0)


def deviations(rows: torch.Tensor) -> torch.Tensor:
    """The standard deviation of each dimension, [width]; 1 where nothing varies."""
    found = rows.std(0, correction=0)
    return torch.where(found > 0, found, 1.0)


def check_gap(one: torch.Tensor, other: torch.Tensor, unit: torch.Tensor, what: str) -> None:
    """Refuse a map that leaves the means of two sides apart.

    Args:
        one / other: rows after the map, [n, width]. unit: what counts as 1 in each dimension, [width].

    Raises:
        VectorError: in some dimension they are more than 0.05 units apart.
    """
    gap = ((one.mean(0) - other.mean(0)) / unit).abs()
    if not float(gap.max()) <= _LARGEST_GAP:
        raise VectorError(
            f"{what} leaves the means of the two sides {float(gap.max()):.2g} standard deviations apart in dimension "
            f"{int(gap.argmax())} of its own training data: a dimension or tolerance is out of proportion; try another layer, or a "
            "smaller tolerance"
        )
