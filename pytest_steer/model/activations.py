"""Reading hidden states: outputs of decoder blocks, many layers in one pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

import torch

from .. import progress
from ..errors import MeasurementError, VectorError
from ..steering import Site
from .batch import check_sequence, padded
from .loaded import Model
from .sites import attached
from .state import measured
from .tokens import Ids

_ROWS = 32


class _Enough(Exception):
    """Ends a forward once the highest layer that is wanted has been read."""


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


@measured
@torch.inference_mode()
def block_outputs(
    model: Model,
    sequences: Sequence[Ids],
    layers: Sequence[int],
    read: Callable[[int, torch.Tensor], torch.Tensor],
    site: Site = "block",
) -> dict[int, list[torch.Tensor]]:
    """What is read from the outputs of decoder blocks (or from a site inside of them), for each sequence by itself.

    Args:
        read: (index of the sequence, float32 hidden states [tokens, width] without padding) -> what is kept of them.

    Returns:
        {layer: [what was kept, one per sequence]} on the CPU. The last block is read before the final norm.

    Raises:
        SteerError: a ``steered`` block is open on the model.
        DataError: a sequence is longer than the model allows.
        MeasurementError: an activation is NaN or infinite.
    """
    for index, ids in enumerate(sequences):
        check_sequence(model, ids, f"sequence {index}")
    ordered = sorted(range(len(sequences)), key=lambda i: len(sequences[i]))
    kept: dict[int, list[torch.Tensor]] = {layer: [torch.empty(0)] * len(sequences) for layer in layers}
    for start in range(0, len(ordered), _ROWS):
        chunk = ordered[start : start + _ROWS]
        for layer, hidden in _read_blocks(model, [sequences[i] for i in chunk], layers, site).items():
            for row, i in enumerate(chunk):
                own = hidden[row, : len(sequences[i])].float()
                if not torch.isfinite(own).all():
                    raise MeasurementError(f"sequence {i}: the output of layer {layer} has NaN or infinite values")
                kept[layer][i] = read(i, own).cpu()
        progress.report(f"reading activations: {min(start + _ROWS, len(ordered))} of {len(ordered)} texts")
    return kept


def _read_blocks(model: Model, sequences: Sequence[Ids], layers: Sequence[int], site: Site) -> dict[int, torch.Tensor]:
    """One padded batch: {layer: [rows, positions, width]}, real tokens first."""
    ids, mask = padded(sequences)
    outputs: dict[int, torch.Tensor] = {}

    def keep(layer: int) -> Callable[[torch.Tensor], None]:
        def see(hidden: torch.Tensor) -> None:
            # A copy inside of blocks: Falcon adds its attention to the MLP's output in place.
            outputs[layer] = hidden if site == "block" else hidden.clone()
            if layer == max(layers):
                raise _Enough

        return see

    with attached(model, layers, site, keep), suppress(_Enough):
        model.backbone(input_ids=ids.to(model.device), attention_mask=mask.to(model.device), use_cache=False)
    # OPT flattens rows and positions within its blocks.
    return {layer: hidden.reshape(*ids.shape, -1) for layer, hidden in outputs.items()}
