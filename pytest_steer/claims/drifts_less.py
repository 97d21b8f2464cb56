"""``drifts_less``: over a conversation the effect of steering changes by at most `limit`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Unpack

import numpy as np

from ..data import DialogueLike, Dialogues, Sample, as_dialogues, sample_of
from ..errors import DataError, MeasurementError, SteerError
from ..evidence import Evidence
from ..measures import Array
from ..measures.judges import Judge, make_judge
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import (
    Direction,
    Inference,
    Verdict,
    between_fillings,
    change_difference,
    change_difference_of_clusters,
    items_needed_within,
    mean_t,
    size_of_mean,
)
from ..steering import Intervention, SteeringVector
from . import words
from .by_turn import ByTurn, by_turn
from .common import JudgedSpan, MaxNewTokens, Samples, Temperature, TopP
from .doubts import equal_values
from .figures import Curves, Figure, Line
from .from_file import JUDGE
from .holding import hold
from .judged import judged
from .kinds import claim
from .numbers import number
from .over_replies import (
    OverReplies,
    Written,
    asked_replies,
    cluster_details,
    describe_prompts,
    drawing_of,
    reply_probes,
    reply_warnings,
    write_replies,
)
from .rulings import (
    Ruling,
    ShareGained,
    accepted,
    counts_lines,
    gained,
    judge_warnings,
    noted_replies,
    replies_record,
    rule_on,
    worst_replies,
)

By = Literal["accepted", "score"]
# From an effect of -1, as a difference of shares, to one of 1.
_LARGEST = 2
# Of so many replies, one may be without a score.
_MOST_WITHOUT = 20


@claim("drifts_less", title="The effect stays over a conversation", main="limit", directed=False)
@dataclass(frozen=True, kw_only=True)
class DriftsLess:
    """The effect in the last turn of the dialogues differs from that in the first steered one by at most `limit`, up or down.

    The effect in a turn is the share of its replies that the judge accepts (or their mean score), steered minus unsteered. Each side goes on
    with its own replies. Replies without a ruling are taken as accepted or rejected, whichever is worse for each bound.

    Attributes:
        prompts: dialogues of at least two turns.
        cluster: a key of the prompts that says which belong together.
        seed: of drawn tokens, and of the order in which replies are judged.

    Raises:
        SteerError: a judge or settings of drawing that cannot be used.
    """

    subject: Subject
    prompts: Dialogues
    limit: Annotated[
        float | None,
        Param(
            "The most by which the effect may differ between the first steered turn and the last, as a share of replies (0.2 is a fifth "
            "of them), or in the judge's units by `score`.",
            title="Largest drift",
            example=0.2,
            above=0,
        ),
    ]
    judge: Annotated[
        Any,
        Param("Who decides whether a reply is accepted.", title="Judge", loads=JUDGE),
    ]
    by: Annotated[
        By,
        Param(
            "accepted: the share of accepted replies; score: their mean score.", title="What the effect is", example="score"
        ),
    ] = "accepted"
    max_new_tokens: MaxNewTokens = 64
    samples: Samples = 1
    temperature: Temperature = None
    top_p: TopP = 1.0
    span: JudgedSpan = "answer"
    from_turn: Annotated[
        int,
        Param(
            "The first turn that is steered; the effect in it is held against that in the last one.",
            title="First steered turn",
            example=2,
            at_least=1,
            at_most=9,
        ),
    ] = 1
    context: Context = AS_GIVEN
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    cluster: str | None = None
    name: str = "drifts_less"

    def __post_init__(self) -> None:
        object.__setattr__(self, "judge", make_judge(self.judge))
        if self.by == "accepted" and self.limit is not None and self.limit >= _LARGEST:
            raise SteerError(
                f"drifts_less: limit {self.limit:g} cannot fail: the effect is a difference of shares, so it drifts by at most {_LARGEST}"
            )
        drawing_of(self)

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two prompts, one of too few turns, or one that cannot be asked.
            MeasurementError: all replies are empty, or more than 5 % of them have no judgement, or no score.
            SoundnessError: the hooks do not do what they say.
            VectorError: see ``check_fits``.
        """
        subject = self.subject
        sample = sample_of(as_dialogues(self.prompts), self.cluster)
        _check_turns(sample, self.from_turn)
        soundness = check_before(model, subject)
        written = write_replies(model, self, sample, [0.0, subject.multiplier])
        turns = by_turn(model, written)
        ruled = rule_on(model, self.judge, turns.written, seed=self.seed).sides
        drifts, replies = self._drifts(turns, ruled, written)
        mean = self._mean(drifts, written.clusters_of(replies))
        details = self._details(turns, ruled, written, mean)
        evidence = judged(
            model,
            subject,
            size_of_mean(mean),
            reply_probes(written.sides[1]),
            threshold=self.limit,
            direction=Direction.AT_MOST,
            confidence=self.confidence,
            min_n=self.min_n,
            moved=lambda _: 0.0,
            check="drifts_less",
            name=self.name,
            statistic="drift of the effect over the turns",
            soundness=soundness,
            asked=asked_replies(model, written, self.context),
            warnings=[
                *reply_warnings(subject, written),
                *judge_warnings(ruled),
                *_left_out(len(replies), len(written.ids)),
                *self._nothing_to_drift(details["turns"]),
            ],
            details=details | cluster_details(written),
            **describe_prompts(written),
        )
        evidence.noise = None  # how far rounding moves a share of texts is not known
        evidence.unpaired = "the size of a mean drift is not a mean over prompts"
        last = [turns.at[reply, self._last(written, reply)] for reply in range(len(written.ids))]
        size = dict(zip(replies, np.abs(np.mean(drifts, axis=0)), strict=True))
        evidence.replies = replies_record(
            written,
            [[side[place] for place in last] for side in ruled],
            sorted(range(len(written.ids)), key=lambda reply: -size.get(reply, 0.0)),
            judge=self.judge.record(),
        )
        evidence.details["noted"] = noted_replies(evidence.replies)
        if self.by == "score":
            evidence.warnings += equal_values(evidence, drifts[0])
        if evidence.verdict is Verdict.INCONCLUSIVE and self.limit is not None and written.clusters is None:
            evidence.items_needed = self._needed(drifts[0], mean.estimate, self.limit)
        return evidence

    def _needed(self, drifts: Array, estimate: float, limit: float) -> int | None:
        """How many dialogues would decide, if the drifts are the truth."""
        spread = float(np.std(drifts, ddof=1))
        if spread:
            return items_needed_within(estimate, spread, limit, confidence=self.confidence)
        if estimate or self.by == "score":
            return None
        # All drifts are 0, and the bound is twice the exact one of a share of half the limit, of which n times nothing was seen.
        half = min(limit / 2, 1.0)
        return 2 if half == 1 else math.ceil(math.log1p(-self.confidence) / math.log1p(-half))

    def _last(self, written: Written, reply: int) -> int:
        return written.sample.units[written.ids[reply][0]].n_replies

    def _drifts(
        self, turns: ByTurn, ruled: Sequence[Sequence[Ruling]], written: Written
    ) -> tuple[tuple[Array, Array], list[int]]:
        """The drift of each reply with what has no ruling at its least and at its most, and which replies these are."""
        every = range(len(written.ids))
        first = [turns.at[reply, self.from_turn] for reply in every]
        last = [turns.at[reply, self._last(written, reply)] for reply in every]
        base, steered = ruled
        ends = [[steered[place] for place in last], [base[place] for place in last]]
        starts = [[steered[place] for place in first], [base[place] for place in first]]
        if self.by == "accepted":
            least, most = (
                accepted(ends[0], high)
                - accepted(ends[1], not high)
                - accepted(starts[0], not high)
                + accepted(starts[1], high)
                for high in (False, True)
            )
            return (least, most), [*every]
        scores = [[one.score if one.is_known else None for one in (*at,)] for at in zip(*ends, *starts, strict=True)]
        kept = [reply for reply in every if None not in scores[reply]]
        if not kept or (len(every) - len(kept)) * _MOST_WITHOUT > len(every):
            raise MeasurementError(
                f"{len(every) - len(kept)} of {len(every)} conversations have no score in their first or last turn: take a judge that scores "
                "every reply, or leave out `by: score`, where replies without a ruling count against the promise"
            )
        found = np.array([scores[reply] for reply in kept], dtype=float) @ np.array([1.0, -1.0, -1.0, 1.0])
        return (found, found), kept

    def _mean(self, drifts: tuple[Array, Array], clusters: Sequence[int] | None) -> Inference:
        """The inference of the mean drift, with its sign."""
        if self.by == "score":
            return mean_t(drifts[0], confidence=self.confidence, clusters=clusters)
        least, most = (
            change_difference(one, confidence=self.confidence)
            if clusters is None
            else change_difference_of_clusters(one, clusters, confidence=self.confidence)
            for one in drifts
        )
        further = Direction.AT_LEAST if abs(least.estimate) > abs(most.estimate) else Direction.AT_MOST
        return between_fillings(least, most, further)

    def _details(
        self, turns: ByTurn, ruled: Sequence[Sequence[Ruling]], written: Written, mean: Inference
    ) -> dict[str, Any]:
        most = written.sample.units.most_turns
        rows = [self._at(turn, turns, ruled, written) for turn in range(1, most + 1)]
        return {
            "by": self.by,
            "from_turn": self.from_turn,
            "drift": mean.estimate,
            "turns": [row for row in rows if row is not None],
            "deployed": {"multiplier": float(self.subject.multiplier), "direction": self.subject.direction},
        }

    def _nothing_to_drift(self, rows: Sequence[Mapping[str, Any]]) -> list[str]:
        """An effect that is not there keeps every limit."""
        first = next((row for row in rows if row["turn"] == self.from_turn), None)
        if first is None or not first["interval"][0] <= 0 <= first["interval"][1]:
            return []
        return [
            f"in turn {self.from_turn} no effect of steering is proven, so there may be none that could drift: claim it with generates "
            "(`against_base: true`), too"
        ]

    def _at(self, turn: int, turns: ByTurn, ruled: Sequence[Sequence[Ruling]], written: Written) -> dict[str, Any] | None:
        """The effect in one turn, of the dialogues that have it; None if fewer than two have."""
        places = turns.places(turn)
        base, steered = ([side[place] for _, place in places] for side in ruled)
        clusters = written.clusters_of([reply for reply, _ in places])
        if self.by == "accepted":
            means = [float(np.mean([one.outcome == "accepted" for one in side])) for side in (base, steered)]
            units = len(places) if clusters is None else len(set(clusters))
            gains = gained(base, steered)
            found = ShareGained().infer(gains, clusters, confidence=self.confidence) if units > 1 else None
        else:
            pairs = [(one.score, two.score) for one, two in zip(base, steered, strict=True)]
            scored = [at for at, pair in enumerate(pairs) if None not in pair]
            if len(scored) < 2:
                return None
            values = np.array([pairs[at] for at in scored], dtype=float)
            means = [float(mean) for mean in values.mean(axis=0)]
            kept = written.clusters_of([places[at][0] for at in scored])
            found = mean_t(values[:, 1] - values[:, 0], confidence=self.confidence, clusters=kept)
        if found is None:
            return None
        return {
            "turn": turn,
            "n": found.n,
            "base": means[0],
            "steered": means[1],
            "effect": means[1] - means[0],
            "interval": [found.low, found.high],
        }

    @staticmethod
    def figures(record: dict[str, Any]) -> list[Figure]:
        rows = record["details"]["turns"]
        points = [(row["turn"], row["effect"]) for row in rows]
        return [
            Curves(
                title="Effect in each turn",
                about="Steered minus unsteered, each side going on with its own replies. The band is that of each turn alone.",
                lines=[Line("effect", points, [tuple(row["interval"]) for row in rows])],
                y="share of accepted replies" if record["details"]["by"] == "accepted" else "mean score",
                x="turn",
                marked=[(record["details"]["from_turn"], "first steered")],
            )
        ]

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        rows = evidence.details["turns"]
        lines = [
            f"  turn {row['turn']}: effect {number(row['effect'])} [{number(row['interval'][0])}, {number(row['interval'][1])}] "
            f"(unsteered {number(row['base'])}, steered {number(row['steered'])})"
            for row in rows
        ]
        return [*lines, *counts_lines(evidence), *words.not_looked_at(evidence)]

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        return [*words.decide(evidence), *words.where(evidence), *worst_replies(evidence)]


def _check_turns(sample: Sample[Dialogues], from_turn: int) -> None:
    short = next((one for one in sample.units if one.n_replies <= from_turn), None)
    if short is not None:
        raise DataError(
            f"{sample.units.source}: prompt {short.id} has {short.n_replies} turn(s), and drift is between turn {from_turn} and a later "
            f"one: give it {from_turn + 1} or more under `turns`, or take it out"
        )


def _left_out(kept: int, n: int) -> list[str]:
    return (
        [f"{n - kept} of {n} conversations have no score in their first or last turn and are left out"] if kept < n else []
    )


def assert_drifts_less(
    model: Model,
    vector: SteeringVector | Intervention | None,
    prompts: Iterable[DialogueLike],
    *,
    limit: Promise,
    judge: Judge | Mapping[str, Any],
    by: By = "accepted",
    **shared: Unpack[OverReplies],
) -> Evidence:
    """Assert that the effect of steering differs by at most ``limit`` between the first steered turn and the last.

    Args:
        prompts: at least two :class:`Dialogue` of two turns or more; ``read_prompts(path)`` reads a file.
        limit: the promise, a share of replies, or in the judge's units with ``by="score"``.
        judge: ``{"regex": "pattern"}`` or another kind of judge with its settings, or an object with ``judge`` and ``record``.
        by: ``accepted``, the share of accepted replies, or ``score``, their mean score.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("drifts_less", locals())
