"""The text of a file, for formats that are text."""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError


def read_text(file: Path) -> str:
    """The content of a text file.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})") from None
