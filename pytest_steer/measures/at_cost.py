"""Interventions at equal cost: the search for the multiplier where perplexity has risen by a budget, the effect there, and the effect for
its cost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import expit

from ..core.errors import MeasurementError, SteerError
from ..core.record import Reached
from ..core.run_context import looking, most_looks
from ..data import ItemLike, TextLike
from ..model import Model, check_fits, engine_of
from ..model.arguments import checks_arguments
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, Positions, SteeringVector, as_intervention, check_positions
from ..steering.intervention import StrengthMeaning
from .asking import Array, AskedText, Scope, ask_texts, asked_of, items_to_measure, propensities, scope_of
from .likelihood import perplexity_of_pairs, relative_mean_rise, relative_rise
from .propensity import LARGEST, Name, check_deployed, check_dose, check_multipliers, pairs_of

BUDGET = 0.05
MAX_MULTIPLIER = 8.0
TOLERANCE = 0.02

_Pair = tuple[Intervention | None, float]


@dataclass(frozen=True)
class Deployed:
    """An intervention as it is deployed.

    Attributes:
        vector: a steering vector (added), or any intervention.
        multiplier: the strength that is deployed, not 0.
        positions / include_first: which tokens are steered.

    Raises:
        SteerError: the multiplier is 0 or not finite, or the scope is unknown.
    """

    vector: SteeringVector | Intervention
    multiplier: float = 1.0
    positions: Positions = "after_prompt"
    include_first: bool = False

    def __post_init__(self) -> None:
        check_positions(self.positions)
        check_deployed(self.multiplier)
        check_dose(self.intervention, [self.multiplier], "multiplier")

    @property
    def intervention(self) -> Intervention:
        return as_intervention(self.vector)

    @property
    def scope(self) -> Scope:
        return Scope(self.positions, self.include_first)


@dataclass(frozen=True)
class AtCost:
    """The multiplier of one intervention whose cost is the budget.

    Attributes:
        multiplier: with the sign of the deployed one.
        cost: relative rise of perplexity there, the statistic of ``ppl_delta_below`` (:func:`relative_rise`).
        reached: ``cost``: the budget was reached, and the multiplier is the largest one looked at below its first crossing (where the cost jumps
            there, or the model overflows, far below the budget).
            ``most``: it was not, and the multiplier is the largest that is allowed. ``fixed``: the intervention ignores its
            multiplier, so the cost is its own, within the budget or not. ``least``: even the smallest multiplier looked at, the
            deployed one divided by 1024, costs more than the budget.
        looked_at: (multiplier, cost) in the order in which they were measured. The cost is infinite where the model
            gives NaN or infinity.
        mean_rises: multiplier -> the relative rise of the arithmetic mean of the texts' perplexities (:func:`relative_mean_rise`), for those
            that were looked at.
    """

    multiplier: float
    cost: float
    reached: Reached
    looked_at: tuple[tuple[float, float], ...]
    mean_rises: Mapping[float, float] = field(default_factory=dict, repr=False)


@checks_arguments
def multipliers_at_cost(
    model: Model,
    texts: Sequence[TextLike],
    deployed: Mapping[Name, Deployed],
    *,
    budget: float = BUDGET,
    max_multiplier: float = MAX_MULTIPLIER,
    tolerance: float = TOLERANCE,
    window: int | None = None,
    stride: int | None = None,
    allow_mismatch: tuple[str, ...] = (),
) -> dict[Name, AtCost]:
    """Find for each intervention by itself the multiplier where perplexity on neutral texts has risen by ``budget``.

    The search goes along the sign of the deployed multiplier: from there on up by doubling while the cost is within the
    budget, or down by halving while it is above, and then between the two, to 1/256 of their distance. So it finds the first
    crossing from 0 at the resolution of the doubling. A cost need not rise with the multiplier: one that exceeds the budget and comes
    back between two multipliers that were tried, or below a deployed multiplier within the budget, is not seen.

    All interventions are searched in lockstep, so that each round is one run of the engine for each scope that steers the texts in
    another way, in which they share the work below their first steered block. A multiplier at which the model gives NaN or infinity
    counts as above the budget.

    Args:
        texts: neutral texts, see :func:`perplexity`. Of plain texts every token is steered, whatever the scope; of completions those
            of the scope, so that the cost is that of the deployment.
        budget: 0.05 is a rise of 5 %.
        max_multiplier: the largest multiplier tried, as a multiple of the deployed one; for a ``linear`` strength. An
            ``interpolated`` strength or an ``angle`` is not tried above the deployed multiplier.
        tolerance: a cost within the budget by no more than this share of it ends the search.
        window / stride: see :func:`perplexity`.

    Returns:
        {name: the multiplier found}, in the order of ``deployed``.

    Raises:
        SteerError: a ``budget``, ``max_multiplier`` or ``tolerance`` that cannot be used.
        DataError: see :func:`perplexity`.
        VectorError: an intervention does not fit the model, see ``check_fits``.
        MeasurementError: a score of the unsteered model is NaN or infinite, or those of an intervention are at every multiplier.
    """
    check_budget(budget, max_multiplier, tolerance)
    _check_deployed("multipliers_at_cost", deployed, "{name: Deployed(vector, multiplier=1.0)}")
    changes = {name: one.intervention for name, one in deployed.items()}
    for change in changes.values():
        check_fits(model, change, allow_mismatch)
    searches = {
        name: CostSearch(float(one.multiplier), changes[name].strength, budget, max_multiplier, tolerance)
        for name, one in deployed.items()
    }
    scopes = {name: scope_of(texts, one.scope) for name, one in deployed.items()}
    asked = {scope: ask_texts(model, texts, scope, window=window, stride=stride) for scope in dict.fromkeys(scopes.values())}
    means: dict[Name, dict[float, float]] = {name: {} for name in deployed}
    most_looks(sum(search.most for search in searches.values()), "multipliers")
    while sizes := {name: size for name, search in searches.items() if (size := search.next) is not None}:
        for scope, own in asked.items():
            names = [name for name in sizes if scopes[name] == scope]
            pairs: list[_Pair] = [(changes[name], sizes[name]) for name in names]
            is_first = not any(searches[name].looked_at for name in names)
            with looking(len(pairs), sure=is_first):
                costs = _costs(model, own, pairs) if pairs else []
            for name, (cost, mean_rise) in zip(names, costs, strict=True):
                searches[name].saw(sizes[name], cost)
                means[name][sizes[name]] = mean_rise
    return {name: _at_cost(search, changes[name].method, means[name]) for name, search in searches.items()}


def check_budget(budget: float, max_multiplier: float = MAX_MULTIPLIER, tolerance: float = TOLERANCE) -> None:
    """Refuse arguments of :func:`multipliers_at_cost` that cannot be used.

    Raises:
        SteerError: names the argument and the expected values.
    """
    if not 0 < budget < math.inf:
        raise SteerError(f"budget has to be a positive number (0.05 allows perplexity to rise by 5 %), not {budget}")
    if not 1 <= max_multiplier < math.inf:
        raise SteerError(f"max_multiplier has to be a number from 1 on, in deployed multipliers, not {max_multiplier}")
    if not 0 < tolerance < 1:
        raise SteerError(f"tolerance has to be between 0 and 1 (0.02 is 2 % of the budget), not {tolerance}")


def _check_deployed(call: str, given: object, write: str) -> None:
    values = [*given.values()] if isinstance(given, Mapping) else [given]
    if not all(isinstance(one[0] if isinstance(one, tuple) else one, Deployed) for one in values):
        raise SteerError(f"{call} takes its interventions as they are deployed: write {write}")


def _costs(model: Model, asked: Sequence[AskedText], pairs: Sequence[_Pair]) -> list[tuple[float, float]]:
    """The relative rise of perplexity under each pair, and that of the arithmetic mean; infinite where the model gives NaN or infinity."""
    unsteered: list[_Pair] = [(None, 0.0)]  # remembered from the first round on
    try:
        base, *steered = perplexity_of_pairs(model, asked, [*unsteered, *pairs])
        return [(relative_rise(one, base), relative_mean_rise(one, base)) for one in steered]
    except MeasurementError:
        # Which of them it is, is seen by asking for fewer; the unsteered model alone has to have scores.
        perplexity_of_pairs(model, asked, unsteered)
    if len(pairs) == 1:
        return [(math.inf, math.inf)]
    middle = len(pairs) // 2
    return [*_costs(model, asked, pairs[:middle]), *_costs(model, asked, pairs[middle:])]


def _at_cost(search: CostSearch, method: str, mean_rises: Mapping[float, float]) -> AtCost:
    multiplier, cost, reached = search.found
    if not math.isfinite(cost):
        tried = ", ".join(f"{one:g}" for one in search.looked_at)
        raise MeasurementError(
            f"{method}: the model gives NaN or infinity at every multiplier that was looked at ({tried}); a smaller "
            "deployed multiplier or float32 may help"
        )
    return AtCost(multiplier, cost, reached, tuple(search.looked_at.items()), dict(mean_rises))


@checks_arguments
def effects_at(
    model: Model,
    items: Iterable[ItemLike],
    at: Mapping[Name, tuple[Deployed, float]],
    *,
    context: Context = AS_GIVEN,
    allow_mismatch: tuple[str, ...] = (),
) -> tuple[dict[Name, Array], Array]:
    """Measure what each intervention does to each item at its own multiplier: propensity there minus propensity unsteered.

    Interventions of the same scope share one run of the engine.

    Args:
        at: name -> (intervention, multiplier); the multiplier takes the place of the deployed one.

    Returns:
        ({name: float64 [n_items]}, in the order of ``at``; float64 [n_items], the unsteered propensities).

    Raises:
        SteerError: no interventions, or a multiplier that is not a finite number.
        DataError, VectorError, MeasurementError: see :func:`propensity_curve`.
    """
    _check_deployed("effects_at", at, "{name: (Deployed(vector), multiplier)}")
    if not at:
        raise SteerError("there are no interventions to measure the effects of")
    data = items_to_measure(items)
    multipliers = check_multipliers([multiplier for _, multiplier in at.values()])
    pairs = {
        name: pairs_of(one.intervention, [multiplier])[0]
        for (name, (one, _)), multiplier in zip(at.items(), multipliers, strict=True)
    }
    for one, _ in at.values():
        check_fits(model, one.intervention, allow_mismatch)
    effects: dict[Name, Array] = {}
    scopes = {name: one.scope for name, (one, _) in at.items()}
    for scope in dict.fromkeys(scopes.values()):
        names = [name for name in at if scopes[name] == scope]
        asked = [asked_of(model, item, scope, context) for item in data]
        own: list[_Pair] = [(None, 0.0), *(pairs[name] for name in names)]
        scores = engine_of(model).run_pairs([probe for item in asked for probe in item.probes], own)
        values = propensities(asked, scores, len(own))
        unsteered = values[:, 0]
        effects |= {name: values[:, column] - unsteered for column, name in enumerate(names, start=1)}
    return {name: effects[name] for name in at}, unsteered


def spread(values: Array) -> float:
    """The standard deviation (divisor n - 1); exactly 0 if the values are equal, and not a rounding error."""
    return 0.0 if values.min() == values.max() else float(np.std(values, ddof=1))


def deviation(unsteered: Array) -> float:
    """The standard deviation over the items of their unsteered propensities, as a scale for effects.

    Raises:
        MeasurementError: it is 0, or there are fewer than two items.
    """
    if len(unsteered) < 2 or spread(unsteered) == 0:
        raise MeasurementError(
            "the items' unsteered propensities do not vary, so there is no scale to hold an effect against: measure more or more "
            "varied items, or do not standardise"
        )
    return spread(unsteered)


def standardised(effects: Array, unsteered: Array) -> float:
    """The mean effect in standard deviations of the unsteered propensities over the items.

    That is Glass's delta (Glass 1976, Educational Researcher 5) with the unsteered model as the control. The scale is the
    behaviour's own, so that effects on different behaviours compare.

    Args:
        effects: [n_items], as of :func:`effects_at`. unsteered: [n_items], in the same order.

    Raises:
        MeasurementError: see :func:`deviation`.
    """
    scale = deviation(unsteered)
    return float(effects.mean()) / scale


# The search ends once it knows the multiplier to 1/256 of the distance between one within the budget and one above it.
STEPS = 256
# How many rounds more than halving needs may be spent on that.
SPARE = 3
# A multiplier a thousand times smaller than the deployed one is the smallest that is looked at.
LEAST = 2.0**-10


@dataclass
class CostSearch:
    """Search for the largest multiplier within a budget, along the sign of the deployed one; knows nothing of models. Measure the cost of
    :attr:`next` and report it with :meth:`saw`, until ``next`` is None.

    It starts at the deployed multiplier, doubles while the cost is within the budget and halves while it is above. Between the
    two that it then has, it goes on where a power law through both would meet the budget, or in the middle once that is three
    rounds slower than halving; so it ends within twelve further rounds, and mostly within two. All multipliers lie on a grid that the costs do not move, so that two searches of one intervention share
    their scores.

    Attributes:
        deployed: the deployed multiplier, not 0.
        strength: what the multiplier means. Only a linear strength is tried above the deployed multiplier; an ignored one only at
            the deployed multiplier.
        budget: the cost that is looked for. max_multiplier: the largest, in deployed ones. tolerance: a cost of at least (1 - tolerance) times the
            budget, and not above it, ends the search.
        looked_at: multipliers in the order in which they were looked at, with their costs.
    """

    deployed: float
    strength: StrengthMeaning
    budget: float
    max_multiplier: float
    tolerance: float
    looked_at: dict[float, float] = field(default_factory=dict)
    # Sizes of multipliers, without the sign. Within: the largest below the first crossing. Beyond: the smallest above it.
    _within: float | None = None
    _above: float | None = None
    # Once both are known: where they were then, and on which of the steps between them they are now.
    _bracket: tuple[float, float] | None = None
    _low: int = 0
    _high: int = STEPS
    _rounds: int = 0

    @property
    def next(self) -> float | None:
        """The multiplier to try next; None if the search has ended."""
        size = self._next_size()
        return None if size is None else math.copysign(size, self.deployed)

    @property
    def most(self) -> int:
        """The largest number of multipliers that are tried."""
        if self.strength == "ignored":
            return 1
        up = math.ceil(math.log2(self.max_multiplier)) if self.strength == "linear" else 0
        down = round(-math.log2(LEAST))
        return 1 + max(up, down) + round(math.log2(STEPS)) + SPARE + 1

    def saw(self, multiplier: float, cost: float) -> None:
        """Record the cost of a multiplier; infinity if the model overflows under it."""
        size = abs(multiplier)
        self.looked_at[multiplier] = cost
        if self._bracket is not None:
            step = self._step()
            if cost <= self.budget:
                self._low = step
            else:
                self._high = step
            self._rounds += 1
        if cost <= self.budget:
            self._within = size
        else:
            self._above = size
        if self._bracket is None and self._within is not None and self._above is not None:
            self._bracket = (self._within, self._above)

    @property
    def found(self) -> tuple[float, float, Reached]:
        """Multiplier, its cost, and what ended the search, which has ended."""
        if self.strength == "ignored":
            return self.deployed, self.looked_at[self.deployed], "fixed"
        if self._within is None:
            assert self._above is not None
            least = math.copysign(self._above, self.deployed)
            return least, self.looked_at[least], "least"
        multiplier = math.copysign(self._within, self.deployed)
        cost = self.looked_at[multiplier]
        reached: Reached = "cost" if self._above is not None or self._is_near(cost) else "most"
        return multiplier, cost, reached

    def _next_size(self) -> float | None:
        start = abs(self.deployed)
        if not self.looked_at:
            return start
        if self.strength == "ignored":
            return None
        if self._within is None:
            assert self._above is not None
            return self._above / 2 if self._above > start * LEAST else None
        if self._is_near(self._cost_of(self._within)):
            return None
        if self._above is None:
            most = start * self.max_multiplier if self.strength == "linear" else start
            most = min(most, LARGEST)
            return min(2 * self._within, most) if self._within < most else None
        return self._size_at(self._step()) if self._high - self._low > 1 else None

    def _step(self) -> int:
        """The next step to try, between those known to be within the budget and above it."""
        middle = (self._low + self._high) // 2
        costs = [self._cost_of(self._size_at(step)) for step in (self._low, self._high)]
        too_slow = self._high - self._low > STEPS >> max(0, self._rounds - SPARE)
        if too_slow or costs[0] <= 0 or not math.isfinite(costs[1]):
            return middle
        # cost = a * size ** power through both, met at the middle of what ends the search.
        low, high = self._size_at(self._low), self._size_at(self._high)
        power = math.log(costs[1] / costs[0]) / math.log(high / low)
        size = low * math.exp(math.log(self.budget * (1 - self.tolerance / 2) / costs[0]) / power)
        first, last = self._bracket or (low, high)
        return min(max(round((size - first) / (last - first) * STEPS), self._low + 1), self._high - 1)

    def _size_at(self, step: int) -> float:
        assert self._bracket is not None
        first, last = self._bracket
        return last if step == STEPS else first + (last - first) * step / STEPS

    def _cost_of(self, size: float) -> float:
        return self.looked_at[math.copysign(size, self.deployed)]

    def _is_near(self, cost: float) -> bool:
        return (1 - self.tolerance) * self.budget <= cost <= self.budget


def matching_probability(propensities: Array) -> float:
    """The mean over items of the probability of the matching answer against the other: 1 / (1 + exp(-propensity)).

    For two labels of one token each that is CAA's P(match) / (P(match) + P(other)); of longer answers each counts with the geometric
    mean probability of its tokens.

    Args:
        propensities: [n_items].
    """
    return float(expit(propensities).mean())


def pne(effects: Array, unsteered: Array, mean_rise: float) -> float | None:
    """The perplexity-normalised effect (von Rütte et al. 2024, arXiv 2402.14433): [p(a) - p(0)] / [PPL(a) / PPL(0)] at multiplier a.

    In the paper p is the share of generated replies in which a classifier finds the concept, or the mean of the classifier's
    probability. Here it is :func:`matching_probability`, which needs no classifier. PPL is as in the paper the arithmetic mean of the
    texts' perplexities.

    Args:
        effects: [n_items] propensity at a minus propensity unsteered. unsteered: [n_items] propensities.
        mean_rise: PPL(a) / PPL(0) - 1, see ``likelihood.relative_mean_rise``.

    Returns:
        None where a perplexity exceeds the range of numbers.
    """
    gained = matching_probability(unsteered + effects) - matching_probability(unsteered)
    return gained / (1 + mean_rise) if math.isfinite(mean_rise) else None
