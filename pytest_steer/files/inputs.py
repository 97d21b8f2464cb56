"""Inputs of the claims of claim files: data that is read, and vectors that are made, each once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from ..claims import kind_of
from ..core.errors import DataError, SteerError, VectorError, at_key
from ..core.evidence import Json
from ..core.run_context import RunContext, current_run
from ..core.sources import shown
from ..data import (
    Dialogues,
    Items,
    Questions,
    Tasks,
    Texts,
    as_dialogues,
    read_items,
    read_prompts,
    read_questions,
    read_tasks,
    read_texts,
    sample_of,
    task_items,
)
from ..data.formats import has_entries
from ..data.formats.entries import is_builtin
from ..data.questions import is_hub
from ..extract import method_kind
from ..extract.training import Training, holds_tasks, read_training
from ..measures.subject import Subject
from ..model import Model, check_fits, check_layers
from ..model.state import state_of
from ..prompting import AS_GIVEN, IN_TASK_FORM, Context
from ..steering import (
    Intervention,
    SteeringVector,
    as_intervention,
    check_depth,
    check_positions,
    gated_by_condition,
    holds_intervention,
    intervention_kind,
    load_intervention,
)
from .specs import ClaimSpec, VectorSpec, absolute

Steering = SteeringVector | Intervention


class Inputs:
    """Data and vectors of the claims of claim files, for one model; each is read or made once.

    Args:
        run: how much is measured, with which seed; by default the current run.
    """

    def __init__(self, model: Model, run: RunContext | None = None) -> None:
        self.model = model
        self.run = run or current_run()
        self._vectors: dict[tuple[object, ...], Steering] = {}
        self._items: dict[tuple[object, ...], tuple[Items, Context]] = {}

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

    def test_items(self, claim: ClaimSpec, *, in_rounds: bool = False) -> tuple[Items, Context]:
        """The items of ``data.test`` that a claim is measured on, and the context in which they are asked as given.

        Of a file of {input, output} pairs these are the items of the task (``data.task_items``), asked in the form of a task.

        Args:
            in_rounds: they are drawn in rounds, so that a profile's limit is ``max_drawn`` rather than ``max_items``.

        Raises:
            DataError: the claim has no ``data.test``, or it cannot be read.
        """
        if claim.test is None:
            raise DataError(f"{claim.name}: needs data.test")
        with at_key("data.test"):
            items, form = self.read_items(claim.test, claim)
        context = replace(form, **claim.asked)  # type: ignore[arg-type]
        effort = self.run.effort
        if not in_rounds:
            return items.first(effort.max_items), context
        if effort.max_drawn is None or len(items) <= effort.max_drawn:
            return items, context
        # A random part, the same for all claims, so that they share their scores.
        part = np.random.default_rng(self.run.seed).permutation(len(items))
        drawn = len(items.part(map(int, part)).first(effort.max_drawn))
        return items.part(sorted(map(int, part[:drawn]))), context

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
            return texts.first(self.run.effort.max_items)

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
        return found.first(self.run.effort.max_items)

    def tasks(self, claim: ClaimSpec, file: Path | None = None) -> Tasks:
        """The pairs of a task, of ``data.test`` unless another file is named.

        Raises:
            DataError: the claim has no ``data.test``, or it cannot be read.
        """
        if claim.test is None:
            raise DataError(f"{claim.name}: needs data.test")
        with at_key("data.test" if file in (None, claim.test) else "data.demonstrations"):
            return read_tasks(file or claim.test, columns=claim.columns)

    def questions(self, name: str, folder: Path) -> Questions:
        """Multiple-choice questions: of a file, a path relative to the folder; of the package; or of the hub.

        Raises:
            DataError: they cannot be read.
        """
        return read_questions(name if is_hub(name) else absolute(name, folder)).at_most(self.run.effort.max_items)

    def in_rounds(self, claim: ClaimSpec) -> bool:
        """Whether a claim draws its items in rounds."""
        return kind_of(claim.kind).in_rounds(claim.params, self.run.effort, partial(self._drawable, claim))

    def _drawable(self, claim: ClaimSpec) -> int:
        if claim.test is None:
            return 0
        with at_key("data.test"):
            return sample_of(self.read_items(claim.test, claim)[0], claim.cluster, at_least=0).drawable

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
            self._items[key] = _read_test_items(path, self.run.seed, claim.columns)
        return self._items[key]

    def steering(self, spec: VectorSpec) -> Steering:
        """The vector or intervention of an entry, made once for a state of the model."""
        key = (state_of(self.model), *spec.key)
        if key not in self._vectors:
            self._vectors[key] = make_steering(self.model, spec, self.run.seed)
        return self._vectors[key]


def _read_test_items(file: Path, seed: int, columns: Mapping[str, str]) -> tuple[Items, Context]:
    """Contrast items to measure on, and the context in which they are asked as given: pairs of a task in the form of a task.

    Raises:
        DataError: the file holds neither contrast items nor pairs of a task, or pairs that all have one output.
    """
    name, given = shown(file), f", columns={dict(columns)!r}" if columns else ""
    if not holds_tasks(file, columns):
        return Items(read_items(file, columns=columns), name, f"read_items({name!r}{given})"), AS_GIVEN
    made = task_items(read_tasks(file, columns=columns), seed=seed, source=name)
    return Items(made, name, f"task_items(read_tasks({name!r}{given}), seed={seed})"), IN_TASK_FORM


def make_steering(model: Model, spec: VectorSpec, seed: int) -> Steering:
    """The vector or intervention of an entry.

    Raises:
        SteerError: a file cannot be read, the data cannot be used, or the pieces do not fit together.
    """
    if isinstance(spec.layers, tuple):
        with at_key(f"{spec.section}.layer"):
            check_layers(model, spec.layers)
    if spec.file is not None:
        with at_key(f"{spec.section}.file"):
            found = _from_file(model, spec, spec.file)
    else:
        with warnings.catch_warnings(), at_key(f"{spec.section}.extract"):
            warnings.simplefilter("ignore")  # the check puts the same warnings into its evidence
            found = _extracted(model, spec, seed)
    return _shaped(model, found, spec, spec.shape) if spec.shape is not None else found


def _from_file(model: Model, spec: VectorSpec, file: Path) -> Steering:
    if spec.shape is not None and holds_intervention(file):
        found = load_intervention(file)
        if found.vector is None or found.hash != found.vector.hash:  # not a vector that is added as it is
            if spec.layers not in (None, "all"):
                where = list(found.layers)
                raise SteerError(f"{file}: holds an intervention that acts at {where} and cannot be moved: delete `layer`")
            return found
        return found.vector.at(spec.layers) if spec.layers else found.vector
    if spec.shape is not None and "kind" in spec.shape and "layers" in intervention_kind(spec.shape["kind"]).filled:
        # A single direction whose layer is known is applied at whichever layers are named.
        try:
            vector = _load(model, file, rows=spec.rows, settings=spec.reading)
        except VectorError:
            return _load(model, file, spec.layers, spec.rows, spec.reading)
        if len(vector.layers) == 1:
            return vector
    vector = _load(model, file, spec.layers, spec.rows, spec.reading)
    vector.check_settled()
    return vector


def _load(
    model: Model,
    file: Path,
    layer: int | tuple[int, ...] | Literal["all"] | None = None,
    rows: Literal["blocks", "hidden_states"] | None = None,
    settings: Json | None = None,
) -> SteeringVector:
    """A saved vector whose rows are blocks of this model."""
    vector = SteeringVector.load(file, layer=layer, rows=rows, **(settings or {}))
    try:
        check_depth(vector.metadata, model.n_layers, model.id)
    except VectorError as error:
        raise VectorError(f"{file}: {error}") from None
    return vector


def _extracted(model: Model, spec: VectorSpec, seed: int) -> Steering:
    if spec.data is None or spec.method is None:
        raise SteerError("extract needs a method and data")
    with at_key(f"{spec.section}.extract.data"):
        data = read_training(spec.data, seed, spec.columns)
    return extracted(model, spec, data, seed)


def extracted(model: Model, spec: VectorSpec, data: Training, seed: int) -> Steering:
    """What the method of an entry makes of training data, its own or others.

    Raises:
        SteerError: the entry has no method or no layers of its own, or the data cannot be used.
    """
    if spec.method is None:
        raise SteerError("extract needs a method and data")
    if spec.layers == "all":
        raise SteerError("extract needs the layers' numbers; 'all' means those of a saved vector")
    return method_kind(spec.method).extract(
        model,
        data,
        layers=spec.layers,
        context=replace(data.context, **spec.asked),  # type: ignore[arg-type]
        seed=seed,
        settings=spec.options,
    )


def _shaped(model: Model, found: Steering, spec: VectorSpec, shape: Json) -> Steering:
    """What was found, applied as an ``intervention:`` says."""
    if "kind" in shape:
        if not isinstance(found, SteeringVector):
            raise SteerError(
                f"{spec.file}: holds the intervention {found.method!r}, which says itself how it is applied: delete `kind`"
            )
        found = _of_kind(model, found, spec, shape)
    if "condition" in shape:
        condition = shape["condition"]
        with at_key("intervention.condition.file"):
            vector = _load(model, condition["file"], condition.get("layer"), condition.get("rows"))
            change = as_intervention(found)
            found = gated_by_condition(change, vector, threshold=condition["threshold"], fires=condition["fires"])
    return found


def _of_kind(model: Model, vector: SteeringVector, spec: VectorSpec, shape: Json) -> Intervention:
    kind = intervention_kind(shape["kind"])
    files = {key for key, schema in kind.settings.items() if schema.get("x-vector") and key in shape}
    return kind.make(
        vector,
        layers=None if spec.layers == "all" else spec.layers,
        site=shape["site"],
        settings={**shape, **{key: _beside(model, key, shape[key], vector, spec) for key in files}},
    )


def _beside(model: Model, key: str, file: Path, vector: SteeringVector, spec: VectorSpec) -> SteeringVector:
    """A second saved vector, at the layers of the first one."""
    with at_key(f"intervention.{key}"):
        try:
            found = _load(model, file, vector.layers)
        except VectorError:
            if spec.rows is None:
                raise
            found = _load(model, file, vector.layers, spec.rows)  # a stack like the first one
        if found.width != vector.width:
            raise DataError(f"{file}: has width {found.width}, the first direction {vector.width}")
    return found
