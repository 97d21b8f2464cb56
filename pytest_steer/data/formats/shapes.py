"""From an entry of a data file to a contrast item, told apart by its keys.

Shapes (see docs/data.md): CAA and model-written-evals (``question``, ``answer_matching_behavior``,
``answer_not_matching_behavior``), Tan et al.'s processed form (``positive`` / ``negative`` with ``prompt`` and
``response``), EasyEdit (``question``, ``matching``, ``not_matching``), the same as CSV (BiPO), the CAA recasts of MMLU and
TruthfulQA (``prompt``, ``correct``, ``incorrect``), preferences (``preferences.py``), arrays of three, and a user's own names.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ...errors import DataError
from ...registry import nearest
from ..items import ContrastItem
from .columns import item_columns
from .preferences import is_preference, preference

_T = TypeVar("_T")
_QUESTION_KEYS: dict[str, tuple[str, str, str]] = {
    "caa": ("question", "answer_matching_behavior", "answer_not_matching_behavior"),
    "easyedit": ("question", "matching", "not_matching"),
    "recast": ("prompt", "correct", "incorrect"),
}
_SHAPES = (
    "known shapes: {question, answer_matching_behavior, answer_not_matching_behavior}; "
    "{question, matching, not_matching}; {prompt, correct, incorrect}; {prompt, chosen, rejected}; "
    "[question, matching, not_matching]; {positive: {prompt, response}, negative: {prompt, response}}; of a task: {input, output} in "
    "every entry. Other names are given by columns: {question: ..., matching: ..., not_matching: ...}"
)


def item_of(entry: Any, number: str, columns: Mapping[str, str]) -> ContrastItem:
    """The contrast item that an entry holds.

    Args:
        number: its id, unless the entry has one.
        columns: where the user says that things stand.

    Raises:
        DataError: the entry has none of the known shapes, or a value is wrong.
    """
    named = item_columns(columns)
    if named is None and isinstance(entry, list) and len(entry) == 3:
        return ContrastItem(entry[0], entry[1], entry[2], number)
    if not isinstance(entry, dict):
        raise DataError(f"expected an object, found {show(entry)}; {_SHAPES}")
    if named is not None:
        absent = [name for name in named if name not in entry]
        if absent:
            raise DataError(
                f"has no {absent[0]!r}, which `columns` names or leaves as it is; it has {sorted(map(str, entry))}"
            )
        return _keyed(entry, named, number, columns.get("id", "id"))
    if "positive" in entry and "negative" in entry:
        return _tan(entry, number)
    if is_preference(entry):
        return preference(entry, number)
    for keys in _QUESTION_KEYS.values():
        if any(key in entry for key in keys[1:]):
            return _keyed(entry, keys, number, columns.get("id", "id"))
    if entry.keys() == {"question"}:
        raise DataError("only a question and no answers: an open-ended file does not hold contrast items")
    if {"input", "output"} <= entry.keys():
        raise DataError("{input, output} is a task, not a contrast item: it has no answer to compare with")
    raise DataError(f"unknown keys {sorted(map(str, entry))}; {_SHAPES}")


def _keyed(entry: dict[str, Any], keys: tuple[str, str, str], number: str, id_key: str) -> ContrastItem:
    question = _field(entry, keys[0], _text)
    matching = _field(entry, keys[1], _answers)
    not_matching = _field(entry, keys[2], _answers)
    meta = {str(key): value for key, value in entry.items() if key not in keys}
    identity = meta.pop(id_key, None)
    return ContrastItem(question, matching, not_matching, str(identity if identity is not None else number), meta)


def _tan(entry: dict[str, Any], number: str) -> ContrastItem:
    sides = {}
    for side in ("positive", "negative"):
        value = entry[side]
        if not isinstance(value, dict):
            raise DataError(f"'{side}' has to be an object with 'prompt' and 'response', found {show(value)}")
        try:
            sides[side] = (_field(value, "prompt", _text), _field(value, "response", _answers))
        except DataError as error:
            raise DataError(f"{side}: {error}") from None
    if sides["positive"][0] != sides["negative"][0]:
        raise DataError("the positive and the negative prompt differ, so their answers cannot be compared on one prompt")
    meta = {str(key): value for key, value in entry.items() if key not in ("positive", "negative")}
    return ContrastItem(sides["positive"][0], sides["positive"][1], sides["negative"][1], number, meta)


def _field(entry: dict[str, Any], key: str, read: Callable[[Any], _T]) -> _T:
    if key not in entry or entry[key] is None:
        known = {name for keys in _QUESTION_KEYS.values() for name in keys}
        meant = nearest(key, sorted({*map(str, entry)} - known))
        hint = f"; rename {meant!r} to {key!r}" if meant else ""
        raise DataError(f"'{key}' is missing; found {sorted(map(str, entry))}{hint}")
    try:
        return read(entry[key])
    except DataError as error:
        raise DataError(f"'{key}': {error}") from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise DataError(f"expected a text, found {show(value)}")
    return value


def _answers(value: Any) -> tuple[str, ...]:
    answers = [value] if isinstance(value, str) else value
    if isinstance(answers, list) and answers and all(isinstance(answer, str) for answer in answers):
        return tuple(answers)
    raise DataError(f"expected a text or a list of texts, found {show(value)}")


def show(value: Any) -> str:
    """A value in one short line."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 60 else text[:57] + "..."
