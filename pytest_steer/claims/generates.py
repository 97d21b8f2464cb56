"""``generates``: under steering, the share of replies that a judge accepts is at least `share`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Unpack

from ..data import DialogueLike, Dialogues, as_dialogues, sample_of
from ..errors import SteerError
from ..evidence import Evidence
from ..measures.judges import Judge, agreement, judge_schema, make_judge, read_labels
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..sources import shown
from ..stats import Direction, Verdict, items_needed_share
from ..steering import Intervention, SteeringVector
from . import words
from .common import FromTurn, JudgedSpan, MaxNewTokens, Samples, Temperature, TopP
from .figures import Figure, Intervals, Row, promised_in
from .holding import hold
from .judged import judged
from .kinds import claim
from .over_replies import (
    OverReplies,
    Written,
    asked_replies,
    cluster_details,
    describe_prompts,
    drawing_of,
    how_written,
    reply_probes,
    reply_warnings,
    write_replies,
)
from .rulings import Shares, judge_warnings, rule_on, share_accepted, share_gained, share_record
from .shown_replies import Ruling, agreement_words, counts_lines, noted_replies, replies_record, worst_replies
from .units import UnitKind, units_record


@claim("generates", title="Steered, the model writes what a judge accepts", main="share")
@dataclass(frozen=True, kw_only=True)
class Generates:
    """The share of the steered model's replies that the judge accepts is at least `share`.

    With `direction: lowers` it is at most `share`. With `against_base: true`, `share` is the difference to the unsteered model's replies
    to the same prompts. Replies that are undetermined, and those that the judge gave no judgement of, count against the promise where
    a pass is judged and for it where a fail is.

    Attributes:
        prompts: what the model is asked to reply to.
        cluster: a key of the prompts that says which belong together.
        seed: of drawn tokens, and of the order in which replies are judged.

    Raises:
        SteerError: a judge or settings of drawing that cannot be used.
    """

    subject: Subject
    prompts: Dialogues
    share: Annotated[
        float | None,
        Param(
            "The least share of accepted replies (with `direction: lowers`, the largest); with `against_base`, the least difference.",
            title="Share of replies",
            example=0.6,
            above=-1,
            below=1,
        ),
    ]
    judge: Annotated[
        Any,
        Param("Who decides whether a reply is accepted.", title="Judge", schema={**judge_schema(), "x-judge": True}),
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
            schema={"type": ["string", "null"], "default": None},
        ),
    ] = None
    max_new_tokens: MaxNewTokens = 64
    samples: Samples = 1
    temperature: Temperature = None
    top_p: TopP = 1.0
    span: JudgedSpan = "answer"
    from_turn: FromTurn = 1
    context: Context = AS_GIVEN
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    cluster: str | None = None
    name: str = "generates"

    def __post_init__(self) -> None:
        object.__setattr__(self, "judge", make_judge(self.judge))
        if self.share is not None and self.share <= 0 and not self.against_base:
            raise SteerError(
                f"generates: share is above 0, not {self.share:g}: without against_base it is a share of the replies"
            )
        drawing_of(self)

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two prompts, or one that cannot be asked.
            MeasurementError: all replies are empty, or the judge gave no judgement of more than 5 % of them.
            SoundnessError: the hooks do not do what they say.
            VectorError: see ``check_fits``.
        """
        subject = self.subject
        sample = sample_of(as_dialogues(self.prompts), self.cluster)
        labels = None if self.labels is None else read_labels(self.labels)
        soundness = check_before(model, subject)
        written = write_replies(model, self, sample, [0.0, subject.multiplier])
        ruled = rule_on(model, self.judge, written, seed=self.seed)
        base, steered = ruled.sides
        agreed = None
        if labels is not None and self.labels is not None:
            agreed = agreement(labels, ruled.rated, source=shown(Path(self.labels)), confidence=self.confidence)
        shares = self._shares(base, steered, written)
        evidence = judged(
            model,
            subject,
            shares.found,
            reply_probes(written.sides[1]),
            threshold=self.share,
            direction=self._direction,
            confidence=self.confidence,
            min_n=self.min_n,
            moved=lambda _: 0.0,
            check="generates",
            name=self.name,
            statistic=self._statistic,
            soundness=soundness,
            asked=asked_replies(model, written, self.context),
            warnings=[
                *reply_warnings(subject, written, model),
                *judge_warnings(ruled.sides),
                *self._weak(),
                *(agreed.warnings if agreed is not None else ()),
            ],
            details=self._details(base, steered, written) | cluster_details(written),
            **describe_prompts(written),
        )
        evidence.noise = None  # how far rounding moves a share of texts is not known
        record = self.judge.record()
        evidence.replies = replies_record(
            written,
            (base, steered),
            self._worst_first(base, steered),
            judge=record,
            agreement=None if agreed is None else agreed.record(),
        )
        evidence.details["noted"] = noted_replies(evidence)
        evidence.units = self._units(shares, written, record)
        if evidence.verdict is Verdict.INCONCLUSIVE and self.share is not None:
            evidence.items_needed = self._needed(evidence, written)
        return evidence

    @property
    def _lowers(self) -> bool:
        return self.subject.direction == "lowers"

    @property
    def _direction(self) -> Direction:
        return Direction.AT_MOST if self._lowers and not self.against_base else Direction.AT_LEAST

    @property
    def _statistic(self) -> str:
        if not self.against_base:
            return "share of accepted replies"
        return f"{'fall' if self._lowers else 'rise'} of the share of accepted replies"

    def _weak(self) -> list[str]:
        """A promise that can hardly fail; what ``Param`` says of weak ones knows nothing of the direction."""
        share = self.share
        if share is None or (share > 0.05 if self._direction is Direction.AT_LEAST else share < 0.95):
            return []
        if not self.against_base:
            return [f"this promise can hardly fail: share {share:g} is kept by nearly every model"]
        if share > -0.2:
            return []
        return [
            f"this promise can hardly fail: share {share:g} lets steering do that much harm; that it does none is promised by one a little below 0"
        ]

    def _shares(self, base: Sequence[Ruling], steered: Sequence[Ruling], written: Written) -> Shares:
        clusters = written.clusters
        if not self.against_base:
            return share_accepted(steered, clusters, self._direction, confidence=self.confidence)
        sign = self.subject.effect_sign
        return share_gained(base, steered, clusters, sign=sign, confidence=self.confidence)

    def _worst_first(self, base: Sequence[Ruling], steered: Sequence[Ruling]) -> list[int]:
        """Replies that break the promise first, then those without a ruling; of each kind those that steering changed first."""
        good, bad = ("rejected", "accepted") if self._lowers else ("accepted", "rejected")

        def rank(at: int) -> tuple[int, int, float]:
            outcome, before, score = steered[at].outcome, base[at].outcome, steered[at].score
            return (
                0 if outcome == bad else 2 if outcome == good else 1,
                0 if before == good else 1,
                0.0 if score is None else -score if self._lowers else score,
            )

        return sorted(range(len(steered)), key=rank)

    def _details(self, base: Sequence[Ruling], steered: Sequence[Ruling], written: Written) -> dict[str, Any]:
        sides = {"base": base, "steered": steered}
        return {
            "against_base": self.against_base,
            "from_turn": self.from_turn,
            "deployed": {"multiplier": float(self.subject.multiplier), "direction": self.subject.direction},
            "shares": {name: share_record(own, written.clusters, self.confidence) for name, own in sides.items()},
        }

    def _units(self, shares: Shares, written: Written, judge: Mapping[str, Any]) -> dict[str, Any]:
        kind: UnitKind = "share"
        if self.against_base:
            kind = "change" if written.clusters is None else "mean"
        dialogues = written.sample.units
        return units_record(
            [(*dialogues[prompt].form, str(number)) for prompt, number in written.ids],
            [dialogues[prompt].id for prompt, _ in written.ids],
            shares.values,
            unit="replies",
            kind=kind,
            clusters=written.clusters,
            how={
                "judge": dict(judge),
                "against_base": self.against_base,
                **how_written(self),
            },
        )

    def _needed(self, evidence: Evidence, written: Written) -> int | None:
        """How many prompts would decide; of clustered replies it is not known."""
        if written.clusters is not None:
            return None
        if self.against_base:
            return evidence.items_needed
        assert evidence.estimate is not None
        assert self.share is not None
        return items_needed_share(evidence.estimate, self.share, direction=self._direction, confidence=self.confidence)

    @staticmethod
    def figures(record: dict[str, Any]) -> list[Figure]:
        shares = record["details"]["shares"]
        rows = [Row(name, one["share"], tuple(one["interval"]), one["n"]) for name, one in shares.items()]
        if record["details"]["against_base"]:
            low, high = record["interval"]
            rows.append(Row("difference", record["estimate"], (low, high), record["n"], record["verdict"]))
        return [
            Intervals(
                title="Accepted replies",
                about="Share of the replies that the judge accepts. Replies without a ruling count as rejected where the lower end is judged.",
                rows=rows,
                x=record["statistic"],
                promised=promised_in(record),
            )
        ]

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        return [*counts_lines(evidence), *_judge_line(evidence), *words.not_looked_at(evidence)]

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        return [*words.decide(evidence), *words.where(evidence), *worst_replies(evidence)]


def _judge_line(evidence: Evidence) -> list[str]:
    """The span that is judged, by whom, and how far people agree."""
    replies = evidence.replies
    if replies is None:
        return []
    agreed = agreement_words(replies)
    span = {"answer": "the answer", "thought": "the thought", "both": "thought and answer"}[replies["span"]]
    return [f"  judged: {span}, by {replies['judge'].get('judge', 'a judge')}{f'; {agreed}' if agreed else ''}"]


def assert_generates(
    model: Model,
    vector: SteeringVector | Intervention | None,
    prompts: Iterable[DialogueLike],
    *,
    share: Promise,
    judge: Judge | Mapping[str, Any],
    against_base: bool = False,
    labels: Path | str | None = None,
    **shared: Unpack[OverReplies],
) -> Evidence:
    """Assert that the share of the steered model's replies that the judge accepts is at least ``share``.

    Args:
        prompts: at least two texts, :class:`Dialogue` or contrast items, whose questions are asked; ``read_prompts(path)`` reads a file.
        share: the promise, between 0 and 1; the largest share with ``direction="lowers"``; the difference with ``against_base``.
        judge: ``{"regex": "pattern"}`` or another kind of judge with its settings, or an object with ``judge`` and ``record``.
        against_base: judge the share of accepted replies steered minus unsteered, paired by prompt.
        labels: a file of human labels of replies; the judge's agreement with them is shown.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("generates", locals())
