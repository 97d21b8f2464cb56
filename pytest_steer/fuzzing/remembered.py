"""Contexts that broke a promise, remembered from one run to the next, to be tried first."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from pathlib import Path

from hypothesis.database import DirectoryBasedExampleDatabase

from ..errors import DataError, SteerWarning
from ..prompting.contexts import Context
from ..prompting.flat import Read, identity
from .search import Space


class Remembered:
    """The bad contexts of one claim, in a Hypothesis example database.

    They are kept as ``Context.to_dict``, not as the random choices that led to them, so that they outlive a change of Hypothesis.
    The key holds the claim and the space that is searched: contexts that were found before its axes changed are not tried.
    Each claim has its folder in ``folder``, and every entry is written whole or not at all, so several processes can share it.

    Attributes:
        folder: where the database is; made when the first context is saved.
    """

    def __init__(self, folder: Path, claim: str, space: Space) -> None:
        self.folder = folder
        # Addresses in the text of a strategy differ from run to run.
        described = re.sub(r"0x[0-9a-fA-F]+", "", repr(space))
        self._key = hashlib.sha256(f"{claim}\0{described}".encode()).digest()
        self._database = DirectoryBasedExampleDatabase(folder)

    def contexts(self, read: Read) -> list[Context]:
        """What is remembered, the simplest first. An entry that is damaged, or no context any more, is dropped."""
        found = []
        for entry in sorted(self._database.fetch(self._key), key=lambda entry: (len(entry), entry)):
            try:
                found.append(read(json.loads(entry)))
            except (ValueError, TypeError, DataError):
                self._database.delete(self._key, entry)
        return found

    def save(self, context: Context) -> None:
        """Keep a context.

        Warns:
            SteerWarning: it could not be written. The database says nothing then.
        """
        entry = identity(context).encode()
        self._database.save(self._key, entry)
        if entry not in self._database.fetch(self._key):
            self._database.delete(self._key, entry)  # what a full disk has left of it
            warnings.warn(
                SteerWarning(f"the context that broke the claim is not kept: {self.folder} is full or cannot be written to"),
                stacklevel=2,
            )

    def forget(self, context: Context) -> None:
        self._database.delete(self._key, identity(context).encode())
