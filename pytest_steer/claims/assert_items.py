"""Assertions about contrast items and tasks: what steering does to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..data import ItemLike, TaskItem, as_items
from ..evidence import Evidence
from ..measures import MULTIPLIERS
from ..measures.subject import Subject
from ..model import Model
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, Positions, SteeringVector
from .holding import hold, run_seed
from .not_anti_steered import By, NotAntiSteered
from .performs_task import BASELINE_SHOTS, PerformsTask, RightBy
from .steers import IntervalMethod, Steers

if TYPE_CHECKING:
    pass


def assert_steers(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ItemLike],
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
        seed=run_seed(),
        context=context,
        name=name,
    )
    return hold(check, model, "steers")


def assert_not_anti_steered(
    model: Model,
    vector: SteeringVector | Intervention,
    items: Iterable[ItemLike],
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
        seed=run_seed(),
        context=context,
        name=name,
    )
    return hold(check, model, "not_anti_steered")


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
        seed=run_seed(),
        name=name,
    )
    return hold(check, model, "performs_task")
