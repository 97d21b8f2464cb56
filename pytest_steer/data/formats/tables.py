"""Tables: CSV with commas, semicolons or tabs, and Parquet."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import DataError

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}
_SEP_LINE = re.compile(r"sep=([,;\t])\r?\n")  # the first line of a file that a spreadsheet wrote


def is_table(file: Path) -> bool:
    """Whether the file's suffix is that of a table."""
    return file.suffix.lower() in {".csv", ".tsv", ".parquet"}


def table_rows(file: Path, text: str) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Each row of a CSV or TSV file under the names of its header; cells that are missing at its end are None.

    Raises:
        DataError: not valid, no telling what separates the columns, a name twice, or more cells than names.
    """
    said = _SEP_LINE.match(text)
    if said:
        text, separator = text[said.end() :], said[1]
    else:
        separator = "\t" if file.suffix.lower() == ".tsv" else _separator(text, file)
    above = 1 if said else 0
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    header: list[str] | None = None
    try:
        for row in reader:
            if not row:
                continue
            where = f"line {reader.line_num + above}"
            if header is None:
                header = _header(row, f"{file}: {where}")
                continue
            if any(cell.strip() for cell in row[len(header) :]):
                raise DataError(
                    f"{file}: {where}: has {len(row)} cells, and the header names {len(header)} columns. Put texts that hold a "
                    f"{_SEPARATORS[separator]} in quotes"
                )
            cells: list[str | None] = [*row[: len(header)], *[None] * (len(header) - len(row))]
            yield where, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise DataError(f"{file}: line {reader.line_num + above}: is not valid CSV: {error}") from None


def _header(row: list[str], where: str) -> list[str]:
    names = [name.strip() for name in row]
    repeated = [name for name in names if name and names.count(name) > 1]
    if repeated:
        raise DataError(f"{where}: the header has the column {repeated[0]!r} twice. Rename one of them")
    return names


def _separator(text: str, file: Path) -> str:
    """The separator that cuts the header into the most names."""
    header = re.sub(r'"[^"]*"', "", text.lstrip().partition("\n")[0])
    counts = {separator: header.count(separator) for separator in _SEPARATORS}
    most = max(counts.values())
    best = [separator for separator, count in counts.items() if count == most]
    if most == 0:
        return ","
    if len(best) > 1:
        words = " or a ".join(_SEPARATORS[separator] for separator in best)
        raise DataError(
            f"{file}: line 1: no telling whether a {words} separates the columns. Put the names of the header in quotes"
        )
    return best[0]


def parquet_rows(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row of a Parquet file, read by pyarrow, which the ``datasets`` package brings.

    Raises:
        DataError: pyarrow is not installed, or the file cannot be read.
    """
    if not file.is_file():
        raise DataError(f"{file}: {'is a folder, not a file' if file.is_dir() else 'no such file'}")
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(
            f"{file}: a Parquet file is read by pyarrow, which is not installed: `pip install pyarrow` (or datasets, which brings it), "
            "or save the data as JSON Lines"
        ) from None
    number = 0
    try:
        for batch in parquet.ParquetFile(str(file)).iter_batches():
            for row in batch.to_pylist():
                yield f"row {number}", row
                number += 1
    except Exception as error:  # pyarrow raises many kinds for damaged files
        what = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise DataError(f"{file}: is not a readable Parquet file: {what}") from None
