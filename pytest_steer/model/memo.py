"""Scores that are kept on disk, in a folder that the user names."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

import numpy as np

from ..errors import SteerError, SteerWarning
from ..run_context import current_run
from .loaded import Model

Scores = np.ndarray[tuple[int], np.dtype[np.float64]]
_FILE = "scores-2.sqlite"


class DiskMemo:
    """Scores in a folder, kept across runs and shared by processes.

    A score is found by what it depends on: the question (tokens, scope, intervention, multiplier), the model's
    fingerprint, dtype and kind of device, and the versions of torch and transformers. SQLite keeps concurrent writers apart
    and a killed process from leaving half a score; every score carries a hash of itself, and one that does not match is
    dropped and computed again, as is a file that SQLite cannot read.

    Attributes:
        found: how many scores were taken from the folder.
        dropped: how many damaged ones were deleted.

    Raises:
        SteerError: the folder cannot be made or written.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE
        self.found = self.dropped = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            option = f"{current_run().option_prefix}cache"
            raise SteerError(f"{option}: the folder {folder} cannot be used: {error.strerror}") from None
        self._open()

    def _open(self) -> None:
        self._connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("CREATE TABLE IF NOT EXISTS scores (key BLOB PRIMARY KEY, value BLOB, hash BLOB)")
        except sqlite3.DatabaseError:
            self._start_again()

    def _start_again(self) -> None:
        """Delete an unreadable file and begin a new one."""
        self._connection.close()
        self.dropped += 1
        warnings.warn(
            SteerWarning(f"{self.path} is damaged; it is deleted, and its scores are computed again"), stacklevel=2
        )
        for suffix in ("", "-wal", "-shm"):
            self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._open()

    def read(self, keys: Mapping[bytes, bytes]) -> dict[bytes, Scores]:
        """The scores that are there, by the engine's key.

        Args:
            keys: {key of the engine: key on disk}.
        """
        found: dict[bytes, Scores] = {}
        try:
            for key, on_disk in keys.items():
                row = self._connection.execute("SELECT value, hash FROM scores WHERE key = ?", (on_disk,)).fetchone()
                if row is None:
                    continue
                value, checksum = row
                if not isinstance(value, bytes) or checksum != _checksum(on_disk, value) or len(value) % 8:
                    self._connection.execute("DELETE FROM scores WHERE key = ?", (on_disk,))
                    self.dropped += 1
                    continue
                found[key] = np.frombuffer(value, dtype="<f8").copy()
        except sqlite3.DatabaseError:
            self._start_again()
        self.found += len(found)
        return found

    def write(self, scores: Mapping[bytes, Scores]) -> None:
        """Keep scores by their key on disk, all of them or none."""
        rows = []
        for key, value in scores.items():
            blob = np.ascontiguousarray(value, dtype="<f8").tobytes()
            rows.append((key, blob, _checksum(key, blob)))
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR REPLACE INTO scores VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.DatabaseError:
            self._start_again()


def model_part(model: Model) -> bytes:
    """What of the model and the libraries a score depends on."""
    parts = (
        model.fingerprint,
        model.dtype,
        model.device.type,
        metadata.version("torch"),
        metadata.version("transformers"),
    )
    return hashlib.blake2b(repr(parts).encode(), digest_size=20).digest()


def _checksum(key: bytes, value: bytes) -> bytes:
    return hashlib.blake2b(key + value, digest_size=16).digest()
