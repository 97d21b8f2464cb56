"""``stays_fluent``: under steering, replies stay within `limit` on a measure of fluency."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Unpack

import numpy as np

from ..data import DialogueLike, Dialogues, as_dialogues, sample_of
from ..errors import MeasurementError, SteerError
from ..evidence import Evidence
from ..measures import Array
from ..measures.fluency import FEWEST, LOWER_IS_WORSE, FluencyMeasure
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import Direction, Inference, between_fillings
from ..steering import Intervention, SteeringVector
from . import words
from .common import FromTurn, Interval, IntervalMethod, JudgedSpan, MaxNewTokens, Samples, Temperature, TopP
from .doubts import look_closer
from .figures import Distribution, Figure, promised_in
from .fluency_of import Values, values_of
from .holding import hold
from .judged import judged, mean_of
from .kinds import claim
from .numbers import number
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
from .shown_replies import Ruling, counts_lines, noted_replies, replies_record, unjudged, worst_replies
from .units import linearised, units_record

NAMES: dict[FluencyMeasure, str] = {
    "repetition": "repetition of 4-grams",
    "distinct_2": "distinct-2",
    "entropy": "n-gram entropy",
    "base_perplexity": "perplexity of the replies under the unsteered model",
}


@claim("stays_fluent", title="Steered, replies stay fluent", directed=False)
@dataclass(frozen=True, kw_only=True)
class StaysFluent:
    """The mean over the steered model's replies of a measure of fluency stays within `limit`.

    For `repetition` and `base_perplexity` `limit` is the largest value, for `distinct_2` and `entropy` the least. Replies that are empty count as
    the worst value where a pass is judged and are left out where a fail is; replies of too few tokens for the measure are left out.

    Attributes:
        prompts: what the model is asked to reply to.

    Raises:
        SteerError: a limit that the measure cannot have, or settings of drawing that cannot be used.
    """

    subject: Subject
    prompts: Dialogues
    quantity: Annotated[
        FluencyMeasure,
        Param(
            "repetition: share of 4-grams that repeat an earlier one of the reply. distinct_2: distinct bigrams per token. entropy: of bigrams "
            "and trigrams, in bits. base_perplexity: of the replies under the unsteered model.",
            title="Measure",
            example="repetition",
            called="measure",
        ),
    ]
    limit: Annotated[
        float | None,
        Param(
            "The largest mean of repetition or base_perplexity, the least mean of distinct_2 or entropy.",
            title="Limit",
            example=0.2,
            above=0,
            promise=True,
        ),
    ]
    interval: Interval = "t"
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
    name: str = "stays_fluent"

    def __post_init__(self) -> None:
        least, most = _RANGES[self.quantity]
        if self.limit is not None and not least < self.limit < most:
            raise SteerError(
                f"stays_fluent: limit {self.limit:g} cannot fail or cannot hold: {NAMES[self.quantity]} is between {least:g} and {most:g}"
            )
        drawing_of(self)

    @property
    def _direction(self) -> Direction:
        return Direction.AT_LEAST if self.quantity in LOWER_IS_WORSE else Direction.AT_MOST

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two prompts, or one that cannot be asked.
            MeasurementError: all replies are empty, or fewer than two can be measured.
            SoundnessError: the hooks do not do what they say.
            VectorError: see ``check_fits``.
        """
        subject = self.subject
        sample = sample_of(as_dialogues(self.prompts), self.cluster)
        soundness = check_before(model, subject)
        written = write_replies(model, self, sample, [0.0, subject.multiplier])
        base, steered = (values_of(model, side, self.quantity) for side in written.sides)
        found, kept = self._inferred(steered, written)
        scale = _Scale(math.exp, math.log) if self.quantity == "base_perplexity" else _Scale(float, float)
        at = None if self.limit is None else scale.there(self.limit)
        evidence = judged(
            model,
            subject,
            found,
            reply_probes(written.sides[1]),
            threshold=self.limit,
            scaled=at,
            direction=self._direction,
            confidence=self.confidence,
            min_n=self.min_n,
            moved=lambda _: 0.0,
            check="stays_fluent",
            name=self.name,
            statistic=f"mean {NAMES[self.quantity]}",
            estimate=scale.back(found.estimate),
            interval=(_bound(scale, found.low), _bound(scale, found.high)),
            soundness=soundness,
            asked=asked_replies(model, written, self.context),
            warnings=[
                *reply_warnings(subject, written, model),
                *_short_warnings(steered, self.quantity),
                *_weak_warnings(self.limit, self.quantity),
            ],
            details={
                "measure": self.quantity,
                "from_turn": self.from_turn,
                "base": _mean(base, scale),
                "values": {"base": _plain(base, scale), "steered": _plain(steered, scale)},
            }
            | cluster_details(written),
            **describe_prompts(written) | {"n": found.n},
        )
        evidence.noise = None  # how far rounding moves a number of texts is not known
        rulings = [
            [Ruling(one.outcome, one.why, score) for one, score in zip(unjudged(side), _plain(own, scale), strict=True)]
            for side, own in zip(written.sides, (base, steered), strict=True)
        ]
        worst = np.argsort(-self._badness(steered.values), kind="stable").tolist()
        evidence.replies = replies_record(written, rulings, worst)
        evidence.details["noted"] = noted_replies(evidence)
        values, clusters = steered.values[kept], self._clusters(written, kept)
        names = [sample.units[written.ids[at][0]].id for at in np.flatnonzero(kept)]
        evidence.units = units_record(
            [(*sample.units[prompt].form, str(number)) for own, (prompt, number) in enumerate(written.ids) if kept[own]],
            names,
            scale.per_unit(values),
            unit="replies",
            clusters=clusters,
            how={
                "measure": self.quantity,
                **how_written(self),
            },
        )
        look_closer(evidence, values, self._mean_of, at, clusters, names)
        return evidence

    def _inferred(self, steered: Values, written: Written) -> tuple[Inference, np.ndarray]:
        """The inference of the mean, and which replies it is of in the filling in which a pass is proven."""
        kept = ~steered.short
        known = kept & ~steered.collapsed
        clusters = [self._clusters(written, one) for one in (known, kept)]
        independent = [
            int(one.sum()) if own is None else len(set(own)) for one, own in zip((known, kept), clusters, strict=True)
        ]
        left_out = int(steered.short.sum())
        if left_out > _MOST_LEFT_OUT[self.quantity] * len(kept):
            raise MeasurementError(
                f"{left_out} of {len(kept)} steered replies have {_TOO_LITTLE[self.quantity]}, so {NAMES[self.quantity]} would be that of a few "
                "others: measure repetition, of which an empty reply has the worst value, or ask for longer replies"
            )
        if min(independent) < 2:
            raise MeasurementError(
                f"{NAMES[self.quantity]} can be measured of {int(known.sum())} of {len(known)} replies: the others have fewer than "
                f"{FEWEST[self.quantity]} tokens. Raise max_new_tokens, or ask for longer replies"
            )
        without, worst = (self._mean_of(steered.values[one], own) for one, own in zip((known, kept), clusters, strict=True))
        if self._direction is Direction.AT_LEAST:
            return between_fillings(worst, without, Direction.AT_LEAST), kept
        return between_fillings(without, worst, Direction.AT_MOST), kept

    def _mean_of(self, values: Array, clusters: Sequence[int] | None) -> Inference:
        return mean_of(values, self.interval, confidence=self.confidence, seed=self.seed, clusters=clusters)

    @staticmethod
    def _clusters(written: Written, kept: np.ndarray) -> list[int] | None:
        """Of the replies that are kept; None if each stands for itself."""
        if written.clusters is None:
            return None
        found = [label for label, is_kept in zip(written.clusters, kept, strict=True) if is_kept]
        return None if len(set(found)) == len(found) else found

    def _badness(self, values: Array) -> Array:
        bad: Array = np.nan_to_num(-values if self.quantity in LOWER_IS_WORSE else values, nan=-np.inf)
        return bad

    @staticmethod
    def figures(record: dict[str, Any]) -> list[Figure]:
        values = record["details"]["values"]["steered"]
        return [
            Distribution(
                title="Each reply",
                about="Of the steered model.",
                values=[value for value in values if value is not None],
                x=record["statistic"].removeprefix("mean "),
                unit="replies",
                marked=[(at, "promised") for at in promised_in(record)],
            )
        ]

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        base = evidence.details["base"]
        return [
            *([] if base is None else [f"  unsteered: {number(base)}"]),
            *counts_lines(evidence),
            *words.not_looked_at(evidence),
        ]

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        return [*words.decide(evidence), *words.where(evidence), *worst_replies(evidence)]


_TOO_LITTLE: dict[FluencyMeasure, str] = {
    measure: "no text" if measure == "base_perplexity" else f"fewer than {FEWEST[measure]} tokens" for measure in NAMES
}
# The largest part of the replies that may have no number. Short ones may be answers, empty ones are none.
_MOST_LEFT_OUT: dict[FluencyMeasure, float] = {measure: 0.05 if measure == "base_perplexity" else 0.5 for measure in NAMES}
# A limit from which on the promise can hardly fail, and what it lets happen.
_WEAK: dict[FluencyMeasure, tuple[float, str]] = {
    "repetition": (0.5, "lets half of the 4-grams repeat"),
    "distinct_2": (0.1, "lets nine of ten bigrams repeat"),
    "entropy": (1.0, "is kept by a reply of a few n-grams, over and over"),
    "base_perplexity": (1000.0, "is that of words in no order"),
}
_RANGES: dict[FluencyMeasure, tuple[float, float]] = {
    "repetition": (0.0, 1.0),
    "distinct_2": (0.0, 1.0),
    "entropy": (0.0, math.inf),
    "base_perplexity": (1.0, math.inf),
}


@dataclass(frozen=True)
class _Scale:
    """From the scale on which the mean is inferred to that of the promise, and to the first one."""

    back: Callable[[float], float]
    there: Callable[[float], float]

    def per_unit(self, values: Array) -> Array:
        """[n_replies] numbers whose mean is the estimate."""
        if self.back is float:
            return values
        mean = float(values.mean())
        return linearised(values, mean, self.back(mean), self.back(mean))


def _bound(scale: _Scale, bound: float) -> float | None:
    """A bound on the scale of the promise; None for one that is no finite number there."""
    return scale.back(bound) if abs(bound) < _LARGEST else None


_LARGEST = 700.0  # exp of more is no finite number


def _plain(found: Values, scale: _Scale) -> list[float | None]:
    return [None if np.isnan(value) or value >= _LARGEST else scale.back(float(value)) for value in found.values]


def _mean(found: Values, scale: _Scale) -> float | None:
    known = found.values[~np.isnan(found.values)]
    return scale.back(float(known.mean())) if len(known) and known.mean() < _LARGEST else None


def _short_warnings(found: Values, measure: FluencyMeasure) -> list[str]:
    short = int(found.short.sum())
    if not short:
        return []
    return [
        f"{short} of {len(found.short)} replies have {_TOO_LITTLE[measure]}, too little for {NAMES[measure]}, and are left out"
    ]


def _weak_warnings(limit: float | None, measure: FluencyMeasure) -> list[str]:
    """What a limit that can hardly fail lets happen."""
    at, lets = _WEAK[measure]
    if limit is None or (limit > at if measure in LOWER_IS_WORSE else limit < at):
        return []
    return [f"this promise can hardly fail: limit {limit:g} {lets}"]


def assert_stays_fluent(
    model: Model,
    vector: SteeringVector | Intervention | None,
    prompts: Iterable[DialogueLike],
    *,
    measure: FluencyMeasure,
    limit: Promise,
    interval: IntervalMethod = "t",
    **shared: Unpack[OverReplies],
) -> Evidence:
    """Assert that the mean over the steered model's replies of a measure of fluency stays within ``limit``.

    Args:
        prompts: at least two texts, :class:`Dialogue` or contrast items, whose questions are asked.
        measure: ``repetition`` (share of 4-grams that repeat an earlier one), ``distinct_2`` (distinct bigrams per token), ``entropy`` (of bigrams and
            trigrams, in bits) or ``base_perplexity`` (of the replies under the unsteered model).
        limit: the promise: the largest mean of ``repetition`` and ``base_perplexity``, the least of ``distinct_2`` and ``entropy``.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("stays_fluent", locals())
