"""What the claims of claim files are measured on: data that is read, and vectors that are made, each once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from ..claims import kind_of
from ..core.errors import DataError, at_key
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
from ..extract.training import holds_tasks
from ..measures.subject import Subject
from ..model import Model, check_fits
from ..model.state import state_of
from ..prompting import AS_GIVEN, IN_TASK_FORM, Context
from ..steering import Intervention, SteeringVector, as_intervention, check_positions
from .make import make_steering
from .specs import ClaimSpec, VectorSpec, absolute


class Inputs:
    """What the claims of claim files are measured on, for one model; each vector and data set is made once.

    Args:
        run: how much is measured, with which seed; by default the current run.
    """

    def __init__(self, model: Model, run: RunContext | None = None) -> None:
        self.model = model
        self.run = run or current_run()
        self._vectors: dict[tuple[object, ...], SteeringVector | Intervention] = {}
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

    def steering(self, spec: VectorSpec) -> SteeringVector | Intervention:
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
