"""Gradients with respect to block outputs: one forward and one backward for all layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import DataError, MeasurementError
from .forward import reading_only
from .loaded import Model
from .probes import Probe
from .sites import hidden_of, with_hidden
from .state import measured
from .structure import check_layer

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
        if model.max_positions is not None and len(probe.ids) > model.max_positions:
            raise DataError(f"{probe.name}: has {len(probe.ids)} tokens, but {model.id} takes at most {model.max_positions}")
    for layer in layers:
        check_layer(model, layer)
    outputs: dict[int, torch.Tensor] = {}
    places = [(row, at) for row, probe in enumerate(probes) for at in probe.reads]
    # Whoever measures may have switched gradients off; a model loaded in inference mode has none to give.
    with torch.inference_mode(False), torch.enable_grad(), _keeping(model, layers, outputs):
        try:
            logits = logits_at(model, _inputs(model, probes), places)
            parts = list(torch.split(logits.float(), [len(probe.reads) for probe in probes]))
            gradients = torch.autograd.grad(objective(parts), [outputs[layer] for layer in layers])
        except RuntimeError as error:
            first = str(error).strip().splitlines()[0]
            raise MeasurementError(f"{model.id}: no gradient with respect to its block outputs: {first}") from error
    found: dict[int, list[torch.Tensor]] = {}
    for layer, gradient in zip(layers, gradients, strict=True):
        found[layer] = [gradient[row, : len(probe.ids)].float().cpu() for row, probe in enumerate(probes)]
        for probe, own in zip(probes, found[layer], strict=True):
            if not torch.isfinite(own).all():
                raise MeasurementError(f"{probe.name}: the gradient at layer {layer} has NaN or infinite values")
    return found


def _inputs(model: Model, probes: Sequence[Probe]) -> dict[str, Any]:
    """One batch, padded on the right."""
    length = max(len(probe.ids) for probe in probes)
    ids = torch.zeros(len(probes), length, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, probe in enumerate(probes):
        ids[row, : len(probe.ids)] = torch.tensor(probe.ids)
        mask[row, : len(probe.ids)] = 1
    return {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device), "use_cache": False}


def logits_at(model: Model, inputs: dict[str, Any], places: list[tuple[int, int]]) -> torch.Tensor:
    """Logits at (row, position) pairs only, [pairs, vocabulary]."""
    rows, positions = torch.tensor(places, device=model.device).unbind(1)
    head = model.hf.get_output_embeddings()
    logits: torch.Tensor
    if head is None:
        logits = model.hf(**inputs).logits[rows, positions]
    else:
        with reading_only(head, rows, positions):
            logits = model.hf(**inputs).logits[0]
    return logits


@contextmanager
def _keeping(model: Model, layers: Sequence[int], into: dict[int, torch.Tensor]) -> Iterator[None]:
    handles = []

    def hook_for(layer: int) -> Any:
        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            hidden = hidden_of(output)
            if layer == min(layers):
                # What lies below the lowest layer needs no backward.
                hidden = hidden.detach().requires_grad_()
            into[layer] = hidden
            return with_hidden(output, hidden)

        return hook

    try:
        for layer in layers:
            handles.append(model.blocks[layer].register_forward_hook(hook_for(layer)))
        yield
    finally:
        for handle in handles:
            handle.remove()
