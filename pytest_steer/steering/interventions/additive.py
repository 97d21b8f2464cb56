"""Adding a vector: as it is, or with the norm of the hidden state restored afterwards."""

from __future__ import annotations

import hashlib
from os import PathLike

import torch

from ...core.errors import VectorError
from ..intervention import Intervention, Site, Transform, check_site, from_recipe
from ..kinds import intervention
from ..recipe import Directions, Placed, Recipe, as_vector, by_layer, wide
from ..vector import SteeringVector


@intervention("add", does="added")
def add(vector: SteeringVector, *, site: Site = "block") -> Intervention:
    """h -> h + multiplier * v at each of the vector's layers. The strength is linear.

    Raises:
        VectorError: it was read from a file of several layers, and nobody said which are meant.
    """
    vector.check_settled()
    placed = Placed(vector.directions)
    # At the block's output the vector alone is the identity, as it always was; elsewhere the site belongs to it.
    identity = vector.hash if site == "block" else hashlib.sha256(f"add:{site}:{vector.hash}".encode()).hexdigest()
    return Intervention(
        layers=vector.layers,
        transform=lambda hidden, strength, layer: hidden + strength * placed.at(layer, hidden),
        strength="linear",
        hash=identity,
        method=str(vector.metadata.get("method", "add")),
        site=check_site(site),
        durable=True,
        width=vector.width,
        vector=vector,
        metadata=vector.metadata,
        recipe=Recipe("add", {"site": site}, by_layer(direction=vector.directions)),
    )


@intervention("add_keeping_norm", does="added, norm kept", restores_norm=True)
def add_keeping_norm(vector: Directions, *, site: Site = "block") -> Intervention:
    """h -> (h + multiplier * v) * |h| / |h + multiplier * v|: the direction moves, the norm stays (near von Rütte et al., who add a unit direction at the output of the block's input norm).

    In-Context Vectors at the site ``mlp`` (Liu et al. 2023, arXiv 2311.06668, section 3.2); the code of that paper does what
    :func:`add_at_unit_norm` does. The guidance of von Rütte et al. is arXiv 2402.14433. The strength is linear: a signed dose, opposite
    signs turn opposite ways, and for small doses the change is proportional to it.
    """
    clean = as_vector(vector)
    placed = Placed(clean.directions)

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int) -> torch.Tensor:
        h = wide(hidden)
        return _at_norm_of(h, h.norm(dim=-1, keepdim=True), h + strength.to(h.dtype) * placed.at(layer, h))

    return _keeping_norm("add_keeping_norm", clean, transform, site)


@intervention("add_at_unit_norm", does="added at length 1, norm kept", restores_norm=True)
def add_at_unit_norm(vector: Directions, *, site: Site = "block") -> Intervention:
    """u -> u + multiplier * (1 + max(0, -u.w)) * w for u = h / |h| and w = v / |v|, scaled back to |h|.

    What the code of In-Context Vectors does at the site ``mlp`` (Liu et al. 2023, arXiv 2311.06668; ``ICVLayer`` in its
    ``utils/llm_layers.py``): only the vector's direction counts, and it is added up to twice where h points away from it. The strength
    is linear, as that of :func:`add_keeping_norm`; the code has 0.1 as its usual multiplier.
    """
    clean = as_vector(vector)
    placed = Placed({layer: direction / direction.norm() for layer, direction in clean.directions.items()})

    def transform(hidden: torch.Tensor, strength: torch.Tensor, layer: int) -> torch.Tensor:
        h = wide(hidden)
        size, w = h.norm(dim=-1, keepdim=True), placed.at(layer, h)
        unit = h / size.clamp(min=torch.finfo(h.dtype).tiny)
        return _at_norm_of(h, size, unit + strength.to(h.dtype) * (1 + (-(unit * w).sum(-1, keepdim=True)).clamp(min=0)) * w)

    return _keeping_norm("add_at_unit_norm", clean, transform, site)


def _at_norm_of(h: torch.Tensor, size: torch.Tensor, moved: torch.Tensor) -> torch.Tensor:
    # Where the dose cancels h to the last bit there is no direction left: h stays.
    length = moved.norm(dim=-1, keepdim=True)
    return torch.where(length > 0, moved * (size / length.clamp(min=torch.finfo(h.dtype).tiny)), h)


def _keeping_norm(kind: str, vector: SteeringVector, transform: Transform, site: Site) -> Intervention:
    recipe = Recipe(kind, {"site": site}, by_layer(direction=vector.directions))
    return from_recipe(recipe, transform, "linear", vector=vector, metadata=vector.metadata)


def as_intervention(steering: SteeringVector | Intervention) -> Intervention:
    """A steering vector is added, also one of the steering-vectors package; an intervention is itself.

    Raises:
        VectorError: it is neither.
    """
    if isinstance(steering, Intervention):
        return steering
    if isinstance(steering, SteeringVector):
        return add(steering)
    if hasattr(steering, "layer_activations") and hasattr(steering, "layer_type"):
        return add(SteeringVector.from_steering_vectors(steering))
    if isinstance(steering, (str, PathLike)):
        raise VectorError(
            f"expected a SteeringVector or an Intervention, not the path {str(steering)!r}: read it with SteeringVector.load(path)"
        )
    raise VectorError(
        f"expected a SteeringVector or an Intervention, not {type(steering).__name__}; "
        "wrap a tensor as SteeringVector({layer: tensor}), a function with steering.custom(...)"
    )
