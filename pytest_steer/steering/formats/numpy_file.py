"""``.npy`` and ``.npz``, as numpy writes them: nothing in them is unpickled, and every claimed size is compared with the file.

Layout: ``numpy.lib.format``. An ``.npy`` file is a header (type of values, order, shape) and the values; an ``.npz`` file is a zip
archive of these, stored or deflated. Layers: a single array [width] does not say its layer, the rows of [layers, width] are
blocks unless ``rows`` says otherwise, and arrays of an ``.npz`` are named by their layers as tensors of other files are.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ...core.errors import VectorError
from .kinds import Stored, by_names, checked_rows, stacked, vector_format

_MOST_BYTES = 2**30
"""What one array may hold. A stack of all layers of the largest models has some 20 MB; a deflated entry could claim anything."""


def is_npz(start: bytes) -> bool:
    """Whether a file begins as a zip archive whose first entry is an array of numpy."""
    length = int.from_bytes(start[26:28], "little")
    return start.startswith(b"PK\x03\x04") and start[30 : 30 + length].endswith(b".npy")


@vector_format("npy", suffixes=[".npy"], recognises=lambda start: start.startswith(b"\x93NUMPY"))
def read(file: Path) -> Stored:
    """An array of numpy, [width] or [layers, width]."""
    content = file.read_bytes()
    return stacked(checked_rows(_array(io.BytesIO(content), len(content), "the array"), "the array"), ".npy")


@vector_format("npz", suffixes=[".npz"], recognises=is_npz)
def read_archive(file: Path) -> Stored:
    """Arrays of numpy, named by their layers."""
    with zipfile.ZipFile(file) as archive:
        arrays = _arrays(archive)
    if not arrays:
        raise VectorError("holds no arrays; expected {layer: array}, or one array [width] or [layers, width]")
    return by_names(arrays, ".npz", "array")


def _arrays(archive: zipfile.ZipFile) -> dict[str, torch.Tensor]:
    arrays: dict[str, torch.Tensor] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name == entry.filename:
            raise VectorError(f"has the entry {entry.filename[:60]!r}, which is no array as numpy.savez writes it")
        if name in arrays:
            raise VectorError(f"has the array {name!r} twice: a damaged file")
        if entry.comment:  # no checksum covers its length, and a wrong length swallows the next entry
            raise VectorError(f"has a comment on the array {name!r}, which numpy.savez never writes: a damaged file")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise VectorError(f"{entry.filename} is compressed in another way than numpy does. Save it with numpy.savez")
        if entry.file_size > _MOST_BYTES:
            raise VectorError(f"{entry.filename} claims {entry.file_size} bytes, more than any stack of directions has")
        with archive.open(entry) as opened:
            # One byte more than claimed: zipfile compares the checksum where the entry ends.
            content = opened.read(entry.file_size + 1)
        arrays[name] = _array(io.BytesIO(content), len(content), f"array {name!r}")
    return arrays


def _array(data: BinaryIO, size: int, what: str) -> torch.Tensor:
    """The array that ``data`` holds from its start to its end, ``size`` bytes later."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers that Python 2 wrote
        version = np.lib.format.read_magic(data)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read_header(data)
    if dtype.hasobject:
        raise VectorError(
            f"{what} holds Python objects, which would need to be unpickled, and nothing is: a pickle can run any program. "
            "Convert it where you trust it: numpy.save('vector.npy', array.astype('float32'))"
        )
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        also = " (bfloat16 is saved by numpy as raw bytes)" if dtype.kind == "V" else ""
        raise VectorError(
            f"{what} has dtype {dtype}{also}; a direction is float32 (or float16, float64). If it is the right array, convert "
            "it: array.astype('float32')"
        )
    count, here = math.prod(shape), data.tell()
    if count * dtype.itemsize != size - here:
        raise VectorError(
            f"{what} claims {count * dtype.itemsize} bytes of values, and {size - here} are there: it is cut off or damaged. "
            "Take a whole copy"
        )
    values = np.frombuffer(data.read(), dtype=dtype, count=count).reshape(shape, order="F" if fortran else "C")
    return torch.from_numpy(np.array(values, dtype=dtype.newbyteorder("="), order="C"))
