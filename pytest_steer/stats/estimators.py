"""Estimators: from one value per unit to an estimate with its bounds, and all else that depends on how that is done.

An estimator knows its bounds with and without clusters, how many units would decide a claim, how two runs are paired unit by unit, and
which numbers of the units average to its estimate. Nothing outside asks which estimator it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

from ..core.clusters import part_of
from ..core.evidence import Direction
from ._arguments import FloatArray
from .extremes import as_rise, between_fillings, items_needed_within, largest_of, least_of, size_of_mean
from .intervals import Inference, IntervalMethod, mean_t, method_of, share, share_of_clusters
from .paired import change_difference, paired_share_difference, share_difference_of_clusters, weighted_share_difference
from .planning import items_needed_mean, items_needed_paired, items_needed_share
from .quantile import items_needed_quantile, quantile
from .ratio import ratio_of_means
from .sequential import sequential_mean, sequential_share

Clusters = Sequence[int] | None
MIN_N = 8
"""Units below which a mean is not judged: see docs/verdicts.md for the error rates there."""


@runtime_checkable
class Estimator(Protocol):
    """What a claim's statistic is, as a function of one row of values per unit.

    A class that inherits from it is that of a mean of the values, planned by its standard deviation and without ``as_mean``, unless it
    says otherwise.

    Attributes:
        kind: how ``units`` of a report name it; :func:`paired` compares two runs by it.
    """

    @property
    def kind(self) -> str: ...

    def infer(self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction) -> Inference:
        """The estimate and its bounds.

        Args:
            values: [n_units] or [n_units, k]. direction: that is promised, for estimators that fill in what is missing.
        """

    def per_unit(self, values: FloatArray, direction: Direction) -> FloatArray:
        """[n_units] numbers whose mean is the estimate, exactly or to first order."""
        return values

    def units_needed(
        self, found: Inference, values: FloatArray, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        """Units that would decide with a power of 80 % if the estimate were the truth; None if no feasible number would."""
        if not found.standard_deviation:
            return None
        return items_needed_mean(found.estimate, found.standard_deviation, threshold, confidence=found.confidence)

    def as_mean(self, values: FloatArray, threshold: float, direction: Direction) -> AsMean:
        """Values, a threshold and an estimator of their mean such that the claim holds if that mean keeps the threshold.

        None where the statistic is no mean, or its bounds need no doubt.
        """
        return None


AsMean = tuple[FloatArray, float, Estimator] | None


def floor_of(found: Inference, min_n: int | None = None) -> int | None:
    """The least number of units for a verdict: ``min_n``, else :data:`MIN_N`, and None for bounds that are exact for any number."""
    return min_n if min_n is not None or found.is_exact else MIN_N


@dataclass(frozen=True)
class Mean(Estimator):
    """The mean over units, over clusters where there are some.

    Attributes:
        sequential: bounds that hold however often the data are looked at; of ``t`` alone, without clusters.
    """

    interval: IntervalMethod = "t"
    seed: int = 0
    sequential: bool = False
    kind: str = field(default="mean", init=False)

    def infer(
        self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        if self.sequential:
            return sequential_mean(values, confidence=confidence)
        return method_of(self.interval).infer(values, confidence=confidence, seed=self.seed, clusters=clusters)

    def as_mean(self, values: FloatArray, threshold: float, direction: Direction) -> AsMean:
        return values, threshold, self


@dataclass(frozen=True)
class _Around(Estimator):
    """An estimator made of another one, ``of``."""

    of: Estimator

    @property
    def kind(self) -> str:
        return self.of.kind


@dataclass(frozen=True)
class Size(_Around):
    """The size of a mean, ``|mean|``, for promises that it stays within a band around 0 (``size_of_mean``)."""

    def infer(self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction) -> Inference:
        return size_of_mean(self.of.infer(values, clusters, confidence=confidence, direction=direction))

    def per_unit(self, values: FloatArray, direction: Direction) -> FloatArray:
        turned: FloatArray = values if values.mean() >= 0 else -values
        return turned

    def units_needed(
        self, found: Inference, values: FloatArray, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        return items_needed_within(found.estimate, found.standard_deviation or 0.0, threshold, confidence=found.confidence)

    def as_mean(self, values: FloatArray, threshold: float, direction: Direction) -> AsMean:
        return self.per_unit(values, direction), threshold, self.of


@dataclass(frozen=True)
class Share(Estimator):
    """The share of units with a flag (1.0, else 0.0), with bounds that are exact for any number of units."""

    sequential: bool = False
    kind: str = field(default="share", init=False)

    def infer(
        self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        if self.sequential:
            return sequential_share(values.astype(bool), confidence=confidence)
        if clusters is not None:
            return share_of_clusters(values.astype(bool), clusters, confidence=confidence)
        return share(int(values.sum()), len(values), confidence=confidence)

    def units_needed(
        self, found: Inference, values: FloatArray, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        return items_needed_share(found.estimate, threshold, direction=direction, confidence=found.confidence)


@dataclass(frozen=True)
class PairedShare(Estimator):
    """The share of units that changed one way (1.0) minus the share that changed the other way (-1.0), each paired with itself.

    Attributes:
        weights: [n_units] that sum to 1; None if each counts alike.
    """

    weights: tuple[float, ...] | None = None

    @property
    def kind(self) -> str:
        return "change" if self.weights is None else "mean"

    def infer(
        self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        if self.weights is not None:
            return weighted_share_difference(values, self.weights, confidence=confidence)
        if clusters is not None:
            return share_difference_of_clusters(values, clusters, confidence=confidence)
        return paired_share_difference(*_ups_and_downs(values), len(values), confidence=confidence)

    def per_unit(self, values: FloatArray, direction: Direction) -> FloatArray:
        if self.weights is None:
            return values
        weights = np.array(self.weights)
        scaled: FloatArray = values * (weights / weights.sum() * len(values))
        return scaled

    def units_needed(
        self, found: Inference, values: FloatArray, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        if self.weights is not None or clusters is not None:
            return super().units_needed(found, values, clusters, threshold, direction)
        ups, downs = _ups_and_downs(values)
        return items_needed_paired(ups, downs, len(values), threshold, confidence=found.confidence)


@dataclass(frozen=True)
class Filled(_Around):
    """Another estimator where the values of some units are not known (NaN): each bound comes from the worse filling.

    Attributes:
        of: the estimator of values that are known. low / high: the least and the largest value that a unit can have.
    """

    low: float = 0.0
    high: float = 1.0

    def infer(self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction) -> Inference:
        least, most = (
            self.of.infer(_with(values, fill), clusters, confidence=confidence, direction=direction)
            for fill in (self.low, self.high)
        )
        return between_fillings(least, most, direction)

    def per_unit(self, values: FloatArray, direction: Direction) -> FloatArray:
        fill = self.low if direction is Direction.AT_LEAST else self.high
        return self.of.per_unit(_with(values, fill), direction)

    def units_needed(
        self, found: Inference, values: FloatArray, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        return self.of.units_needed(found, self.per_unit(values, direction), clusters, threshold, direction)

    def as_mean(self, values: FloatArray, threshold: float, direction: Direction) -> AsMean:
        return self.of.as_mean(self.per_unit(values, direction), threshold, direction)


@dataclass(frozen=True)
class Quantile(Estimator):
    """A quantile of values that come in clusters, by order statistics."""

    q: float
    kind: str = field(default="quantile", init=False)

    def infer(
        self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        return quantile(values, self.q, confidence=confidence, clusters=clusters)

    def units_needed(
        self, found: Inference, values: FloatArray, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        return items_needed_quantile(found, threshold)


@dataclass(frozen=True)
class Ratio(Estimator):
    """The mean of the first column relative to that of the second, paired by unit."""

    interval: IntervalMethod = "t"
    seed: int = 0
    kind: str = field(default="mean", init=False)

    def infer(
        self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction = Direction.AT_LEAST
    ) -> Inference:
        above, below = values.T
        return ratio_of_means(above, below, confidence=confidence, interval=self.interval, seed=self.seed, clusters=clusters)

    def per_unit(self, values: FloatArray, direction: Direction) -> FloatArray:
        above, below = values.T
        ratio = float(above.mean() / below.mean())
        linear: FloatArray = ratio + (above - ratio * below) / float(below.mean())
        return linear

    def units_needed(
        self, found: Inference, values: FloatArray, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        excess = values[:, 0] - threshold * values[:, 1]
        of_mean = Mean(self.interval, self.seed)
        mean = of_mean.infer(excess, clusters, confidence=found.confidence)
        return of_mean.units_needed(mean, excess, clusters, 0.0, direction)

    def as_mean(self, values: FloatArray, threshold: float, direction: Direction) -> AsMean:
        return values[:, 0] - threshold * values[:, 1], 0.0, Mean(self.interval, self.seed)


@dataclass(frozen=True)
class Rise(_Around):
    """The relative rise exp(d) - 1, where d is the mean of differences of logarithms, such as of perplexities.

    Attributes:
        of: the estimator of d.
    """

    def infer(self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction) -> Inference:
        return as_rise(self.of.infer(values, clusters, confidence=confidence, direction=direction))

    def per_unit(self, values: FloatArray, direction: Direction) -> FloatArray:
        mean = float(values.mean())
        rise = math.expm1(mean)
        linear: FloatArray = rise + (rise + 1) * (values - mean)
        return linear

    def units_needed(
        self, found: Inference, values: FloatArray, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        difference = self.of.infer(values, clusters, confidence=found.confidence, direction=direction)
        return self.of.units_needed(difference, values, clusters, math.log1p(threshold), direction)

    def as_mean(self, values: FloatArray, threshold: float, direction: Direction) -> AsMean:
        return self.of.as_mean(values, math.log1p(threshold), direction)


@dataclass(frozen=True)
class Worst(_Around):
    """The worst of several parts of the units: the least where a large number is promised, else the largest.

    Attributes:
        of: the estimator of each part. parts: [n_units] the part of each unit. others: estimators of parts that have one of their own.
        tests: of the promise that each part is at most so large: how many share the level of a fail, if more than these parts do.
    """

    parts: tuple[str, ...]
    tests: int | None = None
    others: Mapping[str, Estimator] = field(default_factory=dict)

    def each(
        self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction
    ) -> dict[str, Inference]:
        """The inference of each part, in the order in which the parts come."""
        labels, found = np.array(self.parts, dtype=object), {}
        for part in dict.fromkeys(self.parts):
            own = labels == part
            together = part_of(clusters, np.flatnonzero(own).tolist())
            found[part] = self._of(part).infer(values[own], together, confidence=confidence, direction=direction)
        return found

    def infer(self, values: FloatArray, clusters: Clusters = None, *, confidence: float, direction: Direction) -> Inference:
        each = list(self.each(values, clusters, confidence=confidence, direction=direction).values())
        return least_of(each) if direction is Direction.AT_LEAST else largest_of(each, tests=self.tests)

    def per_unit(self, values: FloatArray, direction: Direction) -> FloatArray:
        labels, found = np.array(self.parts, dtype=object), np.empty(len(values))
        for part in dict.fromkeys(self.parts):
            own = labels == part
            found[own] = self._of(part).per_unit(values[own], direction)
        return found

    def units_needed(
        self, found: Inference, values: FloatArray, clusters: Clusters, threshold: float, direction: Direction
    ) -> int | None:
        return None

    def _of(self, part: str) -> Estimator:
        return self.others.get(part, self.of)


def gain_between(kind: str, gains: FloatArray, clusters: Clusters, *, confidence: float) -> Inference:
    """By how much a statistic rose between two runs, from the differences of the units that both have.

    Args:
        kind: of the estimator, as ``units`` of a report name it.
    """
    if kind == "share" and clusters is not None:
        return share_difference_of_clusters(gains, clusters, confidence=confidence)
    if kind == "share":
        return paired_share_difference(*_ups_and_downs(gains), len(gains), confidence=confidence)
    if kind == "change":
        return change_difference(gains, confidence=confidence)
    return mean_t(gains, confidence=confidence, clusters=clusters)


def _ups_and_downs(changes: FloatArray) -> tuple[int, int]:
    return int((changes > 0).sum()), int((changes < 0).sum())


def _with(values: FloatArray, fill: float) -> FloatArray:
    filled: FloatArray = np.where(np.isnan(values), fill, values)
    return filled
