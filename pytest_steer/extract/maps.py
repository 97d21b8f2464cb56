"""Affine maps and projections from contrastive data: mean matching, MiMiC, LEACE, directional ablation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch

from ..errors import DataError, VectorError
from ..model import Model, check_layers
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, SteeringVector, ablate, affine
from .contrast import Contrast, Data, read_contrast
from .reliability import reliability, vouched


def mean_matching(
    model: Model, data: Data, *, layer: int | Sequence[int], readout: str | None = None, context: Context = AS_GIVEN
) -> SteeringVector:
    """h -> h + mu_target - mu_source (Singh et al. 2024, arXiv 2402.09631): W = I, so it is a vector to be added.

    The target are the positive (matching) activations, the source the negative ones. Raises what ``read_contrast`` raises.
    """
    contrast = read_contrast(model, data, layer=layer, readout=readout, context=context)
    directions = {at: contrast.mean_difference(at).float() for at in contrast.layers}
    return vouched(contrast, SteeringVector(directions, {"method": "mean_matching", **contrast.record}))


def mimic(
    model: Model,
    data: Data,
    *,
    layer: int | Sequence[int],
    readout: str | None = None,
    context: Context = AS_GIVEN,
    ridge: float = 1e-4,
) -> Intervention:
    """Optimal transport between Gaussians, negative to positive (MiMiC; Singh et al. 2024, arXiv 2402.09631).

        W = S^-1/2 (S^1/2 T S^1/2)^1/2 S^-1/2,  b = mu_T - W mu_S

    with the covariances S of the source (negative) and T of the target (positive), n - 1 in the denominator. Both are made
    positive definite by adding ``ridge`` times their common mean variance to the diagonal: with fewer examples than dimensions
    neither has an inverse, and then W is close to the identity where no example varies. By eigen-decomposition in double
    precision. The strength is interpolated.

    Args:
        ridge: share of the mean variance (trace of S + T over twice the width) that is added to the diagonals.

    Raises:
        DataError: a side has fewer than two rows, the ridge is not positive, or what ``read_contrast`` raises.
        VectorError: neither side varies.
    """
    if not 0 < ridge < math.inf:
        raise DataError(f"ridge has to be a positive number, not {ridge}")
    contrast = read_contrast(model, data, layer=layer, readout=readout, context=context)
    weights, biases = {}, {}
    for at in contrast.layers:
        source, target = contrast.negative[at], contrast.positive[at]
        _at_least_two(source, target, "mimic")
        weights[at], biases[at] = gaussian_transport(source, target, ridge, at)
    return affine(weights, biases, metadata=_record(contrast, "mimic", ridge=ridge))


def gaussian_transport(
    source: torch.Tensor, target: torch.Tensor, ridge: float, layer: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(W, b) of :func:`mimic` for rows of float64 [n, width]."""
    s, t = torch.cov(source.T), torch.cov(target.T)
    width = source.shape[1]
    spread = float(s.trace() + t.trace()) / (2 * width)
    if not spread > 0:
        raise VectorError(f"layer {layer}: no activation varies, so there is nothing to transport")
    more = ridge * spread * torch.eye(width, dtype=source.dtype)
    values, vectors = torch.linalg.eigh(s + more)
    root = vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T
    inverse = vectors @ torch.diag(values.clamp(min=0).rsqrt()) @ vectors.T
    values, vectors = torch.linalg.eigh(root @ (t + more) @ root)
    weight = inverse @ vectors @ torch.diag(values.clamp(min=0).sqrt()) @ vectors.T @ inverse
    return weight, target.mean(0) - weight @ source.mean(0)


def leace(
    model: Model,
    data: Data,
    *,
    layer: int | Sequence[int],
    readout: str | None = None,
    context: Context = AS_GIVEN,
    tolerance: float = 1e-6,
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
        VectorError: the two means are the same, so there is nothing to erase.
    """
    contrast = read_contrast(model, data, layer=layer, readout=readout, context=context)
    weights, biases = {}, {}
    for at in contrast.layers:
        weights[at], biases[at] = least_squares_erasure(contrast.positive[at], contrast.negative[at], tolerance, at)
    return affine(weights, biases, metadata=_record(contrast, "leace", tolerance=tolerance))


def least_squares_erasure(
    positive: torch.Tensor, negative: torch.Tensor, tolerance: float, layer: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """(W, b) of :func:`leace` for rows of float64 [n, width]."""
    both = torch.cat([positive, negative])
    z = torch.cat([torch.ones(len(positive)), torch.zeros(len(negative))]).to(both)
    mu = both.mean(0)
    centred = both - mu
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
    leaves, measures = vectors @ (root * whitened), vectors @ (inverse * whitened)
    erased = torch.outer(leaves, measures)
    return torch.eye(len(mu), dtype=both.dtype) - erased, erased @ mu


def ablation(
    model: Model,
    data: Data,
    *,
    layer: int,
    at: int | Sequence[int] | None = None,
    readout: str | None = None,
    context: Context = AS_GIVEN,
) -> Intervention:
    """Directional ablation of the mean difference (Arditi et al. 2024, arXiv 2406.11717): one direction, taken out everywhere.

    r is the mean difference at one layer, of unit length; h -> h - r r^T h at every block. The multiplier is ignored.

    Args:
        layer: the one block whose output the direction is taken from.
        at: the blocks in which it is ablated; without it all of them, as in the paper.

    Raises:
        VectorError: more than one layer, or one the model does not have.
        DataError: what ``read_contrast`` raises.
    """
    (own,) = _one(check_layers(model, layer))
    contrast = read_contrast(model, data, layer=own, readout=readout, context=context)
    vector = vouched(contrast, SteeringVector({own: contrast.mean_difference(own).float()}, _record(contrast, "ablation")))
    made = ablate(vector, layers=check_layers(model, tuple(range(model.n_layers)) if at is None else at))
    object.__setattr__(made, "metadata", {**vector.metadata, "direction_from": own})
    return made


def _one(layers: tuple[int, ...]) -> tuple[int]:
    if len(layers) != 1:
        raise VectorError(
            f"an ablation takes its direction from one layer, not from {list(layers)}; `at` says where it acts"
        )
    return (layers[0],)


def _record(contrast: Contrast, method: str, **more: Any) -> dict[str, Any]:
    differences = {at: contrast.mean_difference(at) for at in contrast.layers}
    numbers = reliability(contrast, {at: d for at, d in differences.items() if d.any()})
    return {"method": method, **more, **contrast.record, "reliability": numbers}


def _at_least_two(source: torch.Tensor, target: torch.Tensor, method: str) -> None:
    if min(len(source), len(target)) < 2:
        raise DataError(f"{method} estimates a covariance of each side, so each needs at least two examples")
