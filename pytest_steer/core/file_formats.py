"""Formats of files: vectors, data and reports. A format is one registered function and the suffixes of its files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from . import registry
from .errors import SteerError
from .parameters import Keywords, Schema, check_takes, keywords_of

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class FileFormat:
    """One format of files.

    Attributes:
        name: its name in messages and in ``pytest-steer list``.
        suffixes: the suffixes of its files, with the dot and in lower case. Of several that end a name the longest says the format.
        function: reads a file; of a report it makes the file's content.
        recognises: whether the first bytes of a file are those of this format; None where bytes do not tell.
        write: writes a file; None for formats that are read only, and for reports.
        settings, required: the keywords of the function of a vector format; see :class:`~pytest_steer.core.parameters.Keywords`.
    """

    name: str
    suffixes: tuple[str, ...]
    function: Callable[..., Any]
    recognises: Callable[[bytes], bool] | None = None
    write: Callable[..., None] | None = None
    settings: dict[str, Schema] = field(default_factory=dict)
    required: list[str] = field(default_factory=list)

    @property
    def about(self) -> str:
        """The docstring of its function."""
        return self.function.__doc__ or ""

    def check_settings(self, given: Mapping[str, object]) -> None:
        """Refuse settings that the format does not have, values that they cannot have, and a missing one.

        Raises:
            SteerError: the first of them.
        """
        from .validation import check_values  # loads jsonschema

        what = f"the format {self.name!r}"
        check_values(what, given, self.settings, required=self.required)
        for name in self.required:
            if name not in given:
                about, examples = self.settings[name]["description"], self.settings[name].get("examples", ["..."])
                raise SteerError(
                    f"{what} needs {name!r}. {about} Write `{name}: {examples[0]}` beside `file` (in Python {name}={examples[0]!r})"
                )


# Keys next to ``file`` in a claim file, whatever the format.
_TAKEN = (
    "file", "extract", "layer", "rows", "positions", "include_first", "allow_mismatch", "kind", "site", "condition", "multiplier",
    "multipliers",
)  # fmt: skip


def format_decorator(kind: str, name: str, suffixes: Sequence[str], **more: Any) -> Callable[[Function], Function]:
    """Make the decorator that registers a function as a format.

    Args:
        kind: ``vector format``, ``data format`` or ``report format``.
        more: further fields of :class:`FileFormat`.

    Raises:
        SteerError: the name or a suffix is taken, or a suffix is not one.
    """

    def decorate(function: Function) -> Function:
        home = function.__module__
        if isinstance(suffixes, str) or not suffixes:
            raise SteerError(f"{home}: the {kind} {name!r} needs a list of suffixes, such as suffixes=['.{name}']")
        check_takes(function, ("report" if kind == "report format" else "path",), f"the {kind} {name!r}")
        own = Keywords({}, [], frozenset())
        if kind == "vector format":
            own = keywords_of(function, positional=("path",), fillable=(), taken=_TAKEN)
        for suffix in suffixes:
            if not suffix.startswith(".") or suffix != suffix.lower():
                raise SteerError(f"{home}: {suffix!r} is no suffix of a {kind}: write it in lower case, with its dot")
            taken = _by_suffix(kind).get(suffix)
            if taken is not None and taken.name != name:
                raise SteerError(
                    f"{home}: the suffix {suffix} already belongs to the {kind} {taken.name!r}, which "
                    f"{registry.home_of(kind, taken.name)} registers: choose another suffix, such as .{name}{suffix}"
                )
        made = FileFormat(name, tuple(suffixes), function, settings=own.settings, required=own.required, **more)
        registry.register(kind, name, made, home=home)
        return function

    return decorate


def format_of(kind: str, path: Path) -> FileFormat | None:
    """The format of a file by the longest registered suffix of its name, or None.

    Extensions are loaded if no known format fits, or if the name has several suffixes.
    """
    if path.suffix.lower() not in _by_suffix(kind) or len(path.suffixes) > 1:
        registry.load_extensions()
    name = path.name.lower()
    known = {suffix: found for suffix, found in _by_suffix(kind).items() if name.endswith(suffix)}
    return known[max(known, key=len)] if known else None


def suffixes_of(kind: str) -> list[str]:
    """All suffixes of the registered formats."""
    return list(_by_suffix(kind))


def _by_suffix(kind: str) -> dict[str, FileFormat]:
    return {suffix: found for found in registry.things(kind).values() for suffix in found.suffixes}


@contextmanager
def reading(file: Path, name: str, error: type[SteerError], *, home: str = "") -> Iterator[None]:
    """Raise every error of a reader as ``error``, with the file's name before it.

    Args:
        name: the format. home: the module that registers it; readers of other packages are named, since the fault may be theirs.
    """
    try:
        yield
    except SteerError as known:
        raise error(f"{file}: {known}") from None
    except (Exception, SystemExit) as other:  # libraries and the readers of others raise nearly anything on a damaged file
        what = " ".join([f"{type(other).__name__}:", *str(other).strip().splitlines()[:1]])[:200].rstrip(".")
        if home and not home.startswith("pytest_steer."):
            raise error(f"{file}: the format {name!r} of {home} cannot read it: {what}") from other
        raise error(f"{file}: is not a readable {name} file, damaged or cut off: {what}. Take a good copy") from None


def write_whole(path: Path, data: bytes) -> None:
    """Write a file next to its place, then move it there in one step. Devices and pipes are written directly.

    Raises:
        OSError: it cannot be written; a file that was there before is untouched.
    """
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return
    file = Path(os.path.realpath(path))  # a link stays one
    handle, work = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.chmod(work, 0o644)
        os.replace(work, file)
    except BaseException:
        os.unlink(work)
        raise
