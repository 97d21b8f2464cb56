"""From a claim and a model to evidence: ask, measure, judge, doubt, find. Every claim goes this way, so none can forget a check."""

from __future__ import annotations

import time
from dataclasses import is_dataclass, replace

from ..core.errors import SteerError
from ..core.evidence import Evidence, Json, fault_of, plain, written
from ..core.finding import ordered
from ..core.record import Silenced, Units
from ..measures import PropensityCurve, asked_record, strata
from ..measures.ask import Ask
from ..measures.subject import describe_model
from ..model import Model
from ..soundness import check_before
from .base import AnyClaim, Claim
from .curves import compared_by_items, contradicted, curve_band, curve_details, deployed_record, item_records, with_deployed
from .findings import Found, check_silence, findings_of, on_promised_side, weak_promise
from .judging import Judgement, not_read, withhold
from .measurement import Measurement, Read
from .pilots import note_threshold


def evidence_of(claim: AnyClaim, model: Model) -> Evidence:
    """Measure and judge a claim.

    Raises:
        SteerError: it cannot be measured; the subclasses say why.
    """
    started = time.perf_counter()
    check_silence(claim.silence, claim.name)
    evidence = _measured(claim, model) if isinstance(claim, Claim) else _concluded(claim, model)
    evidence = _noted(claim, evidence).but(seconds=time.perf_counter() - started)
    fault = fault_of(evidence)
    if fault is not None:
        raise SteerError(f"{type(claim).__module__}: the evidence of the claim {claim.kind.name!r} {fault}")
    return evidence


def _concluded(claim: AnyClaim, model: Model) -> Evidence:
    """The evidence of a claim that counts no units, with the findings that need none."""
    evidence = claim.conclude(model)
    if not isinstance(evidence, Evidence):
        raise SteerError(
            f"{type(claim).__module__}: conclude of the claim {claim.kind.name!r} gave {type(evidence).__name__}, not Evidence"
        )
    weak = map(weak_promise, claim.kind.weak_promises(claim))
    return evidence.but(check=claim.kind.name, name=claim.name, findings=tuple(ordered([*evidence.findings, *weak])))


def _measured(claim: Claim, model: Model) -> Evidence:
    ask = Ask(model, claim.subject, claim.context_asked, check_before)
    measured = _asked(claim, ask)
    if not isinstance(measured, Measurement):
        raise SteerError(
            f"{type(claim).__module__}: measure of the claim {claim.kind.name!r} gave {type(measured).__name__}, not a Measurement"
        )
    if measured.fault is not None:
        raise SteerError(f"{type(claim).__module__}: the measurement of the claim {claim.kind.name!r} {measured.fault}")
    if measured.curve is not None:
        measured = _with_curve(ask, measured)
    ask.check_moved()
    judgement = claim.judge(ask, measured)
    judgement, details = _doubted(claim, ask, measured, judgement)
    found = Found(claim, ask, measured, judgement, details)
    more = dict(claim.after(ask, measured, judgement))
    details |= on_promised_side(found) | plain(more, claim.name)
    own = replace(measured.details, **more) if is_dataclass(measured.details) else None  # type: ignore[type-var]
    return _recorded(claim, ask, found).but(own=own)


def _asked(claim: Claim, ask: Ask) -> Measurement:
    try:
        return claim.measure(ask)
    except TypeError as error:
        if claim.promise is None or claim.threshold is not None or "NoneType" not in str(error):
            raise
        name = claim.promise.name
        raise SteerError(
            f"{type(claim).__module__}: {type(claim).__name__} counts with {name!r}, which is None as long as it has no threshold ({error}). "
            f"Give {name!r} a number, or have measure() leave out what needs one"
        ) from error


def _with_curve(ask: Ask, measured: Measurement) -> Measurement:
    """The measurement with the curve at the deployed multiplier, how its items were asked, and what it says in comparisons."""
    assert measured.curve is not None
    there = measured.where(ask)
    deployed = measured.deployed or with_deployed(there, measured.curve)
    return measured.but(
        deployed=deployed,
        asked=measured.asked or asked_record(there.model, measured.curve, there.context),
    )


def _doubted(claim: Claim, ask: Ask, measured: Measurement, judgement: Judgement) -> tuple[Judgement, Json]:
    """The judgement after every reason to withhold it, and what was found on the way, for the evidence's details."""
    sample = measured.sample_of_entries
    details = {**sample.details(), **plain(measured.described, claim.name), **plain(measured.details, claim.name)}
    if measured.deployed is not None and "deployed" not in details:
        details["deployed"] = deployed_record(ask.subject, measured.deployed, claim.confidence, sample.clusters)
        if measured.is_slope and claim.kind.directed:
            assert measured.curve is not None
            judgement = contradicted(judgement, measured.curve, sample.clusters, details["deployed"])
    judgement = claim.doubt(ask, measured, judgement)
    for one in measured.reads:
        judgement = _unread(judgement, one, claim.confidence)
        if not one.of:
            details["reading"] = one.record(claim.confidence)
    return judgement, details


def _unread(judgement: Judgement, read: Read, confidence: float) -> Judgement:
    """Withhold a pass on texts that the unsteered model is not proven to read better than chance."""
    said = not_read(read, confidence)
    return judgement if said is None else withhold(judgement, said)


def _recorded(claim: Claim, ask: Ask, found: Found) -> Evidence:
    measured, judgement, subject = found.measured, found.judgement, found.subject
    fields: Json = {"details": found.details, "compared": measured.compared or None}
    if measured.curve is not None:
        fields |= _of_curve(claim, ask, found, measured.curve)
    return Evidence(
        check=claim.kind.name,
        name=claim.name,
        **written(judgement, without=("found", "at"))
        | {
            "statistic": measured.statistic,
            "interval_method": judgement.found.method,
            "confidence": claim.confidence,
            "percent": measured.percent,
            "is_strict": measured.is_strict,
            "n": measured.entries.count,
            "unit": measured.entries.counted,
            "units": None if measured.unpaired is not None else _units(claim, measured),
            "unpaired": measured.unpaired,
            "multiplier": subject.multiplier,
            "model": describe_model(ask.model),
            "vector": subject.describe(judgement.receipt),
            "data": measured.sample.describe(),
            "soundness": ask.soundness,
            "asked": measured.asked,
            "findings": tuple(findings_of(found)),
        }
        | fields
        | dict(measured.fields),
    )


def _of_curve(claim: Claim, ask: Ask, found: Found, curve: PropensityCurve) -> Json:
    """The fields of evidence that a claim about contrast items has: the curve, its items and strata, and its entries for a comparison."""
    measured, clusters = found.measured, found.measured.sample_of_entries.clusters
    items = item_records(curve)
    if measured.of_items:
        items = [replace(item, **more) for item, more in zip(items, measured.of_items, strict=True)]
    fields: Json = {
        "multipliers": curve.multipliers.tolist(),
        "curve": curve.mean.tolist(),
        "curve_interval": curve_band(curve, claim.confidence, clusters),
        "items": items,
    }
    if measured.has_slopes:
        fields["details"] = curve_details(curve, found.subject) | found.details
        fields["strata"] = strata(curve, found.subject.slope_sign)
    if measured.compared is None:
        assert measured.deployed is not None
        judged_slope = found.judgement.interval if measured.statistic == "steerability" else None
        of_items = compared_by_items(
            curve, measured.deployed, ask.subject, claim.confidence, clusters, judged_slope=judged_slope
        )
        fields["compared"] = of_items
    return fields


def _noted(claim: AnyClaim, evidence: Evidence) -> Evidence:
    """The evidence with its promise, where that comes from, and every finding that the claim does not silence."""
    threshold_set, doubts = note_threshold(evidence, claim.promise, claim)
    said = [*evidence.findings, *doubts]
    shown = tuple(one for one in said if one.code not in claim.silence)
    return evidence.but(
        promise=None if claim.promise is None else claim.promise.name,
        threshold_set=threshold_set,
        findings=shown,
        silenced=tuple(Silenced(**vars(one), reason=claim.silence[one.code]) for one in said if one.code in claim.silence),
    )


def _units(claim: Claim, measured: Measurement) -> Units:
    """The units, each with its number, whose mean is the estimate."""
    values = measured.estimator.per_unit(measured.values, measured.direction)
    if measured.scale is not None:
        values = measured.scale.per_unit(values)
    parts = getattr(measured.estimator, "parts", None) or ()
    how = claim.how | dict(measured.how)
    return measured.entries.record(values, measured.estimator.kind, how, parts if len(set(parts)) > 1 else None)
