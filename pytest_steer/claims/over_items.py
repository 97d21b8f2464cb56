"""What claims about contrast items share: measuring the curve and recording it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..core.record import Compared
from ..data import Items, Sample, sample_of
from ..errors import DataError, SteerError
from ..evidence import Evidence
from ..extract import letter_imbalance, unreliable
from ..measures import (
    Array,
    NoiseFloor,
    PropensityCurve,
    asked_record,
    chance_warnings,
    check_dose,
    check_multipliers,
    check_slope_grid,
    explained,
    propensity_curve,
    random_controls,
    strata,
)
from ..measures.at_cost import spread
from ..measures.compared import bounds_of, strength_of
from ..measures.subject import Subject
from ..model import Model
from ..model.noise import eps_of
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import Direction, Inference, mean_t
from .control_tokens import control_token_warnings
from .deployed import deployed_record, slope_warnings, with_deployed
from .doubts import look_closer
from .in_rounds import draw_in_rounds
from .judged import SHARES, judged
from .leaks import leaks
from .units import UnitKind, units_record


def measure_items(
    model: Model,
    subject: Subject,
    items: Items | Sample[Items],
    multipliers: Sequence[float],
    *,
    check: str,
    name: str,
    statistic: str,
    direction: Direction,
    threshold: float | None,
    values: Callable[[PropensityCurve], Array],
    infer: Callable[[Array], Inference],
    over_clusters: Callable[[Array, Sequence[int]], Inference] | None = None,
    cluster: str | None = None,
    confidence: float = 0.95,
    min_n: int | None = None,
    context: Context = AS_GIVEN,
    moved: Callable[[NoiseFloor, PropensityCurve], float] = lambda floor, _: floor.effect,
    sequential: bool = False,
    seed: int = 0,
    by_effect: bool = False,
    controls: int = 0,
    closer: bool = True,
) -> tuple[PropensityCurve, Inference, Evidence]:
    """The propensity curve, the inference over its items, and the evidence with its verdict.

    Args:
        values: the number (or flag) of each item that the statistic is the mean (or share) of.
        infer: bounds of the statistic; anytime-valid ones if ``sequential``.
        over_clusters: the same of values and the cluster of each, for items that belong together.
        cluster: a key of the items that says which do; see ``data.sample_of``.
        moved: what the noise floor moves the statistic of one item by, see ``judging.judged``.
        sequential: draw the items in rounds and stop when the bounds decide.
        by_effect: the statistic compares the deployed strength with 0, so that an intervention without a slope has it too.
        closer: add what makes the verdict of a mean doubtful, see ``doubts.look_closer``.

        controls: how many random directions of equal norm are measured beside the vector.

    Raises:
        DataError: fewer than two items, or than eight if they are drawn in rounds.
        SteerError: multipliers without a slope, or an intervention whose strength has none.
        SoundnessError: the hooks do not do what they say.
        VectorError, MeasurementError: see ``propensity_curve`` and ``check_fits``.
    """
    sample = sample_of(items, cluster)
    check_enough(sample)
    if sequential and sample.clusters is not None:
        raise SteerError(
            f"drawing in rounds draws items one by one, and {sample.units.source} has {sample.n} clusters of items that belong together: "
            "set sequential: false"
        )
    if over_clusters is None and sample.clusters is not None:
        raise SteerError(f"{check} has no bounds over clusters, and {sample.units.source} has items that belong together")
    grid = check_has_slope(subject, multipliers, by_effect=by_effect)
    change = subject.intervention

    soundness = check_before(model, subject)

    def curve_of(data: Items) -> PropensityCurve:
        return propensity_curve(model, data, change, multipliers=grid, context=context, **subject.scope)

    def bounds(numbers: Array, clusters: Sequence[int] | None) -> Inference:
        return infer(numbers) if clusters is None or over_clusters is None else over_clusters(numbers, clusters)

    details: dict[str, Any] = sample.details()
    if sequential:
        draw = draw_in_rounds(
            sample.units,
            lambda data: values(curve_of(data)),
            infer,
            threshold=threshold,
            direction=direction,
            seed=seed,
            min_n=min_n,
        )
        sample, details["sequential"] = replace(sample, units=draw.items), draw.describe()
    curve = curve_of(sample.units)
    check_moved(model, subject, curve.values - curve.values[:, :1], "the items")
    if controls:
        details["controls"] = random_controls(model, subject, curve, controls, seed=seed, context=context)
    found = bounds(values(curve), sample.clusters)
    asked = asked_record(model, curve, context)
    evidence = judged(
        model,
        subject,
        found,
        curve.probes,
        threshold=threshold,
        direction=direction,
        confidence=confidence,
        min_n=min_n,
        moved=lambda floor: moved(floor, curve),
        check=check,
        name=name,
        statistic=statistic,
        soundness=soundness,
        asked=asked,
        strata=[vars(stratum) for stratum in strata(curve, subject.slope_sign)],
        warnings=data_warnings(subject, sample) + asking_warnings(model, subject, asked, sample.units),
        **curve_fields(curve, details, subject, confidence, sample.clusters) | sample.counts(),
    )
    evidence.units = _units(values(curve), found, sample, context, None if by_effect else grid)
    at_deployed = with_deployed(model, subject, curve, context)
    evidence.details["deployed"] = deployed_record(subject, at_deployed, confidence, sample.clusters)
    if not by_effect:
        evidence.warnings += slope_warnings(evidence, subject)
    if closer and found.method not in SHARES:
        look_closer(evidence, values(curve), bounds, threshold, sample.clusters, [item.id for item in sample.units])
    evidence.compared = compared_by_items(curve, subject, evidence, at_deployed, sample.clusters)
    return curve, found, evidence


def _units(
    values: Array, found: Inference, sample: Sample[Items], context: Context, grid: list[float] | None
) -> dict[str, Any] | None:
    """The evidence's ``units`` record, if the statistic is the mean of the values.

    Args:
        grid: the multipliers that the values depend on; None for effects of the deployed one.
    """
    if not np.isclose(values.mean(), found.estimate, rtol=1e-9, atol=1e-12):
        return None
    kind: UnitKind = "share" if found.method in SHARES and np.isin(values, (0.0, 1.0)).all() else "mean"
    how = {"context": context.to_dict()} | ({} if grid is None else {"multipliers": grid})
    return item_units(sample, values, how, kind=kind)


def item_units(sample: Sample[Items], values: Array, how: Mapping[str, Any], *, kind: UnitKind = "mean") -> dict[str, Any]:
    """The evidence's ``units`` record of a statistic over items."""
    forms, names = [item.form for item in sample.units], [item.id for item in sample.units]
    return units_record(forms, names, values, unit="items", kind=kind, clusters=sample.clusters, how=how)


def curve_fields(
    curve: PropensityCurve,
    more: dict[str, Any],
    subject: Subject,
    confidence: float,
    clusters: Sequence[int] | None,
) -> dict[str, Any]:
    """Fields of evidence that say what a curve is measured on and what it is; ``more`` is added to the details.

    Args:
        confidence: of each bound of the band. clusters: of the items, see ``data.Sample``.
    """
    return {
        "n": len(curve.items),
        "data": describe_items(curve.items),
        "multipliers": [float(m) for m in curve.multipliers],
        "curve": [float(p) for p in curve.mean],
        "curve_interval": curve_band(curve, confidence, clusters),
        "items": [item_record(curve, index) for index in range(len(curve.items))],
        "details": curve_details(curve, subject) | more,
    }


def curve_band(curve: PropensityCurve, confidence: float, clusters: Sequence[int] | None) -> list[list[float | None]]:
    """The bounds of the mean propensity at each multiplier by Student's t, each one-sided; they do not hold for all multipliers at once."""
    return [list(bounds_of(mean_t(column, confidence=confidence, clusters=clusters))) for column in curve.values.T]


def describe_items(items: Items) -> dict[str, Any]:
    """The evidence's ``data`` record."""
    return {"hash": items.hash, "n": len(items), "source": items.source}


def check_enough(sample: Sample[Items]) -> None:
    """Refuses data that can have no interval.

    Raises:
        DataError: fewer than two distinct items.
    """
    items = sample.units
    if len(items) < 2:
        raise DataError(f"{items.source}: has {len(items)} item(s); an interval needs at least two")


_INSTEAD = (
    "Claim what it does at its deployed strength: not_anti_steered with by: effect (against the unsteered model), and what it costs: "
    "ppl_delta_below"
)


def check_moved(model: Model, subject: Subject, changes: Array, what: str) -> None:
    """Refuse a user's own way of steering that changed no number while a claim was measured.

    Raises:
        SteerError: every change is within a few roundings of 0.
    """
    if subject.intervention.applied is not None and float(abs(changes).max()) <= 16 * eps_of(model.dtype):
        raise SteerError(
            f"apply steered nothing while {what} were measured: every number is that of the unsteered model, though the check of "
            "the hooks saw it steer. Does it stop after some forwards, or act only on some lengths?"
        )


def check_has_slope(
    subject: Subject, multipliers: Sequence[float], *, by_effect: bool = False, instead: str = _INSTEAD
) -> list[float]:
    """Validate that a slope over these multipliers is defined, and return them as floats.

    Args:
        by_effect: the statistic compares the deployed strength with 0, so that an intervention without a slope has it too.
        instead: what to claim of an intervention without a slope.

    Raises:
        SteerError: multipliers without a slope, or an intervention whose strength has none.
    """
    grid = check_multipliers(multipliers)
    check_slope_grid(grid)
    change = subject.intervention
    check_dose(change, grid, "multipliers")
    if change.strength != "linear" and not by_effect:
        raise SteerError(
            f"the strength of {change.method!r} is {change.strength}, so a slope over multipliers has no meaning for it. {instead}"
        )
    return grid


def data_warnings(subject: Subject, sample: Sample[Items]) -> list[str]:
    """What the reader of a claim about these items has to know about them."""
    items = sample.units
    return [*warnings_about(subject, [item.question for item in items], items.hash), *map(str, sample.findings)]


def asking_warnings(model: Model, subject: Subject, asked: dict[str, Any] | None, items: Items) -> list[str]:
    """What the reader has to know about how the items were put to the model, and whether it reads their language at all."""
    questions = [item.question for item in items]
    found = [*chance_warnings(model, questions), *control_token_warnings(model, questions)]
    return found if asked is None else [*found, *asked["notes"], *thinking_warnings(model, subject, asked["thinking"])]


def thinking_warnings(model: Model, subject: Subject, thinking: str | None) -> list[str]:
    """A warning if the vector was made with another ``thinking`` than the claim is measured with, and the model's template tells the two apart."""
    made = subject.intervention.metadata.get("thinking")
    if not (made and thinking and made != thinking and _thinking_matters(model)):
        return []
    return [
        f"the vector was made with thinking {made}, and this claim is measured with thinking {thinking}: steering can differ widely between "
        "the two"
    ]


def _thinking_matters(model: Model) -> bool:
    """Whether a reply stands elsewhere than right after the generation prompt."""
    return model.format.prompt("Is it?").text != model.format.prompt("Is it?", thinking_open=True).text


def warnings_about(subject: Subject, questions: Sequence[str], data_hash: str, *, unit: str = "items") -> list[str]:
    """What the reader of a claim about some items of any kind has to know about them and the vector.

    Args:
        questions: or inputs, one per item. data_hash: of all items. unit: what they are.
    """
    record = subject.intervention.metadata
    found = leaks(record, questions, data_hash, unit=unit)
    letters = letter_imbalance(record.get("label_balance") or {})
    if letters:
        found.append(letters)
    usual = record.get("positions")
    if usual and usual != subject.positions:
        found.append(
            f"the method {record.get('method')} is applied at positions '{usual}' where it comes from; this claim steers "
            f"'{subject.positions}'"
        )
    weak = unreliable(record)
    if weak:
        found.append(weak)
    return found


def item_record(curve: PropensityCurve, index: int) -> dict[str, Any]:
    """The evidence's record of one item."""
    item = curve.items[index]
    return {
        "id": item.id,
        "propensity": [float(p) for p in curve.values[index]],
        "slope": float(curve.slopes[index]),
        "label": curve.labels[index] if curve.labels is not None else item.label,
        "question": item.question,
        "matching": list(item.matching),
        "not_matching": list(item.not_matching),
    }


def curve_details(curve: PropensityCurve, subject: Subject) -> dict[str, Any]:
    """What the evidence says of a curve besides its verdict. Steerability is the slope as it is; anti-steerable is what moves the wrong way."""
    return {
        "steerability": curve.steerability,
        "anti_steerable_share": wrong_share(curve, subject.slope_sign),
        "curvature": float(curve.curvatures.mean()) if curve.curvatures is not None else None,
        "monotonicity": float(curve.monotonicity.mean()),
        "explained": explained(curve),
    }


def wrong_share(curve: PropensityCurve, sign: int) -> float:
    """The share of items whose slope is not on the promised side of 0: the anti-steerable share, or of items that do not fall."""
    return float((sign * curve.slopes <= 0).mean())


def compared_by_items(
    curve: PropensityCurve,
    subject: Subject,
    evidence: Evidence,
    at_deployed: PropensityCurve,
    clusters: Sequence[int] | None = None,
) -> Compared:
    """What the evidence holds for a comparison of methods: the effect at the deployed multiplier, and the slope if there is one."""
    multiplier = float(subject.multiplier)
    unsteered = at_deployed.values[:, at_deployed.multipliers.tolist().index(0.0)]
    found = Compared(
        n=len(curve.items),
        spread=spread(unsteered),
        deployed=strength_of(at_deployed.effects(multiplier), multiplier, evidence.confidence, clusters=clusters),
    )
    if subject.intervention.strength != "linear":
        return found
    slopes = mean_t(curve.slopes, confidence=evidence.confidence, clusters=clusters)
    return replace(
        found,
        steerability=slopes.estimate,
        steerability_interval=evidence.interval if evidence.statistic == "steerability" else bounds_of(slopes),
        anti_steerable_share=wrong_share(curve, subject.slope_sign),
        # Bounds of a claim about another statistic are not those that a claim about the slope was judged by.
        rank=0 if evidence.statistic == "steerability" else 1,
    )
