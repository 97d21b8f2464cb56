"""``ppl_delta_below``: steering raises the perplexity of neutral texts by less than `limit`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Unpack

from ..data import Completion, TextLike, Texts, as_texts, sample_of
from ..data.texts import content_of
from ..errors import DataError
from ..evidence import Evidence
from ..measures import Perplexity, asked_texts, perplexity_curves, reading_of_texts, relative_rise, unreached_warnings
from ..measures.compared import finite
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..soundness import check_before
from ..stats import Direction, Verdict
from ..steering import Intervention, SteeringVector
from . import words
from .common import Deployment, Interval, IntervalMethod, Stride, Window
from .doubts import look_closer
from .figures import Distribution, Figure
from .holding import hold
from .judged import judged
from .kinds import Starter, claim
from .leaks import text_leaks
from .over_items import check_moved
from .rises import Aggregate, rise_of
from .units import units_record
from .unread import withhold_unread


@claim(
    "ppl_delta_below",
    title="Steering costs little perplexity",
    main="limit",
    starter=Starter(4, {"init": ("limit",), "sweep": ("limit", "window", "stride")}),
)
@dataclass(frozen=True, kw_only=True)
class PplDeltaBelow:
    """Steering at `multiplier` raises the perplexity of the neutral texts by less than `limit`.

    Each text is paired with itself, and counts alike whatever its length; see ``rises.rise_of`` for the statistic and its bounds.
    Completions of one prompt are a cluster, and n counts clusters.

    Attributes:
        texts: neutral texts, plain ones or completions: text that the behaviour has nothing to do with.
        source: where the texts come from, for messages.
    """

    subject: Subject
    texts: Sequence[TextLike]
    limit: Annotated[
        float | None,
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
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    source: str = "texts"
    name: str = "ppl_delta_below"

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two texts, or one that cannot be scored.
            SoundnessError: the hooks do not do what they say.
            VectorError, MeasurementError: see ``perplexity`` and ``check_fits``.
        """
        sample = sample_of(as_texts(self.texts, self.source))
        texts = sample.units
        subject, change = self.subject, self.subject.intervention
        soundness = check_before(model, subject)
        try:
            found_at = perplexity_curves(
                model,
                texts,
                {"base": None, "steered": change},
                multipliers=[subject.multiplier],
                window=self.window,
                stride=self.stride,
                **subject.scope,
            )
        except DataError as error:
            raise DataError(f"{self.source}: {error}") from None
        (base,), (steered,) = found_at["base"], found_at["steered"]
        check_moved(model, subject, steered.per_text - base.per_text, "the texts")
        rise = rise_of(
            base,
            steered,
            self.aggregate,
            0.0 if self.limit is None else self.limit,
            interval=self.interval,
            confidence=self.confidence,
            seed=self.seed,
            clusters=sample.clusters,
        )
        evidence = judged(
            model,
            subject,
            rise.found,
            steered.probes,
            threshold=self.limit,
            scaled=None if self.limit is None else rise.limit,
            direction=Direction.AT_MOST,
            confidence=self.confidence,
            min_n=self.min_n,
            # A rise is the difference of two texts' means.
            moved=lambda floor: math.expm1(math.sqrt(2) * floor.answer),
            check="ppl_delta_below",
            name=self.name,
            statistic=rise.statistic,
            estimate=rise.as_share(rise.found.estimate),
            interval=(rise.as_share(rise.found.low), rise.as_share(rise.found.high)),
            n=sample.n,
            unit=sample.counted,
            percent=True,
            data=sample.describe(),
            soundness=soundness,
            asked=asked_texts(model, steered.asked),
            warnings=[
                *map(str, sample.findings),
                *text_leaks(change.metadata, texts),
                *unreached_warnings([one.probes for one in steered.asked]),
            ],
            details={
                **sample.details(),
                "aggregate": self.aggregate,
                "perplexity_base": rise.base,
                "perplexity_steered": rise.steered,
                "perplexity_over_tokens": {"base": base.value, "steered": steered.value},
                "texts": text_records(texts, base, steered),
            },
        )
        evidence.units = units_record(
            sample.forms,
            sample.names,
            rise.per_text,
            unit="texts",
            clusters=sample.clusters,
            how={"aggregate": self.aggregate, "window": self.window, "stride": self.stride},
        )
        if evidence.verdict is Verdict.INCONCLUSIVE and self.limit is not None and self.aggregate == "arithmetic":
            evidence.items_needed = rise.units_needed(self.confidence)
        evidence.details["reading"] = withhold_unread(evidence, reading_of_texts(model, base.per_text), sample.clusters)
        if self.limit is not None:
            look_closer(evidence, rise.values, rise.bounds, rise.at, sample.clusters, texts.ids)
        # Costs are compared by the geometric mean, whichever is promised.
        cost = evidence.estimate if self.aggregate == "geometric" else finite(relative_rise(steered, base))
        evidence.compared = {"deployed": {"multiplier": float(subject.multiplier), "cost": cost}}
        return evidence

    @staticmethod
    def remarks(evidence: Evidence) -> list[str]:
        return [*words.not_looked_at(evidence), *words.texts_chosen(evidence.data)]

    @staticmethod
    def figures(record: dict[str, Any]) -> list[Figure]:
        texts = record["details"]["texts"]
        risen = [text["nll_steered"] - text["nll_base"] for text in texts]
        return [
            Distribution(
                title="What each text loses",
                about=f"{len(texts)} texts. Above 0 the steered model finds a text less likely.",
                values=risen,
                x="loss of log-likelihood, nats per token",
                unit="texts",
            )
        ]

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        details = evidence.details
        worst = sorted(details["texts"], key=lambda text: text["nll_base"] - text["nll_steered"])[: words.WORST]
        return [
            *words.decide(evidence),
            *words.where(evidence),
            f"  perplexity ({details['aggregate']} mean of the texts): {details['perplexity_base']:.2f} unsteered, "
            f"{details['perplexity_steered']:.2f} steered",
            "  worst texts (negative log-likelihood per token):",
            *(
                f"    [{text['id']}] {text['nll_base']:.2f} -> {text['nll_steered']:.2f}  {words.shorten(text['text'], 90)}"
                for text in worst
            ),
        ]


def assert_ppl_delta_below(
    model: Model,
    vector: SteeringVector | Intervention | None,
    texts: Sequence[TextLike],
    *,
    limit: Promise,
    aggregate: Aggregate = "geometric",
    window: int | None = None,
    stride: int | None = None,
    interval: IntervalMethod = "t",
    **shared: Unpack[Deployment],
) -> Evidence:
    """Assert that steering raises the perplexity of ``texts`` by less than ``limit``.

    Args:
        texts: neutral texts, at least two, each a ``str`` or a :class:`Completion`; each is paired with itself.
        limit: the promise: 0.05 allows 5 %.
        aggregate: ``geometric`` or ``arithmetic`` mean of the texts' perplexities.
        window / stride: see :func:`perplexity`.
        multiplier: the deployed strength.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("ppl_delta_below", locals())


def text_records(texts: Texts, base: Perplexity, steered: Perplexity) -> list[dict[str, Any]]:
    """The evidence's record of each text."""
    return [
        {
            "id": own,
            **({"prompt": text.prompt} if isinstance(text, Completion) else {}),
            "text": content_of(text),
            "nll_base": float(b),
            "nll_steered": float(s),
            "tokens": int(count),
        }
        for own, text, b, s, count in zip(texts.ids, texts, base.per_text, steered.per_text, base.tokens, strict=True)
    ]
