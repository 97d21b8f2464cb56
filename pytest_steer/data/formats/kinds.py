"""Formats of data files: the decorator :func:`data_format`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ...file_formats import format_decorator

Entries = Iterable[tuple[str, Any]]
Reader = TypeVar("Reader", bound=Callable[[Path], Entries])


def data_format(name: str, *, suffixes: Sequence[str]) -> Callable[[Reader], Reader]:
    """Register a function that reads a file as a format of contrast items, texts and pairs of a task.

    The function gets the path, and yields each entry with the words that say where it stands: ``("line 3", {"question": ...})``. An
    entry is a text, a list or a dictionary, as JSON has them. Whatever the function raises becomes an error with the file's name.

    Args:
        suffixes: those of its files, such as ``[".jsonl"]``.

    Raises:
        SteerError: the name or a suffix is taken.
    """
    return format_decorator("data format", name, suffixes)
