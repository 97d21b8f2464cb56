"""Writing a file as a whole or not at all, so that a full disk or a killed process leaves no half of one. Imports nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Write a file beside its place, and then put it there in one step. A device or a pipe is written to as it is.

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
