"""Layers x multipliers: the propensity curve and the perplexity cost of one vector at each of its layers alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..data import ItemLike, TextLike
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import Positions, SteeringVector
from .likelihood import perplexity_curves
from .propensity import MULTIPLIERS, PropensityCurve, propensity_curves


def sweep_curves(
    model: Model,
    items: Iterable[ItemLike],
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
    return propensity_curves(
        model,
        items,
        {layer: vector.at(layer) for layer in vector.layers},
        multipliers=multipliers,
        positions=positions,
        include_first=include_first,
        context=context,
        allow_mismatch=allow_mismatch,
    )


def sweep_perplexity(
    model: Model,
    texts: Sequence[TextLike],
    vector: SteeringVector,
    *,
    multipliers: Sequence[float],
    positions: Positions = "after_prompt",
    include_first: bool = False,
    window: int | None = None,
    stride: int | None = None,
) -> dict[int, list[float]]:
    """{layer: relative change of perplexity at each multiplier}, the vector added at that layer alone; 0.05 is 5 % more.

    The perplexity is that over all scored tokens of all texts, see :func:`perplexity`.

    Raises:
        DataError, VectorError, MeasurementError: see ``perplexity``.
    """
    found = perplexity_curves(
        model,
        texts,
        {layer: vector.at(layer) for layer in vector.layers},
        multipliers=[0.0, *multipliers],
        positions=positions,
        include_first=include_first,
        window=window,
        stride=stride,
    )
    return {layer: [one.value / curve[0].value - 1 for one in curve[1:]] for layer, curve in found.items()}
