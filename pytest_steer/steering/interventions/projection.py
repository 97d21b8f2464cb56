"""Changes along one direction: taking it out, and setting it to a value."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

import torch

from ...core.errors import VectorError
from ...core.parameters import Param
from ..intervention import Intervention, Site, check_blocks, from_recipe
from ..kinds import intervention
from ..recipe import Directions, Placed, Recipe, as_vector, by_layer, checked, units, wide


@intervention("ablate", does="projected out")
def ablate(
    direction: Directions | torch.Tensor,
    *,
    layers: int | Iterable[int] | None = None,
    strength: Literal["ignored", "interpolated"] = "ignored",
    site: Site = "block",
) -> Intervention:
    """Directional ablation, h -> h - r r^T h with r of unit length (Arditi et al. 2024, arXiv 2406.11717) at one site of each block (in the paper at every block's input and at what attention and MLP write). Idempotent.

    Args:
        direction: a vector with a direction for each layer, or one direction (a tensor of shape [width], or a vector with a
            single layer) for all of ``layers``. The paper takes one direction from one layer and ablates it in all of them. At the
            outputs of all blocks the inputs of all but the first are covered too; left out are the embeddings, and what the MLP of a
            block reads of what its attention just wrote.
        layers: where it acts; without it the vector's own layers.
        strength: ``ignored``, as in the paper: the direction is gone, whatever the multiplier, 0 included (the
            unsteered model is the one without the intervention). ``interpolated``: h - m r r^T h.

    Raises:
        VectorError: no layers for a single direction, or an unknown meaning of the strength.
    """
    if strength not in ("ignored", "interpolated"):
        raise VectorError(f"an ablation's strength is ignored or interpolated; not {strength!r}")
    if isinstance(direction, torch.Tensor):
        if layers is None:
            raise VectorError("one direction for ablation needs layers=, the blocks in which it is taken out")
        direction = dict.fromkeys(check_blocks(layers), direction)
    vector = as_vector(direction)
    own = units(vector)
    if layers is not None:
        wanted = check_blocks(layers)
        own = dict.fromkeys(wanted, next(iter(own.values()))) if len(own) == 1 else {a: own[a] for a in wanted if a in own}
        missing = [layer for layer in wanted if layer not in own]
        if missing:
            raise VectorError(f"the vector has no direction for layer {missing[0]}; it has {list(vector.layers)}")
    placed = Placed(own)

    def transform(hidden: torch.Tensor, dose: torch.Tensor, layer: int) -> torch.Tensor:
        h = wide(hidden)
        r = placed.at(layer, h)
        out = h @ r
        if strength == "interpolated":
            out = out * dose[..., 0].to(h.dtype)
        return h - out[..., None] * r

    recipe = Recipe("ablate", {"strength": strength, "site": site}, by_layer(direction=own))
    return from_recipe(recipe, transform, strength, metadata=vector.metadata)


@intervention("clamp", does="component set")
def clamp(
    direction: Directions,
    *,
    value: Annotated[
        float | Mapping[int, float],
        Param(
            "What kind clamp sets the component along the vector to, in the units of the hidden states.",
            title="Value of a clamp",
            example=4.0,
            schema={"type": "number"},
        ),
    ],
    site: Site = "block",
) -> Intervention:
    """Sets the component along a direction: h -> h + m (value - u^T h) u, u of unit length.

    The strength is interpolated: at 1 the component u^T h is ``value`` exactly, whatever it was; at 0 nothing
    happens. With value 0 it is an ablation.

    Args:
        value: in the units of the hidden states; one for all layers or {layer: value}.

    Raises:
        VectorError: a value is not finite, or one is missing.
    """
    vector = as_vector(direction)
    values = value if isinstance(value, Mapping) else dict.fromkeys(vector.layers, value)
    missing = [layer for layer in vector.layers if layer not in values]
    if missing:
        raise VectorError(f"clamp has no value for layer {missing[0]}")
    own = {layer: torch.tensor(float(values[layer])) for layer in vector.layers}
    targets, along = checked(own, (), "the value"), units(vector)
    placed, placed_targets = Placed(along), Placed(targets)

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int) -> torch.Tensor:
        h = wide(hidden)
        u = placed.at(layer, h)
        return h + strength.to(h.dtype) * (placed_targets.at(layer, h) - h @ u)[..., None] * u

    recipe = Recipe("clamp", {"site": site}, by_layer(direction=along, value=targets))
    return from_recipe(recipe, transform, "interpolated", metadata=vector.metadata)
