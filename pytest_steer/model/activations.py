"""Hidden states at block outputs and sites, and gradients with respect to them, many layers in one pass; nothing is remembered here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import torch

from ..core.errors import MeasurementError, VectorError
from ..core.run_context import report_progress
from ..steering import Site
from .logits import logits_at
from .model import Model
from .probes import Probe
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
    """Values read from the outputs of decoder blocks, or from a site inside of them, without remembering them.

    See ``engine.block_outputs``, which remembers.
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
        report_progress(f"reading activations: {min(start + _ROWS, len(ordered))} of {len(ordered)} texts")
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


Objective = Callable[[list[torch.Tensor]], torch.Tensor]


@measured
def block_gradients(
    model: Model, probes: Sequence[Probe], layers: Sequence[int], objective: Objective
) -> dict[int, list[torch.Tensor]]:
    """Gradient of a number with respect to the unsteered output of each block, for one batch of sequences.

    Args:
        objective: logits of each probe at its ``reads``, float32 [reads, vocabulary], -> one number that is a sum of
            terms of the probes.

    Returns:
        {layer: [one tensor [tokens, width] per probe]}, float32 on the CPU.

    Raises:
        SteerError: a ``steered`` block is open on the model.
        DataError: a sequence is longer than the model allows.
        ModelError: the output of a layer is not one hidden state per token.
        MeasurementError: a gradient is NaN or infinite, or the model has none.
    """
    for probe in probes:
        check_sequence(model, probe.ids, probe.name)
    outputs: dict[int, torch.Tensor] = {}

    def keep(layer: int) -> Callable[[torch.Tensor], torch.Tensor]:
        def see(hidden: torch.Tensor) -> torch.Tensor:
            # The blocks below the lowest layer need no backward.
            outputs[layer] = hidden.detach().requires_grad_() if layer == min(layers) else hidden
            return outputs[layer]

        return see

    places = [(row, at) for row, probe in enumerate(probes) for at in probe.reads]
    # The caller may have switched gradients off. A model that was loaded in inference mode has no gradients.
    with torch.inference_mode(False), torch.enable_grad(), attached(model, layers, "block", keep):
        try:
            ids, mask = (value.to(model.device) for value in padded([probe.ids for probe in probes]))
            inputs = {"input_ids": ids, "attention_mask": mask, "use_cache": False}
            logits = logits_at(model, inputs, places)
            parts = list(torch.split(logits.float(), [len(probe.reads) for probe in probes]))
            gradients = torch.autograd.grad(objective(parts), [outputs[layer] for layer in layers])
        except RuntimeError as error:
            first = str(error).strip().partition("\n")[0]
            raise MeasurementError(f"{model.id}: no gradient with respect to its block outputs: {first}") from error
    found: dict[int, list[torch.Tensor]] = {}
    for layer, gradient in zip(layers, gradients, strict=True):
        found[layer] = [gradient[row, : len(probe.ids)].float().cpu() for row, probe in enumerate(probes)]
        for probe, own in zip(probes, found[layer], strict=True):
            if not torch.isfinite(own).all():
                raise MeasurementError(f"{probe.name}: the gradient at layer {layer} has NaN or infinite values")
    return found
