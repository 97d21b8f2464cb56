"""The options of a lettered item: finding them, and swapping their texts."""

from __future__ import annotations

import re
from dataclasses import replace

from ..core.errors import DataError
from ..data import ContrastItem
from .formats import QUESTION

# "(A) text" at the start of a line, as CAA and model-written-evals write their options; "(Yes) text" as option_labels writes it.
OPTION = re.compile(r"^(?P<lead>[ \t]*)\((?P<label>[A-Za-z0-9]|Yes|No)\)(?P<gap>[ \t]*)(?P<text>.*?)[ \t]*$", re.MULTILINE)


def find_options(question: str) -> list[re.Match[str]]:
    """The options that a question lists, each on a separate line: matches with ``label`` and ``text``."""
    return list(OPTION.finditer(question))


def swap_options(item: ContrastItem) -> ContrastItem:
    """Exchange the texts of the two lettered options and the labels of the two answers.

    Raises:
        DataError: the question does not list exactly two options, ``(A) text`` and ``(B) text``, on separate lines.
    """
    options, labels = find_options(item.question), _labels_of(item)
    if not can_swap(item):
        raise DataError(
            f"item {item.id}: cannot swap the options: expected two lines '(X) text' with the labels "
            f"{sorted(labels)}, found {[option['label'] for option in options]}"
        )
    return ContrastItem(_exchanged(item.question, "text"), item.not_matching, item.matching, item.id, item.meta)


def can_swap(item: ContrastItem) -> bool:
    """Whether a lettered item lists exactly two options, with the labels of its answers."""
    options = find_options(item.question)
    return len(options) == 2 and {option["label"] for option in options} == _labels_of(item)


def _labels_of(item: ContrastItem) -> set[str]:
    return {item.matching[0].strip()[1], item.not_matching[0].strip()[1]}


def exchange_labels(item: ContrastItem) -> ContrastItem:
    """Exchange the labels of the two lettered options and of the two answers; the texts stay where they are: ``(B) text`` comes first.

    With :func:`swap_options` it tells a label from its position: one moves the text, the other the letter.

    Raises:
        DataError: as :func:`swap_options`.
    """
    swapped = swap_options(item)  # whose answers have the other labels, as those here
    return ContrastItem(_exchanged(item.question, "label"), swapped.matching, swapped.not_matching, item.id, item.meta)


def _exchanged(question: str, part: str) -> str:
    """The question with the ``text`` or the ``label`` of its two options exchanged."""
    first, second = find_options(question)
    between = question[first.end(part) : second.start(part)]
    return question[: first.start(part)] + second[part] + between + first[part] + question[second.end(part) :]


def within(item: ContrastItem, text: str) -> ContrastItem:
    """The item with its question put into a text. Options at the ends of the question stay on separate lines."""
    before, after = text.split(QUESTION)
    return replace(item, question=_between(before, item.question, after))


def apart(item: ContrastItem, changed: ContrastItem) -> ContrastItem:
    """A changed item whose options stay on separate lines from what was put before or after the question of ``item``."""
    before, found, after = changed.question.partition(item.question)
    if not found or not item.is_lettered or changed.question == item.question:
        return changed
    return replace(changed, question=_between(before, item.question, after))


def _between(before: str, question: str, after: str) -> str:
    """A question between two texts. Options at its ends stay on separate lines."""
    lines = question.split("\n")
    if before.strip() and not before.endswith("\n") and OPTION.match(lines[0]):
        before += "\n"
    if after.strip() and not after.startswith("\n") and OPTION.match(lines[-1]):
        after = f"\n{after.lstrip(' ')}"
    return f"{before}{question}{after}"
