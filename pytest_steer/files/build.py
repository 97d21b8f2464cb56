"""From a claim as written to one that can be measured. Loads the data and makes the vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from .. import registry
from ..claims import Claim, ClaimKind, OtherData, kind_of
from ..claims.in_rounds import is_in_rounds
from ..claims.no_regression import OtherClaim
from ..claims.pilots import read_pilot
from ..claims.sampling import sample_of
from ..data import (
    Dialogues,
    Items,
    Questions,
    TaskItem,
    Texts,
    as_dialogues,
    read_prompts,
    read_questions,
    read_tasks,
    read_texts,
)
from ..data.formats import has_entries
from ..data.formats.entries import is_builtin
from ..data.likeness import reach_of
from ..data.questions import is_hub
from ..data.texts import form_of
from ..errors import DataError, ModelError, SteerError, at_key
from ..evidence import Evidence
from ..fuzzing.context_search import Search
from ..measures.judges import make_judge
from ..measures.subject import Subject
from ..model import Model, check_fits
from ..model.identity import state_of
from ..model.models import Models
from ..prompting import AS_GIVEN, Context
from ..run_context import RunContext, current_run
from ..sources import shown
from ..steering import Intervention, SteeringVector, as_intervention, check_positions
from .baselines import make_baseline
from .files import absolute
from .make import make_steering
from .schema import Schema
from .specs import ClaimSpec, Suite, VectorSpec
from .training import read_test_items


def load_for(models: Models, suite: Suite, name: str) -> Model:
    """The model of that name, as a claim file may have it.

    Raises:
        SteerError: it cannot be loaded, or has no chat template where the file requires one.
    """
    with at_key("model" if models.run.model is None else ""):
        model = models.load(name, allow_unexpected=suite.allow_unexpected)
    if suite.needs_template and model.format.template is None:
        with at_key("template"):
            raise ModelError(
                f"{model.id} has no chat template, and the file requires one: the checkpoint was exported without it, or is a base model. Save "
                "the tokenizer with its template (tokenizer.save_pretrained), or delete `template: required` to ask as Question: / Answer:"
            )
    return model


class Builder:
    """Builds the claims of claim files for one model; each vector and data set is made once.

    Args:
        run: how much is measured, with which seed; by default the current run.
        measured: gives the evidence of another claim of the file, for a claim that asks for it.
    """

    def __init__(
        self, model: Model, run: RunContext | None = None, measured: Callable[[Suite, ClaimSpec], Evidence] | None = None
    ) -> None:
        self.model = model
        self.run = run or current_run()
        self.measured = measured or (lambda suite, claim: self.build(suite, claim).measure(self.model))
        self._vectors: dict[tuple[object, ...], SteeringVector | Intervention] = {}
        self._items: dict[tuple[object, ...], tuple[Items, Context]] = {}

    def build(self, suite: Suite, claim: ClaimSpec) -> Claim:
        """The claim of a file, with what it is measured on.

        Its parameters are those of the file. Every other field is filled in by its name, as pytest fills in fixtures.

        Raises:
            SteerError: a data file or the vector cannot be used.
        """
        kind = kind_of(claim.kind)
        fillers = {name for name in vars(_Supply) if isinstance(vars(_Supply)[name], property)}
        unfilled = next((name for name, needed in kind.fields.items() if needed and name not in fillers), None)
        if unfilled is not None:
            raise SteerError(
                f"{registry.home_of('claim', kind.name)}: nothing fills in {unfilled!r} of the claim {kind.name!r}: annotate it with "
                f"Param if it is a parameter, give it a default, or call it one of {', '.join(sorted(fillers - {'sequential'}))}"
            )
        supply = _Supply(self, suite, claim)
        parameters = {
            name: supply.resolved(claim.params[name], schema, name)
            for name, schema in kind.parameters.items()
            if name in claim.params
        }
        if "sequential" in kind.parameters:
            parameters["sequential"] = supply.sequential
        left_out = _left_out(kind, claim)
        # Properties: what is filled in is made only if the kind asks for it.
        filled = {name: getattr(supply, name) for name in kind.fields if name in fillers and name not in left_out}
        made: Claim = kind.declared(**filled, **parameters)
        return made

    def subject(self, claim: ClaimSpec) -> Subject:
        """What a claim is about: its vector or intervention, made or read once for all claims that share it, and its dose.

        Raises:
            SteerError: the vector cannot be made or read.
        """
        spec = claim.vector
        vector = self.steering(spec)
        with at_key(f"{spec.section}.{'extract' if spec.file is None else 'file'}"):
            check_fits(self.model, as_intervention(vector), spec.allow_mismatch)
        return Subject(
            vector=vector,
            multiplier=claim.multiplier,
            positions=check_positions(spec.positions),
            include_first=spec.include_first,
            allow_mismatch=spec.allow_mismatch,
            direction=claim.direction,
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
        with at_key("data.test"):
            items, form = self.read_items(claim.test, claim)
        context = replace(form, **claim.asked)  # type: ignore[arg-type]
        effort = self.run.effort
        if not sequential:
            return self.first_items(items), context
        if effort.max_drawn is None or len(items) <= effort.max_drawn:
            return items, context
        # A random part, the same for all claims, so that they share their scores.
        part = np.random.default_rng(self.run.seed).permutation(len(items))
        part = part[: reach_of([items[int(index)].form for index in part], effort.max_drawn)]
        return Items((items[int(index)] for index in sorted(part)), items.source), context

    def texts(self, claim: ClaimSpec) -> Texts:
        """The neutral texts of a claim.

        Raises:
            DataError: the claim has no ``data.neutral``, or it cannot be read.
        """
        if claim.neutral is None:
            raise DataError(f"{claim.name}: needs data.neutral: a file of texts, or builtin:neutral, which is shipped")
        # A text file has no columns; what data.columns says of texts is then about others of the file's data.
        columns = claim.columns if is_builtin(claim.neutral) or has_entries(claim.neutral) else {}
        with at_key("data.neutral"):
            texts = read_texts(claim.neutral, columns=columns, **claim.neutral_settings)
            return texts[: reach_of([form_of(text) for text in texts], self.run.effort.max_items)]

    def prompts(self, claim: ClaimSpec) -> Dialogues:
        """What the model is asked to reply to: the file of ``data.prompts``, else the questions of ``data.test``.

        Raises:
            DataError: the claim has neither, or it cannot be read.
        """
        if claim.prompts is None and claim.test is None:
            raise DataError(f"{claim.name}: needs data.prompts, or data.test, whose questions are asked")
        if claim.prompts is None:
            found = as_dialogues(self.test_items(claim)[0])
        else:
            with at_key("data.prompts"):
                found = read_prompts(claim.prompts, columns=claim.columns)
        return found[: reach_of([one.form for one in found], self.run.effort.max_items)]

    def tasks(self, claim: ClaimSpec, file: Path | None = None) -> tuple[TaskItem, ...]:
        """The pairs of a task, of ``data.test`` unless another file is named.

        Raises:
            DataError: the claim has no ``data.test``, or it cannot be read.
        """
        if claim.test is None:
            raise DataError(f"{claim.name}: needs data.test")
        with at_key("data.test" if file in (None, claim.test) else "data.demonstrations"):
            return read_tasks(file or claim.test, columns=claim.columns)

    def first_items(self, items: Items) -> Items:
        """As many as the profile measures: repeats of another one, which are left out, do not count."""
        return items[: reach_of([item.form for item in items], self.run.effort.max_items)]

    def first_tasks(self, tasks: tuple[TaskItem, ...]) -> tuple[TaskItem, ...]:
        """The same of pairs."""
        return tasks[: reach_of([task.form for task in tasks], self.run.effort.max_items)]

    def questions(self, name: str, folder: Path) -> Questions:
        """Multiple-choice questions: of a file, a path relative to the folder; of the package; or of the hub.

        Raises:
            DataError: they cannot be read.
        """
        return read_questions(name if is_hub(name) else absolute(name, folder)).part(self.run.effort.max_items)

    def is_sequential(self, claim: ClaimSpec) -> bool:
        """Whether a claim draws its items in rounds."""
        said = claim.params.get("sequential", False)
        known = said if isinstance(said, bool) else None  # "profile"
        if known is None and self.run.effort.in_rounds and claim.test is not None:
            with at_key("data.test"):
                items = sample_of(self.read_items(claim.test, claim)[0], claim.cluster).drawable
        else:
            items = 0
        return is_in_rounds(known, self.run.effort, items, claim.params.get("interval", "t"))

    def demonstrations(self, claim: ClaimSpec) -> Items | None:
        """The items that demonstrations are drawn from, or None if the file names none.

        Raises:
            DataError: they cannot be read.
        """
        with at_key("data.demonstrations"):
            return self.read_items(claim.demonstrations, claim)[0] if claim.demonstrations is not None else None

    def read_items(self, path: Path, claim: ClaimSpec) -> tuple[Items, Context]:
        key = path, tuple(sorted(claim.columns.items()))
        if key not in self._items:
            self._items[key] = read_test_items(path, self.run.seed, claim.columns)
        return self._items[key]

    def steering(self, spec: VectorSpec) -> SteeringVector | Intervention:
        """The vector or intervention of an entry, made once for a state of the model."""
        key = (state_of(self.model), *spec.key)
        if key not in self._vectors:
            self._vectors[key] = make_steering(self.model, spec, self.run.seed)
        return self._vectors[key]


def _left_out(kind: ClaimKind, claim: ClaimSpec) -> set[str]:
    """The fields that are not filled in: data that may be missing and are, or what the claim is not measured on."""
    if not kind.either:
        lacks = {"texts": claim.neutral is None, "prompts": claim.prompts is None and claim.test is None}
        missing = {name for name, needed in kind.fields.items() if lacks.get(name) and not needed}
        return missing | kind.meaningless(claim.params).keys()
    chosen = kind.chosen(claim.params.get("on"), given_data(claim))
    return {*kind.either} - {chosen} | kind.meaningless({**claim.params, str(chosen): True}).keys()


def given_data(claim: ClaimSpec) -> set[str]:
    """The keys of ``data`` that a claim has of what claims are measured on."""
    files = {"test": claim.test, "neutral": claim.neutral, "prompts": claim.prompts}
    return {key for key, file in files.items() if file is not None}


class _Supply:
    """What a claim of a file can be measured on, each thing under the name of the field that takes it."""

    def __init__(self, builder: Builder, suite: Suite, claim: ClaimSpec) -> None:
        self._builder, self._suite, self._claim = builder, suite, claim

    def resolved(self, value: Any, schema: Schema, where: str) -> Any:
        """A parameter as its schema means it: contexts and data files read."""
        if value is None:
            return None
        if schema.get("x-promise"):
            return self._promise(value, where)
        if schema.get("x-context"):
            return self._context(value)
        if schema.get("x-baseline"):
            return make_baseline(self._builder.model, self._builder.run, self._claim, value, self._suite.path.parent)
        if schema.get("x-judge"):
            with at_key(where):
                return make_judge(value, where=None, base=self._suite.path.parent, model=self._builder.model)
        if schema.get("x-items"):
            with at_key(where):
                return self._other_data(value, where)
        if schema.get("x-questions"):
            with at_key(where):
                return self._builder.questions(value, self._suite.path.parent)
        if schema.get("x-file"):
            return absolute(value, self._suite.path.parent)
        inner = schema.get("additionalProperties")
        if isinstance(value, dict) and isinstance(inner, dict):
            left_out = self._claim.own_names if inner.get("x-others") else frozenset()
            return {
                name: self.resolved(one, inner, f"{where}.{name}") for name, one in value.items() if name not in left_out
            }
        return value

    @property
    def sequential(self) -> bool:
        return self._builder.is_sequential(self._claim)

    @cached_property
    def _asked(self) -> tuple[Items | None, Context]:
        fields = kind_of(self._claim.kind).fields
        on_prompts = self._claim.prompts is not None and "prompts" in fields and "items" not in fields
        if on_prompts or (self._claim.test is None and not fields.get("items", True)):
            return None, replace(AS_GIVEN, **self._claim.asked)  # type: ignore[arg-type]
        return self._builder.test_items(self._claim, sequential=self.sequential)

    @property
    def subject(self) -> Subject:
        return self._builder.subject(self._claim)

    @property
    def items(self) -> Items | None:
        return self._asked[0]

    @property
    def context(self) -> Context:
        return self._asked[1]

    @property
    def texts(self) -> Texts:
        return self._builder.texts(self._claim)

    @property
    def prompts(self) -> Dialogues:
        return self._builder.prompts(self._claim)

    @property
    def tasks(self) -> tuple[TaskItem, ...]:
        return self._builder.first_tasks(self._builder.tasks(self._claim))

    @property
    def demonstrations(self) -> tuple[TaskItem, ...]:
        # All pairs of the file, however many are asked about, so that every profile sees the same prompts.
        return self._builder.tasks(self._claim, self._claim.demonstrations or self._claim.test)

    @property
    def source(self) -> str:
        """Where its texts, prompts or tasks come from."""
        fields, files = kind_of(self._claim.kind).fields, {"texts": self._claim.neutral, "prompts": self._claim.prompts}
        file = next((file for name, file in files.items() if name in fields and file is not None), self._claim.test)
        return shown(file) if file is not None else "texts"

    @property
    def search(self) -> Search:
        from ..prompting.strategies import contexts, every_context

        builder, run = self._builder, self._builder.run
        examples = builder.demonstrations(self._claim)
        return Search(
            space=contexts(**self._suite.contexts, examples=examples),
            free=True,
            every=lambda most: every_context(self._suite.contexts, examples=examples, most=most),
            read=self._read,
            max_contexts=run.effort.max_contexts,
            batch=run.effort.batch,
            listed=tuple(map(self._read, self._suite.regressions)),
            memory=run.counterexamples(),
            place=f"{self._suite.path.name}::{self._claim.name}",
            only=self._read(run.context) if run.context is not None else None,
        )

    @property
    def others(self) -> list[OtherClaim]:
        """The other claims of the file under the same combination, but for those that ask for others themselves."""
        own, suite = self._claim, self._suite
        return [
            OtherClaim(one.name, suite.name, partial(self._builder.measured, suite, one))
            for one in suite.entries
            if isinstance(one, ClaimSpec) and one.choice == own.choice and "others" not in kind_of(one.kind).fields
        ]

    @property
    def multipliers(self) -> tuple[float, ...]:
        return self._claim.multipliers

    @property
    def confidence(self) -> float:
        return self._claim.confidence

    @property
    def cluster(self) -> str | None:
        return self._claim.cluster

    @property
    def min_n(self) -> int | None:
        return self._claim.min_n

    @property
    def seed(self) -> int:
        return self._builder.run.seed

    @property
    def name(self) -> str:
        return self._claim.name

    def _read(self, values: Mapping[str, Any]) -> Context:
        return Context.from_dict(values, examples=self._builder.demonstrations(self._claim))

    def _promise(self, value: Any, where: str) -> Any:
        """Resolve the paths of a promise, and read the file that its threshold was set on before anything is measured."""
        if not isinstance(value, dict) or "from" not in value:
            return value
        file = absolute(value["from"], self._suite.path.parent)
        with at_key(f"{where}.from"):
            read_pilot(file)
        return {**value, "from": str(file)}

    def _context(self, values: Mapping[str, Any]) -> Context:
        return self._read(values).over(self.context)

    def _other_data(self, value: Any, where: str) -> Items | OtherData:
        """Items of another data set, with its own vector where the file names what that is made from."""
        if isinstance(value, str):
            return self._other_items(value, where)
        with at_key(f"{where}.test"):
            items = self._other_items(value["test"], where)
        if value.keys() == {"test"}:
            return items
        spec, folder = self._claim.vector, self._suite.path.parent
        key = "vector" if "vector" in value else "train"
        file = absolute(value[key], folder)
        own = replace(spec, data=file) if key == "train" else replace(spec, file=file, method=None, data=None, options={})
        try:
            return OtherData(items, self._builder.steering(own))
        except SteerError as error:
            error.key = f"{where}.{key}"  # rather than the key of the claim's own vector, which the same code makes
            raise

    def _other_items(self, path: str, where: str) -> Items:
        found, own_form = self._builder.read_items(absolute(path, self._suite.path.parent), self._claim)
        if own_form.template != self.context.template:
            held = ("pairs of a task", "contrast items")
            if self._claim.test is None:
                raise DataError(
                    f"{self._claim.name}: {where} holds {held[0]}, which are asked in another form: bring {held[1]}"
                )
            here, there = held if self.context.template is not None else held[::-1]
            raise DataError(
                f"{self._claim.name}: data.test holds {here} and {where} {there}, which are asked in different forms, so "
                "their steerabilities cannot be compared: bring the same of both"
            )
        return self._builder.first_items(found)
