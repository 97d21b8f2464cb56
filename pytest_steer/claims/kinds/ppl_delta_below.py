"""``ppl_delta_below``: steering raises the perplexity of neutral texts by less than `limit`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np

from ...core.block import Block, Distribution, Entry, Line
from ...core.errors import MeasurementError
from ...core.evidence import Direction, Evidence
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import LEFT_OUT, Compared, Strength
from ...data import Completion
from ...data.texts import content_of
from ...measures import Array, Perplexity, as_share, asked_texts, reading_of_texts, relative_rise
from ...measures.ask import Ask
from ...measures.compared import finite
from ...stats.estimators import Estimator, Mean, Ratio
from .. import show
from ..asserting import assertion
from ..base import OverTexts
from ..common import Interval, Stride, Window
from ..kind import Starter, claim
from ..measurement import Measurement, Read, Scale

Aggregate = Literal["geometric", "arithmetic"]


@dataclass(frozen=True)
class Text:
    """A text, with its negative log-likelihood per token in nats; ``prompt`` of a completion alone."""

    id: str
    prompt: str | None = field(metadata=LEFT_OUT)
    text: str
    nll_base: float
    nll_steered: float
    tokens: int

    @property
    def rise(self) -> float:
        return self.nll_steered - self.nll_base


@dataclass(frozen=True)
class Details:
    """Perplexities, unsteered and steered: the promised mean of the texts', and that over all their tokens."""

    aggregate: Aggregate
    perplexity_base: float
    perplexity_steered: float
    perplexity_over_tokens: dict[str, float]
    texts: list[Text]


@claim(
    "ppl_delta_below",
    title="Steering costs little perplexity",
    main="limit",
    starter=Starter(4, {"init": ("limit",), "sweep": ("limit", "window", "stride")}),
)
class PplDeltaBelow(OverTexts):
    """Steering at `multiplier` raises the perplexity of the neutral texts by less than `limit`.

    Each text is paired with itself, and counts alike whatever its length. Completions of one prompt are a cluster, and n counts clusters.

    Geometric: exp(d) - 1 with d the mean over texts of the difference in negative log-likelihood per token; bounds are those of d.
    Arithmetic: mean perplexity steered / mean perplexity unsteered - 1 (von Rütte et al. 2024, arXiv 2402.14433); bounds are those of a
    ratio of two means of the same texts (``stats.ratio_of_means``).
    """

    limit: Annotated[
        Promise,
        Param(
            "The largest relative rise of perplexity: 0.05 means 5 %.",
            title="Largest relative rise of perplexity",
            example=0.05,
            above=0,
            weak_from=1,
            weak="lets perplexity double and more; 5 % is written 0.05",
        ),
    ]
    aggregate: Annotated[
        Aggregate,
        Param(
            "How texts are made one number: geometric judges the geometric mean of their perplexities, arithmetic the arithmetic mean (von "
            "Rütte et al. 2024), to which texts of a large perplexity contribute most.",
            title="Mean of the texts",
            example="arithmetic",
        ),
    ] = "geometric"
    window: Window = None
    stride: Stride = None
    interval: Interval = "t"

    def measure(self, ask: Ask) -> Measurement:
        """Measure the texts without and with steering.

        Raises:
            MeasurementError: the rise, or an arithmetic mean, is beyond the range of numbers.
        """
        sample, at, is_geometric = self.sampled_texts, ask.subject.multiplier, self.aggregate == "geometric"
        base, (steered,) = ask.perplexity(sample.units, [at], window=self.window, stride=self.stride, source=self.source)
        estimator: Estimator
        if is_geometric:
            values, estimator, scale = _rises(base, steered), Mean(self.interval, self.seed), RISE_OF_LOGS
            means = base.of_the_mean_text, steered.of_the_mean_text
            cost = as_share(Mean().infer(values, confidence=self.confidence).estimate)
        else:
            values, estimator = np.array([_perplexities(steered), _perplexities(base)]).T, Ratio(self.interval, self.seed)
            scale, means = _RISE_OF_A_RATIO, (base.mean_of_texts, steered.mean_of_texts)
            cost = finite(relative_rise(steered, base))  # costs are compared by the geometric mean, whichever is promised
        asked = [one.probes for one in steered.asked]
        of_each = base.per_text.tolist(), steered.per_text.tolist(), map(int, base.tokens)
        return Measurement(
            sample=sample,
            values=values,
            estimator=estimator,
            scale=scale,
            statistic="perplexity delta" if is_geometric else "mean perplexity delta",
            direction=Direction.AT_MOST,
            percent=True,
            probes=steered.probes,
            moved=lambda floor: math.expm1(math.sqrt(2) * floor.answer),  # a rise is the difference of two texts' means
            asked=asked_texts(ask.model, steered.asked),
            reads=[Read(reading_of_texts(ask.model, base.per_text), sample.clusters, texts=sample.units, asked=asked)],
            compared=Compared(deployed=Strength(float(at), cost=cost)),
            details=Details(
                self.aggregate,
                *means,
                {"base": base.value, "steered": steered.value},
                [
                    Text(name, text.prompt if isinstance(text, Completion) else None, content_of(text), *numbers)
                    for name, text, *numbers in zip(sample.units.ids, sample.units, *of_each, strict=True)
                ],
            ),
        )

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        own: Details = evidence.own
        yield Line(
            f"perplexity ({own.aggregate} mean of the texts): {own.perplexity_base:.2f} unsteered, {own.perplexity_steered:.2f} steered"
        )
        yield Distribution(
            [text.rise for text in own.texts],
            "loss of log-likelihood, nats per token",
            "texts",
            title="What each text loses",
            about=f"{len(own.texts)} texts. Above 0 the steered model finds a text less likely.",
        )
        worst = sorted(own.texts, key=lambda text: -text.rise)
        yield from show.items_block(
            (Entry(one.id, one.rise, f"{one.nll_base:.2f} -> {one.nll_steered:.2f}", one.text) for one in worst),
            title="worst texts (nats per token, unsteered and steered)",
            value="rise",
        )


assert_ppl_delta_below = assertion(PplDeltaBelow)


def _linear_in_logs(rises: Array) -> Array:
    mean = float(rises.mean())
    linear: Array = math.expm1(mean) + math.exp(mean) * (rises - mean)
    return linear


RISE_OF_LOGS = Scale(shown=as_share, inferred=math.log1p, per_unit=_linear_in_logs)
"""From a mean difference in log-likelihood to a relative rise of perplexity."""
_RISE_OF_A_RATIO = Scale(
    shown=lambda ratio: ratio - 1 if math.isfinite(ratio) else None,
    inferred=lambda limit: 1 + limit,
    per_unit=lambda ratios: ratios - 1,
)


def _rises(base: Perplexity, steered: Perplexity) -> Array:
    """[n_texts] differences in negative log-likelihood per token."""
    rises: Array = steered.per_text - base.per_text
    mean = float(rises.mean())
    if as_share(mean) is None:
        raise MeasurementError(
            f"the model breaks down: the texts lose {mean:.3g} nats of log-likelihood per token, and a rise of perplexity of exp({mean:.3g}) "
            "is beyond the range of numbers. Deploy a smaller multiplier"
        )
    return rises


def _perplexities(found: Perplexity) -> Array:
    with np.errstate(over="ignore"):
        values: Array = np.exp(found.per_text)
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise MeasurementError(
            f"{found.asked[at].probes[0].name}: its perplexity, exp({found.per_text[at]:.3g}), is beyond the range of numbers, so no arithmetic mean holds it. "
            "Claim the geometric mean (aggregate: geometric)"
        )
    return values
