"""Multiple-choice questions with one right answer each, and the reader of their files."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import overload

from ..errors import DataError
from .formats.entries import entries, file_of
from .hub import HUB, hub_entries
from .items import check_text
from .likeness import normal_form
from .question_shapes import question_fields, without_header

OWN_QUESTIONS = "builtin:capability"
"""The name of the project's own questions, which ship with the package."""

_LEAST_WEIGHT = 1e-100
_LABEL = re.compile(r"^\(([A-Za-z0-9])\)$")


@dataclass(frozen=True)
class Question:
    """One multiple-choice question.

    Attributes:
        question: what is asked; the options stand in it only where ``choices`` are their labels, ``("(A)", "(B)")``.
        choices: the options, at least two that differ.
        answer: index of the right one.
        subject: what it is about, or "".
        weight: how much it counts in the accuracy; see ``Questions.is_weighted``.
        id: where it stands in its data set.

    Raises:
        DataError: an empty text, fewer than two options, two that are the same, no right one, or a weight that is not above 0.
    """

    question: str
    choices: tuple[str, ...]
    answer: int
    subject: str = ""
    weight: float = 1.0
    id: str = ""

    def __post_init__(self) -> None:
        check_text(self.question, "the question")
        if isinstance(self.choices, str) or not isinstance(self.choices, Iterable):
            raise DataError(f"the options are a list of texts, not {self.choices!r}")
        object.__setattr__(self, "choices", tuple(self.choices))
        if len(self.choices) < 2:
            raise DataError(f"has {len(self.choices)} option(s); a question needs at least two")
        for choice in self.choices:
            check_text(choice, "an option")
        if isinstance(self.answer, bool) or not isinstance(self.answer, int) or not 0 <= self.answer < len(self.choices):
            raise DataError(
                f"there is no right answer: answer is the index of an option, from 0 to {len(self.choices) - 1}, not {self.answer!r}"
            )
        forms = [normal_form(choice) for choice in self.choices]
        repeated = next((form for form in forms if forms.count(form) > 1), None)
        if repeated is not None:
            right = " and is the right answer, so two are right" if repeated == forms[self.answer] else ""
            raise DataError(f"the option {repeated!r} is there twice{right}. Delete one of them")
        weight = self.weight
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < math.inf:
            raise DataError(f"weight is a number above 0, not {weight!r}")
        if not _LEAST_WEIGHT <= weight <= 1 / _LEAST_WEIGHT:  # sums of squares have to be numbers
            raise DataError(
                f"weight {weight!r} is out of range, {_LEAST_WEIGHT:g} to {1 / _LEAST_WEIGHT:g}: weights count by their ratios, so scale all of them"
            )

    @property
    def form(self) -> tuple[str, ...]:
        """The normal form: question, right answer, the other options in any order. Questions of one form are one question."""
        forms = [normal_form(choice) for choice in self.choices]
        right = forms.pop(self.answer)
        return (normal_form(self.question), right, *sorted(forms))

    @property
    def right_first(self) -> tuple[str, ...]:
        """The options with the right one first, the others in order."""
        return (self.choices[self.answer], *self.choices[: self.answer], *self.choices[self.answer + 1 :])

    @property
    def is_lettered(self) -> bool:
        """Whether the options are labels in brackets, such as ``(A)``, whose texts stand in the question."""
        return all(_LABEL.match(choice.strip()) for choice in self.choices)


class Questions(Sequence[Question]):
    """An immutable sequence of questions; a slice is again Questions.

    Attributes:
        source: the file they were read from, or a name given by the user, for messages.
    """

    def __init__(self, questions: Iterable[Question], source: str = "questions") -> None:
        self._questions = tuple(questions)
        self.source = source

    @overload
    def __getitem__(self, index: int) -> Question: ...
    @overload
    def __getitem__(self, index: slice) -> Questions: ...
    def __getitem__(self, index: int | slice) -> Question | Questions:
        found = self._questions[index]
        return found if isinstance(found, Question) else Questions(found, self.source)

    def __len__(self) -> int:
        return len(self._questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self._questions)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Questions) and self._questions == other._questions

    def __hash__(self) -> int:
        return hash(self._questions)

    def __repr__(self) -> str:
        return f"<{len(self)} questions from {self.source}>"

    @property
    def is_weighted(self) -> bool:
        """Whether some count more than others, as anchor items of a benchmark do (Maia Polo et al. 2024, arXiv 2402.14992)."""
        return len({question.weight for question in self}) > 1

    @property
    def hash(self) -> str:
        """SHA-256 of the questions, options, right answers and weights; ids, subjects and file names do not count."""
        content = [[one.question, one.choices, one.answer, one.weight] for one in self]
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()

    def part(self, most: int | None) -> Questions:
        """At most so many of the questions, evenly spaced, so that a file sorted by subject keeps all of them; None is all."""
        if most is None or len(self) <= most:
            return self
        return Questions((self[index * len(self) // most] for index in range(most)), self.source)


def read_questions(path: str | PathLike[str] = OWN_QUESTIONS) -> Questions:
    """Read multiple-choice questions from a file, from the package or from the hub.

    Args:
        path: a JSON, JSON Lines, CSV, TSV or Parquet file of one of the shapes of docs/data.md (our own, MMLU, ARC, TruthfulQA, CAA's
            recasts); ``builtin:capability`` (the default), the project's own 384 questions; or ``hub:ORG/NAME[@REVISION][/CONFIG][:SPLIT]``, a data
            set of the hub, read by the package ``datasets`` (the split is ``test`` unless it is named).

    Raises:
        DataError: the file is missing, is not valid, holds no questions, or one of its entries is wrong, with its line, row or index;
            some questions have a weight and some have none; a hub name without the package ``datasets``.
    """
    name = str(path)
    if is_hub(name):
        return _questions(hub_entries(name), name, "")
    file = file_of(path)
    bare = without_header(file)
    return _questions(entries(file) if bare is None else bare, name, _subject_of(file) if bare is not None else "")


def is_hub(name: str) -> bool:
    """Whether the name of questions is that of a data set of the hub."""
    return name.startswith(HUB)


def as_questions(questions: Iterable[Question]) -> Questions:
    """Questions from any iterable of Question; numbers those without an id.

    Raises:
        DataError: there are none, or something else is in it.
    """
    if not isinstance(questions, Questions):
        numbered = []
        for index, one in enumerate(questions):
            if not isinstance(one, Question):
                raise DataError(
                    f"question {index} is a {type(one).__name__}, not a Question: read a file with read_questions(path), or build "
                    "Question(question=..., choices=(...), answer=index)"
                )
            numbered.append(one if one.id else replace(one, id=str(index)))
        questions = Questions(numbered)
    if not questions:
        raise DataError(f"{questions.source}: there are no questions")
    return questions


def _questions(found: Iterable[tuple[str, object]], source: str, subject: str) -> Questions:
    questions, with_weight = [], []
    for number, (where, entry) in enumerate(found):
        try:
            fields = question_fields(entry)
            with_weight.append("weight" in fields)
            questions.append(Question(**{"id": str(number), "subject": subject, **fields}))
        except DataError as error:
            raise DataError(f"{source}: {where}: {error}") from None
        if with_weight[-1] != with_weight[0]:
            this, earlier = ("a", "none") if with_weight[-1] else ("no", "one")
            raise DataError(
                f"{source}: {where}: this question has {this} 'weight' and earlier ones have {earlier}. Give one to every question, or to none"
            )
    if not questions:
        raise DataError(f"{source}: there are no questions")
    return Questions(questions, source)


def _subject_of(file: Path) -> str:
    """The subject that the name of an original MMLU file says: ``anatomy_test.csv``."""
    return re.sub(r"_(test|val|dev|train)$", "", file.stem)
