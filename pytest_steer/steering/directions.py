"""The directions of a steering vector, {layer: tensor}: validated copies, their hash and norms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from ..core.errors import VectorError

LAYER_CONVENTION = "output of decoder block, 0-based"

Directions = Mapping[int, torch.Tensor]


def checked_directions(directions: Mapping[Any, Any]) -> dict[int, torch.Tensor]:
    """Copies of the directions as float32 on the CPU, in the order of their layers.

    Raises:
        VectorError: no layer, a negative layer, not one-dimensional, NaN or infinite, all zeros, or widths differ.
    """
    if not isinstance(directions, Mapping):
        raise VectorError(
            f"directions are {{layer: tensor of shape [width]}}, not a {type(directions).__name__}: write SteeringVector({{5: tensor}})"
        )
    if not directions:
        raise VectorError("a steering vector needs a direction for at least one layer")
    clean = {}
    check_layers(directions)
    for layer, direction in sorted(directions.items()):
        try:
            direction = torch.as_tensor(direction).detach()
        except (TypeError, ValueError, RuntimeError) as error:
            raise VectorError(f"layer {layer}: a direction is a tensor of shape [width]: {error}") from None
        if direction.is_complex():
            raise VectorError(f"layer {layer}: a direction has real values, not {direction.dtype}")
        direction = direction.to("cpu", torch.float32).clone()
        if direction.ndim != 1:
            raise VectorError(f"layer {layer}: a direction has shape [width], not {list(direction.shape)}")
        bad = int((~torch.isfinite(direction)).sum())
        if bad:
            raise VectorError(f"layer {layer}: {bad} of {direction.numel()} values are NaN or infinite")
        if not direction.any():
            raise VectorError(f"layer {layer}: every value is 0, so nothing would be steered")
        clean[layer] = direction
    widths = {layer: d.numel() for layer, d in clean.items()}
    if len(set(widths.values())) > 1:
        raise VectorError(f"the directions have different widths: {widths}")
    return clean


def check_layers(layers: Iterable[object]) -> None:
    """Refuse layers that are not numbers of decoder blocks.

    Raises:
        VectorError: a layer is not a whole number from 0 on.
    """
    for layer in layers:
        if isinstance(layer, bool) or not isinstance(layer, int) or layer < 0:
            raise VectorError(f"a layer is a decoder block's number, from 0 on; not {layer!r}")


def hash_of(directions: Directions) -> str:
    """SHA-256 of layers and float32 values."""
    digest = hashlib.sha256()
    for layer, direction in directions.items():
        digest.update(f"{layer}:".encode() + direction.numpy().tobytes())
    return digest.hexdigest()


def norms_of(directions: Directions) -> dict[int, float]:
    """Euclidean length of the direction at each layer."""
    return {layer: float(direction.double().norm()) for layer, direction in directions.items()}
