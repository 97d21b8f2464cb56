"""Replies ruled on by a judge, and the two fillings of those that have no ruling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..evidence import Direction
from ..measures import Array
from ..measures.judges import Exchange, Judge, Judgement, Rated, judged
from ..measures.outcomes import split
from ..model import Model, engine_of
from ..model.rehearsal import Rehearsal
from ..stats import Inference, between_fillings, paired_share_difference, share_difference_of_clusters
from .judged import share_of
from .over_replies import Side, Written
from .shown_replies import SIDES, Ruled, Ruling


@dataclass(frozen=True, eq=False)
class Rulings:
    """What became of the replies.

    Attributes:
        sides: for each side a ruling per reply.
        rated: the replies that the judge was asked about, to be held against human labels.
    """

    sides: tuple[list[Ruling], ...]
    rated: tuple[Rated, ...]


def rule_on(model: Model, judge: Judge, written: Written, *, seed: int) -> Rulings:
    """The judge's rulings on the unsteered and the steered replies. It sees only replies that can be judged, one at a time, and not which side
    they are from.

    Raises:
        MeasurementError: more than 5 % of the replies have no judgement. SteerError: see ``measures.judges.judged``.
    """
    asked = [
        (name, at, _exchange(model, written, side, at))
        for name, side in zip(SIDES, written.sides, strict=True)
        for at, outcome in enumerate(side.outcomes)
        if not outcome.is_undetermined
    ]
    exchanges = [exchange for *_, exchange in asked]
    if isinstance(engine := engine_of(model), Rehearsal):
        engine.judged_replies += len(exchanges)
        # The replies say nothing, and a judge may cost money.
        found = [Judgement(index % 2 == 0) for index in range(len(exchanges))]
    else:
        found = judged(judge, exchanges, seed=seed) if exchanges else []
    said = {(name, at): one for (name, at, _), one in zip(asked, found, strict=True)}
    sides = tuple(
        [
            Ruling("undetermined", outcome.why) if outcome.is_undetermined else _ruling(said[name, at])
            for at, outcome in enumerate(side.outcomes)
        ]
        for name, side in zip(SIDES, written.sides, strict=True)
    )
    dialogues = written.sample.units
    rated: list[Rated] = []
    for (name, at, exchange), one in zip(asked, found, strict=True):
        prompt, sample = written.ids[at]
        rated.append(Rated(replace(exchange, id=dialogues[prompt].id), one, name, sample))
    return Rulings(sides, tuple(rated))


def rulings_of(model: Model, judge: Judge, written: Written, *, seed: int) -> Sequence[Sequence[Ruling]]:
    """The rulings of :func:`rule_on` alone."""
    return rule_on(model, judge, written, seed=seed).sides


def judge_warnings(sides: Sequence[Sequence[Ruling]]) -> list[str]:
    """A judge that says the same of every reply, unsteered and steered, tells nothing about steering."""
    known = [one.outcome for side in sides for one in side if one.is_known]
    if not known or len(set(known)) > 1:
        return []
    return [
        f"the judge calls all {len(known)} replies that it judged {known[0]}, unsteered and steered: steering makes no difference to it. Look "
        "whether the judge can tell replies apart (a misspelt word does the same)"
    ]


def _ruling(found: Judgement) -> Ruling:
    ruled: Ruled = "missing" if found.accepted is None else "accepted" if found.accepted else "rejected"
    return Ruling(ruled, found.missing, found.score, found.said)


def _exchange(model: Model, written: Written, side: Side, at: int) -> Exchange:
    prompt, sample = written.ids[at]
    dialogue, turns = written.sample.units[prompt], side.turns[at]
    said = [dialogue.said[0]]
    for reply, turn in zip(turns, dialogue.said[1:], strict=False):
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
