"""The rise of perplexity as ``ppl_delta_below`` judges it: how the texts' numbers are made one, and its bounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import MeasurementError
from ..measures import Array, Perplexity
from ..stats import Inference, items_needed_mean, ratio_of_means
from .common import IntervalMethod
from .judged import mean_of
from .units import linearised, of_ratio

_BEYOND = 700.0  # exp of more is no finite number

Aggregate = Literal["geometric", "arithmetic"]


@dataclass(frozen=True, eq=False)
class Rise:
    """A relative rise of perplexity over texts, inferred.

    Attributes:
        found: the inference, on its own scale. limit: the promise on that scale. as_share: from that scale to a relative rise; None for
            a bound so far out that it is no finite number.
        values: [n_texts] numbers whose mean is at most ``at`` if and only if the rise is at most the limit; bounds: their inference.
        per_text: [n_texts] numbers whose mean is the rise itself, linearised; see ``claims/units.py``.
        base / steered: the two perplexities whose ratio is judged.
        statistic: its name. clusters: of the texts, where some belong together.
    """

    found: Inference
    limit: float
    as_share: Callable[[float], float | None]
    values: Array
    at: float
    bounds: Callable[[Array, Sequence[int] | None], Inference]
    per_text: Array
    base: float
    steered: float
    statistic: str
    clusters: Sequence[int] | None = None

    def units_needed(self, confidence: float) -> int | None:
        """How many texts (or clusters) would decide, if the estimates were the truth; None if no feasible number would."""
        found = self.bounds(self.values, self.clusters)
        spread = found.standard_deviation
        return items_needed_mean(found.estimate, spread, self.at, confidence=confidence) if spread else None


def rise_of(
    base: Perplexity,
    steered: Perplexity,
    aggregate: Aggregate,
    limit: float,
    *,
    interval: IntervalMethod,
    confidence: float,
    seed: int,
    clusters: Sequence[int] | None = None,
) -> Rise:
    """The rise of the texts' geometric or arithmetic mean perplexity.

    Geometric: exp(d) - 1 with d the mean over texts of the difference in negative log-likelihood per token; bounds are those of d.
    Arithmetic: mean perplexity steered / mean perplexity unsteered - 1 (von Rütte et al. 2024, arXiv 2402.14433); bounds are those of a
    ratio of two means of the same texts (``stats.ratio_of_means``).

    Raises:
        MeasurementError: the rise, or an arithmetic mean, is beyond the range of numbers.
    """

    def bounds(values: Array, clusters: Sequence[int] | None) -> Inference:
        return mean_of(values, interval, confidence=confidence, seed=seed, clusters=clusters)

    if aggregate == "geometric":
        rises = steered.per_text - base.per_text
        at = math.log1p(limit)
        means = base.of_the_mean_text, steered.of_the_mean_text
        mean = float(rises.mean())
        if mean >= _BEYOND:
            raise MeasurementError(
                f"the model breaks down: the texts lose {mean:.3g} nats of log-likelihood per token, and a rise of perplexity of exp({mean:.3g}) "
                "is beyond the range of numbers. Deploy a smaller multiplier"
            )
        per_text = linearised(rises, mean, math.exp(mean), math.expm1(mean))
        return Rise(bounds(rises, clusters), at, as_share, rises, at, bounds, per_text, *means, "perplexity delta", clusters)
    own, of_base = _perplexities(steered), _perplexities(base)
    found = ratio_of_means(own, of_base, confidence=confidence, interval=interval, seed=seed, clusters=clusters)
    values = own - (1 + limit) * of_base
    means = base.mean_of_texts, steered.mean_of_texts
    return Rise(
        found,
        1 + limit,
        _less_one,
        values,
        0.0,
        bounds,
        of_ratio(own, of_base) - 1,
        *means,
        "mean perplexity delta",
        clusters,
    )


def as_share(difference: float) -> float | None:
    """exp(d) - 1, from a difference in log-likelihood to a relative rise of perplexity; None for a bound so far out that it is no finite number."""
    return math.expm1(difference) if difference < _BEYOND else None


def _less_one(ratio: float) -> float | None:
    return ratio - 1 if math.isfinite(ratio) else None


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
