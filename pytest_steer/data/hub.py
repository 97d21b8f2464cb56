"""Data sets of the hub, read by the package ``datasets`` where it is installed. Nothing is fetched that the user did not name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..errors import DataError

HUB = "hub:"
_NAME = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<config>[^:/]+))?(?::(?P<split>[^:/]+))?")


def hub_entries(name: str) -> Iterator[tuple[str, Any]]:
    """The rows of one split of a data set, each with where it stands.

    Args:
        name: ``hub:ORG/NAME[/CONFIG][:SPLIT]``; the split is ``test`` unless it is named.

    Raises:
        DataError: the name has another form, ``datasets`` is not installed, or it cannot load the data set.
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
    split = found["split"] or "test"
    try:
        rows = datasets.load_dataset(found["name"], found["config"], split=split)
    except Exception as error:  # the library raises nearly anything: no network, no such name, configuration or split
        what = " ".join([f"{type(error).__name__}:", *str(error).strip().splitlines()[:1]])[:300]
        cure = "" if found["split"] else ". Name the split if it is not called test: " + name + ":validation"
        raise DataError(f"{name}: cannot be loaded, split {split!r}: {what.rstrip('.')}{cure}") from error
    return ((f"row {number}", dict(row)) for number, row in enumerate(rows))
