"""From a ``vector:`` or ``intervention:`` entry to what steers: read from a file or extracted, and shaped."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ..core.errors import DataError, SteerError, VectorError, at_key
from ..core.evidence import Json
from ..extract import method_kind
from ..extract.training import Training, read_training
from ..model import Model, check_layers
from ..steering import (
    Intervention,
    SteeringVector,
    as_intervention,
    check_depth,
    gated_by_condition,
    holds_intervention,
    intervention_kind,
    load_intervention,
)
from .specs import VectorSpec

Steering = SteeringVector | Intervention


def make_steering(model: Model, spec: VectorSpec, seed: int) -> Steering:
    """The vector or intervention of an entry.

    Raises:
        SteerError: a file cannot be read, the data cannot be used, or the pieces do not fit together.
    """
    if isinstance(spec.layers, tuple):
        with at_key(f"{spec.section}.layer"):
            check_layers(model, spec.layers)
    if spec.file is not None:
        with at_key(f"{spec.section}.file"):
            found = _from_file(model, spec, spec.file)
    else:
        with warnings.catch_warnings(), at_key(f"{spec.section}.extract"):
            warnings.simplefilter("ignore")  # the check puts the same warnings into its evidence
            found = _extracted(model, spec, seed)
    return _shaped(model, found, spec, spec.shape) if spec.shape is not None else found


def _from_file(model: Model, spec: VectorSpec, file: Path) -> Steering:
    if spec.shape is not None and holds_intervention(file):
        found = load_intervention(file)
        if found.vector is None or found.hash != found.vector.hash:  # not a vector that is added as it is
            if spec.layers not in (None, "all"):
                where = list(found.layers)
                raise SteerError(f"{file}: holds an intervention that acts at {where} and cannot be moved: delete `layer`")
            return found
        return found.vector.at(spec.layers) if spec.layers else found.vector
    if spec.shape is not None and "kind" in spec.shape and "layers" in intervention_kind(spec.shape["kind"]).filled:
        # A single direction whose layer is known is applied at whichever layers are named.
        try:
            vector = _load(model, file, rows=spec.rows, settings=spec.reading)
        except VectorError:
            return _load(model, file, spec.layers, spec.rows, spec.reading)
        if len(vector.layers) == 1:
            return vector
    vector = _load(model, file, spec.layers, spec.rows, spec.reading)
    vector.check_settled()
    return vector


def _load(
    model: Model,
    file: Path,
    layer: int | tuple[int, ...] | Literal["all"] | None = None,
    rows: Literal["blocks", "hidden_states"] | None = None,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> SteeringVector:
    """A saved vector whose rows are blocks of this model."""
    vector = SteeringVector.load(file, layer=layer, rows=rows, **settings)
    try:
        check_depth(vector.metadata, model.n_layers, model.id)
    except VectorError as error:
        raise VectorError(f"{file}: {error}") from None
    return vector


def _extracted(model: Model, spec: VectorSpec, seed: int) -> Steering:
    if spec.data is None or spec.method is None:
        raise SteerError("extract needs a method and data")
    with at_key(f"{spec.section}.extract.data"):
        data = read_training(spec.data, seed, spec.columns)
    return extracted(model, spec, data, seed)


def extracted(model: Model, spec: VectorSpec, data: Training, seed: int) -> Steering:
    """What the method of an entry makes of training data, its own or others.

    Raises:
        SteerError: the entry has no method or no layers of its own, or the data cannot be used.
    """
    if spec.method is None:
        raise SteerError("extract needs a method and data")
    if spec.layers == "all":
        raise SteerError("extract needs the layers' numbers; 'all' means those of a saved vector")
    return method_kind(spec.method).extract(
        model,
        data,
        layers=spec.layers,
        context=replace(data.context, **spec.asked),  # type: ignore[arg-type]
        seed=seed,
        settings=spec.options,
    )


def _shaped(model: Model, found: Steering, spec: VectorSpec, shape: Json) -> Steering:
    """What was found, applied as an ``intervention:`` says."""
    if "kind" in shape:
        if not isinstance(found, SteeringVector):
            raise SteerError(
                f"{spec.file}: holds the intervention {found.method!r}, which says itself how it is applied: delete `kind`"
            )
        found = _of_kind(model, found, spec, shape)
    if "condition" in shape:
        condition = shape["condition"]
        with at_key("intervention.condition.file"):
            vector = _load(model, condition["file"], condition.get("layer"), condition.get("rows"))
            change = as_intervention(found)
            found = gated_by_condition(change, vector, threshold=condition["threshold"], fires=condition["fires"])
    return found


def _of_kind(model: Model, vector: SteeringVector, spec: VectorSpec, shape: Json) -> Intervention:
    kind = intervention_kind(shape["kind"])
    files = {key for key, schema in kind.settings.items() if schema.get("x-vector") and key in shape}
    return kind.make(
        vector,
        layers=None if spec.layers == "all" else spec.layers,
        site=shape["site"],
        settings={**shape, **{key: _beside(model, key, shape[key], vector, spec) for key in files}},
    )


def _beside(model: Model, key: str, file: Path, vector: SteeringVector, spec: VectorSpec) -> SteeringVector:
    """A second saved vector, at the layers of the first one."""
    with at_key(f"intervention.{key}"):
        try:
            found = _load(model, file, vector.layers)
        except VectorError:
            if spec.rows is None:
                raise
            found = _load(model, file, vector.layers, spec.rows)  # a stack like the first one
        if found.width != vector.width:
            raise DataError(f"{file}: has width {found.width}, the first direction {vector.width}")
    return found
