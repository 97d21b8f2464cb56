"""Other words around a question: rewrites that keep its meaning, and sentences that do not belong to it."""

from __future__ import annotations

import difflib

from ...errors import DataError
from ..items import ContrastItem

QUESTION = "{question}"

WORDINGS: dict[str, str] = {
    "please": "Please answer this question: {question}",
    "ask": "I would like to ask you something. {question}",
    "tell": "Tell me what you think. {question}",
    "quoted": 'The question is: "{question}"',
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


def reword(item: ContrastItem, wording: str) -> ContrastItem:
    """The item with its question, options included, put into a rewrite."""
    return with_question(item, WORDINGS.get(wording, wording).replace(QUESTION, item.question))


def check_distractor(value: str) -> str:
    """A sentence, or a text that says with ``{question}`` where the question stands.

    Raises:
        DataError: an empty text, or ``{question}`` more than once.
    """
    if not value.strip() or value.count(QUESTION) > 1:
        raise DataError(f"distractor is a sentence, or a text with {QUESTION} once, not {value!r}")
    return value


def place(item: ContrastItem, distractor: str) -> ContrastItem:
    """The item with a sentence in front of its question, or wherever ``{question}`` puts it: ``"{question}\\nIt rains."``."""
    text = distractor if QUESTION in distractor else f"{distractor} {QUESTION}"
    return with_question(item, text.replace(QUESTION, item.question))


def with_question(item: ContrastItem, question: str) -> ContrastItem:
    """The item with another question."""
    return ContrastItem(question, item.matching, item.not_matching, item.id, item.meta)
