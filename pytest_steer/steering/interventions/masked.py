"""Steering by the activation itself, through a mask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import torch

from ...core.errors import VectorError
from ...core.parameters import Param
from ..intervention import Intervention, Site, from_recipe
from ..kinds import intervention, restores
from ..recipe import Directions, Placed, Recipe, as_vector, by_layer, wide
from ..vector import SteeringVector


@intervention("masked", does="elements scaled")
def masked(
    differences: Directions,
    *,
    keep: Annotated[int, Param("How many elements kind masked scales.", title="Elements of a mask", example=64, at_least=1)],
    site: Site = "block",
) -> Intervention:
    """SADI (Wang et al. 2024, arXiv 2410.12299): h -> h + m (h * M), scaling the elements that matter by what the input has there.

    M is 1 at the elements with the largest absolute mean difference between positive and negative activations, over all given
    layers together, and 0 elsewhere. The strength is linear. What is scaled depends on the input, so the same dose can
    push two inputs in opposite ways.

    Args:
        differences: {layer: mean difference}, such as a CAA vector; only the order of the absolute values counts.
        keep: K, how many elements the mask keeps. Elements that tie with the K-th are kept in the order of layers.
        site: ``block`` is SADI-HIDDEN; SADI-HEAD scales whole heads: use ``heads`` with a vector that is constant on each.

    Raises:
        VectorError: K is not between 1 and the number of elements.
    """
    vector = as_vector(differences)
    stacked = torch.stack([vector.directions[layer] for layer in vector.layers])
    if isinstance(keep, bool) or not isinstance(keep, int) or not 1 <= keep <= stacked.numel():
        raise VectorError(f"the mask keeps between 1 and {stacked.numel()} elements, not {keep!r}")
    order = stacked.abs().flatten().argsort(descending=True, stable=True)[:keep]
    flat = torch.zeros(stacked.numel()).index_fill(0, order, 1.0).view_as(stacked)
    masks = {layer: row for layer, row in zip(vector.layers, flat, strict=True) if row.any()}
    return with_masks(masks, site, vector.metadata)


def with_masks(masks: Mapping[int, torch.Tensor], site: Site, metadata: Mapping[str, object] | None = None) -> Intervention:
    """h -> h + m (h * M) with the masks themselves, {layer: tensor of shape [width]}.

    Raises:
        VectorError: see :class:`SteeringVector`.
    """
    vector = SteeringVector(masks)
    placed = Placed(vector.directions)

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int) -> torch.Tensor:
        h = wide(hidden)
        return h + strength.to(h.dtype) * h * placed.at(layer, h)

    recipe = Recipe("masked", {"site": site}, by_layer(mask=vector.directions))
    return from_recipe(recipe, transform, "linear", metadata=metadata)


@restores("masked", does="elements scaled")
def restore(recipe: Recipe, metadata: Mapping[str, object]) -> Intervention:
    """Scaled elements, of the masks themselves."""
    return with_masks(recipe.per_layer("mask"), recipe.options["site"], metadata)
