"""A random direction: the control for the effects of a vector."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import SteeringVector
from .contrast import AnyReadout, Data
from .kinds import method
from .mean_difference import mean_matching


def random_direction(like: SteeringVector, *, seed: int = 0) -> SteeringVector:
    """A direction drawn evenly from all, of the same length as a vector at each of its layers: the control for its effects.

    Args:
        like: the vector that is controlled for; its record is copied, except the numbers of its data.
    """
    generator = torch.Generator().manual_seed(seed)
    directions = {}
    for layer, direction in like.directions.items():
        drawn = torch.randn(like.width, generator=generator, dtype=torch.float64)
        directions[layer] = (drawn / drawn.norm() * direction.double().norm()).float()
    kept = {key: value for key, value in like.metadata.items() if key not in ("reliability", "label_balance")}
    return SteeringVector(directions, {**kept, "method": "random", "like": like.hash, "seed": seed})


@method("random", takes="contrast")
def random_like_means(
    model: Model,
    data: Data,
    *,
    layer: int | Sequence[int],
    readout: AnyReadout = None,
    context: Context = AS_GIVEN,
    seed: int = 0,
) -> SteeringVector:
    """A direction drawn evenly from all, with the norms of the mean difference of the data: the control for its effects."""
    return random_direction(mean_matching(model, data, layer=layer, readout=readout, context=context), seed=seed)
