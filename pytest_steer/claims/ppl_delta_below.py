"""``ppl_delta_below``: steering raises the perplexity of neutral texts by less than `limit`."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Unpack

from ..data.likeness import normal_form
from ..errors import DataError
from ..evidence import Evidence
from ..measures import Array, asked_as_text, perplexity_curves, warning_of
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..soundness import check_before
from ..stats import Direction, Inference
from ..steering import Intervention, SteeringVector
from . import words
from .common import Deployment, Interval, IntervalMethod
from .doubts import look_closer
from .holding import hold
from .judging import judged, mean_of
from .kinds import claim
from .leaks import text_leaks
from .over_items import check_moved
from .sampling import kept_of, twins_of


@claim("ppl_delta_below", title="Steering costs little perplexity", main="limit")
@dataclass(frozen=True, kw_only=True)
class PplDeltaBelow:
    """Steering at `multiplier` raises the perplexity of the neutral texts by less than `limit`.

    The statistic is exp(d) - 1 with d the mean over texts of the difference in negative log-likelihood per token,
    steered minus unsteered, each text paired with itself. Bounds are those of d, carried over.

    Attributes:
        texts: neutral texts: text that the behaviour has nothing to do with.
        source: where the texts come from, for messages.
    """

    subject: Subject
    texts: Sequence[str]
    limit: Annotated[
        float,
        Param(
            "The largest relative rise of perplexity: 0.05 means 5 %.",
            title="Largest relative rise of perplexity",
            example=0.05,
            above=0,
            weak_from=1,
            weak="lets perplexity double and more; 5 % is written 0.05",
        ),
    ]
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
        texts, repeats = distinct_texts(self.texts, self.source)
        subject, change = self.subject, self.subject.intervention
        soundness = check_before(model, subject)
        try:
            found_at = perplexity_curves(
                model,
                texts,
                {"base": None, "steered": change},
                multipliers=[subject.multiplier],
                **subject.scope,
            )
        except DataError as error:
            raise DataError(f"{self.source}: {error}") from None
        (base,), (steered,) = found_at["base"], found_at["steered"]
        rises = steered.per_text - base.per_text
        check_moved(model, subject, rises, "the texts")
        found = self._mean(rises)
        evidence = judged(
            model,
            subject,
            found,
            steered.probes,
            threshold=self.limit,
            scaled=math.log1p(self.limit),
            direction=Direction.AT_MOST,
            confidence=self.confidence,
            min_n=self.min_n,
            # A rise is the difference of two texts' means.
            moved=lambda floor: math.expm1(math.sqrt(2) * floor.answer),
            check="ppl_delta_below",
            name=self.name,
            statistic="perplexity delta",
            estimate=as_share(found.estimate),
            interval=(as_share(found.low), as_share(found.high)),
            n=len(texts),
            unit="texts",
            percent=True,
            data=describe_texts(texts, self.source),
            soundness=soundness,
            asked=asked_as_text(model, steered.probes[0]),
            warnings=[*repeats, *text_leaks(change.metadata, texts), *warning_of(model, math.log(base.value))],
            details={
                "perplexity_base": base.of_the_mean_text,
                "perplexity_steered": steered.of_the_mean_text,
                "perplexity_over_tokens": {"base": base.value, "steered": steered.value},
                "texts": [
                    {"id": str(i), "text": text, "nll_base": float(b), "nll_steered": float(s), "tokens": int(count)}
                    for i, (text, b, s, count) in enumerate(
                        zip(texts, base.per_text, steered.per_text, base.tokens, strict=True)
                    )
                ],
            },
        )
        limit = math.log1p(self.limit)
        look_closer(evidence, rises, self._mean, limit, None, [*map(str, range(len(texts)))])
        evidence.compared = {"deployed": {"multiplier": float(subject.multiplier), "cost": evidence.estimate}}
        return evidence

    def _mean(self, rises: Array, _: Sequence[int] | None = None) -> Inference:
        return mean_of(rises, self.interval, confidence=self.confidence, seed=self.seed)

    @staticmethod
    def explanation(evidence: Evidence) -> list[str]:
        details = evidence.details
        worst = sorted(details["texts"], key=lambda text: text["nll_base"] - text["nll_steered"])[: words.WORST]
        return [
            *words.decide(evidence),
            *words.where(evidence),
            f"  perplexity (geometric mean of the texts): {details['perplexity_base']:.2f} unsteered, "
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
    texts: Sequence[str],
    *,
    limit: float,
    interval: IntervalMethod = "t",
    **shared: Unpack[Deployment],
) -> Evidence:
    """Assert that steering raises the perplexity of ``texts`` by less than ``limit``.

    Args:
        texts: neutral texts, at least two; each is paired with itself.
        limit: the promise: 0.05 allows 5 %.
        multiplier: the deployed strength.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("ppl_delta_below", locals())


def distinct_texts(texts: Sequence[str], source: str) -> tuple[list[str], list[str]]:
    """The texts without those that repeat another one, and warnings about these and about near twins.

    Raises:
        DataError: fewer than two different texts, which can have no interval.
    """
    forms = [(normal_form(text),) for text in texts]
    kept, repeats = kept_of(forms, "texts")
    if len(kept) < 2:
        raise DataError(f"{source}: has {len(kept)} text(s); an interval needs at least two")
    return [texts[index] for index in kept], repeats + twins_of([forms[index] for index in kept], "texts")


def as_share(difference: float) -> float | None:
    """exp(d) - 1, from a difference in log-likelihood to a relative rise of perplexity; None for a bound so far out that it is no finite number."""
    return math.expm1(difference) if difference < 700 else None


def describe_texts(texts: Sequence[str], source: str) -> dict[str, Any]:
    """The evidence's ``data`` record."""
    content = json.dumps(list(texts), ensure_ascii=False)
    return {"hash": hashlib.sha256(content.encode()).hexdigest(), "n": len(texts), "source": source}
