"""Data efficiency: the effect of vectors that are made from a part of the training pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ..core.errors import DataError, SteerError
from ..core.evidence import Json
from ..extract.kinds import MethodKind
from ..extract.training import Training
from ..measures import Array, Scope, propensity_curves
from ..model import Model
from ..stats import Inference, mean_t
from ..steering import SteeringVector
from .sweep import Candidate, Sweep, vector_at


@dataclass(frozen=True, eq=False)
class PairsResult:
    """The effects of vectors from one number of training pairs, each made from a different random part.

    Attributes:
        pairs: how many pairs each vector is made from.
        effects: float64 [n_draws, n_items], propensity at the multiplier minus propensity at 0.
        cosines: one per draw, with the vector of all pairs.
        clusters: one per item, where items belong together.
    """

    pairs: int
    effects: Array
    cosines: tuple[float, ...]
    clusters: tuple[int, ...] | None = None

    @property
    def by_draw(self) -> Array:
        """[n_draws] the mean effect over items of each vector."""
        effects: Array = self.effects.mean(axis=1)
        return effects

    @property
    def effect(self) -> Inference:
        """Mean effect over draws and items, with bounds by Student's t over the items (or clusters) at 0.95 each side."""
        return mean_t(self.effects.mean(axis=0), clusters=self.clusters)

    @property
    def wrong_way(self) -> float:
        """The share of items, over all draws, whose effect is not above 0."""
        return float((self.effects <= 0).mean())

    def to_dict(self) -> Json:
        """Plain finite values, for JSON."""
        found = self.effect
        return {
            "pairs": self.pairs,
            "draws": len(self.effects),
            "effect": found.estimate,
            "interval": [found.low, found.high],
            "effect_by_draw": self.by_draw.tolist(),
            "wrong_way": self.wrong_way,
            "cosines": list(self.cosines),
        }


def data_efficiency(
    model: Model,
    kind: MethodKind,
    training: Training,
    swept: Sweep,
    at: Candidate,
    *,
    sizes: Sequence[int],
    draws: int = 3,
    seed: int = 0,
    settings: Json | None = None,
) -> list[PairsResult]:
    """Measure the effect on the validation items at one layer and multiplier, by how many training pairs the vector is made from.

    Each draw is a random order of the pairs, and a vector of k pairs is made from its first k, so that the parts of one draw contain
    each other. All pairs are one vector, so they have one draw.

    Args:
        swept / at: a sweep of the vector of all pairs, and the layer and multiplier at which the effect is measured.
        sizes: numbers of pairs, such as 8, 16, 32, 64.
        draws: how many random parts of each size.
        settings: of the method.

    Raises:
        SteerError: a size is below 1 or above the number of training pairs, or there are no draws.
        DataError: the method cannot make a vector from so few pairs.
    """
    check_sizes(sizes, training)
    if draws < 1 or not sizes:
        raise SteerError("data efficiency needs at least one number of pairs and one draw")
    available = pairs_in(training)
    whole = vector_at(kind, model, training, (at.layer,), seed, settings)
    made: dict[tuple[int, int], SteeringVector] = {}
    for size in sorted(set(sizes)):
        for draw in range(1 if size == available else draws):
            part = training if size == available else part_of(training, size, seed=seed + draw)
            try:
                made[size, draw] = vector_at(kind, model, part, (at.layer,), seed, settings)
            except DataError as error:
                raise DataError(f"a vector from {size} pairs: {error}") from None
    sample = swept.sample
    curves = propensity_curves(model, sample.units, made, Scope(swept.positions), multipliers=[0.0, at.multiplier])
    found = []
    for size in sorted(set(sizes)):
        names = [name for name in made if name[0] == size]
        effects = np.array([curves[name].effects(at.multiplier) for name in names])
        cosines = tuple(_cosine(made[name], whole, at.layer) for name in names)
        found.append(PairsResult(size, effects, cosines, sample.clusters))
    return found


def check_sizes(sizes: Sequence[int], training: Training) -> None:
    """Refuse numbers of pairs that exceed the training data.

    Raises:
        SteerError: a size is below 1 or above the number of training pairs.
    """
    available = pairs_in(training)
    for size in sizes:
        if not 1 <= size <= available:
            raise SteerError(
                f"--pairs {size}: there are {available} training pairs in {training.file}. Write numbers from 1 to {available}"
            )


def pairs_in(training: Training) -> int:
    """The number of training pairs: contrast items, pairs of a task, or texts of the shorter side."""
    if training.texts is not None:
        return min(map(len, training.texts))
    return len(training.held)


def part_of(training: Training, size: int, *, seed: int) -> Training:
    """The first ``size`` pairs in a random order. Texts are paired by place, if there are as many on both sides, else drawn on each."""
    generator = np.random.default_rng(seed)

    def drawn(count: int) -> list[int]:
        return [int(index) for index in generator.permutation(count)[:size]]

    if training.given is not None:
        return replace(training, given=training.given.part(drawn(len(training.given))))
    if training.tasks is not None:
        return replace(training, tasks=training.tasks.part(drawn(len(training.tasks))))
    assert training.texts is not None
    positive, negative = training.texts
    order = drawn(len(positive))
    other = order if len(positive) == len(negative) else drawn(len(negative))
    return replace(training, texts=([positive[index] for index in order], [negative[index] for index in other]))


def _cosine(one: SteeringVector, other: SteeringVector, layer: int) -> float:
    pair = (one.directions[layer].double(), other.directions[layer].double())
    return float(torch.nn.functional.cosine_similarity(*pair, dim=0))
