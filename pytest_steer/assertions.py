"""Assertions: each builds a check, measures it and raises if the claim does not hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .checks import Check, Evidence, Generalizes, NotAntiSteered, PplDeltaBelow, Steers, Subject, error_evidence
from .checks.not_anti_steered import By
from .checks.steers import IntervalMethod
from .errors import SteerError, SteeringFailure, SteeringInconclusive
from .metrics import MULTIPLIERS
from .model import Model
from .prompting import AS_GIVEN, Context, ContrastItem, as_items
from .recording import current_recorder
from .stats import Verdict
from .steering import Intervention, Positions, SteeringVector


def assert_steers(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ContrastItem],
    *,
    steerability: float,
    multipliers: Sequence[float] = MULTIPLIERS,
    multiplier: float = 1.0,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    context: Context = AS_GIVEN,
    confidence: float = 0.95,
    interval: IntervalMethod = "t",
    sequential: bool = False,
    name: str = "steers",
) -> Evidence:
    """Asserts that steerability, the mean slope of the items' propensity over the multipliers, is at least a threshold.

    Args:
        items: held-out contrast items, at least two.
        steerability: the promise, in logits (nats per token for answers of several tokens) per unit of the multiplier.
        multipliers: grid of the propensity curve.
        multiplier: the deployed strength, for the dose in the evidence.
        allow_mismatch: ``("model",)`` and / or ``("template",)``: accept a vector that was made elsewhere.
        confidence: of each one-sided bound.
        interval: ``t`` or ``bootstrap``, over items.
        sequential: draw items in rounds under an anytime-valid bound and stop when decided (docs/verdicts.md).

    Raises:
        SteeringFailure: the claim does not hold; SteeringInconclusive: not enough evidence. Both have ``.evidence``.
        SteerError: the claim cannot be measured.
    """
    __tracebackhide__ = True
    subject = Subject(
        vector=vector,
        multiplier=multiplier,
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    check = Steers(
        subject=subject,
        items=as_items(items),
        steerability=steerability,
        multipliers=multipliers,
        confidence=confidence,
        interval=interval,
        sequential=sequential,
        seed=_seed(),
        context=context,
        name=name,
    )
    return _hold(check, model, "steers")


def assert_not_anti_steered(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ContrastItem],
    *,
    share: float,
    by: By = "slope",
    multipliers: Sequence[float] = MULTIPLIERS,
    multiplier: float = 1.0,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    context: Context = AS_GIVEN,
    confidence: float = 0.95,
    sequential: bool = False,
    name: str = "not_anti_steered",
) -> Evidence:
    """Asserts that at most a share of the items is anti-steerable.

    Args:
        share: the promise, between 0 and 1.
        by: ``slope`` (slope <= 0, Tan et al. 2024) or ``effect`` (propensity at ``multiplier`` below that at 0, Braun et al.
            2025).

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    __tracebackhide__ = True
    subject = Subject(
        vector=vector,
        multiplier=multiplier,
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    check = NotAntiSteered(
        subject=subject,
        items=as_items(items),
        share=share,
        by=by,
        multipliers=multipliers,
        confidence=confidence,
        sequential=sequential,
        seed=_seed(),
        context=context,
        name=name,
    )
    return _hold(check, model, "not_anti_steered")


def assert_ppl_delta_below(
    model: Model,
    vector: SteeringVector | Intervention,
    texts: Sequence[str],
    *,
    limit: float,
    multiplier: float = 1.0,
    positions: Positions = "all",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    confidence: float = 0.95,
    interval: IntervalMethod = "t",
    name: str = "ppl_delta_below",
) -> Evidence:
    """Asserts that steering raises perplexity on neutral texts by at most a share of itself.

    Args:
        texts: neutral texts, at least two; each is paired with itself.
        limit: the promise: 0.05 allows 5 %.
        multiplier: the deployed strength.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    __tracebackhide__ = True
    subject = Subject(
        vector=vector,
        multiplier=multiplier,
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    check = PplDeltaBelow(
        subject=subject,
        texts=texts,
        limit=limit,
        confidence=confidence,
        interval=interval,
        seed=_seed(),
        name=name,
    )
    return _hold(check, model, "ppl_delta_below")


def assert_generalizes(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ContrastItem],
    *,
    relative: float,
    contexts: Mapping[str, Context] | None = None,
    data_sets: Mapping[str, Iterable[ContrastItem]] | None = None,
    base: Context = AS_GIVEN,
    multipliers: Sequence[float] = MULTIPLIERS,
    multiplier: float = 1.0,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    confidence: float = 0.95,
    name: str = "generalizes",
) -> Evidence:
    """Asserts that steering carries over: in each setting, steerability is at least a share of that in the base context.

    Args:
        relative: the promise: 0.5 is half of the base steerability (relative steerability, Tan et al. 2024).
        contexts: names and contexts in which the same items are measured; paired by item.
        data_sets: names and other items, measured in the base context.
        base: the context that the others are held against.

    The other arguments and what is raised are those of :func:`assert_steers`; also SteerError if the base steerability is
    not proven to be above 0.
    """
    __tracebackhide__ = True
    subject = Subject(
        vector=vector,
        multiplier=multiplier,
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    check = Generalizes(
        subject=subject,
        items=as_items(items),
        relative=relative,
        contexts=contexts or {},
        data_sets={name: as_items(other) for name, other in (data_sets or {}).items()},
        base=base,
        multipliers=multipliers,
        confidence=confidence,
        name=name,
    )
    return _hold(check, model, "generalizes")


def _seed() -> int:
    recorder = current_recorder()
    return recorder.seed if recorder is not None else 0


def _hold(check: Check, model: Model, kind: str) -> Evidence:
    __tracebackhide__ = True
    recorder = current_recorder()
    try:
        evidence = check.measure(model)
    except SteerError as error:
        if recorder is not None:
            recorder.add(error_evidence(kind, check.name, str(error)))
        raise
    if recorder is not None:
        recorder.add(evidence)
    raise_unless_held(evidence)
    return evidence


def raise_unless_held(evidence: Evidence) -> None:
    """Raises what the verdict calls for: nothing for a pass.

    Raises:
        SteeringFailure, SteeringInconclusive: with the evidence.
    """
    __tracebackhide__ = True
    if evidence.verdict is Verdict.INCONCLUSIVE:
        raise SteeringInconclusive(evidence)
    if not evidence.passed:
        raise SteeringFailure(evidence)
