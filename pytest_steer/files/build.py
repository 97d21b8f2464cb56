"""From a claim as written to a check that can be measured. Loads the data and makes the vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..claims import (
    Check,
    Generalizes,
    HoldsInContexts,
    HooksAreSound,
    NotAntiSteered,
    PerformsTask,
    PplDeltaBelow,
    Steers,
    SteersAtCost,
    Subject,
)
from ..claims.holds_in_contexts import BATCH, EXAMPLES, STATISTICS
from ..claims.in_rounds import LEAST_ITEMS
from ..data import Items, read_tasks, read_texts
from ..errors import DataError, SteerError
from ..model import Model
from ..prompting import Axis, Context
from ..sources import shown
from ..steering import Intervention, SteeringVector, check_positions
from .axes import uses_examples
from .files import absolute
from .make import make_steering
from .specs import ClaimSpec, Suite, VectorSpec
from .training import read_test_items


@dataclass(frozen=True)
class Search:
    """How contexts are searched, unless a claim says.

    Attributes:
        examples: contexts that are looked at. batch: items that the search sees.
        memory: folder of what broke claims before, or None. only: look at this context (its axes) and no other.
    """

    examples: int = EXAMPLES
    batch: int = BATCH
    memory: Path | None = None
    only: Mapping[str, Any] | None = None


DEFAULT_SEARCH = Search()


class Builder:
    """Builds the checks of claim files for one model; each vector and data set is made once.

    Attributes:
        seed: seed of everything random in the checks.
        max_items: how many items or texts of a data set are used, the first ones, or None for all.
        max_drawn: how many items may be drawn in rounds, or None for all.
        in_rounds: draw items in rounds where the claim does not say and its bounds can be looked at early.
        search: how contexts are searched.
    """

    def __init__(
        self,
        model: Model,
        *,
        seed: int,
        max_items: int | None = None,
        max_drawn: int | None = None,
        in_rounds: bool = False,
        search: Search = DEFAULT_SEARCH,
    ) -> None:
        self.model, self.seed, self.max_items, self.search = model, seed, max_items, search
        self.max_drawn, self.in_rounds = max_drawn, in_rounds
        self._vectors: dict[tuple[object, ...], SteeringVector | Intervention] = {}
        self._items: dict[tuple[object, ...], tuple[Items, Context]] = {}

    def build(self, suite: Suite, claim: ClaimSpec) -> Check:
        """The check that a claim of a file stands for.

        Raises:
            SteerError: a data file or the vector cannot be used.
        """
        subject = self.subject(claim)
        sequential = self._is_sequential(claim)
        if claim.kind == "steers":
            items, context = self.test_items(claim, sequential=sequential)
            return Steers(
                subject=subject,
                items=items,
                context=context,
                steerability=float(claim.params["steerability"]),
                multipliers=claim.multipliers,
                confidence=claim.confidence,
                interval=claim.params["interval"],
                sequential=sequential,
                seed=self.seed,
                name=claim.name,
            )
        if claim.kind == "not_anti_steered":
            items, context = self.test_items(claim, sequential=sequential)
            return NotAntiSteered(
                subject=subject,
                items=items,
                context=context,
                share=float(claim.params["share"]),
                by=claim.params["by"],
                multipliers=claim.multipliers,
                confidence=claim.confidence,
                sequential=sequential,
                seed=self.seed,
                name=claim.name,
            )
        if claim.kind == "ppl_delta_below":
            return PplDeltaBelow(
                subject=subject,
                texts=self.texts(claim),
                limit=float(claim.params["limit"]),
                confidence=claim.confidence,
                interval=claim.params["interval"],
                seed=self.seed,
                source=shown(claim.neutral) if claim.neutral is not None else "texts",
                name=claim.name,
            )
        if claim.kind == "steers_at_cost":
            return self._steers_at_cost(claim, subject)
        if claim.kind == "generalizes":
            return self._generalizes(suite, claim, subject)
        if claim.kind == "holds_in_contexts":
            return self._holds_in_contexts(suite, claim, subject)
        if claim.kind == "performs_task":
            return self._performs_task(claim, subject)
        if claim.kind == "hooks_are_sound":
            return HooksAreSound(subject=subject, examples=int(claim.params["examples"]), seed=self.seed, name=claim.name)
        raise SteerError(f"no check for the claim kind {claim.kind!r}")

    def subject(self, claim: ClaimSpec) -> Subject:
        """What a claim is about: its vector or intervention, made or read once for all claims that share it, and its dose.

        Raises:
            SteerError: the vector cannot be made or read.
        """
        spec = claim.vector
        return Subject(
            vector=self._vector(spec),
            multiplier=claim.multiplier,
            positions=check_positions(spec.positions),
            include_first=spec.include_first,
            allow_mismatch=spec.allow_mismatch,
        )

    def test_items(self, claim: ClaimSpec, *, sequential: bool = False) -> tuple[Items, Context]:
        """The items of ``data.test`` that a claim is measured on, and the context in which they are asked as given.

        Of a file of {input, output} pairs these are the items of the task (``data.task_items``), asked in the form of a task.

        Args:
            sequential: drawn in rounds, so that a profile's limit is ``max_drawn`` rather than ``max_items``.

        Raises:
            DataError: the claim has no ``data.test``, or it cannot be read.
        """
        if claim.test is None:
            raise DataError(f"{claim.name}: needs data.test")
        items, form = self._read_items(claim.test, claim)
        context = replace(form, **claim.asked)  # type: ignore[arg-type]
        if not sequential:
            return items[: self.max_items], context
        if self.max_drawn is None or len(items) <= self.max_drawn:
            return items, context
        # A random part, the same for all claims, so that they share their scores.
        part = np.random.default_rng(self.seed).permutation(len(items))[: self.max_drawn]
        return Items((items[int(index)] for index in sorted(part)), items.source), context

    def texts(self, claim: ClaimSpec) -> list[str]:
        """The neutral texts of a claim.

        Raises:
            DataError: the claim has no ``data.neutral``, or it cannot be read.
        """
        if claim.neutral is None:
            raise DataError(f"{claim.name}: needs data.neutral")
        is_lines = claim.neutral.suffix.lower() not in (".json", ".jsonl", ".csv", ".tsv", ".parquet")
        # A text file has no columns; what data.columns says of texts is then about others of the file's data.
        return read_texts(claim.neutral, column=None if is_lines else claim.columns.get("text"))[: self.max_items]

    def _is_sequential(self, claim: ClaimSpec) -> bool:
        """What the claim says; else what the profile does, where there are items enough and a bound that may be looked at early."""
        said = claim.params.get("sequential", False)
        if isinstance(said, bool):
            return said
        return self.in_rounds and claim.params.get("interval") != "bootstrap" and self._count(claim) >= LEAST_ITEMS

    def _count(self, claim: ClaimSpec) -> int:
        return len(self._read_items(claim.test, claim)[0]) if claim.test is not None else 0

    def _steers_at_cost(self, claim: ClaimSpec, subject: Subject) -> SteersAtCost:
        items, context = self.test_items(claim)
        return SteersAtCost(
            subject=subject,
            items=items,
            context=context,
            texts=self.texts(claim),
            effect=float(claim.params["effect"]),
            cost=float(claim.params["cost"]),
            standardised=claim.params["standardised"],
            most=float(claim.params["most"]),
            confidence=claim.confidence,
            interval=claim.params["interval"],
            seed=self.seed,
            source=shown(claim.neutral) if claim.neutral is not None else "texts",
            name=claim.name,
        )

    def _generalizes(self, suite: Suite, claim: ClaimSpec, subject: Subject) -> Generalizes:
        items, form = self.test_items(claim)

        def context(values: dict[str, Any]) -> Context:
            return Context.from_dict(values, examples=self.examples(claim), axes=suite.axes).over(form)

        def other(name: str, path: str) -> Items:
            found, own_form = self._read_items(absolute(path, suite.path.parent), claim)
            if own_form.template != form.template:
                held = ("pairs of a task", "contrast items")
                here, there = held if form.template is not None else held[::-1]
                raise DataError(
                    f"{claim.name}: data.test holds {here} and data_sets.{name} {there}, which are asked in different forms, so "
                    "their steerabilities cannot be compared: bring the same of both"
                )
            return found[: self.max_items]

        data_sets = claim.params.get("data_sets", {})
        return Generalizes(
            subject=subject,
            items=items,
            relative=float(claim.params["relative"]),
            contexts={name: context(values) for name, values in claim.params.get("contexts", {}).items()},
            data_sets={name: other(name, path) for name, path in data_sets.items()},
            base=context(claim.params.get("base", {})),
            multipliers=claim.multipliers,
            confidence=claim.confidence,
            name=claim.name,
        )

    def context_arguments(self, suite: Suite, claim: ClaimSpec) -> dict[str, Any]:
        """The file's ``contexts`` as keyword arguments of ``prompting.strategies.contexts``.

        Raises:
            DataError: few-shot examples without ``data.examples``, or these cannot be read.
        """
        examples = self.examples(claim)
        if examples is None and any(uses_examples({"few_shot": count}) for count in suite.contexts.get("few_shot", ())):
            raise DataError(f"{claim.name}: contexts.few_shot needs data.examples, the items that examples are drawn from")
        own = [Axis(axis.name, suite.own[axis.name], axis.apply) for axis in suite.axes if axis.name in suite.own]
        return {**suite.contexts, "axes": own, "examples": examples}

    def examples(self, claim: ClaimSpec) -> Items | None:
        """The items that few-shot examples are drawn from, or None if the file names none.

        Raises:
            DataError: they cannot be read.
        """
        return self._read_items(claim.examples, claim)[0] if claim.examples is not None else None

    def _holds_in_contexts(self, suite: Suite, claim: ClaimSpec, subject: Subject) -> HoldsInContexts:
        from ..prompting.strategies import contexts

        read = partial(Context.from_dict, axes=suite.axes, examples=self.examples(claim))
        (statistic,) = (name for name in STATISTICS if name in claim.params)
        items, form = self.test_items(claim)
        return HoldsInContexts(
            subject=subject,
            items=items,
            base=form,
            statistic=statistic,
            threshold=float(claim.params[statistic]),
            space=contexts(**self.context_arguments(suite, claim)),
            free=True,
            read=read,
            multipliers=claim.multipliers,
            confidence=claim.confidence,
            interval=claim.params["interval"],
            examples=claim.params.get("examples", self.search.examples),
            batch=claim.params.get("batch"),
            default_batch=self.search.batch,
            listed=tuple(map(read, suite.regressions)),
            memory=self.search.memory,
            place=f"{suite.path.name}::{claim.name}",
            only=read(self.search.only) if self.search.only is not None else None,
            seed=self.seed,
            name=claim.name,
        )

    def _performs_task(self, claim: ClaimSpec, subject: Subject) -> PerformsTask:
        if claim.test is None:
            raise DataError(f"{claim.name}: needs data.test")
        tasks = read_tasks(claim.test, columns=claim.columns)
        return PerformsTask(
            subject=subject,
            tasks=tasks[: self.max_items],
            accuracy=float(claim.params["accuracy"]),
            by=claim.params["by"],
            shots=claim.params["shots"],
            shuffled=claim.params["shuffled"],
            # All pairs of the file, however many are asked about, so that every profile sees the same prompts.
            demonstrations=read_tasks(claim.examples, columns=claim.columns) if claim.examples is not None else tasks,
            baseline_shots=claim.params["baseline_shots"],
            confidence=claim.confidence,
            seed=self.seed,
            source=shown(claim.test),
            name=claim.name,
        )

    def _read_items(self, path: Path, claim: ClaimSpec) -> tuple[Items, Context]:
        key = path, tuple(sorted(claim.columns.items()))
        if key not in self._items:
            self._items[key] = read_test_items(path, self.seed, claim.columns)
        return self._items[key]

    def _vector(self, spec: VectorSpec) -> SteeringVector | Intervention:
        if spec.key not in self._vectors:
            self._vectors[spec.key] = make_steering(self.model, spec, self.seed)
        return self._vectors[spec.key]
