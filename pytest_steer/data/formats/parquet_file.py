"""Parquet, read by pyarrow, which the ``datasets`` package brings."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...core.errors import DataError
from ...core.evidence import Json
from .entries import data_format


@data_format("parquet", suffixes=[".parquet"])
def read(file: Path) -> Iterator[tuple[str, Json]]:
    """A table of pyarrow."""
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise DataError(
            "a Parquet file is read by pyarrow, which is not installed: `pip install pyarrow` (or datasets, which brings it), or save "
            "the data as JSON Lines"
        ) from None
    number = 0
    for batch in parquet.ParquetFile(str(file)).iter_batches():
        for row in batch.to_pylist():
            yield f"row {number}", row
            number += 1
