"""From a claim file to what is compared: every method on every behaviour that its claims name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ... import progress
from ...data import Texts, read_tasks
from ...data.units import without_repeats
from ...errors import DataError, SteerError
from ...files import BrokenClaim, ClaimSpec, Suite
from ...files.inputs import Inputs
from ...files.specs import VectorSpec
from ...files.training import holds_tasks
from ...run_context import RunContext
from ...sources import shown
from .measure import NO_TASKS, Entry, Failure

Saved = tuple[Path, tuple[int, ...] | None]
"""A saved vector's file, and the layers at which it steers; None for the only one that it has."""


@dataclass(frozen=True)
class Plan:
    """What is compared on one model.

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
    """One plan per model of a claim file; each combination of method and behaviour once.

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
    """The plan with its vectors made and its data read, and what could not be."""
    found: list[Entry] = []
    failures: list[Failure] = []
    strengths: dict[tuple[str, str], list[float]] = {}
    for index, claim in enumerate(plan.claims, 1):
        method, behaviour = method_name(claim), behaviour_name(claim)
        # Two claims may steer with one method at two strengths, or in two other ways: both are shown.
        earlier = strengths.setdefault((method, behaviour), [])
        method = further_name(method, claim.multiplier, earlier)
        earlier.append(claim.multiplier)
        progress.report(f"preparing {method} for {behaviour} ({index} of {len(plan.claims)})")
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
        texts=tuple(without_repeats(texts)[0]),
        chosen=tuple(filter(None, (texts.chosen, *(one.line for one in texts.left_out)))),
        tasks=inputs.first_tasks(read_tasks(claim.test, columns=claim.columns)) if is_task else NO_TASKS,
        # All pairs of the file, however many are asked about, as for performs_task.
        examples=read_tasks(claim.demonstrations or claim.test, columns=claim.columns) if is_task else NO_TASKS,
        source=shown(claim.neutral) if claim.neutral is not None else "texts",
        cluster=claim.cluster,
        asked=claim.asked,
    )


def further_name(method: str, multiplier: float, earlier: Sequence[float]) -> str:
    """The name of a method that stands in the table already, at these multipliers: with its own multiplier, or numbered."""
    if not earlier:
        return method
    return f"{method} x {multiplier:g}" if multiplier not in earlier else f"{method} ({len(earlier) + 1})"


def method_name(claim: ClaimSpec) -> str:
    """What stands in the column of methods: the choices of the matrix other than the behaviour and the model; without any, the
    method of extraction or the name of the vector's file."""
    choices = [label for axis, label in claim.choice.items() if axis not in ("behaviour", "model")]
    if choices:
        return "-".join(choices)
    return claim.vector.method or (claim.vector.file.stem if claim.vector.file is not None else claim.name)


def behaviour_name(claim: ClaimSpec) -> str:
    """The behaviour's name in the matrix, or that of its test file."""
    return claim.choice.get("behaviour") or (claim.test.stem if claim.test is not None else claim.name)


def _place(claim: ClaimSpec) -> tuple[object, ...]:
    """What tells two claims of one method on one behaviour apart."""
    vector = claim.vector
    return vector.key, vector.positions, vector.include_first, claim.multiplier, claim.test


def _saved(claims: Iterable[ClaimSpec], vectors: Sequence[Saved]) -> list[ClaimSpec]:
    """For each behaviour its first claim, with each saved vector instead of its vector."""
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
