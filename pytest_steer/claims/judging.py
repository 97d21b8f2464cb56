"""The judgement of a measurement: estimate, bounds, verdict, and the ways to take a verdict back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..core.errors import SteerError
from ..core.evidence import Direction, Evidence, Verdict
from ..core.finding import Finding, Weight, code
from ..core.numbers import estimated, number
from ..core.record import Bounds, Holm, Noise, Receipt
from ..measures import Array, NoiseFloor, noise_floor, steering_receipt
from ..measures.ask import Ask
from ..measures.compared import bounds_of
from ..model import engine_of
from ..model.noise import eps_of
from ..stats import Inference, holm, judge
from ..stats.estimators import Clusters, Estimator, floor_of
from .measurement import Measurement, Read

Reason = Finding
"""Why a verdict is withheld: its text is the end of a sentence."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """How a measurement was judged.

    Attributes:
        found: the inference, on its own scale. at: the threshold there; None without one.
        estimate / interval / threshold: on the scale of the promise.
        min_n: the least number of units for a verdict; None where there is no floor.
        items_needed: units that would decide an inconclusive claim.
        p_pass / p_fail: one-sided p-values that the claim holds / does not hold.
        withheld: why the verdict was taken back; the verdict is then inconclusive.
    """

    found: Inference
    at: float | None
    verdict: Verdict
    estimate: float | None
    interval: Bounds
    threshold: float | None
    direction: Direction
    n: int
    unit: str
    min_n: int | None
    receipt: Receipt
    p_pass: float | None = None
    p_fail: float | None = None
    items_needed: int | None = None
    noise: Noise | None = None
    withheld: Reason | None = None

    @property
    def is_floored(self) -> bool:
        """Whether the units are fewer than a verdict needs."""
        return self.min_n is not None and self.n < self.min_n


unread = code(
    "unread-data",
    signal="The unsteered model reads the texts or questions no better than tokens drawn at random.",
    meaning="Steering can cost little, or move little, on text that the model does not read: a pass would say nothing.",
    cure="Give data in a language that the model reads, or the right model and tokenizer.",
    weight=Weight.MEANINGLESS,
    mark="model does not read the texts",
)
nothing_to_lose = code(
    "nothing-to-lose",
    signal="The unsteered model is not proven to answer better than by guessing, or by more than the limit.",
    meaning="A model that guesses loses nothing, and its gains and losses are chance: neither verdict means anything.",
    cure="Ask easier or more questions, or score them in another way.",
    weight=Weight.MEANINGLESS,
)
contradiction = code(
    "deployed-contradicts-slope",
    signal="The mean effect at the deployed multiplier has another sign than the slope gives it.",
    meaning="The slope over the multipliers does not describe the deployed model.",
    cure="Deploy a smaller multiplier, or choose multipliers that reach it.",
    weight=Weight.MEANINGLESS,
)
within_rounding = code(
    "within-rounding",
    signal="Every difference to the baseline is within what rounding makes of equal models.",
    meaning="The vector and its baseline are not told apart.",
    cure="Measure in float32, or at larger multipliers.",
    weight=Weight.MEANINGLESS,
)
over_budget = code(
    "over-budget",
    signal="The vector or its baseline cannot be brought to the budget.",
    meaning="The two are compared at different costs.",
    cure="Raise the budget, or compare at the deployed multipliers.",
    weight=Weight.MEANINGLESS,
)
few_units = code(
    "below-min-n",
    signal="There are fewer units than a verdict needs.",
    meaning="So few units say too little about how much they vary.",
    cure="Measure more units.",
    weight=Weight.DOUBTFUL,
)

UNDERMINES_A_FAIL = frozenset({nothing_to_lose.name, over_budget.name, few_units.name})
"""Reasons that make a fail as meaningless as a pass. Any other reason leaves a fail as it is."""


def withhold(judgement: Judgement, reason: Reason) -> Judgement:
    """Take the verdict back, once: an inconclusive claim that proves nothing, neither alone nor among others.

    A fail stays unless the reason undermines it too (:data:`UNDERMINES_A_FAIL`). A claim has one reason, the first.
    """
    both = reason.code in UNDERMINES_A_FAIL
    if judgement.withheld is not None or (judgement.verdict is Verdict.FAIL and not both):
        return judgement
    proves_nothing = None if judgement.p_pass is None else 1.0
    return replace(
        judgement,
        verdict=Verdict.INCONCLUSIVE,
        items_needed=None,
        p_pass=proves_nothing,
        p_fail=proves_nothing if both else judgement.p_fail,
        withheld=reason,
    )


def at_level(verdict: Verdict, p_pass: float, p_fail: float, confidence: float) -> Verdict:
    """The verdict, or inconclusive where its p-value, adjusted for other tests, misses the level."""
    alpha = 1 - confidence
    is_lost = (verdict is Verdict.PASS and p_pass > alpha) or (verdict is Verdict.FAIL and p_fail > alpha)
    return Verdict.INCONCLUSIVE if is_lost else verdict


def adjusted(family: Sequence[Evidence]) -> list[Evidence]:
    """The evidence with each verdict replaced by the one that survives Holm's step-down adjustment over the family (Holm 1979).

    Passes and fails are two families of tests: the chance of any false pass among the claims is at most 1 - confidence,
    and so is that of any false fail. An errored claim counts as one that proves nothing. Intervals stay as they are.
    Claims that are judged without an interval (``hooks_are_sound``) take no part.
    ``holm`` of the evidence has the adjusted p-values and the verdict that the claim has by itself.
    """
    tested = [e for e in family if e.verdict is Verdict.ERROR or e.p_pass is not None or e.p_fail is not None]
    passes = holm([1.0 if e.p_pass is None else e.p_pass for e in tested])
    fails = holm([1.0 if e.p_fail is None else e.p_fail for e in tested])
    found = {id(e): _adjusted(e, len(tested), *p) for e, *p in zip(tested, passes, fails, strict=True)}
    return [found.get(id(evidence), evidence) for evidence in family]


def _adjusted(evidence: Evidence, claims: int, p_pass: float, p_fail: float) -> Evidence:
    if evidence.verdict is Verdict.ERROR:
        return evidence
    verdict = at_level(evidence.verdict, p_pass, p_fail, evidence.confidence)
    return evidence.but(
        verdict=verdict,
        # It was worked out at the level of a claim by itself.
        items_needed=None if verdict is Verdict.INCONCLUSIVE else evidence.items_needed,
        holm=Holm(claims=claims, p_pass_adjusted=p_pass, p_fail_adjusted=p_fail, verdict_alone=evidence.verdict.value),
    )


def not_read(read: Read, confidence: float) -> Finding | None:
    """The finding that the unsteered model does not read texts or questions significantly better than chance.

    None if it does, or if they are too short to tell.
    """
    record = read.record(confidence)
    if read.reading is None or record is None or record["is_better"]:
        return None
    return unread(
        f"{f'{read.of}: ' if read.of else ''}it is not proven that the unsteered model reads {read.reading.of} better than chance: "
        f"{estimated(record['loss'], record['interval'])} nats per token, and {number(record['chance'])} for tokens drawn at random",
        "give texts in a language that this model reads, or the right model and tokenizer",
    )


def judge_measurement(
    ask: Ask, measured: Measurement, *, threshold: float | None, confidence: float, min_n: int | None
) -> Judgement:
    """Judge a measurement by its interval.

    Args:
        threshold: on the scale of the promise; without one the claim is inconclusive, whatever the interval.
        min_n: with fewer units the verdict is inconclusive; None for what the estimator needs.

    Raises:
        SteerError: the verdict would rest on rounding.
    """
    subject, entries, direction = measured.subject or ask.subject, measured.entries, measured.direction
    found = inferred(measured.estimator, measured.values, entries.clusters, confidence=confidence, direction=direction)
    at, least = _threshold_at(measured, threshold), floor_of(found, min_n)
    estimate: float | None = found.estimate
    interval: Bounds = bounds_of(found)
    if measured.scale is not None:
        shown = measured.scale.shown
        estimate, interval = shown(found.estimate), (shown(found.low), shown(found.high))
    judgement = Judgement(
        found=found,
        at=at,
        verdict=verdict_of(found, at, direction, min_n),
        estimate=estimate,
        interval=interval,
        threshold=threshold,
        direction=direction,
        n=entries.count,
        unit=entries.counted,
        min_n=least,
        receipt=steering_receipt(ask.model, measured.probes, subject.intervention, subject.multiplier),
    )
    if at is not None:
        # With too few units a claim proves nothing, neither alone nor among others.
        p_values = (1.0, 1.0) if least is not None and found.n < least else (found.p_at_least(at), found.p_at_most(at))
        p_pass, p_fail = p_values if direction is Direction.AT_LEAST else p_values[::-1]
        is_open = judgement.verdict is Verdict.INCONCLUSIVE
        needed = (
            measured.estimator.units_needed(found, measured.values, entries.clusters, at, direction) if is_open else None
        )
        judgement = replace(judgement, p_pass=p_pass, p_fail=p_fail, items_needed=needed)
    if measured.moved is None:
        return judgement
    floor = noise_floor(ask.model, measured.noisy or measured.probes, subject.intervention, subject.multiplier)
    judgement = replace(judgement, noise=_noise(floor, measured.moved(floor), judgement.interval))
    _check_above_noise(ask, measured, judgement)
    return judgement


def inferred(
    estimator: Estimator, values: Array, clusters: Clusters = None, *, confidence: float, direction: Direction
) -> Inference:
    """The estimate and its bounds by an estimator, which may be a user's own.

    Raises:
        SteerError: it gives something else.
    """
    found: object = estimator.infer(values, clusters, confidence=confidence, direction=direction)
    if not isinstance(found, Inference):
        raise SteerError(f"infer gave {type(found).__name__}, not an Inference, which has the p-values too")
    return found


def verdict_of(found: Inference, at: float | None, direction: Direction, min_n: int | None = None) -> Verdict:
    """The verdict of an inference, which is inconclusive without a threshold and with fewer units than it needs."""
    least = floor_of(found, min_n)
    if at is None or (least is not None and found.n < least):
        return Verdict.INCONCLUSIVE
    return judge(found, at, direction)


def _threshold_at(measured: Measurement, threshold: float | None) -> float | None:
    """The threshold on the scale of the inference."""
    if threshold is None:
        return None
    at = threshold if measured.scale is None else measured.scale.inferred(threshold)
    if measured.is_strict:
        return math.nextafter(at, math.inf if measured.direction is Direction.AT_LEAST else -math.inf)
    return exceeding_nothing(at, measured.direction)


def exceeding_nothing(at: float, direction: Direction) -> float:
    """The threshold; one of 0 has to be exceeded, since to be at least 0 is no promise: where nothing moves it would be kept."""
    return math.ulp(0.0) if at == 0 and direction is Direction.AT_LEAST else at


def _noise(floor: NoiseFloor, room: float, interval: Bounds) -> Noise:
    low, high = interval
    return Noise(
        score=floor.score,
        between_batches=floor.between_batches,
        rounding=floor.rounding,
        unit=floor.unit,
        statistic=room,
        interval_is_narrower=bool(floor.coarse and low is not None and high is not None and high - low < room),
    )


_SMALL = 0.01
_COARSE = 4


def _check_above_noise(ask: Ask, measured: Measurement, judgement: Judgement) -> None:
    """Refuse a verdict on small doses if rounding can have made it: it moves one item by more than lies between estimate and threshold.

    Rounding moves many items alike, so no interval shows it. Of honest doses (over 1 % of the hidden states' norm, and in 16 bits over four
    roundings) it makes so little that a small effect is a measurement.
    """
    estimate, threshold, noise = judgement.estimate, judgement.threshold, judgement.noise
    if noise is None or estimate is None or threshold is None or judgement.verdict is Verdict.INCONCLUSIVE:
        return
    subject, model = measured.subject or ask.subject, ask.model
    grid = [0.0, subject.multiplier] if measured.curve is None else [float(m) for m in measured.curve.multipliers]
    dose = engine_of(model).doses.relative(measured.probes, subject.intervention, max(grid) - min(grid))
    if dose is None or dose >= max(_SMALL, _COARSE * eps_of(model.dtype)):
        return
    room = noise.statistic
    if abs(estimate - threshold) < room:
        raise SteerError(
            f"the verdict would rest on rounding: from the least multiplier to the largest the hidden states move by {dose:.2g} of their norm, "
            f"too little to tell {measured.statistic} {number(estimate, measured.percent)} from the promised "
            f"{number(threshold, measured.percent)} (rounding in {model.dtype} makes up to {number(room, measured.percent)}). Measure at "
            "larger multipliers"
        )
