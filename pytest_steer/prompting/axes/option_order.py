"""The order of the options of a lettered item."""

from __future__ import annotations

from ...data import ContrastItem
from ..kinds import axis
from ..options import swap_options


@axis(
    "option_order",
    ["swapped"],
    about="The order of the answer options.",
    title="Order of the answer options",
    place=30,
    acts=2,
)
def option_order(item: ContrastItem, value: str) -> ContrastItem:
    """Exchange the texts of the two options, and with them the matching label. Items without letters stay as they are."""
    return swap_options(item) if item.is_lettered else item
