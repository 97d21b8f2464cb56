"""Affine maps: mean matching, optimal transport between Gaussians (MiMiC), least-squares erasure (LEACE)."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ...core.errors import VectorError
from ..intervention import Intervention, Site, from_recipe
from ..kinds import restores
from ..recipe import Placed, Recipe, by_layer, checked, wide


def affine(
    weight: Mapping[int, torch.Tensor],
    bias: Mapping[int, torch.Tensor],
    *,
    site: Site = "block",
    metadata: Mapping[str, object] | None = None,
) -> Intervention:
    """h -> W h + b (Singh et al. 2024, arXiv 2402.09631). The strength is interpolated: h + m (W h + b - h).

    At multiplier 1 it is the map itself, at 0 nothing happens. With W = I it is the vector b, added.

    Args:
        weight: {layer: W of shape [width, width]}; bias: {layer: b of shape [width]}, for the same layers.

    Raises:
        VectorError: shapes do not fit, values are not finite, or the layers differ.
    """
    if set(weight) != set(bias):
        raise VectorError(f"weight and bias are for different layers: {sorted(weight)} and {sorted(bias)}")
    if not weight:
        raise VectorError("an affine map is needed for at least one layer")
    width = torch.as_tensor(next(iter(bias.values()))).numel()
    weights, biases = checked(weight, (width, width), "weight"), checked(bias, (width,), "bias")
    # W - I is what is applied, so that W = I leaves h out of the product and adding b is exact.
    changes = Placed({layer: (w.double() - torch.eye(width, dtype=torch.float64)).float() for layer, w in weights.items()})
    offsets = Placed(biases)

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int) -> torch.Tensor:
        h = wide(hidden)
        return h + strength.to(h.dtype) * (h @ changes.at(layer, h).T + offsets.at(layer, h))

    recipe = Recipe("affine", {"site": site}, by_layer(weight=weights, bias=biases))
    return from_recipe(recipe, transform, "interpolated", metadata=metadata)


@restores("affine", does="mapped affinely")
def restore(recipe: Recipe, metadata: Mapping[str, object]) -> Intervention:
    """An affine map of its weights and biases."""
    return affine(recipe.per_layer("weight"), recipe.per_layer("bias"), site=recipe.options["site"], metadata=metadata)
