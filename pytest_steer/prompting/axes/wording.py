"""Rewrites of the question that keep its meaning."""

from __future__ import annotations

import difflib

from ...data import ContrastItem
from ...errors import DataError
from ..formats import QUESTION
from ..kinds import axis, text
from ..options import within

WORDINGS: dict[str, str] = {
    "please": "Please answer this question: {question}",
    "ask": "I would like to ask you something. {question}",
    "tell": "Tell me what you think. {question}",
    "next": "Here is the next question. {question}",
    "last": "{question}\nPlease answer the question above.",
}
"""Rewrites that are shipped, by name. ``{question}`` stands for the question with its options."""


def check_wording(value: str) -> str:
    """A rewrite: one of ``WORDINGS`` by name, or a text with ``{question}`` once.

    Raises:
        DataError: neither.
    """
    if value in WORDINGS or value.count(QUESTION) == 1:
        return value
    if QUESTION in value:
        raise DataError(f"wording {value!r} has {QUESTION} {value.count(QUESTION)} times; it takes the question once")
    near = difflib.get_close_matches(value, WORDINGS, 1)
    meant = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"wording {value!r} is neither a text with {QUESTION} nor a shipped one: {meant}shipped are {', '.join(WORDINGS)}"
    )


@axis(
    "wording",
    about=f"A rewrite of the question: a text with {QUESTION}, or a shipped one: {', '.join(WORDINGS)}.",
    title="Wordings of the question",
    listed="A list of different rewrites.",
    example="please",
    schema={"type": "string"},
    read=text("wording", check_wording),
    as_given=None,
    place=50,
    acts=4,
)
def wording(item: ContrastItem, value: str) -> ContrastItem:
    """The item with its question, options included, put into a rewrite."""
    return within(item, WORDINGS.get(value, value))
