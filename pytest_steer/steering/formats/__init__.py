"""The files that steering vectors come in. Nothing in a file is ever run: see each reader for what it refuses.

One module per format. A reader returns what the file says (:class:`~.found.Found`): directions by layer, or one direction
whose layer it does not say, and the conventions that were assumed. ``docs/vectors.md`` has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ...errors import VectorError
from ..directions import Directions
from . import gguf_file, numpy_file, safetensors_file, svec_file, torch_file
from .found import Found
from .placing import Layer, check_rows, numbered, place, wanted_layers

_READERS: dict[str, Callable[[Path], Found]] = {
    ".safetensors": safetensors_file.read,
    ".gguf": gguf_file.read,
    ".pt": torch_file.read,
    ".pth": torch_file.read,
    ".svec": svec_file.read,
    ".npy": numpy_file.read,
    ".npz": numpy_file.read_archive,
}
_WRITERS: dict[str, Callable[[Directions, Mapping[str, Any], Path], None]] = {
    ".safetensors": safetensors_file.write,
    ".gguf": gguf_file.write,
}


def read_vector(path: Path, layer: Layer, rows: str | None = None) -> Found:
    """What a file, or a folder of per-layer ``.pt`` files, holds at the layers that are asked for.

    Args:
        layer: a block, several, or "all" (as None: all that the file has).
        rows: ``blocks`` or ``hidden_states``, what the rows of a stack are.

    Raises:
        VectorError: no such file, another format, damaged, or ``layer`` does not settle what the file leaves open.
    """
    wanted, said = wanted_layers(layer), check_rows(rows)
    if path.is_dir():
        return place(numbered(torch_file.read_folder(path, wanted), said, path), wanted, path)
    if not path.is_file():
        raise VectorError(f"{path}: no such file")
    suffix, content = path.suffix.lower(), _content(path)
    archives = (".pt", ".pth", ".npz")  # which of them it is shows inside
    if suffix in _READERS and content not in (None, suffix) and not (content == ".pt" and suffix in archives):
        raise VectorError(
            f"{path}: is not a readable {suffix[1:]} file: its content is that of a {content} file. Give it the suffix {content}"
        )
    reader = _READERS.get(suffix if suffix in _READERS else content or "")
    if reader is None:
        raise VectorError(
            f"{path}: a steering vector is read from {', '.join(_READERS)}, or from a folder of per-layer .pt files. A tensor "
            "of yours becomes such a file by SteeringVector({layer: tensor}).save('vector.safetensors')"
        )
    return place(numbered(reader(path), said, path), wanted, path)


def write_vector(directions: Directions, metadata: Mapping[str, Any], path: Path) -> None:
    """Writes a vector in the format of the path's suffix.

    Raises:
        VectorError: another suffix, the format cannot hold the vector, or the file cannot be written.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise VectorError(f"{path}: a vector is written as {' or '.join(_WRITERS)}; give it that suffix")
    if not path.parent.is_dir():
        raise VectorError(f"{path}: cannot be written: the folder {path.parent} does not exist")
    writer(directions, metadata, path)


def _content(path: Path) -> str | None:
    """The suffix that fits the first bytes, where these say it."""
    try:
        with path.open("rb") as opened:
            start = opened.read(4)
    except OSError as error:
        raise VectorError(f"{path}: cannot be read: {error}") from None
    return {b"GGUF": ".gguf", b"PK\x03\x04": ".pt", b"\x93NUM": ".npy"}.get(start)
