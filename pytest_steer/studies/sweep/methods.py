"""Methods that a sweep can use: those that give a vector with a direction per layer."""

from __future__ import annotations

from typing import Any

from ... import progress, registry
from ...errors import SteerError
from ...extract.kinds import MethodKind, Training
from ...model import Model
from ...registry import did_you_mean
from ...steering import SteeringVector


def vector_methods() -> dict[str, MethodKind]:
    """The registered methods that give a vector at a layer of one's choice."""
    methods: dict[str, MethodKind] = registry.things("method")
    return {name: kind for name, kind in methods.items() if not kind.gives_intervention and kind.layers != "none"}


def find_method(name: str) -> MethodKind:
    """The method of that name.

    Raises:
        SteerError: there is none that gives a vector with a direction per layer.
    """
    methods = vector_methods()
    if name not in methods and name in registry.names("method"):
        raise SteerError(
            f"method {name!r} has no layer to choose: it acts on all layers at once, or gives another intervention than a vector. "
            "Measure it with pytest-steer compare-methods"
        )
    if name not in methods:
        raise SteerError(f"no method {name!r} gives a vector to sweep: {did_you_mean(name, sorted(methods))}")
    return methods[name]


def vector_at(kind: MethodKind, model: Model, training: Training, layers: tuple[int, ...], seed: int) -> SteeringVector:
    """The vector of a method at each of these layers."""
    if kind.layers == "several":
        return _made(kind, model, training, layers, seed)
    if not kind.needs_layer:  # where such a vector is added does not change what it is
        made = _made(kind, model, training, layers[:1], seed)
        return SteeringVector(dict.fromkeys(layers, made.directions[layers[0]]), made.metadata)
    directions: dict[int, Any] = {}
    metadata: dict[str, Any] = {}
    reliability: dict[str, Any] = {}
    for number, layer in enumerate(layers, 1):
        progress.report(f"{kind.name} at layer {layer} ({number} of {len(layers)})")
        made = _made(kind, model, training, (layer,), seed)
        directions[layer], metadata = made.directions[layer], dict(made.metadata)
        reliability |= metadata.get("reliability", {})
    return SteeringVector(directions, {**metadata, "reliability": reliability})


def _made(kind: MethodKind, model: Model, training: Training, layers: tuple[int, ...], seed: int) -> SteeringVector:
    made = kind.extract(model, training, layers=layers, context=training.context, seed=seed, settings={})
    assert isinstance(made, SteeringVector)  # as its return type says
    return made
