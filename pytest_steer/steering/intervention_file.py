"""Interventions as safetensors files: kind and options as JSON in the metadata, and the tensors. Nothing is pickled."""

from __future__ import annotations

import json
from collections.abc import Callable
from os import PathLike
from pathlib import Path

import torch

from ..errors import VectorError
from .directions import LAYER_CONVENTION
from .intervention import Intervention, method_name
from .interventions.additive import add, add_keeping_norm
from .interventions.affine_maps import affine
from .interventions.gates import gated_by_condition, gated_by_probe
from .interventions.masked import with_masks
from .interventions.projection import ablate, clamp
from .interventions.rotation import rotate
from .recipe import Recipe
from .vector import SteeringVector

FORMAT = "pytest-steer/intervention/1"


def save_intervention(intervention: Intervention, path: str | PathLike[str]) -> None:
    """Writes an intervention to a safetensors file, from which :func:`load_intervention` makes one of the same hash.

    Raises:
        VectorError: a function or module of the user's own (its code cannot be written), or the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    file = Path(path)
    recipe = intervention.recipe
    if recipe is None or not intervention.durable or '"kind": "custom"' in json.dumps(recipe.options):
        raise VectorError(
            f"{intervention.method!r} is made of a function or module of your own, whose code no file of ours can hold; make "
            "it again where it is used"
        )
    if file.suffix.lower() != ".safetensors":
        raise VectorError(f"{file}: an intervention is written as .safetensors; give it that suffix")
    if not file.parent.is_dir():
        raise VectorError(f"{file}: cannot be written: the folder {file.parent} does not exist")
    record = {"kind": recipe.kind, "options": recipe.options, "metadata": dict(intervention.metadata)}
    record["layer_convention"] = LAYER_CONVENTION
    try:
        text = json.dumps(record, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise VectorError(f"{file}: the intervention's metadata cannot be written as JSON: {error}") from None
    try:
        # Tensors that are one and the same in memory (one direction for many layers) are written each.
        save_file(
            {name: t.clone() for name, t in recipe.tensors.items()}, str(file), {"format": FORMAT, "intervention": text}
        )
    except (OSError, SafetensorError) as error:
        raise VectorError(f"{file}: cannot be written: {error}") from None


def holds_intervention(path: str | PathLike[str]) -> bool:
    """Whether a file is one that :func:`save_intervention` wrote; a vector's file is not."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file() or Path(path).suffix.lower() != ".safetensors":
        return False
    try:
        with safe_open(str(path), framework="pt") as stored:
            return bool((stored.metadata() or {}).get("format") == FORMAT)
    except (SafetensorError, OSError):
        return False


def load_intervention(path: str | PathLike[str]) -> Intervention:
    """Reads what :func:`save_intervention` wrote. Any other file is read as a steering vector, which is added.

    Raises:
        VectorError: an unknown kind or unusable values; for other files see ``SteeringVector.load``.
    """
    from safetensors import SafetensorError, safe_open

    file = Path(path)
    if not holds_intervention(file):
        return add(SteeringVector.load(file))
    try:
        with safe_open(str(file), framework="pt") as stored:
            info = stored.metadata() or {}
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise VectorError(f"{file}: is not a readable safetensors file: {error}") from None
    try:
        record = json.loads(info.get("intervention", ""))
        recipe = Recipe(record["kind"], record["options"], tensors)
        metadata = dict(record["metadata"])
        convention = record["layer_convention"]
    except (ValueError, KeyError, TypeError) as error:
        raise VectorError(f"{file}: its record is not what save_intervention writes: {error!r}") from None
    if convention != LAYER_CONVENTION:
        raise VectorError(f"{file}: counts layers as {convention!r}; this version reads {LAYER_CONVENTION!r}")
    try:
        made = make(recipe)
    except VectorError as error:
        raise VectorError(f"{file}: {error}") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise VectorError(f"{file}: lacks what an intervention of the kind {recipe.kind!r} is made of: {error!r}") from None
    object.__setattr__(made, "metadata", metadata)
    name = str(metadata.get("method", "add")) if recipe.kind == "add" else method_name(recipe.kind, metadata)
    object.__setattr__(made, "method", name)
    if made.vector is not None:
        object.__setattr__(made, "vector", SteeringVector(made.vector.directions, metadata))
    return made


def make(recipe: Recipe) -> Intervention:
    """The intervention that a recipe describes.

    Raises:
        VectorError: an unknown kind, or tensors that cannot be used.
    """
    if recipe.kind not in _MAKERS:
        raise VectorError(f"an intervention of the unknown kind {recipe.kind!r}; known: {', '.join(_MAKERS)}")
    return _MAKERS[recipe.kind](recipe)


def _affine(recipe: Recipe) -> Intervention:
    return affine(recipe.per_layer("weight"), recipe.per_layer("bias"), site=recipe.options["site"])


def _clamp(recipe: Recipe) -> Intervention:
    values = {layer: float(value) for layer, value in recipe.per_layer("value").items()}
    return clamp(recipe.per_layer("direction"), value=values, site=recipe.options["site"])


def _condition(recipe: Recipe) -> Intervention:
    options = {key: recipe.options[key] for key in ("threshold", "fires", "include_first")}
    return gated_by_condition(make(recipe.inside("inner")), recipe.per_layer("condition"), **options)


def _probe(recipe: Recipe) -> Intervention:
    biases = {layer: float(bias) for layer, bias in recipe.per_layer("bias").items()}
    return gated_by_probe(make(recipe.inside("inner")), recipe.per_layer("weight"), biases)


def _masked(recipe: Recipe) -> Intervention:
    masks: dict[int, torch.Tensor] = recipe.per_layer("mask")
    return with_masks(masks, recipe.options["site"])


_MAKERS: dict[str, Callable[[Recipe], Intervention]] = {
    "add": lambda recipe: add(SteeringVector(recipe.per_layer("direction")), site=recipe.options["site"]),
    "add_keeping_norm": lambda recipe: add_keeping_norm(recipe.per_layer("direction"), site=recipe.options["site"]),
    "ablate": lambda recipe: ablate(recipe.per_layer("direction"), **recipe.options),
    "clamp": _clamp,
    "affine": _affine,
    "rotate": lambda recipe: rotate(recipe.per_layer("plane"), **recipe.options),
    "masked": _masked,
    "gated_by_condition": _condition,
    "gated_by_probe": _probe,
}
