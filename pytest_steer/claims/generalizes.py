"""``generalizes``: steerability in other contexts and on other data is at least `relative` times that in the base context."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Unpack

from ..data import ItemLike, Items, as_items
from ..errors import DataError, MeasurementError, SteerError
from ..evidence import Evidence
from ..measures import MULTIPLIERS, PropensityCurve, asked_record, propensity_curve
from ..measures.compared import bounds_of
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import Direction, Inference, Verdict, items_needed_ratio, judge, least_ratio, mean_t, ratio_of_means
from ..steering import Intervention, SteeringVector
from . import words
from .common import AboutItems
from .deployed import deployed_record, direction_warnings, with_deployed
from .holding import hold
from .judging import judged
from .kinds import claim
from .numbers import number
from .over_items import asking_warnings, check_enough, check_has_slope, curve_fields, data_warnings, describe_items


@claim("generalizes", title="Steering carries over to other settings", main="relative", any_of=("contexts", "data_sets"))
@dataclass(frozen=True, kw_only=True)
class Generalizes:
    """In each of the named contexts and data sets, steerability is at least `relative` times that in the base context.

    That is relative steerability (Tan et al. 2024: slope there / slope in the base context). The statistic is the least over the settings. Each setting has Fieller's bounds of the ratio: paired by item for contexts,
    unpaired for other data. The claim passes if every lower bound is past the threshold, and fails if the upper bound of any
    setting is below it at a level divided by their number (``stats.least_ratio``).

    Raises:
        SteerError: no settings, one name twice, or a promise that is not above 0.
    """

    subject: Subject
    items: Items
    relative: Annotated[
        float,
        Param(
            "The least share of the base steerability that is left in every setting: 0.5 means half of it.",
            title="Least relative steerability",
            example=0.5,
            above=0,
        ),
    ]
    contexts: Annotated[
        Mapping[str, Context],
        Param(
            "Names of contexts, each with what is not as given in it: `{swapped: {option_order: swapped}}`.",
            title="Shifted contexts",
            example={"swapped": {"option_order": "swapped"}},
            schema={
                "type": "object",
                "additionalProperties": {
                    "$ref": "#/$defs/context",
                    "description": "A value for each axis that is not as given, `{option_order: swapped}`.",
                    "minProperties": 1,
                    "examples": [{"option_order": "swapped"}],
                    "x-context": True,
                },
            },
        ),
    ] = field(default_factory=dict)
    data_sets: Annotated[
        Mapping[str, Items],
        Param(
            "Names of other data sets, each with its file of contrast items, relative to the folder of the claim file: "
            "`{formal: data/formal.json}`.",
            title="Other data sets",
            example={"formal": "data/formal.json"},
            schema={
                "type": "object",
                "additionalProperties": {
                    "description": "A file of contrast items.",
                    "type": "string",
                    "pattern": r"\S",
                    "x-items": True,
                },
            },
        ),
    ] = field(default_factory=dict)
    base: Annotated[
        Context,
        Param(
            "The context that the others are held against; without it, the one as given.",
            title="Base context",
            schema={"$ref": "#/$defs/context", "x-context": True, "default": {}},
        ),
    ] = AS_GIVEN
    multipliers: Sequence[float] = MULTIPLIERS
    confidence: float = 0.95
    name: str = "generalizes"

    def __post_init__(self) -> None:
        object.__setattr__(self, "data_sets", {name: as_items(data) for name, data in self.data_sets.items()})
        if not (isinstance(self.contexts, Mapping) and all(isinstance(one, Context) for one in self.contexts.values())):
            raise SteerError("contexts are named: write contexts={'swapped': Context(option_order='swapped')}")
        if not self.contexts and not self.data_sets:
            raise SteerError("generalizes needs contexts or data_sets to hold against the base context")
        twice = self.contexts.keys() & self.data_sets.keys()
        if twice:
            raise SteerError(
                f"{sorted(twice)[0]!r} is the name of a context and of a data set: give one of them another name"
            )

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two items in a data set, or a context that cannot be put to an item.
            MeasurementError: the base steerability is not proven to be above 0, so nothing can be relative to it.
            SoundnessError: the hooks do not do what they say.
            SteerError: multipliers without a slope, or an intervention whose strength has none; see ``propensity_curve``.
        """
        for data in (self.items, *self.data_sets.values()):
            check_enough(data)
        grid, sign = check_has_slope(self.subject, self.multipliers), self.subject.slope_sign
        soundness = check_before(model, self.subject)
        base = self._curve(model, self.items, self.base, grid, None)
        base_inference = self._check_base(base)
        settings = [
            (name, context, self._curve(model, self.items, context, grid, name)) for name, context in self.contexts.items()
        ]
        settings += [
            (name, self.base, self._curve(model, data, self.base, grid, name)) for name, data in self.data_sets.items()
        ]
        ratios = [
            ratio_of_means(sign * curve.slopes, sign * base.slopes, paired=name in self.contexts, confidence=self.confidence)
            for name, _, curve in settings
        ]
        found = least_ratio(ratios)
        at = min(range(len(ratios)), key=lambda index: ratios[index].estimate)
        worst, _, curve = settings[at]
        probes = tuple(probe for one in (base, *(own for *_, own in settings)) for probe in one.probes)
        asked = asked_record(model, curve, settings[at][1])
        warnings = self._warnings() + asking_warnings(model, self.subject, asked, self.items)
        warnings += [
            f"{name}: its answers and those of the base are scored differently (one token: logits; several: nats per token), so "
            "their steerabilities are in different units"
            for name, _, own in settings
            if _units(own) != _units(base)
        ]
        details = {
            "worst": worst,
            "base": _describe(base, self.base, repr(self.base)) | {"interval": list(bounds_of(base_inference))},
            "settings": [
                {"name": name}
                | _describe(own, context, repr(context) if name in self.contexts else f"data: {own.items.source}")
                | self._describe_ratio(ratio, len(ratios))
                for (name, context, own), ratio in zip(settings, ratios, strict=True)
            ],
        }
        evidence = judged(
            model,
            self.subject,
            found,
            probes,
            threshold=self.relative,
            direction=Direction.AT_LEAST,
            confidence=self.confidence,
            moved=lambda floor: floor.slope(grid) / abs(base.steerability),
            noisy=curve.probes,
            check="generalizes",
            name=self.name,
            statistic="relative steerability" if len(settings) == 1 else f"least relative steerability of {len(settings)}",
            soundness=soundness,
            asked=asked,
            warnings=warnings,
            **curve_fields(curve, details),
        )
        at_deployed = with_deployed(model, self.subject, base, self.base)
        evidence.details["deployed"] = deployed_record(self.subject, at_deployed, self.confidence)
        evidence.warnings += direction_warnings(evidence, self.subject)
        if evidence.verdict is Verdict.INCONCLUSIVE:
            evidence.items_needed = self._items_needed(ratios)
        return evidence

    def _curve(self, model: Model, items: Items, context: Context, grid: list[float], name: str | None) -> PropensityCurve:
        try:
            return propensity_curve(
                model,
                items,
                self.subject.intervention,
                multipliers=grid,
                context=context,
                **self.subject.scope,
            )
        except DataError as error:
            raise type(error)(f"in {name or 'the base context'}: {error}") from None

    def _check_base(self, base: PropensityCurve) -> Inference:
        found = mean_t(self.subject.slope_sign * base.slopes, confidence=self.confidence)
        if found.low > 0:
            return found
        seen = f"{found.estimate:.3g} [{found.low:.3g}, {found.high:.3g}]"
        if found.high < 0:
            raise MeasurementError(
                f"in the base context the vector steers the other way (steerability {seen}), so a share of that says "
                "nothing: turn the vector round, or choose another base"
            )
        raise MeasurementError(
            f"in the base context steerability is {seen}, which cannot be told from 0, so a share of it would be noise: "
            "measure more items, or claim first that it steers"
        )

    def _describe_ratio(self, ratio: Inference, settings: int) -> dict[str, Any]:
        verdict = judge(ratio, self.relative, Direction.AT_LEAST)
        if verdict is Verdict.FAIL and settings * ratio.p_at_most(self.relative) > 1 - self.confidence:
            verdict = Verdict.INCONCLUSIVE
        return {
            "relative": ratio.estimate,
            "interval": list(bounds_of(ratio)),
            "interval_method": ratio.method,
            "p_pass": ratio.p_at_least(self.relative),
            "p_fail": min(1.0, settings * ratio.p_at_most(self.relative)),
            "verdict": verdict.value,
        }

    def _items_needed(self, ratios: list[Inference]) -> int | None:
        """As many as the most demanding of the settings that have not passed needs."""
        open_ones = [ratio for ratio in ratios if judge(ratio, self.relative, Direction.AT_LEAST) is not Verdict.PASS]
        needed = [items_needed_ratio(ratio, self.relative) for ratio in open_ones]
        numbers = [number for number in needed if number is not None]
        return max(numbers) if numbers and len(numbers) == len(needed) else None

    def _warnings(self) -> list[str]:
        found = data_warnings(self.subject, self.items)
        asked = set(self.items.item_hashes)
        for name, data in self.data_sets.items():
            found += [f"{name}: {warning}" for warning in data_warnings(self.subject, data) if warning not in found]
            shared = sum(own in asked for own in data.item_hashes)
            if shared:
                found.append(
                    f"{name}: {shared} of its {len(data)} items ask a question of the base data too, so the two are not "
                    "independent and the interval is not exact"
                )
        return found

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        return [
            *words.decide(evidence),
            *words.where(evidence),
            *_settings(evidence),
            *words.curve(evidence),
            *words.worst_items(evidence),
        ]


def assert_generalizes(
    model: Model,
    vector: SteeringVector | Intervention | None,
    items: Iterable[ItemLike],
    *,
    relative: float,
    contexts: Mapping[str, Context] | None = None,
    data_sets: Mapping[str, Iterable[ItemLike]] | None = None,
    base: Context = AS_GIVEN,
    multipliers: Sequence[float] = MULTIPLIERS,
    **shared: Unpack[AboutItems],
) -> Evidence:
    """Assert that steerability in each setting is at least ``relative`` times that in the base context.

    Args:
        relative: the promise: 0.5 is half of the base steerability (relative steerability, Tan et al. 2024).
        contexts: names and contexts in which the same items are measured; paired by item.
        data_sets: names and other items, measured in the base context.
        base: the context that the others are held against.

    The other arguments and what is raised are those of :func:`assert_steers`; also SteerError if the base steerability is
    not proven to be above 0.
    """
    return hold("generalizes", locals())


def _units(curve: PropensityCurve) -> set[bool]:
    """Whether items are scored by one token (True) or by the tokens of an answer."""
    return {probe.candidates is not None for probe in curve.probes}


def _describe(curve: PropensityCurve, context: Context, put: str) -> dict[str, Any]:
    return {
        "context": context.to_dict(),
        "put": put,
        "data": describe_items(curve.items),
        "n": len(curve.items),
        "steerability": curve.steerability,
        "anti_steerable_share": float(curve.anti_steerable.mean()),
        "slopes": [float(slope) for slope in curve.slopes],
    }


def _settings(evidence: Evidence) -> list[str]:
    """The settings side by side, the base first."""
    rows = [
        [
            setting["name"],
            setting["n"],
            number(setting["steerability"]),
            number(setting["relative"]),
            "[{}, {}]".format(*map(number, setting["interval"])),
            f"{setting['anti_steerable_share']:.2f}",
            setting["verdict"],
            words.shorten(setting["put"], 60),
        ]
        for setting in evidence.details["settings"]
    ]
    base = evidence.details["base"]
    rows.insert(
        0,
        ["(base)", base["n"], number(base["steerability"]), "1", "", f"{base['anti_steerable_share']:.2f}", "", base["put"]],
    )
    headers = ["setting", "n", "steerability", "relative", "interval", "anti-steerable", "", ""]
    return [*words.table(rows, headers), f"  in the worst setting, {evidence.details['worst']}:"]
