"""MiMiC: the affine map that carries one Gaussian onto another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch

from ..core.errors import DataError, VectorError
from ..core.parameters import Param, properties_of
from ..core.validation import check_values
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, affine
from .contrast import AnyReadout, Data, read_contrast, record_with_reliability
from .kinds import method
from .leace import check_gap, deviations

# The ridge is a share of the mean variance; in a dimension that varies far less it would be all that is left.
_MOST_RIDGES = 100
# Of the standardised target, as a share of its size. On random rows it is 0.0001 with more of them than dimensions and up to 0.11 with fewer,
# where the ridge fills in for what does not vary; on the shipped data 0.004.
_LARGEST_BURES = 0.25


@method("mimic", takes="contrast")
def mimic(
    model: Model,
    data: Data,
    *,
    layer: int | Sequence[int],
    readout: AnyReadout = None,
    context: Context = AS_GIVEN,
    ridge: Annotated[
        float, Param("The share of the mean variance that mimic adds to the diagonals of the covariances.", above=0)
    ] = 1e-4,
) -> Intervention:
    """Optimal transport between Gaussians, negative to positive (MiMiC; Singh et al. 2024, arXiv 2402.09631).

        W = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2,  b = mu_T - W mu_S

    with the covariances S of the source (negative) and T of the target (positive), n - 1 in the denominator. Both are made
    positive definite by adding ``ridge`` times their common mean variance to the diagonal: with fewer examples than dimensions
    neither has an inverse, and then W is close to the identity where no example varies. What is added to a dimension is at most 100
    ridges of its own variance, so that one dimension that varies a thousand times as much as the others does not drown theirs. By
    eigen-decomposition in double precision. The strength is interpolated.

    Args:
        ridge: share of the mean variance (trace of S + T over twice the width) that is added to the diagonals.

    Raises:
        SteerError: a setting is out of range.
        DataError: a side has fewer than two rows, or what ``read_contrast`` raises.
        VectorError: neither side varies, or means or covariances are still apart afterwards.
    """
    check_values("mimic", {"ridge": ridge}, properties_of(mimic))
    contrast = read_contrast(model, data, layer=layer, readout=readout, context=context)
    weights, biases = {}, {}
    for at in contrast.layers:
        source, target = contrast.negative[at], contrast.positive[at]
        if min(len(source), len(target)) < 2:
            raise DataError("mimic estimates a covariance of each side, so each needs at least two examples")
        weights[at], biases[at] = gaussian_transport(source, target, ridge, at)
    return affine(weights, biases, metadata=record_with_reliability(contrast, "mimic", ridge=ridge))


def gaussian_transport(
    source: torch.Tensor, target: torch.Tensor, ridge: float, layer: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(W, b) of :func:`mimic` for rows of float64 [n, width]."""
    s, t = torch.cov(source.T), torch.cov(target.T)
    width = source.shape[1]
    spread = float(s.trace() + t.trace()) / (2 * width)
    if not spread > 0:
        raise VectorError(f"layer {layer}: no activation varies, so there is nothing to transport")
    own = (s.diag() + t.diag()) / 2
    more = ridge * torch.diag(torch.where(own > 0, (_MOST_RIDGES * own).clamp(max=spread), spread))
    values, vectors = torch.linalg.eigh(s + more)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    inverse = vectors @ torch.diag(values.clamp(min=0).rsqrt()) @ vectors.T
    # (S^1/2 T S^1/2)^1/2 of the singular values of T^1/2 S^1/2: in the product of all three the small ones would be rounded away.
    values, vectors = torch.linalg.eigh(t + more)
    product = torch.diag(values.clamp(min=0).sqrt()) @ vectors.T @ root
    _, stretch, turned = torch.linalg.svd(product)
    weight = inverse @ turned.T @ torch.diag(stretch) @ turned @ inverse
    bias = target.mean(0) - weight @ source.mean(0)
    gap = bures_gap(weight @ s @ weight.T, t, torch.where(own > 0, own, 1.0).sqrt())
    if not gap <= _LARGEST_BURES:  # NaN too
        raise VectorError(
            f"layer {layer}: mimic leaves the covariances of the two sides {gap:.2g} apart (Bures distance over the size of the target, each "
            "dimension in standard deviations): some dimensions vary far more than others, or on one side only, so that the ridge or rounding drowns them. Try another layer, or a "
            "smaller ridge"
        )
    check_gap(source @ weight.T + bias, target, deviations(torch.cat([source, target])), f"layer {layer}: mimic")
    return weight, bias


def bures_gap(moved: torch.Tensor, target: torch.Tensor, unit: torch.Tensor) -> float:
    """The Bures distance of two covariances [width, width] over the size of the second one; NaN if they are not finite.

        d^2(A, B) = tr A + tr B - 2 tr (B^1/2 A B^1/2)^1/2,  here over tr B

    Args:
        unit: what counts as 1 in each dimension, [width].
    """
    if not (moved.isfinite().all() and target.isfinite().all()):
        return float("nan")
    a, b = (one / unit[:, None] / unit for one in (moved, target))
    values, vectors = torch.linalg.eigh(b)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ a @ root).clamp(min=0).sqrt().sum()
    apart = (a.trace() + b.trace() - 2 * shared).clamp(min=0)
    return float((apart / b.trace()).sqrt())
