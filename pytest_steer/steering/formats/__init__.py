"""The files that steering vectors come in. Nothing in a file is ever run: see each reader for what it refuses.

One module per format, which registers its reader. A reader returns what the file says (:class:`~.kinds.Stored`): directions by
layer, or one direction whose layer it does not say, and the conventions that were assumed. ``docs/vectors.md`` has the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from ...core import registry
from ...core.errors import VectorError
from ...core.file_formats import FileFormat, format_of, reading, suffixes_of
from ...core.registry import discover
from ..directions import Directions
from .kinds import Layer, Stored, check_rows, numbered, place, source, vector_format, wanted_layers
from .torch_file import read_folder

__all__ = ["Stored", "read_vector", "source", "vector_format", "write_vector"]

discover(__name__, __path__)


def read_vector(
    path: Path, layer: Layer, rows: str | None = None, settings: Mapping[str, object] = MappingProxyType({})
) -> Stored:
    """What a file, or a folder of per-layer ``.pt`` files, holds at the layers that are asked for.

    Args:
        layer: a block, several, or "all" (as None: all that the file has).
        rows: ``blocks`` or ``hidden_states``, what the rows of a stack are.
        settings: of the format.

    Raises:
        VectorError: no such file, another format, damaged, or ``layer`` does not settle what the file leaves open.
    """
    wanted, said = wanted_layers(layer), check_rows(rows)
    if path.is_dir():
        if settings:
            raise VectorError(f"{path}: is a folder, which takes no {next(iter(settings))!r}: delete it")
        with reading(path, "folder", VectorError):
            return place(numbered(read_folder(path, wanted), said), wanted)
    if not path.is_file():
        raise VectorError(f"{path}: no such file")
    found = _format_of(path)
    home = registry.home_of("vector format", found.name)
    with reading(path, found.name, VectorError, home=home):
        found.check_settings(settings)
        stored = found.function(path, **settings)
        if not isinstance(stored, Stored):
            raise VectorError(f"the vector format {found.name!r} of {home} gave {type(stored).__name__}, not Stored")
        return place(numbered(stored, said), wanted)


def write_vector(directions: Directions, metadata: Mapping[str, object], path: Path) -> None:
    """Write a vector in the format of the path's suffix.

    Raises:
        VectorError: another suffix, the format cannot hold the vector, or the file cannot be written.
    """
    known = format_of("vector format", path)
    if known is None or known.write is None:
        written = [s for found in registry.things("vector format").values() if found.write for s in found.suffixes]
        raise VectorError(f"{path}: a vector is written as {' or '.join(written)}; give it that suffix")
    if not path.parent.is_dir():
        raise VectorError(f"{path}: cannot be written: the folder {path.parent} does not exist")
    try:
        known.write(directions, metadata, path)
    except VectorError as error:
        raise VectorError(f"{path}: {error}") from None
    except OSError as error:
        raise VectorError(f"{path}: cannot be written: {error}") from None


def _format_of(path: Path) -> FileFormat:
    """The format of a file by its suffix, or by its first bytes where the suffix says nothing."""
    known = format_of("vector format", path)
    try:
        with path.open("rb") as opened:
            start = opened.read(512)
    except OSError as error:
        raise VectorError(f"{path}: cannot be read: {error}") from None
    fitting = [one for one in registry.things("vector format").values() if one.recognises and one.recognises(start)]
    if known is None and not fitting:
        raise VectorError(
            f"{path}: a steering vector is read from {', '.join(suffixes_of('vector format'))}, or from a folder of per-layer .pt "
            "files. Make such a file of a tensor: SteeringVector({layer: tensor}).save('vector.safetensors')"
        )
    # A format of others may be made of one of ours, such as an archive with a suffix of its own.
    is_ours = known is not None and registry.home_of("vector format", known.name).startswith(f"{__name__}.")
    if known is not None and fitting and known not in fitting and (known.recognises is not None or is_ours):
        right = fitting[0].suffixes[0]
        raise VectorError(
            f"{path}: is not a readable {known.name} file: its content is that of a {right} file. Give it the suffix {right}"
        )
    return known or fitting[0]
