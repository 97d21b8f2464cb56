"""One forward up to the highest layer that is wanted, and what is read from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import torch

from .. import progress
from ..errors import MeasurementError
from ..steering import Site
from .model import Model
from .sites import attached
from .state import measured
from .tokens import Ids, check_sequence, padded

Reader = Callable[[int, torch.Tensor], torch.Tensor]

_ROWS = 32


class _Enough(Exception):
    """Ends a forward once the highest layer that is wanted has been read."""


@measured
@torch.inference_mode()
def read_outputs(
    model: Model, sequences: Sequence[Ids], layers: Sequence[int], read: Reader | Mapping[int, Reader], site: Site = "block"
) -> dict[int, list[torch.Tensor]]:
    """What is read from the outputs of decoder blocks, or from a site inside of them; nothing of it is remembered.

    See ``activations.block_outputs``.
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
                kept[layer][i] = (read[layer] if isinstance(read, Mapping) else read)(i, own).cpu()
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
