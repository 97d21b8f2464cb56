"""Measuring methods on behaviours: everything that rows of one model share is asked of it at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from ... import progress
from ...data import Items, Sample, Tasks, TextLike, as_texts, sample_of
from ...errors import DataError, MeasurementError, SteerError
from ...measures import Array, AtCost, Deployed, effects_at, multipliers_at_cost, propensity_curves, task_accuracies
from ...measures.at_cost import pne, spread
from ...measures.compared import UNSTEERED, Row, TaskRow, bounds_of, setting_name, strength_of
from ...measures.subject import Subject
from ...model import Model, check_fits
from ...prompting import Context
from ...run_context import current_run
from ...soundness import check_before
from ...stats import mean_t
from ...steering import Intervention

T = TypeVar("T")
SHOTS = 5
# What fits is asked of each entry at the start, by its own settings.
_CHECKED = ("model", "template")


NO_TASKS = Tasks(())


@dataclass(frozen=True, eq=False)
class Entry:
    """One method on one behaviour, ready to be measured.

    Attributes:
        subject: what steers, at the strength and in the scope in which the method is deployed.
        multipliers: of the propensity curve, for an intervention that has a slope.
        items / context: held-out items of the behaviour, and how they are asked.
        texts: neutral texts, or none. source: where they come from, for messages.
        chosen: how the texts were chosen from more, and what was left out by which rule, a line each.
        tasks: the pairs, if the behaviour is a task. examples: what their demonstrations are drawn from.
        cluster: the key of the items that names what belongs together, or None.
        asked: how items are asked, as keys of a claim file.
    """

    method: str
    behaviour: str
    subject: Subject
    multipliers: tuple[float, ...]
    items: Items
    context: Context
    texts: tuple[TextLike, ...] = ()
    chosen: tuple[str, ...] = ()
    tasks: Tasks = NO_TASKS
    examples: Tasks = NO_TASKS
    source: str = "texts"
    cluster: str | None = None
    asked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A method that could not be measured on a behaviour, and why."""

    method: str
    behaviour: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """What was measured, in the order of the entries, and what could not be."""

    rows: tuple[Row, ...]
    tasks: tuple[TaskRow, ...]
    failures: tuple[Failure, ...] = ()


def compare(
    model: Model,
    entries: Sequence[Entry],
    *,
    budget: float = 0.05,
    max_multiplier: float = 8.0,
    n_shots: int = SHOTS,
    confidence: float = 0.95,
) -> Comparison:
    """Measures every entry at its deployed strength and at the strength where perplexity has risen by ``budget``.

    An entry that cannot be measured is left out of the rows, and the failures say why; the others do not suffer from it.

    Args:
        budget: the wanted relative rise of perplexity on the neutral texts, see ``measures.multipliers_at_cost``.
        max_multiplier: the largest multiplier tried for it, in deployed ones.
        n_shots: demonstrations of the few-shot prompts of tasks.
        confidence: of each bound.

    Raises:
        DataError: texts that cannot be scored.
        MeasurementError: a score of the unsteered model is NaN or infinite.
    """
    failed: dict[Entry, SteerError] = {}
    for index, entry in enumerate(entries, 1):
        progress.report(f"checking the hooks of {entry.method} on {entry.behaviour} ({index} of {len(entries)})")
        try:
            sample_of(entry.items, entry.cluster)
            if entry.texts:
                sample_of(as_texts(entry.texts, entry.source))
            check_fits(model, entry.subject.intervention, entry.subject.allow_mismatch)
            check_before(model, entry.subject)
        except SteerError as error:
            failed[entry] = error
    at_cost: dict[Entry, AtCost] = {}
    rows: dict[Entry, Row] = {}
    tasks: list[TaskRow] = []
    failures: list[Failure] = []

    def left() -> list[Entry]:
        return [entry for entry in entries if entry not in failed]

    with_texts = _grouped((entry for entry in left() if entry.texts), lambda entry: entry.texts)
    for texts, own in with_texts:
        progress.report(f"strengths of equal cost on {len(texts)} texts")
        at_cost |= _each(own, failed, partial(_at_cost, model, texts, budget, max_multiplier))
    for (items, context, cluster), own in _grouped(left(), lambda entry: (entry.items, entry.context, entry.cluster)):
        progress.report(f"effects on {items.source}")
        rows |= _each(own, failed, partial(_rows, model, sample_of(items, cluster), context, at_cost, confidence))
    with_tasks = [entry for entry in left() if entry.tasks]
    for (behaviour, pairs, examples), own in _grouped(with_tasks, lambda one: (one.behaviour, one.tasks, one.examples)):
        found, unmeasured = _tasks(model, behaviour, pairs, examples, own, at_cost, n_shots)
        tasks += found
        failures += unmeasured
    failures += [Failure(entry.method, entry.behaviour, str(failed[entry])) for entry in entries if entry in failed]
    return Comparison(tuple(rows[entry] for entry in left()), tuple(tasks), tuple(failures))


def _each(
    entries: Sequence[Entry], failed: dict[Entry, SteerError], measure: Callable[[Sequence[Entry]], dict[Entry, T]]
) -> dict[Entry, T]:
    """What is measured of all entries at once; where that fails, of each by itself, and ``failed`` says whose fault it is."""
    try:
        return measure(entries)
    except (MeasurementError, DataError) as error:
        if len(entries) == 1:
            failed[entries[0]] = error
            return {}
    found: dict[Entry, T] = {}
    for entry in entries:
        found |= _each([entry], failed, measure)
    return found


def _at_cost(
    model: Model, texts: Sequence[TextLike], budget: float, max_multiplier: float, entries: Sequence[Entry]
) -> dict[Entry, AtCost]:
    """The strengths of equal cost, searched together."""
    deployed = {entry: entry.subject for entry in entries}
    return multipliers_at_cost(model, texts, deployed, budget=budget, max_multiplier=max_multiplier, allow_mismatch=_CHECKED)


def _rows(
    model: Model,
    sample: Sample[Items],
    context: Context,
    at_cost: Mapping[Entry, AtCost],
    confidence: float,
    entries: Sequence[Entry],
) -> dict[Entry, Row]:
    asked: dict[tuple[Entry, str], tuple[Deployed, float]] = {}
    for entry in entries:
        asked[entry, "deployed"] = entry.subject, entry.subject.multiplier
        if entry in at_cost:
            asked[entry, "at cost"] = entry.subject, at_cost[entry].multiplier
    effects, unsteered = effects_at(model, sample.units, asked, context=context, allow_mismatch=_CHECKED)
    slopes = _slopes(model, sample.units, context, entries)
    found: dict[Entry, Row] = {}
    for entry in entries:
        own, at = entry.subject.multiplier, at_cost.get(entry)
        steerability = mean_t(slopes[entry], confidence=confidence, clusters=sample.clusters) if entry in slopes else None
        found[entry] = Row(
            behaviour=entry.behaviour,
            method=entry.method,
            n=sample.n,
            spread=spread(unsteered),
            deployed=strength_of(
                effects[entry, "deployed"],
                own,
                confidence,
                cost=dict(at.looked_at)[own] if at is not None else None,
                clusters=sample.clusters,
                normalised=None if at is None else pne(effects[entry, "deployed"], unsteered, at.mean_rises[own]),
            ),
            at_cost=None
            if at is None
            else strength_of(
                effects[entry, "at cost"],
                at.multiplier,
                confidence,
                cost=at.cost,
                reached=at.reached,
                clusters=sample.clusters,
                normalised=pne(effects[entry, "at cost"], unsteered, at.mean_rises[at.multiplier]),
            ),
            steerability=None if steerability is None else steerability.estimate,
            steerability_interval=(None, None) if steerability is None else bounds_of(steerability),
            anti_steerable_share=float((entry.subject.slope_sign * slopes[entry] <= 0).mean()) if entry in slopes else None,
        )
    return found


def _slopes(model: Model, items: Items, context: Context, entries: Sequence[Entry]) -> dict[Entry, Array]:
    """Slopes of the items' propensity curves, of the entries that have some."""
    found: dict[Entry, Array] = {}
    linear = [entry for entry in entries if entry.subject.intervention.strength == "linear"]
    for (grid, positions, include_first), own in _grouped(
        linear, lambda entry: (entry.multipliers, entry.subject.positions, entry.subject.include_first)
    ):
        curves = propensity_curves(
            model,
            items,
            {entry: entry.subject.intervention for entry in own},
            multipliers=grid,
            positions=positions,
            include_first=include_first,
            context=context,
            allow_mismatch=_CHECKED,
        )
        found |= {entry: curve.slopes for entry, curve in curves.items()}
    return found


def _tasks(
    model: Model,
    behaviour: str,
    tasks: Tasks,
    examples: Tasks,
    entries: Sequence[Entry],
    at_cost: Mapping[Entry, AtCost],
    n_shots: int,
) -> tuple[list[TaskRow], list[Failure]]:
    """Zero-shot, few-shot and few-shot with shuffled labels, unsteered and under each method; zero-shot at equal cost too."""
    settings = [(0, False, False), (n_shots, False, False), (n_shots, True, False), (0, False, True)]
    found: list[TaskRow] = []
    failures: list[Failure] = []
    for count, shuffled, costing in settings:
        setting = setting_name(count, shuffled)
        progress.report(f"{behaviour}: {setting} accuracy")
        measured: dict[str, TaskRow] = {}
        for (positions, include_first), group in _grouped(
            entries, lambda entry: (entry.subject.positions, entry.subject.include_first)
        ):
            asked: dict[str, tuple[Intervention | None, float]] = {} if costing else {UNSTEERED: (None, 0.0)}
            for entry in group:
                if not costing:
                    asked[entry.method] = entry.subject.intervention, entry.subject.multiplier
                elif entry in at_cost:
                    asked[entry.method] = entry.subject.intervention, at_cost[entry].multiplier
            try:
                accuracies = task_accuracies(
                    model,
                    tasks,
                    asked,
                    positions=positions,
                    include_first=include_first,
                    demonstrations=examples,
                    n_shots=count,
                    shuffled=shuffled,
                    seed=current_run().seed,
                    allow_mismatch=_CHECKED,
                )
            except (DataError, MeasurementError) as error:
                failures.append(Failure(f"{setting} accuracy at positions {positions}", behaviour, str(error)))
                continue
            for method, one in accuracies.items():
                shares = one.first_token_accuracy, one.exact_accuracy
                measured[method] = TaskRow(behaviour, method, setting, len(tasks), *shares, at_cost=costing)
        order = [UNSTEERED, *(entry.method for entry in entries)]
        found += [measured[method] for method in order if method in measured]
    return found, failures


Key = TypeVar("Key", bound=Hashable)


def _grouped(values: Iterable[T], key: Callable[[T], Key]) -> list[tuple[Key, list[T]]]:
    """Values of equal key together, in the order in which the keys first come."""
    found: dict[Key, list[T]] = {}
    for value in values:
        found.setdefault(key(value), []).append(value)
    return list(found.items())
