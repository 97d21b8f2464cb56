"""Formats of vector files: the decorator :func:`vector_format`, and what its formats have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ...file_formats import format_decorator
from ..directions import Directions
from .stored import Stored

Reader = TypeVar("Reader", bound=Callable[[Path], Stored])
Writer = Callable[[Directions, Mapping[str, Any], Path], None]


def vector_format(
    name: str,
    *,
    suffixes: Sequence[str],
    recognises: Callable[[bytes], bool] | None = None,
    write: Writer | None = None,
) -> Callable[[Reader], Reader]:
    """Register a function that reads a file as a format of steering vectors.

    The function gets the path and returns what the file says, as :class:`Stored`. Whatever it raises becomes an error with the
    file's name.

    Args:
        suffixes: those of its files, such as ``[".gguf"]``.
        recognises: whether the first 512 bytes of a file are those of this format, for files whose suffix says nothing or the wrong thing.
        write: writes directions and metadata to a path, for ``SteeringVector.save``.

    Raises:
        SteerError: the name or a suffix is taken.
    """
    return format_decorator("vector format", name, suffixes, recognises=recognises, write=write)
