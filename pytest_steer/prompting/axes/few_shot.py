"""Few-shot examples: which items are shown, and with which answers."""

from __future__ import annotations

import hashlib

from ...core.errors import DataError
from ...data import ContrastItem, Items
from ..kinds import count_axis
from ..options import can_swap, find_options, swap_options

MOST = 1000


@count_axis(
    "few_shot",
    MOST,
    about=f"The number of demonstrations from data.demonstrations before the question, from 0 to {MOST}.",
    title="Numbers of few-shot examples",
    example=4,
    on="turns",
    place=90,
    draws_examples=True,
)
def few_shot(item: ContrastItem, value: int, examples: Items) -> list[ContrastItem]:
    """The examples that stand before an item, in order.

    They are of the item's kind (lettered or not) and never the item itself, even with its options in another order. Their
    texts fix the order of drawing, so all items get the same ones (except an item that is among them), and a larger number
    of examples begins with the smaller one. Both labels match equally often: the order of two options is swapped where
    needed, and Yes / No items are drawn so that the labels alternate, as long as there are enough.

    Raises:
        DataError: there are not enough other items.
    """
    own = _identity(item)
    left = [other for other in examples if other.is_lettered == item.is_lettered and _identity(other) != own]
    left = sorted({_identity(other): other for other in reversed(left)}.values(), key=_rank)
    if len(left) < value:
        kind = "lettered items" if item.is_lettered else "items with worded answers"
        raise DataError(
            f"item {item.id}: few_shot={value} needs as many other {kind} as examples, and {examples.source} has {len(left)}"
        )
    drawn: list[ContrastItem] = []
    for number in range(value):
        if number % 2 == 0:  # each pair of examples has both labels, and a hash decides which comes first
            turned = _rank(left[0])[-1] in "02468ace"
        second = (number % 2 == 1) != turned
        at = next((i for i, other in enumerate(left) if not item.is_lettered and _is_second(other) == second), 0)
        example = left.pop(at)
        if item.is_lettered and can_swap(example) and _is_second(example) != second:
            example = swap_options(example)
        drawn.append(example)
    return drawn


def _identity(item: ContrastItem) -> tuple[str, frozenset[str]]:
    """A key that is the same for two items with the same question, whatever the order of their options."""
    options = find_options(item.question) if item.is_lettered else []
    if not options:
        return item.question.strip(), frozenset()
    return item.question[: options[0].start()].strip(), frozenset(option["text"].strip() for option in options)


def _rank(item: ContrastItem) -> str:
    stem, options = _identity(item)
    return hashlib.sha256("\n".join([stem, *sorted(options)]).encode()).hexdigest()


def _is_second(item: ContrastItem) -> bool | None:
    """Whether the matching answer is the second label (B, or No); None if the item has no such labels."""
    if item.label is None:
        return None
    if not item.is_lettered:
        return item.label == "No"
    options = find_options(item.question)
    return bool(options) and item.label != options[0]["label"]
