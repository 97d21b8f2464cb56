"""Other words around a question: rewrites that keep its meaning, and sentences that do not belong to it."""

from __future__ import annotations

import difflib

from ...data import ContrastItem
from ...errors import DataError
from .options import OPTION

QUESTION = "{question}"

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


def reword(item: ContrastItem, wording: str) -> ContrastItem:
    """The item with its question, options included, put into a rewrite."""
    return _within(item, WORDINGS.get(wording, wording))


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
    return _within(item, distractor if QUESTION in distractor else f"{distractor} {QUESTION}")


def _within(item: ContrastItem, text: str) -> ContrastItem:
    """The item with its question put into a text; options at its ends keep lines of their own."""
    before, behind = text.split(QUESTION)
    lines = item.question.split("\n")
    if before.strip() and not before.endswith("\n") and OPTION.match(lines[0]):
        before += "\n"
    if behind.strip() and not behind.startswith("\n") and OPTION.match(lines[-1]):
        behind = f"\n{behind.lstrip(' ')}"
    return with_question(item, f"{before}{item.question}{behind}")


def with_question(item: ContrastItem, question: str) -> ContrastItem:
    """The item with another question."""
    return ContrastItem(question, item.matching, item.not_matching, item.id, item.meta)
