"""From a claim as written to its evidence: its data and its vector are read and made, each once, and it is measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ..claims import Claim, evidence_of, kind_of
from ..claims.from_file import OtherClaim
from ..claims.judging import adjusted
from ..core.errors import DataError, ModelError, SteerError, at_key, exceptions_named, warnings_noted
from ..core.evidence import Evidence, Json
from ..core.finding import Weight, code
from ..core.run_context import RunContext, report_progress
from ..core.sources import shown
from ..data import Dialogues, Items, Questions, Tasks, Texts
from ..extract import Training
from ..extract.training import read_training
from ..fuzzing.trials import Search
from ..measures.subject import Subject, model_findings, noted
from ..model import Model, check_fits
from ..model.loading import Models
from ..model.model import looked_at_once
from ..prompting import AS_GIVEN, Context
from ..steering import as_intervention
from .inputs import Inputs, Steering, extracted, make_steering
from .specs import BrokenClaim, ClaimSpec, Suite, absolute

MODELS_OVERRULED = (
    "--steer-model (steer_model) replaces every model of `matrix.model` by {model}: items that differ only in their model are the same "
    "measurement, whatever they are called"
)
models_overruled = code(
    "model-option-wins",
    signal="--steer-model names one model, and the file's matrix several.",
    meaning="The rows of the matrix are all of one model.",
    cure="Leave out --steer-model.",
    weight=Weight.ANOTHER,
)


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
    """Builds the claims of claim files for one model; their data and vectors are made once, see ``inputs``.

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
        """The claim of a file, with its data and its vector.

        Raises:
            SteerError: a data file or the vector cannot be used.
        """
        made: Claim = kind_of(claim.kind).from_file(_InFile(self.inputs, self.measured, suite, claim))
        return made


class _InFile:
    """A claim in its file, as its kind reads it (``claims.from_file.FromFile``)."""

    def __init__(
        self, inputs: Inputs, measured: Callable[[Suite, ClaimSpec], Evidence], suite: Suite, claim: ClaimSpec
    ) -> None:
        self.inputs, self.measured, self.suite, self.claim = inputs, measured, suite, claim
        self.model, self.run = inputs.model, inputs.run
        self.params, self.data, self.own_names = claim.params, claim.given_data, claim.own_names
        self.has_method = claim.vector.method is not None
        self.key = ""

    @property
    def frame(self) -> Json:
        keys = ("name", "multiplier", "multipliers", "direction", "confidence", "min_n", "cluster", "silence")
        of_vector = ("positions", "include_first", "allow_mismatch")
        return (
            {key: getattr(self.claim, key) for key in keys}
            | {key: getattr(self.claim.vector, key) for key in of_vector}
            | {"seed": self.run.seed}
        )

    @cached_property
    def in_rounds(self) -> bool:
        return self.inputs.in_rounds(self.claim)

    # --- what it is measured on ---

    @property
    def subject(self) -> Subject:
        return self.inputs.subject(self.claim)

    @property
    def vector(self) -> Steering:
        return self.subject.vector

    @cached_property
    def _asked(self) -> tuple[Items | None, Context]:
        if not kind_of(self.claim.kind).asks_items(self.data):
            return None, replace(AS_GIVEN, **self.claim.asked)  # type: ignore[arg-type]
        return self.inputs.test_items(self.claim, in_rounds=self.in_rounds)

    @property
    def items(self) -> Items | None:
        return self._asked[0]

    @property
    def context(self) -> Context:
        return self._asked[1]

    @property
    def texts(self) -> Texts:
        return self.inputs.texts(self.claim)

    @property
    def prompts(self) -> Dialogues:
        return self.inputs.prompts(self.claim)

    @property
    def tasks(self) -> Tasks:
        return self.inputs.tasks(self.claim).first(self.run.effort.max_items)

    @property
    def demonstrations(self) -> Tasks:
        # All pairs of the file, however many are asked about, so that every profile sees the same prompts.
        return self.inputs.tasks(self.claim, self.claim.demonstrations or self.claim.test)

    @property
    def source(self) -> str:
        """Where its texts, prompts or tasks come from."""
        fields, files = kind_of(self.claim.kind).fields, {"texts": self.claim.neutral, "prompts": self.claim.prompts}
        file = next((file for name, file in files.items() if name in fields and file is not None), self.claim.test)
        return shown(file) if file is not None else "texts"

    @property
    def contexts(self) -> Search:
        from ..prompting.strategies import contexts, every_context

        run, axes = self.run, self.suite.contexts
        examples = self.inputs.demonstrations(self.claim)
        return Search(
            space=contexts(**axes, examples=examples),
            free=True,
            every=lambda most: every_context(axes, examples=examples, most=most),
            read=self._context,
            max_contexts=run.effort.max_contexts,
            batch=run.effort.batch,
            listed=tuple(map(self._context, self.suite.regressions)),
            memory=run.counterexamples(),
            place=f"{self.suite.path.name}::{self.claim.name}",
            only=self._context(run.context) if run.context is not None else None,
        )

    @property
    def others(self) -> Sequence[OtherClaim]:
        """The other claims of the file under the same combination, except those that ask for others themselves."""
        return [
            OtherClaim(one.name, self.suite.name, partial(self.measured, self.suite, one))
            for one in self.suite.entries
            if isinstance(one, ClaimSpec) and one.choice == self.claim.choice and not kind_of(one.kind).asks_others
        ]

    # --- what a parameter names ---

    def under(self, key: str) -> _InFile:
        inner = copy(self)
        inner.key = f"{self.key}.{key}" if self.key else key
        return inner

    def path(self, text: str) -> Path:
        return absolute(text, self.suite.path.parent)

    def read_items(self, text: str) -> Items:
        found, own_form = self.inputs.read_items(self.path(text), self.claim)
        if own_form.template != self.context.template:
            held, name = ("pairs of a task", "contrast items"), self.claim.name
            if self.claim.test is None:
                raise DataError(f"{name}: {self.key} holds {held[0]}, which are asked in another form: bring {held[1]}")
            here, there = held if self.context.template is not None else held[::-1]
            raise DataError(
                f"{name}: data.test holds {here} and {self.key} {there}, which are asked in different forms, so "
                "their steerabilities cannot be compared: bring the same of both"
            )
        return found.first(self.run.effort.max_items)

    def read_questions(self, text: str) -> Questions:
        return self.inputs.questions(text, self.suite.path.parent)

    def read_context(self, values: Mapping[str, Any]) -> Context:
        return self._context(values).over(self.context)

    def _context(self, values: Mapping[str, Any]) -> Context:
        return Context.from_dict(values, examples=self.inputs.demonstrations(self.claim))

    @property
    def training(self) -> Training | None:
        entry = self.claim.vector
        return None if entry.data is None else read_training(entry.data, self.run.seed, entry.columns)

    def read_training(self, text: str) -> Training:
        return read_training(self.path(text), self.run.seed)

    def made_of(self, training: Training) -> Steering:
        return extracted(self.model, self.claim.vector, training, self.run.seed)

    def trained_on(self, text: str) -> Steering:
        return self._made(data=self.path(text))

    def with_vector(self, text: str) -> Steering:
        return self._made(file=self.path(text), method=None, data=None, options={})

    def _made(self, **changes: Any) -> Steering:
        try:
            return self.inputs.steering(replace(self.claim.vector, **changes))
        except SteerError as error:
            error.key = self.key  # rather than the key of the claim's own vector, which the same code makes
            raise

    def saved_vector(self, text: str) -> Steering:
        own = replace(self.claim.vector, file=self.path(text), method=None, data=None, options={}, shape=None)
        try:
            found = make_steering(self.model, own, self.run.seed)
        except SteerError:
            found = make_steering(self.model, replace(own, layers=None), self.run.seed)  # it knows its own layer
        check_fits(self.model, as_intervention(found), own.allow_mismatch)
        return found


class Measuring:
    """Measures the claims of claim files, in the run that it is given.

    Attributes:
        models: the models that were loaded so far.
    """

    def __init__(self, run: RunContext) -> None:
        self.run = run
        self.models = Models(run)
        self._builders: dict[int, Builder] = {}
        self._known: dict[tuple[int, str], Evidence] = {}

    def evidence_of(self, suite: Suite, entry: ClaimSpec | BrokenClaim) -> Evidence:
        """The evidence of one entry of a claim file: that of an error if it cannot be read or measured.

        In a file with a claim that asks for others, each is measured once.
        """
        if isinstance(entry, BrokenClaim):
            return entry.evidence
        if not any(isinstance(one, ClaimSpec) and kind_of(one.kind).asks_others for one in suite.entries):
            return self._evidence_of(suite, entry)
        key = id(suite), entry.name
        if key not in self._known:
            self._known[key] = self._evidence_of(suite, entry)
        return self._known[key]

    def family_of(self, suite: Suite) -> dict[str, Evidence]:
        """By name the evidence of every claim of a file, with Holm's adjustment over them."""
        family = {entry.name: self.evidence_of(suite, entry) for entry in suite.entries}
        return dict(zip(family, adjusted(list(family.values())), strict=True))

    def _evidence_of(self, suite: Suite, entry: ClaimSpec) -> Evidence:
        with warnings_noted() as said:
            try:
                with exceptions_named():
                    evidence = self._measured(suite, entry)
            except SteerError as error:
                evidence = entry.failed(error, suite.path)
        return evidence.noting(map(noted, said))

    def _measured(self, suite: Suite, claim: ClaimSpec) -> Evidence:
        run = self.run
        report_progress("loading the model")
        model = load_for(self.models, suite, run.model_name(claim.model, suite.model))
        builder = self._builders.setdefault(id(model), Builder(model, run, self.evidence_of))
        report_progress("preparing the vector")
        with looked_at_once():
            evidence = evidence_of(builder.build(suite, claim), model)
        evidence.to_dict()  # which refuses what is not finite
        findings = model_findings(model)
        if claim.model is not None and run.model is not None:
            findings.append(models_overruled(MODELS_OVERRULED.format(model=run.model)))
        return evidence.noting(findings)
