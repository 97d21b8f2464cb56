"""Interventions at equal cost: the multiplier where perplexity has risen by a budget, and the effect there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import progress
from ..data import ItemLike, TextLike, as_items
from ..errors import DataError, MeasurementError, SteerError
from ..model import Model, check_fits, engine_of
from ..model.arguments import checks_arguments
from ..prompting import AS_GIVEN, Context
from ..steering import Intervention, Positions, SteeringVector, as_intervention, check_positions
from .asking import Array, asked_of, propensities
from .asking_texts import AskedText, ask_texts, scope_of
from .cost_search import CostSearch, Reached
from .likelihood import perplexity_of_pairs, relative_mean_rise, relative_rise
from .propensity import Name, check_deployed, check_dose, check_multipliers, pairs_of

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
    another way, in which they share what is the same below them. A multiplier at which the model gives NaN or infinity counts as
    above the budget.

    Args:
        texts: neutral texts, see :func:`perplexity`. Of plain texts every token is steered, whatever the scope; of completions those
            of the scope, so that the cost is that of the deployment.
        budget: 0.05 is a rise of 5 %.
        max_multiplier: the largest multiplier tried, as a multiple of the deployed one; for a ``linear`` strength. An
            ``interpolated`` strength or an ``angle`` is not tried above the deployed multiplier.
        tolerance: a cost within the budget by no more than this share of it ends the search.
        window / stride: see :func:`perplexity`.

    Returns:
        {name: what was found}, in the order of ``deployed``.

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
    scopes = {name: scope_of(texts, one.positions, one.include_first) for name, one in deployed.items()}
    asked = {
        scope: ask_texts(model, texts, *scope, window=window, stride=stride) for scope in dict.fromkeys(scopes.values())
    }
    means: dict[Name, dict[float, float]] = {name: {} for name in deployed}
    progress.most_looks(sum(search.most for search in searches.values()), "multipliers")
    while sizes := {name: size for name, search in searches.items() if (size := search.next) is not None}:
        for scope, own in asked.items():
            names = [name for name in sizes if scopes[name] == scope]
            pairs: list[_Pair] = [(changes[name], sizes[name]) for name in names]
            is_first = not any(searches[name].looked_at for name in names)
            with progress.looking(len(pairs), sure=is_first):
                costs = _costs(model, own, pairs) if pairs else []
            for name, (cost, mean_rise) in zip(names, costs, strict=True):
                searches[name].saw(sizes[name], cost)
                means[name][sizes[name]] = mean_rise
    return {name: _at_cost(search, changes[name].method, means[name]) for name, search in searches.items()}


def check_budget(budget: float, max_multiplier: float = MAX_MULTIPLIER, tolerance: float = TOLERANCE) -> None:
    """Refuses arguments of :func:`multipliers_at_cost` that cannot be used.

    Raises:
        SteerError: it says which, and what is expected.
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
        at: name -> (intervention, multiplier); the multiplier stands in for the deployed one.

    Returns:
        ({name: float64 [n_items]}, in the order of ``at``; float64 [n_items], the unsteered propensities).

    Raises:
        SteerError: no interventions, or a multiplier that is not a finite number.
        DataError, VectorError, MeasurementError: see :func:`propensity_curve`.
    """
    _check_deployed("effects_at", at, "{name: (Deployed(vector), multiplier)}")
    if not at:
        raise SteerError("there are no interventions to measure the effects of")
    data = as_items(items)
    if not data:
        raise DataError(f"{data.source}: there are no items to measure")
    multipliers = check_multipliers([multiplier for _, multiplier in at.values()])
    pairs = {
        name: pairs_of(one.intervention, [multiplier])[0]
        for (name, (one, _)), multiplier in zip(at.items(), multipliers, strict=True)
    }
    for one, _ in at.values():
        check_fits(model, one.intervention, allow_mismatch)
    effects: dict[Name, Array] = {}
    for positions, include_first in dict.fromkeys((one.positions, one.include_first) for one, _ in at.values()):
        names = [name for name, (one, _) in at.items() if (one.positions, one.include_first) == (positions, include_first)]
        asked = [asked_of(model, item, positions, include_first, context) for item in data]
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
