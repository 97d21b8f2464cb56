"""The labels of the options of a lettered item."""

from __future__ import annotations

import re

from ...data import ContrastItem
from ...errors import DataError
from ..kinds import axis
from ..options import find_options

LABEL_SETS: dict[str, tuple[str, ...]] = {
    "A/B": tuple("ABCDEFGH"),
    "1/2": tuple("12345678"),
    "a/b": tuple("abcdefgh"),
    "Yes/No": ("Yes", "No"),
}
"""Name of a set of option labels to the labels of the first, second, ... option."""


@axis(
    "option_labels",
    list(LABEL_SETS),
    about="The labels of the answer options, in their order.",
    title="Labels of the answer options",
    example="1/2",
    place=40,
    acts=3,
    on_examples=True,
)
def option_labels(item: ContrastItem, label_set: str) -> ContrastItem:
    """Gives the options other labels, in their order, and the answers with them; option texts stay as they are.

    ``Yes/No`` lists the options as ``(Yes) text`` and ``(No) text``, and the answers are the bare words. Other places
    of the question that name a label in brackets follow.

    Raises:
        DataError: the options cannot be found on lines of their own, or there are more of them than labels.
    """
    if not item.is_lettered:
        return item
    names = LABEL_SETS[label_set]
    options = find_options(item.question)
    old = [option["label"] for option in options]
    if len(set(old)) != len(old) or len(old) < 2 or not _labels_of(item) <= set(old) or len(old) > len(names):
        most = f" (at most {len(names)} of them)" if len(old) > len(names) else ""
        raise DataError(
            f"item {item.id}: cannot label the options {label_set}: expected lines '(X) text' with the labels "
            f"{sorted(_labels_of(item))}{most}, found {old}"
        )
    new = dict(zip(old, names, strict=False))
    named = re.compile("|".join(rf"\({re.escape(label)}\)" for label in old))

    def renamed(text: str) -> str:
        return named.sub(lambda found: f"({new[found[0][1]]})", text)

    parts, end = [], 0
    for option in options:
        parts += [renamed(item.question[end : option.start("text")]), option["text"]]
        end = option.end("text")
    question = "".join([*parts, renamed(item.question[end:])])

    def answers(side: tuple[str, ...]) -> tuple[str, ...]:
        renamed_side = (new[answer.strip()[1]] for answer in side)
        return tuple(name if label_set == "Yes/No" else f"({name})" for name in renamed_side)

    return ContrastItem(question, answers(item.matching), answers(item.not_matching), item.id, item.meta)


def _labels_of(item: ContrastItem) -> set[str]:
    """The labels of a lettered item's answers, without their brackets."""
    return {answer.strip()[1] for answer in item.matching + item.not_matching}
