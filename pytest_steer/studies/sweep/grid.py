"""The sweep: layers ranked by first order, the best ones measured at every multiplier, and one pair chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...data import Items, Sample, TextLike, sample_of
from ...errors import DataError, SteerError
from ...measures import Array, PropensityCurve, check_multipliers, first_order_slopes, sweep_curves, sweep_perplexity
from ...measures.asking_texts import check_scorable
from ...model import Model
from ...stats import Inference, mean_t
from ...steering import Positions, SteeringVector

SCHEMA = "pytest-steer/sweep/1"
Limit = Literal["anti_steerable_share", "budget"]


@dataclass(frozen=True)
class Limits:
    """What a choice must keep.

    Attributes:
        anti_steerable_share: largest share of validation items with slope <= 0.
        budget: largest relative rise of the perplexity of the neutral texts; 0.05 is 5 %.
    """

    anti_steerable_share: float = 0.25
    budget: float = 0.05

    def __post_init__(self) -> None:
        if not 0 < self.anti_steerable_share < 1:
            raise SteerError(f"the largest anti-steerable share is between 0 and 1, not {self.anti_steerable_share:g}")
        if not 0 < self.budget < float("inf"):
            raise SteerError(f"the largest rise of perplexity is above 0 (0.05 means 5 %), not {self.budget:g}")


@dataclass(frozen=True, eq=False)
class LayerResult:
    """What was found at one layer, the vector added there alone.

    Attributes:
        first_order: mean over items of the slope at multiplier 0, from the gradient; it ranks and decides nothing.
        curve: propensities of the validation items; None if the layer was pruned.
        perplexity: relative change at each multiplier; None without neutral texts.
        note: why the layer cannot be chosen; "" if it can, "pruned" if it was not measured.
        clusters: of the items, where some belong together.
    """

    layer: int
    first_order: float
    curve: PropensityCurve | None
    perplexity: tuple[float, ...] | None
    note: str
    clusters: tuple[int, ...] | None = None

    @property
    def steerability(self) -> Inference:
        """Mean slope over items, with bounds by Student's t over items or clusters at 0.95 each side."""
        return mean_t(self._measured.slopes, clusters=self.clusters)

    @property
    def anti_steerable_share(self) -> float:
        """Share of items with slope <= 0."""
        return float(self._measured.anti_steerable.mean())

    @property
    def effects(self) -> Array:
        """[n_multipliers] mean propensity minus mean propensity at 0."""
        curve = self._measured
        effects: Array = curve.mean - curve.mean[list(curve.multipliers).index(0.0)]
        return effects

    @property
    def _measured(self) -> PropensityCurve:
        if self.curve is None:
            raise SteerError(f"layer {self.layer} was pruned, so its curve was not measured")
        return self.curve


@dataclass(frozen=True)
class Candidate:
    """A layer and a multiplier that were measured, held against the limits.

    Attributes:
        perplexity: relative rise; None without neutral texts.
        excess: limits that are broken to by how much, as a share of the limit: 0.5 is half as much again as is allowed.
    """

    layer: int
    multiplier: float
    effect: float
    steerability: float
    anti_steerable_share: float
    perplexity: float | None
    excess: Mapping[Limit, float]

    @property
    def steers(self) -> bool:
        """Whether the layer has a steerability above 0, and the multiplier raises the propensity."""
        return self.steerability > 0 and self.effect > 0

    @property
    def is_allowed(self) -> bool:
        """Whether it steers within the limits."""
        return self.steers and not self.excess


@dataclass(frozen=True, eq=False)
class Sweep:
    """A whole sweep.

    Attributes:
        multipliers: ascending, 0 among them.
        sample: the validation items.
        layers: ascending, the pruned ones too.
    """

    vector: SteeringVector
    positions: Positions
    multipliers: tuple[float, ...]
    sample: Sample[Items]
    limits: Limits
    layers: tuple[LayerResult, ...]

    @property
    def items(self) -> Items:
        return self.sample.units

    @property
    def measured(self) -> tuple[LayerResult, ...]:
        """The layers that were not pruned."""
        return tuple(result for result in self.layers if result.curve is not None)

    def at(self, layer: int) -> LayerResult:
        return next(result for result in self.layers if result.layer == layer)

    @property
    def candidates(self) -> list[Candidate]:
        """Every layer and multiplier that was measured."""
        return [one for result in self.measured for one in _candidates(result, self.multipliers, self.limits)]

    @property
    def choice(self) -> Candidate | None:
        """The multiplier of the largest effect at the layer of the largest steerability, within the limits; None if there is none."""

        def order(one: Candidate) -> tuple[float, int, float, float]:
            return one.steerability, -one.layer, one.effect, -abs(one.multiplier)

        return max((one for one in self.candidates if one.is_allowed), key=order, default=None)

    @property
    def nearest(self) -> Candidate:
        """The candidate that comes nearest to keeping the limits: of those that steer, the one of the smallest excess, else the one
        of the largest steerability."""

        def distance(one: Candidate) -> tuple[bool, float, float]:
            return not one.steers, sum(one.excess.values()) if one.steers else -one.steerability, -one.effect

        return min(self.candidates, key=distance)

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain finite values, for JSON."""
        choice = self.choice
        return {
            "schema": SCHEMA,
            "vector": {
                "hash": self.vector.hash,
                "method": self.vector.metadata.get("method"),
                "n": self.vector.metadata.get("n"),
                "norms": {str(layer): norm for layer, norm in self.vector.norms.items()},
            },
            "positions": self.positions,
            "multipliers": list(self.multipliers),
            "validation": {"source": self.items.source, "hash": self.items.hash, **self.sample.counts()}
            | self.sample.details(),
            "limits": vars(self.limits),
            "layers": [_record(result) for result in self.layers],
            "choice": {name: getattr(choice, name) for name in ("layer", "multiplier", "effect", "perplexity")}
            if choice
            else None,
        }


def sweep(
    model: Model,
    items: Items,
    vector: SteeringVector,
    *,
    multipliers: Sequence[float],
    positions: Positions = "after_prompt",
    keep: int | None = None,
    texts: Sequence[TextLike] | None = None,
    window: int | None = None,
    stride: int | None = None,
    limits: Limits | None = None,
    cluster: str | None = None,
) -> Sweep:
    """Measures a vector at each of its layers alone, and chooses a layer and a multiplier.

    The choice: among the measured layers with a steerability above 0 and an anti-steerable share within the limit, the one of
    the largest steerability; there, among the multipliers that raise the mean propensity within the perplexity limit, the one
    that raises it most. A layer without such a multiplier is passed over.

    Args:
        items: validation items, which the vector was not made from. Repeats are left out, and items of one question are a cluster.
        multipliers: strengths; 0 is added, since effects are differences to it.
        keep: how many layers are measured, the best by first-order steerability; None for all.
        texts: neutral texts for the perplexity cost. window / stride: of longer ones, see :func:`perplexity`.
        cluster: a key of the items that says which belong together.

    Raises:
        DataError: fewer than two distinct items, or texts that cannot be scored, before anything is measured. SteerError: no multiplier but 0, or ``keep`` is below 1.
        VectorError, MeasurementError: see ``propensity_curve``.
    """
    bounds = limits if limits is not None else Limits()
    grid = sorted({*check_multipliers(multipliers), 0.0})
    if len(grid) < 2:
        raise SteerError("a sweep needs at least one multiplier other than 0")
    sample = sample_of(items, cluster, at_least=0)
    items = sample.units
    if sample.n < 2:
        raise DataError(f"{items.source}: has {sample.n} item(s); a sweep needs at least two")
    if keep is not None and keep < 1:
        raise SteerError(f"at least one layer has to be kept, not {keep}")
    if texts:
        check_scorable(model, texts, positions, window=window, stride=stride)
    first = {
        layer: float(slopes.mean())
        for layer, slopes in first_order_slopes(model, items, vector, positions=positions).items()
    }
    best = sorted(first, key=lambda layer: (-first[layer], layer))[:keep]
    kept = vector.at(sorted(best))
    curves = sweep_curves(model, items, kept, multipliers=grid, positions=positions)
    costs = (
        sweep_perplexity(model, texts, kept, multipliers=grid, positions=positions, window=window, stride=stride)
        if texts
        else {}
    )
    results = [
        LayerResult(
            layer, first[layer], curves.get(layer), tuple(costs[layer]) if layer in costs else None, "", sample.clusters
        )
        for layer in vector.layers
    ]
    layers = tuple(replace(result, note=_note(result, grid, bounds)) for result in results)
    return Sweep(vector, positions, tuple(grid), sample, bounds, layers)


def _note(result: LayerResult, grid: Sequence[float], limits: Limits) -> str:
    """Why a layer cannot be chosen."""
    if result.curve is None:
        return "pruned"
    if not result.curve.steerability > 0:
        return "does not steer"
    if result.anti_steerable_share > limits.anti_steerable_share:
        return "reverses too many items"
    if not any(one.is_allowed for one in _candidates(result, grid, limits)):
        return "no multiplier within the limits"
    return ""


def _candidates(result: LayerResult, grid: Sequence[float], limits: Limits) -> Iterator[Candidate]:
    """A measured layer at each multiplier other than 0."""
    steerability, share, effects = result.steerability.estimate, result.anti_steerable_share, result.effects
    for at, multiplier in enumerate(grid):
        cost = result.perplexity[at] if result.perplexity is not None else None
        excess: dict[Limit, float] = {}
        if share > limits.anti_steerable_share:
            excess["anti_steerable_share"] = share / limits.anti_steerable_share - 1
        if cost is not None and cost > limits.budget:
            excess["budget"] = cost / limits.budget - 1
        if multiplier:
            yield Candidate(result.layer, multiplier, float(effects[at]), steerability, share, cost, excess)


def _record(result: LayerResult) -> dict[str, Any]:
    record: dict[str, Any] = {"layer": result.layer, "first_order": result.first_order, "note": result.note}
    if result.curve is None:
        return record
    found = result.steerability
    return record | {
        "steerability": found.estimate,
        "interval": [found.low, found.high],
        "anti_steerable_share": result.anti_steerable_share,
        "effects": result.effects.tolist(),
        "mean_propensity": result.curve.mean.tolist(),
        "perplexity_change": list(result.perplexity) if result.perplexity is not None else None,
    }
