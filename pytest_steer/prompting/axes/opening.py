"""How the reply begins."""

from __future__ import annotations

from ...data import ContrastItem
from ...errors import DataError
from ..kinds import axis, text


def _check(value: str) -> str:
    if not value.strip():
        raise DataError("opening is a text that the reply begins with; leave the axis as given for none")
    return value


@axis(
    "opening",
    about='How the reply begins. One that ends with "(" is for items with lettered options, any other for worded answers.',
    title="Openings of the reply",
    listed="A list of different openings.",
    example="The answer is (",
    schema={"type": "string", "pattern": r"\S"},
    read=text("opening", _check),
    as_given=None,
    on="opening",
    place=110,
)
def opening(opened: str, value: str, item: ContrastItem) -> str:
    """An opening that is not for an item of this kind leaves it; before a worded answer, the space belongs to the opening."""
    if value.endswith("(") != item.is_lettered:
        return opened
    return value if item.is_lettered or value[-1:].isspace() else f"{value} "
