"""From an entry of a file of multiple-choice questions to its fields: one reader per shape, told apart by the keys.

Shapes (see docs/data.md): ``question`` with ``choices`` and ``answer`` (our own, MMLU), options in columns A, B, C, D (MMLU's original
tables), ``answerKey`` (ARC), ``mc1_targets`` (TruthfulQA), and ``prompt`` with ``correct`` and ``incorrect`` (CAA's recasts).
"""

from __future__ import annotations

import csv
import io
import math
import string
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import DataError
from .formats.shapes import show

Fields = dict[str, Any]

_KNOWN = (
    "known shapes: {question, choices: [texts], answer: letter or index}; {question, choices: {text: [...], label: [...]}, answerKey}; "
    "{question, mc1_targets: {choices: [...], labels: [0 or 1]}}; {question, A, B, C, D, answer}; {prompt, correct: (A), incorrect: (B)}"
)


def question_fields(entry: Any) -> Fields:
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


def without_header(file: Path) -> Iterator[tuple[str, Fields]] | None:
    """The entries of a table in MMLU's original form, ``question, A, B, C, D, answer`` without a header; None if the file is no such."""
    if file.suffix.lower() != ".csv" or not file.is_file():
        return None
    try:
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline=""), strict=True))
    except (csv.Error, UnicodeDecodeError):
        return None  # the reader of tables says what is wrong
    first = next((row for row in rows if row), [])
    if len(first) < 4 or first[-1].strip() not in [*string.ascii_uppercase[: len(first) - 2]]:
        return None
    return _rows(file, len(first))


def _rows(file: Path, width: int) -> Iterator[tuple[str, Fields]]:
    reader = csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"), newline=""), strict=True)
    for row in reader:
        if not row:
            continue
        where = f"line {reader.line_num}"
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
