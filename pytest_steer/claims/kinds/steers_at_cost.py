"""``steers_at_cost``: the mean effect reaches `effect` at the multiplier where perplexity has risen by `budget`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any

from ...core.block import Block, CostPoint, EffectAgainstCost, Line, Table
from ...core.errors import MeasurementError
from ...core.evidence import Evidence
from ...core.finding import Finding, Weight, code
from ...core.numbers import estimated, number, promise
from ...core.parameters import Param
from ...core.promises import Promise
from ...core.record import Bounds, Compared, Data, Reached, Strength
from ...measures import Array, AtCost, as_share, deviation, reading_of_texts
from ...measures.ask import Ask
from ...measures.at_cost import MAX_MULTIPLIER, matching_probability, pne, spread
from ...measures.compared import finite, strength_of
from ...measures.subject import Moves
from ...stats import Direction, Inference, Verdict, mean_t
from ...stats.estimators import AsMean, Clusters, Mean, floor_of
from .. import show
from ..asserting import assertion
from ..base import AboutItems, OverTexts
from ..common import WEAK_MEAN, Interval, Stride, Window
from ..curves import WithControls, controls_of_no_effect, moves_of
from ..findings import Found, below_floor
from ..judging import Judgement, Reason, few_units, withhold
from ..kind import Starter, claim
from ..measurement import Measurement, Read

within_budget = code(
    "budget-not-reached",
    signal="Perplexity stays within the budget up to the largest multiplier tried.",
    meaning="The effect is judged at that multiplier, where it costs less than the budget.",
    cure="Allow a larger `max_multiplier`, or a smaller budget.",
)
dear = code(
    "cost-exceeds-budget",
    signal="The intervention costs more than the budget at the smallest multiplier tried, or has one fixed strength that does.",
    meaning="Effect and cost are judged there together, each at half the level.",
    cure="Allow a larger budget, or take a weaker intervention.",
    weight=Weight.DOUBTFUL,
)


@dataclass(frozen=True)
class Deployed:
    """The claim's vector at its deployed multiplier; the effect is None where the model gives NaN or infinity there."""

    multiplier: float
    cost: float | None
    mean_effect: float | None
    direction: Moves
    moves: str | None


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What the effect costs, in relative rises of perplexity.

    Attributes:
        multiplier_at_cost / cost: where it is judged, and what it costs there; each bound of ``cost_interval`` at ``cost_confidence``.
        over_budget: the cost exceeds the budget, so it is judged too.
        reached: what ended the search, see ``measures.AtCost``. looked_at: (multiplier, cost), None beyond the range of numbers.
        mean_perplexity_ratio: of the arithmetic means of the texts' perplexities. neutral: the texts.
    """

    multiplier_at_cost: float
    cost: float
    cost_interval: Bounds
    cost_confidence: float
    budget: float
    over_budget: bool
    reached: Reached
    looked_at: list[tuple[float, float | None]]
    max_multiplier: float
    mean_perplexity_ratio: float | None
    neutral: Data


@dataclass(frozen=True, kw_only=True)
class Details(WithControls, Spent):
    """The effects on the items there, and what they cost.

    Attributes:
        sd_unsteered: standard deviation of the items' unsteered propensities. pne: the perplexity-normalised effect.
        anti_steerable_share: of items that move the wrong way. matching_probability: unsteered (``base``) and steered.
    """

    statistic: str = "effect"
    standardised: bool
    sd_unsteered: float
    mean_effect: float
    anti_steerable_share: float
    effects: list[float]
    pne: float | None
    matching_probability: dict[str, float]
    deployed: Deployed


@dataclass(frozen=True, kw_only=True, eq=False)
class AtItsCost(Measurement):
    """Effects at a multiplier, and what that costs: the mean rise of the texts' negative log-likelihood per token."""

    cost: Inference


@dataclass(frozen=True)
class MeanOverBudget(Mean):
    """A mean effect that is judged together with a cost, so that no unit decides alone, and no number of units is known to."""

    def units_needed(
        self, found: Inference, values: Array, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        return None

    def as_mean(self, values: Array, threshold: float, direction: Direction) -> AsMean:
        return None


@claim(
    "steers_at_cost",
    title="The vector steers, at a given cost",
    main="effect",
    starter=Starter(2, {"compare-methods": ("effect", "budget")}),
)
class SteersAtCost(OverTexts, AboutItems):
    """The mean effect over the test items is at least `effect` at the multiplier where the perplexity of the neutral texts has risen by `budget`.

    The effect of an item is its propensity at that multiplier minus its propensity unsteered. The bounds are those of the mean
    over items. Standardised, effect and bounds are divided by the deviation of the unsteered propensities, which is taken
    as known. The multiplier is chosen on the texts and not on the items (``measures.multipliers_at_cost``), from the deployed one on. Of
    plain texts every token is steered, so the cost is that of the deployed scope on completions alone.

    An intervention that exceeds the budget at every strength is measured as it is and judged on effect and cost, see
    :func:`judge_over_budget`.
    """

    effect: Annotated[
        Promise,
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

    def measure(self, ask: Ask) -> Measurement:
        of_texts, subject, budget = self.sampled_texts, self.subject, self.budget
        windows: dict[str, Any] = {"window": self.window, "stride": self.stride, "source": self.source}
        at = ask.at_cost({0: subject}, of_texts.units, budget=budget, max_multiplier=self.max_multiplier, **windows)[0]
        base, (steered,) = ask.perplexity(of_texts.units, [at.multiplier], **windows)
        is_over = at.cost > budget
        # Judged together with the effect, so at half the level.
        level = (1 + self.confidence) / 2 if is_over else self.confidence
        cost = mean_t(steered.per_text - base.per_text, confidence=level, clusters=of_texts.clusters)
        spent = Spent(
            multiplier_at_cost=at.multiplier,
            cost=at.cost,
            cost_interval=(as_share(cost.low), as_share(cost.high)),
            cost_confidence=cost.confidence,
            budget=budget,
            over_budget=is_over,
            reached=at.reached,
            looked_at=[(multiplier, finite(own)) for multiplier, own in at.looked_at],
            max_multiplier=self.max_multiplier,
            mean_perplexity_ratio=finite(1 + at.mean_rises[at.multiplier]),
            neutral=of_texts.describe(),
        )
        return self._of_items(ask, at, spent, cost).but(
            subject=replace(subject, multiplier=at.multiplier),
            also={"": of_texts},
            reads=[Read(reading_of_texts(ask.model, base.per_text), of_texts.clusters, texts=of_texts.units)],
            findings=[*self._of_the_budget(at)],
        )

    def _of_items(self, ask: Ask, at: AtCost, spent: Spent, cost: Inference) -> Measurement:
        """The effects on the items at the multiplier that was found."""
        sample, sign, clusters = self.sampled_items, self.subject.effect_sign, self.sampled_items.clusters
        at_deployed, unsteered = self._effects(ask, at)
        scale, sd = deviation(unsteered) if self.standardised else 1.0, spread(unsteered)
        curve = ask.propensity(sample.units, [0.0, at.multiplier])
        effects = curve.effects(at.multiplier)
        per_cost = pne(effects, unsteered, at.mean_rises[at.multiplier])
        there = strength_of(
            effects, at.multiplier, self.confidence, cost=at.cost, reached=at.reached, clusters=clusters, normalised=per_cost
        )
        deployed = self._deployed(at, at_deployed)
        of_deployed = None if at_deployed is None else pne(at_deployed, unsteered, at.mean_rises[deployed.multiplier])
        here = Strength(deployed.multiplier, deployed.mean_effect, cost=deployed.cost, pne=of_deployed)
        return AtItsCost(
            sample=sample,
            values=sign * effects / scale,
            estimator=(MeanOverBudget if spent.over_budget else Mean)(self.interval, self.seed),
            statistic=f"{'negative ' if sign < 0 else ''}{'standardised ' if self.standardised else ''}effect at equal cost",
            probes=curve.probes,
            moved=lambda floor: floor.effect / scale,
            curve=curve,
            deployed=curve,
            has_slopes=False,
            cost=cost,
            details=Details(
                **vars(spent),
                standardised=self.standardised,
                sd_unsteered=sd,
                mean_effect=float(effects.mean()),
                anti_steerable_share=float((sign * effects < 0).mean()),
                effects=effects.tolist(),
                pne=per_cost,
                matching_probability={
                    "base": matching_probability(unsteered),
                    "steered": matching_probability(unsteered + effects),
                },
                deployed=deployed,
            ),
        ).but(compared=Compared(n=len(sample.units), spread=sd, deployed=here, at_cost=there, budget=self.budget, rank=2))

    def _deployed(self, at: AtCost, effects: Array | None) -> Deployed:
        multiplier, direction = float(self.multiplier), self.subject.direction
        cost = finite(dict(at.looked_at)[self.multiplier])
        if effects is None:
            return Deployed(multiplier, cost, None, direction, None)
        moves = moves_of(mean_t(effects, confidence=self.confidence))
        return Deployed(multiplier, cost, float(effects.mean()), direction, moves)

    def _effects(self, ask: Ask, at: AtCost) -> tuple[Array | None, Array]:
        """Effects at the deployed multiplier, None where the model gives NaN or infinity there; unsteered propensities."""
        subject, items = self.subject, self.sampled_items.units
        found = {"found": (subject, at.multiplier)}
        try:
            both, unsteered = ask.effects(found | {"deployed": (subject, subject.multiplier)}, items)
            return both["deployed"], unsteered
        except MeasurementError:
            return None, ask.effects(found, items)[1]

    def judge(self, ask: Ask, measured: Measurement) -> Judgement:
        assert isinstance(measured, AtItsCost)
        judgement, cost, least = super().judge(ask, measured), measured.cost, floor_of(measured.cost, self.min_n)
        if least is not None and cost.n < least <= judgement.found.n:
            texts = self.sampled_texts.counted
            cure = f"not enough evidence: measure at least {least} {texts}"
            return withhold(judgement, Reason(few_units.name, f"n = {cost.n} {texts} is below min_n {least}", cure))
        if not measured.details.over_budget or self.threshold is None or judgement.is_floored:
            return judgement
        verdict, p_pass, p_fail = judge_over_budget(judgement.found, self.threshold, cost, self.budget)
        return replace(judgement, verdict=verdict, p_pass=p_pass, p_fail=p_fail)

    def find(self, found: Found) -> Iterator[Finding]:
        measured, withheld = found.measured, found.judgement.withheld
        if isinstance(measured, AtItsCost) and withheld is not None and withheld.code == few_units.name:
            yield below_floor(measured.cost.n, floor_of(measured.cost, self.min_n) or 0, self.sampled_texts.counted)

    def after(self, ask: Ask, measured: Measurement, judgement: Judgement) -> dict[str, object]:
        moves = measured.details.deployed.moves
        return {} if moves is None else controls_of_no_effect(ask, measured, judgement, seed=self.seed, moves=moves)

    def _of_the_budget(self, at: AtCost) -> Iterator[Finding]:
        change, cost = self.subject.intervention, number(at.cost, percent=True)
        if at.reached == "most":
            why = (
                f". The strength is {change.strength}, so no larger multiplier is tried"
                if change.strength != "linear"
                else ""
            )
            yield within_budget(
                f"perplexity stays within the budget up to the largest multiplier tried ({at.multiplier:g}, {cost}); judged at "
                f"{at.multiplier:g}{why}"
            )
        elif at.cost > self.budget:
            fixed = f"{change.method!r} has one fixed strength, which"
            what = fixed if at.reached == "fixed" else f"the smallest multiplier tried, {at.multiplier:g}, already"
            yield dear(
                f"{what} exceeds the perplexity budget ({cost} against {promise(self.budget, percent=True)}); judged there on effect and cost "
                "together"
            )

    @staticmethod
    def reason(evidence: Evidence) -> str | None:
        """Why it is this verdict where the cost is judged too."""
        own: Details = evidence.own
        if not own.over_budget or evidence.withheld:
            return None
        low, is_fail = own.cost_interval[0], evidence.verdict is Verdict.FAIL
        if (is_fail or evidence.has_no_threshold) and (low is None or low >= own.budget):
            return "the cost exceeds the budget"
        return "the interval is on the bad side" if is_fail else "the interval of the cost lies across the budget"

    @staticmethod
    def cure(evidence: Evidence) -> str | None:
        if not evidence.own.over_budget or evidence.withheld:
            return None
        return "not enough evidence that the cost is within the budget: measure more neutral texts"

    @staticmethod
    def always(evidence: Evidence) -> Iterator[Block]:
        """The multiplier and its cost, and the perplexity-normalised effect."""
        own: Details = evidence.own
        cost = estimated(own.cost, own.cost_interval, percent=True)
        yield Line(
            f"judged at multiplier {number(own.multiplier_at_cost)}: perplexity {cost} at {own.cost_confidence:.4g} each side, over "
            f"{own.neutral.n} texts; budget {promise(own.budget, percent=True)}"
        )
        if own.pne is not None:
            base, steered = own.matching_probability.values()
            yield Line(
                f"PNE {number(own.pne)}: probability of the matching answer {base:.3f} unsteered, {steered:.3f} steered; mean perplexity "
                f"x {own.mean_perplexity_ratio:.3g}"
            )
        yield from map(Line, show.texts_chosen(own.neutral))

    @staticmethod
    def why(evidence: Evidence) -> Iterator[Block]:
        """Effect against cost, the multipliers with their costs, and the items."""
        own: Details = evidence.own
        deployed, judged_at, budget = own.deployed, own.multiplier_at_cost, promise(own.budget, percent=True)
        costs = sorted(own.looked_at, key=lambda pair: abs(pair[0]))
        yield Table(
            [
                ["multiplier", *(f"{multiplier:.4g}" for multiplier, _ in costs)],
                ["perplexity", *("overflow" if cost is None else number(cost, percent=True) for _, cost in costs)],
            ],
            are_numbers=True,
        )
        dose = own.mean_effect / own.sd_unsteered if own.sd_unsteered else None
        share = "anti-steerable share" if show.effect_sign(evidence) > 0 else "share that rises"
        yield Line(
            f"mean effect {number(own.mean_effect)} ({number(dose)} standard deviations of the unsteered propensities), {share} "
            f"{own.anti_steerable_share:.2f}; at the deployed multiplier {number(deployed.multiplier)} mean effect "
            f"{number(deployed.mean_effect)}"
        )
        at = {0.0: CostPoint("vector", 0.0, 0.0, 0.0)}
        if deployed.mean_effect is not None and deployed.cost is not None:
            at[deployed.multiplier] = CostPoint("vector", deployed.multiplier, deployed.mean_effect, deployed.cost)
        bounds = (None, None) if own.standardised else evidence.interval
        at[judged_at] = CostPoint("vector", judged_at, own.mean_effect, own.cost, bounds)
        yield EffectAgainstCost(
            sorted(at.values(), key=lambda one: one.multiplier),
            own.budget,
            title="Effect against cost",
            about=f"Judged at multiplier {number(judged_at)}. The line is the budget, {budget} perplexity.",
        )
        yield from show.of_items(evidence)


assert_steers_at_cost = assertion(SteersAtCost)


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
