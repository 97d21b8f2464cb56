"""``no_cliff``: perplexity and repetition stay within `budget` at the deployed multiplier and beyond it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np

from ...core.block import Block, Conversation, Estimate, Intervals, Line
from ...core.clusters import independent
from ...core.errors import MeasurementError, SteerError
from ...core.evidence import Direction, Evidence
from ...core.numbers import number, promise
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Bounds
from ...data import Sample, Texts
from ...measures import Array, Perplexity, as_share, reading_of_texts, relative_rise
from ...measures.ask import Ask
from ...measures.compared import bounds_of, finite
from ...model import Model
from ...stats.estimators import Mean, Rise, Worst
from .. import show
from ..asserting import assertion
from ..base import OverReplies, OverTexts
from ..common import Interval, Stride, Window
from ..judging import Judgement, verdict_of
from ..kind import claim
from ..measurement import Counted, Measurement, Read, counted, counted_replies, counted_together
from ..rulings import Side, Written, counts_lines, unjudged
from .stays_fluent import values_of


@dataclass(frozen=True)
class Risen:
    """How far a part rises at one multiplier, and how that would be judged alone."""

    what: str
    multiplier: float
    estimate: float
    interval: Bounds
    n: int
    verdict: str


@dataclass(frozen=True)
class LookedAt:
    """The rises at a multiplier; None where the model gives NaN or infinity or no replies, or where the other rise exceeds the budget."""

    multiplier: float
    perplexity: float | None
    repetition: float | None = field(default=None, metadata=LEFT_OUT)

    def is_within(self, budget: float) -> bool:
        return all(rise is not None and rise <= budget for rise in (self.perplexity, self.repetition))


@dataclass(frozen=True)
class Collapse:
    """Where text collapses: between ``within`` and ``above``, see :func:`find_collapse`; ``cap`` is the largest multiplier tried."""

    within: float | None
    above: float | None
    cap: float
    looked_at: Sequence[LookedAt]


@dataclass(frozen=True)
class Details:
    """What the evidence has in ``details``. ``largest`` names the part that rises most, and ``noted`` is what a pass says too."""

    largest: str = ""
    parts: Sequence[Risen] = ()
    collapse: Collapse | None = None
    noted: Sequence[str] = field(default=(), metadata=LEFT_OUT)


@claim("no_cliff", title="Steered, text does not collapse a step further", main="budget", directed=False)
class NoCliff(OverTexts, OverReplies):
    """Perplexity on the neutral texts and repetition of replies rise by at most `budget`, at `multiplier` and at (1 + `beyond`) times it.

    Perplexity rises relatively (the statistic of `ppl_delta_below`), the share of repeated 4-grams absolutely. A pass needs all four upper
    bounds within the budget, a fail one rise that is proven to exceed it. The strength at which text collapses is looked for and shown.

    Raises:
        SteerError: settings of drawing that cannot be used.
    """

    budget: Annotated[
        Promise,
        Param(
            "The largest rise: of perplexity 0.2 means 20 %, of the share of repeated 4-grams 20 percentage points.",
            title="Largest rise",
            example=0.2,
            above=0,
            weak_from=1,
            weak="lets perplexity double; 20 % is written 0.2",
        ),
    ]
    beyond: Annotated[
        float,
        Param("How much further than the deployed multiplier is looked: 0.5 means at 1.5 times it.", example=0.5, above=0),
    ] = 0.5
    max_multiplier: Annotated[
        float,
        Param(
            "Up to how many deployed multipliers the strength at which text collapses is looked for.",
            judges=True,
            title="Largest multiplier tried",
            example=4.0,
            at_least=1,
        ),
    ] = 8.0
    window: Window = None
    stride: Stride = None
    interval: Interval = "t"

    def __post_init__(self) -> None:
        super().__post_init__()
        deployed, further = self._grid
        if f"{deployed:g}" == f"{further:g}":
            raise SteerError(
                f"no_cliff: beyond {self.beyond:g} is too small: a report shows {deployed:g} and {further:.12g} alike"
            )

    def measure(self, ask: Ask) -> Measurement:
        """Measure the texts and the replies, unsteered and at both multipliers.

        Raises:
            MeasurementError: all replies at the deployed multiplier are empty, or the model gives NaN or infinity there.
            SteerError: the intervention has one fixed strength.
        """
        subject, texts = ask.subject, self.sampled_texts
        if subject.intervention.strength == "ignored":
            raise SteerError(
                f"no_cliff: {subject.intervention.method!r} has one fixed strength, so there is none beyond it. Claim what it costs: "
                "ppl_delta_below and stays_fluent"
            )
        grid = self._grid
        base, curve = self._perplexities(ask, grid)
        written = self.write(ask, [0.0, *grid], may_be_empty=grid[1:])
        parts = [perplexity_part(texts, base, at, m) for at, m in zip(curve, grid, strict=True)]
        parts += [repetition_part(ask.model, written, side) for side in written.sides[1:]]
        mean = Mean(self.interval, self.seed)
        repeated = [values_of(ask.model, side, "repetition").values for side in written.sides[:2]]
        asked = [one.probes for one in curve[0].asked]
        measured = self.over_replies(
            ask,
            written,
            [
                unjudged(side, [None if np.isnan(one) else float(one) for one in own])
                for side, own in zip(written.sides, repeated, strict=False)
            ],
            np.concatenate([part.values for part in parts]),
            Worst(
                mean,
                tuple(part.name for part in parts for _ in part.values),
                others={part.name: Rise(mean) for part in parts if part.what == "perplexity"},
            ),
            statistic="largest rise of perplexity and repetition",
            worst_first=np.argsort(-np.nan_to_num(repeated[1], nan=-1), kind="stable").tolist(),
            direction=Direction.AT_MOST,
            details=Details(),
        )
        data = replace(texts.describe(), prompts=written.sample.describe())
        return measured.but(
            percent=True,
            also={"": texts},
            reads=[Read(reading_of_texts(ask.model, base.per_text), texts.clusters, texts=texts.units, asked=asked)],
            units=counted_together(
                [replace(part.units, forms=[(*form, part.name) for form in part.units.forms]) for part in parts],
                "texts and replies",
                n=min(part.units.count for part in parts),
                unit="texts and replies",
            ),
            fields={**measured.fields, "data": data},
        )

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, object]:
        """How each rise would be judged, and where the text collapses."""
        assert isinstance(measured.estimator, Worst)
        each = measured.estimator.each(
            measured.values, measured.entries.clusters, confidence=self.confidence, direction=measured.direction
        )
        judged = [(what, multiplier) for what in ("perplexity", "repetition") for multiplier in self._grid]
        rises = [
            Risen(
                what,
                multiplier,
                found.estimate,
                bounds_of(found),
                found.n,
                verdict_of(found, self.threshold, measured.direction, self.min_n).value,
            )
            for (what, multiplier), found in zip(judged, each.values(), strict=True)
        ]
        collapse = None if self.threshold is None else self._collapse(ask, rises, self.threshold)
        return {
            "largest": max(each, key=lambda name: each[name].estimate),
            "parts": rises,
            "collapse": collapse,
            "noted": _collapse_lines(collapse, self.threshold),
        }

    @property
    def _grid(self) -> list[float]:
        deployed = float(self.multiplier)
        return [deployed, (1 + self.beyond) * deployed]

    def _collapse(self, ask: Ask, judged: Sequence[Risen], budget: float) -> Collapse:
        known = {(one.what, one.multiplier): one.estimate for one in judged}
        looked_at = {at: LookedAt(at, known["perplexity", at], known["repetition", at]) for at in self._grid}

        def is_within(multiplier: float) -> bool:
            looked_at[multiplier] = self._look_at(ask, multiplier, budget)
            return looked_at[multiplier].is_within(budget)

        deployed, is_linear = self._grid[0], ask.subject.intervention.strength == "linear"
        cap = deployed * self.max_multiplier if is_linear else deployed
        within, above = find_collapse(is_within, {at: one.is_within(budget) for at, one in looked_at.items()}, cap)
        return Collapse(within, above, cap, [looked_at[at] for at in sorted(looked_at, key=abs)])

    def _look_at(self, ask: Ask, multiplier: float, budget: float) -> LookedAt:
        """The rises at a multiplier. Replies are written only if they can matter."""
        try:
            base, (steered,) = self._perplexities(ask, [multiplier])
            rise = relative_rise(steered, base)
            if rise > budget:
                return LookedAt(multiplier, finite(rise))
            written = self.write(ask, [0.0, multiplier], may_be_empty=[multiplier])
            part = repetition_part(ask.model, written, written.sides[1])
        except MeasurementError:
            return LookedAt(multiplier, None)
        found = Mean(self.interval, self.seed).infer(part.values, part.units.clusters, confidence=self.confidence)
        return LookedAt(multiplier, rise, found.estimate)

    def _perplexities(self, ask: Ask, multipliers: Sequence[float]) -> tuple[Perplexity, list[Perplexity]]:
        return ask.perplexity(self.sampled_texts.units, multipliers, window=self.window, stride=self.stride)

    @staticmethod
    def cure(evidence: Evidence) -> str | None:
        return None if show.too_few(evidence) or evidence.withheld else "not enough evidence: measure more texts and prompts"

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        details: Details = evidence.own
        yield Intervals(
            [
                Estimate(f"{one.what} at {one.multiplier:g}", one.estimate, one.interval, one.n, one.verdict)
                for one in details.parts
            ],
            "rise",
            promised=show.promised_in(evidence),
            percent=True,
            title="what rises",
            about="Perplexity relatively, repetition absolutely, at the deployed multiplier and beyond it.",
        )
        yield from map(Line, _collapse_lines(details.collapse, evidence.threshold))
        yield from counts_lines(evidence)

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        yield Conversation()


assert_no_cliff = assertion(NoCliff)


def _collapse_lines(found: Collapse | None, budget: float | None) -> list[str]:
    """Where text collapses."""
    if found is None:
        return []
    within, above = found.within, found.above
    if above is None:
        return [f"text does not collapse up to multiplier {within:g}, the largest that was tried"]
    at = next(one for one in found.looked_at if one.multiplier == above)
    rises = {"perplexity": at.perplexity, "repetition": at.repetition}
    each = [f"{what} {number(rise, percent=True)}" for what, rise in rises.items() if rise is not None]
    seen = f" ({', '.join(each)})" if each else " (the model gives NaN or infinity, or no replies)"
    of = promise(budget, percent=True)
    if within is None:
        return [f"text is beyond {of} at multiplier {above:g} already{seen}, the smallest that was tried (1/{SMALLEST})"]
    return [f"text collapses between multiplier {within:g} and {above:g}{seen}, by the budget of {of}"]


# --- the rises that are judged ---


@dataclass(frozen=True, eq=False)
class Part:
    """A rise at one multiplier: of perplexity (relative), or of the share of repeated 4-grams (absolute).

    Attributes:
        values: from whose mean the rise is inferred. units: what each is of.
    """

    what: str
    multiplier: float
    values: Array
    units: Counted

    @property
    def name(self) -> str:
        return f"{self.what} at {self.multiplier:g}"


def perplexity_part(texts: Sample[Texts], base: Perplexity, steered: Perplexity, multiplier: float) -> Part:
    """The rise of perplexity on texts, as differences in negative log-likelihood per token.

    Raises:
        MeasurementError: it is beyond the range of numbers.
    """
    rises = steered.per_text - base.per_text
    mean = float(rises.mean())
    if as_share(mean) is None:
        raise MeasurementError(
            f"the model breaks down at multiplier {multiplier:g}: the texts lose {mean:.3g} nats of log-likelihood per token. Deploy a "
            "smaller multiplier"
        )
    return Part("perplexity", multiplier, rises, counted(texts))


def repetition_part(model: Model, written: Written, side: Side) -> Part:
    """The rise of the share of repeated 4-grams, of replies to the same prompts. A pair without a number on one side is left out.

    Raises:
        MeasurementError: fewer than two prompts have a pair.
    """
    before, after = (values_of(model, one, "repetition") for one in (written.sides[0], side))
    found = ~(before.short | before.collapsed | after.short)
    kept = np.flatnonzero(found).tolist()
    clusters = written.clusters_of(kept)
    if independent(len(kept), clusters) < 2:
        raise MeasurementError(
            f"repetition can be compared of {len(kept)} of {len(found)} replies at multiplier {side.multiplier:g}: the others have "
            "too few tokens. Raise max_new_tokens, or ask for longer replies"
        )
    values = (after.values - before.values)[kept]
    return Part("repetition", side.multiplier, values, counted_replies(written, kept))


# --- where text collapses ---

# After the strength lies between two of which one is within the budget, their distance is halved so many times.
HALVINGS = 3
# The smallest multiplier tried is the deployed one divided by this.
SMALLEST = 64


def find_collapse(
    is_within: Callable[[float], bool], known: Mapping[float, bool], cap: float
) -> tuple[float | None, float | None]:
    """Search for the strength at which a rise exceeds the budget: by doubling up to ``cap``, or by halving, then between the two.

    A rise need not grow with the multiplier: one that exceeds the budget and comes back between two multipliers that are looked at is not
    seen.

    Args:
        is_within: whether text at a multiplier is within the budget.
        known: the multipliers that were judged, of one sign, with that.
        cap: the largest multiplier that is tried; one of smaller size than those known allows none above them.

    Returns:
        The largest multiplier looked at below the first one above the budget, None if the smallest one is above it; and the smallest multiplier
        above the budget, None if none is.
    """
    sizes = sorted(known, key=abs)
    above = next((one for one in sizes if not known[one]), None)
    within = max((one for one in sizes if known[one] and (above is None or abs(one) < abs(above))), key=abs, default=None)
    while above is None and within is not None and abs(within) < abs(cap):
        tried = min(2 * within, cap, key=abs)
        within, above = (tried, None) if is_within(tried) else (within, tried)
    smallest = abs(sizes[0]) / SMALLEST
    while within is None and above is not None and abs(above) / 2 >= smallest:
        tried = above / 2
        within, above = (tried, above) if is_within(tried) else (None, tried)
    for _ in range(HALVINGS if within is not None and above is not None else 0):
        assert within is not None
        assert above is not None
        tried = (within + above) / 2
        within, above = (tried, above) if is_within(tried) else (within, tried)
    return within, above
