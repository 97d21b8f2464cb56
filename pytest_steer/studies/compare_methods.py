"""Comparing methods on the same behaviours, as deployed and at equal perplexity cost: plan, measuring, choice."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from ..core.errors import DataError, MeasurementError, SteerError
from ..core.record import Reached, Row, Strength, TaskRow
from ..core.run_context import RunContext, current_run, report_progress
from ..core.sources import shown
from ..data import Items, Sample, Tasks, TextLike, Texts, as_texts, read_tasks, sample_of
from ..data.units import without_repeats
from ..extract.training import holds_tasks
from ..files import BrokenClaim, ClaimSpec, Suite
from ..files.inputs import Inputs
from ..files.specs import VectorSpec
from ..measures import Array, AtCost, Deployed, Scope, effects_at, multipliers_at_cost, propensity_curves, task_accuracies
from ..measures.at_cost import pne, spread
from ..measures.compared import UNSTEERED, bounds_of, setting_name, strength_of
from ..measures.subject import Subject
from ..model import Model, check_fits
from ..prompting import Context
from ..soundness import check_before
from ..stats import mean_t
from ..steering import Intervention
from .split import split_sample, split_texts

Saved = tuple[Path, tuple[int, ...] | None]
"""A saved vector's file, and the layers at which it steers; None for the only one that it has."""


@dataclass(frozen=True)
class Plan:
    """The claims that are compared on one model.

    Attributes:
        model: its name, as the file or the option gives it.
    """

    model: str
    claims: tuple[ClaimSpec, ...]


def plan_of(
    suite: Suite,
    run: RunContext,
    *,
    methods: Sequence[str] = (),
    behaviours: Sequence[str] = (),
    vectors: Sequence[Saved] = (),
) -> list[Plan]:
    """Plan a comparison: one plan per model of a claim file, with each combination of method and behaviour once.

    Args:
        run: its model wins over the file's.
        methods / behaviours: compare these only, by the names that the table shows; all if empty.
        vectors: saved vectors that are compared too, on every behaviour and as the first claim about it steers: in its scope and
            at its strengths.

    Raises:
        ClaimFileError: a claim of the file is broken.
        DataError: nothing to compare, or a name that the file does not have.
    """
    plans: dict[str, dict[tuple[object, ...], ClaimSpec]] = {}
    for entry in suite.entries:
        if isinstance(entry, BrokenClaim):
            raise entry.error
        if entry.test is None:
            continue
        name = run.model_name(entry.model, suite.model)
        plans.setdefault(name, {}).setdefault((method_name(entry), behaviour_name(entry), *_place(entry)), entry)
    known = [claim for claims in plans.values() for claim in claims.values()]
    if not known:
        raise DataError(f"{suite.path.name}: no claim of the file has items (data.test), so there is nothing to compare")
    _check_names("method", methods, map(method_name, known))
    _check_names("behaviour", behaviours, map(behaviour_name, known))
    found = []
    for name, claims in plans.items():
        saved = _saved(claims.values(), vectors)
        wanted = [claim for claim in claims.values() if not methods or method_name(claim) in methods] + saved
        wanted = [claim for claim in wanted if not behaviours or behaviour_name(claim) in behaviours]
        found.append(Plan(name, tuple(wanted)))
    return [plan for plan in found if plan.claims]


def entries_of(plan: Plan, inputs: Inputs) -> tuple[list[Entry], list[Failure]]:
    """Make the vectors and read the data of a plan. Returns the entries and the failures."""
    found: list[Entry] = []
    failures: list[Failure] = []
    strengths: dict[tuple[str, str], list[float]] = {}
    for index, claim in enumerate(plan.claims, 1):
        method, behaviour = method_name(claim), behaviour_name(claim)
        # Two claims may steer with one method at two strengths, or in two other ways: both are shown.
        earlier = strengths.setdefault((method, behaviour), [])
        method = further_name(method, claim.multiplier, earlier)
        earlier.append(claim.multiplier)
        report_progress(f"preparing {method} for {behaviour} ({index} of {len(plan.claims)})")
        try:
            found.append(_entry(claim, method, behaviour, inputs))
        except SteerError as error:
            failures.append(Failure(method, behaviour, str(error)))
    return found, failures


def _entry(claim: ClaimSpec, method: str, behaviour: str, inputs: Inputs) -> Entry:
    items, context = inputs.test_items(claim)
    assert claim.test is not None  # plan_of has seen to it
    is_task = holds_tasks(claim.test, claim.columns)
    texts = inputs.texts(claim) if claim.neutral is not None else Texts(())
    return Entry(
        method=method,
        behaviour=behaviour,
        subject=inputs.subject(claim),
        multipliers=tuple(claim.multipliers),
        items=items,
        context=context,
        neutral=NeutralTexts(
            texts=tuple(without_repeats(texts)[0]),
            source=shown(claim.neutral) if claim.neutral is not None else "texts",
            chosen=tuple(filter(None, (texts.chosen, *(one.line for one in texts.left_out)))),
        ),
        tasks=read_tasks(claim.test, columns=claim.columns).first(inputs.run.effort.max_items) if is_task else NO_TASKS,
        # All pairs of the file, however many are asked about, as for performs_task.
        examples=read_tasks(claim.demonstrations or claim.test, columns=claim.columns) if is_task else NO_TASKS,
        cluster=claim.cluster,
        asked=claim.asked,
    )


def further_name(method: str, multiplier: float, earlier: Sequence[float]) -> str:
    """A distinct name for a method that the table already has at ``earlier`` multipliers: with its multiplier, or numbered."""
    if not earlier:
        return method
    return f"{method} x {multiplier:g}" if multiplier not in earlier else f"{method} ({len(earlier) + 1})"


def method_name(claim: ClaimSpec) -> str:
    """The method's name in the table: its choices of the matrix other than behaviour and model, else its method of extraction or its
    vector's file."""
    choices = [label for axis, label in claim.choice.items() if axis not in ("behaviour", "model")]
    if choices:
        return "-".join(choices)
    return claim.vector.method or (claim.vector.file.stem if claim.vector.file is not None else claim.name)


def behaviour_name(claim: ClaimSpec) -> str:
    """The behaviour's name in the matrix, or that of its test file."""
    return claim.choice.get("behaviour") or (claim.test.stem if claim.test is not None else claim.name)


def _place(claim: ClaimSpec) -> tuple[object, ...]:
    """The settings that distinguish two claims of one method on one behaviour."""
    vector = claim.vector
    return vector.key, vector.positions, vector.include_first, claim.multiplier, claim.test


def _saved(claims: Iterable[ClaimSpec], vectors: Sequence[Saved]) -> list[ClaimSpec]:
    """The first claim of each behaviour, with each saved vector in place of its own."""
    firsts: dict[str, ClaimSpec] = {}
    for claim in claims:
        firsts.setdefault(behaviour_name(claim), claim)
    found = []
    for file, layers in vectors:
        where = f"@{'+'.join(map(str, layers))}" if layers is not None else ""
        for behaviour, first in firsts.items():
            own = first.vector
            # An intervention's file is taken too, and says itself how it is applied.
            vector = VectorSpec(file, None, None, layers, own.positions, own.include_first, (), first.line, shape={})
            choice = {"behaviour": behaviour, "method": f"{file.stem}{where}"}
            found.append(replace(first, name=file.stem, vector=vector, choice=choice))
    return found


def _check_names(what: str, given: Sequence[str], known: Iterable[str]) -> None:
    names = list(dict.fromkeys(known))
    for name in given:
        if name not in names:
            raise DataError(f"there is no {what} {name!r} in the file; there are: {', '.join(names)}")


T = TypeVar("T")
SHOTS = 5
# What fits is asked of each entry at the start, by its own settings.
_CHECKED = ("model", "template")


NO_TASKS = Tasks(())


@dataclass(frozen=True)
class NeutralTexts:
    """Neutral texts of an entry, or none.

    Attributes:
        source: where they come from, for messages.
        chosen: how they were chosen from more, and what was left out by which rule, a line each.
    """

    texts: tuple[TextLike, ...]
    source: str
    chosen: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Entry:
    """One method on one behaviour, ready to be measured.

    Attributes:
        subject: what steers, at the strength and in the scope in which the method is deployed.
        multipliers: of the propensity curve, for an intervention that has a slope.
        items / context: held-out items of the behaviour, and how they are asked.
        neutral: the texts on which its cost is measured.
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
    neutral: NeutralTexts
    tasks: Tasks = NO_TASKS
    examples: Tasks = NO_TASKS
    cluster: str | None = None
    asked: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """A method that could not be measured on a behaviour, with the reason."""

    method: str
    behaviour: str
    reason: str


@dataclass(frozen=True)
class Comparison:
    """The measurements in the order of the entries, and the failures."""

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
    """Measure every entry at its deployed strength and at the strength where perplexity has risen by ``budget``.

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
        report_progress(f"checking the hooks of {entry.method} on {entry.behaviour} ({index} of {len(entries)})")
        try:
            sample_of(entry.items, entry.cluster)
            if entry.neutral.texts:
                sample_of(as_texts(entry.neutral.texts, entry.neutral.source))
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

    def at_cost_of(texts: Sequence[TextLike], group: Sequence[Entry]) -> dict[Entry, AtCost]:
        deployed = {entry: entry.subject for entry in group}
        return multipliers_at_cost(
            model, texts, deployed, budget=budget, max_multiplier=max_multiplier, allow_mismatch=_CHECKED
        )

    with_texts = _grouped((entry for entry in left() if entry.neutral.texts), lambda entry: entry.neutral.texts)
    for texts, own in with_texts:
        report_progress(f"strengths of equal cost on {len(texts)} texts")
        at_cost |= _each(own, failed, partial(at_cost_of, texts))
    for (items, context, cluster), own in _grouped(left(), lambda entry: (entry.items, entry.context, entry.cluster)):
        report_progress(f"effects on {items.source}")
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
    """Measure all entries at once. If that fails, measure each by itself and note the failing ones in ``failed``."""
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

    def strength(entry: Entry, which: str, cost: float | None, reached: Reached | None = None) -> Strength:
        effect, multiplier, at = effects[entry, which], asked[entry, which][1], at_cost.get(entry)
        normalised = None if at is None else pne(effect, unsteered, at.mean_rises[multiplier])
        return strength_of(
            effect, multiplier, confidence, cost=cost, reached=reached, clusters=sample.clusters, normalised=normalised
        )

    found: dict[Entry, Row] = {}
    for entry in entries:
        own, at = entry.subject.multiplier, at_cost.get(entry)
        steerability = mean_t(slopes[entry], confidence=confidence, clusters=sample.clusters) if entry in slopes else None
        found[entry] = Row(
            behaviour=entry.behaviour,
            method=entry.method,
            n=sample.n,
            spread=spread(unsteered),
            deployed=strength(entry, "deployed", None if at is None else dict(at.looked_at)[own]),
            at_cost=None if at is None else strength(entry, "at cost", at.cost, at.reached),
            steerability=None if steerability is None else steerability.estimate,
            steerability_interval=(None, None) if steerability is None else bounds_of(steerability),
            anti_steerable_share=float((entry.subject.slope_sign * slopes[entry] <= 0).mean()) if entry in slopes else None,
        )
    return found


def _slopes(model: Model, items: Items, context: Context, entries: Sequence[Entry]) -> dict[Entry, Array]:
    """Slopes of the items' propensity curves, for interventions with a linear strength."""
    found: dict[Entry, Array] = {}
    linear = [entry for entry in entries if entry.subject.intervention.strength == "linear"]
    for (grid, positions, include_first), own in _grouped(
        linear, lambda entry: (entry.multipliers, entry.subject.positions, entry.subject.include_first)
    ):
        curves = propensity_curves(
            model,
            items,
            {entry: entry.subject.intervention for entry in own},
            Scope(positions, include_first, _CHECKED),
            multipliers=grid,
            context=context,
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
        report_progress(f"{behaviour}: {setting} accuracy")
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
                    Scope(positions, include_first, _CHECKED),
                    demonstrations=examples,
                    n_shots=count,
                    shuffled=shuffled,
                    seed=current_run().seed,
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
    """Group values by key, in the order of first appearance."""
    found: dict[Key, list[T]] = {}
    for value in values:
        found.setdefault(key(value), []).append(value)
    return list(found.items())


_NAMES = ("validation", "test")


def split_entries(entries: Sequence[Entry], shares: Sequence[float], *, seed: int) -> tuple[list[Entry], list[Entry]]:
    """Split the data of every entry into validation and test parts. Repeats are dropped, and clusters stay in one part.

    Raises:
        DataError: a part would have fewer than two items or texts.
    """
    validation: list[Entry] = []
    test: list[Entry] = []
    for entry in entries:
        sample = sample_of(entry.items, entry.cluster, at_least=0)
        items = [part.units for part in split_sample(sample, shares, seed=seed, names=_NAMES)]
        given, texts = entry.neutral, [Texts(()), Texts(())]
        if given.texts:
            texts = split_texts(given.texts, shares, seed=seed, names=_NAMES, source=given.source)
        for part, own_items, own_texts in zip((validation, test), items, texts, strict=True):
            # An item that was made of a pair has the pair's number as its id.
            tasks = entry.tasks.part(int(item.id) for item in own_items) if entry.tasks else entry.tasks
            neutral = replace(given, texts=tuple(own_texts))
            part.append(replace(entry, items=own_items, neutral=neutral, tasks=tasks))
    return validation, test


def within(row: Row, *, budget: float, share: float) -> bool:
    """Whether a method raises the propensity at equal cost, within the perplexity budget and the share of items that move the wrong way."""
    at = row.at_cost
    if at is None or at.effect is None or at.cost is None or at.wrong_way is None:
        return False  # a row of the comparison always has them; one of a claim may lack some
    return at.effect > 0 and at.cost <= budget and at.wrong_way <= share


def best_of(rows: Sequence[Row], *, budget: float, share: float) -> Row | None:
    """The row with the largest effect at equal cost. Rows within the limits come first."""

    def order(row: Row) -> tuple[bool, float]:
        assert row.at_cost is not None
        return within(row, budget=budget, share=share), row.at_cost.effect or 0.0

    return max((row for row in rows if row.at_cost is not None), key=order, default=None)
