"""Assertions: each builds a check, measures it and raises if the claim does not hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .checks import (
    Check,
    Evidence,
    Generalizes,
    HoldsInContexts,
    HooksAreSound,
    NotAntiSteered,
    PerformsTask,
    PplDeltaBelow,
    Steers,
    SteersAtCost,
    Subject,
    error_evidence,
)
from .checks.holds_in_contexts import STATISTICS
from .checks.hooks_are_sound import EXAMPLES, declared_subject
from .checks.not_anti_steered import By
from .checks.performs_task import BASELINE_SHOTS, RightBy
from .checks.soundness import Apply
from .checks.steers import IntervalMethod
from .errors import SteerError, SteeringFailure, SteeringInconclusive
from .metrics import MULTIPLIERS
from .metrics.at_cost import MOST
from .model import Model
from .prompting import AS_GIVEN, Context, ContrastItem, TaskItem, as_items
from .recording import Recorder, current_recorder
from .stats import Verdict
from .steering import Intervention, Positions, SteeringVector
from .steering.interventions import StrengthMeaning

if TYPE_CHECKING:
    import torch
    from hypothesis.strategies import SearchStrategy


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


def assert_steers_at_cost(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ContrastItem],
    texts: Sequence[str],
    *,
    effect: float,
    cost: float,
    standardised: bool = False,
    most: float = MOST,
    multiplier: float = 1.0,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    context: Context = AS_GIVEN,
    confidence: float = 0.95,
    interval: IntervalMethod = "t",
    name: str = "steers_at_cost",
) -> Evidence:
    """Asserts that at the multiplier at which perplexity on neutral texts has risen by ``cost``, the mean effect is at least so much.

    Args:
        texts: neutral texts, at least two; on them the multiplier is chosen.
        effect: the promise: mean over items of propensity at that multiplier minus propensity unsteered; in standard deviations
            of the unsteered propensities if ``standardised``.
        cost: 0.05 is a rise of perplexity by 5 %.
        most: the largest multiplier that is looked at, in deployed ones.
        multiplier: the deployed strength, where the search begins.

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
    check = SteersAtCost(
        subject=subject,
        items=as_items(items),
        texts=texts,
        effect=effect,
        cost=cost,
        standardised=standardised,
        most=most,
        confidence=confidence,
        interval=interval,
        seed=_seed(),
        context=context,
        name=name,
    )
    return _hold(check, model, "steers_at_cost")


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


def assert_holds_in_contexts(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ContrastItem],
    *,
    contexts: SearchStrategy[Context] | Mapping[str, Sequence[Any]],
    steerability: float | None = None,
    anti_steerable: float | None = None,
    effect: float | None = None,
    examples: int | None = None,
    batch: int | None = None,
    listed: Sequence[Context] = (),
    only: Context | None = None,
    multipliers: Sequence[float] = MULTIPLIERS,
    multiplier: float = 1.0,
    positions: Positions = "after_prompt",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    confidence: float = 0.95,
    interval: IntervalMethod = "t",
    name: str = "holds_in_contexts",
) -> Evidence:
    """Asserts that one statistic keeps its threshold in the worst context that a search finds (docs/fuzzing.md).

    Args:
        items: held-out contrast items, at least four: a batch is searched on, the others judge what was found.
        contexts: a strategy (``pytest_steer.contexts(...)``), or its axes as a mapping, ``{"option_order": ["as_given",
            "swapped"]}``. With a mapping, every combination of the values and "as given" is allowed, so the search may recombine
            them and set axes back; a strategy's contexts are only drawn, climbed and shrunk by Hypothesis.
        steerability / anti_steerable / effect: the promise, exactly one: least mean slope, largest share of items whose slope is
            <= 0, least mean change of propensity from 0 to ``multiplier``.
        examples / batch: how many contexts are looked at, with how many items; by default what ``--steer-profile`` says.
        listed: contexts that are always tried, before any other.
        only: judge this context and search for no other.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    __tracebackhide__ = True
    promised = {
        "steerability": steerability,
        "anti_steerable": anti_steerable,
        "effect": effect,
    }
    given = [statistic for statistic in STATISTICS if promised[statistic] is not None]
    if len(given) != 1:
        raise SteerError(
            f"assert_holds_in_contexts takes exactly one of {', '.join(STATISTICS)}, not {' and '.join(given) or 'none'}"
        )
    from .prompting.search import survey
    from .prompting.strategies import contexts as space_of

    recorder = current_recorder() or Recorder(add=lambda _: None, seed=0)
    space = space_of(**contexts) if isinstance(contexts, Mapping) else contexts
    if only is None and recorder.only is not None:
        only = survey(space, seed=recorder.seed).read(recorder.only)
    check = HoldsInContexts(
        subject=Subject(
            vector=vector,
            multiplier=multiplier,
            positions=positions,
            include_first=include_first,
            allow_mismatch=allow_mismatch,
        ),
        items=as_items(items),
        statistic=given[0],
        threshold=float(promised[given[0]] or 0.0),
        space=space,
        free=isinstance(contexts, Mapping),
        multipliers=multipliers,
        confidence=confidence,
        interval=interval,
        examples=recorder.examples if examples is None else examples,
        batch=batch,
        default_batch=recorder.batch,
        listed=tuple(listed),
        memory=recorder.memory(),
        place=f"{recorder.place}::{name}",
        only=only,
        seed=recorder.seed,
        name=name,
    )
    return _hold(check, model, "holds_in_contexts")


def assert_performs_task(
    model: Model,
    vector: SteeringVector | Intervention,
    tasks: Sequence[TaskItem],
    *,
    accuracy: float,
    by: RightBy = "first_token",
    shots: int = 0,
    shuffled: bool = False,
    demonstrations: Sequence[TaskItem] | None = None,
    baseline_shots: int = BASELINE_SHOTS,
    multiplier: float = 1.0,
    positions: Positions = "last",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    confidence: float = 0.95,
    name: str = "performs_task",
) -> Evidence:
    """Asserts that the steered model does a task in context, in at least a share of the cases.

    Args:
        tasks: held-out pairs, at least two; ``read_tasks(path)`` reads them from a file.
        accuracy: the promise, between 0 and 1.
        by: ``first_token`` (the likeliest next token is the first one of the output) or ``exact`` (greedy decoding writes the whole
            output and ends there).
        shots / shuffled / demonstrations: see :func:`pytest_steer.task_accuracy`; they are those of the steered prompts.
        baseline_shots: demonstrations of the unsteered few-shot prompts that the evidence shows beside, from 2 on.
        multiplier: the deployed strength; an intervention of any kind of strength has one.

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
    check = PerformsTask(
        subject=subject,
        tasks=tasks,
        accuracy=accuracy,
        by=by,
        shots=shots,
        shuffled=shuffled,
        demonstrations=demonstrations,
        baseline_shots=baseline_shots,
        confidence=confidence,
        seed=_seed(),
        name=name,
    )
    return _hold(check, model, "performs_task")


def assert_hooks_are_sound(
    model: Model,
    vector: SteeringVector | Intervention | None = None,
    *,
    apply: Apply | None = None,
    directions: Mapping[int, torch.Tensor] | None = None,
    layers: int | Sequence[int] | None = None,
    strength: StrengthMeaning = "linear",
    multiplier: float = 1.0,
    positions: Positions = "all",
    include_first: bool = False,
    allow_mismatch: tuple[str, ...] = (),
    examples: int = EXAMPLES,
    prompts: Sequence[str] = (),
    leave_out: Sequence[str] = (),
    name: str = "hooks_are_sound",
) -> Evidence:
    """Asserts that what steers does what it says: exact properties, on batches that Hypothesis draws (docs/hooks.md).

    With a vector or an intervention alone, this package's own steering is tested. With ``apply``, a way of the user's: another
    library's hooks, or a context manager of one's own. What it is declared to do is the vector or intervention, or
    ``directions`` (added at the output of each block), or only ``layers``; then the size of the dose is not checked.

    Args:
        apply: ``apply(multiplier)`` or ``apply(multiplier, batch)``. It returns a context manager that steers every forward of
            ``model.hf`` in its body. ``batch`` says what is about to be steered: ``input_ids``, ``attention_mask``,
            ``prompt_lengths`` and ``starts`` (one per row, counted over real tokens) and ``steered`` (bool [rows, tokens]). The body
            may run several forwards over these rows: whole ones, and a cached one with further tokens one by one.
        directions: {layer: tensor [width]}, the 0-based block whose output moves by multiplier times that.
        layers: the blocks whose output is changed, if nothing else is declared.
        strength: with ``layers`` only: what the multiplier means (``linear``, ``interpolated``, ``angle`` or ``ignored``).
        multiplier: the strength around which others are tried.
        positions / include_first: which tokens are declared to be steered.
        examples: how many batches are drawn.
        prompts: prompts of your own, drawn as often as made-up ones.
        leave_out: names of properties that are not asked for.

    The model is put back as it was whatever ``apply`` leaves on it.

    Raises:
        SteeringFailure: a property is broken; names it, with the smallest example found.
        SteerError: it cannot be tested: nothing or too much is declared, or the model gives NaN.
    """
    __tracebackhide__ = True
    subject, declared = declared_subject(
        vector,
        directions,
        layers,
        strength,
        needs_vector=apply is None,
        multiplier=multiplier,
        positions=positions,
        include_first=include_first,
        allow_mismatch=allow_mismatch,
    )
    check = HooksAreSound(
        subject=subject,
        apply=apply,
        declared=declared,
        examples=examples,
        prompts=prompts,
        leave_out=leave_out,
        tensors=[value for value in (directions or {}).values() if hasattr(value, "detach")],
        seed=_seed(),
        name=name,
    )
    return _hold(check, model, "hooks_are_sound")


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
            recorder.add(error_evidence(kind, check.name, str(error), soundness=getattr(error, "soundness", None)))
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
