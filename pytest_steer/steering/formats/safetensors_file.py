"""Safetensors: our own file, and those of others.

Ours has tensors ``layer.N`` (float32, [width]), the record as JSON in the metadata, and a checksum of both. In others' files the
names of the tensors say the layers (``names.py``), or there is a single tensor, [width] or [layers, width].

The bytes are written here rather than by the safetensors package, which orders metadata at random: the same vector is
then the same file. The layout is the package's (https://github.com/huggingface/safetensors, "Format"): the header's length as
8 bytes little-endian, the header as JSON padded with spaces to 8 bytes, the tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ...errors import VectorError
from ..directions import LAYER_CONVENTION, Directions, checked_directions, hash_of, norms_of
from .found import Found, checked, layer_number
from .names import by_names
from .placing import restored

FORMAT = "pytest-steer/vector/1"
_INTERVENTION = "pytest-steer/intervention/"


def record_text(directions: Directions, metadata: Mapping[str, Any], file: Path) -> str:
    """The vector's metadata as JSON, with how layers are counted and the norms for people who read the file.

    Raises:
        VectorError: JSON cannot hold the metadata.
    """
    record = {**metadata, "layer_convention": LAYER_CONVENTION, "norms": norms_of(directions)}
    try:
        return json.dumps(record, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise VectorError(f"{file}: the vector's metadata cannot be written as JSON: {error}") from None


def read_record(text: str, file: Path) -> dict[str, Any]:
    """The metadata that ``record_text`` wrote.

    Raises:
        VectorError: not a JSON object, or it counts layers in another way.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VectorError(f"{file}: its record is not valid JSON: {error}") from None
    if not isinstance(record, dict):
        raise VectorError(f"{file}: its record is not a JSON object")
    convention = record.pop("layer_convention", LAYER_CONVENTION)
    if convention != LAYER_CONVENTION:
        raise VectorError(f"{file}: counts layers as {convention!r}; this version reads {LAYER_CONVENTION!r}")
    record.pop("norms", None)
    return record


def checksum(directions: Directions, record: str) -> str:
    """SHA-256 over layers, values and the record as written."""
    return hashlib.sha256(f"{hash_of(directions)}\n{record}".encode()).hexdigest()


def verify(found: Found, record: str, given: str, file: Path) -> None:
    """Holds what was read against the checksum in the file.

    Raises:
        VectorError: they differ, or the values are unusable.
    """
    try:
        directions = checked_directions(found.directions)
    except VectorError as error:
        raise VectorError(f"{file}: {error}") from None
    if checksum(directions, record) != given:
        raise VectorError(
            f"{file}: is damaged, or was changed by another program: its content does not match its checksum. Take a good copy, "
            "or save the vector again"
        )


def write(directions: Directions, metadata: Mapping[str, Any], file: Path) -> None:
    """The same vector and record give the same bytes."""
    record = record_text(directions, metadata, file)
    header: dict[str, Any] = {
        "__metadata__": {"format": FORMAT, "sha256": checksum(directions, record), "steering": record},
    }
    start = 0
    for layer, direction in directions.items():
        size = direction.numel() * 4
        header[f"layer.{layer}"] = {"dtype": "F32", "shape": [direction.numel()], "data_offsets": [start, start + size]}
        start += size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    data = b"".join(direction.numpy().astype("<f4").tobytes() for direction in directions.values())
    try:
        file.write_bytes(len(head).to_bytes(8, "little") + head + data)
    except OSError as error:
        raise VectorError(f"{file}: cannot be written: {error}") from None


def read(file: Path) -> Found:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as opened:
            info = opened.metadata() or {}
            tensors = _Tensors(opened)
            if info.get("format") != FORMAT:
                return _of_others(tensors, info, file)
            content = dict(tensors)
    except (SafetensorError, OSError, ValueError) as error:
        raise VectorError(f"{file}: is not a readable safetensors file: {error}") from None
    directions: dict[int | None, torch.Tensor] = {
        _layer_of(name, file): checked(tensor, file, f"tensor {name}") for name, tensor in content.items()
    }
    record = info.get("steering", "{}")
    found = Found(directions, read_record(record, file))
    if "sha256" in info:  # files of older versions have none
        verify(found, record, info["sha256"], file)
    return restored(found)


class _Tensors(Mapping[str, torch.Tensor]):
    """The tensors of an open file by name, each read when it is asked for."""

    def __init__(self, opened: Any) -> None:
        self._opened, self._names = opened, list(opened.keys())

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor = self._opened.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _of_others(content: Mapping[str, torch.Tensor], info: dict[str, str], file: Path) -> Found:
    if info.get("format", "").startswith(_INTERVENTION):
        raise VectorError(
            f"{file}: holds an intervention, which says itself how it is applied, and no vector: name it under `intervention:` "
            "instead of `vector:` (in Python load_intervention(path))"
        )
    if "sha256" in info or "steering" in info or info.get("format", "").startswith("pytest-steer/"):
        raise VectorError(
            f"{file}: is damaged, or of a later version: SteeringVector.save wrote it, with the format {info.get('format')!r}, and this "
            f"version reads {FORMAT!r}. Take a good copy"
        )
    if not content:
        raise VectorError(
            f"{file}: holds no tensors; expected one per layer, such as 'layer.14', or one [width] or [layers, width]"
        )
    return by_names(content, file, ".safetensors", "tensor")


def _layer_of(name: str, file: Path) -> int:
    prefix, _, number = name.partition(".")
    layer = layer_number(number) if prefix == "layer" else None
    if layer is None:
        raise VectorError(f"{file}: unexpected tensor {name!r}; expected layer.N")
    return layer
