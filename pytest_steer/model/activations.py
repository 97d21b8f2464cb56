"""Reading hidden states: outputs of decoder blocks, many layers in one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from ..errors import VectorError
from ..steering import Site
from .engine import engine_of
from .model import Model
from .outputs import Reader, read_outputs
from .tokens import Ids


def check_layers(model: Model, layers: int | Sequence[int]) -> tuple[int, ...]:
    """The layers, ascending and distinct.

    Raises:
        VectorError: none, or one that the model does not have.
    """
    wanted = (layers,) if isinstance(layers, int) else tuple(sorted(set(layers)))
    bad = [layer for layer in wanted if not 0 <= layer < model.n_layers]
    if not wanted or bad:
        raise VectorError(
            f"layer {bad[0] if bad else wanted!r}: {model.id} has {model.n_layers} decoder blocks (0 to {model.n_layers - 1})"
        )
    return wanted


def block_outputs(
    model: Model,
    sequences: Sequence[Ids],
    layers: Sequence[int],
    read: Reader | Mapping[int, Reader],
    site: Site = "block",
    reading: tuple[object, ...] | None = None,
    on_disk: bool = True,
) -> dict[int, list[torch.Tensor]]:
    """What is read from the outputs of decoder blocks (or from a site inside of them), for each sequence by itself.

    Args:
        read: (index of the sequence, float32 hidden states [tokens, width] without padding) -> what is kept of them; one for all layers, or
            one for each.
        reading: what ``read`` does and depends on. What it gave is then remembered, with ``on_disk`` in the folder of scores too, if there is one.

    Returns:
        {layer: [what was kept, one per sequence]} on the CPU. The last block is read before the final norm.

    Raises:
        SteerError: a ``steered`` block is open on the model.
        DataError: a sequence is longer than the model allows.
        MeasurementError: an activation is NaN or infinite.
    """
    if reading is None:
        return read_outputs(model, sequences, layers, read, site)

    def named() -> dict[str, torch.Tensor]:
        kept = read_outputs(model, sequences, layers, read, site)
        return {f"{layer} {index}": own for layer, rows in kept.items() for index, own in enumerate(rows)}

    what = ("outputs", tuple(sequences), tuple(layers), site, reading)
    found = engine_of(model).remembered_tensors(what, named, on_disk=on_disk)
    return {layer: [found[f"{layer} {index}"] for index in range(len(sequences))] for layer in layers}
