"""How the reply begins."""

from __future__ import annotations

from ...core.errors import DataError
from ...data import ContrastItem
from ..kinds import text_axis


def _check(value: str) -> str:
    if not value.strip():
        raise DataError("opening is a text that the reply begins with; for none, leave out the axis")
    return value


@text_axis(
    "opening",
    _check,
    about='How the reply begins. An opening that ends with "(" is for items with lettered options, any other for worded answers.',
    title="Openings of the reply",
    example="The answer is (",
    schema={"pattern": r"\S"},
    on="opening",
    place=110,
)
def opening(opened: str, value: str, item: ContrastItem) -> str:
    """An opening for items of another kind changes nothing. Before a worded answer, the space is part of the opening."""
    if value.endswith("(") != item.is_lettered:
        return opened
    return value if item.is_lettered or value[-1:].isspace() else f"{value} "
