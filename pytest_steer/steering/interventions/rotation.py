"""Rotation in a plane."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import torch

from ...core.errors import VectorError
from ...core.parameters import Param
from ..intervention import Intervention, Site, from_recipe
from ..kinds import SAVED_VECTOR, intervention, restores
from ..recipe import Placed, Recipe, by_layer, checked, wide
from ..vector import SteeringVector


def rotate(
    plane: Mapping[int, tuple[torch.Tensor, torch.Tensor] | torch.Tensor], *, angle: float = 90.0, site: Site = "block"
) -> Intervention:
    """Rotates the part of h in a plane by an angle; the rest of h and the norm stay.

    h -> h + B^T (R - I) B h with the orthonormal rows of B spanning the plane and R the rotation by m * ``angle`` degrees from
    the first direction towards the second. Angular steering (Vu and Nguyen 2025, arXiv 2510.26243) rotates in such a
    plane too, but *to* an angle counted from the first direction; this one rotates *by* an angle, so that 0 is the
    identity and m and -m undo each other. The strength is an angle, so a slope over it has no meaning.

    Args:
        plane: {layer: two directions, or a tensor [2, width]}; the second is made orthogonal to the first.
        angle: degrees at multiplier 1.

    Raises:
        VectorError: shapes do not fit, the directions are parallel, or the angle is not finite.
    """
    if not math.isfinite(angle):
        raise VectorError(f"the angle has to be a finite number of degrees, not {angle}")
    stacked = {layer: d if isinstance(d, torch.Tensor) else torch.stack(list(d)) for layer, d in plane.items()}
    width = next(iter(stacked.values())).shape[-1] if stacked else 0
    bases = {layer: _orthonormal(d, layer) for layer, d in checked(stacked, (2, width), "the plane").items()}
    placed = Placed(bases)

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int) -> torch.Tensor:
        h = wide(hidden)
        basis = placed.at(layer, h)
        turn = strength[..., 0].to(h.dtype) * math.radians(angle)
        first, second = (h @ basis.T).unbind(-1)
        less, sine = turn.cos() - 1, turn.sin()
        moved = torch.stack([less * first - sine * second, sine * first + less * second], dim=-1)
        return h + moved @ basis

    recipe = Recipe("rotate", {"angle": float(angle), "site": site}, by_layer(plane=bases))
    return from_recipe(recipe, transform, "angle")


@intervention("rotate", does="rotated")
def rotate_toward(
    vector: SteeringVector,
    *,
    toward: Annotated[
        SteeringVector,
        Param(
            "A saved vector: kind rotate turns from the first vector towards this one.",
            title="Second direction of a rotation",
            example="vectors/compliance.safetensors",
            schema=SAVED_VECTOR,
        ),
    ],
    angle: Annotated[
        float, Param("By how many degrees kind rotate turns at multiplier 1.", title="Angle of a rotation")
    ] = 90.0,
    site: Site = "block",
) -> Intervention:
    """Rotation in the plane of two vectors, from the first towards the second."""
    plane = {layer: (vector.directions[layer], toward.directions[layer]) for layer in vector.layers}
    return rotate(plane, angle=angle, site=site)


@restores("rotate", does="rotated")
def restore(recipe: Recipe, metadata: Mapping[str, object]) -> Intervention:
    """A rotation of its planes."""
    return rotate(recipe.per_layer("plane"), **recipe.options)


def _orthonormal(directions: torch.Tensor, layer: int) -> torch.Tensor:
    """Gram-Schmidt, in double precision; what is orthonormal to float32 rounding is left to the last bit."""
    first, second = directions.double()
    if (
        torch.stack([first, second]) @ torch.stack([first, second]).T - torch.eye(2, dtype=torch.float64)
    ).abs().max() < 1e-6:
        return directions
    if not first.any():
        raise VectorError(f"layer {layer}: the first direction of the plane is 0")
    first = first / first.norm()
    rest = second - (second @ first) * first
    if rest.norm() <= 1e-6 * second.norm() or not second.any():
        raise VectorError(f"layer {layer}: the two directions are parallel and span no plane")
    return torch.stack([first, rest / rest.norm()]).float()
