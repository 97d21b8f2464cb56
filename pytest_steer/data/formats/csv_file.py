"""Tables as text: CSV with commas, semicolons or tabs."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from ...core.errors import DataError
from .entries import data_format

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_SEP_LINE = re.compile(r"sep=([,;\t])\r?\n")  # the first line of a file that a spreadsheet wrote


@data_format("csv", suffixes=[".csv", ".tsv"])
def read(file: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """A table; its first row names the columns."""
    text = file.read_text(encoding="utf-8-sig")
    said = _SEP_LINE.match(text)
    if said:
        text, separator = text[said.end() :], said[1]
    else:
        separator = "\t" if file.suffix.lower() == ".tsv" else _separator(text)
    above = 1 if said else 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            if not row:
                continue
            where = f"line {reader.line_num + above}"
            if header is None:
                header = _header(row, where)
                continue
            if any(cell.strip() for cell in row[len(header) :]):
                raise DataError(
                    f"{where}: has {len(row)} cells, and the header names {len(header)} columns. Put texts that hold a "
                    f"{_SEPARATORS[separator]} in quotes"
                )
            cells: list[str | None] = [*row[: len(header)], *[None] * (len(header) - len(row))]
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"line {reader.line_num + above}: is not valid CSV: {error}") from None


def _header(row: list[str], where: str) -> list[str]:
    names = [name.strip() for name in row]
    repeated = [name for name in names if name and names.count(name) > 1]
    if repeated:
        raise DataError(f"{where}: the header has the column {repeated[0]!r} twice. Rename one of them")
    return names


def _separator(text: str) -> str:
    """The separator that cuts the header into the most names."""
    header = re.sub(r'"[^"]*"', "", text.lstrip().partition("\n")[0])
    counts = {separator: header.count(separator) for separator in _SEPARATORS}
    most = max(counts.values())
    best = [separator for separator, count in counts.items() if count == most]
    if most == 0:
        return ","
    if len(best) > 1:
        words = " or a ".join(_SEPARATORS[separator] for separator in best)
        raise DataError(f"line 1: a {words} may separate the columns: put the names of the header in quotes")
    return best[0]
