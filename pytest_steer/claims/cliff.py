"""What ``no_cliff`` judges: rises of perplexity and of repetition at a multiplier; and its words about where text collapses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.clusters import clusters_of
from ..data import Sample, Texts
from ..errors import MeasurementError
from ..evidence import Evidence
from ..measures import Array, Perplexity, as_share
from ..model import Model
from ..stats import Inference, as_rise
from .collapse import SMALLEST
from .doubts import Bounds
from .numbers import number, promise
from .over_replies import Side, Written
from .rulings import Ruling, replies_record, unjudged
from .stays_fluent import values_of
from .units import linearised, units_record


@dataclass(frozen=True, eq=False)
class Part:
    """A rise at one multiplier: of perplexity (relative), or of the share of repeated 4-grams (absolute).

    Attributes:
        values: numbers whose mean is the rise. clusters: of these.
        forms / names: what each is of.
    """

    what: str
    multiplier: float
    found: Inference
    values: Array
    clusters: list[int] | None
    forms: list[tuple[str, ...]]
    names: list[str]

    @property
    def name(self) -> str:
        return f"{self.what} at {self.multiplier:g}"


def perplexity_part(texts: Sample[Texts], base: Perplexity, steered: Perplexity, multiplier: float, mean_of: Bounds) -> Part:
    """The relative rise of perplexity on texts (the statistic of ``ppl_delta_below``).

    Raises:
        MeasurementError: it is beyond the range of numbers.
    """
    rises = steered.per_text - base.per_text
    mean = float(rises.mean())
    share = as_share(mean)
    if share is None:
        raise MeasurementError(
            f"the model breaks down at multiplier {multiplier:g}: the texts lose {mean:.3g} nats of log-likelihood per token. Deploy a "
            "smaller multiplier"
        )
    clusters = None if texts.clusters is None else list(texts.clusters)
    return Part(
        "perplexity",
        multiplier,
        as_rise(mean_of(rises, clusters)),
        linearised(rises, mean, share + 1, share),
        clusters,
        texts.forms,
        texts.names,
    )


def repetition_part(model: Model, written: Written, side: Side, mean_of: Bounds) -> Part:
    """The rise of the share of repeated 4-grams, of replies to the same prompts. A pair without a number on one side is left out.

    Raises:
        MeasurementError: fewer than two prompts have a pair.
    """
    before, after = (values_of(model, one, "repetition") for one in (written.sides[0], side))
    kept = ~(before.short | before.collapsed | after.short)
    labels = written.clusters or tuple(range(len(kept)))
    clusters = [label for label, is_kept in zip(labels, kept, strict=True) if is_kept]
    if len(set(clusters)) < 2:
        raise MeasurementError(
            f"repetition can be compared of {int(kept.sum())} of {len(kept)} replies at multiplier {side.multiplier:g}: the others have "
            "too few tokens. Raise max_new_tokens, or ask for longer replies"
        )
    values = (after.values - before.values)[kept]
    together = None if len(set(clusters)) == len(clusters) else clusters
    places = [written.ids[at] for at in np.flatnonzero(kept)]
    dialogues = written.sample.units
    return Part(
        "repetition",
        side.multiplier,
        mean_of(values, together),
        values,
        together,
        [(*dialogues[prompt].form, str(number)) for prompt, number in places],
        [dialogues[prompt].id for prompt, _ in places],
    )


def repetition_replies(model: Model, written: Written) -> dict[str, Any]:
    """The evidence's ``replies`` record, the most repetitive first."""
    sides = written.sides[:2]
    scores = [values_of(model, side, "repetition").values for side in sides]
    rulings = [
        [
            Ruling(ruling.outcome, ruling.why, None if np.isnan(score) else float(score))
            for ruling, score in zip(unjudged(side), own, strict=True)
        ]
        for side, own in zip(sides, scores, strict=True)
    ]
    worst = np.argsort(-np.nan_to_num(scores[1], nan=-1), kind="stable").tolist()
    return replies_record(written, rulings, worst)


def units_of(parts: Sequence[Part], how: Mapping[str, Any]) -> dict[str, Any]:
    """The evidence's ``units`` record: those of each rise, a part of its own."""
    labels = [(at, own) for at, part in enumerate(parts) for own in part.clusters or range(len(part.values))]
    return units_record(
        [(*form, part.name) for part in parts for form in part.forms],
        [name for part in parts for name in part.names],
        np.concatenate([part.values for part in parts]),
        unit="texts and replies",
        clusters=clusters_of(labels),
        parts=[part.name for part in parts for _ in part.values],
        how=how,
    )


def collapse_line(evidence: Evidence) -> list[str]:
    """Where text collapses."""
    found = evidence.details["collapse"]
    if found is None:
        return []
    within, above = found["within"], found["above"]
    if above is None:
        return [f"  text does not collapse up to multiplier {within:g}, the largest that was tried"]
    rises = next(one for one in found["looked_at"] if one["multiplier"] == above)
    each = [
        f"{what} {number(rises[what], percent=True)}" for what in ("perplexity", "repetition") if rises.get(what) is not None
    ]
    seen = f" ({', '.join(each)})" if each else " (the model gives NaN or infinity, or no replies)"
    budget = promise(evidence.threshold, percent=True)
    if within is None:
        return [
            f"  text is beyond {budget} at multiplier {above:g} already{seen}, the smallest that was tried (1/{SMALLEST})"
        ]
    return [f"  text collapses between multiplier {within:g} and {above:g}{seen}, by the budget of {budget}"]
