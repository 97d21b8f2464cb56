"""From a claim as written to one that can be measured. Loads the data and makes the vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from .. import registry
from ..claims import Claim, ClaimKind, OtherData, evidence_of, kind_of
from ..claims.no_regression import OtherClaim
from ..claims.pilots import read_pilot
from ..data import (
    Dialogues,
    Items,
    Tasks,
    Texts,
)
from ..errors import DataError, ModelError, SteerError, at_key
from ..evidence import Evidence
from ..fuzzing.trials import Search
from ..measures.judges import make_judge
from ..measures.subject import Subject
from ..model import Model
from ..model.loading import Models
from ..prompting import AS_GIVEN, Context
from ..run_context import RunContext
from ..sources import shown
from .baselines import make_baseline
from .files import absolute
from .inputs import Inputs
from .schema import Schema
from .specs import ClaimSpec, Suite


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
    """Builds the claims of claim files for one model; what they are measured on is made once, see ``inputs``.

    Args:
        run: how much is measured, with which seed; by default the current run.
        measured: gives the evidence of another claim of the file, for a claim that asks for it.
    """

    def __init__(
        self, model: Model, run: RunContext | None = None, measured: Callable[[Suite, ClaimSpec], Evidence] | None = None
    ) -> None:
        self.model = model
        self.inputs = Inputs(model, run)
        self.measured = measured or (lambda suite, claim: evidence_of(self.build(suite, claim), self.model))

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
        supply = _Supply(self.inputs, self.measured, suite, claim)
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

    def __init__(
        self, inputs: Inputs, measured: Callable[[Suite, ClaimSpec], Evidence], suite: Suite, claim: ClaimSpec
    ) -> None:
        self._inputs, self._measured, self._suite, self._claim = inputs, measured, suite, claim

    def resolved(self, value: Any, schema: Schema, where: str) -> Any:
        """A parameter as its schema means it: contexts and data files read."""
        if value is None:
            return None
        if schema.get("x-promise"):
            return self._promise(value, where)
        if schema.get("x-context"):
            return self._context(value)
        if schema.get("x-baseline"):
            return make_baseline(self._inputs.model, self._inputs.run, self._claim, value, self._suite.path.parent)
        if schema.get("x-judge"):
            with at_key(where):
                return make_judge(value, where=None, base=self._suite.path.parent, model=self._inputs.model)
        if schema.get("x-items"):
            with at_key(where):
                return self._other_data(value, where)
        if schema.get("x-questions"):
            with at_key(where):
                return self._inputs.questions(value, self._suite.path.parent)
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
        return self._inputs.is_sequential(self._claim)

    @cached_property
    def _asked(self) -> tuple[Items | None, Context]:
        fields = kind_of(self._claim.kind).fields
        on_prompts = self._claim.prompts is not None and "prompts" in fields and "items" not in fields
        if on_prompts or (self._claim.test is None and not fields.get("items", True)):
            return None, replace(AS_GIVEN, **self._claim.asked)  # type: ignore[arg-type]
        return self._inputs.test_items(self._claim, sequential=self.sequential)

    @cached_property
    def _subject(self) -> Subject:
        return self._inputs.subject(self._claim)

    @property
    def subject(self) -> Subject:
        return self._subject

    @property
    def vector(self) -> Any:
        return self.subject.vector

    @property
    def multiplier(self) -> float:
        return self.subject.multiplier

    @property
    def positions(self) -> str:
        return self.subject.positions

    @property
    def include_first(self) -> bool:
        return self.subject.include_first

    @property
    def allow_mismatch(self) -> tuple[str, ...]:
        return self.subject.allow_mismatch

    @property
    def direction(self) -> str:
        return self.subject.direction

    @property
    def items(self) -> Items | None:
        return self._asked[0]

    @property
    def context(self) -> Context:
        return self._asked[1]

    @property
    def texts(self) -> Texts:
        return self._inputs.texts(self._claim)

    @property
    def prompts(self) -> Dialogues:
        return self._inputs.prompts(self._claim)

    @property
    def tasks(self) -> Tasks:
        return self._inputs.first_tasks(self._inputs.tasks(self._claim))

    @property
    def demonstrations(self) -> Tasks:
        # All pairs of the file, however many are asked about, so that every profile sees the same prompts.
        return self._inputs.tasks(self._claim, self._claim.demonstrations or self._claim.test)

    @property
    def source(self) -> str:
        """Where its texts, prompts or tasks come from."""
        fields, files = kind_of(self._claim.kind).fields, {"texts": self._claim.neutral, "prompts": self._claim.prompts}
        file = next((file for name, file in files.items() if name in fields and file is not None), self._claim.test)
        return shown(file) if file is not None else "texts"

    @property
    def contexts(self) -> Search:
        from ..prompting.strategies import contexts, every_context

        run = self._inputs.run
        examples = self._inputs.demonstrations(self._claim)
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
            OtherClaim(one.name, suite.name, partial(self._measured, suite, one))
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
    def silence(self) -> dict[str, str]:
        return self._claim.silence

    @property
    def seed(self) -> int:
        return self._inputs.run.seed

    @property
    def name(self) -> str:
        return self._claim.name

    def _read(self, values: Mapping[str, Any]) -> Context:
        return Context.from_dict(values, examples=self._inputs.demonstrations(self._claim))

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
            return OtherData(items, self._inputs.steering(own))
        except SteerError as error:
            error.key = f"{where}.{key}"  # rather than the key of the claim's own vector, which the same code makes
            raise

    def _other_items(self, path: str, where: str) -> Items:
        found, own_form = self._inputs.read_items(absolute(path, self._suite.path.parent), self._claim)
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
        return self._inputs.first_items(found)
