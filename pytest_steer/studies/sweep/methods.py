"""Methods that a sweep can use: those that give a vector with a direction per layer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ... import extract, progress
from ...data import Items
from ...errors import SteerError
from ...files.training import Training
from ...model import Model
from ...registry import did_you_mean
from ...steering import SteeringVector

Layers = tuple[int, ...]
Extract = Callable[[Model, Training, Layers, int], SteeringVector]


def vector_methods() -> dict[str, Extract]:
    """Name to a function that makes the vector of a model from training data, at these layers, with a seed."""
    of_contrast = {"mean_matching": extract.mean_matching, "pca": extract.pca, "probe": extract.probe}
    return {
        "caa": lambda model, data, layers, _: extract.caa(model, data.items("caa"), layer=layers, context=data.context),
        "fv": _function_vector,
        "learned": _learned,
        "mean_difference": _mean_difference,
        **{name: partial(_contrast, method) for name, method in of_contrast.items()},
        "random": lambda model, data, layers, seed: extract.random_direction(
            extract.mean_matching(model, data.contrast, layer=layers, context=data.context), seed=seed
        ),
    }


def find_method(name: str) -> Extract:
    """The method of that name.

    Raises:
        SteerError: there is none that gives a vector with a direction per layer.
    """
    methods = vector_methods()
    if name not in methods:
        raise SteerError(f"no method {name!r} gives a vector to sweep: {did_you_mean(name, sorted(methods))}")
    return methods[name]


def _contrast(
    method: Callable[..., SteeringVector], model: Model, data: Training, layers: Layers, seed: int
) -> SteeringVector:
    return method(model, data.contrast, layer=layers, context=data.context)


def _mean_difference(model: Model, data: Training, layers: Layers, seed: int) -> SteeringVector:
    contrast = data.contrast
    sides = (contrast,) if isinstance(contrast, Items) else contrast
    return extract.mean_difference(model, *sides, layer=layers, context=data.context)


def _function_vector(model: Model, data: Training, layers: Layers, seed: int) -> SteeringVector:
    """One vector for all layers: where a function vector is added does not change what it is."""
    made = extract.fv(model, data.demonstrations, layer=layers[0], seed=seed)
    return SteeringVector(dict.fromkeys(layers, made.directions[layers[0]]), made.metadata)


def _learned(model: Model, data: Training, layers: Layers, seed: int) -> SteeringVector:
    """Learned at each layer by itself."""
    items, directions = data.items("learned"), {}
    metadata: dict[str, Any] = {}
    reliability: dict[str, Any] = {}
    for number, layer in enumerate(layers, 1):
        progress.report(f"learning a vector at layer {layer} ({number} of {len(layers)})")
        made = extract.learned(model, items, layer=layer, seed=seed, context=data.context)
        directions[layer], metadata = made.directions[layer], dict(made.metadata)
        reliability |= metadata.get("reliability", {})
    return SteeringVector(directions, {**metadata, "reliability": reliability})
