"""Layers x multipliers: the propensity curve and the perplexity cost of one vector at each of its layers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .. import progress
from ..model import Model
from ..prompting import AS_GIVEN, Context, ContrastItem, as_items
from ..steering import Positions, SteeringVector
from .likelihood import perplexity
from .propensity import MULTIPLIERS, PropensityCurve, propensity_curve


def sweep_curves(
    model: Model,
    items: Iterable[ContrastItem],
    vector: SteeringVector,
    *,
    multipliers: Sequence[float] = MULTIPLIERS,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    context: Context = AS_GIVEN,
    allow_mismatch: tuple[str, ...] = (),
) -> dict[int, PropensityCurve]:
    """{layer: the propensity curve of the items with the vector added at that layer alone}.

    Raises:
        DataError, VectorError, MeasurementError: see ``propensity_curve``.
    """
    data = as_items(items)
    curves = {}
    for number, layer in enumerate(vector.layers, start=1):
        progress.report(f"layer {layer} ({number} of {len(vector.layers)})")
        curves[layer] = propensity_curve(
            model,
            data,
            vector.at(layer),
            multipliers=multipliers,
            positions=positions,
            include_first=include_first,
            context=context,
            allow_mismatch=allow_mismatch,
        )
    return curves


def sweep_perplexity(
    model: Model,
    texts: Sequence[str],
    vector: SteeringVector,
    *,
    multipliers: Sequence[float],
    positions: Positions = "after_prompt",
    include_first: bool = False,
) -> dict[int, list[float]]:
    """{layer: relative change of perplexity at each multiplier}, the vector added at that layer alone; 0.05 is 5 % more.

    The perplexity is that over all scored tokens of all texts.

    Raises:
        DataError, VectorError, MeasurementError: see ``perplexity``.
    """
    base = perplexity(model, texts).value
    found: dict[int, list[float]] = {}
    for layer in vector.layers:
        progress.report(f"perplexity at layer {layer}")
        found[layer] = [
            perplexity(
                model, texts, vector.at(layer), multiplier=m, positions=positions, include_first=include_first
            ).value / base - 1
            for m in multipliers
        ]  # fmt: skip
    return found
