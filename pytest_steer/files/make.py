"""From a ``vector:`` or ``intervention:`` entry to what steers: read from a file or extracted, and shaped."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from .. import extract
from ..data import Items
from ..errors import DataError, SteerError, VectorError
from ..model import Model
from ..steering import (
    Intervention,
    SteeringVector,
    ablate,
    add,
    add_keeping_norm,
    as_intervention,
    check_depth,
    clamp,
    gated_by_condition,
    holds_intervention,
    load_intervention,
    masked,
    rotate,
)
from .methods import METHODS_WITH
from .specs import VectorSpec
from .training import read_training

Steering = SteeringVector | Intervention


def make_steering(model: Model, spec: VectorSpec, seed: int) -> Steering:
    """The vector or intervention of an entry.

    Raises:
        SteerError: a file cannot be read, the data cannot be used, or the pieces do not fit together.
    """
    if spec.file is not None:
        found = _from_file(model, spec, spec.file)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the check puts the same warnings into its evidence
            found = _extracted(model, spec, seed)
    return _shaped(model, found, spec, spec.shape) if spec.shape is not None else found


def _from_file(model: Model, spec: VectorSpec, file: Path) -> Steering:
    if spec.shape is not None and holds_intervention(file):
        found = load_intervention(file)
        if found.vector is None or found.recipe is None or found.recipe.kind != "add" or found.site != "block":
            if spec.layers not in (None, "all"):
                where = list(found.layers)
                raise SteerError(f"{file}: holds an intervention that acts at {where} and cannot be moved: delete `layer`")
            return found
        return found.vector.at(spec.layers) if spec.layers else found.vector
    if spec.shape is not None and spec.shape.get("kind") == "ablate":
        # A single direction whose layer is known is ablated at whichever layers are named.
        try:
            vector = _load(model, file, rows=spec.rows)
        except VectorError:
            return _load(model, file, spec.layers, spec.rows)
        if len(vector.layers) == 1:
            return vector
    vector = _load(model, file, spec.layers, spec.rows)
    vector.check_settled()
    return vector


def _load(
    model: Model,
    file: Path,
    layer: int | tuple[int, ...] | Literal["all"] | None = None,
    rows: Literal["blocks", "hidden_states"] | None = None,
) -> SteeringVector:
    """A saved vector whose rows are blocks of this model."""
    vector = SteeringVector.load(file, layer=layer, rows=rows)
    try:
        check_depth(vector.metadata, model.n_layers, model.id)
    except VectorError as error:
        raise VectorError(f"{file}: {error}") from None
    return vector


def _extracted(model: Model, spec: VectorSpec, seed: int) -> Steering:
    if spec.data is None or spec.method is None:
        raise SteerError("extract needs a method and data")
    layers = spec.layers
    if layers == "all":
        raise SteerError("extract needs the layers' numbers; 'all' means those of a saved vector")
    # A matrix gives one set of settings to several methods; each takes its own.
    options = {key: value for key, value in spec.options.items() if spec.method in METHODS_WITH[key]}
    data = read_training(spec.data, seed, spec.columns)
    if spec.method == "fv":
        if "shots" in options:
            options["n_shots"] = options.pop("shots")
        layer = layers[0] if layers else None
        return extract.fv(model, data.demonstrations, layer=layer, seed=seed, **options)
    if spec.method == "icv":
        return extract.icv(model, data.held)
    if not layers:
        raise SteerError("vector.extract needs data and a layer")
    options["context"] = replace(data.context, **spec.asked)  # type: ignore[arg-type]
    if spec.method == "caa":
        return extract.caa(model, data.items("caa"), layer=layers, **options)
    if spec.method == "learned":
        return extract.learned(model, data.items("learned"), layer=layers[0], seed=seed, **options)
    contrast = data.contrast
    if spec.method == "mean_difference":
        sides = (contrast,) if isinstance(contrast, Items) else contrast
        return extract.mean_difference(model, *sides, layer=layers, **options)
    if spec.method == "random":
        return extract.random_direction(extract.mean_matching(model, contrast, layer=layers, **options), seed=seed)
    if spec.method == "ablation":
        return extract.ablation(model, contrast, layer=layers[0], **options)
    methods: dict[str, Callable[..., Steering]] = {
        "pca": extract.pca,
        "probe": extract.probe,
        "mean_matching": extract.mean_matching,
        "mimic": extract.mimic,
        "leace": extract.leace,
    }
    return methods[spec.method](model, contrast, layer=layers, **options)


def _shaped(model: Model, found: Steering, spec: VectorSpec, shape: dict[str, Any]) -> Steering:
    """What was found, applied as an ``intervention:`` says."""
    if "kind" in shape:
        if not isinstance(found, SteeringVector):
            raise SteerError(
                f"{spec.file}: holds the intervention {found.method!r}, which says itself how it is applied: delete `kind`"
            )
        found = _of_kind(model, shape["kind"], found, spec, shape)
    if "condition" in shape:
        condition = shape["condition"]
        vector = _load(model, condition["file"], condition.get("layer"), condition.get("rows"))
        change = as_intervention(found)
        found = gated_by_condition(change, vector, threshold=condition["threshold"], fires=condition["fires"])
    return found


def _of_kind(model: Model, kind: str, vector: SteeringVector, spec: VectorSpec, shape: dict[str, Any]) -> Intervention:
    site = shape["site"]
    if kind == "ablate":
        layers = None if spec.layers == "all" else spec.layers
        return ablate(vector, layers=layers, site=site)
    if kind == "clamp":
        return clamp(vector, value=shape["value"], site=site)
    if kind == "masked":
        return masked(vector, keep=shape["keep"], site=site)
    if kind == "rotate":
        try:
            toward = _load(model, shape["toward"], vector.layers)
        except VectorError:
            if spec.rows is None:
                raise
            toward = _load(model, shape["toward"], vector.layers, spec.rows)  # a stack like the first one
        if toward.width != vector.width:
            raise DataError(f"{shape['toward']}: has width {toward.width}, the first direction {vector.width}")
        plane = {layer: (vector.directions[layer], toward.directions[layer]) for layer in vector.layers}
        return rotate(plane, angle=shape.get("angle", 90.0), site=site)
    return {"add": add, "add_keeping_norm": add_keeping_norm}[kind](vector, site=site)
