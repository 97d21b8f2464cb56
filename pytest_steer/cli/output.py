"""What commands print and write: lines, warnings, progress and colours on a terminal, and files."""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from ..core.columns import stream_columns, visible, wrapped
from ..core.errors import DataError, SteerWarning
from ..core.file_formats import write_whole
from ..core.finding import warning


def say(text: str = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a line. Control characters in it are shown, so the terminal does not obey them."""
    click.echo(visible(text), err=err, nl=nl)


class Warnings:
    """Prints each warning once on stderr, and keeps all of them in ``said`` for the record."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def __call__(self, *texts: str) -> None:
        for text in texts:
            if text not in self.said:
                self.said.append(text)
                clear_line(sys.stderr)
                say(wrapped(visible(warning(text)), stream_columns(sys.stderr)), err=True)


@contextmanager
def measuring() -> Iterator[Warnings]:
    """Show our warnings and hide those of libraries while the body runs; clear the progress line at the end."""
    warn = Warnings()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        warn(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", SteerWarning)
        warnings.showwarning = show
        try:
            yield warn
        finally:
            clear_line(sys.stderr)


def progress_line(stream: TextIO) -> Callable[[str], None] | None:
    """A function that shows progress on one line of a terminal; None if the stream is no terminal."""
    if not stream.isatty():
        return None

    def show(text: str) -> None:
        stream.write(f"\r\x1b[K{visible(text)[:100]}")
        stream.flush()

    return show


def clear_line(stream: TextIO) -> None:
    """Clear the progress line."""
    if stream.isatty():
        stream.write("\r\x1b[K")


def colours() -> bool | None:
    """The ``color`` of ``click.echo``: colours on terminals, but never with NO_COLOR (https://no-color.org) or on a dumb terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def say_json(content: Any) -> None:
    """Print an object as JSON."""
    say(_json(content))


def write_json(path: Path, content: Any) -> None:
    """:func:`write_text` of an object as JSON."""
    write_text(path, _json(content) + "\n")


def _json(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1, allow_nan=False)


def write_text(path: Path, content: str) -> None:
    """:func:`write_bytes` of a text. Half a character, which JSON and a model can hold, is written as its escape."""
    write_bytes(path, content.encode(errors="backslashreplace"))


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, as a whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    try:
        write_whole(path, content)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from None
