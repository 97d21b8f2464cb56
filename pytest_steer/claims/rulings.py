"""Replies ruled on by a judge, and the two fillings of those that have no ruling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..evidence import Direction
from ..measures import Array
from ..measures.judges import Exchange, Judge, Judgement, judged
from ..measures.outcomes import split
from ..model import Model, engine_of
from ..model.rehearsal import Rehearsal
from ..stats import Inference, between_fillings, paired_share_difference, share_difference_of_clusters
from .judging import share_of
from .over_replies import Side, Written
from .shown_replies import Ruled, Ruling


def rulings_of(model: Model, judge: Judge, written: Written, *, seed: int) -> list[list[Ruling]]:
    """The judge's rulings on the replies of each side. It sees only replies that can be judged, one at a time, and not which side they are from.

    Raises:
        MeasurementError: more than 5 % of the replies have no judgement. SteerError: see ``measures.judges.judged``.
    """
    asked = [
        (number, at)
        for number, side in enumerate(written.sides)
        for at, outcome in enumerate(side.outcomes)
        if not outcome.is_undetermined
    ]
    exchanges = [_exchange(model, written, written.sides[number], at) for number, at in asked]
    if isinstance(engine := engine_of(model), Rehearsal):
        engine.judged_replies += len(exchanges)
        found = [
            Judgement(index % 2 == 0) for index in range(len(exchanges))
        ]  # its replies say nothing, and a judge may cost money
    else:
        found = judged(judge, exchanges, seed=seed) if exchanges else []
    said = dict(zip(asked, found, strict=True))
    rulings = []
    for number, side in enumerate(written.sides):
        own = []
        for at, outcome in enumerate(side.outcomes):
            if outcome.is_undetermined:
                own.append(Ruling("undetermined", outcome.why))
                continue
            one = said[number, at]
            ruled: Ruled = "missing" if one.accepted is None else "accepted" if one.accepted else "rejected"
            own.append(Ruling(ruled, one.missing, one.score, one.said))
        rulings.append(own)
    return rulings


def _exchange(model: Model, written: Written, side: Side, at: int) -> Exchange:
    prompt, sample = written.ids[at]
    dialogue, turns = written.sample.dialogues[prompt], side.turns[at]
    said = [dialogue.turns[0]]
    for reply, turn in zip(turns, dialogue.turns[1:], strict=False):
        said += [(split(model, reply).answer or reply.text).strip(), turn]
    return Exchange(tuple(said), side.outcomes[at].text, f"{prompt}.{sample}")


@dataclass(frozen=True, eq=False)
class Shares:
    """What is judged of the rulings on the unsteered and on the steered replies.

    Attributes:
        found: the inference; each bound is that of the filling that is worse for it.
        values: one per reply, in the filling in which a pass is proven; their mean is the estimate.
    """

    found: Inference
    values: Array


def accepted(rulings: Sequence[Ruling], unknown: bool) -> Array:
    """[n_replies] 1 for an accepted reply, 0 for a rejected one; ``unknown`` for those without a ruling."""
    return np.array([one.outcome == "accepted" if one.is_known else unknown for one in rulings], dtype=float)


def share_accepted(
    rulings: Sequence[Ruling], clusters: Sequence[int] | None, promised: Direction, *, confidence: float
) -> Shares:
    """The share of accepted replies. Those without a ruling are rejected where that is worse for the promise, else accepted."""
    filled = [accepted(rulings, unknown) for unknown in (False, True)]
    least, most = (share_of(one, confidence=confidence, clusters=clusters) for one in filled)
    return Shares(between_fillings(least, most, promised), filled[0 if promised is Direction.AT_LEAST else 1])


def share_gained(
    before: Sequence[Ruling], after: Sequence[Ruling], clusters: Sequence[int] | None, *, sign: int, confidence: float
) -> Shares:
    """The share of accepted replies after minus before, each reply paired with the one to the same prompt; ``sign`` -1 turns it round.

    A pass has to be proven with the replies without a ruling rejected on the side that is to be higher and accepted on the other.
    """
    if sign < 0:
        before, after = after, before
    filled = [accepted(after, unknown) - accepted(before, not unknown) for unknown in (False, True)]
    least, most = (_difference(one, clusters, confidence) for one in filled)
    return Shares(between_fillings(least, most, Direction.AT_LEAST), filled[0])


def _difference(changes: Array, clusters: Sequence[int] | None, confidence: float) -> Inference:
    if clusters is not None:
        return share_difference_of_clusters(changes, clusters, confidence=confidence)
    up, down = int((changes > 0).sum()), int((changes < 0).sum())
    return paired_share_difference(up, down, len(changes), confidence=confidence)


def share_record(rulings: Sequence[Ruling], clusters: Sequence[int] | None, confidence: float) -> dict[str, Any]:
    """The share of accepted replies of one side with its bounds, for the evidence."""
    found = share_accepted(rulings, clusters, Direction.AT_LEAST, confidence=confidence).found
    return {"share": found.estimate, "interval": [found.low, found.high], "n": found.n}
