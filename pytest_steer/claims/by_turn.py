"""Replies to every turn of dialogues, each as a reply of its own, so that each can be ruled on as a last one is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..data import Dialogues
from ..measures.outcomes import ENDED, Outcome, read_reply
from ..model import Model
from .over_replies import Side, Written


@dataclass(frozen=True, eq=False)
class ByTurn:
    """The replies to every turn.

    Attributes:
        written: the replies, to dialogues of one turn, of two turns, and so on up to those of all.
        at: (reply of the whole dialogue, turn from 1 on) -> its place among these.
    """

    written: Written
    at: dict[tuple[int, int], int]

    def places(self, turn: int) -> list[tuple[int, int]]:
        """(reply of the whole dialogue, place) of the replies to a turn."""
        return [(reply, place) for (reply, own), place in self.at.items() if own == turn]


def by_turn(model: Model, written: Written) -> ByTurn:
    """The replies of whole dialogues, cut at each turn."""
    samples = written.drawing.samples
    cut, order = [], []
    for number, dialogue in enumerate(written.sample.units):
        for turn in range(1, len(dialogue.turns) + 1):
            cut.append(replace(dialogue, turns=dialogue.turns[:turn]))
            order += [(number * samples + sample, turn) for sample in range(samples)]
    sides = [
        Side(
            side.multiplier,
            tuple(side.turns[reply][:turn] for reply, turn in order),
            tuple(_outcome(model, written, side, reply, turn) for reply, turn in order),
        )
        for side in written.sides
    ]
    known = written.sample.units
    sample = replace(written.sample, units=Dialogues(cut, known.source), clusters=None)
    return ByTurn(replace(written, sample=sample, sides=tuple(sides)), {key: place for place, key in enumerate(order)})


def _outcome(model: Model, written: Written, side: Side, reply: int, turn: int) -> Outcome:
    turns = side.turns[reply]
    if turn == len(written.sample.units[reply // written.drawing.samples].turns):
        return side.outcomes[reply]
    return read_reply(model, turns[turn - 1], written.span) if turn <= len(turns) else Outcome("", ENDED)
