"""The labels of the options of a lettered item."""

from __future__ import annotations

import re

from ...core.errors import DataError
from ...data import ContrastItem
from ..kinds import axis
from ..options import OPTION, find_options

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
    """Give the options other labels, in their order, and the answers with them. Option texts stay as they are.

    ``Yes/No`` lists the options as ``(Yes) text`` and ``(No) text``, and the answers are the bare words. Where the
    question names a label in brackets elsewhere, that changes too.

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
    labels = "|".join(re.escape(label) for label in old)

    def renamed(found: re.Match[str]) -> str:
        """The same text under its new label: a whole option, whose text is left alone, or a label in brackets."""
        label = found["label"] or found["named"]
        return found[0].replace(f"({label})", f"({new[label]})", 1)

    question = re.sub(rf"{OPTION.pattern}|\((?P<named>{labels})\)", renamed, item.question, flags=OPTION.flags)

    def answers(side: tuple[str, ...]) -> tuple[str, ...]:
        renamed_side = (new[answer.strip()[1]] for answer in side)
        return tuple(name if label_set == "Yes/No" else f"({name})" for name in renamed_side)

    return ContrastItem(question, answers(item.matching), answers(item.not_matching), item.id, item.meta)


def _labels_of(item: ContrastItem) -> set[str]:
    """The labels of a lettered item's answers, without their brackets."""
    return {answer.strip()[1] for answer in item.matching + item.not_matching}
