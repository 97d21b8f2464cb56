"""The header of a GGUF file, read with every claimed size held against the file.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3, little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import VectorError

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_DEEPEST = 4
_SMALLEST_VALUE, _SMALLEST_TENSOR = 13, 24  # bytes of a key-value pair and of a tensor's entry, at least


@dataclass(frozen=True)
class TensorInfo:
    """Attributes: shape as stored (the fastest axis first), ggml type, offset from the start of the data."""

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True)
class Header:
    """Attributes: key-value pairs (arrays are skipped, their value is None), tensors, where the data starts."""

    values: dict[str, Any]
    tensors: tuple[TensorInfo, ...]
    alignment: int
    data_start: int


def read_header(data: Any, file: Path) -> Header:
    """The header of ``data``, a buffer with the whole file.

    Raises:
        VectorError: not a GGUF file of a known version, cut off, or it contradicts itself.
    """
    cursor = _Cursor(data, file)
    if cursor.take(4) != b"GGUF":
        raise VectorError(f"{file}: is not a readable GGUF file: it does not start with GGUF")
    version = cursor.number("I")
    if version not in (2, 3):
        swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
        what = "is a big-endian GGUF file" if swapped in (2, 3) else f"is GGUF version {version}"
        raise VectorError(
            f"{file}: {what}; versions 2 and 3 are read, little-endian. Write it again with a current gguf package"
        )
    n_tensors, n_values = cursor.number("Q"), cursor.number("Q")
    cursor.expect(n_values * _SMALLEST_VALUE + n_tensors * _SMALLEST_TENSOR, f"{n_values} values and {n_tensors} tensors")
    values: dict[str, Any] = {}
    for _ in range(n_values):
        key = cursor.text()
        if key in values:
            raise VectorError(f"{file}: has the key {key!r} twice: a damaged file")
        values[key] = cursor.value(cursor.number("I"), _DEEPEST)
    tensors = tuple(_tensor(cursor) for _ in range(n_tensors))
    alignment = values.get("general.alignment", 32)
    if isinstance(alignment, bool) or not isinstance(alignment, int) or alignment < 1 or alignment & (alignment - 1):
        raise VectorError(f"{file}: general.alignment is {alignment!r}, not a power of two: a damaged file")
    return Header(values, tensors, alignment, cursor.at + -cursor.at % alignment)


def _tensor(cursor: _Cursor) -> TensorInfo:
    name, n_axes = cursor.text(), cursor.number("I")
    cursor.expect(8 * n_axes, f"{n_axes} axes of {name!r}")
    shape = tuple(cursor.number("Q") for _ in range(n_axes))
    return TensorInfo(name, shape, cursor.number("I"), cursor.number("Q"))


class _Cursor:
    """Reads on from ``at`` and never behind the end."""

    def __init__(self, data: Any, file: Path) -> None:
        self.data, self.file, self.at = data, file, 0

    def expect(self, size: int, what: str) -> None:
        if size > len(self.data) - self.at:
            raise VectorError(
                f"{self.file}: claims {what} at byte {self.at}, but the file has {len(self.data)} bytes: it is cut off or damaged. "
                "Take a whole copy"
            )

    def take(self, size: int) -> bytes:
        self.expect(size, f"{size} bytes")
        self.at += size
        return bytes(self.data[self.at - size : self.at])

    def number(self, code: str) -> Any:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def text(self) -> str:
        stored = self.take(self.number("Q"))
        try:
            return stored.decode()
        except UnicodeDecodeError:
            raise VectorError(f"{self.file}: the text that ends at byte {self.at} is not UTF-8: a damaged file") from None

    def value(self, type: int, deepest: int) -> Any:
        if type in _SCALARS:
            return self.number(_SCALARS[type])
        if type == _STRING:
            return self.text()
        if type != _ARRAY or not deepest:
            raise VectorError(f"{self.file}: has a value of the unknown type {type} before byte {self.at}: a damaged file")
        inner, count = self.number("I"), self.number("Q")
        if inner in _SCALARS:
            size = count * struct.calcsize(f"<{_SCALARS[inner]}")
            self.expect(size, f"{count} numbers")
            self.at += size
            return None
        self.expect(8 * count, f"{count} texts or lists")
        for _ in range(count):
            self.value(inner, deepest - 1)
        return None
