"""Gradients with respect to block outputs: one forward and one backward for all layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from ..errors import MeasurementError
from .logits import logits_at
from .model import Model
from .probes import Probe
from .sites import attached
from .state import measured
from .tokens import check_sequence, padded

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
    # Whoever measures may have switched gradients off. A model that was loaded in inference mode has none to give.
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
