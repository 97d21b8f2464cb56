"""Judgements kept on disk, found by the judge's record, the prompt and the reply."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

from ...core.errors import SteerError, warn_caller
from ...core.run_context import current_run
from ...model.gguf import cache_folder
from ...model.memo import DiskMemo
from .kinds import Exchange, Judge, Judgement

_FORMAT = "judgement-1"  # what is kept, and what its key is made of


class Remembered(Protocol):
    """Where judgements are kept: bytes by a key."""

    def read_bytes(self, keys: Iterable[bytes], /) -> dict[bytes, bytes]: ...

    def write_bytes(self, entries: Mapping[bytes, bytes], /) -> None: ...


def folder_of(judge: Judge) -> Remembered | None:
    """Where a judge's judgements are kept.

    A judge with a field ``cache`` is remembered in the run's folder (``--steer-cache``) unless that is false; where it is true and the
    run has no folder, in the user's cache. A judge without such a field is asked again.
    """
    wanted = getattr(judge, "cache", False)
    if wanted is False:
        return None
    folder = current_run().cache
    if folder is None and wanted is True:
        folder = cache_folder() / "judgements"
    if folder is None:
        return None
    found = DiskMemo(folder)
    for note in found.told():
        warn_caller(note)
    return found


def read(cache: Remembered | None, record: Mapping[str, Any], exchanges: Sequence[Exchange]) -> dict[Exchange, Judgement]:
    """The judgements that are there."""
    if cache is None:
        return {}
    keys = {_key(record, one): one for one in exchanges}
    there = cache.read_bytes(keys)
    return {keys[key]: Judgement(**json.loads(value)) for key, value in there.items()}


def write(cache: Remembered | None, record: Mapping[str, Any], exchange: Exchange, judgement: Judgement) -> None:
    """Keep a judgement."""
    if cache is not None:
        cache.write_bytes({_key(record, exchange): json.dumps(asdict(judgement)).encode()})


def _key(record: Mapping[str, Any], exchange: Exchange) -> bytes:
    try:
        content = json.dumps([_FORMAT, record, exchange.prompt, exchange.reply], sort_keys=True)
    except TypeError as error:
        raise SteerError(
            f"the record of the judge {record.get('judge', '')!r} is no plain data, as JSON holds it ({error})"
        ) from None
    return hashlib.sha256(content.encode()).digest()
