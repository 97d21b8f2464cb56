"""Replies of a claim, unsteered and steered: what there is to judge of each, rulings on them, shares of accepted ones, their record and words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

import numpy as np

from ..core import record
from ..core.block import Block, Conversation, Estimate, Intervals, Line
from ..core.clusters import part_of
from ..core.errors import MeasurementError
from ..core.evidence import Direction, Evidence, Json
from ..core.numbers import estimated
from ..core.record import Agreement, Asked, CountsBySide, ReplyCounts, ReplyPair
from ..data import Dialogues, Sample
from ..data.units import cluster_record
from ..measures import Array
from ..measures.judges import Exchange, Judge, Judgement, Rated, judged
from ..measures.outcomes import ENDED, Outcome, Span, read_reply, split
from ..measures.shown import shown_probe
from ..model import Model, Probe, engine_of
from ..model.rehearsal import Rehearsal
from ..model.replies import Replies, Reply
from ..model.writing import Drawing
from ..prompting import Context
from ..stats import Inference, between_fillings
from ..stats.estimators import Clusters, Estimator, Filled, PairedShare, Share
from . import show


@dataclass(frozen=True, eq=False)
class Side:
    """All replies at one multiplier, the samples of a prompt side by side.

    Attributes:
        turns: for each reply the replies to all turns of its prompt.
        outcomes: of the reply to the last turn, which is the one that is judged.
    """

    multiplier: float
    turns: tuple[tuple[Reply, ...], ...]
    outcomes: tuple[Outcome, ...]

    @property
    def last(self) -> tuple[Reply, ...]:
        return tuple(one[-1] for one in self.turns)


@dataclass(frozen=True, eq=False)
class Written:
    """The replies of a claim.

    Attributes:
        sides: one for each multiplier, in their order.
        notes: what the chat template made necessary.
    """

    sample: Sample[Dialogues]
    drawing: Drawing
    span: Span
    sides: tuple[Side, ...]
    notes: tuple[str, ...]

    @property
    def clusters(self) -> tuple[int, ...] | None:
        """The cluster of each reply: samples of a prompt, and prompts that belong together. None if each stands for itself."""
        labels = self.sample.clusters or tuple(range(len(self.sample.units)))
        return part_of(labels, (prompt for prompt, _ in self.ids))

    def clusters_of(self, replies: Sequence[int]) -> tuple[int, ...] | None:
        """The cluster of some of the replies; None if each stands for itself."""
        return part_of(self.clusters, replies)

    @property
    def ids(self) -> list[tuple[int, int]]:
        """For each reply the number of its prompt and of its sample."""
        return [(prompt, sample) for prompt in range(len(self.sample.units)) for sample in range(self.drawing.samples)]


def read_replies(
    model: Model,
    found: Replies,
    sample: Sample[Dialogues],
    drawing: Drawing,
    span: Span,
    may_be_empty: Sequence[float] = (),
) -> Written:
    """The replies of each multiplier, with what there is to judge of each.

    Raises:
        MeasurementError: the replies at a multiplier that is not in ``may_be_empty`` are all empty.
    """
    sides = []
    for at, multiplier in enumerate(found.multipliers):
        turns = tuple(turns for own in found.of for turns in own[at])
        why = [
            found.ended.get((prompt, at, number)) for prompt, own in enumerate(found.of) for number in range(len(own[at]))
        ]
        outcomes = tuple(
            read_reply(model, one[-1], span) if ended is None else Outcome("", f"{ENDED}: {ended}")
            for one, ended in zip(turns, why, strict=True)
        )
        if multiplier not in may_be_empty and all(one.is_empty for one in outcomes):
            raise MeasurementError(_all_empty(multiplier, outcomes, span))
        sides.append(Side(float(multiplier), turns, outcomes))
    return Written(sample, drawing, span, tuple(sides), tuple(found.notes))


def _all_empty(multiplier: float, outcomes: Sequence[Outcome], span: Span) -> str:
    where = "of the unsteered model" if multiplier == 0 else f"at multiplier {multiplier:g}"
    return (
        f"all {len(outcomes)} replies {where} are empty ({span}): there is nothing to judge. Look at the prompt under `asked` in the report, "
        "raise max_new_tokens, or deploy a smaller multiplier"
    )


def reply_probes(side: Side) -> list[Probe]:
    """The judged replies with the prompts that they were given, as sequences: their tokens, and where steering begins."""
    return [
        Probe((*one.prompt_ids, *one.tokens), one.steer_from, score_from=len(one.prompt_ids), name=f"reply {at}")
        for at, one in enumerate(side.last)
    ]


def asked_replies(model: Model, written: Written, context: Context) -> Asked:
    """How the prompts were put to the model, and the first one as the model sees it, up to its reply."""
    first = written.sides[-1].last[0]
    prompt = Probe(first.prompt_ids, first.steer_from, candidates=())
    return Asked(
        template=context.setting(model.format).form.name,
        thinking=first.thinking,
        date=None if first.thinking is None else (context.date or model.format.date),
        answers=None,
        lengths=None,
        notes=written.notes,
        first_item=(replace(shown_probe(model, prompt), candidates=None),),
    )


def cluster_details(written: Written) -> Json:
    """The evidence's ``details.clusters`` record, if there are clusters of replies."""
    return {} if written.clusters is None else cluster_record(written.sample.key, written.clusters, "replies")


# --- rulings ---

MAX_CHARACTERS = 2000
"""Characters that the evidence keeps of each reply."""

Ruled = Literal["accepted", "rejected", "undetermined", "missing"]
RULED: tuple[Ruled, ...] = ("accepted", "rejected", "undetermined", "missing")
SideName = Literal["base", "steered"]
SIDES: tuple[SideName, ...] = ("base", "steered")


@dataclass(frozen=True)
class Ruling:
    """The ruling on one reply.

    Attributes:
        outcome: None where no judge was asked and the reply can be judged.
        why: the reason for ``undetermined`` and ``missing``.
        score / said: the judge's number and words, where it gives some.
    """

    outcome: Ruled | None
    why: str | None = None
    score: float | None = None
    said: str | None = None

    @property
    def is_known(self) -> bool:
        return self.outcome in ("accepted", "rejected")


def unjudged(side: Side, measures: Sequence[float | None]) -> list[Ruling]:
    """The rulings of a claim without a judge: a measure of each reply, and which are undetermined."""
    return [
        Ruling("undetermined", one.why, measure) if one.is_undetermined else Ruling(None, score=measure)
        for one, measure in zip(side.outcomes, measures, strict=True)
    ]


# --- the judge ---


@dataclass(frozen=True, eq=False)
class Rulings:
    """The rulings on the replies of both sides.

    Attributes:
        sides: for each side a ruling per reply.
        rated: the judged replies, to compare with human labels.
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


# --- shares of accepted replies ---


@dataclass(frozen=True)
class ShareAccepted(Filled):
    """The share of accepted replies (1.0), with those without a ruling (NaN) filled in the way that is worse for each bound."""

    of: Estimator = field(default_factory=Share)

    def units_needed(
        self, found: Inference, values: Array, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        # How much samples of a prompt agree would have to be known.
        return None if clusters is not None else super().units_needed(found, values, clusters, threshold, direction)


@dataclass(frozen=True)
class ShareGained(Estimator):
    """The share of accepted replies in the first column minus that in the second, paired by reply.

    Replies without a ruling (NaN) are rejected in the first column and accepted in the second for the lower bound, the other way round for
    the upper one.

    Attributes:
        in_clusters: replies come in clusters, so that their gains are numbers and not signs.
    """

    in_clusters: bool = False

    @property
    def kind(self) -> str:
        return "mean" if self.in_clusters else "change"

    def infer(
        self, values: Array, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        least, most = (
            PairedShare().infer(_gains(values, fill), clusters, confidence=confidence, direction=direction)
            for fill in (0, 1)
        )
        return between_fillings(least, most, direction)

    def per_unit(self, values: Array, direction: Direction) -> Array:
        return _gains(values, 0 if direction is Direction.AT_LEAST else 1)

    def units_needed(
        self, found: Inference, values: Array, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        return None


def accepted(rulings: Sequence[Ruling], unknown: float = np.nan) -> Array:
    """[n_replies] 1 for an accepted reply, 0 for a rejected one; ``unknown`` for one without a ruling."""
    return np.array([one.outcome == "accepted" if one.is_known else unknown for one in rulings], dtype=float)


def gained(before: Sequence[Ruling], after: Sequence[Ruling], *, sign: int = 1) -> Array:
    """[n_replies, 2] values of :class:`ShareGained`: accepted after and before; ``sign`` -1 turns it round."""
    found = np.stack([accepted(after), accepted(before)], axis=1)
    return found if sign > 0 else found[:, ::-1]


def _gains(values: Array, fill: int) -> Array:
    gains: Array = np.nan_to_num(values[:, 0], nan=fill) - np.nan_to_num(values[:, 1], nan=1 - fill)
    return gains


@dataclass(frozen=True)
class AcceptedShare:
    """The share of accepted replies of one side, with its bounds."""

    share: float
    interval: tuple[float, float]
    n: int


def shares_by_side(
    sides: Sequence[Sequence[Ruling]], clusters: Clusters, confidence: float
) -> dict[SideName, AcceptedShare]:
    """The evidence's ``details.shares``."""
    found = {
        name: ShareAccepted().infer(accepted(own), clusters, confidence=confidence, direction=Direction.AT_LEAST)
        for name, own in zip(SIDES, sides, strict=True)
    }
    return {name: AcceptedShare(one.estimate, (one.low, one.high), one.n) for name, one in found.items()}


def share_blocks(
    evidence: Evidence, shares: Mapping[SideName, AcceptedShare], *more: Estimate, title: str, about: str
) -> list[Block]:
    """The shares of both sides, and the replies."""
    rows = [Estimate(name, one.share, one.interval, one.n) for name, one in shares.items()]
    promised = show.promised_in(evidence)
    return [Intervals([*rows, *more], evidence.statistic, promised=promised, title=title, about=about), Conversation()]


# --- the record of replies ---


def replies_record(
    written: Written,
    rulings: Sequence[Sequence[Ruling]],
    worst_first: Sequence[int],
    *,
    judge: Json | None = None,
    agreement: Agreement | None = None,
) -> record.Replies:
    """The replies as the evidence has them.

    Args:
        written: with two sides, the unsteered and the steered one. rulings: of each side, one per reply.
        worst_first: the replies in the order in which they are shown.
        judge: its own record. agreement: with human labels.
    """
    sides = [*zip(SIDES, written.sides, rulings, strict=False)]

    def pair(at: int) -> ReplyPair:
        prompt, sample = written.ids[at]
        dialogue = written.sample.units[prompt]
        said = tuple(text[:MAX_CHARACTERS] for text in dialogue.said)
        return ReplyPair(
            id=dialogue.id, prompt=said, sample=sample, **{name: _reply(side, own[at], at) for name, side, own in sides}
        )

    return record.Replies(
        span=written.span,
        max_characters=MAX_CHARACTERS,
        drawing=asdict(written.drawing),
        judge=judge,
        agreement=agreement,
        counts=CountsBySide(**{name: _outcomes(own) for name, _, own in sides}),
        of=tuple(map(pair, worst_first)),
    )


def _outcomes(rulings: Sequence[Ruling]) -> ReplyCounts:
    found = Counter(one.outcome for one in rulings)
    return ReplyCounts(**{name: found[name] for name in RULED})


def _reply(side: Side, ruling: Ruling, at: int) -> record.Reply:
    return record.Reply(
        turns=tuple(one.text[:MAX_CHARACTERS] for one in side.turns[at]),
        outcome=ruling.outcome,
        why=ruling.why,
        score=ruling.score,
        said=None if ruling.said is None else ruling.said[:MAX_CHARACTERS],
        cut=side.outcomes[at].cut,
    )


_CALLED = {"base": "unsteered replies:", "steered": "steered replies:"}


def counts_lines(evidence: Evidence) -> list[Block]:
    """The number of accepted replies and the outcomes of the others, a line each for base and steered."""
    return [] if evidence.replies is None else [Line(words) for words in _counts(evidence.replies)]


def _counts(found: record.Replies) -> list[str]:
    lines = []
    for name in SIDES:
        counts = vars(getattr(found.counts, name))
        known = [f"{counts[one]} {one}" for one in RULED if counts[one]] if found.judge is not None else []
        reasons = Counter(short_reason(why) for why in _reasons(found, name))
        why = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
        if known or why:
            lines.append(f"{_CALLED[name]:18} {', '.join(known)}{f' ({why})' if why and known else why}")
    return lines


def _reasons(found: record.Replies, side: SideName) -> list[str]:
    """Why replies of a side are undetermined or missing, one reason per such reply."""
    return [why for pair in found.of if (why := getattr(pair, side).why)]


def noted_replies(found: record.Replies) -> list[str]:
    """What the reader of a passing claim wants to know of its replies: how many have no ruling, and how far people agree with the judge."""
    unruled = any(_reasons(found, side) for side in SIDES)
    lines = [" ".join(line.split()) for line in _counts(found)] if unruled else []
    return lines + ([agreement_words(found)] if agreement_words(found) else [])


def agreement_words(replies: record.Replies) -> str:
    """The judge's agreement with human labels; empty without labels."""
    found = replies.agreement
    if found is None or found.kappa is None or found.interval is None:
        return ""
    return f"Cohen's kappa with {found.n} human labels {estimated(found.kappa, found.interval)}"


def short_reason(why: str) -> str:
    """A reason without its details."""
    return why.partition(":")[0]
