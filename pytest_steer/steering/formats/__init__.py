"""The files that steering vectors come in. Nothing in a file is ever run: see each reader for what it refuses.

One module per format. A reader returns what the file says (:class:`~.found.Found`): directions by layer, or one direction
whose layer it does not say, and the conventions that were assumed. ``docs/vectors.md`` has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from ...errors import VectorError
from ..vector import SteeringVector
from . import gguf_file, safetensors_file, svec_file, torch_file
from .found import Found, place

_READERS: dict[str, Callable[[Path], Found]] = {
    ".safetensors": safetensors_file.read,
    ".gguf": gguf_file.read,
    ".pt": torch_file.read,
    ".pth": torch_file.read,
    ".svec": svec_file.read,
}
_WRITERS: dict[str, Callable[[SteeringVector, Path], None]] = {
    ".safetensors": safetensors_file.write,
    ".gguf": gguf_file.write,
}


def read_vector(path: Path, layer: int | Iterable[int] | None) -> Found:
    """What a file, or a folder of per-layer ``.pt`` files, holds at the layers that are asked for.

    Raises:
        VectorError: no such file, another format, damaged, or ``layer`` does not settle what the file leaves open.
    """
    wanted = _layers(layer)
    if path.is_dir():
        return place(torch_file.read_folder(path, wanted), wanted, path)
    if not path.is_file():
        raise VectorError(f"{path}: no such file")
    suffix, content = path.suffix.lower(), _content(path)
    if suffix in _READERS and content is not None and _READERS[content] is not _READERS[suffix]:
        raise VectorError(
            f"{path}: is not a readable {suffix[1:]} file: its content is that of a {content} file. Give it the suffix {content}"
        )
    reader = _READERS.get(suffix if suffix in _READERS else content or "")
    if reader is None:
        raise VectorError(
            f"{path}: a steering vector is read from {', '.join(_READERS)}, or from a folder of per-layer .pt files. A tensor "
            "of yours becomes such a file by SteeringVector({layer: tensor}).save('vector.safetensors')"
        )
    return place(reader(path), wanted, path)


def write_vector(vector: SteeringVector, path: Path) -> None:
    """Writes ``vector`` in the format of the path's suffix.

    Raises:
        VectorError: another suffix, the format cannot hold the vector, or the file cannot be written.
    """
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        raise VectorError(f"{path}: a vector is written as {' or '.join(_WRITERS)}; give it that suffix")
    if not path.parent.is_dir():
        raise VectorError(f"{path}: cannot be written: the folder {path.parent} does not exist")
    writer(vector, path)


def _content(path: Path) -> str | None:
    """The suffix that fits the first bytes, where these say it."""
    try:
        with path.open("rb") as opened:
            start = opened.read(4)
    except OSError as error:
        raise VectorError(f"{path}: cannot be read: {error}") from None
    return {b"GGUF": ".gguf", b"PK\x03\x04": ".pt"}.get(start)


def _layers(layer: int | Iterable[int] | None) -> tuple[int, ...] | None:
    if layer is None:
        return None
    wanted: tuple[int, ...] = (layer,) if isinstance(layer, int) else tuple(layer)
    if not wanted:
        raise VectorError("layer is a decoder block's number or several of them, and this is none")
    for one in wanted:
        if isinstance(one, bool) or not isinstance(one, int) or one < 0:
            raise VectorError(f"a layer is a decoder block's number, from 0 on; not {one!r}")
    return wanted
