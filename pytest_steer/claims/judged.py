"""From an inference to evidence with its verdict: what steered, how sure the numbers are, and what rounding does to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from ..errors import SteerError
from ..evidence import Direction, Evidence, Verdict
from ..measures import Array, NoiseFloor, Receipt, noise_floor, steering_receipt
from ..measures.compared import bounds_of
from ..measures.subject import Subject, describe_model
from ..model import Model, Probe, engine_of
from ..model.noise import eps_of
from ..model.sites import mismatch_warnings
from ..stats import (
    Inference,
    items_needed_mean,
    judge,
    mean_bootstrap,
    mean_t,
    mean_transformed_t,
    share,
    share_of_clusters,
)
from .common import IntervalMethod
from .numbers import number

MIN_N = 8
"""Units below which a mean is not judged: see docs/verdicts.md for the error rates there."""

NOT_JUDGED: dict[str, Any] = {"p_pass": None, "p_fail": None, "verdict": Verdict.INCONCLUSIVE.value}
"""What a record of a part of a claim says in the place of a verdict as long as there is no threshold."""

SHARES = ("clopper-pearson", "clustered clopper-pearson", "sequential binomial", "paired exact")
"""Methods whose bounds are exact for any number of units."""


def judged(
    model: Model,
    subject: Subject,
    found: Inference,
    probes: Sequence[Probe],
    *,
    threshold: float | None,
    direction: Direction,
    confidence: float,
    moved: Callable[[NoiseFloor], float],
    min_n: int | None = None,
    fewest: int | None = None,
    noisy: Sequence[Probe] | None = None,
    scaled: float | None = None,
    **more: Any,
) -> Evidence:
    """The evidence of a claim that is judged by an interval.

    Args:
        threshold: None as long as there is none: then the claim is inconclusive, whatever the interval.
        probes: what was asked of the model, for the receipt.
        moved: what the noise floor moves the statistic of one unit (item, text) by; for a share, the share of units that it leaves open.
        min_n: with fewer units the verdict is inconclusive; see :func:`floor_of` for None.
        fewest: the least number of units that the verdict rests on, if that is not ``found.n``.
        noisy: the probes of which the noise is measured, if not all.
        scaled: the threshold on the scale of ``found``, if that is another one. One of 0 has to be exceeded where a large number is promised.
        more: the other fields of the evidence, which win over those that are made here.

    Raises:
        SteerError: the verdict would rest on rounding, see ``_check_above_noise``.
    """
    found = checked_inference(found)
    receipt = steering_receipt(model, probes, subject.intervention, subject.multiplier)
    at = threshold if scaled is None else scaled
    if at == 0 and direction is Direction.AT_LEAST:
        at = math.ulp(0.0)  # to be at least 0 is no promise: where nothing moves it would be kept
    holds, fails = (None, None) if at is None else (found.p_at_least(at), found.p_at_most(at))
    least, n = floor_of(found, min_n), found.n if fewest is None else fewest
    is_floored = least is not None and n < least
    if is_floored and at is not None:
        holds = fails = 1.0  # proves nothing, neither alone nor among others
    made: dict[str, Any] = {
        "verdict": judged_from(found, at, direction, min_n, n),
        "estimate": found.estimate,
        "interval": bounds_of(found),
        "interval_method": found.method,
        "confidence": confidence,
        "threshold": threshold,
        "direction": direction,
        "min_n": least,
        "multiplier": subject.multiplier,
        "model": describe_model(model),
        "vector": subject.describe(receipt),
        "receipt": asdict(receipt),
        "p_pass": holds if direction is Direction.AT_LEAST else fails,
        "p_fail": fails if direction is Direction.AT_LEAST else holds,
    }
    evidence = Evidence(**made | more)
    evidence.warnings += mismatch_warnings(model, subject.intervention) + _overwhelming(receipt)
    if is_floored:
        evidence.warnings.append(below_floor(n, least, evidence.unit))
    elif found.method not in SHARES and n < MIN_N:
        evidence.warnings.append(
            f"min_n {least} lets n = {n} decide, where {MIN_N} is usual: the bounds of a mean of so few hold for normal values only"
        )
    if evidence.verdict is Verdict.INCONCLUSIVE and found.standard_deviation and at is not None:
        evidence.items_needed = items_needed_mean(found.estimate, found.standard_deviation, at, confidence=confidence)
    _add_noise(evidence, model, noise_floor(model, noisy or probes, subject.intervention, subject.multiplier), moved)
    grid = evidence.multipliers or [0.0, subject.multiplier]
    dose = engine_of(model).doses.relative(probes, subject.intervention, max(grid) - min(grid))
    _check_above_noise(evidence, model, dose)
    return evidence


_OVERWHELMING = 10


def _overwhelming(receipt: Receipt) -> list[str]:
    """A warning if what is added is so many times what stands there that the model reads little else."""
    sizes = {dose.layer: dose.relative_dose if dose.displacement is None else dose.displacement for dose in receipt.doses}
    large = {layer: size for layer, size in sizes.items() if size is not None and size >= _OVERWHELMING}
    if not large:
        return []
    layer = max(large, key=lambda one: large[one])
    return [
        f"the change at layer {layer} is {number(large[layer])} times the norm of what stands there, so the model reads the vector and little of "
        "its prompt: deploy a smaller multiplier"
    ]


def checked_inference(found: object) -> Inference:
    """What a claim's own function inferred, if it is an inference.

    Raises:
        SteerError: it is something else, such as an estimate with its bounds alone.
    """
    if not isinstance(found, Inference):
        raise SteerError(
            f"infer gave {type(found).__name__}, not an Inference, which has the p-values too: return what share(...), mean_t(...) or another "
            "function of pytest_steer.stats gives"
        )
    return found


_SMALL = 0.01
_COARSE = 4


def _check_above_noise(evidence: Evidence, model: Model, dose: float | None) -> None:
    """Refuse a verdict on small doses if rounding can have made it: it moves one item by more than lies between estimate and threshold.

    Rounding moves many items alike, so no interval shows it. Of honest doses (over 1 % of the hidden states' norm, and in 16 bits over four
    roundings) it makes so little that a small effect is a measurement.

    Args:
        dose: from the least multiplier to the largest, as a share of the hidden states' norm; None if it is not known.
    """
    estimate, threshold = evidence.estimate, evidence.threshold
    if evidence.noise is None or estimate is None or threshold is None:
        return
    room = evidence.noise["statistic"]
    if evidence.verdict is Verdict.INCONCLUSIVE or dose is None or dose >= max(_SMALL, _COARSE * eps_of(model.dtype)):
        return
    if abs(estimate - threshold) < room:
        raise SteerError(
            f"the verdict would rest on rounding: from the least multiplier to the largest the hidden states move by {dose:.2g} of their norm, "
            f"too little to tell {evidence.statistic} {number(estimate, evidence.percent)} from the promised "
            f"{number(threshold, evidence.percent)} (rounding in {model.dtype} makes up to {number(room, evidence.percent)}). Measure at "
            "larger multipliers"
        )


def floor_of(found: Inference, min_n: int | None) -> int | None:
    """The least number of units for a verdict: what the claim says, else :data:`MIN_N` for a mean and None for a share."""
    return min_n if min_n is not None or found.method in SHARES else MIN_N


def judged_from(
    found: Inference, at: float | None, direction: Direction, min_n: int | None, n: int | None = None
) -> Verdict:
    """The verdict, which is inconclusive with fewer units than :func:`floor_of` and without a threshold.

    Args:
        n: the units that it rests on, if that is not ``found.n``.
    """
    least = floor_of(found, min_n)
    if at is None or (least is not None and (found.n if n is None else n) < least):
        return Verdict.INCONCLUSIVE
    return judge(found, at, direction)


def below_floor(n: int, least: int | None, unit: str) -> str:
    """The words of the warning about too few units."""
    return (
        f"n = {n} is below min_n {least}: so few {unit} say too little about how much they vary, so there is no verdict; measure at least "
        f"{least}{', or set min_n' if least == MIN_N else ''}"
    )


def mean_of(
    values: Array, interval: IntervalMethod, *, confidence: float, seed: int, clusters: Sequence[int] | None = None
) -> Inference:
    """The mean with bounds by a claim's ``interval``, over clusters if there are some."""
    if interval == "bootstrap":
        return mean_bootstrap(values, confidence=confidence, seed=seed, clusters=clusters)
    mean = mean_transformed_t if interval == "transformed_t" else mean_t
    return mean(values, confidence=confidence, clusters=clusters)


def share_of(flags: Array, *, confidence: float, clusters: Sequence[int] | None = None) -> Inference:
    """The share of units with a flag, with exact bounds; with clusters, see ``stats.share_of_clusters``."""
    if clusters is not None:
        return share_of_clusters(flags.astype(bool), clusters, confidence=confidence)
    return share(int(flags.sum()), len(flags), confidence=confidence)


def _add_noise(evidence: Evidence, model: Model, floor: NoiseFloor, moved: Callable[[NoiseFloor], float]) -> None:
    """Put the noise floor into evidence, with a warning where the interval is narrower than what it moves the statistic by."""
    room, (low, high) = moved(floor), evidence.interval
    narrow = bool(floor.coarse and low is not None and high is not None and high - low < room)
    evidence.noise = {
        "score": floor.score,
        "between_batches": floor.between_batches,
        "rounding": floor.rounding,
        "unit": floor.unit,
        "statistic": room,
        "interval_is_narrower": narrow,
    }
    if narrow:
        evidence.warnings.append(
            f"the interval is narrower than the rounding: in {model.dtype} a score is known to {number(floor.score)} {floor.unit}, which "
            f"is {number(room, evidence.percent)} of {evidence.statistic}; for the last word measure in float32 "
            "(--steer-dtype float32)"
        )
