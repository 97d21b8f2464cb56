"""``generates``: under steering, the share of replies that a judge accepts is at least `share`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ...core.block import Block, Estimate, Line
from ...core.errors import SteerError
from ...core.evidence import Direction, Evidence
from ...core.finding import Finding, Weight, code
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.sources import shown
from ...measures.ask import Ask
from ...measures.judges import Agreement, Judge, agreement, make_judge, read_labels
from ...measures.subject import Moves
from ...stats.estimators import Estimator
from ..asserting import assertion
from ..base import OverReplies
from ..curves import Deployed
from ..findings import weak_promise
from ..from_file import FILE, JUDGE
from ..kind import claim
from ..measurement import Measurement
from ..rulings import (
    AcceptedShare,
    Rulings,
    ShareAccepted,
    ShareGained,
    SideName,
    accepted,
    agreement_words,
    counts_lines,
    gained,
    rule_on,
    share_blocks,
    shares_by_side,
)

doubtful_judge = code(
    "judge-and-people",
    signal="The judge agrees little with the human labels, or some labels are of no reply.",
    meaning="The verdict rests on a judge that people would not follow, or the agreement on few labels.",
    cure="Look at the replies on which they differ, and take another judge or other labels.",
    weight=Weight.DOUBTFUL,
)


@dataclass(frozen=True)
class Details:
    """The shares of accepted replies; ``against_base``: their difference is judged."""

    against_base: bool
    deployed: Deployed
    shares: dict[SideName, AcceptedShare]


@claim("generates", title="Steered, the model writes what a judge accepts", main="share")
class Generates(OverReplies):
    """The share of the steered model's replies that the judge accepts is at least `share`.

    With `direction: lowers` it is at most `share`. With `against_base: true`, `share` is the difference to the unsteered model's replies
    to the same prompts. Replies that are undetermined, and those that the judge gave no judgement of, count against the promise where
    a pass is judged and for it where a fail is.

    Attributes:
        direction: ``raises`` (the default) or ``lowers``: what the deployed model is meant to do with the share.

    Raises:
        SteerError: a judge or settings of drawing that cannot be used.
    """

    direction: Moves = "raises"
    share: Annotated[
        Promise,
        Param(
            "The least share of accepted replies (with `direction: lowers`, the largest); with `against_base`, the least difference.",
            title="Share of replies",
            example=0.6,
            above=-1,
            below=1,
        ),
    ]
    accepts: Annotated[
        Judge,
        Param("Who decides whether a reply is accepted.", title="Judge", called="judge", reads=make_judge, loads=JUDGE),
    ]
    against_base: Annotated[
        bool,
        Param(
            "true judges the difference: the share of accepted replies steered minus unsteered, paired by prompt.",
            title="Against the unsteered model",
            example=True,
        ),
    ] = False
    labels: Annotated[
        Path | None,
        Param(
            "A file of human labels of replies: the judge's agreement with them (Cohen's kappa) is shown beside the claim.",
            title="Human labels",
            example="data/labels.jsonl",
            judges=True,
            reads=Path,
            loads=FILE,
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        share = self.threshold
        if share is not None and share <= 0 and not self.against_base:
            raise SteerError(
                f"generates: share is above 0, not {share:g}: without against_base it is a share of the replies"
            )

    def measure(self, ask: Ask) -> Measurement:
        labels = None if self.labels is None else (read_labels(self.labels), shown(self.labels))
        written = self.write(ask, [0.0, self.subject.multiplier])
        ruled = rule_on(ask.model, self.accepts, written, seed=self.seed)
        base, steered = ruled.sides
        agreed = None
        if labels is not None:
            agreed = agreement(labels[0], ruled.rated, source=labels[1], confidence=self.confidence)
        estimator: Estimator = ShareAccepted()
        values, statistic = accepted(steered), "share of accepted replies"
        if self.against_base:
            estimator = ShareGained(in_clusters=written.clusters is not None)
            values = gained(base, steered, sign=self.subject.effect_sign)
            statistic = f"{'fall' if self._lowers else 'rise'} of the {statistic}"
        return self.over_replies(
            ask,
            written,
            ruled.sides,
            values,
            estimator,
            statistic=statistic,
            direction=self._direction,
            worst_first=self._worst_first(ruled),
            judge=self.accepts.record(),
            agreement=None if agreed is None else agreed.record(),
            rulings=ruled.sides,
            findings=[*self._findings(agreed)],
            details=Details(
                self.against_base,
                Deployed.of(self.subject),
                shares_by_side(ruled.sides, written.clusters, self.confidence),
            ),
        )

    @property
    def _lowers(self) -> bool:
        return self.direction == "lowers"

    @property
    def _direction(self) -> Direction:
        return Direction.AT_MOST if self._lowers and not self.against_base else Direction.AT_LEAST

    def _findings(self, agreed: Agreement | None) -> Iterator[Finding]:
        """Doubts about the judge, and a promise that can hardly fail: what ``Param`` says of weak ones knows nothing of the direction."""
        if agreed is not None:
            yield from map(doubtful_judge, agreed.warnings)
        share = self.threshold
        if share is None or (share > 0.05 if self._direction is Direction.AT_LEAST else share < 0.95):
            return
        if not self.against_base:
            yield weak_promise(f"this promise can hardly fail: share {share:g} is kept by nearly every model")
        elif share <= -0.2:
            yield weak_promise(
                f"this promise can hardly fail: share {share:g} lets steering do that much harm; that it does none is promised by one a little "
                "below 0"
            )

    def _worst_first(self, ruled: Rulings) -> list[int]:
        """Replies that break the promise first, then those without a ruling; of each kind those that steering changed first."""
        base, steered = ruled.sides
        good, bad = ("rejected", "accepted") if self._lowers else ("accepted", "rejected")

        def rank(at: int) -> tuple[int, int, float]:
            outcome, before, score = steered[at].outcome, base[at].outcome, steered[at].score
            return (
                0 if outcome == bad else 2 if outcome == good else 1,
                0 if before == good else 1,
                0.0 if score is None else -score if self._lowers else score,
            )

        return sorted(range(len(steered)), key=rank)

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        yield from counts_lines(evidence)
        if (replies := evidence.replies) is not None and replies.judge is not None:
            agreed = agreement_words(replies)
            span = {"answer": "the answer", "thought": "the thought", "both": "thought and answer"}[replies.span]
            yield Line(f"judged: {span}, by {replies.judge.get('judge', 'a judge')}{f'; {agreed}' if agreed else ''}")

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        own: Details = evidence.own
        more = []
        if own.against_base:
            assert evidence.estimate is not None
            more = [Estimate("difference", evidence.estimate, evidence.interval, evidence.n, evidence.verdict.value)]
        about = "Share of the replies that the judge accepts. Replies without a ruling count as rejected where the lower end is judged."
        yield from share_blocks(evidence, own.shares, *more, title="Accepted replies", about=about)


assert_generates = assertion(Generates)
