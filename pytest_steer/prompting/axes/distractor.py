"""A sentence that does not belong to the question."""

from __future__ import annotations

from ...data import ContrastItem
from ...errors import DataError
from ..formats import QUESTION
from ..kinds import axis, text
from ..options import within


def _check(value: str) -> str:
    if not value.strip() or value.count(QUESTION) > 1:
        raise DataError(f"distractor is a sentence, or a text with {QUESTION} once, not {value!r}")
    return value


@axis(
    "distractor",
    about=f"A sentence in front of the question, or a text with {QUESTION} that says where the question stands.",
    title="Distractors",
    listed="A list of different sentences.",
    example="It is raining.",
    schema={"type": "string"},
    read=text("distractor", _check),
    as_given=None,
    place=60,
    acts=5,
)
def distractor(item: ContrastItem, value: str) -> ContrastItem:
    return within(item, value if QUESTION in value else f"{value} {QUESTION}")
