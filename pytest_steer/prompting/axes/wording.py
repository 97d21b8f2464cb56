"""Rewrites of the question that keep its meaning."""

from __future__ import annotations

from ...core.errors import DataError
from ...core.registry import did_you_mean
from ...data import ContrastItem
from ..formats import QUESTION
from ..kinds import text_axis
from ..options import within

WORDINGS: dict[str, str] = {
    "please": "Please answer this question: {question}",
    "ask": "I would like to ask you something. {question}",
    "tell": "Tell me what you think. {question}",
    "next": "Here is the next question. {question}",
    "last": "{question}\nPlease answer the question above.",
}
"""The shipped rewrites, by name. ``{question}`` stands for the question with its options."""


def _check(value: str) -> str:
    if value in WORDINGS or value.count(QUESTION) == 1:
        return value
    if QUESTION in value:
        raise DataError(f"wording {value!r} has {QUESTION} {value.count(QUESTION)} times; it takes the question once")
    raise DataError(
        f"wording {value!r} is neither a text with {QUESTION} nor a shipped one: {did_you_mean(value, WORDINGS)}"
    )


@text_axis(
    "wording",
    _check,
    about=f"A rewrite of the question: a text with {QUESTION}, or a shipped one: {', '.join(WORDINGS)}.",
    title="Wordings of the question",
    example="please",
    place=50,
    acts=4,
)
def wording(item: ContrastItem, value: str) -> ContrastItem:
    """The item with its question (and options) put into a rewrite."""
    return within(item, WORDINGS.get(value, value))
