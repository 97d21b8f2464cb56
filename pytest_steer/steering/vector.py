"""Steering vectors: one direction per layer, with a record of where they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from ..errors import VectorError

FORMAT = "pytest-steer/vector/1"
LAYER_CONVENTION = "output of decoder block, 0-based"


@dataclass(frozen=True, eq=False)
class SteeringVector:
    """A direction for the output of one or several decoder blocks.

    Attributes:
        directions: {layer: float32 tensor of shape [width]}; layer is the 0-based decoder block whose output is changed.
        metadata: where it comes from: ``method``, ``model`` (id), ``model_fingerprint``, ``template_hash``,
            ``data_hash``, ``n``, ``readout``. A vector built by hand may have none.

    Raises:
        VectorError: no layer, a negative layer, not one-dimensional, NaN or infinite, all zeros, or widths differ.
    """

    directions: Mapping[int, torch.Tensor]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.directions:
            raise VectorError("a steering vector needs a direction for at least one layer")
        clean = {}
        for layer, direction in sorted(self.directions.items()):
            if isinstance(layer, bool) or not isinstance(layer, int) or layer < 0:
                raise VectorError(f"a layer is a decoder block's number, from 0 on; not {layer!r}")
            direction = torch.as_tensor(direction).detach().to("cpu", torch.float32).clone()
            if direction.ndim != 1:
                raise VectorError(f"layer {layer}: a direction has shape [width], not {list(direction.shape)}")
            bad = int((~torch.isfinite(direction)).sum())
            if bad:
                raise VectorError(f"layer {layer}: {bad} of {direction.numel()} values are NaN or infinite")
            if not direction.any():
                raise VectorError(f"layer {layer}: every value is 0, so nothing would be steered")
            clean[layer] = direction
        widths = {layer: d.numel() for layer, d in clean.items()}
        if len(set(widths.values())) > 1:
            raise VectorError(f"the directions have different widths: {widths}")
        object.__setattr__(self, "directions", clean)
        object.__setattr__(self, "metadata", dict(self.metadata))

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.directions)

    @property
    def width(self) -> int:
        return next(iter(self.directions.values())).numel()

    @property
    def norms(self) -> dict[int, float]:
        """Euclidean length of the direction at each layer."""
        return {layer: float(direction.norm()) for layer, direction in self.directions.items()}

    @property
    def hash(self) -> str:
        """SHA-256 of layers and float32 values; metadata does not count."""
        digest = hashlib.sha256()
        for layer, direction in self.directions.items():
            digest.update(f"{layer}:".encode() + direction.numpy().tobytes())
        return digest.hexdigest()

    def __repr__(self) -> str:
        norms = ", ".join(f"{layer}: norm {norm:.3g}" for layer, norm in self.norms.items())
        return f"<SteeringVector {self.metadata.get('method', 'by hand')}, width {self.width}, {{{norms}}}>"

    def at(self, layers: int | Iterable[int]) -> SteeringVector:
        """The same vector at some of its layers only.

        Raises:
            VectorError: it has no direction there.
        """
        wanted = (layers,) if isinstance(layers, int) else tuple(layers)
        missing = [layer for layer in wanted if layer not in self.directions]
        if missing:
            raise VectorError(f"the vector has no direction for layer {missing[0]}; it has {list(self.layers)}")
        return SteeringVector({layer: self.directions[layer] for layer in wanted}, self.metadata)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes a safetensors file: tensors ``layer.N`` and the record as JSON in its metadata.

        Raises:
            VectorError: the file cannot be written.
        """
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        file = Path(path)
        if file.suffix.lower() != ".safetensors":
            raise VectorError(f"{file}: a vector is written as .safetensors; give it that suffix")
        if not file.parent.is_dir():
            raise VectorError(f"{file}: cannot be written: the folder {file.parent} does not exist")
        record = {**self.metadata, "layer_convention": LAYER_CONVENTION, "norms": self.norms}
        try:
            text = json.dumps(record, sort_keys=True)
        except (TypeError, ValueError) as error:
            raise VectorError(f"{path}: the vector's metadata cannot be written as JSON: {error}") from None
        try:
            save_file(
                {f"layer.{layer}": direction for layer, direction in self.directions.items()},
                str(path),
                metadata={"format": FORMAT, "steering": text},
            )
        except (OSError, SafetensorError) as error:
            raise VectorError(f"{path}: cannot be written: {error}") from None

    @classmethod
    def load(cls, path: str | PathLike[str]) -> SteeringVector:
        """Reads what ``save`` wrote.

        Raises:
            VectorError: no such file, not a safetensors file of ours, or its values are unusable.
        """
        from safetensors import SafetensorError, safe_open

        file = Path(path)
        if not file.is_file():
            raise VectorError(f"{file}: no such file")
        if file.suffix.lower() != ".safetensors":
            raise VectorError(f"{file}: expected a .safetensors file as written by SteeringVector.save")
        try:
            with safe_open(str(file), framework="pt") as tensors:
                info = tensors.metadata() or {}
                names = list(tensors.keys())
                if info.get("format") != FORMAT:
                    raise VectorError(
                        f"{file}: not written by SteeringVector.save (format {info.get('format')!r}, tensors {names[:3]}). A "
                        "tensor of yours becomes such a file by SteeringVector({layer: tensor}).save(path)"
                    )
                directions = {_layer_of(name, file): tensors.get_tensor(name) for name in names}
        except (SafetensorError, OSError) as error:
            raise VectorError(f"{file}: is not a readable safetensors file: {error}") from None
        try:
            record = json.loads(info.get("steering", "{}"))
        except ValueError as error:
            raise VectorError(f"{file}: its record is not valid JSON: {error}") from None
        if not isinstance(record, dict):
            raise VectorError(f"{file}: its record is not a JSON object")
        convention = record.pop("layer_convention", LAYER_CONVENTION)
        if convention != LAYER_CONVENTION:
            raise VectorError(f"{file}: counts layers as {convention!r}; this version reads {LAYER_CONVENTION!r}")
        record.pop("norms", None)
        try:
            return cls(directions, record)
        except VectorError as error:
            raise VectorError(f"{file}: {error}") from None


def _layer_of(name: str, file: Path) -> int:
    prefix, _, number = name.partition(".")
    if prefix != "layer" or not (number.isascii() and number.isdigit() and str(int(number)) == number):
        raise VectorError(f"{file}: unexpected tensor {name!r}; expected layer.N")
    return int(number)
