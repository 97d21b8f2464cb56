"""Agreement of two raters beyond chance: Cohen's kappa with its bounds.

The variance is that of Fleiss, Cohen & Everitt (1969, Psychological Bulletin 72:323), here as the sum of each unit's influence on kappa, so
that units can be in clusters. For the bounds, half a unit is added to each of the four cells: without it the lower bound lies above a kappa
of 0.9 in up to 68 % of cases (20 units, 90 % accepted). Simulated with it, a bound stated at 5 % is wrong in at most 8 % of cases: 20 to 200
units, kappa from 0 to 0.95, 50 to 90 % accepted.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import stats

from ._arguments import FloatArray, checked_clusters, checked_confidence, checked_values

_ADDED = 0.5


class Kappa(NamedTuple):
    """Cohen's kappa of two raters, with one-sided bounds.

    Attributes:
        estimate: 1 if they always agree, 0 if they agree as often as their shares of either answer give by chance.
        low / high: each on the wrong side of the true kappa with a probability of about 1 - confidence.
        n: units that both have rated.
    """

    estimate: float
    low: float
    high: float
    n: int


def cohen_kappa(
    one: Sequence[bool], other: Sequence[bool], *, clusters: Iterable[Hashable] | None = None, confidence: float = 0.95
) -> Kappa | None:
    """How far two raters agree beyond chance (Cohen 1960, Educational and Psychological Measurement 20:37).

    kappa = (p_o - p_e) / (1 - p_e), with p_o the share of units on which they agree, and p_e the share that their own shares of either
    answer give by chance.

    Args:
        one / other: the answers of each, of the same units in the same order.
        clusters: what each unit belongs to, such as its prompt; each unit is one by itself without it. Units of a single cluster say
            nothing of others, so the bounds are -1 and 1.
        confidence: of each bound.

    Returns:
        None if there are no units, or if both give all of them the same answer: kappa is 0 / 0 then.

    Raises:
        ValueError: the two have different lengths, or a confidence is out of range.
    """
    level = checked_confidence(confidence)
    rows, columns = np.asarray(one, dtype=bool).astype(int), np.asarray(other, dtype=bool).astype(int)
    if rows.shape != columns.shape or rows.ndim != 1:
        raise ValueError(f"one rater had {rows.size} answers and the other {columns.size}; expected one of each per unit.")
    n = len(rows)
    counts = np.zeros((2, 2))
    np.add.at(counts, (rows, columns), 1)
    if n == 0 or counts[0, 0] == n or counts[1, 1] == n:
        return None
    kappa, _ = _kappa(counts)
    groups = list(range(n)) if clusters is None else list(clusters)
    if len(set(groups)) < 2:
        return Kappa(kappa, -1.0, 1.0, n)
    places, n_groups = checked_clusters(groups, n)
    added, influence = _kappa(counts + _ADDED)
    of_groups = np.bincount(places, weights=influence[rows, columns])
    error = math.sqrt(float((of_groups**2).sum() + _ADDED * (influence**2).sum())) / (n + 4 * _ADDED)
    # Of few clusters the variance is itself uncertain.
    reach = error * float(stats.norm.ppf(level) if clusters is None else stats.t.ppf(level, n_groups - 1))
    return Kappa(kappa, max(-1.0, min(added - reach, kappa)), min(1.0, max(added + reach, kappa)), n)


def _kappa(counts: FloatArray) -> tuple[float, FloatArray]:
    """Kappa of a table of counts, and how a unit in each cell moves it (times the number of units)."""
    shares = counts / counts.sum()
    of_one, of_other = shares.sum(1), shares.sum(0)
    seen, chance = float(np.trace(shares)), float(of_one @ of_other)
    kappa = (seen - chance) / (1 - chance)
    by_chance = of_other[:, None] + of_one[None, :] - 2 * chance
    influence: FloatArray = (np.eye(2) - seen - (1 - kappa) * by_chance) / (1 - chance)
    return kappa, influence


def rank_correlation(one: npt.ArrayLike, other: npt.ArrayLike) -> float | None:
    """Spearman's rho: Pearson's correlation of the ranks, equal values sharing their mean rank (Spearman 1904).

    Args:
        one / other: one number per unit, of the same units in the same order.

    Returns:
        None for fewer than three units, and where all values of one side are equal: there is no order then.

    Raises:
        ValueError: a NaN or an infinity (with its index), a wrong shape, or sides of different lengths.
    """
    sides = [np.asarray(side, dtype=float) for side in (one, other)]
    if sides[0].shape != sides[1].shape:
        raise ValueError(
            f"one side had the shape {sides[0].shape} and the other {sides[1].shape}; expected one number of each per unit."
        )
    if sides[0].ndim == 1 and len(sides[0]) < 3:
        return None
    ranks = [stats.rankdata(checked_values(side)) for side in sides]
    if any(rank.min() == rank.max() for rank in ranks):
        return None
    return float(np.corrcoef(ranks)[0, 1])


@dataclass(frozen=True)
class RankCorrelation:
    """Spearman's rho of ``n`` units, with one-sided bounds, which are None for fewer than four units."""

    estimate: float
    low: float | None
    high: float | None
    n: int


def rank_correlation_bounds(one: npt.ArrayLike, other: npt.ArrayLike, *, confidence: float = 0.95) -> RankCorrelation | None:
    """:func:`rank_correlation` with its bounds, for independent units; None where there is no order.

    Raises:
        ValueError: as :func:`rank_correlation`.
    """
    level = checked_confidence(confidence)
    rho = rank_correlation(one, other)
    if rho is None:
        return None
    n = len(np.asarray(one))
    if n < 4:
        return RankCorrelation(rho, None, None, n)
    most = 1 - 6 / (n * (n * n - 1))
    cut = min(max(rho, -most), most)
    reach = float(stats.norm.ppf(level)) * math.sqrt((1 + cut * cut / 2) / (n - 3))
    low, high = math.tanh(math.atanh(cut) - reach), math.tanh(math.atanh(cut) + reach)
    return RankCorrelation(rho, min(low, rho), max(high, rho), n)
