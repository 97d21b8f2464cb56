"""Neutral text in front of the question, as long as asked for."""

from __future__ import annotations

from dataclasses import replace
from itertools import cycle, islice

from ...data import ContrastItem
from ..kinds import axis, count

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
"""What fillers are made of, in this order, from the beginning again when it is not enough."""


def filler_text(sentences: int) -> str:
    """That many neutral sentences in one line; longer fillers begin with the shorter ones."""
    return " ".join(islice(cycle(NEUTRAL_SENTENCES), sentences))


@axis(
    "filler",
    about=f"How many sentences of neutral text stand in front, from 0 to {MOST_SENTENCES}.",
    title="Lengths of the filler",
    listed="A list of different numbers of sentences.",
    example=5,
    schema={"type": "integer", "minimum": 0, "maximum": MOST_SENTENCES},
    read=count("filler", MOST_SENTENCES),
    as_given=0,
    size=float,
    place=70,
    acts=6,
)
def filler(item: ContrastItem, value: int) -> ContrastItem:
    return replace(item, question=f"{filler_text(value)}\n\n{item.question}")
