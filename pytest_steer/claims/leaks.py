"""Test items and neutral texts that are in the training data of the vector under test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..data import TextLike
from ..data.texts import content_of
from ..data.traces import Known, answers_in, is_comparable, known_in

_SHOWN = 50  # characters


def leaks(record: Mapping[str, Any], questions: Sequence[str], data_hash: str, *, unit: str = "items") -> list[str]:
    """Warnings about test items whose question is in the training data.

    Args:
        record: the metadata of the vector. questions: or inputs, one per item. data_hash: of all items. unit: what they are.
    """
    if not record.get("item_hashes") and record.get("data_hash") == data_hash:
        return [_asked(Known(same=len(questions)), len(questions), "questions", unit)]
    known, seen = known_in(questions, record), str(record.get("seen", "questions"))
    found = []
    if known.asked:
        found.append(_asked(known, len(questions), seen, unit))
    if known.near:
        found.append(
            f"{known.near} of these {len(questions)} {unit} nearly repeat one of the {seen} that the vector was extracted from"
            f"{'' if known.within else _such_as(known)}: test it on others"
        )
    return found + _not_comparable(record, unit)


def text_leaks(record: Mapping[str, Any], texts: Sequence[TextLike]) -> list[str]:
    """Warnings about neutral texts that are in the training data, so that what steering costs is judged on what it was made of.

    Args:
        record: the metadata of the vector.
    """
    if not texts:
        return []
    known = known_in(map(content_of, texts), record)
    found = []
    if known.asked or known.near:
        part = f", {known.near} of them nearly" if known.near else ""
        found.append(
            f"{known.asked + known.near} of these {len(texts)} texts repeat {record.get('seen', 'questions')} that the vector was extracted "
            f"from{part}{_such_as(known)}, so its cost is judged on what it was made of: take other neutral texts"
        )
    answers = answers_in(map(content_of, texts), record)
    if answers:
        such = _such_as(Known(example=answers[0]))
        found.append(
            f"{len(answers)} of these {len(texts)} texts are answers that the vector was extracted from{such}, so its cost is judged on what it was "
            "made of: take other neutral texts"
        )
    return found + _not_comparable(record, "texts")


def _asked(known: Known, n: int, seen: str, unit: str) -> str:
    what = "ask a question" if seen == "questions" else "ask what is in the texts"
    some = "" if known.within == known.asked else f"{known.within} of them "
    part = f", {some}in another form or among other words{_such_as(known)}" if known.within else ""
    return f"{known.asked} of these {n} {unit} {what} that the vector was extracted from{part}: test it on questions that it did not see"


def _such_as(known: Known) -> str:
    if known.example is None:
        return ""
    shown = " ".join(known.example.split())
    cut = shown if len(shown) <= _SHOWN else f"{shown[: _SHOWN - 3]}..."
    return f" (such as {cut!r})"


def _not_comparable(record: Mapping[str, Any], unit: str) -> list[str]:
    if is_comparable(record):
        return []
    return [
        f"whether the vector was extracted from these {unit} cannot be compared: its file keeps its training data in another form than this "
        "version does. Extract it again, or look for yourself"
    ]
