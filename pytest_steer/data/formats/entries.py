"""A data file taken apart into its entries, each with the words that say where it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from ...core import registry
from ...core.errors import DataError
from ...core.file_formats import format_decorator, format_of, reading, suffixes_of
from ...core.registry import did_you_mean
from ...core.sources import BUILTIN_FOLDER
from .shapes import show

Made = TypeVar("Made")
BUILTIN = "builtin:"
"""What the names of shipped data files begin with."""


def file_of(path: str | PathLike[str]) -> Path:
    """The path of a data file. ``builtin:NAME`` is one that is shipped, and ``builtin`` alone the neutral texts.

    Raises:
        DataError: it is something else, or no file of that name is shipped.
    """
    if not isinstance(path, (str, PathLike)):
        raise DataError(f"a data file is named by its path, not by {path!r:.60}")
    return builtin_file(str(path)) if is_builtin(path) else Path(path)


def is_builtin(path: str | PathLike[str], folder: Path = Path()) -> bool:
    """Whether a path names a shipped data file: ``builtin:NAME``, or ``builtin`` where the folder has no file called so."""
    text = str(path)
    return text.startswith(BUILTIN) or (text == "builtin" and not (folder / text).exists())


def full_name(name: str) -> str:
    """The whole name of a shipped data file: ``builtin`` alone stands for the neutral texts."""
    return name if name.startswith(BUILTIN) else f"{BUILTIN}neutral"


def builtin_file(name: str) -> Path:
    """The shipped data file of a name such as ``builtin:neutral``.

    Raises:
        DataError: there is none.
    """
    bare = full_name(name).removeprefix(BUILTIN)
    there = {found.stem: found for found in sorted(BUILTIN_FOLDER.iterdir()) if found.suffix in (".json", ".jsonl")}
    if bare not in there:
        raise DataError(f"there are no shipped data {name!r}: {did_you_mean(bare, there)}")
    return there[bare]


def has_entries(file: Path) -> bool:
    """Whether a data format has the file's suffix. Any other file is plain text."""
    return format_of("data format", file) is not None


def entries(file: Path) -> Iterator[tuple[str, Any]]:
    """Each entry of a file, with where it stands.

    Raises:
        DataError: the file is missing, no data format has its suffix, or it is not valid.
    """
    known = format_of("data format", file)
    if known is None:
        raise DataError(
            f"{file}: no data format has the suffix {file.suffix!r}; use {', '.join(suffixes_of('data format'))}"
        )
    check_is_file(file)
    home = registry.home_of("data format", known.name)
    with reading(file, known.name, DataError, home=home):
        for found in known.function(file):
            if not isinstance(found, tuple) or len(found) != 2:
                raise DataError(
                    f"the data format {known.name!r} of {home} has to yield (where it stands, entry), not {show(found)}"
                )
            yield found


def each_made(
    rows: Iterable[tuple[str, Any]], source: object, make: Callable[[Any, str], Made], what: str = ""
) -> list[Made]:
    """What ``make`` gives for each entry and its number.

    Args:
        source: the file, for messages. what: what it holds, if it has to hold at least one.

    Raises:
        DataError: that of ``make``, with the file and where the entry stands; the file holds nothing.
    """
    found = []
    for number, (where, entry) in enumerate(rows):
        try:
            found.append(make(entry, str(number)))
        except DataError as error:
            raise DataError(f"{source}: {where}: {error}") from None
    if what and not found:
        raise DataError(f"{source}: the file holds no {what}")
    return found


def read_again(reader: str, path: object, columns: Mapping[str, str]) -> str:
    """The Python that reads a file again."""
    return f"{reader}({str(path)!r}{f', columns={columns!r}' if columns else ''})"


def text_lines(file: Path) -> list[str]:
    """The lines of a text file that are not blank, without the spaces around them.

    Raises:
        DataError: the file is missing, or is no text.
    """
    check_is_file(file)
    with reading(file, "text", DataError):
        return [line.strip() for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]


def check_is_file(file: Path) -> None:
    """Refuse a path that is no file.

    Raises:
        DataError: it is missing, or a folder.
    """
    if not file.is_file():
        raise DataError(f"{file}: {'is a folder, not a file' if file.is_dir() else 'no such file'}")


# --- formats register themselves ---

Entries = Iterable[tuple[str, Any]]
Reader = TypeVar("Reader", bound=Callable[[Path], Entries])


def data_format(name: str, *, suffixes: Sequence[str]) -> Callable[[Reader], Reader]:
    """Register a function that reads a file as a format of contrast items, texts and pairs of a task.

    The function gets the path, and yields each entry with the words that say where it stands: ``("line 3", {"question": ...})``. An
    entry is a text, a list or a dictionary, as JSON has them. Whatever the function raises becomes an error with the file's name.

    Args:
        suffixes: those of its files, such as ``[".jsonl"]``. One that is longer than that of another format, such as ``.chat.jsonl``, wins
            over it.

    Raises:
        SteerError: the name or a suffix is taken.
    """
    return format_decorator("data format", name, suffixes)
