"""A sweep over layers and multipliers: its data, the vector at each layer, the measured grid, and the choice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..claims.findings import leaks, text_leaks
from ..core import registry
from ..core.errors import DataError, SteerError
from ..core.evidence import Json
from ..core.registry import did_you_mean
from ..core.run_context import report_progress
from ..core.validation import check_values
from ..data import Items, Sample, TaskItem, Texts, read_items, read_texts, sample_of
from ..data.texts import findings_of_rule
from ..data.traces import Seen, known_in, traces
from ..data.units import without_repeats
from ..extract.kinds import MethodKind
from ..extract.training import Training, read_training
from ..measures import Array, PropensityCurve, Scope, check_multipliers, first_order_slopes, sweep_curves, sweep_perplexity
from ..measures.asking import check_scorable
from ..model import Model
from ..stats import Inference, mean_t
from ..steering import Positions, SteeringVector
from .split import split_sample, split_texts

_NAMES = ("train", "validation", "test")


@dataclass(frozen=True)
class Neutral:
    """Neutral texts that a sweep reads.

    Attributes:
        file: where they are.
        leave_out: a regular expression; texts that it matches are left out.
        windows: the ``window`` and ``stride`` in which longer texts are scored, where they are given.
    """

    file: Path
    leave_out: str | None = None
    windows: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """The data of a sweep.

    Attributes:
        train: the training data; None for a saved vector.
        validation / test: items to choose a layer and a multiplier on, and to test the choice on.
        texts / test_texts: neutral texts for the same two purposes, or none.
        windows: the ``window`` and ``stride`` in which longer texts are scored, where they are given.
        cluster: the key of the items that names their cluster. A cluster is in one part.
        warnings: about the data, for the reader.
    """

    train: Training | None
    validation: Items
    test: Items
    texts: Texts = field(default_factory=lambda: Texts(()))
    test_texts: Texts = field(default_factory=lambda: Texts(()))
    windows: Mapping[str, int] = field(default_factory=dict)
    cluster: str | None = None
    warnings: tuple[str, ...] = ()


def read_parts(
    data: Path,
    shares: Sequence[float],
    *,
    train: Path | None = None,
    saved: tuple[str, Mapping[str, object]] | None = None,
    neutral: Neutral | None = None,
    cluster: str | None = None,
    seed: int,
) -> Parts:
    """Read and split the data of a sweep.

    Args:
        data: contrast items that are split.
        shares: of train, validation and test; of the last two only, if the vector is made from ``train`` or is there already.
        train: contrast items, texts or pairs of a task to make the vector from.
        saved: the name and the metadata of a saved vector, with traces of the questions that it was made from.
        neutral: neutral texts, split as the validation and the test items are.
        cluster: the key of the items that names their cluster. A cluster stays in one part.

    Raises:
        DataError: a file cannot be used, a part would be too small, or the vector is made from questions of ``data``.
    """
    sample = sample_of(Items(read_items(data), str(data)), cluster, at_least=0)
    *own, validation, test = (part.units for part in split_sample(sample, shares, seed=seed, names=_NAMES[-len(shares) :]))
    training = Training(own[0], data, seed) if own else None
    seen_by, seen = saved or ("", {})
    if train is not None:
        training = read_training(train, seed)
        seen, seen_by = traces(*_texts_of(training)), str(train)
    items = sample.units
    known = known_in((item.question for item in items), seen)
    if known.same:
        raise DataError(
            f"{known.same} questions of {data} are also in {seen_by}: a vector has to be judged on items that it was not made "
            f"from. Take them out of {data}"
        )
    warnings = [*map(str, sample.findings), *leaks(seen, [item.question for item in items], items.hash)]
    if neutral is None:
        return Parts(training, validation, test, cluster=cluster, warnings=tuple(warnings))
    given = read_texts(neutral.file, leave_out=None if neutral.leave_out is None else {"matching": neutral.leave_out})
    texts, repeats = without_repeats(given)
    if own:
        seen = traces([item.question for item in own[0]])
    warnings += [str(finding) for record in given.left_out for finding in findings_of_rule(record)]
    warnings += [*map(str, repeats), *text_leaks(seen, texts)]
    chosen_on, judged_on = split_texts(texts, shares[-2:], seed=seed, names=_NAMES[-2:], source=str(neutral.file))
    return Parts(training, validation, test, chosen_on, judged_on, neutral.windows, cluster, tuple(dict.fromkeys(warnings)))


def _texts_of(training: Training) -> tuple[list[str], Seen]:
    """The training texts whose traces a vector's metadata hold, and their kind."""
    if isinstance(training.data, tuple):
        return [text for side in training.data for text in side], "texts"
    return [one.input if isinstance(one, TaskItem) else one.question for one in training.data], "questions"


def vector_methods() -> dict[str, MethodKind]:
    """The registered methods that give a vector at a chosen layer."""
    methods: dict[str, MethodKind] = registry.things("method")
    return {name: kind for name, kind in methods.items() if not kind.gives_intervention and kind.layers != "none"}


def find_method(name: str) -> MethodKind:
    """The method of that name.

    Raises:
        SteerError: there is none that gives a vector with a direction per layer.
    """
    methods = vector_methods()
    if name not in methods and name in registry.names("method"):
        raise SteerError(
            f"method {name!r} has no layer to choose: it acts on all layers at once, or gives another intervention than a vector. "
            "Measure it with pytest-steer compare-methods"
        )
    if name not in methods:
        raise SteerError(f"no method {name!r} gives a vector to sweep: {did_you_mean(name, sorted(methods))}")
    return methods[name]


def check_settings(kind: MethodKind, settings: Json) -> None:
    """Refuse settings that a method does not have, or values that they cannot have.

    Raises:
        SteerError: that, or a setting without a default is not given.
    """
    check_values(f"the method {kind.name}", settings, kind.settings, required=kind.required)
    for name in kind.required:
        if name not in settings:
            example = (kind.settings[name].get("examples") or ["..."])[0]
            raise SteerError(
                f"the method {kind.name} needs its setting {name!r}: {kind.settings[name].get('description', '')} Write --set {name}={example}"
            )


def vector_at(
    kind: MethodKind,
    model: Model,
    training: Training,
    layers: tuple[int, ...],
    seed: int,
    settings: Json | None = None,
) -> SteeringVector:
    """The vector of a method with its settings at each of these layers."""

    def made_at(layers: tuple[int, ...]) -> SteeringVector:
        made = kind.extract(model, training, layers=layers, context=training.context, seed=seed, settings=settings or {})
        assert isinstance(made, SteeringVector)  # as its return type says
        return made

    if kind.layers == "several":
        return made_at(layers)
    if not kind.needs_layer:  # where such a vector is added does not change what it is
        made = made_at(layers[:1])
        return SteeringVector(dict.fromkeys(layers, made.directions[layers[0]]), made.metadata)
    directions: dict[int, Any] = {}
    metadata: Json = {}
    reliability: Json = {}
    for number, layer in enumerate(layers, 1):
        report_progress(f"{kind.name} at layer {layer} ({number} of {len(layers)})")
        made = made_at((layer,))
        directions[layer], metadata = made.directions[layer], dict(made.metadata)
        reliability |= metadata.get("reliability", {})
    return SteeringVector(directions, {**metadata, "reliability": reliability})


SCHEMA = "pytest-steer/sweep/1"
Limit = Literal["anti_steerable_share", "budget"]


@dataclass(frozen=True)
class Limits:
    """The limits of a choice.

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
    """The measurements at one layer, with the vector added there alone.

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

    def to_dict(self) -> Json:
        """Everything as plain finite values, for JSON."""
        record: Json = {"layer": self.layer, "first_order": self.first_order, "note": self.note}
        if self.curve is None:
            return record
        found = self.steerability
        return record | {
            "steerability": found.estimate,
            "interval": [found.low, found.high],
            "anti_steerable_share": self.anti_steerable_share,
            "effects": self.effects.tolist(),
            "mean_propensity": self.curve.mean.tolist(),
            "perplexity_change": list(self.perplexity) if self.perplexity is not None else None,
        }

    @property
    def _measured(self) -> PropensityCurve:
        if self.curve is None:
            raise SteerError(f"layer {self.layer} was pruned, so its curve was not measured")
        return self.curve


@dataclass(frozen=True)
class Candidate:
    """A measured layer and multiplier, compared with the limits.

    Attributes:
        perplexity: relative rise; None without neutral texts.
        excess: each exceeded limit to the excess as a share of the limit: 0.5 is half as much again as allowed.
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
        """The candidate nearest to the limits: the one with the smallest excess of those that steer, else the one with the
        largest steerability."""

        def distance(one: Candidate) -> tuple[bool, float, float]:
            return not one.steers, sum(one.excess.values()) if one.steers else -one.steerability, -one.effect

        return min(self.candidates, key=distance)

    def to_dict(self) -> Json:
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
            "layers": [result.to_dict() for result in self.layers],
            "choice": {name: getattr(choice, name) for name in ("layer", "multiplier", "effect", "perplexity")}
            if choice
            else None,
        }


def sweep(
    model: Model,
    parts: Parts,
    vector: SteeringVector,
    *,
    multipliers: Sequence[float],
    positions: Positions = "after_prompt",
    keep: int | None = None,
    limits: Limits | None = None,
) -> Sweep:
    """Measure a vector at each of its layers alone on validation data, and choose a layer and a multiplier.

    The choice: among the measured layers with a steerability above 0 and an anti-steerable share within the limit, the one of
    the largest steerability; there, among the multipliers that raise the mean propensity within the perplexity limit, the one
    that raises it most. A layer without such a multiplier is passed over.

    Args:
        parts: its validation items, which the vector was not made from, and their neutral texts. Repeats are left out, and items of one
            question are a cluster. Without texts there is no perplexity cost.
        multipliers: strengths; 0 is added, since effects are differences to it.
        keep: how many layers are measured, the best by first-order steerability; None for all.

    Raises:
        DataError: fewer than two distinct items, or texts that cannot be scored, before anything is measured. SteerError: no multiplier but 0, or ``keep`` is below 1.
        VectorError, MeasurementError: see ``propensity_curve``.
    """
    bounds = limits if limits is not None else Limits()
    grid = sorted({*check_multipliers(multipliers), 0.0})
    if len(grid) < 2:
        raise SteerError("a sweep needs at least one multiplier other than 0")
    sample = sample_of(parts.validation, parts.cluster, at_least=0)
    items, texts = sample.units, parts.texts
    if sample.n < 2:
        raise DataError(f"{items.source}: has {sample.n} item(s); a sweep needs at least two")
    if keep is not None and keep < 1:
        raise SteerError(f"at least one layer has to be kept, not {keep}")
    if texts:
        check_scorable(model, texts, **parts.windows)
    first = {
        layer: float(slopes.mean()) for layer, slopes in first_order_slopes(model, items, vector, Scope(positions)).items()
    }
    best = sorted(first, key=lambda layer: (-first[layer], layer))[:keep]
    kept = vector.at(sorted(best))
    curves = sweep_curves(model, items, kept, Scope(positions), multipliers=grid)
    costs = (
        sweep_perplexity(
            model,
            texts,
            kept,
            Scope(positions),
            multipliers=grid,
            window=parts.windows.get("window"),
            stride=parts.windows.get("stride"),
        )
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
