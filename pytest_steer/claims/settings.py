"""The settings of ``generalizes``: what is measured in each, what it is held against, and their table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ..core.block import Block, Intervals, Line, Table
from ..data import ItemLike, Items, Sample, as_items
from ..data.traces import known_in, traces
from ..errors import DataError, MeasurementError
from ..evidence import Evidence
from ..measures import Array, PropensityCurve, propensity_curve
from ..measures.subject import Subject
from ..model import Model
from ..prompting import Context
from ..soundness import check_before
from ..stats import mean_t, one_per_cluster
from ..steering import Intervention, SteeringVector
from . import show
from .numbers import number
from .over_items import check_has_slope, data_warnings, describe_items, wrong_share


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


@dataclass(frozen=True)
class Measuring:
    """Measures settings.

    Attributes:
        base: the context that others are held against, and in which other data are asked.
        grid: the multipliers of the slopes.
        confidence: at which what settings are held against has to be proven to steer.
    """

    model: Model
    subject: Subject
    base: Context
    grid: list[float]
    confidence: float

    def against_base(
        self, sample: Sample[Items], contexts: Mapping[str, Context], others: Mapping[str, Sample[Items]]
    ) -> list[Setting]:
        """The curve in each context and on each of the other data, held against that of the sample in the base context.

        Raises:
            MeasurementError: that one is not proven to steer. DataError: see :func:`curve_in`.
        """
        base = self._curve(self.subject, sample.units, self.base, "the base context")
        self._check(base, sample.clusters, "in the base context the vector")
        found = []
        for name, context in contexts.items():
            curve = self._curve(self.subject, sample.units, context, name)
            found.append(Setting(name, context, repr(context), curve, base, True, sample.clusters, sample.clusters))
        for name, other in others.items():
            curve = self._curve(self.subject, other.units, self.base, name)
            put = f"data: {curve.items.source}"
            found.append(Setting(name, self.base, put, curve, base, False, other.clusters, sample.clusters))
        return found

    def against_own_vectors(
        self, data_sets: Mapping[str, Items | OtherData], others: Mapping[str, Sample[Items]]
    ) -> list[Setting]:
        """The curve on each of the other data, held against that of their own vector.

        Raises:
            MeasurementError: one of these is not proven to steer. SoundnessError: its hooks do not do what they say.
            SteerError: it has no slope. DataError: see :func:`curve_in`.
        """
        found = []
        for name, data in data_sets.items():
            assert isinstance(data, OtherData)
            own, what = own_subject(self.subject, data), f"{name}, its own vector"
            check_has_slope(own, self.grid)
            check_before(self.model, own)
            items, clusters = others[name].units, others[name].clusters
            base = self._curve(own, items, self.base, what)
            self._check(base, clusters, f"on {what}")
            curve = self._curve(self.subject, items, self.base, name)
            put = f"data: {curve.items.source}"
            found.append(Setting(name, self.base, put, curve, base, True, clusters, clusters, own))
        return found

    def _curve(self, subject: Subject, items: Items, context: Context, place: str) -> PropensityCurve:
        return curve_in(self.model, subject, items, context, self.grid, place)

    def _check(self, base: PropensityCurve, clusters: Sequence[int] | None, what: str) -> None:
        check_base(self.subject, self.confidence, one_per_cluster(base.slopes, clusters), what)


def own_subject(subject: Subject, data: OtherData) -> Subject:
    """The data set's own vector, deployed as this one is."""
    return replace(subject, vector=data.vector)


def other_data_warnings(
    subject: Subject,
    sample: Sample[Items],
    data_sets: Mapping[str, Items | OtherData],
    others: Mapping[str, Sample[Items]],
    known: Sequence[str],
) -> list[str]:
    """What the reader has to know about other data: what they share with the claim's items, or with what vectors were made from.

    Args:
        known: warnings that are there already.

    Raises:
        DataError: other data ask the questions of the claim's items and no others.
    """
    found: list[str] = []
    asked = traces([item.question for item in sample.units])
    for name, data in data_sets.items():
        other = others[name]
        found += [f"{name}: {one}" for one in data_warnings(subject, other) if one not in (*known, *found)]
        if isinstance(data, OtherData):
            own = own_subject(subject, data)
            if own.intervention.hash == subject.intervention.hash:
                found.append(
                    f"{name}: its own vector is the claim's vector (the same training data), so the ratio is 1 whatever the "
                    "model does: name training data of the data set"
                )
            else:
                found += [f"{name}, its own vector: {warning}" for warning in data_warnings(own, other)]
            continue
        shared_with = known_in((item.question for item in other.units), asked)
        shared = shared_with.asked + shared_with.near
        if shared_with.same == len(other.units) == len(sample.units):
            raise DataError(
                f"{name}: asks the questions of the base data and no others, so it says nothing about other data"
            )
        if shared:
            found.append(
                f"{name}: {shared} of its {len(other.units)} items ask a question of the base data too"
                f"{', or nearly do' if shared > shared_with.same else ''}, so the two are not "
                "independent and the interval is not exact"
            )
    return found


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


def settings_shown(evidence: Evidence) -> Iterator[Block]:
    """The settings side by side, the base first, and the curve and items of the worst one."""
    base, worst = evidence.details.get("base"), evidence.details["worst"]
    word = "tan_relative" if base is None else "retention"
    sign = show.slope_sign(evidence)
    rows = [
        [
            setting["name"],
            str(setting["n"]),
            number(sign * setting["steerability"]),
            *([number(sign * setting["own_vector"]["steerability"])] if base is None else []),
            number(setting[word]),
            "[{}, {}]".format(*map(number, setting["interval"])),
            f"{setting['anti_steerable_share']:.2f}",
            setting["verdict"],
            show.shorten(setting["put"], 60),
        ]
        for setting in evidence.details["settings"]
    ]
    if base is not None:
        own = f"{base['anti_steerable_share']:.2f}"
        rows.insert(0, ["(base)", str(base["n"]), number(sign * base["steerability"]), "1", "", own, "", base["put"]])
    own_column = ["of its own vector"] if base is None else []
    headers = ["setting", "n", show.steerability(sign), *own_column, word, "interval", show.wrong_way(sign), "", ""]
    yield Table(rows, headers)
    yield Intervals(
        [show.estimate_row(one, one["name"], word) for one in evidence.details["settings"]],
        word.replace("_", " "),
        promised=show.promised_in(evidence),
        title="Contexts and data sets",
        about=f"How much of the base steerability is left in each. Curve and slopes are those of the worst, {worst}.",
    )
    yield Line(f"in the worst setting, {worst}:")
    yield from show.of_items(evidence)
