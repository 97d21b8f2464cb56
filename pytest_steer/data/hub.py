"""Data sets of the hub, read by the package ``datasets`` where it is installed. Nothing is fetched that the user did not name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import DataError

HUB = "hub:"
_NAME = re.compile(
    r"hub:(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<config>[^:/]+))?(?::(?P<split>[^:/]+))?"
)
# Older versions run the Python file of a data set that has one.
_LEAST_VERSION = 4


def hub_entries(name: str) -> Iterator[tuple[str, Any]]:
    """The rows of one split of a data set, each with where it stands.

    ``datasets.load_dataset`` fetches the files of the named configuration, all its splits, and keeps them in its cache; without a network,
    or with ``HF_HUB_OFFLINE=1``, it reads what is there. No code of a data set is run.

    Args:
        name: ``hub:ORG/NAME[@REVISION][/CONFIG][:SPLIT]``; the split is ``test`` unless it is named, the revision the newest.

    Raises:
        DataError: the name has another form, ``datasets`` is not installed or too old, it cannot load the data set, or a folder of that name
            is here, which it would read instead.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise DataError(
            f"{name}: a data set of the hub is written hub:ORG/NAME, then /CONFIG and :SPLIT where it has them, as in "
            "hub:cais/mmlu/all:test"
        )
    try:
        import datasets
    except ImportError as error:
        if getattr(error, "name", None) != "datasets":
            raise DataError(f"{name}: the package datasets is installed and cannot be imported: {error}") from error
        raise DataError(
            f"{name}: a data set of the hub is read by the package datasets, which is not installed: "
            "pip install 'pytest-steer[datasets]'"
        ) from None
    if int(datasets.__version__.partition(".")[0]) < _LEAST_VERSION:
        raise DataError(
            f"{name}: datasets {datasets.__version__} can run code of a data set: pip install 'datasets>={_LEAST_VERSION}'"
        )
    if Path(found["name"]).exists():
        raise DataError(
            f"{name}: there is a folder {found['name']} here, and datasets would read it in place of the hub: rename it, or name a file "
            "in it"
        )
    split = found["split"] or "test"
    try:
        rows = datasets.load_dataset(found["name"], found["config"], split=split, revision=found["revision"])
    except Exception as error:  # the library raises nearly anything: no network, no such name, configuration or split
        what = " ".join([f"{type(error).__name__}:", *str(error).strip().splitlines()[:1]])[:300]
        cure = "" if found["split"] else ". Name the split if it is not called test: " + name + ":validation"
        if isinstance(error, ConnectionError):
            cure = ". It is not in the cache either: fetch it once where there is a network, or name a file"
        raise DataError(f"{name}: cannot be loaded, split {split!r}: {what.rstrip('.')}{cure}") from error
    return ((f"row {number}", dict(row)) for number, row in enumerate(rows))
