"""``steers_at_cost``: the mean effect reaches `effect` at the multiplier where perplexity has risen by `budget`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Annotated, Any, Unpack

from ..data import ItemLike, Items, TextLike, Texts, as_texts, sample_of
from ..errors import DataError, MeasurementError
from ..evidence import Evidence
from ..measures import Array, AtCost, as_share, deviation, effects_at, multipliers_at_cost, perplexity, reading_of_texts
from ..measures.at_cost import MAX_MULTIPLIER, matching_probability, pne, spread
from ..measures.compared import finite, strength_of
from ..measures.subject import Subject
from ..model import Model
from ..parameters import Param
from ..promises import Promise
from ..prompting import AS_GIVEN, Context
from ..soundness import check_before
from ..stats import Direction, Inference, Verdict, mean_t
from ..steering import Intervention, SteeringVector
from . import cost_words
from .common import WEAK_MEAN, AboutItems, Interval, IntervalMethod, Stride, Window
from .deployed import moves_of
from .figures import CostPoint, EffectAgainstCost, Figure, figures_of_items
from .holding import hold
from .judged import below_floor, floor_of, mean_of
from .kinds import Starter, claim
from .leaks import text_leaks
from .no_effect import controls_of_no_effect
from .numbers import number, promise
from .over_items import measure_items
from .unread import withhold_unread


@claim(
    "steers_at_cost",
    title="The vector steers, at a given cost",
    main="effect",
    starter=Starter(2, {"compare-methods": ("effect", "budget")}),
)
@dataclass(frozen=True, kw_only=True)
class SteersAtCost:
    """The mean effect over the test items is at least `effect` at the multiplier where the perplexity of the neutral texts has risen by `budget`.

    The effect of an item is its propensity at that multiplier minus its propensity unsteered. The bounds are those of the mean
    over items. Standardised, effect and bounds are divided by the deviation of the unsteered propensities, which is taken
    as known. The multiplier is chosen on the texts and not on the items (``measures.multipliers_at_cost``).

    An intervention that exceeds the budget at every strength is measured as it is and judged on effect and cost, see
    :func:`judge_over_budget`.

    Attributes:
        subject: what steers. Its multiplier is where the search begins.
        items: held-out contrast items.
        texts: neutral texts: text that the behaviour has nothing to do with.
        source: where the texts come from, for messages.

    Raises:
        SteerError: the budget or ``max_multiplier`` cannot be used.
    """

    subject: Subject
    items: Items
    texts: Sequence[TextLike]
    effect: Annotated[
        float | None,
        Param(
            "The least mean effect: propensity at that multiplier minus propensity unsteered, for example 0.2; with `standardised`, in "
            "standard deviations.",
            title="Least mean effect",
            example=0.2,
            weak_to=-1,
            weak=WEAK_MEAN,
        ),
    ]
    budget: Annotated[
        float,
        Param(
            "The relative rise of perplexity at which the effect is measured: 0.05 means 5 %.",
            title="Budget: relative rise of perplexity",
            example=0.05,
            above=0,
            weak_from=1,
            weak="lets perplexity double and more; 5 % is written 0.05",
        ),
    ]
    standardised: Annotated[
        bool,
        Param(
            "true: the effect is divided by the standard deviation over the items of their unsteered propensities.",
            title="Effect in standard deviations",
            example=True,
        ),
    ] = False
    max_multiplier: Annotated[
        float,
        Param(
            "The largest multiplier tried, as a multiple of the deployed one: 8 means eight times `multiplier`.",
            title="Largest multiplier",
            example=8,
            at_least=1,
        ),
    ] = MAX_MULTIPLIER
    window: Window = None
    stride: Stride = None
    interval: Interval = "t"
    confidence: float = 0.95
    min_n: int | None = None
    seed: int = 0
    context: Context = AS_GIVEN
    cluster: str | None = None
    source: str = "texts"
    name: str = "steers_at_cost"

    def measure(self, model: Model) -> Evidence:
        """Measure and judge.

        Raises:
            DataError: fewer than two items or texts, or one that cannot be scored.
            SoundnessError: the hooks do not do what they say.
            MeasurementError: a score is NaN or infinite, or there is no deviation to standardise by.
            VectorError: see ``check_fits``.
        """
        sample = sample_of(self.items, self.cluster)
        of_texts = sample_of(as_texts(self.texts, self.source))
        texts = of_texts.units
        check_before(model, self.subject)
        at, rises, base = self._at_cost(model, texts)
        over = at.cost > self.budget
        # Judged together with the effect, so at half the level.
        cost = mean_t(rises, confidence=(1 + self.confidence) / 2 if over else self.confidence, clusters=of_texts.clusters)
        at_deployed, unsteered = self._effects(model, at, sample.units)
        scale, sign = deviation(unsteered) if self.standardised else 1.0, self.subject.effect_sign

        curve, found, evidence = measure_items(
            model,
            replace(self.subject, multiplier=at.multiplier),
            sample,
            [0.0, at.multiplier],
            check="steers_at_cost",
            name=self.name,
            statistic=("negative " if sign < 0 else "")
            + ("standardised " if self.standardised else "")
            + "effect at equal cost",
            direction=Direction.AT_LEAST,
            threshold=self.effect,
            confidence=self.confidence,
            min_n=self.min_n,
            context=self.context,
            values=lambda curve: sign * curve.effects(at.multiplier) / scale,
            infer=self._mean,
            over_clusters=self._mean,
            closer=not over,
            moved=lambda floor, _: floor.effect / scale,
            seed=self.seed,
            by_effect=True,
        )
        if evidence.units is not None:
            evidence.units["how"] |= {"budget": self.budget, "standardised": self.standardised}
        effects = curve.effects(at.multiplier)
        normalised = pne(effects, unsteered, at.mean_rises[at.multiplier])
        evidence.strata = []  # slopes, which an effect at one multiplier has not
        kept = {key: evidence.details[key] for key in ("clusters", "on_promised_side") if key in evidence.details}
        evidence.details = kept | {
            "statistic": "effect",
            "standardised": self.standardised,
            "sd_unsteered": spread(unsteered),
            "mean_effect": float(effects.mean()),
            "anti_steerable_share": float((sign * effects < 0).mean()),
            "effects": [float(effect) for effect in effects],
            "pne": normalised,
            "matching_probability": {
                "base": matching_probability(unsteered),
                "steered": matching_probability(unsteered + effects),
            },
            "mean_perplexity_ratio": finite(1 + at.mean_rises[at.multiplier]),
            "multiplier_at_cost": at.multiplier,
            "cost": at.cost,
            "cost_interval": [as_share(cost.low), as_share(cost.high)],
            "cost_confidence": cost.confidence,
            "budget": self.budget,
            "over_budget": over,
            "reached": at.reached,
            "looked_at": [[multiplier, finite(own)] for multiplier, own in at.looked_at],
            "max_multiplier": self.max_multiplier,
            "deployed": {
                "multiplier": float(self.subject.multiplier),
                "cost": finite(dict(at.looked_at)[self.subject.multiplier]),
                "mean_effect": None if at_deployed is None else float(at_deployed.mean()),
                "direction": self.subject.direction,
                "moves": None if at_deployed is None else moves_of(mean_t(at_deployed, confidence=self.confidence)),
            },
            "neutral": texts.describe(),
        }
        deployed = evidence.details["deployed"]
        reached = strength_of(
            effects,
            at.multiplier,
            self.confidence,
            cost=at.cost,
            reached=at.reached,
            clusters=sample.clusters,
            normalised=normalised,
        )
        evidence.compared = {
            "n": len(sample.units),
            "spread": spread(unsteered),
            "deployed": {
                "multiplier": deployed["multiplier"],
                "effect": deployed["mean_effect"],
                "cost": deployed["cost"],
                "pne": None
                if at_deployed is None
                else pne(at_deployed, unsteered, at.mean_rises[float(self.subject.multiplier)]),
            },
            "at_cost": asdict(reached),
            "budget": self.budget,
            "rank": 2,
        }
        evidence.warnings += [
            *map(str, of_texts.findings),
            *text_leaks(self.subject.intervention.metadata, texts),
            *self._warnings(at),
        ]
        fewest, least = min(found.n, cost.n), floor_of(cost, self.min_n)
        if least is not None and cost.n < least <= found.n:
            evidence.verdict, evidence.p_pass, evidence.p_fail = Verdict.INCONCLUSIVE, 1.0, 1.0
            evidence.warnings.append(below_floor(cost.n, least, of_texts.counted))
            evidence.items_needed = None
        elif over and self.effect is not None:
            judged_together = judge_over_budget(found, self.effect, cost, self.budget)
            if least is None or fewest >= least:
                evidence.verdict, evidence.p_pass, evidence.p_fail = judged_together
            evidence.items_needed = None
        evidence.details["reading"] = withhold_unread(evidence, reading_of_texts(model, base), of_texts.clusters)
        evidence.details |= controls_of_no_effect(model, self.subject, sample.units, evidence, self.seed, self.context)
        return evidence

    def _mean(self, effects: Array, clusters: Sequence[int] | None = None) -> Inference:
        return mean_of(effects, self.interval, confidence=self.confidence, seed=self.seed, clusters=clusters)

    def _at_cost(self, model: Model, texts: Texts) -> tuple[AtCost, Array, Array]:
        """The multiplier, what each text's negative log-likelihood per token has risen by there, and what it is unsteered."""
        subject = self.subject
        asked: dict[str, Any] = {**subject.scope, "window": self.window, "stride": self.stride}
        try:
            at = multipliers_at_cost(
                model,
                texts,
                {0: subject},
                budget=self.budget,
                max_multiplier=self.max_multiplier,
                window=self.window,
                stride=self.stride,
                allow_mismatch=subject.allow_mismatch,
            )[0]
            steered = perplexity(model, texts, subject.vector, multiplier=at.multiplier, **asked)
            base = perplexity(model, texts, **asked)
            return at, steered.per_text - base.per_text, base.per_text
        except DataError as error:
            raise DataError(f"{self.source}: {error}") from None

    def _effects(self, model: Model, at: AtCost, items: Items) -> tuple[Array | None, Array]:
        """Effects at the deployed multiplier, None where the model gives NaN or infinity there; unsteered propensities."""
        subject = self.subject
        found = {"found": (subject, at.multiplier)}
        measured = partial(effects_at, model, items, context=self.context, allow_mismatch=subject.allow_mismatch)
        try:
            both, unsteered = measured(found | {"deployed": (subject, subject.multiplier)})
            return both["deployed"], unsteered
        except MeasurementError:
            return None, measured(found)[1]

    def _warnings(self, at: AtCost) -> list[str]:
        if at.reached == "most":
            strength = self.subject.intervention.strength
            why = "" if strength == "linear" else f". The strength is {strength}, so no larger multiplier is tried"
            return [
                f"perplexity stays within the budget up to the largest multiplier tried ({at.multiplier:g}, "
                f"{number(at.cost, percent=True)}); judged at {at.multiplier:g}{why}"
            ]
        if at.cost <= self.budget:
            return []
        what = (
            f"{self.subject.intervention.method!r} has one fixed strength, which"
            if at.reached == "fixed"
            else f"the smallest multiplier tried, {at.multiplier:g}, already"
        )
        return [
            f"{what} exceeds the perplexity budget ({number(at.cost, percent=True)} against {promise(self.budget, percent=True)}); "
            "judged there on effect and cost together"
        ]

    headline = staticmethod(cost_words.headline)
    remarks = staticmethod(cost_words.remarks)
    explanation = staticmethod(cost_words.explanation)

    @staticmethod
    def figures(record: dict[str, Any]) -> list[Figure]:
        details, deployed = record["details"], record["details"]["deployed"]
        at = {0.0: CostPoint("vector", 0.0, 0.0, 0.0)}
        if deployed["mean_effect"] is not None and deployed["cost"] is not None:
            multiplier = deployed["multiplier"]
            at[multiplier] = CostPoint("vector", multiplier, deployed["mean_effect"], deployed["cost"])
        judged_at = details["multiplier_at_cost"]
        low, high = (None, None) if details["standardised"] else record["interval"]
        at[judged_at] = CostPoint("vector", judged_at, details["mean_effect"], details["cost"], (low, high))
        drawn = EffectAgainstCost(
            title="Effect against cost",
            about=f"Judged at multiplier {number(judged_at)}. The line is the budget, {promise(details['budget'], percent=True)} perplexity.",
            points=sorted(at.values(), key=lambda one: one.multiplier),
            budget=details["budget"],
        )
        return [drawn, *figures_of_items(record)]


def assert_steers_at_cost(
    model: Model,
    vector: SteeringVector | Intervention | None,
    items: Iterable[ItemLike],
    texts: Sequence[TextLike],
    *,
    effect: Promise,
    budget: float,
    standardised: bool = False,
    max_multiplier: float = MAX_MULTIPLIER,
    window: int | None = None,
    stride: int | None = None,
    interval: IntervalMethod = "t",
    context: Context = AS_GIVEN,
    cluster: str | None = None,
    **shared: Unpack[AboutItems],
) -> Evidence:
    """Assert that the mean effect reaches ``effect`` at the multiplier where perplexity on ``texts`` has risen by ``budget``.

    Args:
        texts: neutral texts, at least two, each a ``str`` or a :class:`Completion`; on them the multiplier is chosen. The cost is that
            of the deployed scope on completions alone: of plain texts every token is steered.
        effect: the promise: mean over items of propensity at that multiplier minus propensity unsteered; in standard deviations
            of the unsteered propensities if ``standardised``.
        budget: 0.05 is a rise of perplexity by 5 %.
        max_multiplier: the largest multiplier tried, as a multiple of the deployed one.
        window / stride: see :func:`perplexity`.
        multiplier: the deployed strength, where the search begins.

    The other arguments and what is raised are those of :func:`assert_steers`.
    """
    return hold("steers_at_cost", locals())


def judge_over_budget(effect: Inference, least: float, cost: Inference, budget: float) -> tuple[Verdict, float, float]:
    """The verdict on an intervention that costs more than the budget on the texts and cannot be dosed down to it.

    Its claim holds if the effect is at least the threshold and the cost is at most the budget. So it passes if both are proven
    (intersection-union test), and fails if either is refuted at half the level (Bonferroni); else it is inconclusive. As long as
    the cost is above the budget on the texts themselves, a pass is out of reach.

    Args:
        effect: inference of the mean effect; least: its threshold.
        cost: inference of the mean rise in negative log-likelihood per token. budget: as a relative rise of perplexity.

    Returns:
        The verdict, and the p-values that the claim holds and that it does not.
    """
    limit, alpha = math.log1p(budget), 1 - effect.confidence
    p_pass = max(effect.p_at_least(least), cost.p_at_most(limit))
    p_fail = min(1.0, 2 * min(effect.p_at_most(least), cost.p_at_least(limit)))
    if p_pass <= alpha:
        return Verdict.PASS, p_pass, p_fail
    return (Verdict.FAIL if p_fail <= alpha else Verdict.INCONCLUSIVE), p_pass, p_fail
