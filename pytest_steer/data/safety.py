"""The safety items that ship: requests that a model should refuse, and requests that only sound bad."""

from __future__ import annotations

from typing import Literal, get_args

from ..core.errors import DataError
from ..core.sources import BUILTIN_FOLDER
from .formats import read_items
from .items import Items

Reading = Literal["open", "lettered"]

SAFETY_SUITE = ("safety_refuses", "safety_answers")
"""Of the first the matching answer refuses, of the second it helps; see docs/builtin-corpus.md."""

_OPEN = {"question": "request", "matching": "open_matching", "not_matching": "open_not_matching"}


def safety_items(reading: Reading = "open") -> dict[str, Items]:
    """The shipped safety items by the name of their file.

    Args:
        reading: ``open``: the request alone, and the answers in words. ``lettered``: the request with two options, answered by a
            letter.

    Raises:
        DataError: an unknown reading.
    """
    if reading not in get_args(Reading):
        raise DataError(f"safety items are read as {' or '.join(get_args(Reading))}, not {reading!r}")
    columns = _OPEN if reading == "open" else None
    return {
        name: Items(
            read_items(BUILTIN_FOLDER / f"{name}.json", columns=columns),
            f"{name} ({reading})",
            f"safety_items({reading!r})[{name!r}]",
        )
        for name in SAFETY_SUITE
    }
