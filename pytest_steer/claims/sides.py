"""What ``promotes`` and ``suppresses`` share: both sides' likelihoods under steering, and how the promised one is judged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Protocol

import numpy as np

from ..data import Items, sample_of
from ..evidence import Direction, Evidence, Verdict
from ..measures import (
    AnswerLikelihoods,
    Array,
    answer_likelihoods,
    asked_record,
    by_quartile,
    normalised_changes,
    strata,
    with_label,
)
from ..measures.compared import bounds_of
from ..measures.subject import Subject
from ..model import Model
from ..prompting import Context
from ..soundness import check_before
from ..stats import Inference
from .beside import beside_record
from .common import IntervalMethod
from .deployed import deployed_record
from .doubts import look_closer
from .judged import judged, mean_of
from .no_effect import controls_of_no_effect
from .numbers import number
from .over_items import (
    asking_warnings,
    check_has_slope,
    check_moved,
    compared_by_items,
    curve_fields,
    data_warnings,
    item_units,
)

SIDES = ("matching", "not_matching")
DEGRADATION = "degradation, not steering"

Bounds = Callable[[Array, "Sequence[int] | None"], Inference]


class OfSides(Protocol):
    """The fields of the two claims."""

    @property
    def subject(self) -> Subject: ...
    @property
    def items(self) -> Items: ...
    @property
    def nats(self) -> float | None: ...
    @property
    def beside(self) -> Items | None: ...
    @property
    def interval(self) -> IntervalMethod: ...
    @property
    def multipliers(self) -> Sequence[float]: ...
    @property
    def confidence(self) -> float: ...
    @property
    def min_n(self) -> int | None: ...
    @property
    def seed(self) -> int: ...
    @property
    def context(self) -> Context: ...
    @property
    def cluster(self) -> str | None: ...
    @property
    def name(self) -> str: ...


def measure_sides(model: Model, claim: OfSides, check: str, *, rises: bool) -> Evidence:
    """Measure both sides at every multiplier, and judge the change of one at the deployed multiplier.

    Args:
        rises: whether a rise of the answers that are wanted is promised, or a fall of the others. The matching answers are wanted, and
            with ``direction: lowers`` those that do not match.

    Raises:
        DataError: fewer than two items, or one that cannot be scored.
        SoundnessError: the hooks do not do what they say.
        VectorError, MeasurementError: see ``answer_likelihoods`` and ``check_fits``.
    """
    subject, at = claim.subject, float(claim.subject.multiplier)
    sample = sample_of(claim.items, claim.cluster)
    grid = sorted({*(claim.multipliers if subject.intervention.strength == "linear" else ()), 0.0, at})
    check_has_slope(subject, grid, by_effect=True)
    soundness = check_before(model, subject)

    def measured(items: Items, multipliers: Sequence[float]) -> AnswerLikelihoods:
        change = subject.intervention
        return answer_likelihoods(model, items, change, multipliers=multipliers, context=claim.context, **subject.scope)

    def bounds(values: Array, clusters: Sequence[int] | None) -> Inference:
        return mean_of(values, claim.interval, confidence=claim.confidence, seed=claim.seed, clusters=clusters)

    found = measured(sample.units, grid)
    curve, changes = found.curve, found.changes(at)
    check_moved(model, subject, np.concatenate(changes), "the items")
    wanted = 0 if subject.effect_sign > 0 else 1
    side, sign = (wanted, 1) if rises else (1 - wanted, -1)
    values = sign * changes[side] + 0.0  # no -0
    asked = asked_record(model, curve, claim.context)
    record = sides_record(found, at, bounds, sample.clusters)
    details: dict[str, Any] = {
        "promised_side": SIDES[side],
        "sides": record,
        "diagnosis": diagnosis_of(record),
        "quartiles": [asdict(one) for one in by_quartile(_base(found)[side], *changes)],
        "normalised": _normalised(found, at, wanted),
    }
    warnings = data_warnings(subject, sample) + asking_warnings(model, subject, asked, sample.units)
    if claim.beside is not None:
        other = sample_of(claim.beside)
        likelihoods = measured(other.units, [0.0, at])
        details["beside"] = other.describe() | {
            "n": other.n,
            "sides": sides_record(likelihoods, at, bounds, other.clusters),
            **beside_record(found, likelihoods, at),
        }
        warnings += [f"beside: {warning}" for warning in data_warnings(subject, other) if warning not in warnings]
    evidence = judged(
        model,
        subject,
        bounds(values, sample.clusters),
        curve.probes,
        threshold=claim.nats,
        direction=Direction.AT_LEAST,
        confidence=claim.confidence,
        min_n=claim.min_n,
        # A change is the difference of two scores of one answer.
        moved=lambda floor: math.sqrt(2) * floor.answer,
        check=check,
        name=claim.name,
        statistic=f"{'rise' if rises else 'fall'} of {called(SIDES[side])} log-likelihood",
        soundness=soundness,
        asked=asked,
        strata=_strata(found, changes),
        warnings=warnings,
        **curve_fields(curve, details | sample.details(), subject, claim.confidence, sample.clusters) | sample.counts(),
    )
    for item, own, others in zip(evidence.items or (), found.matching, found.not_matching, strict=True):
        item |= {"matching_likelihood": own.tolist(), "not_matching_likelihood": others.tolist()}
    evidence.units = item_units(sample, values, {"context": claim.context.to_dict()})
    evidence.details["deployed"] = deployed_record(subject, curve, claim.confidence, sample.clusters)
    evidence.details |= controls_of_no_effect(model, subject, curve.items, evidence, claim.seed, claim.context)
    evidence.warnings += diagnosis_warnings(evidence)
    look_closer(evidence, values, bounds, claim.nats, sample.clusters, [item.id for item in sample.units])
    evidence.compared = compared_by_items(curve, subject, evidence, curve, sample.clusters) | {
        "sides": _compared(record, details["normalised"])
    }
    return evidence


def called(side: str) -> str:
    """A side in words."""
    return side.replace("_", " ")


def sides_record(
    found: AnswerLikelihoods, at: float, bounds: Bounds, clusters: Sequence[int] | None
) -> dict[str, dict[str, Any]]:
    """For each side the mean log-likelihood unsteered (``base``) and ``steered``, the ``change`` with its ``interval``, and the mean
    ``at`` each multiplier."""
    record = {}
    for name, likelihoods, change in zip(SIDES, (found.matching, found.not_matching), found.changes(at), strict=True):
        inference = bounds(change, clusters)
        means = likelihoods.mean(0)
        record[name] = {
            "base": float(means[found.column(0.0)]),
            "steered": float(means[found.column(at)]),
            "change": inference.estimate,
            "interval": list(bounds_of(inference)),
            "at": means.tolist(),
        }
    return record


def diagnosis_of(record: dict[str, dict[str, Any]]) -> str | None:
    """What both sides together say: that the model is degraded where both are proven to fall (Pres et al. 2024), or that both rise."""
    bounds = [record[name]["interval"] for name in SIDES]
    if all(high is not None and high < 0 for _, high in bounds):
        return DEGRADATION
    if all(low is not None and low > 0 for low, _ in bounds):
        return "both sides rise"
    return None


def diagnosis_warnings(evidence: Evidence) -> list[str]:
    """The diagnosis in words, whatever the verdict. That both sides rise is worth a word only where the model is not proven to move
    towards what is wanted."""
    details = evidence.details
    each = ", ".join(f"{called(side)} answers {with_bounds(details['sides'][side])}" for side in SIDES)
    if details["diagnosis"] == DEGRADATION:
        return [f"{DEGRADATION} (Pres et al. 2024): the log-likelihood falls on both sides, {each}"]
    meant = "down" if details["deployed"]["direction"] == "lowers" else "up"
    if details["diagnosis"] and evidence.verdict is Verdict.PASS and details["deployed"]["moves"] != meant:
        return [f"the log-likelihood rises on both sides, {each}: it is not proven that the model prefers what is wanted"]
    return []


def with_bounds(record: Mapping[str, Any]) -> str:
    """A change with its sign and its interval."""
    return "{:+.3g} [{}, {}]".format(record["change"], *map(number, record["interval"]))


def _base(found: AnswerLikelihoods) -> tuple[Array, Array]:
    column = found.column(0.0)
    return found.matching[:, column], found.not_matching[:, column]


def _normalised(found: AnswerLikelihoods, at: float, wanted: int) -> dict[str, Any] | None:
    column, sides = found.column(at), (found.matching, found.not_matching)
    pairs = [(base, side[:, column]) for base, side in zip(_base(found), sides, strict=True)]
    normalised = normalised_changes(pairs[wanted], pairs[1 - wanted])
    return None if normalised is None else {name: list(own) for name, own in asdict(normalised).items()}


def _compared(record: dict[str, dict[str, Any]], normalised: dict[str, Any] | None) -> dict[str, Any]:
    """The fields of ``SideChanges``; of the normalised changes those over all items."""
    found: dict[str, Any] = {
        name: None if normalised is None else normalised[name][-1] for name in ("promoted", "suppressed")
    }
    for name in SIDES:
        found |= {f"{name}_change": record[name]["change"], f"{name}_interval": record[name]["interval"]}
    return found


def _strata(found: AnswerLikelihoods, changes: tuple[Array, Array]) -> list[dict[str, Any]]:
    """The strata of the curve, each with the mean change of both sides."""
    return [
        vars(stratum) | {f"{name}_change": float(change[own].mean()) for name, change in zip(SIDES, changes, strict=True)}
        for stratum, (_, own) in zip(strata(found.curve), with_label(found.curve), strict=True)
    ]
