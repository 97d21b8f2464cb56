"""A sentence that has nothing to do with the question."""

from __future__ import annotations

from ...core.errors import DataError
from ...data import ContrastItem
from ..formats import QUESTION
from ..kinds import text_axis
from ..options import within


def _check(value: str) -> str:
    if not value.strip() or value.count(QUESTION) > 1:
        raise DataError(f"distractor is a sentence, or a text with {QUESTION} once, not {value!r}")
    return value


@text_axis(
    "distractor",
    _check,
    about=f"A sentence before the question, or a text with {QUESTION} in the place of the question.",
    title="Distractors",
    example="It is raining.",
    place=60,
    acts=5,
)
def distractor(item: ContrastItem, value: str) -> ContrastItem:
    return within(item, value if QUESTION in value else f"{value} {QUESTION}")
