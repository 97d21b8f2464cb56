"""Interventions as safetensors files: kind and options as JSON in the metadata, and the tensors. Nothing is pickled."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path

from ..core.errors import VectorError
from ..core.file_formats import reading
from .directions import LAYER_CONVENTION
from .intervention import Intervention
from .interventions.additive import add
from .kinds import restored
from .recipe import Recipe
from .vector import SteeringVector

FORMAT = "pytest-steer/intervention/1"


def save_intervention(intervention: Intervention, path: str | PathLike[str]) -> None:
    """Write an intervention to a safetensors file, from which :func:`load_intervention` makes one of the same hash.

    Raises:
        VectorError: a custom function or module (its code cannot be written), or the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    file = Path(path)
    recipe = intervention.recipe
    if recipe is None or recipe.core.kind == "custom":
        raise VectorError(
            f"{intervention.method!r} is a custom function or module, and a file cannot hold its code. Register what makes it with "
            "@intervention, or make it again where it is used"
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
        # A tensor that several layers share in memory is written once per layer.
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
    """Read a file of :func:`save_intervention`. Any other file is read as a steering vector, which is added.

    Raises:
        VectorError: an unknown kind or unusable values; for other files see ``SteeringVector.load``.
    """
    from safetensors import safe_open

    file = Path(path)
    if not holds_intervention(file):
        return add(SteeringVector.load(file))
    with reading(file, "intervention", VectorError):
        with safe_open(str(file), framework="pt") as stored:
            record = json.loads(stored.metadata()["intervention"])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - not a mapping
        if record["layer_convention"] != LAYER_CONVENTION:
            raise VectorError(f"counts layers as {record['layer_convention']!r}; this version reads {LAYER_CONVENTION!r}")
        return restored(Recipe(record["kind"], record["options"], tensors), dict(record["metadata"]))
