"""What is remembered of a model: scores and activations in a folder that the user names, and the latest tensors in memory."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import torch

from ..core.errors import SteerError
from ..core.run_context import current_run

Scores = np.ndarray[tuple[int], np.dtype[np.float64]]
_FILE = "scores-2.sqlite"
_COLUMNS = ["key", "value", "hash"]
_WAIT = 10.0  # seconds for another process to finish writing; writing a batch takes milliseconds
_WRONG = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SHARED_FROM, _SHARED_BYTES = 0x40000002, 510  # the bytes of its file that SQLite locks as long as a connection is open


class DiskMemo:
    """Scores and activations in a folder, kept across runs and shared by processes.

    Each is found by what it depends on, see ``state.disk_key``. SQLite keeps concurrent writers apart and a killed process from
    leaving half a score. Every entry carries a hash of itself, and one that does not match is dropped and computed again. A file
    with wrong content is deleted and made again, unless another process has it open. Where the file cannot be used (locked, read-only,
    no space), the run goes on without it.

    Attributes:
        found: how many scores were taken from the folder.
        dropped: how many damaged entries, and files, were deleted.
        notes: messages for the user that were not shown yet.

    Raises:
        SteerError: the path cannot be that of a cache: a file in the place of the folder, or a folder in the place of the file.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE
        self.found = self.dropped = 0
        self.notes: list[str] = []
        self._connection: sqlite3.Connection | None = None
        self._started_over = False
        self._option = f"{current_run().option_prefix}cache"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise SteerError(f"{self._option}: the folder {folder} cannot be used: {error.strerror}") from None
        except OSError as error:
            self._go_without(f"the folder cannot be made ({error.strerror})")
            return
        if self.path.is_dir():
            raise SteerError(f"{self._option}: the cache is a file, and there is a folder of its name: delete {self.path}")
        if not os.access(folder, os.W_OK):
            self._go_without("the folder cannot be written to")
            return
        self._open()

    def read(self, keys: Mapping[bytes, bytes]) -> dict[bytes, Scores]:
        """The scores that are there, by the engine's key.

        Args:
            keys: {key of the engine: key on disk}.
        """
        there = self.read_bytes(keys.values())
        found = {
            key: np.frombuffer(there[on_disk], dtype="<f8").copy()
            for key, on_disk in keys.items()
            if on_disk in there and len(there[on_disk]) % 8 == 0
        }
        self.found += len(found)
        return found

    def read_bytes(self, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """The entries that are there and whole."""
        found: dict[bytes, bytes] = {}
        try:
            for key in keys:
                if self._connection is None:
                    break
                row = self._connection.execute("SELECT value, hash FROM scores WHERE key = ?", (key,)).fetchone()
                if row is None:
                    continue
                value, checksum = row
                if isinstance(value, bytes) and checksum == _checksum(key, value):
                    found[key] = value
                    continue
                self.dropped += 1
                self._connection.execute("DELETE FROM scores WHERE key = ?", (key,))
        except sqlite3.Error as error:
            self._failed(error)
        return found

    def write_bytes(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries, all of them or none."""
        if self._connection is None:
            return
        rows = [(key, value, _checksum(key, value)) for key, value in entries.items()]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._failed(error)

    def told(self) -> list[str]:
        """The notes, which are thereby told."""
        notes, self.notes = self.notes, []
        return notes

    def _open(self) -> None:
        try:
            self._connection = sqlite3.connect(self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, value BLOB, hash BLOB)")
            columns = [row[1] for row in self._connection.execute("PRAGMA table_info(scores)")]
        except sqlite3.Error as error:
            self._failed(error)
        else:
            if columns != _COLUMNS:
                self._start_over("is another program's")

    def _failed(self, error: sqlite3.Error) -> None:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _WRONG:
            self._start_over("is damaged")
        else:
            self._go_without(str(error))

    def _start_over(self, why: str) -> None:
        self._close()
        if self._started_over:
            self._go_without(f"it {why}, again")
        elif not _deleted_if_unused(self.path):
            self._go_without(f"it {why}, and cannot be deleted or is in use by another process")
        else:
            self._started_over = True
            self.dropped += 1
            self.notes.append(f"{self._option}: {self.path} {why}; it is deleted, and its scores are computed again")
            self._open()

    def _go_without(self, why: str) -> None:
        self._close()
        self.notes.append(f"{self._option}: {self.path} cannot be used: {why}. The run goes on without the cache")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def bytes_of(scores: Scores) -> bytes:
    """Scores as they are on disk: little-endian float64."""
    return np.ascontiguousarray(scores, dtype="<f8").tobytes()


def _deleted_if_unused(path: Path) -> bool:
    """Delete the file and SQLite's companion files, unless another process has it open."""
    try:
        with path.open("rb+") as file:
            if not _locked_for_us(file.fileno()):
                return False
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError:  # not ours, or open elsewhere on a system that refuses then
        return False
    return True


def _locked_for_us(file: int) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows, which refuses to delete an open file
        return True
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_BYTES, _SHARED_FROM)
    except OSError:
        return False
    return True


def _checksum(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(key + value, digest_size=16).digest()


Tensors = dict[str, torch.Tensor]
# Bytes in memory for one model. Activations of all layers of a large model exceed it and are read again.
_MOST_IN_MEMORY = 2**28


class Recent:
    """Keeps tensors by their key, the most recently used ones within a limit of memory. Larger entries are not kept at all."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Tensors] = OrderedDict()
        self._bytes = 0

    def get(self, what: bytes) -> Tensors | None:
        """Copies of the tensors, or None if they are not there."""
        if what not in self._kept:
            return None
        self._kept.move_to_end(what)
        return _copies(self._kept[what])

    def keep(self, what: bytes, tensors: Tensors) -> None:
        """Keep copies: callers may change tensors, and a view would hold the whole batch in memory."""
        if what in self._kept or _bytes(tensors) > _MOST_IN_MEMORY:
            return
        self._kept[what] = _copies(tensors)
        self._bytes += _bytes(tensors)
        while self._bytes > _MOST_IN_MEMORY:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])

    def clear(self) -> None:
        self._kept.clear()
        self._bytes = 0


def _copies(tensors: Tensors) -> Tensors:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _bytes(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
