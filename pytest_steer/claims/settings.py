"""Other data than a claim's own, with a vector of their own: of ``generalizes`` and ``leaves_alone``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ..data import ItemLike, Items, as_items
from ..measures import PropensityCurve
from ..steering import Intervention, SteeringVector


class OtherData(NamedTuple):
    """Items of another data set, and a vector that was made for it.

    Attributes:
        items: contrast items that the vector was not made from.
        vector: what steers on them in the base of ``tan_relative``.
    """

    items: Iterable[ItemLike]
    vector: SteeringVector | Intervention


def checked_data(data: Any) -> Items | OtherData:
    return OtherData(as_items(data.items), data.vector) if isinstance(data, OtherData) else as_items(data)


def checked_data_sets(given: Mapping[str, Any]) -> dict[str, Items | OtherData]:
    return {name: checked_data(data) for name, data in given.items()}


def items_of(data: Iterable[ItemLike] | OtherData) -> Items:
    return as_items(data.items if isinstance(data, OtherData) else data)


def units_of(curve: PropensityCurve) -> set[bool]:
    """Whether items are scored by one token (True) or by the tokens of an answer."""
    return {probe.candidates is not None for probe in curve.probes}
