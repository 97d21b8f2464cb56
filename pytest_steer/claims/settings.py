"""The settings of ``generalizes``: what is measured in each, what it is held against, and their table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..data import ItemLike, Items, as_items
from ..errors import DataError, MeasurementError
from ..evidence import Evidence
from ..measures import Array, PropensityCurve, propensity_curve
from ..measures.subject import Subject
from ..model import Model
from ..prompting import Context
from ..stats import mean_t
from ..steering import Intervention, SteeringVector
from . import words
from .figures import Figure, Intervals, figures_of_items, interval_row
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


def curve_in(
    model: Model, subject: Subject, items: Items, context: Context, grid: list[float], place: str
) -> PropensityCurve:
    """The curve in a setting; errors of data name the setting.

    Raises:
        DataError: items that cannot be asked in this context.
    """
    try:
        return propensity_curve(
            model,
            items,
            subject.intervention,
            multipliers=grid,
            context=context,
            **subject.scope,
        )
    except DataError as error:
        raise type(error)(f"in {place}: {error}") from None


def check_base(subject: Subject, confidence: float, slopes: Array, what: str) -> None:
    """Refuses a base of which no share can be taken.

    Raises:
        MeasurementError: its steerability is not proven to be above 0.
    """
    found = mean_t(subject.slope_sign * slopes, confidence=confidence)
    if found.low > 0:
        return
    seen = f"{found.estimate:.3g} [{found.low:.3g}, {found.high:.3g}]"
    lowers = subject.slope_sign < 0
    if found.high < 0 and lowers:
        raise MeasurementError(
            f"{what} raises the behaviour towards the deployed multiplier {subject.multiplier:g} (negative steerability {seen}), and "
            "the claim says `direction: lowers`: deploy it at a negative multiplier, or delete that"
        )
    if found.high < 0:
        raise MeasurementError(
            f"{what} steers the other way (steerability {seen}), so a share of that says nothing: turn the vector round, or choose another base"
        )
    raise MeasurementError(
        f"{what}'s steerability is {seen}, which cannot be told from 0, so a share of it would be noise: "
        "measure more items, or claim first that it steers"
    )


def setting_warnings(settings: Sequence[Setting]) -> list[str]:
    """Settings that change nothing, and settings in other units than their base."""
    return [
        *[
            f"{one.name}: its context changes no prompt: all items are asked as in the base context"
            for one in settings
            if one.own is None and one.paired and _prompts(one.curve) == _prompts(one.base)
        ],
        *[
            f"{one.name}: its answers and those of the base are scored differently (one token: logits; several: nats per token), "
            "so their steerabilities are in different units"
            for one in settings
            if units_of(one.curve) != units_of(one.base)
        ],
    ]


def _prompts(curve: PropensityCurve) -> list[Any]:
    return [probe.ids for probe in curve.probes]


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


def settings_figures(record: dict[str, Any]) -> list[Figure]:
    """The ratios of all settings, and the curve and slopes of the worst one."""
    details = record["details"]
    word = "tan_relative" if details.get("base") is None else "retention"
    ratios = Intervals(
        title="Contexts and data sets",
        about=f"How much of the base steerability is left in each. Curve and slopes below are those of the worst, {details['worst']}.",
        rows=[interval_row(one, one["name"], word) for one in details["settings"]],
        x=word.replace("_", " "),
        promised=[record["threshold"]],
    )
    return [ratios, *figures_of_items(record)]
