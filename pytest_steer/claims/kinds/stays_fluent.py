"""``stays_fluent``: under steering, replies stay within `limit` on a measure of fluency."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from ...core.block import Block, Conversation, Distribution, Line
from ...core.clusters import independent, part_of
from ...core.errors import MeasurementError, SteerError
from ...core.evidence import Direction, Evidence
from ...core.finding import Finding, Weight, code
from ...core.numbers import number
from ...core.parameters import Param
from ...core.promises import Promise
from ...measures import Array
from ...measures.ask import Ask
from ...measures.outcomes import ENDED
from ...model import Model, Probe, engine_of
from ...stats import Inference, between_fillings
from ...stats.estimators import Clusters, Filled, Mean
from .. import show
from ..asserting import assertion
from ..base import OverReplies
from ..common import Interval
from ..findings import weak_promise
from ..kind import claim
from ..measurement import Measurement, Scale
from ..rulings import SIDES, Side, SideName, counts_lines, reply_probes, unjudged

FluencyMeasure = Literal["repetition", "distinct_2", "entropy", "base_perplexity"]


def repetition(tokens: Sequence[int], n: int = 4) -> float:
    """The share of n-grams that repeat an earlier one: 1 - distinct n-grams / n-grams, from 0 to below 1.

    It is seq-rep-n of Welleck et al. 2020 (arXiv 1908.04319), with n = 4 as there. In a text of up to n tokens no n-gram can repeat: 0.

    Raises:
        MeasurementError: no tokens.
    """
    found = _grams(tokens, n, 1)
    return 1 - len(found) / found.total() if found else 0.0


def distinct(tokens: Sequence[int], n: int = 2) -> float:
    """The number of distinct n-grams divided by the number of tokens, from above 0 to below 1 (Li et al. 2016, arXiv 1510.03055).

    Raises:
        MeasurementError: fewer than n tokens.
    """
    return len(_grams(tokens, n, n)) / len(tokens)


def ngram_entropy(tokens: Sequence[int]) -> float:
    """(2/3 H_2 + 4/3 H_3) / 2 in bits, with H_n the entropy of the reply's distribution of n-grams.

    The entropy is that of Zhang et al. 2018 (arXiv 1809.05972), the weights are those of Meng et al. 2022 (arXiv 2202.05262). It grows with the length of
    a reply, so that values compare only at equal ``max_new_tokens``.

    Raises:
        MeasurementError: fewer than 4 tokens.
    """
    entropies = []
    for n in (2, 3):
        counts = np.array([*_grams(tokens, n, 4).values()], dtype=float)
        shares = counts / counts.sum()
        entropies.append(float(-(shares * np.log2(shares)).sum()))
    return abs(2 / 3 * entropies[0] + 4 / 3 * entropies[1]) / 2  # abs: a reply of one n-gram has -0


def base_nll(model: Model, replies: Sequence[Probe]) -> Array:
    """[n_replies] the mean negative log-likelihood per token of replies under the unsteered model, in nats; exp of it is the perplexity.

    Args:
        replies: prompts with the replies that were written after them, from ``score_from`` on. All their tokens are scored, the end token too.

    Raises:
        MeasurementError: a log-likelihood is NaN or infinite.
    """
    scores = engine_of(model).run_pairs(replies, [(None, 0.0)])
    return np.array([-float(one[0].mean()) for one in scores])


def _grams(tokens: Sequence[int], n: int, fewest: int) -> Counter[tuple[int, ...]]:
    if len(tokens) < fewest:
        raise MeasurementError(f"a text of {len(tokens)} tokens is too short for this measure: it takes {fewest}")
    return Counter(tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1))


@dataclass(frozen=True)
class Fluency:
    """A measure of fluency.

    Attributes:
        of: the number of a reply, from its tokens; None for perplexity, which the model gives.
        fewest: tokens below which a reply has no such number. worst: the number of an empty reply.
        between: every number is between these. weak: a limit from which on the promise can hardly fail, and what it lets happen.
    """

    called: str
    of: Callable[[Sequence[int]], float] | None
    fewest: int
    worst: float
    between: tuple[float, float]
    weak: tuple[float, str]

    @property
    def is_least(self) -> bool:
        """Whether a least mean is promised, else a largest one."""
        return self.worst == 0

    @property
    def too_little(self) -> str:
        return "no text" if self.of is None else f"fewer than {self.fewest} tokens"


MEASURES: dict[FluencyMeasure, Fluency] = {
    "repetition": Fluency("repetition of 4-grams", repetition, 1, 1.0, (0, 1), (0.5, "lets half of the 4-grams repeat")),
    "distinct_2": Fluency("distinct-2", distinct, 2, 0.0, (0, 1), (0.1, "lets nine of ten bigrams repeat")),
    "entropy": Fluency(
        "n-gram entropy", ngram_entropy, 4, 0.0, (0, math.inf), (1.0, "is kept by a reply of a few n-grams, over and over")
    ),
    "base_perplexity": Fluency(
        "perplexity of the replies under the unsteered model",
        None,
        1,
        math.inf,
        between=(1, math.inf),
        weak=(1000.0, "is that of words in no order"),
    ),
}
# The largest part of the replies that may have no number. Short ones may be answers, empty ones are none.
_MOST_EMPTY, _MOST_SHORT = 0.05, 0.5

too_short = code(
    "replies-too-short",
    signal="Some replies have too little text for the measure.",
    meaning="They are left out, so the mean is that of the longer replies.",
    cure="Raise `max_new_tokens`, or ask for longer replies.",
    weight=Weight.DOUBTFUL,
)


@dataclass(frozen=True)
class Details:
    """The measure, its mean over the unsteered replies, and its values; None for a reply that has no finite one."""

    measure: FluencyMeasure
    base: float | None
    values: dict[SideName, list[float | None]]


@claim("stays_fluent", title="Steered, replies stay fluent", directed=False)
class StaysFluent(OverReplies):
    """The mean over the steered model's replies of a measure of fluency stays within `limit`.

    For `repetition` and `base_perplexity` `limit` is the largest value, for `distinct_2` and `entropy` the least. Replies that are empty count as
    the worst value where a pass is judged and are left out where a fail is; replies of too few tokens for the measure are left out.

    Raises:
        SteerError: a limit that the measure cannot have, or settings of drawing that cannot be used.
    """

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
        Promise,
        Param(
            "The largest mean of repetition or base_perplexity, the least mean of distinct_2 or entropy.",
            title="Limit",
            example=0.2,
            above=0,
            promise=True,
        ),
    ]
    interval: Interval = "t"

    def __post_init__(self) -> None:
        super().__post_init__()
        (least, most), limit = self._fluency.between, self.threshold
        if limit is not None and not least < limit < most:
            raise SteerError(
                f"stays_fluent: limit {limit:g} cannot fail or cannot hold: {self._fluency.called} is between {least:g} and {most:g}"
            )

    @property
    def _fluency(self) -> Fluency:
        return MEASURES[self.quantity]

    def measure(self, ask: Ask) -> Measurement:
        fluency, is_log = self._fluency, self.quantity == "base_perplexity"
        written = self.write(ask, [0.0, self.subject.multiplier])
        sides = base, steered = [values_of(ask.model, side, self.quantity) for side in written.sides]
        kept, known = np.flatnonzero(~steered.short), np.flatnonzero(~steered.short & ~steered.collapsed)
        clusters = [written.clusters_of(some.tolist()) for some in (known, kept)]
        n = min(independent(len(some), own) for some, own in zip((known, kept), clusters, strict=True))
        self._check_enough(steered, len(known), n)
        shown = [[_shown(float(value), is_log) for value in side.values] for side in sides]
        bad = np.nan_to_num(-steered.values if fluency.is_least else steered.values, nan=-np.inf)
        return self.over_replies(
            ask,
            written,
            [unjudged(side, own) for side, own in zip(written.sides, shown, strict=True)],
            np.where(steered.collapsed, np.nan, steered.values)[kept],
            MeanOrWorst(Mean(self.interval, self.seed), fluency.worst, fluency.worst),
            statistic=f"mean {fluency.called}",
            direction=Direction.AT_LEAST if fluency.is_least else Direction.AT_MOST,
            worst_first=np.argsort(-bad, kind="stable").tolist(),
            kept=kept.tolist(),
            n=n,
            scale=PERPLEXITY if is_log else None,
            findings=[*self._findings(steered)],
            details=Details(self.quantity, _mean(base, is_log), dict(zip(SIDES, shown, strict=True))),
        )

    def _check_enough(self, steered: Values, known: int, n: int) -> None:
        left_out, of, fluency = int(steered.short.sum()), len(steered.short), self._fluency
        if left_out > (_MOST_EMPTY if fluency.of is None else _MOST_SHORT) * of:
            raise MeasurementError(
                f"{left_out} of {of} steered replies have {fluency.too_little}, so {fluency.called} would be that of a few "
                "others: measure repetition, of which an empty reply has the worst value, or ask for longer replies"
            )
        if n < 2:
            raise MeasurementError(
                f"{fluency.called} can be measured of {known} of {of} replies: the others have fewer than "
                f"{fluency.fewest} tokens. Raise max_new_tokens, or ask for longer replies"
            )

    def _findings(self, steered: Values) -> Iterator[Finding]:
        """Replies that are left out, and what a limit that can hardly fail lets happen."""
        short, limit, fluency = int(steered.short.sum()), self.threshold, self._fluency
        at, lets = fluency.weak
        if short:
            yield too_short(
                f"{short} of {len(steered.short)} replies have {fluency.too_little}, too little for {fluency.called}, and are left out"
            )
        if limit is not None and (limit <= at if fluency.is_least else limit >= at):
            yield weak_promise(f"this promise can hardly fail: limit {limit:g} {lets}")

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        own: Details = evidence.own
        if own.base is not None:
            yield Line(f"unsteered: {number(own.base)}")
        yield from counts_lines(evidence)

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        yield Distribution(
            [value for value in evidence.own.values["steered"] if value is not None],
            evidence.statistic.removeprefix("mean "),
            "replies",
            marked=[(at, "promised") for at in show.promised_in(evidence)],
            title="Each reply",
            about="Of the steered model.",
        )
        yield Conversation()


# --- the measure of each reply ---


@dataclass(frozen=True, eq=False)
class Values:
    """A measure of each reply of a side.

    Attributes:
        values: [n_replies]; the worst value where there is nothing in the reply to measure, NaN where it is too short.
        collapsed: [n_replies] whether there is nothing to measure, since the reply is empty or its span is.
        short: [n_replies] whether it has too little text for this measure.
    """

    values: Array
    collapsed: np.ndarray
    short: np.ndarray


def values_of(model: Model, side: Side, measure: FluencyMeasure) -> Values:
    """The measure of each reply.

    Repetition, distinct_2 and entropy are those of the tokens of the judged span, of a reply that loops too. The perplexity of a reply, given
    here as its logarithm, is that of all its tokens, with the end token, after the prompt that it was given; an empty one has none.

    Raises:
        MeasurementError: perplexity of a conversation that ended early.
    """
    fluency, nothing = MEASURES[measure], np.zeros(len(side.outcomes), dtype=bool)
    if fluency.of is None:
        ended = sum((one.why or "").startswith(ENDED) for one in side.outcomes)
        if ended:
            raise MeasurementError(
                f"{ended} of {len(nothing)} conversations end before their last turn, whose reply would have the perplexity: shorten the "
                "dialogues or max_new_tokens"
            )
        empty = np.array([one.is_empty for one in side.outcomes])
        return Values(np.where(empty, np.nan, base_nll(model, reply_probes(side))), nothing, empty)
    values, collapsed, short = np.full(len(nothing), np.nan), nothing.copy(), nothing.copy()
    for at, outcome in enumerate(side.outcomes):
        tokens: list[int] = model.tokenizer(outcome.text, add_special_tokens=False)["input_ids"]
        if len(tokens) >= fluency.fewest:
            values[at] = fluency.of(tokens)
        elif outcome.is_undetermined:
            values[at], collapsed[at] = fluency.worst, True
        else:
            short[at] = True
    return Values(values, collapsed, short)


# --- the mean over replies ---


@dataclass(frozen=True)
class MeanOrWorst(Filled):
    """A mean where some replies are empty (NaN): they have the worst value where a pass is proven, and are left out where a fail is."""

    def infer(self, values: Array, clusters: Clusters = None, *, confidence: float, direction: Direction) -> Inference:
        known = ~np.isnan(values)
        some = part_of(clusters, np.flatnonzero(known).tolist())
        without = self.of.infer(values[known], some, confidence=confidence, direction=direction)
        worst = self.of.infer(self.per_unit(values, direction), clusters, confidence=confidence, direction=direction)
        return between_fillings(*((worst, without) if direction is Direction.AT_LEAST else (without, worst)), direction)


_LARGEST = 700.0  # exp of more is no finite number


def _shown(value: float, is_log: bool) -> float | None:
    """A reply's number on the scale of the promise; None where it has none, or none that is finite."""
    return None if math.isnan(value) or value >= _LARGEST else math.exp(value) if is_log else value


def _mean(found: Values, is_log: bool) -> float | None:
    known = found.values[~np.isnan(found.values)]
    return _shown(float(known.mean()), is_log) if len(known) else None


def _as_perplexities(values: Array) -> Array:
    """[n_replies] numbers whose mean is the perplexity, of logarithms of perplexities."""
    mean = float(values.mean())
    linear: Array = math.exp(mean) + math.exp(mean) * (values - mean)
    return linear


PERPLEXITY = Scale(
    shown=lambda bound: math.exp(bound) if abs(bound) < _LARGEST else None, inferred=math.log, per_unit=_as_perplexities
)


assert_stays_fluent = assertion(StaysFluent)
