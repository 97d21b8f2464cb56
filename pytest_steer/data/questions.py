"""Multiple-choice questions with one right answer each, and the reader of their files."""

from __future__ import annotations

import csv
import io
import math
import re
import string
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

from ..core.errors import DataError
from ..core.evidence import Json
from .formats.entries import each_made, entries, file_of
from .formats.shapes import show
from .items import are_labels, check_text
from .likeness import normal_form
from .units import Units

OWN_QUESTIONS = "builtin:capability"
"""The name of the project's own questions, which ship with the package."""

_LEAST_WEIGHT = 1e-100


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
        return are_labels(self.choices)


class Questions(Units[Question]):
    """Multiple-choice questions. The project's own were read for near-duplicates by hand: those that are left are sums of other numbers."""

    called, one, shown_as = "questions", "question", "questions"

    def content_of(self, entry: Question) -> object:
        return [entry.question, entry.choices, entry.answer, entry.weight]

    @property
    def is_searched(self) -> bool:
        return self.source != OWN_QUESTIONS

    @property
    def is_weighted(self) -> bool:
        """Whether some count more than others, as anchor items of a benchmark do (Maia Polo et al. 2024, arXiv 2402.14992)."""
        return len({question.weight for question in self}) > 1

    def at_most(self, most: int | None) -> Questions:
        """At most ``most`` of the questions, evenly spaced, so that a file sorted by subject keeps all subjects; None is all."""
        if most is None or len(self) <= most:
            return self
        return self.part(index * len(self) // most for index in range(most))


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
        return _questions(_hub_entries(name), name, "")
    file = file_of(path)
    bare = _without_header(file)
    if bare is None:
        return _questions(entries(file), name, "")
    # The name of an original MMLU file says the subject: ``anatomy_test.csv``.
    return _questions(bare, name, re.sub(r"_(test|val|dev|train)$", "", file.stem))


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
    with_weight: list[bool] = []

    def made(entry: Any, number: str) -> Question:
        fields = _fields(entry)
        with_weight.append("weight" in fields)
        question = Question(**{"id": number, "subject": subject, **fields})
        if with_weight[-1] != with_weight[0]:
            this, earlier = ("a", "none") if with_weight[-1] else ("no", "one")
            raise DataError(
                f"this question has {this} 'weight' and earlier ones have {earlier}. Give one to every question, or to none"
            )
        return question

    return as_questions(Questions(each_made(found, source, made), source))


# --- from an entry of a file to the fields of a question: one reader per shape, told apart by the keys ---


Fields = Json

_KNOWN = (
    "known shapes: {question, choices: [texts], answer: letter or index}; {question, choices: {text: [...], label: [...]}, answerKey}; "
    "{question, mc1_targets: {choices: [...], labels: [0 or 1]}}; {question, A, B, C, D, answer}; {prompt, correct: (A), incorrect: (B)}"
)


def _fields(entry: Any) -> Fields:
    """The fields of ``Question`` that an entry holds.

    Raises:
        DataError: the entry has none of the known shapes, or a value is wrong.
    """
    if not isinstance(entry, dict):
        raise DataError(f"expected an object, found {show(entry)}; {_KNOWN}")
    for key, read in _READERS.items():
        if key in entry:
            return {**_common(entry), **read(entry)}
    if "question" in entry:
        raise DataError(f"a question without options; found {sorted(map(str, entry))}; {_KNOWN}")
    raise DataError(f"unknown keys {sorted(map(str, entry))}; {_KNOWN}")


def _without_header(file: Path) -> Iterator[tuple[str, Fields]] | None:
    """The entries of a table in MMLU's original form, ``question, A, B, C, D, answer`` without a header; None if the file is no such."""
    if file.suffix.lower() != ".csv" or not file.is_file():
        return None
    try:
        reader = csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline=""), strict=True)
        rows = [(f"line {reader.line_num}", row) for row in reader if row]
    except (csv.Error, UnicodeDecodeError):
        return None  # the reader of tables says what is wrong
    first = rows[0][1] if rows else []
    if len(first) < 4 or first[-1].strip() not in [*string.ascii_uppercase[: len(first) - 2]]:
        return None
    return _with_names(file, rows, len(first))


def _with_names(file: Path, rows: Iterable[tuple[str, list[str]]], width: int) -> Iterator[tuple[str, Fields]]:
    for where, row in rows:
        if len(row) != width:
            raise DataError(
                f"{file}: {where}: has {len(row)} cells, and the first row has {width}. Put texts that hold a comma in quotes"
            )
        yield where, {"question": row[0], "choices": row[1:-1], "answer": row[-1]}


def _common(entry: Fields) -> Fields:
    found: Fields = {}
    identity = entry.get("id")
    if identity is not None and not isinstance(identity, (dict, list)):
        found["id"] = str(identity)
    subject = next((entry[key] for key in ("subject", "category") if entry.get(key)), None)
    if subject is not None:
        if not isinstance(subject, str):
            raise DataError(f"'subject': expected a text, found {show(subject)}")
        found["subject"] = subject.strip()
    if entry.get("weight") is not None:
        found["weight"] = _number(entry["weight"])
    return found


def _number(value: Any) -> Any:
    """A weight as a number; cells of a table are texts."""
    if not isinstance(value, str):
        return value
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    return number if math.isfinite(number) else value


def _of_choices(entry: Fields) -> Fields:
    """{question, choices: [texts], answer}: ours, and MMLU on the hub."""
    choices = entry["choices"]
    if isinstance(choices, dict) or "answerKey" in entry:
        return _of_arc(entry)
    if not isinstance(choices, list):
        raise DataError(f"'choices': expected a list of texts, found {show(choices)}")
    return {"question": _asked(entry), "choices": tuple(choices), "answer": _index(entry.get("answer"), choices)}


def _of_columns(entry: Fields) -> Fields:
    """{question, A, B, C, D, answer}: MMLU's tables with a header."""
    letters = [letter for letter in string.ascii_uppercase if entry.get(letter) not in (None, "")]
    if letters != list(string.ascii_uppercase[: len(letters)]):
        raise DataError(
            f"the options stand under the letters {', '.join(letters)}; they have to follow each other from A on"
        )
    choices = [_option(entry[letter], letter) for letter in letters]
    return {"question": _asked(entry), "choices": tuple(choices), "answer": _index(entry.get("answer"), choices)}


def _option(value: Any, letter: str) -> str:
    """A cell with an option, which may be a number."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not isinstance(value, str) and not is_number:
        raise DataError(f"{letter!r}: expected an option, a text or a number, found {show(value)}")
    return str(value)


def _of_arc(entry: Fields) -> Fields:
    """{question, choices: {text, label}, answerKey}: ARC on the hub; {question: {stem, choices: [{text, label}]}, answerKey}: its files."""
    question: Any = entry.get("question")
    choices: Any = entry.get("choices")
    if isinstance(question, dict):
        question, choices = question.get("stem"), question.get("choices")
    if isinstance(choices, list):
        if not all(isinstance(one, dict) for one in choices):
            raise DataError(f"'choices': expected {{text, label}} of each option, found {show(choices)}")
        choices = {key: [one[key] for one in choices if key in one] for key in ("text", "label")}
    if not isinstance(choices, dict) or not all(isinstance(choices.get(key), list) for key in ("text", "label")):
        raise DataError(f"'choices': expected {{text: [...], label: [...]}}, found {show(choices)}")
    texts, labels = choices["text"], [str(label).strip() for label in choices["label"]]
    if len(texts) != len(labels):
        raise DataError(f"'choices': {len(texts)} texts and {len(labels)} labels")
    right = [index for index, label in enumerate(labels) if label == str(entry.get("answerKey")).strip()]
    if len(right) != 1:
        how = "no option has" if not right else f"{len(right)} options have"
        raise DataError(f"'answerKey': {how} the label {entry.get('answerKey')!r}; the labels are {', '.join(labels)}")
    return {"question": question, "choices": tuple(texts), "answer": right[0]}


def _of_truthful_qa(entry: Fields) -> Fields:
    """{question, mc1_targets: {choices, labels}}: TruthfulQA on the hub; {question, mc1_targets: {text: 0 or 1}}: its file."""
    targets = entry["mc1_targets"]
    if not isinstance(targets, dict):
        raise DataError(f"'mc1_targets': expected {{choices: [...], labels: [...]}}, found {show(targets)}")
    choices, labels = targets.get("choices"), targets.get("labels")
    if not isinstance(choices, list) or not isinstance(labels, list):
        choices, labels = list(targets), list(targets.values())
    if len(choices) != len(labels) or any(label not in (0, 1) for label in labels):
        raise DataError(
            f"'mc1_targets': each option needs the label 0 or 1, found {len(choices)} options and {show(labels)}"
        )
    right = [index for index, label in enumerate(labels) if label == 1]
    if len(right) != 1:
        raise DataError(f"'mc1_targets': {len(right)} options are right, and one has to be")
    return {"question": _asked(entry), "choices": tuple(choices), "answer": right[0]}


def _of_recast(entry: Fields) -> Fields:
    """{prompt, correct: "(A)", incorrect: "(B)"}: MMLU and TruthfulQA as CAA asks them, the options in the prompt."""
    sides: dict[str, list[Any]] = {}
    for key in ("correct", "incorrect"):
        given = entry.get(key)
        side = [given] if isinstance(given, str) else given
        if not isinstance(side, list) or not side:
            raise DataError(f"'{key}': expected an answer such as '(A)', found {show(given)}")
        sides[key] = side
    if len(sides["correct"]) != 1:
        raise DataError(f"'correct': {len(sides['correct'])} options are right, and one has to be")
    right, every = sides["correct"][0], [*sides["correct"], *sides["incorrect"]]
    choices = sorted(every, key=str)
    return {"question": entry.get("prompt"), "choices": tuple(choices), "answer": choices.index(right)}


_READERS: dict[str, Callable[[Fields], Fields]] = {
    "mc1_targets": _of_truthful_qa,
    "answerKey": _of_arc,
    "choices": _of_choices,
    "A": _of_columns,
    "correct": _of_recast,
}


def _asked(entry: Fields) -> Any:
    if entry.get("question") is None:
        raise DataError(f"'question' is missing; found {sorted(map(str, entry))}")
    return entry["question"]


def _index(answer: Any, choices: Sequence[Any]) -> int:
    """The index of the right option, said by a letter, by an index from 0, or by the option's own text."""
    most = len(choices)
    if isinstance(answer, (list, tuple)):
        raise DataError(f"'answer': {len(answer)} options are right, and one has to be: {show(answer)}")
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < most:
        return answer
    if isinstance(answer, str):
        said = answer.strip()
        letter = said.strip("().")
        ways = set()
        if len(letter) == 1 and letter in string.ascii_uppercase[:most]:
            ways.add(string.ascii_uppercase.index(letter))
        elif said.isascii() and said.isdigit() and int(said) < most:
            ways.add(int(said))
        ways |= {index for index, choice in enumerate(choices) if choice == said}
        if len(ways) == 1:
            return ways.pop()
        if ways:
            raise DataError(f"'answer': {answer!r} names one option and is the text of another: write its index, from 0 on")
    last = string.ascii_uppercase[most - 1] if 0 < most <= len(string.ascii_uppercase) else "..."
    raise DataError(
        f"there is no right answer: 'answer' is a letter from A to {last} or an index from 0 to {most - 1}, found {show(answer)}"
    )


# --- data sets of the hub, read by the package ``datasets`` where it is installed; nothing is fetched that the user did not name ---


HUB = "hub:"
_NAME = re.compile(
    r"hub:(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w.-]+))?(?:/(?P<config>[^:/]+))?(?::(?P<split>[^:/]+))?"
)
# Older versions run the Python file of a data set that has one.
_LEAST_VERSION = 4


def _hub_entries(name: str) -> Iterator[tuple[str, Any]]:
    """The rows of one split of a data set, each with where it stands.

    ``datasets.load_dataset`` fetches the files of the named configuration, all its splits, and keeps them in its cache; without a network,
    or with ``HF_HUB_OFFLINE=1``, it reads what is there. No code of a data set is run.

    Args:
        name: ``hub:ORG/NAME[@REVISION][/CONFIG][:SPLIT]``; the split is ``test`` unless it is named, the revision the newest.

    Raises:
        DataError: the name has another form, ``datasets`` is not installed or too old, it cannot load the data set, or a folder of that name
            is here, which it would read instead.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise DataError(
            f"{name}: a data set of the hub is written hub:ORG/NAME, then /CONFIG and :SPLIT where it has them, as in "
            "hub:cais/mmlu/all:test"
        )
    try:
        import datasets
    except ImportError as error:
        if getattr(error, "name", None) != "datasets":
            raise DataError(f"{name}: the package datasets is installed and cannot be imported: {error}") from error
        raise DataError(
            f"{name}: a data set of the hub is read by the package datasets, which is not installed: "
            "pip install 'pytest-steer[datasets]'"
        ) from None
    if int(datasets.__version__.partition(".")[0]) < _LEAST_VERSION:
        raise DataError(
            f"{name}: datasets {datasets.__version__} can run code of a data set: pip install 'datasets>={_LEAST_VERSION}'"
        )
    if Path(found["name"]).exists():
        raise DataError(
            f"{name}: there is a folder {found['name']} here, and datasets would read it in place of the hub: rename it, or name a file "
            "in it"
        )
    split = found["split"] or "test"
    try:
        rows = datasets.load_dataset(found["name"], found["config"], split=split, revision=found["revision"])
    except Exception as error:  # the library raises nearly anything: no network, no such name, configuration or split
        what = " ".join([f"{type(error).__name__}:", *str(error).strip().splitlines()[:1]])[:300]
        cure = "" if found["split"] else ". Name the split if it is not called test: " + name + ":validation"
        if isinstance(error, ConnectionError):
            cure = ". It is not in the cache either: fetch it once where there is a network, or name a file"
        raise DataError(f"{name}: cannot be loaded, split {split!r}: {what.rstrip('.')}{cure}") from error
    return ((f"row {number}", dict(row)) for number, row in enumerate(rows))
