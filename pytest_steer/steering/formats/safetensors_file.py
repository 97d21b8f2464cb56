"""Safetensors: our own file, and those of others.

Ours has tensors ``layer.N`` (float32, [width]), the record as JSON in the metadata, and a checksum of both. In others' files the
names of the tensors say the layers (``layers.py``), or there is a single tensor, [width] or [layers, width].

The bytes are written here rather than by the safetensors package, which orders metadata at random: the same vector is
then the same file. The layout is the package's (https://github.com/huggingface/safetensors, "Format"): the header's length as
8 bytes little-endian, the header as JSON padded with spaces to 8 bytes, the tensors.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...core.errors import VectorError
from ...core.evidence import Json
from ...core.file_formats import write_whole
from ..directions import LAYER_CONVENTION, Directions, checked_directions, hash_of, norms_of
from .kinds import Stored, by_names, checked, layer_number, restored, vector_format

FORMAT = "pytest-steer/vector/1"
_INTERVENTION = "pytest-steer/intervention/"


def record_text(directions: Directions, metadata: Mapping[str, object]) -> str:
    """The vector's metadata as JSON, with how layers are counted and the norms for people who read the file.

    Raises:
        VectorError: JSON cannot hold the metadata.
    """
    record = {**metadata, "layer_convention": LAYER_CONVENTION, "norms": norms_of(directions)}
    try:
        return json.dumps(record, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise VectorError(f"the vector's metadata cannot be written as JSON: {error}") from None


def read_record(text: str) -> Json:
    """The metadata that ``record_text`` wrote.

    Raises:
        VectorError: not a JSON object, or it counts layers in another way.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VectorError(f"its record is not valid JSON: {error}") from None
    if not isinstance(record, dict):
        raise VectorError("its record is not a JSON object")
    convention = record.pop("layer_convention", LAYER_CONVENTION)
    if convention != LAYER_CONVENTION:
        raise VectorError(f"counts layers as {convention!r}; this version reads {LAYER_CONVENTION!r}")
    record.pop("norms", None)
    return record


def checksum(directions: Directions, record: str) -> str:
    """SHA-256 over layers, values and the record as written."""
    return hashlib.sha256(f"{hash_of(directions)}\n{record}".encode()).hexdigest()


def stored_by_us(directions: Mapping[int | None, torch.Tensor], record: str, given: str | None) -> Stored:
    """What a file of ours holds.

    Args:
        given: the checksum in the file; files of older versions have none.

    Raises:
        VectorError: the content differs from the checksum, or the values are unusable.
    """
    found = Stored(directions, read_record(record))
    if given is not None and checksum(checked_directions(directions), record) != given:
        raise VectorError(
            "is damaged, or was changed by another program: its content does not match its checksum. Take a good copy, "
            "or save the vector again"
        )
    return restored(found)


def write(directions: Directions, metadata: Mapping[str, object], file: Path) -> None:
    """The same vector and record give the same bytes."""
    record = record_text(directions, metadata)
    header: Json = {"__metadata__": {"format": FORMAT, "sha256": checksum(directions, record), "steering": record}}
    start = 0
    for layer, direction in directions.items():
        size = direction.numel() * 4
        header[f"layer.{layer}"] = {"dtype": "F32", "shape": [direction.numel()], "data_offsets": [start, start + size]}
        start += size
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    data = b"".join(direction.numpy().astype("<f4").tobytes() for direction in directions.values())
    write_whole(file, len(head).to_bytes(8, "little") + head + data)


@vector_format("safetensors", suffixes=[".safetensors"], write=write)
def read(file: Path) -> Stored:
    """Our own files, and tensors of others that are named by their layers."""
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as opened:
        info = opened.metadata() or {}
        if info.get("format") != FORMAT:
            return _of_others(opened, info)
        directions: dict[int | None, torch.Tensor] = {
            _layer_of(name): checked(opened.get_tensor(name), f"tensor {name}")
            for name in opened.keys()  # noqa: SIM118
        }
    return stored_by_us(directions, info.get("steering", "{}"), info.get("sha256"))


def _of_others(opened: Any, info: dict[str, str]) -> Stored:
    if info.get("format", "").startswith(_INTERVENTION):
        raise VectorError(
            "holds an intervention, which says itself how it is applied, and no vector: name it under `intervention:` "
            "instead of `vector:` (in Python load_intervention(path))"
        )
    if "sha256" in info or "steering" in info or info.get("format", "").startswith("pytest-steer/"):
        raise VectorError(
            f"is damaged, or of a later version: SteeringVector.save wrote it, with the format {info.get('format')!r}, and this "
            f"version reads {FORMAT!r}. Take a good copy"
        )
    names = {name: name for name in opened.keys()}  # noqa: SIM118 - not a mapping
    if not names:
        raise VectorError("holds no tensors; expected one per layer, such as 'layer.14', or one [width] or [layers, width]")
    return by_names(names, ".safetensors", "tensor", read=opened.get_tensor)


def _layer_of(name: str) -> int:
    prefix, _, number = name.partition(".")
    layer = layer_number(number) if prefix == "layer" else None
    if layer is None:
        raise VectorError(f"unexpected tensor {name!r}; expected layer.N")
    return layer
