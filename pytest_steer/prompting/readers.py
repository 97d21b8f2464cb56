"""Readers of the files in which the field keeps contrast items and texts.

Shapes (see docs/data.md): CAA and model-written-evals (``question``, ``answer_matching_behavior``,
``answer_not_matching_behavior``), Tan et al.'s processed form (``positive`` / ``negative`` with ``prompt`` and
``response``), EasyEdit (``question``, ``matching``, ``not_matching``), the same as CSV (BiPO), and the CAA
recasts of MMLU and TruthfulQA (``prompt``, ``correct``, ``incorrect``). JSON, JSON Lines or CSV.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

from ..errors import DataError
from .items import ContrastItem, Items

_T = TypeVar("_T")
_QUESTION_KEYS: dict[str, tuple[str, str, str]] = {
    "caa": ("question", "answer_matching_behavior", "answer_not_matching_behavior"),
    "easyedit": ("question", "matching", "not_matching"),
    "recast": ("prompt", "correct", "incorrect"),
}
_SHAPES = (
    "known shapes: {question, answer_matching_behavior, answer_not_matching_behavior}; "
    "{question, matching, not_matching}; {prompt, correct, incorrect}; "
    "{positive: {prompt, response}, negative: {prompt, response}}; of a task: {input, output} in every entry"
)


def read_items(path: str | PathLike[str]) -> Items:
    """Reads contrast items from a JSON, JSON Lines or CSV file in any of the known shapes.

    Raises:
        DataError: the file is missing, is not valid, holds no items, or one of its entries is wrong. The message
            has the line (JSON Lines, CSV) or the index (JSON) of the entry.
    """
    file = Path(path)
    items = []
    for number, (where, entry) in enumerate(_entries(file)):
        try:
            items.append(_item(entry, str(number)))
        except DataError as error:
            raise DataError(f"{file}: {where}: {error}") from None
    if not items:
        raise DataError(f"{file}: the file holds no items")
    return Items(items, str(path), f"read_items({str(path)!r})")


def read_texts(path: str | PathLike[str]) -> list[str]:
    """Reads texts: one per line of a text file, a JSON list of strings, or ``{"text": ...}`` objects.

    Blank lines of a text file are skipped.

    Raises:
        DataError: the file is missing, is not valid, holds no text, or an entry is not a text.
    """
    file = Path(path)
    if file.suffix.lower() not in {".json", ".jsonl"}:
        texts = [line.strip() for line in _read(file).splitlines() if line.strip()]
    else:
        texts = []
        for where, entry in _entries(file):
            text = entry.get("text") if isinstance(entry, dict) else entry
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{file}: {where}: expected a text or an object with a 'text', found {_show(entry)}")
            texts.append(text)
    if not texts:
        raise DataError(f"{file}: the file holds no texts")
    return texts


def read_contrast_texts(path: str | PathLike[str]) -> tuple[list[str], list[str]]:
    """Reads ``{"positive": [texts], "negative": [texts]}`` for free-text contrast.

    Raises:
        DataError: the file is missing or not of that shape, or one side is empty.
    """
    file = Path(path)
    content = _json(file)
    if not isinstance(content, dict) or not {"positive", "negative"} <= content.keys():
        raise DataError(f'{file}: expected an object {{"positive": [texts], "negative": [texts]}}, found {_show(content)}')
    sides = []
    for side in ("positive", "negative"):
        texts = content[side]
        if not isinstance(texts, list) or not texts:
            raise DataError(f"{file}: '{side}' has to be a list with at least one text")
        for index, text in enumerate(texts):
            if not isinstance(text, str) or not text.strip():
                raise DataError(f"{file}: {side}[{index}]: expected a text, found {_show(text)}")
        sides.append(list(texts))
    return sides[0], sides[1]


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{file}: is a folder, not a file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: is not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None


def _json(file: Path) -> Any:
    try:
        return json.loads(_read(file))
    except (ValueError, RecursionError) as error:
        line = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        what = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error))
        raise DataError(f"{file}{line}: is not valid JSON: {what}") from None


def _entries(file: Path) -> Iterator[tuple[str, Any]]:
    """Each entry with the words that say where it stands."""
    suffix = file.suffix.lower()
    if suffix == ".jsonl":
        for number, line in enumerate(_read(file).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                yield f"line {number}", json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError(f"{file}: line {number}: is not valid JSON: {error}") from None
    elif suffix == ".csv":
        reader = csv.DictReader(io.StringIO(_read(file), newline=""), strict=True)
        try:
            for row in reader:
                yield f"line {reader.line_num}", row
        except csv.Error as error:
            raise DataError(f"{file}: line {reader.line_num}: is not valid CSV: {error}") from None
    elif suffix == ".json":
        content = _json(file)
        if not isinstance(content, list):
            raise DataError(f"{file}: expected a list of entries, found {_show(content)}")
        for index, entry in enumerate(content):
            yield f"item {index}", entry
    else:
        raise DataError(f"{file}: cannot tell what is in a '{suffix}' file; use .json, .jsonl or .csv")


def _item(entry: Any, number: str) -> ContrastItem:
    if not isinstance(entry, dict):
        raise DataError(f"expected an object, found {_show(entry)}; {_SHAPES}")
    if "positive" in entry and "negative" in entry:
        return _tan(entry, number)
    for keys in _QUESTION_KEYS.values():
        if any(key in entry for key in keys[1:]):
            return _keyed(entry, keys, number)
    if entry.keys() == {"question"}:
        raise DataError("only a question and no answers: an open-ended file does not hold contrast items")
    if {"input", "output"} <= entry.keys():
        raise DataError("{input, output} is a task, not a contrast item: it has no answer to compare with")
    raise DataError(f"unknown keys {sorted(map(str, entry))}; {_SHAPES}")


def _keyed(entry: dict[str, Any], keys: tuple[str, str, str], number: str) -> ContrastItem:
    question = _field(entry, keys[0], _text)
    matching = _field(entry, keys[1], _answers)
    not_matching = _field(entry, keys[2], _answers)
    meta = {str(key): value for key, value in entry.items() if key not in keys}
    identity = meta.pop("id", None)
    return ContrastItem(question, matching, not_matching, str(identity if identity is not None else number), meta)


def _tan(entry: dict[str, Any], number: str) -> ContrastItem:
    sides = {}
    for side in ("positive", "negative"):
        value = entry[side]
        if not isinstance(value, dict):
            raise DataError(f"'{side}' has to be an object with 'prompt' and 'response', found {_show(value)}")
        try:
            sides[side] = (_field(value, "prompt", _text), _field(value, "response", _answers))
        except DataError as error:
            raise DataError(f"{side}: {error}") from None
    if sides["positive"][0] != sides["negative"][0]:
        raise DataError("the positive and the negative prompt differ, so their answers cannot be compared on one prompt")
    return ContrastItem(sides["positive"][0], sides["positive"][1], sides["negative"][1], number)


def _field(entry: dict[str, Any], key: str, read: Callable[[Any], _T]) -> _T:
    if key not in entry or entry[key] is None:
        raise DataError(f"'{key}' is missing; found {sorted(map(str, entry))}")
    try:
        return read(entry[key])
    except DataError as error:
        raise DataError(f"'{key}': {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"expected a text, found {_show(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"character {error.start} is half of a surrogate pair, which no tokenizer can encode") from None
    return value


def _answers(value: Any) -> tuple[str, ...]:
    answers = [value] if isinstance(value, str) else value
    if isinstance(answers, list) and answers and all(isinstance(answer, str) for answer in answers):
        return tuple(_text(answer) for answer in answers)
    raise DataError(f"expected a text or a list of texts, found {_show(value)}")


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."
