"""Neutral text before the question, of a given length."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice

from ...data import ContrastItem
from ..kinds import count_axis

MOST_SENTENCES = 1000

NEUTRAL_SENTENCES = (
    "The road runs along the river for a while.",
    "A clock hangs on the wall of the station.",
    "The shop on the corner opens at nine.",
    "There are two windows on the north side.",
    "The train to the coast has six carriages.",
    "Bread is baked in the morning.",
    "The path through the field is made of gravel.",
    "The library has a room for maps.",
    "The bridge was painted grey last year.",
    "Most of the houses here have three floors.",
    "The post is delivered before noon.",
    "A bench stands under the tree.",
    "The lake is deeper on its western side.",
    "The tables are put back in the evening.",
    "The bus stops in front of the town hall.",
    "The hill can be seen from the harbour.",
)
"""The sentences of fillers, in this order. Longer fillers repeat them."""


def filler_text(sentences: int) -> str:
    """This number of neutral sentences in one line. Longer fillers begin with the shorter ones."""
    return " ".join(islice(cycle(NEUTRAL_SENTENCES), sentences))


@count_axis(
    "filler",
    MOST_SENTENCES,
    about=f"The number of neutral sentences before the question, from 0 to {MOST_SENTENCES}.",
    title="Lengths of the filler",
    listed="A list of different numbers of sentences.",
    example=5,
    place=70,
    acts=6,
)
def filler(item: ContrastItem, value: int) -> ContrastItem:
    return replace(item, question=f"{filler_text(value)}\n\n{item.question}")
