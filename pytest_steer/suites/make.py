"""From a ``vector:`` or ``intervention:`` entry to what steers: read from a file or extracted, and shaped."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import extract
from ..errors import DataError, SteerError, VectorError
from ..model import Model
from ..prompting import Items, read_contrast_texts, read_items, read_tasks
from ..steering import (
    Intervention,
    SteeringVector,
    ablate,
    add,
    add_keeping_norm,
    as_intervention,
    clamp,
    gated_by_condition,
    holds_intervention,
    load_intervention,
    masked,
    rotate,
)  # fmt: skip
from .claims import VectorSpec
from .methods import METHODS_WITH

Steering = SteeringVector | Intervention


def make_steering(model: Model, spec: VectorSpec, seed: int) -> Steering:
    """The vector or intervention of an entry.

    Raises:
        SteerError: a file cannot be read, the data cannot be used, or the pieces do not fit together.
    """
    if spec.file is not None:
        found = _from_file(spec, spec.file)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the check puts the same warnings into its evidence
            found = _extracted(model, spec, seed)
    return _shaped(found, spec, spec.shape) if spec.shape is not None else found


def _from_file(spec: VectorSpec, file: Path) -> Steering:
    if spec.shape is not None and holds_intervention(file):
        found = load_intervention(file)
        if found.vector is None or found.recipe is None or found.recipe.kind != "add" or found.site != "block":
            if spec.layers:
                where = list(found.layers)
                raise SteerError(f"{file}: holds an intervention that acts at {where} and cannot be moved: delete `layer`")
            return found
        return found.vector.at(spec.layers) if spec.layers else found.vector
    if spec.shape is not None and spec.shape.get("kind") == "ablate":
        # A single direction whose layer is known is ablated at whichever layers are named.
        try:
            vector = SteeringVector.load(file)
        except VectorError:
            return SteeringVector.load(file, layer=spec.layers)
        if len(vector.layers) == 1:
            return vector
    return SteeringVector.load(file, layer=spec.layers)


def _extracted(model: Model, spec: VectorSpec, seed: int) -> Steering:
    if spec.data is None or spec.method is None:
        raise SteerError("extract needs a method and data")
    # A matrix gives one set of settings to several methods; each takes its own.
    options = {key: value for key, value in spec.options.items() if spec.method in METHODS_WITH[key]}
    if spec.method == "fv":
        if "shots" in options:
            options["n_shots"] = options.pop("shots")
        layer = spec.layers[0] if spec.layers else None
        return extract.fv(model, read_tasks(spec.data), layer=layer, seed=seed, **options)
    if spec.method == "icv":
        return extract.icv(model, read_tasks(spec.data) if _holds_tasks(spec.data) else contrast_data(spec.data))
    if not spec.layers:
        raise SteerError("vector.extract needs data and a layer")
    if spec.method == "caa":
        return extract.caa(model, read_items(spec.data), layer=spec.layers, **options)
    if spec.method == "mean_difference":
        return extract.mean_difference(model, *read_contrast_texts(spec.data), layer=spec.layers, **options)
    if spec.method == "learned":
        return extract.learned(model, read_items(spec.data), layer=spec.layers[0], seed=seed, **options)
    data = contrast_data(spec.data)
    if spec.method == "random":
        return extract.random_direction(extract.mean_matching(model, data, layer=spec.layers, **options), seed=seed)
    if spec.method == "ablation":
        return extract.ablation(model, data, layer=spec.layers[0], **options)
    methods: dict[str, Callable[..., Steering]] = {
        "pca": extract.pca,
        "probe": extract.probe,
        "mean_matching": extract.mean_matching,
        "mimic": extract.mimic,
        "leace": extract.leace,
    }
    return methods[spec.method](model, data, layer=spec.layers, **options)


def contrast_data(file: Path) -> Items | tuple[list[str], list[str]]:
    """Contrast items, or (positive texts, negative texts), whichever the file holds.

    Raises:
        DataError: it holds neither.
    """
    found = _parsed(file)
    if isinstance(found, dict) and {"positive", "negative"} <= set(found):
        return read_contrast_texts(file)
    return read_items(file)


def _holds_tasks(file: Path) -> bool:
    """Whether the first entry of a file has an input and an output."""
    found = _parsed(file)
    if isinstance(found, list) and found:
        return isinstance(found[0], dict) and {"input", "output"} <= set(found[0])
    try:
        first = file.read_text(encoding="utf-8-sig").lstrip().partition("\n")[0]
    except (OSError, ValueError):
        return False
    if file.suffix.lower() == ".csv":
        return {"input", "output"} <= {name.strip() for name in first.split(",")}
    try:
        entry = json.loads(first)
    except ValueError:
        return False
    return isinstance(entry, dict) and {"input", "output"} <= set(entry)


def _parsed(file: Path) -> Any:
    """The content of a JSON file; None for anything else, for which its own reader has better words."""
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None


def _shaped(found: Steering, spec: VectorSpec, shape: dict[str, Any]) -> Steering:
    """What was found, applied as an ``intervention:`` says."""
    if "kind" in shape:
        if not isinstance(found, SteeringVector):
            raise SteerError(
                f"{spec.file}: holds the intervention {found.method!r}, which says itself how it is applied: delete `kind`"
            )
        found = _of_kind(shape["kind"], found, spec, shape)
    if "condition" in shape:
        condition = shape["condition"]
        vector = SteeringVector.load(condition["file"])
        vector = vector.at(condition["layer"]) if "layer" in condition else vector
        change = as_intervention(found)
        found = gated_by_condition(change, vector, threshold=condition["threshold"], fires=condition["fires"])
    return found


def _of_kind(kind: str, vector: SteeringVector, spec: VectorSpec, shape: dict[str, Any]) -> Intervention:
    site = shape["site"]
    if kind == "ablate":
        return ablate(vector, layers=spec.layers, site=site)
    if kind == "clamp":
        return clamp(vector, value=shape["value"], site=site)
    if kind == "masked":
        return masked(vector, keep=shape["keep"], site=site)
    if kind == "rotate":
        toward = SteeringVector.load(shape["toward"])
        missing = [layer for layer in vector.layers if layer not in toward.directions]
        if missing:
            raise VectorError(f"{shape['toward']}: has no direction for layer {missing[0]}, where the rotation acts")
        if toward.width != vector.width:
            raise DataError(f"{shape['toward']}: has width {toward.width}, the first direction {vector.width}")
        plane = {layer: (vector.directions[layer], toward.directions[layer]) for layer in vector.layers}
        return rotate(plane, angle=shape.get("angle", 90.0), site=site)
    return {"add": add, "add_keeping_norm": add_keeping_norm}[kind](vector, site=site)
