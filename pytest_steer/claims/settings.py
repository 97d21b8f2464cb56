"""The settings of ``generalizes``: what is measured in each, what it is held against, and their table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..data import ItemLike, Items, as_items
from ..evidence import Evidence
from ..measures import PropensityCurve
from ..measures.subject import Subject
from ..prompting import Context
from ..steering import Intervention, SteeringVector
from . import words
from .numbers import number
from .over_items import describe_items, wrong_share


class OtherData(NamedTuple):
    """Items of another data set, and a vector that was made for it.

    Attributes:
        items: contrast items that the vector was not made from.
        vector: what steers on them in the base of ``tan_relative``.
    """

    items: Iterable[ItemLike]
    vector: SteeringVector | Intervention


@dataclass(frozen=True)
class Setting:
    """One setting: the curve in it and the one that it is held against."""

    name: str
    context: Context
    put: str
    curve: PropensityCurve
    base: PropensityCurve
    paired: bool
    clusters: Sequence[int] | None
    base_clusters: Sequence[int] | None
    own: Subject | None = None

    def own_vector(self) -> dict[str, Any]:
        """The record of the data set's own vector."""
        if self.own is None:
            return {}
        slopes = [float(slope) for slope in self.base.slopes]
        return {"hash": self.own.intervention.hash, "steerability": self.base.steerability, "slopes": slopes}


def checked_data(data: Any) -> Items | OtherData:
    return OtherData(as_items(data.items), data.vector) if isinstance(data, OtherData) else as_items(data)


def items_of(data: Iterable[ItemLike] | OtherData) -> Items:
    return as_items(data.items if isinstance(data, OtherData) else data)


def units_of(curve: PropensityCurve) -> set[bool]:
    """Whether items are scored by one token (True) or by the tokens of an answer."""
    return {probe.candidates is not None for probe in curve.probes}


def describe(curve: PropensityCurve, context: Context, put: str, sign: int) -> dict[str, Any]:
    return {
        "context": context.to_dict(),
        "put": put,
        "data": describe_items(curve.items),
        "n": len(curve.items),
        "steerability": curve.steerability,
        "anti_steerable_share": wrong_share(curve, sign),
        "slopes": [float(slope) for slope in curve.slopes],
    }


def settings_table(evidence: Evidence) -> list[str]:
    """The settings side by side, the base first."""
    base = evidence.details.get("base")
    word = "tan_relative" if base is None else "retention"
    sign = words.slope_sign(evidence)
    rows = [
        [
            setting["name"],
            setting["n"],
            number(sign * setting["steerability"]),
            *([number(sign * setting["own_vector"]["steerability"])] if base is None else []),
            number(setting[word]),
            "[{}, {}]".format(*map(number, setting["interval"])),
            f"{setting['anti_steerable_share']:.2f}",
            setting["verdict"],
            words.shorten(setting["put"], 60),
        ]
        for setting in evidence.details["settings"]
    ]
    if base is not None:
        own = f"{base['anti_steerable_share']:.2f}"
        rows.insert(0, ["(base)", base["n"], number(sign * base["steerability"]), "1", "", own, "", base["put"]])
    own_column = ["of its own vector"] if base is None else []
    headers = ["setting", "n", words.steerability(sign), *own_column, word, "interval", words.wrong_way(sign), "", ""]
    return [*words.table(rows, headers), f"  in the worst setting, {evidence.details['worst']}:"]
