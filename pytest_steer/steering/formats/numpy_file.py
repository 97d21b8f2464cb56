"""``.npy`` and ``.npz``, as numpy writes them: nothing in them is unpickled, and every claimed size is held against the file.

Layout: ``numpy.lib.format``. An ``.npy`` file is a header (type of values, order, shape) and the values; an ``.npz`` file is a zip
archive of these, stored or deflated. Layers: a single array [width] does not say its layer, the rows of [layers, width] are
blocks unless ``rows`` says otherwise, and arrays of an ``.npz`` are named by their layers as tensors of other files are.
"""

from __future__ import annotations

import io
import warnings
import zipfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from ...errors import VectorError
from .found import Found, checked_rows
from .names import by_names, stacked

_MOST_BYTES = 2**30
"""What one array may hold. A stack of all layers of the largest models has some 20 MB; a deflated entry could claim anything."""


def read(file: Path) -> Found:
    """One ``.npy`` file."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise VectorError(f"{file}: cannot be read: {error}") from None
    return stacked(checked_rows(_array(io.BytesIO(content), len(content), file, "the array"), file, "the array"), ".npy")


def read_archive(file: Path) -> Found:
    """One ``.npz`` file."""
    try:
        with zipfile.ZipFile(file) as archive:
            arrays = _arrays(archive, file)
    except VectorError:
        raise
    except Exception as error:  # zipfile raises nearly anything for damaged bytes
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise VectorError(f"{file}: is not a readable .npz file, damaged or cut off: {what}. Take a good copy") from None
    if not arrays:
        raise VectorError(f"{file}: holds no arrays; expected {{layer: array}}, or one array [width] or [layers, width]")
    return by_names(arrays, file, ".npz", "array")


def _arrays(archive: zipfile.ZipFile, file: Path) -> dict[str, torch.Tensor]:
    arrays: dict[str, torch.Tensor] = {}
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name == entry.filename:
            raise VectorError(
                f"{file}: has the entry {entry.filename[:60]!r}, which is no array as numpy.savez writes it. If torch.save wrote the "
                "file, give it the suffix .pt"
            )
        if name in arrays:
            raise VectorError(f"{file}: has the array {name!r} twice: a damaged file")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise VectorError(
                f"{file}: {entry.filename} is compressed in another way than numpy does. Save it with numpy.savez"
            )
        if entry.file_size > _MOST_BYTES:
            raise VectorError(
                f"{file}: {entry.filename} claims {entry.file_size} bytes, more than any stack of directions has"
            )
        with archive.open(entry) as opened:
            # One byte more than claimed: zipfile compares the checksum where the entry ends.
            content = opened.read(entry.file_size + 1)
        arrays[name] = _array(io.BytesIO(content), len(content), file, f"array {name!r}")
    return arrays


def _array(data: BinaryIO, size: int, file: Path, what: str) -> torch.Tensor:
    """The array that ``data`` holds from its start to its end, ``size`` bytes later."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            version = np.lib.format.read_magic(data)
            read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read_header(data)
    except Exception as error:  # numpy raises nearly anything for a header that contradicts itself
        what_is = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise VectorError(f"{file}: {what} is not readable as numpy writes it: {what_is}. Take a good copy") from None
    if dtype.hasobject:
        raise VectorError(
            f"{file}: {what} holds Python objects, which would need to be unpickled, and nothing is: a pickle can run any program. "
            "Convert it where you trust it: numpy.save('vector.npy', array.astype('float32'))"
        )
    if dtype.kind != "f" or dtype.itemsize not in (2, 4, 8):
        also = " (bfloat16 is saved by numpy as raw bytes)" if dtype.kind == "V" else ""
        raise VectorError(
            f"{file}: {what} has dtype {dtype}{also}; a direction is float32 (or float16, float64). If it is the right array, convert "
            "it: array.astype('float32')"
        )
    count, here = 1, data.tell()
    for axis in shape:
        count *= axis
    if count * dtype.itemsize != size - here:
        raise VectorError(
            f"{file}: {what} claims {count * dtype.itemsize} bytes of values, and {size - here} are there: it is cut off or damaged. "
            "Take a whole copy"
        )
    values = np.frombuffer(data.read(), dtype=dtype, count=count).reshape(shape, order="F" if fortran else "C")
    return torch.from_numpy(np.array(values, dtype=dtype.newbyteorder("="), order="C"))
