"""The layers of a vector compared: the propensity curve and the perplexity cost at each of them alone, and to first order the slopes of
all from one forward and backward.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from ..core.errors import DataError
from ..core.run_context import report_progress
from ..data import ItemLike, TextLike
from ..model import Model, check_fits
from ..model.activations import block_gradients
from ..model.arguments import checks_arguments
from ..prompting import AS_GIVEN
from ..steering import SteeringVector, add
from .asking import AFTER_PROMPT, Array, Asked, Scope, asked_of, items_to_measure
from .likelihood import perplexity_curves
from .propensity import MULTIPLIERS, PropensityCurve, propensity_curves


def sweep_curves(
    model: Model,
    items: Iterable[ItemLike],
    vector: SteeringVector,
    scope: Scope = AFTER_PROMPT,
    *,
    multipliers: Sequence[float] = MULTIPLIERS,
) -> dict[int, PropensityCurve]:
    """{layer: the propensity curve of the items with the vector added at that layer alone}.

    Raises:
        DataError, VectorError, MeasurementError: see ``propensity_curve``.
    """
    return propensity_curves(model, items, _by_layer(vector), scope, multipliers=multipliers)


def sweep_perplexity(
    model: Model,
    texts: Sequence[TextLike],
    vector: SteeringVector,
    scope: Scope = AFTER_PROMPT,
    *,
    multipliers: Sequence[float],
    window: int | None = None,
    stride: int | None = None,
) -> dict[int, list[float]]:
    """{layer: relative change of perplexity at each multiplier}, the vector added at that layer alone; 0.05 is 5 % more.

    The perplexity is that over all scored tokens of all texts, see :func:`perplexity`.

    Raises:
        DataError, VectorError, MeasurementError: see ``perplexity``.
    """
    grid = [0.0, *multipliers]
    found = perplexity_curves(model, texts, _by_layer(vector), scope, multipliers=grid, window=window, stride=stride)
    return {layer: [one.value / curve[0].value - 1 for one in curve[1:]] for layer, curve in found.items()}


def _by_layer(vector: SteeringVector) -> dict[int, SteeringVector]:
    return {layer: vector.at(layer) for layer in vector.layers}


# Tokens of one batch: its whole graph is kept for the backward.
_MAX_TOKENS = 2048


@checks_arguments
def first_order_slopes(
    model: Model, items: Iterable[ItemLike], vector: SteeringVector, scope: Scope = AFTER_PROMPT
) -> dict[int, Array]:
    """d propensity / d multiplier at multiplier 0, if the vector were added at one of its layers alone.

    By the chain rule it is the gradient of the propensity with respect to the block's output, summed over the steered
    positions, times the layer's direction. It ranks layers. It does not measure steerability, since the curve need not
    be straight, and decides no claim.

    Returns:
        {layer: float64 [n_items]}.

    Raises:
        DataError: no items, or one that cannot be tokenised or would not be steered.
        VectorError: the vector does not fit the model.
        MeasurementError: a gradient is NaN or infinite.
    """
    data = items_to_measure(items)
    check_fits(model, add(vector.at("all")))  # its layers are ranked, not steered together
    asked = [asked_of(model, item, scope, AS_GIVEN) for item in data]
    for item in asked:
        for probe in item.probes:
            if probe.steer_from >= len(probe.ids):
                raise DataError(
                    f"{probe.name}: no token is steered: the scope begins at token {probe.steer_from} of {len(probe.ids)}; "
                    "steer 'all', or take the first position in (include_first)"
                )
    slopes: dict[int, Array] = {layer: np.empty(len(data)) for layer in vector.layers}
    done = 0
    for batch in _batches(asked):
        probes = [probe for item in batch for probe in item.probes]
        gradients = block_gradients(model, probes, vector.layers, lambda logits, batch=batch: _propensities(batch, logits))  # type: ignore[misc]
        for layer, direction in vector.directions.items():
            rises = (
                float(own[probe.steer_from :].double().sum(0) @ direction.double())
                for probe, own in zip(probes, gradients[layer], strict=True)
            )
            for index, item in enumerate(batch, start=done):
                slopes[layer][index] = sum(next(rises) for _ in item.probes)
        done += len(batch)
        report_progress(f"first-order ranking: {done} of {len(data)} items")
    return slopes


def _batches(asked: list[Asked]) -> list[list[Asked]]:
    """Neighbouring items within the budget."""
    found: list[list[Asked]] = []
    rows = longest = 0
    for item in asked:
        rows += len(item.probes)
        longest = max(longest, *(len(probe.ids) for probe in item.probes))
        if not found or rows * longest > _MAX_TOKENS:
            found.append([])
            rows, longest = len(item.probes), max(len(probe.ids) for probe in item.probes)
        found[-1].append(item)
    return found


def _propensities(batch: list[Asked], logits: list[torch.Tensor]) -> torch.Tensor:
    """Sum of the items' propensities, as ``PropensityCurve`` defines them, as a differentiable number."""
    total, each = torch.zeros((), device=logits[0].device), iter(logits)
    for item in batch:
        own = [next(each) for _ in item.probes]
        first = item.probes[0]
        if len(item.probes) == 1 and first.candidates is not None:
            values = own[0][0, torch.tensor(first.candidates, device=own[0].device)]
        else:
            means = []
            for probe, part in zip(item.probes, own, strict=True):
                targets = torch.tensor(probe.ids[probe.score_from :], device=part.device)
                means.append((part.gather(1, targets[:, None])[:, 0] - part.logsumexp(1)).mean())
            values = torch.stack(means)
        total = total + values[: item.split].logsumexp(0) - values[item.split :].logsumexp(0)
    return total
