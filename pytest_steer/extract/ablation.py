"""Directional ablation of the mean difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from ..core.errors import VectorError
from ..core.parameters import Param
from ..model import Model, check_layers
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, ablate
from .contrast import AnyReadout, Data, difference_of_means, read_contrast
from .kinds import method


@method("ablation", takes="contrast")
def ablation(
    model: Model,
    data: Data,
    *,
    layer: int,
    at: Annotated[
        int | Sequence[int] | None,
        Param(
            "The decoder blocks in which the direction of method ablation is taken out; without it all of them.",
            title="Where an ablation acts",
            example=[10, 11, 12],
            at_least=0,
            schema={
                "type": ["integer", "array"],
                "minItems": 1,
                "uniqueItems": True,
                "items": {"description": "A decoder block, counted from 0.", "type": "integer", "minimum": 0},
            },
        ),
    ] = None,
    readout: AnyReadout = None,
    context: Context = AS_GIVEN,
) -> Intervention:
    """Directional ablation of the mean difference (Arditi et al. 2024, arXiv 2406.11717): one direction, taken out of every block's output (in the paper also of block inputs, and of what attention and MLP write).

    r is the mean difference at one layer, of unit length; h -> h - r r^T h at every block. The multiplier is ignored.

    Args:
        layer: the one block whose output the direction is taken from.
        at: the blocks in which it is ablated; without it all of them.

    Raises:
        VectorError: more than one layer, or one the model does not have.
        DataError: what ``read_contrast`` raises.
    """
    layers = check_layers(model, layer)
    if len(layers) != 1:
        raise VectorError(
            f"an ablation takes its direction from one layer, not from {list(layers)}; `at` says where it acts"
        )
    (own,) = layers
    contrast = read_contrast(model, data, layer=own, readout=readout, context=context)
    vector = difference_of_means(contrast, "ablation")
    made = ablate(vector, layers=check_layers(model, tuple(range(model.n_layers)) if at is None else at))
    object.__setattr__(made, "metadata", {**vector.metadata, "direction_from": own})
    return made
