"""``drifts_less``: over a conversation the effect of steering changes by at most `limit`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import numpy as np

from ...core.block import Block, Conversation, Curve, Line, Series
from ...core.clusters import independent
from ...core.errors import DataError, MeasurementError, SteerError
from ...core.evidence import Direction, Evidence
from ...core.finding import Finding, Weight, code
from ...core.numbers import estimated, number
from ...core.parameters import Param
from ...core.promises import Promise
from ...data import Dialogues
from ...measures import Array
from ...measures.ask import Ask
from ...measures.judges import Judge, make_judge
from ...measures.outcomes import ENDED, Outcome, read_reply
from ...model import Model
from ...stats import (
    Inference,
    between_fillings,
    change_difference,
    items_needed_mean,
    items_needed_within,
    mean_t,
    size_of_mean,
)
from ...stats.estimators import Clusters, Estimator
from ..asserting import assertion
from ..base import OverReplies
from ..curves import Deployed
from ..findings import Found, equal_values
from ..from_file import JUDGE
from ..kind import claim
from ..measurement import Measurement
from ..rulings import Ruling, ShareGained, Side, Written, accepted, counts_lines, gained, rule_on

By = Literal["accepted", "score"]
# From an effect of -1, as a difference of shares, to one of 1.
_LARGEST = 2
# Of so many replies, one may be without a score.
_MOST_WITHOUT = 20

unscored = code(
    "conversations-without-score",
    signal="Some conversations have no score in their first or last turn.",
    meaning="They are left out, so the drift is that of the others.",
    cure="Take a judge that scores every reply.",
    weight=Weight.DOUBTFUL,
)
no_effect = code(
    "no-effect-to-drift",
    signal="In the first steered turn the effect of steering is not significant.",
    meaning="There may be no effect that could drift, and any limit would hold.",
    cure="Claim the effect too, with `generates` and `against_base: true`.",
    weight=Weight.MEANINGLESS,
)


@dataclass(frozen=True)
class InTurn:
    """The effect in one turn: accepted replies, or their mean score, unsteered and steered, and the difference with its bounds."""

    turn: int
    n: int
    base: float
    steered: float
    effect: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Details:
    """What the evidence has in ``details``. The drift has its sign, and the turns are those that at least two dialogues have."""

    by: By
    drift: float
    turns: Sequence[InTurn]
    deployed: Deployed


@claim("drifts_less", title="The effect stays over a conversation", main="limit", directed=False)
class DriftsLess(OverReplies):
    """The effect in the last turn of the dialogues differs from that in the first steered one by at most `limit`, up or down.

    The effect in a turn is the share of its replies that the judge accepts (or their mean score), steered minus unsteered. Each side goes on
    with its own replies. Replies without a ruling are taken as accepted or rejected, whichever is worse for each bound. The dialogues have at
    least two turns.

    Raises:
        SteerError: a judge or settings of drawing that cannot be used.
    """

    limit: Annotated[
        Promise,
        Param(
            "The most by which the effect may differ between the first steered turn and the last, as a share of replies (0.2 is a fifth "
            "of them), or in the judge's units by `score`.",
            title="Largest drift",
            example=0.2,
            above=0,
        ),
    ]
    accepts: Annotated[
        Judge,
        Param("Who decides whether a reply is accepted.", title="Judge", called="judge", reads=make_judge, loads=JUDGE),
    ]
    by: Annotated[
        By,
        Param(
            "accepted: the share of accepted replies; score: their mean score.", title="What the effect is", example="score"
        ),
    ] = "accepted"
    from_turn: Annotated[
        int,
        Param(
            "The first steered turn. The effect in the last turn is compared with the effect in this one.",
            title="First steered turn",
            example=2,
            at_least=1,
            at_most=9,
        ),
    ] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        limit = self.threshold
        if self.by == "accepted" and limit is not None and limit >= _LARGEST:
            raise SteerError(
                f"drifts_less: limit {limit:g} cannot fail: the effect is a difference of shares, so it drifts by at most {_LARGEST}"
            )

    def measure(self, ask: Ask) -> Measurement:
        """Let both sides converse, and rule on the replies to every turn.

        Raises:
            DataError: a dialogue of too few turns.
            MeasurementError: all replies are empty, or more than 5 % of them have no judgement, or no score.
        """
        dialogues = self.sampled_prompts.units
        short = next((one for one in dialogues if one.n_replies <= self.from_turn), None)
        if short is not None:
            raise DataError(
                f"{dialogues.source}: prompt {short.id} has {short.n_replies} turn(s), and drift is between turn {self.from_turn} and a "
                f"later one: give it {self.from_turn + 1} or more under `turns`, or take it out"
            )
        written = self.write(ask, [0.0, self.subject.multiplier])
        turns = by_turn(ask.model, written)
        ruled = rule_on(ask.model, self.accepts, turns.written, seed=self.seed).sides
        first = [turns.at[reply, self.from_turn] for reply in range(len(written.ids))]
        last = [turns.at[reply, dialogues[prompt].n_replies] for reply, (prompt, _) in enumerate(written.ids)]
        values, kept = self._values(ruled, first, last)
        drift = Drift(self.by)
        sizes = dict(zip(kept, np.abs(np.mean(drift.fillings(values), axis=0)), strict=True))
        turns_had = range(1, dialogues.most_turns + 1)
        rows = [row for turn in turns_had if (row := self._in_turn(turn, turns, ruled, written)) is not None]
        details = Details(
            self.by,
            drift.mean(values, written.clusters_of(kept), self.confidence).estimate,
            rows,
            Deployed.of(self.subject),
        )
        measured = self.over_replies(
            ask,
            written,
            [[side[place] for place in last] for side in ruled],
            values,
            drift,
            statistic="drift of the effect over the turns",
            direction=Direction.AT_MOST,
            worst_first=sorted(range(len(written.ids)), key=lambda reply: -sizes.get(reply, 0.0)),
            kept=kept,
            judge=self.accepts.record(),
            details=details,
        )
        return measured.but(
            rulings=ruled,
            unpaired="the size of a mean drift is not a mean over prompts",
            findings=[*self._findings(rows, len(kept), len(written.ids))],
        )

    def find(self, found: Found) -> Iterator[Finding]:
        if self.by == "score":
            yield from equal_values(found.judgement, Drift(self.by).fillings(found.measured.values)[0])

    def _values(
        self, ruled: Sequence[Sequence[Ruling]], first: Sequence[int], last: Sequence[int]
    ) -> tuple[Array, list[int]]:
        """The values of :class:`Drift`, and which replies these are of."""
        base, steered = ruled
        corners = [[side[place] for place in places] for places in (last, first) for side in (steered, base)]
        every = range(len(first))
        if self.by == "accepted":
            return np.stack([accepted(one) for one in corners], axis=1), [*every]
        scores = [[one.score if one.is_known else None for one in own] for own in zip(*corners, strict=True)]
        kept = [reply for reply in every if None not in scores[reply]]
        if not kept or (len(every) - len(kept)) * _MOST_WITHOUT > len(every):
            raise MeasurementError(
                f"{len(every) - len(kept)} of {len(every)} conversations have no score in their first or last turn: take a judge that scores "
                "every reply, or leave out `by: score`, where replies without a ruling count against the promise"
            )
        return np.array([scores[reply] for reply in kept], dtype=float), kept

    def _in_turn(self, turn: int, turns: ByTurn, ruled: Sequence[Sequence[Ruling]], written: Written) -> InTurn | None:
        """The effect in a turn, if at least two dialogues have it."""
        places = turns.places(turn)
        base, steered = ([side[place] for _, place in places] for side in ruled)
        by_score = self.by == "score"
        shown = np.array(
            [
                [one.score if by_score else one.outcome == "accepted" for one in pair]
                for pair in zip(base, steered, strict=True)
            ],
            dtype=float,
        )
        kept = np.flatnonzero(~np.isnan(shown).any(axis=1))
        clusters = written.clusters_of([places[at][0] for at in kept])
        if independent(len(kept), clusters) < 2:
            return None
        if by_score:
            found = mean_t(shown[kept, 1] - shown[kept, 0], confidence=self.confidence, clusters=clusters)
        else:
            found = ShareGained().infer(gained(base, steered), clusters, confidence=self.confidence)
        before, after = (float(mean) for mean in shown[kept].mean(axis=0))
        return InTurn(turn, found.n, before, after, after - before, (found.low, found.high))

    def _findings(self, rows: Sequence[InTurn], kept: int, n: int) -> Iterator[Finding]:
        """Conversations that are left out, and an effect that is not there, which keeps every limit."""
        if kept < n:
            yield unscored(f"{n - kept} of {n} conversations have no score in their first or last turn and are left out")
        first = next((row for row in rows if row.turn == self.from_turn), None)
        if first is not None and first.interval[0] <= 0 <= first.interval[1]:
            yield no_effect(
                f"in turn {self.from_turn} no effect of steering is proven, so there may be none that could drift",
                "claim it with generates (`against_base: true`), too",
            )

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        for row in evidence.own.turns:
            yield Line(
                f"turn {row.turn}: effect {estimated(row.effect, row.interval)} (unsteered {number(row.base)}, steered "
                f"{number(row.steered)})"
            )
        yield from counts_lines(evidence)

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        details: Details = evidence.own
        points = [(row.turn, row.effect) for row in details.turns]
        yield Curve(
            [Series("effect", points, [row.interval for row in details.turns])],
            "share of accepted replies" if details.by == "accepted" else "mean score",
            "turn",
            [(evidence.details["from_turn"], "first steered")],
            title="Effect in each turn",
            is_drawing=True,
            about="Steered minus unsteered, each side going on with its own replies. The band is that of each turn alone.",
        )
        yield Conversation()


assert_drifts_less = assertion(DriftsLess)


# --- the drift of a conversation ---

_SIGNS = np.array([1.0, -1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Drift(Estimator):
    """The size of the mean drift, from four columns: accepted (1.0) or scored in the last turn, steered and unsteered, and in the first one.

    Replies without a ruling (NaN) are filled in the way that is worse for each bound.
    """

    by: By
    kind: str = field(default="mean", init=False)

    def fillings(self, values: Array) -> tuple[Array, Array]:
        """[n_replies] drifts, filled in such that they are the least, and the most."""
        least, most = (np.where(np.isnan(values), fill, values) @ _SIGNS for fill in (_SIGNS < 0, _SIGNS > 0))
        return least, most

    def mean(self, values: Array, clusters: Clusters, confidence: float) -> Inference:
        """The inference of the mean drift, with its sign."""
        fillings = self.fillings(values)
        if self.by == "score":
            return mean_t(fillings[0], confidence=confidence, clusters=clusters)
        least, most = (change_difference(one, clusters=clusters, confidence=confidence) for one in fillings)
        further = Direction.AT_LEAST if abs(least.estimate) > abs(most.estimate) else Direction.AT_MOST
        return between_fillings(least, most, further)

    def infer(self, values: Array, clusters: Clusters = None, *, confidence: float, direction: Direction) -> Inference:
        return size_of_mean(self.mean(values, clusters, confidence))

    def per_unit(self, values: Array, direction: Direction) -> Array:
        least, most = self.fillings(values)
        further = least if abs(least.mean()) > abs(most.mean()) else most
        return further if further.mean() >= 0 else -further

    def units_needed(
        self, found: Inference, values: Array, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        if clusters is not None:
            spread = found.standard_deviation
            return items_needed_mean(found.estimate, spread, threshold, confidence=found.confidence) if spread else None
        spread = float(np.std(self.fillings(values)[0], ddof=1))
        if spread:
            return items_needed_within(found.estimate, spread, threshold, confidence=found.confidence)
        if found.estimate or self.by == "score":
            return None
        # All drifts are 0, and the bound is twice the exact one of a share of half the limit, of which n times nothing was seen.
        half = min(threshold / 2, 1.0)
        return 2 if half == 1 else math.ceil(math.log1p(-found.confidence) / math.log1p(-half))


# --- the replies to every turn ---


@dataclass(frozen=True, eq=False)
class ByTurn:
    """The replies to every turn, each as a reply of its own, so that each can be ruled on as a last one is.

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
    for place, dialogue in enumerate(written.sample.units):
        for turn in range(1, len(dialogue.turns) + 1):
            cut.append(replace(dialogue, turns=dialogue.turns[:turn]))
            order += [(place * samples + sample, turn) for sample in range(samples)]
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
