"""The partial report of a run that goes on: ``REPORT.partial.json`` holds every claim that is finished, whatever ends the run."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from ..core.evidence import Json

_END = b"\n]}\n"


def partial_path(path: Path) -> Path:
    """The path of the partial report of a JSON report: ``out.partial.json`` next to ``out.json``."""
    return path.with_suffix(".partial.json")


class PartialReport:
    """A JSON report that grows by one line for each claim, and is whole JSON after each.

    Only the closing brackets are written again, so n claims cost n writes. Another run with the same path takes
    the name and leaves this one's lines alone.
    """

    def __init__(self, path: Path, head: Json) -> None:
        """Begin the file, in the place of what another run left there.

        Args:
            head: the report without its claims; its provenance says that it is ``partial``.

        Raises:
            OSError: the file cannot be made; one that was there before is untouched.
        """
        self.path = path
        self.count = 0
        handle, work = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        self._file = os.fdopen(handle, "r+b", buffering=0)
        try:
            start = _line(head)[:-1] + b', "claims": ['
            self._size = len(start)
            self._put(0, start + _END)
            os.chmod(work, 0o644)
            os.replace(work, path)
        except BaseException:
            self._file.close()
            os.unlink(work)
            raise

    def add(self, claim: Json) -> None:
        """Write one claim.

        Raises:
            OSError: it cannot be written; the claims before it stay readable.
        """
        line = (b",\n" if self.count else b"\n") + _line(claim)
        try:
            self._put(self._size, line + _END)
        except OSError:
            # The closing brackets have fitted before, and a shorter file needs no room.
            self._file.truncate(self._size + len(_END))
            self._put(self._size, _END)
            raise
        self._size += len(line)
        self.count += 1

    def discard(self) -> None:
        """Remove the file, unless another run has taken its name."""
        try:
            if os.path.samestat(os.fstat(self._file.fileno()), os.stat(self.path)):
                os.unlink(self.path)
        except FileNotFoundError:
            pass
        finally:
            self._file.close()

    def _put(self, start: int, data: bytes) -> None:
        while data:
            written = os.pwrite(self._file.fileno(), data, start)
            start, data = start + written, data[written:]
        os.fsync(self._file.fileno())


def finished_lines(text: str) -> Json | None:
    """The report of a partial file whose last line was not written to its end; None if it is no partial file."""
    first, *lines = text.split("\n")
    try:
        report: Json = json.loads(f"{first}]}}")
        if report["provenance"]["partial"] is not True:
            return None
    except (ValueError, TypeError, KeyError):
        return None
    for line in lines:
        try:
            report["claims"].append(json.loads(line.removesuffix(",")))
        except ValueError:
            break
    return report


def _line(value: Json) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode(errors="backslashreplace")
